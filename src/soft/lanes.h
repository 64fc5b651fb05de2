/*
 * soft/lanes.h
 *		The memory of the lanes of the ready set; for ready.c alone.
 *
 * LOCK_LANES guards which memory belongs to which lane: shared to use a lane,
 * exclusive to give or take its memory. A lane's own lock guards what is in
 * it. Order: LOCK_LANES, then the lane. Neither is held while a query runs.
 */
#ifndef AINS_LANES_H
#define AINS_LANES_H

#include "ains.h"

#include "port/atomics.h"
#include "storage/condition_variable.h"
#include "storage/lwlock.h"

#include "soft/heap.h"
#include "soft/shmem.h"

typedef struct LaneKey
{
	int32		db_number;
	int32		lane_id;
} LaneKey;

typedef struct Lane
{
	LaneKey		key;			/* lanes lock; lane_id 0: free */
	pg_atomic_uint64 last_used; /* of the lanes' clock: who goes first */
	int			refiller;		/* pid of who refills it, or 0; from here: own lock */
	ReadyKey	horizon;
	ReadyKey	ceiling;		/* the horizon that a running refill may reach */
	ConditionVariable refilled;
	Heap		heap;
} Lane;

extern Size lanes_size(void);
extern void lanes_shmem_init(void);
extern void lanes_forget_db(int db_number);

extern Lane *lane_at(int32 index);
extern LWLock *lane_lock(const Lane *lane);
extern Lane *lane_find(DbState *db, int32 lane_id);
extern void lane_note_use(Lane *lane);
extern void lane_make(DbState *db, int32 lane_id);

#endif							/* AINS_LANES_H */
