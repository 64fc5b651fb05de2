/*
 * store/lease_store.h
 *		Claims and what the holder of a lease writes to ains.task.
 */
#ifndef AINS_LEASE_STORE_H
#define AINS_LEASE_STORE_H

#include "ains.h"

#include "policy.h"

/* One lane a claim may take from, with what its capability says. */
typedef struct ClaimLane
{
	int32		lane_id;
	int64		lease;
	int64		timeout;		/* -1: none */
	int32		max_attempts;
	const char *capability;
	ClaimLimits limits;
} ClaimLane;

typedef struct ClaimedTask
{
	int64		task_id;
	int32		lane_id;
	int64		lease_token;
	Datum		capability;
	Datum		payload;
	int32		priority;
	int32		attempt;
	int32		max_attempts;
	TimestampTz run_at;
	TimestampTz lease_expires_at;
	Datum		checkpoint;		/* 0: NULL, likewise below */
	TimestampTz deadline;
	Datum		metadata;
	Oid			enqueued_by;
	int64		run_id;			/* 0: none */
} ClaimedTask;

extern int	lease_store_ready_keys(int32 lane_id, ReadyKey from, int room, ReadyKey *keys);
extern bool lease_store_table_is_free(Oid task_relid);
extern bool lease_store_claim(ReadyKey key, const ClaimLane *lane, const char *agent_id,
							  int64 incarnation, int64 token, TimestampTz now,
							  ClaimedTask *task);
extern TimestampTz lease_store_extend(int64 task_id, int64 lease_token, int64 lease,
									  TimestampTz now, char **agent_id);
extern TimestampTz lease_store_checkpoint(int64 task_id, int64 lease_token, Datum state,
										  float4 progress, TimestampTz now, char **agent_id);
extern TimestampTz lease_store_renew(int64 task_id, TimestampTz lease_expires_at);

#endif							/* AINS_LEASE_STORE_H */
