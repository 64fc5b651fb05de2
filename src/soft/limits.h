/*
 * soft/limits.h
 *		How many tasks of a capability may be claimed, and how many a role may
 *		enqueue, in this moment.
 *
 * Slots. A task takes one when it is claimed and has it until it is not ACTIVE
 * any more. In use are the ACTIVE tasks that are committed, which counters.c
 * counts exactly, and those that transactions have taken and not yet ended.
 * Who ends one adds to the gauge first and then gives back what it had taken,
 * so that both together are never less than what is ACTIVE: no limit is
 * exceeded. Nothing has to survive a crash, nor can it leak: the first part is
 * counted in the table, the second ends with the transaction.
 *
 * Windows. A window begins with the first that is taken in it, by the monotonic
 * clock, and lasts for a period; then the next begins. What was rolled back is
 * given back as long as its window lasts.
 */
#ifndef AINS_LIMITS_H
#define AINS_LIMITS_H

#include "ains.h"

#include "soft/effects.h"
#include "soft/shmem.h"
#include "store/lease_store.h"

extern Size limits_size(void);
extern void limits_shmem_init(void);
extern void limits_forget_db(int db_number);

extern const TransactionPart limits_part;

static inline bool
lane_is_limited(const ClaimLane *lane)
{
	return lane->limits.concurrency > 0 || lane->limits.rate > 0;
}

extern bool limits_take(DbState *db, const ClaimLane *lane, int64 now_mono);
extern void limits_give_back(DbState *db, const ClaimLimits *limits);
extern void limits_freed(DbState *db, const ClaimLimits *limits);
extern void limits_show(DbState *db, const ClaimLane *lane);
extern int64 limits_room(DbState *db, int32 lane_id, int64 now_mono, int64 *opens_at);
extern int32 *limits_open_lanes(DbState *db, const ClaimLane *lanes, int *count, int64 now_mono);

extern bool limits_take_quota(DbState *db, Oid role, int32 tasks, int32 max_tasks, int64 period,
							  int64 now_mono);

#endif							/* AINS_LIMITS_H */
