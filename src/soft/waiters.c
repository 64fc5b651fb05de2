/*
 * soft/waiters.c
 *		The sleepers in shared memory.
 *
 * Each waiter stands in a queue for each lane it waits for, in the order in
 * which they began to wait. Queues share a fixed number of hash buckets; a
 * bucket is one list, in which a queue is what has its key. The waiters lock
 * guards all of it but the counters and `woken`, which are atomic.
 *
 * A commit that nobody waits for takes no lock: it only reads the bucket's
 * counter, which a waiter raises before it looks at the tables, so one of the
 * two sees the other. Latches are set after the lock is released, or who is
 * woken would run into it; those of processes are never freed, so one that is
 * out of date wakes somebody for nothing.
 */
#include "soft/waiters.h"

#include "common/hashfn.h"
#include "compat.h"
#include "lib/ilist.h"
#include "storage/ipc.h"
#include "storage/shmem.h"

#define NO_DB		(-1)
#define BUCKETS		1024		/* a power of two */
/* Latches that are set in one go. */
#define WAKE_BATCH	64

/* What a queue is for; its id is: */
typedef enum QueueKind
{
	FOR_LANE,					/* the lane's */
	FOR_ANY_LANE,				/* 0 */
	FOR_TASK,					/* the task's */
	FOR_AGENT					/* the hash of the agent's */
} QueueKind;

typedef struct QueueKey
{
	int			db_number;
	QueueKind	kind;
	int64		id;
} QueueKey;

/* A place in a queue. */
typedef struct Place
{
	dlist_node	link;
	QueueKey	key;
	int			waiter;			/* index of its slot */
} Place;

typedef struct Bucket
{
	pg_atomic_uint32 count;
	dlist_head	places;			/* by ticket */
} Bucket;

typedef struct Waiter
{
	int			db_number;		/* NO_DB: free */
	pg_atomic_uint32 woken;		/* WOKEN_..., until it registers again */
	Latch	   *latch;
	uint64		ticket;			/* since when it waits, for fairness */
	int32		go_lane;		/* where the task is for which it may go */
	int			lane_places;	/* how many of its places are for lanes ... */
	bool		queued;			/* ... and whether it stands there */
	Place		self;			/* for its task, or for its agent */
	Place		lanes[WAITER_MAX_LANES];
} Waiter;

typedef struct Waiters
{
	pg_atomic_uint32 count;		/* waiting now */
	uint64		last_ticket;
	Bucket		buckets[BUCKETS];
	Waiter		slots[FLEXIBLE_ARRAY_MEMBER];	/* MaxBackends */
} Waiters;

/* Who is to be woken once the lock is released. */
typedef struct Wakeups
{
	int			count;
	Latch	   *latches[WAKE_BATCH];
} Wakeups;

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
	for (int i = 0; i < BUCKETS; i++)
	{
		pg_atomic_init_u32(&waiters->buckets[i].count, 0);
		dlist_init(&waiters->buckets[i].places);
	}
	for (int i = 0; i < MaxBackends; i++)
	{
		waiters->slots[i].db_number = NO_DB;
		pg_atomic_init_u32(&waiters->slots[i].woken, 0);
	}
}

static Waiter *
my_slot(void)
{
	return &waiters->slots[compat_my_backend_index()];
}

static QueueKey
queue_key(DbState *db, QueueKind kind, int64 id)
{
	return (QueueKey) {shmem_db_number(db), kind, id};
}

static QueueKey
agent_key(DbState *db, const char *agent_id)
{
	return queue_key(db, FOR_AGENT,
					 (int64) hash_bytes_extended((const unsigned char *) agent_id,
												 strlen(agent_id), 0));
}

static Bucket *
bucket_of(const QueueKey *key)
{
	uint32		hash = hash_combine(murmurhash32((uint32) key->id),
									murmurhash32((uint32) key->db_number * 4 + key->kind));

	return &waiters->buckets[hash & (BUCKETS - 1)];
}

/* Whether nobody stands in this queue; after a barrier. A no may be another queue's. */
static bool
nobody_for(const QueueKey *key)
{
	return pg_atomic_read_u32(&bucket_of(key)->count) == 0;
}

/* Who stands next in the queue behind `from` (NULL: the first). Waiters lock. */
static Place *
next_in_queue(const QueueKey *key, Place *from)
{
	Bucket	   *bucket = bucket_of(key);
	dlist_node *node;

	if (from != NULL)
		node = from->link.next;
	else
		node = bucket->places.head.next;
	for (; node != &bucket->places.head; node = node->next)
	{
		Place	   *place = dlist_container(Place, link, node);

		if (place->key.id == key->id && place->key.kind == key->kind &&
			place->key.db_number == key->db_number)
			return place;
	}
	return NULL;
}

/* Stands in a queue, behind those who began earlier. Waiters lock, exclusively. */
static void
enter(Waiter *waiter, Place *place, const QueueKey *key)
{
	Bucket	   *bucket = bucket_of(key);
	dlist_node *before = bucket->places.head.prev;

	place->key = *key;
	place->waiter = waiter - waiters->slots;
	/* the newest is last, so this ends at once but for who comes back */
	while (before != &bucket->places.head &&
		   waiters->slots[dlist_container(Place, link, before)->waiter].ticket > waiter->ticket)
		before = before->prev;
	dlist_insert_after(before, &place->link);
	pg_atomic_fetch_add_u32(&bucket->count, 1);
}

/* Likewise. */
static void
quit(Place *place)
{
	dlist_delete(&place->link);
	pg_atomic_fetch_sub_u32(&bucket_of(&place->key)->count, 1);
}

static void
enter_lanes(Waiter *waiter)
{
	for (int i = 0; i < waiter->lane_places; i++)
		enter(waiter, &waiter->lanes[i], &waiter->lanes[i].key);
	waiter->queued = true;
}

static void
quit_lanes(Waiter *waiter)
{
	for (int i = 0; i < waiter->lane_places && waiter->queued; i++)
		quit(&waiter->lanes[i]);
	waiter->queued = false;
}

static void
wake(Waiter *waiter, uint32 why, Wakeups *wakeups)
{
	pg_atomic_fetch_or_u32(&waiter->woken, why);
	wakeups->latches[wakeups->count++] = waiter->latch;
}

static void
set_latches(Wakeups *wakeups)
{
	for (int i = 0; i < wakeups->count; i++)
		SetLatch(wakeups->latches[i]);
	wakeups->count = 0;
}

/* The one of the two who has waited longer; either may be NULL. */
static Place *
older(Place *a, Place *b)
{
	if (a == NULL || b == NULL)
		return a == NULL ? b : a;
	return waiters->slots[a->waiter].ticket < waiters->slots[b->waiter].ticket ? a : b;
}

static void
wake_lane(int db_number, int32 lane_id, int64 count)
{
	QueueKey	lane = {db_number, FOR_LANE, lane_id};
	QueueKey	any = {db_number, FOR_ANY_LANE, 0};
	Wakeups		wakeups = {0};

	pg_memory_barrier();
	while (count > 0 && !(nobody_for(&lane) && nobody_for(&any)))
	{
		LWLockAcquire(shmem_lock(LOCK_WAITERS), LW_EXCLUSIVE);
		while (count > 0 && wakeups.count < WAKE_BATCH)
		{
			Place	   *first = older(next_in_queue(&lane, NULL), next_in_queue(&any, NULL));
			Waiter	   *waiter;

			if (first == NULL)
			{
				count = 0;
				break;
			}
			waiter = &waiters->slots[first->waiter];
			quit_lanes(waiter);
			waiter->go_lane = lane_id;
			wake(waiter, WOKEN_GO, &wakeups);
			count--;
		}
		LWLockRelease(shmem_lock(LOCK_WAITERS));
		set_latches(&wakeups);
	}
}

/*
 * This backend stands in no queue any more. If it was woken for a task and
 * does not go for it, somebody else shall.
 */
static void
leave(void)
{
	Waiter	   *waiter = my_slot();
	int			db_number = waiter->db_number;
	uint32		woken;

	LWLockAcquire(shmem_lock(LOCK_WAITERS), LW_EXCLUSIVE);
	quit_lanes(waiter);
	quit(&waiter->self);
	woken = pg_atomic_exchange_u32(&waiter->woken, 0);
	waiter->db_number = NO_DB;
	pg_atomic_fetch_sub_u32(&waiters->count, 1);
	waiting = false;
	LWLockRelease(shmem_lock(LOCK_WAITERS));
	if (woken & WOKEN_GO)
		wake_lane(db_number, waiter->go_lane, 1);
}

static void
end_at_exit(int code, Datum arg)
{
	waiter_end();
}

static void
register_waiter(DbState *db, const QueueKey *self, const int32 *lanes, int count)
{
	Waiter	   *waiter = my_slot();
	bool		again = waiting;

	if (!exit_registered)
	{
		before_shmem_exit(end_at_exit, (Datum) 0);
		exit_registered = true;
	}
	if (again)
		leave();
	LWLockAcquire(shmem_lock(LOCK_WAITERS), LW_EXCLUSIVE);
	pg_atomic_fetch_add_u32(&waiters->count, 1);
	waiting = true;
	waiter->db_number = shmem_db_number(db);
	waiter->latch = MyLatch;
	if (!again)
		waiter->ticket = ++waiters->last_ticket;
	pg_atomic_write_u32(&waiter->woken, 0);
	waiter->lane_places = count <= WAITER_MAX_LANES ? count : 1;
	for (int i = 0; i < waiter->lane_places; i++)
		waiter->lanes[i].key = count <= WAITER_MAX_LANES ?
			queue_key(db, FOR_LANE, lanes[i]) : queue_key(db, FOR_ANY_LANE, 0);
	enter_lanes(waiter);
	enter(waiter, &waiter->self, self);
	LWLockRelease(shmem_lock(LOCK_WAITERS));
}

/*
 * This backend waits, for an agent, for claimable tasks in the lanes; to be
 * called again, with the lanes of that moment, before each look. It keeps its
 * turn until waiter_end(). Takes the waiters lock.
 */
void
waiter_for_lanes(DbState *db, const char *agent_id, const int32 *lanes, int count)
{
	QueueKey	key = agent_key(db, agent_id);

	register_waiter(db, &key, lanes, count);
}

/* This backend waits for a task to finish; likewise. */
void
waiter_for_task(DbState *db, int64 task_id)
{
	QueueKey	key = queue_key(db, FOR_TASK, task_id);

	register_waiter(db, &key, NULL, 0);
}

/* Why this backend was woken since it last registered: WOKEN_..., 0 if it was not. */
uint32
waiter_woken(void)
{
	return pg_atomic_read_u32(&my_slot()->woken);
}

/* It goes for the task for which it was woken, if it was. */
void
waiter_goes(void)
{
	pg_atomic_fetch_and_u32(&my_slot()->woken, ~WOKEN_GO);
}

/*
 * The task for which it was woken is gone: it waits on, in its old place. To be
 * called before it glances again.
 */
void
waiter_sleeps_on(void)
{
	Waiter	   *waiter = my_slot();

	LWLockAcquire(shmem_lock(LOCK_WAITERS), LW_EXCLUSIVE);
	pg_atomic_fetch_and_u32(&waiter->woken, ~WOKEN_GO);
	if (!waiter->queued)
		enter_lanes(waiter);
	LWLockRelease(shmem_lock(LOCK_WAITERS));
}

/* This backend waits no more; harmless if it did not. */
void
waiter_end(void)
{
	if (waiting)
		leave();
}

/*
 * As many tasks became claimable in the lane: wakes as many who wait for them
 * and were not woken yet, who waits longest first.
 */
void
waiters_wake_lane(DbState *db, int32 lane_id, int64 count)
{
	wake_lane(shmem_db_number(db), lane_id, count);
}

/* Lets everybody in this queue look again. */
static void
wake_queue(const QueueKey *key)
{
	Wakeups		wakeups = {0};
	Place	   *place = NULL;

	pg_memory_barrier();
	if (nobody_for(key))
		return;
	LWLockAcquire(shmem_lock(LOCK_WAITERS), LW_SHARED);
	while ((place = next_in_queue(key, place)) != NULL)
	{
		/* more than that are rare: they may run into the lock */
		if (wakeups.count == WAKE_BATCH)
			set_latches(&wakeups);
		wake(&waiters->slots[place->waiter], WOKEN_LOOK, &wakeups);
	}
	LWLockRelease(shmem_lock(LOCK_WAITERS));
	set_latches(&wakeups);
}

/* A task finished: wakes all who wait for it. */
void
waiters_wake_task(DbState *db, int64 task_id)
{
	QueueKey	key = queue_key(db, FOR_TASK, task_id);

	wake_queue(&key);
}

/* The row of an agent changed: who waits for it has to look again. */
void
waiters_wake_agent(DbState *db, const char *agent_id)
{
	QueueKey	key = agent_key(db, agent_id);

	wake_queue(&key);
}

/* A policy changed: whoever waits for tasks has to look again. */
void
waiters_wake_db(DbState *db)
{
	int			db_number = shmem_db_number(db);
	Wakeups		wakeups = {0};

	pg_memory_barrier();
	if (pg_atomic_read_u32(&waiters->count) == 0)
		return;
	LWLockAcquire(shmem_lock(LOCK_WAITERS), LW_SHARED);
	for (int i = 0; i < MaxBackends; i++)
	{
		Waiter	   *waiter = &waiters->slots[i];

		if (waiter->db_number != db_number || waiter->self.key.kind != FOR_AGENT)
			continue;
		if (wakeups.count == WAKE_BATCH)
			set_latches(&wakeups);
		wake(waiter, WOKEN_LOOK, &wakeups);
	}
	LWLockRelease(shmem_lock(LOCK_WAITERS));
	set_latches(&wakeups);
}

/* Whether somebody waits for tasks for this agent in this moment. */
bool
waiters_know_agent(DbState *db, const char *agent_id)
{
	QueueKey	key = agent_key(db, agent_id);
	bool		found;

	if (nobody_for(&key))
		return false;
	LWLockAcquire(shmem_lock(LOCK_WAITERS), LW_SHARED);
	found = next_in_queue(&key, NULL) != NULL;
	LWLockRelease(shmem_lock(LOCK_WAITERS));
	return found;
}

/* How many backends of the database sleep. */
int
waiters_count(DbState *db)
{
	int			db_number = shmem_db_number(db);
	int			count = 0;

	if (pg_atomic_read_u32(&waiters->count) == 0)
		return 0;
	LWLockAcquire(shmem_lock(LOCK_WAITERS), LW_SHARED);
	for (int i = 0; i < MaxBackends; i++)
		count += waiters->slots[i].db_number == db_number;
	LWLockRelease(shmem_lock(LOCK_WAITERS));
	return count;
}

static int
compare_lanes(const void *a, const void *b)
{
	int32		x = *(const int32 *) a;
	int32		y = *(const int32 *) b;

	return (x > y) - (x < y);
}

/*
 * The lanes for which somebody waits who was not woken, each once, in the
 * current context. Not those of who waits for more than WAITER_MAX_LANES.
 */
int32 *
waiters_lanes(DbState *db, int *count)
{
	int			db_number = shmem_db_number(db);
	int			room = pg_atomic_read_u32(&waiters->count) * WAITER_MAX_LANES;
	int32	   *lanes = palloc((room + 1) * sizeof(int32));
	int			found = 0;

	if (room > 0)
	{
		/* who comes meanwhile looks for himself */
		LWLockAcquire(shmem_lock(LOCK_WAITERS), LW_SHARED);
		for (int i = 0; i < MaxBackends; i++)
		{
			const Waiter *waiter = &waiters->slots[i];

			if (waiter->db_number != db_number || !waiter->queued)
				continue;
			for (int j = 0; j < waiter->lane_places && found < room; j++)
				if (waiter->lanes[j].key.kind == FOR_LANE)
					lanes[found++] = (int32) waiter->lanes[j].key.id;
		}
		LWLockRelease(shmem_lock(LOCK_WAITERS));
		qsort(lanes, found, sizeof(int32), compare_lanes);
	}
	*count = 0;
	for (int i = 0; i < found; i++)
		if (*count == 0 || lanes[i] != lanes[*count - 1])
			lanes[(*count)++] = lanes[i];
	return lanes;
}
