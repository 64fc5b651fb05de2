/*
 * bench_noop.c
 *		What a C function costs that takes the arguments of ains.heartbeat(),
 *		returns a row of the same type, and does nothing else: the dispatch, the
 *		row, the executor.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

PG_MODULE_MAGIC;
PG_FUNCTION_INFO_V1(bench_heartbeat);

Datum
bench_heartbeat(PG_FUNCTION_ARGS)
{
	TupleDesc	desc;
	Datum		values[8];
	bool		nulls[8] = {0};

	/* in FROM the caller knows it, as ours makes use of, too */
	desc = CreateTupleDescCopy(((ReturnSetInfo *) fcinfo->resultinfo)->expectedDesc);
	values[0] = BoolGetDatum(true);
	values[1] = Int32GetDatum(30);
	values[2] = CStringGetTextDatum("ACTIVE");
	values[3] = ObjectIdGetDatum(PG_GETARG_OID(7));
	values[4] = TimestampTzGetDatum(GetCurrentTimestamp());
	values[5] = Int32GetDatum(0);
	values[6] = PointerGetDatum(construct_empty_array(INT8OID));
	values[7] = PointerGetDatum(construct_empty_array(INT8OID));
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}
