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
#include "utils/array.h"
#include "utils/timestamp.h"

#include "clock.h"
#include "query.h"

/* What makes a PENDING row claimable at $now: it has not expired unstarted. */
#define NOT_EXPIRED(now) \
	"(r.expires_at IS NULL OR r.expires_at > " now " OR r.attempt > 0)"

/* Whether one of the lanes has a claimable task that nobody has locked. */
bool
lease_store_claimable(const int32 *lanes, int count, TimestampTz now)
{
	static SavedQuery peek = {
		"SELECT FROM unnest($1) AS o (lane_id), LATERAL ("
		" SELECT FROM ains.task r WHERE r.lane_id = o.lane_id AND r.status = 'PENDING'"
		"  AND " NOT_EXPIRED("$2") " ORDER BY r.rank, r.task_id LIMIT 1"
		"  FOR UPDATE SKIP LOCKED) AS head LIMIT 1",
	2, {INT4ARRAYOID, TIMESTAMPTZOID}};
	QueryCall	q;
	Datum	   *datums;
	bool		found;

	query_begin(&q, &peek);
	datums = palloc(Max(count, 1) * sizeof(Datum));
	for (int i = 0; i < count; i++)
		datums[i] = Int32GetDatum(lanes[i]);
	query_arg(&q, PointerGetDatum(construct_array(datums, count, INT4OID, sizeof(int32),
												  true, TYPALIGN_INT)));
	query_arg_time(&q, now);
	found = query_run(&q) > 0;
	query_end(&q);
	return found;
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
 * Makes up to max_tasks PENDING tasks of the lanes ACTIVE, in rank order over
 * all of them, skipping rows that are locked. The n-th gets the token
 * first_token + n - 1.
 *
 * Candidates are read in index order, a few more from each lane than wanted;
 * only as many as wanted are locked, since they are locked one by one below
 * the LIMIT.
 */
ClaimedTask *
lease_store_claim(const ClaimLane *lanes, int lane_count, int max_tasks,
				 const char *agent_id, int64 incarnation, int64 first_token,
				 TimestampTz now, int *count)
{
	static SavedQuery claim = {
		"WITH offered AS MATERIALIZED ("
		" SELECT * FROM unnest($1, $2, $3, $4) AS o (lane_id, lease, timeout, max_attempts)),"
		" picked AS MATERIALIZED ("
		" SELECT t.task_id FROM ("
		"   SELECT r.task_id, r.rank FROM offered o, LATERAL ("
		"    SELECT task_id, rank FROM ains.task r WHERE r.lane_id = o.lane_id"
		"     AND r.status = 'PENDING' AND " NOT_EXPIRED("$9")
		"     ORDER BY r.rank, r.task_id LIMIT $5 + 64) r"
		"   ORDER BY r.rank, r.task_id) c, LATERAL ("
		"  SELECT t.task_id FROM ains.task t WHERE t.task_id = c.task_id AND t.status = 'PENDING'"
		"   FOR UPDATE SKIP LOCKED) t LIMIT $5),"
		" taken AS ("
		" UPDATE ains.task t SET status = 'ACTIVE', attempt = t.attempt + 1, agent_id = $6,"
		"  incarnation = $7, lease_token = $8 + p.n - 1, lease = o.lease, claimed_at = $9,"
		"  lease_expires_at = $9 + o.lease, deadline = $9 + coalesce(t.timeout, o.timeout),"
		"  wake_at = least($9 + o.lease, $9 + coalesce(t.timeout, o.timeout))"
		"  FROM (SELECT task_id, row_number() OVER () AS n FROM picked) p, offered o"
		"  WHERE t.task_id = p.task_id AND o.lane_id = t.lane_id"
		"  RETURNING t.task_id, t.lane_id, t.lease_token, t.capability, t.payload, t.priority,"
		"   t.attempt, coalesce(t.max_attempts, o.max_attempts), t.lease_expires_at,"
		"   t.checkpoint, t.deadline, t.metadata)"
		" SELECT * FROM taken ORDER BY lease_token",
		9, {INT4ARRAYOID, INTERVALARRAYOID, INTERVALARRAYOID, INT4ARRAYOID,
		INT4OID, TEXTOID, INT8OID, INT8OID, TIMESTAMPTZOID}};
	QueryCall	q;
	ClaimedTask *tasks;
	Datum	   *ids,
			   *leases,
			   *timeouts,
			   *attempts;
	bool	   *no_timeout;
	int			lbound = 1;

	query_begin(&q, &claim);
	ids = palloc(lane_count * sizeof(Datum));
	leases = palloc(lane_count * sizeof(Datum));
	timeouts = palloc(lane_count * sizeof(Datum));
	attempts = palloc(lane_count * sizeof(Datum));
	no_timeout = palloc(lane_count * sizeof(bool));
	for (int i = 0; i < lane_count; i++)
	{
		ids[i] = Int32GetDatum(lanes[i].lane_id);
		leases[i] = IntervalPGetDatum(length_to_interval(lanes[i].lease));
		no_timeout[i] = lanes[i].timeout < 0;
		timeouts[i] = IntervalPGetDatum(length_to_interval(Max(lanes[i].timeout, 0)));
		attempts[i] = Int32GetDatum(lanes[i].max_attempts);
	}
	query_arg(&q, PointerGetDatum(construct_array(ids, lane_count, INT4OID,
												  sizeof(int32), true, TYPALIGN_INT)));
	query_arg(&q, PointerGetDatum(construct_array(leases, lane_count, INTERVALOID,
												  sizeof(Interval), false, TYPALIGN_DOUBLE)));
	query_arg(&q, PointerGetDatum(construct_md_array(timeouts, no_timeout, 1, &lane_count,
													 &lbound, INTERVALOID, sizeof(Interval),
													 false, TYPALIGN_DOUBLE)));
	query_arg(&q, PointerGetDatum(construct_array(attempts, lane_count, INT4OID,
												  sizeof(int32), true, TYPALIGN_INT)));
	query_arg_int32(&q, max_tasks);
	query_arg_text(&q, agent_id);
	query_arg_int64(&q, incarnation);
	query_arg_int64(&q, first_token);
	query_arg_time(&q, now);
	query_run(&q);

	tasks = MemoryContextAllocZero(q.caller, Max(q.count, 1) * sizeof(ClaimedTask));
	for (uint64 i = 0; i < q.count; i++)
	{
		ClaimedTask *task = &tasks[i];

		task->task_id = query_int64(&q, i, 1);
		task->lane_id = query_int32(&q, i, 2);
		task->lease_token = query_int64(&q, i, 3);
		task->capability = query_datum_copy(&q, i, 4);
		task->payload = query_datum_copy(&q, i, 5);
		task->priority = query_int16(&q, i, 6);
		task->attempt = query_int32(&q, i, 7);
		task->max_attempts = query_int32(&q, i, 8);
		task->lease_expires_at = query_time(&q, i, 9);
		if (!query_isnull(&q, i, 10))
			task->checkpoint = query_datum_copy(&q, i, 10);
		task->deadline = query_time(&q, i, 11);
		if (!query_isnull(&q, i, 12))
			task->metadata = query_datum_copy(&q, i, 12);
	}
	*count = q.count;
	query_end(&q);
	return tasks;
}

/* The row of a lease that is held and not to be cancelled. */
#define HELD	"task_id = $1 AND lease_token = $2 AND status = 'ACTIVE'" \
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
