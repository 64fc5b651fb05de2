/*
 * core/lease.c
 *		What the holder of a lease does, and every way a lease ends.
 *
 * Fencing: a call on a claimed task presents (task_id, lease_token), and a
 * token that is not the row's is refused with NS001, whatever the clock says.
 * The usual calls test the token as they write; only when that finds nothing
 * the row is looked at to say why.
 */
#include "core/lease.h"

#include "common/pg_prng.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "clock.h"
#include "compat.h"
#include "core/agent.h"
#include "core/capability.h"
#include "core/concurrency_key.h"
#include "core/event.h"
#include "core/route.h"
#include "core/shelf.h"
#include "core/task.h"
#include "core/task_end.h"
#include "errors.h"
#include "soft/counters.h"
#include "soft/effects.h"
#include "soft/journal.h"
#include "soft/limits.h"
#include "store/history_store.h"
#include "store/hot_store.h"

/* The calls whose repetition is answered instead of refused. */
typedef enum Ending
{
	ENDING_NONE,
	ENDING_COMPLETE,
	ENDING_FAIL,
	ENDING_RELEASE
} Ending;

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

/*
 * A task, as it was when it was held, is completed and put away: what follows
 * from that.
 */
static void
completed(Call *call, const TaskRow *task, const CapabilityRow *capability, Datum result)
{
	TrustDelta	trust = policy_trust("completed", task->claimed_at, call->now.wall,
									 task->timeout >= 0 ? task->timeout : capability->timeout,
									 task->lease_token);

	counters_note(call->db, capability->name, COUNT_COMPLETED, TASK_ACTIVE, TASK_COMPLETED,
				  call->now.wall - task->claimed_at);
	if (capability->limits.concurrency > 0)
		limits_freed(call->db, &capability->limits);
	effect_held(call->db, task->agent_id, 0, task->task_id, -1, &trust);
	task_note_event(call, task, EVENT_TASK_COMPLETED, TASK_COMPLETED);
	task_ended(call, task, TASK_COMPLETED, result);
}

/*
 * Completes a task if the token holds it, its cancel was not requested and the
 * caller may; false, and nothing changed, if not. Two ways of the same: row by
 * row, between hot_store_open_shelf and hot_store_close, and by statements.
 */
typedef bool (*CompleteOne) (Call *call, int64 task_id, int64 token, Datum result,
							 Datum usage, DateADT shelf);

static bool
complete_row(Call *call, int64 task_id, int64 token, Datum result, Datum usage, DateADT shelf)
{
	TaskRow		task;
	const CapabilityRow *capability;

	do
	{
		CHECK_FOR_INTERRUPTS();
		if (!hot_store_find_held(task_id, token, &task) ||
			!agent_is_own(call, task.agent_id))
			return false;
		capability = capability_restore(call, task.capability);
	} while (!hot_store_complete(result, usage, call->now.wall, shelf,
								 capability->keep_history));
	completed(call, &task, capability, result);
	return true;
}

static bool
complete_locked(Call *call, int64 task_id, int64 token, Datum result, Datum usage,
				DateADT shelf)
{
	TaskRow		task;
	const CapabilityRow *capability;
	Finish		finish = {.status = TASK_COMPLETED, .now = call->now.wall, .shelf = shelf,
	.result = result, .usage = usage};

	effects_reserve(1);
	if (!task_store_lock(task_id, &task))
		return false;
	task_note_locked(call, &task);
	if (task.status != TASK_ACTIVE || task.lease_token != token || task.cancel_requested ||
		!agent_is_own(call, task.agent_id))
		return false;
	finish.attempt = task.attempt;
	capability = capability_restore(call, task.capability);
	finish.keep = capability->keep_history;
	history_store_finish(task_id, &finish);
	completed(call, &task, capability, result);
	return true;
}

/* Completes a task; a repetition changes nothing. Raises likewise. */
void
lease_complete(Call *call, int64 task_id, int64 token, Datum result, Datum usage)
{
	DateADT		shelf = shelf_today(call);

	for (;;)
	{
		bool		by_row = hot_store_open_shelf(call->db->task_relid, shelf);
		CompleteOne complete_one = by_row ? complete_row : complete_locked;
		bool		done = complete_one(call, task_id, token, result, usage, shelf);

		if (by_row)
			hot_store_close();
		if (done || explain_refusal(call, task_id, token, ENDING_COMPLETE) == TASK_COMPLETED)
			return;
		CHECK_FOR_INTERRUPTS();
	}
}

/*
 * Completes those of the tasks that can be; returns their ids in input order,
 * including those that were completed by the same token before. task_ids and
 * tokens are the same as the arrays ids and lease_tokens, results a Datum for
 * each or NULL.
 */
int64 *
lease_complete_batch(Call *call, const int64 *ids, const int64 *lease_tokens, Datum task_ids,
					 Datum tokens, const Datum *results, int asked, int *count)
{
	int64	   *by_place = palloc0(asked * sizeof(int64));
	int64	   *done = palloc(asked * sizeof(int64));
	DateADT		shelf = shelf_today(call);
	bool		by_row = hot_store_open_shelf(call->db->task_relid, shelf);
	CompleteOne complete_one = by_row ? complete_row : complete_locked;
	bool		all = true;

	for (int i = 0; i < asked; i++)
	{
		if (complete_one(call, ids[i], lease_tokens[i], results == NULL ? 0 : results[i],
						 0, shelf))
			by_place[i] = ids[i];
		else
			all = false;
		CHECK_FOR_INTERRUPTS();
	}
	if (by_row)
		hot_store_close();
	if (!all)
	{
		int			found;
		BatchItem  *items = history_store_completed_before(task_ids, tokens, call->role, &found);

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
		events = COUNT_LEASE_LOST | (end == END_TIMED_OUT ? COUNT_TIMED_OUT : 0);
	return events | (waits ? COUNT_RETRIED :
					 status == TASK_CANCELLED ? COUNT_CANCELLED : COUNT_FAILED);
}

/* Tells the log of a lease that was taken back, and of a task that failed for good. */
static void
report_end(Call *call, const TaskRow *task, const Verdict *verdict, int events)
{
	if (events & COUNT_LEASE_LOST)
		journal_note(call->db, JOURNAL_LEASE_TAKEN_BACK,
					 psprintf("\"task_id\": " INT64_FORMAT ", \"capability\": %s, \"agent_id\": %s, \"attempt\": %d, \"reason\": \"%s\", \"next_status\": \"%s\"",
							  task->task_id, journal_text(task->capability),
							  journal_text(task->agent_id), task->attempt,
							  verdict->outcome, task_status_name(verdict->status)));
	if (events & COUNT_FAILED)
		journal_dead_letter(call->db, task->task_id, task->capability, task->attempt,
							verdict->outcome);
}

/* The same as an event. */
static EventKind
event_of(AttemptEnd end, TaskStatus status)
{
	if (status == TASK_CANCELLED)
		return EVENT_TASK_CANCELLED;
	if (status == TASK_FAILED)
		return EVENT_TASK_FAILED;
	return end == END_RELEASED ? EVENT_TASK_RELEASED : EVENT_TASK_RETRIED;
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
	DateADT		shelf = shelf_today(call);
	AgentView	agent;
	TrustDelta	trust;
	Verdict		verdict;
	bool		keep;
	int32		attempt;
	int			events;

	if (capability->limits.concurrency > 0)
		limits_freed(call->db, &capability->limits);
	if (task->max_attempts > 0)
		policy.max_attempts = task->max_attempts;
	if (error == NULL)
		error = default_error(end);
	verdict = policy_end_attempt(end, task->attempt, task->cancel_requested, &policy,
								 asked_delay, pg_prng_double(&pg_global_prng_state));
	keep = task_is_kept(task, verdict.status, capability);
	attempt = verdict.counted ? task->attempt : task->attempt - 1;

	if (verdict.outcome != NULL)
		history_store_add_attempt(task->task_id, verdict.outcome, verdict.status, error,
								  call->now.wall, shelf);
	trust = policy_trust(verdict.outcome, task->claimed_at, call->now.wall, -1,
						 task->lease_token);
	/* its trust is kept in the roster */
	(void) agent_find(call, task->agent_id, &agent);
	effect_held(call->db, task->agent_id, 0, task->task_id, -1, &trust);
	events = events_of(end, verdict.status);
	counters_note(call->db, task->capability, events, TASK_ACTIVE, verdict.status, 0);
	report_end(call, task, &verdict, events);
	event_note(call, &(Event) {.kind = event_of(end, verdict.status),
			   .owner = task->enqueued_by, .task_id = task->task_id,
			   .capability = task->capability, .agent_id = task->agent_id,
			   .attempt = task->attempt, .status = task_status_name(verdict.status),
			   .outcome = verdict.outcome, .error = error});

	if (verdict.status == TASK_PENDING || verdict.status == TASK_SCHEDULED)
	{
		TimestampTz run_at = task->run_at;
		TimestampTz wake_at = 0;
		int32		lane_id;

		if (verdict.status == TASK_SCHEDULED)
			run_at = wake_at = time_plus(call->now.wall, verdict.delay);
		/* only a task that was never started expires */
		if (attempt == 0 && task->expires_at != 0)
			wake_at = wake_at == 0 ? task->expires_at : Min(wake_at, task->expires_at);
		task_store_wait_again(task->task_id, verdict.status, attempt, run_at, wake_at, error);
		lane_id = route_waiting(call, task);
		if (wake_at != 0)
			effect_wake_at(call->db, wake_at);
		if (verdict.status == TASK_PENDING)
			effect_ready(call->db, lane_id, (ReadyKey) {task->rank, task->task_id}, ON_COMMIT);
		else
			concurrency_key_leave(call, task->capability, task->concurrency_key);
	}
	else
	{
		Finish		finish = {.status = verdict.status, .now = call->now.wall,
			.shelf = shelf, .keep = keep, .error = error, .attempt = attempt};

		history_store_finish(task->task_id, &finish);
		task_ended(call, task, verdict.status, 0);
	}
	return verdict.status;
}

/*
 * Locks the tasks an agent holds, at most AINS_SWEEP_BATCH of them; with
 * skip_locked, without those that somebody is working on. Who uses that asks
 * task_end_is_free() before he ends one.
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
	int64		before;

	do
	{
		int			count;
		TaskRow    *tasks = lease_lock_of_agent(call, agent_id, skip_locked, &count);

		before = total;
		for (int i = 0; i < count; i++)
		{
			/* the end of one before may have taken from the line who was first */
			if (skip_locked && !task_end_is_free(call, &tasks[i]))
				continue;
			(void) lease_end(call, &tasks[i], end, NULL, -1);
			total++;
		}
		CHECK_FOR_INTERRUPTS();
	} while (total > before);
	return total;
}
