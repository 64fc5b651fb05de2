/*
 * store/hot_store.h
 *		What every task goes through, enqueue, claim and complete, row by row and
 *		without the executor (rows.h).
 */
#ifndef AINS_HOT_STORE_H
#define AINS_HOT_STORE_H

#include "ains.h"

#include "utils/date.h"

#include "store/lease_store.h"
#include "store/task_store.h"

extern bool hot_store_open(Oid task_relid);
extern bool hot_store_open_shelf(Oid task_relid, DateADT shelf);
extern void hot_store_close(void);

extern int64 hot_store_insert(const NewTask *task);
extern bool hot_store_claim(ReadyKey key, const ClaimLane *lane, const char *agent_id,
							int64 incarnation, int64 token, TimestampTz now,
							ClaimedTask *task);
extern bool hot_store_find_held(int64 task_id, int64 lease_token, TaskRow *task);
extern bool hot_store_complete(Datum result, Datum usage, TimestampTz now, DateADT shelf,
							   bool keep);

#endif							/* AINS_HOT_STORE_H */
