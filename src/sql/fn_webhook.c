/*
 * sql/fn_webhook.c
 *		SQL functions for webhooks.
 */
#include "ains.h"

#include "core/webhook.h"
#include "sql/edge.h"

/* add_webhook(url, events, secret) -> bigint */
PG_FUNCTION_INFO_V1(ains_add_webhook);
Datum
ains_add_webhook(PG_FUNCTION_ARGS)
{
	Call		call;
	char	   *url = edge_text(fcinfo, 0, "url");
	int			count;
	char	  **events = edge_names(fcinfo, 1, "events", &count);
	char	   *secret = edge_text(fcinfo, 2, "secret");

	call_begin(&call);
	PG_RETURN_INT64(webhook_add(&call, url, events, count, PG_GETARG_DATUM(1), secret));
}

/* remove_webhook(webhook_id) */
PG_FUNCTION_INFO_V1(ains_remove_webhook);
Datum
ains_remove_webhook(PG_FUNCTION_ARGS)
{
	Call		call;
	int64		webhook_id = edge_id(fcinfo, 0, "webhook_id");

	call_begin(&call);
	webhook_remove(&call, webhook_id);
	PG_RETURN_VOID();
}
