/*
 * core/task_end.c
 *		The end of a task: what has to be done whichever way it ended.
 *
 * A waiting task ends here as a whole. How a lease ends is the business of
 * lease.c, which then calls task_ended() for what all ends have in common.
 */
#include "core/task_end.h"

#include "core/capability.h"
#include "core/concurrency_key.h"
#include "core/dependency.h"
#include "core/event.h"
#include "core/run.h"
#include "core/shelf.h"
#include "core/task.h"
#include "soft/counters.h"
#include "soft/effects.h"
#include "soft/journal.h"
#include "store/dependency_store.h"
#include "store/history_store.h"

/* Who waits for the result hears of the end at commit, and so does its run. */
static void
note_ended(Call *call, const TaskRow *task, TaskStatus status)
{
	effect_finished(call->db, task->task_id);
	if (task->run_id != 0)
		run_note_ended(call, task->run_id, task->stage, status, task->task_id,
					   task->status == TASK_ACTIVE ? task->claimed_at : 0);
}

/* Puts a waiting task away, its row locked and noted by us, and says so everywhere. */
static void
put_away(Call *call, const TaskRow *task, TaskStatus status, const char *reason)
{
	Finish		finish = {.status = status, .now = call->now.wall,
		.shelf = shelf_today(call), .attempt = task->attempt,
		.keep = capability_restore(call, task->capability)->keep_history};
	int			counted = COUNT_FAILED;
	EventKind	kind = EVENT_TASK_FAILED;

	if (status == TASK_CANCELLED)
	{
		finish.cancel_reason = reason;
		counted = COUNT_CANCELLED;
		kind = EVENT_TASK_CANCELLED;
	}
	else if (status == TASK_EXPIRED)
	{
		counted = COUNT_EXPIRED;
		kind = EVENT_TASK_EXPIRED;
	}
	else
	{
		finish.error = reason;
		journal_dead_letter(call->db, task->task_id, task->capability, task->attempt,
							"dependency_failed");
	}
	history_store_finish(task->task_id, &finish);
	if (task->status == TASK_BLOCKED)
		dependency_store_remove(task->task_id);
	task_note_changed(call, task);
	counters_note(call->db, task->capability, counted, task->status, status, 0);
	event_note(call, &(Event) {.kind = kind, .owner = task->enqueued_by,
			   .task_id = task->task_id, .capability = task->capability,
			   .agent_id = task->agent_id, .attempt = task->attempt,
			   .status = task_status_name(status), .error = finish.error});
	note_ended(call, task, status);
}

static void
meet_dependent(Call *call, const TaskRow *task, void *state)
{
	dependency_unblock(call, task, *(Datum *) state);
}

/* Tasks that ended without being completed, and what waits for them not yet looked at. */
typedef struct Failures
{
	int64	   *task_ids;		/* in the caller's context */
	int			count;
	int			room;
	int64		cause;			/* the one that is being looked at, */
	TaskStatus	status;			/* and how it ended */
} Failures;

static void
add_failure(Failures *failures, int64 task_id)
{
	if (failures->count == failures->room)
	{
		failures->room *= 2;
		failures->task_ids = repalloc_huge(failures->task_ids,
										   failures->room * sizeof(int64));
	}
	failures->task_ids[failures->count++] = task_id;
}

static void
fail_dependent(Call *call, const TaskRow *task, void *state)
{
	Failures   *failures = state;

	if (run_goes_on(call, task->run_id))
	{
		/* all edges to the one that ended go at once */
		dependency_unblock(call, task, 0);
		return;
	}
	put_away(call, task, TASK_FAILED,
			 psprintf("task " INT64_FORMAT ", which it depends on, ended as %s",
					  failures->cause, task_status_name(failures->status)));
	if (task->awaited)
		add_failure(failures, task->task_id);
}

/*
 * Fails all that wait for a task, directly or not, unless their run goes on; for
 * each of these that is awaited in turn, 8 bytes.
 */
static void
fail_dependents(Call *call, int64 task_id, TaskStatus status)
{
	Failures	failures = {.room = 16, .status = status};

	failures.task_ids = palloc(failures.room * sizeof(int64));
	add_failure(&failures, task_id);
	for (int i = 0; i < failures.count; i++)
	{
		failures.cause = failures.task_ids[i];
		dependency_each(call, failures.cause, fail_dependent, &failures);
		failures.status = TASK_FAILED;
	}
	pfree(failures.task_ids);
}

/* A task that is put away lets go of those that wait for it, and of its place in its key. */
static void
hand_over(Call *call, const TaskRow *task, TaskStatus status, Datum result)
{
	if (task->awaited && status == TASK_COMPLETED)
		dependency_each(call, task->task_id, meet_dependent, &result);
	else if (task->awaited)
		fail_dependents(call, task->task_id, status);
	if (task->status == TASK_PENDING || task->status == TASK_ACTIVE)
		concurrency_key_leave(call, task->capability, task->concurrency_key);
}

/*
 * Ends a waiting task, its row locked and noted by us, as CANCELLED (reason:
 * why, or NULL), EXPIRED or FAILED (reason: the error).
 */
void
task_end_waiting(Call *call, const TaskRow *task, TaskStatus status, const char *reason)
{
	put_away(call, task, status, reason);
	hand_over(call, task, status, 0);
}

/*
 * An ACTIVE task, as given, ended: its row was locked by us and is put away. The
 * result is that of a COMPLETED one; 0: NULL.
 */
void
task_ended(Call *call, const TaskRow *task, TaskStatus status, Datum result)
{
	note_ended(call, task, status);
	hand_over(call, task, status, result);
}
