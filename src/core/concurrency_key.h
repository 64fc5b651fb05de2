/*
 * core/concurrency_key.h
 *		Tasks of which only so many may run at a time.
 */
#ifndef AINS_CONCURRENCY_KEY_H
#define AINS_CONCURRENCY_KEY_H

#include "ains.h"

#include "core/call.h"
#include "store/task_store.h"

extern TaskStatus concurrency_key_enter(Call *call, const char *capability, const char *key);
extern bool concurrency_key_is_limited(Call *call, const char *capability, const char *key);
extern TaskStatus concurrency_key_enter_written(Call *call, int64 task_id, const char *capability,
												const char *key, TimestampTz run_at,
												TimestampTz wake_at);
extern void concurrency_key_leave(Call *call, const char *capability, const char *key);
extern bool concurrency_key_is_free(Call *call, const TaskRow *task);
extern bool concurrency_key_hand_on(Call *call, bool all);

#endif							/* AINS_CONCURRENCY_KEY_H */
