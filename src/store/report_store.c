/*
 * store/report_store.c
 *		Reads for people; as in task_store.c.
 */
#include "store/report_store.h"

#include "catalog/pg_type.h"

#include "policy.h"
#include "query.h"

/* A task, live or finished; false: there is none. */
bool
report_store_task(int64 task_id, TaskReport *report)
{
	static SavedQuery find = {
		"SELECT i, i.enqueued_by::oid, i.status::text, i.agent_id FROM ains.task_info i"
		" WHERE i.task_id = $1 ORDER BY i.finished_at DESC LIMIT 1",
	1, {INT8OID}};
	QueryCall	q;
	bool		found;

	query_begin(&q, &find);
	query_arg_int64(&q, task_id);
	found = query_run(&q) > 0;
	if (found)
	{
		report->row = query_datum_copy(&q, 0, 1);
		report->enqueued_by = query_oid(&q, 0, 2);
		report->status = task_status_from_name(query_text_copy(&q, 0, 3));
		report->agent_id = query_text_copy(&q, 0, 4);
	}
	query_end(&q);
	return found;
}

/*
 * Counts the live tasks in the table, with a snapshot (NULL: the latest).
 * Capabilities without live tasks are left out.
 */
LiveTasks *
report_store_count_live(Snapshot snapshot, int *count)
{
	static SavedQuery tally = {
		"SELECT capability, count(*) FILTER (WHERE status = 'BLOCKED'),"
		" count(*) FILTER (WHERE status = 'SCHEDULED'),"
		" count(*) FILTER (WHERE status = 'PENDING'),"
		" count(*) FILTER (WHERE status = 'ACTIVE')"
		" FROM ains.task GROUP BY capability",
	0, {0}, .scans = true};
	QueryCall	q;
	LiveTasks  *tasks;

	query_begin(&q, &tally);
	q.snapshot = snapshot;
	query_run(&q);
	*count = q.count;
	tasks = MemoryContextAlloc(q.caller, Max(q.count, 1) * sizeof(LiveTasks));
	for (int i = 0; i < *count; i++)
	{
		tasks[i].capability = query_text_copy(&q, i, 1);
		for (int j = 0; j < LIVE_STATUS_COUNT; j++)
			tasks[i].live[j] = query_int64(&q, i, 2 + j);
	}
	query_end(&q);
	return tasks;
}

/* All capabilities by name, and who works for them. */
Queue *
report_store_queues(int *count)
{
	static SavedQuery find = {
		"SELECT c.capability, c.aging_interval, c.paused, coalesce(o.agents, 0)"
		" FROM ains.capability c LEFT JOIN"
		"  (SELECT o.capability, count(*) AS agents"
		"   FROM ains.agent_capability o JOIN ains.agent a USING (agent_id)"
		"   WHERE a.agent_status IN ('AVAILABLE', 'BUSY') GROUP BY o.capability) o"
		"  USING (capability) ORDER BY c.capability",
	0, {0}, .scans = true};
	QueryCall	q;
	Queue	   *queues;

	query_begin(&q, &find);
	query_run(&q);
	*count = q.count;
	queues = MemoryContextAlloc(q.caller, Max(q.count, 1) * sizeof(Queue));
	for (int i = 0; i < *count; i++)
	{
		queues[i].capability = query_text_copy(&q, i, 1);
		queues[i].aging_interval = query_length(&q, i, 2);
		queues[i].paused = query_bool(&q, i, 3);
		queues[i].agents_available = query_int64(&q, i, 4);
	}
	query_end(&q);
	return queues;
}

/*
 * When the PENDING task of a lane that was due first was due, as far as the first
 * 1,000 tell; 0: there is none.
 *
 * They are read only up to the rank from which on no task can be older than the
 * first: run_at >= rank + aging interval, since no priority is below 1 and a
 * retry only moves run_at on. They are read from a rank before which there is
 * none, so that index entries of dead rows are not walked.
 */
TimestampTz
report_store_oldest_pending(int32 lane_id, int64 aging_interval, int64 from_rank)
{
	static SavedQuery find = {
		"SELECT min(run_at) FROM (SELECT t.run_at FROM ains.task t"
		" WHERE t.lane_id = $1 AND t.status = 'PENDING' AND t.rank >= $3 AND t.rank <="
		"  (SELECT (extract(epoch FROM f.run_at - '2000-01-01 00:00:00+00'::timestamptz)"
		"   * 1000000)::bigint - $2 FROM ains.task f"
		"   WHERE f.lane_id = $1 AND f.status = 'PENDING' AND f.rank >= $3"
		"   ORDER BY f.rank, f.task_id LIMIT 1)"
		" ORDER BY t.rank, t.task_id LIMIT 1000) ahead",
	3, {INT4OID, INT8OID, INT8OID}};
	QueryCall	q;
	TimestampTz oldest;

	query_begin(&q, &find);
	query_arg_int32(&q, lane_id);
	query_arg_int64(&q, aging_interval);
	query_arg_int64(&q, from_rank);
	query_run(&q);
	oldest = query_isnull(&q, 0, 1) ? 0 : query_time(&q, 0, 1);
	query_end(&q);
	return oldest;
}

/*
 * The rows of search_agents(): one for each offer, and one for an agent that
 * offers nothing if no capability was asked for. What is equal by the order
 * asked for goes by trust, then by status, whose values are in the order of
 * how soon an agent would work. Trust is compared as decimals, so that 0.7 is
 * enough for 0.7.
 */
void
report_store_search_agents(const AgentSearch *search, Tuplestorestate *store)
{
	static SavedQuery find = {
		"SELECT a.agent_id, a.display_name, a.agent_status, a.trust_score, o.capability,"
		" o.price, o.currency, o.latency_p99_ms, a.tags"
		" FROM ains.agent a LEFT JOIN ains.agent_capability o USING (agent_id)"
		" WHERE ($1 IS NULL OR o.capability = $1) AND a.tags @> coalesce($2, '{}')"
		"  AND a.trust_score::numeric >= $3"
		" ORDER BY CASE $4 WHEN 'price' THEN o.price WHEN 'latency' THEN o.latency_p99_ms"
		"  WHEN 'availability' THEN -o.availability_percent END,"
		"  CASE WHEN $4 = 'name' THEN coalesce(a.display_name, a.agent_id) END,"
		"  a.trust_score DESC, a.agent_status, a.agent_id COLLATE \"C\","
		"  o.capability COLLATE \"C\" LIMIT $5 OFFSET $6",
		6, {TEXTOID, TEXTARRAYOID, NUMERICOID, TEXTOID, INT4OID, INT4OID},
	.scans = true};
	QueryCall	q;

	query_begin(&q, &find);
	query_arg_text(&q, search->capability);
	query_arg_optional(&q, search->tags, search->tags == 0);
	query_arg(&q, search->min_trust);
	query_arg_text(&q, search->sort_by);
	query_arg_int32(&q, search->max_rows);
	query_arg_int32(&q, search->skip);
	query_run(&q);
	query_put_rows(&q, store);
	query_end(&q);
}

/* The rows of agent_stats(). */
void
report_store_agent_stats(Tuplestorestate *store)
{
	static SavedQuery stats = {
		"SELECT a.agent_type, count(*),"
		" count(*) FILTER (WHERE a.agent_status = 'AVAILABLE'),"
		" count(*) FILTER (WHERE a.agent_status = 'BUSY'),"
		" count(*) FILTER (WHERE a.agent_status IN ('AVAILABLE', 'BUSY') AND NOT a.holds),"
		" count(*) FILTER (WHERE a.agent_status IN ('AVAILABLE', 'BUSY') AND a.holds),"
		" count(*) FILTER (WHERE a.agent_status = 'DRAINING'),"
		" count(*) FILTER (WHERE a.agent_status = 'INACTIVE'),"
		" count(*) FILTER (WHERE a.agent_status = 'DEAD')"
		" FROM (SELECT agent_type, agent_status, EXISTS (SELECT FROM ains.task t"
		"  WHERE t.agent_id = agent.agent_id AND t.status = 'ACTIVE') AS holds"
		"  FROM ains.agent) a GROUP BY a.agent_type ORDER BY a.agent_type",
	0, {0}, .scans = true};
	QueryCall	q;

	query_begin(&q, &stats);
	query_run(&q);
	query_put_rows(&q, store);
	query_end(&q);
}

/* What a lane wants, and who there is for it. */
void
report_store_offering(int32 lane_id, LaneReport *report)
{
	static SavedQuery find = {
		"SELECT count(a.agent_id)::integer, (count(*) FILTER (WHERE accepting))::integer,"
		" (count(*) FILTER (WHERE accepting AND a.trust_score::numeric >= w.min_trust"
		"  AND (l.agent_id IS NULL OR a.agent_id = l.agent_id)))::integer,"
		" w.min_trust::text, l.agent_id"
		" FROM ains.lane l JOIN ains.capability c USING (capability)"
		" CROSS JOIN LATERAL (SELECT greatest(l.min_trust, c.min_trust) AS min_trust) w"
		" LEFT JOIN ains.agent_capability o ON o.capability = l.capability"
		" LEFT JOIN ains.agent a ON a.agent_id = o.agent_id"
		" CROSS JOIN LATERAL (SELECT a.agent_status IN ('AVAILABLE', 'BUSY') AS accepting) s"
		" WHERE l.lane_id = $1 GROUP BY w.min_trust, l.agent_id",
	1, {INT4OID}};
	QueryCall	q;

	memset(report, 0, sizeof(*report));
	query_begin(&q, &find);
	query_arg_int32(&q, lane_id);
	if (query_run(&q) > 0)
	{
		report->agents = query_int32(&q, 0, 1);
		report->accepting = query_int32(&q, 0, 2);
		report->fit = query_int32(&q, 0, 3);
		report->min_trust = query_text_copy(&q, 0, 4);
		report->agent_id = query_text_copy(&q, 0, 5);
	}
	query_end(&q);
}

/* The first ACTIVE tasks of a capability, and how many there are of them. */
int64 *
report_store_active(const char *capability, int most, int *named, int *active)
{
	static SavedQuery find = {
		"SELECT task_id, count(*) OVER ()::integer FROM ains.task"
		" WHERE capability = $1 AND status = 'ACTIVE' ORDER BY task_id LIMIT $2",
	2, {TEXTOID, INT4OID}};
	QueryCall	q;
	int64	   *ids;

	query_begin(&q, &find);
	query_arg_text(&q, capability);
	query_arg_int32(&q, most);
	*active = query_run(&q) > 0 ? query_int32(&q, 0, 2) : 0;
	ids = query_int64s_copy(&q, named);
	query_end(&q);
	return ids;
}

/* A task among those that are in line with it: by rank, and at most 10,000 are counted. */
#define PLACE_AMONG(same) \
	"SELECT count(*) FROM (SELECT FROM ains.task t, ains.task me" \
	"  WHERE me.task_id = $1 AND " same \
	"   AND (t.rank, t.task_id) <= (me.rank, me.task_id) LIMIT 10000) ahead"

/*
 * The place of a task in line, from 1: of a PENDING one in its lane, of a BLOCKED
 * one in its key.
 */
int64
report_store_position(int64 task_id, TaskStatus status)
{
	static SavedQuery of_lane = {
		PLACE_AMONG("t.lane_id = me.lane_id AND t.status = 'PENDING'"), 1, {INT8OID}};
	static SavedQuery of_key = {
		PLACE_AMONG("t.capability = me.capability AND t.concurrency_key = me.concurrency_key"
					" AND t.status = 'BLOCKED' AND t.unmet IS NULL"), 1, {INT8OID}};
	QueryCall	q;
	int64		position;

	query_begin(&q, status == TASK_BLOCKED ? &of_key : &of_lane);
	query_arg_int64(&q, task_id);
	query_run(&q);
	position = query_int64(&q, 0, 1);
	query_end(&q);
	return position;
}

void
report_store_events(EventTally *tally)
{
	static SavedQuery find = {
		"SELECT coalesce((SELECT q.last_value FROM ains.event_event_id_seq q WHERE q.is_called), 0),"
		" coalesce(p.published, 0), w.count, coalesce(p.published - w.position, 0)"
		" FROM (SELECT count(*), min(position) AS position FROM ains.webhook) w"
		" LEFT JOIN ains.event_progress p ON true",
	0, {0}, .scans = true};
	QueryCall	q;

	query_begin(&q, &find);
	query_run(&q);
	tally->added = query_int64(&q, 0, 1);
	tally->published = query_int64(&q, 0, 2);
	tally->webhooks = query_int64(&q, 0, 3);
	tally->behind = Max(query_int64(&q, 0, 4), 0);
	query_end(&q);
}

/* How many schedules there are; overdue: those that were due before `since`. */
void
report_store_schedules(TimestampTz since, ScheduleTally *tally)
{
	static SavedQuery find = {
		"SELECT count(*) FILTER (WHERE NOT paused), count(*) FILTER (WHERE paused),"
		" count(*) FILTER (WHERE NOT paused AND last_error IS NOT NULL),"
		" count(*) FILTER (WHERE NOT paused AND next_run < $1) FROM ains.schedule",
	1, {TIMESTAMPTZOID}, .scans = true};
	QueryCall	q;

	query_begin(&q, &find);
	query_arg_time(&q, since);
	query_run(&q);
	tally->active = query_int64(&q, 0, 1);
	tally->paused = query_int64(&q, 0, 2);
	tally->failing = query_int64(&q, 0, 3);
	tally->overdue = query_int64(&q, 0, 4);
	query_end(&q);
}

/* How many days of history there are. */
int64
report_store_shelf_count(void)
{
	static SavedQuery find = {
		"SELECT count(*) FROM pg_inherits"
		" WHERE inhparent = 'ains.task_history'::regclass AND NOT inhdetachpending",
	0, {0}};
	QueryCall	q;
	int64		count;

	query_begin(&q, &find);
	query_run(&q);
	count = query_int64(&q, 0, 1);
	query_end(&q);
	return count;
}
