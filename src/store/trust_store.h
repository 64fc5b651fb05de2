/*
 * store/trust_store.h
 *		Trust of agents: what their rows say, and what history says.
 */
#ifndef AINS_TRUST_STORE_H
#define AINS_TRUST_STORE_H

#include "ains.h"

#include "utils/date.h"
#include "utils/tuplestore.h"

#include "policy.h"

/* An attempt that ended, or a change by hand. */
typedef struct TrustEvent
{
	char	   *agent_id;
	const char *outcome;		/* NULL: by hand */
	int64		task_id;
	TimestampTz started_at;
	TimestampTz ended_at;
	int64		timeout;		/* -1: none */
	int64		lease_token;
	int64		points;			/* by hand */
	char	   *reason;			/* by hand */
	Oid			role;			/* by hand */
} TrustEvent;

extern int32 trust_store_write(const char *agent_id, const TrustDelta *delta);
extern DateADT trust_store_first_shelf(void);
extern TrustEvent *trust_store_unwritten(DateADT shelf, TimestampTz before, int max,
										 int *count);
extern float4 trust_store_adjust(const char *agent_id, Datum delta, const char *reason,
								 Oid role, TimestampTz now);
extern TrustEvent *trust_store_events(const char *agent_id, int *count, int64 *score);
extern void trust_store_leaders(int32 min_tasks, Tuplestorestate *store);

#endif							/* AINS_TRUST_STORE_H */
