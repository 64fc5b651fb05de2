/*
 * soft/ready.c
 *		Which tasks a claim gets.
 *
 * The order is that of the index task_ready, read with SKIP LOCKED.
 */
#include "soft/ready.h"

#include "soft/token.h"

/* Whether the lanes have something to claim that nobody is about to take. */
bool
ready_peek(DbState *db, const int32 *lanes, int count, TimestampTz now)
{
	return count > 0 && lease_store_claimable(lanes, count, now);
}

/*
 * Leases up to max_tasks tasks of the lanes to an agent, in rank order over
 * all of them; never waits for a row, nor for somebody who has the table for
 * himself. Result in the current context.
 */
ClaimedTask *
ready_claim(DbState *db, const ClaimLane *lanes, int lane_count, int max_tasks,
			const char *agent_id, int64 incarnation, const AinsTime *now, int *count)
{
	*count = 0;
	if (lane_count == 0 || !lease_store_table_is_free(db->task_relid))
		return NULL;
	return lease_store_claim(lanes, lane_count, max_tasks, agent_id, incarnation,
							 token_take(db, max_tasks, now->wall), now->wall, count);
}
