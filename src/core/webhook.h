/*
 * core/webhook.h
 *		Webhooks: events that become tasks, which tell a URL of them.
 */
#ifndef AINS_WEBHOOK_H
#define AINS_WEBHOOK_H

#include "ains.h"

#include "core/call.h"

/* The capability of these tasks. */
#define AINS_WEBHOOK_CAPABILITY		"ains.webhook"
#define AINS_MAX_URL		2048
#define AINS_MAX_SECRET		1024

extern int64 webhook_add(Call *call, const char *url, char **events, int event_count,
						 Datum event_array, const char *secret);
extern void webhook_remove(Call *call, int64 webhook_id);
extern bool webhook_deliver(Call *call);

#endif							/* AINS_WEBHOOK_H */
