/*
 * sql/fn_monitor.c
 *		SQL functions for who watches ains: metrics and health.
 */
#include "ains.h"

#include "access/xlog.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "core/health.h"
#include "core/metrics.h"
#include "sql/edge.h"

/* metrics() -> text */
PG_FUNCTION_INFO_V1(ains_metrics);
Datum
ains_metrics(PG_FUNCTION_ARGS)
{
	Call		call;
	StringInfoData out;

	call_begin_read(&call);
	initStringInfo(&out);
	metrics_print(&call, &out);
	PG_RETURN_TEXT_P(cstring_to_text_with_len(out.data, out.len));
}

/* Where the rows of metric_samples() go. */
typedef struct SampleRows
{
	ReturnSetInfo *result;
	const char *type;			/* of the family */
	const char *help;
} SampleRows;

static void
begin_family(void *state, const char *name, const char *type, const char *help)
{
	SampleRows *rows = state;

	rows->type = type;
	rows->help = help;
}

/* A jsonb string. */
static JsonbValue
json_string(const char *s)
{
	JsonbValue	value;

	value.type = jbvString;
	value.val.string.val = unconstify(char *, s);
	value.val.string.len = strlen(s);
	return value;
}

static JsonbValue *
push_member(JsonbParseState **json, const char *key, JsonbValue value)
{
	JsonbValue	name = json_string(key);

	(void) pushJsonbValue(json, WJB_KEY, &name);
	return pushJsonbValue(json, WJB_VALUE, &value);
}

static void
put_sample(void *state, const Sample *sample)
{
	SampleRows *rows = state;
	JsonbParseState *json = NULL;
	Datum		values[5];
	bool		nulls[5] = {0};

	(void) pushJsonbValue(&json, WJB_BEGIN_OBJECT, NULL);
	for (int i = 0; i < sample->label_count; i++)
		(void) push_member(&json, sample->labels[i].name, json_string(sample->labels[i].value));
	values[0] = CStringGetTextDatum(sample->name);
	values[1] = CStringGetTextDatum(rows->type);
	values[2] = CStringGetTextDatum(rows->help);
	values[3] = JsonbPGetDatum(JsonbValueToJsonb(pushJsonbValue(&json, WJB_END_OBJECT, NULL)));
	values[4] = Float8GetDatum(sample->value);
	tuplestore_putvalues(rows->result->setResult, rows->result->setDesc, values, nulls);
}

/* metric_samples() -> set of rows */
PG_FUNCTION_INFO_V1(ains_metric_samples);
Datum
ains_metric_samples(PG_FUNCTION_ARGS)
{
	Call		call;
	SampleRows	rows = {.result = (ReturnSetInfo *) fcinfo->resultinfo};
	MetricSink	sink = {begin_family, put_sample, &rows};

	call_begin_read(&call);
	InitMaterializedSRF(fcinfo, 0);
	metrics_walk(&call, &sink);
	return (Datum) 0;
}

/* check_health() -> set of rows */
PG_FUNCTION_INFO_V1(ains_check_health);
Datum
ains_check_health(PG_FUNCTION_ARGS)
{
	Call		call;
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	HealthCheck *checks;
	int			count;

	call_begin_read(&call);
	InitMaterializedSRF(fcinfo, 0);
	checks = health_check(&call, true, &count);
	for (int i = 0; i < count; i++)
	{
		Datum		values[4] = {0};
		bool		nulls[4] = {0};

		values[0] = CStringGetTextDatum(checks[i].name);
		values[1] = CStringGetTextDatum(health_status_name(checks[i].status));
		values[2] = CStringGetTextDatum(checks[i].detail);
		nulls[3] = checks[i].advice == NULL;
		if (!nulls[3])
			values[3] = CStringGetTextDatum(checks[i].advice);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return (Datum) 0;
}

static JsonbValue
json_boolean(bool b)
{
	JsonbValue	value;

	value.type = jbvBool;
	value.val.boolean = b;
	return value;
}

/* health() -> jsonb: the worst of the checks, and those that are not healthy */
PG_FUNCTION_INFO_V1(ains_health);
Datum
ains_health(PG_FUNCTION_ARGS)
{
	Call		call;
	JsonbParseState *json = NULL;
	JsonbValue	key = json_string("reasons");
	HealthStatus worst = IS_HEALTHY;
	HealthCheck *checks;
	int			count;

	call_begin_read(&call);
	checks = health_check(&call, true, &count);
	for (int i = 0; i < count; i++)
		worst = Max(worst, checks[i].status);

	(void) pushJsonbValue(&json, WJB_BEGIN_OBJECT, NULL);
	(void) push_member(&json, "status", json_string(health_status_name(worst)));
	(void) push_member(&json, "live", json_boolean(true));
	(void) push_member(&json, "ready",
					   json_boolean(worst != IS_UNHEALTHY && !RecoveryInProgress()));
	(void) push_member(&json, "standby", json_boolean(RecoveryInProgress()));
	(void) push_member(&json, "version", json_string(AINS_VERSION));
	(void) pushJsonbValue(&json, WJB_KEY, &key);
	(void) pushJsonbValue(&json, WJB_BEGIN_ARRAY, NULL);
	for (int i = 0; i < count; i++)
	{
		if (checks[i].status == IS_HEALTHY)
			continue;
		(void) pushJsonbValue(&json, WJB_BEGIN_OBJECT, NULL);
		(void) push_member(&json, "check", json_string(checks[i].name));
		(void) push_member(&json, "status", json_string(health_status_name(checks[i].status)));
		(void) push_member(&json, "detail", json_string(checks[i].detail));
		(void) push_member(&json, "advice", json_string(checks[i].advice));
		(void) pushJsonbValue(&json, WJB_END_OBJECT, NULL);
	}
	(void) pushJsonbValue(&json, WJB_END_ARRAY, NULL);
	PG_RETURN_JSONB_P(JsonbValueToJsonb(pushJsonbValue(&json, WJB_END_OBJECT, NULL)));
}
