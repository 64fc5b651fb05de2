/*
 * store/run_store.c
 *		Runs and what has ended in them; as in task_store.c.
 */
#include "store/run_store.h"

#include "catalog/pg_type.h"
#include "commands/sequence.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "query.h"
#include "rows.h"

/* More rows of ains.run_tally than this, of a run, are added up by the sweeper. */
#define FOLD_FROM	"1000"

/* A new run; its id. */
int64
run_store_insert(const NewRun *run)
{
	static SavedQuery insert = {
		"INSERT INTO ains.run (name, owner, target, on_failure, created_at, criteria, metadata)"
		" VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING run_id",
	7, {TEXTOID, OIDOID, INT4OID, TEXTOID, TIMESTAMPTZOID, JSONBOID, JSONBOID}};
	QueryCall	q;
	int64		run_id;

	query_begin(&q, &insert);
	query_arg_text(&q, run->name);
	query_arg_oid(&q, run->owner);
	query_arg_optional(&q, Int32GetDatum(run->target), run->target == 0);
	query_arg_text(&q, run->on_failure);
	query_arg_time(&q, run->now);
	query_arg(&q, run->criteria);
	query_arg_optional(&q, run->metadata, run->metadata == 0);
	query_run(&q);
	run_id = query_int64(&q, 0, 1);
	query_end(&q);
	return run_id;
}

#define RUN_COLUMNS "run_id, owner::oid, status, target, on_failure = 'continue', name"

/* snapshot: NULL for the statement's own. */
static bool
find_one(SavedQuery *query, int64 run_id, Snapshot snapshot, RunRow *run)
{
	QueryCall	q;
	bool		found;

	query_begin(&q, query);
	q.snapshot = snapshot;
	query_arg_int64(&q, run_id);
	found = query_run(&q) > 0;
	if (found)
	{
		run->run_id = query_int64(&q, 0, 1);
		run->owner = query_oid(&q, 0, 2);
		run->status = query_text_copy(&q, 0, 3);
		run->target = query_isnull(&q, 0, 4) ? 0 : query_int32(&q, 0, 4);
		run->goes_on = query_bool(&q, 0, 5);
		run->name = query_text_copy(&q, 0, 6);
	}
	query_end(&q);
	return found;
}

/* Columns of ains.run, for rows.h. */
enum
{
	R_RUN_ID, R_OWNER, R_STATUS, R_TARGET, R_ON_FAILURE, R_NAME
};
static const char *const run_columns[] = {
	"run_id", "owner", "status", "target", "on_failure", "name", NULL};
static RowTable runs = {.columns = run_columns};

/* A run by the latest snapshot; false: there is none. */
bool
run_store_find(Oid task_relid, int64 run_id, RunRow *run)
{
	static SavedQuery find = {
		"SELECT " RUN_COLUMNS " FROM ains.run WHERE run_id = $1", 1, {INT8OID}};
	bool		found;

	if (!rows_open(&runs, get_relname_relid("run", get_rel_namespace(task_relid))))
	{
		Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());

		found = find_one(&find, run_id, snapshot, run);
		UnregisterSnapshot(snapshot);
		return found;
	}
	found = rows_find(&runs, run_id);
	if (found)
	{
		run->run_id = run_id;
		run->owner = DatumGetObjectId(rows_get(&runs, R_OWNER));
		run->status = TextDatumGetCString(rows_get(&runs, R_STATUS));
		run->target = rows_isnull(&runs, R_TARGET) ? 0 : DatumGetInt32(rows_get(&runs, R_TARGET));
		run->goes_on = strcmp(TextDatumGetCString(rows_get(&runs, R_ON_FAILURE)), "continue") == 0;
		run->name = TextDatumGetCString(rows_get(&runs, R_NAME));
	}
	rows_close(&runs);
	return found;
}

/* Locks a run, waiting for whoever has it; false: there is none. */
bool
run_store_lock(int64 run_id, RunRow *run)
{
	static SavedQuery lock = {
		"SELECT " RUN_COLUMNS " FROM ains.run WHERE run_id = $1 FOR UPDATE", 1, {INT8OID}};

	return find_one(&lock, run_id, NULL, run);
}

/* finished_at: 0 if it is not. */
void
run_store_set_status(int64 run_id, const char *status, TimestampTz finished_at)
{
	static SavedQuery set = {
		"UPDATE ains.run SET status = $2, finished_at = $3 WHERE run_id = $1",
	3, {INT8OID, TEXTOID, TIMESTAMPTZOID}};
	QueryCall	q;

	query_begin(&q, &set);
	query_arg_int64(&q, run_id);
	query_arg_text(&q, status);
	query_arg_time(&q, finished_at);
	query_run(&q);
	query_end(&q);
}

/* What somebody decided. */
void
run_store_decide(int64 run_id, const char *decision, Oid role)
{
	static SavedQuery set = {
		"UPDATE ains.run SET decision = $2, decided_by = $3 WHERE run_id = $1",
	3, {INT8OID, TEXTOID, OIDOID}};
	QueryCall	q;

	query_begin(&q, &set);
	query_arg_int64(&q, run_id);
	query_arg_text(&q, decision);
	query_arg_oid(&q, role);
	query_run(&q);
	query_end(&q);
}

/* Columns of ains.run_tally, for rows.h. */
enum
{
	TALLY_ID, RUN_ID, STAGE, COMPLETED, FAILED, CANCELLED, EXPIRED, FIRST_TASK, STARTED_AT
};
static const char *const tally_columns[] = {
	"tally_id", "run_id", "stage", "completed", "failed", "cancelled", "expired",
	"first_task", "started_at", NULL};
static RowTable tallies = {.columns = tally_columns};

static void
insert_tally(const RunTally *tally)
{
	static SavedQuery insert = {
		"INSERT INTO ains.run_tally (run_id, stage, completed, failed, cancelled, expired,"
		" first_task, started_at) VALUES ($1, $2, $3, $4, $5, $6, nullif($7, 0), $8)",
	8, {INT8OID, TEXTOID, INT8OID, INT8OID, INT8OID, INT8OID, INT8OID, TIMESTAMPTZOID}};
	QueryCall	q;

	query_begin(&q, &insert);
	query_arg_int64(&q, tally->run_id);
	query_arg_text(&q, tally->stage);
	query_arg_int64(&q, tally->completed);
	query_arg_int64(&q, tally->failed);
	query_arg_int64(&q, tally->cancelled);
	query_arg_int64(&q, tally->expired);
	query_arg_int64(&q, tally->first_task);
	query_arg_time(&q, tally->started_at);
	query_run(&q);
	query_end(&q);
}

/* Notes what has ended, without the executor if that can be (rows.h). */
void
run_store_add_tally(Oid task_relid, const RunTally *tally)
{
	Oid			schema = get_rel_namespace(task_relid);

	if (!rows_open(&tallies, get_relname_relid("run_tally", schema)))
	{
		/* a transaction that commits has no snapshot any more */
		PushActiveSnapshot(GetTransactionSnapshot());
		insert_tally(tally);
		PopActiveSnapshot();
		return;
	}
	rows_new(&tallies);
	rows_set(&tallies, TALLY_ID,
			 Int64GetDatum(nextval_internal(get_relname_relid("run_tally_tally_id_seq", schema),
											false)));
	rows_set(&tallies, RUN_ID, Int64GetDatum(tally->run_id));
	rows_set(&tallies, COMPLETED, Int64GetDatum(tally->completed));
	rows_set(&tallies, FAILED, Int64GetDatum(tally->failed));
	rows_set(&tallies, CANCELLED, Int64GetDatum(tally->cancelled));
	rows_set(&tallies, EXPIRED, Int64GetDatum(tally->expired));
	if (tally->stage != NULL)
		rows_set(&tallies, STAGE, CStringGetTextDatum(tally->stage));
	if (tally->first_task != 0)
		rows_set(&tallies, FIRST_TASK, Int64GetDatum(tally->first_task));
	if (tally->started_at != 0)
		rows_set(&tallies, STARTED_AT, TimestampTzGetDatum(tally->started_at));
	rows_insert(&tallies);
	rows_close(&tallies);
}

/* How many tasks of a run live by a snapshot; 10,000 if there are more. */
int64
run_store_count_live(int64 run_id, Snapshot snapshot)
{
	static SavedQuery tally = {
		"SELECT count(*) FROM (SELECT FROM ains.task WHERE run_id = $1 LIMIT 10000) t",
	1, {INT8OID}};
	QueryCall	q;
	int64		count;

	query_begin(&q, &tally);
	q.snapshot = snapshot;
	query_arg_int64(&q, run_id);
	query_run(&q);
	count = query_int64(&q, 0, 1);
	query_end(&q);
	return count;
}

/*
 * What has ended in a run by a snapshot. The stage that counts for the target is
 * the one that the criteria name, else the one that began last.
 */
void
run_store_totals(int64 run_id, Snapshot snapshot, RunTotals *totals)
{
	static SavedQuery sum = {
		"WITH stage AS (SELECT stage, sum(completed) AS completed, sum(failed + expired) AS failed,"
		"  min(first_task) AS first_task FROM ains.run_tally WHERE run_id = $1 GROUP BY stage)"
		" SELECT coalesce(sum(completed), 0)::bigint, coalesce(sum(failed), 0)::bigint,"
		"  coalesce((SELECT CASE WHEN r.criteria ->> 'target_stage' IS NULL"
		"   THEN (SELECT completed FROM stage ORDER BY first_task DESC LIMIT 1)"
		"   ELSE (SELECT completed FROM stage WHERE stage = r.criteria ->> 'target_stage') END"
		"   FROM ains.run r WHERE r.run_id = $1), 0)::bigint FROM stage",
	1, {INT8OID}};
	QueryCall	q;

	query_begin(&q, &sum);
	q.snapshot = snapshot;
	query_arg_int64(&q, run_id);
	query_run(&q);
	totals->completed = query_int64(&q, 0, 1);
	totals->failed = query_int64(&q, 0, 2);
	totals->towards_target = query_int64(&q, 0, 3);
	query_end(&q);
}

/*
 * Appends the rows of run_progress(). What active tasks say of their progress
 * counts for the percentage; eta is by the rate at which the stage has ended
 * tasks since its first one was claimed.
 */
void
run_store_progress(int64 run_id, TimestampTz now, Tuplestorestate *store)
{
	static SavedQuery report = {
		"WITH part AS ("
		" SELECT stage, count(*) FILTER (WHERE status = 'BLOCKED') AS blocked,"
		"   count(*) FILTER (WHERE status = 'SCHEDULED') AS scheduled,"
		"   count(*) FILTER (WHERE status = 'PENDING') AS pending,"
		"   count(*) FILTER (WHERE status = 'ACTIVE') AS active,"
		"   0 AS completed, 0 AS failed, 0 AS cancelled, 0 AS expired,"
		"   sum(coalesce(progress, 0)) AS begun, min(task_id) AS first_task,"
		"   NULL::timestamptz AS started_at"
		"  FROM ains.task WHERE run_id = $1 GROUP BY stage"
		" UNION ALL"
		" SELECT stage, 0, 0, 0, 0, sum(completed), sum(failed), sum(cancelled), sum(expired),"
		"   0, min(first_task), min(started_at)"
		"  FROM ains.run_tally WHERE run_id = $1 GROUP BY stage),"
		" stage AS ("
		" SELECT stage, sum(blocked)::bigint AS blocked, sum(scheduled)::bigint AS scheduled,"
		"   sum(pending)::bigint AS pending, sum(active)::bigint AS active,"
		"   sum(completed)::bigint AS completed, sum(failed)::bigint AS failed,"
		"   sum(cancelled)::bigint AS cancelled, sum(expired)::bigint AS expired,"
		"   sum(begun) AS begun, min(first_task) AS first_task, min(started_at) AS started_at,"
		"   sum(blocked + scheduled + pending + active)::bigint AS live,"
		"   sum(completed + failed + cancelled + expired)::bigint AS ended"
		"  FROM part GROUP BY stage)"
		" SELECT s.stage, blocked, scheduled, pending, active, completed, failed, cancelled,"
		"  expired, live + ended,"
		"  round((100 * (ended + begun) / nullif(live + ended, 0))::numeric, 1),"
		"  CASE WHEN CASE WHEN r.criteria ->> 'target_stage' IS NULL"
		"    THEN first_task = max(first_task) OVER ()"
		"    ELSE s.stage = r.criteria ->> 'target_stage' END"
		"   THEN greatest(r.target - completed, 0) END::bigint,"
		"  CASE WHEN live > 0 AND ended > 0"
		"   THEN $2 + (live / ended::float8) * ($2 - started_at) END"
		" FROM stage s, ains.run r WHERE r.run_id = $1 AND live + ended > 0 ORDER BY first_task",
	2, {INT8OID, TIMESTAMPTZOID}};
	QueryCall	q;

	query_begin(&q, &report);
	query_arg_int64(&q, run_id);
	query_arg_time(&q, now);
	query_run(&q);
	query_put_rows(&q, store);
	query_end(&q);
}

static int64 *
read_ids(QueryCall *q, int *count)
{
	int64	   *ids;

	query_run(q);
	ids = query_int64s_copy(q, count);
	query_end(q);
	return ids;
}

/* The live tasks of a run with smaller ids, the greatest first, at most AINS_SWEEP_BATCH. */
int64 *
run_store_live_tasks(int64 run_id, int64 below, int *count)
{
	static SavedQuery find = {
		"SELECT task_id FROM ains.task WHERE run_id = $1 AND task_id < $2"
		" ORDER BY task_id DESC LIMIT 1000",
	2, {INT8OID, INT8OID}};
	QueryCall	q;

	query_begin(&q, &find);
	query_arg_int64(&q, run_id);
	query_arg_int64(&q, below);
	return read_ids(&q, count);
}

/* The tasks of a run that FAILED or EXPIRED, or also those that were CANCELLED, by id. */
int64 *
run_store_ended_tasks(int64 run_id, bool cancelled, int *count)
{
	static SavedQuery find = {
		"SELECT DISTINCT h.task_id FROM ains.task_history h, ains.run r"
		" WHERE r.run_id = $1 AND h.run_id = $1 AND h.shelf >= r.created_at::date - 1"
		"  AND (h.status IN ('FAILED', 'EXPIRED') OR ($2 AND h.status = 'CANCELLED'))"
		" ORDER BY h.task_id",
	2, {INT8OID, BOOLOID}, .scans = true};
	QueryCall	q;

	query_begin(&q, &find);
	query_arg_int64(&q, run_id);
	query_arg_bool(&q, cancelled);
	return read_ids(&q, count);
}

/*
 * Whether a finished task cannot come back: a live one has its unique key, or a
 * task it depends on has ended otherwise than COMPLETED, in a run that does not
 * go on then.
 */
bool
run_store_has_dead_end(int64 task_id)
{
	static SavedQuery find = {
		"SELECT EXISTS (SELECT FROM ains.task_history h WHERE h.task_id = $1 AND ("
		"  EXISTS (SELECT FROM ains.task t WHERE t.capability = h.capability"
		"   AND t.unique_key = h.unique_key)"
		"  OR (EXISTS (SELECT FROM ains.task_history p"
		"    WHERE p.task_id = ANY (h.depends_on) AND p.status <> 'COMPLETED')"
		"   AND NOT EXISTS (SELECT FROM ains.run r"
		"    WHERE r.run_id = h.run_id AND r.on_failure = 'continue'))))",
	1, {INT8OID}};
	QueryCall	q;
	bool		found;

	query_begin(&q, &find);
	query_arg_int64(&q, task_id);
	query_run(&q);
	found = query_bool(&q, 0, 1);
	query_end(&q);
	return found;
}

/* Adds up what has ended in one run with many rows of that; false: there is none. */
bool
run_store_fold(void)
{
	static SavedQuery fold = {
		"WITH many AS (SELECT run_id FROM ains.run_tally GROUP BY run_id"
		"  HAVING count(*) > " FOLD_FROM " + 2 * count(DISTINCT stage) LIMIT 1),"
		" gone AS (DELETE FROM ains.run_tally y USING ("
		"  SELECT run_id, tally_id FROM ains.run_tally WHERE run_id = (SELECT run_id FROM many)"
		"  FOR UPDATE SKIP LOCKED) f WHERE y.run_id = f.run_id AND y.tally_id = f.tally_id"
		"  RETURNING y.*)"
		" INSERT INTO ains.run_tally (run_id, stage, completed, failed, cancelled, expired,"
		"  first_task, started_at)"
		" SELECT run_id, stage, sum(completed), sum(failed), sum(cancelled), sum(expired),"
		"  min(first_task), min(started_at) FROM gone GROUP BY run_id, stage",
	0, {0}, .scans = true};
	QueryCall	q;
	bool		folded;

	query_begin(&q, &fold);
	folded = query_run(&q) > 0;
	query_end(&q);
	return folded;
}

/* Tasks of cancelled runs that live and were not asked to stop, a batch of them. */
int64 *
run_store_left_over(int *count)
{
	static SavedQuery find = {
		"SELECT t.task_id FROM ains.run r JOIN ains.task t USING (run_id)"
		" WHERE r.status = 'CANCELLED' AND t.cancel_requested_at IS NULL"
		" ORDER BY t.task_id DESC LIMIT 1000",
	0, {0}, .scans = true};
	QueryCall	q;

	query_begin(&q, &find);
	return read_ids(&q, count);
}

/* Forgets runs that ended earlier, and what had ended in runs that are gone. */
void
run_store_prune(TimestampTz before)
{
	static SavedQuery prune = {
		"WITH gone AS (DELETE FROM ains.run r WHERE r.finished_at < $1"
		"  AND NOT EXISTS (SELECT FROM ains.task t WHERE t.run_id = r.run_id) RETURNING run_id)"
		" DELETE FROM ains.run_tally y WHERE y.run_id IN (SELECT run_id FROM gone)"
		"  OR NOT EXISTS (SELECT FROM ains.run r WHERE r.run_id = y.run_id)",
	1, {TIMESTAMPTZOID}, .scans = true};
	QueryCall	q;

	query_begin(&q, &prune);
	query_arg_time(&q, before);
	query_run(&q);
	query_end(&q);
}
