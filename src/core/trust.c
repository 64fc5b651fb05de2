/*
 * core/trust.c
 *		How far an agent is trusted.
 *
 * The end of an attempt adds to the roster, at commit, and writes nothing; from
 * there the rows of the agents get it now and then. What a row did not get
 * before the server stopped is found in history. The two cannot meet: memory
 * has what ended since its first call, history is asked for what ended before.
 */
#include "core/trust.h"

#include <math.h>

#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "core/agent.h"
#include "soft/effects.h"
#include "soft/roster.h"
#include "store/trust_store.h"

/* Ends of attempts that are read from history at once. */
#define RECOVER_BATCH		100000
/* As in worker/sweeper.c: nobody else's advisory locks are of this class. */
#define TRUST_LOCK_CLASS	3
#define TRUST_LOCK_KEY		0x74727573	/* "trus" */

/*
 * What is taken from the roster stays there until it is written and committed,
 * so only one transaction at a time may do that. False: another one does.
 */
static bool
lock_trust(bool wait)
{
	LOCKTAG		tag;

	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, 0, TRUST_LOCK_KEY, TRUST_LOCK_CLASS);
	return LockAcquire(&tag, ExclusiveLock, false, !wait) != LOCKACQUIRE_NOT_AVAIL;
}

static TrustDelta
delta_of(const TrustEvent *event)
{
	if (event->outcome == NULL)
	{
		TrustDelta	by_hand = {.shift = event->points, .low = 0, .high = TRUST_ONE};

		return by_hand;
	}
	return policy_trust(event->outcome, event->started_at, event->ended_at, event->timeout,
						event->lease_token);
}

static int
compare_agents(const void *a, const void *b)
{
	const TrustEvent *one = a;
	const TrustEvent *other = b;
	int			order = strcmp(one->agent_id, other->agent_id);

	if (order == 0 && one->ended_at != other->ended_at)
		order = one->ended_at < other->ended_at ? -1 : 1;
	if (order == 0 && one->lease_token != other->lease_token)
		order = one->lease_token < other->lease_token ? -1 : 1;
	return order;
}

/*
 * Replays what history has of the time before the start and the rows do not;
 * false: some row was locked, which leaves the rest for the next time.
 */
static bool
recover(Call *call)
{
	TimestampTz before = db_trust_since(call->db, call->now.wall);
	DateADT		shelf = trust_store_first_shelf();
	MemoryContext batch = AllocSetContextCreate(CurrentMemoryContext, "ains trust",
												ALLOCSET_DEFAULT_SIZES);
	bool		done = true;
	int			count;

	do
	{
		MemoryContext old = MemoryContextSwitchTo(batch);
		TrustEvent *events = trust_store_unwritten(shelf, before, RECOVER_BATCH, &count);

		qsort(events, count, sizeof(TrustEvent), compare_agents);
		for (int i = 0; i < count;)
		{
			const char *agent_id = events[i].agent_id;
			TrustDelta	sum = {0};

			for (; i < count && strcmp(events[i].agent_id, agent_id) == 0; i++)
			{
				TrustDelta	delta = delta_of(&events[i]);

				policy_trust_join(&sum, &delta);
			}
			if (trust_store_write(agent_id, &sum) < 0)
				done = false;
			CHECK_FOR_INTERRUPTS();
		}
		MemoryContextSwitchTo(old);
		MemoryContextReset(batch);
	} while (done && count == RECOVER_BATCH);
	MemoryContextDelete(batch);
	return done;
}

/*
 * Writes down what the roster has gathered, once in a transaction. Rows that
 * somebody has locked get it the next time; so do all of them if another
 * transaction is at it and we shall not wait for that. (Of what was found in
 * history the roster hears from the audit.)
 */
void
trust_write(Call *call, bool wait)
{
	AgentView	view;
	TrustDelta	delta;
	int			position = 0;

	if (effects_trust_pending() || !lock_trust(wait))
		return;
	if (!db_trust_recovered(call->db))
	{
		if (!recover(call))
			return;
		effect_trust_written(call->db, NULL, 0);
	}
	while (roster_next(call->db, &position, &view))
	{
		int32		score;

		if (roster_take_trust(call->db, view.agent_id, &delta) &&
			(score = trust_store_write(view.agent_id, &delta)) >= 0)
			effect_trust_written(call->db, view.agent_id, score);
		CHECK_FOR_INTERRUPTS();
	}
}

/*
 * Adds delta (numeric) to an agent's score, after all that came before, and
 * returns what it is then. Raises NS002.
 */
float4
trust_adjust(Call *call, const char *agent_id, Datum delta, const char *reason)
{
	AgentFacts	facts;
	float4		score;

	(void) lock_trust(true);
	agent_lock(call, agent_id, &facts);
	trust_write(call, true);
	score = trust_store_adjust(agent_id, delta, reason, call->role, call->now.wall);
	facts.trust = (int32) rint(score * TRUST_ONE);
	facts.version = db_version(call->db);
	effect_agent(call->db, agent_id, &facts, false);
	return score;
}

/*
 * The rows of trust_history(). The score is counted from where it must have
 * begun for all of them to end at today's: what is not kept any more is in
 * there. Raises NS002, 42501.
 */
void
trust_history(Call *call, const char *agent_id, Tuplestorestate *store, TupleDesc desc)
{
	AgentView	agent;
	TrustEvent *events;
	int64	   *shifts;
	int64	   *scores;
	int64		score;
	int			count;

	if (!agent_find(call, agent_id, &agent))
		agent_refuse_unknown(agent_id);
	if (!call_is_monitor(call))
		agent_require_owner(call, agent_id);
	events = trust_store_events(agent_id, &count, &score);
	shifts = MemoryContextAllocHuge(CurrentMemoryContext, Max(count, 1) * sizeof(int64));
	scores = MemoryContextAllocHuge(CurrentMemoryContext, Max(count, 1) * sizeof(int64));
	for (int i = 0; i < count; i++)
	{
		shifts[i] = delta_of(&events[i]).shift;
		score -= shifts[i];
	}
	score = Min(TRUST_ONE, Max(0, score));
	for (int i = 0; i < count; i++)
		scores[i] = score = Min(TRUST_ONE, Max(0, score + shifts[i]));

	for (int i = count - 1; i >= 0; i--)
	{
		const TrustEvent *event = &events[i];
		bool		by_hand = event->outcome == NULL;
		Datum		values[7];
		bool		nulls[7] = {0};

		values[0] = TimestampTzGetDatum(event->ended_at);
		values[1] = CStringGetTextDatum(by_hand ? "adjusted" : event->outcome);
		values[2] = Int64GetDatum(event->task_id);
		nulls[2] = by_hand;
		values[3] = Float4GetDatum(shifts[i] / (double) TRUST_ONE);
		values[4] = Float4GetDatum(scores[i] / (double) TRUST_ONE);
		nulls[5] = nulls[6] = !by_hand;
		values[5] = by_hand ? CStringGetTextDatum(event->reason) : (Datum) 0;
		values[6] = ObjectIdGetDatum(event->role);
		tuplestore_putvalues(store, desc, values, nulls);
		CHECK_FOR_INTERRUPTS();
	}
}
