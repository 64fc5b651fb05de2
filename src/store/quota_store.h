/*
 * store/quota_store.h
 *		ains.quota: how many tasks a role may enqueue.
 */
#ifndef AINS_QUOTA_STORE_H
#define AINS_QUOTA_STORE_H

#include "ains.h"

extern bool quota_store_find(Oid role, int32 *max_tasks, int64 *period);
extern void quota_store_set(Oid role, int32 max_tasks, int64 period);
extern void quota_store_remove(Oid role);

#endif							/* AINS_QUOTA_STORE_H */
