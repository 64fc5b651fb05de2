/*
 * soft/effects_ready.c
 *		Effects on the ready set: keys that the end of a transaction puts there.
 *		The rules they follow are in ready.h.
 */
#include "soft/effects.h"

#include "access/xact.h"
#include "miscadmin.h"

#include "soft/waiters.h"

/* A transaction with more keys says "from this key on" instead of each of them. */
#define MANY_KEYS	10000

typedef struct ReadyEffect
{
	Note		note;
	EffectWhen	when;
	bool		lower;			/* the key and all after it */
	int32		lane_id;
	DbState    *db;
	ReadyKey	key;
} ReadyEffect;

static NoteStack stack = {sizeof(ReadyEffect)};

static inline ReadyEffect *
effect_at(int i)
{
	return (ReadyEffect *) stack.notes + i;
}

/*
 * After the keys are pushed: wakes as many waiters as became claimable, lane by
 * lane, in one go for a run of keys of the same lane.
 */
static void
wake(int from, EffectWhen when)
{
	const ReadyEffect *first = NULL;
	int64		count = 0;

	for (int i = from; i < stack.count; i++)
	{
		const ReadyEffect *effect = effect_at(i);

		if (!(effect->when & when))
			continue;
		if (first != NULL && (effect->db != first->db || effect->lane_id != first->lane_id))
		{
			waiters_wake_lane(first->db, first->lane_id, count);
			count = 0;
		}
		first = effect;
		/* how many tasks a lowered horizon hides is not known */
		count += effect->lower ? MaxBackends : 1;
	}
	if (first != NULL)
		waiters_wake_lane(first->db, first->lane_id, count);
}

static void
end(int first, bool commit)
{
	EffectWhen	when = commit ? ON_COMMIT : ON_ABORT;

	for (int i = first; i < stack.count; i++)
	{
		const ReadyEffect *effect = effect_at(i);

		if (!(effect->when & when))
			continue;
		if (effect->lower)
			ready_lower(effect->db, effect->lane_id, effect->key);
		else if (effect->when == ON_END)
			ready_push_back(effect->db, effect->lane_id, effect->key);
		else
			ready_push(effect->db, effect->lane_id, effect->key);
	}
	wake(first, when);
}

const TransactionPart effects_ready_part = {.notes = &stack, .end = end};

/* Makes room for so many more keys, so that registering them cannot fail. */
void
effects_reserve(int count)
{
	notes_reserve(&stack, count);
}

static ReadyEffect *
push(EffectWhen when, DbState *db, int32 lane_id, ReadyKey key)
{
	ReadyEffect *effect = notes_add(&stack);

	effect->when = when;
	effect->db = db;
	effect->lane_id = lane_id;
	effect->key = key;
	return effect;
}

/* The key of a row that is PENDING, or may be, at the end of this transaction. */
void
effect_ready(DbState *db, int32 lane_id, ReadyKey key, EffectWhen when)
{
	if (stack.count >= MANY_KEYS && (when & ON_COMMIT))
		effect_lower(db, lane_id, key);
	else
		push(when, db, lane_id, key);
}

/*
 * Any of the lane's rows from this key on may be PENDING at the end. Merged with
 * one of the last few that says the same: a transaction with many tasks does not
 * pile up what one entry can say.
 */
void
effect_lower(DbState *db, int32 lane_id, ReadyKey key)
{
	int			level = GetCurrentTransactionNestLevel();

	for (int i = stack.count - 1; i >= 0 && i >= stack.count - 8; i--)
	{
		ReadyEffect *effect = effect_at(i);

		if (effect->note.level != level)
			break;
		if (!effect->lower || effect->db != db || effect->lane_id != lane_id)
			continue;
		if (ready_key_compare(key, effect->key) < 0)
			effect->key = key;
		return;
	}
	push(ON_END, db, lane_id, key)->lower = true;
}

static inline bool
is_key(const ReadyEffect *effect, EffectWhen when, DbState *db, int32 lane_id, ReadyKey key)
{
	return !effect->lower && effect->when == when && effect->db == db &&
		effect->lane_id == lane_id && ready_key_compare(effect->key, key) == 0;
}

/*
 * The row of a key that was just registered ON_END has another key, or none,
 * from now on: the old one is right only after an abort.
 */
void
effect_ready_changed(DbState *db, int32 lane_id, ReadyKey key)
{
	int			level = GetCurrentTransactionNestLevel();

	for (int i = stack.count - 1; i >= 0 && effect_at(i)->note.level == level; i--)
		if (is_key(effect_at(i), ON_END, db, lane_id, key))
		{
			effect_at(i)->when = ON_ABORT;
			return;
		}
}

/*
 * A key that was popped proved to be of no use: whoever changed or locked its
 * row pushes what there is to push.
 */
void
effect_ready_not(DbState *db, int32 lane_id, ReadyKey key)
{
	for (int i = stack.count - 1; i >= 0; i--)
		if (is_key(effect_at(i), ON_ABORT, db, lane_id, key))
		{
			effect_at(i)->when = NEVER;
			return;
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
	if (stack.count == 0)
		return NULL;
	own = palloc(stack.count * sizeof(OwnKey));
	for (int i = 0; i < stack.count; i++)
	{
		const ReadyEffect *effect = effect_at(i);

		if (effect->lower || effect->db != db || effect->when == NEVER)
			continue;
		for (int lane = 0; lane < lane_count; lane++)
			if (lanes[lane] == effect->lane_id)
				own[found++] = (OwnKey) {{effect->key, lane}, i};
	}
	qsort(own, found, sizeof(OwnKey), compare_own_keys);
	ready = palloc((found + 1) * sizeof(PoppedKey));
	for (int i = 0; i < found; i++)
	{
		bool		latest = i + 1 == found ||
			ready_key_compare(own[i].popped.key, own[i + 1].popped.key) != 0;

		if (latest && (effect_at(own[i].at)->when & ON_COMMIT))
			ready[(*count)++] = own[i].popped;
	}
	pfree(own);
	return ready;
}
