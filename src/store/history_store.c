/*
 * store/history_store.c
 *		Finished tasks and failed attempts.
 *
 * As in task_store.c: one statement each, results in the caller's context.
 */
#include "store/history_store.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/datetime.h"

#include "policy.h"
#include "query.h"
#include "store/task_store.h"

/* Columns that both tables have under the same name. */
#define SHARED_COLUMNS \
	"task_id, priority, max_attempts, run_at, created_at, expires_at, enqueued_by," \
	" incarnation, lease_token, claimed_at, progress, timeout, min_trust, agent_id," \
	" capability, unique_key, concurrency_key, payload, metadata, checkpoint, depends_on," \
	" run_id, stage, takes_output"

static BatchItem *
read_items(QueryCall *q, int *count)
{
	BatchItem  *items = MemoryContextAlloc(q->caller, Max(q->count, 1) * sizeof(BatchItem));

	for (uint64 i = 0; i < q->count; i++)
	{
		items[i].n = query_int64(q, i, 1);
		items[i].task_id = query_int64(q, i, 2);
	}
	*count = q->count;
	return items;
}

/* Those of the tasks that the same token has completed, in input order. */
BatchItem *
history_store_completed_before(Datum task_ids, Datum tokens, Oid role, int *count)
{
	static SavedQuery find = {
		"SELECT min(i.n), i.task_id FROM ROWS FROM (unnest($1), unnest($2))"
		"  WITH ORDINALITY AS i (task_id, lease_token, n), ains.task_history h, ains.agent a"
		" WHERE h.task_id = i.task_id AND h.lease_token = i.lease_token"
		"  AND h.status = 'COMPLETED' AND a.agent_id = h.agent_id"
		"  AND pg_has_role($3, a.owner::oid, 'USAGE')"
		" GROUP BY i.task_id ORDER BY 1",
	3, {INT8ARRAYOID, INT8ARRAYOID, OIDOID}};
	QueryCall	q;
	BatchItem  *items;

	query_begin(&q, &find);
	query_arg(&q, task_ids);
	query_arg(&q, tokens);
	query_arg_oid(&q, role);
	query_run(&q);
	items = read_items(&q, count);
	query_end(&q);
	return items;
}

/*
 * Puts away a task whose row is locked by us. One that a restore brought back
 * may have ended today already: the sweeper must not stumble over it.
 */
void
history_store_finish(int64 task_id, const Finish *finish)
{
	static SavedQuery put_away = {
		"WITH gone AS (DELETE FROM ains.task WHERE task_id = $1 RETURNING *)"
		" INSERT INTO ains.task_history (" SHARED_COLUMNS ", status, finished_at, shelf,"
		"  attempt, error, cancel_reason, result, usage)"
		" SELECT " SHARED_COLUMNS ", $2::ains.task_status, $3, $4, $5,"
		"  CASE WHEN $2 <> 'COMPLETED' THEN coalesce($6, last_error) END,"
		"  CASE WHEN $2 <> 'COMPLETED' THEN coalesce($7, cancel_reason) END, $9, $10 FROM gone"
		" WHERE $8 ON CONFLICT DO NOTHING",
		10, {INT8OID, TEXTOID, TIMESTAMPTZOID, DATEOID, INT4OID,
	TEXTOID, TEXTOID, BOOLOID, JSONBOID, JSONBOID}};
	QueryCall	q;

	query_begin(&q, &put_away);
	query_arg_int64(&q, task_id);
	query_arg_text(&q, task_status_name(finish->status));
	query_arg_time(&q, finish->now);
	query_arg(&q, DateADTGetDatum(finish->shelf));
	query_arg_int32(&q, finish->attempt);
	query_arg_text(&q, finish->error);
	query_arg_text(&q, finish->cancel_reason);
	query_arg_bool(&q, finish->keep);
	query_arg_optional(&q, finish->result, finish->result == 0);
	query_arg_optional(&q, finish->usage, finish->usage == 0);
	query_run(&q);
	query_end(&q);
}

/* A finished task, its latest end; false: there is none. */
bool
history_store_find(int64 task_id, HistoryRow *row)
{
	static SavedQuery find = {
		"SELECT status::text, lease_token, enqueued_by::oid, capability, agent_id,"
		" coalesce(cardinality(depends_on), 0), coalesce(run_id, 0), concurrency_key, min_trust"
		" FROM ains.task_history WHERE task_id = $1 ORDER BY finished_at DESC LIMIT 1",
	1, {INT8OID}};
	QueryCall	q;
	bool		found;

	query_begin(&q, &find);
	query_arg_int64(&q, task_id);
	found = query_run(&q) > 0;
	if (found)
	{
		row->status = task_status_from_name(query_text_copy(&q, 0, 1));
		row->lease_token = query_int64(&q, 0, 2);
		row->enqueued_by = query_oid(&q, 0, 3);
		row->task.capability = query_text_copy(&q, 0, 4);
		row->agent_id = query_text_copy(&q, 0, 5);
		row->task.depends_on_count = query_int32(&q, 0, 6);
		row->task.run_id = query_int64(&q, 0, 7);
		row->task.concurrency_key = query_text_copy(&q, 0, 8);
		row->task.min_trust = query_isnull(&q, 0, 9) ? 0 : query_datum_copy(&q, 0, 9);
	}
	query_end(&q);
	return found;
}

/* How a task ended and its result, in the caller's context; false: it has not. */
bool
history_store_result(int64 task_id, TaskStatus *status, Datum *result, bool *isnull)
{
	static SavedQuery find = {
		"SELECT status::text, result FROM ains.task_history WHERE task_id = $1"
		" ORDER BY finished_at DESC LIMIT 1",
	1, {INT8OID}};
	QueryCall	q;
	bool		found;

	query_begin(&q, &find);
	query_arg_int64(&q, task_id);
	found = query_run(&q) > 0;
	if (found)
	{
		*status = task_status_from_name(query_text_copy(&q, 0, 1));
		*isnull = query_isnull(&q, 0, 2);
		if (!*isnull)
			*result = query_datum_copy(&q, 0, 2);
	}
	query_end(&q);
	return found;
}

/*
 * Locks dead letters that can come back, those that failed first; leaves out
 * what somebody else has locked. In the caller's context.
 */
DeadLetter *
history_store_lock_dead(const DeadLetters *which, int *count)
{
	static SavedQuery find = {
		"SELECT h.task_id, h.capability, coalesce(cardinality(h.depends_on), 0),"
		" coalesce(h.run_id, 0), h.concurrency_key, h.min_trust FROM ains.task_history h"
		" WHERE h.status = 'FAILED' AND ($1 IS NULL OR h.capability = $1)"
		"  AND ($2 IS NULL OR h.finished_at <= $2)"
		"  AND ($4 OR pg_has_role($3, h.enqueued_by::oid, 'USAGE'))"
		"  AND NOT EXISTS (SELECT FROM ains.task t WHERE t.task_id = h.task_id)"
		"  AND NOT EXISTS (SELECT FROM ains.task t WHERE t.capability = h.capability"
		"   AND t.unique_key = h.unique_key)"
		"  AND NOT EXISTS (SELECT FROM ains.task t WHERE t.task_id = ANY (h.depends_on))"
		"  AND NOT EXISTS (SELECT FROM ains.task_history p"
		"   WHERE p.task_id = ANY (h.depends_on) AND p.status <> 'COMPLETED')"
		" ORDER BY h.finished_at, h.task_id LIMIT $5 FOR UPDATE OF h SKIP LOCKED",
		5, {TEXTOID, TIMESTAMPTZOID, OIDOID, BOOLOID, INT4OID},
	.scans = true};
	QueryCall	q;
	DeadLetter *letters;

	query_begin(&q, &find);
	query_arg_text(&q, which->capability);
	query_arg_optional(&q, TimestampTzGetDatum(which->failed_by), which->failed_by == 0);
	query_arg_oid(&q, which->role);
	query_arg_bool(&q, which->is_admin);
	query_arg_int32(&q, which->max);
	query_run(&q);
	letters = MemoryContextAlloc(q.caller, Max(q.count, 1) * sizeof(DeadLetter));
	for (uint64 i = 0; i < q.count; i++)
	{
		letters[i].task_id = query_int64(&q, i, 1);
		letters[i].task.capability = query_text_copy(&q, i, 2);
		letters[i].task.depends_on_count = query_int32(&q, i, 3);
		letters[i].task.run_id = query_int64(&q, i, 4);
		letters[i].task.concurrency_key = query_text_copy(&q, i, 5);
		letters[i].task.min_trust = query_isnull(&q, i, 6) ? 0 : query_datum_copy(&q, i, 6);
	}
	*count = q.count;
	query_end(&q);
	return letters;
}

/*
 * Makes a finished task live again: due now, no attempt counted, its rank by
 * the aging interval given, PENDING or BLOCKED. False, and nothing has changed,
 * if it is not in history any more, or, with key_is_live, if another live task
 * has its unique key by now.
 */
bool
history_store_put_back(int64 task_id, TaskStatus status, int32 lane_id, int64 aging_interval,
					   TimestampTz now, PutBack *back)
{
	static SavedQuery put_back = {
		"WITH past AS (SELECT * FROM ains.task_history WHERE task_id = $1"
		"  ORDER BY finished_at DESC LIMIT 1 FOR UPDATE),"
		" made AS ("
		" INSERT INTO ains.task (task_id, lane_id, status, priority, rank, attempt,"
		"  max_attempts, run_at, created_at, enqueued_by, progress, timeout, min_trust, capability,"
		"  unique_key, last_error, payload, metadata, checkpoint, run_id, stage, takes_output,"
		"  concurrency_key)"
		"  OVERRIDING SYSTEM VALUE"
		"  SELECT task_id, $2, $6::ains.task_status, priority, $5 - priority * $3, 0, max_attempts, $4,"
		"   created_at, enqueued_by, progress, timeout, min_trust, capability, unique_key, error,"
		"   payload, metadata, checkpoint, run_id, stage, takes_output, concurrency_key"
		"  FROM past"
		"  ON CONFLICT (capability, unique_key) WHERE unique_key IS NOT NULL DO NOTHING"
		"  RETURNING task_id, rank),"
		" gone AS (DELETE FROM ains.task_history h USING made m WHERE h.task_id = m.task_id)"
		" SELECT (SELECT rank FROM made), status::text, run_id, stage,"
		"  takes_output AND NOT payload ? 'previous_output' FROM past",
	6, {INT8OID, INT4OID, INT8OID, TIMESTAMPTZOID, INT8OID, TEXTOID}};
	QueryCall	q;
	bool		made = false;

	query_begin(&q, &put_back);
	query_arg_int64(&q, task_id);
	query_arg_int32(&q, lane_id);
	query_arg_int64(&q, aging_interval);
	query_arg_time(&q, now);
	query_arg_int64(&q, now);
	query_arg_text(&q, task_status_name(status));
	back->key_is_live = false;
	if (query_run(&q) > 0)
	{
		made = !query_isnull(&q, 0, 1);
		back->rank = query_int64(&q, 0, 1);
		back->key_is_live = !made;
		back->was = task_status_from_name(query_text_copy(&q, 0, 2));
		back->run_id = query_isnull(&q, 0, 3) ? 0 : query_int64(&q, 0, 3);
		back->stage = query_text_copy(&q, 0, 4);
		back->lacks_output = !query_isnull(&q, 0, 5) && query_bool(&q, 0, 5);
	}
	query_end(&q);
	return made;
}

/* Notes how the current attempt of an ACTIVE task, locked by us, ended; likewise. */
void
history_store_add_attempt(int64 task_id, const char *outcome, TaskStatus next_status,
						  const char *error, TimestampTz now, DateADT shelf)
{
	static SavedQuery add = {
		"INSERT INTO ains.attempt (task_id, lease_token, shelf, attempt, started_at, ended_at,"
		"  outcome, next_status, agent_id, error)"
		" SELECT task_id, lease_token, $6, attempt, claimed_at, $5, $2,"
		"  $3::ains.task_status, agent_id, $4 FROM ains.task WHERE task_id = $1"
		" ON CONFLICT DO NOTHING",
	6, {INT8OID, TEXTOID, TEXTOID, TEXTOID, TIMESTAMPTZOID, DATEOID}};
	QueryCall	q;

	query_begin(&q, &add);
	query_arg_int64(&q, task_id);
	query_arg_text(&q, outcome);
	query_arg_text(&q, task_status_name(next_status));
	query_arg_text(&q, error);
	query_arg_time(&q, now);
	query_arg(&q, DateADTGetDatum(shelf));
	query_run(&q);
	query_end(&q);
}

/* How the attempt with this token ended; false: with success, or not at all. */
bool
history_store_find_attempt(int64 task_id, int64 lease_token, AttemptRow *row)
{
	static SavedQuery find = {
		"SELECT outcome, next_status::text FROM ains.attempt"
		" WHERE task_id = $1 AND lease_token = $2",
	2, {INT8OID, INT8OID}};
	QueryCall	q;
	bool		found;

	query_begin(&q, &find);
	query_arg_int64(&q, task_id);
	query_arg_int64(&q, lease_token);
	found = query_run(&q) > 0;
	if (found)
	{
		row->outcome = query_text_copy(&q, 0, 1);
		row->next_status = task_status_from_name(query_text_copy(&q, 0, 2));
	}
	query_end(&q);
	return found;
}

/* Whether the patterns say that an error is not worth another attempt. */
bool
history_store_non_retryable(const char *error)
{
	static SavedQuery match = {
		"SELECT coalesce(bool_or(NOT retryable), false)"
		" AND NOT coalesce(bool_or(retryable), false)"
		" FROM ains.non_retryable_error"
		" WHERE position(lower(pattern) in lower($1)) > 0",
	1, {TEXTOID}};
	QueryCall	q;
	bool		matches;

	query_begin(&q, &match);
	query_arg_text(&q, error);
	query_run(&q);
	matches = query_bool(&q, 0, 1);
	query_end(&q);
	return matches;
}

/*
 * The shelves there are: the oldest, and the latest unbroken run of days
 * [first, last]. All are NO_SHELF-like PG_INT32_MIN if there is none.
 */
void
history_store_shelves(DateADT *first, DateADT *last, DateADT *oldest)
{
	/* a run of days keeps the same (day - its number), and the latest has the largest */
	static SavedQuery find = {
		"WITH shelf AS ("
		" SELECT to_date(right(c.relname, 8), 'YYYYMMDD') AS day"
		"  FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
		"  WHERE i.inhparent = 'ains.task_history'::regclass"
		"   AND NOT i.inhdetachpending AND c.relname ~ '^task_history_[0-9]{8}$')"
		" SELECT min(day), max(day), (SELECT min(day) FROM shelf) FROM ("
		"  SELECT day, day - row_number() OVER (ORDER BY day)::integer AS run FROM shelf) r"
		" GROUP BY run ORDER BY run DESC LIMIT 1",
	0, {0}};
	QueryCall	q;

	*first = *last = *oldest = PG_INT32_MIN;
	query_begin(&q, &find);
	if (query_run(&q) > 0)
	{
		*first = DatumGetDateADT(query_datum(&q, 0, 1));
		*last = DatumGetDateADT(query_datum(&q, 0, 2));
		*oldest = DatumGetDateADT(query_datum(&q, 0, 3));
	}
	query_end(&q);
}

/* Only one transaction at a time makes or drops shelves; tasks may end meanwhile. */
void
history_store_lock_shelves(void)
{
	query_ddl("LOCK TABLE ONLY ains.task_history IN SHARE UPDATE EXCLUSIVE MODE");
}

static char *
day_name(DateADT day)
{
	int			year,
				month,
				mday;

	j2date(day + POSTGRES_EPOCH_JDATE, &year, &month, &mday);
	return psprintf("%04d%02d%02d", year, month, mday);
}

/* The table of ains.task_history that is the shelf of a day; palloc'd. */
const char *
history_store_shelf_name(DateADT day)
{
	return psprintf("task_history_%s", day_name(day));
}

/*
 * Whether the table of a shelf is there and attached. One that is there must be
 * a plain table of ours: a trigger or rule of somebody else's would run with
 * our rights.
 */
static void
find_shelf(const char *parent, const char *shelf, bool *there, bool *attached)
{
	static SavedQuery find = {
		"SELECT EXISTS (SELECT FROM pg_inherits WHERE inhrelid = c.oid),"
		" c.relkind = 'r' AND NOT c.relhastriggers AND NOT c.relhasrules AND NOT c.relrowsecurity"
		"  AND c.relowner = (SELECT relowner FROM pg_class WHERE oid = to_regclass($2))"
		" FROM pg_class c WHERE c.oid = to_regclass($1)",
	2, {TEXTOID, TEXTOID}};
	QueryCall	q;
	bool		ours = true;

	query_begin(&q, &find);
	query_arg_text(&q, shelf);
	query_arg_text(&q, parent);
	*there = query_run(&q) > 0;
	*attached = *there && query_bool(&q, 0, 1);
	if (*there)
		ours = query_bool(&q, 0, 2);
	query_end(&q);
	if (!ours && !*attached)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"%s\" stands where history needs a table of its own", shelf),
				 errdetail("It has another owner, triggers, rules or row security."),
				 errhint("Rename or drop it.")));
}

static const struct
{
	const char *name;
	const char *key;			/* also lets rows of a published table be deleted */
}			parents[] = {
	{"task_history", "task_id, shelf"},
	{"attempt", "task_id, lease_token, shelf"},
};

/* Whether a table of the shelf of a day is there and not attached. */
bool
history_store_shelf_is_loose(DateADT day)
{
	char	   *name = day_name(day);
	bool		loose = false;

	for (int i = 0; i < lengthof(parents); i++)
	{
		char	   *parent = psprintf("ains.%s", parents[i].name);
		bool		there;
		bool		attached;

		find_shelf(parent, psprintf("%s_%s", parent, name), &there, &attached);
		loose = loose || (there && !attached);
	}
	return loose;
}

/*
 * Makes and attaches the shelf of a day, unless it is attached already; a
 * table of its name that is there (a restore brings them) becomes the shelf.
 * ATTACH takes SHARE UPDATE EXCLUSIVE on the parent, so no call waits for it.
 */
void
history_store_add_shelf(DateADT day)
{
	char	   *name = day_name(day);
	char	   *next = day_name(day + 1);

	for (int i = 0; i < lengthof(parents); i++)
	{
		char	   *parent = psprintf("ains.%s", parents[i].name);
		char	   *shelf = psprintf("%s_%s", parent, name);
		bool		there;
		bool		attached;

		find_shelf(parent, shelf, &there, &attached);
		if (!there)
			query_ddl(psprintf("CREATE TABLE %s (LIKE %s INCLUDING ALL, PRIMARY KEY (%s))",
							   shelf, parent, parents[i].key));
		if (!attached)
			query_ddl(psprintf("ALTER TABLE %s ATTACH PARTITION %s"
							   " FOR VALUES FROM ('%s') TO ('%s')",
							   parent, shelf, name, next));
	}
}

/* Whether nothing on the shelf of a day finished or ended after `than`. */
bool
history_store_shelf_is_older(DateADT day, TimestampTz than)
{
	static SavedQuery find = {
		"SELECT EXISTS (SELECT FROM ains.task_history WHERE shelf = $1 AND finished_at >= $2)"
		" OR EXISTS (SELECT FROM ains.attempt WHERE shelf = $1 AND ended_at >= $2)",
	2, {DATEOID, TIMESTAMPTZOID}};
	QueryCall	q;
	bool		newer;

	query_begin(&q, &find);
	query_arg(&q, DateADTGetDatum(day));
	query_arg_time(&q, than);
	query_run(&q);
	newer = query_bool(&q, 0, 1);
	query_end(&q);
	return !newer;
}

/* Drops the shelf of a day; waits for readers as long as lock_timeout says. */
void
history_store_drop_shelf(DateADT day)
{
	char	   *name = day_name(day);

	query_ddl(psprintf("DROP TABLE IF EXISTS ains.task_history_%s, ains.attempt_%s", name, name));
}
