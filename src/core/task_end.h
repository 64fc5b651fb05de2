/*
 * core/task_end.h
 *		The end of a task.
 */
#ifndef AINS_TASK_END_H
#define AINS_TASK_END_H

#include "ains.h"

#include "core/call.h"
#include "core/capability.h"
#include "store/task_store.h"

extern bool task_is_kept(const TaskRow *task, TaskStatus status,
						 const CapabilityRow *capability);
extern bool task_end_is_free(Call *call, const TaskRow *task);
extern void task_end_waiting(Call *call, const TaskRow *task, TaskStatus status,
							 const char *reason);
extern void task_ended(Call *call, const TaskRow *task, TaskStatus status, Datum result);

#endif							/* AINS_TASK_END_H */
