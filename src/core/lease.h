/*
 * core/lease.h
 *		What the holder of a lease does, and every way a lease ends.
 */
#ifndef AINS_LEASE_H
#define AINS_LEASE_H

#include "ains.h"

#include "core/call.h"
#include "policy.h"
#include "store/task_store.h"

/* fail()'s retryable. */
typedef enum Retryable
{
	RETRYABLE_NO,
	RETRYABLE_YES,
	RETRYABLE_BY_PATTERN
} Retryable;

extern TimestampTz lease_extend(Call *call, int64 task_id, int64 token, int64 lease);
extern TimestampTz lease_checkpoint(Call *call, int64 task_id, int64 token, Datum state,
									float4 progress);
extern void lease_complete(Call *call, int64 task_id, int64 token, Datum result, Datum usage);
extern int64 *lease_complete_batch(Call *call, const int64 *ids, const int64 *lease_tokens,
								   Datum task_ids, Datum tokens, const Datum *results,
								   int asked, int *count);
extern TaskStatus lease_fail(Call *call, int64 task_id, int64 token, const char *error,
							 Retryable retryable, int64 retry_after);
extern void lease_release(Call *call, int64 task_id, int64 token, int64 delay);

/* For agent.c and sweep.c, on rows that are locked. */
extern TaskStatus lease_end(Call *call, const TaskRow *task, AttemptEnd end,
							const char *error, int64 asked_delay);
extern TaskRow *lease_lock_of_agent(Call *call, const char *agent_id, bool skip_locked, int *count);
extern int64 lease_take_back_all(Call *call, const char *agent_id, AttemptEnd end,
								 bool skip_locked);

#endif							/* AINS_LEASE_H */
