/*
 * store/dependency_store.c
 *		Edges between tasks; as in task_store.c.
 */
#include "store/dependency_store.h"

#include "catalog/pg_type.h"

#include "query.h"

/*
 * Notes of a task whose row is locked by us, or new, what it depends on, and
 * which of that it still waits for.
 */
void
dependency_store_add(int64 task_id, const int64 *depends_on, int count,
					 const int64 *unmet, int unmet_count)
{
	static SavedQuery add = {
		"WITH edge AS (INSERT INTO ains.dependency (task_id, depends_on) SELECT $1, unnest($3))"
		" UPDATE ains.task SET depends_on = $2, unmet = nullif(cardinality($3), 0)"
		"  WHERE task_id = $1",
	3, {INT8OID, INT8ARRAYOID, INT8ARRAYOID}};
	QueryCall	q;

	query_begin(&q, &add);
	query_arg_int64(&q, task_id);
	query_arg_int64s(&q, depends_on, count);
	query_arg_int64s(&q, unmet, unmet_count);
	query_run(&q);
	query_end(&q);
}

/* The tasks after this id that wait for a task, by id, at most AINS_SWEEP_BATCH. */
int64 *
dependency_store_dependents(int64 task_id, int64 after, int *count)
{
	static SavedQuery find = {
		"SELECT task_id FROM ains.dependency WHERE depends_on = $1 AND task_id > $2"
		" ORDER BY task_id LIMIT 1000",
	2, {INT8OID, INT8OID}};
	QueryCall	q;
	int64	   *ids;

	query_begin(&q, &find);
	query_arg_int64(&q, task_id);
	query_arg_int64(&q, after);
	query_run(&q);
	ids = query_int64s_copy(&q, count);
	query_end(&q);
	return ids;
}

/* The first tasks that a task waits for, by id. */
int64 *
dependency_store_unmet(int64 task_id, int most, int *count)
{
	static SavedQuery find = {
		"SELECT depends_on FROM ains.dependency WHERE task_id = $1 ORDER BY depends_on LIMIT $2",
	2, {INT8OID, INT4OID}};
	QueryCall	q;
	int64	   *ids;

	query_begin(&q, &find);
	query_arg_int64(&q, task_id);
	query_arg_int32(&q, most);
	query_run(&q);
	ids = query_int64s_copy(&q, count);
	query_end(&q);
	return ids;
}

/* What a finished task depended on, in its order. */
int64 *
dependency_store_of_ended(int64 task_id, int *count)
{
	static SavedQuery find = {
		"SELECT unnest(depends_on) FROM (SELECT depends_on FROM ains.task_history"
		" WHERE task_id = $1 ORDER BY finished_at DESC LIMIT 1) h",
	1, {INT8OID}};
	QueryCall	q;
	int64	   *ids;

	query_begin(&q, &find);
	query_arg_int64(&q, task_id);
	query_run(&q);
	ids = query_int64s_copy(&q, count);
	query_end(&q);
	return ids;
}

static void
run_for(SavedQuery *query, int64 task_id)
{
	QueryCall	q;

	query_begin(&q, query);
	query_arg_int64(&q, task_id);
	query_run(&q);
	query_end(&q);
}

/* A task waits for nothing any more. */
void
dependency_store_remove(int64 task_id)
{
	static SavedQuery forget = {"DELETE FROM ains.dependency WHERE task_id = $1", 1, {INT8OID}};

	run_for(&forget, task_id);
}

/* Nothing waits for a task any more. */
void
dependency_store_remove_dependents(int64 task_id)
{
	static SavedQuery forget = {"DELETE FROM ains.dependency WHERE depends_on = $1", 1, {INT8OID}};

	run_for(&forget, task_id);
}

/* All that wait for a task, directly or not. */
#define BELOW \
	"WITH RECURSIVE below (task_id) AS (" \
	" SELECT e.task_id FROM ains.dependency e WHERE e.depends_on = $1" \
	" UNION" \
	" SELECT e.task_id FROM below b JOIN ains.dependency e ON e.depends_on = b.task_id)"

/* Locks those of them that live, by id. */
#define LOCK_BELOW(how) \
	BELOW " SELECT count(*) = count(f.task_id)" \
	" FROM (SELECT b.task_id FROM below b JOIN ains.task t USING (task_id)" \
	"  ORDER BY b.task_id) w" \
	" LEFT JOIN LATERAL (SELECT t.task_id FROM ains.task t WHERE t.task_id = w.task_id" \
	"  FOR UPDATE " how ") f ON true"

/* Does so, waiting for those who have one of them. */
void
dependency_store_lock(int64 task_id)
{
	static SavedQuery lock = {LOCK_BELOW(""), 1, {INT8OID}};

	run_for(&lock, task_id);
}

/* The same without waiting; false if somebody has one of them. */
bool
dependency_store_lock_free(int64 task_id)
{
	static SavedQuery lock = {LOCK_BELOW("SKIP LOCKED"), 1, {INT8OID}};
	QueryCall	q;
	bool		is_free;

	query_begin(&q, &lock);
	query_arg_int64(&q, task_id);
	query_run(&q);
	is_free = query_bool(&q, 0, 1);
	query_end(&q);
	return is_free;
}

/* The keys of those of them that may be unblocked though what they wait for has failed. */
TaskKey *
dependency_store_keys(int64 task_id, int *count)
{
	static SavedQuery find = {
		BELOW " SELECT DISTINCT t.capability, t.concurrency_key"
		" FROM below b JOIN ains.task t USING (task_id)"
		" WHERE t.concurrency_key IS NOT NULL AND t.run_id IS NOT NULL",
	1, {INT8OID}};
	QueryCall	q;
	TaskKey    *keys;

	query_begin(&q, &find);
	query_arg_int64(&q, task_id);
	query_run(&q);
	keys = MemoryContextAlloc(q.caller, Max(q.count, 1) * sizeof(TaskKey));
	for (uint64 i = 0; i < q.count; i++)
		keys[i] = (TaskKey) {query_text_copy(&q, i, 1), query_text_copy(&q, i, 2)};
	*count = q.count;
	query_end(&q);
	return keys;
}

static void
list(SavedQuery *query, int64 task_id, Tuplestorestate *store)
{
	QueryCall	q;

	query_begin(&q, query);
	query_arg_int64(&q, task_id);
	query_run(&q);
	query_put_rows(&q, store);
	query_end(&q);
}

/* What a task depends on, and the status of each; by id. */
void
dependency_store_list(int64 task_id, Tuplestorestate *store)
{
	static SavedQuery find = {
		"SELECT d.id, coalesce(t.status, h.status)"
		" FROM unnest(coalesce("
		"  (SELECT depends_on FROM ains.task WHERE task_id = $1),"
		"  (SELECT depends_on FROM ains.task_history WHERE task_id = $1"
		"    ORDER BY finished_at DESC LIMIT 1))) AS d (id)"
		" LEFT JOIN ains.task t ON t.task_id = d.id"
		" LEFT JOIN LATERAL (SELECT status FROM ains.task_history WHERE task_id = d.id"
		"  ORDER BY finished_at DESC LIMIT 1) h ON true ORDER BY d.id",
	1, {INT8OID}};

	list(&find, task_id, store);
}

/* The tasks that wait for a task, and their status; by id. */
void
dependency_store_list_waiting(int64 task_id, Tuplestorestate *store)
{
	static SavedQuery find = {
		"SELECT e.task_id, t.status FROM ains.dependency e JOIN ains.task t USING (task_id)"
		" WHERE e.depends_on = $1 ORDER BY e.task_id",
	1, {INT8OID}};

	list(&find, task_id, store);
}
