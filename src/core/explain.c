/*
 * core/explain.c
 *		Why a task is not running: every reason there is, the strongest first.
 */
#include "core/explain.h"

#include "lib/stringinfo.h"
#include "utils/timestamp.h"

#include "clock.h"
#include "core/agent.h"
#include "core/capability.h"
#include "core/task.h"
#include "policy.h"
#include "soft/limits.h"
#include "store/concurrency_key_store.h"
#include "store/dependency_store.h"
#include "store/history_store.h"
#include "store/report_store.h"

#define TASKS_NAMED	10

static List *
add(List *reasons, const char *reason, char *detail)
{
	Reason	   *entry = palloc(sizeof(Reason));

	entry->reason = reason;
	entry->detail = detail;
	return lappend(reasons, entry);
}

/* "task 1, 2 and 3 more"; of those counted only the first are named. */
static char *
name_tasks(const int64 *ids, int named, int count)
{
	StringInfoData names;

	initStringInfo(&names);
	for (int i = 0; i < named; i++)
		appendStringInfo(&names, "%s" INT64_FORMAT, i > 0 ? ", " : "task ", ids[i]);
	if (count > named)
		appendStringInfo(&names, " and %d more", count - named);
	return names.data;
}

/* The limits that keep any task of the capability from being claimed now. */
static List *
explain_limits(Call *call, const CapabilityRow *capability, List *reasons)
{
	int			named;
	int			active;
	int64	   *ids;
	int64		opens_at;

	if (capability->limits.concurrency > 0)
	{
		ids = report_store_active(capability->name, TASKS_NAMED, &named, &active);
		if (active >= capability->limits.concurrency)
			return add(reasons, "concurrency_limit",
					   psprintf("All %d slots of capability \"%s\" are in use, by %s.",
								capability->limits.concurrency, capability->name,
								name_tasks(ids, named, active)));
	}
	if (limits_room(call->db, capability->lane_id, call->now.mono, &opens_at) > 0)
		return reasons;
	if (opens_at == PG_INT64_MAX)
		return add(reasons, "concurrency_limit",
				   psprintf("All slots of capability \"%s\" are taken by claims that have not committed.",
							capability->name));
	return add(reasons, "rate_limit",
			   psprintf("%d tasks of capability \"%s\" have been claimed in this window, until %s.",
						capability->limits.rate, capability->name,
						timestamptz_to_str(time_plus(call->now.wall, opens_at - call->now.mono))));
}

/* Who has the key it waits for, and who waits before it. */
static char *
explain_key(const TaskRow *task)
{
	int			count;
	int64	   *ids = concurrency_key_store_in_use(NULL, task->capability, task->concurrency_key,
												   TASKS_NAMED, &count);

	return psprintf("It is number " INT64_FORMAT " of those that wait for concurrency_key \"%s\","
					" which is in use by %s.",
					report_store_position(task->task_id, task->status), task->concurrency_key,
					count > 0 ? name_tasks(ids, count, count) : "nobody");
}

static List *
explain_pending(Call *call, const TaskRow *task, List *reasons)
{
	LaneReport	lane;
	int64		position;
	CapabilityRow capability;

	capability = *capability_require(call, task->capability);
	if (capability.paused)
		reasons = add(reasons, "paused",
					  psprintf("Capability \"%s\" is paused.", task->capability));
	reasons = explain_limits(call, &capability, reasons);
	report_store_offering(task->lane_id, &lane);
	if (lane.agent_id != NULL && lane.fit > 0)
		reasons = add(reasons, "assigned",
					  psprintf("It is assigned to agent \"%s\".", lane.agent_id));
	else if (lane.agent_id != NULL)
		reasons = add(reasons, "assigned_in_vain",
					  psprintf("It is assigned to agent \"%s\", which does not take it: a sweep returns it to all agents.",
							   lane.agent_id));
	if (lane.agents == 0)
		reasons = add(reasons, "no_agent",
					  psprintf("No registered agent offers capability \"%s\".", task->capability));
	else if (lane.accepting == 0)
		reasons = add(reasons, "no_live_agent",
					  psprintf("None of the %d agents that offer capability \"%s\" may claim now.",
							   lane.agents, task->capability));
	else if (lane.agent_id == NULL && lane.fit == 0)
		reasons = add(reasons, "trust_too_low",
					  psprintf("None of the %d agents that may claim has a trust of %s.",
							   lane.accepting, lane.min_trust));
	position = report_store_position(task->task_id, task->status);
	return add(reasons, "in_line",
			   psprintf("It is number " INT64_FORMAT " of its lane, with %d agents that may claim.",
						position, lane.fit));
}

/* Of those it waits for, only the first are named. */
static char *
explain_blocked(const TaskRow *task)
{
	int			count;
	int64	   *ids = dependency_store_unmet(task->task_id, TASKS_NAMED, &count);

	return psprintf("It waits for %s.", name_tasks(ids, count, task->unmet));
}

/*
 * The reasons (Reason *) why a task is not running, never none; for whoever
 * may see the task. Raises NS003 and 42501.
 */
List *
explain_task(Call *call, int64 task_id)
{
	TaskReport	report;
	TaskRow		task;
	List	   *reasons = NIL;

	if (!report_store_task(task_id, &report))
		task_refuse_unknown(task_id);
	if (!call_is_monitor(call))
		task_require_visible(call, task_id, report.enqueued_by,
							 report.status == TASK_ACTIVE ? report.agent_id : NULL);
	if (!task_store_find(task_id, &task))
		return add(reasons, "finished",
				   psprintf("It ended as %s.", task_status_name(report.status)));

	switch (task.status)
	{
		case TASK_ACTIVE:
			if (task.cancel_requested)
				reasons = add(reasons, "cancel_requested",
							  psprintf("Its agent \"%s\" has been asked to stop.", task.agent_id));
			return add(reasons, "running",
					   psprintf("Agent \"%s\" holds it, attempt %d, lease until %s.",
								task.agent_id, task.attempt,
								timestamptz_to_str(task.lease_expires_at)));
		case TASK_SCHEDULED:
			reasons = add(reasons, "not_due",
						  psprintf("It is due at %s.", timestamptz_to_str(task.run_at)));
			break;
		case TASK_BLOCKED:
			reasons = task.unmet > 0 ? add(reasons, "blocked", explain_blocked(&task))
				: add(reasons, "concurrency_key", explain_key(&task));
			break;
		case TASK_PENDING:
			if (task.expires_at != 0 && task.attempt == 0 && task.expires_at <= call->now.wall)
				reasons = add(reasons, "expired",
							  psprintf("It expired at %s.", timestamptz_to_str(task.expires_at)));
			reasons = explain_pending(call, &task, reasons);
			break;
		default:
			break;
	}
	return reasons;
}
