/*
 * core/health.c
 *		Whether ains is well: a table of checks.
 *
 * That it answers at all says that the library is preloaded, the extension
 * installed and both of the same version: the call has been refused otherwise.
 * The limits are constants: each says how bad it is, not how busy a site is.
 */
#include "core/health.h"

#include "access/xlog.h"
#include "compat.h"
#include "miscadmin.h"
#include "pgstat.h"

#include "core/capability.h"
#include "core/shelf.h"
#include "core/stats.h"
#include "core/sweep.h"
#include "guc.h"
#include "soft/counters.h"
#include "soft/pulse.h"
#include "soft/ready.h"
#include "soft/roster.h"
#include "soft/workers.h"
#include "store/health_store.h"
#include "store/report_store.h"

/* A pass has little to do in one go; one that runs for so long is stuck, mostly at a lock. */
#define LONG_PASS			(60 * USECS_PER_SEC)
/* Less than one part in this many of the roster is free: it is filling up. */
#define ROSTER_RESERVE		10
/* Aging has raised even the least task by six points in this time. */
#define LONG_PENDING		(USECS_PER_HOUR)
/* So many dead letters in PULSE_MINUTES minutes are no accident. */
#define MANY_DEAD_LETTERS	10
/* Dead rows pile up meanwhile: the server slows down, and in the end the disk is full. */
#define LONG_PIN			(5 * USECS_PER_MINUTE)
#define VERY_LONG_PIN		(USECS_PER_DAY)
#define OLD_SLOT_XIDS		INT64CONST(10000000)
/* The server refuses new transactions at about 2.1 billion. */
#define OLD_XIDS			INT64CONST(1000000000)
#define VERY_OLD_XIDS		INT64CONST(1800000000)
/* Half of the ids, and nearly all. */
#define MANY_IDS			(AINS_MAX_ID / 2)
#define NEARLY_ALL_IDS		(AINS_MAX_ID / 10 * 9)
/* There is one more day after tomorrow until the last shelf is today's. */
#define FEW_DAYS_AHEAD		2
#define SCHEDULE_PATIENCE	(5 * USECS_PER_MINUTE)

typedef void (*CheckFunction) (Call *call, HealthCheck *check);

const char *
health_status_name(HealthStatus status)
{
	static const char *const names[] = {"healthy", "degraded", "unhealthy"};

	return names[status];
}

static void
say(HealthCheck *check, HealthStatus status, char *detail, const char *advice)
{
	check->status = status;
	check->detail = detail;
	check->advice = advice;
}

/* A length of time for people. */
static char *
length_text(int64 us)
{
	if (us < 2 * USECS_PER_MINUTE)
		return psprintf(INT64_FORMAT " s", us / USECS_PER_SEC);
	if (us < 2 * USECS_PER_HOUR)
		return psprintf(INT64_FORMAT " min", us / USECS_PER_MINUTE);
	return psprintf(INT64_FORMAT " h", us / USECS_PER_HOUR);
}

static void
check_server(Call *call, HealthCheck *check)
{
	if (RecoveryInProgress())
		say(check, IS_HEALTHY, pstrdup("This is a standby: it can be read, and not more."),
			"Connect to the primary for tasks.");
	else
		say(check, IS_HEALTHY, psprintf("ains %s answers.", AINS_VERSION), NULL);
}

static void
check_launcher(Call *call, HealthCheck *check)
{
	if (workers_have_launcher())
		say(check, IS_HEALTHY, pstrdup("The launcher runs."), NULL);
	else
		say(check, IS_DEGRADED,
			pstrdup("The launcher does not run, so no sweeper is started."),
			"The server starts it again after five seconds; if not, its log says why.");
}

static void
check_sweeper(Call *call, HealthCheck *check)
{
	int64		patience = sweep_patience();
	int64		overdue;
	int64		began = pulse_pass_began(call->db);
	bool		running;
	bool		planned = db_sweep_overdue(call->db, &call->now, &running, &overdue);

	if (!planned && !running)
		say(check, IS_UNHEALTHY,
			pstrdup("No sweeper runs in this database, and nobody has called ains.sweep(): leases of the dead are not taken back, and nothing becomes due."),
			"Look at ains.databases, max_worker_processes and the server's log, or call ains.sweep() every few seconds.");
	else if (running && began != 0 && call->now.mono - began > LONG_PASS)
		say(check, IS_DEGRADED,
			psprintf("The sweeper's pass has been running for %s.",
					 length_text(call->now.mono - began)),
			"See in pg_stat_activity what it does and in pg_locks what it waits for.");
	else if (planned && overdue > 3 * patience)
		say(check, IS_UNHEALTHY, psprintf("The last sweep is overdue by %s.", length_text(overdue)),
			running ? "See in pg_stat_activity what the sweeper does and in pg_locks what it waits for."
			: "No sweeper runs: see why nobody calls ains.sweep() any more, or let the launcher start one.");
	else if (planned && overdue > patience)
		say(check, IS_DEGRADED, psprintf("The next sweep is overdue by %s.", length_text(overdue)),
			"The machine may be overloaded, or have stood still.");
	else if (running)
		say(check, IS_HEALTHY, pstrdup("The sweeper runs, and is on time."), NULL);
	else
		say(check, IS_HEALTHY, pstrdup("No sweeper runs, but ains.sweep() is called."), NULL);
}

static void
check_roster(Call *call, HealthCheck *check)
{
	int32		room = roster_room();
	char	   *detail = psprintf("There is room for %d more agents, of %d.", room, ains_max_agents);
	const char *advice = "Increase ains.max_agents and restart the server.";

	if (room == 0)
		say(check, IS_UNHEALTHY, detail, advice);
	else if (room < ains_max_agents / ROSTER_RESERVE)
		say(check, IS_DEGRADED, detail, advice);
	else
		say(check, IS_HEALTHY, detail, NULL);
}

static void
check_ready_set(Call *call, HealthCheck *check)
{
	int64		keys;
	int			used = ready_use(call->db, &keys);
	char	   *detail = psprintf("%d of %d lanes have memory.", used, ains_max_lanes);

	if (used >= ains_max_lanes)
		say(check, IS_DEGRADED, detail,
			"Lanes take turns, and claims scan the index each time: increase ains.max_lanes and restart the server.");
	else
		say(check, IS_HEALTHY, detail, NULL);
}

static void
check_oldest_pending(Call *call, HealthCheck *check)
{
	int			count;
	CapabilityCounts *counts = counters_read(call->db, &count);
	bool		known = counters_live_known(call->db);
	int64		oldest = 0;
	const char *of = NULL;

	for (int i = 0; i < count; i++)
	{
		const CapabilityRow *capability;
		int64		age;

		if (counts[i].capability[0] == '\0')
		{
			say(check, IS_DEGRADED,
				psprintf("There are more capabilities than the %d that shared memory counts.",
						 ains_max_capabilities),
				"Increase ains.max_capabilities and restart the server; until then see oldest_pending in ains.queue_stats().");
			return;
		}
		if (!known || counts[i].live[TASK_PENDING] <= 0)
			continue;
		capability = capability_find(call, counts[i].capability);
		/* paused: somebody means them to wait */
		if (capability == NULL || capability->paused)
			continue;
		age = stats_waiting_for(call, capability);
		if (age > oldest)
		{
			oldest = age;
			of = counts[i].capability;
		}
	}
	if (!known)
	{
		say(check, IS_HEALTHY, pstrdup("The next sweep counts the tasks."), NULL);
		return;
	}
	if (oldest <= LONG_PENDING)
		say(check, IS_HEALTHY, psprintf("The oldest task has been due for %s.", length_text(oldest)),
			NULL);
	else
		say(check, IS_DEGRADED,
			psprintf("A task of capability \"%s\" has been due for %s.", of, length_text(oldest)),
			"ains.explain_task says why it waits; start more agents that offer the capability.");
}

static void
check_dead_letters(Call *call, HealthCheck *check)
{
	uint64		recent = pulse_recent(call->db, JOURNAL_DEAD_LETTER, call->now.mono);
	char	   *detail = psprintf("Tasks that failed for good in the last %d minutes: " UINT64_FORMAT ".",
								  PULSE_MINUTES, recent);

	if (recent >= MANY_DEAD_LETTERS)
		say(check, IS_DEGRADED, detail,
			"See the errors in ains.dead_letters; ains.redrive puts the tasks back when the cause is gone.");
	else
		say(check, IS_HEALTHY, detail, NULL);
}

/* The backend of this database whose transaction has held the horizon longest; 0: none. */
static int
oldest_transaction(TimestampTz *since)
{
	int			pid = 0;
	int			count = pgstat_fetch_stat_numbackends();

	for (int i = 1; i <= count; i++)
	{
		const LocalPgBackendStatus *local = compat_backend_at(i);
		const PgBackendStatus *backend;

		if (local == NULL)
			continue;
		backend = &local->backendStatus;
		/* VACUUM holds nobody up */
		if (backend->st_procpid == MyProcPid || backend->st_databaseid != MyDatabaseId ||
			backend->st_backendType == B_AUTOVAC_WORKER ||
			backend->st_xact_start_timestamp == 0 ||
			(!TransactionIdIsValid(local->backend_xid) &&
			 !TransactionIdIsValid(local->backend_xmin)))
			continue;
		if (pid == 0 || backend->st_xact_start_timestamp < *since)
		{
			pid = backend->st_procpid;
			*since = backend->st_xact_start_timestamp;
		}
	}
	return pid;
}

static void
check_horizon(Call *call, HealthCheck *check)
{
	TimestampTz since = call->now.wall;
	TimestampTz prepared_since;
	int64		slot_age;
	int			pid = oldest_transaction(&since);
	char	   *prepared = health_store_prepared(&prepared_since);
	char	   *slot = health_store_slot(&slot_age);
	int64		age;
	HealthStatus status;

	if (prepared != NULL && prepared_since >= since)
		prepared = NULL;		/* it is not the oldest */
	if (prepared != NULL)
		since = prepared_since;
	age = Max(call->now.wall - since, 0);
	status = age > VERY_LONG_PIN ? IS_UNHEALTHY : age > LONG_PIN ? IS_DEGRADED : IS_HEALTHY;

	if (status == IS_HEALTHY && slot != NULL && slot_age > OLD_SLOT_XIDS)
		say(check, IS_DEGRADED,
			psprintf("Replication slot \"%s\" keeps rows of the last " INT64_FORMAT " transactions from being removed.",
					 slot, slot_age),
			"Let its consumer catch up, or drop the slot.");
	else if (status == IS_HEALTHY)
		say(check, IS_HEALTHY, psprintf("The oldest transaction is %s old.", length_text(age)),
			NULL);
	else if (prepared != NULL)
		say(check, status,
			psprintf("Prepared transaction \"%s\" has kept dead rows from being removed for %s.",
					 prepared, length_text(age)),
			"End it with COMMIT PREPARED or ROLLBACK PREPARED.");
	else
		say(check, status,
			psprintf("A transaction of backend %d has kept dead rows from being removed for %s.",
					 pid, length_text(age)),
			"See in pg_stat_activity whose it is; let it end, or pg_terminate_backend it, and set idle_in_transaction_session_timeout.");
}

static void
check_wraparound(Call *call, HealthCheck *check)
{
	IdUse		use;
	int64		ids;
	int64		age;

	health_store_ids(&use);
	ids = Max(use.last_task_id, use.last_token);
	age = Max(use.xid_age, use.mxid_age);
	if (age > OLD_XIDS)
		say(check, age > VERY_OLD_XIDS ? IS_UNHEALTHY : IS_DEGRADED,
			psprintf("The oldest rows of this database are " INT64_FORMAT " transactions old.", age),
			"VACUUM the database, and see what keeps autovacuum from it: the check \"horizon\", or its settings.");
	else if (ids > MANY_IDS)
		say(check, ids > NEARLY_ALL_IDS ? IS_UNHEALTHY : IS_DEGRADED,
			psprintf("Ids of tasks or tokens have come to " INT64_FORMAT ", of " INT64_FORMAT ".",
					 ids, AINS_MAX_ID),
			"Plan a new installation: ids are never used twice.");
	else
		say(check, IS_HEALTHY,
			psprintf("Ids have come to " INT64_FORMAT ", the oldest rows are " INT64_FORMAT " transactions old.",
					 ids, age), NULL);
}

static void
check_partitions(Call *call, HealthCheck *check)
{
	const char *advice = "The sweeper makes them: see the check \"sweeper\" and the server's log.";
	int			ahead;

	if (!shelf_days_ahead(call, &ahead))
		say(check, IS_HEALTHY, pstrdup("There is no history yet."), NULL);
	else if (ahead < 0)
		say(check, IS_UNHEALTHY,
			pstrdup("The last partition of history is of a day that is over; what ends now goes there."), advice);
	else if (ahead < FEW_DAYS_AHEAD)
		say(check, IS_DEGRADED,
			psprintf("Days from today to the last partition of history: %d.", ahead), advice);
	else
		say(check, IS_HEALTHY, psprintf("Days from today to the last partition of history: %d.", ahead),
			NULL);
}

static void
check_schedules(Call *call, HealthCheck *check)
{
	ScheduleTally tally;

	report_store_schedules(call->now.wall - SCHEDULE_PATIENCE, &tally);
	if (tally.overdue > 0)
		say(check, IS_DEGRADED,
			psprintf("Schedules that were due more than five minutes ago: " INT64_FORMAT ".", tally.overdue),
			"See whether pg_cron runs, or whoever calls ains.run_schedules(), and last_error in ains.schedules.");
	else if (tally.failing > 0)
		say(check, IS_DEGRADED,
			psprintf("Schedules whose last run failed: " INT64_FORMAT ".", tally.failing),
			"See last_error in ains.schedules.");
	else
		say(check, IS_HEALTHY, psprintf("Active schedules: " INT64_FORMAT ".", tally.active), NULL);
}

/* docs/monitoring.md has the same table. */
static const struct
{
	const char *name;
	CheckFunction run;
	bool		on_standby;
	bool		reads_tasks;
}			checks[] = {
	{"server", check_server, true},
	{"launcher", check_launcher},
	{"sweeper", check_sweeper},
	{"roster", check_roster},
	{"ready_set", check_ready_set},
	{"oldest_pending", check_oldest_pending, false, true},
	{"dead_letters", check_dead_letters},
	{"horizon", check_horizon},
	{"wraparound", check_wraparound, true},
	{"partitions", check_partitions},
	{"schedules", check_schedules},
};

HealthCheck *
health_check(Call *call, bool read_tasks, int *count)
{
	HealthCheck *results = palloc0(lengthof(checks) * sizeof(HealthCheck));
	bool		standby = RecoveryInProgress();

	*count = 0;
	for (int i = 0; i < lengthof(checks); i++)
	{
		if ((standby && !checks[i].on_standby) || (checks[i].reads_tasks && !read_tasks))
			continue;
		results[*count].name = checks[i].name;
		checks[i].run(call, &results[(*count)++]);
	}
	return results;
}
