/*
 * store/webhook_store.c
 *		ains.webhook, and the events that each is to be told.
 *
 * As in task_store.c: one statement each, results in the caller's context.
 */
#include "store/webhook_store.h"

#include "catalog/pg_type.h"

#include "query.h"

/* A new webhook, which begins after that event; its id. events: a text[]. */
int64
webhook_store_insert(const char *url, Datum events, const char *secret, Oid owner,
					 TimestampTz now, int64 position)
{
	static SavedQuery insert = {
		"INSERT INTO ains.webhook (url, events, secret, owner, created_at, position)"
		" VALUES ($1, $2, $3, $4, $5, $6) RETURNING webhook_id",
	6, {TEXTOID, TEXTARRAYOID, TEXTOID, OIDOID, TIMESTAMPTZOID, INT8OID}};
	QueryCall	q;
	int64		webhook_id;

	query_begin(&q, &insert);
	query_arg_text(&q, url);
	query_arg(&q, events);
	query_arg_text(&q, secret);
	query_arg_oid(&q, owner);
	query_arg_time(&q, now);
	query_arg_int64(&q, position);
	query_run(&q);
	webhook_id = query_int64(&q, 0, 1);
	query_end(&q);
	return webhook_id;
}

/* Locks a webhook and reads its owner; false: there is none. */
bool
webhook_store_lock(int64 webhook_id, Oid *owner)
{
	static SavedQuery lock = {
		"SELECT owner::oid FROM ains.webhook WHERE webhook_id = $1 FOR UPDATE", 1, {INT8OID}
	};
	QueryCall	q;
	bool		found;

	query_begin(&q, &lock);
	query_arg_int64(&q, webhook_id);
	found = query_run(&q) > 0;
	if (found)
		*owner = query_oid(&q, 0, 1);
	query_end(&q);
	return found;
}

void
webhook_store_remove(int64 webhook_id)
{
	static SavedQuery remove = {
		"DELETE FROM ains.webhook WHERE webhook_id = $1", 1, {INT8OID}
	};
	QueryCall	q;

	query_begin(&q, &remove);
	query_arg_int64(&q, webhook_id);
	query_run(&q);
	query_end(&q);
}

/* The webhooks that have not looked at all published events. */
int64 *
webhook_store_behind(int64 published, int *count)
{
	static SavedQuery find = {
		"SELECT w.webhook_id FROM ains.webhook w WHERE w.position < $1"
		" AND EXISTS (SELECT FROM ains.event e WHERE e.event_id > w.position AND e.event_id <= $1)"
		" ORDER BY w.webhook_id",
	1, {INT8OID}, .scans = true};
	QueryCall	q;
	int64	   *ids;

	query_begin(&q, &find);
	query_arg_int64(&q, published);
	query_run(&q);
	ids = query_int64s_copy(&q, count);
	query_end(&q);
	return ids;
}

/* Locks and reads one of them; false: it is not behind any more, or somebody has it locked. */
bool
webhook_store_lock_behind(int64 webhook_id, int64 published, Webhook *webhook)
{
	static SavedQuery lock = {
		"SELECT url, secret, owner::oid, position FROM ains.webhook"
		" WHERE webhook_id = $1 AND position < $2 FOR UPDATE SKIP LOCKED",
	2, {INT8OID, INT8OID}};
	QueryCall	q;
	bool		found;

	query_begin(&q, &lock);
	query_arg_int64(&q, webhook_id);
	query_arg_int64(&q, published);
	found = query_run(&q) > 0;
	if (found)
	{
		webhook->webhook_id = webhook_id;
		webhook->url = query_text_copy(&q, 0, 1);
		webhook->secret = query_text_copy(&q, 0, 2);
		webhook->owner = query_oid(&q, 0, 3);
		webhook->position = query_int64(&q, 0, 4);
	}
	query_end(&q);
	return found;
}

/*
 * Of the next batch of published events, those that the webhook is to be told:
 * of the kinds it asked for, that its owner may see, and not of deliveries.
 * None if the owner must not add webhooks any more. `end` is the last event of
 * the batch, or the webhook's position if it is empty.
 */
WebhookEvent *
webhook_store_slice(const Webhook *webhook, int64 published, int64 *end, int *count)
{
	static SavedQuery read = {
		"WITH slice AS MATERIALIZED (SELECT * FROM ains.event"
		"  WHERE event_id > $2 AND event_id <= $3 ORDER BY event_id LIMIT 1000),"
		" whole AS (SELECT coalesce(max(event_id), $2) AS last FROM slice)"
		" SELECT whole.last, told.event_id, told.kind, told.body FROM whole"
		" LEFT JOIN (SELECT e.event_id, e.kind, json_build_object('event_id', e.event_id,"
		"   'event', e.kind, 'happened_at', to_char(e.happened_at AT TIME ZONE 'UTC',"
		"   'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'), 'task_id', e.task_id, 'capability', e.capability,"
		"   'agent_id', e.agent_id, 'detail', e.detail)::text AS body"
		"  FROM slice e, ains.webhook w WHERE w.webhook_id = $1"
		"  AND w.events && ARRAY[e.kind, split_part(e.kind, '.', 1) || '.*', '*']"
		"  AND e.capability IS DISTINCT FROM 'ains.webhook'"
		"  AND (pg_has_role(w.owner::oid, e.owner::oid, 'USAGE')"
		"   OR coalesce(pg_has_role(w.owner::oid, to_regrole('ains_monitor')::oid, 'USAGE'), false))"
		"  AND has_function_privilege(w.owner::oid, 'ains.add_webhook(text, text[], text)',"
		"   'EXECUTE')) told ON true ORDER BY told.event_id",
	3, {INT8OID, INT8OID, INT8OID}};
	QueryCall	q;
	WebhookEvent *events;
	int			rows;

	query_begin(&q, &read);
	query_arg_int64(&q, webhook->webhook_id);
	query_arg_int64(&q, webhook->position);
	query_arg_int64(&q, published);
	rows = query_run(&q);
	*end = query_int64(&q, 0, 1);
	*count = query_isnull(&q, 0, 2) ? 0 : rows;
	events = MemoryContextAlloc(q.caller, rows * sizeof(WebhookEvent));
	for (int i = 0; i < *count; i++)
	{
		events[i].event_id = query_int64(&q, i, 2);
		events[i].kind = query_text_copy(&q, i, 3);
		events[i].body = query_text_copy(&q, i, 4);
	}
	query_end(&q);
	return events;
}

void
webhook_store_set_position(int64 webhook_id, int64 position)
{
	static SavedQuery update = {
		"UPDATE ains.webhook SET position = $2 WHERE webhook_id = $1", 2, {INT8OID, INT8OID}
	};
	QueryCall	q;

	query_begin(&q, &update);
	query_arg_int64(&q, webhook_id);
	query_arg_int64(&q, position);
	query_run(&q);
	query_end(&q);
}
