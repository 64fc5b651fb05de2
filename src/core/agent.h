/*
 * core/agent.h
 *		Agents: registration, heartbeats, orders, and what they may do.
 */
#ifndef AINS_AGENT_H
#define AINS_AGENT_H

#include "ains.h"

#include "compat.h"
#include "core/call.h"
#include "nodes/pg_list.h"
#include "soft/roster.h"
#include "store/agent_store.h"
#include "store/lease_store.h"

/* The arguments of heartbeat(). */
typedef struct Heartbeat
{
	const char *agent_id;
	AgentHealth health;
	Datum		metrics;		/* jsonb; 0: none */
	const char *activity;		/* NULL: as before */
	const int64 *held;			/* NULL: not given */
	int			held_count;
	int64		incarnation;	/* 0: not given */
} Heartbeat;

/* Its answer. */
typedef struct HeartbeatAnswer
{
	int32		next_in;		/* seconds */
	AgentStatus status;
	TimestampTz last_heartbeat;
	int32		active_tasks;
	int64	   *cancel_requested;
	int			cancel_count;
	int64	   *lost;
	int			lost_count;
} HeartbeatAnswer;

extern Datum agent_register(Call *call, NewAgent *agent, char **capabilities,
							int capability_count, Datum capability_array);
extern void agent_heartbeat(Call *call, const Heartbeat *beat, HeartbeatAnswer *answer);
extern Datum agent_order(Call *call, const char *agent_id, AgentWanted wanted);
extern void agent_attach(Call *call, const char *agent_id, int64 incarnation);
extern void agent_detach(Call *call, const char *agent_id);
extern List *agent_prune(Call *call, int64 older_than);
extern void agent_reconcile(Call *call, const AgentView *seen, const AgentFacts *row);
extern bool agent_mark_dead(Call *call, const AgentView *seen);

extern void agent_require(Call *call, const char *agent_id, int64 incarnation,
						  AgentView *agent);
extern void agent_require_accepting(const AgentView *agent);
extern void agent_lock(Call *call, const char *agent_id, AgentFacts *facts);
pg_noreturn extern void agent_refuse_unknown(const char *agent_id);
extern bool agent_is_own(Call *call, const char *agent_id);
extern void agent_require_owner(Call *call, const char *agent_id);
extern int	agent_room(Call *call, const AgentView *agent, int asked);
extern bool agent_find(Call *call, const char *agent_id, AgentView *agent);
extern bool agent_is_silent(Call *call, const AgentView *agent);

extern int32 *agent_lane_ids(const ClaimLane *lanes, int count);
extern ClaimLane *agent_claim_lanes(Call *call, const AgentView *agent, char **subset,
									int subset_count, int64 lease, int *count);

#endif							/* AINS_AGENT_H */
