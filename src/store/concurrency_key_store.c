/*
 * store/concurrency_key_store.c
 *		Keys of which only so many tasks may run; as in task_store.c.
 */
#include "store/concurrency_key_store.h"

#include "catalog/pg_type.h"

#include "query.h"

/* Both by the index task_concurrency_key. */
#define WAITS	"status = 'BLOCKED' AND unmet IS NULL"
#define IN_USE	"status IN ('PENDING', 'ACTIVE')"

/* Locks a key until the end of the transaction; waits for who has it. */
void
concurrency_key_store_lock(const char *capability, const char *key)
{
	/* a conflict locks the row that is there, and the condition leaves it as it is */
	static SavedQuery lock = {
		"INSERT INTO ains.concurrency_key AS k (capability, concurrency_key) VALUES ($1, $2)"
		" ON CONFLICT (capability, concurrency_key)"
		" DO UPDATE SET capability = k.capability WHERE false",
	2, {TEXTOID, TEXTOID}};
	QueryCall	q;

	query_begin(&q, &lock);
	query_arg_text(&q, capability);
	query_arg_text(&q, key);
	query_run(&q);
	query_end(&q);
}

/*
 * Locks a key, if it is there for us to see, without waiting; false if somebody
 * has it.
 */
bool
concurrency_key_store_lock_free(const char *capability, const char *key, bool *is_there)
{
	static SavedQuery lock = {
		"SELECT count(*) = count(f.capability), count(*) > 0"
		" FROM (SELECT FROM ains.concurrency_key"
		"  WHERE capability = $1 AND concurrency_key = $2) k"
		" LEFT JOIN LATERAL (SELECT capability FROM ains.concurrency_key"
		"  WHERE capability = $1 AND concurrency_key = $2 FOR UPDATE SKIP LOCKED) f ON true",
	2, {TEXTOID, TEXTOID}};
	QueryCall	q;
	bool		is_free;

	query_begin(&q, &lock);
	query_arg_text(&q, capability);
	query_arg_text(&q, key);
	query_run(&q);
	is_free = query_bool(&q, 0, 1);
	*is_there = query_bool(&q, 0, 2);
	query_end(&q);
	return is_free;
}

/* Nobody needs a key that is locked by us any more. */
void
concurrency_key_store_forget(const char *capability, const char *key)
{
	static SavedQuery forget = {
		"DELETE FROM ains.concurrency_key WHERE capability = $1 AND concurrency_key = $2",
	2, {TEXTOID, TEXTOID}};
	QueryCall	q;

	query_begin(&q, &forget);
	query_arg_text(&q, capability);
	query_arg_text(&q, key);
	query_run(&q);
	query_end(&q);
}

static int64 *
tasks_of_key(SavedQuery *query, Snapshot snapshot, const char *capability, const char *key,
			 int32 most, int *count)
{
	QueryCall	q;
	int64	   *ids;

	query_begin(&q, query);
	q.snapshot = snapshot;
	query_arg_text(&q, capability);
	query_arg_text(&q, key);
	query_arg_int32(&q, most);
	query_run(&q);
	ids = query_int64s_copy(&q, count);
	query_end(&q);
	return ids;
}

/* The tasks of a key that are PENDING or ACTIVE, at most so many. */
int64 *
concurrency_key_store_in_use(Snapshot snapshot, const char *capability, const char *key,
							 int32 most, int *count)
{
	static SavedQuery find = {
		"SELECT task_id FROM ains.task WHERE capability = $1 AND concurrency_key = $2"
		" AND " IN_USE " LIMIT $3",
	3, {TEXTOID, TEXTOID, INT4OID}};

	return tasks_of_key(&find, snapshot, capability, key, most, count);
}

/* The first that wait for it and for nothing else, in rank order. */
int64 *
concurrency_key_store_waiting(Snapshot snapshot, const char *capability, const char *key,
							  int32 most, int *count)
{
	static SavedQuery find = {
		"SELECT task_id FROM ains.task WHERE capability = $1 AND concurrency_key = $2"
		" AND " WAITS " ORDER BY rank, task_id LIMIT $3",
	3, {TEXTOID, TEXTOID, INT4OID}};

	return tasks_of_key(&find, snapshot, capability, key, most, count);
}

/* The keys behind this one that tasks wait for, in order, at most AINS_SWEEP_BATCH. */
WaitedKey *
concurrency_key_store_waited(const char *capability, const char *key, int *count)
{
	/* from each key to the next: how many wait for it costs nothing */
	static SavedQuery find = {
		"WITH RECURSIVE waited (capability, concurrency_key, n) AS ("
		" (SELECT capability, concurrency_key, 1 FROM ains.task"
		"  WHERE concurrency_key IS NOT NULL AND " WAITS
		"   AND (capability, concurrency_key) > ($1, $2)"
		"  ORDER BY capability, concurrency_key LIMIT 1)"
		" UNION ALL"
		" SELECT f.capability, f.concurrency_key, w.n + 1 FROM waited w, LATERAL ("
		"  SELECT t.capability, t.concurrency_key FROM ains.task t"
		"  WHERE t.concurrency_key IS NOT NULL AND " WAITS
		"   AND (t.capability, t.concurrency_key) > (w.capability, w.concurrency_key)"
		"  ORDER BY t.capability, t.concurrency_key LIMIT 1) f WHERE w.n < 1000)"
		" SELECT w.capability, w.concurrency_key, c.key_limit IS NULL OR c.key_limit >"
		"  (SELECT count(*) FROM (SELECT FROM ains.task u WHERE u.capability = w.capability"
		"   AND u.concurrency_key = w.concurrency_key AND " IN_USE
		"   LIMIT c.key_limit) used)"
		" FROM waited w LEFT JOIN ains.capability c USING (capability) ORDER BY w.n",
	2, {TEXTOID, TEXTOID}};
	QueryCall	q;
	WaitedKey  *keys;

	query_begin(&q, &find);
	query_arg_text(&q, capability);
	query_arg_text(&q, key);
	query_run(&q);
	keys = MemoryContextAlloc(q.caller, Max(q.count, 1) * sizeof(WaitedKey));
	for (uint64 i = 0; i < q.count; i++)
		keys[i] = (WaitedKey) {query_text_copy(&q, i, 1), query_text_copy(&q, i, 2),
		query_bool(&q, i, 3)};
	*count = q.count;
	query_end(&q);
	return keys;
}

/* A number that changes with the limits of keys. */
uint64
concurrency_key_store_limits_checksum(void)
{
	static SavedQuery sum = {
		"SELECT coalesce(bit_xor(hash_record_extended(ROW(capability, key_limit), 0)), 0)"
		" FROM ains.capability",
	0, {0}, .scans = true};
	QueryCall	q;
	uint64		checksum;

	query_begin(&q, &sum);
	query_run(&q);
	checksum = (uint64) query_int64(&q, 0, 1);
	query_end(&q);
	return checksum;
}
