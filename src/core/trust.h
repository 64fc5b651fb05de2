/*
 * core/trust.h
 *		How far an agent is trusted: raised by what it completes, lowered by
 *		what it does not.
 */
#ifndef AINS_TRUST_H
#define AINS_TRUST_H

#include "ains.h"

#include "core/call.h"
#include "utils/tuplestore.h"

extern void trust_write(Call *call, bool wait);
extern float4 trust_adjust(Call *call, const char *agent_id, Datum delta, const char *reason);
extern void trust_history(Call *call, const char *agent_id, Tuplestorestate *store,
						  TupleDesc desc);

#endif							/* AINS_TRUST_H */
