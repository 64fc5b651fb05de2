/*
 * soft/workers.h
 *		What the launcher, the sweepers and the commands that need a sweeper
 *		out of their way know of each other.
 *
 * Everything here takes the launcher lock for a short loop over fixed arrays,
 * allocates nothing and raises nothing.
 */
#ifndef AINS_WORKERS_H
#define AINS_WORKERS_H

#include "ains.h"

/* Names one life of a slot; the launcher gives it to the sweeper it starts. */
typedef struct SweeperTicket
{
	int			slot;
	uint32		generation;		/* a slot taken again has another */
	Oid			database;
} SweeperTicket;

/* A sweeper that ended, for the launcher. */
typedef struct SweeperEnd
{
	Oid			database;
	bool		absent;			/* it found no extension, and that still holds */
	bool		expected;		/* somebody asked it to end */
} SweeperEnd;

typedef enum TakeResult
{
	TAKE_OK,
	TAKE_NOT_NOW,				/* it has a slot, or a command holds it off */
	TAKE_FULL
} TakeResult;

/* For shmem.c. */
extern Size workers_size(void);
extern void workers_shmem_init(void);

/* For effects.c: the end of a transaction. */
extern void workers_request(Oid database);
extern void workers_release(Oid database);

/* For commands on databases. */
extern void workers_hold(Oid database);
extern int	workers_stop(Oid database, bool by_force);
extern bool workers_running(Oid database);

/* For health(). */
extern bool workers_have_launcher(void);

/* For the launcher. */
#define WORKERS_MAX_REQUESTS	16

extern void workers_launcher_starts(void);
extern bool workers_take_requests(Oid *databases, int *count);
extern int	workers_slot_count(void);
extern bool workers_collect(int slot, SweeperEnd *end);
extern Oid	workers_database(int slot, bool *starting, bool *serving);
extern TakeResult workers_take(Oid database, SweeperTicket *ticket);
extern bool workers_give_back(const SweeperTicket *ticket);
extern void workers_forget_dead_holders(void);

/* For the sweeper. */
extern bool workers_claim(const SweeperTicket *ticket);
extern void workers_serving(void);
extern bool workers_told_to_end(void);
extern bool workers_take_news(void);
extern void workers_absent(void);
extern void workers_end(void);

#endif							/* AINS_WORKERS_H */
