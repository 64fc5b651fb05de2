/*
 * store/lease_store.c
 *		Claims and what the holder of a lease writes to ains.task.
 *
 * As in task_store.c: one statement each, results in the caller's context.
 */
#include "store/lease_store.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "utils/timestamp.h"

#include "clock.h"
#include "query.h"
#include "store/task_store.h"

/*
 * The first `room` keys of a lane's PENDING rows from `from` on, in order, by
 * the latest snapshot. Returns how many there are.
 */
int
lease_store_ready_keys(int32 lane_id, ReadyKey from, int room, ReadyKey *keys)
{
	static SavedQuery read = {
		"SELECT rank, task_id FROM ains.task WHERE lane_id = $1 AND status = 'PENDING'"
		" AND (rank, task_id) >= ($2, $3) ORDER BY rank, task_id LIMIT $4",
	4, {INT4OID, INT8OID, INT8OID, INT4OID}};
	QueryCall	q;
	int			count;

	query_begin(&q, &read);
	query_arg_int32(&q, lane_id);
	query_arg_int64(&q, from.rank);
	query_arg_int64(&q, from.task_id);
	query_arg_int32(&q, room);
	count = query_run(&q);
	for (int i = 0; i < count; i++)
		keys[i] = (ReadyKey) {query_int64(&q, i, 1), query_int64(&q, i, 2)};
	query_end(&q);
	return count;
}

/*
 * Takes the row locks' table lock if that does not wait; false if somebody has
 * ains.task for himself. The lock stays until the end of the transaction.
 */
bool
lease_store_table_is_free(Oid task_relid)
{
	return ConditionalLockRelationOid(task_relid, RowExclusiveLock);
}

/*
 * Makes the task of a ready key ACTIVE, if its row is still what the key says,
 * has known no greater token,
 * and nobody has it locked; false, and nothing changed, if not. The row is
 * locked by its primary key alone and looked at afterwards, so that it is known
 * what may be locked; by its ctid, which spares a second way down an index. (A
 * version newer than the snapshot is locked but not found: false, too.)
 */
bool
lease_store_claim(ReadyKey key, const ClaimLane *lane, const char *agent_id,
				  int64 incarnation, int64 token, TimestampTz now, ClaimedTask *task)
{
	static SavedQuery claim = {
		"UPDATE ains.task t SET status = 'ACTIVE', attempt = t.attempt + 1, agent_id = $4,"
		"  incarnation = $5, lease_token = $6, lease = $7, claimed_at = $8,"
		"  lease_expires_at = $8 + $7, deadline = $8 + coalesce(t.timeout, $9),"
		"  wake_at = least($8 + $7, $8 + coalesce(t.timeout, $9))"
		" FROM (SELECT ctid FROM ains.task WHERE task_id = $1 FOR UPDATE SKIP LOCKED) free"
		" WHERE t.ctid = free.ctid AND t.status = 'PENDING' AND t.lane_id = $2"
		"  AND t.rank = $3 AND (t.lease_token IS NULL OR t.lease_token < $6)"
		"  AND (t.expires_at IS NULL OR t.expires_at > $8 OR t.attempt > 0)"
		" RETURNING t.capability, t.payload, t.priority, t.attempt, t.max_attempts,"
		"  t.lease_expires_at, t.checkpoint, t.deadline, t.metadata, t.run_at,"
		"  t.enqueued_by::oid, t.run_id",
		9, {INT8OID, INT4OID, INT8OID, TEXTOID, INT8OID, INT8OID, INTERVALOID,
	TIMESTAMPTZOID, INTERVALOID}};
	QueryCall	q;
	bool		done;

	query_begin(&q, &claim);
	query_arg_int64(&q, key.task_id);
	query_arg_int32(&q, lane->lane_id);
	query_arg_int64(&q, key.rank);
	query_arg_text(&q, agent_id);
	query_arg_int64(&q, incarnation);
	query_arg_int64(&q, token);
	query_arg_length(&q, lane->lease);
	query_arg_time(&q, now);
	query_arg_length(&q, lane->timeout);
	done = query_run(&q) > 0;
	if (done)
	{
		memset(task, 0, sizeof(*task));
		task->task_id = key.task_id;
		task->lane_id = lane->lane_id;
		task->lease_token = token;
		task->capability = query_datum_copy(&q, 0, 1);
		task->payload = query_datum_copy(&q, 0, 2);
		task->priority = query_int16(&q, 0, 3);
		task->attempt = query_int32(&q, 0, 4);
		task->max_attempts = query_isnull(&q, 0, 5) ? lane->max_attempts
			: query_int32(&q, 0, 5);
		task->lease_expires_at = query_time(&q, 0, 6);
		if (!query_isnull(&q, 0, 7))
			task->checkpoint = query_datum_copy(&q, 0, 7);
		task->deadline = query_time(&q, 0, 8);
		if (!query_isnull(&q, 0, 9))
			task->metadata = query_datum_copy(&q, 0, 9);
		task->run_at = query_time(&q, 0, 10);
		task->enqueued_by = query_oid(&q, 0, 11);
		task->run_id = query_isnull(&q, 0, 12) ? 0 : query_int64(&q, 0, 12);
	}
	query_end(&q);
	return done;
}

/* The row of a lease that is held and not to be cancelled. */
#define HELD	"task_id = $1 AND lease_token = $2 AND " IS_ACTIVE \
				" AND cancel_requested_at IS NULL"

/*
 * Lets a lease run for `lease` more from now (-1: its own length), but never
 * shorter than it does. Returns its end and the holder; 0 if the token does
 * not hold the task or its cancel was requested.
 */
TimestampTz
lease_store_extend(int64 task_id, int64 lease_token, int64 lease, TimestampTz now,
				   char **agent_id)
{
	static SavedQuery extend = {
		"UPDATE ains.task SET"
		" lease_expires_at = greatest(lease_expires_at, $4 + coalesce($3, lease)),"
		" wake_at = least(greatest(lease_expires_at, $4 + coalesce($3, lease)), deadline)"
		" WHERE " HELD " RETURNING lease_expires_at, agent_id",
	4, {INT8OID, INT8OID, INTERVALOID, TIMESTAMPTZOID}};
	QueryCall	q;
	TimestampTz expires_at = 0;

	query_begin(&q, &extend);
	query_arg_int64(&q, task_id);
	query_arg_int64(&q, lease_token);
	query_arg_length(&q, lease);
	query_arg_time(&q, now);
	if (query_run(&q) > 0)
	{
		expires_at = query_time(&q, 0, 1);
		*agent_id = query_text_copy(&q, 0, 2);
	}
	query_end(&q);
	return expires_at;
}

/* Saves where to resume and extends the lease likewise; progress: NaN keeps it. */
TimestampTz
lease_store_checkpoint(int64 task_id, int64 lease_token, Datum state, float4 progress,
					   TimestampTz now, char **agent_id)
{
	static SavedQuery save = {
		"UPDATE ains.task SET checkpoint = $3, progress = coalesce($4, progress),"
		" lease_expires_at = greatest(lease_expires_at, $5 + lease),"
		" wake_at = least(greatest(lease_expires_at, $5 + lease), deadline)"
		" WHERE " HELD " RETURNING lease_expires_at, agent_id",
	5, {INT8OID, INT8OID, JSONBOID, FLOAT4OID, TIMESTAMPTZOID}};
	QueryCall	q;
	TimestampTz expires_at = 0;

	query_begin(&q, &save);
	query_arg_int64(&q, task_id);
	query_arg_int64(&q, lease_token);
	query_arg_optional(&q, state, state == 0);
	query_arg_optional(&q, Float4GetDatum(progress), isnan(progress));
	query_arg_time(&q, now);
	if (query_run(&q) > 0)
	{
		expires_at = query_time(&q, 0, 1);
		*agent_id = query_text_copy(&q, 0, 2);
	}
	query_end(&q);
	return expires_at;
}

/* Writes down what the agent's beats have renewed; the row is locked by us. */
TimestampTz
lease_store_renew(int64 task_id, TimestampTz lease_expires_at)
{
	static SavedQuery renew = {
		"UPDATE ains.task SET lease_expires_at = $2, wake_at = least($2, deadline)"
		" WHERE task_id = $1 RETURNING wake_at",
	2, {INT8OID, TIMESTAMPTZOID}};
	QueryCall	q;
	TimestampTz wake_at;

	query_begin(&q, &renew);
	query_arg_int64(&q, task_id);
	query_arg_time(&q, lease_expires_at);
	query_run(&q);
	wake_at = query_time(&q, 0, 1);
	query_end(&q);
	return wake_at;
}
