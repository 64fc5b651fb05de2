/*
 * core/audit.c
 *		What shared memory believes, compared with the tables. See audit.h.
 *
 * An audit reads the indexes of ains.task from their beginning, and so walks
 * the entries of dead rows, which nobody can remove while some long transaction
 * runs. It counts them, and puts the next audit off until they are paid for.
 */
#include "core/audit.h"

#include "miscadmin.h"
#include "port/atomics.h"

#include "core/agent.h"
#include "core/capability.h"
#include "core/task.h"
#include "policy.h"
#include "soft/effects.h"
#include "soft/ready.h"
#include "store/task_store.h"

/* Dead index entries that audits may walk for each second, on average. */
#define AUDIT_DEAD_PER_SECOND	20000
/* Missing keys that one audit names; if there are more, it lowers their lanes. */
#define AUDIT_ROOM	1000

bool
audit_affordable(Call *call)
{
	return db_audit_due(call->db) <= call->now.mono;
}

/* What was read since `before`, but for so many live rows, was dead. */
static void
pay(Call *call, int64 before, int64 live)
{
	int64		dead = task_store_index_reads() - before - live;

	if (dead > 0)
		db_put_off_audit(call->db, call->now.mono,
						 dead * (USECS_PER_SEC / AUDIT_DEAD_PER_SECOND));
}

static int
by_agent_id(const void *key, const void *row)
{
	return strcmp(key, ((const AgentRow *) row)->agent_id);
}

/*
 * Brings the roster to what the rows of agents say: loads those that should be
 * watched, corrects what differs, and forgets those whose row was deleted.
 */
void
audit_agents(Call *call, bool leases)
{
	int64		before = task_store_index_reads();
	int64		live = 0;
	AgentView	view;
	AgentRow   *rows;
	int			count;
	int			position = 0;

	/* what this transaction did to leases the roster does not know yet */
	leases = leases && !effects_any();
	rows = agent_store_all(leases, &count);
	for (int i = 0; i < count; i++)
	{
		const AgentRow *row = &rows[i];
		AgentStatus status = policy_agent_status(row->facts.wanted, row->facts.health,
												 row->facts.dead);
		bool		expected = status != AGENT_INACTIVE && status != AGENT_DEAD;

		live += row->held;
		if (!expected && row->held == 0 && !roster_find(call->db, row->agent_id, &view))
			continue;
		if (!agent_find(call, row->agent_id, &view) || !view.in_roster)
			continue;
		agent_reconcile(call, &view, &row->facts);
		if (leases)
			roster_audit_held(call->db, &view, row->held, row->held_hash);
		CHECK_FOR_INTERRUPTS();
	}
	while (roster_next(call->db, &position, &view))
	{
		AgentFacts	facts;

		if (bsearch(view.agent_id, rows, count, sizeof(AgentRow), by_agent_id) == NULL &&
			!agent_store_find(view.agent_id, &facts))
			roster_remove(call->db, view.agent_id, view.facts.version + 1);
		CHECK_FOR_INTERRUPTS();
	}
	if (leases)
		pay(call, before, live);
}

/*
 * A capability whose row was deleted while its lane stays comes back, since
 * tasks may name the lane; any other change makes backends read them anew.
 */
void
audit_policies(Call *call)
{
	int			count;
	char	  **lost = capability_store_lost(&count);

	/* first, since what is cached may still know those that are gone */
	if (db_policies_differ(call->db, capability_store_checksum()))
		effect_policy_changed(call->db);
	for (int i = 0; i < count; i++)
		(void) capability_restore(call, lost[i]);
}

/* Lowers the sweeper's mark to the first wake_at that it would never see. */
void
audit_wakes(Call *call)
{
	int64		before = task_store_index_reads();
	uint64		lowered;
	TimestampTz until = db_read_unswept(call->db, &lowered);
	TimestampTz earliest = task_store_earliest_wake(PG_INT64_MIN, until);

	if (earliest < until)
		db_wake_at(call->db, earliest);
	pay(call, before, earliest < until ? 1 : 0);
}

/* What the last audit of this process found missing. */
static struct
{
	DbState    *db;
	int			count;
	ReadyKey	keys[AUDIT_ROOM];
}			suspects;

static bool
is_suspect(Call *call, ReadyKey key)
{
	for (int i = 0; i < suspects.count && suspects.db == call->db; i++)
		if (ready_key_compare(suspects.keys[i], key) == 0)
			return true;
	return false;
}

/*
 * Compares the ready set with the table. A key that is missing may be in
 * motion, so its row is locked, if that does not wait, and its key pushed as by
 * everybody who locks one: once too often harms nobody. One that is missing
 * twice in a row and not locked was lost: it counts as drift. Where more are
 * missing than there is room to name, the lane is to read them again itself.
 */
void
audit_ready_set(Call *call)
{
	int64		before = task_store_index_reads();
	int64		live = 0;
	int			lane_count;
	int32	   *lane_ids = ready_lanes(call->db, &lane_count);
	ReadyKey   *missing = palloc((AUDIT_ROOM + lane_count) * sizeof(ReadyKey));
	int			found = 0;

	for (int i = 0; i < lane_count; i++)
	{
		int			room = Max(AUDIT_ROOM - found, 1);
		int			count = ready_missing(call->db, lane_ids[i], missing + found, room, &live);

		if (count == room)
			effect_lower(call->db, lane_ids[i], missing[found + count - 1]);
		for (int j = found; j < found + count; j++)
		{
			TaskRow		task;

			effects_reserve(1);
			if (task_store_lock_free(missing[j].task_id, &task))
			{
				task_note_locked(call, &task);
				if (task.status == TASK_PENDING && task.rank == missing[j].rank &&
					is_suspect(call, missing[j]))
					db_note_drift(call->db);
			}
			CHECK_FOR_INTERRUPTS();
		}
		found += count;
	}
	suspects.count = Min(found, AUDIT_ROOM);
	memcpy(suspects.keys, missing, suspects.count * sizeof(ReadyKey));
	suspects.db = call->db;
	pay(call, before, live);
}
