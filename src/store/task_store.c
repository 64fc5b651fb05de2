/*
 * store/task_store.c
 *		Rows of ains.task.
 *
 * Every function runs one statement as the owner of the tables (query.c) and
 * raises only what the statement raises. Rows and strings returned live in the
 * caller's memory context.
 */
#include "store/task_store.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"

#include "clock.h"
#include "policy.h"
#include "query.h"

/* The columns of a TaskRow, in the order read_row() reads them. */
#define TASK_COLUMNS \
	"t.task_id, t.lane_id, t.status::text AS status, t.priority, t.attempt, t.max_attempts," \
	" t.rank, t.run_at, t.expires_at, t.claimed_at, t.lease_expires_at, t.deadline," \
	" t.incarnation, t.lease_token, t.lease, t.timeout, t.enqueued_by::oid AS enqueued_by," \
	" t.cancel_requested_at IS NOT NULL AS cancel_requested, t.agent_id, t.capability," \
	" t.awaited IS NOT NULL AS awaited, t.unmet, t.run_id, t.stage," \
	" t.takes_output IS NOT NULL AS takes_output, t.concurrency_key, t.min_trust"

static void
read_row(QueryCall *q, uint64 row, TaskRow *task)
{
	char	   *status = query_text_copy(q, row, 3);
	int			col = 4;

	task->task_id = query_int64(q, row, 1);
	task->lane_id = query_int32(q, row, 2);
	task->status = task_status_from_name(status);
	pfree(status);
	task->priority = query_int16(q, row, col++);
	task->attempt = query_int32(q, row, col++);
	task->max_attempts = query_isnull(q, row, col) ? 0 : query_int32(q, row, col);
	col++;
	task->rank = query_int64(q, row, col++);
	task->run_at = query_time(q, row, col++);
	task->expires_at = query_time(q, row, col++);
	task->claimed_at = query_time(q, row, col++);
	task->lease_expires_at = query_time(q, row, col++);
	task->deadline = query_time(q, row, col++);
	task->incarnation = query_int64(q, row, col++);
	task->lease_token = query_int64(q, row, col++);
	task->lease = query_length(q, row, col++);
	task->timeout = query_length(q, row, col++);
	task->enqueued_by = query_oid(q, row, col++);
	task->cancel_requested = query_bool(q, row, col++);
	task->agent_id = query_text_copy(q, row, col++);
	task->capability = query_text_copy(q, row, col++);
	task->awaited = query_bool(q, row, col++);
	task->unmet = query_isnull(q, row, col) ? 0 : query_int32(q, row, col);
	col++;
	task->run_id = query_isnull(q, row, col) ? 0 : query_int64(q, row, col);
	col++;
	task->stage = query_text_copy(q, row, col++);
	task->takes_output = query_bool(q, row, col++);
	task->concurrency_key = query_text_copy(q, row, col++);
	task->min_trust = query_isnull(q, row, col) ? 0 : query_datum_copy(q, row, col);
}

/* All rows of a query that returns TASK_COLUMNS. */
static TaskRow *
read_rows(QueryCall *q, int *count)
{
	TaskRow    *rows = MemoryContextAlloc(q->caller, Max(q->count, 1) * sizeof(TaskRow));

	for (uint64 i = 0; i < q->count; i++)
		read_row(q, i, &rows[i]);
	*count = q->count;
	return rows;
}

/* A new task; 0 if a live one of the capability has its unique key. */
int64
task_store_insert(const NewTask *task)
{
	static SavedQuery insert = {
		"INSERT INTO ains.task (capability, lane_id, status, priority, rank, max_attempts,"
		" timeout, run_at, expires_at, wake_at, created_at, enqueued_by, unique_key,"
		" payload, metadata, run_id, stage, takes_output, concurrency_key, min_trust)"
		" VALUES ($1, $2, $3::ains.task_status, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13,"
		" $14, $15, $16, $17, nullif($18, false), $19, $20)"
		" ON CONFLICT (capability, unique_key) WHERE unique_key IS NOT NULL DO NOTHING"
		" RETURNING task_id",
		20, {TEXTOID, INT4OID, TEXTOID, INT2OID, INT8OID, INT4OID,
			INTERVALOID, TIMESTAMPTZOID, TIMESTAMPTZOID, TIMESTAMPTZOID, TIMESTAMPTZOID,
		OIDOID, TEXTOID, JSONBOID, JSONBOID, INT8OID, TEXTOID, BOOLOID, TEXTOID,
		NUMERICOID}};
	QueryCall	q;
	int64		task_id = 0;

	query_begin(&q, &insert);
	query_arg_text(&q, task->capability);
	query_arg_int32(&q, task->lane_id);
	query_arg_text(&q, task_status_name(task->status));
	query_arg(&q, Int16GetDatum(task->priority));
	query_arg_int64(&q, task->rank);
	query_arg_optional(&q, Int32GetDatum(task->max_attempts), task->max_attempts == 0);
	query_arg_length(&q, task->timeout);
	query_arg_time(&q, task->run_at);
	query_arg_time(&q, task->expires_at);
	query_arg_time(&q, task->wake_at);
	query_arg_time(&q, task->now);
	query_arg_oid(&q, task->enqueued_by);
	query_arg_text(&q, task->unique_key);
	query_arg(&q, task->payload);
	query_arg_optional(&q, task->metadata, task->metadata == 0);
	query_arg_optional(&q, Int64GetDatum(task->run_id), task->run_id == 0);
	query_arg_text(&q, task->stage);
	query_arg_bool(&q, task->takes_output);
	query_arg_text(&q, task->concurrency_key);
	query_arg_optional(&q, task->min_trust, task->min_trust == 0);
	if (query_run(&q) > 0)
		task_id = query_int64(&q, 0, 1);
	query_end(&q);
	return task_id;
}

/*
 * Many tasks that differ in payload, priority, rank and unique key (arrays of
 * the same length; unique_keys may be 0). task_ids gets the ids in their
 * order, 0 where a live task has the unique key.
 */
void
task_store_insert_batch(const NewTask *common, Datum payloads, Datum priorities,
						Datum ranks, Datum unique_keys, int64 *task_ids)
{
	/* ids are drawn first, so that rows and array elements can be matched */
	static SavedQuery insert = {
		"WITH item AS MATERIALIZED ("
		" SELECT nextval('ains.task_task_id_seq') AS task_id, i.n, i.payload, i.priority,"
		"  i.rank, i.unique_key"
		"  FROM ROWS FROM (unnest($1), unnest($2), unnest($3), unnest($4))"
		"   WITH ORDINALITY AS i (payload, priority, rank, unique_key, n) ORDER BY i.n),"
		" made AS ("
		" INSERT INTO ains.task (task_id, capability, lane_id, status, priority, rank,"
		"  max_attempts, timeout, run_at, expires_at, wake_at, created_at, enqueued_by,"
		"  unique_key, payload, run_id, stage)"
		"  OVERRIDING SYSTEM VALUE"
		"  SELECT task_id, $5, $6, $7::ains.task_status, priority, rank, $8, $9, $10, $11,"
		"   $12, $13, $14, unique_key, payload, $15, $16 FROM item ORDER BY n"
		"  ON CONFLICT (capability, unique_key) WHERE unique_key IS NOT NULL DO NOTHING"
		"  RETURNING task_id)"
		" SELECT i.n, i.task_id FROM item i JOIN made USING (task_id)",
		16, {JSONBARRAYOID, INT2ARRAYOID, INT8ARRAYOID, TEXTARRAYOID,
			TEXTOID, INT4OID, TEXTOID, INT4OID, INTERVALOID, TIMESTAMPTZOID, TIMESTAMPTZOID,
		TIMESTAMPTZOID, TIMESTAMPTZOID, OIDOID, INT8OID, TEXTOID}};
	QueryCall	q;

	query_begin(&q, &insert);
	query_arg(&q, payloads);
	query_arg(&q, priorities);
	query_arg(&q, ranks);
	query_arg_optional(&q, unique_keys, unique_keys == 0);
	query_arg_text(&q, common->capability);
	query_arg_int32(&q, common->lane_id);
	query_arg_text(&q, task_status_name(common->status));
	query_arg_optional(&q, Int32GetDatum(common->max_attempts), common->max_attempts == 0);
	query_arg_length(&q, common->timeout);
	query_arg_time(&q, common->run_at);
	query_arg_time(&q, common->expires_at);
	query_arg_time(&q, common->wake_at);
	query_arg_time(&q, common->now);
	query_arg_oid(&q, common->enqueued_by);
	query_arg_optional(&q, Int64GetDatum(common->run_id), common->run_id == 0);
	query_arg_text(&q, common->stage);
	query_run(&q);
	for (uint64 i = 0; i < q.count; i++)
		task_ids[query_int64(&q, i, 1) - 1] = query_int64(&q, i, 2);
	query_end(&q);
}

/* The live task of a unique key, locked if asked; false: none. */
bool
task_store_find_unique(const char *capability, const char *unique_key, bool lock, TaskRow *row)
{
	static SavedQuery find = {
		"SELECT " TASK_COLUMNS " FROM ains.task t WHERE t.capability = $1 AND t.unique_key = $2",
	2, {TEXTOID, TEXTOID}};
	static SavedQuery find_and_lock = {
		"SELECT " TASK_COLUMNS " FROM ains.task t WHERE t.capability = $1 AND t.unique_key = $2"
		" FOR UPDATE",
	2, {TEXTOID, TEXTOID}};
	QueryCall	q;
	bool		found;

	query_begin(&q, lock ? &find_and_lock : &find);
	query_arg_text(&q, capability);
	query_arg_text(&q, unique_key);
	found = query_run(&q) > 0;
	if (found)
		read_row(&q, 0, row);
	query_end(&q);
	return found;
}

/* New payload (and metadata, unless 0) for a waiting task. */
void
task_store_replace(int64 task_id, Datum payload, Datum metadata)
{
	static SavedQuery replace = {
		"UPDATE ains.task SET payload = $2, metadata = coalesce($3, metadata) WHERE task_id = $1",
	3, {INT8OID, JSONBOID, JSONBOID}};
	QueryCall	q;

	query_begin(&q, &replace);
	query_arg_int64(&q, task_id);
	query_arg(&q, payload);
	query_arg_optional(&q, metadata, metadata == 0);
	query_run(&q);
	query_end(&q);
}

static bool
find_one(SavedQuery *query, int64 task_id, TaskRow *row)
{
	QueryCall	q;
	bool		found;

	query_begin(&q, query);
	query_arg_int64(&q, task_id);
	found = query_run(&q) > 0;
	if (found)
		read_row(&q, 0, row);
	query_end(&q);
	return found;
}

/* A live task as it stands; false: there is none. */
bool
task_store_find(int64 task_id, TaskRow *row)
{
	static SavedQuery find = {
		"SELECT " TASK_COLUMNS " FROM ains.task t WHERE t.task_id = $1",
	1, {INT8OID}};

	return find_one(&find, task_id, row);
}

/* Locks a live task, waiting for whoever has it; false: there is none. */
bool
task_store_lock(int64 task_id, TaskRow *row)
{
	static SavedQuery lock = {
		"SELECT " TASK_COLUMNS " FROM ains.task t WHERE t.task_id = $1 FOR UPDATE",
	1, {INT8OID}};

	return find_one(&lock, task_id, row);
}

/* Locks a live task unless somebody has it; false: somebody has, or it is gone. */
bool
task_store_lock_free(int64 task_id, TaskRow *row)
{
	static SavedQuery lock = {
		"SELECT " TASK_COLUMNS " FROM ains.task t WHERE t.task_id = $1 FOR UPDATE SKIP LOCKED",
	1, {INT8OID}};

	return find_one(&lock, task_id, row);
}

/*
 * Locks a live task likewise and marks it as one that somebody waits for. It is
 * written even if it was marked: so a transaction that ends it, and whose
 * snapshot is too old to see who waits, cannot (40001).
 */
bool
task_store_await(int64 task_id, TaskRow *row)
{
	static SavedQuery await = {
		"UPDATE ains.task t SET awaited = true WHERE t.task_id = $1 RETURNING " TASK_COLUMNS,
	1, {INT8OID}};

	return find_one(&await, task_id, row);
}

/*
 * Rows found by a condition are locked in two steps, by their primary keys:
 * LockRows keeps the lock on a row that changed and fails the condition, and
 * nobody would know that it is locked. So the caller gets every row he locked,
 * as it is now, and has to look whether it still is what he wanted.
 */
#define LOCK_THOSE(ids, how) \
	"SELECT t.* FROM unnest(ARRAY(" ids ")) AS i (id), LATERAL (" \
	" SELECT " TASK_COLUMNS " FROM ains.task t WHERE t.task_id = i.id " how ") t"

#define HELD_BY_AGENT \
	"SELECT task_id FROM ains.task WHERE agent_id = $1 AND status = 'ACTIVE'" \
	" ORDER BY task_id LIMIT 1000"

/* Locks the tasks an agent holds, at most AINS_SWEEP_BATCH of them. */
TaskRow *
task_store_lock_of_agent(const char *agent_id, bool skip_locked, int *count)
{
	static SavedQuery lock = {LOCK_THOSE(HELD_BY_AGENT, "FOR UPDATE"), 1, {TEXTOID}};
	static SavedQuery lock_free = {
		LOCK_THOSE(HELD_BY_AGENT, "FOR UPDATE SKIP LOCKED"), 1, {TEXTOID}};
	QueryCall	q;
	TaskRow    *rows;

	query_begin(&q, skip_locked ? &lock_free : &lock);
	query_arg_text(&q, agent_id);
	query_run(&q);
	rows = read_rows(&q, count);
	query_end(&q);
	return rows;
}

/* Locks the first AINS_SWEEP_BATCH PENDING tasks of a lane, skipping locked ones. */
TaskRow *
task_store_lock_ready(int32 lane_id, int *count)
{
	static SavedQuery lock = {
		LOCK_THOSE("SELECT task_id FROM ains.task WHERE lane_id = $1 AND status = 'PENDING'"
				   " ORDER BY rank, task_id LIMIT 1000", "FOR UPDATE SKIP LOCKED"),
	1, {INT4OID}};
	QueryCall	q;
	TaskRow    *rows;

	query_begin(&q, &lock);
	query_arg_int32(&q, lane_id);
	query_run(&q);
	rows = read_rows(&q, count);
	query_end(&q);
	return rows;
}

/* How many tasks an agent holds, and the XOR of their hashes (roster.h). */
int
task_store_count_of_agent(const char *agent_id, uint64 *held_hash)
{
	static SavedQuery count_held = {
		"SELECT count(*)::integer, bit_xor(hashint8extended(task_id, 0))"
		" FROM ains.task WHERE agent_id = $1 AND status = 'ACTIVE'",
	1, {TEXTOID}};
	QueryCall	q;
	int			count;

	query_begin(&q, &count_held);
	query_arg_text(&q, agent_id);
	query_run(&q);
	count = query_int32(&q, 0, 1);
	*held_hash = (uint64) query_int64(&q, 0, 2);
	query_end(&q);
	return count;
}

/* The tasks an agent holds whose cancel was requested. */
int64 *
task_store_cancel_requested_of(const char *agent_id, int *count)
{
	static SavedQuery find = {
		"SELECT task_id FROM ains.task WHERE agent_id = $1 AND status = 'ACTIVE'"
		" AND cancel_requested_at IS NOT NULL ORDER BY task_id",
	1, {TEXTOID}};
	QueryCall	q;
	int64	   *ids;

	query_begin(&q, &find);
	query_arg_text(&q, agent_id);
	query_run(&q);
	ids = query_int64s_copy(&q, count);
	query_end(&q);
	return ids;
}

/* Those of task_ids that the agent does not hold, in their order. */
int64 *
task_store_not_held_by(const char *agent_id, const int64 *task_ids, int total, int *count)
{
	static SavedQuery find = {
		"SELECT h.task_id FROM unnest($2) WITH ORDINALITY AS h (task_id, n)"
		" WHERE NOT EXISTS (SELECT FROM ains.task t WHERE t.task_id = h.task_id"
		"  AND t.agent_id = $1 AND t.status = 'ACTIVE') ORDER BY h.n",
	2, {TEXTOID, INT8ARRAYOID}};
	QueryCall	q;
	int64	   *ids;

	query_begin(&q, &find);
	query_arg_text(&q, agent_id);
	query_arg_int64s(&q, task_ids, total);
	query_run(&q);
	ids = query_int64s_copy(&q, count);
	query_end(&q);
	return ids;
}

/* A waiting task goes on waiting, or an attempt ended and it waits again. */
void
task_store_wait_again(int64 task_id, TaskStatus status, int32 attempt,
					  TimestampTz run_at, TimestampTz wake_at, const char *error)
{
	static SavedQuery wait = {
		"UPDATE ains.task SET status = $2::ains.task_status, attempt = $3, run_at = $4,"
		" wake_at = $5, last_error = coalesce($6, last_error),"
		" lease_expires_at = NULL, deadline = NULL WHERE task_id = $1",
	6, {INT8OID, TEXTOID, INT4OID, TIMESTAMPTZOID, TIMESTAMPTZOID, TEXTOID}};
	QueryCall	q;

	query_begin(&q, &wait);
	query_arg_int64(&q, task_id);
	query_arg_text(&q, task_status_name(status));
	query_arg_int32(&q, attempt);
	query_arg_time(&q, run_at);
	query_arg_time(&q, wake_at);
	query_arg_text(&q, error);
	query_run(&q);
	query_end(&q);
}

/* A task is BLOCKED by fewer tasks, or not any more. */
void
task_store_set_unmet(int64 task_id, int32 unmet, TaskStatus status, TimestampTz run_at,
					 TimestampTz wake_at)
{
	static SavedQuery set = {
		"UPDATE ains.task SET unmet = nullif($2, 0), status = $3::ains.task_status, run_at = $4,"
		" wake_at = $5 WHERE task_id = $1",
	5, {INT8OID, INT4OID, TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID}};
	QueryCall	q;

	query_begin(&q, &set);
	query_arg_int64(&q, task_id);
	query_arg_int32(&q, unmet);
	query_arg_text(&q, task_status_name(status));
	query_arg_time(&q, run_at);
	query_arg_time(&q, wake_at);
	query_run(&q);
	query_end(&q);
}

/*
 * A task that takes the output of the one it waited for gets it (0: NULL) as
 * previous_output; a payload that is no object becomes one, under "payload".
 */
void
task_store_give_output(int64 task_id, Datum output)
{
	static SavedQuery give = {
		"UPDATE ains.task SET payload = CASE jsonb_typeof(payload) WHEN 'object' THEN payload"
		"  ELSE jsonb_build_object('payload', payload) END"
		"  || jsonb_build_object('previous_output', $2) WHERE task_id = $1",
	2, {INT8OID, JSONBOID}};
	QueryCall	q;

	query_begin(&q, &give);
	query_arg_int64(&q, task_id);
	query_arg_optional(&q, output, output == 0);
	query_run(&q);
	query_end(&q);
}

/* Another lane. */
void
task_store_set_lane(int64 task_id, int32 lane_id)
{
	static SavedQuery set = {
		"UPDATE ains.task SET lane_id = $2 WHERE task_id = $1",
	2, {INT8OID, INT4OID}};
	QueryCall	q;

	query_begin(&q, &set);
	query_arg_int64(&q, task_id);
	query_arg_int32(&q, lane_id);
	query_run(&q);
	query_end(&q);
}

/* Another priority, and the rank that goes with it. */
void
task_store_set_rank(int64 task_id, int32 priority, int64 rank)
{
	static SavedQuery set = {
		"UPDATE ains.task SET priority = $2, rank = $3 WHERE task_id = $1",
	3, {INT8OID, INT2OID, INT8OID}};
	QueryCall	q;

	query_begin(&q, &set);
	query_arg_int64(&q, task_id);
	query_arg(&q, Int16GetDatum(priority));
	query_arg_int64(&q, rank);
	query_run(&q);
	query_end(&q);
}

/* Marks a held task: its agent shall end it. */
void
task_store_request_cancel(int64 task_id, const char *reason, TimestampTz now)
{
	static SavedQuery mark = {
		"UPDATE ains.task SET cancel_requested_at = $3, cancel_reason = $2 WHERE task_id = $1",
	3, {INT8OID, TEXTOID, TIMESTAMPTZOID}};
	QueryCall	q;

	query_begin(&q, &mark);
	query_arg_int64(&q, task_id);
	query_arg_text(&q, reason);
	query_arg_time(&q, now);
	query_run(&q);
	query_end(&q);
}

/*
 * Ranks the live tasks of a capability anew after its aging interval changed
 * by `change` microseconds: rank = due - priority * aging_interval. Returns
 * how many.
 */
int64
task_store_rerank(const char *capability, int64 change)
{
	static SavedQuery rerank = {
		"UPDATE ains.task SET rank = rank - priority * $2 WHERE capability = $1",
	2, {TEXTOID, INT8OID}};
	QueryCall	q;
	int64		count;

	query_begin(&q, &rerank);
	query_arg_text(&q, capability);
	query_arg_int64(&q, change);
	count = query_run(&q);
	query_end(&q);
	return count;
}

/*
 * Locks up to AINS_SWEEP_BATCH tasks whose wake_at is in [from, until], the
 * earliest first, skipping those that are locked.
 */
TaskRow *
task_store_lock_due(TimestampTz from, TimestampTz until, int *count)
{
	static SavedQuery lock = {
		LOCK_THOSE("SELECT task_id FROM ains.task WHERE wake_at BETWEEN $1 AND $2"
				   " ORDER BY wake_at LIMIT 1000", "FOR UPDATE SKIP LOCKED"),
	2, {TIMESTAMPTZOID, TIMESTAMPTZOID}};
	QueryCall	q;
	TaskRow    *rows;

	query_begin(&q, &lock);
	query_arg(&q, TimestampTzGetDatum(from));
	query_arg(&q, TimestampTzGetDatum(until));
	query_run(&q);
	rows = read_rows(&q, count);
	query_end(&q);
	return rows;
}

/*
 * The earliest wake_at from `from` on, but before `until`; `until` if there is
 * none. What is later is not looked at: there may be many dead entries.
 */
TimestampTz
task_store_earliest_wake(TimestampTz from, TimestampTz until)
{
	static SavedQuery find = {
		"SELECT wake_at FROM ains.task WHERE wake_at >= $1 AND wake_at < $2"
		" ORDER BY wake_at LIMIT 1",
	2, {TIMESTAMPTZOID, TIMESTAMPTZOID}};
	QueryCall	q;
	TimestampTz earliest = until;

	query_begin(&q, &find);
	query_arg(&q, TimestampTzGetDatum(from));
	query_arg(&q, TimestampTzGetDatum(until));
	if (query_run(&q) > 0)
		earliest = query_time(&q, 0, 1);
	query_end(&q);
	return earliest;
}

/*
 * How many entries this transaction has read so far of the indexes that audits
 * read, those of dead rows included; 0 if track_counts is off.
 */
int64
task_store_index_reads(void)
{
	static SavedQuery find = {
		"SELECT pg_stat_get_xact_tuples_returned('ains.task_ready'::regclass)"
		" + pg_stat_get_xact_tuples_returned('ains.task_wake'::regclass)"
		" + pg_stat_get_xact_tuples_returned('ains.task_held'::regclass)",
	0, {0}};
	QueryCall	q;
	int64		reads;

	query_begin(&q, &find);
	query_run(&q);
	reads = query_int64(&q, 0, 1);
	query_end(&q);
	return reads;
}
