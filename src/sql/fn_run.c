/*
 * sql/fn_run.c
 *		SQL functions for runs and chains.
 */
#include "ains.h"

#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"

#include "compat.h"
#include "core/run.h"
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

/* What create_run and enqueue_chain have in common. */
static void
run_args(FunctionCallInfo fcinfo, int name, int on_failure, NewRun *run)
{
	char	   *word = edge_text(fcinfo, on_failure, "on_failure");

	run->name = edge_name(fcinfo, name, "name");
	if (strcmp(word, "fail") != 0 && strcmp(word, "continue") != 0)
		refuse("on_failure", psprintf("It is \"%s\".", word), "Use fail or continue.");
	run->on_failure = word;
	run->metadata = edge_jsonb_or_null(fcinfo, on_failure + 1, "metadata");
}

/* create_run(name, criteria, target, on_failure, metadata) -> bigint */
PG_FUNCTION_INFO_V1(ains_create_run);
Datum
ains_create_run(PG_FUNCTION_ARGS)
{
	Call		call;
	NewRun		run = {0};

	run_args(fcinfo, 0, 3, &run);
	run.criteria = edge_jsonb(fcinfo, 1, "criteria");
	run.target = edge_int32_or(fcinfo, 2, "target", 1, PG_INT32_MAX, 0);

	call_begin(&call);
	PG_RETURN_INT64(run_create(&call, &run));
}

static bool
key_is(const JsonbValue *key, const char *name)
{
	return key->val.string.len == strlen(name) &&
		memcmp(key->val.string.val, name, key->val.string.len) == 0;
}

/*
 * Enqueues step n of a chain, after the task of the one before (0: none). Its id.
 * Keys are arguments of ains.enqueue, name (its stage) and use_previous_output.
 */
static int64
enqueue_step(Datum step, int n, int64 run_id, int64 previous)
{
	LOCAL_FCINFO(enqueue, ENQUEUE_ARGS);
	Jsonb	   *object = DatumGetJsonbP(step);
	JsonbIterator *it;
	JsonbValue	key;
	JsonbValue	value;
	bool		takes_output = previous != 0;
	const char *what = psprintf("step %d", n);

	if (!JB_ROOT_IS_OBJECT(object))
		refuse(what, "It must be a JSON object.",
			   "Use the arguments of ains.enqueue as keys: {\"capability\": \"parse\"}.");
	edge_enqueue_begin(enqueue);
	enqueue->args[ENQUEUE_STAGE] = (NullableDatum) {
		CStringGetTextDatum(what), false};
	it = JsonbIteratorInit(&object->root);
	(void) JsonbIteratorNext(&it, &key, true);	/* the object itself */
	while (JsonbIteratorNext(&it, &key, true) == WJB_KEY)
	{
		(void) JsonbIteratorNext(&it, &value, true);
		if (key_is(&key, "depends_on") || key_is(&key, "run_id"))
			refuse(what, psprintf("\"%s\" is what the chain gives it.",
								  pnstrdup(key.val.string.val, key.val.string.len)),
				   "Leave it out.");
		if (key_is(&key, "use_previous_output"))
		{
			if (value.type != jbvBool)
				refuse(what, "use_previous_output must be true or false.",
					   "It is true if it is left out.");
			takes_output = takes_output && value.val.boolean;
		}
		else if (key_is(&key, "name"))
		{
			if (value.type != jbvString)
				refuse(what, "name must be a text.", "It is the stage of the step.");
			enqueue->args[ENQUEUE_STAGE].value =
				PointerGetDatum(cstring_to_text_with_len(value.val.string.val,
														 value.val.string.len));
		}
		else
			edge_enqueue_arg(enqueue, &key, &value, what);
	}
	enqueue->args[ENQUEUE_RUN_ID] = (NullableDatum) {Int64GetDatum(run_id), false};
	if (previous != 0)
		enqueue->args[ENQUEUE_DEPENDS_ON] = (NullableDatum) {edge_int64_array(&previous, 1), false};
	return edge_enqueue(enqueue, takes_output);
}

/* enqueue_chain(steps, name, run_id, on_failure, metadata) -> bigint */
PG_FUNCTION_INFO_V1(ains_enqueue_chain);
Datum
ains_enqueue_chain(PG_FUNCTION_ARGS)
{
	Call		call;
	NewRun		run = {0};
	int			count;
	Datum	   *steps = edge_jsonb_elements(fcinfo, 0, "steps", &count);
	int64		run_id;
	int64		task_id = 0;

	run_args(fcinfo, 1, 3, &run);
	run.criteria = DirectFunctionCall1(jsonb_in, CStringGetDatum("{}"));

	call_begin(&call);
	run_id = PG_ARGISNULL(2) ? run_create(&call, &run) : PG_GETARG_INT64(2);
	for (int i = 0; i < count; i++)
	{
		task_id = enqueue_step(steps[i], i + 1, run_id, task_id);
		CHECK_FOR_INTERRUPTS();
	}
	PG_RETURN_INT64(run_id);
}

/* run_progress(run_id) -> setof (stage, ...) */
PG_FUNCTION_INFO_V1(ains_run_progress);
Datum
ains_run_progress(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Call		call;
	int64		run_id = edge_id(fcinfo, 0, "run_id");

	call_begin_read(&call);
	InitMaterializedSRF(fcinfo, 0);
	run_progress(&call, run_id, result->setResult);
	return (Datum) 0;
}

/* cancel_run(run_id, reason) -> bigint */
PG_FUNCTION_INFO_V1(ains_cancel_run);
Datum
ains_cancel_run(PG_FUNCTION_ARGS)
{
	Call		call;
	int64		run_id = edge_id(fcinfo, 0, "run_id");
	char	   *reason = edge_text_or_null(fcinfo, 1, "reason");

	call_begin(&call);
	PG_RETURN_INT64(run_cancel(&call, run_id, reason));
}

/* retry_run(run_id) -> bigint */
PG_FUNCTION_INFO_V1(ains_retry_run);
Datum
ains_retry_run(PG_FUNCTION_ARGS)
{
	Call		call;
	int64		run_id = edge_id(fcinfo, 0, "run_id");

	call_begin(&call);
	PG_RETURN_INT64(run_retry(&call, run_id));
}

/* resolve_run(run_id, decision) -> text */
PG_FUNCTION_INFO_V1(ains_resolve_run);
Datum
ains_resolve_run(PG_FUNCTION_ARGS)
{
	Call		call;
	int64		run_id = edge_id(fcinfo, 0, "run_id");
	char	   *decision = edge_text(fcinfo, 1, "decision");

	if (strcmp(decision, "accept") != 0 && strcmp(decision, "continue") != 0 &&
		strcmp(decision, "cancel") != 0)
		refuse("decision", psprintf("It is \"%s\".", decision), "Use accept, continue or cancel.");
	call_begin(&call);
	PG_RETURN_TEXT_P(cstring_to_text(run_resolve(&call, run_id, decision)));
}
