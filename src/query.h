/*
 * query.h
 *		Saved SPI plans, run as the owner of the tables under a pinned
 *		search_path. The only door to SQL.
 *
 * A store function brackets each statement:
 *
 *		QueryCall	q;
 *
 *		query_begin(&q, &find_agent);
 *		query_arg_text(&q, agent_id);
 *		if (query_run(&q) > 0)
 *			result = read_row(&q, 0);
 *		query_end(&q);
 *
 * Everything palloc'd between begin and end goes with query_end, except what
 * the *_copy readers return: that lives in the context current at begin.
 */
#ifndef AINS_QUERY_H
#define AINS_QUERY_H

#include "ains.h"

#include "executor/spi.h"
#include "utils/tuplestore.h"

#define QUERY_MAX_ARGS	24

/* One statement of a store, static; the plan is made at its first run. */
typedef struct SavedQuery
{
	const char *sql;
	int			nargs;
	Oid			argtypes[QUERY_MAX_ARGS];
	bool		scans;			/* reads whole tables: let the planner choose */
	bool		elsewhere;		/* not of ains: run as we are, where it may be missing */
	SPIPlanPtr	plan;
} SavedQuery;

typedef struct QueryCall
{
	SavedQuery *query;
	Snapshot	snapshot;		/* to read with; NULL: the latest */
	int			nargs;
	Datum		values[QUERY_MAX_ARGS];
	char		nulls[QUERY_MAX_ARGS];
	MemoryContext caller;		/* context current at query_begin */
	SPITupleTable *rows;		/* after query_run */
	uint64		count;
} QueryCall;

/* The extension as installed in this database. */
typedef struct Installation
{
	Oid			extension;
	Oid			task_relid;		/* of ains.task */
	Oid			owner;			/* of the tables; queries run as this role */
	bool		current;		/* script and library have the same version */
} Installation;

extern bool query_installation(Installation *installation);

extern void query_begin(QueryCall *call, SavedQuery *query);
extern uint64 query_run(QueryCall *call);
extern void query_ddl(const char *sql);
extern void query_end(QueryCall *call);

extern void query_arg(QueryCall *call, Datum value);
extern void query_arg_null(QueryCall *call);
extern void query_arg_text(QueryCall *call, const char *value);
extern void query_arg_int64(QueryCall *call, int64 value);
extern void query_arg_int64s(QueryCall *call, const int64 *values, int count);
extern void query_arg_int32(QueryCall *call, int32 value);
extern void query_arg_bool(QueryCall *call, bool value);
extern void query_arg_oid(QueryCall *call, Oid value);
extern void query_arg_time(QueryCall *call, TimestampTz value);
extern void query_arg_length(QueryCall *call, int64 us);
extern void query_arg_optional(QueryCall *call, Datum value, bool isnull);

extern bool query_isnull(QueryCall *call, uint64 row, int col);
extern Datum query_datum(QueryCall *call, uint64 row, int col);
extern int64 query_int64(QueryCall *call, uint64 row, int col);
extern int32 query_int32(QueryCall *call, uint64 row, int col);
extern int16 query_int16(QueryCall *call, uint64 row, int col);
extern bool query_bool(QueryCall *call, uint64 row, int col);
extern Oid	query_oid(QueryCall *call, uint64 row, int col);
extern TimestampTz query_time(QueryCall *call, uint64 row, int col);
extern int64 query_length(QueryCall *call, uint64 row, int col);
extern char *query_text_copy(QueryCall *call, uint64 row, int col);
extern int64 *query_int64s_copy(QueryCall *call, int *count);
extern Datum query_datum_copy(QueryCall *call, uint64 row, int col);
extern void query_put_rows(QueryCall *call, Tuplestorestate *store);

/* Between these, in a procedure, the session holds no snapshot and no xid. */
extern void query_procedure_begin(void);
extern void query_procedure_commit(void);
extern void query_procedure_end(void);

#endif							/* AINS_QUERY_H */
