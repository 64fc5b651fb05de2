/*
 * soft/lanes.c
 *		Which lane of which database has memory in the ready set, and who has to
 *		give it up. Locks: lanes.h.
 */
#include "soft/lanes.h"

#include "storage/ipc.h"
#include "storage/shmem.h"
#include "utils/hsearch.h"

#include "guc.h"
#include "soft/ready.h"

/* Which lane has which memory; lanes lock. */
typedef struct LaneEntry
{
	LaneKey		key;
	int32		index;
} LaneEntry;

typedef struct Lanes
{
	int32		count;
	Size		stride;			/* bytes from lane to lane */
	pg_atomic_uint64 clock;
	/* followed by the lanes */
} Lanes;

static Lanes *lanes;
static HTAB *lane_index;		/* LaneEntry */
static LWLockPadded *lane_locks;

static Size
lane_stride(void)
{
	return MAXALIGN(offsetof(Lane, heap) + HEAP_SIZE(ains_ready_set_size));
}

static Size
lanes_bytes(void)
{
	return add_size(MAXALIGN(sizeof(Lanes)), mul_size(ains_max_lanes, lane_stride()));
}

/* Bytes to request, with the locks of the lanes. */
Size
lanes_size(void)
{
	RequestNamedLWLockTranche("ains_lane", ains_max_lanes);
	return add_size(lanes_bytes(), hash_estimate_size(ains_max_lanes, sizeof(LaneEntry)));
}

/* By its place, from 0 to ains_max_lanes - 1. */
Lane *
lane_at(int32 index)
{
	return (Lane *) ((char *) lanes + MAXALIGN(sizeof(Lanes)) + index * lanes->stride);
}

/* What guards the contents of a lane. */
LWLock *
lane_lock(const Lane *lane)
{
	return &lane_locks[((const char *) lane - (const char *) lane_at(0)) / lanes->stride].lock;
}

/* Makes or finds them; under AddinShmemInitLock. */
void
lanes_shmem_init(void)
{
	bool		found;
	HASHCTL		ctl = {.keysize = sizeof(LaneKey), .entrysize = sizeof(LaneEntry)};

	lane_locks = GetNamedLWLockTranche("ains_lane");
	lane_index = ShmemInitHash("ains lane index", ains_max_lanes, ains_max_lanes, &ctl,
							   HASH_ELEM | HASH_BLOBS);
	lanes = ShmemInitStruct("ains lanes", lanes_bytes(), &found);
	if (found)
		return;
	lanes->count = ains_max_lanes;
	lanes->stride = lane_stride();
	pg_atomic_init_u64(&lanes->clock, 0);
	for (int32 i = 0; i < lanes->count; i++)
	{
		Lane	   *lane = lane_at(i);

		memset(lane, 0, sizeof(Lane));
		pg_atomic_init_u64(&lane->last_used, 0);
		ConditionVariableInit(&lane->refilled);
		heap_init(&lane->heap, ains_ready_set_size);
	}
}

/* Needs the lanes lock; NULL: the lane has no memory. */
Lane *
lane_find(DbState *db, int32 lane_id)
{
	LaneKey		key = {shmem_db_number(db), lane_id};
	LaneEntry  *entry = hash_search(lane_index, &key, HASH_FIND, NULL);

	return entry != NULL ? lane_at(entry->index) : NULL;
}

/* The lane is the one used last. */
void
lane_note_use(Lane *lane)
{
	pg_atomic_write_u64(&lane->last_used, pg_atomic_add_fetch_u64(&lanes->clock, 1));
}

/* Needs the lanes lock, exclusively. */
static void
free_lane(Lane *lane)
{
	(void) hash_search(lane_index, &lane->key, HASH_REMOVE, NULL);
	lane->key.lane_id = 0;
}

/*
 * Gives the lane memory, that of the least used one if there is no other;
 * never of one that is being refilled. Does nothing if that fails.
 */
void
lane_make(DbState *db, int32 lane_id)
{
	Lane	   *chosen = NULL;

	LWLockAcquire(shmem_lock(LOCK_LANES), LW_EXCLUSIVE);
	if (lane_find(db, lane_id) == NULL)
	{
		for (int32 i = 0; i < lanes->count; i++)
		{
			Lane	   *lane = lane_at(i);

			/* the exclusive lanes lock keeps every lane as it is */
			if (lane->key.lane_id == 0)
			{
				chosen = lane;
				break;
			}
			if (lane->refiller == 0 &&
				(chosen == NULL || pg_atomic_read_u64(&lane->last_used) <
				 pg_atomic_read_u64(&chosen->last_used)))
				chosen = lane;
		}
		if (chosen != NULL)
		{
			LaneEntry  *entry;

			if (chosen->key.lane_id != 0)
				free_lane(chosen);
			chosen->key = (LaneKey) {shmem_db_number(db), lane_id};
			chosen->horizon = READY_KEY_MIN;
			chosen->refiller = 0;
			chosen->heap.count = 0;
			lane_note_use(chosen);
			entry = hash_search(lane_index, &chosen->key, HASH_ENTER, NULL);
			entry->index = ((char *) chosen - (char *) lane_at(0)) / lanes->stride;
		}
	}
	LWLockRelease(shmem_lock(LOCK_LANES));
}

/* Forgets the lanes of a database whose extension is gone. */
void
lanes_forget_db(int db_number)
{
	LWLockAcquire(shmem_lock(LOCK_LANES), LW_EXCLUSIVE);
	for (int32 i = 0; i < lanes->count; i++)
	{
		Lane	   *lane = lane_at(i);

		if (lane->key.lane_id != 0 && lane->key.db_number == db_number)
			free_lane(lane);
	}
	LWLockRelease(shmem_lock(LOCK_LANES));
}
