/*
 * rows.c
 *		Rows of our own tables without the executor: the only file that calls
 *		the table access methods.
 *
 * Starting, running and ending a plan costs several times what its one row
 * does (docs/performance.md): the plan's nodes, the checks' expressions and the
 * predicates of the indexes are set up anew each time. Here they are kept, and
 * what is left is a descent of the primary key, the table's and the indexes'
 * entries, and their WAL. Done as the apply worker of logical replication does
 * it (executor/execReplication.c): constraints, partition bounds and predicates
 * are judged by the executor's own functions.
 *
 * Nothing here looks at privileges or runs a function that is not built in, so
 * neither role nor search_path matter.
 */
#include "rows.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/multixact.h"
#include "access/skey.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/index.h"
#include "catalog/partition.h"
#include "catalog/pg_am.h"
#include "compat.h"
#include "executor/executor.h"
#include "nodes/nodeFuncs.h"
#include "storage/procarray.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

/* The tables that were described, to be told of changes. */
#define MAX_TABLES	8
static RowTable *tables[MAX_TABLES];
static int	table_count;

static void
at_relcache_change(Datum arg, Oid relid)
{
	for (int i = 0; i < table_count; i++)
		if (relid == InvalidOid || relid == tables[i]->relid)
			tables[i]->stale = true;
}

static bool
is_made_by_user(Oid function, void *context)
{
	return function >= FirstNormalObjectId;
}

static bool
calls_user_function(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (check_functions_in_node(node, is_made_by_user, context))
		return true;
	return expression_tree_walker(node, calls_user_function, context);
}

/* Whether all that is to be done for a row is done here. */
static bool
is_plain(Relation rel)
{
	TupleConstr *constr = rel->rd_att->constr;

	if (rel->rd_rel->relkind != RELKIND_RELATION || rel->trigdesc != NULL ||
		rel->rd_rel->relhasrules || rel->rd_rel->relforcerowsecurity)
		return false;
	if (constr != NULL)
	{
		if (constr->has_generated_stored)
			return false;
		for (int i = 0; i < constr->num_check; i++)
			if (calls_user_function(stringToNode(constr->check[i].ccbin), NULL))
				return false;
	}
	return true;
}

static void
close_indexes(RowTable *table)
{
	for (int i = 0; i < table->result->ri_NumIndices; i++)
		index_close(table->index_rels[i], NoLock);
}

/*
 * Finds out what is to know about the table, which is locked; its indexes are
 * open afterwards. What changes meanwhile makes it stale again.
 */
static void
describe(RowTable *table, Relation rel)
{
	List	   *indexes = RelationGetIndexList(rel);
	MemoryContext old;
	ResultRelInfo *result;

	if (table->context == NULL)
	{
		Assert(table_count < MAX_TABLES);
		if (table_count == 0)
			CacheRegisterRelcacheCallback(at_relcache_change, (Datum) 0);
		table->context = AllocSetContextCreate(TopMemoryContext, "ains rows",
											   ALLOCSET_DEFAULT_SIZES);
		tables[table_count++] = table;
	}
	MemoryContextReset(table->context);
	table->described = false;
	table->relid = RelationGetRelid(rel);
	table->stale = false;
	table->parent = rel->rd_rel->relispartition ? get_partition_parent(table->relid, true)
		: InvalidOid;
	table->key_index = -1;
	table->plain = is_plain(rel) && list_length(indexes) <= ROWS_MAX_INDEXES;
	if (table->plain)
	{
		ListCell   *cell;
		int			i = 0;

		old = MemoryContextSwitchTo(table->context);
		table->estate = CreateExecutorState();
		table->result = result = makeNode(ResultRelInfo);
		InitResultRelInfo(result, rel, 0, NULL, 0);
		result->ri_NumIndices = list_length(indexes);
		foreach(cell, indexes)
		{
			Relation	index = index_open(lfirst_oid(cell), RowExclusiveLock);
			IndexInfo  *info = BuildIndexInfo(index);

			table->index_oids[i] = lfirst_oid(cell);
			table->index_rels[i] = index;
			table->index_infos[i] = info;
			if (index->rd_index->indisprimary)
				table->key_index = i;
			info->ii_PredicateState = ExecPrepareQual(info->ii_Predicate, table->estate);
			if (index->rd_rel->relam != BTREE_AM_OID || info->ii_Expressions != NIL ||
				info->ii_ExclusionOps != NULL || !index->rd_index->indimmediate ||
				calls_user_function((Node *) info->ii_Predicate, NULL))
				table->plain = false;
			i++;
		}
		MemoryContextSwitchTo(old);
		for (i = 0; table->columns[i] != NULL; i++)
		{
			Assert(i < ROWS_MAX_COLUMNS);
			table->attno[i] = get_attnum(table->relid, table->columns[i]);
			if (table->attno[i] <= 0)
				table->plain = false;
		}
		if (table->key_index < 0)
			table->plain = false;
		if (!table->plain)
			close_indexes(table);
	}
	table->described = true;
}

/*
 * Opens a table for writing, with all its indexes; false, and nothing is open,
 * if the executor has to do it or there is no such table. The locks (ROW
 * EXCLUSIVE) stay until the end of the transaction.
 */
bool
rows_open(RowTable *table, Oid relid)
{
	Relation	rel;

	if (IsolationUsesXactSnapshot() || XactReadOnly)
		return false;
	rel = try_table_open(relid, RowExclusiveLock);
	if (rel == NULL)
		return false;
	if (table->described && !table->stale && table->relid == relid)
	{
		/* the lock on the table keeps them, and none can be added */
		if (table->plain)
			for (int i = 0; i < table->result->ri_NumIndices; i++)
				table->index_rels[i] = index_open(table->index_oids[i], RowExclusiveLock);
	}
	else
		describe(table, rel);
	if (!table->plain)
	{
		table_close(rel, NoLock);
		return false;
	}
	table->result->ri_RelationDesc = rel;
	table->row = table_slot_create(rel, NULL);
	table->new_row = MakeSingleTupleTableSlot(RelationGetDescr(rel), &TTSOpsVirtual);
	return true;
}

/* Closes what rows_open opened; the next statement sees what was written. */
void
rows_close(RowTable *table)
{
	ExecDropSingleTupleTableSlot(table->new_row);
	ExecDropSingleTupleTableSlot(table->row);
	close_indexes(table);
	table_close(table->result->ri_RelationDesc, NoLock);
	CommandCounterIncrement();
}

/*
 * Looks for the row of a primary key whose first column is a bigint and the
 * only one that tells rows apart, by the latest snapshot; false: there is none.
 */
bool
rows_find(RowTable *table, int64 key)
{
	Relation	rel = table->result->ri_RelationDesc;
	Snapshot	snapshot;
	ScanKeyData scan_key;
	IndexScanDesc scan;
	bool		found;

	/* what was written so far is to be seen */
	CommandCounterIncrement();
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	ScanKeyInit(&scan_key, 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(key));
	scan = compat_index_beginscan(rel, table->index_rels[table->key_index], snapshot, 1);
	index_rescan(scan, &scan_key, 1, NULL, 0);
	found = index_getnext_slot(scan, ForwardScanDirection, table->row);
	index_endscan(scan);
	UnregisterSnapshot(snapshot);
	if (found)
		slot_getallattrs(table->row);
	return found;
}

/* Starts a row to be written from the one that was found. */
void
rows_change(RowTable *table)
{
	int			columns = table->row->tts_tupleDescriptor->natts;

	ExecClearTuple(table->new_row);
	memcpy(table->new_row->tts_values, table->row->tts_values, columns * sizeof(Datum));
	memcpy(table->new_row->tts_isnull, table->row->tts_isnull, columns * sizeof(bool));
}

/* Starts one of NULLs. */
void
rows_new(RowTable *table)
{
	ExecClearTuple(table->new_row);
	memset(table->new_row->tts_isnull, true,
		   table->new_row->tts_tupleDescriptor->natts * sizeof(bool));
}

/* The new row is complete. */
static void
finish_new_row(RowTable *table)
{
	Relation	rel = table->result->ri_RelationDesc;

	ExecStoreVirtualTuple(table->new_row);
	table->new_row->tts_tableOid = RelationGetRelid(rel);
	if (rel->rd_att->constr != NULL)
		ExecConstraints(table->result, table->new_row, table->estate);
}

/* Whether an update leaves the columns of an index as they are. */
static bool
same_columns(const RowTable *table, const IndexInfo *info)
{
	for (int i = 0; i < info->ii_NumIndexAttrs; i++)
	{
		int			at = info->ii_IndexAttrNumbers[i] - 1;

		/* rows_change copied what was not set */
		if (table->row->tts_isnull[at] != table->new_row->tts_isnull[at] ||
			table->row->tts_values[at] != table->new_row->tts_values[at])
			return false;
	}
	return true;
}

/*
 * The entries of the new row, as ExecInsertIndexTuples makes them. It cannot be
 * told which columns changed, and took all indexes for unchanged ones, where a
 * btree first looks for old versions of the row to delete: a sixth of a claim.
 */
static void
insert_index_entries(RowTable *table, bool update)
{
	TupleTableSlot *row = table->new_row;
	ExprContext *context = GetPerTupleExprContext(table->estate);

	context->ecxt_scantuple = row;
	for (int i = 0; i < table->result->ri_NumIndices; i++)
	{
		Relation	index = table->index_rels[i];
		IndexInfo  *info = table->index_infos[i];
		Datum		values[INDEX_MAX_KEYS];
		bool		nulls[INDEX_MAX_KEYS];

		if (!info->ii_ReadyForInserts || !ExecQual(info->ii_PredicateState, context))
			continue;
		FormIndexDatum(info, row, table->estate, values, nulls);
		index_insert(index, values, nulls, &row->tts_tid, table->result->ri_RelationDesc,
					 index->rd_index->indisunique ? UNIQUE_CHECK_YES : UNIQUE_CHECK_NO,
					 update && same_columns(table, info), info);
	}
	ResetPerTupleExprContext(table->estate);
}

static RowResult
result_of(TM_Result result)
{
	switch (result)
	{
		case TM_Ok:
			return ROW_DONE;
		case TM_BeingModified:
		case TM_WouldBlock:
			return ROW_BUSY;
		default:
			return ROW_CHANGED;
	}
}

/* Whether nobody but this transaction still holds a row that several had locked. */
static bool
others_are_gone(MultiXactId multi)
{
	MultiXactMember *members;
	int			count = GetMultiXactIdMembers(multi, &members, false, false);
	bool		gone = true;

	for (int i = 0; i < count && gone; i++)
		gone = TransactionIdIsCurrentTransactionId(members[i].xid) ||
			!TransactionIdIsInProgress(members[i].xid);
	if (count > 0)
		pfree(members);
	return gone;
}

/*
 * Whether the row that was found is locked by this transaction and nobody else;
 * without leave to wait, heap_update would be stopped by that, too. "Several"
 * are also we and a subtransaction of ours, say one that claimed it and was
 * rolled back.
 */
static bool
is_locked_by_us(RowTable *table)
{
	bool		is_copy;
	HeapTuple	tuple = ExecFetchSlotHeapTuple(table->row, false, &is_copy);
	uint16		mask = tuple->t_data->t_infomask;
	TransactionId holder = HeapTupleHeaderGetRawXmax(tuple->t_data);

	if (is_copy)
		heap_freetuple(tuple);
	if (mask & HEAP_XMAX_INVALID)
		return false;
	if (mask & HEAP_XMAX_IS_MULTI)
		return others_are_gone(holder);
	return HEAP_XMAX_IS_LOCKED_ONLY(mask) && TransactionIdIsCurrentTransactionId(holder);
}

/* Puts the new row in place of the found one, unless it would have to wait. */
RowResult
rows_update(RowTable *table)
{
	RowResult	result;
	TM_FailureData failure;
	bool		indexes;

	finish_new_row(table);
	result = result_of(compat_tuple_update(table->result->ri_RelationDesc,
										   &table->row->tts_tid, table->new_row,
										   GetCurrentCommandId(true), is_locked_by_us(table),
										   &failure, &indexes));
	if (result == ROW_DONE && indexes)
		insert_index_entries(table, true);
	return result;
}

/* Deletes the row that was found; waits for whoever has it. */
RowResult
rows_delete(RowTable *table)
{
	TM_FailureData failure;

	return result_of(table_tuple_delete(table->result->ri_RelationDesc, &table->row->tts_tid,
										GetCurrentCommandId(true), InvalidSnapshot,
										InvalidSnapshot, true, &failure, false));
}

/*
 * Adds the new row. Raises what a constraint, the partition's bounds or a unique
 * index have to say.
 */
void
rows_insert(RowTable *table)
{
	Relation	rel = table->result->ri_RelationDesc;

	finish_new_row(table);
	if (rel->rd_rel->relispartition)
		ExecPartitionCheck(table->result, table->new_row, table->estate, true);
	table_tuple_insert(rel, table->new_row, GetCurrentCommandId(true), 0, NULL);
	insert_index_entries(table, false);
}
