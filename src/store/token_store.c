/*
 * store/token_store.c
 *		The stored ceiling of lease tokens: a sequence, because setval is WAL
 *		logged at once and not undone by a rollback.
 */
#include "store/token_store.h"

#include "access/xlog.h"
#include "catalog/pg_type.h"

#include "query.h"

/* No token above this was ever issued. */
int64
token_store_ceiling(void)
{
	static SavedQuery read = {"SELECT last_value FROM ains.token_ceiling", 0, {0}};
	QueryCall	q;
	int64		ceiling;

	query_begin(&q, &read);
	query_run(&q);
	ceiling = query_int64(&q, 0, 1);
	query_end(&q);
	return ceiling;
}

/* Raises it for good: durable when this returns, whatever synchronous_commit says. */
void
token_store_set_ceiling(int64 ceiling)
{
	static SavedQuery write = {"SELECT setval('ains.token_ceiling', $1)", 1, {INT8OID}};
	QueryCall	q;

	query_begin(&q, &write);
	query_arg_int64(&q, ceiling);
	query_run(&q);
	query_end(&q);
	XLogFlush(XactLastRecEnd);
}
