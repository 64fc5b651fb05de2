/*
 * soft/ready.c
 *		The ready set. Its invariant is in ready.h.
 *
 * Locks: lanes.h.
 */
#include "soft/ready.h"

#include "miscadmin.h"
#include "storage/ipc.h"

#include "compat.h"
#include "guc.h"
#include "soft/lanes.h"
#include "soft/pulse.h"
#include "store/lease_store.h"

/* How long a claim waits for somebody else's refill of its lane. */
#define REFILL_WAIT_MS	50
/* Keys the audit reads of a lane at a time. */
#define AUDIT_SLICE		1000

/* The one way down. Needs the lane's lock. */
static void
lower(Lane *lane, ReadyKey key)
{
	if (ready_key_compare(key, lane->horizon) < 0)
		lane->horizon = key;
	if (lane->refiller != 0 && ready_key_compare(key, lane->ceiling) < 0)
		lane->ceiling = key;
	heap_drop_from(&lane->heap, key);
}

/* Needs the lane's lock. */
static void
push(Lane *lane, ReadyKey key)
{
	/* beyond the horizon a later refill sees it */
	if (lane->refiller == 0 && ready_key_compare(key, lane->horizon) >= 0)
		return;
	if (lane->heap.count == lane->heap.capacity)
	{
		ReadyKey	largest = heap_largest(&lane->heap);

		if (ready_key_compare(key, largest) >= 0)
		{
			lower(lane, key);
			return;
		}
		lower(lane, largest);
	}
	heap_add(&lane->heap, key);
}

static void
push_to_lane(DbState *db, int32 lane_id, ReadyKey key, bool may_be_there)
{
	Lane	   *lane;

	LWLockAcquire(shmem_lock(LOCK_LANES), LW_SHARED);
	lane = lane_find(db, lane_id);
	if (lane != NULL)
	{
		LWLockAcquire(lane_lock(lane), LW_EXCLUSIVE);
		if (!may_be_there || !heap_contains(&lane->heap, key))
			push(lane, key);
		LWLockRelease(lane_lock(lane));
	}
	LWLockRelease(shmem_lock(LOCK_LANES));
}

/* A transaction made the row of this key PENDING, or popped it and gave up. */
void
ready_push(DbState *db, int32 lane_id, ReadyKey key)
{
	push_to_lane(db, lane_id, key, false);
}

/* It had the row locked: somebody may have popped the key meanwhile. */
void
ready_push_back(DbState *db, int32 lane_id, ReadyKey key)
{
	push_to_lane(db, lane_id, key, true);
}

/* Likewise for keys from this one on, which need not be known one by one. */
void
ready_lower(DbState *db, int32 lane_id, ReadyKey key)
{
	Lane	   *lane;

	LWLockAcquire(shmem_lock(LOCK_LANES), LW_SHARED);
	lane = lane_find(db, lane_id);
	if (lane != NULL)
	{
		LWLockAcquire(lane_lock(lane), LW_EXCLUSIVE);
		lower(lane, key);
		LWLockRelease(lane_lock(lane));
	}
	LWLockRelease(shmem_lock(LOCK_LANES));
}

/* Forgets the keys of all lanes: the index is asked again. */
void
ready_reset(DbState *db)
{
	LWLockAcquire(shmem_lock(LOCK_LANES), LW_SHARED);
	for (int32 i = 0; i < ains_max_lanes; i++)
	{
		Lane	   *lane = lane_at(i);

		if (lane->key.lane_id == 0 || lane->key.db_number != shmem_db_number(db))
			continue;
		LWLockAcquire(lane_lock(lane), LW_EXCLUSIVE);
		lower(lane, READY_KEY_MIN);
		LWLockRelease(lane_lock(lane));
	}
	LWLockRelease(shmem_lock(LOCK_LANES));
}

/* What a refill needs to end, whatever happens. */
typedef struct Refill
{
	DbState    *db;
	int32		lane_id;
	int32		room;			/* keys to read */
	ReadyKey	horizon;		/* what it found out; its start if it failed */
	bool		any;			/* it found keys: */
	ReadyKey	first;			/* the first of them */
} Refill;

/* Ends a refill. A lane that is being refilled keeps its memory. */
static void
end_refill(int code, Datum arg)
{
	Refill	   *refill = (Refill *) DatumGetPointer(arg);
	Lane	   *lane;

	LWLockAcquire(shmem_lock(LOCK_LANES), LW_SHARED);
	lane = lane_find(refill->db, refill->lane_id);
	if (lane != NULL && lane->refiller == MyProcPid)
	{
		LWLockAcquire(lane_lock(lane), LW_EXCLUSIVE);
		lane->horizon = refill->horizon;
		if (ready_key_compare(lane->ceiling, lane->horizon) < 0)
			lane->horizon = lane->ceiling;
		lane->refiller = 0;
		heap_drop_from(&lane->heap, lane->horizon);
		LWLockRelease(lane_lock(lane));
		ConditionVariableBroadcast(&lane->refilled);
	}
	LWLockRelease(shmem_lock(LOCK_LANES));
}

/* Reads keys from the horizon on into the lane; between begin and end_refill. */
static void
run_refill(Refill *refill)
{
	ReadyKey   *keys = palloc(refill->room * sizeof(ReadyKey));
	int			count = lease_store_ready_keys(refill->lane_id, refill->horizon, refill->room,
											   keys);
	Lane	   *lane;

	LWLockAcquire(shmem_lock(LOCK_LANES), LW_SHARED);
	lane = lane_find(refill->db, refill->lane_id);
	if (lane != NULL && lane->refiller == MyProcPid)
	{
		LWLockAcquire(lane_lock(lane), LW_EXCLUSIVE);
		for (int i = 0; i < count; i++)
			push(lane, keys[i]);
		LWLockRelease(lane_lock(lane));
	}
	LWLockRelease(shmem_lock(LOCK_LANES));

	refill->any = count > 0;
	if (refill->any)
		refill->first = keys[0];
	if (count < refill->room)
		refill->horizon = READY_KEY_MAX;
	else
	{
		/* the successor of the last key read; ids are far from overflow */
		refill->horizon = keys[count - 1];
		refill->horizon.task_id++;
	}
	pfree(keys);
}

/* Somebody else refills the lane: waits for him for a moment. */
static void
wait_for_refill(DbState *db, int32 lane_id)
{
	static uint32 wait_event = 0;
	ConditionVariable *refilled = NULL;
	Lane	   *lane;

	LWLockAcquire(shmem_lock(LOCK_LANES), LW_SHARED);
	lane = lane_find(db, lane_id);
	if (lane != NULL)
	{
		/* conditions of lanes stay where they are, whoever's they become */
		refilled = &lane->refilled;
		ConditionVariablePrepareToSleep(refilled);
		if (lane->refiller == 0)
			refilled = NULL;
	}
	LWLockRelease(shmem_lock(LOCK_LANES));
	if (refilled != NULL)
		(void) ConditionVariableTimedSleep(refilled, REFILL_WAIT_MS,
										   compat_wait_event("AinsRefill", &wait_event));
	ConditionVariableCancelSleep();
}

/*
 * Moves the horizon of a lane up, by reading the index from there on; false if
 * somebody else does it. The flag is up before the snapshot is taken, so a
 * commit that the snapshot misses pushes its key whatever the horizon. *any
 * and *first tell what it read, should others take the lane's memory.
 */
static bool
refill_lane(DbState *db, int32 lane_id, bool *any, ReadyKey *first)
{
	Refill		refill = {.db = db, .lane_id = lane_id};
	bool		mine = false;
	Lane	   *lane;

	lane_make(db, lane_id);
	LWLockAcquire(shmem_lock(LOCK_LANES), LW_SHARED);
	lane = lane_find(db, lane_id);
	if (lane != NULL)
	{
		LWLockAcquire(lane_lock(lane), LW_EXCLUSIVE);
		if (lane->refiller == 0)
		{
			mine = true;
			lane->refiller = MyProcPid;
			lane->ceiling = READY_KEY_MAX;
			refill.horizon = lane->horizon;
			/* half of it, so that what is enqueued meanwhile evicts nothing */
			refill.room = Max(lane->heap.capacity / 2, 1);
		}
		LWLockRelease(lane_lock(lane));
	}
	LWLockRelease(shmem_lock(LOCK_LANES));
	if (!mine)
		return false;

	PG_ENSURE_ERROR_CLEANUP(end_refill, PointerGetDatum(&refill));
	{
		run_refill(&refill);
	}
	PG_END_ENSURE_ERROR_CLEANUP(end_refill, PointerGetDatum(&refill));
	end_refill(0, PointerGetDatum(&refill));
	pulse_count(db, PULSE_REFILLS);
	*any = refill.any;
	*first = refill.first;
	return true;
}

/* What stands at the head of a lane. */
typedef enum HeadKind
{
	HEAD_NONE,					/* nothing is claimable */
	HEAD_KEY,					/* a key */
	HEAD_HORIZON,				/* unknown: a refill comes first */
	HEAD_FORGOTTEN				/* likewise: the lane has no memory */
} HeadKind;

/* The head of a lane is the smaller of its first key and its horizon. */
static HeadKind
look(DbState *db, int32 lane_id, ReadyKey *head)
{
	HeadKind	kind = HEAD_FORGOTTEN;
	Lane	   *lane;

	LWLockAcquire(shmem_lock(LOCK_LANES), LW_SHARED);
	lane = lane_find(db, lane_id);
	*head = READY_KEY_MIN;
	if (lane != NULL)
	{
		LWLockAcquire(lane_lock(lane), LW_SHARED);
		*head = lane->horizon;
		kind = HEAD_HORIZON;
		if (lane->heap.count > 0 &&
			ready_key_compare(heap_smallest(&lane->heap), lane->horizon) < 0)
		{
			*head = heap_smallest(&lane->heap);
			kind = HEAD_KEY;
		}
		else if (ready_key_compare(lane->horizon, READY_KEY_MAX) == 0)
			kind = HEAD_NONE;
		LWLockRelease(lane_lock(lane));
	}
	LWLockRelease(shmem_lock(LOCK_LANES));
	return kind;
}

/* What a search for the best lane has read from the index itself. */
typedef struct LooseHead
{
	bool		read;
	bool		any;
	ReadyKey	first;
} LooseHead;

/*
 * Of the lanes, the one with the smallest head, refilled as needed so that its
 * head is a key, and that key; -1 if there is nothing to claim in any of them.
 * *loose: the lane's memory went to another lane before this search was over
 * (an agent may offer more than ains.max_lanes); the key is what was read.
 */
static int
best_lane(DbState *db, const int32 *lane_ids, int count, ReadyKey *key, bool *loose)
{
	LooseHead  *heads = palloc0(count * sizeof(LooseHead));
	int			best = -1;

	/* a lane that somebody else goes on refilling may be left for later */
	for (int patience = 0; patience < 16;)
	{
		HeadKind	best_kind = HEAD_NONE;

		best = -1;
		*key = READY_KEY_MAX;
		for (int i = 0; i < count; i++)
		{
			ReadyKey	head;
			HeadKind	kind = look(db, lane_ids[i], &head);
			bool		is_loose = kind == HEAD_FORGOTTEN && heads[i].read;

			if (is_loose)
			{
				kind = heads[i].any ? HEAD_KEY : HEAD_NONE;
				head = heads[i].first;
			}
			if (kind != HEAD_NONE && (best < 0 || ready_key_compare(head, *key) < 0))
			{
				best = i;
				best_kind = kind;
				*key = head;
				*loose = is_loose;
			}
		}
		if (best < 0 || best_kind == HEAD_KEY)
			break;
		heads[best].read = refill_lane(db, lane_ids[best], &heads[best].any, &heads[best].first);
		if (!heads[best].read)
		{
			wait_for_refill(db, lane_ids[best]);
			patience++;
		}
		best = -1;
		CHECK_FOR_INTERRUPTS();
	}
	pfree(heads);
	return best;
}

/*
 * Takes the first key in rank order over the lanes; false: there is none. The
 * caller has reserved an effect, and registers it before anything can fail.
 */
bool
ready_pop(DbState *db, const int32 *lane_ids, int count, PoppedKey *popped)
{
	for (;;)
	{
		bool		found;
		int			best = best_lane(db, lane_ids, count, &popped->key, &found);
		Lane	   *lane;

		if (best < 0)
			return false;
		popped->lane = best;
		if (found)
			return true;		/* a loose one: it is in no heap */
		LWLockAcquire(shmem_lock(LOCK_LANES), LW_SHARED);
		lane = lane_find(db, lane_ids[best]);
		if (lane != NULL)
		{
			LWLockAcquire(lane_lock(lane), LW_EXCLUSIVE);
			if (lane->heap.count > 0 &&
				ready_key_compare(heap_smallest(&lane->heap), lane->horizon) < 0)
			{
				popped->key = heap_take_smallest(&lane->heap);
				found = true;
			}
			lane_note_use(lane);
			LWLockRelease(lane_lock(lane));
		}
		LWLockRelease(shmem_lock(LOCK_LANES));
		if (found)
			return true;
		CHECK_FOR_INTERRUPTS(); /* somebody was faster */
	}
}

/* What shared memory alone knows of the lanes: the best of them decides. */
ReadyGlance
ready_glance(DbState *db, const int32 *lane_ids, int count)
{
	ReadyGlance glance = READY_NOTHING;

	for (int i = 0; i < count && glance != READY_KEY; i++)
	{
		ReadyKey	head;
		HeadKind	kind = look(db, lane_ids[i], &head);

		if (kind == HEAD_KEY)
			glance = READY_KEY;
		else if (kind != HEAD_NONE)
			glance = READY_UNKNOWN;
	}
	return glance;
}

/* The first key in rank order over the lanes; false: there is nothing to claim. */
bool
ready_head(DbState *db, const int32 *lane_ids, int count, ReadyKey *key)
{
	bool		loose;

	return best_lane(db, lane_ids, count, key, &loose) >= 0;
}

/* Whether the lane's memory keeps its invariants, for tests. */
bool
ready_is_valid(DbState *db)
{
	bool		valid = true;

	LWLockAcquire(shmem_lock(LOCK_LANES), LW_SHARED);
	for (int32 i = 0; i < ains_max_lanes; i++)
	{
		Lane	   *lane = lane_at(i);

		if (lane->key.lane_id == 0 || lane->key.db_number != shmem_db_number(db))
			continue;
		LWLockAcquire(lane_lock(lane), LW_SHARED);
		valid = valid && heap_is_valid(&lane->heap) &&
			(lane->refiller != 0 || lane->heap.count == 0 ||
			 ready_key_compare(heap_largest(&lane->heap), lane->horizon) < 0);
		LWLockRelease(lane_lock(lane));
	}
	LWLockRelease(shmem_lock(LOCK_LANES));
	return valid;
}

/* No committed ready task of the lane comes before this key, but what is being claimed. */
ReadyKey
ready_floor(DbState *db, int32 lane_id)
{
	ReadyKey	floor = READY_KEY_MIN;
	Lane	   *lane;

	LWLockAcquire(shmem_lock(LOCK_LANES), LW_SHARED);
	lane = lane_find(db, lane_id);
	if (lane != NULL)
	{
		LWLockAcquire(lane_lock(lane), LW_SHARED);
		floor = lane->horizon;
		if (lane->heap.count > 0 &&
			ready_key_compare(heap_smallest(&lane->heap), floor) < 0)
			floor = heap_smallest(&lane->heap);
		LWLockRelease(lane_lock(lane));
	}
	LWLockRelease(shmem_lock(LOCK_LANES));
	return floor;
}

/* How many lanes of all databases have memory, and how many keys those of this one. */
int
ready_use(DbState *db, int64 *keys)
{
	int			used = 0;

	*keys = 0;
	LWLockAcquire(shmem_lock(LOCK_LANES), LW_SHARED);
	for (int32 i = 0; i < ains_max_lanes; i++)
	{
		Lane	   *lane = lane_at(i);

		if (lane->key.lane_id == 0)
			continue;
		used++;
		if (lane->key.db_number != shmem_db_number(db))
			continue;
		LWLockAcquire(lane_lock(lane), LW_SHARED);
		*keys += lane->heap.count;
		LWLockRelease(lane_lock(lane));
	}
	LWLockRelease(shmem_lock(LOCK_LANES));
	return used;
}

/* The lanes of a database that have memory, in the current context. */
int32 *
ready_lanes(DbState *db, int *count)
{
	int32	   *lane_ids = palloc(ains_max_lanes * sizeof(int32));

	*count = 0;
	LWLockAcquire(shmem_lock(LOCK_LANES), LW_SHARED);
	for (int32 i = 0; i < ains_max_lanes; i++)
		if (lane_at(i)->key.lane_id != 0 &&
			lane_at(i)->key.db_number == shmem_db_number(db))
			lane_ids[(*count)++] = lane_at(i)->key.lane_id;
	LWLockRelease(shmem_lock(LOCK_LANES));
	return lane_ids;
}

/* A copy of a lane, sorted, in the current context; its horizon. */
static ReadyKey *
copy_lane(DbState *db, int32 lane_id, int *count, ReadyKey *horizon)
{
	ReadyKey   *copy = palloc(ains_ready_set_size * sizeof(ReadyKey));
	Lane	   *lane;

	*count = 0;
	*horizon = READY_KEY_MIN;
	LWLockAcquire(shmem_lock(LOCK_LANES), LW_SHARED);
	lane = lane_find(db, lane_id);
	if (lane != NULL)
	{
		LWLockAcquire(lane_lock(lane), LW_SHARED);
		*count = heap_copy(&lane->heap, copy);
		*horizon = lane->horizon;
		LWLockRelease(lane_lock(lane));
	}
	LWLockRelease(shmem_lock(LOCK_LANES));
	qsort(copy, *count, sizeof(ReadyKey), heap_order);
	return copy;
}

/*
 * Compares a lane with the index up to its horizon: up to `room` keys of
 * PENDING rows that the heap does not have, perhaps since they are in motion:
 * popped, or about to be pushed. Adds to *read how many keys it looked at.
 */
int
ready_missing(DbState *db, int32 lane_id, ReadyKey *missing, int room, int64 *read)
{
	int			known;
	int			keys_read;
	int			count = 0;
	ReadyKey	horizon;
	ReadyKey	from = READY_KEY_MIN;
	ReadyKey   *slice = palloc(AUDIT_SLICE * sizeof(ReadyKey));
	ReadyKey   *keys = copy_lane(db, lane_id, &known, &horizon);

	do
	{
		keys_read = lease_store_ready_keys(lane_id, from, AUDIT_SLICE, slice);
		*read += keys_read;
		for (int i = 0; i < keys_read && count < room; i++)
		{
			if (ready_key_compare(slice[i], horizon) >= 0)
				return count;
			if (bsearch(&slice[i], keys, known, sizeof(ReadyKey), heap_order) == NULL)
				missing[count++] = slice[i];
		}
		if (keys_read > 0)
			from = (ReadyKey) {slice[keys_read - 1].rank, slice[keys_read - 1].task_id + 1};
		CHECK_FOR_INTERRUPTS();
	} while (keys_read == AUDIT_SLICE && count < room);
	return count;
}
