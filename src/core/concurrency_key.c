/*
 * core/concurrency_key.c
 *		Tasks of which only so many may run at a time.
 *
 * Of the tasks of a capability that have the same concurrency_key, at most
 * key_limit are PENDING or ACTIVE. Others that are due are BLOCKED, with nothing
 * else to wait for (unmet is NULL), and have a place in line, by rank. Which are
 * which is in their rows alone: there is no number that could be wrong.
 *
 * Whoever makes a task of a key PENDING, or takes one out of PENDING and ACTIVE,
 * locks the key first, its row in ains.concurrency_key, until he commits; and
 * then counts with a snapshot that is taken after. So there is one at a time,
 * and he sees what those before him did. Who takes one out makes the next in
 * line PENDING, in the same transaction. A claim, and a lease that is taken
 * back, leave a task between PENDING and ACTIVE, so they have nothing to do.
 *
 * Only the tasks of keys with a limit pay for it. The row of a key is there as
 * long as one of its tasks is PENDING or ACTIVE.
 *
 * What the end of a task does to keys comes last: its own place, and those that
 * waited for it and stand in line now, are gathered, and the keys settled in their
 * order. So a dependent comes before who is in line only if its rank is lower.
 *
 * Locks go from a task to those that wait for it, by id, then to the keys, in their
 * order, and from each key to the next in its line; those have nothing else to wait
 * for, so they are never among the dependents of another. A deadlock takes a
 * transaction that ends or enqueues several tasks of several keys, in another order;
 * or one that has locked a task in line and then wants others: who cancels it, or
 * depends on it. The server ends one of them.
 */
#include "core/concurrency_key.h"

#include "access/xact.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "core/capability.h"
#include "core/event.h"
#include "core/route.h"
#include "core/task.h"
#include "soft/counters.h"
#include "soft/effects.h"
#include "store/concurrency_key_store.h"

/* As in run.c: nobody else's advisory locks are of this class. */
#define KEY_LOCK_CLASS	6
#define KEY_GROUPS		256

/*
 * The row of a key that is new is seen by nobody before its transaction commits,
 * and would have to be waited for. So who locks a key has a share in the group
 * that it belongs to, until the end of the transaction; these do not wait for one
 * another. Who must not wait for anybody takes a group for himself, if nobody has
 * a share, before he makes the row. There are few groups, as a transaction may
 * lock more keys than the lock table has room for.
 */
static bool
lock_group(const char *capability, const char *key, LOCKMODE mode, bool wait)
{
	uint32		hash = hash_combine(hash_bytes((const unsigned char *) capability, strlen(capability)),
									hash_bytes((const unsigned char *) key, strlen(key)));
	LOCKTAG		tag;

	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, 0, hash % KEY_GROUPS, KEY_LOCK_CLASS);
	return LockAcquire(&tag, mode, false, !wait) != LOCKACQUIRE_NOT_AVAIL;
}

/* Locks a key until the end of the transaction; waits for who has it. */
static void
lock_key(const char *capability, const char *key)
{
	(void) lock_group(capability, key, ShareLock, true);
	concurrency_key_store_lock(capability, key);
}

/*
 * Sees to it that lock_key does not wait from now on; false if it would. Does not
 * wait itself.
 */
static bool
lock_key_free(const char *capability, const char *key)
{
	bool		is_there;

	return lock_group(capability, key, ShareLock, false) &&
		concurrency_key_store_lock_free(capability, key, &is_there) &&
		(is_there || lock_group(capability, key, ExclusiveLock, false));
}

/* The latest snapshot there is, even if the transaction's own is older; registered. */
static Snapshot
latest_snapshot(void)
{
	CommandCounterIncrement();	/* what we did ourselves counts */
	return RegisterSnapshot(GetLatestSnapshot());
}

/* How many of a key that is locked by us are PENDING or ACTIVE; `most` is enough. */
static int
in_use(const char *capability, const char *key, int32 most)
{
	Snapshot	snapshot = latest_snapshot();
	int			count;

	pfree(concurrency_key_store_in_use(snapshot, capability, key, most, &count));
	UnregisterSnapshot(snapshot);
	return count;
}

/*
 * What a task with this key (NULL: none) is that is due now: PENDING, or BLOCKED
 * behind others. The caller writes it, before anything else is done to the key.
 */
TaskStatus
concurrency_key_enter(Call *call, const char *capability, const char *key)
{
	int32		limit;

	if (key == NULL)
		return TASK_PENDING;
	limit = capability_restore(call, capability)->key_limit;
	if (limit == 0)
		return TASK_PENDING;
	lock_key(capability, key);
	return in_use(capability, key, limit) < limit ? TASK_PENDING : TASK_BLOCKED;
}

/* Whether tasks of a capability that have this key (NULL: none) have to enter. */
bool
concurrency_key_is_limited(Call *call, const char *capability, const char *key)
{
	return key != NULL && capability_restore(call, capability)->key_limit > 0;
}

/*
 * The same for a task whose row we have just written, BLOCKED as if it stood in
 * line: one with a unique_key. Who ends the live task of that has its row, which we
 * wait for, before he locks the key; so we must not have the key by then.
 */
TaskStatus
concurrency_key_enter_written(Call *call, int64 task_id, const char *capability,
							  const char *key, TimestampTz run_at, TimestampTz wake_at)
{
	TaskStatus	status = concurrency_key_enter(call, capability, key);

	if (status == TASK_PENDING)
		task_store_set_unmet(task_id, 0, TASK_PENDING, run_at, wake_at);
	return status;
}

/* A task that was in line is PENDING from now on; its row is locked by us. */
static void
release(Call *call, const TaskRow *task)
{
	/* as when a task is unblocked: the rank stays, but it was not late meanwhile */
	task_store_set_unmet(task->task_id, 0, TASK_PENDING, Max(task->run_at, call->now.wall),
						 task->expires_at);
	counters_note(call->db, task->capability, 0, TASK_BLOCKED, TASK_PENDING, 0);
	effect_ready(call->db, route_waiting(call, task), (ReadyKey) {task->rank, task->task_id},
				 ON_COMMIT);
	task_note_event(call, task, EVENT_TASK_DUE, TASK_PENDING);
	if (task->expires_at != 0)
		effect_wake_at(call->db, task->expires_at);
}

/*
 * Makes the next in line PENDING, as many as there is room for but at most so
 * many; returns how many. The key is locked by us. With skip_locked, those that
 * somebody has locked are left for the next time.
 */
static int
release_next(Call *call, const char *capability, const char *key, int room, bool skip_locked)
{
	int			released = 0;
	int			count;

	do
	{
		Snapshot	snapshot = latest_snapshot();
		int64	   *ids = concurrency_key_store_waiting(snapshot, capability, key,
														room - released, &count);

		UnregisterSnapshot(snapshot);
		for (int i = 0; i < count; i++)
		{
			TaskRow		task;

			effects_reserve(1);
			if (skip_locked ? task_store_lock_free(ids[i], &task) : task_store_lock(ids[i], &task))
			{
				task_note_locked(call, &task);
				/* it may have been changed, or been put back with another key, meanwhile */
				if (task.status == TASK_BLOCKED && task.unmet == 0 &&
					task.concurrency_key != NULL && strcmp(task.concurrency_key, key) == 0)
				{
					release(call, &task);
					released++;
				}
			}
			else if (!skip_locked && IsolationUsesXactSnapshot())
				/* the next look would find it again */
				ereport(ERROR,
						(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
						 errmsg("could not hand on concurrency_key \"%s\"", key),
						 errdetail("Task " INT64_FORMAT " is newer than the snapshot of this transaction.",
								   ids[i]),
						 errhint("Try again, or use READ COMMITTED.")));
			CHECK_FOR_INTERRUPTS();
		}
		/* one that was ended meanwhile leaves its place to who comes next */
	} while (count > 0 && released < room && !skip_locked);
	return released;
}

/*
 * Notes that a task of this key (NULL: none) gives up its place, or stands in
 * line from now on, which the caller writes; false, and nothing is noted, if the
 * key has no limit.
 */
bool
concurrency_key_note(Call *call, KeyChanges *changes, const char *capability, const char *key)
{
	MemoryContext old;
	TaskKey    *change;

	if (!concurrency_key_is_limited(call, capability, key))
		return false;
	old = MemoryContextSwitchTo(changes->context);
	change = palloc(sizeof(TaskKey));
	change->capability = pstrdup(capability);
	change->key = pstrdup(key);
	changes->list = lappend(changes->list, change);
	MemoryContextSwitchTo(old);
	return true;
}

static int
compare_changes(const ListCell *a, const ListCell *b)
{
	const TaskKey *x = lfirst(a);
	const TaskKey *y = lfirst(b);
	int			order = strcmp(x->capability, y->capability);

	return order != 0 ? order : strcmp(x->key, y->key);
}

/*
 * So many tasks of a key have left their places or joined the line: as many
 * places at most have become free, and the first in line get them.
 */
static void
settle_key(Call *call, const char *capability, const char *key, int tasks)
{
	int32		limit = capability_restore(call, capability)->key_limit;
	int			used;
	int			room;

	lock_key(capability, key);
	used = in_use(capability, key, limit);
	room = Min(limit - used, tasks);
	if (room > 0 && release_next(call, capability, key, room, false) == 0 && used == 0)
		concurrency_key_store_forget(capability, key);
}

/*
 * What was noted has been written: hands on the places, one key after the other
 * in their order, so that nobody waits in a circle for who does the same.
 */
void
concurrency_key_settle(Call *call, KeyChanges *changes)
{
	List	   *list = changes->list;
	int			tasks;

	list_sort(list, compare_changes);
	for (int i = 0; i < list_length(list); i += tasks)
	{
		ListCell   *first = list_nth_cell(list, i);
		TaskKey    *change = lfirst(first);

		for (tasks = 1; i + tasks < list_length(list); tasks++)
			if (compare_changes(first, list_nth_cell(list, i + tasks)) != 0)
				break;
		settle_key(call, change->capability, change->key, tasks);
		CHECK_FOR_INTERRUPTS();
	}
}

/*
 * A task of this key (NULL: none) is not PENDING or ACTIVE any more, which has
 * been written: the next in line is.
 */
void
concurrency_key_leave(Call *call, const char *capability, const char *key)
{
	KeyChanges	changes = {.context = CurrentMemoryContext};

	if (concurrency_key_note(call, &changes, capability, key))
		concurrency_key_settle(call, &changes);
}

/*
 * For those who must not wait for anybody: whether nobody has this key (NULL:
 * none) locked, nor the first in line, who would be next. Locks them.
 */
bool
concurrency_key_is_free(Call *call, const char *capability, const char *key)
{
	Snapshot	snapshot;
	TaskRow		next;
	int64	   *ids;
	int			count;

	if (!concurrency_key_is_limited(call, capability, key))
		return true;
	if (!lock_key_free(capability, key))
		return false;
	snapshot = latest_snapshot();
	ids = concurrency_key_store_waiting(snapshot, capability, key, 1, &count);
	UnregisterSnapshot(snapshot);
	if (count == 0)
		return true;
	effects_reserve(1);
	if (!task_store_lock_free(ids[0], &next))
		return false;
	task_note_locked(call, &next);
	return true;
}

/* Where the round over all keys goes on; in TopMemoryContext. NULL: none runs. */
static char *round_capability = NULL;
static char *round_key = NULL;

static void
go_on_behind(const char *capability, const char *key)
{
	char	   *new_capability = MemoryContextStrdup(TopMemoryContext, capability);
	char	   *new_key = MemoryContextStrdup(TopMemoryContext, key);

	if (round_capability != NULL)
		pfree(round_capability);
	if (round_key != NULL)
		pfree(round_key);
	round_capability = new_capability;
	round_key = new_key;
}

/*
 * For the sweeper: looks for keys that have room while tasks wait for them, as
 * after a limit was raised or the table was changed by other means, and makes
 * up for it. Looks at AINS_SWEEP_BATCH keys, and releases about as many tasks.
 * Begins a round over all keys if `all`, or if limits have changed since the
 * last call; returns whether it is not over.
 */
bool
concurrency_key_hand_on(Call *call, bool all)
{
	static uint64 seen_generation = 0;
	static uint64 seen_checksum = 0;
	uint64		generation = pg_atomic_read_u64(&call->db->policy_generation);
	int			released = 0;
	int			count;
	WaitedKey  *keys;

	if (generation != seen_generation)
	{
		uint64		checksum = concurrency_key_store_limits_checksum();

		all = all || checksum != seen_checksum;
		seen_checksum = checksum;
		seen_generation = generation;
		if (all)
			go_on_behind("", "");
	}
	if (round_capability == NULL && all)
		go_on_behind("", "");
	if (round_capability == NULL)
		return false;

	keys = concurrency_key_store_waited(round_capability, round_key, &count);
	for (int i = 0; i < count; i++)
	{
		int32		limit;
		int			room;

		if (keys[i].has_room &&
			lock_key_free(keys[i].capability, keys[i].key))
		{
			limit = capability_restore(call, keys[i].capability)->key_limit;
			room = AINS_SWEEP_BATCH - released;
			lock_key(keys[i].capability, keys[i].key);
			if (limit > 0)
				room = Min(room, limit - in_use(keys[i].capability, keys[i].key, limit));
			if (room > 0)
				released += release_next(call, keys[i].capability, keys[i].key, room,
										 true);
			/* this key may have more of them */
			if (released >= AINS_SWEEP_BATCH)
				return true;
		}
		go_on_behind(keys[i].capability, keys[i].key);
		CHECK_FOR_INTERRUPTS();
	}
	if (count < AINS_SWEEP_BATCH)
	{
		pfree(round_capability);
		pfree(round_key);
		round_capability = round_key = NULL;
	}
	return count == AINS_SWEEP_BATCH;
}
