/*
 * store/health_store.c
 *		Reads of the server's catalogs, for health().
 */
#include "store/health_store.h"

#include "query.h"

/* How far ids have come that end somewhere. */
void
health_store_ids(IdUse *use)
{
	static SavedQuery find = {
		"SELECT (SELECT last_value FROM ains.task_task_id_seq),"
		" (SELECT last_value FROM ains.token_ceiling),"
		" age(datfrozenxid)::bigint, mxid_age(datminmxid)::bigint"
		" FROM pg_database WHERE datname = current_database()",
	0, {0}, .scans = true};
	QueryCall	q;

	query_begin(&q, &find);
	query_run(&q);
	use->last_task_id = query_int64(&q, 0, 1);
	use->last_token = query_int64(&q, 0, 2);
	use->xid_age = query_int64(&q, 0, 3);
	use->mxid_age = query_int64(&q, 0, 4);
	query_end(&q);
}

/* The prepared transaction of this database that waits longest; NULL: none does. */
char *
health_store_prepared(TimestampTz *since)
{
	static SavedQuery find = {
		"SELECT gid, prepared FROM pg_prepared_xacts WHERE database = current_database()"
		" ORDER BY prepared LIMIT 1",
	0, {0}, .scans = true};
	QueryCall	q;
	char	   *gid = NULL;

	query_begin(&q, &find);
	if (query_run(&q) > 0)
	{
		gid = query_text_copy(&q, 0, 1);
		*since = query_time(&q, 0, 2);
	}
	query_end(&q);
	return gid;
}

/*
 * The replication slot that keeps the oldest rows from being removed, and for
 * how many transactions; NULL: none does.
 */
char *
health_store_slot(int64 *age)
{
	static SavedQuery find = {
		"SELECT slot_name::text, age(xmin)::bigint FROM pg_replication_slots"
		" WHERE xmin IS NOT NULL ORDER BY age(xmin) DESC LIMIT 1",
	0, {0}, .scans = true};
	QueryCall	q;
	char	   *name = NULL;

	query_begin(&q, &find);
	if (query_run(&q) > 0)
	{
		name = query_text_copy(&q, 0, 1);
		*age = query_int64(&q, 0, 2);
	}
	query_end(&q);
	return name;
}
