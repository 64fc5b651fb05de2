/*
 * core/route.h
 *		Which lane a task waits in, and which agent it is assigned to.
 */
#ifndef AINS_ROUTE_H
#define AINS_ROUTE_H

#include "ains.h"

#include "core/call.h"
#include "store/capability_store.h"
#include "store/task_store.h"

typedef enum RouteStrategy
{
	ROUTE_ROUND_ROBIN,
	ROUTE_LEAST_LOADED,
	ROUTE_TRUST_WEIGHTED,
	ROUTE_FASTEST_RESPONSE
} RouteStrategy;

/* An agent that a task could be assigned to. */
typedef struct RouteChoice
{
	char	   *agent_id;
	int64		trust;			/* in ten-thousandths */
	int32		load;			/* tasks it holds, and PENDING ones assigned to it */
	int64		duration;		/* -1: none is completed */
	uint64		assigned;		/* as AgentBeats */
	double		chance;			/* 0 to 1: that it is picked */
} RouteChoice;

extern bool route_strategy_from_name(const char *name, RouteStrategy *strategy);
extern int32 route_lane(Call *call, const CapabilityRow *capability, Datum min_trust,
						const char *agent_id);
extern int32 route_lane_of_agent(Call *call, const CapabilityRow *capability, Datum min_trust,
								 const char *agent_id);
extern int32 route_waiting(Call *call, const TaskRow *task);
extern RouteChoice *route_choices(Call *call, const char *capability, Datum min_trust,
								  RouteStrategy strategy, int64 task_id, int *count);
extern char *route_assign(Call *call, int64 task_id, RouteStrategy strategy);
extern bool route_return_idle(Call *call);
extern void route_drop_lanes(Call *call);

#endif							/* AINS_ROUTE_H */
