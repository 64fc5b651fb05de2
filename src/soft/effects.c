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
#include "soft/counters.h"
#include "soft/waiters.h"
#include "soft/workers.h"

typedef enum EffectKind
{
	EFFECT_WAKE_AT,
	EFFECT_AGENT,
	EFFECT_NEW_AGENT,
	EFFECT_AGENT_GONE,
	EFFECT_HELD,
	EFFECT_CANCEL_REQUESTED,
	EFFECT_ATTACH,
	EFFECT_DETACH,
	EFFECT_ORPHANS_HANDLED,
	EFFECT_FINISHED,
	EFFECT_POLICY_CHANGED,
	EFFECT_SHELVES,
	EFFECT_READY,
	EFFECT_LOWER,
	EFFECT_EXTENSION_CREATED,
	EFFECT_RELEASE_DATABASE,
	EFFECT_UNSWEPT,
	EFFECT_TRUST_WRITTEN
} EffectKind;

#define EFFECT_KINDS	(EFFECT_TRUST_WRITTEN + 1)

/* A transaction with more effects says "from this key on" instead of each key. */
#define MANY_EFFECTS	10000

typedef struct Effect
{
	EffectKind	kind;
	EffectWhen	when;
	int			level;			/* nesting level of the (sub)transaction */
	DbState    *db;
	char	   *agent_id;		/* in effects_context */
	union
	{
		TimestampTz at;
		AgentFacts	facts;
		uint64		version;
		struct
		{
			int64		incarnation;
			int			delta;
			uint64		hash;
			TrustDelta *trust;	/* in effects_context; NULL: none */
		}			held;
		int64		incarnation;
		uint32		orphans;
		int32		score;
		int64		task_id;
		struct
		{
			DateADT		first;
			DateADT		last;
		}			shelves;
		struct
		{
			int32		id;
			ReadyKey	key;
		}			lane;
		Oid			database;
	};
} Effect;

static MemoryContext effects_context;	/* child of TopMemoryContext */
static Effect *effects;
static int	effect_count;
static int	effect_room;
/* How many there are of each kind: most questions are about kinds there are none of. */
static int	kind_count[EFFECT_KINDS];

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
		case EFFECT_NEW_AGENT:
			roster_set(db, effect->agent_id, &effect->facts);
			db_wake_now(db);	/* its deadline may be the next */
			waiters_wake_agent(db, effect->agent_id);
			break;
		case EFFECT_AGENT_GONE:
			roster_remove(db, effect->agent_id, effect->version);
			break;
		case EFFECT_HELD:
			if (roster_held(db, effect->agent_id, effect->held.incarnation, effect->held.delta,
							effect->held.hash, effect->held.trust))
				waiters_wake_agent(db, effect->agent_id);
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
		case EFFECT_ORPHANS_HANDLED:
			roster_orphans_handled(db, effect->agent_id, effect->orphans);
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
			if (effect->when == ON_END)
				ready_push_back(db, effect->lane.id, effect->lane.key);
			else
				ready_push(db, effect->lane.id, effect->lane.key);
			break;
		case EFFECT_LOWER:
			ready_lower(db, effect->lane.id, effect->lane.key);
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
		case EFFECT_TRUST_WRITTEN:
			if (effect->agent_id != NULL)
				roster_trust_written(db, effect->agent_id, effect->score);
			else
				db_set_trust_recovered(db, true);
			break;
	}
}

/*
 * After the keys are pushed: wakes as many waiters as became claimable, lane by
 * lane, in one go for a run of keys of the same lane.
 */
static void
wake_for_ready(int from, int when)
{
	const Effect *first = NULL;
	int64		count = 0;

	for (int i = from; i < effect_count; i++)
	{
		const Effect *effect = &effects[i];

		if ((effect->kind != EFFECT_READY && effect->kind != EFFECT_LOWER) ||
			!(effect->when & when))
			continue;
		if (first != NULL && (effect->db != first->db || effect->lane.id != first->lane.id))
		{
			waiters_wake_lane(first->db, first->lane.id, count);
			count = 0;
		}
		first = effect;
		/* how many tasks a lowered horizon hides is not known */
		count += effect->kind == EFFECT_READY ? 1 : MaxBackends;
	}
	if (first != NULL)
		waiters_wake_lane(first->db, first->lane.id, count);
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
	wake_for_ready(kept, when);
	for (int i = kept; i < effect_count; i++)
		kind_count[effects[i].kind]--;
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
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT)
		counters_end(0, event == XACT_EVENT_COMMIT);
	if (effect_count == 0 && !(event == XACT_EVENT_PRE_PREPARE && counters_pending()))
		return;
	switch (event)
	{
		case XACT_EVENT_COMMIT:
			finish(0, ON_COMMIT);
			forget_all();
			break;
		case XACT_EVENT_ABORT:
			finish(0, ON_ABORT);
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

	if (event == SUBXACT_EVENT_ABORT_SUB)
		counters_end(level, false);
	else if (event == SUBXACT_EVENT_COMMIT_SUB)
		counters_merge(level);
	if (effect_count == 0)
		return;
	if (event == SUBXACT_EVENT_ABORT_SUB)
		finish(level, ON_ABORT);
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

/* Makes room for so many more effects, so that registering them cannot fail. */
void
effects_reserve(int count)
{
	if (effects_context == NULL)
		effects_context = AllocSetContextCreate(TopMemoryContext, "ains effects",
												ALLOCSET_DEFAULT_SIZES);
	if (effects == NULL)
	{
		effects = MemoryContextAlloc(effects_context, (count + 16) * sizeof(Effect));
		effect_room = count + 16;
	}
	else if (effect_count + count > effect_room)
	{
		int			room = Max(effect_room * 2, effect_count + count);

		effects = repalloc_huge(effects, (Size) room * sizeof(Effect));
		effect_room = room;
	}
}

/* A new entry on the stack; everything that can fail happens here. */
static Effect *
push(EffectKind kind, EffectWhen when, DbState *db, const char *agent_id)
{
	Effect	   *effect;
	char	   *copy = NULL;

	effects_reserve(1);
	if (agent_id != NULL)
		copy = MemoryContextStrdup(effects_context, agent_id);

	effect = &effects[effect_count++];
	kind_count[kind]++;
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
recent(EffectKind kind, EffectWhen when, DbState *db, int32 lane_id, const char *agent_id)
{
	int			level = GetCurrentTransactionNestLevel();

	for (int i = effect_count - 1; i >= 0 && i >= effect_count - 8; i--)
	{
		Effect	   *effect = &effects[i];

		if (effect->level != level)
			break;
		if (effect->kind == kind && effect->when == when && effect->db == db &&
			(kind != EFFECT_LOWER || effect->lane.id == lane_id) &&
			(agent_id == NULL || strcmp(effect->agent_id, agent_id) == 0))
			return effect;
	}
	return NULL;
}

static inline bool
pending(EffectKind kind)
{
	return kind_count[kind] > 0;
}

/* A row got this wake_at. */
void
effect_wake_at(DbState *db, TimestampTz at)
{
	Effect	   *effect = recent(EFFECT_WAKE_AT, ON_COMMIT, db, 0, NULL);

	if (effect != NULL)
		effect->at = Min(effect->at, at);
	else
		push(EFFECT_WAKE_AT, ON_COMMIT, db, NULL)->at = at;
}

/*
 * The row of an agent was written. facts->version was drawn from db_version()
 * while we had the row locked.
 */
void
effect_agent(DbState *db, const char *agent_id, const AgentFacts *facts, bool is_new)
{
	push(is_new ? EFFECT_NEW_AGENT : EFFECT_AGENT, ON_COMMIT, db, agent_id)->facts = *facts;
}

/* The row of an agent was deleted; the version likewise. */
void
effect_agent_gone(DbState *db, const char *agent_id, uint64 version)
{
	push(EFFECT_AGENT_GONE, ON_COMMIT, db, agent_id)->version = version;
}

/*
 * This incarnation of the agent got (+1) or lost (-1) the lease of a task; what
 * that does to its trust, or NULL.
 */
void
effect_held(DbState *db, const char *agent_id, int64 incarnation, int64 task_id, int delta,
			const TrustDelta *trust)
{
	Effect	   *effect = recent(EFFECT_HELD, ON_COMMIT, db, 0, agent_id);

	/* what is got is not merged with what is lost: a lease may be orphaned */
	if (effect == NULL || effect->held.incarnation != incarnation ||
		(effect->held.delta > 0) != (delta > 0))
	{
		effect = push(EFFECT_HELD, ON_COMMIT, db, agent_id);
		effect->held.incarnation = incarnation;
	}
	if (trust != NULL && effect->held.trust == NULL)
		effect->held.trust = MemoryContextAllocZero(effects_context, sizeof(TrustDelta));
	if (trust != NULL)
		policy_trust_join(effect->held.trust, trust);
	effect->held.delta += delta;
	effect->held.hash ^= roster_task_hash(task_id);
}

/*
 * What was taken of an agent's trust is in its row, and this the score there;
 * NULL: what history has of all of them of the time before the start is.
 */
void
effect_trust_written(DbState *db, const char *agent_id, int32 score)
{
	push(EFFECT_TRUST_WRITTEN, ON_COMMIT, db, agent_id)->score = score;
}

/* Whether this transaction has written trust: it must not take the same again. */
bool
effects_trust_pending(void)
{
	return pending(EFFECT_TRUST_WRITTEN);
}

/* A task that the agent holds is marked for cancellation. */
void
effect_cancel_requested(DbState *db, const char *agent_id)
{
	push(EFFECT_CANCEL_REQUESTED, ON_COMMIT, db, agent_id);
}

/* This backend is the connection of the agent. */
void
effect_attach(DbState *db, const char *agent_id, int64 incarnation)
{
	roster_prepare_attach();
	push(EFFECT_ATTACH, ON_COMMIT, db, agent_id)->incarnation = incarnation;
}

void
effect_detach(DbState *db, const char *agent_id)
{
	push(EFFECT_DETACH, ON_COMMIT, db, agent_id);
}

/* The leases that had lost their holder so often are taken back. */
void
effect_orphans_handled(DbState *db, const char *agent_id, uint32 orphans)
{
	push(EFFECT_ORPHANS_HANDLED, ON_COMMIT, db, agent_id)->orphans = orphans;
}

/* A task went to history. */
void
effect_finished(DbState *db, int64 task_id)
{
	push(EFFECT_FINISHED, ON_COMMIT, db, NULL)->task_id = task_id;
}

/* A capability, or what an agent offers, changed. */
void
effect_policy_changed(DbState *db)
{
	push(EFFECT_POLICY_CHANGED, ON_COMMIT, db, NULL);
}

/* Shelves were attached or dropped. */
void
effect_shelves(DbState *db, DateADT first, DateADT last)
{
	Effect	   *effect = push(EFFECT_SHELVES, ON_COMMIT, db, NULL);

	effect->shelves.first = first;
	effect->shelves.last = last;
}

/* The key of a row that is PENDING, or may be, at the end of this transaction. */
void
effect_ready(DbState *db, int32 lane_id, ReadyKey key, EffectWhen when)
{
	Effect	   *effect;

	if (effect_count >= MANY_EFFECTS && (when & ON_COMMIT))
	{
		effect_lower(db, lane_id, key);
		return;
	}
	effect = push(EFFECT_READY, when, db, NULL);
	effect->lane.id = lane_id;
	effect->lane.key = key;
}

/* Any of the lane's rows from this key on may be PENDING at the end. */
void
effect_lower(DbState *db, int32 lane_id, ReadyKey key)
{
	Effect	   *effect = recent(EFFECT_LOWER, ON_END, db, lane_id, NULL);

	if (effect == NULL)
	{
		effect = push(EFFECT_LOWER, ON_END, db, NULL);
		effect->lane.id = lane_id;
		effect->lane.key = key;
	}
	else if (ready_key_compare(key, effect->lane.key) < 0)
		effect->lane.key = key;
}

/*
 * The row of a key that was just registered ON_END has another key, or none,
 * from now on: the old one is right only after an abort.
 */
void
effect_ready_changed(DbState *db, int32 lane_id, ReadyKey key)
{
	int			level = GetCurrentTransactionNestLevel();

	for (int i = effect_count - 1; i >= 0 && effects[i].level == level; i--)
	{
		Effect	   *effect = &effects[i];

		if (effect->kind == EFFECT_READY && effect->db == db && effect->lane.id == lane_id &&
			effect->when == ON_END && ready_key_compare(effect->lane.key, key) == 0)
		{
			effect->when = ON_ABORT;
			return;
		}
	}
}

/*
 * A key that was popped proved to be of no use: whoever changed or locked its
 * row pushes what there is to push.
 */
void
effect_ready_not(DbState *db, int32 lane_id, ReadyKey key)
{
	for (int i = effect_count - 1; i >= 0; i--)
	{
		Effect	   *effect = &effects[i];

		if (effect->kind == EFFECT_READY && effect->db == db && effect->lane.id == lane_id &&
			effect->when == ON_ABORT && ready_key_compare(effect->lane.key, key) == 0)
		{
			effect->when = NEVER;
			return;
		}
	}
}

/* A ready key of this transaction and where on the stack it stands. */
typedef struct OwnKey
{
	PoppedKey	popped;
	int			at;
} OwnKey;

static int
compare_own_keys(const void *a, const void *b)
{
	const OwnKey *x = a;
	const OwnKey *y = b;
	int			order = ready_key_compare(x->popped.key, y->popped.key);

	return order != 0 ? order : x->at - y->at;
}

/*
 * The keys in these lanes that are ready for this transaction alone, since it
 * made them so and has not committed, in rank order. The latest effect of a
 * key decides: one for an abort stands for a claim.
 */
PoppedKey *
effects_own_ready(DbState *db, const int32 *lanes, int lane_count, int *count)
{
	OwnKey	   *own;
	PoppedKey  *ready;
	int			found = 0;

	*count = 0;
	if (effect_count == 0)
		return NULL;
	own = palloc(effect_count * sizeof(OwnKey));
	for (int i = 0; i < effect_count; i++)
	{
		if (effects[i].kind != EFFECT_READY || effects[i].db != db || effects[i].when == NEVER)
			continue;
		for (int lane = 0; lane < lane_count; lane++)
			if (lanes[lane] == effects[i].lane.id)
				own[found++] = (OwnKey) {{effects[i].lane.key, lane}, i};
	}
	qsort(own, found, sizeof(OwnKey), compare_own_keys);
	ready = palloc((found + 1) * sizeof(PoppedKey));
	for (int i = 0; i < found; i++)
	{
		bool		latest = i + 1 == found ||
			ready_key_compare(own[i].popped.key, own[i + 1].popped.key) != 0;

		if (latest && (effects[own[i].at].when & ON_COMMIT))
			ready[(*count)++] = own[i].popped;
	}
	pfree(own);
	return ready;
}

/* CREATE EXTENSION in this database: it needs a sweeper. */
void
effect_extension_created(Oid database)
{
	push(EFFECT_EXTENSION_CREATED, ON_COMMIT, NULL, NULL)->database = database;
}

/* The command that holds the sweeper of a database off ends. */
void
effect_release_database(Oid database)
{
	push(EFFECT_RELEASE_DATABASE, ON_END, NULL, NULL)->database = database;
}

/* A sweep took the rows from here on; if it is undone they wait again. */
void
effect_unswept(DbState *db, TimestampTz at)
{
	push(EFFECT_UNSWEPT, ON_ABORT, db, NULL)->at = at;
}

/*
 * What this transaction has done to an agent and not yet told the roster:
 * true and its facts, or gone.
 */
bool
effects_pending_agent(DbState *db, const char *agent_id, AgentFacts *facts, bool *gone)
{
	if (!pending(EFFECT_AGENT) && !pending(EFFECT_NEW_AGENT) && !pending(EFFECT_AGENT_GONE))
		return false;
	for (int i = effect_count - 1; i >= 0; i--)
	{
		Effect	   *effect = &effects[i];

		if ((effect->kind != EFFECT_AGENT && effect->kind != EFFECT_NEW_AGENT &&
			 effect->kind != EFFECT_AGENT_GONE) || effect->db != db || strcmp(effect->agent_id, agent_id) != 0)
			continue;
		*gone = effect->kind == EFFECT_AGENT_GONE;
		if (!*gone)
			*facts = effect->facts;
		return true;
	}
	return false;
}

/* How many agents this transaction adds. */
int
effects_new_agents(void)
{
	return kind_count[EFFECT_NEW_AGENT];
}

/*
 * What this transaction will do to the count of an agent's leases. The table
 * shows it already, so whoever counts there takes it off.
 */
void
effects_pending_held(DbState *db, const char *agent_id, int *delta, uint64 *hash)
{
	*delta = 0;
	*hash = 0;
	if (!pending(EFFECT_HELD))
		return;
	for (int i = 0; i < effect_count; i++)
	{
		Effect	   *effect = &effects[i];

		if (effect->kind != EFFECT_HELD || effect->db != db ||
			strcmp(effect->agent_id, agent_id) != 0)
			continue;
		*delta += effect->held.delta;
		*hash ^= effect->held.hash;
	}
}

/* Whether this transaction changed anything: what it reads may be its own. */
bool
effects_any(void)
{
	return effect_count > 0;
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
