/*
 * soft/ready.h
 *		The ready tasks of the lanes, in rank order.
 */
#ifndef AINS_READY_H
#define AINS_READY_H

#include "ains.h"

#include "soft/shmem.h"
#include "store/lease_store.h"

extern bool ready_peek(DbState *db, const int32 *lanes, int count, TimestampTz now);
extern ClaimedTask *ready_claim(DbState *db, const ClaimLane *lanes, int lane_count,
								int max_tasks, const char *agent_id, int64 incarnation,
								const AinsTime *now, int *count);

#endif							/* AINS_READY_H */
