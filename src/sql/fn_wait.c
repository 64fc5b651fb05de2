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
 * The GSS headers need not be installed; nothing here looks into a Port.
 */
#include "pg_config.h"
#undef ENABLE_GSS

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "compat.h"
#include "funcapi.h"
#include "libpq/libpq.h"
#include "nodes/parsenodes.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/timeout.h"

#include "clock.h"
#include "core/agent.h"
#include "core/claim.h"
#include "core/limit.h"
#include "core/task.h"
#include "policy.h"
#include "query.h"
#include "soft/limits.h"
#include "soft/ready.h"
#include "soft/roster.h"
#include "soft/waiters.h"
#include "sql/edge.h"
#include "store/history_store.h"

/*
 * A sleeper opens its eyes this often, or more often if its agent may not be
 * silent for so long: to beat, and to glance at shared memory. Tasks that were
 * not claimed by who was woken for them are the sweeper's to see (wake_more);
 * this is for when there is none, and for more lanes than a waiter can name.
 */
#define GLANCE			(10 * USECS_PER_SEC)
#define GLANCE_MANY		USECS_PER_SEC
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
	ClaimLane  *lanes;			/* where tasks would come from */
	int			lane_count;
	int64		glance;			/* how often to beat and to glance there; 0: never */
} Wait;

/* How a sleep ended. */
typedef enum Awake
{
	AWAKE_GO,					/* there is a task to be claimed */
	AWAKE_LOOK,					/* only the tables can tell */
	AWAKE_LATE					/* the time is over */
} Awake;

/* The agent that waits is alive. */
static void
beat(const Wait *wait)
{
	AinsTime	now;
	AgentView	view;

	/* no db: the call was refused, and there may be no shared memory at all */
	if (wait->db == NULL || wait->agent_id == NULL)
		return;
	now = clock_read();
	(void) roster_beat(wait->db, wait->agent_id, &now, &view);
}

/*
 * Waits for the latch, for so many microseconds at most. An interrupt or a
 * client that went away ends it with an error. The session's own set of events
 * is used, as libpq does to see whether the client is there: to make another
 * one would take longer than everything else here.
 */
static void
wait_for_latch(int64 length)
{
	static uint32 wait_event = 0;
	uint32		info = compat_wait_event("AinsWait", &wait_event);
	long		ms = length / 1000 + 1;

	if (FeBeWaitSet == NULL || !WaitEventSetCanReportClosed())
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, ms, info);
	else
	{
		WaitEvent	events[3];
		int			count;

		/* libpq sets it again before each of its own waits */
		ModifyWaitEvent(FeBeWaitSet, FeBeWaitSetSocketPos, WL_SOCKET_CLOSED, NULL);
		count = WaitEventSetWait(FeBeWaitSet, ms, events, lengthof(events), info);
		for (int i = 0; i < count; i++)
		{
			if (events[i].events & WL_POSTMASTER_DEATH)
				proc_exit(1);
			if (events[i].events & WL_SOCKET_CLOSED)
			{
				ClientConnectionLost = 1;
				InterruptPending = true;
			}
		}
	}
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
}

/* What shared memory knows of the lanes whose limits leave room. */
static ReadyGlance
glance(const Wait *wait)
{
	int			count = wait->lane_count;
	int32	   *open = limits_open_lanes(wait->db, wait->lanes, &count, clock_read().mono);
	ReadyGlance seen = ready_glance(wait->db, open, count);

	pfree(open);
	return seen;
}

/*
 * Sleeps until there is something to claim in the lanes, or to look at, or
 * `until` is reached. Touches no table: who is woken for a task glances at the
 * ready set, and goes for what stands at its head. Should that key prove to be
 * of no use, the claim drops it, and the next wait begins with a look.
 */
static Awake
sleep_until(const Wait *wait, int64 until)
{
	int64		now = clock_read().mono;
	int64		glance_at = wait->glance > 0 ? now + wait->glance : PG_INT64_MAX;

	for (;;)
	{
		uint32		woken = waiter_woken();

		if (woken & WOKEN_LOOK)
			return AWAKE_LOOK;
		if ((woken & WOKEN_GO) || now >= glance_at)
		{
			ReadyGlance seen = glance(wait);

			if (seen == READY_NOTHING && (woken & WOKEN_GO))
			{
				/* somebody was faster; but who came since, did not wake us */
				waiter_sleeps_on();
				seen = glance(wait);
			}
			if (seen != READY_NOTHING)
			{
				waiter_goes();
				return seen == READY_KEY ? AWAKE_GO : AWAKE_LOOK;
			}
		}
		if (now >= until)
			return AWAKE_LATE;
		if (now >= glance_at)
		{
			beat(wait);
			glance_at = now + wait->glance;
		}
		wait_for_latch(Min(until, glance_at) - now);
		now = clock_read().mono;
	}
}

/* One look for a claimable task, after registering as a waiter for it. */
static bool
look_for_task(Call *call, Wait *wait, char **capabilities, int count)
{
	AgentView	agent;
	AgentView	after_beat;
	int32	   *lane_ids;
	ClaimLane  *open;

	call_begin(call);
	wait->db = call->db;
	agent_require(call, wait->agent_id, 0, &agent);
	agent_require_accepting(&agent);
	(void) roster_beat(call->db, wait->agent_id, &call->now, &after_beat);
	wait->lanes = agent_claim_lanes(call, &agent, capabilities, count, -1, &wait->lane_count);
	lane_ids = agent_lane_ids(wait->lanes, wait->lane_count);
	wait->glance = Min(wait->lane_count > WAITER_MAX_LANES ? GLANCE_MANY : GLANCE,
					   Max(roster_timeout(&agent.facts) / 3, 1));
	if (agent_room(call, &agent, 1) <= 0)
	{
		/* nothing to claim concerns it until it has given something back */
		wait->lane_count = 0;
		waiter_for_lanes(call->db, wait->agent_id, lane_ids, 0);
		return agent_find(call, wait->agent_id, &agent) && agent_room(call, &agent, 1) > 0;
	}
	waiter_for_lanes(call->db, wait->agent_id, lane_ids, wait->lane_count);
	count = wait->lane_count;
	open = palloc((count + 1) * sizeof(ClaimLane));
	memcpy(open, wait->lanes, count * sizeof(ClaimLane));
	count = limit_open_lanes(call, open, count);
	return claim_possible(call, agent_lane_ids(open, count), count);
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
	TupleDesc	desc;
	int64		deadline;
	volatile bool ready = false;
	Awake		awake;
	Datum		value;
	bool		isnull = false;

	require_outside_transaction(fcinfo, "wait_for_task");
	desc = edge_row_type(fcinfo);
	query_procedure_begin();
	PG_TRY();
	{
		ready = look_for_task(&call, &wait, capabilities, count);
		deadline = wait_deadline(&call.now, timeout);
		awake = call.now.mono < deadline ? AWAKE_LOOK : AWAKE_LATE;
		while (!ready && awake == AWAKE_LOOK)
		{
			query_procedure_commit();
			awake = sleep_until(&wait, deadline);
			ready = awake == AWAKE_GO ||
				(awake == AWAKE_LOOK && look_for_task(&call, &wait, capabilities, count));
		}
	}
	PG_FINALLY();
	{
		beat(&wait);
		waiter_end();
	}
	PG_END_TRY();
	query_procedure_end();

	value = BoolGetDatum(ready);
	return HeapTupleGetDatum(heap_form_tuple(desc, &value, &isnull));
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
	Wait		wait = {0};
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
	desc = edge_row_type(fcinfo);
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
			(void) sleep_until(&wait, deadline);
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
	return HeapTupleGetDatum(heap_form_tuple(desc, values, nulls));
}
