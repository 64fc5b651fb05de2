/*
 * core/ticker.c
 *		Who calls ains.run_schedules() every minute: pg_cron, wherever it lives.
 *
 * pg_cron keeps its jobs in one database of the server, mostly another one than
 * ours, where no statement of ours reaches. A background worker can connect to
 * it: it looks whether there is a job for our database, and makes one if not.
 * The job is the same for all schedules and has no text of a user in it, since
 * it runs as the superuser that the worker is.
 *
 * The two talk through a segment of dynamic shared memory. The one that asks
 * fills in the request and then waits for the other's end, so it needs no lock.
 */
#include "core/ticker.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/dbcommands.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "storage/dsm.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/snapmgr.h"

#include "query.h"

/* Somebody who ran the schedules so short a while ago will do so again. */
#define STILL_TICKING	(5 * USECS_PER_MINUTE)

typedef enum Outcome
{
	NOT_ASKED,					/* the worker did not get there */
	NO_EXTENSION,				/* or one without schedule_in_database */
	JOB_THERE
} Outcome;

typedef struct Request
{
	char		pg_cron_database[NAMEDATALEN];
	char		our_database[NAMEDATALEN];
	Outcome		outcome;
} Request;

void
ticker_note(Call *call)
{
	/* 0 is "never" */
	pg_atomic_write_u64(&call->db->schedules_run, (uint64) Max(call->now.mono, 1));
}

/* Starts the worker and waits for its end. */
static Outcome
ask(const char *pg_cron_database)
{
	BackgroundWorker worker = {0};
	BackgroundWorkerHandle *handle;
	dsm_segment *segment = dsm_create(sizeof(Request), 0);
	Request    *request = dsm_segment_address(segment);
	Outcome		outcome;

	strlcpy(request->pg_cron_database, pg_cron_database, NAMEDATALEN);
	strlcpy(request->our_database, get_database_name(MyDatabaseId), NAMEDATALEN);
	request->outcome = NOT_ASKED;

	strlcpy(worker.bgw_name, "ains asks pg_cron", BGW_MAXLEN);
	strlcpy(worker.bgw_type, "ains asks pg_cron", BGW_MAXLEN);
	strlcpy(worker.bgw_library_name, "ains", BGW_MAXLEN);
	strlcpy(worker.bgw_function_name, "ains_ticker_main", BGW_MAXLEN);
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	worker.bgw_notify_pid = MyProcPid;
	worker.bgw_main_arg = UInt32GetDatum(dsm_segment_handle(segment));
	if (!RegisterDynamicBackgroundWorker(&worker, &handle))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
				 errmsg("no background worker is free to ask pg_cron"),
				 errdetail("Schedules are run by a job of pg_cron, which has to be looked up."),
				 errhint("Try again, or increase the setting \"%s\".", "max_worker_processes")));
	(void) WaitForBackgroundWorkerShutdown(handle);
	outcome = request->outcome;
	dsm_detach(segment);
	return outcome;
}

void
ticker_require(Call *call)
{
	int64		last = (int64) pg_atomic_read_u64(&call->db->schedules_run);
	const char *database;
	Outcome		outcome;

	if (last != 0 && call->now.mono - last < STILL_TICKING)
		return;
	database = GetConfigOption("cron.database_name", true, false);
	if (database == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("there is no pg_cron to run schedules"),
				 errdetail("It is not in \"%s\", and nobody else has called ains.run_schedules() in the last five minutes.",
						   "shared_preload_libraries"),
				 errhint("Install and preload pg_cron 1.4 or later, and run CREATE EXTENSION pg_cron in the database of its setting \"%s\"; or let something else call ains.run_schedules() every minute.",
						 "cron.database_name")));
	outcome = ask(database);
	if (outcome == NO_EXTENSION)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("there is no pg_cron to run schedules"),
				 errdetail("Database \"%s\", where it belongs, has no extension pg_cron of version 1.4 or later.",
						   database),
				 errhint("Run CREATE EXTENSION pg_cron there.")));
	if (outcome == NOT_ASKED)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("could not ask pg_cron to run schedules"),
				 errdetail("A worker could not make the job in database \"%s\".", database),
				 errhint("The server's log says why.")));
}

/* Whether pg_cron is there, its functions being its own and nobody else's. */
static bool
has_pg_cron(void)
{
	static SavedQuery find = {
		"SELECT FROM pg_extension e"
		" JOIN pg_depend d ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid"
		"  AND d.classid = 'pg_proc'::regclass AND d.deptype = 'e'"
		" JOIN pg_proc p ON p.oid = d.objid"
		" JOIN pg_namespace n ON n.oid = p.pronamespace"
		" WHERE e.extname = 'pg_cron' AND n.nspname = 'cron'"
		" AND p.proname = 'schedule_in_database'",
	0, {0}, .scans = true, .elsewhere = true};
	QueryCall	q;
	bool		found;

	query_begin(&q, &find);
	found = query_run(&q) > 0;
	query_end(&q);
	return found;
}

/* A job that somebody made already, at whatever times, is as good. */
static void
make_job(const char *database)
{
	static SavedQuery make = {
		"SELECT cron.schedule_in_database('ains ' || $1, '* * * * *',"
		" 'SELECT ains.run_schedules()', $1)"
		" WHERE NOT EXISTS (SELECT FROM cron.job"
		"  WHERE database = $1 AND command LIKE '%ains.run_schedules()%')",
	1, {TEXTOID}, .scans = true, .elsewhere = true};
	QueryCall	q;

	query_begin(&q, &make);
	query_arg_text(&q, database);
	query_run(&q);
	query_end(&q);
}

void
ains_ticker_main(Datum handle)
{
	dsm_segment *segment;
	Request    *request;
	bool		found;

	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	segment = dsm_attach(DatumGetUInt32(handle));
	if (segment == NULL)
		return;					/* nobody waits any more */
	request = dsm_segment_address(segment);

	/* as the bootstrap superuser */
	BackgroundWorkerInitializeConnection(request->pg_cron_database, NULL, 0);
	debug_query_string = "ains: asking pg_cron";
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	pgstat_report_activity(STATE_RUNNING, debug_query_string);
	found = has_pg_cron();
	if (found)
		make_job(request->our_database);
	PopActiveSnapshot();
	CommitTransactionCommand();
	request->outcome = found ? JOB_THERE : NO_EXTENSION;
	dsm_detach(segment);
}
