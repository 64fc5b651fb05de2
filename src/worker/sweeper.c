/*
 * worker/sweeper.c
 *		Runs the steps of core/sweep.h when they are due.
 *
 * A pass runs every step once, each in a transaction of its own; a step that
 * has more to do makes another pass follow at once, so that a long backlog of
 * one kind does not keep the others waiting. Otherwise the sweeper sleeps until
 * the earliest moment that anything is due.
 *
 * Each transaction first locks the extension, shared, and then looks whether
 * it is still there: DROP EXTENSION waits for one step at most, and a step
 * never meets half of an extension. A step that fails is undone, logged, and
 * tried again a second later; it does not stop the others.
 *
 * Waking: whoever commits something to be done earlier than DbState's
 * sweeper_wakes_at lowers that and sets our latch. A lock wait inside a step
 * swallows a set latch, and our own commits set it too; so what was asked for
 * is always read from shared memory, and the latch only ends the nap.
 */
#include "worker/sweeper.h"

#include "access/xact.h"
#include "catalog/pg_extension.h"
#include "compat.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "tcop/tcopprot.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "clock.h"
#include "core/call.h"
#include "core/sweep.h"
#include "guc.h"
#include "query.h"
#include "soft/limits.h"
#include "soft/pulse.h"
#include "soft/ready.h"
#include "soft/shmem.h"
#include "soft/waiters.h"
#include "soft/workers.h"

/* Before a step that failed is tried again. */
#define ERROR_NAP			USECS_PER_SEC
/* What the others may have to do meanwhile, they do no more often than this. */
#define MIN_ERROR_NAP		(50 * INT64CONST(1000))
/* Between two log entries of the same error of the same step. */
#define ERROR_LOG_INTERVAL	(60 * USECS_PER_SEC)
/* How often it looks whether tasks wait beside sleepers; when there are some. */
#define GLANCE				USECS_PER_SEC
#define GLANCE_AGAIN		(50 * INT64CONST(1000))
/* User locks have 1 or 2 in field 4 of their tag; nobody else's meet ours. */
#define SWEEPER_LOCK_CLASS	3
#define SWEEPER_LOCK_KEY	0x61696e73	/* "ains" */

typedef enum StepResult
{
	STEP_DONE,
	STEP_FAILED,				/* and left no trace */
	STEP_MORE,					/* there is more to do now */
	STEP_OUTDATED,				/* script and library differ */
	STEP_GONE					/* there is no extension */
} StepResult;

/* What the sweeper remembers of a step. */
typedef struct StepMemory
{
	int64		not_before;		/* monotonic; after an error */
	int64		logged_at;
	char		message[256];	/* of the last error, perhaps cut */
} StepMemory;

/* The installation that this sweeper serves, once it found one. */
static DbState *served;
static Oid	served_relid;

/* Where passes leave what they did since the last nap, and when the next is due. */
static SweepCounts counts_since_nap;
static TimestampTz next_pass;

static uint32 wait_event;

static bool begin_pass(Call *call, SweepCounts *counts);
static bool plan_next_pass(Call *call, SweepCounts *counts);

/* These frame the steps of core/sweep.c in each pass. */
static const SweepStep first_step = {"begin", begin_pass};
static const SweepStep last_step = {"plan", plan_next_pass};

/* Nobody shall wake a sweeper that is not there; before its latch goes. */
static void
leave(int code, Datum arg)
{
	if (served != NULL)
		db_set_sweeper(served, NULL);
	served = NULL;
}

/*
 * Says where and when it can be woken. From now on a commit either is seen by
 * this pass, or finds that the sweeper would wake too late and says so.
 */
static void
set_alarm(Call *call)
{
	if (served != call->db)
	{
		if (served != NULL)
			db_set_sweeper(served, NULL);
		served = call->db;
		db_set_sweeper(served, MyLatch);
	}
	served_relid = call->db->task_relid;
	db_sweeper_sleeps_until(served, call->now.wall + ains_sweep_max_nap * INT64CONST(1000));
}

static bool
begin_pass(Call *call, SweepCounts *counts)
{
	set_alarm(call);
	sweep_note_pass(call);
	return false;
}

static bool
plan_next_pass(Call *call, SweepCounts *counts)
{
	next_pass = sweep_next(call);
	return false;
}

/* Locks the extension until the transaction ends; false: there is none. */
static bool
lock_extension(Installation *installation)
{
	Oid			locked = InvalidOid;

	/* what we waited for may have changed the answer */
	while (query_installation(installation))
	{
		if (installation->extension == locked)
			return true;
		locked = installation->extension;
		LockDatabaseObject(ExtensionRelationId, locked, 0, AccessShareLock);
	}
	return false;
}

/*
 * The inside of a step's transaction. The latest snapshot is taken after the
 * lock, so that it sees what the lock waited for.
 */
static StepResult
work(const SweepStep *step)
{
	Installation installation;
	Call		call;
	bool		more;

	if (!lock_extension(&installation))
		return STEP_GONE;
	workers_serving();
	if (!installation.current)
		return STEP_OUTDATED;

	PushActiveSnapshot(GetTransactionSnapshot());
	call_begin(&call);
	sweep_note_step(&call);
	more = step->run(&call, &counts_since_nap);
	PopActiveSnapshot();
	return more ? STEP_MORE : STEP_DONE;
}

/* Logs the current error, unless it did so for this step a short while ago. */
static void
report_error(StepMemory *memory, int64 now)
{
	ErrorData  *error = CopyErrorData();

	if (strncmp(error->message, memory->message, sizeof(memory->message) - 1) != 0 ||
		now - memory->logged_at >= ERROR_LOG_INTERVAL)
	{
		EmitErrorReport();
		strlcpy(memory->message, error->message, sizeof(memory->message));
		memory->logged_at = now;
	}
	FreeErrorData(error);
}

/*
 * What pg_stat_activity shows: the step and, when there is more to do than a
 * batch, how far the passes have come since the last nap.
 */
static void
describe(const SweepStep *step, char *activity, Size size)
{
	const SweepCounts *c = &counts_since_nap;
	int64		leases = c->leases_expired + c->leases_of_dead_agents + c->attempts_timed_out;
	int64		tasks = c->tasks_due + c->tasks_expired;

	if (leases + tasks + c->agents_marked_dead + c->partitions_dropped == 0)
		snprintf(activity, size, "ains: %s", step->name);
	else
		snprintf(activity, size, "ains: %s; so far " INT64_FORMAT " leases taken back, "
				 INT64_FORMAT " tasks due or expired, " INT64_FORMAT " agents dead, "
				 INT64_FORMAT " days dropped", step->name, leases, tasks,
				 c->agents_marked_dead, c->partitions_dropped);
}

/* Runs a step in a transaction of its own. Raises nothing but FATAL. */
static StepResult
run_step(const SweepStep *step, StepMemory *memory)
{
	MemoryContext context = CurrentMemoryContext;
	char		activity[192];
	volatile StepResult result = STEP_FAILED;
	int64		now = clock_read().mono;

	if (now < memory->not_before)
		return STEP_FAILED;

	describe(step, activity, sizeof(activity));
	debug_query_string = activity;
	PG_TRY();
	{
		SetCurrentStatementStartTimestamp();
		StartTransactionCommand();
		pgstat_report_activity(STATE_RUNNING, activity);
		result = work(step);
		CommitTransactionCommand();
		memory->not_before = 0;
	}
	PG_CATCH();
	{
		/* as in every main loop of the server: the way out is not interrupted */
		HOLD_INTERRUPTS();
		MemoryContextSwitchTo(context);
		result = STEP_FAILED;
		now = clock_read().mono;
		report_error(memory, now);
		AbortOutOfAnyTransaction();
		FlushErrorState();
		memory->not_before = now + ERROR_NAP;
		if (served != NULL)
			pulse_count(served, PULSE_STEP_FAILURES);
		RESUME_INTERRUPTS();
	}
	PG_END_TRY();
	debug_query_string = NULL;
	MemoryContextSwitchTo(context);
	return result;
}

/* The extension is not there: tells the launcher, who looks no more, and ends. */
static void
quit(void)
{
	if (served != NULL)
		shmem_db_retire(served, served_relid);
	workers_absent();
	proc_exit(0);
}

/* Ends if a command wants the database for itself, or it is not to be swept. */
static void
end_if_told(void)
{
	if (workers_told_to_end())
		proc_exit(0);
}

/*
 * One pass. Returns what decides about the nap: gone, outdated, more, failed, done.
 */
static StepResult
run_pass(StepMemory *memory)
{
	StepResult	worst;

	next_pass = PG_INT64_MAX;
	worst = run_step(&first_step, memory++);
	if (worst != STEP_DONE)
		return worst;
	pulse_pass_begins(served, clock_read().mono);
	for (int i = 0; i <= sweep_step_count; i++)
	{
		const SweepStep *step = i < sweep_step_count ? &sweep_steps[i] : &last_step;
		StepResult	result = run_step(step, memory++);

		end_if_told();
		worst = Max(worst, result);
		if (worst >= STEP_OUTDATED)
			break;
	}
	pulse_pass_ends(served, clock_read().mono);
	return worst;
}

/* How long to sleep after a pass, in microseconds; 0: not at all. */
static int64
nap_after(StepResult result)
{
	int64		max_nap = ains_sweep_max_nap * INT64CONST(1000);
	TimestampTz now = clock_read().wall;
	TimestampTz alarm;

	if (result == STEP_MORE || workers_take_news())
		return 0;
	if (result == STEP_OUTDATED)
		return max_nap;			/* ALTER EXTENSION UPDATE is news */
	if (served == NULL)
		return Min(ERROR_NAP, max_nap);

	/* a wake-up "now" is the earliest time there is: mind the overflow */
	alarm = db_hasten_sweeper(served, next_pass);
	if (result == STEP_FAILED)
		alarm = Max(Min(alarm, now + ERROR_NAP), now + MIN_ERROR_NAP);
	return alarm <= now ? 0 : Min(alarm - now, max_nap);
}

/* When others want us to wake, at the latest. */
static TimestampTz
asked(void)
{
	return served == NULL ? PG_INT64_MAX : db_hasten_sweeper(served, PG_INT64_MAX);
}

/* Does what signals and other processes ask for. */
static void
attend(void)
{
	/* pg_cancel_backend() ends a step, not a nap: here its error would end us */
	QueryCancelPending = false;
	CHECK_FOR_INTERRUPTS();
	end_if_told();
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
	}
}

/*
 * A task may be claimable while somebody sleeps who could do it: who was woken
 * for it, and told his client, has not claimed it so far. Wakes one more, if
 * limits let it claim. Reads
 * shared memory only; returns how long it may take until the next such look.
 */
static int64
wake_more(void)
{
	int64		next = GLANCE;
	int64		now = clock_read().mono;
	int			count;
	int32	   *lanes;

	if (served == NULL)
		return next;
	lanes = waiters_lanes(served, &count);
	for (int i = 0; i < count; i++)
	{
		ReadyGlance seen = ready_glance(served, &lanes[i], 1);
		int64		opens_at;
		int64		room = limits_room(served, lanes[i], now, &opens_at);

		if (seen == READY_NOTHING)
			continue;
		if (room == 0)
		{
			if (opens_at != PG_INT64_MAX)
				next = Min(next, Max(opens_at - now, 1000));
			continue;
		}
		waiters_wake_lane(served, lanes[i], 1);
		if (seen == READY_KEY)
			next = GLANCE_AGAIN;
	}
	pfree(lanes);
	return next;
}

/*
 * Sleeps until there is something to do. The latch is reset before looking
 * why it was set: what comes later sets it again, and what came earlier,
 * mostly our own commits, is in the alarm.
 */
static void
nap(StepResult result)
{
	int64		length;
	int64		until;
	int64		now;
	int			happened;
	TimestampTz alarm;

	ResetLatch(MyLatch);
	attend();
	length = nap_after(result);
	if (length == 0)
		return;
	memset(&counts_since_nap, 0, sizeof(counts_since_nap));

	alarm = asked();
	/* statistics of an idle process would wait for the end of its nap */
	pgstat_report_stat(true);
	pgstat_report_activity(STATE_IDLE, NULL);
	now = clock_read().mono;
	until = now + length;
	do
	{
		length = Min(until - now, wake_more());
		happened = WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
							 (length + 999) / 1000,
							 compat_wait_event("AinsSweeperMain", &wait_event));
		if (happened & WL_LATCH_SET)
			ResetLatch(MyLatch);
		attend();
		now = clock_read().mono;
		if (happened & WL_LATCH_SET)
		{
			TimestampTz before = alarm;

			/* an alarm for soon is waited for; else somebody wants us to look */
			alarm = asked();
			length = nap_after(result);
			if (alarm >= before || length > GLANCE)
				break;
			until = Min(until, now + length);
		}
	} while (now < until);
}

/*
 * One sweeper per database, whatever the launcher believes: a lock that the
 * session holds and that ends with it.
 */
static bool
lock_database(void)
{
	LOCKTAG		tag;
	bool		locked;

	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, 0, SWEEPER_LOCK_KEY, SWEEPER_LOCK_CLASS);
	StartTransactionCommand();
	locked = LockAcquire(&tag, ExclusiveLock, true, true) != LOCKACQUIRE_NOT_AVAIL;
	CommitTransactionCommand();
	return locked;
}

/* The sweeper's main function: runs until the extension is gone or it is told to end. */
void
ains_sweeper_main(Datum arg)
{
	SweeperTicket ticket;
	StepMemory *memory;
	MemoryContext context;
	bool		outdated = false;

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	/* exits with 1 and is not started again by the postmaster, but the launcher */
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();

	memcpy(&ticket, MyBgworkerEntry->bgw_extra, sizeof(ticket));
	if (!workers_claim(&ticket))
		proc_exit(0);
	on_shmem_exit(leave, (Datum) 0);

	/* as the bootstrap superuser; query.c becomes the owner of the tables */
	BackgroundWorkerInitializeConnectionByOid(ticket.database, InvalidOid, 0);
	pgstat_report_appname(MyBgworkerEntry->bgw_name);
	if (!lock_database())
	{
		ereport(LOG,
				(errmsg("another sweeper of ains works in this database")));
		proc_exit(0);
	}

	memory = MemoryContextAllocZero(TopMemoryContext,
									(sweep_step_count + 2) * sizeof(StepMemory));
	context = AllocSetContextCreate(TopMemoryContext, "ains sweeper", ALLOCSET_DEFAULT_SIZES);

	for (;;)
	{
		StepResult	result;

		MemoryContextSwitchTo(context);
		end_if_told();
		result = run_pass(memory);
		if (result == STEP_GONE)
			quit();
		if (result == STEP_OUTDATED && !outdated)
			ereport(LOG,
					(errmsg("the sweeper of ains waits: the extension's script is not of version %s",
							AINS_VERSION),
					 errhint("Run ALTER EXTENSION ains UPDATE.")));
		outdated = result == STEP_OUTDATED;
		nap(result);
		MemoryContextReset(context);
	}
}
