/*
 * store/concurrency_key_store.h
 *		ains.concurrency_key, and the tasks that have such a key.
 */
#ifndef AINS_CONCURRENCY_KEY_STORE_H
#define AINS_CONCURRENCY_KEY_STORE_H

#include "ains.h"

#include "utils/snapshot.h"

/* A concurrency_key, and the capability whose it is. */
typedef struct TaskKey
{
	char	   *capability;
	char	   *key;
} TaskKey;

/* A key that tasks wait for. */
typedef struct WaitedKey
{
	char	   *capability;
	char	   *key;
	bool		has_room;		/* more of its tasks may be PENDING or ACTIVE */
} WaitedKey;

extern void concurrency_key_store_lock(const char *capability, const char *key);
extern bool concurrency_key_store_lock_free(const char *capability, const char *key,
											 bool *is_there);
extern void concurrency_key_store_forget(const char *capability, const char *key);
extern int64 *concurrency_key_store_in_use(Snapshot snapshot, const char *capability,
										   const char *key, int32 most, int *count);
extern int64 *concurrency_key_store_waiting(Snapshot snapshot, const char *capability,
											const char *key, int32 most, int *count);
extern WaitedKey *concurrency_key_store_waited(const char *capability, const char *key,
											   int *count);
extern uint64 concurrency_key_store_limits_checksum(void);

#endif							/* AINS_CONCURRENCY_KEY_STORE_H */
