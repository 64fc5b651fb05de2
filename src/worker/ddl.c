/*
 * worker/ddl.c
 *		Keeps sweepers out of the way of commands on databases.
 *
 * DROP DATABASE, ALTER DATABASE RENAME and SET TABLESPACE, and CREATE DATABASE
 * for its template, refuse to run while somebody is connected. So the hook
 * holds the sweeper of that database off, ends it, and lets the launcher start
 * it again when the command's transaction ends, either way. Only who has the
 * right to run the command may do so: the attempt must not be a means to stop
 * somebody's sweeper.
 *
 * DROP EXTENSION, by whatever way, and ALTER EXTENSION UPDATE are seen through
 * the object access hook; they only wake the sweeper when they are committed,
 * which finds out by itself that it is not needed, or needed again.
 */
#include "worker/ddl.h"

#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_database.h"
#include "catalog/pg_extension.h"
#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "commands/extension.h"
#include "compat.h"
#include "storage/latch.h"
#include "storage/procarray.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/syscache.h"

#include "soft/effects.h"
#include "soft/workers.h"

/*
 * How long a command waits for the sweeper to end, in turns of this many
 * milliseconds: a step is over in a moment unless it waits for a lock, so that
 * force is needed seldom. Afterwards the server waits a few seconds too, and
 * then refuses the command as it would for any other connection.
 */
#define WAIT_TURN_MS	10
#define GENTLE_TURNS	50
#define WAIT_TURNS		1000

static ProcessUtility_hook_type previous_utility_hook;
static object_access_hook_type previous_access_hook;
static uint32 wait_event;

/* have_createdb_privilege(), which not every minor version lets us call. */
static bool
may_create_databases(void)
{
	HeapTuple	tuple;
	bool		allowed;

	if (superuser())
		return true;
	tuple = SearchSysCache1(AUTHOID, ObjectIdGetDatum(GetUserId()));
	allowed = HeapTupleIsValid(tuple) && ((Form_pg_authid) GETSTRUCT(tuple))->rolcreatedb;
	if (HeapTupleIsValid(tuple))
		ReleaseSysCache(tuple);
	return allowed;
}

/* The value of an option of CREATE or ALTER DATABASE; NULL if it has none. */
static DefElem *
find_option(List *options, const char *name)
{
	ListCell   *lc;

	foreach(lc, options)
	{
		DefElem    *option = lfirst_node(DefElem, lc);

		if (strcmp(option->defname, name) == 0)
			return option;
	}
	return NULL;
}

/*
 * The database that must have no connections while the statement runs;
 * InvalidOid if there is none, the role may not do it, or it will fail anyway.
 */
static Oid
database_to_clear(Node *statement, bool top_level)
{
	const char *name = NULL;
	bool		is_template = false;
	bool		own_transaction = true;
	Oid			database;

	switch (nodeTag(statement))
	{
		case T_DropdbStmt:
			name = ((DropdbStmt *) statement)->dbname;
			break;
		case T_RenameStmt:
			if (((RenameStmt *) statement)->renameType == OBJECT_DATABASE)
				name = ((RenameStmt *) statement)->subname;
			own_transaction = false;
			break;
		case T_AlterDatabaseStmt:
			if (find_option(((AlterDatabaseStmt *) statement)->options, "tablespace") != NULL)
				name = ((AlterDatabaseStmt *) statement)->dbname;
			break;
		case T_CreatedbStmt:
			{
				DefElem    *option = find_option(((CreatedbStmt *) statement)->options,
												 "template");

				/* TEMPLATE = DEFAULT has no argument */
				name = option != NULL && option->arg != NULL ? defGetString(option) : "template1";
				is_template = true;
			}
			break;
		default:
			break;
	}
	if (name == NULL || (own_transaction && IsInTransactionBlock(top_level)))
		return InvalidOid;

	database = get_database_oid(name, true);
	if (!OidIsValid(database))
		return InvalidOid;
	if (is_template)
	{
		HeapTuple	tuple = SearchSysCache1(DATABASEOID, ObjectIdGetDatum(database));
		bool		allowed;

		if (!HeapTupleIsValid(tuple))
			return InvalidOid;
		allowed = may_create_databases() &&
			(((Form_pg_database) GETSTRUCT(tuple))->datistemplate ||
			 compat_owns_database(database, GetUserId()));
		ReleaseSysCache(tuple);
		return allowed ? database : InvalidOid;
	}
	/* the session is connected to it itself: the server refuses */
	if (database == MyDatabaseId || !compat_owns_database(database, GetUserId()))
		return InvalidOid;
	return database;
}

/*
 * Holds the sweeper of a database off until the transaction ends, and waits
 * until it is gone, but not forever. Takes the launcher lock for moments.
 */
static void
clear_database(Oid database)
{
	int			pid;

	/* in this order: a hold that nobody releases would be for good */
	effect_release_database(database);
	workers_hold(database);
	pid = workers_stop(database, false);
	if (pid == 0)
		return;
	for (int turn = 0; turn < WAIT_TURNS; turn++)
	{
		/* it leaves its slot a moment before the server forgets it */
		if (!workers_running(database) && BackendPidGetProc(pid) == NULL)
			break;
		if (turn == GENTLE_TURNS)
			workers_stop(database, true);
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, WAIT_TURN_MS,
						 compat_wait_event("AinsClearDatabase", &wait_event));
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}

static void
process_utility(PlannedStmt *pstmt, const char *query_string, bool read_only_tree,
				ProcessUtilityContext context, ParamListInfo params,
				QueryEnvironment *query_env, DestReceiver *dest, QueryCompletion *qc)
{
	/* in a failed transaction only its end gets here: no catalog may be read */
	if (IsUnderPostmaster && !IsAbortedTransactionBlockState() && !RecoveryInProgress())
	{
		Oid			database = database_to_clear(pstmt->utilityStmt,
												 context == PROCESS_UTILITY_TOPLEVEL);

		if (OidIsValid(database))
			clear_database(database);
	}

	if (previous_utility_hook)
		previous_utility_hook(pstmt, query_string, read_only_tree, context, params,
							  query_env, dest, qc);
	else
		standard_ProcessUtility(pstmt, query_string, read_only_tree, context, params,
								query_env, dest, qc);
}

static void
object_access(ObjectAccessType access, Oid class_id, Oid object_id, int sub_id, void *arg)
{
	if (previous_access_hook)
		previous_access_hook(access, class_id, object_id, sub_id, arg);

	if ((access == OAT_DROP || access == OAT_POST_ALTER) &&
		class_id == ExtensionRelationId && IsUnderPostmaster)
	{
		char	   *name = get_extension_name(object_id);

		/* nothing was held off, so nothing is let go */
		if (name != NULL && strcmp(name, "ains") == 0)
			effect_release_database(MyDatabaseId);
	}
}

/* Installs the hooks; for _PG_init, while preloading. */
void
ddl_init(void)
{
	previous_utility_hook = ProcessUtility_hook;
	ProcessUtility_hook = process_utility;
	previous_access_hook = object_access_hook;
	object_access_hook = object_access;
}
