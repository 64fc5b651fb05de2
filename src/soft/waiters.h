/*
 * soft/waiters.h
 *		Who sleeps until there is something to do: one place for each backend.
 *
 * A waiter registers, then looks for itself, then sleeps on its latch; whoever
 * commits something it waits for sets that latch. No polling, no NOTIFY.
 *
 * A wake-up for a lane stands for one task. Who gets one and does not go for
 * the task passes it on to the next.
 */
#ifndef AINS_WAITERS_H
#define AINS_WAITERS_H

#include "ains.h"

#include "soft/shmem.h"

/* A waiter for more lanes than this wakes for any. */
#define WAITER_MAX_LANES	32

/* Why a waiter was woken. */
#define WOKEN_GO	1			/* a task became claimable, and it is its turn */
#define WOKEN_LOOK	2			/* what it looked at has changed */

extern Size waiters_size(void);
extern void waiters_shmem_init(void);

extern void waiter_for_lanes(DbState *db, const char *agent_id, const int32 *lanes, int count);
extern void waiter_for_task(DbState *db, int64 task_id);
extern uint32 waiter_woken(void);
extern void waiter_goes(void);
extern void waiter_sleeps_on(void);
extern void waiter_end(void);

/* These cannot fail; effects.c calls them. */
extern void waiters_wake_lane(DbState *db, int32 lane_id, int64 count);
extern void waiters_wake_task(DbState *db, int64 task_id);
extern void waiters_wake_agent(DbState *db, const char *agent_id);
extern void waiters_wake_db(DbState *db);

extern bool waiters_know_agent(DbState *db, const char *agent_id);
extern int	waiters_count(DbState *db);
extern int32 *waiters_lanes(DbState *db, int *count);

#endif							/* AINS_WAITERS_H */
