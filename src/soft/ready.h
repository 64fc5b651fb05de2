/*
 * soft/ready.h
 *		The ready set: for each lane, the first of its PENDING tasks in rank
 *		order, in shared memory.
 *
 * A lane has a bounded heap of keys and a horizon, also a key.
 *
 * Invariant: every committed PENDING task of the lane with key < horizon is in
 * the heap, or its row is locked by a transaction that will push it at its
 * end. Outside a refill no key in the heap is >= the horizon.
 *
 * The heap is a hint, the row is the truth: whoever pops a key locks the row
 * and looks. So a key too many costs a look; a key too few would cost a task
 * its turn, which is why whoever locks a PENDING row registers an effect that
 * pushes its key (soft/effects.h). A lane without memory is one whose horizon
 * is the lowest key.
 */
#ifndef AINS_READY_H
#define AINS_READY_H

#include "ains.h"

#include "soft/heap.h"
#include "soft/shmem.h"

#define READY_KEY_MIN	((ReadyKey) {PG_INT64_MIN, PG_INT64_MIN})
#define READY_KEY_MAX	((ReadyKey) {PG_INT64_MAX, PG_INT64_MAX})

/* A key that was popped, and the index of its lane in the caller's list. */
typedef struct PoppedKey
{
	ReadyKey	key;
	int			lane;
} PoppedKey;

/* For effects.c: these cannot fail. */
extern void ready_push(DbState *db, int32 lane_id, ReadyKey key);
extern void ready_push_back(DbState *db, int32 lane_id, ReadyKey key);
extern void ready_lower(DbState *db, int32 lane_id, ReadyKey key);

/* What can be said of lanes without a query. */
typedef enum ReadyGlance
{
	READY_NOTHING,
	READY_UNKNOWN,				/* only the index could tell */
	READY_KEY					/* there is a key */
} ReadyGlance;

extern ReadyGlance ready_glance(DbState *db, const int32 *lanes, int count);

/* These may refill, so they run a query and may raise what it raises. */
extern bool ready_head(DbState *db, const int32 *lanes, int count, ReadyKey *key);
extern bool ready_pop(DbState *db, const int32 *lanes, int count, PoppedKey *popped);

/* Housekeeping. */
extern int32 *ready_lanes(DbState *db, int *count);
extern int	ready_missing(DbState *db, int32 lane_id, ReadyKey *missing, int room,
						  int64 *read);
extern void ready_reset(DbState *db);
extern bool ready_is_valid(DbState *db);
extern ReadyKey ready_floor(DbState *db, int32 lane_id);
extern int	ready_use(DbState *db, int64 *keys);

#endif							/* AINS_READY_H */
