/*
 * store/trust_store.c
 *		Trust of agents; as in task_store.c.
 */
#include "store/trust_store.h"

#include "catalog/pg_type.h"

#include "query.h"

/*
 * The ends of attempts that count. Each is in one place: a completed one in
 * task_history, any other in attempt.
 */
#define ENDS \
	"(SELECT h.agent_id, 'completed' AS outcome, h.task_id, h.claimed_at AS started_at," \
	" h.finished_at AS ended_at, coalesce(h.timeout, c.timeout) AS timeout, h.lease_token, h.shelf" \
	" FROM ains.task_history h LEFT JOIN ains.capability c USING (capability)" \
	" WHERE h.status = 'COMPLETED'" \
	" UNION ALL SELECT t.agent_id, t.outcome, t.task_id, t.started_at, t.ended_at, NULL," \
	" t.lease_token, t.shelf FROM ains.attempt t WHERE t.outcome <> 'cancelled')"

/* The columns read_event() reads. */
#define EVENT_COLUMNS \
	"e.agent_id, e.outcome, e.task_id, e.started_at, e.ended_at, e.timeout, e.lease_token"

static void
read_event(QueryCall *q, uint64 row, TrustEvent *event)
{
	memset(event, 0, sizeof(*event));
	event->agent_id = query_text_copy(q, row, 1);
	event->outcome = query_text_copy(q, row, 2);
	event->task_id = query_int64(q, row, 3);
	event->started_at = query_time(q, row, 4);
	event->ended_at = query_time(q, row, 5);
	event->timeout = query_length(q, row, 6);
	event->lease_token = query_int64(q, row, 7);
}

/*
 * Adds to an agent's row; the score it has then, in ten-thousandths, or -1:
 * somebody has it locked, or it is gone.
 */
int32
trust_store_write(const char *agent_id, const TrustDelta *delta)
{
	static SavedQuery write = {
		"UPDATE ains.agent SET trust_score = (least($4, greatest($3,"
		"   round(trust_score::numeric * 10000)::bigint + $2)) / 10000.0)::real,"
		"  tasks_completed = tasks_completed + $5, tasks_failed = tasks_failed + $6,"
		"  tasks_lost = tasks_lost + $7,"
		"  avg_duration = CASE WHEN $5 = 0 THEN avg_duration"
		"   WHEN avg_duration IS NULL THEN make_interval(secs => $10)"
		"   ELSE make_interval(secs => extract(epoch FROM avg_duration)::float8 * $8 + $9) END,"
		"  trust_until = CASE WHEN trust_until > $11 THEN trust_until ELSE $11 END,"
		"  trust_until_token = CASE WHEN trust_until > $11"
		"   OR (trust_until = $11 AND trust_until_token > $12) THEN trust_until_token ELSE $12 END"
		" WHERE agent_id = (SELECT agent_id FROM ains.agent WHERE agent_id = $1"
		"  FOR NO KEY UPDATE SKIP LOCKED)"
		" RETURNING round(trust_score::numeric * 10000)::integer",
		12, {TEXTOID, INT8OID, INT8OID, INT8OID, INT8OID, INT8OID, INT8OID, FLOAT8OID,
	FLOAT8OID, FLOAT8OID, TIMESTAMPTZOID, INT8OID}};
	QueryCall	q;
	int32		score = -1;

	query_begin(&q, &write);
	query_arg_text(&q, agent_id);
	query_arg_int64(&q, delta->shift);
	query_arg_int64(&q, delta->low);
	query_arg_int64(&q, delta->high);
	query_arg_int64(&q, delta->completed);
	query_arg_int64(&q, delta->failed);
	query_arg_int64(&q, delta->lost);
	query_arg(&q, Float8GetDatum(delta->keep));
	query_arg(&q, Float8GetDatum(delta->add));
	query_arg(&q, Float8GetDatum(delta->first));
	query_arg_time(&q, delta->ended_at);
	query_arg_int64(&q, delta->lease_token);
	if (query_run(&q) > 0)
		score = query_int32(&q, 0, 1);
	query_end(&q);
	return score;
}

/*
 * What no agent's row has can only be on the shelf of this day and later ones:
 * the latest that some row has is of the next day. A day's grace is for
 * transactions that stay open.
 */
DateADT
trust_store_first_shelf(void)
{
	static SavedQuery find = {
		"SELECT coalesce((max(trust_until) AT TIME ZONE 'UTC')::date - 1, '-infinity')"
		" FROM ains.agent",
	0, {0}, .scans = true};
	QueryCall	q;
	DateADT		shelf;

	query_begin(&q, &find);
	query_run(&q);
	shelf = DatumGetDateADT(query_datum(&q, 0, 1));
	query_end(&q);
	return shelf;
}

/*
 * The first of the attempts that ended before a time and are not in the rows of
 * their agents; from that shelf on, at most so many, in the order of their ends.
 */
TrustEvent *
trust_store_unwritten(DateADT shelf, TimestampTz before, int max, int *count)
{
	static SavedQuery find = {
		"SELECT " EVENT_COLUMNS " FROM " ENDS " e JOIN ains.agent a USING (agent_id)"
		" WHERE e.shelf >= $1 AND e.ended_at < $2 AND e.ended_at >= a.registered_at"
		"  AND (a.trust_until IS NULL OR (e.ended_at, e.lease_token) > (a.trust_until, a.trust_until_token))"
		" ORDER BY e.ended_at, e.lease_token LIMIT $3",
	3, {DATEOID, TIMESTAMPTZOID, INT4OID}, .scans = true};
	QueryCall	q;
	TrustEvent *events;

	query_begin(&q, &find);
	query_arg(&q, DateADTGetDatum(shelf));
	query_arg_time(&q, before);
	query_arg_int32(&q, max);
	query_run(&q);
	*count = q.count;
	events = MemoryContextAlloc(q.caller, Max(q.count, 1) * sizeof(TrustEvent));
	for (int i = 0; i < *count; i++)
		read_event(&q, i, &events[i]);
	query_end(&q);
	return events;
}

/* Adds to the score of an agent, locked by us, by hand; the new score. */
float4
trust_store_adjust(const char *agent_id, Datum delta, const char *reason, Oid role,
				   TimestampTz now)
{
	static SavedQuery adjust = {
		"WITH event AS (INSERT INTO ains.trust_event"
		"  (agent_id, adjusted_at, adjusted_by, delta, reason) VALUES ($1, $5, $4, round($2, 4), $3))"
		" UPDATE ains.agent SET trust_score = least(1, greatest(0,"
		"  trust_score::numeric + round($2, 4)))::real WHERE agent_id = $1 RETURNING trust_score",
	5, {TEXTOID, NUMERICOID, TEXTOID, OIDOID, TIMESTAMPTZOID}};
	QueryCall	q;
	float4		score;

	query_begin(&q, &adjust);
	query_arg_text(&q, agent_id);
	query_arg(&q, delta);
	query_arg_text(&q, reason);
	query_arg_oid(&q, role);
	query_arg_time(&q, now);
	query_run(&q);
	score = DatumGetFloat4(query_datum(&q, 0, 1));
	query_end(&q);
	return score;
}

/*
 * What history has of an agent's trust, as far as its row has it, the earliest
 * first; and what all of it made of the score, in ten-thousandths.
 */
TrustEvent *
trust_store_events(const char *agent_id, int *count, int64 *score)
{
	static SavedQuery find = {
		"SELECT " EVENT_COLUMNS ", e.points, e.reason, e.role,"
		"  round(a.trust_score::numeric * 10000)::bigint"
		" FROM ains.agent a LEFT JOIN ("
		"  SELECT agent_id, outcome, task_id, started_at, ended_at, timeout, lease_token,"
		"   0::bigint AS points, NULL AS reason, 0::oid AS role FROM " ENDS " e WHERE agent_id = $1"
		"  UNION ALL SELECT agent_id, NULL, NULL, adjusted_at, adjusted_at, NULL, NULL,"
		"   round(delta::numeric * 10000)::bigint, reason, adjusted_by::oid"
		"   FROM ains.trust_event WHERE agent_id = $1) e"
		"  ON e.ended_at >= a.registered_at AND (e.outcome IS NULL"
		"   OR (e.ended_at, e.lease_token) <= (a.trust_until, a.trust_until_token))"
		" WHERE a.agent_id = $1 ORDER BY e.ended_at, e.lease_token",
	1, {TEXTOID}, .scans = true};
	QueryCall	q;
	TrustEvent *events;

	query_begin(&q, &find);
	query_arg_text(&q, agent_id);
	query_run(&q);
	*count = 0;
	*score = q.count > 0 ? query_int64(&q, 0, 11) : 0;
	events = MemoryContextAllocHuge(q.caller, Max(q.count, 1) * sizeof(TrustEvent));
	for (uint64 i = 0; i < q.count && !query_isnull(&q, i, 1); i++)
	{
		TrustEvent *event = &events[(*count)++];

		read_event(&q, i, event);
		event->points = query_int64(&q, i, 8);
		event->reason = query_text_copy(&q, i, 9);
		event->role = query_oid(&q, i, 10);
	}
	query_end(&q);
	return events;
}

/* The rows of leaderboard(). */
void
trust_store_leaders(int32 min_tasks, Tuplestorestate *store)
{
	static SavedQuery find = {
		"SELECT agent_id, display_name, trust_score,"
		" CASE WHEN trust_score::numeric >= 0.9 THEN 'excellent'"
		"  WHEN trust_score::numeric >= 0.7 THEN 'high' WHEN trust_score::numeric >= 0.5 THEN 'medium'"
		"  WHEN trust_score::numeric >= 0.3 THEN 'low' ELSE 'very_low' END,"
		" tasks_completed, tasks_failed, tasks_lost,"
		" tasks_completed::float8 / nullif(tasks_completed + tasks_failed + tasks_lost, 0)::float8,"
		" avg_duration FROM ains.agent WHERE tasks_completed >= $1"
		" ORDER BY trust_score DESC, tasks_completed DESC, agent_id COLLATE \"C\"",
	1, {INT4OID}, .scans = true};
	QueryCall	q;

	query_begin(&q, &find);
	query_arg_int32(&q, min_tasks);
	query_run(&q);
	query_put_rows(&q, store);
	query_end(&q);
}
