/*
 * soft/waiters.c
 *		The sleepers in shared memory.
 *
 * The waiters lock guards the array. A commit that nobody waits for takes no
 * lock: it only reads the counter, which a waiter raises before it looks at
 * the tables, so one of the two sees the other.
 */
#include "soft/waiters.h"

#include "common/hashfn.h"
#include "compat.h"
#include "storage/ipc.h"
#include "storage/shmem.h"

#define NO_DB	(-1)

typedef struct Waiter
{
	int			db_number;		/* NO_DB: free */
	bool		woken;			/* its latch was set since it last looked */
	Latch	   *latch;
	int64		task_id;		/* waits for this task to finish; 0: for lanes */
	uint32		agent_hash;		/* of the id of the agent it waits for */
	int			lane_count;		/* -1: any */
	int32		lanes[WAITER_MAX_LANES];
} Waiter;

typedef struct Waiters
{
	pg_atomic_uint32 count;		/* waiting now */
	int			turn;			/* where the next search begins, for fairness */
	Waiter		slots[FLEXIBLE_ARRAY_MEMBER];	/* MaxBackends */
} Waiters;

static Waiters *waiters;
static bool exit_registered = false;
static bool waiting = false;	/* this backend */

Size
waiters_size(void)
{
	return add_size(offsetof(Waiters, slots), mul_size(MaxBackends, sizeof(Waiter)));
}

void
waiters_shmem_init(void)
{
	bool		found;

	waiters = ShmemInitStruct("ains waiters", waiters_size(), &found);
	if (found)
		return;
	memset(waiters, 0, waiters_size());
	pg_atomic_init_u32(&waiters->count, 0);
	for (int i = 0; i < MaxBackends; i++)
		waiters->slots[i].db_number = NO_DB;
}

static Waiter *
my_slot(void)
{
	return &waiters->slots[compat_my_backend_index()];
}

static void
end_at_exit(int code, Datum arg)
{
	waiter_end();
}

static uint32
hash_of(const char *agent_id)
{
	return hash_bytes((const unsigned char *) agent_id, strlen(agent_id));
}

static void
register_waiter(DbState *db, int64 task_id, uint32 agent_hash, const int32 *lanes, int count)
{
	Waiter	   *slot = my_slot();

	if (!exit_registered)
	{
		before_shmem_exit(end_at_exit, (Datum) 0);
		exit_registered = true;
	}
	LWLockAcquire(shmem_lock(LOCK_WAITERS), LW_EXCLUSIVE);
	if (!waiting)
		pg_atomic_fetch_add_u32(&waiters->count, 1);
	waiting = true;
	slot->db_number = shmem_db_number(db);
	slot->latch = MyLatch;
	slot->woken = false;
	slot->task_id = task_id;
	slot->agent_hash = agent_hash;
	slot->lane_count = count <= WAITER_MAX_LANES ? count : -1;
	if (slot->lane_count > 0)
		memcpy(slot->lanes, lanes, count * sizeof(int32));
	LWLockRelease(shmem_lock(LOCK_WAITERS));
}

/*
 * This backend waits, for an agent, for claimable tasks in the lanes; to be
 * called again, with the lanes of that moment, before each look. Takes the
 * waiters lock.
 */
void
waiter_for_lanes(DbState *db, const char *agent_id, const int32 *lanes, int count)
{
	register_waiter(db, 0, hash_of(agent_id), lanes, count);
}

/* This backend waits for a task to finish; likewise. */
void
waiter_for_task(DbState *db, int64 task_id)
{
	register_waiter(db, task_id, 0, NULL, 0);
}

/* Whether somebody woke this backend since it last registered. */
bool
waiter_woken(void)
{
	bool		woken;

	LWLockAcquire(shmem_lock(LOCK_WAITERS), LW_SHARED);
	woken = my_slot()->woken;
	LWLockRelease(shmem_lock(LOCK_WAITERS));
	return woken;
}

/* This backend waits no more; harmless if it did not. */
void
waiter_end(void)
{
	if (!waiting)
		return;
	LWLockAcquire(shmem_lock(LOCK_WAITERS), LW_EXCLUSIVE);
	my_slot()->db_number = NO_DB;
	waiting = false;
	pg_atomic_fetch_sub_u32(&waiters->count, 1);
	LWLockRelease(shmem_lock(LOCK_WAITERS));
}

static bool
waits_for_lane(const Waiter *slot, int32 lane_id)
{
	if (slot->task_id != 0)
		return false;
	if (slot->lane_count < 0)
		return true;
	for (int i = 0; i < slot->lane_count; i++)
		if (slot->lanes[i] == lane_id)
			return true;
	return false;
}

static void
wake(Waiter *slot)
{
	slot->woken = true;
	SetLatch(slot->latch);
}

/*
 * As many tasks became claimable in the lane: wakes as many who wait for them
 * and were not woken yet, taking turns.
 */
void
waiters_wake_lane(DbState *db, int32 lane_id, int64 count)
{
	int			db_number = shmem_db_number(db);

	pg_memory_barrier();
	if (pg_atomic_read_u32(&waiters->count) == 0)
		return;
	LWLockAcquire(shmem_lock(LOCK_WAITERS), LW_EXCLUSIVE);
	for (int i = 0, at = waiters->turn; i < MaxBackends && count > 0; i++)
	{
		Waiter	   *slot = &waiters->slots[at];

		at = at + 1 < MaxBackends ? at + 1 : 0;
		if (slot->db_number == db_number && !slot->woken && waits_for_lane(slot, lane_id))
		{
			wake(slot);
			count--;
			waiters->turn = at;
		}
	}
	LWLockRelease(shmem_lock(LOCK_WAITERS));
}

/* A task finished: wakes all who wait for it. */
void
waiters_wake_task(DbState *db, int64 task_id)
{
	int			db_number = shmem_db_number(db);

	pg_memory_barrier();
	if (pg_atomic_read_u32(&waiters->count) == 0)
		return;
	LWLockAcquire(shmem_lock(LOCK_WAITERS), LW_EXCLUSIVE);
	for (int i = 0; i < MaxBackends; i++)
		if (waiters->slots[i].db_number == db_number && waiters->slots[i].task_id == task_id)
			wake(&waiters->slots[i]);
	LWLockRelease(shmem_lock(LOCK_WAITERS));
}

/* Wakes whoever waits for tasks, for an agent of this hash (any: for all). */
static void
wake_lookers(DbState *db, bool any, uint32 agent_hash)
{
	int			db_number = shmem_db_number(db);

	pg_memory_barrier();
	if (pg_atomic_read_u32(&waiters->count) == 0)
		return;
	LWLockAcquire(shmem_lock(LOCK_WAITERS), LW_EXCLUSIVE);
	for (int i = 0; i < MaxBackends; i++)
		if (waiters->slots[i].db_number == db_number && waiters->slots[i].task_id == 0 &&
			(any || waiters->slots[i].agent_hash == agent_hash))
			wake(&waiters->slots[i]);
	LWLockRelease(shmem_lock(LOCK_WAITERS));
}

/* The row of an agent changed: who waits for it has to look again. */
void
waiters_wake_agent(DbState *db, const char *agent_id)
{
	wake_lookers(db, false, hash_of(agent_id));
}

/* A policy changed: whoever waits for tasks has to look again. */
void
waiters_wake_db(DbState *db)
{
	wake_lookers(db, true, 0);
}
