/*
 * core/sweep.c
 *		Housekeeping: what the clock does to tasks, leases and agents.
 */
#include "core/sweep.h"

#include "miscadmin.h"

#include "clock.h"
#include "core/agent.h"
#include "core/audit.h"
#include "core/concurrency_key.h"
#include "core/event.h"
#include "core/lease.h"
#include "core/route.h"
#include "core/run.h"
#include "core/shelf.h"
#include "core/stats.h"
#include "core/task.h"
#include "core/task_end.h"
#include "core/trust.h"
#include "core/webhook.h"
#include "guc.h"
#include "policy.h"
#include "soft/counters.h"
#include "soft/effects.h"
#include "soft/journal.h"
#include "soft/pulse.h"
#include "soft/token.h"
#include "soft/waiters.h"
#include "store/agent_store.h"
#include "store/task_store.h"

/* What somebody had locked is looked at again after so long. */
#define LOCKED_RETRY		(200 * INT64CONST(1000))
/* How far the sweeper looks for what will be due, while there is much coming. */
#define LOOK_AHEAD			USECS_PER_SEC

/*
 * Watching, pruning and shelves need not be looked at in every pass of the
 * sweeper; a pass by hand does everything.
 */
static bool upkeep = true;
static bool auditing = true;	/* upkeep that may read the indexes of tasks */
static int64 upkeep_due = 0;	/* monotonic */

/* Brings the roster, and what is cached of policies, to what the tables say. */
static bool
watch_agents(Call *call, SweepCounts *counts)
{
	if (!upkeep)
		return false;
	token_keep_ahead(call->db);
	audit_agents(call, auditing);
	audit_policies(call);
	return false;
}

/* How an attempt ends whose lease lost its holder; false: it has not. */
static bool
is_orphan(const AgentView *agent, const TaskRow *task, AttemptEnd *end)
{
	if (task->incarnation != agent->facts.incarnation)
		*end = END_REREGISTERED;
	else if (agent->facts.wanted == WANTED_STOPPED)
		*end = END_RELEASED;
	else if (task->claimed_at <= agent->beats.disconnected_at)
		*end = END_DISCONNECTED;
	else
		return false;
	return true;
}

/*
 * Takes back the leases of agents whose connection ended, and claims that were
 * committed only after their agent had been replaced or stopped.
 */
static bool
take_back_orphans(Call *call, SweepCounts *counts)
{
	AgentView	view;
	int			position = 0;

	while (roster_next(call->db, &position, &view))
	{
		uint64		hash;
		int			left;
		int			count;
		TaskRow    *tasks;

		if (view.beats.orphans == view.beats.orphans_handled)
			continue;
		left = task_store_count_of_agent(view.agent_id, &hash);
		tasks = lease_lock_of_agent(call, view.agent_id, true, &count);
		left -= count;
		for (int i = 0; i < count; i++)
		{
			AttemptEnd	end;

			if (!is_orphan(&view, &tasks[i], &end))
				continue;
			if (!task_end_is_free(call, &tasks[i]))
			{
				left++;
				continue;
			}
			(void) lease_end(call, &tasks[i], end, NULL, -1);
			counts->leases_of_dead_agents++;
		}
		/* done only if nothing was skipped because it is locked */
		if (left == 0)
			effect_orphans_handled(call->db, view.agent_id, view.beats.orphans);
		CHECK_FOR_INTERRUPTS();
	}
	return false;
}

/* Where in the roster the burial of the dead goes on in this pass. */
static int	bury_from = 0;

static void
report_death(Call *call, const AgentView *agent)
{
	int64		silent = call->now.mono - agent->beats.alive_mono;

	pulse_observe(call->db, PULSE_DEADLINE_LAG, silent - roster_timeout(&agent->facts));
	journal_note(call->db, JOURNAL_AGENT_DIED,
				 psprintf("\"agent_id\": %s, \"reason\": \"silent\", \"silent_seconds\": %.3f, \"leases\": %d",
						  journal_text(agent->agent_id), (double) silent / USECS_PER_SEC,
						  Max(agent->beats.active_tasks, 0)));
}

/*
 * Marks agents dead that are silent for too long, and takes their leases back;
 * about a batch of both together.
 */
static bool
bury_dead_agents(Call *call, SweepCounts *counts)
{
	AgentView	view;
	int64		done = 0;

	while (done < AINS_SWEEP_BATCH && roster_next(call->db, &bury_from, &view))
	{
		AgentStatus status = policy_agent_status(view.facts.wanted, view.facts.health,
												 view.facts.dead);
		int64		taken;
		uint64		hash;

		if (status == AGENT_INACTIVE ||
			(status != AGENT_DEAD && !agent_is_silent(call, &view)))
			continue;
		if (status != AGENT_DEAD)
		{
			if (!agent_mark_dead(call, &view))
				continue;
			report_death(call, &view);
			counts->agents_marked_dead++;
			done++;
		}
		else if (view.beats.active_tasks <= 0)
			continue;			/* dead already, with nothing left to take */

		taken = lease_take_back_all(call, view.agent_id, END_AGENT_DEAD, true);
		counts->leases_of_dead_agents += taken;
		done += taken;
		if (taken == 0 && view.beats.active_tasks > 0 &&
			task_store_count_of_agent(view.agent_id, &hash) == 0)
			roster_correct_held(call->db, &view, 0, 0);
		CHECK_FOR_INTERRUPTS();
	}
	return done >= AINS_SWEEP_BATCH;
}

/* Something that was due then is handled now. */
static void
note_lag(Call *call, TimestampTz due)
{
	pulse_observe(call->db, PULSE_DEADLINE_LAG, call->now.wall - due);
}

/* A waiting task whose moment has come: it expires, or is due. */
static void
handle_waiting(Call *call, const TaskRow *task, SweepCounts *counts)
{
	TaskStatus	status = task->status;
	TimestampTz wake_at = 0;

	if (task->attempt == 0 && task->expires_at != 0)
		wake_at = task->expires_at;
	if (wake_at != 0 && wake_at <= call->now.wall)
	{
		note_lag(call, wake_at);
		task_end_waiting(call, task, TASK_EXPIRED, NULL);
		counts->tasks_expired++;
		return;
	}
	if (status == TASK_SCHEDULED && task->run_at <= call->now.wall)
	{
		status = concurrency_key_enter(call, task->capability, task->concurrency_key);
		if (status == TASK_PENDING)
		{
			effect_ready(call->db, route_waiting(call, task),
						 (ReadyKey) {task->rank, task->task_id}, ON_COMMIT);
			task_note_event(call, task, EVENT_TASK_DUE, TASK_PENDING);
		}
		counters_note(call->db, task->capability, 0, TASK_SCHEDULED, status, 0);
		note_lag(call, task->run_at);
		counts->tasks_due++;
	}
	else if (status == TASK_SCHEDULED)
		wake_at = wake_at == 0 ? task->run_at : Min(wake_at, task->run_at);
	task_store_wait_again(task->task_id, status, task->attempt, task->run_at, wake_at, NULL);
	if (wake_at != 0)
		effect_wake_at(call->db, wake_at);
}

/* A leased task whose moment has come: out of time, stale, or renewed by beats. */
static void
handle_active(Call *call, const TaskRow *task, SweepCounts *counts)
{
	AgentView	agent;
	bool		known;
	bool		renewable;
	TimestampTz expires_at;

	if (task->deadline != 0 && task->deadline <= call->now.wall)
	{
		note_lag(call, task->deadline);
		(void) lease_end(call, task, END_TIMED_OUT, NULL, -1);
		counts->attempts_timed_out++;
		return;
	}

	/* one that waits beats no more often than its own silence would matter */
	if (waiters_know_agent(call->db, task->agent_id))
		(void) roster_beat(call->db, task->agent_id, &call->now, &agent);
	known = agent_find(call, task->agent_id, &agent) && agent.in_roster;
	renewable = known && !task->cancel_requested && !agent.facts.dead &&
		agent.facts.incarnation == task->incarnation;
	expires_at = task->lease_expires_at;
	if (renewable)
		expires_at = Max(expires_at, time_plus(call->now.wall, agent.beats.alive_mono +
											   task->lease - call->now.mono));
	if (policy_lease_is_stale(&call->now, task->lease_expires_at, task->lease, renewable,
							  known ? agent.beats.alive_mono : 0))
	{
		note_lag(call, expires_at);
		(void) lease_end(call, task, END_LEASE_EXPIRED, NULL, -1);
		counts->leases_expired++;
		return;
	}

	/* write down that the last beat renewed it, once per lease length at most */
	effect_wake_at(call->db, lease_store_renew(task->task_id, expires_at));
}

/* Handles up to a batch of tasks whose wake_at has come. */
static bool
handle_due(Call *call, SweepCounts *counts)
{
	TimestampTz from;
	TimestampTz earliest;
	TaskRow    *tasks;
	int			count;
	int			handled = 0;

	effects_reserve(AINS_SWEEP_BATCH + 1);
	from = db_take_unswept(call->db, call->now.wall);
	if (from > call->now.wall)
		return false;
	effect_unswept(call->db, from);
	tasks = task_store_lock_due(from, call->now.wall, &count);
	for (int i = 0; i < count; i++)
		task_note_locked(call, &tasks[i]);
	for (int i = 0; i < count; i++)
	{
		/* the end of one before may have ended it, or let it go */
		if (tasks[i].status == TASK_BLOCKED && !task_store_find(tasks[i].task_id, &tasks[i]))
			continue;
		if (!task_end_is_free(call, &tasks[i]) ||
			(tasks[i].status == TASK_SCHEDULED &&
			 !concurrency_key_is_free(call, tasks[i].capability, tasks[i].concurrency_key)))
			continue;
		handled++;
		if (tasks[i].status == TASK_ACTIVE)
			handle_active(call, &tasks[i], counts);
		else
			handle_waiting(call, &tasks[i], counts);
		CHECK_FOR_INTERRUPTS();
	}

	/* what is left was locked, or is the next batch's */
	earliest = task_store_earliest_wake(from, call->now.wall + 1);
	if (earliest > call->now.wall)
		return false;
	db_lower_swept(call->db, earliest);
	return handled == AINS_SWEEP_BATCH;
}

static bool
hand_on_keys(Call *call, SweepCounts *counts)
{
	return concurrency_key_hand_on(call, upkeep);
}

/*
 * Agents that have changed may have left tasks in their lanes. What changed in
 * another way, or was on its way there meanwhile, the upkeep finds.
 */
static bool
return_lanes(Call *call, SweepCounts *counts)
{
	static uint64 seen = 0;
	uint64		changed = pg_atomic_read_u64(&call->db->agents_changed) +
		pg_atomic_read_u64(&call->db->policy_generation);

	if (!upkeep && changed == seen)
		return false;
	if (route_return_idle(call))
		return true;
	seen = changed;
	if (upkeep && auditing)
		route_drop_lanes(call);
	return false;
}

/* Looks for what the steps above would never see. */
static bool
audit_tasks(Call *call, SweepCounts *counts)
{
	if (!upkeep || !auditing)
		return false;
	audit_wakes(call);
	audit_ready_set(call);
	return false;
}

static bool
count_tasks(Call *call, SweepCounts *counts)
{
	stats_count_live(call);
	return false;
}

static bool
write_trust(Call *call, SweepCounts *counts)
{
	if (upkeep)
		trust_write(call, false);
	return false;
}

static bool
keep_up_runs(Call *call, SweepCounts *counts)
{
	return upkeep && run_upkeep(call);
}

static bool
prune_agents(Call *call, SweepCounts *counts)
{
	return upkeep &&
		list_length(agent_prune(call, ains_agent_retention * USECS_PER_MINUTE)) == AINS_SWEEP_BATCH;
}

static bool
maintain_shelves(Call *call, SweepCounts *counts)
{
	return upkeep && shelf_maintain(call, &counts->partitions_dropped);
}

static bool
publish_events(Call *call, SweepCounts *counts)
{
	return event_publish(call);
}

static bool
deliver_events(Call *call, SweepCounts *counts)
{
	return webhook_deliver(call);
}

static bool
prune_events(Call *call, SweepCounts *counts)
{
	return upkeep && event_prune(call);
}

/*
 * Events are published before this pass has written anything. What frees tasks
 * comes first, else; what may have to wait for a lock, last.
 */
const SweepStep sweep_steps[] = {
	{"publishing events", publish_events},
	{"watching agents", watch_agents},
	{"taking back orphaned leases", take_back_orphans},
	{"taking leases back from dead agents", bury_dead_agents},
	{"handling due tasks", handle_due},
	{"returning assigned tasks", return_lanes},
	{"handing on concurrency keys", hand_on_keys},
	{"enqueueing webhooks", deliver_events},
	{"auditing tasks", audit_tasks},
	{"counting tasks", count_tasks},
	{"writing down trust", write_trust},
	{"keeping up runs", keep_up_runs},
	{"pruning agents", prune_agents},
	{"pruning events", prune_events},
	{"maintaining history", maintain_shelves},
};
const int	sweep_step_count = lengthof(sweep_steps);

/* A sweep that is later than this, in microseconds, counts as late. */
int64
sweep_patience(void)
{
	return ains_heartbeat_timeout * USECS_PER_SEC / 3;
}

/*
 * A step begins. If the sweeper is later than it meant to be by a third of the
 * heartbeat timeout, or the wall clock was stepped by that, the machine stood
 * still or its clock was set: every agent gets the grace of a restart. That is
 * asked before each step, since a machine may stand still in the middle of a pass.
 */
void
sweep_note_step(Call *call)
{
	int64		late = db_note_step(call->db, &call->now);

	if (late <= sweep_patience())
		return;
	roster_grace(call->db, &call->now);
	journal_note(call->db, JOURNAL_SWEEPER_LATE,
				 psprintf("\"reason\": \"late_or_clock_set\", \"late_seconds\": %.3f",
						  (double) late / USECS_PER_SEC));
}

static void
begin_pass(Call *call)
{
	bury_from = 0;
	auditing = audit_affordable(call);
}

void
sweep_pass(Call *call, SweepCounts *counts)
{
	call_require_read_committed("sweep");
	sweep_note_step(call);
	begin_pass(call);
	upkeep = true;
	for (int i = 0; i < sweep_step_count; i++)
		while (sweep_steps[i].run(call, counts))
			CHECK_FOR_INTERRUPTS();
	db_plan_pass_by_hand(call->db, &call->now, ains_audit_interval * USECS_PER_SEC);
	pulse_count(call->db, PULSE_SWEEPS);
	pulse_observe(call->db, PULSE_SWEEP_DURATION, clock_read().mono - call->now.mono);
	/* what was left, because somebody had it locked, is the sweeper's again */
	db_wake_now(call->db);
}

int64
sweep_dead_agents(Call *call)
{
	SweepCounts counts = {0};

	call_require_read_committed("release_dead_agent_leases");
	sweep_note_step(call);
	begin_pass(call);
	(void) take_back_orphans(call, &counts);
	while (bury_dead_agents(call, &counts))
		CHECK_FOR_INTERRUPTS();
	return counts.leases_of_dead_agents;
}

void
sweep_note_pass(Call *call)
{
	begin_pass(call);
	upkeep = call->now.mono >= upkeep_due;
	if (upkeep)
		upkeep_due = call->now.mono + ains_audit_interval * USECS_PER_SEC;
}

/*
 * Nothing live is before what is found, so dead entries are walked only once;
 * unless a commit lowers the mark again: as long as they do that we do not look
 * far, since what we would walk in vain is mostly leases that ended early.
 */
TimestampTz
sweep_next(Call *call)
{
	static uint64 last_lowered = 0;
	static int64 ahead = LOOK_AHEAD;
	uint64		lowered;
	TimestampTz from = db_read_unswept(call->db, &lowered);
	TimestampTz next;
	int64		nap;

	ahead = lowered != last_lowered ? LOOK_AHEAD
		: Min(ahead * 2, Max(ains_sweep_max_nap * INT64CONST(1000), LOOK_AHEAD));
	last_lowered = lowered;
	next = call->now.wall + ahead;
	if (from < next)
	{
		next = task_store_earliest_wake(from, next);
		db_raise_swept(call->db, next, lowered);
	}

	next = Min(next, roster_next_deadline(call->db, &call->now));
	next = Min(next, event_next(call));
	/* overdue: somebody had it locked */
	if (next <= call->now.wall)
		next = call->now.wall + LOCKED_RETRY;
	nap = Min(next - call->now.wall, ains_sweep_max_nap * INT64CONST(1000));
	nap = Min(nap, Max(upkeep_due - call->now.mono, 0));
	db_plan_pass(call->db, nap);
	return call->now.wall + nap;
}
