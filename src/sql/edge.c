/*
 * sql/edge.c
 *		Arguments and results of the SQL functions.
 */
#include "sql/edge.h"

#include "access/detoast.h"
#include "access/htup_details.h"
#include "catalog/pg_enum.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/numeric.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "clock.h"
#include "compat.h"
#include "errors.h"
#include "guc.h"

/* A unique key stands in an index beside the capability, which bounds both. */
#define MAX_KEY_CHARS	1024
#define MAX_KEY_BYTES	2000

pg_noreturn static void
refuse(const char *what, const char *why)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid %s", what),
			 errdetail("%s", why),
			 errhint("See the function in docs/functions.md for what it takes.")));
}

static void
check_bytes(Size size, const char *what)
{
	if (size > (Size) ains_max_payload * 1024)
		ereport(ERROR,
				(errcode(AINS_LIMIT_EXCEEDED),
				 errmsg("%s is too large", what),
				 errdetail("It has %zu bytes; %d kB are allowed.", size, ains_max_payload),
				 errhint("Keep large data elsewhere and pass a reference, or increase the setting \"%s\".",
						 "ains.max_payload")));
}

/* Text, jsonb and arrays are measured before they are looked at. */
static void
check_size(FunctionCallInfo fcinfo, int arg, const char *what)
{
	check_bytes(toast_raw_datum_size(PG_GETARG_DATUM(arg)), what);
}

static void
require(FunctionCallInfo fcinfo, int arg, const char *what)
{
	if (PG_ARGISNULL(arg))
		refuse(what, "It must not be null.");
}

/* C0, DEL and, in UTF-8, C1. */
static bool
has_control_character(const char *s)
{
	bool		utf8 = GetDatabaseEncoding() == PG_UTF8;

	for (const unsigned char *c = (const unsigned char *) s; *c; c++)
		if (*c < 0x20 || *c == 0x7f || (utf8 && *c == 0xc2 && c[1] >= 0x80 && c[1] < 0xa0))
			return true;
	return false;
}

static char *
check_name(char *name, const char *what)
{
	int			chars = pg_mbstrlen(name);

	if (chars < 1 || chars > AINS_NAME_MAX_CHARS)
		refuse(what, psprintf("It has %d characters; 1 to %d are allowed.",
							  chars, AINS_NAME_MAX_CHARS));
	if (has_control_character(name))
		refuse(what, "It must not contain control characters.");
	return name;
}

static char *
check_key(char *key, const char *what)
{
	int			chars = pg_mbstrlen(key);

	if (chars < 1 || chars > MAX_KEY_CHARS || strlen(key) > MAX_KEY_BYTES)
		refuse(what, psprintf("It has %d characters in %zu bytes; 1 to %d in at most %d are allowed.",
							  chars, strlen(key), MAX_KEY_CHARS, MAX_KEY_BYTES));
	return key;
}

/* Required; 1 to 128 characters without control characters. */
char *
edge_name(FunctionCallInfo fcinfo, int arg, const char *what)
{
	require(fcinfo, arg, what);
	check_size(fcinfo, arg, what);
	return check_name(text_to_cstring(PG_GETARG_TEXT_PP(arg)), what);
}

/* Required, and no larger than ains.max_payload. */
char *
edge_text(FunctionCallInfo fcinfo, int arg, const char *what)
{
	require(fcinfo, arg, what);
	return edge_text_or_null(fcinfo, arg, what);
}

char *
edge_text_or_null(FunctionCallInfo fcinfo, int arg, const char *what)
{
	if (PG_ARGISNULL(arg))
		return NULL;
	check_size(fcinfo, arg, what);
	return text_to_cstring(PG_GETARG_TEXT_PP(arg));
}

/* 1 to 1024 characters: it goes into an index. */
char *
edge_key_or_null(FunctionCallInfo fcinfo, int arg, const char *what)
{
	if (PG_ARGISNULL(arg))
		return NULL;
	check_size(fcinfo, arg, what);
	return check_key(text_to_cstring(PG_GETARG_TEXT_PP(arg)), what);
}

/* The elements of a one-dimensional array argument that is not NULL. */
static void
elements(FunctionCallInfo fcinfo, int arg, const char *what, Oid type,
		 Datum **datums, bool **nulls, int *count)
{
	ArrayType  *array;

	check_size(fcinfo, arg, what);
	array = PG_GETARG_ARRAYTYPE_P(arg);
	if (ARR_NDIM(array) > 1)
		refuse(what, "It must have one dimension.");
	deconstruct_array(array, type, type == TEXTOID ? -1 : (type == INT8OID ? 8 : 4),
					  type == TEXTOID ? false : (type == INT8OID ? FLOAT8PASSBYVAL : true),
					  type == INT8OID ? TYPALIGN_DOUBLE : TYPALIGN_INT,
					  datums, nulls, count);
}

/* An array of names; NULL (and *count 0) for NULL. */
char	  **
edge_names(FunctionCallInfo fcinfo, int arg, const char *what, int *count)
{
	Datum	   *datums;
	bool	   *nulls;
	char	  **names;

	*count = 0;
	if (PG_ARGISNULL(arg))
		return NULL;
	elements(fcinfo, arg, what, TEXTOID, &datums, &nulls, count);
	names = palloc((*count + 1) * sizeof(char *));
	for (int i = 0; i < *count; i++)
	{
		if (nulls[i])
			refuse(what, "No element may be null.");
		names[i] = check_name(TextDatumGetCString(datums[i]), what);
	}
	return names;
}

/* An array of keys, some of which may be NULL; NULL (and *count 0) for NULL. */
char	  **
edge_keys(FunctionCallInfo fcinfo, int arg, const char *what, int *count)
{
	Datum	   *datums;
	bool	   *nulls;
	char	  **keys;

	*count = 0;
	if (PG_ARGISNULL(arg))
		return NULL;
	elements(fcinfo, arg, what, TEXTOID, &datums, &nulls, count);
	keys = palloc((*count + 1) * sizeof(char *));
	for (int i = 0; i < *count; i++)
		keys[i] = nulls[i] ? NULL : check_key(TextDatumGetCString(datums[i]), what);
	return keys;
}

/* Required: an id of a task or a lease token. */
int64
edge_id(FunctionCallInfo fcinfo, int arg, const char *what)
{
	require(fcinfo, arg, what);
	return PG_GETARG_INT64(arg);
}

/* A bigint[] without NULLs; NULL (and *count 0) for NULL. */
int64 *
edge_ids(FunctionCallInfo fcinfo, int arg, const char *what, int *count)
{
	Datum	   *datums;
	bool	   *nulls;
	int64	   *ids;

	*count = 0;
	if (PG_ARGISNULL(arg))
		return NULL;
	elements(fcinfo, arg, what, INT8OID, &datums, &nulls, count);
	ids = palloc((*count + 1) * sizeof(int64));
	for (int i = 0; i < *count; i++)
	{
		if (nulls[i])
			refuse(what, "No element may be null.");
		ids[i] = DatumGetInt64(datums[i]);
	}
	return ids;
}

static int32
check_int32(int32 value, const char *what, int32 min, int32 max)
{
	if (value < min || value > max)
		refuse(what, psprintf("It is %d; %d to %d are allowed.", value, min, max));
	return value;
}

/* An integer[] without NULLs, each in range; NULL (and *count 0) for NULL. */
int32 *
edge_int32s(FunctionCallInfo fcinfo, int arg, const char *what, int32 min, int32 max,
			int *count)
{
	Datum	   *datums;
	bool	   *nulls;
	int32	   *values;

	*count = 0;
	if (PG_ARGISNULL(arg))
		return NULL;
	elements(fcinfo, arg, what, INT4OID, &datums, &nulls, count);
	values = palloc((*count + 1) * sizeof(int32));
	for (int i = 0; i < *count; i++)
	{
		if (nulls[i])
			refuse(what, "No element may be null.");
		values[i] = check_int32(DatumGetInt32(datums[i]), what, min, max);
	}
	return values;
}

/* Required, in range. */
int32
edge_int32(FunctionCallInfo fcinfo, int arg, const char *what, int32 min, int32 max)
{
	require(fcinfo, arg, what);
	return check_int32(PG_GETARG_INT32(arg), what, min, max);
}

/* In range, or `otherwise` for NULL. */
int32
edge_int32_or(FunctionCallInfo fcinfo, int arg, const char *what, int32 min, int32 max,
			  int32 otherwise)
{
	return PG_ARGISNULL(arg) ? otherwise : edge_int32(fcinfo, arg, what, min, max);
}

/* Required: a numeric in range, so no NaN. */
Datum
edge_numeric(FunctionCallInfo fcinfo, int arg, const char *what, int64 min, int64 max)
{
	Datum		value;

	require(fcinfo, arg, what);
	value = PG_GETARG_DATUM(arg);
	/* NaN is greater than all others */
	if (DatumGetBool(DirectFunctionCall2(numeric_lt, value,
										 NumericGetDatum(int64_to_numeric(min)))) ||
		DatumGetBool(DirectFunctionCall2(numeric_gt, value,
										 NumericGetDatum(int64_to_numeric(max)))))
		refuse(what, psprintf("It must be between " INT64_FORMAT " and " INT64_FORMAT ".",
							  min, max));
	return value;
}

/*
 * A numeric from 0 to 1, as the next step of 0.05 from there on; 0 if that is
 * nothing, or for NULL.
 */
Datum
edge_trust_or_null(FunctionCallInfo fcinfo, int arg, const char *what)
{
	Datum		value;
	int			percent;

	if (PG_ARGISNULL(arg))
		return 0;
	value = DirectFunctionCall2(numeric_mul, edge_numeric(fcinfo, arg, what, 0, 1),
								NumericGetDatum(int64_to_numeric(20)));
	percent = 5 * DatumGetInt32(DirectFunctionCall1(numeric_int4,
													DirectFunctionCall1(numeric_ceil, value)));
	return percent == 0 ? 0
		: DirectFunctionCall3(numeric_in,
							  CStringGetDatum(psprintf("%d.%02d", percent / 100, percent % 100)),
							  ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1));
}

/* Microseconds of an interval of at least min, or `otherwise` for NULL. */
int64
edge_length_or(FunctionCallInfo fcinfo, int arg, const char *what, int64 min, int64 otherwise)
{
	int64		length;

	if (PG_ARGISNULL(arg))
		return otherwise;
	length = length_from_interval(PG_GETARG_INTERVAL_P(arg), what);
	if (length < min)
		refuse(what, psprintf("It must be at least " INT64_FORMAT " ms.", min / 1000));
	return length;
}

/* A finite time; 0 for NULL. */
TimestampTz
edge_time_or_null(FunctionCallInfo fcinfo, int arg, const char *what)
{
	TimestampTz time;

	if (PG_ARGISNULL(arg))
		return 0;
	time = PG_GETARG_TIMESTAMPTZ(arg);
	if (TIMESTAMP_NOT_FINITE(time))
		refuse(what, "It must be finite.");
	/* 0 stands for NULL inside: a microsecond off one moment of the year 2000 */
	return time == 0 ? 1 : time;
}

/* Required, and no larger than ains.max_payload. */
Datum
edge_jsonb(FunctionCallInfo fcinfo, int arg, const char *what)
{
	require(fcinfo, arg, what);
	return edge_jsonb_or_null(fcinfo, arg, what);
}

/* The same; 0 for NULL. */
Datum
edge_jsonb_or_null(FunctionCallInfo fcinfo, int arg, const char *what)
{
	if (PG_ARGISNULL(arg))
		return 0;
	check_size(fcinfo, arg, what);
	return PG_GETARG_DATUM(arg);
}

/*
 * The elements of a required jsonb array, 1 to 10,000 of them, each no larger
 * than ains.max_payload. Palloc'd.
 */
Datum *
edge_jsonb_elements(FunctionCallInfo fcinfo, int arg, const char *what, int *count)
{
	Jsonb	   *array;
	JsonbIterator *it;
	JsonbValue	value;
	Datum	   *elements;
	int			n = 0;

	require(fcinfo, arg, what);
	array = PG_GETARG_JSONB_P(arg);
	if (!JB_ROOT_IS_ARRAY(array) || JB_ROOT_IS_SCALAR(array))
		refuse(what, "It must be a JSON array.");
	*count = JB_ROOT_COUNT(array);
	if (*count < 1 || *count > AINS_MAX_BATCH)
		refuse(what, psprintf("It has %d elements; 1 to %d are allowed.",
							  *count, AINS_MAX_BATCH));
	elements = palloc(*count * sizeof(Datum));
	it = JsonbIteratorInit(&array->root);
	(void) JsonbIteratorNext(&it, &value, true);	/* the array itself */
	while (JsonbIteratorNext(&it, &value, true) == WJB_ELEM)
	{
		Jsonb	   *element = JsonbValueToJsonb(&value);

		check_bytes(VARSIZE(element), psprintf("element %d of %s", n + 1, what));
		elements[n++] = JsonbPGetDatum(element);
	}
	return elements;
}

/* The same as a jsonb[]. */
Datum
edge_jsonb_array(Datum *elements, int count)
{
	return PointerGetDatum(construct_array(elements, count, JSONBOID, -1, false, TYPALIGN_INT));
}

/*
 * The row type that a function with OUT parameters returns, ready for
 * heap_form_tuple. In FROM the caller has it already; to look it up again is two
 * thirds of a heartbeat.
 */
TupleDesc
edge_row_type(FunctionCallInfo fcinfo)
{
	ReturnSetInfo *from = (ReturnSetInfo *) fcinfo->resultinfo;
	TupleDesc	desc;

	if (from != NULL && IsA(from, ReturnSetInfo) && from->expectedDesc != NULL)
		desc = CreateTupleDescCopy(from->expectedDesc);
	else if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	return BlessTupleDesc(desc);
}

/* The value of an enum type that has this label. */
Datum
edge_enum(Oid type, const char *label)
{
	HeapTuple	tuple = SearchSysCache2(ENUMTYPOIDNAME, ObjectIdGetDatum(type),
										CStringGetDatum(label));
	Oid			value;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "type %u has no label \"%s\"", type, label);
	value = ((Form_pg_enum) GETSTRUCT(tuple))->oid;
	ReleaseSysCache(tuple);
	return ObjectIdGetDatum(value);
}

Datum
edge_int64_array(const int64 *values, int count)
{
	Datum	   *datums = palloc((count + 1) * sizeof(Datum));

	for (int i = 0; i < count; i++)
		datums[i] = Int64GetDatum(values[i]);
	return PointerGetDatum(construct_array(datums, count, INT8OID, sizeof(int64),
										   FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

/* A row with one bigint. */
void
edge_put_int64(Tuplestorestate *store, TupleDesc desc, int64 value)
{
	Datum		datum = Int64GetDatum(value);
	bool		isnull = false;

	tuplestore_putvalues(store, desc, &datum, &isnull);
}
