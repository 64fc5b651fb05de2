/*
 * store/event_store.c
 *		ains.event, and how far they were published and pruned.
 *
 * As in task_store.c: one statement each.
 */
#include "store/event_store.h"

#include "catalog/pg_type.h"

#include "query.h"

/* Adds an event. */
void
event_store_add(const Event *event, TimestampTz now)
{
	static SavedQuery insert = {
		"INSERT INTO ains.event (happened_at, kind, owner, task_id, capability, agent_id, detail)"
		" VALUES ($1, $2, $3, $4, $5, $6, jsonb_strip_nulls(jsonb_build_object("
		"  'status', $7, 'attempt', $8, 'outcome', $9, 'error', left($10, 1000),"
		"  'run_id', $11, 'name', $12)))",
		12, {TIMESTAMPTZOID, TEXTOID, OIDOID, INT8OID, TEXTOID, TEXTOID, TEXTOID, INT4OID,
	TEXTOID, TEXTOID, INT8OID, TEXTOID}};
	QueryCall	q;

	query_begin(&q, &insert);
	query_arg_time(&q, now);
	query_arg_text(&q, event_kind_name(event->kind));
	query_arg_oid(&q, event->owner);
	query_arg_optional(&q, Int64GetDatum(event->task_id), event->task_id == 0);
	query_arg_text(&q, event->capability);
	query_arg_text(&q, event->agent_id);
	query_arg_text(&q, event->status);
	query_arg_optional(&q, Int32GetDatum(event->attempt), event->attempt == 0);
	query_arg_text(&q, event->outcome);
	query_arg_text(&q, event->error);
	query_arg_optional(&q, Int64GetDatum(event->run_id), event->run_id == 0);
	query_arg_text(&q, event->run_name);
	query_run(&q);
	query_end(&q);
}

/* The greatest id that was given to an event, committed or not; 0: none. */
int64
event_store_last(void)
{
	static SavedQuery read = {
		"SELECT last_value FROM ains.event_event_id_seq WHERE is_called", 0, {0}
	};
	QueryCall	q;
	int64		last = 0;

	query_begin(&q, &read);
	if (query_run(&q) > 0)
		last = query_int64(&q, 0, 1);
	query_end(&q);
	return last;
}

/*
 * Reads how far events are; with `lock`, false if somebody else has the row
 * locked, who is about to change it.
 */
bool
event_store_progress(bool lock, EventProgress *progress)
{
	static SavedQuery read = {
		"SELECT published, marked, marked_xid, pruned FROM ains.event_progress",
	0, {0}, .scans = true};
	static SavedQuery read_locked = {
		"SELECT published, marked, marked_xid, pruned FROM ains.event_progress"
		" FOR UPDATE SKIP LOCKED",
	0, {0}, .scans = true};
	QueryCall	q;
	bool		found;

	query_begin(&q, lock ? &read_locked : &read);
	found = query_run(&q) > 0;
	if (found)
	{
		progress->published = query_int64(&q, 0, 1);
		progress->marked = query_int64(&q, 0, 2);
		progress->marked_xid = query_int64(&q, 0, 3);
		progress->pruned = query_int64(&q, 0, 4);
	}
	query_end(&q);
	return found;
}

/* Writes it; the row is locked by us. */
void
event_store_set_progress(const EventProgress *progress)
{
	static SavedQuery update = {
		"UPDATE ains.event_progress SET published = $1, marked = $2, marked_xid = $3,"
		" pruned = $4",
	4, {INT8OID, INT8OID, INT8OID, INT8OID}, .scans = true};
	QueryCall	q;

	query_begin(&q, &update);
	query_arg_int64(&q, progress->published);
	query_arg_int64(&q, progress->marked);
	query_arg_int64(&q, progress->marked_xid);
	query_arg_int64(&q, progress->pruned);
	query_run(&q);
	query_end(&q);
}

/*
 * Deletes events after that id and up to `until` that happened before that
 * time, a batch at most, in the order of their ids and up to the first that is
 * younger. Returns the last that is gone, or `after`; more: the batch was full.
 */
int64
event_store_prune(int64 after, int64 until, TimestampTz older_than, bool *more)
{
	static SavedQuery prune = {
		"WITH slice AS (SELECT event_id, happened_at FROM ains.event"
		"  WHERE event_id > $1 AND event_id <= $2 ORDER BY event_id LIMIT 1000),"
		" old AS (SELECT array_agg(event_id) AS ids FROM slice WHERE event_id < coalesce("
		"  (SELECT min(event_id) FROM slice WHERE happened_at >= $3), 9223372036854775807)),"
		" gone AS (DELETE FROM ains.event WHERE event_id = ANY ((SELECT ids FROM old)::bigint[])"
		"  RETURNING event_id)"
		" SELECT coalesce(max(event_id), $1), count(*) = 1000 FROM gone",
	3, {INT8OID, INT8OID, TIMESTAMPTZOID}};
	QueryCall	q;
	int64		last;

	query_begin(&q, &prune);
	query_arg_int64(&q, after);
	query_arg_int64(&q, until);
	query_arg_time(&q, older_than);
	query_run(&q);
	last = query_int64(&q, 0, 1);
	*more = query_bool(&q, 0, 2);
	query_end(&q);
	return last;
}
