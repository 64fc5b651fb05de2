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

#endif							/* AINS_LIMIT_H */
