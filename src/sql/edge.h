/*
 * sql/edge.h
 *		Between SQL and the core: arguments checked, results built.
 *
 * An argument that is refused raises 22023 (NS008 if it is too large) and
 * names itself. "Required" means that NULL is refused.
 */
#ifndef AINS_EDGE_H
#define AINS_EDGE_H

#include "ains.h"

#include "fmgr.h"
#include "utils/jsonb.h"
#include "utils/tuplestore.h"

/* A name: an agent's id or a capability. */
extern char *edge_name(FunctionCallInfo fcinfo, int arg, const char *what);
extern char *edge_text(FunctionCallInfo fcinfo, int arg, const char *what);
extern char *edge_text_or_null(FunctionCallInfo fcinfo, int arg, const char *what);
extern char *edge_key_or_null(FunctionCallInfo fcinfo, int arg, const char *what);
extern char **edge_names(FunctionCallInfo fcinfo, int arg, const char *what, int *count);
extern char **edge_keys(FunctionCallInfo fcinfo, int arg, const char *what, int *count);
extern int64 edge_id(FunctionCallInfo fcinfo, int arg, const char *what);
extern int64 *edge_ids(FunctionCallInfo fcinfo, int arg, const char *what, int *count);
extern int32 *edge_int32s(FunctionCallInfo fcinfo, int arg, const char *what,
						  int32 min, int32 max, int *count);
extern int32 edge_int32(FunctionCallInfo fcinfo, int arg, const char *what,
						int32 min, int32 max);
extern int32 edge_int32_or(FunctionCallInfo fcinfo, int arg, const char *what,
						   int32 min, int32 max, int32 otherwise);
extern Datum edge_numeric(FunctionCallInfo fcinfo, int arg, const char *what,
						  int64 min, int64 max);
extern Datum edge_trust_or_null(FunctionCallInfo fcinfo, int arg, const char *what);
extern int64 edge_length_or(FunctionCallInfo fcinfo, int arg, const char *what,
							int64 min, int64 otherwise);
extern TimestampTz edge_time_or_null(FunctionCallInfo fcinfo, int arg, const char *what);
extern Datum edge_jsonb(FunctionCallInfo fcinfo, int arg, const char *what);
extern Datum edge_jsonb_or_null(FunctionCallInfo fcinfo, int arg, const char *what);
extern Datum *edge_jsonb_elements(FunctionCallInfo fcinfo, int arg, const char *what, int *count);
extern Datum edge_jsonb_array(Datum *elements, int count);

/* Refuses an argument that a later version serves: 0A000 unless NULL. */

extern TupleDesc edge_row_type(FunctionCallInfo fcinfo);
extern Datum edge_enum(Oid type, const char *label);
extern Datum edge_int64_array(const int64 *values, int count);
extern void edge_put_int64(Tuplestorestate *store, TupleDesc desc, int64 value);

/*
 * ains.enqueue, for those who make up its arguments from JSON: all have
 * their defaults at first, then each is given by its name; `what` names the argument they came in.
 */
#define ENQUEUE_ARGS		16
#define ENQUEUE_DEPENDS_ON	8
#define ENQUEUE_RUN_ID		9
#define ENQUEUE_STAGE		15

extern void edge_enqueue_begin(FunctionCallInfo enqueue);
extern void edge_enqueue_arg(FunctionCallInfo enqueue, const JsonbValue *key,
							 JsonbValue *value, const char *what);
/* takes_output: of the task it depends on. */
extern int64 edge_enqueue(FunctionCallInfo enqueue, bool takes_output);

#endif							/* AINS_EDGE_H */
