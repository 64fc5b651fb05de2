/*
 * core/stats.h
 *		The numbers: counting live tasks, and showing them.
 */
#ifndef AINS_STATS_H
#define AINS_STATS_H

#include "ains.h"

#include "core/call.h"
#include "store/capability_store.h"
#include "utils/tuplestore.h"

extern void stats_count_live(Call *call);
extern int64 stats_waiting_for(Call *call, const CapabilityRow *capability);
extern void stats_queues(Call *call, Tuplestorestate *store, TupleDesc desc);
extern void stats_counters(Call *call, Tuplestorestate *store, TupleDesc desc);

#endif							/* AINS_STATS_H */
