/*
 * core/explain.c
 *		Why a task is not running: every reason there is, the strongest first.
 */
#include "core/explain.h"

#include "lib/stringinfo.h"
#include "utils/timestamp.h"

#include "core/agent.h"
#include "core/capability.h"
#include "core/task.h"
#include "policy.h"
#include "store/dependency_store.h"
#include "store/history_store.h"
#include "store/report_store.h"

#define BLOCKERS_NAMED	10

static List *
add(List *reasons, const char *reason, char *detail)
{
	Reason	   *entry = palloc(sizeof(Reason));

	entry->reason = reason;
	entry->detail = detail;
	return lappend(reasons, entry);
}

static List *
explain_pending(Call *call, const TaskRow *task, List *reasons)
{
	LaneReport	lane;
	int64		position;

	if (capability_require(call, task->capability)->paused)
		reasons = add(reasons, "paused",
					  psprintf("Capability \"%s\" is paused.", task->capability));
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
	position = report_store_position(task->task_id);
	return add(reasons, "in_line",
			   psprintf("It is number " INT64_FORMAT " of its lane, with %d agents that may claim.",
						position, lane.fit));
}

/* Of those it waits for, only the first are named. */
static char *
explain_blocked(const TaskRow *task)
{
	int			count;
	int64	   *ids = dependency_store_unmet(task->task_id, BLOCKERS_NAMED, &count);
	StringInfoData detail;

	initStringInfo(&detail);
	appendStringInfoString(&detail, "It waits for ");
	for (int i = 0; i < count; i++)
		appendStringInfo(&detail, "%s" INT64_FORMAT, i > 0 ? ", " : "task ", ids[i]);
	if (task->unmet > count)
		appendStringInfo(&detail, " and %d more", task->unmet - count);
	appendStringInfoChar(&detail, '.');
	return detail.data;
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
			reasons = add(reasons, "blocked", explain_blocked(&task));
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
