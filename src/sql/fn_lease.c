/*
 * sql/fn_lease.c
 *		SQL functions for agents that work on tasks.
 */
#include "ains.h"

#include <math.h>

#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "core/claim.h"
#include "core/lease.h"
#include "policy.h"
#include "sql/edge.h"

/* claim(agent_id, max_tasks, lease, capabilities, incarnation) -> setof tasks */
PG_FUNCTION_INFO_V1(ains_claim);
Datum
ains_claim(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Call		call;
	ClaimRequest request = {0};
	ClaimedTask *tasks;
	int			count;

	request.agent_id = edge_name(fcinfo, 0, "agent_id");
	request.max_tasks = edge_int32(fcinfo, 1, "max_tasks", 1, AINS_MAX_CLAIM);
	request.lease = edge_length_or(fcinfo, 2, "lease", 1000, -1);
	request.capabilities = edge_names(fcinfo, 3, "capabilities", &request.capability_count);
	request.incarnation = PG_ARGISNULL(4) ? 0 : PG_GETARG_INT64(4);

	call_begin(&call);
	/* the caller knows the row type already: a sixth of a claim to look it up again */
	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	tasks = claim_tasks(&call, &request, &count);
	for (int i = 0; i < count; i++)
	{
		ClaimedTask *task = &tasks[i];
		Datum		values[12] = {0};
		bool		nulls[12] = {0};

		values[0] = Int64GetDatum(task->task_id);
		values[1] = Int64GetDatum(task->lease_token);
		values[2] = task->capability;
		values[3] = task->payload;
		values[4] = Int32GetDatum(task->priority);
		values[5] = Int32GetDatum(task->attempt);
		values[6] = Int32GetDatum(task->max_attempts);
		values[7] = TimestampTzGetDatum(task->lease_expires_at);
		values[8] = Int64GetDatum(task->run_id);
		nulls[8] = task->run_id == 0;
		values[9] = task->checkpoint;
		nulls[9] = task->checkpoint == 0;
		values[10] = TimestampTzGetDatum(task->deadline);
		nulls[10] = task->deadline == 0;
		values[11] = task->metadata;
		nulls[11] = task->metadata == 0;
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return (Datum) 0;
}

/* extend_lease(task_id, lease_token, lease) -> timestamptz */
PG_FUNCTION_INFO_V1(ains_extend_lease);
Datum
ains_extend_lease(PG_FUNCTION_ARGS)
{
	Call		call;
	int64		task_id = edge_id(fcinfo, 0, "task_id");
	int64		token = edge_id(fcinfo, 1, "lease_token");
	int64		lease = edge_length_or(fcinfo, 2, "lease", 1000, -1);

	call_begin(&call);
	PG_RETURN_TIMESTAMPTZ(lease_extend(&call, task_id, token, lease));
}

/* checkpoint(task_id, lease_token, state, progress) -> timestamptz */
PG_FUNCTION_INFO_V1(ains_checkpoint);
Datum
ains_checkpoint(PG_FUNCTION_ARGS)
{
	Call		call;
	int64		task_id = edge_id(fcinfo, 0, "task_id");
	int64		token = edge_id(fcinfo, 1, "lease_token");
	Datum		state = edge_jsonb_or_null(fcinfo, 2, "state");
	float8		progress = NAN;

	if (!PG_ARGISNULL(3))
	{
		progress = PG_GETARG_FLOAT8(3);
		if (isnan(progress) || progress < 0 || progress > 1)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("invalid progress"),
					 errdetail("It must be between 0 and 1."),
					 errhint("It is the part that is done.")));
	}
	call_begin(&call);
	PG_RETURN_TIMESTAMPTZ(lease_checkpoint(&call, task_id, token, state, (float4) progress));
}

/* complete(task_id, lease_token, result, usage) */
PG_FUNCTION_INFO_V1(ains_complete);
Datum
ains_complete(PG_FUNCTION_ARGS)
{
	Call		call;
	int64		task_id = edge_id(fcinfo, 0, "task_id");
	int64		token = edge_id(fcinfo, 1, "lease_token");
	Datum		task_result = edge_jsonb_or_null(fcinfo, 2, "result");
	Datum		usage = edge_jsonb_or_null(fcinfo, 3, "usage");

	call_begin(&call);
	lease_complete(&call, task_id, token, task_result, usage);
	PG_RETURN_VOID();
}

/* complete_batch(task_ids, lease_tokens, results) -> setof bigint */
PG_FUNCTION_INFO_V1(ains_complete_batch);
Datum
ains_complete_batch(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Call		call;
	int			count;
	int			token_count;
	int64	   *task_ids = edge_ids(fcinfo, 0, "task_ids", &count);
	int64	   *tokens = edge_ids(fcinfo, 1, "lease_tokens", &token_count);
	Datum	   *results = NULL;
	int64	   *done;
	int			done_count;

	if (task_ids == NULL || tokens == NULL || count != token_count ||
		count < 1 || count > AINS_MAX_BATCH)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid task_ids and lease_tokens"),
				 errdetail("They have %d and %d elements; both need the same number, 1 to %d.",
						   count, token_count, AINS_MAX_BATCH),
				 errhint("Give the token of each task at its place.")));
	if (!PG_ARGISNULL(2))
	{
		int			result_count;

		results = edge_jsonb_elements(fcinfo, 2, "results", &result_count);
		if (result_count != count)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("invalid results"),
					 errdetail("It has %d elements, but there are %d tasks.",
							   result_count, count),
					 errhint("Give one for each task, or none at all.")));
	}

	call_begin(&call);
	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	done = lease_complete_batch(&call, task_ids, tokens, PG_GETARG_DATUM(0), PG_GETARG_DATUM(1),
								results, count, &done_count);
	for (int i = 0; i < done_count; i++)
		edge_put_int64(result->setResult, result->setDesc, done[i]);
	return (Datum) 0;
}

/* fail(task_id, lease_token, error, retryable, retry_after) -> ains.task_status */
PG_FUNCTION_INFO_V1(ains_fail);
Datum
ains_fail(PG_FUNCTION_ARGS)
{
	Call		call;
	int64		task_id = edge_id(fcinfo, 0, "task_id");
	int64		token = edge_id(fcinfo, 1, "lease_token");
	char	   *error = edge_text(fcinfo, 2, "error");
	Retryable	retryable = RETRYABLE_BY_PATTERN;
	int64		retry_after = edge_length_or(fcinfo, 4, "retry_after", 0, -1);
	TaskStatus	status;

	if (!PG_ARGISNULL(3))
		retryable = PG_GETARG_BOOL(3) ? RETRYABLE_YES : RETRYABLE_NO;
	call_begin(&call);
	status = lease_fail(&call, task_id, token, error, retryable, retry_after);
	PG_RETURN_DATUM(edge_enum(get_fn_expr_rettype(fcinfo->flinfo), task_status_name(status)));
}

/* release(task_id, lease_token, delay) */
PG_FUNCTION_INFO_V1(ains_release);
Datum
ains_release(PG_FUNCTION_ARGS)
{
	Call		call;
	int64		task_id = edge_id(fcinfo, 0, "task_id");
	int64		token = edge_id(fcinfo, 1, "lease_token");
	int64		delay = edge_length_or(fcinfo, 2, "delay", 0, 0);

	call_begin(&call);
	lease_release(&call, task_id, token, delay);
	PG_RETURN_VOID();
}
