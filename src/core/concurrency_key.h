/*
 * core/concurrency_key.h
 *		Tasks of which only so many may run at a time.
 */
#ifndef AINS_CONCURRENCY_KEY_H
#define AINS_CONCURRENCY_KEY_H

#include "ains.h"

#include "nodes/pg_list.h"

#include "core/call.h"
#include "store/task_store.h"

/*
 * Keys in which tasks leave a place or stand in line anew, gathered so that they
 * can be locked in their order. The caller says where they are to be kept.
 */
typedef struct KeyChanges
{
	List	   *list;			/* TaskKey *, one for each task */
	MemoryContext context;		/* where they are kept */
} KeyChanges;

extern TaskStatus concurrency_key_enter(Call *call, const char *capability, const char *key);
extern bool concurrency_key_is_limited(Call *call, const char *capability, const char *key);
extern TaskStatus concurrency_key_enter_written(Call *call, int64 task_id, const char *capability,
												const char *key, TimestampTz run_at,
												TimestampTz wake_at);
extern void concurrency_key_leave(Call *call, const char *capability, const char *key);
extern bool concurrency_key_note(Call *call, KeyChanges *changes, const char *capability,
								 const char *key);
extern void concurrency_key_settle(Call *call, KeyChanges *changes);
extern bool concurrency_key_is_free(Call *call, const char *capability, const char *key);
extern bool concurrency_key_hand_on(Call *call, bool all);

#endif							/* AINS_CONCURRENCY_KEY_H */
