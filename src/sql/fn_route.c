/*
 * sql/fn_route.c
 *		SQL functions that assign tasks to agents.
 */
#include "ains.h"

#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"

#include "clock.h"
#include "core/capability.h"
#include "core/route.h"
#include "policy.h"
#include "sql/edge.h"

static RouteStrategy
strategy_arg(FunctionCallInfo fcinfo, int arg)
{
	char	   *name = edge_text(fcinfo, arg, "strategy");
	RouteStrategy strategy;

	if (!route_strategy_from_name(name, &strategy))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid strategy"),
				 errdetail("It is \"%s\".", name),
				 errhint("Use round_robin, least_loaded, trust_weighted or fastest_response.")));
	return strategy;
}

/* assign(task_id, strategy) -> text */
PG_FUNCTION_INFO_V1(ains_assign);
Datum
ains_assign(PG_FUNCTION_ARGS)
{
	Call		call;
	int64		task_id = edge_id(fcinfo, 0, "task_id");
	RouteStrategy strategy = strategy_arg(fcinfo, 1);
	char	   *agent_id;

	call_begin(&call);
	agent_id = route_assign(&call, task_id, strategy);
	if (agent_id == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(agent_id));
}

/* preview_route(capability, strategy, min_trust) -> set of rows */
PG_FUNCTION_INFO_V1(ains_preview_route);
Datum
ains_preview_route(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Call		call;
	char	   *capability = edge_name(fcinfo, 0, "capability");
	RouteStrategy strategy = strategy_arg(fcinfo, 1);
	Datum		min_trust = edge_trust_or_null(fcinfo, 2, "min_trust");
	RouteChoice *choices;
	int			count;

	call_begin_read(&call);
	InitMaterializedSRF(fcinfo, 0);
	(void) capability_require(&call, capability);
	choices = route_choices(&call, capability, min_trust, strategy, 0, &count);
	for (int i = 0; i < count; i++)
	{
		const RouteChoice *choice = &choices[i];
		Datum		values[5];
		bool		nulls[5] = {0};

		values[0] = CStringGetTextDatum(choice->agent_id);
		values[1] = Float4GetDatum(choice->trust / (double) TRUST_ONE);
		values[2] = Int32GetDatum(choice->load);
		nulls[3] = choice->duration < 0;
		values[3] = nulls[3] ? (Datum) 0
			: IntervalPGetDatum(length_to_interval(choice->duration));
		values[4] = Float8GetDatum(choice->chance);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return (Datum) 0;
}
