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

/* The rows of queue_stats(). */
void
report_store_queue_stats(TimestampTz now, Tuplestorestate *store)
{
	static SavedQuery stats = {
		"SELECT c.capability, c.paused,"
		" count(*) FILTER (WHERE t.status = 'BLOCKED'),"
		" count(*) FILTER (WHERE t.status = 'SCHEDULED'),"
		" count(*) FILTER (WHERE t.status = 'PENDING'),"
		" count(*) FILTER (WHERE t.status = 'ACTIVE'),"
		" $1 - min(t.run_at) FILTER (WHERE t.status = 'PENDING'),"
		" (SELECT count(*) FROM ains.agent_capability o JOIN ains.agent a USING (agent_id)"
		"   WHERE o.capability = c.capability AND a.agent_status IN ('AVAILABLE', 'BUSY'))"
		" FROM ains.capability c LEFT JOIN ains.task t USING (capability)"
		" GROUP BY c.capability ORDER BY c.capability",
	1, {TIMESTAMPTZOID}, .scans = true};
	QueryCall	q;

	query_begin(&q, &stats);
	query_arg_time(&q, now);
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

/* How many agents offer a capability, and how many of them may claim. */
void
report_store_offering(const char *capability, int *agents, int *accepting)
{
	static SavedQuery find = {
		"SELECT count(*)::integer,"
		" (count(*) FILTER (WHERE a.agent_status IN ('AVAILABLE', 'BUSY')))::integer"
		" FROM ains.agent_capability o JOIN ains.agent a USING (agent_id)"
		" WHERE o.capability = $1",
	1, {TEXTOID}};
	QueryCall	q;

	query_begin(&q, &find);
	query_arg_text(&q, capability);
	query_run(&q);
	*agents = query_int32(&q, 0, 1);
	*accepting = query_int32(&q, 0, 2);
	query_end(&q);
}

/* A PENDING task's place in its lane, from 1; counts at most 10,000. */
int64
report_store_position(int64 task_id)
{
	static SavedQuery find = {
		"SELECT count(*) FROM (SELECT FROM ains.task t, ains.task me"
		"  WHERE me.task_id = $1 AND t.lane_id = me.lane_id AND t.status = 'PENDING'"
		"   AND (t.rank, t.task_id) <= (me.rank, me.task_id) LIMIT 10000) ahead",
	1, {INT8OID}};
	QueryCall	q;
	int64		position;

	query_begin(&q, &find);
	query_arg_int64(&q, task_id);
	query_run(&q);
	position = query_int64(&q, 0, 1);
	query_end(&q);
	return position;
}
