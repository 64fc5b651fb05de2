/*
 * core/limit.h
 *		Limits on claims, and quotas on what is enqueued.
 */
#ifndef AINS_LIMIT_H
#define AINS_LIMIT_H

#include "ains.h"

#include "core/call.h"
#include "store/lease_store.h"

extern int	limit_open_lanes(Call *call, ClaimLane *lanes, int count);
extern void limit_enqueue(Call *call, int32 tasks);
extern void limit_set_quota(Call *call, Oid role, int32 max_tasks, int64 period);

#endif							/* AINS_LIMIT_H */
