/*
 * sql/fn_admin.c
 *		SQL functions for policy and operation, and those of ains_internal.
 */
#include "ains.h"

#include "access/htup_details.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "clock.h"
#include "core/audit.h"
#include "core/capability.h"
#include "core/limit.h"
#include "core/stats.h"
#include "core/sweep.h"
#include "core/trust.h"
#include "guc.h"
#include "policy.h"
#include "soft/counters.h"
#include "soft/effects.h"
#include "sql/edge.h"

/* A length argument: `change` points to `store` if it is given. 0 is "none". */
static const int64 *
length_change(FunctionCallInfo fcinfo, int arg, const char *what, bool can_be_none, int64 *store)
{
	if (PG_ARGISNULL(arg))
		return NULL;
	*store = edge_length_or(fcinfo, arg, what, 0, 0);
	if (can_be_none && *store == 0)
		*store = -1;
	return store;
}

static const int32 *
int32_change(FunctionCallInfo fcinfo, int arg, const char *what, int32 min, int32 max,
			 int32 *store)
{
	if (PG_ARGISNULL(arg))
		return NULL;
	*store = edge_int32(fcinfo, arg, what, min, max);
	return store;
}

/* configure_capability(capability, lease, max_attempts, backoff, backoff_base, backoff_max,
 * jitter, aging_interval, timeout, concurrency_limit, rate_limit, rate_period, min_trust,
 * on_lost, keep_history, key_limit) -> ains.capability */
PG_FUNCTION_INFO_V1(ains_configure_capability);
Datum
ains_configure_capability(PG_FUNCTION_ARGS)
{
	Call		call;
	CapabilityChange change = {0};
	char	   *name = edge_name(fcinfo, 0, "capability");
	int64		lease,
				base,
				max,
				aging,
				timeout,
				rate_period;
	int32		max_attempts,
				concurrency_limit,
				rate_limit,
				key_limit;
	float4		jitter;
	bool		keep_history;

	change.lease = length_change(fcinfo, 1, "lease", true, &lease);
	change.max_attempts = int32_change(fcinfo, 2, "max_attempts", 1, AINS_MAX_ATTEMPTS, &max_attempts);
	if (!PG_ARGISNULL(3))
	{
		BackoffKind kind;

		change.backoff = edge_text(fcinfo, 3, "backoff");
		if (!backoff_from_name(change.backoff, &kind))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("invalid backoff"),
					 errdetail("It is \"%s\".", change.backoff),
					 errhint("Use exponential, linear or fixed.")));
	}
	change.backoff_base = length_change(fcinfo, 4, "backoff_base", false, &base);
	change.backoff_max = length_change(fcinfo, 5, "backoff_max", false, &max);
	if (!PG_ARGISNULL(6))
	{
		jitter = PG_GETARG_FLOAT4(6);
		if (!(jitter >= 0 && jitter <= 1))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("invalid jitter"),
					 errdetail("It must be between 0 and 1."),
					 errhint("It is the part of a delay that may be taken off at random.")));
		change.jitter = &jitter;
	}
	change.aging_interval = length_change(fcinfo, 7, "aging_interval", false, &aging);
	change.timeout = length_change(fcinfo, 8, "timeout", true, &timeout);
	change.concurrency_limit = int32_change(fcinfo, 9, "concurrency_limit", 0, PG_INT32_MAX,
											&concurrency_limit);
	change.rate_limit = int32_change(fcinfo, 10, "rate_limit", 0, PG_INT32_MAX, &rate_limit);
	change.rate_period = length_change(fcinfo, 11, "rate_period", true, &rate_period);
	if (!PG_ARGISNULL(12))
		change.min_trust = edge_numeric(fcinfo, 12, "min_trust", 0, 1);
	if (!PG_ARGISNULL(13))
	{
		change.on_lost = edge_text(fcinfo, 13, "on_lost");
		if (strcmp(change.on_lost, "retry") != 0 && strcmp(change.on_lost, "fail") != 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("invalid on_lost"),
					 errdetail("It is \"%s\".", change.on_lost),
					 errhint("Use retry or fail.")));
	}
	if (!PG_ARGISNULL(14))
	{
		keep_history = PG_GETARG_BOOL(14);
		change.keep_history = &keep_history;
	}
	change.key_limit = int32_change(fcinfo, 15, "key_limit", 0, PG_INT32_MAX, &key_limit);

	call_begin(&call);
	PG_RETURN_DATUM(capability_configure(&call, name, &change));
}

/* pause(capability) */
PG_FUNCTION_INFO_V1(ains_pause);
Datum
ains_pause(PG_FUNCTION_ARGS)
{
	Call		call;
	char	   *name = edge_name(fcinfo, 0, "capability");

	call_begin(&call);
	capability_pause(&call, name, true);
	PG_RETURN_VOID();
}

/* resume(capability) */
PG_FUNCTION_INFO_V1(ains_resume);
Datum
ains_resume(PG_FUNCTION_ARGS)
{
	Call		call;
	char	   *name = edge_name(fcinfo, 0, "capability");

	call_begin(&call);
	capability_pause(&call, name, false);
	PG_RETURN_VOID();
}

/* set_quota(role, max_tasks, period) */
PG_FUNCTION_INFO_V1(ains_set_quota);
Datum
ains_set_quota(PG_FUNCTION_ARGS)
{
	Call		call;
	int32		max_tasks = edge_int32_or(fcinfo, 1, "max_tasks", 0, PG_INT32_MAX, -1);
	int64		period = edge_length_or(fcinfo, 2, "period", 1000, USECS_PER_MINUTE);
	Oid			role = PG_ARGISNULL(0) ? InvalidOid : PG_GETARG_OID(0);

	/* a number that is no role's can be cast to regrole, too */
	if (GetUserNameFromId(role, true) == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid role"),
				 errdetail("It must be a role that exists."),
				 errhint("Give its name: 'producer'.")));
	call_begin(&call);
	limit_set_quota(&call, role, max_tasks, period);
	PG_RETURN_VOID();
}

/* adjust_trust(agent_id, delta, reason) -> real */
PG_FUNCTION_INFO_V1(ains_adjust_trust);
Datum
ains_adjust_trust(PG_FUNCTION_ARGS)
{
	Call		call;
	char	   *agent_id = edge_name(fcinfo, 0, "agent_id");
	Datum		delta = edge_numeric(fcinfo, 1, "delta", -1, 1);
	char	   *reason = edge_text(fcinfo, 2, "reason");

	call_begin(&call);
	PG_RETURN_FLOAT4(trust_adjust(&call, agent_id, delta, reason));
}

/* sweep() -> one row */
PG_FUNCTION_INFO_V1(ains_sweep);
Datum
ains_sweep(PG_FUNCTION_ARGS)
{
	Call		call;
	SweepCounts counts = {0};
	TupleDesc	desc;
	Datum		values[7];
	bool		nulls[7] = {0};

	call_begin(&call);
	sweep_pass(&call, &counts);
	desc = edge_row_type(fcinfo);
	values[0] = Int64GetDatum(counts.leases_expired);
	values[1] = Int64GetDatum(counts.leases_of_dead_agents);
	values[2] = Int64GetDatum(counts.attempts_timed_out);
	values[3] = Int64GetDatum(counts.tasks_due);
	values[4] = Int64GetDatum(counts.tasks_expired);
	values[5] = Int64GetDatum(counts.agents_marked_dead);
	values[6] = Int64GetDatum(counts.partitions_dropped);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(desc, values, nulls)));
}

/* release_dead_agent_leases() -> bigint */
PG_FUNCTION_INFO_V1(ains_release_dead_agent_leases);
Datum
ains_release_dead_agent_leases(PG_FUNCTION_ARGS)
{
	Call		call;

	call_begin(&call);
	PG_RETURN_INT64(sweep_dead_agents(&call));
}

/* rescan(): forgets what shared memory believes of the tables */
PG_FUNCTION_INFO_V1(ains_rescan);
Datum
ains_rescan(PG_FUNCTION_ARGS)
{
	Call		call;

	call_begin(&call);
	db_set_shelves(call.db, NO_SHELF, NO_SHELF);
	ready_reset(call.db);
	audit_agents(&call, true);
	counters_doubt(call.db);
	db_set_trust_recovered(call.db, false);
	effect_policy_changed(call.db);
	effect_wake_at(call.db, PG_INT64_MIN);
	PG_RETURN_VOID();
}

/* queue_stats() -> set of rows */
PG_FUNCTION_INFO_V1(ains_queue_stats);
Datum
ains_queue_stats(PG_FUNCTION_ARGS)
{
	Call		call;
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;

	call_begin_read(&call);
	InitMaterializedSRF(fcinfo, 0);
	stats_queues(&call, result->setResult, result->setDesc);
	return (Datum) 0;
}

/* ains_internal.counters() -> set of rows */
PG_FUNCTION_INFO_V1(ains_counters);
Datum
ains_counters(PG_FUNCTION_ARGS)
{
	Call		call;
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;

	call_begin_read(&call);
	InitMaterializedSRF(fcinfo, 0);
	stats_counters(&call, result->setResult, result->setDesc);
	return (Datum) 0;
}

/* ains_internal.check_ready_set(): whether the ready set keeps its invariants */
PG_FUNCTION_INFO_V1(ains_check_ready_set);
Datum
ains_check_ready_set(PG_FUNCTION_ARGS)
{
	Call		call;

	call_begin_read(&call);
	PG_RETURN_BOOL(ready_is_valid(call.db));
}

/* ains_internal.ready_drift(): how many ready keys were lost and found again */
PG_FUNCTION_INFO_V1(ains_ready_drift);
Datum
ains_ready_drift(PG_FUNCTION_ARGS)
{
	Call		call;

	call_begin_read(&call);
	PG_RETURN_INT64(pg_atomic_read_u64(&call.db->ready_drift));
}

/* ains_internal.clock_now(): the time ains goes by, for its views */
PG_FUNCTION_INFO_V1(ains_clock_now);
Datum
ains_clock_now(PG_FUNCTION_ARGS)
{
	Call		call;

	call_begin_read(&call);
	PG_RETURN_TIMESTAMPTZ(call.now.wall);
}

/* ains_internal.extension_created(): the last word of the install script */
PG_FUNCTION_INFO_V1(ains_extension_created);
Datum
ains_extension_created(PG_FUNCTION_ARGS)
{
	/* not preloaded: the extension can be created all the same */
	if (shmem_ready())
		effect_extension_created(MyDatabaseId);
	PG_RETURN_VOID();
}

/*
 * The test clock, for the whole server.
 */
static int64
test_clock_arg(FunctionCallInfo fcinfo)
{
	Call		call;

	call_begin_read(&call);
	if (!ains_enable_test_clock)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the test clock is off"),
				 errdetail("The setting \"%s\" is off.", "ains.enable_test_clock"),
				 errhint("It is for tests: set \"%s\" and restart the server.",
						 "ains.enable_test_clock")));
	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid interval"),
				 errdetail("It must not be null."),
				 errhint("Say by how much to move the clock.")));
	return DatumGetIntervalP(PG_GETARG_DATUM(0))->time +
		(DatumGetIntervalP(PG_GETARG_DATUM(0))->day +
		 DatumGetIntervalP(PG_GETARG_DATUM(0))->month * INT64CONST(30)) * USECS_PER_DAY;
}

/* ains_internal.advance_clock(interval): time passes */
PG_FUNCTION_INFO_V1(ains_advance_clock);
Datum
ains_advance_clock(PG_FUNCTION_ARGS)
{
	int64		by = test_clock_arg(fcinfo);

	clock_advance(by, by);
	db_shift_plans(by, by);
	db_wake_all();
	PG_RETURN_VOID();
}

/* ains_internal.stall_clock(interval): time passes while the server is paused */
PG_FUNCTION_INFO_V1(ains_stall_clock);
Datum
ains_stall_clock(PG_FUNCTION_ARGS)
{
	int64		by = test_clock_arg(fcinfo);

	clock_advance(by, by);
	db_wake_all();
	PG_RETURN_VOID();
}

/* ains_internal.step_wall_clock(interval): somebody sets the wall clock */
PG_FUNCTION_INFO_V1(ains_step_wall_clock);
Datum
ains_step_wall_clock(PG_FUNCTION_ARGS)
{
	clock_advance(test_clock_arg(fcinfo), 0);
	db_wake_all();
	PG_RETURN_VOID();
}
