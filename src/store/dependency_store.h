/*
 * store/dependency_store.h
 *		ains.dependency: which BLOCKED task still waits for which. And
 *		depends_on, in a task and its history.
 */
#ifndef AINS_DEPENDENCY_STORE_H
#define AINS_DEPENDENCY_STORE_H

#include "ains.h"

#include "utils/tuplestore.h"

#include "store/concurrency_key_store.h"

extern void dependency_store_add(int64 task_id, const int64 *depends_on, int count,
								 const int64 *unmet, int unmet_count);
extern int64 *dependency_store_dependents(int64 task_id, int64 after, int *count);
extern int64 *dependency_store_unmet(int64 task_id, int most, int *count);
extern int64 *dependency_store_of_ended(int64 task_id, int *count);
extern void dependency_store_remove(int64 task_id);
extern void dependency_store_remove_dependents(int64 task_id);
extern void dependency_store_lock(int64 task_id);
extern bool dependency_store_lock_free(int64 task_id);
extern TaskKey *dependency_store_keys(int64 task_id, int *count);
extern void dependency_store_list(int64 task_id, Tuplestorestate *store);
extern void dependency_store_list_waiting(int64 task_id, Tuplestorestate *store);

#endif							/* AINS_DEPENDENCY_STORE_H */
