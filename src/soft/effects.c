/*
 * soft/effects.c
 *		Transaction end: the only place where it touches the soft state.
 *
 * The stack is an array in a context of its own, each entry with the nesting
 * level of its subtransaction. It is grown when an effect is registered, so
 * the callbacks allocate nothing and cannot fail.
 */
#include "soft/effects.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "errors.h"
#include "soft/waiters.h"
#include "soft/workers.h"

typedef enum EffectKind
{
	EFFECT_WAKE_AT,
	EFFECT_AGENT,
	EFFECT_AGENT_GONE,
	EFFECT_HELD,
	EFFECT_CANCEL_REQUESTED,
	EFFECT_ATTACH,
	EFFECT_DETACH,
	EFFECT_DISCONNECT_HANDLED,
	EFFECT_FINISHED,
	EFFECT_POLICY_CHANGED,
	EFFECT_SHELVES,
	EFFECT_READY,
	EFFECT_EXTENSION_CREATED,
	EFFECT_RELEASE_DATABASE,
	EFFECT_UNSWEPT
} EffectKind;

#define AT_COMMIT	1
#define AT_ABORT	2

typedef struct Effect
{
	EffectKind	kind;
	int			when;			/* AT_COMMIT, AT_ABORT or both */
	int			level;			/* nesting level of the (sub)transaction */
	DbState    *db;
	char	   *agent_id;		/* in effects_context */
	union
	{
		TimestampTz at;
		AgentFacts	facts;
		struct
		{
			int			delta;
			uint64		hash;
		}			held;
		int64		incarnation;
		uint32		disconnects;
		int64		task_id;
		struct
		{
			DateADT		first;
			DateADT		last;
		}			shelves;
		struct
		{
			int32		id;
			int64		count;
		}			lane;
		Oid			database;
	};
} Effect;

static MemoryContext effects_context;	/* child of TopMemoryContext */
static Effect *effects;
static int	effect_count;
static int	effect_room;

static void
apply(const Effect *effect)
{
	DbState    *db = effect->db;

	switch (effect->kind)
	{
		case EFFECT_WAKE_AT:
			db_wake_at(db, effect->at);
			break;
		case EFFECT_AGENT:
			roster_set(db, effect->agent_id, &effect->facts);
			db_wake_now(db);	/* its deadline may be the next */
			waiters_wake_db(db);
			break;
		case EFFECT_AGENT_GONE:
			roster_remove(db, effect->agent_id);
			break;
		case EFFECT_HELD:
			roster_held(db, effect->agent_id, effect->held.delta, effect->held.hash);
			break;
		case EFFECT_CANCEL_REQUESTED:
			roster_cancel_requested(db, effect->agent_id);
			break;
		case EFFECT_ATTACH:
			roster_attach(db, effect->agent_id, effect->incarnation);
			break;
		case EFFECT_DETACH:
			roster_detach(db, effect->agent_id);
			break;
		case EFFECT_DISCONNECT_HANDLED:
			roster_disconnect_handled(db, effect->agent_id, effect->disconnects);
			break;
		case EFFECT_FINISHED:
			waiters_wake_task(db, effect->task_id);
			break;
		case EFFECT_POLICY_CHANGED:
			pg_atomic_fetch_add_u64(&db->policy_generation, 1);
			waiters_wake_db(db);
			break;
		case EFFECT_SHELVES:
			db_set_shelves(db, effect->shelves.first, effect->shelves.last);
			break;
		case EFFECT_READY:
			waiters_wake_lane(db, effect->lane.id, effect->lane.count);
			break;
		case EFFECT_EXTENSION_CREATED:
			workers_request(effect->database);
			break;
		case EFFECT_RELEASE_DATABASE:
			workers_release(effect->database);
			break;
		case EFFECT_UNSWEPT:
			db_wake_at(db, effect->at);
			break;
	}
}

/* Does those of level and above that are for this end, and forgets them. */
static void
finish(int level, int when)
{
	int			kept = effect_count;

	while (kept > 0 && effects[kept - 1].level >= level)
		kept--;
	for (int i = kept; i < effect_count; i++)
		if (effects[i].when & when)
			apply(&effects[i]);
	effect_count = kept;
}

static void
forget_all(void)
{
	effect_count = 0;
	effect_room = 0;
	effects = NULL;
	MemoryContextReset(effects_context);
}

static void
at_transaction_end(XactEvent event, void *arg)
{
	if (effect_count == 0)
		return;
	switch (event)
	{
		case XACT_EVENT_COMMIT:
			finish(0, AT_COMMIT);
			forget_all();
			break;
		case XACT_EVENT_ABORT:
			finish(0, AT_ABORT);
			forget_all();
			break;
		case XACT_EVENT_PRE_PREPARE:
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("cannot prepare a transaction that called ains"),
					 errdetail("What it does to shared memory could not survive until COMMIT PREPARED."),
					 errhint("Commit it with COMMIT.")));
			break;
		default:
			break;
	}
}

static void
at_subtransaction_end(SubXactEvent event, SubTransactionId mySubid,
					  SubTransactionId parentSubid, void *arg)
{
	int			level = GetCurrentTransactionNestLevel();

	if (effect_count == 0)
		return;
	if (event == SUBXACT_EVENT_ABORT_SUB)
		finish(level, AT_ABORT);
	else if (event == SUBXACT_EVENT_COMMIT_SUB)
	{
		for (int i = effect_count; i > 0 && effects[i - 1].level >= level; i--)
			effects[i - 1].level = level - 1;
	}
}

/* Registers the callbacks, once per backend; for _PG_init. */
void
effects_init(void)
{
	RegisterXactCallback(at_transaction_end, NULL);
	RegisterSubXactCallback(at_subtransaction_end, NULL);
}

/* A new entry on the stack; everything that can fail happens here. */
static Effect *
push(EffectKind kind, int when, DbState *db, const char *agent_id)
{
	MemoryContext old;
	Effect	   *effect;
	char	   *copy = NULL;

	if (effects_context == NULL)
		effects_context = AllocSetContextCreate(TopMemoryContext, "ains effects",
												ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(effects_context);
	if (effects == NULL)
	{
		effect_room = 16;
		effects = palloc(effect_room * sizeof(Effect));
	}
	else if (effect_count == effect_room)
	{
		effects = repalloc_huge(effects, (Size) effect_room * 2 * sizeof(Effect));
		effect_room *= 2;
	}
	if (agent_id != NULL)
		copy = pstrdup(agent_id);
	MemoryContextSwitchTo(old);

	effect = &effects[effect_count++];
	memset(effect, 0, sizeof(Effect));
	effect->kind = kind;
	effect->when = when;
	effect->level = GetCurrentTransactionNestLevel();
	effect->db = db;
	effect->agent_id = copy;
	return effect;
}

/*
 * The latest effect of this kind on db in this (sub)transaction among the last
 * few, to be merged with; NULL if there is none. Keeps a transaction with
 * many tasks from piling up what one entry can say.
 */
static Effect *
recent(EffectKind kind, int when, DbState *db, int32 lane_id, const char *agent_id)
{
	int			level = GetCurrentTransactionNestLevel();

	for (int i = effect_count - 1; i >= 0 && i >= effect_count - 8; i--)
	{
		Effect	   *effect = &effects[i];

		if (effect->level != level)
			break;
		if (effect->kind == kind && effect->when == when && effect->db == db &&
			(kind != EFFECT_READY || effect->lane.id == lane_id) &&
			(agent_id == NULL || strcmp(effect->agent_id, agent_id) == 0))
			return effect;
	}
	return NULL;
}

/* A row got this wake_at. */
void
effect_wake_at(DbState *db, TimestampTz at)
{
	Effect	   *effect = recent(EFFECT_WAKE_AT, AT_COMMIT, db, 0, NULL);

	if (effect != NULL)
		effect->at = Min(effect->at, at);
	else
		push(EFFECT_WAKE_AT, AT_COMMIT, db, NULL)->at = at;
}

/* The row of an agent was written. */
void
effect_agent(DbState *db, const char *agent_id, const AgentFacts *facts)
{
	push(EFFECT_AGENT, AT_COMMIT, db, agent_id)->facts = *facts;
}

/* The row of an agent was deleted. */
void
effect_agent_gone(DbState *db, const char *agent_id)
{
	push(EFFECT_AGENT_GONE, AT_COMMIT, db, agent_id);
}

/* The agent got (+1) or lost (-1) the lease of a task. */
void
effect_held(DbState *db, const char *agent_id, int64 task_id, int delta)
{
	Effect	   *effect = recent(EFFECT_HELD, AT_COMMIT, db, 0, agent_id);

	if (effect == NULL)
		effect = push(EFFECT_HELD, AT_COMMIT, db, agent_id);
	effect->held.delta += delta;
	effect->held.hash ^= roster_task_hash(task_id);
}

/* A task that the agent holds is marked for cancellation. */
void
effect_cancel_requested(DbState *db, const char *agent_id)
{
	push(EFFECT_CANCEL_REQUESTED, AT_COMMIT, db, agent_id);
}

/* This backend is the connection of the agent. */
void
effect_attach(DbState *db, const char *agent_id, int64 incarnation)
{
	roster_prepare_attach();
	push(EFFECT_ATTACH, AT_COMMIT, db, agent_id)->incarnation = incarnation;
}

void
effect_detach(DbState *db, const char *agent_id)
{
	push(EFFECT_DETACH, AT_COMMIT, db, agent_id);
}

/* The leases of an agent whose connection ended so often are taken back. */
void
effect_disconnect_handled(DbState *db, const char *agent_id, uint32 disconnects)
{
	push(EFFECT_DISCONNECT_HANDLED, AT_COMMIT, db, agent_id)->disconnects = disconnects;
}

/* A task went to history. */
void
effect_finished(DbState *db, int64 task_id)
{
	push(EFFECT_FINISHED, AT_COMMIT, db, NULL)->task_id = task_id;
}

/* A capability, or what an agent offers, changed. */
void
effect_policy_changed(DbState *db)
{
	push(EFFECT_POLICY_CHANGED, AT_COMMIT, db, NULL);
}

/* Shelves were attached or dropped. */
void
effect_shelves(DbState *db, DateADT first, DateADT last)
{
	Effect	   *effect = push(EFFECT_SHELVES, AT_COMMIT, db, NULL);

	effect->shelves.first = first;
	effect->shelves.last = last;
}

static void
ready(DbState *db, int when, int32 lane_id, int64 count)
{
	Effect	   *effect = recent(EFFECT_READY, when, db, lane_id, NULL);

	if (effect == NULL)
	{
		effect = push(EFFECT_READY, when, db, NULL);
		effect->lane.id = lane_id;
	}
	effect->lane.count += count;
}

/* Tasks of the lane became PENDING. */
void
effect_ready(DbState *db, int32 lane_id, int64 count)
{
	ready(db, AT_COMMIT, lane_id, count);
}

/* Tasks of the lane were claimed: an abort makes them claimable again. */
void
effect_claimed(DbState *db, int32 lane_id, int64 count)
{
	ready(db, AT_ABORT, lane_id, count);
}

/* CREATE EXTENSION in this database: it needs a sweeper. */
void
effect_extension_created(Oid database)
{
	push(EFFECT_EXTENSION_CREATED, AT_COMMIT, NULL, NULL)->database = database;
}

/* The command that holds the sweeper of a database off ends. */
void
effect_release_database(Oid database)
{
	push(EFFECT_RELEASE_DATABASE, AT_COMMIT | AT_ABORT, NULL, NULL)->database = database;
}

/* A sweep took the rows from here on; if it is undone they wait again. */
void
effect_unswept(DbState *db, TimestampTz at)
{
	push(EFFECT_UNSWEPT, AT_ABORT, db, NULL)->at = at;
}

/*
 * What this transaction has done to an agent and not yet told the roster:
 * true and its facts, or gone.
 */
bool
effects_pending_agent(DbState *db, const char *agent_id, AgentFacts *facts, bool *gone)
{
	for (int i = effect_count - 1; i >= 0; i--)
	{
		Effect	   *effect = &effects[i];

		if ((effect->kind != EFFECT_AGENT && effect->kind != EFFECT_AGENT_GONE) ||
			effect->db != db || strcmp(effect->agent_id, agent_id) != 0)
			continue;
		*gone = effect->kind == EFFECT_AGENT_GONE;
		if (!*gone)
			*facts = effect->facts;
		return true;
	}
	return false;
}

static bool
pending(EffectKind kind)
{
	for (int i = effect_count - 1; i >= 0; i--)
		if (effects[i].kind == kind)
			return true;
	return false;
}

/* Whether this transaction changed a policy: what it reads may be its own. */
bool
effects_policy_pending(void)
{
	return pending(EFFECT_POLICY_CHANGED);
}

/* Whether it made or dropped shelves. */
bool
effects_shelves_pending(void)
{
	return pending(EFFECT_SHELVES);
}
