/*
 * core/lease.c
 *		Claims, and every way a lease ends.
 *
 * Fencing: a call on a claimed task presents (task_id, lease_token), and a
 * token that is not the row's is refused with NS001, whatever the clock says.
 * The usual calls are one statement that tests the token by its WHERE; only
 * when that finds nothing the row is looked at to say why.
 */
#include "core/lease.h"

#include "common/pg_prng.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "clock.h"
#include "compat.h"
#include "core/agent.h"
#include "core/capability.h"
#include "core/shelf.h"
#include "core/task.h"
#include "errors.h"
#include "soft/counters.h"
#include "soft/effects.h"
#include "soft/ready.h"
#include "soft/token.h"
#include "store/history_store.h"

/* A claim that met so many tasks somebody has locked returns what it has. */
#define MAX_DROPS	64

/* The calls whose repetition is answered instead of refused. */
typedef enum Ending
{
	ENDING_NONE,
	ENDING_COMPLETE,
	ENDING_FAIL,
	ENDING_RELEASE
} Ending;

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

/*
 * Whether the lanes have something to claim. Keys at their head that are of no
 * use are dropped, since a waiter would wake for them again and again.
 */
bool
lease_claimable(Call *call, const int32 *lane_ids, int lane_count)
{
	ReadyKey	head;

	for (int drops = 0; drops < MAX_DROPS;)
	{
		PoppedKey	popped;
		TaskRow		task;

		if (lane_count == 0 || !ready_head(call->db, lane_ids, lane_count, &head))
			return false;
		if (task_store_find(head.task_id, &task) && fits(call, &task, head))
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
 * Takes up to request->max_tasks tasks for an agent, in rank order. Counts as
 * a beat unless it is refused: NS002, 42501, NS005; 0A000 under REPEATABLE
 * READ. What this transaction enqueued itself can be had before it commits.
 * Result in the current context.
 */
ClaimedTask *
lease_claim(Call *call, const ClaimRequest *request, int *count)
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
	if (lane_count == 0)
		return tasks;
	lane_ids = agent_lane_ids(lanes, lane_count);
	own = effects_own_ready(call->db, lane_ids, lane_count, &own_count);
	room = agent_room(call, &agent, request->max_tasks);
	while (*count < room && drops < MAX_DROPS)
	{
		ClaimedTask *task = &tasks[*count];

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
		if (lease_store_claim(popped.key, &lanes[popped.lane], request->agent_id,
							  agent.facts.incarnation,
							  token_take(call->db, 1, call->now.wall), call->now.wall, task))
		{
			effect_held(call->db, request->agent_id, agent.facts.incarnation, task->task_id, 1);
			effect_wake_at(call->db, task->deadline == 0 ? task->lease_expires_at
						   : Min(task->lease_expires_at, task->deadline));
			counters_note(call->db, TextDatumGetCString(task->capability), COUNT_CLAIMED,
						  TASK_PENDING, TASK_ACTIVE, call->now.wall - task->run_at);
			(*count)++;
		}
		else
		{
			effect_ready_not(call->db, lane_ids[popped.lane], popped.key);
			if (drop_key(call, popped.key) && !mine)
				drops++;
		}
		CHECK_FOR_INTERRUPTS();
	}
	return tasks;
}

pg_noreturn static void
refuse_token(int64 task_id, int64 token)
{
	ereport(ERROR,
			(errcode(AINS_LEASE_LOST),
			 errmsg("lease lost"),
			 errdetail("Token " INT64_FORMAT " does not hold task " INT64_FORMAT ".",
					   token, task_id),
			 errhint("Drop the work: the task was taken back or ended otherwise.")));
}

pg_noreturn static void
refuse_cancelled(int64 task_id)
{
	ereport(ERROR,
			(errcode(AINS_TASK_CANCELLED),
			 errmsg("task cancelled"),
			 errdetail("The cancellation of task " INT64_FORMAT " was requested.", task_id),
			 errhint("End it with ains.fail or ains.release.")));
}

/*
 * A token did not hold its task: returns if this is the repetition of a call
 * that succeeded, with what that call answered; else raises NS001, NS003,
 * NS004 or 42501. Returns TASK_ACTIVE if the token does hold it after all.
 */
static TaskStatus
explain_refusal(Call *call, int64 task_id, int64 token, Ending ending)
{
	TaskRow		task;
	HistoryRow	past;
	AttemptRow	attempt;
	const char *agent_id;
	bool		live = task_store_find(task_id, &task);
	bool		ended;

	/* the statement that found no row may have locked a later version of it */
	if (live)
		task_note_locked(call, &task);

	if (!live && !history_store_find(task_id, &past))
		task_refuse_unknown(task_id);

	agent_id = live ? task.agent_id : past.agent_id;
	if (agent_id == NULL)
		refuse_token(task_id, token);
	if (live && task.status == TASK_ACTIVE && task.lease_token == token)
	{
		agent_require_owner(call, agent_id);
		if (task.cancel_requested)
			refuse_cancelled(task_id);
		return TASK_ACTIVE;
	}

	switch (ending)
	{
		case ENDING_NONE:
			break;
		case ENDING_COMPLETE:
			if (!live && past.status == TASK_COMPLETED && past.lease_token == token)
			{
				agent_require_owner(call, agent_id);
				return TASK_COMPLETED;
			}
			break;
		case ENDING_FAIL:
		case ENDING_RELEASE:
			ended = history_store_find_attempt(task_id, token, &attempt);
			/* either of them ends a task that was to be cancelled */
			if (ended && (strcmp(attempt.outcome, "cancelled") == 0 ||
						  (ending == ENDING_FAIL && strcmp(attempt.outcome, "failed") == 0)))
			{
				agent_require_owner(call, agent_id);
				return attempt.next_status;
			}
			/* a release writes no attempt, and is the only end that does not */
			if (!ended && ending == ENDING_RELEASE && live && task.lease_token == token)
			{
				agent_require_owner(call, agent_id);
				return task.status;
			}
			break;
	}
	refuse_token(task_id, token);
}

/*
 * Lets a lease run for `lease` more (-1: its own length) and returns its end.
 * Raises NS001, NS003, NS004, 42501.
 */
TimestampTz
lease_extend(Call *call, int64 task_id, int64 token, int64 lease)
{
	for (;;)
	{
		char	   *agent_id;
		TimestampTz expires_at = lease_store_extend(task_id, token, lease, call->now.wall,
													&agent_id);

		if (expires_at != 0)
		{
			agent_require_owner(call, agent_id);
			return expires_at;
		}
		(void) explain_refusal(call, task_id, token, ENDING_NONE);
		CHECK_FOR_INTERRUPTS();
	}
}

/* Saves where to resume, extends the lease, returns its end; raises likewise. */
TimestampTz
lease_checkpoint(Call *call, int64 task_id, int64 token, Datum state, float4 progress)
{
	for (;;)
	{
		char	   *agent_id;
		TimestampTz expires_at = lease_store_checkpoint(task_id, token, state, progress,
														call->now.wall, &agent_id);

		if (expires_at != 0)
		{
			agent_require_owner(call, agent_id);
			return expires_at;
		}
		(void) explain_refusal(call, task_id, token, ENDING_NONE);
		CHECK_FOR_INTERRUPTS();
	}
}

static void
note_completed(Call *call, const BatchItem *item)
{
	counters_note(call->db, item->capability, COUNT_COMPLETED, TASK_ACTIVE, TASK_COMPLETED,
				  call->now.wall - item->claimed_at);
}

/* Completes a task; a repetition changes nothing. Raises likewise. */
void
lease_complete(Call *call, int64 task_id, int64 token, Datum result, Datum usage)
{
	BatchItem	done;

	while (!history_store_complete(task_id, token, result, usage, call->now.wall,
								   shelf_today(call), &done))
	{
		if (explain_refusal(call, task_id, token, ENDING_COMPLETE) == TASK_COMPLETED)
			return;
		CHECK_FOR_INTERRUPTS();
	}
	/* the statement is done, but an error undoes it */
	effect_held(call->db, done.agent_id, 0, task_id, -1);
	agent_require_owner(call, done.agent_id);
	effect_finished(call->db, task_id);
	note_completed(call, &done);
}

/*
 * Completes those of the tasks that can be; returns their ids in input order,
 * including those that were completed by the same token before. task_ids (the
 * same as ids) and tokens are bigint[], results a jsonb[] or 0.
 */
int64 *
lease_complete_batch(Call *call, const int64 *ids, Datum task_ids, Datum tokens,
					 Datum results, int asked, int *count)
{
	int64	   *by_place = palloc0(asked * sizeof(int64));
	int64	   *done = palloc(asked * sizeof(int64));
	BatchItem  *items;
	int			found;

	items = history_store_complete_batch(task_ids, tokens, results, call->role,
										 call->now.wall, shelf_today(call), &found);
	for (int i = 0; i < found; i++)
	{
		by_place[items[i].n - 1] = items[i].task_id;
		effect_held(call->db, items[i].agent_id, 0, items[i].task_id, -1);
		effect_finished(call->db, items[i].task_id);
		note_completed(call, &items[i]);
	}
	if (found < asked)
	{
		/* it may have locked a later version of what it did not complete */
		for (int i = 0; i < asked; i++)
		{
			TaskRow		task;

			if (by_place[i] == 0 && task_store_find(ids[i], &task))
				task_note_locked(call, &task);
		}
		/* a statement of its own sees what the first one may have waited for */
		items = history_store_completed_before(task_ids, tokens, call->role, &found);
		for (int i = 0; i < found; i++)
			by_place[items[i].n - 1] = items[i].task_id;
	}
	*count = 0;
	for (int i = 0; i < asked; i++)
		if (by_place[i] != 0)
			done[(*count)++] = by_place[i];
	return done;
}

/* Locks a task that the token holds; false if this is a repetition. */
static bool
lock_held(Call *call, int64 task_id, int64 token, Ending ending, TaskRow *task,
		  TaskStatus *answer)
{
	for (;;)
	{
		effects_reserve(1);
		if (task_store_lock(task_id, task))
		{
			task_note_locked(call, task);
			if (task->status == TASK_ACTIVE && task->lease_token == token)
			{
				agent_require_owner(call, task->agent_id);
				return true;
			}
		}
		*answer = explain_refusal(call, task_id, token, ending);
		if (*answer != TASK_ACTIVE)
			return false;
		CHECK_FOR_INTERRUPTS();
	}
}

/*
 * The agent could not do it: ends the attempt, returns the task's new status.
 * retry_after: -1 for the backoff. Raises NS001, NS003, 42501.
 */
TaskStatus
lease_fail(Call *call, int64 task_id, int64 token, const char *error,
		   Retryable retryable, int64 retry_after)
{
	TaskRow		task;
	TaskStatus	answer;
	bool		retry = retryable == RETRYABLE_YES;

	if (!lock_held(call, task_id, token, ENDING_FAIL, &task, &answer))
		return answer;
	if (retryable == RETRYABLE_BY_PATTERN)
		retry = !history_store_non_retryable(error);
	return lease_end(call, &task, retry ? END_FAILED : END_REFUSED, error, retry_after);
}

/* Gives a task back unharmed, to be claimable after `delay`; raises likewise. */
void
lease_release(Call *call, int64 task_id, int64 token, int64 delay)
{
	TaskRow		task;
	TaskStatus	answer;

	if (lock_held(call, task_id, token, ENDING_RELEASE, &task, &answer))
		(void) lease_end(call, &task, END_RELEASED, NULL, delay);
}

/* What the row says when nobody else does. */
static const char *
default_error(AttemptEnd end)
{
	switch (end)
	{
		case END_TIMED_OUT:
			return "attempt timed out";
		case END_LEASE_EXPIRED:
			return "lease expired";
		case END_AGENT_DEAD:
			return "agent died";
		case END_DISCONNECTED:
			return "the agent's connection ended";
		case END_REREGISTERED:
			return "the agent registered again";
		case END_NOT_HELD:
			return "the agent does not know of this task";
		default:
			return NULL;
	}
}

/* What the counters call the end of an attempt that was not completed. */
static int
events_of(AttemptEnd end, TaskStatus status)
{
	bool		waits = status == TASK_PENDING || status == TASK_SCHEDULED;
	int			events = 0;

	if (end == END_RELEASED && waits)
		return COUNT_RELEASED;
	if (end != END_FAILED && end != END_REFUSED && end != END_RELEASED)
		events = COUNT_LEASE_LOST;
	return events | (waits ? COUNT_RETRIED :
					 status == TASK_CANCELLED ? COUNT_CANCELLED : COUNT_FAILED);
}

/*
 * Ends the attempt of an ACTIVE task whose row is locked by us, as the table
 * in policy.c says. asked_delay: -1 for none. Returns the task's new status.
 */
TaskStatus
lease_end(Call *call, const TaskRow *task, AttemptEnd end, const char *error,
		  int64 asked_delay)
{
	const CapabilityRow *capability = capability_restore(call, task->capability);
	RetryPolicy policy = capability->retry;
	bool		keep = capability->keep_history;
	DateADT		shelf = shelf_today(call);
	Verdict		verdict;
	int32		attempt;

	if (task->max_attempts > 0)
		policy.max_attempts = task->max_attempts;
	if (error == NULL)
		error = default_error(end);
	verdict = policy_end_attempt(end, task->attempt, task->cancel_requested, &policy,
								 asked_delay, pg_prng_double(&pg_global_prng_state));
	attempt = verdict.counted ? task->attempt : task->attempt - 1;

	if (verdict.outcome != NULL)
		history_store_add_attempt(task->task_id, verdict.outcome, verdict.status, error,
								  call->now.wall, shelf);
	effect_held(call->db, task->agent_id, 0, task->task_id, -1);
	counters_note(call->db, task->capability, events_of(end, verdict.status), TASK_ACTIVE,
				  verdict.status, 0);

	if (verdict.status == TASK_PENDING || verdict.status == TASK_SCHEDULED)
	{
		TimestampTz run_at = task->run_at;
		TimestampTz wake_at = 0;

		if (verdict.status == TASK_SCHEDULED)
			run_at = wake_at = time_plus(call->now.wall, verdict.delay);
		/* only a task that was never started expires */
		if (attempt == 0 && task->expires_at != 0)
			wake_at = wake_at == 0 ? task->expires_at : Min(wake_at, task->expires_at);
		task_store_wait_again(task->task_id, verdict.status, attempt, run_at, wake_at, error);
		if (wake_at != 0)
			effect_wake_at(call->db, wake_at);
		if (verdict.status == TASK_PENDING)
			effect_ready(call->db, task->lane_id, (ReadyKey) {task->rank, task->task_id},
						 ON_COMMIT);
	}
	else
	{
		Finish		finish = {.status = verdict.status, .now = call->now.wall,
			.shelf = shelf, .keep = keep, .error = error, .attempt = attempt};

		history_store_finish(task->task_id, &finish);
		effect_finished(call->db, task->task_id);
	}
	return verdict.status;
}

/*
 * Locks the tasks an agent holds, at most AINS_SWEEP_BATCH of them; with
 * skip_locked, without those that somebody is working on.
 */
TaskRow *
lease_lock_of_agent(Call *call, const char *agent_id, bool skip_locked, int *count)
{
	TaskRow    *tasks;
	int			held = 0;

	effects_reserve(AINS_SWEEP_BATCH);
	tasks = task_store_lock_of_agent(agent_id, skip_locked, count);
	for (int i = 0; i < *count; i++)
		task_note_locked(call, &tasks[i]);
	for (int i = 0; i < *count; i++)
	{
		/* it may have changed hands before we had the lock */
		if (tasks[i].status == TASK_ACTIVE && strcmp(tasks[i].agent_id, agent_id) == 0)
			tasks[held++] = tasks[i];
	}
	*count = held;
	return tasks;
}

/*
 * Ends the attempts of all tasks an agent holds; returns how many. With
 * skip_locked, those that somebody is working on are left for the next time.
 */
int64
lease_take_back_all(Call *call, const char *agent_id, AttemptEnd end, bool skip_locked)
{
	int64		total = 0;
	int			count;

	do
	{
		TaskRow    *tasks = lease_lock_of_agent(call, agent_id, skip_locked, &count);

		for (int i = 0; i < count; i++)
			(void) lease_end(call, &tasks[i], end, NULL, -1);
		total += count;
		CHECK_FOR_INTERRUPTS();
	} while (count > 0);
	return total;
}
