/*
 * core/run.c
 *		Runs: tasks that belong together.
 *
 * A run is over when none of its tasks lives. Whose transaction ends the last
 * one writes down how the run ended, as it commits; until then nobody touches
 * the row of the run. How does anybody know that it is the last?
 *
 * What a transaction does to the tasks of a run is gathered here, and handled
 * when it is about to commit. Then it takes the run's lock, shared, until its
 * end, and takes what it ended off a number in shared memory (soft/runs.h), which
 * says how many tasks live at least. Is it still above 0, there is another one,
 * and that was all. If not, or if it is not known, it takes the lock exclusively
 * instead, and counts by the latest snapshot.
 *
 * That misses nobody. Whoever counts has the lock alone, so each other
 * transaction that ends tasks of the run has either committed, and is seen, or
 * comes to its own commit later, with its tasks still counted as alive; then it
 * takes them off what was counted here. Of two that end the last two tasks at
 * once, one counts the other's as alive, and the other is the one that counts
 * none. Nor is it too early: the number is what was counted, less all that ended
 * since; tasks that are added are not added to it, and a rollback gives nothing
 * back, so it is never too high.
 *
 * The lock is held from there to the end of the commit only, and runs are locked
 * in the order of their ids; so it is held for as long as a commit takes, and by
 * nobody who waits for a task. Whoever holds it may have to wait for the row of the
 * run; so nobody who has that row locked puts tasks back, which takes the lock as it
 * commits, and may wait for tasks before. Orders to a run (cancel, retry, resolve)
 * are kept apart by a lock of their own instead, until the end of the transaction.
 *
 * A transaction that adds tasks looks at the run once more under that lock. Has
 * it ended meanwhile, it is RUNNING again, unless it was cancelled.
 *
 * What has ended is counted in ains.run_tally: each transaction adds rows of its
 * own, so none waits for another, and none leaves old versions of a row behind.
 */
#include "core/run.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "core/event.h"
#include "core/task.h"
#include "errors.h"
#include "guc.h"
#include "query.h"
#include "soft/runs.h"

/* As in worker/sweeper.c: nobody else's advisory locks are of this class. */
#define RUN_LOCK_CLASS		4
#define ORDER_LOCK_CLASS	5

/* What this transaction did to one stage of a run, at one level of nesting. */
typedef struct RunNote
{
	Note		note;
	RunTally	tally;			/* its stage: in TopTransactionContext */
	int64		added;			/* tasks that live now and did not before */
	int64		ended;			/* the other way round */
	bool		put_back;		/* some of the added have been there before */
} RunNote;

static NoteStack stack = {sizeof(RunNote)};
static Call notes_call;			/* the last one that noted something */
static Oid	notes_relid;		/* of ains.task */

static bool
same_stage(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static inline RunNote *
note_at(int i)
{
	return (RunNote *) stack.notes + i;
}

/* The note of a stage at the current level. */
static RunNote *
note_for(Call *call, int64 run_id, const char *stage)
{
	int			level = GetCurrentTransactionNestLevel();
	char	   *copy;
	RunNote    *note;

	for (int i = stack.count; i > 0; i--)
	{
		note = note_at(i - 1);
		if (note->note.level == level && note->tally.run_id == run_id &&
			same_stage(note->tally.stage, stage))
			return note;
	}
	copy = stage == NULL ? NULL : MemoryContextStrdup(TopTransactionContext, stage);
	note = notes_add(&stack);
	note->tally.run_id = run_id;
	note->tally.stage = copy;
	notes_call = *call;
	notes_relid = call->db->task_relid;
	return note;
}

/* So many new tasks. */
void
run_note_added(Call *call, int64 run_id, int64 tasks)
{
	if (tasks > 0)
		note_for(call, run_id, NULL)->added += tasks;
}

static int64 *
count_of(RunTally *tally, TaskStatus status)
{
	switch (status)
	{
		case TASK_COMPLETED:
			return &tally->completed;
		case TASK_CANCELLED:
			return &tally->cancelled;
		case TASK_EXPIRED:
			return &tally->expired;
		default:
			return &tally->failed;
	}
}

/* A task ended; claimed_at: 0 if it was never claimed. */
void
run_note_ended(Call *call, int64 run_id, const char *stage, TaskStatus status, int64 task_id,
			   TimestampTz claimed_at)
{
	RunNote    *note = note_for(call, run_id, stage);
	RunTally   *tally = &note->tally;

	note->ended++;
	*count_of(tally, status) += 1;
	if (tally->first_task == 0 || task_id < tally->first_task)
		tally->first_task = task_id;
	if (claimed_at != 0 && (tally->started_at == 0 || claimed_at < tally->started_at))
		tally->started_at = claimed_at;
}

/* A finished task lives again. */
void
run_note_put_back(Call *call, int64 run_id, const char *stage, TaskStatus was)
{
	RunNote    *note = note_for(call, run_id, stage);

	note->added++;
	note->put_back = true;
	*count_of(&note->tally, was) -= 1;
}

static void
lock_run(int64 run_id, uint16 lock_class, LOCKMODE mode, bool give_back)
{
	LOCKTAG		tag;

	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, (uint32) (run_id >> 32), (uint32) run_id,
						 lock_class);
	if (give_back)
		LockRelease(&tag, mode, false);
	else
		(void) LockAcquire(&tag, mode, false, false);
}

/* The event of a run that gets this status, which is not RUNNING. */
static EventKind
event_of(const char *status)
{
	if (strcmp(status, "NEEDS_DECISION") == 0)
		return EVENT_RUN_NEEDS_DECISION;
	if (strcmp(status, "COMPLETED") == 0)
		return EVENT_RUN_COMPLETED;
	return strcmp(status, "FAILED") == 0 ? EVENT_RUN_FAILED : EVENT_RUN_CANCELLED;
}

/* Moves a run to another status, and tells of it. */
static void
set_status(Call *call, const RunRow *run, const char *status)
{
	bool		opens = strcmp(status, "RUNNING") == 0;
	bool		waits = strcmp(status, "NEEDS_DECISION") == 0;

	run_store_set_status(run->run_id, status, opens || waits ? 0 : call->now.wall);
	if (!opens)
		event_note(call, &(Event) {.kind = event_of(status), .owner = run->owner,
				.status = status, .run_id = run->run_id, .run_name = run->name});
}

static bool
is_running(const RunRow *run)
{
	return strcmp(run->status, "RUNNING") == 0;
}

/* How a run ends of which no task lives. */
static const char *
verdict(const RunRow *run, const RunTotals *totals)
{
	if (totals->completed == 0)
		return "FAILED";
	if (run->target > 0)
		return totals->towards_target >= run->target ? "COMPLETED" : "NEEDS_DECISION";
	return totals->failed > 0 && !run->goes_on ? "FAILED" : "COMPLETED";
}

/*
 * While a transaction commits it has no snapshot any more, which statements
 * need. Returns the latest, which sees what was written so far.
 */
static Snapshot
begin_statements(void)
{
	CommandCounterIncrement();
	PushActiveSnapshot(GetTransactionSnapshot());
	return RegisterSnapshot(GetLatestSnapshot());
}

static void
end_statements(Snapshot snapshot)
{
	UnregisterSnapshot(snapshot);
	PopActiveSnapshot();
}

/* Writes down the end of a run if this is it. The run's lock is ours alone. */
static void
end_if_over(int64 run_id)
{
	RunRow		run;
	RunTotals	totals;
	Snapshot	snapshot = begin_statements();
	int64		live;
	bool		is_over;

	live = run_store_count_live(run_id, snapshot);
	/* locked only if need be, and looked at again: somebody may cancel it */
	is_over = live == 0 && run_store_find(notes_relid, run_id, &run) && is_running(&run) &&
		run_store_lock(run_id, &run) && is_running(&run);
	if (is_over)
		run_store_totals(run_id, snapshot, &totals);
	runs_set(notes_call.db, run_id, live);
	if (is_over)
		set_status(&notes_call, &run, verdict(&run, &totals));
	end_statements(snapshot);
}

/* This transaction adds tasks to a run that may have ended meanwhile. */
static void
reopen(int64 run_id, bool put_back)
{
	RunRow		run;
	Snapshot	snapshot;

	if (!run_store_find(notes_relid, run_id, &run) || is_running(&run))
		return;
	snapshot = begin_statements();
	/* as it is when whoever decides about it is done */
	(void) run_store_lock(run_id, &run);
	if (strcmp(run.status, "CANCELLED") == 0 && !put_back)
		ereport(ERROR,
				(errcode(AINS_INVALID_TRANSITION),
				 errmsg("cannot add tasks to this run"),
				 errdetail("Run " INT64_FORMAT " was cancelled in the meantime.", run_id),
				 errhint("Create another one.")));
	set_status(&notes_call, &run, "RUNNING");
	end_statements(snapshot);
}

static int
compare_notes(const void *a, const void *b)
{
	int64		x = ((const RunNote *) a)->tally.run_id;
	int64		y = ((const RunNote *) b)->tally.run_id;

	return (x > y) - (x < y);
}

static bool
is_tally(const RunTally *tally)
{
	return tally->completed != 0 || tally->failed != 0 || tally->cancelled != 0 ||
		tally->expired != 0;
}

/* Handles the notes of one run, which are all at level 1. */
static void
settle(const RunNote *first, int count)
{
	int64		run_id = first->tally.run_id;
	int64		added = 0;
	int64		ended = 0;
	bool		put_back = false;

	for (int i = 0; i < count; i++)
	{
		added += first[i].added;
		ended += first[i].ended;
		put_back = put_back || first[i].put_back;
		if (is_tally(&first[i].tally))
			run_store_add_tally(notes_relid, &first[i].tally);
	}
	lock_run(run_id, RUN_LOCK_CLASS, ShareLock, false);
	if (added > 0)
		reopen(run_id, put_back);
	/* if it added more than it ended there is one of its own that lives */
	if (ended == 0 || runs_take(notes_call.db, run_id, ended) || added > ended)
		return;
	lock_run(run_id, RUN_LOCK_CLASS, ShareLock, true);
	lock_run(run_id, RUN_LOCK_CLASS, ExclusiveLock, false);
	end_if_over(run_id);
}

static void
before_commit(void)
{
	Installation installation;
	MemoryContext context;
	MemoryContext old;

	/* somebody dropped the extension in this transaction */
	if (!query_installation(&installation) || installation.task_relid != notes_relid)
		return;
	context = AllocSetContextCreate(TopTransactionContext, "ains runs", ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(context);
	qsort(stack.notes, stack.count, sizeof(RunNote), compare_notes);
	for (int i = 0; i < stack.count;)
	{
		int			next = i + 1;

		while (next < stack.count && note_at(next)->tally.run_id == note_at(i)->tally.run_id)
			next++;
		settle(note_at(i), next - i);
		i = next;
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}

const TransactionPart run_part = {.notes = &stack, .before_commit = before_commit};

pg_noreturn static void
refuse_unknown(int64 run_id)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("unknown run"),
			 errdetail("There is no run " INT64_FORMAT ".", run_id),
			 errhint("The view ains.runs shows those you may see.")));
}

pg_noreturn static void
refuse_status(const RunRow *run, const char *what, const char *hint)
{
	ereport(ERROR,
			(errcode(AINS_INVALID_TRANSITION),
			 errmsg("cannot %s this run", what),
			 errdetail("Run " INT64_FORMAT " is %s.", run->run_id, run->status),
			 errhint("%s", hint)));
}

static void
require_own(Call *call, const RunRow *run)
{
	if (!call_is_member(call, run->owner) && !call_is_admin(call))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for run " INT64_FORMAT, run->run_id),
				 errdetail("It belongs to the role that made it."),
				 errhint("Use a member of that role or of ains_admin.")));
}

/* The run, locked, for somebody who may change its row. Raises 42704 and 42501. */
static void
lock_own(Call *call, int64 run_id, RunRow *run)
{
	lock_run(run_id, ORDER_LOCK_CLASS, ExclusiveLock, false);
	if (!run_store_lock(run_id, run))
		refuse_unknown(run_id);
	require_own(call, run);
}

/* A new run of the caller, who fills in all but owner and now; its id. */
int64
run_create(Call *call, NewRun *run)
{
	run->owner = call->role;
	run->now = call->now.wall;
	return run_store_insert(run);
}

/*
 * For tasks that are about to join a run; whether they go on when one they
 * depend on does not complete. Raises 42704, 42501, and NS006 unless it is RUNNING.
 */
bool
run_require_open(Call *call, int64 run_id)
{
	RunRow		run;

	if (!run_store_find(call->db->task_relid, run_id, &run))
		refuse_unknown(run_id);
	require_own(call, &run);
	if (!is_running(&run))
		refuse_status(&run, "add tasks to",
					  strcmp(run.status, "NEEDS_DECISION") == 0
					  ? "ains.resolve_run(run_id, 'continue') opens it for more work."
					  : "It has ended; create another one, or retry tasks of it.");
	return run.goes_on;
}

/* Whether tasks of a run go on when one they depend on does not complete. */
bool
run_goes_on(Call *call, int64 run_id)
{
	RunRow		run;

	return run_id != 0 && run_store_find(call->db->task_relid, run_id, &run) && run.goes_on;
}

/* Appends the rows of run_progress(). Raises 42704, 42501. */
void
run_progress(Call *call, int64 run_id, Tuplestorestate *store)
{
	RunRow		run;

	if (!run_store_find(call->db->task_relid, run_id, &run))
		refuse_unknown(run_id);
	if (!call_is_monitor(call))
		require_own(call, &run);
	run_store_progress(run_id, call->now.wall, store);
}

static int64
cancel_tasks(Call *call, const int64 *task_ids, int count, const char *reason)
{
	int64		cancelled = 0;

	for (int i = 0; i < count; i++)
	{
		if (task_cancel_free(call, task_ids[i], reason))
			cancelled++;
		CHECK_FOR_INTERRUPTS();
	}
	return cancelled;
}

/* Cancels a run that is locked by us. */
static int64
cancel_locked(Call *call, const RunRow *run, const char *reason)
{
	int64		cancelled = 0;
	int64		below = PG_INT64_MAX;
	int			count;

	set_status(call, run, "CANCELLED");
	/* those that wait come before what they wait for, which would fail them */
	do
	{
		int64	   *ids = run_store_live_tasks(run->run_id, below, &count);

		cancelled += cancel_tasks(call, ids, count, reason);
		if (count > 0)
			below = ids[count - 1];
		pfree(ids);
	} while (count == AINS_SWEEP_BATCH);
	return cancelled;
}

/*
 * Ends a run, and its waiting tasks; held ones are marked as by task_cancel.
 * Returns how many both are. It waits for nobody who works on a task; the
 * sweeper cancels what is left. Raises 42704, 42501, and NS006 if it has ended.
 */
int64
run_cancel(Call *call, int64 run_id, const char *reason)
{
	RunRow		run;

	lock_own(call, run_id, &run);
	if (!is_running(&run) && strcmp(run.status, "NEEDS_DECISION") != 0)
		refuse_status(&run, "cancel", "It has ended.");
	return cancel_locked(call, &run, reason);
}

/*
 * Puts the tasks of a run back that FAILED or EXPIRED, and of a cancelled run
 * those that were CANCELLED, too; but none that ains.retry would refuse. The run
 * is RUNNING again when this commits, if there was one. Returns how many.
 * Raises 42704, 42501.
 */
int64
run_retry(Call *call, int64 run_id)
{
	RunRow		run;
	int64	   *ids;
	int			count;
	int64		retried = 0;

	/* its row is not locked: see above */
	lock_run(run_id, ORDER_LOCK_CLASS, ExclusiveLock, false);
	if (!run_store_find(call->db->task_relid, run_id, &run))
		refuse_unknown(run_id);
	require_own(call, &run);
	ids = run_store_ended_tasks(run_id, strcmp(run.status, "CANCELLED") == 0, &count);
	for (int i = 0; i < count; i++)
	{
		/* by id, so that what a task depends on has come back before */
		if (!run_store_has_dead_end(ids[i]))
		{
			task_retry(call, ids[i]);
			retried++;
		}
		CHECK_FOR_INTERRUPTS();
	}
	return retried;
}

/*
 * Decides about a run that waits for somebody: accept, continue or cancel.
 * Returns its new status. Raises 42704, 42501, and NS006 if it does not wait.
 */
const char *
run_resolve(Call *call, int64 run_id, const char *decision)
{
	RunRow		run;
	const char *status;

	lock_own(call, run_id, &run);
	if (strcmp(run.status, "NEEDS_DECISION") != 0)
		refuse_status(&run, "resolve", "Only a run that NEEDS_DECISION waits for one.");
	status = strcmp(decision, "accept") == 0 ? "COMPLETED"
		: strcmp(decision, "continue") == 0 ? "RUNNING" : "CANCELLED";
	run_store_decide(run_id, decision, call->role);
	set_status(call, &run, status);
	return status;
}

/*
 * The sweeper's part: cancels what is left of cancelled runs, adds up what has
 * ended, forgets runs past retention. True if there is more to do.
 */
bool
run_upkeep(Call *call)
{
	int			count;
	int64	   *ids = run_store_left_over(&count);

	runs_forget(call->db);
	if (cancel_tasks(call, ids, count, NULL) == AINS_SWEEP_BATCH)
		return true;
	run_store_prune(call->now.wall - ains_retention * USECS_PER_MINUTE);
	return run_store_fold();
}
