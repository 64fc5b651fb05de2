/*
 * worker/launcher.c
 *		Finds the databases of this server that have ains.
 *
 * Whether a database has the extension can only be seen from inside. So the
 * launcher starts a sweeper in each database it knows nothing of, a few at a
 * time; a sweeper that finds no extension says so and ends, and the launcher
 * looks no more in there until it is asked to (workers_request, by the commit
 * of CREATE EXTENSION). What it remembers is its own and lost with it: a new
 * launcher looks everywhere again.
 *
 * Sweepers never restart themselves; the launcher restarts them, not more
 * often than every few seconds.
 */
#include "worker/launcher.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "compat.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/varlena.h"

#include "clock.h"
#include "guc.h"
#include "soft/shmem.h"
#include "soft/workers.h"

/* Databases new to the launcher that it looks into at once. */
#define MAX_PROBES			3
/* A sweeper that ended by itself starts again after this long, at the earliest. */
#define RESTART_INTERVAL	(5 * USECS_PER_SEC)
/* How often it looks without being asked: for ALLOW_CONNECTIONS and the like. */
#define LOOK_INTERVAL		(60 * USECS_PER_SEC)

StaticAssertDecl(sizeof(SweeperTicket) <= BGW_EXTRALEN,
				 "the ticket of a sweeper must fit into bgw_extra");

/* A database in which a sweeper may run. */
typedef struct Known
{
	Oid			database;		/* the key */
	bool		listed;			/* in this turn */
	bool		absent;			/* has no ains, at the last look */
	bool		failed;			/* its sweeper ended, nobody knows why */
	int64		started;		/* its sweeper, by the monotonic clock */
} Known;

/* A row of pg_database. */
typedef struct Database
{
	Oid			oid;
	char	   *name;
	bool		usable;			/* a sweeper could connect */
} Database;

/* A sweeper that the postmaster was asked to start. */
typedef struct Launch
{
	BackgroundWorkerHandle *handle; /* NULL: none */
	SweeperTicket ticket;
} Launch;

static HTAB *known;				/* Known, by database */
static Launch *launches;		/* one per slot */
static bool full_logged;		/* of these two, until it changes */
static bool list_logged;

static uint32 wait_event;

/* Registers the launcher with the postmaster; for _PG_init, while preloading. */
void
launcher_init(void)
{
	BackgroundWorker worker;

	/* pg_upgrade must find the databases alone and unchanged */
	if (IsBinaryUpgrade)
		return;

	memset(&worker, 0, sizeof(worker));
	strlcpy(worker.bgw_name, "ains launcher", BGW_MAXLEN);
	strlcpy(worker.bgw_type, "ains launcher", BGW_MAXLEN);
	strlcpy(worker.bgw_library_name, "ains", BGW_MAXLEN);
	strlcpy(worker.bgw_function_name, "ains_launcher_main", BGW_MAXLEN);
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	/* never on a standby; at its promotion */
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = 5;
	RegisterBackgroundWorker(&worker);
}

/* All databases, in the current memory context. */
static List *
read_databases(void)
{
	MemoryContext context = CurrentMemoryContext;
	List	   *databases = NIL;
	Relation	rel;
	TableScanDesc scan;
	HeapTuple	tuple;

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	(void) GetTransactionSnapshot();
	rel = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(rel, 0, NULL);
	while (HeapTupleIsValid(tuple = heap_getnext(scan, ForwardScanDirection)))
	{
		Form_pg_database form = (Form_pg_database) GETSTRUCT(tuple);
		MemoryContext old;
		Database   *database;

		old = MemoryContextSwitchTo(context);
		database = palloc(sizeof(Database));
		database->oid = form->oid;
		database->name = pstrdup(NameStr(form->datname));
		/* also a template, which may have ains: see worker/ddl.c */
		database->usable = form->datallowconn && !database_is_invalid_form(form);
		databases = lappend(databases, database);
		MemoryContextSwitchTo(old);
	}
	table_endscan(scan);
	table_close(rel, AccessShareLock);
	CommitTransactionCommand();
	MemoryContextSwitchTo(context);
	return databases;
}

/*
 * Marks the databases that may have a sweeper now as listed, and forgets the
 * others. False: ains.databases is no list.
 */
static bool
list_databases(List *databases)
{
	char	   *copy = pstrdup(ains_databases);
	List	   *names;
	ListCell   *lc;
	HASH_SEQ_STATUS status;
	Known	   *entry;

	if (!SplitIdentifierString(copy, ',', &names))
	{
		if (!list_logged)
			ereport(LOG,
					(errmsg("invalid list syntax in parameter \"%s\"", "ains.databases"),
					 errdetail("Until it is corrected, sweepers are neither started nor ended.")));
		list_logged = true;
		return false;
	}
	list_logged = false;

	hash_seq_init(&status, known);
	while ((entry = hash_seq_search(&status)) != NULL)
		entry->listed = false;

	foreach(lc, databases)
	{
		Database   *database = lfirst(lc);
		bool		wanted = names == NIL;
		bool		found;
		ListCell   *name;

		foreach(name, names)
			if (strcmp(lfirst(name), database->name) == 0)
				wanted = true;
		if (!wanted || !database->usable)
			continue;
		entry = hash_search(known, &database->oid, HASH_ENTER, &found);
		if (!found)
		{
			entry->absent = false;
			entry->failed = false;
			entry->started = 0;
		}
		entry->listed = true;
	}

	hash_seq_init(&status, known);
	while ((entry = hash_seq_search(&status)) != NULL)
		if (!entry->listed)
			hash_search(known, &entry->database, HASH_REMOVE, NULL);
	return true;
}

/* Frees the soft state of databases that are gone. */
static void
retire_missing(const Oid *with_state, int count, List *databases)
{
	for (int i = 0; i < count; i++)
	{
		bool		exists = false;
		ListCell   *lc;

		foreach(lc, databases)
			if (((Database *) lfirst(lc))->oid == with_state[i])
				exists = true;
		if (!exists)
			shmem_retire_database(with_state[i]);
	}
}

/* Forgets that there was no ains in databases where there is something new. */
static void
take_requests(void)
{
	Oid			requests[WORKERS_MAX_REQUESTS];
	int			count;
	HASH_SEQ_STATUS status;
	Known	   *entry;

	if (workers_take_requests(requests, &count))
	{
		hash_seq_init(&status, known);
		while ((entry = hash_seq_search(&status)) != NULL)
			entry->absent = false;
	}
	for (int i = 0; i < count; i++)
		if ((entry = hash_search(known, &requests[i], HASH_FIND, NULL)) != NULL)
			entry->absent = false;
}

/* The sweeper of a slot is gone, or never came. */
static void
note_end(int slot, const SweeperEnd *end)
{
	Known	   *entry = hash_search(known, &end->database, HASH_FIND, NULL);

	if (launches[slot].handle != NULL)
		pfree(launches[slot].handle);
	launches[slot].handle = NULL;
	if (entry != NULL)
	{
		entry->absent = end->absent;
		entry->failed = !end->expected;
	}
}

/*
 * Goes through the slots: notes whose sweepers have ended, ends those of
 * databases that are not listed, and returns how many do not know yet whether
 * there is an extension.
 */
static int
review_slots(void)
{
	int			probes = 0;

	for (int i = 0; i < workers_slot_count(); i++)
	{
		Launch	   *launch = &launches[i];
		SweeperEnd	end;
		Oid			database;
		bool		starting;
		bool		serving;
		pid_t		pid;

		if (workers_collect(i, &end))
			note_end(i, &end);

		database = workers_database(i, &starting, &serving);
		if (!OidIsValid(database))
			continue;
		/* the order matters: a process that came has claimed its slot by now */
		if (starting && launch->handle != NULL &&
			GetBackgroundWorkerPid(launch->handle, &pid) == BGWH_STOPPED &&
			workers_give_back(&launch->ticket))
		{
			end.database = database;
			end.absent = false;
			end.expected = false;
			note_end(i, &end);
			continue;
		}
		if (hash_search(known, &database, HASH_FIND, NULL) == NULL)
			workers_stop(database, false);
		if (!serving)
			probes++;
	}
	return probes;
}

/* Says, once until it changes, why a sweeper cannot be started. */
static void
log_full(const char *database, bool no_slot)
{
	if (full_logged)
		return;
	full_logged = true;
	if (no_slot)
		ereport(LOG,
				(errmsg("no room for a sweeper of ains in database \"%s\"", database),
				 errdetail("There is room for %d databases.", ains_max_databases),
				 errhint("Increase the setting \"%s\" and restart the server.",
						 "ains.max_databases")));
	else
		ereport(LOG,
				(errmsg("no free worker slot for the sweeper of ains in database \"%s\"",
						database),
				 errhint("Increase the setting \"%s\" and restart the server.",
						 "max_worker_processes")));
}

/* Starts the sweeper of a database unless it has one or is held off. */
static TakeResult
launch_sweeper(const Database *database, Known *entry, int64 now)
{
	BackgroundWorker worker;
	Launch	   *launch;
	SweeperTicket ticket;
	MemoryContext old;
	TakeResult	result = workers_take(database->oid, &ticket);

	if (result == TAKE_FULL)
		log_full(database->name, true);
	if (result != TAKE_OK)
		return result;

	memset(&worker, 0, sizeof(worker));
	snprintf(worker.bgw_name, BGW_MAXLEN, "ains sweeper %s", database->name);
	strlcpy(worker.bgw_type, "ains sweeper", BGW_MAXLEN);
	strlcpy(worker.bgw_library_name, "ains", BGW_MAXLEN);
	strlcpy(worker.bgw_function_name, "ains_sweeper_main", BGW_MAXLEN);
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	worker.bgw_notify_pid = MyProcPid;
	memcpy(worker.bgw_extra, &ticket, sizeof(ticket));

	launch = &launches[ticket.slot];
	if (launch->handle != NULL)
		pfree(launch->handle);
	launch->handle = NULL;
	launch->ticket = ticket;
	/* the handle must outlive this turn */
	old = MemoryContextSwitchTo(TopMemoryContext);
	if (!RegisterDynamicBackgroundWorker(&worker, &launch->handle))
	{
		MemoryContextSwitchTo(old);
		workers_give_back(&ticket);
		log_full(database->name, false);
		return TAKE_FULL;
	}
	MemoryContextSwitchTo(old);
	entry->failed = false;
	entry->started = now;
	return TAKE_OK;
}

/*
 * One turn: makes the sweepers that run those that should. Returns how long to
 * sleep, in microseconds, unless somebody wakes us.
 */
static int64
look(void)
{
	int64		nap = LOOK_INTERVAL;
	int64		now = clock_read().mono;
	bool		full = false;
	List	   *databases;
	ListCell   *lc;
	Oid		   *with_state = palloc(ains_max_databases * sizeof(Oid));
	int			with_state_count;
	int			probes;

	/* before reading: whatever is requested from now on needs another turn */
	take_requests();
	workers_forget_dead_holders();
	/* before reading too: what has soft state then, exists then or is gone */
	with_state_count = shmem_databases(with_state);
	databases = read_databases();
	retire_missing(with_state, with_state_count, databases);
	if (!list_databases(databases))
		return nap;
	probes = review_slots();

	foreach(lc, databases)
	{
		Database   *database = lfirst(lc);
		Known	   *entry = hash_search(known, &database->oid, HASH_FIND, NULL);
		int64		wait = 0;

		if (entry == NULL || entry->absent)
			continue;
		if (entry->failed)
			wait = entry->started + RESTART_INTERVAL - now;
		if (wait > 0)
		{
			nap = Min(nap, wait);
			continue;
		}
		if (probes >= MAX_PROBES)
			break;				/* the end of one wakes us */
		switch (launch_sweeper(database, entry, now))
		{
			case TAKE_OK:
				probes++;
				break;
			case TAKE_NOT_NOW:
				break;
			case TAKE_FULL:
				full = true;
				break;
		}
		if (full)
		{
			nap = Min(nap, RESTART_INTERVAL);
			break;
		}
	}
	if (!full)
		full_logged = false;
	return nap;
}

static void
init_memory(void)
{
	HASHCTL		control;

	control.keysize = sizeof(Oid);
	control.entrysize = sizeof(Known);
	control.hcxt = TopMemoryContext;
	known = hash_create("ains databases", 64, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	launches = MemoryContextAllocZero(TopMemoryContext, workers_slot_count() * sizeof(Launch));
}

/* The launcher's main function: runs until it is told to end. */
void
ains_launcher_main(Datum arg)
{
	MemoryContext turn_context;

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	/* exits with 1, so the postmaster starts it again unless it shuts down */
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();

	workers_launcher_starts();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	init_memory();
	turn_context = AllocSetContextCreate(TopMemoryContext, "ains launcher",
										 ALLOCSET_DEFAULT_SIZES);

	for (;;)
	{
		int64		nap;

		MemoryContextSwitchTo(turn_context);
		pgstat_report_activity(STATE_RUNNING, "ains: looking at databases");
		nap = look();
		pgstat_report_stat(true);
		pgstat_report_activity(STATE_IDLE, NULL);
		MemoryContextReset(turn_context);

		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 (nap + 999) / 1000,
						 compat_wait_event("AinsLauncherMain", &wait_event));
		ResetLatch(MyLatch);
		/* nothing here is worth cancelling, and the error would end us */
		QueryCancelPending = false;
		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}
	}
}
