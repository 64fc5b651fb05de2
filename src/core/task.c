/*
 * core/task.c
 *		Tasks as producers see them: enqueue, cancel, retry, priority.
 */
#include "core/task.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "clock.h"
#include "compat.h"
#include "core/agent.h"
#include "core/capability.h"
#include "core/concurrency_key.h"
#include "core/dependency.h"
#include "core/event.h"
#include "core/limit.h"
#include "core/route.h"
#include "core/run.h"
#include "core/shelf.h"
#include "core/task_end.h"
#include "errors.h"
#include "policy.h"
#include "soft/counters.h"
#include "soft/effects.h"
#include "store/dependency_store.h"
#include "store/history_store.h"
#include "store/hot_store.h"

/*
 * Fills in what follows from the capability, the times, the dependencies, the
 * trust and the agent that a new task is to have.
 */
static void
place(Call *call, NewTask *task, bool blocked)
{
	const CapabilityRow *capability = capability_ensure(call, task->capability);

	task->lane_id = capability->lane_id;
	task->now = call->now.wall;
	task->enqueued_by = call->role;
	if (task->run_at == 0)
		task->run_at = call->now.wall;
	task->status = blocked ? TASK_BLOCKED
		: task->run_at > call->now.wall ? TASK_SCHEDULED : TASK_PENDING;
	task->rank = policy_rank(task->run_at, task->priority, capability->aging_interval);
	task->wake_at = task->expires_at;
	if (task->status == TASK_SCHEDULED)
		task->wake_at = task->wake_at == 0 ? task->run_at : Min(task->wake_at, task->run_at);
	if (task->agent_id != NULL)
		task->lane_id = route_lane_of_agent(call, capability, task->min_trust, task->agent_id);
	else if (task->min_trust != 0)
		task->lane_id = route_lane(call, capability, task->min_trust, NULL);
	/* ending a task needs a shelf, and this is the time to wait for one */
	(void) shelf_today(call);
}

/* What the commit of such a task sets in motion. */
static void
announce(Call *call, const NewTask *task, int64 rank, int64 task_id)
{
	if (task->status == TASK_PENDING)
		effect_ready(call->db, task->lane_id, (ReadyKey) {rank, task_id}, ON_COMMIT);
	if (task->wake_at != 0)
		effect_wake_at(call->db, task->wake_at);
	counters_note(call->db, task->capability, COUNT_ENQUEUED, TASK_ABSENT, task->status, 0);
	event_note(call, &(Event) {.kind = EVENT_TASK_ENQUEUED, .owner = task->enqueued_by,
			   .task_id = task_id, .capability = task->capability,
			   .status = task_status_name(task->status)});
}

/*
 * To be called for every row that was locked, with room for an effect reserved
 * before: a claim that meets our lock drops the key of the row, so we push it
 * when we are done.
 */
void
task_note_locked(Call *call, const TaskRow *task)
{
	if (task->status == TASK_PENDING)
		effect_ready(call->db, task->lane_id, (ReadyKey) {task->rank, task->task_id}, ON_END);
}

/* The row that was noted so has changed its key since, or is no longer PENDING. */
void
task_note_changed(Call *call, const TaskRow *task)
{
	if (task->status == TASK_PENDING)
		effect_ready_changed(call->db, task->lane_id, (ReadyKey) {task->rank, task->task_id});
}

/* An event of a live task whose row was locked; `status` is what it is from now on. */
void
task_note_event(Call *call, const TaskRow *task, EventKind kind, TaskStatus status)
{
	event_note(call, &(Event) {.kind = kind, .owner = task->enqueued_by,
			   .task_id = task->task_id, .capability = task->capability,
			   .agent_id = task->agent_id, .attempt = task->attempt,
			   .status = task_status_name(status)});
}

pg_noreturn static void
refuse_duplicate(const char *capability, const char *unique_key)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNIQUE_VIOLATION),
			 errmsg("a live task has this unique_key"),
			 errdetail("Key \"%s\" of capability \"%s\" is taken.", unique_key, capability),
			 errhint("Wait until that task has ended, or use another key.")));
}

/*
 * Enqueues a task; of it, the caller fills in capability, priority,
 * max_attempts, timeout, run_at, expires_at, unique_key, payload, metadata,
 * min_trust, agent_id, depends_on, run_id, stage, takes_output, concurrency_key,
 * and has looked at the quota (limit_enqueue), if that is to count.
 * Returns its id, or that of the live task with its unique key. Raises NS007,
 * 23505, for agent_id NS002 and 22023, for depends_on NS003, NS006 and
 * 42501, for run_id 42704, NS006 and 42501.
 */
int64
task_enqueue(Call *call, NewTask *task, OnConflict on_conflict)
{
	int64	   *unmet = palloc(Max(task->depends_on_count, 1) * sizeof(int64));
	bool		goes_on = task->run_id != 0 && run_require_open(call, task->run_id);
	int			unmet_count;
	bool		limited;

	unmet_count = dependency_await(call, task->depends_on, task->depends_on_count, false,
								   goes_on, unmet);
	place(call, task, unmet_count > 0);
	/* this may read the policy anew, so it comes after the last look at it */
	limited = task->status == TASK_PENDING &&
		concurrency_key_is_limited(call, task->capability, task->concurrency_key);
	if (limited)
		task->status = task->unique_key != NULL ? TASK_BLOCKED
			: concurrency_key_enter(call, task->capability, task->concurrency_key);
	for (;;)
	{
		TaskRow		other;
		int64		task_id;

		if (task->unique_key == NULL && hot_store_open(call->db->task_relid))
		{
			task_id = hot_store_insert(task);
			hot_store_close();
		}
		else
			task_id = task_store_insert(task);
		if (task_id != 0)
		{
			if (task->depends_on_count > 0)
				dependency_store_add(task_id, task->depends_on, task->depends_on_count,
									 unmet, unmet_count);
			if (limited && task->unique_key != NULL)
				task->status = concurrency_key_enter_written(call, task_id, task->capability,
															 task->concurrency_key,
															 task->run_at, task->wake_at);
			announce(call, task, task->rank, task_id);
			if (task->run_id != 0)
				run_note_added(call, task->run_id, 1);
			return task_id;
		}
		if (on_conflict == CONFLICT_REFUSE)
			refuse_duplicate(task->capability, task->unique_key);
		effects_reserve(1);
		if (task_store_find_unique(task->capability, task->unique_key,
								   on_conflict == CONFLICT_REPLACE, &other))
		{
			if (on_conflict == CONFLICT_REPLACE)
				task_note_locked(call, &other);
			if (on_conflict == CONFLICT_REPLACE)
				task_require_visible(call, other.task_id, other.enqueued_by, NULL);
			if (on_conflict == CONFLICT_REPLACE && other.status != TASK_ACTIVE)
				task_store_replace(other.task_id, task->payload, task->metadata);
			return other.task_id;
		}
		CHECK_FOR_INTERRUPTS(); /* that one ended in between */
	}
}

static ArrayType *
text_array(char **values, int count)
{
	Datum	   *datums = palloc(count * sizeof(Datum));
	bool	   *nulls = palloc(count * sizeof(bool));
	int			lbound = 1;

	for (int i = 0; i < count; i++)
	{
		nulls[i] = values[i] == NULL;
		datums[i] = nulls[i] ? (Datum) 0 : CStringGetTextDatum(values[i]);
	}
	return construct_md_array(datums, nulls, 1, &count, &lbound, TEXTOID, -1, false, TYPALIGN_INT);
}

/*
 * Enqueues many tasks that share all but payload (a jsonb[]), priority (NULL:
 * the common one) and unique key (NULL: none). Ids in their order; where a
 * live task has the unique key, that one's.
 */
int64 *
task_enqueue_batch(Call *call, NewTask *common, Datum payloads, const int32 *priorities,
				   char **unique_keys, int count)
{
	int64	   *task_ids = palloc0(count * sizeof(int64));
	Datum	   *priority_datums = palloc(count * sizeof(Datum));
	Datum	   *rank_datums = palloc(count * sizeof(Datum));
	int64		aging_interval;
	int64		added = 0;

	if (common->run_id != 0)
		(void) run_require_open(call, common->run_id);
	limit_enqueue(call, count);
	place(call, common, false);
	aging_interval = capability_require(call, common->capability)->aging_interval;
	for (int i = 0; i < count; i++)
	{
		int32		priority = priorities != NULL ? priorities[i] : common->priority;

		priority_datums[i] = Int16GetDatum(priority);
		rank_datums[i] = Int64GetDatum(policy_rank(common->run_at, priority, aging_interval));
	}
	task_store_insert_batch(common, payloads,
							PointerGetDatum(construct_array(priority_datums, count, INT2OID,
															sizeof(int16), true, TYPALIGN_SHORT)),
							PointerGetDatum(construct_array(rank_datums, count, INT8OID,
															sizeof(int64), FLOAT8PASSBYVAL,
															TYPALIGN_DOUBLE)),
							unique_keys != NULL ? PointerGetDatum(text_array(unique_keys, count)) : 0,
							task_ids);
	for (int i = 0; i < count; i++)
	{
		TaskRow		other;

		if (task_ids[i] != 0)
		{
			announce(call, common, DatumGetInt64(rank_datums[i]), task_ids[i]);
			added++;
		}
		else if (task_store_find_unique(common->capability, unique_keys[i], false, &other))
			task_ids[i] = other.task_id;
		else
			/* it ended in between: all or none, so the caller tries again */
			refuse_duplicate(common->capability, unique_keys[i]);
	}
	if (common->run_id != 0)
		run_note_added(call, common->run_id, added);
	return task_ids;
}

void
task_refuse_unknown(int64 task_id)
{
	ereport(ERROR,
			(errcode(AINS_UNKNOWN_TASK),
			 errmsg("unknown task"),
			 errdetail("There is no task " INT64_FORMAT ".", task_id),
			 errhint("It never was, its history is past retention, or none is kept.")));
}

/*
 * Raises 42501 unless the caller is a member of the role that enqueued the
 * task, of the owner of the agent that has it (NULL: none), or an admin.
 */
void
task_require_visible(Call *call, int64 task_id, Oid enqueued_by, const char *agent_id)
{
	AgentView	agent;

	if (call_is_member(call, enqueued_by) || call_is_admin(call))
		return;
	if (agent_id != NULL && agent_find(call, agent_id, &agent) &&
		call_is_member(call, agent.facts.owner))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("permission denied for task " INT64_FORMAT, task_id),
			 errdetail("It belongs to the role that enqueued it and, while held, to the owner of its agent."),
			 errhint("Use a member of one of these roles or of ains_admin.")));
}

void
task_refuse_transition(int64 task_id, TaskStatus status, const char *what, const char *hint)
{
	ereport(ERROR,
			(errcode(AINS_INVALID_TRANSITION),
			 errmsg("cannot %s this task", what),
			 errdetail("Task " INT64_FORMAT " is %s.", task_id, task_status_name(status)),
			 errhint("%s", hint)));
}

/* The task, locked, for somebody who may touch it; raises NS003, NS006, 42501. */
void
task_lock_live(Call *call, int64 task_id, const char *what, TaskRow *task)
{
	HistoryRow	past;

	effects_reserve(1);
	if (task_store_lock(task_id, task))
	{
		task_note_locked(call, task);
		task_require_visible(call, task_id, task->enqueued_by,
							 task->status == TASK_ACTIVE ? task->agent_id : NULL);
		return;
	}
	if (!history_store_find(task_id, &past))
		task_refuse_unknown(task_id);
	task_require_visible(call, task_id, past.enqueued_by, NULL);
	task_refuse_transition(task_id, past.status, what,
						   past.status == TASK_COMPLETED ? "It has ended." :
						   "It has ended; ains.retry puts it back.");
}

/* Cancels a task whose row is locked by us. */
static TaskStatus
cancel_locked(Call *call, const TaskRow *task, const char *reason)
{
	if (task->status == TASK_ACTIVE)
	{
		if (!task->cancel_requested)
		{
			task_store_request_cancel(task->task_id, reason, call->now.wall);
			effect_cancel_requested(call->db, task->agent_id);
			task_note_event(call, task, EVENT_TASK_CANCEL_REQUESTED, TASK_ACTIVE);
		}
		return TASK_ACTIVE;
	}
	task_end_waiting(call, task, TASK_CANCELLED, reason);
	return TASK_CANCELLED;
}

/*
 * A waiting task ends at once; a held one is marked, and its agent told by
 * its next heartbeat. Returns CANCELLED or ACTIVE. Raises NS003, NS006, 42501.
 */
TaskStatus
task_cancel(Call *call, int64 task_id, const char *reason)
{
	TaskRow		task;

	task_lock_live(call, task_id, "cancel", &task);
	return cancel_locked(call, &task, reason);
}

/*
 * The same without waiting for anybody; false if it is gone, or somebody has it,
 * one that waits for it, its key or the next in line. The caller may touch it.
 */
bool
task_cancel_free(Call *call, int64 task_id, const char *reason)
{
	TaskRow		task;

	effects_reserve(1);
	if (!task_store_lock_free(task_id, &task))
		return false;
	task_note_locked(call, &task);
	if (!task_end_is_free(call, &task))
		return false;
	(void) cancel_locked(call, &task, reason);
	return true;
}

/*
 * Makes a finished task live again, for any agent trusted far enough, BLOCKED if
 * it depends on tasks that live or its key is in use;
 * false as history_store_put_back. Raises NS006 if it depends on a task that
 * has ended otherwise than COMPLETED, unless its run (0: none) goes on then.
 */
static bool
put_back(Call *call, int64 task_id, const PastTask *past, bool *key_is_live)
{
	PutBack		back;
	const CapabilityRow *capability;
	TaskRow		task;
	int64		aging_interval;
	int32		lane_id;
	int64	   *depends_on = NULL;
	int64	   *unmet = NULL;
	int			count = 0;
	int			unmet_count = 0;
	bool		limited;
	TaskStatus	status;

	if (past->depends_on_count > 0)
	{
		depends_on = dependency_store_of_ended(task_id, &count);
		unmet = palloc(Max(count, 1) * sizeof(int64));
		unmet_count = dependency_await(call, depends_on, count, true,
									   run_goes_on(call, past->run_id), unmet);
	}
	/* its unique_key comes before its key, if it has one */
	limited = unmet_count == 0 &&
		concurrency_key_is_limited(call, past->capability, past->concurrency_key);
	status = unmet_count > 0 || limited ? TASK_BLOCKED : TASK_PENDING;
	capability = capability_restore(call, past->capability);
	aging_interval = capability->aging_interval;
	lane_id = route_lane(call, capability, past->min_trust, NULL);
	if (!history_store_put_back(task_id, status, lane_id, aging_interval, call->now.wall, &back))
	{
		*key_is_live = back.key_is_live;
		return false;
	}
	if (limited)
		status = concurrency_key_enter_written(call, task_id, past->capability,
											   past->concurrency_key, call->now.wall, 0);
	if (count > 0)
		dependency_store_add(task_id, depends_on, count, unmet, unmet_count);
	if (status == TASK_PENDING)
		effect_ready(call->db, lane_id, (ReadyKey) {back.rank, task_id}, ON_COMMIT);
	counters_note(call->db, past->capability, COUNT_PUT_BACK, TASK_ABSENT, status, 0);
	if (event_wanted(EVENT_TASK_PUT_BACK) && task_store_find(task_id, &task))
		task_note_event(call, &task, EVENT_TASK_PUT_BACK, status);
	if (back.run_id != 0)
		run_note_put_back(call, back.run_id, back.stage, back.was);
	if (back.lacks_output && unmet_count == 0 && count > 0)
	{
		TaskStatus	ended;
		Datum		output = 0;
		bool		isnull;

		/* what it waited for has completed while it was dead */
		if (!history_store_result(depends_on[0], &ended, &output, &isnull) || isnull)
			output = 0;
		task_store_give_output(task_id, output);
	}
	return true;
}

/*
 * Puts a FAILED, CANCELLED or EXPIRED task back: due now, attempts at zero,
 * same id; BLOCKED if it depends on tasks that live. Those it failed along with
 * itself stay as they are. Raises NS003, NS006 (also if it depends on a task
 * that has ended so and must come back first), 42501, 23505.
 */
void
task_retry(Call *call, int64 task_id)
{
	TaskRow		live;
	HistoryRow	past;
	bool		key_is_live;

	if (task_store_find(task_id, &live))
	{
		task_require_visible(call, task_id, live.enqueued_by,
							 live.status == TASK_ACTIVE ? live.agent_id : NULL);
		task_refuse_transition(task_id, live.status, "retry", "It has not ended.");
	}
	if (!history_store_find(task_id, &past))
		task_refuse_unknown(task_id);
	task_require_visible(call, task_id, past.enqueued_by, NULL);
	if (past.status == TASK_COMPLETED)
		task_refuse_transition(task_id, past.status, "retry",
							   "Enqueue a new task to do the work again.");

	if (!put_back(call, task_id, &past.task, &key_is_live))
	{
		if (key_is_live)
			ereport(ERROR,
					(errcode(ERRCODE_UNIQUE_VIOLATION),
					 errmsg("a live task has this unique_key"),
					 errdetail("Task " INT64_FORMAT " cannot come back while it lives.", task_id),
					 errhint("Wait until that task has ended.")));
		/* somebody else retried it in this moment, or its shelf was dropped */
		if (task_store_find(task_id, &live))
			task_refuse_transition(task_id, live.status, "retry", "It has not ended.");
		task_refuse_unknown(task_id);
	}
}

/*
 * Puts dead letters back that the caller may retry, at most `max`, those that
 * failed first: of a capability (NULL: any), that failed so long ago (-1: at
 * any time). One whose unique key is a live task's stays, and one that depends
 * on a task that has not completed. Returns how many.
 */
int64
task_redrive(Call *call, const char *capability, int64 older_than, int32 max)
{
	DeadLetters which = {.capability = capability, .role = call->role,
		.is_admin = call_is_admin(call), .max = max};
	DeadLetter *letters;
	int			count;
	int64		redriven = 0;

	if (older_than >= 0)
		which.failed_by = time_plus(call->now.wall, -older_than);
	letters = history_store_lock_dead(&which, &count);
	for (int i = 0; i < count; i++)
	{
		bool		key_is_live;

		/* of several with the same key the first comes back */
		if (put_back(call, letters[i].task_id, &letters[i].task, &key_is_live))
			redriven++;
		CHECK_FOR_INTERRUPTS();
	}
	return redriven;
}

/* Another priority; a waiting task is ranked anew, as if enqueued with it. */
void
task_set_priority(Call *call, int64 task_id, int32 priority)
{
	TaskRow		task;
	int64		aging_interval;

	task_lock_live(call, task_id, "change the priority of", &task);
	aging_interval = capability_restore(call, task.capability)->aging_interval;
	/* run_at moves with retries, the rank does not: shift it by the difference */
	task_note_changed(call, &task);
	task.rank += (task.priority - priority) * aging_interval;
	task_store_set_rank(task_id, priority, task.rank);
	if (task.status == TASK_PENDING)
		effect_ready(call->db, task.lane_id, (ReadyKey) {task.rank, task_id}, ON_COMMIT);
}

/* A waiting task, locked and noted by us, waits in another lane from now on. */
void
task_move(Call *call, const TaskRow *task, int32 lane_id)
{
	if (lane_id == task->lane_id)
		return;
	task_note_changed(call, task);
	task_store_set_lane(task->task_id, lane_id);
	if (task->status == TASK_PENDING)
		effect_ready(call->db, lane_id, (ReadyKey) {task->rank, task->task_id}, ON_COMMIT);
}
