/*
 * core/route.c
 *		Which lane a task waits in, and which agent it is assigned to.
 *
 * A task that is assigned waits in a lane of its agent, where nobody else looks.
 * It is no promise: as soon as the agent does not take tasks of that lane, since
 * it is dead, drains, stopped, does not offer the capability or is not trusted
 * that far any more, what is PENDING there goes to all agents (route_return_idle,
 * by the sweeper), and what becomes PENDING later does so then (route_waiting).
 */
#include "core/route.h"

#include "miscadmin.h"

#include "core/agent.h"
#include "core/capability.h"
#include "core/task.h"
#include "errors.h"
#include "policy.h"
#include "soft/effects.h"
#include "store/lane_store.h"

/* trust_weighted passes over agents trusted less, if there are others ... */
#define WEIGHTED_MIN_TRUST	(TRUST_ONE * 3 / 10)
/* ... and nobody's weight is less. */
#define WEIGHTED_MIN_WEIGHT	(TRUST_ONE / 10)

static const char *const strategy_names[] = {
	[ROUTE_ROUND_ROBIN] = "round_robin", [ROUTE_LEAST_LOADED] = "least_loaded",
	[ROUTE_TRUST_WEIGHTED] = "trust_weighted", [ROUTE_FASTEST_RESPONSE] = "fastest_response",
};

/* False: no such strategy. */
bool
route_strategy_from_name(const char *name, RouteStrategy *strategy)
{
	for (int i = 0; i < lengthof(strategy_names); i++)
		if (strcmp(strategy_names[i], name) == 0)
		{
			*strategy = (RouteStrategy) i;
			return true;
		}
	return false;
}

/*
 * The lane of a capability for tasks that want so much trust (numeric, a step
 * of 0.05; 0: none) and are assigned to this agent (NULL: to none). It is made
 * when it is wanted for the first time.
 */
int32
route_lane(Call *call, const CapabilityRow *capability, Datum min_trust, const char *agent_id)
{
	const char *name = capability->name;

	if (min_trust == 0 && agent_id == NULL)
		return capability->lane_id;
	for (;;)
	{
		int32		lane_id = lane_store_find(name, min_trust, agent_id);

		if (lane_id != 0)
			return lane_id;
		lane_id = lane_store_create(name, min_trust, agent_id);
		if (lane_id != 0)
		{
			/* who waits or claims has to learn of it */
			effect_policy_changed(call->db);
			return lane_id;
		}
		CHECK_FOR_INTERRUPTS(); /* somebody else made it */
	}
}

/*
 * The same for a new task that is meant for an agent; for all agents, if this
 * one does not take such tasks now. Raises NS002, 22023.
 */
int32
route_lane_of_agent(Call *call, const CapabilityRow *capability, Datum min_trust,
					const char *agent_id)
{
	bool		offers;
	bool		fit;

	if (!lane_store_find_agent(agent_id, capability->name, min_trust, &offers, &fit))
		agent_refuse_unknown(agent_id);
	if (!offers)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid agent_id"),
				 errdetail("Agent \"%s\" does not offer capability \"%s\".",
						   agent_id, capability->name),
				 errhint("Name an agent that does, or none; ains.search_agents finds them.")));
	return route_lane(call, capability, min_trust, fit ? agent_id : NULL);
}

/*
 * A live task, locked by us, is going to wait again: goes to all agents if it
 * is assigned to one that does not take it. Its lane from now on.
 */
int32
route_waiting(Call *call, const TaskRow *task)
{
	const CapabilityRow *capability = capability_restore(call, task->capability);
	int32		lane_id;

	if (task->lane_id == capability->lane_id || !lane_store_is_idle(task->lane_id))
		return task->lane_id;
	lane_id = route_lane(call, capability, task->min_trust, NULL);
	task_store_set_lane(task->task_id, lane_id);
	return lane_id;
}

/* Numbers compared, for qsort. */
#define COMPARE(a, b)	((a) < (b) ? -1 : (a) > (b) ? 1 : 0)

/* Which of two agents is the better choice. */
static int
compare_choices(const void *a, const void *b, void *arg)
{
	const RouteChoice *one = a;
	const RouteChoice *other = b;
	int			order = 0;

	switch (*(RouteStrategy *) arg)
	{
		case ROUTE_ROUND_ROBIN:
			order = COMPARE(one->assigned, other->assigned);
			break;
		case ROUTE_LEAST_LOADED:
			order = COMPARE(one->load, other->load);
			if (order == 0)
				order = COMPARE(one->assigned, other->assigned);
			break;
		case ROUTE_TRUST_WEIGHTED:
			order = COMPARE(other->chance, one->chance);
			break;
		case ROUTE_FASTEST_RESPONSE:
			/* -1, none is completed, is the greatest */
			order = COMPARE((uint64) one->duration, (uint64) other->duration);
			if (order == 0)
				order = COMPARE(one->load, other->load);
			break;
	}
	return order != 0 ? order : strcmp(one->agent_id, other->agent_id);
}

/* Trust as weights, as chances of 1 in all. */
static void
weigh(RouteChoice *choices, int count)
{
	bool		trusted = false;
	double		sum = 0;

	for (int i = 0; i < count; i++)
		trusted = trusted || choices[i].trust >= WEIGHTED_MIN_TRUST;
	for (int i = 0; i < count; i++)
	{
		if (!trusted || choices[i].trust >= WEIGHTED_MIN_TRUST)
			choices[i].chance = Max(choices[i].trust, WEIGHTED_MIN_WEIGHT);
		sum += choices[i].chance;
	}
	for (int i = 0; i < count; i++)
		choices[i].chance /= sum;
}

/*
 * The agents that a task (task_id; 0: a new one) of a capability that wants so
 * much trust could be assigned to, the best first: they take such tasks, are
 * not silent for too long, and have room. In the current context.
 */
RouteChoice *
route_choices(Call *call, const char *capability, Datum min_trust, RouteStrategy strategy,
			  int64 task_id, int *count)
{
	int			candidate_count;
	Candidate  *candidates = lane_store_candidates(capability, min_trust, task_id,
												   &candidate_count);
	RouteChoice *choices = palloc0(Max(candidate_count, 1) * sizeof(RouteChoice));

	*count = 0;
	for (int i = 0; i < candidate_count; i++)
	{
		const Candidate *candidate = &candidates[i];
		AgentView	agent;
		int			pending;
		uint64		hash;
		int32		load;

		if (!agent_find(call, candidate->agent_id, &agent) ||
			(agent.in_roster && agent_is_silent(call, &agent)))
			continue;
		effects_pending_held(call->db, candidate->agent_id, &pending, &hash);
		load = Max(agent.beats.active_tasks + pending, 0) + candidate->waiting;
		if (candidate->max_active_tasks > 0 && load >= candidate->max_active_tasks)
			continue;
		choices[(*count)++] = (RouteChoice)
		{
			.agent_id = candidate->agent_id,
			.trust = agent.trust,
			.load = load,
			.duration = candidate->duration,
			.assigned = agent.beats.assigned,
		};
	}
	if (strategy == ROUTE_TRUST_WEIGHTED)
		weigh(choices, *count);
	qsort_arg(choices, *count, sizeof(RouteChoice), compare_choices, &strategy);
	if (strategy != ROUTE_TRUST_WEIGHTED && *count > 0)
		choices[0].chance = 1;
	return choices;
}

/*
 * Assigns a waiting task, also one that was before, to an agent that suits.
 * Chance is the hash of the task's id, so that the same task among the same
 * agents goes to the same one. Returns the agent's id, or NULL: none suits, and
 * the task stays where it is. Raises NS003, NS006, 42501.
 */
char *
route_assign(Call *call, int64 task_id, RouteStrategy strategy)
{
	TaskRow		task;
	RouteChoice *choices;
	int			count;
	int			picked = 0;
	/* 53 bits of it, as a number in [0, 1) */
	double		dice = (roster_task_hash(task_id) >> 11) / (double) (UINT64CONST(1) << 53);

	task_lock_live(call, task_id, "assign", &task);
	if (task.status == TASK_ACTIVE)
		task_refuse_transition(task_id, task.status, "assign", "An agent holds it.");
	choices = route_choices(call, task.capability, task.min_trust, strategy, task_id, &count);
	if (count == 0)
		return NULL;
	if (strategy == ROUTE_TRUST_WEIGHTED)
		while (picked < count - 1 && dice >= choices[picked].chance)
			dice -= choices[picked++].chance;
	task_move(call, &task, route_lane(call, capability_restore(call, task.capability),
									  task.min_trust, choices[picked].agent_id));
	roster_assigned(call->db, choices[picked].agent_id);
	return choices[picked].agent_id;
}

/*
 * What is PENDING in lanes of agents that do not take it goes to all agents;
 * true: there is more, about a batch is done. Skips what somebody has locked.
 */
bool
route_return_idle(Call *call)
{
	int			lane_count;
	IdleLane   *lanes = lane_store_idle(&lane_count);
	int			moved = 0;

	for (int i = 0; i < lane_count && moved < AINS_SWEEP_BATCH; i++)
	{
		int32		lane_id = route_lane(call, capability_restore(call, lanes[i].capability),
										 lanes[i].min_trust, NULL);
		TaskRow    *tasks;
		int			count;

		effects_reserve(AINS_SWEEP_BATCH);
		tasks = task_store_lock_ready(lanes[i].lane_id, &count);
		for (int j = 0; j < count; j++)
			task_note_locked(call, &tasks[j]);
		for (int j = 0; j < count; j++)
		{
			/* it may have changed before we had the lock */
			if (tasks[j].status != TASK_PENDING || tasks[j].lane_id != lanes[i].lane_id)
				continue;
			task_move(call, &tasks[j], lane_id);
			moved++;
			CHECK_FOR_INTERRUPTS();
		}
	}
	return moved >= AINS_SWEEP_BATCH;
}

/* Deletes lanes of agents that are gone, once no task waits or is held there. */
void
route_drop_lanes(Call *call)
{
	int			count;
	int64	   *lane_ids = lane_store_lock_unowned(&count);

	/* a statement of its own: it sees what was enqueued before the lock */
	if (count > 0)
		lane_store_delete_empty(lane_ids, count);
}
