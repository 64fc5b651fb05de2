/*
 * soft/shmem.h
 *		The shared memory of ains: one DbState for each database that has the
 *		extension, beside the roster and the waiters.
 *
 * All of it is soft state: cheap to lose, rebuilt from the tables.
 */
#ifndef AINS_SHMEM_H
#define AINS_SHMEM_H

#include "ains.h"

#include "port/atomics.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "storage/s_lock.h"
#include "storage/spin.h"
#include "utils/date.h"

/* No shelf is known yet. */
#define NO_SHELF	PG_INT32_MIN

/* How many tasks of a run live at least; see runs.h. */
#define RUN_PLACES	256
typedef struct RunLives
{
	int64		run_id;			/* 0: of none */
	int64		at_least;
} RunLives;

/*
 * Soft state of one installation. Keyed by the database and the OID of
 * ains.task, so that a dropped and re-created extension meets nothing old.
 * An entry is taken under the ains lock, exclusively, and keeps its place;
 * one whose extension is gone is retired and may be taken again.
 */
typedef struct DbState
{
	Oid			database;		/* these two: the ains lock */
	Oid			task_relid;		/* InvalidOid: free */
	bool		retired;

	/* Changes whenever a capability's policy or an agent's capabilities do. */
	pg_atomic_uint64 policy_generation;
	/* Changes whenever an agent's orders, health or death do. */
	pg_atomic_uint64 agents_changed;
	/* The next lease token, and the one that may not be reached; 0: unborn. */
	pg_atomic_uint64 next_token;
	pg_atomic_uint64 token_ceiling;
	/* Orders the changes of agents; see roster.h. */
	pg_atomic_uint64 version;
	/* Ready keys that were lost and found by the audit. */
	pg_atomic_uint64 ready_drift;
	/* When somebody last ran the schedules, monotonic; 0: nobody did. */
	pg_atomic_uint64 schedules_run;

	/* When the first call came that may end an attempt, wall time; 0: none. */
	pg_atomic_uint64 trust_since;

	slock_t		runs_mutex;		/* guards runs */
	RunLives	runs[RUN_PLACES];

	slock_t		mutex;			/* guards the rest; held for a few loads */
	Latch	   *sweeper;		/* of the running sweeper, or NULL */
	TimestampTz sweeper_wakes_at;	/* when it will look by itself */
	TimestampTz swept_until;	/* no row with an earlier wake_at is unseen */
	uint64		lowered;		/* how often that was lowered */
	int64		pass_began;		/* monotonic: the last sweep; 0: none */
	int64		pass_planned;	/* monotonic: when the next step or pass was due; 0: not known */
	int64		loose_since;	/* monotonic: a shelf is not attached; 0: all are */
	int64		audit_due;		/* monotonic: no audit before that */
	uint64		policy_checksum;	/* of the tables, at the last audit */
	int64		clock_gap;		/* wall - monotonic at the last pass; 0: none */
	bool		trust_recovered;	/* what ended before trust_since is in the rows */
	DateADT		first_shelf;	/* the latest unbroken run of shelves */
	DateADT		last_shelf;		/* NO_SHELF: ask the catalog */
} DbState;

extern void shmem_init(void);
extern bool shmem_ready(void);
extern LWLock *shmem_lock(int which);

/* Locks of the tranche "ains", in the order in which they are taken. */
enum
{
	LOCK_DATABASES,
	LOCK_ROSTER,
	LOCK_LANES,
	LOCK_WAITERS,
	LOCK_LIMITS,
	LOCK_COUNTERS,
	LOCK_LAUNCHER,
	LOCK_COUNT
};

extern DbState *shmem_db(Oid database, Oid task_relid);
extern void shmem_db_retire(DbState *db, Oid task_relid);
extern int	shmem_databases(Oid *databases);
extern void shmem_retire_database(Oid database);
extern int	shmem_db_number(const DbState *db);

/* The sweeper's alarm clock. */
extern void db_set_sweeper(DbState *db, Latch *latch);
extern void db_wake_at(DbState *db, TimestampTz at);
extern void db_wake_now(DbState *db);
extern void db_sweeper_sleeps_until(DbState *db, TimestampTz at);
extern TimestampTz db_hasten_sweeper(DbState *db, TimestampTz at);
extern TimestampTz db_take_unswept(DbState *db, TimestampTz until);
extern void db_lower_swept(DbState *db, TimestampTz at);
extern TimestampTz db_read_unswept(DbState *db, uint64 *lowered);
extern void db_raise_swept(DbState *db, TimestampTz until, uint64 lowered);
extern void db_wake_all(void);
extern void db_plan_pass(DbState *db, int64 nap);
extern void db_plan_pass_by_hand(DbState *db, const AinsTime *now, int64 usual);
extern int64 db_note_step(DbState *db, const AinsTime *now);
extern bool db_sweep_overdue(DbState *db, const AinsTime *now, bool *running, int64 *overdue);
extern void db_shift_plans(int64 wall_us, int64 mono_us);

extern TimestampTz db_trust_since(DbState *db, TimestampTz now);
extern void db_set_trust_recovered(DbState *db, bool recovered);
extern bool db_trust_recovered(DbState *db);
extern uint64 db_version(DbState *db);
extern void db_note_drift(DbState *db);
extern int64 db_audit_due(DbState *db);
extern void db_put_off_audit(DbState *db, int64 now_mono, int64 by);
extern int64 db_loose_since(DbState *db, int64 since);
extern bool db_policies_differ(DbState *db, uint64 checksum);
extern void db_get_shelves(DbState *db, DateADT *first, DateADT *last);
extern void db_set_shelves(DbState *db, DateADT first, DateADT last);

#endif							/* AINS_SHMEM_H */
