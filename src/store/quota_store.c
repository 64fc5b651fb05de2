/*
 * store/quota_store.c
 *		Quotas of roles; as in task_store.c.
 */
#include "store/quota_store.h"

#include "catalog/pg_type.h"

#include "query.h"

/* The quota of a role; false: it has none. */
bool
quota_store_find(Oid role, int32 *max_tasks, int64 *period)
{
	static SavedQuery find = {
		"SELECT max_tasks, period FROM ains.quota WHERE role = $1",
	1, {OIDOID}};
	QueryCall	q;
	bool		found;

	query_begin(&q, &find);
	query_arg_oid(&q, role);
	found = query_run(&q) > 0;
	if (found)
	{
		*max_tasks = query_int32(&q, 0, 1);
		*period = query_length(&q, 0, 2);
	}
	query_end(&q);
	return found;
}

/* Gives a role a quota, or another one. */
void
quota_store_set(Oid role, int32 max_tasks, int64 period)
{
	static SavedQuery set = {
		"INSERT INTO ains.quota (role, max_tasks, period) VALUES ($1, $2, $3)"
		" ON CONFLICT (role) DO UPDATE SET max_tasks = excluded.max_tasks,"
		"  period = excluded.period",
	3, {OIDOID, INT4OID, INTERVALOID}};
	QueryCall	q;

	query_begin(&q, &set);
	query_arg_oid(&q, role);
	query_arg_int32(&q, max_tasks);
	query_arg_length(&q, period);
	query_run(&q);
	query_end(&q);
}

/* Takes it away; harmless if there is none. */
void
quota_store_remove(Oid role)
{
	static SavedQuery forget = {"DELETE FROM ains.quota WHERE role = $1", 1, {OIDOID}};
	QueryCall	q;

	query_begin(&q, &forget);
	query_arg_oid(&q, role);
	query_run(&q);
	query_end(&q);
}
