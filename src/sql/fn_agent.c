/*
 * sql/fn_agent.c
 *		SQL functions about agents.
 */
#include "ains.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "clock.h"
#include "core/agent.h"
#include "core/capability.h"
#include "core/offer.h"
#include "core/trust.h"
#include "policy.h"
#include "sql/edge.h"
#include "store/report_store.h"
#include "store/trust_store.h"

/* register_agent(agent_id, agent_type, capabilities, display_name, endpoint, public_key,
 * tags, metadata, heartbeat_timeout, max_active_tasks) -> ains.agent */
PG_FUNCTION_INFO_V1(ains_register_agent);
Datum
ains_register_agent(PG_FUNCTION_ARGS)
{
	Call		call;
	NewAgent	agent = {0};
	char	  **capabilities;
	int			count;
	int			tag_count;

	agent.agent_id = edge_name(fcinfo, 0, "agent_id");
	agent.agent_type = edge_name(fcinfo, 1, "agent_type");
	capabilities = edge_names(fcinfo, 2, "capabilities", &count);
	if (capabilities == NULL)
		capabilities = palloc0(sizeof(char *));
	agent.display_name = edge_text_or_null(fcinfo, 3, "display_name");
	agent.endpoint = edge_text_or_null(fcinfo, 4, "endpoint");
	agent.public_key = edge_text_or_null(fcinfo, 5, "public_key");
	(void) edge_names(fcinfo, 6, "tags", &tag_count);
	agent.tags = PG_ARGISNULL(6) ? PointerGetDatum(construct_empty_array(TEXTOID))
		: PG_GETARG_DATUM(6);
	agent.metadata = edge_jsonb(fcinfo, 7, "metadata");
	agent.heartbeat_timeout = edge_length_or(fcinfo, 8, "heartbeat_timeout", USECS_PER_SEC, -1);
	agent.max_active_tasks = edge_int32_or(fcinfo, 9, "max_active_tasks", 1, PG_INT32_MAX, 0);

	call_begin(&call);
	PG_RETURN_DATUM(agent_register(&call, &agent, capabilities, count,
								   PG_ARGISNULL(2) ? PointerGetDatum(construct_empty_array(TEXTOID))
								   : PG_GETARG_DATUM(2)));
}

/* heartbeat(agent_id, health, uptime_ms, metrics, activity, held, incarnation) -> one row */
PG_FUNCTION_INFO_V1(ains_heartbeat);
Datum
ains_heartbeat(PG_FUNCTION_ARGS)
{
	Call		call;
	Heartbeat	beat = {0};
	HeartbeatAnswer answer;
	char	   *health = edge_text(fcinfo, 1, "health");
	TupleDesc	desc;
	Datum		values[8];
	bool		nulls[8] = {0};

	beat.agent_id = edge_name(fcinfo, 0, "agent_id");
	if (!agent_health_from_name(health, &beat.health))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid health"),
				 errdetail("It is \"%s\".", health),
				 errhint("Send ACTIVE, DEGRADED or OFFLINE.")));
	if (!PG_ARGISNULL(2) && PG_GETARG_INT64(2) < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid uptime_ms"),
				 errdetail("It must not be negative."),
				 errhint("Send the milliseconds since the agent started, or leave it out.")));
	beat.metrics = edge_jsonb_or_null(fcinfo, 3, "metrics");
	beat.activity = edge_text_or_null(fcinfo, 4, "activity");
	beat.held = edge_ids(fcinfo, 5, "held", &beat.held_count);
	beat.incarnation = PG_ARGISNULL(6) ? 0 : PG_GETARG_INT64(6);

	call_begin(&call);
	agent_heartbeat(&call, &beat, &answer);

	desc = edge_row_type(fcinfo);
	values[0] = BoolGetDatum(true);
	values[1] = Int32GetDatum(answer.next_in);
	values[2] = CStringGetTextDatum(health);
	values[3] = edge_enum(TupleDescAttr(desc, 3)->atttypid, agent_status_name(answer.status));
	values[4] = TimestampTzGetDatum(answer.last_heartbeat);
	values[5] = Int32GetDatum(answer.active_tasks);
	values[6] = edge_int64_array(answer.cancel_requested, answer.cancel_count);
	values[7] = edge_int64_array(answer.lost, answer.lost_count);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(desc, values, nulls)));
}

/* attach_agent(agent_id, incarnation) */
PG_FUNCTION_INFO_V1(ains_attach_agent);
Datum
ains_attach_agent(PG_FUNCTION_ARGS)
{
	Call		call;
	char	   *agent_id = edge_name(fcinfo, 0, "agent_id");

	call_begin(&call);
	agent_attach(&call, agent_id, PG_ARGISNULL(1) ? 0 : PG_GETARG_INT64(1));
	PG_RETURN_VOID();
}

/* detach_agent(agent_id) */
PG_FUNCTION_INFO_V1(ains_detach_agent);
Datum
ains_detach_agent(PG_FUNCTION_ARGS)
{
	Call		call;
	char	   *agent_id = edge_name(fcinfo, 0, "agent_id");

	call_begin(&call);
	agent_detach(&call, agent_id);
	PG_RETURN_VOID();
}

static Datum
order(FunctionCallInfo fcinfo, AgentWanted wanted)
{
	Call		call;
	char	   *agent_id = edge_name(fcinfo, 0, "agent_id");

	call_begin(&call);
	return agent_order(&call, agent_id, wanted);
}

/* drain_agent(agent_id) -> ains.agent */
PG_FUNCTION_INFO_V1(ains_drain_agent);
Datum
ains_drain_agent(PG_FUNCTION_ARGS)
{
	PG_RETURN_DATUM(order(fcinfo, WANTED_DRAINING));
}

/* resume_agent(agent_id) -> ains.agent */
PG_FUNCTION_INFO_V1(ains_resume_agent);
Datum
ains_resume_agent(PG_FUNCTION_ARGS)
{
	PG_RETURN_DATUM(order(fcinfo, WANTED_ACCEPTING));
}

/* stop_agent(agent_id) -> ains.agent */
PG_FUNCTION_INFO_V1(ains_stop_agent);
Datum
ains_stop_agent(PG_FUNCTION_ARGS)
{
	PG_RETURN_DATUM(order(fcinfo, WANTED_STOPPED));
}

/* publish_capability(agent_id, capability, description, version, input_schema, output_schema,
 * pricing_model, price, currency, latency_p99_ms, availability_percent) */
PG_FUNCTION_INFO_V1(ains_publish_capability);
Datum
ains_publish_capability(PG_FUNCTION_ARGS)
{
	Call		call;
	Offer		offer = {0};

	offer.agent_id = edge_name(fcinfo, 0, "agent_id");
	offer.capability = edge_name(fcinfo, 1, "capability");
	offer.description = edge_text_or_null(fcinfo, 2, "description");
	offer.version = edge_name(fcinfo, 3, "version");
	offer.input_schema = edge_jsonb(fcinfo, 4, "input_schema");
	offer.output_schema = edge_jsonb(fcinfo, 5, "output_schema");
	offer.pricing_model = edge_name(fcinfo, 6, "pricing_model");
	offer.price = edge_numeric(fcinfo, 7, "price", 0, AINS_MAX_PRICE);
	offer.currency = edge_name(fcinfo, 8, "currency");
	offer.latency_p99 = edge_int32_or(fcinfo, 9, "latency_p99_ms", 0, PG_INT32_MAX, -1);
	if (!PG_ARGISNULL(10))
		offer.availability = edge_numeric(fcinfo, 10, "availability_percent", 0, 100);

	call_begin(&call);
	offer_publish(&call, &offer);
	PG_RETURN_VOID();
}

/* withdraw_capability(agent_id, capability) */
PG_FUNCTION_INFO_V1(ains_withdraw_capability);
Datum
ains_withdraw_capability(PG_FUNCTION_ARGS)
{
	Call		call;
	char	   *agent_id = edge_name(fcinfo, 0, "agent_id");
	char	   *capability = edge_name(fcinfo, 1, "capability");

	call_begin(&call);
	offer_withdraw(&call, agent_id, capability);
	PG_RETURN_VOID();
}

static const char *const search_orders[] = {
	"trust_score", "price", "latency", "availability", "name"
};

/* search_agents(capability, tags, min_trust, sort_by, max_rows, skip) -> set of rows */
PG_FUNCTION_INFO_V1(ains_search_agents);
Datum
ains_search_agents(PG_FUNCTION_ARGS)
{
	Call		call;
	AgentSearch search = {0};
	int			count;
	bool		known = false;

	if (!PG_ARGISNULL(0))
		search.capability = edge_name(fcinfo, 0, "capability");
	if (edge_names(fcinfo, 1, "tags", &count) != NULL)
		search.tags = PG_GETARG_DATUM(1);
	search.min_trust = edge_numeric(fcinfo, 2, "min_trust", 0, 1);
	search.sort_by = edge_text(fcinfo, 3, "sort_by");
	for (int i = 0; i < lengthof(search_orders) && !known; i++)
		known = strcmp(search.sort_by, search_orders[i]) == 0;
	if (!known)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid sort_by"),
				 errdetail("It is \"%s\".", search.sort_by),
				 errhint("Use trust_score, price, latency, availability or name.")));
	search.max_rows = edge_int32(fcinfo, 4, "max_rows", 1, AINS_MAX_SEARCH);
	search.skip = edge_int32(fcinfo, 5, "skip", 0, PG_INT32_MAX);

	call_begin_read(&call);
	InitMaterializedSRF(fcinfo, 0);
	report_store_search_agents(&search, ((ReturnSetInfo *) fcinfo->resultinfo)->setResult);
	return (Datum) 0;
}

/* trust_history(agent_id) -> set of rows */
PG_FUNCTION_INFO_V1(ains_trust_history);
Datum
ains_trust_history(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Call		call;
	char	   *agent_id = edge_name(fcinfo, 0, "agent_id");

	call_begin_read(&call);
	InitMaterializedSRF(fcinfo, 0);
	trust_history(&call, agent_id, result->setResult, result->setDesc);
	return (Datum) 0;
}

/* leaderboard(min_tasks) -> set of rows */
PG_FUNCTION_INFO_V1(ains_leaderboard);
Datum
ains_leaderboard(PG_FUNCTION_ARGS)
{
	Call		call;
	int32		min_tasks = edge_int32(fcinfo, 0, "min_tasks", 0, PG_INT32_MAX);

	call_begin_read(&call);
	InitMaterializedSRF(fcinfo, 0);
	trust_store_leaders(min_tasks, ((ReturnSetInfo *) fcinfo->resultinfo)->setResult);
	return (Datum) 0;
}

/* prune_agents(older_than) -> setof text */
PG_FUNCTION_INFO_V1(ains_prune_agents);
Datum
ains_prune_agents(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Call		call;
	int64		older_than = edge_length_or(fcinfo, 0, "older_than", 0, -1);
	List	   *pruned;

	if (older_than < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid older_than"),
				 errdetail("It must not be null."),
				 errhint("Leave it out for 60 minutes.")));
	call_begin(&call);
	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	do
	{
		ListCell   *lc;

		pruned = agent_prune(&call, older_than);
		foreach(lc, pruned)
		{
			Datum		value = CStringGetTextDatum((char *) lfirst(lc));
			bool		isnull = false;

			tuplestore_putvalues(result->setResult, result->setDesc, &value, &isnull);
		}
		CHECK_FOR_INTERRUPTS();
	} while (list_length(pruned) == AINS_SWEEP_BATCH);
	return (Datum) 0;
}

/* agent_stats() -> set of rows */
PG_FUNCTION_INFO_V1(ains_agent_stats);
Datum
ains_agent_stats(PG_FUNCTION_ARGS)
{
	Call		call;

	call_begin_read(&call);
	InitMaterializedSRF(fcinfo, 0);
	report_store_agent_stats(((ReturnSetInfo *) fcinfo->resultinfo)->setResult);
	return (Datum) 0;
}

/*
 * ains_internal.roster() -> what shared memory knows of the agents the caller
 * may see: for the view ains.agents.
 */
PG_FUNCTION_INFO_V1(ains_roster);
Datum
ains_roster(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Call		call;
	AgentView	view;
	bool		sees_all;
	int			position = 0;

	call_begin_read(&call);
	sees_all = call_is_monitor(&call);
	InitMaterializedSRF(fcinfo, 0);
	while (roster_next(call.db, &position, &view))
	{
		Datum		values[4];
		bool		nulls[4] = {0};

		if (!sees_all && !call_is_member(&call, view.facts.owner))
			continue;
		values[0] = CStringGetTextDatum(view.agent_id);
		values[1] = TimestampTzGetDatum(view.beats.last_beat);
		nulls[1] = view.beats.last_beat == 0;
		values[2] = Int32GetDatum(Max(view.beats.active_tasks, 0));
		values[3] = CStringGetTextDatum(view.beats.activity);
		nulls[3] = view.beats.activity[0] == '\0';
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return (Datum) 0;
}
