/*
 * store/health_store.h
 *		What the server's catalogs say that matters to health().
 */
#ifndef AINS_HEALTH_STORE_H
#define AINS_HEALTH_STORE_H

#include "ains.h"

/* How much of ids that end is used. */
typedef struct IdUse
{
	int64		last_task_id;
	int64		last_token;		/* the ceiling, which may not be reached */
	int64		xid_age;		/* of the oldest row of this database */
	int64		mxid_age;
} IdUse;

extern void health_store_ids(IdUse *use);
extern char *health_store_prepared(TimestampTz *since);
extern char *health_store_slot(int64 *age);

#endif							/* AINS_HEALTH_STORE_H */
