/*
 * store/lane_store.c
 *		Lanes; as in task_store.c.
 */
#include "store/lane_store.h"

#include "catalog/pg_type.h"

#include "query.h"

/*
 * Whether agent a, which offers what o says, takes tasks of capability c that
 * want so much trust. Trust is compared as decimals, so that 0.7 is enough for
 * 0.7. NULL: there is no such agent, or it does not offer it.
 */
#define FITS(min_trust) \
	"(o.agent_id IS NOT NULL AND a.agent_status IN ('AVAILABLE', 'BUSY')" \
	" AND a.trust_score::numeric >= greatest(" min_trust ", c.min_trust, 0))"

/*
 * The lane of a capability for tasks that want so much trust (numeric; 0:
 * none) and are assigned to this agent (NULL: to none); 0: there is none yet.
 * That of an agent is kept from being deleted until the end of the transaction.
 */
int32
lane_store_find(const char *capability, Datum min_trust, const char *agent_id)
{
	static SavedQuery shared = {
		"SELECT lane_id FROM ains.lane WHERE capability = $1 AND min_trust = coalesce($2, 0)"
		" AND agent_id IS NULL",
	2, {TEXTOID, NUMERICOID}};
	static SavedQuery own = {
		"SELECT lane_id FROM ains.lane WHERE capability = $1 AND min_trust = coalesce($2, 0)"
		" AND agent_id = $3 FOR KEY SHARE",
	3, {TEXTOID, NUMERICOID, TEXTOID}};
	QueryCall	q;
	int32		lane_id = 0;

	query_begin(&q, agent_id == NULL ? &shared : &own);
	query_arg_text(&q, capability);
	query_arg_optional(&q, min_trust, min_trust == 0);
	if (agent_id != NULL)
		query_arg_text(&q, agent_id);
	if (query_run(&q) > 0)
		lane_id = query_int32(&q, 0, 1);
	query_end(&q);
	return lane_id;
}

/* Makes it; 0: somebody else did. Waits for whoever is making it. */
int32
lane_store_create(const char *capability, Datum min_trust, const char *agent_id)
{
	static SavedQuery create = {
		"INSERT INTO ains.lane (capability, min_trust, agent_id)"
		" VALUES ($1, coalesce($2, 0), $3)"
		" ON CONFLICT (capability, min_trust, agent_id) DO NOTHING RETURNING lane_id",
	3, {TEXTOID, NUMERICOID, TEXTOID}};
	QueryCall	q;
	int32		lane_id = 0;

	query_begin(&q, &create);
	query_arg_text(&q, capability);
	query_arg_optional(&q, min_trust, min_trust == 0);
	query_arg_text(&q, agent_id);
	if (query_run(&q) > 0)
		lane_id = query_int32(&q, 0, 1);
	query_end(&q);
	return lane_id;
}

/* The lanes of what an agent offers, by capability, without those of other agents. */
OfferedLane *
lane_store_offered(const char *agent_id, int *count)
{
	static SavedQuery find = {
		"SELECT l.capability, l.lane_id, (l.min_trust * 10000)::integer"
		" FROM ains.agent_capability o JOIN ains.lane l USING (capability)"
		" WHERE o.agent_id = $1 AND (l.agent_id IS NULL OR l.agent_id = $1)"
		" ORDER BY l.capability, l.lane_id",
	1, {TEXTOID}};
	QueryCall	q;
	OfferedLane *lanes;

	query_begin(&q, &find);
	query_arg_text(&q, agent_id);
	query_run(&q);
	lanes = MemoryContextAlloc(q.caller, Max(q.count, 1) * sizeof(OfferedLane));
	for (uint64 i = 0; i < q.count; i++)
	{
		lanes[i].capability = query_text_copy(&q, i, 1);
		lanes[i].lane_id = query_int32(&q, i, 2);
		lanes[i].min_trust = query_int32(&q, i, 3);
	}
	*count = q.count;
	query_end(&q);
	return lanes;
}

/* All lanes of a capability. */
int32 *
lane_store_of_capability(const char *capability, int *count)
{
	static SavedQuery find = {
		"SELECT lane_id FROM ains.lane WHERE capability = $1",
	1, {TEXTOID}};
	QueryCall	q;
	int32	   *lane_ids;

	query_begin(&q, &find);
	query_arg_text(&q, capability);
	query_run(&q);
	lane_ids = MemoryContextAlloc(q.caller, Max(q.count, 1) * sizeof(int32));
	for (uint64 i = 0; i < q.count; i++)
		lane_ids[i] = query_int32(&q, i, 1);
	*count = q.count;
	query_end(&q);
	return lane_ids;
}

/*
 * Whether an agent offers a capability, and whether it takes tasks of it now
 * that want so much trust; false: there is no such agent.
 */
bool
lane_store_find_agent(const char *agent_id, const char *capability, Datum min_trust,
					  bool *offers, bool *fit)
{
	static SavedQuery find = {
		"SELECT o.agent_id IS NOT NULL, coalesce(" FITS("$3") ", false) FROM ains.agent a"
		" LEFT JOIN ains.agent_capability o ON o.agent_id = a.agent_id AND o.capability = $2"
		" LEFT JOIN ains.capability c ON c.capability = $2 WHERE a.agent_id = $1",
	3, {TEXTOID, TEXTOID, NUMERICOID}};
	QueryCall	q;
	bool		found;

	query_begin(&q, &find);
	query_arg_text(&q, agent_id);
	query_arg_text(&q, capability);
	query_arg_optional(&q, min_trust, min_trust == 0);
	found = query_run(&q) > 0;
	if (found)
	{
		*offers = query_bool(&q, 0, 1);
		*fit = query_bool(&q, 0, 2);
	}
	query_end(&q);
	return found;
}

/*
 * The agents that take tasks of a capability now that want so much trust, by
 * id. What is assigned to each is counted without one task.
 */
Candidate *
lane_store_candidates(const char *capability, Datum min_trust, int64 without, int *count)
{
	static SavedQuery find = {
		"SELECT a.agent_id, coalesce(a.max_active_tasks, 0), w.waiting::integer, a.avg_duration"
		" FROM ains.agent_capability o JOIN ains.agent a USING (agent_id)"
		" JOIN ains.capability c USING (capability), LATERAL (SELECT count(*) FROM"
		"  (SELECT FROM ains.lane l JOIN ains.task t USING (lane_id) WHERE l.agent_id = a.agent_id"
		"   AND t.status = 'PENDING' AND t.task_id <> $3 LIMIT 1000) assigned) w (waiting)"
		" WHERE o.capability = $1 AND " FITS("$2") " ORDER BY a.agent_id COLLATE \"C\"",
	3, {TEXTOID, NUMERICOID, INT8OID}};
	QueryCall	q;
	Candidate  *candidates;

	query_begin(&q, &find);
	query_arg_text(&q, capability);
	query_arg_optional(&q, min_trust, min_trust == 0);
	query_arg_int64(&q, without);
	query_run(&q);
	candidates = MemoryContextAlloc(q.caller, Max(q.count, 1) * sizeof(Candidate));
	for (uint64 i = 0; i < q.count; i++)
	{
		candidates[i].agent_id = query_text_copy(&q, i, 1);
		candidates[i].max_active_tasks = query_int32(&q, i, 2);
		candidates[i].waiting = query_int32(&q, i, 3);
		candidates[i].duration = query_length(&q, i, 4);
	}
	*count = q.count;
	query_end(&q);
	return candidates;
}

/* The lanes of agents that do not take tasks from them. */
#define IDLE_LANES \
	" FROM ains.lane l LEFT JOIN ains.agent a ON a.agent_id = l.agent_id" \
	" LEFT JOIN ains.agent_capability o ON o.agent_id = l.agent_id AND o.capability = l.capability" \
	" LEFT JOIN ains.capability c ON c.capability = l.capability" \
	" WHERE l.agent_id IS NOT NULL AND " FITS("l.min_trust") " IS NOT TRUE"

/* Whether it is one of those. */
bool
lane_store_is_idle(int32 lane_id)
{
	static SavedQuery find = {
		"SELECT" IDLE_LANES " AND l.lane_id = $1",
	1, {INT4OID}};
	QueryCall	q;
	bool		idle;

	query_begin(&q, &find);
	query_arg_int32(&q, lane_id);
	idle = query_run(&q) > 0;
	query_end(&q);
	return idle;
}

/* Those in which tasks are PENDING. */
IdleLane *
lane_store_idle(int *count)
{
	static SavedQuery find = {
		"SELECT l.lane_id, l.capability, nullif(l.min_trust, 0)" IDLE_LANES
		" AND EXISTS (SELECT FROM ains.task t WHERE t.lane_id = l.lane_id"
		"  AND t.status = 'PENDING') ORDER BY l.lane_id",
	0, {0}};
	QueryCall	q;
	IdleLane   *lanes;

	query_begin(&q, &find);
	query_run(&q);
	lanes = MemoryContextAlloc(q.caller, Max(q.count, 1) * sizeof(IdleLane));
	for (uint64 i = 0; i < q.count; i++)
	{
		lanes[i].lane_id = query_int32(&q, i, 1);
		lanes[i].capability = query_text_copy(&q, i, 2);
		lanes[i].min_trust = query_isnull(&q, i, 3) ? 0 : query_datum_copy(&q, i, 3);
	}
	*count = q.count;
	query_end(&q);
	return lanes;
}

/*
 * Locks lanes whose agent is not registered any more, without those that
 * somebody enqueues to; at most AINS_SWEEP_BATCH.
 */
int64 *
lane_store_lock_unowned(int *count)
{
	static SavedQuery lock = {
		"SELECT l.lane_id::bigint FROM ains.lane l WHERE l.agent_id IS NOT NULL"
		" AND NOT EXISTS (SELECT FROM ains.agent a WHERE a.agent_id = l.agent_id)"
		" LIMIT 1000 FOR UPDATE SKIP LOCKED",
	0, {0}};
	QueryCall	q;
	int64	   *lane_ids;

	query_begin(&q, &lock);
	query_run(&q);
	lane_ids = query_int64s_copy(&q, count);
	query_end(&q);
	return lane_ids;
}

/* Deletes those of them, locked by us before, that no live task names. Reads all tasks. */
void
lane_store_delete_empty(const int64 *lane_ids, int count)
{
	static SavedQuery delete = {
		"DELETE FROM ains.lane l WHERE l.lane_id = ANY ($1)"
		" AND NOT EXISTS (SELECT FROM ains.task t WHERE t.lane_id = l.lane_id)",
	1, {INT8ARRAYOID}, .scans = true};
	QueryCall	q;

	query_begin(&q, &delete);
	query_arg_int64s(&q, lane_ids, count);
	query_run(&q);
	query_end(&q);
}
