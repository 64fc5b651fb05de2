/*
 * core/task.h
 *		Tasks as producers see them.
 */
#ifndef AINS_TASK_H
#define AINS_TASK_H

#include "ains.h"

#include "compat.h"
#include "core/call.h"
#include "policy.h"
#include "store/task_store.h"

typedef enum OnConflict
{
	CONFLICT_RETURN,
	CONFLICT_REFUSE,
	CONFLICT_REPLACE
} OnConflict;

extern int64 task_enqueue(Call *call, NewTask *task, OnConflict on_conflict);
extern int64 *task_enqueue_batch(Call *call, NewTask *common, Datum payloads,
								 const int32 *priorities, char **unique_keys, int count);
extern TaskStatus task_cancel(Call *call, int64 task_id, const char *reason);
extern bool task_cancel_free(Call *call, int64 task_id, const char *reason);
extern void task_retry(Call *call, int64 task_id);
extern int64 task_redrive(Call *call, const char *capability, int64 older_than, int32 max);
extern void task_set_priority(Call *call, int64 task_id, int32 priority);
extern void task_move(Call *call, const TaskRow *task, int32 lane_id);
extern void task_lock_live(Call *call, int64 task_id, const char *what, TaskRow *task);
extern void task_note_locked(Call *call, const TaskRow *task);
extern void task_note_changed(Call *call, const TaskRow *task);
extern void task_note_event(Call *call, const TaskRow *task, EventKind kind, TaskStatus status);
extern void task_require_visible(Call *call, int64 task_id, Oid enqueued_by,
								 const char *agent_id);
pg_noreturn extern void task_refuse_transition(int64 task_id, TaskStatus status,
											   const char *what, const char *hint);
pg_noreturn extern void task_refuse_unknown(int64 task_id);

#endif							/* AINS_TASK_H */
