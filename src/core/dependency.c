/*
 * core/dependency.c
 *		Tasks that wait for other tasks.
 *
 * A task that depends on others is BLOCKED until all of them have COMPLETED.
 * The transaction that completes the last one unblocks it; one that ends
 * another way fails it, and what waits for it in turn; unless it belongs to a run
 * that goes on, for which any end will do (core/task_end.c).
 *
 * Three things say so, and only who has the row of the waiting task locked
 * changes them: its count `unmet`, its edges in ains.dependency, one for each
 * task it still waits for, and its status. The row of a task that somebody
 * waits for says `awaited`, so ending any other costs nothing.
 *
 * Nobody is forgotten. Who enqueues a task that waits for X updates the row of
 * X first, and who ends X deletes it; so one of the two is first. If it is the
 * enqueue, the end waits for its commit, finds `awaited`, and then reads the
 * edges by a later snapshot; if its snapshot cannot be later (REPEATABLE READ)
 * it fails with 40001, since the row has changed. If it is the end, the enqueue
 * finds no row and asks history how X ended.
 *
 * Nobody is unblocked twice, or not at all. Two transactions that complete the
 * last two tasks of a third take one off its count, one after the other, as the
 * row lock lets them; the second reads what the first wrote, or fails as above.
 * Whoever arrives at zero unblocks it, and a rollback puts one back.
 *
 * Locks go from a task to those that wait for it, directly or not, and within
 * these by id. Ids grow along the edges, since a task can only wait for one that
 * exists; so there are no cycles. Keys come after (core/concurrency_key.c). A
 * deadlock takes two transactions that each end several tasks in different order,
 * as in complete_batch; the server ends one of them.
 */
#include "core/dependency.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "compat.h"
#include "core/concurrency_key.h"
#include "core/event.h"
#include "core/route.h"
#include "core/task.h"
#include "errors.h"
#include "policy.h"
#include "soft/counters.h"
#include "soft/effects.h"
#include "store/dependency_store.h"
#include "store/history_store.h"
#include "store/report_store.h"

pg_noreturn static void
refuse_dead_end(int64 task_id, TaskStatus status)
{
	ereport(ERROR,
			(errcode(AINS_INVALID_TRANSITION),
			 errmsg("cannot wait for this task"),
			 errdetail("Task " INT64_FORMAT " is %s.", task_id, task_status_name(status)),
			 errhint("It has ended; ains.retry puts it back.")));
}

/* Marks a task as awaited, its row locked by us from then on; false: it is done. */
static bool
await_one(Call *call, int64 task_id, bool again, bool any_end)
{
	TaskRow		task;
	HistoryRow	past;

	for (;;)
	{
		effects_reserve(1);
		if (task_store_await(task_id, &task))
		{
			task_note_locked(call, &task);
			if (!again)
				task_require_visible(call, task_id, task.enqueued_by,
									 task.status == TASK_ACTIVE ? task.agent_id : NULL);
			return true;
		}
		if (history_store_find(task_id, &past))
		{
			if (!again)
				task_require_visible(call, task_id, past.enqueued_by, NULL);
			if (past.status != TASK_COMPLETED && !any_end)
				refuse_dead_end(task_id, past.status);
			return false;
		}
		/* it may have been put back between these two looks */
		if (!task_store_find(task_id, &task))
		{
			if (!again)
				task_refuse_unknown(task_id);
			/* it was known once, and had it not completed it would be kept */
			return false;
		}
		CHECK_FOR_INTERRUPTS();
	}
}

/*
 * For a task that is about to wait for these (ascending): locks and marks those
 * that have not completed, writes them to unmet and returns how many they are.
 * Raises NS006 if one ended without being completed, NS003 and 42501 if one is
 * unknown or not to be seen; `again`, for a task that comes back and was let
 * depend on them once, not these two; any_end, for one of a run that goes on
 * whatever becomes of them, not NS006.
 */
int
dependency_await(Call *call, const int64 *ids, int count, bool again, bool any_end,
				 int64 *unmet)
{
	int			unmet_count = 0;

	for (int i = 0; i < count; i++)
	{
		if (await_one(call, ids[i], again, any_end))
			unmet[unmet_count++] = ids[i];
		CHECK_FOR_INTERRUPTS();
	}
	return unmet_count;
}

/*
 * For the end of a task: locks those that wait for it, one after the other, by
 * id, and calls on_dependent for each; then none of them waits for it any more.
 * What they take in memory is given back after each batch.
 */
void
dependency_each(Call *call, int64 task_id, OnDependent on_dependent, void *state)
{
	MemoryContext batch = AllocSetContextCreate(CurrentMemoryContext, "ains dependents",
												ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(batch);
	int64		after = 0;
	int			count;

	do
	{
		int64	   *ids = dependency_store_dependents(task_id, after, &count);

		for (int i = 0; i < count; i++)
		{
			TaskRow		dependent;

			effects_reserve(1);
			/* one that is gone was ended by somebody else, edges and all */
			if (task_store_lock(ids[i], &dependent))
			{
				task_note_locked(call, &dependent);
				if (dependent.status == TASK_BLOCKED)
					on_dependent(call, &dependent, state);
			}
			CHECK_FOR_INTERRUPTS();
		}
		if (count > 0)
			after = ids[count - 1];
		MemoryContextReset(batch);
	} while (count == AINS_SWEEP_BATCH);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(batch);
	dependency_store_remove_dependents(task_id);
}

/*
 * One less to wait for. With the last, the task is due, now or at its run_at; if
 * its key is limited, it stands in line as one of those that `keys` is settled
 * for. As with a retry, run_at moves on and the rank stays, so that the time it
 * was blocked counts as waiting in line, but not as being late. output: the result
 * of the one it waited for; 0: NULL.
 */
void
dependency_unblock(Call *call, const TaskRow *task, Datum output, KeyChanges *keys)
{
	TaskStatus	status = TASK_BLOCKED;
	TimestampTz run_at = task->run_at;
	TimestampTz wake_at = task->expires_at;
	int32		lane_id;

	if (task->unmet <= 1)
	{
		if (run_at > call->now.wall)
			status = TASK_SCHEDULED;
		else if (!concurrency_key_note(call, keys, task->capability, task->concurrency_key))
			status = TASK_PENDING;
		run_at = Max(run_at, call->now.wall);
	}
	if (status == TASK_SCHEDULED)
		wake_at = wake_at == 0 ? run_at : Min(wake_at, run_at);
	task_store_set_unmet(task->task_id, task->unmet - 1, status, run_at, wake_at);
	if (task->unmet <= 1 && task->takes_output)
		task_store_give_output(task->task_id, output);
	if (status == TASK_BLOCKED)
		return;
	counters_note(call->db, task->capability, 0, TASK_BLOCKED, status, 0);
	lane_id = route_waiting(call, task);
	if (status == TASK_PENDING)
	{
		effect_ready(call->db, lane_id, (ReadyKey) {task->rank, task->task_id}, ON_COMMIT);
		task_note_event(call, task, EVENT_TASK_DUE, TASK_PENDING);
	}
	if (wake_at != 0)
		effect_wake_at(call->db, wake_at);
}

/*
 * For those who must not wait for anybody: whether nobody has one locked that
 * waits for this task, directly or not, or a key in which it will stand in line.
 * Locks them.
 */
bool
dependency_is_free(Call *call, const TaskRow *task)
{
	TaskKey    *keys;
	int			count;

	if (!task->awaited)
		return true;
	if (!dependency_store_lock_free(task->task_id))
		return false;
	keys = dependency_store_keys(task->task_id, &count);
	for (int i = 0; i < count; i++)
		if (!concurrency_key_is_free(call, keys[i].capability, keys[i].key))
			return false;
	return true;
}

/* Raises NS003 and 42501 unless the caller may look at the task. */
static void
require_readable(Call *call, int64 task_id)
{
	TaskReport	report;

	if (!report_store_task(task_id, &report))
		task_refuse_unknown(task_id);
	if (!call_is_monitor(call))
		task_require_visible(call, task_id, report.enqueued_by,
							 report.status == TASK_ACTIVE ? report.agent_id : NULL);
}

/*
 * Appends (id, status) of the tasks that a live or finished one was enqueued to
 * wait for; status is NULL if history does not know it any more. Raises NS003
 * and 42501.
 */
void
dependency_list(Call *call, int64 task_id, Tuplestorestate *store)
{
	require_readable(call, task_id);
	dependency_store_list(task_id, store);
}

/* The same of the tasks that wait for this one. */
void
dependency_list_waiting(Call *call, int64 task_id, Tuplestorestate *store)
{
	require_readable(call, task_id);
	dependency_store_list_waiting(task_id, store);
}
