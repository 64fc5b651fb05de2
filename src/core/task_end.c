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

/*
 * Whether a task that ends so goes to history. If others waited for it and it
 * did not complete they have failed, and must not come back unless it does; so
 * it is there, as FAILED ones are.
 */
bool
task_is_kept(const TaskRow *task, TaskStatus status, const CapabilityRow *capability)
{
	return capability->keep_history || status == TASK_FAILED ||
		(task->awaited && status != TASK_COMPLETED);
}

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
		.keep = task_is_kept(task, status, capability_restore(call, task->capability))};
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

/* What the end of one task does to others. */
typedef struct Ending
{
	int64		cause;			/* the task whose dependents are looked at, */
	TaskStatus	status;			/* and how it ended */
	Datum		result;			/* of a COMPLETED one; 0: NULL */
	int64	   *task_ids;		/* that one, and what failed because of it and is awaited */
	int			count;
	int			room;
	KeyChanges	keys;
} Ending;

static void
add_ended(Ending *ending, int64 task_id)
{
	if (ending->count == ending->room)
	{
		ending->room *= 2;
		ending->task_ids = repalloc_huge(ending->task_ids, ending->room * sizeof(int64));
	}
	ending->task_ids[ending->count++] = task_id;
}

static void
tell_dependent(Call *call, const TaskRow *task, void *state)
{
	Ending	   *ending = state;

	if (ending->status == TASK_COMPLETED || run_goes_on(call, task->run_id))
	{
		dependency_unblock(call, task, ending->result, &ending->keys);
		return;
	}
	put_away(call, task, TASK_FAILED,
			 psprintf("task " INT64_FORMAT ", which it depends on, ended as %s",
					  ending->cause, task_status_name(ending->status)));
	if (task->awaited)
		add_ended(ending, task->task_id);
}

/*
 * Unblocks the tasks that wait for one that is COMPLETED. If it ended otherwise,
 * fails all that wait for it, directly or not, unless their run goes on; for each
 * of these that is awaited in turn, 8 bytes.
 */
static void
tell_dependents(Call *call, int64 task_id, Ending *ending)
{
	/* they are dealt with from one to the next, but have to be locked by id */
	if (ending->status != TASK_COMPLETED)
		dependency_store_lock(task_id);
	ending->room = 16;
	ending->task_ids = palloc(ending->room * sizeof(int64));
	add_ended(ending, task_id);
	for (int i = 0; i < ending->count; i++)
	{
		ending->cause = ending->task_ids[i];
		dependency_each(call, ending->cause, tell_dependent, ending);
		if (ending->status != TASK_COMPLETED)
			ending->status = TASK_FAILED;
	}
	pfree(ending->task_ids);
}

/* A task that is put away lets go of those that wait for it, and of its place in its key. */
static void
hand_over(Call *call, const TaskRow *task, TaskStatus status, Datum result)
{
	Ending		ending = {.status = status, .result = result,
		.keys.context = CurrentMemoryContext};

	if (task->awaited)
		tell_dependents(call, task->task_id, &ending);
	if (task->status == TASK_PENDING || task->status == TASK_ACTIVE)
		(void) concurrency_key_note(call, &ending.keys, task->capability,
									task->concurrency_key);
	concurrency_key_settle(call, &ending.keys);
}

/*
 * For those who must not wait for anybody: whether they could end a task, its row
 * locked by them, and nobody has what that touches. Locks it.
 */
bool
task_end_is_free(Call *call, const TaskRow *task)
{
	return dependency_is_free(call, task) &&
		((task->status != TASK_PENDING && task->status != TASK_ACTIVE) ||
		 concurrency_key_is_free(call, task->capability, task->concurrency_key));
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
