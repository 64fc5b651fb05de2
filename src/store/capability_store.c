/*
 * store/capability_store.c
 *		Capabilities and lanes; as in task_store.c.
 */
#include "store/capability_store.h"

#include "catalog/pg_type.h"

#include "query.h"

/* A capability by its name; false: there is none. */
bool
capability_store_find(const char *name, CapabilityRow *row)
{
	static SavedQuery find = {
		"SELECT l.lane_id, c.lease, c.max_attempts, c.backoff, c.backoff_base, c.backoff_max,"
		" c.jitter, c.aging_interval, c.timeout, c.on_lost, c.keep_history, c.paused,"
		" c.concurrency_limit, c.rate_limit, c.rate_period, c.key_limit,"
		" coalesce(c.min_trust * 10000, 0)::integer"
		" FROM ains.capability c JOIN ains.lane l ON l.capability = c.capability"
		"  AND l.min_trust = 0 AND l.agent_id IS NULL WHERE c.capability = $1",
	1, {TEXTOID}};
	QueryCall	q;
	bool		found;

	query_begin(&q, &find);
	query_arg_text(&q, name);
	found = query_run(&q) > 0;
	if (found)
	{
		strlcpy(row->name, name, sizeof(row->name));
		row->lane_id = query_int32(&q, 0, 1);
		row->lease = query_length(&q, 0, 2);
		row->retry.max_attempts = query_int32(&q, 0, 3);
		if (!backoff_from_name(query_text_copy(&q, 0, 4), &row->retry.backoff))
			row->retry.backoff = BACKOFF_EXPONENTIAL;
		row->retry.backoff_base = query_length(&q, 0, 5);
		row->retry.backoff_max = query_length(&q, 0, 6);
		row->retry.jitter = DatumGetFloat4(query_datum(&q, 0, 7));
		row->aging_interval = query_length(&q, 0, 8);
		row->timeout = query_length(&q, 0, 9);
		row->retry.fail_when_lost = strcmp(query_text_copy(&q, 0, 10), "fail") == 0;
		row->keep_history = query_bool(&q, 0, 11);
		row->paused = query_bool(&q, 0, 12);
		row->limits.concurrency = query_isnull(&q, 0, 13) ? 0 : query_int32(&q, 0, 13);
		row->limits.rate = query_isnull(&q, 0, 14) || query_isnull(&q, 0, 15) ? 0
			: query_int32(&q, 0, 14);
		row->limits.period = query_length(&q, 0, 15);
		row->limits.lane_id = row->lane_id;
		row->limits.generation = 0;
		row->key_limit = query_isnull(&q, 0, 16) ? 0 : query_int32(&q, 0, 16);
		row->min_trust = query_int32(&q, 0, 17);
	}
	query_end(&q);
	return found;
}

/* A new one with the default policy, and its lane; false: it was there. */
bool
capability_store_create(const char *name, TimestampTz now)
{
	static SavedQuery create = {
		"WITH made AS ("
		" INSERT INTO ains.capability (capability, created_at) VALUES ($1, $2)"
		"  ON CONFLICT DO NOTHING RETURNING capability)"
		" INSERT INTO ains.lane (capability) SELECT capability FROM made"
		"  ON CONFLICT (capability, min_trust, agent_id) DO UPDATE SET capability = excluded.capability",
	2, {TEXTOID, TIMESTAMPTZOID}};
	QueryCall	q;
	bool		made;

	query_begin(&q, &create);
	query_arg_text(&q, name);
	query_arg_time(&q, now);
	made = query_run(&q) > 0;
	query_end(&q);
	return made;
}

/* Locks a capability's row and reads its aging interval; false: there is none. */
bool
capability_store_lock(const char *name, int64 *aging_interval)
{
	static SavedQuery lock = {
		"SELECT aging_interval FROM ains.capability WHERE capability = $1 FOR UPDATE",
	1, {TEXTOID}};
	QueryCall	q;
	bool		found;

	query_begin(&q, &lock);
	query_arg_text(&q, name);
	found = query_run(&q) > 0;
	if (found)
		*aging_interval = query_length(&q, 0, 1);
	query_end(&q);
	return found;
}

static void
arg_length_change(QueryCall *q, const int64 *change)
{
	query_arg_bool(q, change != NULL);
	query_arg_length(q, change != NULL ? *change : -1);
}

static void
arg_int32_change(QueryCall *q, const int32 *change)
{
	query_arg_bool(q, change != NULL);
	query_arg_optional(q, Int32GetDatum(change != NULL ? *change : 0),
					   change == NULL || *change == 0);
}

/* Changes a policy; returns the whole row. The row exists. */
Datum
capability_store_configure(const char *name, const CapabilityChange *change)
{
	/* what can go back to "none" comes as a pair: whether to set it, and to what */
	static SavedQuery configure = {
		"UPDATE ains.capability c SET"
		" lease = CASE WHEN $2 THEN $3 ELSE lease END,"
		" timeout = CASE WHEN $4 THEN $5 ELSE timeout END,"
		" rate_period = CASE WHEN $6 THEN $7 ELSE rate_period END,"
		" concurrency_limit = CASE WHEN $8 THEN $9 ELSE concurrency_limit END,"
		" rate_limit = CASE WHEN $10 THEN $11 ELSE rate_limit END,"
		" key_limit = CASE WHEN $12 THEN $13 ELSE key_limit END,"
		" max_attempts = coalesce($14, max_attempts),"
		" backoff = coalesce($15, backoff),"
		" backoff_base = coalesce($16, backoff_base),"
		" backoff_max = coalesce($17, backoff_max),"
		" jitter = coalesce($18, jitter),"
		" aging_interval = coalesce($19, aging_interval),"
		" min_trust = coalesce($20, min_trust),"
		" on_lost = coalesce($21, on_lost),"
		" keep_history = coalesce($22, keep_history)"
		" WHERE capability = $1 RETURNING c",
		22, {TEXTOID, BOOLOID, INTERVALOID, BOOLOID, INTERVALOID, BOOLOID, INTERVALOID,
			BOOLOID, INT4OID, BOOLOID, INT4OID, BOOLOID, INT4OID, INT4OID, TEXTOID,
		INTERVALOID, INTERVALOID, FLOAT4OID, INTERVALOID, NUMERICOID, TEXTOID, BOOLOID}};
	QueryCall	q;
	Datum		row;

	query_begin(&q, &configure);
	query_arg_text(&q, name);
	arg_length_change(&q, change->lease);
	arg_length_change(&q, change->timeout);
	arg_length_change(&q, change->rate_period);
	arg_int32_change(&q, change->concurrency_limit);
	arg_int32_change(&q, change->rate_limit);
	arg_int32_change(&q, change->key_limit);
	query_arg_optional(&q, Int32GetDatum(change->max_attempts ? *change->max_attempts : 0),
					   change->max_attempts == NULL);
	query_arg_text(&q, change->backoff);
	query_arg_length(&q, change->backoff_base ? *change->backoff_base : -1);
	query_arg_length(&q, change->backoff_max ? *change->backoff_max : -1);
	query_arg_optional(&q, Float4GetDatum(change->jitter ? *change->jitter : 0),
					   change->jitter == NULL);
	query_arg_length(&q, change->aging_interval ? *change->aging_interval : -1);
	query_arg_optional(&q, change->min_trust, change->min_trust == 0);
	query_arg_text(&q, change->on_lost);
	query_arg_optional(&q, BoolGetDatum(change->keep_history && *change->keep_history),
					   change->keep_history == NULL);
	query_run(&q);
	row = query_datum_copy(&q, 0, 1);
	query_end(&q);
	return row;
}

/* Pauses or resumes; false: there is no such capability. */
bool
capability_store_pause(const char *name, bool paused)
{
	static SavedQuery pause = {
		"UPDATE ains.capability SET paused = $2 WHERE capability = $1",
	2, {TEXTOID, BOOLOID}};
	QueryCall	q;
	bool		found;

	query_begin(&q, &pause);
	query_arg_text(&q, name);
	query_arg_bool(&q, paused);
	found = query_run(&q) > 0;
	query_end(&q);
	return found;
}

/* A number that changes with what decides who may claim from which lane. */
uint64
capability_store_checksum(void)
{
	static SavedQuery sum = {
		"SELECT bit_xor(h) FROM ("
		" SELECT hash_record_extended(c, 1) FROM ains.capability c UNION ALL"
		" SELECT hash_record_extended(l, 2) FROM ains.lane l UNION ALL"
		" SELECT hash_record_extended(ROW(o.agent_id, o.capability), 3)"
		"  FROM ains.agent_capability o) r (h)",
	0, {0}, .scans = true};
	QueryCall	q;
	uint64		checksum = 0;

	query_begin(&q, &sum);
	query_run(&q);
	if (!query_isnull(&q, 0, 1))
		checksum = (uint64) query_int64(&q, 0, 1);
	query_end(&q);
	return checksum;
}

/* Capabilities whose row is gone while their lane is there, in the caller's context. */
char	  **
capability_store_lost(int *count)
{
	static SavedQuery find = {
		"SELECT DISTINCT l.capability FROM ains.lane l WHERE NOT EXISTS"
		" (SELECT FROM ains.capability c WHERE c.capability = l.capability)",
	0, {0}, .scans = true};
	QueryCall	q;
	char	  **names;

	query_begin(&q, &find);
	query_run(&q);
	names = MemoryContextAlloc(q.caller, Max(q.count, 1) * sizeof(char *));
	for (uint64 i = 0; i < q.count; i++)
		names[i] = query_text_copy(&q, i, 1);
	*count = q.count;
	query_end(&q);
	return names;
}
