/*
 * rows.h
 *		Rows of our own tables, found by primary key and written without the
 *		executor; for the few calls that every task goes through.
 *
 *		if (!rows_open(&tasks, relid))
 *			... the executor's way, by query.h ...
 *		if (rows_find(&tasks, task_id) && ...)
 *		{
 *			rows_change(&tasks);
 *			rows_set(&tasks, TASK_STATUS, value);
 *			result = rows_update(&tasks);
 *		}
 *		rows_close(&tasks);
 *
 * A table that somebody gave triggers, rules, generated columns or indexes and
 * checks with functions of his own is left to the executor, which knows what
 * they need; so is a transaction that is read-only or whose snapshot is older
 * than the call.
 */
#ifndef AINS_ROWS_H
#define AINS_ROWS_H

#include "ains.h"

#include "executor/tuptable.h"
#include "nodes/execnodes.h"
#include "utils/rel.h"

#define ROWS_MAX_COLUMNS	40
#define ROWS_MAX_INDEXES	16

/* A table, static in its store. */
typedef struct RowTable
{
	const char *const *columns; /* by the store's own numbers; NULL ends them */

	/* what was found out about it; good for relid until the catalogs change */
	Oid			relid;
	bool		described;
	bool		stale;
	bool		plain;			/* needs no executor */
	Oid			parent;			/* of a partition, or InvalidOid */
	AttrNumber	attno[ROWS_MAX_COLUMNS];	/* of columns */
	Oid			index_oids[ROWS_MAX_INDEXES];
	int			key_index;		/* which of them is the primary key */
	MemoryContext context;		/* of what follows */
	EState	   *estate;
	ResultRelInfo *result;
	IndexInfo  *index_infos[ROWS_MAX_INDEXES];

	/* between rows_open and rows_close */
	Relation	index_rels[ROWS_MAX_INDEXES];
	TupleTableSlot *row;		/* as found */
	TupleTableSlot *new_row;	/* to be written */
} RowTable;

typedef enum RowResult
{
	ROW_DONE,
	ROW_BUSY,					/* somebody has it locked or is changing it */
	ROW_CHANGED					/* it is not what was found any more */
} RowResult;

extern bool rows_open(RowTable *table, Oid relid);
extern bool rows_find(RowTable *table, int64 key);
extern void rows_change(RowTable *table);
extern void rows_new(RowTable *table);
extern RowResult rows_update(RowTable *table);
extern RowResult rows_delete(RowTable *table);
extern void rows_insert(RowTable *table);
extern void rows_close(RowTable *table);

/* Columns of the row that was found; by-reference values live until the next find. */
static inline Datum
rows_get(const RowTable *table, int column)
{
	return table->row->tts_values[table->attno[column] - 1];
}

static inline bool
rows_isnull(const RowTable *table, int column)
{
	return table->row->tts_isnull[table->attno[column] - 1];
}

static inline int64
rows_int64(const RowTable *table, int column)
{
	return rows_isnull(table, column) ? 0 : DatumGetInt64(rows_get(table, column));
}

/* Columns of the row to be written; what they point to must live until then. */
static inline void
rows_set(RowTable *table, int column, Datum value)
{
	table->new_row->tts_values[table->attno[column] - 1] = value;
	table->new_row->tts_isnull[table->attno[column] - 1] = false;
}

static inline void
rows_set_null(RowTable *table, int column)
{
	table->new_row->tts_isnull[table->attno[column] - 1] = true;
}

#endif							/* AINS_ROWS_H */
