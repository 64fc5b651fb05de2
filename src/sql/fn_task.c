/*
 * sql/fn_task.c
 *		SQL functions for producers of tasks.
 */
#include "ains.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/typcache.h"

#include "core/agent.h"
#include "core/dependency.h"
#include "core/explain.h"
#include "core/limit.h"
#include "core/task.h"
#include "errors.h"
#include "policy.h"
#include "sql/edge.h"
#include "store/report_store.h"

static OnConflict
on_conflict_arg(FunctionCallInfo fcinfo, int arg)
{
	char	   *name = edge_text(fcinfo, arg, "on_conflict");

	if (strcmp(name, "return") == 0)
		return CONFLICT_RETURN;
	if (strcmp(name, "refuse") == 0)
		return CONFLICT_REFUSE;
	if (strcmp(name, "replace") == 0)
		return CONFLICT_REPLACE;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid on_conflict"),
			 errdetail("It is \"%s\".", name),
			 errhint("Use return, refuse or replace.")));
}

/* What enqueue and enqueue_batch have in common, from argument 2 on. */
static void
common_args(FunctionCallInfo fcinfo, NewTask *task)
{
	task->capability = edge_name(fcinfo, 0, "capability");
	task->priority = edge_int32(fcinfo, 2, "priority", AINS_MIN_PRIORITY, AINS_MAX_PRIORITY);
	task->run_at = edge_time_or_null(fcinfo, 3, "run_at");
	task->max_attempts = edge_int32_or(fcinfo, 4, "max_attempts", 1, AINS_MAX_ATTEMPTS, 0);
	task->timeout = edge_length_or(fcinfo, 5, "timeout", 1000, -1);
	task->expires_at = edge_time_or_null(fcinfo, 6, "expires_at");
	if (task->run_at != 0 && task->expires_at != 0 && task->expires_at <= task->run_at)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid expires_at"),
				 errdetail("It is not after run_at, so the task could never start."),
				 errhint("Give a later expires_at or an earlier run_at.")));
}

static int
compare_ids(const void *a, const void *b)
{
	int64		x = *(const int64 *) a;
	int64		y = *(const int64 *) b;

	return (x > y) - (x < y);
}

/* The tasks a new one depends on, ascending and each once. */
static void
depends_on_arg(FunctionCallInfo fcinfo, int arg, NewTask *task)
{
	int			given;
	int			count = 0;
	int64	   *ids = edge_ids(fcinfo, arg, "depends_on", &given);

	if (given > AINS_MAX_DEPENDENCIES)
		ereport(ERROR,
				(errcode(AINS_LIMIT_EXCEEDED),
				 errmsg("depends_on is too long"),
				 errdetail("It has %d elements; %d are allowed.", given, AINS_MAX_DEPENDENCIES),
				 errhint("Let a task in between depend on some of them.")));
	if (given > 0)
		qsort(ids, given, sizeof(int64), compare_ids);
	for (int i = 0; i < given; i++)
		if (count == 0 || ids[i] != ids[count - 1])
			ids[count++] = ids[i];
	task->depends_on = ids;
	task->depends_on_count = count;
}

/* The run that tasks join, and their stage in it. */
static void
run_args(FunctionCallInfo fcinfo, int run_id, int stage, NewTask *task)
{
	if (!PG_ARGISNULL(run_id))
		task->run_id = PG_GETARG_INT64(run_id);
	if (PG_ARGISNULL(stage))
		return;
	task->stage = edge_name(fcinfo, stage, "stage");
	if (task->run_id == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid stage"),
				 errdetail("A stage is one of a run, and there is no run_id."),
				 errhint("Give the run_id that ains.create_run returned.")));
}

int64
edge_enqueue(FunctionCallInfo fcinfo, bool takes_output)
{
	Call		call;
	NewTask		task = {0};
	OnConflict	on_conflict;

	common_args(fcinfo, &task);
	task.payload = edge_jsonb(fcinfo, 1, "payload");
	task.unique_key = edge_key_or_null(fcinfo, 7, "unique_key");
	depends_on_arg(fcinfo, 8, &task);
	run_args(fcinfo, ENQUEUE_RUN_ID, ENQUEUE_STAGE, &task);
	task.min_trust = edge_trust_or_null(fcinfo, 10, "min_trust");
	if (!PG_ARGISNULL(11))
		task.agent_id = edge_name(fcinfo, 11, "agent_id");
	task.metadata = edge_jsonb_or_null(fcinfo, 12, "metadata");
	on_conflict = on_conflict_arg(fcinfo, 13);
	task.concurrency_key = edge_key_or_null(fcinfo, 14, "concurrency_key");

	task.takes_output = takes_output;

	call_begin(&call);
	limit_enqueue(&call, 1);
	return task_enqueue(&call, &task, on_conflict);
}

/* enqueue(capability, payload, priority, run_at, max_attempts, timeout, expires_at,
 * unique_key, depends_on, run_id, min_trust, agent_id, metadata, on_conflict,
 * concurrency_key, stage) -> bigint */
PG_FUNCTION_INFO_V1(ains_enqueue);
Datum
ains_enqueue(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(edge_enqueue(fcinfo, false));
}

static void
require_count(int count, int wanted, const char *what)
{
	if (count != wanted)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid %s", what),
				 errdetail("It has %d elements, but there are %d tasks.", count, wanted),
				 errhint("Give one for each task, or none at all.")));
}

/* enqueue_batch(capability, payloads, priority, run_at, max_attempts, timeout, expires_at,
 * run_id, priorities, unique_keys, stage) -> setof bigint */
PG_FUNCTION_INFO_V1(ains_enqueue_batch);
Datum
ains_enqueue_batch(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Call		call;
	NewTask		common = {0};
	Datum		payloads;
	Datum	   *elements;
	int			count;
	int			given;
	int32	   *priorities;
	char	  **unique_keys;
	int64	   *task_ids;

	common_args(fcinfo, &common);
	elements = edge_jsonb_elements(fcinfo, 1, "payloads", &count);
	payloads = edge_jsonb_array(elements, count);
	run_args(fcinfo, 7, 10, &common);
	priorities = edge_int32s(fcinfo, 8, "priorities", AINS_MIN_PRIORITY, AINS_MAX_PRIORITY, &given);
	if (priorities != NULL)
		require_count(given, count, "priorities");
	unique_keys = edge_keys(fcinfo, 9, "unique_keys", &given);
	if (unique_keys != NULL)
		require_count(given, count, "unique_keys");

	call_begin(&call);
	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	task_ids = task_enqueue_batch(&call, &common, payloads, priorities, unique_keys, count);
	for (int i = 0; i < count; i++)
		edge_put_int64(result->setResult, result->setDesc, task_ids[i]);
	return (Datum) 0;
}

/* cancel(task_id, reason) -> ains.task_status */
PG_FUNCTION_INFO_V1(ains_cancel);
Datum
ains_cancel(PG_FUNCTION_ARGS)
{
	Call		call;
	int64		task_id = edge_id(fcinfo, 0, "task_id");
	char	   *reason = edge_text_or_null(fcinfo, 1, "reason");

	call_begin(&call);
	PG_RETURN_DATUM(edge_enum(get_fn_expr_rettype(fcinfo->flinfo),
							  task_status_name(task_cancel(&call, task_id, reason))));
}

/* retry(task_id) -> bigint */
PG_FUNCTION_INFO_V1(ains_retry);
Datum
ains_retry(PG_FUNCTION_ARGS)
{
	Call		call;
	int64		task_id = edge_id(fcinfo, 0, "task_id");

	call_begin(&call);
	task_retry(&call, task_id);
	PG_RETURN_INT64(task_id);
}

/* redrive(capability, older_than, max) -> bigint */
PG_FUNCTION_INFO_V1(ains_redrive);
Datum
ains_redrive(PG_FUNCTION_ARGS)
{
	Call		call;
	char	   *capability = PG_ARGISNULL(0) ? NULL : edge_name(fcinfo, 0, "capability");
	int64		older_than = edge_length_or(fcinfo, 1, "older_than", 0, -1);
	int32		max = edge_int32(fcinfo, 2, "max", 1, AINS_MAX_BATCH);

	call_begin(&call);
	PG_RETURN_INT64(task_redrive(&call, capability, older_than, max));
}

/* set_priority(task_id, priority) */
PG_FUNCTION_INFO_V1(ains_set_priority);
Datum
ains_set_priority(PG_FUNCTION_ARGS)
{
	Call		call;
	int64		task_id = edge_id(fcinfo, 0, "task_id");
	int32		priority = edge_int32(fcinfo, 1, "priority", AINS_MIN_PRIORITY, AINS_MAX_PRIORITY);

	call_begin(&call);
	task_set_priority(&call, task_id, priority);
	PG_RETURN_VOID();
}

/* A composite value with one of its attributes made NULL. */
static Datum
without(Datum row, const char *attribute)
{
	HeapTupleHeader header = DatumGetHeapTupleHeader(row);
	TupleDesc	desc = lookup_rowtype_tupdesc_copy(HeapTupleHeaderGetTypeId(header),
												   HeapTupleHeaderGetTypMod(header));
	HeapTupleData tuple = {.t_len = HeapTupleHeaderGetDatumLength(header), .t_data = header};
	Datum	   *values = palloc0(desc->natts * sizeof(Datum));
	bool	   *nulls = palloc0(desc->natts * sizeof(bool));
	bool	   *replace = palloc0(desc->natts * sizeof(bool));

	for (int i = 0; i < desc->natts; i++)
		if (strcmp(NameStr(TupleDescAttr(desc, i)->attname), attribute) == 0)
			nulls[i] = replace[i] = true;
	return HeapTupleGetDatum(heap_modify_tuple(&tuple, desc, values, nulls, replace));
}

/* get_task(task_id) -> ains.task_info; the lease token only for the agent's owner */
PG_FUNCTION_INFO_V1(ains_get_task);
Datum
ains_get_task(PG_FUNCTION_ARGS)
{
	Call		call;
	int64		task_id = edge_id(fcinfo, 0, "task_id");
	TaskReport	report;
	AgentView	agent;

	call_begin_read(&call);
	if (!report_store_task(task_id, &report))
		task_refuse_unknown(task_id);
	task_require_visible(&call, task_id, report.enqueued_by,
						 report.status == TASK_ACTIVE ? report.agent_id : NULL);
	if (report.agent_id != NULL && agent_find(&call, report.agent_id, &agent) &&
		call_is_member(&call, agent.facts.owner))
		PG_RETURN_DATUM(report.row);
	PG_RETURN_DATUM(without(report.row, "lease_token"));
}

/* explain_task(task_id) -> setof (reason, detail) */
PG_FUNCTION_INFO_V1(ains_explain_task);
Datum
ains_explain_task(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Call		call;
	int64		task_id = edge_id(fcinfo, 0, "task_id");
	ListCell   *lc;

	call_begin_read(&call);
	InitMaterializedSRF(fcinfo, 0);
	foreach(lc, explain_task(&call, task_id))
	{
		Reason	   *reason = lfirst(lc);
		Datum		values[2] = {CStringGetTextDatum(reason->reason),
		CStringGetTextDatum(reason->detail)};
		bool		nulls[2] = {false, false};

		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return (Datum) 0;
}

/* The rows of dependencies() and dependents(). */
static Datum
edges_of(FunctionCallInfo fcinfo, void (*list) (Call *, int64, Tuplestorestate *))
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Call		call;
	int64		task_id = edge_id(fcinfo, 0, "task_id");

	call_begin_read(&call);
	InitMaterializedSRF(fcinfo, 0);
	list(&call, task_id, result->setResult);
	return (Datum) 0;
}

/* dependencies(task_id) -> setof (depends_on, status) */
PG_FUNCTION_INFO_V1(ains_dependencies);
Datum
ains_dependencies(PG_FUNCTION_ARGS)
{
	return edges_of(fcinfo, dependency_list);
}

/* dependents(task_id) -> setof (dependent, status) */
PG_FUNCTION_INFO_V1(ains_dependents);
Datum
ains_dependents(PG_FUNCTION_ARGS)
{
	return edges_of(fcinfo, dependency_list_waiting);
}
