/*
 * store/agent_store.c
 *		Agents and what they can do; as in task_store.c.
 */
#include "store/agent_store.h"

#include "catalog/pg_type.h"

#include "policy.h"
#include "query.h"
#include "soft/types.h"

/* The columns of AgentFacts, in the order read_facts() reads them. */
#define FACT_COLUMNS \
	"a.agent_id, a.incarnation, a.owner::oid, a.wanted, a.health," \
	" a.dead_since IS NOT NULL, a.heartbeat_timeout, coalesce(a.max_active_tasks, 0)," \
	" a.agent_type, round(a.trust_score::numeric * 10000)::integer"

static void
read_facts(QueryCall *q, uint64 row, AgentFacts *facts)
{
	facts->incarnation = query_int64(q, row, 2);
	facts->owner = query_oid(q, row, 3);
	facts->wanted = agent_wanted_from_name(query_text_copy(q, row, 4));
	if (!agent_health_from_name(query_text_copy(q, row, 5), &facts->health))
		facts->health = HEALTH_ACTIVE;	/* not reached: a CHECK */
	facts->dead = query_bool(q, row, 6);
	facts->heartbeat_timeout = query_length(q, row, 7);
	facts->max_active_tasks = query_int32(q, row, 8);
	facts->type = types_number(query_text_copy(q, row, 9));
	facts->trust = query_int32(q, row, 10);
	facts->version = 0;
}

static bool
find(SavedQuery *query, const char *agent_id, AgentFacts *facts)
{
	QueryCall	q;
	bool		found;

	query_begin(&q, query);
	query_arg_text(&q, agent_id);
	found = query_run(&q) > 0;
	if (found)
		read_facts(&q, 0, facts);
	query_end(&q);
	return found;
}

/* An agent by its id; false: there is none. */
bool
agent_store_find(const char *agent_id, AgentFacts *facts)
{
	static SavedQuery query = {
		"SELECT " FACT_COLUMNS " FROM ains.agent a WHERE a.agent_id = $1",
	1, {TEXTOID}};

	return find(&query, agent_id, facts);
}

/* The same, locking the row. */
bool
agent_store_lock(const char *agent_id, AgentFacts *facts)
{
	static SavedQuery query = {
		"SELECT " FACT_COLUMNS " FROM ains.agent a WHERE a.agent_id = $1 FOR UPDATE",
	1, {TEXTOID}};

	return find(&query, agent_id, facts);
}

/* Locks the row unless somebody has it; false: somebody has, or it is gone. */
bool
agent_store_lock_free(const char *agent_id, AgentFacts *facts)
{
	static SavedQuery query = {
		"SELECT " FACT_COLUMNS " FROM ains.agent a WHERE a.agent_id = $1"
		" FOR UPDATE SKIP LOCKED",
	1, {TEXTOID}};

	return find(&query, agent_id, facts);
}

static AgentRow *
read_rows(QueryCall *q, int *count)
{
	AgentRow   *rows = MemoryContextAlloc(q->caller, Max(q->count, 1) * sizeof(AgentRow));

	for (uint64 i = 0; i < q->count; i++)
	{
		rows[i].agent_id = query_text_copy(q, i, 1);
		read_facts(q, i, &rows[i].facts);
	}
	*count = q->count;
	return rows;
}

/* Every agent there is, in the order of strcmp(), with its leases if asked for. */
AgentRow *
agent_store_all(bool leases, int *count)
{
	static SavedQuery plain = {
		"SELECT " FACT_COLUMNS ", 0, 0::bigint FROM ains.agent a"
		" ORDER BY a.agent_id COLLATE \"C\"",
	0, {0}};
	static SavedQuery with_leases = {
		"SELECT " FACT_COLUMNS ", coalesce(h.held, 0), coalesce(h.hash, 0)"
		" FROM ains.agent a LEFT JOIN ("
		"  SELECT agent_id, count(*)::integer AS held, bit_xor(hashint8extended(task_id, 0)) AS hash"
		"   FROM ains.task WHERE status = 'ACTIVE' GROUP BY agent_id) h USING (agent_id)"
		" ORDER BY a.agent_id COLLATE \"C\"",
	0, {0}};
	QueryCall	q;
	AgentRow   *rows;

	query_begin(&q, leases ? &with_leases : &plain);
	query_run(&q);
	rows = read_rows(&q, count);
	for (int i = 0; i < *count; i++)
	{
		rows[i].held = query_int32(&q, i, 11);
		rows[i].held_hash = (uint64) query_int64(&q, i, 12);
	}
	query_end(&q);
	return rows;
}

static void
arg_agent(QueryCall *q, const NewAgent *agent)
{
	query_arg_text(q, agent->agent_id);
	query_arg_text(q, agent->agent_type);
	query_arg_text(q, agent->display_name);
	query_arg_text(q, agent->endpoint);
	query_arg_text(q, agent->public_key);
	query_arg(q, agent->tags);
	query_arg(q, agent->metadata);
	query_arg_oid(q, agent->owner);
	query_arg_int64(q, agent->incarnation);
	query_arg_length(q, agent->heartbeat_timeout);
	query_arg_optional(q, Int32GetDatum(agent->max_active_tasks),
					   agent->max_active_tasks == 0);
	query_arg_time(q, agent->now);
}

#define AGENT_ARGS	12
#define AGENT_ARG_TYPES \
	{TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTARRAYOID, JSONBOID, OIDOID, \
	INT8OID, INTERVALOID, INT4OID, TIMESTAMPTZOID}

/* A new agent; false if one of this id is registered. */
bool
agent_store_insert(const NewAgent *agent)
{
	static SavedQuery insert = {
		"INSERT INTO ains.agent (agent_id, agent_type, display_name, endpoint, public_key,"
		"  tags, metadata, owner, incarnation, heartbeat_timeout, max_active_tasks,"
		"  registered_at, last_seen_at)"
		" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $12)"
		" ON CONFLICT DO NOTHING",
	AGENT_ARGS, AGENT_ARG_TYPES};
	QueryCall	q;
	bool		made;

	query_begin(&q, &insert);
	arg_agent(&q, agent);
	made = query_run(&q) > 0;
	query_end(&q);
	return made;
}

/* A known agent starts again: its row, locked by us, is written anew. */
void
agent_store_restart(const NewAgent *agent)
{
	static SavedQuery restart = {
		"UPDATE ains.agent SET agent_type = $2, display_name = $3, endpoint = $4,"
		"  public_key = $5, tags = $6, metadata = $7, incarnation = $9,"
		"  heartbeat_timeout = $10, max_active_tasks = $11, last_seen_at = $12,"
		"  owner = $8, wanted = 'accepting', health = 'ACTIVE', dead_since = NULL,"
		"  metrics = NULL WHERE agent_id = $1",
	AGENT_ARGS, AGENT_ARG_TYPES};
	QueryCall	q;

	query_begin(&q, &restart);
	arg_agent(&q, agent);
	query_run(&q);
	query_end(&q);
}

/* The whole row as an ains.agent, in the caller's context. */
Datum
agent_store_row(const char *agent_id)
{
	static SavedQuery whole = {
		"SELECT a FROM ains.agent a WHERE agent_id = $1",
	1, {TEXTOID}};
	QueryCall	q;
	Datum		row = 0;

	query_begin(&q, &whole);
	query_arg_text(&q, agent_id);
	if (query_run(&q) > 0)
		row = query_datum_copy(&q, 0, 1);
	query_end(&q);
	return row;
}

/* Writes what is wanted of it and what its beats say. */
void
agent_store_write_state(const char *agent_id, const AgentFacts *facts,
						TimestampTz now, TimestampTz last_seen)
{
	static SavedQuery write = {
		"UPDATE ains.agent SET wanted = $2, health = $3,"
		"  dead_since = CASE WHEN $4 THEN coalesce(dead_since, $5) END,"
		"  last_seen_at = greatest(last_seen_at, $6) WHERE agent_id = $1",
	6, {TEXTOID, TEXTOID, TEXTOID, BOOLOID, TIMESTAMPTZOID, TIMESTAMPTZOID}};
	QueryCall	q;

	query_begin(&q, &write);
	query_arg_text(&q, agent_id);
	query_arg_text(&q, agent_wanted_name(facts->wanted));
	query_arg_text(&q, agent_health_name(facts->health));
	query_arg_bool(&q, facts->dead);
	query_arg_time(&q, now);
	query_arg_time(&q, last_seen);
	query_run(&q);
	query_end(&q);
}

/* The metrics of its last heartbeat that had some. */
void
agent_store_write_metrics(const char *agent_id, Datum metrics)
{
	static SavedQuery write = {
		"UPDATE ains.agent SET metrics = $2 WHERE agent_id = $1",
	2, {TEXTOID, JSONBOID}};
	QueryCall	q;

	query_begin(&q, &write);
	query_arg_text(&q, agent_id);
	query_arg(&q, metrics);
	query_run(&q);
	query_end(&q);
}

/*
 * Locks agents that are stopped or dead, were last seen (as far as the table
 * knows) before that time and hold no lease; at most AINS_SWEEP_BATCH.
 */
AgentRow *
agent_store_prunable(TimestampTz seen_before, int *count)
{
	static SavedQuery query = {
		"SELECT " FACT_COLUMNS " FROM ains.agent a"
		" WHERE a.agent_status IN ('INACTIVE', 'DEAD') AND a.last_seen_at < $1"
		"  AND NOT EXISTS (SELECT FROM ains.task t WHERE t.agent_id = a.agent_id"
		"   AND t.status = 'ACTIVE')"
		" ORDER BY a.agent_id LIMIT 1000 FOR UPDATE SKIP LOCKED",
	1, {TIMESTAMPTZOID}};
	QueryCall	q;
	AgentRow   *rows;

	query_begin(&q, &query);
	query_arg_time(&q, seen_before);
	query_run(&q);
	rows = read_rows(&q, count);
	query_end(&q);
	return rows;
}

/* Removes an agent, locked by us, and what it could do. */
void
agent_store_delete(const char *agent_id)
{
	static SavedQuery delete = {
		"WITH gone AS (DELETE FROM ains.agent WHERE agent_id = $1),"
		" adjusted AS (DELETE FROM ains.trust_event WHERE agent_id = $1)"
		" DELETE FROM ains.agent_capability WHERE agent_id = $1",
	1, {TEXTOID}};
	QueryCall	q;

	query_begin(&q, &delete);
	query_arg_text(&q, agent_id);
	query_run(&q);
	query_end(&q);
}

/* What the agent can do is exactly this text[]; what it published of these stays. */
void
agent_store_set_capabilities(const char *agent_id, Datum capabilities)
{
	static SavedQuery set = {
		"WITH gone AS (DELETE FROM ains.agent_capability"
		"  WHERE agent_id = $1 AND capability <> ALL ($2))"
		" INSERT INTO ains.agent_capability (agent_id, capability)"
		" SELECT $1, capability FROM unnest($2) AS c (capability) ON CONFLICT DO NOTHING",
	2, {TEXTOID, TEXTARRAYOID}};
	QueryCall	q;

	query_begin(&q, &set);
	query_arg_text(&q, agent_id);
	query_arg(&q, capabilities);
	query_run(&q);
	query_end(&q);
}

/* What an agent, locked by us, says about a capability; false: it offered it before. */
bool
agent_store_publish(const Offer *offer)
{
	static SavedQuery publish = {
		"WITH known AS (UPDATE ains.agent_capability SET description = $3, version = $4,"
		"  input_schema = $5, output_schema = $6, pricing_model = $7, price = $8,"
		"  currency = $9, latency_p99_ms = $10, availability_percent = $11"
		"  WHERE agent_id = $1 AND capability = $2 RETURNING 1)"
		" INSERT INTO ains.agent_capability (agent_id, capability, description, version,"
		"  input_schema, output_schema, pricing_model, price, currency, latency_p99_ms,"
		"  availability_percent)"
		" SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11"
		"  WHERE NOT EXISTS (SELECT FROM known)",
		11, {TEXTOID, TEXTOID, TEXTOID, TEXTOID, JSONBOID, JSONBOID, TEXTOID,
	NUMERICOID, TEXTOID, INT4OID, NUMERICOID}};
	QueryCall	q;
	bool		is_new;

	query_begin(&q, &publish);
	query_arg_text(&q, offer->agent_id);
	query_arg_text(&q, offer->capability);
	query_arg_text(&q, offer->description);
	query_arg_text(&q, offer->version);
	query_arg(&q, offer->input_schema);
	query_arg(&q, offer->output_schema);
	query_arg_text(&q, offer->pricing_model);
	query_arg(&q, offer->price);
	query_arg_text(&q, offer->currency);
	query_arg_optional(&q, Int32GetDatum(offer->latency_p99), offer->latency_p99 < 0);
	query_arg_optional(&q, offer->availability, offer->availability == 0);
	is_new = query_run(&q) > 0;
	query_end(&q);
	return is_new;
}

/* An agent, locked by us, does not offer a capability any more; false: it did not. */
bool
agent_store_withdraw(const char *agent_id, const char *capability)
{
	static SavedQuery withdraw = {
		"DELETE FROM ains.agent_capability WHERE agent_id = $1 AND capability = $2",
	2, {TEXTOID, TEXTOID}};
	QueryCall	q;
	bool		offered;

	query_begin(&q, &withdraw);
	query_arg_text(&q, agent_id);
	query_arg_text(&q, capability);
	offered = query_run(&q) > 0;
	query_end(&q);
	return offered;
}
