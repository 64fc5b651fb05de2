/*
 * core/dependency.h
 *		Tasks that wait for other tasks.
 */
#ifndef AINS_DEPENDENCY_H
#define AINS_DEPENDENCY_H

#include "ains.h"

#include "utils/tuplestore.h"

#include "core/call.h"
#include "core/concurrency_key.h"
#include "store/task_store.h"

/* What is done to a task that waits and is locked by us; `state` as dependency_each got it. */
typedef void (*OnDependent) (Call *call, const TaskRow *dependent, void *state);

extern int	dependency_await(Call *call, const int64 *ids, int count, bool again, bool any_end,
							 int64 *unmet);
extern void dependency_each(Call *call, int64 task_id, OnDependent on_dependent, void *state);
extern void dependency_unblock(Call *call, const TaskRow *task, Datum output,
							   KeyChanges *keys);
extern bool dependency_is_free(Call *call, const TaskRow *task);
extern void dependency_list(Call *call, int64 task_id, Tuplestorestate *store);
extern void dependency_list_waiting(Call *call, int64 task_id, Tuplestorestate *store);

#endif							/* AINS_DEPENDENCY_H */
