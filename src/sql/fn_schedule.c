/*
 * sql/fn_schedule.c
 *		SQL functions for schedules and templates.
 */
#include "ains.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "core/schedule.h"
#include "sql/edge.h"

pg_noreturn static void
refuse(const char *what, const char *detail, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid %s", what),
			 errdetail("%s", detail),
			 errhint("%s", hint)));
}

/* What schedule and save_template have in common, from that argument on. */
static TaskSpec
task_args(FunctionCallInfo fcinfo, int first)
{
	TaskSpec	task;

	task.capability = edge_name(fcinfo, first, "capability");
	task.payload = edge_jsonb(fcinfo, first + 1, "payload");
	task.priority = edge_int32(fcinfo, first + 2, "priority", AINS_MIN_PRIORITY, AINS_MAX_PRIORITY);
	task.max_attempts = edge_int32_or(fcinfo, first + 3, "max_attempts", 1, AINS_MAX_ATTEMPTS, 0);
	task.timeout = edge_length_or(fcinfo, first + 4, "timeout", 1000, -1);
	task.unique_key = edge_key_or_null(fcinfo, first + 5, "unique_key");
	task.metadata = edge_jsonb_or_null(fcinfo, first + 6, "metadata");
	return task;
}

/* schedule(name, cron, capability, payload, priority, max_attempts, timeout, unique_key,
 * metadata, timezone, catch_up) -> timestamptz */
PG_FUNCTION_INFO_V1(ains_schedule);
Datum
ains_schedule(PG_FUNCTION_ARGS)
{
	Call		call;
	Schedule	schedule = {0};

	schedule.name = edge_name(fcinfo, 0, "name");
	schedule.cron = edge_text(fcinfo, 1, "cron");
	schedule.task = task_args(fcinfo, 2);
	if (schedule.task.metadata != 0 &&
		!JB_ROOT_IS_OBJECT(DatumGetJsonbP(schedule.task.metadata)))
		refuse("metadata", "It must be a JSON object.",
			   "The name of the schedule and the time are added to it.");
	schedule.timezone = edge_text(fcinfo, 9, "timezone");
	schedule.catch_up = edge_text(fcinfo, 10, "catch_up");
	if (strcmp(schedule.catch_up, "skip") != 0 && strcmp(schedule.catch_up, "one") != 0 &&
		strcmp(schedule.catch_up, "all") != 0)
		refuse("catch_up", psprintf("It is \"%s\".", schedule.catch_up), "Use skip, one or all.");

	call_begin(&call);
	PG_RETURN_TIMESTAMPTZ(schedule_save(&call, &schedule));
}

/* unschedule(name) */
PG_FUNCTION_INFO_V1(ains_unschedule);
Datum
ains_unschedule(PG_FUNCTION_ARGS)
{
	Call		call;
	char	   *name = edge_name(fcinfo, 0, "name");

	call_begin(&call);
	schedule_remove(&call, name);
	PG_RETURN_VOID();
}

/* pause_schedule(name) */
PG_FUNCTION_INFO_V1(ains_pause_schedule);
Datum
ains_pause_schedule(PG_FUNCTION_ARGS)
{
	Call		call;
	char	   *name = edge_name(fcinfo, 0, "name");

	call_begin(&call);
	schedule_pause(&call, name, true);
	PG_RETURN_VOID();
}

/* resume_schedule(name) */
PG_FUNCTION_INFO_V1(ains_resume_schedule);
Datum
ains_resume_schedule(PG_FUNCTION_ARGS)
{
	Call		call;
	char	   *name = edge_name(fcinfo, 0, "name");

	call_begin(&call);
	schedule_pause(&call, name, false);
	PG_RETURN_VOID();
}

/* run_schedules() -> bigint */
PG_FUNCTION_INFO_V1(ains_run_schedules);
Datum
ains_run_schedules(PG_FUNCTION_ARGS)
{
	Call		call;

	call_begin(&call);
	PG_RETURN_INT64(schedule_run_all(&call));
}

/* ains_internal.next_run(cron, timezone, after) -> timestamptz */
PG_FUNCTION_INFO_V1(ains_next_run);
Datum
ains_next_run(PG_FUNCTION_ARGS)
{
	TimestampTz next;

	if (TIMESTAMP_NOT_FINITE(PG_GETARG_TIMESTAMPTZ(2)))
		refuse("after", "It must be finite.", "Give a time.");
	next = schedule_next(text_to_cstring(PG_GETARG_TEXT_PP(0)),
						 text_to_cstring(PG_GETARG_TEXT_PP(1)), PG_GETARG_TIMESTAMPTZ(2));
	if (next == 0)
		PG_RETURN_NULL();
	PG_RETURN_TIMESTAMPTZ(next);
}

/* ains_internal.missed_runs(cron, timezone, since) -> bigint */
PG_FUNCTION_INFO_V1(ains_missed_runs);
Datum
ains_missed_runs(PG_FUNCTION_ARGS)
{
	Call		call;

	call_begin_read(&call);
	PG_RETURN_INT64(schedule_overdue(text_to_cstring(PG_GETARG_TEXT_PP(0)),
									 text_to_cstring(PG_GETARG_TEXT_PP(1)),
									 PG_GETARG_TIMESTAMPTZ(2), call.now.wall));
}

/* save_template(name, capability, payload, priority, max_attempts, timeout, unique_key,
 * metadata) */
PG_FUNCTION_INFO_V1(ains_save_template);
Datum
ains_save_template(PG_FUNCTION_ARGS)
{
	Call		call;
	char	   *name = edge_name(fcinfo, 0, "name");
	TaskSpec	task = task_args(fcinfo, 1);

	call_begin(&call);
	template_save(&call, name, &task);
	PG_RETURN_VOID();
}

/* drop_template(name) */
PG_FUNCTION_INFO_V1(ains_drop_template);
Datum
ains_drop_template(PG_FUNCTION_ARGS)
{
	Call		call;
	char	   *name = edge_name(fcinfo, 0, "name");

	call_begin(&call);
	template_remove(&call, name);
	PG_RETURN_VOID();
}

/* The arguments of ains.enqueue, in their order. */
static const struct
{
	const char *name;
	Oid			type;
}			enqueue_args[] = {
	{"capability", TEXTOID},
	{"payload", JSONBOID},
	{"priority", INT4OID},
	{"run_at", TIMESTAMPTZOID},
	{"max_attempts", INT4OID},
	{"timeout", INTERVALOID},
	{"expires_at", TIMESTAMPTZOID},
	{"unique_key", TEXTOID},
	{"depends_on", INT8ARRAYOID},
	{"run_id", INT8OID},
	{"min_trust", NUMERICOID},
	{"agent_id", TEXTOID},
	{"metadata", JSONBOID},
	{"on_conflict", TEXTOID},
	{"concurrency_key", TEXTOID},
	{"stage", TEXTOID},
};

#define ENQUEUE_PAYLOAD		1
#define ENQUEUE_PRIORITY	2
#define ENQUEUE_ON_CONFLICT	13

static int
enqueue_arg(const JsonbValue *key, const char *what)
{
	for (int i = 0; i < lengthof(enqueue_args); i++)
		if (key->val.string.len == strlen(enqueue_args[i].name) &&
			memcmp(key->val.string.val, enqueue_args[i].name, key->val.string.len) == 0)
			return i;
	refuse(what,
		   psprintf("\"%s\" is no argument of ains.enqueue.",
					pnstrdup(key->val.string.val, key->val.string.len)),
		   "Use its arguments as keys: {\"priority\": 9, \"payload\": {}}.");
}

/* A JSON value as one of a type; what does not fit raises what the type raises. */
static Datum
value_of_type(JsonbValue *value, Oid type)
{
	Oid			input;
	Oid			param;
	char	   *string;

	if (type == JSONBOID)
		return JsonbPGetDatum(JsonbValueToJsonb(value));
	if (value->type == jbvString)
		string = pnstrdup(value->val.string.val, value->val.string.len);
	else
	{
		Jsonb	   *jsonb = JsonbValueToJsonb(value);

		string = JsonbToCString(NULL, &jsonb->root, VARSIZE(jsonb));
		/* an array of numbers reads like one of PostgreSQL's but for the brackets */
		if (type == INT8ARRAYOID && value->type == jbvBinary && *string == '[')
		{
			string[0] = '{';
			string[strlen(string) - 1] = '}';
		}
	}
	getTypeInputInfo(type, &input, &param);
	return OidInputFunctionCall(input, string, param, -1);
}

void
edge_enqueue_begin(FunctionCallInfo enqueue)
{
	StaticAssertStmt(lengthof(enqueue_args) == ENQUEUE_ARGS, "one for each argument");
	InitFunctionCallInfoData(*enqueue, NULL, ENQUEUE_ARGS, InvalidOid, NULL, NULL);
	for (int i = 0; i < ENQUEUE_ARGS; i++)
		enqueue->args[i] = (NullableDatum) {0, true};
	enqueue->args[ENQUEUE_PAYLOAD] = (NullableDatum) {
		DirectFunctionCall1(jsonb_in, CStringGetDatum("{}")), false};
	enqueue->args[ENQUEUE_PRIORITY] = (NullableDatum) {Int32GetDatum(5), false};
	enqueue->args[ENQUEUE_ON_CONFLICT] = (NullableDatum) {CStringGetTextDatum("return"), false};
}

void
edge_enqueue_arg(FunctionCallInfo enqueue, const JsonbValue *key, JsonbValue *value,
				 const char *what)
{
	int			arg = enqueue_arg(key, what);

	/* null is a payload like any other, and elsewhere says "none" */
	enqueue->args[arg].isnull = value->type == jbvNull && arg != ENQUEUE_PAYLOAD;
	if (!enqueue->args[arg].isnull)
		enqueue->args[arg].value = value_of_type(value, enqueue_args[arg].type);
}

/* enqueue_from_template(name, overrides) -> bigint */
PG_FUNCTION_INFO_V1(ains_enqueue_from_template);
Datum
ains_enqueue_from_template(PG_FUNCTION_ARGS)
{
	LOCAL_FCINFO(enqueue, ENQUEUE_ARGS);
	Call		call;
	char	   *name = edge_name(fcinfo, 0, "name");
	Datum		overrides = edge_jsonb(fcinfo, 1, "overrides");
	Datum		arguments;
	JsonbIterator *it;
	JsonbValue	key;
	JsonbValue	value;

	if (!JB_ROOT_IS_OBJECT(DatumGetJsonbP(overrides)))
		refuse("overrides", "It must be a JSON object.",
			   "Use the arguments of ains.enqueue as keys.");
	call_begin(&call);
	arguments = template_arguments(&call, name, overrides);

	edge_enqueue_begin(enqueue);
	it = JsonbIteratorInit(&DatumGetJsonbP(arguments)->root);
	(void) JsonbIteratorNext(&it, &key, true);	/* the object itself */
	while (JsonbIteratorNext(&it, &key, true) == WJB_KEY)
	{
		(void) JsonbIteratorNext(&it, &value, true);
		edge_enqueue_arg(enqueue, &key, &value, "overrides");
	}
	PG_RETURN_INT64(edge_enqueue(enqueue, false));
}
