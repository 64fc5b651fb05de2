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

/* A task whose lease a token holds. */
typedef struct HeldTask
{
	char	   *agent_id;
	char	   *capability;
	TimestampTz claimed_at;
	int64		timeout;		/* its own, or -1 */
	char	   *concurrency_key;	/* NULL: none */
	bool		awaited;		/* as in TaskRow, likewise below */
	int64		run_id;
	char	   *stage;
	Oid			enqueued_by;
	int32		attempt;
} HeldTask;

extern bool hot_store_open(Oid task_relid);
extern bool hot_store_open_shelf(Oid task_relid, DateADT shelf);
extern void hot_store_close(void);

extern int64 hot_store_insert(const NewTask *task);
extern bool hot_store_claim(ReadyKey key, const ClaimLane *lane, const char *agent_id,
							int64 incarnation, int64 token, TimestampTz now,
							ClaimedTask *task);
extern bool hot_store_find_held(int64 task_id, int64 lease_token, HeldTask *held);
extern bool hot_store_complete(Datum result, Datum usage, TimestampTz now, DateADT shelf,
							   bool keep);

#endif							/* AINS_HOT_STORE_H */
