/*
 * core/agent.c
 *		Agents: registration, heartbeats, orders, and what they may do.
 *
 * What a call needs of an agent comes from the roster; only an agent that the
 * roster forgot is read from its row. What this transaction did to an agent
 * itself stands above both.
 */
#include "core/agent.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "compat.h"
#include "core/capability.h"
#include "core/event.h"
#include "core/lease.h"
#include "core/task_end.h"
#include "errors.h"
#include "guc.h"
#include "policy.h"
#include "soft/effects.h"
#include "soft/token.h"
#include "soft/types.h"
#include "store/lane_store.h"
#include "store/task_store.h"

static AgentStatus
status_of(const AgentFacts *facts)
{
	return policy_agent_status(facts->wanted, facts->health, facts->dead);
}

/* An event of an agent, which is as `facts` say from now on. */
static void
note_event(Call *call, EventKind kind, const char *agent_id, const AgentFacts *facts)
{
	event_note(call, &(Event) {.kind = kind, .owner = facts->owner, .agent_id = agent_id,
			   .status = agent_status_name(status_of(facts))});
}

/* How many leases an agent holds, leaving out what this transaction did. */
static int
count_held(Call *call, const char *agent_id, uint64 *hash)
{
	int			pending;
	uint64		pending_hash;
	int			held = task_store_count_of_agent(agent_id, hash);

	effects_pending_held(call->db, agent_id, &pending, &pending_hash);
	*hash ^= pending_hash;
	return held - pending;
}

/*
 * What is known of an agent; false: none of that id is registered. Loads it
 * into the roster if need be, as if it had beaten now; where that cannot be (the
 * roster is full, this is a standby) the facts are those of the row, and the
 * beats are made up.
 */
bool
agent_find(Call *call, const char *agent_id, AgentView *agent)
{
	AgentFacts	facts;
	bool		gone;
	bool		pending = effects_pending_agent(call->db, agent_id, &facts, &gone);

	if (pending && gone)
		return false;
	/* on a standby nobody would tell the roster of changes */
	if (RecoveryInProgress() || !roster_find(call->db, agent_id, agent))
	{
		uint64		hash;
		int			held;

		if (!pending && !agent_store_find(agent_id, &facts))
			return false;
		memset(agent, 0, sizeof(AgentView));
		strlcpy(agent->agent_id, agent_id, sizeof(agent->agent_id));
		agent->facts = facts;
		agent->trust = facts.trust;
		if (!pending && !RecoveryInProgress())
		{
			held = count_held(call, agent_id, &hash);
			if (roster_load(call->db, agent_id, &facts, held, hash, &call->now))
				(void) roster_find(call->db, agent_id, agent);
		}
	}
	if (pending)
		agent->facts = facts;
	return true;
}

pg_noreturn static void
refuse_more_agents(void)
{
	ereport(ERROR,
			(errcode(AINS_LIMIT_EXCEEDED),
			 errmsg("too many agents"),
			 errdetail("There is room for %d agents, and all of them are in use.",
					   ains_max_agents),
			 errhint("Increase the setting \"%s\" and restart the server.",
					 "ains.max_agents")));
}

/* Raises NS002. */
void
agent_refuse_unknown(const char *agent_id)
{
	ereport(ERROR,
			(errcode(AINS_UNKNOWN_AGENT),
			 errmsg("unknown agent"),
			 errdetail("No agent \"%s\" is registered.", agent_id),
			 errhint("Call ains.register_agent first; the view ains.agents lists them.")));
}

pg_noreturn static void
refuse_stranger(const char *agent_id)
{
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("permission denied for agent \"%s\"", agent_id),
			 errdetail("Only members of the role that registered it may act for it."),
			 errhint("Use that role, or register under another agent_id.")));
}

static void
require_member(Call *call, const char *agent_id, Oid owner)
{
	if (!call_is_member(call, owner))
		refuse_stranger(agent_id);
}

/*
 * The agent a call is made for: raises NS002, 42501, NS005 if incarnation is
 * given (not 0) and not the current one, and NS008 if its beats could not be
 * kept, unless this transaction registered it.
 */
void
agent_require(Call *call, const char *agent_id, int64 incarnation, AgentView *agent)
{
	if (!agent_find(call, agent_id, agent))
		agent_refuse_unknown(agent_id);
	require_member(call, agent_id, agent->facts.owner);
	if (incarnation != 0 && incarnation != agent->facts.incarnation)
		ereport(ERROR,
				(errcode(AINS_AGENT_NOT_ACCEPTING),
				 errmsg("agent not accepting"),
				 errdetail("Incarnation " INT64_FORMAT " of agent \"%s\" was replaced by " INT64_FORMAT ".",
						   incarnation, agent_id, agent->facts.incarnation),
				 errhint("Another process registered this agent_id: end this one.")));
	if (!agent->in_roster)
	{
		AgentFacts	facts;
		bool		gone;

		if (!effects_pending_agent(call->db, agent_id, &facts, &gone))
			refuse_more_agents();
	}
}

/* Raises NS005 if the agent may not claim. */
void
agent_require_accepting(const AgentView *agent)
{
	AgentStatus status = status_of(&agent->facts);

	if (status == AGENT_AVAILABLE || status == AGENT_BUSY)
		return;
	ereport(ERROR,
			(errcode(AINS_AGENT_NOT_ACCEPTING),
			 errmsg("agent not accepting"),
			 errdetail("Agent \"%s\" is %s.", agent->agent_id, agent_status_name(status)),
			 status == AGENT_DEAD || agent->facts.health == HEALTH_OFFLINE ?
			 errhint("Send a heartbeat first.") :
			 errhint("Call ains.resume_agent or ains.register_agent.")));
}

/*
 * Whether the caller may act for the agent that holds a task; for one whose
 * row is gone, admins and members of the extension's owner may.
 */
bool
agent_is_own(Call *call, const char *agent_id)
{
	AgentView	agent;

	if (agent_find(call, agent_id, &agent))
		return call_is_member(call, agent.facts.owner);
	return call_is_admin(call);
}

/* Raises 42501 unless he may. */
void
agent_require_owner(Call *call, const char *agent_id)
{
	if (!agent_is_own(call, agent_id))
		refuse_stranger(agent_id);
}

/* Whether it has not beaten for longer than it may. */
bool
agent_is_silent(Call *call, const AgentView *agent)
{
	return call->now.mono - agent->beats.alive_mono >= roster_timeout(&agent->facts);
}

/*
 * Registers an agent, or starts a known one again: a new incarnation, and what
 * the old one held is taken back at once. Fills in owner, incarnation and now.
 * capability_array is `capabilities` as text[]. Returns the ains.agent row.
 */
Datum
agent_register(Call *call, NewAgent *agent, char **capabilities,
			   int capability_count, Datum capability_array)
{
	AgentFacts	facts = {.wanted = WANTED_ACCEPTING, .health = HEALTH_ACTIVE,
		.heartbeat_timeout = agent->heartbeat_timeout,
		.max_active_tasks = agent->max_active_tasks, .owner = call->role,
	.type = types_number(agent->agent_type), .trust = TRUST_ONE / 2};
	AgentFacts	old;
	AgentView	known;
	bool		is_new = !roster_find(call->db, agent->agent_id, &known);

	agent->owner = call->role;
	agent->now = call->now.wall;
	agent->incarnation = facts.incarnation = token_take(call->db, 1, call->now.wall);

	/* those that this transaction adds take their slots at commit */
	if (is_new && !roster_make_room(effects_new_agents() + 1))
		refuse_more_agents();

	while (!agent_store_insert(agent))
	{
		if (agent_store_lock(agent->agent_id, &old))
		{
			require_member(call, agent->agent_id, old.owner);
			facts.owner = agent->owner = old.owner; /* these stay */
			facts.trust = old.trust;
			(void) lease_take_back_all(call, agent->agent_id, END_REREGISTERED, false);
			agent_store_restart(agent);
			break;
		}
		CHECK_FOR_INTERRUPTS(); /* it was pruned between the two */
	}

	for (int i = 0; i < capability_count; i++)
		(void) capability_ensure(call, capabilities[i]);
	agent_store_set_capabilities(agent->agent_id, capability_array);
	facts.version = db_version(call->db);
	effect_agent(call->db, agent->agent_id, &facts, is_new);
	note_event(call, EVENT_AGENT_REGISTERED, agent->agent_id, &facts);
	return agent_store_row(agent->agent_id);
}

/* Writes an agent's state to its row, locked by us, and to the roster at commit. */
static void
write_state(Call *call, const AgentView *seen, AgentFacts *facts)
{
	agent_store_write_state(seen->agent_id, facts, call->now.wall,
							seen->beats.last_beat);
	facts->version = db_version(call->db);
	effect_agent(call->db, seen->agent_id, facts, false);
}

/* The beats say something new of the agent. */
static void
change_health(Call *call, AgentView *agent, AgentHealth health)
{
	AgentFacts	facts;

	if (!agent_store_lock(agent->agent_id, &facts))
	{
		/* pruned: the roster had loaded it in that moment */
		roster_remove(call->db, agent->agent_id, db_version(call->db));
		agent_refuse_unknown(agent->agent_id);
	}
	if (facts.incarnation != agent->facts.incarnation)
		return;					/* replaced in this moment */
	facts.health = health;
	facts.dead = false;
	write_state(call, agent, &facts);
	note_event(call, EVENT_AGENT_REPORTED, agent->agent_id, &facts);
	agent->facts = facts;
}

static bool
contains(const int64 *ids, int count, int64 id)
{
	for (int i = 0; i < count; i++)
		if (ids[i] == id)
			return true;
	return false;
}

/*
 * The agent's list of what it holds differs from ours: names what it has lost,
 * and takes back what it does not know of, if it was claimed before its
 * previous heartbeat (so the answer of that claim must have arrived by now).
 */
static void
reconcile_held(Call *call, const Heartbeat *beat, const AgentView *agent,
			   HeartbeatAnswer *answer)
{
	uint64		hash;
	int			held = count_held(call, beat->agent_id, &hash);
	int			count;
	TaskRow    *tasks;
	int			pending;
	uint64		pending_hash;

	roster_correct_held(call->db, agent, held, hash);
	effects_pending_held(call->db, beat->agent_id, &pending, &pending_hash);
	answer->active_tasks = held + pending;
	answer->lost = task_store_not_held_by(beat->agent_id, beat->held, beat->held_count,
										  &answer->lost_count);
	tasks = lease_lock_of_agent(call, beat->agent_id, true, &count);
	for (int i = 0; i < count; i++)
	{
		if (tasks[i].claimed_at >= agent->beats.last_heartbeat ||
			contains(beat->held, beat->held_count, tasks[i].task_id) ||
			!task_end_is_free(call, &tasks[i]))
			continue;
		(void) lease_end(call, &tasks[i], END_NOT_HELD, NULL, -1);
		answer->active_tasks--;
	}
}

/*
 * A beat: renews the leases of the agent, in shared memory alone unless there
 * is news to write. Raises NS002, 42501, NS005.
 */
void
agent_heartbeat(Call *call, const Heartbeat *beat, HeartbeatAnswer *answer)
{
	AgentView	agent;
	AgentFacts	facts;
	int			pending;
	uint64		pending_hash;

	memset(answer, 0, sizeof(*answer));
	agent_require(call, beat->agent_id, beat->incarnation, &agent);
	facts = agent.facts;
	/* saying OFFLINE is no sign of life: its leases shall lapse */
	if (beat->health != HEALTH_OFFLINE)
	{
		(void) roster_heartbeat(call->db, beat->agent_id, &call->now, beat->activity, &agent);
		agent.facts = facts;	/* ours, if this transaction changed them */
	}
	effects_pending_held(call->db, beat->agent_id, &pending, &pending_hash);
	answer->active_tasks = Max(agent.beats.active_tasks + pending, 0);

	if (agent.facts.health != beat->health || agent.facts.dead)
		change_health(call, &agent, beat->health);
	if (beat->metrics != 0)
		agent_store_write_metrics(beat->agent_id, beat->metrics);

	/* an old snapshot would tell of leases that are gone */
	if (beat->held != NULL && !IsolationUsesXactSnapshot())
	{
		uint64		hash = agent.beats.held_hash ^ pending_hash;

		for (int i = 0; i < beat->held_count; i++)
			hash ^= roster_task_hash(beat->held[i]);
		if (beat->held_count != answer->active_tasks || hash != 0)
			reconcile_held(call, beat, &agent, answer);
	}

	if (agent.beats.cancels != agent.beats.cancels_handled)
	{
		answer->cancel_requested = task_store_cancel_requested_of(beat->agent_id,
																  &answer->cancel_count);
		/* unless we read an old snapshot, or what only this transaction did */
		if (answer->cancel_count == 0 && !IsolationUsesXactSnapshot() && !effects_any())
			roster_cancels_handled(call->db, beat->agent_id, agent.beats.cancels);
	}

	answer->status = status_of(&agent.facts);
	answer->last_heartbeat = agent.beats.last_beat != 0 ? agent.beats.last_beat : call->now.wall;
	answer->next_in = Max(roster_timeout(&agent.facts) / 3 / USECS_PER_SEC, 1);
}

/*
 * Locks the agent's row for somebody who may give it orders: its owner's
 * members and admins. Raises NS002, 42501.
 */
void
agent_lock(Call *call, const char *agent_id, AgentFacts *facts)
{
	if (!agent_store_lock(agent_id, facts))
		agent_refuse_unknown(agent_id);
	if (!call_is_admin(call))
		require_member(call, agent_id, facts->owner);
}

/*
 * Drains, resumes or stops an agent; a stopped one gives its leases back
 * unharmed. Raises as agent_lock. Returns the row.
 */
Datum
agent_order(Call *call, const char *agent_id, AgentWanted wanted)
{
	AgentView	agent;
	AgentFacts	facts;

	if (!agent_find(call, agent_id, &agent))
		agent_refuse_unknown(agent_id);
	agent_lock(call, agent_id, &facts);
	/* a stopped agent stays stopped until it is resumed */
	if (wanted != WANTED_DRAINING || facts.wanted != WANTED_STOPPED)
		facts.wanted = wanted;
	write_state(call, &agent, &facts);
	note_event(call, wanted == WANTED_ACCEPTING ? EVENT_AGENT_RESUMED :
			   wanted == WANTED_DRAINING ? EVENT_AGENT_DRAINING : EVENT_AGENT_STOPPED,
			   agent_id, &facts);
	if (wanted == WANTED_STOPPED)
		(void) lease_take_back_all(call, agent_id, END_RELEASED, false);
	return agent_store_row(agent_id);
}

/* Ties the agent to this connection, from commit on; raises as agent_require. */
void
agent_attach(Call *call, const char *agent_id, int64 incarnation)
{
	AgentView	agent;

	agent_require(call, agent_id, incarnation, &agent);
	effect_attach(call->db, agent_id, agent.facts.incarnation);
}

/* Unties it; harmless if it was not tied to this connection. */
void
agent_detach(Call *call, const char *agent_id)
{
	AgentView	agent;

	agent_require(call, agent_id, 0, &agent);
	effect_detach(call->db, agent_id);
}

/*
 * Removes stopped and dead agents not seen for that long; returns their ids
 * (char *), at most AINS_SWEEP_BATCH.
 */
List *
agent_prune(Call *call, int64 older_than)
{
	TimestampTz cutoff = call->now.wall - older_than;
	AgentRow   *rows;
	int			count;
	List	   *pruned = NIL;

	rows = agent_store_prunable(cutoff, &count);
	for (int i = 0; i < count; i++)
	{
		AgentView	view;

		/* a stopped agent may still beat: say so in its row, that it makes room here */
		if (roster_find(call->db, rows[i].agent_id, &view) && view.beats.last_beat >= cutoff)
		{
			agent_store_write_state(rows[i].agent_id, &rows[i].facts, call->now.wall,
									view.beats.last_beat);
			continue;
		}
		agent_store_delete(rows[i].agent_id);
		effect_agent_gone(call->db, rows[i].agent_id, db_version(call->db));
		note_event(call, EVENT_AGENT_REMOVED, rows[i].agent_id, &rows[i].facts);
		pruned = lappend(pruned, rows[i].agent_id);
	}
	return pruned;
}

/*
 * Declares an agent dead that has been silent for too long, unless it beats in
 * this moment or somebody works on its row; true if it did.
 */
bool
agent_mark_dead(Call *call, const AgentView *seen)
{
	AgentFacts	facts;
	AgentView	again;

	if (!agent_store_lock_free(seen->agent_id, &facts) ||
		facts.incarnation != seen->facts.incarnation || facts.dead ||
		!roster_find(call->db, seen->agent_id, &again) || !agent_is_silent(call, &again))
		return false;
	facts.dead = true;
	write_state(call, &again, &facts);
	note_event(call, EVENT_AGENT_DEAD, seen->agent_id, &facts);
	return true;
}

/* Whether the facts that a row has say the same, whatever their versions. */
static bool
same_facts(const AgentFacts *a, const AgentFacts *b)
{
	return a->incarnation == b->incarnation && a->owner == b->owner &&
		a->wanted == b->wanted && a->health == b->health && a->dead == b->dead &&
		a->heartbeat_timeout == b->heartbeat_timeout &&
		a->max_active_tasks == b->max_active_tasks && a->type == b->type &&
		a->trust == b->trust;
}

/*
 * Brings an agent's facts in the roster to what its row says, if they differ:
 * after direct DML, or should a change have been missed. `row` is what the row
 * said a while ago: if that is what we know, it is not read again.
 */
void
agent_reconcile(Call *call, const AgentView *seen, const AgentFacts *row)
{
	AgentFacts	facts;

	if (same_facts(row, &seen->facts))
		return;
	/* read after the view was copied, so not older than it */
	if (agent_store_find(seen->agent_id, &facts) && !same_facts(&facts, &seen->facts))
		roster_correct_facts(call->db, seen, &facts);
}

/* How many more tasks an agent may hold, of those it asks for. */
int
agent_room(Call *call, const AgentView *agent, int asked)
{
	int			pending;
	uint64		hash;

	if (agent->facts.max_active_tasks == 0)
		return asked;
	effects_pending_held(call->db, agent->agent_id, &pending, &hash);
	return Min(asked, agent->facts.max_active_tasks - agent->beats.active_tasks - pending);
}

/*
 * The lanes of what an agent offers, kept until it registers again, or a policy or
 * what lanes there are changes. What this transaction has changed itself is not
 * kept: it may be undone.
 */
static struct
{
	DbState    *db;
	char		agent_id[AINS_NAME_SIZE];
	int64		incarnation;
	uint64		generation;
	MemoryContext context;
	OfferedLane *lanes;
	int			count;
}			offered;

static void
load_offered(Call *call, const AgentView *agent)
{
	uint64		generation = pg_atomic_read_u64(&call->db->policy_generation);
	bool		own_change = effects_policy_pending();
	MemoryContext old;

	if (!own_change && offered.db == call->db && offered.incarnation == agent->facts.incarnation &&
		offered.generation == generation && strcmp(offered.agent_id, agent->agent_id) == 0)
		return;

	offered.db = NULL;
	if (offered.context == NULL)
		offered.context = AllocSetContextCreate(TopMemoryContext, "ains capabilities of an agent",
												ALLOCSET_SMALL_SIZES);
	MemoryContextReset(offered.context);
	old = MemoryContextSwitchTo(offered.context);
	offered.lanes = lane_store_offered(agent->agent_id, &offered.count);
	MemoryContextSwitchTo(old);
	strlcpy(offered.agent_id, agent->agent_id, sizeof(offered.agent_id));
	offered.incarnation = agent->facts.incarnation;
	offered.generation = generation;
	if (!own_change)
		offered.db = call->db;
}

/*
 * The lanes an agent may claim from now: of what it offers, or of the subset
 * of it that is named, without paused capabilities and those it is not trusted
 * enough for. lease: -1 for the capability's. In the current context.
 */
ClaimLane *
agent_claim_lanes(Call *call, const AgentView *agent, char **subset, int subset_count,
				  int64 lease, int *count)
{
	ClaimLane  *lanes;

	load_offered(call, agent);
	lanes = palloc(Max(offered.count, 1) * sizeof(ClaimLane));
	*count = 0;
	for (int i = 0; i < offered.count; i++)
	{
		const OfferedLane *lane = &offered.lanes[i];
		const CapabilityRow *capability;
		bool		wanted = subset == NULL;

		for (int j = 0; j < subset_count && !wanted; j++)
			wanted = strcmp(subset[j], lane->capability) == 0;
		if (!wanted || lane->min_trust > agent->trust)
			continue;
		capability = capability_find(call, lane->capability);
		if (capability == NULL || capability->paused || capability->min_trust > agent->trust)
			continue;
		lanes[*count] = (ClaimLane)
		{
			.lane_id = lane->lane_id,
			.lease = lease >= 0 ? lease : capability_lease(capability),
			.timeout = capability->timeout,
			.max_attempts = capability->retry.max_attempts,
			.capability = lane->capability,
			.limits = capability->limits,
		};
		(*count)++;
	}
	return lanes;
}

/* The ids of lanes, in the current context. */
int32 *
agent_lane_ids(const ClaimLane *lanes, int count)
{
	int32	   *ids = palloc((count + 1) * sizeof(int32));

	for (int i = 0; i < count; i++)
		ids[i] = lanes[i].lane_id;
	return ids;
}
