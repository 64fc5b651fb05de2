/*
 * soft/effects.c
 *		Transaction end: the only place where it touches the soft state, in
 *		the order of `parts`; and the effects that are about anything but keys.
 *
 * What is noted is noted in memory that is there before anything else happens,
 * so the end of a transaction allocates nothing and cannot fail.
 */
#include "soft/effects.h"

#include "access/xact.h"
#include "utils/memutils.h"

#include "errors.h"
#include "soft/counters.h"
#include "soft/journal.h"
#include "soft/limits.h"
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
	EFFECT_EXTENSION_CREATED,
	EFFECT_RELEASE_DATABASE,
	EFFECT_UNSWEPT,
	EFFECT_TRUST_WRITTEN
} EffectKind;

#define EFFECT_KINDS	(EFFECT_TRUST_WRITTEN + 1)

typedef struct Effect
{
	Note		note;
	EffectKind	kind;
	EffectWhen	when;
	DbState    *db;
	char	   *agent_id;		/* in TopTransactionContext */
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
			TrustDelta *trust;	/* in TopTransactionContext; NULL: none */
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
		Oid			database;
	};
} Effect;

static NoteStack stack = {sizeof(Effect)};
/* How many there are of each kind: most questions are about kinds there are none of. */
static int	kind_count[EFFECT_KINDS];

static inline Effect *
effect_at(int i)
{
	return (Effect *) stack.notes + i;
}

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

static void
end(int first, bool commit)
{
	for (int i = first; i < stack.count; i++)
	{
		const Effect *effect = effect_at(i);

		if (effect->when & (commit ? ON_COMMIT : ON_ABORT))
			apply(effect);
		kind_count[effect->kind]--;
	}
}

static const TransactionPart effects_part = {.notes = &stack, .end = end};

/*
 * Who has something to do at the end of a transaction, in this order: gauges
 * move before anybody may judge by them; agents have room again, then tasks are
 * ready for them; slots are given back when both can be seen. The first is
 * core's, which still writes rows.
 */
static const TransactionPart *parts[] = {
	NULL,
	&counters_part,
	&effects_part,
	&effects_ready_part,
	&limits_part,
	&journal_part,
};

static void
before_commit(void)
{
	for (int i = 0; i < lengthof(parts); i++)
		if (parts[i]->notes->count > 0 && parts[i]->before_commit != NULL)
			parts[i]->before_commit();
}

static void
end_transaction(bool commit)
{
	for (int i = 0; i < lengthof(parts); i++)
	{
		if (parts[i]->notes->count == 0)
			continue;
		if (parts[i]->end != NULL)
			parts[i]->end(0, commit);
		notes_forget(parts[i]->notes);
	}
}

static void
refuse_to_prepare(void)
{
	for (int i = 0; i < lengthof(parts); i++)
		if (parts[i]->notes->count > 0)
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("cannot prepare a transaction that called ains"),
					 errdetail("What it does to shared memory could not survive until COMMIT PREPARED."),
					 errhint("Commit it with COMMIT.")));
}

static void
at_transaction_end(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
			before_commit();
			break;
		case XACT_EVENT_PRE_PREPARE:
			refuse_to_prepare();
			break;
		case XACT_EVENT_COMMIT:
		case XACT_EVENT_ABORT:
			end_transaction(event == XACT_EVENT_COMMIT);
			break;
		default:
			break;
	}
}

static void
abort_level(const TransactionPart *part, int level)
{
	int			first = notes_first(part->notes, level);

	if (first < part->notes->count && part->end != NULL)
		part->end(first, false);
	part->notes->count = first;
}

static void
at_subtransaction_end(SubXactEvent event, SubTransactionId mySubid,
					  SubTransactionId parentSubid, void *arg)
{
	int			level = GetCurrentTransactionNestLevel();

	for (int i = 0; i < lengthof(parts); i++)
	{
		if (parts[i]->notes->count == 0)
			continue;
		if (event == SUBXACT_EVENT_ABORT_SUB)
			abort_level(parts[i], level);
		else if (event == SUBXACT_EVENT_COMMIT_SUB && parts[i]->merge != NULL)
			parts[i]->merge(level);
		else if (event == SUBXACT_EVENT_COMMIT_SUB)
			notes_merge(parts[i]->notes, level);
	}
}

/*
 * Registers the callbacks, once per backend; for _PG_init. `core`: what core
 * has to write before a commit.
 */
void
effects_init(const TransactionPart *core)
{
	parts[0] = core;
	RegisterXactCallback(at_transaction_end, NULL);
	RegisterSubXactCallback(at_subtransaction_end, NULL);
}

/* A new entry on the stack; everything that can fail happens here. */
static Effect *
push(EffectKind kind, EffectWhen when, DbState *db, const char *agent_id)
{
	char	   *copy = agent_id == NULL ? NULL
		: MemoryContextStrdup(TopTransactionContext, agent_id);
	Effect	   *effect = notes_add(&stack);

	kind_count[kind]++;
	effect->kind = kind;
	effect->when = when;
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
recent(EffectKind kind, DbState *db, const char *agent_id)
{
	int			level = GetCurrentTransactionNestLevel();

	for (int i = stack.count - 1; i >= 0 && i >= stack.count - 8; i--)
	{
		Effect	   *effect = effect_at(i);

		if (effect->note.level != level)
			break;
		if (effect->kind == kind && effect->db == db &&
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
	Effect	   *effect = recent(EFFECT_WAKE_AT, db, NULL);

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
	Effect	   *effect = recent(EFFECT_HELD, db, agent_id);

	/* what is got is not merged with what is lost: a lease may be orphaned */
	if (effect == NULL || effect->held.incarnation != incarnation ||
		(effect->held.delta > 0) != (delta > 0))
	{
		effect = push(EFFECT_HELD, ON_COMMIT, db, agent_id);
		effect->held.incarnation = incarnation;
	}
	if (trust != NULL && effect->held.trust == NULL)
		effect->held.trust = MemoryContextAllocZero(TopTransactionContext, sizeof(TrustDelta));
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
	for (int i = stack.count - 1; i >= 0; i--)
	{
		Effect	   *effect = effect_at(i);

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
	for (int i = 0; i < stack.count; i++)
	{
		Effect	   *effect = effect_at(i);

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
	return stack.count > 0 || effects_ready_part.notes->count > 0;
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
