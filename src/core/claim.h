/*
 * core/claim.h
 *		Claims.
 */
#ifndef AINS_CLAIM_H
#define AINS_CLAIM_H

#include "ains.h"

#include "core/call.h"
#include "store/lease_store.h"

/* What a claim asks for. */
typedef struct ClaimRequest
{
	const char *agent_id;
	int			max_tasks;
	int64		lease;			/* -1: the capability's */
	char	  **capabilities;	/* NULL: all the agent's */
	int			capability_count;
	int64		incarnation;	/* 0: not given */
} ClaimRequest;

extern ClaimedTask *claim_tasks(Call *call, const ClaimRequest *request, int *count);
extern bool claim_possible(Call *call, const int32 *lane_ids, int lane_count);

#endif							/* AINS_CLAIM_H */
