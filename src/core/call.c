/*
 * core/call.c
 *		Who calls, when, and whether ains can serve him.
 */
#include "core/call.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "miscadmin.h"
#include "utils/acl.h"

#include "clock.h"
#include "query.h"

/* See call.h. */
void
call_begin_read(Call *call)
{
	Installation installation;

	if (!shmem_ready())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("ains must be loaded via shared_preload_libraries"),
				 errdetail("Its shared memory is made when the server starts."),
				 errhint("Add ains to \"%s\" and restart the server.",
						 "shared_preload_libraries")));
	if (!query_installation(&installation))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("extension \"ains\" is not installed in this database"),
				 errdetail("There is no table ains.task."),
				 errhint("Run CREATE EXTENSION ains.")));
	if (!installation.current)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the ains library and the extension's script differ in version"),
				 errdetail("The library is version %s.", AINS_VERSION),
				 errhint("Run ALTER EXTENSION ains UPDATE.")));
	call->db = shmem_db(MyDatabaseId, installation.task_relid);
	call->now = clock_read();
	call->role = GetUserId();
	call->owner = installation.owner;
}

void
call_begin(Call *call)
{
	if (RecoveryInProgress())
		ereport(ERROR,
				(errcode(ERRCODE_READ_ONLY_SQL_TRANSACTION),
				 errmsg("ains cannot be used on a standby"),
				 errdetail("Tasks, leases and beats belong to the primary."),
				 errhint("Connect to the primary, or promote this server.")));
	call_begin_read(call);
	/* read the clock before it was noted: what this call ends must not seem to be older */
	if (call->now.wall < db_trust_since(call->db, call->now.wall))
		call->now = clock_read();
}

void
call_require_read_committed(const char *what)
{
	if (IsolationUsesXactSnapshot())
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("%s needs a READ COMMITTED transaction", what),
				 errdetail("The snapshot of this transaction cannot see newer rows."),
				 errhint("Use BEGIN ISOLATION LEVEL READ COMMITTED, or autocommit.")));
}

bool
call_is_member(const Call *call, Oid role)
{
	return has_privs_of_role(call->role, role);
}

static bool
is_member_of(const Call *call, const char *name)
{
	Oid			role = get_role_oid(name, true);

	return OidIsValid(role) && has_privs_of_role(call->role, role);
}

bool
call_is_admin(const Call *call)
{
	return is_member_of(call, "ains_admin") || has_privs_of_role(call->role, call->owner);
}

bool
call_is_monitor(const Call *call)
{
	return is_member_of(call, "ains_monitor") || call_is_admin(call);
}
