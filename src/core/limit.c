/*
 * core/limit.c
 *		Limits on claims, judged before a lane is chosen, and quotas on what a
 *		role enqueues. See soft/limits.h.
 */
#include "core/limit.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "storage/lock.h"

#include "core/stats.h"
#include "errors.h"
#include "soft/counters.h"
#include "soft/effects.h"
#include "soft/limits.h"
#include "store/quota_store.h"

/* As in worker/sweeper.c: nobody else's advisory locks are of this class. */
#define COUNT_LOCK_CLASS	3
#define COUNT_LOCK_KEY		0x736c6f74	/* "slot" */

/*
 * After a start nobody knows how many tasks are ACTIVE: somebody has to count,
 * one at a time, since a count that begins ends another. Whoever comes meanwhile
 * finds no slot, and does not wait.
 */
static void
know_slots(Call *call)
{
	LOCKTAG		tag;

	if (counters_known(call->db))
		return;
	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, 0, COUNT_LOCK_KEY, COUNT_LOCK_CLASS);
	if (LockAcquire(&tag, ExclusiveLock, false, true) == LOCKACQUIRE_NOT_AVAIL)
		return;
	stats_count_live(call);
}

/*
 * Leaves those of the lanes whose limits allow one more claim in this moment;
 * returns how many. A lane without limits costs a look at two numbers.
 */
int
limit_open_lanes(Call *call, ClaimLane *lanes, int count)
{
	int			open = 0;
	int64		opens_at;

	for (int i = 0; i < count; i++)
	{
		if (lane_is_limited(&lanes[i]))
		{
			if (lanes[i].limits.concurrency > 0)
				know_slots(call);
			/* what is not committed is for this transaction alone, when it takes one */
			if (lanes[i].limits.generation != 0)
			{
				limits_show(call->db, &lanes[i]);
				if (limits_room(call->db, lanes[i].limits.lane_id, call->now.mono, &opens_at) == 0)
					continue;
			}
		}
		lanes[open++] = lanes[i];
	}
	return open;
}

/* The quota of a role, kept until the role or a policy changes. */
static struct
{
	DbState    *db;
	Oid			role;
	uint64		generation;
	bool		any;
	int32		max_tasks;
	int64		period;
}			quota;

static void
load_quota(Call *call)
{
	uint64		generation = pg_atomic_read_u64(&call->db->policy_generation);
	/* what is not committed, or not the latest, is not kept */
	bool		keep = !effects_policy_pending() && !IsolationUsesXactSnapshot();

	if (keep && quota.db == call->db && quota.role == call->role &&
		quota.generation == generation)
		return;
	pg_read_barrier();
	quota.db = NULL;
	quota.any = quota_store_find(call->role, &quota.max_tasks, &quota.period);
	quota.role = call->role;
	quota.generation = generation;
	if (keep)
		quota.db = call->db;
}

/* The caller is about to enqueue so many tasks; raises NS008 if it may not now. */
void
limit_enqueue(Call *call, int32 tasks)
{
	load_quota(call);
	if (!quota.any || limits_take_quota(call->db, call->role, tasks, quota.max_tasks,
										quota.period, call->now.mono))
		return;
	ereport(ERROR,
			(errcode(AINS_LIMIT_EXCEEDED),
			 errmsg("quota exceeded"),
			 errdetail("Role \"%s\" may enqueue %d tasks in " INT64_FORMAT " ms.",
					   GetUserNameFromId(call->role, false), quota.max_tasks,
					   quota.period / 1000),
			 errhint("Wait, or have the quota raised with ains.set_quota.")));
}

/* From now on a role may enqueue so many tasks in a period; -1: as many as it likes. */
void
limit_set_quota(Call *call, Oid role, int32 max_tasks, int64 period)
{
	if (max_tasks >= 0)
		quota_store_set(role, max_tasks, period);
	else
		quota_store_remove(role);
	effect_policy_changed(call->db);
}
