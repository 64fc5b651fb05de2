/*
 * sql/fn_wait.c
 *		The procedures that sleep until something happens.
 *
 * A waiting backend commits first, so it holds no snapshot, no xid and no
 * lock while it sleeps on its latch: it stops no vacuum and no DDL, however
 * long it waits. It registers as a waiter before it looks, so that a commit
 * after the look wakes it.
 */
#include "ains.h"

/*
 * The GSS headers need not be installed; Port has the same layout without
 * them, and only its socket is read.
 */
#include "pg_config.h"
#undef ENABLE_GSS

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "compat.h"
#include "funcapi.h"
#include "libpq/libpq-be.h"
#include "nodes/parsenodes.h"
#include "storage/latch.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/timeout.h"

#include "clock.h"
#include "core/agent.h"
#include "core/lease.h"
#include "core/task.h"
#include "policy.h"
#include "query.h"
#include "soft/ready.h"
#include "soft/roster.h"
#include "soft/waiters.h"
#include "sql/edge.h"
#include "store/history_store.h"

/*
 * A sleeper opens its eyes this often, or more often if its agent may not be
 * silent for so long: to beat, and to glance at shared memory
 * in case that who was woken for a task did not claim it.
 */
#define GLANCE_MS		1000
/* It returns so long before statement_timeout would strike. */
#define TIMEOUT_MARGIN_MS	100

static void
require_outside_transaction(FunctionCallInfo fcinfo, const char *what)
{
	if (fcinfo->context == NULL || !IsA(fcinfo->context, CallContext) ||
		castNode(CallContext, fcinfo->context)->atomic)
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("%s cannot run inside a transaction block", what),
				 errdetail("It would hold the transaction open while it sleeps."),
				 errhint("Call it in autocommit mode.")));
	call_require_read_committed(what);
}

/* Until when a wait may last, by the monotonic clock. */
static int64
wait_deadline(const AinsTime *now, int64 timeout)
{
	if (get_timeout_active(STATEMENT_TIMEOUT))
		timeout = Min(timeout, Max(clock_until(get_timeout_finish_time(STATEMENT_TIMEOUT)) -
								   TIMEOUT_MARGIN_MS * INT64CONST(1000), 0));
	return now->mono + timeout;
}

/* What a backend waits for. */
typedef struct Wait
{
	DbState    *db;
	const char *agent_id;		/* kept alive meanwhile; NULL: none */
	int32	   *lanes;			/* where tasks would come from */
	int			lane_count;
	int64		glance_ms;
} Wait;

/*
 * Sleeps until somebody wakes this waiter, there may be something in a lane,
 * or `until` is reached. An interrupt or a client that went away ends it with
 * an error.
 */
static void
sleep_until(const Wait *wait, int64 until)
{
	static uint32 wait_event = 0;
	AinsTime	now = clock_read();

	while (now.mono < until && !waiter_woken())
	{
		int			events = WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH;
		pgsocket	sock = PGINVALID_SOCKET;
		AgentView	view;
		int			happened;

		if (MyProcPort != NULL && WaitEventSetCanReportClosed())
		{
			sock = MyProcPort->sock;
			events |= WL_SOCKET_CLOSED;
		}
		happened = WaitLatchOrSocket(MyLatch, events, sock,
									 Min(wait->glance_ms, (until - now.mono) / 1000 + 1),
									 compat_wait_event("AinsWait", &wait_event));
		if (happened & WL_SOCKET_CLOSED)
		{
			ClientConnectionLost = 1;
			InterruptPending = true;
		}
		if (happened & WL_LATCH_SET)
			ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		now = clock_read();
		if (wait->agent_id != NULL)
			(void) roster_beat(wait->db, wait->agent_id, &now, &view);
		if ((happened & WL_TIMEOUT) &&
			ready_may_have(wait->db, wait->lanes, wait->lane_count))
			break;
	}
}

/* One look for a claimable task, after registering as a waiter for it. */
static bool
look_for_task(Call *call, Wait *wait, char **capabilities, int count)
{
	AgentView	agent;
	AgentView	after_beat;
	ClaimLane  *lanes;

	call_begin(call);
	wait->db = call->db;
	agent_require(call, wait->agent_id, 0, &agent);
	agent_require_accepting(&agent);
	(void) roster_beat(call->db, wait->agent_id, &call->now, &after_beat);
	wait->glance_ms = Min(GLANCE_MS, roster_timeout(&agent.facts) / 3000);
	lanes = agent_claim_lanes(call, &agent, capabilities, count, -1, &wait->lane_count);
	wait->lanes = agent_lane_ids(lanes, wait->lane_count);
	waiter_for_lanes(call->db, wait->agent_id, wait->lanes, wait->lane_count);
	return lease_claimable(call, wait->lanes, wait->lane_count);
}

static Datum
result_row(FunctionCallInfo fcinfo, Datum *values, bool *nulls)
{
	TupleDesc	desc;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls));
}

/* wait_for_task(agent_id, timeout, INOUT ready, capabilities) */
PG_FUNCTION_INFO_V1(ains_wait_for_task);
Datum
ains_wait_for_task(PG_FUNCTION_ARGS)
{
	Call		call;
	Wait		wait = {.agent_id = edge_name(fcinfo, 0, "agent_id")};
	int64		timeout = edge_length_or(fcinfo, 1, "timeout", 0, 30 * USECS_PER_SEC);
	int			count;
	char	  **capabilities = edge_names(fcinfo, 3, "capabilities", &count);
	int64		deadline = 0;
	volatile bool ready = false;
	Datum		value;
	bool		isnull = false;

	require_outside_transaction(fcinfo, "wait_for_task");
	query_procedure_begin();
	PG_TRY();
	{
		while (!(ready = look_for_task(&call, &wait, capabilities, count)))
		{
			if (deadline == 0)
				deadline = wait_deadline(&call.now, timeout);
			if (call.now.mono >= deadline)
				break;
			query_procedure_commit();
			sleep_until(&wait, deadline);
		}
	}
	PG_FINALLY();
	{
		waiter_end();
	}
	PG_END_TRY();
	query_procedure_end();

	value = BoolGetDatum(ready);
	return result_row(fcinfo, &value, &isnull);
}

/* One look at a task that shall finish; true if it has. */
static bool
look_for_result(Call *call, int64 task_id, TaskStatus *status, Datum *result, bool *isnull)
{
	TaskRow		task;
	HistoryRow	past;

	call_begin(call);
	waiter_for_task(call->db, task_id);
	*isnull = true;
	if (task_store_find(task_id, &task))
	{
		task_require_visible(call, task_id, task.enqueued_by,
							 task.status == TASK_ACTIVE ? task.agent_id : NULL);
		*status = task.status;
		return false;
	}
	if (!history_store_find(task_id, &past))
		task_refuse_unknown(task_id);
	task_require_visible(call, task_id, past.enqueued_by, NULL);
	return history_store_result(task_id, status, result, isnull);
}

/* wait_for_result(task_id, timeout, INOUT status, INOUT result) */
PG_FUNCTION_INFO_V1(ains_wait_for_result);
Datum
ains_wait_for_result(PG_FUNCTION_ARGS)
{
	Call		call;
	Wait		wait = {.glance_ms = GLANCE_MS};
	int64		task_id = edge_id(fcinfo, 0, "task_id");
	int64		timeout = edge_length_or(fcinfo, 1, "timeout", 0, 30 * USECS_PER_SEC);
	MemoryContext outer = CurrentMemoryContext;
	TaskStatus	status = TASK_PENDING;
	Datum		result = 0;
	bool		isnull = true;
	int64		deadline = 0;
	TupleDesc	desc;
	Datum		values[2] = {0};
	bool		nulls[2] = {0};

	require_outside_transaction(fcinfo, "wait_for_result");
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	query_procedure_begin();
	PG_TRY();
	{
		while (!look_for_result(&call, task_id, &status, &result, &isnull))
		{
			if (deadline == 0)
				deadline = wait_deadline(&call.now, timeout);
			if (call.now.mono >= deadline)
				break;
			query_procedure_commit();
			sleep_until(&wait, deadline);
		}
		/* still in this transaction: a stored result may be out of line */
		if (!isnull)
		{
			MemoryContext old = MemoryContextSwitchTo(outer);

			result = PointerGetDatum(PG_DETOAST_DATUM_COPY(result));
			MemoryContextSwitchTo(old);
		}
	}
	PG_FINALLY();
	{
		waiter_end();
	}
	PG_END_TRY();
	query_procedure_end();

	values[0] = edge_enum(TupleDescAttr(desc, 0)->atttypid, task_status_name(status));
	values[1] = result;
	nulls[1] = isnull;
	return result_row(fcinfo, values, nulls);
}
