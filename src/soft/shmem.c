/*
 * soft/shmem.c
 *		Allocation of the shared memory, and what it knows of each database.
 */
#include "soft/shmem.h"

#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/shmem.h"

#include "clock.h"
#include "errors.h"
#include "guc.h"
#include "soft/counters.h"
#include "soft/lanes.h"
#include "soft/limits.h"
#include "soft/pulse.h"
#include "soft/roster.h"
#include "soft/runs.h"
#include "soft/types.h"
#include "soft/waiters.h"
#include "soft/workers.h"

typedef struct Shared
{
	ClockOffsets clock;
	int			ndbs;
	DbState		dbs[FLEXIBLE_ARRAY_MEMBER];
} Shared;

static Shared *shared;			/* NULL: not preloaded */
static LWLockPadded *locks;

static shmem_request_hook_type previous_request_hook;
static shmem_startup_hook_type previous_startup_hook;

static Size
shared_size(void)
{
	return add_size(offsetof(Shared, dbs), mul_size(ains_max_databases, sizeof(DbState)));
}

static void
request(void)
{
	if (previous_request_hook)
		previous_request_hook();
	RequestAddinShmemSpace(shared_size());
	RequestAddinShmemSpace(roster_size());
	RequestAddinShmemSpace(types_size());
	RequestAddinShmemSpace(lanes_size());
	RequestAddinShmemSpace(counters_size());
	RequestAddinShmemSpace(limits_size());
	RequestAddinShmemSpace(pulse_size());
	RequestAddinShmemSpace(waiters_size());
	RequestAddinShmemSpace(workers_size());
	RequestNamedLWLockTranche("ains", LOCK_COUNT);
}

static void
startup(void)
{
	bool		found;

	if (previous_startup_hook)
		previous_startup_hook();

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	locks = GetNamedLWLockTranche("ains");
	shared = ShmemInitStruct("ains", shared_size(), &found);
	clock_shmem_init(&shared->clock, found);
	if (!found)
	{
		shared->ndbs = ains_max_databases;
		for (int i = 0; i < shared->ndbs; i++)
		{
			DbState    *db = &shared->dbs[i];

			memset(db, 0, sizeof(DbState));
			pg_atomic_init_u64(&db->policy_generation, 0);
			pg_atomic_init_u64(&db->agents_changed, 0);
			pg_atomic_init_u64(&db->next_token, 0);
			pg_atomic_init_u64(&db->token_ceiling, 0);
			pg_atomic_init_u64(&db->ready_drift, 0);
			pg_atomic_init_u64(&db->schedules_run, 0);
			pg_atomic_init_u64(&db->version, 0);
			pg_atomic_init_u64(&db->trust_since, 0);
			SpinLockInit(&db->runs_mutex);
			SpinLockInit(&db->mutex);
		}
	}
	roster_shmem_init();
	types_shmem_init();
	lanes_shmem_init();
	counters_shmem_init();
	limits_shmem_init();
	pulse_shmem_init();
	waiters_shmem_init();
	workers_shmem_init();
	LWLockRelease(AddinShmemInitLock);
}

/* Installs the shared memory hooks; for _PG_init, while preloading. */
void
shmem_init(void)
{
	previous_request_hook = shmem_request_hook;
	shmem_request_hook = request;
	previous_startup_hook = shmem_startup_hook;
	shmem_startup_hook = startup;
}

/* False: the library is not in shared_preload_libraries. */
bool
shmem_ready(void)
{
	return shared != NULL;
}

LWLock *
shmem_lock(int which)
{
	return &locks[which].lock;
}

static DbState *
find_db(Oid database, Oid task_relid)
{
	for (int i = 0; i < shared->ndbs; i++)
	{
		DbState    *db = &shared->dbs[i];

		if (db->task_relid == task_relid && db->database == database)
			return db;
	}
	return NULL;
}

/*
 * The soft state of an installation, made unborn at the first call. Takes the
 * ains lock. Raises NS008 when ains.max_databases are in use.
 */
DbState *
shmem_db(Oid database, Oid task_relid)
{
	/* an entry keeps its place, so the last answer is almost always right */
	static DbState *last = NULL;
	DbState    *db;

	if (last != NULL && last->task_relid == task_relid && last->database == database)
		return last;

	LWLockAcquire(shmem_lock(LOCK_DATABASES), LW_EXCLUSIVE);
	db = find_db(database, task_relid);
	if (db == NULL)
	{
		for (int i = 0; i < shared->ndbs && db == NULL; i++)
			if (!OidIsValid(shared->dbs[i].task_relid) || shared->dbs[i].retired)
				db = &shared->dbs[i];
		/* a database has one installation; the other is as good as gone */
		for (int i = 0; i < shared->ndbs && db == NULL; i++)
			if (shared->dbs[i].database == database)
				db = &shared->dbs[i];
		if (db == NULL)
		{
			LWLockRelease(shmem_lock(LOCK_DATABASES));
			ereport(ERROR,
					(errcode(AINS_LIMIT_EXCEEDED),
					 errmsg("too many databases use ains"),
					 errdetail("There is room for %d of them.", shared->ndbs),
					 errhint("Increase the setting \"%s\" and restart the server.",
							 "ains.max_databases")));
		}
		roster_forget_db(db - shared->dbs);
		lanes_forget_db(db - shared->dbs);
		limits_forget_db(db - shared->dbs);
		counters_forget_db(db - shared->dbs);
		pulse_forget_db(db - shared->dbs);
		pg_atomic_write_u64(&db->next_token, 0);
		pg_atomic_write_u64(&db->token_ceiling, 0);
		pg_atomic_write_u64(&db->ready_drift, 0);
		pg_atomic_write_u64(&db->schedules_run, 0);
		pg_atomic_write_u64(&db->trust_since, 0);
		pg_atomic_fetch_add_u64(&db->policy_generation, 1);
		runs_forget(db);
		SpinLockAcquire(&db->mutex);
		db->sweeper_wakes_at = 0;
		db->swept_until = PG_INT64_MIN;
		db->pass_began = db->pass_planned = 0;
		db->loose_since = 0;
		db->audit_due = 0;
		db->policy_checksum = 0;
		db->clock_gap = 0;
		db->trust_recovered = false;
		db->first_shelf = db->last_shelf = NO_SHELF;
		SpinLockRelease(&db->mutex);
		db->retired = false;
		db->database = database;
		db->task_relid = task_relid;
	}
	LWLockRelease(shmem_lock(LOCK_DATABASES));
	last = db;
	return db;
}

/* Needs the ains lock, exclusively. */
static void
retire(DbState *db)
{
	db->retired = true;
	limits_forget_db(shmem_db_number(db));
	counters_forget_db(shmem_db_number(db));
	pg_atomic_fetch_add_u64(&db->policy_generation, 1);
}

/* This installation is gone: lets another database have the entry. */
void
shmem_db_retire(DbState *db, Oid task_relid)
{
	LWLockAcquire(shmem_lock(LOCK_DATABASES), LW_EXCLUSIVE);
	if (db->task_relid == task_relid)
		retire(db);
	LWLockRelease(shmem_lock(LOCK_DATABASES));
}

/* The databases that have soft state: up to ains.max_databases, and their count. */
int
shmem_databases(Oid *databases)
{
	int			count = 0;

	LWLockAcquire(shmem_lock(LOCK_DATABASES), LW_SHARED);
	for (int i = 0; i < shared->ndbs; i++)
		if (OidIsValid(shared->dbs[i].task_relid) && !shared->dbs[i].retired)
			databases[count++] = shared->dbs[i].database;
	LWLockRelease(shmem_lock(LOCK_DATABASES));
	return count;
}

/* The database is gone: lets another one have its entry. */
void
shmem_retire_database(Oid database)
{
	LWLockAcquire(shmem_lock(LOCK_DATABASES), LW_EXCLUSIVE);
	for (int i = 0; i < shared->ndbs; i++)
		if (shared->dbs[i].database == database)
			retire(&shared->dbs[i]);
	LWLockRelease(shmem_lock(LOCK_DATABASES));
}

/* A small number for keys in other shared structures. */
int
shmem_db_number(const DbState *db)
{
	return db - shared->dbs;
}

/*
 * When this soft state's first call came that may end an attempt; this one, if
 * there was none. What ended earlier is known from history alone.
 */
TimestampTz
db_trust_since(DbState *db, TimestampTz now)
{
	uint64		since = pg_atomic_read_u64(&db->trust_since);

	if (since == 0 && pg_atomic_compare_exchange_u64(&db->trust_since, &since, (uint64) now))
		return now;
	return (TimestampTz) since;
}

void
db_set_trust_recovered(DbState *db, bool recovered)
{
	SpinLockAcquire(&db->mutex);
	db->trust_recovered = recovered;
	SpinLockRelease(&db->mutex);
}

bool
db_trust_recovered(DbState *db)
{
	bool		recovered;

	SpinLockAcquire(&db->mutex);
	recovered = db->trust_recovered;
	SpinLockRelease(&db->mutex);
	return recovered;
}

/* The sweeper of a database says where it can be woken; NULL when it ends. */
void
db_set_sweeper(DbState *db, Latch *latch)
{
	SpinLockAcquire(&db->mutex);
	db->sweeper = latch;
	if (latch == NULL)
		db->pass_planned = 0;	/* nobody is late */
	SpinLockRelease(&db->mutex);
}

static void
wake_if(DbState *db, TimestampTz at)
{
	Latch	   *latch = NULL;

	SpinLockAcquire(&db->mutex);
	if (at < db->sweeper_wakes_at)
	{
		latch = db->sweeper;
		db->sweeper_wakes_at = at;	/* the others need not set it again */
	}
	SpinLockRelease(&db->mutex);
	/* latches of processes are never freed, so a stale one wakes somebody for nothing */
	if (latch != NULL)
		SetLatch(latch);
}

/*
 * A row with this wake_at is visible now: the sweeper must look at it then,
 * and must not believe it has seen everything before.
 */
void
db_wake_at(DbState *db, TimestampTz at)
{
	db_lower_swept(db, at);
	wake_if(db, at);
}

/* Something that only the sweeper can do waits. */
void
db_wake_now(DbState *db)
{
	wake_if(db, PG_INT64_MIN);
}

/* Wakes every sweeper: the clock was moved. */
void
db_wake_all(void)
{
	for (int i = 0; i < shared->ndbs; i++)
		if (OidIsValid(shared->dbs[i].task_relid))
			db_wake_now(&shared->dbs[i]);
}

/*
 * The sweeper is about to look for what is due, and will sleep until `at`. It
 * calls this before it looks, so that a commit from now on wakes it.
 */
void
db_sweeper_sleeps_until(DbState *db, TimestampTz at)
{
	SpinLockAcquire(&db->mutex);
	db->sweeper_wakes_at = at;
	SpinLockRelease(&db->mutex);
}

/* The sweeper will look by then, or earlier if it was woken; returns when. */
TimestampTz
db_hasten_sweeper(DbState *db, TimestampTz at)
{
	SpinLockAcquire(&db->mutex);
	db->sweeper_wakes_at = at = Min(db->sweeper_wakes_at, at);
	SpinLockRelease(&db->mutex);
	return at;
}

/*
 * A sweep takes everything up to `until`: returns where it has to begin. It is
 * called before the sweep's snapshot is taken, so that a commit which the
 * snapshot misses lowers the mark again. Who does not finish lowers it too.
 */
TimestampTz
db_take_unswept(DbState *db, TimestampTz until)
{
	TimestampTz from;

	SpinLockAcquire(&db->mutex);
	from = db->swept_until;
	db->swept_until = Max(from, until);
	SpinLockRelease(&db->mutex);
	return from;
}

/* The sweeper will be back so many microseconds after it was last heard of. */
void
db_plan_pass(DbState *db, int64 nap)
{
	SpinLockAcquire(&db->mutex);
	db->pass_planned += nap;
	SpinLockRelease(&db->mutex);
}

/*
 * A sweep by hand is over. Where no sweeper runs, somebody calls them at some
 * interval, which is not known: as long as the last one, but at least `usual`
 * microseconds. So one that comes later than that finds itself late once.
 */
void
db_plan_pass_by_hand(DbState *db, const AinsTime *now, int64 usual)
{
	SpinLockAcquire(&db->mutex);
	if (db->sweeper == NULL)
	{
		if (db->pass_began != 0)
			usual = Max(usual, now->mono - db->pass_began);
		db->pass_planned = now->mono + usual;
		db->pass_began = now->mono;
	}
	SpinLockRelease(&db->mutex);
}

/*
 * A step of a sweep begins: by how many microseconds it is too late, or by how
 * many the wall clock was stepped since the last one, whichever is more.
 */
int64
db_note_step(DbState *db, const AinsTime *now)
{
	int64		gap = now->wall - now->mono;
	int64		late = 0;

	SpinLockAcquire(&db->mutex);
	if (db->pass_planned != 0)
		late = now->mono - db->pass_planned;
	if (db->clock_gap != 0)
		late = Max(late, Max(gap - db->clock_gap, db->clock_gap - gap));
	db->clock_gap = gap;
	/* of sweeps by hand only the whole is planned */
	if (db->sweeper != NULL)
		db->pass_planned = Max(db->pass_planned, now->mono);
	SpinLockRelease(&db->mutex);
	return late;
}

/*
 * What becomes of the sweeps: whether a sweeper runs, and by how many
 * microseconds the next sweep is overdue, below 0 if it is not yet due. False:
 * none is planned, as there is no sweeper and nobody swept by hand.
 */
bool
db_sweep_overdue(DbState *db, const AinsTime *now, bool *running, int64 *overdue)
{
	int64		planned;

	SpinLockAcquire(&db->mutex);
	*running = db->sweeper != NULL;
	planned = db->pass_planned;
	SpinLockRelease(&db->mutex);
	*overdue = now->mono - planned;
	return planned != 0;
}

/* The test clock was moved as if time had passed: no sweeper is late by that. */
void
db_shift_plans(int64 wall_us, int64 mono_us)
{
	for (int i = 0; i < shared->ndbs; i++)
	{
		DbState    *db = &shared->dbs[i];

		SpinLockAcquire(&db->mutex);
		if (db->pass_planned != 0)
			db->pass_planned += mono_us;
		if (db->pass_began != 0)
			db->pass_began += mono_us;
		if (db->clock_gap != 0)
			db->clock_gap += wall_us - mono_us;
		SpinLockRelease(&db->mutex);
	}
}

/* There may be an unseen row with this wake_at. */
void
db_lower_swept(DbState *db, TimestampTz at)
{
	SpinLockAcquire(&db->mutex);
	db->swept_until = Min(db->swept_until, at);
	db->lowered++;
	SpinLockRelease(&db->mutex);
}

/* Where a look ahead begins; before its snapshot is taken. */
TimestampTz
db_read_unswept(DbState *db, uint64 *lowered)
{
	TimestampTz from;

	SpinLockAcquire(&db->mutex);
	from = db->swept_until;
	*lowered = db->lowered;
	SpinLockRelease(&db->mutex);
	return from;
}

/* There is nothing before `until`, unless the mark was lowered since that look. */
void
db_raise_swept(DbState *db, TimestampTz until, uint64 lowered)
{
	SpinLockAcquire(&db->mutex);
	if (db->lowered == lowered)
		db->swept_until = Max(db->swept_until, until);
	SpinLockRelease(&db->mutex);
}

/*
 * A number above all that were drawn before. Drawn while the row of an agent is
 * locked, it orders the changes of that row as their commits.
 */
uint64
db_version(DbState *db)
{
	return pg_atomic_add_fetch_u64(&db->version, 1);
}

/* The audit found a ready key that had been lost. */
void
db_note_drift(DbState *db)
{
	pg_atomic_fetch_add_u64(&db->ready_drift, 1);
}

/* By the monotonic clock, when the next audit may be done. */
int64
db_audit_due(DbState *db)
{
	int64		due;

	SpinLockAcquire(&db->mutex);
	due = db->audit_due;
	SpinLockRelease(&db->mutex);
	return due;
}

/* An audit was expensive: the next shall come so many microseconds later. */
void
db_put_off_audit(DbState *db, int64 now_mono, int64 by)
{
	SpinLockAcquire(&db->mutex);
	db->audit_due = Max(db->audit_due, now_mono) + by;
	SpinLockRelease(&db->mutex);
}

/* A shelf is seen loose now, or none is (0): since when, by the monotonic clock. */
int64
db_loose_since(DbState *db, int64 since)
{
	SpinLockAcquire(&db->mutex);
	if (since == 0 || db->loose_since == 0)
		db->loose_since = since;
	since = db->loose_since;
	SpinLockRelease(&db->mutex);
	return since;
}

/* Notes the checksum of the policies; true if it was another. */
bool
db_policies_differ(DbState *db, uint64 checksum)
{
	bool		differ;

	SpinLockAcquire(&db->mutex);
	differ = db->policy_checksum != checksum;
	db->policy_checksum = checksum;
	SpinLockRelease(&db->mutex);
	return differ;
}

/* The days that have shelves; NO_SHELF when not known. */
void
db_get_shelves(DbState *db, DateADT *first, DateADT *last)
{
	SpinLockAcquire(&db->mutex);
	*first = db->first_shelf;
	*last = db->last_shelf;
	SpinLockRelease(&db->mutex);
}

void
db_set_shelves(DbState *db, DateADT first, DateADT last)
{
	SpinLockAcquire(&db->mutex);
	db->first_shelf = first;
	db->last_shelf = last;
	SpinLockRelease(&db->mutex);
}
