/*
 * core/limit.c
 *		Limits on claims, judged before a lane is chosen. See soft/limits.h.
 */
#include "core/limit.h"

#include "miscadmin.h"
#include "storage/lock.h"

#include "core/stats.h"
#include "soft/counters.h"
#include "soft/limits.h"

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
				if (limits_room(call->db, lanes[i].lane_id, call->now.mono, &opens_at) == 0)
					continue;
			}
		}
		lanes[open++] = lanes[i];
	}
	return open;
}
