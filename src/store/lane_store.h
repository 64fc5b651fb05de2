/*
 * store/lane_store.h
 *		ains.lane, and who may take what is in one: SQL text and row <-> struct.
 */
#ifndef AINS_LANE_STORE_H
#define AINS_LANE_STORE_H

#include "ains.h"

/* A lane of what an agent offers. */
typedef struct OfferedLane
{
	char	   *capability;
	int32		lane_id;
	int32		min_trust;		/* in ten-thousandths */
} OfferedLane;

/* A lane whose agent does not take tasks from it. */
typedef struct IdleLane
{
	int32		lane_id;
	char	   *capability;
	Datum		min_trust;		/* numeric; 0: none */
} IdleLane;

/* An agent that a task could be assigned to. */
typedef struct Candidate
{
	char	   *agent_id;
	int32		max_active_tasks;	/* 0: no limit */
	int32		waiting;		/* PENDING tasks that are assigned to it, up to 1,000 */
	int64		duration;		/* of its tasks on average; -1: none is completed */
} Candidate;

extern int32 lane_store_find(const char *capability, Datum min_trust, const char *agent_id);
extern int32 lane_store_create(const char *capability, Datum min_trust, const char *agent_id);
extern OfferedLane *lane_store_offered(const char *agent_id, int *count);
extern int32 *lane_store_of_capability(const char *capability, int *count);

extern bool lane_store_find_agent(const char *agent_id, const char *capability,
								  Datum min_trust, bool *offers, bool *fit);
extern Candidate *lane_store_candidates(const char *capability, Datum min_trust,
										int64 without, int *count);
extern bool lane_store_is_idle(int32 lane_id);
extern IdleLane *lane_store_idle(int *count);
extern int64 *lane_store_lock_unowned(int *count);
extern void lane_store_delete_empty(const int64 *lane_ids, int count);

#endif							/* AINS_LANE_STORE_H */
