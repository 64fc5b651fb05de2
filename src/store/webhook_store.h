/*
 * store/webhook_store.h
 *		ains.webhook, and the events that each is to be told.
 */
#ifndef AINS_WEBHOOK_STORE_H
#define AINS_WEBHOOK_STORE_H

#include "ains.h"

typedef struct Webhook
{
	int64		webhook_id;
	char	   *url;
	char	   *secret;
	Oid			owner;
	int64		position;
} Webhook;

/* An event that a webhook is to be told. */
typedef struct WebhookEvent
{
	int64		event_id;
	char	   *kind;
	char	   *body;			/* JSON text, the same for all webhooks */
} WebhookEvent;

extern int64 webhook_store_insert(const char *url, Datum events, const char *secret, Oid owner,
								  TimestampTz now, int64 position);
extern bool webhook_store_lock(int64 webhook_id, Oid *owner);
extern void webhook_store_remove(int64 webhook_id);
extern int64 *webhook_store_behind(int64 published, int *count);
extern bool webhook_store_lock_behind(int64 webhook_id, int64 published, Webhook *webhook);
extern WebhookEvent *webhook_store_slice(const Webhook *webhook, int64 published, int64 *end,
										 int *count);
extern void webhook_store_set_position(int64 webhook_id, int64 position);

#endif							/* AINS_WEBHOOK_STORE_H */
