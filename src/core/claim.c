/*
 * core/claim.c
 *		Claims: from keys of the ready set to rows that an agent holds.
 */
#include "core/claim.h"

#include "miscadmin.h"
#include "utils/builtins.h"

#include "clock.h"
#include "core/agent.h"
#include "core/event.h"
#include "core/limit.h"
#include "core/task.h"
#include "soft/counters.h"
#include "soft/effects.h"
#include "soft/limits.h"
#include "soft/ready.h"
#include "soft/token.h"
#include "store/hot_store.h"

/* A claim that met so many tasks somebody has locked returns what it has. */
#define MAX_DROPS	64

/* Whether a row can be claimed now, as far as can be told without locking it. */
static bool
fits(Call *call, const TaskRow *task, ReadyKey key)
{
	return task->status == TASK_PENDING && task->rank == key.rank &&
		(task->expires_at == 0 || task->expires_at > call->now.wall || task->attempt > 0);
}

/*
 * The row of a popped key did not fit: it is gone, changed, or locked, and
 * whoever changed or locked it pushes its key. Unless we have it locked by now,
 * having followed it to a version that is PENDING again: then we do. Returns
 * whether somebody is in the way; if not, the key was only out of date.
 */
static bool
drop_key(Call *call, ReadyKey key)
{
	TaskRow		task;

	effects_reserve(1);
	if (!task_store_lock_free(key.task_id, &task))
		return task_store_find(key.task_id, &task) && fits(call, &task, key);
	key.rank = task.rank;		/* it may have changed */
	if (!fits(call, &task, key))
		return false;
	task_note_locked(call, &task);
	return true;
}

/* Whether a lane is one of these. */
static bool
is_among(int32 lane_id, const int32 *lane_ids, int lane_count)
{
	for (int i = 0; i < lane_count; i++)
		if (lane_ids[i] == lane_id)
			return true;
	return false;
}

/*
 * Whether the lanes have something to claim. Keys at their head that are of no
 * use are dropped, since a waiter would wake for them again and again.
 */
bool
claim_possible(Call *call, const int32 *lane_ids, int lane_count)
{
	ReadyKey	head;

	for (int drops = 0; drops < MAX_DROPS;)
	{
		PoppedKey	popped;
		TaskRow		task;

		if (lane_count == 0 || !ready_head(call->db, lane_ids, lane_count, &head))
			return false;
		if (task_store_find(head.task_id, &task) && fits(call, &task, head) &&
			is_among(task.lane_id, lane_ids, lane_count))
			return true;
		effects_reserve(1);
		if (!ready_pop(call->db, lane_ids, lane_count, &popped))
			return false;
		if (ready_key_compare(popped.key, head) == 0)
			drops += drop_key(call, popped.key) ? 1 : 0;
		else
			ready_push(call->db, lane_ids[popped.lane], popped.key);
		CHECK_FOR_INTERRUPTS();
	}
	return true;
}

/*
 * The key of a lane was popped, and there was no slot for it. It goes back; the
 * lane is left out from now on, unless a slot was given back meanwhile: who was
 * woken for that did not find the key. Returns how many lanes there are.
 */
static int
leave_out(Call *call, ClaimLane *lanes, int32 *lane_ids, int lane_count,
		  const PoppedKey *popped, bool mine)
{
	int32		lane_id = lane_ids[popped->lane];
	int64		opens_at;
	int64		room;

	if (!mine)
		ready_push(call->db, lane_id, popped->key);
	effect_ready_not(call->db, lane_id, popped->key);
	CHECK_FOR_INTERRUPTS();
	room = limits_room(call->db, lanes[popped->lane].limits.lane_id, call->now.mono, &opens_at);
	if (lanes[popped->lane].limits.generation != 0 && room > 0 && room < PG_INT64_MAX)
		return lane_count;
	lane_count--;
	memmove(&lanes[popped->lane], &lanes[popped->lane + 1],
			(lane_count - popped->lane) * sizeof(ClaimLane));
	memmove(&lane_ids[popped->lane], &lane_ids[popped->lane + 1],
			(lane_count - popped->lane) * sizeof(int32));
	return lane_count;
}

/*
 * Takes up to request->max_tasks tasks for an agent, in rank order. Counts as
 * a beat unless it is refused: NS002, 42501, NS005; 0A000 under REPEATABLE
 * READ. What this transaction enqueued itself can be had before it commits.
 * Result in the current context.
 */
ClaimedTask *
claim_tasks(Call *call, const ClaimRequest *request, int *count)
{
	AgentView	agent;
	AgentView	after_beat;
	ClaimLane  *lanes;
	int32	   *lane_ids;
	int			lane_count;
	ClaimedTask *tasks = palloc(request->max_tasks * sizeof(ClaimedTask));
	PoppedKey	popped;
	PoppedKey  *own;
	int			own_count;
	int			own_next = 0;
	int			room;
	int			drops = 0;
	bool		by_row;
	bool		(*claim_one) (ReadyKey, const ClaimLane *, const char *, int64, int64,
							  TimestampTz, ClaimedTask *);

	*count = 0;
	call_require_read_committed("claim");
	/* somebody who has the table for himself may have the others, too */
	if (!lease_store_table_is_free(call->db->task_relid))
		return tasks;
	agent_require(call, request->agent_id, request->incarnation, &agent);
	agent_require_accepting(&agent);
	(void) roster_beat(call->db, request->agent_id, &call->now, &after_beat);

	lanes = agent_claim_lanes(call, &agent, request->capabilities, request->capability_count,
							  request->lease, &lane_count);
	lane_count = limit_open_lanes(call, lanes, lane_count);
	if (lane_count == 0)
		return tasks;
	lane_ids = agent_lane_ids(lanes, lane_count);
	by_row = hot_store_open(call->db->task_relid);
	claim_one = by_row ? hot_store_claim : lease_store_claim;
	own = effects_own_ready(call->db, lane_ids, lane_count, &own_count);
	room = agent_room(call, &agent, request->max_tasks);
	while (*count < room && drops < MAX_DROPS)
	{
		ClaimedTask *task = &tasks[*count];

		bool		limited;
		ReadyKey	head;
		bool		mine = own_next < own_count &&
			(!ready_head(call->db, lane_ids, lane_count, &head) ||
			 ready_key_compare(own[own_next].key, head) <= 0);

		effects_reserve(1);
		if (mine)
			popped = own[own_next++];
		else if (!ready_pop(call->db, lane_ids, lane_count, &popped))
			break;
		effect_ready(call->db, lane_ids[popped.lane], popped.key, ON_ABORT);
		limited = lane_is_limited(&lanes[popped.lane]);
		if (limited && !limits_take(call->db, &lanes[popped.lane], call->now.mono))
		{
			lane_count = leave_out(call, lanes, lane_ids, lane_count, &popped, mine);
			own = effects_own_ready(call->db, lane_ids, lane_count, &own_count);
			own_next = 0;
			continue;
		}
		if (claim_one(popped.key, &lanes[popped.lane], request->agent_id,
					  agent.facts.incarnation,
					  token_take(call->db, 1, call->now.wall), call->now.wall, task))
		{
			effect_held(call->db, request->agent_id, agent.facts.incarnation, task->task_id, 1,
						NULL);
			effect_wake_at(call->db, task->deadline == 0 ? task->lease_expires_at
						   : Min(task->lease_expires_at, task->deadline));
			counters_note(call->db, TextDatumGetCString(task->capability), COUNT_CLAIMED,
						  TASK_PENDING, TASK_ACTIVE, call->now.wall - task->run_at);
			if (event_wanted(EVENT_TASK_CLAIMED))
				event_record(call, &(Event) {.kind = EVENT_TASK_CLAIMED,
							 .owner = task->enqueued_by, .task_id = task->task_id,
							 .capability = TextDatumGetCString(task->capability),
							 .agent_id = request->agent_id, .attempt = task->attempt,
							 .status = task_status_name(TASK_ACTIVE)});
			(*count)++;
		}
		else
		{
			effect_ready_not(call->db, lane_ids[popped.lane], popped.key);
			if (limited)
				limits_give_back(call->db, &lanes[popped.lane].limits);
			if (drop_key(call, popped.key) && !mine)
				drops++;
		}
		CHECK_FOR_INTERRUPTS();
	}
	if (by_row)
		hot_store_close();
	return tasks;
}
