/*
 * soft/limits.c
 *		Slots and windows. What they are is in limits.h.
 *
 * The limits lock guards which entry belongs to what: shared to use one,
 * exclusive to make or forget it. The mutex of an entry guards its numbers;
 * it is held for a few loads. The counters lock is taken, shared, in between,
 * so that the gauge is not in the middle of being set anew.
 *
 * A note of what is taken is there before it is taken. It is given back after
 * the gauges have moved and the ready keys are pushed, so that whoever is woken
 * finds both.
 */
#include "soft/limits.h"

#include "access/xact.h"
#include "storage/shmem.h"
#include "utils/hsearch.h"

#include "clock.h"
#include "guc.h"
#include "soft/counters.h"
#include "soft/effects.h"
#include "soft/waiters.h"

typedef enum LimitKind
{
	OF_CAPABILITY,				/* id: its own lane's */
	OF_ROLE						/* id: the role's */
} LimitKind;

typedef struct LimitKey
{
	int32		db_number;
	int32		kind;
	int64		id;
} LimitKey;

typedef struct Limit
{
	LimitKey	key;
	Counters   *counters;		/* of the capability; NULL: none of its own */
	slock_t		mutex;			/* guards the rest */
	ClaimLimits limits;			/* as last judged; for those who only look */
	int64		taken;			/* slots, by transactions that have not ended */
	int64		used;			/* in this window */
	int64		began;			/* when it did, monotonic; 0: none yet */
	int64		ends;			/* and when it is over */
} Limit;

static HTAB *entries;			/* Limit */

/* What this transaction does to an entry. */
typedef struct LimitNote
{
	Note		note;
	DbState    *db;
	LimitKey	key;
	int64		taken;			/* slots, to be given back at its end */
	int64		used;			/* of the window that began then, if it aborts */
	int64		began;
	int64		freed;			/* tasks that are not ACTIVE any more if it commits */
} LimitNote;

static NoteStack stack = {sizeof(LimitNote)};

static inline LimitNote *
note_at(int i)
{
	return (LimitNote *) stack.notes + i;
}

/* Capabilities with limits, and roles with quotas. */
static int
entry_room(void)
{
	return 2 * ains_max_capabilities;
}

/* Bytes to request. */
Size
limits_size(void)
{
	return hash_estimate_size(entry_room(), sizeof(Limit));
}

void
limits_shmem_init(void)
{
	HASHCTL		ctl = {.keysize = sizeof(LimitKey), .entrysize = sizeof(Limit)};

	entries = ShmemInitHash("ains limits", entry_room(), entry_room(), &ctl,
							HASH_ELEM | HASH_BLOBS);
}

/* Forgets the limits of a database whose extension is gone. */
void
limits_forget_db(int db_number)
{
	HASH_SEQ_STATUS scan;
	Limit	   *limit;

	LWLockAcquire(shmem_lock(LOCK_LIMITS), LW_EXCLUSIVE);
	hash_seq_init(&scan, entries);
	while ((limit = hash_seq_search(&scan)) != NULL)
		if (limit->key.db_number == db_number)
			(void) hash_search(entries, &limit->key, HASH_REMOVE, NULL);
	LWLockRelease(shmem_lock(LOCK_LIMITS));
}

static LimitKey
key_of(DbState *db, LimitKind kind, int64 id)
{
	return (LimitKey) {shmem_db_number(db), kind, id};
}

/*
 * Forgets what nobody has taken anything of: a slot is counted in the gauge as
 * well, and a window that is over says nothing. Needs the limits lock,
 * exclusively, so nobody has a mutex.
 */
static void
forget_idle(int64 now_mono)
{
	HASH_SEQ_STATUS scan;
	Limit	   *limit;

	hash_seq_init(&scan, entries);
	while ((limit = hash_seq_search(&scan)) != NULL)
		if (limit->taken == 0 && (limit->began == 0 || limit->ends <= now_mono))
			(void) hash_search(entries, &limit->key, HASH_REMOVE, NULL);
}

/*
 * The entry of a key, made if need be; NULL: there is no room. Returns with the
 * limits lock, shared. capability: NULL for a role.
 */
static Limit *
lock_entry(DbState *db, const LimitKey *key, const char *capability)
{
	Limit	   *limit;
	Counters   *counters;
	bool		found;

	LWLockAcquire(shmem_lock(LOCK_LIMITS), LW_SHARED);
	limit = hash_search(entries, key, HASH_FIND, NULL);
	if (limit != NULL)
		return limit;
	LWLockRelease(shmem_lock(LOCK_LIMITS));

	counters = capability != NULL ? counters_of(db, capability) : NULL;
	LWLockAcquire(shmem_lock(LOCK_LIMITS), LW_EXCLUSIVE);
	if (hash_get_num_entries(entries) >= entry_room())
		forget_idle(clock_read().mono);
	if (hash_get_num_entries(entries) < entry_room())
	{
		limit = hash_search(entries, key, HASH_ENTER_NULL, &found);
		if (limit != NULL && !found)
		{
			limit->counters = counters;
			memset(&limit->limits, 0, sizeof(limit->limits));
			limit->taken = limit->used = limit->began = limit->ends = 0;
			SpinLockInit(&limit->mutex);
		}
	}
	LWLockRelease(shmem_lock(LOCK_LIMITS));
	/* that it is forgotten meanwhile is as if there were no room */
	LWLockAcquire(shmem_lock(LOCK_LIMITS), LW_SHARED);
	return hash_search(entries, key, HASH_FIND, NULL);
}

/* What this (sub)transaction notes of a key; may have to allocate. */
static LimitNote *
note_of(DbState *db, const LimitKey *key)
{
	int			level = GetCurrentTransactionNestLevel();
	LimitNote  *note;

	for (int i = stack.count; i > 0 && note_at(i - 1)->note.level == level; i--)
	{
		note = note_at(i - 1);
		if (note->db == db && memcmp(&note->key, key, sizeof(LimitKey)) == 0)
			return note;
	}
	note = notes_add(&stack);
	note->db = db;
	note->key = *key;
	return note;
}

/* How many more there may be in the window of this moment. Mutex. */
static int64
window_room(const Limit *limit, int32 rate, int64 period, int64 now_mono)
{
	bool		over = limit->began == 0 || now_mono - limit->began >= period;

	return over ? rate : rate - limit->used;
}

/* Takes so many of the window, which there are. Mutex. */
static void
use_window(Limit *limit, int64 period, int64 now_mono, int64 count, LimitNote *note)
{
	if (limit->began == 0 || now_mono - limit->began >= period)
	{
		limit->began = now_mono;
		limit->used = 0;
	}
	limit->ends = limit->began + period;
	limit->used += count;
	/* what was taken of an earlier window is over with it */
	if (note->began != limit->began)
		note->used = 0;
	note->began = limit->began;
	note->used += count;
}

/*
 * Takes a slot of a lane that is limited, and one of its window; false: there is
 * none. It is given back when this transaction ends: then it is ACTIVE, or not.
 */
bool
limits_take(DbState *db, const ClaimLane *lane, int64 now_mono)
{
	const ClaimLimits *limits = &lane->limits;
	LimitKey	key = key_of(db, OF_CAPABILITY, limits->lane_id);
	LimitNote  *note = note_of(db, &key);
	Limit	   *limit = lock_entry(db, &key, lane->capability);
	int64		active = 0;
	bool		taken = limit != NULL;

	if (taken)
	{
		LWLockAcquire(shmem_lock(LOCK_COUNTERS), LW_SHARED);
		SpinLockAcquire(&limit->mutex);
		/* in this order: who commits adds to the gauge before giving back */
		if (limits->concurrency > 0)
			taken = limit->counters != NULL &&
				counters_active(db, limit->counters, &active) &&
				active + limit->taken < limits->concurrency;
		if (taken && limits->rate > 0)
			taken = window_room(limit, limits->rate, limits->period, now_mono) > 0;
		if (taken && limits->rate > 0)
			use_window(limit, limits->period, now_mono, 1, note);
		if (taken)
		{
			limit->taken++;
			note->taken++;
		}
		SpinLockRelease(&limit->mutex);
		LWLockRelease(shmem_lock(LOCK_COUNTERS));
	}
	LWLockRelease(shmem_lock(LOCK_LIMITS));
	return taken;
}

/* Gives back slots, and what was used of a window if it lasts. Wakes as many. */
static void
give_back(DbState *db, const LimitKey *key, int64 taken, int64 used, int64 began)
{
	Limit	   *limit;

	LWLockAcquire(shmem_lock(LOCK_LIMITS), LW_SHARED);
	limit = hash_search(entries, key, HASH_FIND, NULL);
	if (limit != NULL)
	{
		SpinLockAcquire(&limit->mutex);
		limit->taken = Max(limit->taken - taken, 0);
		if (limit->began == began)
			limit->used = Max(limit->used - used, 0);
		SpinLockRelease(&limit->mutex);
	}
	LWLockRelease(shmem_lock(LOCK_LIMITS));
}

/* The slot that was taken last of these was not needed. */
void
limits_give_back(DbState *db, const ClaimLimits *limits)
{
	LimitKey	key = key_of(db, OF_CAPABILITY, limits->lane_id);
	LimitNote  *note = note_of(db, &key);
	int64		used = note->used > 0 ? 1 : 0;

	note->taken--;
	note->used -= used;
	give_back(db, &key, 1, used, note->began);
	waiters_wake_lane(db, limits->lane_id, 1);
}

/*
 * A task of a capability with slots is not ACTIVE any more, if this transaction
 * commits. Wakes who waits for the capability's own lane, as do all who offer it;
 * whoever of them finds nothing for himself leaves it to the next glance.
 */
void
limits_freed(DbState *db, const ClaimLimits *limits)
{
	LimitKey	key = key_of(db, OF_CAPABILITY, limits->lane_id);

	note_of(db, &key)->freed++;
}

/* Lets those who only look know the limits of a lane's capability, which has some. */
void
limits_show(DbState *db, const ClaimLane *lane)
{
	LimitKey	key = key_of(db, OF_CAPABILITY, lane->limits.lane_id);
	Limit	   *limit = lock_entry(db, &key, lane->capability);

	if (limit != NULL)
	{
		SpinLockAcquire(&limit->mutex);
		if (lane->limits.generation >= limit->limits.generation)
			limit->limits = lane->limits;
		SpinLockRelease(&limit->mutex);
	}
	LWLockRelease(shmem_lock(LOCK_LIMITS));
}

/*
 * How many more tasks may be claimed of the capability whose own lane this is, as
 * far as shared memory knows: PG_INT64_MAX if it does not. With 0, *opens_at is when
 * its window ends, by the monotonic clock; PG_INT64_MAX if it is not that.
 */
int64
limits_room(DbState *db, int32 lane_id, int64 now_mono, int64 *opens_at)
{
	LimitKey	key = key_of(db, OF_CAPABILITY, lane_id);
	int64		room = PG_INT64_MAX;
	int64		active = 0;
	Limit	   *limit;

	*opens_at = PG_INT64_MAX;
	LWLockAcquire(shmem_lock(LOCK_LIMITS), LW_SHARED);
	limit = hash_search(entries, &key, HASH_FIND, NULL);
	if (limit != NULL)
	{
		LWLockAcquire(shmem_lock(LOCK_COUNTERS), LW_SHARED);
		SpinLockAcquire(&limit->mutex);
		/* after a change of policies nobody may have judged by the new ones yet */
		if (limit->limits.generation == pg_atomic_read_u64(&db->policy_generation))
		{
			const ClaimLimits *limits = &limit->limits;
			bool		known = true;

			if (limits->concurrency > 0 && limit->counters == NULL)
				room = 0;
			else if (limits->concurrency > 0)
			{
				known = counters_active(db, limit->counters, &active);
				if (known)
					room = Max(limits->concurrency - active - limit->taken, 0);
			}
			/* while nobody knows the slots, there is none to take, whatever the rate */
			if (limits->rate > 0 && room > 0 && known)
			{
				room = Min(room, window_room(limit, limits->rate, limits->period, now_mono));
				if (room <= 0)
					*opens_at = limit->began + limits->period;
			}
		}
		SpinLockRelease(&limit->mutex);
		LWLockRelease(shmem_lock(LOCK_COUNTERS));
	}
	LWLockRelease(shmem_lock(LOCK_LIMITS));
	return Max(room, 0);
}

/* The ids of the lanes that have room; *count becomes theirs. In the current context. */
int32 *
limits_open_lanes(DbState *db, const ClaimLane *lanes, int *count, int64 now_mono)
{
	int32	   *open = palloc((*count + 1) * sizeof(int32));
	int			found = 0;
	int64		opens_at;

	for (int i = 0; i < *count; i++)
		if (!lane_is_limited(&lanes[i]) ||
			limits_room(db, lanes[i].limits.lane_id, now_mono, &opens_at) > 0)
			open[found++] = lanes[i].lane_id;
	*count = found;
	return open;
}

/* A role enqueues so many tasks; false: its quota does not allow that now. */
bool
limits_take_quota(DbState *db, Oid role, int32 tasks, int32 max_tasks, int64 period,
				  int64 now_mono)
{
	LimitKey	key = key_of(db, OF_ROLE, role);
	LimitNote  *note = note_of(db, &key);
	Limit	   *limit = lock_entry(db, &key, NULL);
	bool		taken = false;

	if (limit != NULL)
	{
		SpinLockAcquire(&limit->mutex);
		taken = window_room(limit, max_tasks, period, now_mono) >= tasks;
		if (taken)
			use_window(limit, period, now_mono, tasks, note);
		SpinLockRelease(&limit->mutex);
	}
	LWLockRelease(shmem_lock(LOCK_LIMITS));
	return taken;
}

static void
end(int first, bool commit)
{
	for (int i = first; i < stack.count; i++)
	{
		const LimitNote *note = note_at(i);

		if (note->taken > 0 || (!commit && note->used > 0))
			give_back(note->db, &note->key, note->taken, commit ? 0 : note->used, note->began);
		if (note->key.kind == OF_CAPABILITY)
			waiters_wake_lane(note->db, note->key.id, commit ? note->freed : note->taken);
	}
}

const TransactionPart limits_part = {.notes = &stack, .end = end};
