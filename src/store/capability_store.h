/*
 * store/capability_store.h
 *		ains.capability and ains.lane: SQL text and row <-> struct.
 */
#ifndef AINS_CAPABILITY_STORE_H
#define AINS_CAPABILITY_STORE_H

#include "ains.h"

#include "policy.h"

/* A capability with its policy and lane. Lengths: -1 is none. */
typedef struct CapabilityRow
{
	char		name[AINS_NAME_SIZE];
	int32		lane_id;		/* for tasks that want no trust and no agent */
	int32		min_trust;		/* in ten-thousandths */
	int64		lease;
	int64		aging_interval;
	int64		timeout;
	RetryPolicy retry;
	bool		keep_history;
	bool		paused;
	ClaimLimits limits;
	int32		key_limit;		/* 0: none */
} CapabilityRow;

/* The columns configure_capability writes; 0 pointers leave them as they are. */
typedef struct CapabilityChange
{
	const int64 *lease;			/* lengths; -1: back to none */
	const int64 *backoff_base;
	const int64 *backoff_max;
	const int64 *aging_interval;
	const int64 *timeout;
	const int64 *rate_period;
	const int32 *max_attempts;
	const int32 *concurrency_limit; /* 0: back to none, likewise below */
	const int32 *rate_limit;
	const int32 *key_limit;
	const char *backoff;
	const char *on_lost;
	const float4 *jitter;
	Datum		min_trust;		/* numeric */
	const bool *keep_history;
} CapabilityChange;

extern bool capability_store_find(const char *name, CapabilityRow *row);
extern bool capability_store_create(const char *name, TimestampTz now);
extern bool capability_store_lock(const char *name, int64 *aging_interval);
extern Datum capability_store_configure(const char *name, const CapabilityChange *change);
extern bool capability_store_pause(const char *name, bool paused);
extern uint64 capability_store_checksum(void);
extern char **capability_store_lost(int *count);

#endif							/* AINS_CAPABILITY_STORE_H */
