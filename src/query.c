/*
 * query.c
 *		Saved SPI plans: the only file that talks to SPI.
 *
 * Around every execution the current role becomes the owner of the tables and
 * search_path is pinned, because a saved plan is analysed again under the
 * search_path of the moment, and would otherwise run an operator that somebody
 * planted there. An error undoes both with the (sub)transaction.
 *
 * Plans are generic and prefer indexes whatever the statistics say: a queue's
 * tables are empty at one moment and huge at the next, and a plan made at the
 * first moment is still in use at the second. Reports, which read whole tables,
 * say so (SavedQuery.scans).
 */
#include "query.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "catalog/pg_class.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_type.h"
#include "compat.h"
#include "jit/jit.h"
#include "optimizer/cost.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "clock.h"

/* What a query borrows from the session while it runs. */
typedef struct Borrowed
{
	Oid			role;
	int			sec_context;
	int			guc_level;
	bool		seqscan;
	bool		bitmapscan;
	bool		jit;
} Borrowed;

/* What the catalogs say of the extension, as long as nothing of it changed. */
static Installation known;
static bool is_known = false;

static void
forget_relation(Datum arg, Oid relid)
{
	if (relid == known.task_relid || !OidIsValid(relid))
		is_known = false;
}

static void
forget_schema(Datum arg, int cache, uint32 hash)
{
	is_known = false;
}

/* pg_extension has no syscache: a scan. */
static void
find_extension(Installation *installation)
{
	Relation	rel = table_open(ExtensionRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&key, Anum_pg_extension_extname, BTEqualStrategyNumber, F_NAMEEQ,
				CStringGetDatum("ains"));
	scan = systable_beginscan(rel, ExtensionNameIndexId, true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		bool		isnull;
		Datum		version = heap_getattr(tuple, Anum_pg_extension_extversion,
										   RelationGetDescr(rel), &isnull);

		installation->extension = ((Form_pg_extension) GETSTRUCT(tuple))->oid;
		installation->current = !isnull &&
			strcmp(TextDatumGetCString(version), AINS_VERSION) == 0;
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
}

/*
 * Looks the extension up in the catalogs; false if it is not installed. Takes
 * no lock that outlasts the call. Every call asks, so the answer is kept until
 * the schema or the table changes: a fifth of the instructions of a heartbeat.
 */
bool
query_installation(Installation *installation)
{
	static bool registered = false;
	Oid			schema;
	HeapTuple	tuple;

	if (is_known)
	{
		*installation = known;
		return true;
	}
	if (!registered)
	{
		CacheRegisterSyscacheCallback(NAMESPACENAME, forget_schema, (Datum) 0);
		CacheRegisterRelcacheCallback(forget_relation, (Datum) 0);
		registered = true;
	}

	memset(installation, 0, sizeof(*installation));
	schema = get_namespace_oid("ains", true);
	installation->task_relid = OidIsValid(schema) ? get_relname_relid("task", schema) : InvalidOid;
	if (!OidIsValid(installation->task_relid))
		return false;
	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(installation->task_relid));
	if (!HeapTupleIsValid(tuple))
		return false;
	installation->owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);

	/* from here on, so that what changes meanwhile is not overlooked */
	known = *installation;
	is_known = true;
	find_extension(installation);
	known.extension = installation->extension;
	known.current = installation->current;
	/* ALTER EXTENSION UPDATE changes neither schema nor table */
	is_known = is_known && known.current;
	return OidIsValid(installation->extension);
}

static void
borrow_session(Borrowed *borrowed, bool scans, bool elsewhere)
{
	Installation installation;

	if (elsewhere)
		installation.owner = GetUserId();
	else if (!query_installation(&installation))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("extension \"ains\" is not installed in this database"),
				 errdetail("It was dropped in this moment."),
				 errhint("Run CREATE EXTENSION ains.")));

	GetUserIdAndSecContext(&borrowed->role, &borrowed->sec_context);
	SetUserIdAndSecContext(installation.owner,
						   borrowed->sec_context | SECURITY_LOCAL_USERID_CHANGE);
	borrowed->guc_level = compat_pin_search_path();
	borrowed->seqscan = enable_seqscan;
	borrowed->bitmapscan = enable_bitmapscan;
	borrowed->jit = jit_enabled;
	enable_seqscan = scans;
	enable_bitmapscan = scans;
	jit_enabled = false;		/* a statement of ours is never worth compiling */
}

/* The part that no transaction abort would undo. */
static void
restore_planner(const Borrowed *borrowed)
{
	enable_seqscan = borrowed->seqscan;
	enable_bitmapscan = borrowed->bitmapscan;
	jit_enabled = borrowed->jit;
}

static void
restore_session(const Borrowed *borrowed)
{
	compat_unpin_search_path(borrowed->guc_level);
	SetUserIdAndSecContext(borrowed->role, borrowed->sec_context);
}

/* Starts a statement; see query.h. */
void
query_begin(QueryCall *call, SavedQuery *query)
{
	call->query = query;
	call->snapshot = NULL;
	call->nargs = 0;
	call->caller = CurrentMemoryContext;
	call->rows = NULL;
	call->count = 0;
	SPI_connect();
}

/*
 * Runs it with the arguments given since query_begin and returns the number
 * of rows. Raises what the statement raises.
 */
uint64
query_run(QueryCall *call)
{
	SavedQuery *query = call->query;
	Borrowed	borrowed;
	int			result = 0;

	Assert(call->nargs == query->nargs);
	borrow_session(&borrowed, query->scans, query->elsewhere);
	PG_TRY();
	{
		if (query->plan == NULL)
		{
			SPIPlanPtr	plan = SPI_prepare_cursor(query->sql, query->nargs, query->argtypes,
												  CURSOR_OPT_GENERIC_PLAN);

			if (plan == NULL)
				elog(ERROR, "could not prepare: %s", SPI_result_code_string(SPI_result));
			SPI_keepplan(plan);
			query->plan = plan;
		}
		result = SPI_execute_snapshot(query->plan, call->values, call->nulls, call->snapshot,
									  InvalidSnapshot, call->snapshot != NULL, true, 0);
	}
	PG_FINALLY();
	{
		restore_planner(&borrowed);
	}
	PG_END_TRY();
	restore_session(&borrowed);

	if (result < 0)
		elog(ERROR, "could not execute: %s", SPI_result_code_string(result));
	call->rows = SPI_tuptable;
	call->count = SPI_processed;
	return call->count;
}

/* Ends the statement and frees its rows. */
void
query_end(QueryCall *call)
{
	SPI_finish();
	Assert(CurrentMemoryContext == call->caller);
}

static void
set_own(const char *name, const char *value)
{
	(void) set_config_option(name, value, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE,
							 true, 0, false);
}

/* Runs a statement that cannot be planned, such as CREATE TABLE, as the owner. */
void
query_ddl(const char *sql)
{
	Borrowed	borrowed;
	int			result = 0;

	SPI_connect();
	borrow_session(&borrowed, false, false);
	PG_TRY();
	{
		int			level = NewGUCNestLevel();

		/* what the caller prefers for his own tables is nothing to ours */
		set_own("default_tablespace", "");
		set_own("default_table_access_method", "heap");
		result = SPI_execute(sql, false, 0);
		AtEOXact_GUC(true, level);
	}
	PG_FINALLY();
	{
		restore_planner(&borrowed);
	}
	PG_END_TRY();
	restore_session(&borrowed);
	if (result < 0)
		elog(ERROR, "could not execute: %s", SPI_result_code_string(result));
	SPI_finish();
}

/*
 * Arguments, in order. Strings and intervals are copied.
 */
void
query_arg(QueryCall *call, Datum value)
{
	Assert(call->nargs < call->query->nargs);
	call->values[call->nargs] = value;
	call->nulls[call->nargs++] = ' ';
}

void
query_arg_null(QueryCall *call)
{
	query_arg(call, (Datum) 0);
	call->nulls[call->nargs - 1] = 'n';
}

void
query_arg_optional(QueryCall *call, Datum value, bool isnull)
{
	if (isnull)
		query_arg_null(call);
	else
		query_arg(call, value);
}

/* NULL is SQL's NULL. */
void
query_arg_text(QueryCall *call, const char *value)
{
	if (value == NULL)
		query_arg_null(call);
	else
		query_arg(call, CStringGetTextDatum(value));
}

void
query_arg_int64(QueryCall *call, int64 value)
{
	query_arg(call, Int64GetDatum(value));
}

void
query_arg_int32(QueryCall *call, int32 value)
{
	query_arg(call, Int32GetDatum(value));
}

void
query_arg_bool(QueryCall *call, bool value)
{
	query_arg(call, BoolGetDatum(value));
}

void
query_arg_oid(QueryCall *call, Oid value)
{
	query_arg(call, ObjectIdGetDatum(value));
}

/* 0 is SQL's NULL: no time of ains is 2000-01-01. */
void
query_arg_time(QueryCall *call, TimestampTz value)
{
	if (value == 0)
		query_arg_null(call);
	else
		query_arg(call, TimestampTzGetDatum(value));
}

/* Microseconds as an interval; negative is SQL's NULL. */
void
query_arg_length(QueryCall *call, int64 us)
{
	if (us < 0)
		query_arg_null(call);
	else
		query_arg(call, IntervalPGetDatum(length_to_interval(us)));
}

/* As a bigint[]. */
void
query_arg_int64s(QueryCall *call, const int64 *values, int count)
{
	Datum	   *datums = palloc(Max(count, 1) * sizeof(Datum));

	for (int i = 0; i < count; i++)
		datums[i] = Int64GetDatum(values[i]);
	query_arg(call, PointerGetDatum(construct_array(datums, count, INT8OID, sizeof(int64),
													FLOAT8PASSBYVAL, TYPALIGN_DOUBLE)));
}

/*
 * Columns of the result, counted from 1. Numbers, times and lengths that are
 * NULL read as 0, 0 and -1.
 */
Datum
query_datum(QueryCall *call, uint64 row, int col)
{
	bool		isnull;

	return SPI_getbinval(call->rows->vals[row], call->rows->tupdesc, col, &isnull);
}

bool
query_isnull(QueryCall *call, uint64 row, int col)
{
	bool		isnull;

	(void) SPI_getbinval(call->rows->vals[row], call->rows->tupdesc, col, &isnull);
	return isnull;
}

int64
query_int64(QueryCall *call, uint64 row, int col)
{
	return query_isnull(call, row, col) ? 0 : DatumGetInt64(query_datum(call, row, col));
}

int32
query_int32(QueryCall *call, uint64 row, int col)
{
	return DatumGetInt32(query_datum(call, row, col));
}

int16
query_int16(QueryCall *call, uint64 row, int col)
{
	return DatumGetInt16(query_datum(call, row, col));
}

bool
query_bool(QueryCall *call, uint64 row, int col)
{
	return DatumGetBool(query_datum(call, row, col));
}

Oid
query_oid(QueryCall *call, uint64 row, int col)
{
	return DatumGetObjectId(query_datum(call, row, col));
}

TimestampTz
query_time(QueryCall *call, uint64 row, int col)
{
	return query_int64(call, row, col);
}

int64
query_length(QueryCall *call, uint64 row, int col)
{
	if (query_isnull(call, row, col))
		return -1;
	return length_from_interval(DatumGetIntervalP(query_datum(call, row, col)), "a stored interval");
}

/* The column's text form in the caller's context; NULL for SQL's NULL. */
char *
query_text_copy(QueryCall *call, uint64 row, int col)
{
	MemoryContext old;
	char	   *copy;
	Datum		value;

	if (query_isnull(call, row, col))
		return NULL;
	value = query_datum(call, row, col);
	old = MemoryContextSwitchTo(call->caller);
	copy = TextDatumGetCString(value);
	MemoryContextSwitchTo(old);
	return copy;
}

/* A column that is not NULL, copied into the caller's context. */
Datum
query_datum_copy(QueryCall *call, uint64 row, int col)
{
	Form_pg_attribute att = TupleDescAttr(call->rows->tupdesc, col - 1);
	MemoryContext old = MemoryContextSwitchTo(call->caller);
	Datum		copy = datumCopy(query_datum(call, row, col), att->attbyval, att->attlen);

	MemoryContextSwitchTo(old);
	return copy;
}

/* The first column, bigint, of all rows, in the caller's context. */
int64 *
query_int64s_copy(QueryCall *call, int *count)
{
	int64	   *values = MemoryContextAlloc(call->caller, Max(call->count, 1) * sizeof(int64));

	for (uint64 i = 0; i < call->count; i++)
		values[i] = query_int64(call, i, 1);
	*count = call->count;
	return values;
}

/* Appends all rows to a tuplestore, whose columns they have. */
void
query_put_rows(QueryCall *call, Tuplestorestate *store)
{
	for (uint64 i = 0; i < call->count; i++)
		tuplestore_puttuple(store, call->rows->vals[i]);
}

/*
 * For a procedure that waits. SPI's own commit needs a connection that says it
 * is not atomic; the role must be the caller's own when it commits, which it
 * is, since every query gives it back.
 */
void
query_procedure_begin(void)
{
	SPI_connect_ext(SPI_OPT_NONATOMIC);
}

void
query_procedure_commit(void)
{
	SPI_commit();
}

void
query_procedure_end(void)
{
	SPI_finish();
}
