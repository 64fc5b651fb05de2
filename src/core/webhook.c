/*
 * core/webhook.c
 *		Webhooks: events that become tasks, which tell a URL of them.
 *
 * Retries, backoff, dead letters and history are those of tasks. The sweeper
 * enqueues the tasks of a webhook and moves its position in one transaction, so
 * each event becomes one task, or none. The payload has all that is to be sent,
 * signed, so whoever delivers it needs no secret.
 */
#include "core/webhook.h"

#include "common/hmac.h"
#include "common/sha2.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"

#include "core/capability.h"
#include "core/task.h"
#include "guc.h"
#include "policy.h"
#include "store/event_store.h"
#include "store/webhook_store.h"

pg_noreturn static void
refuse(const char *what, const char *why, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid %s", what),
			 errdetail("%s", why),
			 errhint("%s", hint)));
}

static void
check_url(const char *url)
{
	size_t		host = pg_strncasecmp(url, "http://", 7) == 0 ? 7
		: pg_strncasecmp(url, "https://", 8) == 0 ? 8 : 0;

	if (host == 0 || strchr("/?#", url[host]) != NULL || strlen(url) > AINS_MAX_URL)
		refuse("url", psprintf("It must begin with http:// or https:// and a host, and have %d bytes at most.",
							   AINS_MAX_URL),
			   "Use a URL such as https://example.com/hook.");
	for (const char *c = url; *c != '\0'; c++)
		if ((unsigned char) *c <= ' ' || (unsigned char) *c >= 0x7f)
			refuse("url", "It must be of printable ASCII characters without spaces.",
				   "Write others as %XX.");
}

/* The kinds that these names say, as a set; raises 22023. */
static uint32
check_events(char **events, int count)
{
	uint32		kinds = 0;

	if (count == 0)
		refuse("events", "There must be one at least.", "Use kinds such as task.failed, or *.");
	for (int i = 0; i < count; i++)
	{
		uint32		named;
		const char *wrong;
		int			length;

		if (strpbrk(events[i], ", \t\r\n") != NULL ||
			!policy_event_kinds(events[i], &named, &wrong, &length))
			refuse("events", psprintf("There is no kind of event \"%s\".", events[i]),
				   "Use kinds such as task.failed, or task.*, agent.*, run.*, or * for all.");
		kinds |= named;
	}
	return kinds;
}

/*
 * From now on these events (text[] as event_array, too) become tasks. Makes
 * their capability if it is missing. Warns of kinds that are not recorded.
 * Returns the webhook's id. Raises 22023.
 */
int64
webhook_add(Call *call, const char *url, char **events, int event_count, Datum event_array,
			const char *secret)
{
	uint32		kinds = check_events(events, event_count);

	check_url(url);
	if (*secret == '\0' || strlen(secret) > AINS_MAX_SECRET)
		refuse("secret", psprintf("It must have 1 to %d bytes.", AINS_MAX_SECRET),
			   "Use a random text of 32 characters or more.");
	if ((kinds & ains_event_kinds) == 0)
		ereport(WARNING,
				(errmsg("none of these events is recorded"),
				 errhint("Add their kinds to the setting \"%s\".", "ains.events")));
	(void) capability_restore(call, AINS_WEBHOOK_CAPABILITY);
	return webhook_store_insert(url, event_array, secret, call->role, call->now.wall,
								event_store_last());
}

/* Raises 42704, 42501. */
void
webhook_remove(Call *call, int64 webhook_id)
{
	Oid			owner;

	if (!webhook_store_lock(webhook_id, &owner))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("unknown webhook"),
				 errdetail("There is no webhook " INT64_FORMAT ".", webhook_id),
				 errhint("The view ains.webhooks shows those you may remove.")));
	if (!call_is_member(call, owner) && !call_is_admin(call))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for webhook " INT64_FORMAT, webhook_id),
				 errdetail("It belongs to the role that made it."),
				 errhint("Use a member of that role or of ains_admin.")));
	webhook_store_remove(webhook_id);
}

/* "sha256=" and the HMAC of a text in UTF-8, as it will be sent. */
static char *
sign(const char *secret, const char *body)
{
	static const char prefix[] = "sha256=";
	char	   *key = pg_server_to_any(secret, strlen(secret), PG_UTF8);
	char	   *sent = pg_server_to_any(body, strlen(body), PG_UTF8);
	uint8		digest[PG_SHA256_DIGEST_LENGTH];
	char	   *signature = palloc0(sizeof(prefix) + 2 * sizeof(digest));
	pg_hmac_ctx *hmac = pg_hmac_create(PG_SHA256);

	if (hmac == NULL || pg_hmac_init(hmac, (uint8 *) key, strlen(key)) < 0 ||
		pg_hmac_update(hmac, (uint8 *) sent, strlen(sent)) < 0 ||
		pg_hmac_final(hmac, digest, sizeof(digest)) < 0)
	{
		pg_hmac_free(hmac);
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not sign an event"),
				 errdetail("HMAC-SHA256 failed."),
				 errhint("The server's cryptographic library may lack it, or memory is short.")));
	}
	pg_hmac_free(hmac);
	strcpy(signature, prefix);
	(void) hex_encode((char *) digest, sizeof(digest), signature + strlen(prefix));
	return signature;
}

static void
push_string(JsonbParseState **state, const char *key, const char *value)
{
	JsonbValue	string = {.type = jbvString};

	string.val.string.val = unconstify(char *, key);
	string.val.string.len = strlen(key);
	(void) pushJsonbValue(state, WJB_KEY, &string);
	string.val.string.val = unconstify(char *, value);
	string.val.string.len = strlen(value);
	(void) pushJsonbValue(state, WJB_VALUE, &string);
}

/* {"url": ..., "headers": {...}, "body": "..."}: what is to be sent. */
static Datum
payload_of(const Webhook *webhook, const WebhookEvent *event)
{
	JsonbParseState *state = NULL;
	JsonbValue	headers = {.type = jbvString};

	headers.val.string.val = "headers";
	headers.val.string.len = strlen("headers");
	(void) pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	push_string(&state, "url", webhook->url);
	push_string(&state, "body", event->body);
	(void) pushJsonbValue(&state, WJB_KEY, &headers);
	(void) pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	push_string(&state, "Content-Type", "application/json");
	push_string(&state, "X-AINS-Event", event->kind);
	push_string(&state, "X-AINS-Delivery",
				psprintf(INT64_FORMAT "-" INT64_FORMAT, webhook->webhook_id, event->event_id));
	push_string(&state, "X-AINS-Signature", sign(webhook->secret, event->body));
	(void) pushJsonbValue(&state, WJB_END_OBJECT, NULL);
	return JsonbPGetDatum(JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL)));
}

/*
 * A step of the sweeper: enqueues the tasks of a batch of published events, for
 * the first webhook that is behind and that nobody else works on; true if there
 * is more to do.
 */
bool
webhook_deliver(Call *call)
{
	EventProgress progress;
	Webhook		webhook;
	WebhookEvent *events;
	int64	   *behind;
	int64		end;
	int			count;
	int			next = 0;

	if (!event_store_progress(false, &progress))
		return false;
	behind = webhook_store_behind(progress.published, &count);
	while (next < count &&
		   !webhook_store_lock_behind(behind[next], progress.published, &webhook))
		next++;
	if (next == count)
		return false;

	/* as it was when the webhook was made, should it have been deleted by hand */
	(void) capability_restore(call, AINS_WEBHOOK_CAPABILITY);
	events = webhook_store_slice(&webhook, progress.published, &end, &count);
	for (int i = 0; i < count; i++)
	{
		Call		as_owner = *call;
		NewTask		task = {.capability = AINS_WEBHOOK_CAPABILITY,
			.payload = payload_of(&webhook, &events[i]), .priority = 5, .timeout = -1};

		/* no quota counts: what it refused would hold up all that comes behind */
		as_owner.role = webhook.owner;
		(void) task_enqueue(&as_owner, &task, CONFLICT_RETURN);
		CHECK_FOR_INTERRUPTS();
	}
	webhook_store_set_position(webhook.webhook_id, end);
	return true;
}
