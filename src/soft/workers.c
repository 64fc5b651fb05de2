/*
 * soft/workers.c
 *		Slots of sweepers, who holds one off, and what the launcher is asked.
 *
 * One launcher fills the slots; the sweeper that claims one owns it until its
 * process ends. Locking: everything here is guarded by the launcher lock, and
 * no other lock is taken under it but the process array's, shared. A latch is
 * set, and a process signalled, under that lock too: whoever is named in a slot
 * takes its name out under it before it ends, so the name is never a stranger's.
 *
 * A hold is a fact of its own and not a state of a slot, because several
 * commands may hold one database off at once (CREATE DATABASE twice from the
 * same template), and because it must stop a sweeper from being started that
 * does not run yet.
 */
#include "soft/workers.h"

#include <signal.h>

#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "storage/procarray.h"
#include "storage/shmem.h"

#include "guc.h"
#include "soft/shmem.h"

/* Databases whose sweepers are looking whether there is an extension at all. */
#define PROBE_SLOTS		4

typedef enum SlotState
{
	SLOT_FREE,					/* next: STARTING */
	SLOT_STARTING,				/* registered with the postmaster; next: PROBING
								 * when its process is there, FREE if none came */
	SLOT_PROBING,				/* looks for the extension; next: SERVING, ENDED */
	SLOT_SERVING,				/* sweeps; next: ENDED */
	SLOT_ENDED					/* its process is gone, which the launcher has
								 * not heard yet; next: FREE */
} SlotState;

typedef struct Slot
{
	SlotState	state;
	uint32		generation;		/* how often it was taken */
	Oid			database;
	pid_t		pid;			/* these two: PROBING and SERVING only */
	Latch	   *latch;
	bool		told_to_end;
	bool		absent;			/* it found no extension */
	bool		look_again;		/* something was created since it was started */
	bool		news;			/* the catalogs changed; the sweeper takes it back */
} Slot;

/* A running command needs a database without connections. */
typedef struct Hold
{
	Oid			database;		/* InvalidOid: free */
	pid_t		holder;
} Hold;

typedef struct Workers
{
	Latch	   *launcher;		/* NULL: none runs */
	/* databases in which there is something new; all, if too many */
	bool		look_at_all;
	int			request_count;
	Oid			requests[WORKERS_MAX_REQUESTS];
	int			slot_count;
	int			hold_count;
	Slot		slots[FLEXIBLE_ARRAY_MEMBER];
} Workers;

static Workers *workers;
static Hold *holds;				/* behind the slots */

/* In a sweeper: the slot it owns. */
static Slot *my_slot;

static int
slot_count(void)
{
	return ains_max_databases + PROBE_SLOTS;
}

static Size
slots_size(void)
{
	return MAXALIGN(add_size(offsetof(Workers, slots), mul_size(slot_count(), sizeof(Slot))));
}

/* How much shared memory this file needs. */
Size
workers_size(void)
{
	/* a backend runs one such command at a time, renames in a block aside */
	return add_size(slots_size(), mul_size(MaxBackends, sizeof(Hold)));
}

/* Finds or makes it; called while shared memory is set up. */
void
workers_shmem_init(void)
{
	bool		found;

	workers = ShmemInitStruct("ains workers", workers_size(), &found);
	holds = (Hold *) ((char *) workers + slots_size());
	if (!found)
	{
		memset(workers, 0, workers_size());
		workers->slot_count = slot_count();
		workers->hold_count = MaxBackends;
	}
}

static void
lock(void)
{
	LWLockAcquire(shmem_lock(LOCK_LAUNCHER), LW_EXCLUSIVE);
}

static void
unlock(void)
{
	LWLockRelease(shmem_lock(LOCK_LAUNCHER));
}

static void
wake_launcher(void)
{
	if (workers->launcher != NULL)
		SetLatch(workers->launcher);
}

static bool
has_process(const Slot *slot)
{
	return slot->state == SLOT_PROBING || slot->state == SLOT_SERVING;
}

/* The slot of a database, in whatever state; NULL if it has none. */
static Slot *
find_slot(Oid database)
{
	for (int i = 0; i < workers->slot_count; i++)
		if (workers->slots[i].state != SLOT_FREE && workers->slots[i].database == database)
			return &workers->slots[i];
	return NULL;
}

/* Makes a sweeper look at the catalogs now. */
static void
wake_sweeper(Slot *slot)
{
	slot->news = true;
	if (has_process(slot))
		SetLatch(slot->latch);
}

static bool
is_held(Oid database)
{
	for (int i = 0; i < workers->hold_count; i++)
		if (holds[i].database == database)
			return true;
	return false;
}

/*
 * The extension was created in a database: the launcher shall look there at
 * once, whatever it remembers. A sweeper that runs there looks again too.
 */
void
workers_request(Oid database)
{
	Slot	   *slot;

	lock();
	if (workers->request_count < WORKERS_MAX_REQUESTS)
		workers->requests[workers->request_count++] = database;
	else
		workers->look_at_all = true;

	slot = find_slot(database);
	if (slot != NULL)
	{
		/* it may have found nothing the moment before our commit */
		slot->look_again = true;
		wake_sweeper(slot);
	}
	wake_launcher();
	unlock();
}

/*
 * The command that held a database off ended. Without such a hold it only asks
 * launcher and sweeper to look at the catalogs again.
 */
void
workers_release(Oid database)
{
	Slot	   *slot;

	lock();
	for (int i = 0; i < workers->hold_count; i++)
		if (holds[i].database == database && holds[i].holder == MyProcPid)
		{
			holds[i].database = InvalidOid;
			break;
		}
	slot = find_slot(database);
	if (slot != NULL)
		wake_sweeper(slot);
	wake_launcher();
	unlock();
}

/*
 * Keeps sweepers out of a database until this backend calls workers_release.
 * When there is no room for another hold there is none: the command then may
 * find that other users access the database, as without ains.
 */
void
workers_hold(Oid database)
{
	lock();
	for (int i = 0; i < workers->hold_count; i++)
		if (!OidIsValid(holds[i].database))
		{
			holds[i].database = database;
			holds[i].holder = MyProcPid;
			break;
		}
	unlock();
}

/*
 * Tells the sweeper of a database to end after the step that it runs, or by
 * force at once; returns its pid, 0 if none runs.
 */
int
workers_stop(Oid database, bool by_force)
{
	Slot	   *slot;
	pid_t		pid = 0;

	lock();
	slot = find_slot(database);
	if (slot != NULL && has_process(slot))
	{
		pid = slot->pid;
		slot->told_to_end = true;
		SetLatch(slot->latch);
		if (by_force)
			kill(pid, SIGTERM);
	}
	unlock();
	return pid;
}

/* Whether a sweeper's process is in this database, or about to enter it. */
bool
workers_running(Oid database)
{
	Slot	   *slot;
	bool		running;

	lock();
	slot = find_slot(database);
	running = slot != NULL && has_process(slot);
	unlock();
	return running;
}

/* Whether the launcher runs. */
bool
workers_have_launcher(void)
{
	bool		runs;

	lock();
	runs = workers->launcher != NULL;
	unlock();
	return runs;
}

static void
launcher_ends(int code, Datum arg)
{
	LWLockReleaseAll();			/* if it ends by an error under our lock */
	lock();
	if (workers->launcher == MyLatch)
		workers->launcher = NULL;
	unlock();
}

/*
 * The launcher is there. Sweepers that an earlier one registered and that did
 * not come yet are disowned: should they come, their generation is over.
 */
void
workers_launcher_starts(void)
{
	on_shmem_exit(launcher_ends, (Datum) 0);
	lock();
	workers->launcher = MyLatch;
	for (int i = 0; i < workers->slot_count; i++)
		if (workers->slots[i].state == SLOT_STARTING)
		{
			workers->slots[i].generation++;
			workers->slots[i].state = SLOT_FREE;
		}
	unlock();
}

/*
 * What was requested since the last call: up to WORKERS_MAX_REQUESTS databases
 * and their count, or true for all databases.
 */
bool
workers_take_requests(Oid *databases, int *count)
{
	bool		all;

	lock();
	all = workers->look_at_all;
	*count = workers->request_count;
	memcpy(databases, workers->requests, workers->request_count * sizeof(Oid));
	workers->look_at_all = false;
	workers->request_count = 0;
	unlock();
	return all;
}

int
workers_slot_count(void)
{
	return workers->slot_count;
}

/* Frees the slot if its sweeper has ended, and says how. */
bool
workers_collect(int slot, SweeperEnd *end)
{
	Slot	   *s = &workers->slots[slot];
	bool		ended;

	lock();
	ended = s->state == SLOT_ENDED;
	if (ended)
	{
		end->database = s->database;
		end->absent = s->absent && !s->look_again;
		end->expected = s->told_to_end || s->absent;
		s->state = SLOT_FREE;
	}
	unlock();
	return ended;
}

/* Whose slot it is, InvalidOid if nobody's, and how far its sweeper has come. */
Oid
workers_database(int slot, bool *starting, bool *serving)
{
	Slot	   *s = &workers->slots[slot];
	Oid			database;

	lock();
	database = s->state == SLOT_FREE ? InvalidOid : s->database;
	*starting = s->state == SLOT_STARTING;
	*serving = s->state == SLOT_SERVING;
	unlock();
	return database;
}

/* Takes a slot for the sweeper of a database that has none. */
TakeResult
workers_take(Oid database, SweeperTicket *ticket)
{
	TakeResult	result = TAKE_FULL;

	lock();
	if (is_held(database) || find_slot(database) != NULL)
		result = TAKE_NOT_NOW;
	for (int i = 0; i < workers->slot_count && result == TAKE_FULL; i++)
	{
		Slot	   *slot = &workers->slots[i];

		if (slot->state == SLOT_FREE)
		{
			slot->state = SLOT_STARTING;
			slot->generation++;
			slot->database = database;
			slot->pid = 0;
			slot->latch = NULL;
			slot->told_to_end = slot->absent = slot->look_again = slot->news = false;
			ticket->slot = i;
			ticket->generation = slot->generation;
			ticket->database = database;
			result = TAKE_OK;
		}
	}
	unlock();
	return result;
}

/* No process came for it: frees the slot. False: one came after all. */
bool
workers_give_back(const SweeperTicket *ticket)
{
	Slot	   *slot = &workers->slots[ticket->slot];
	bool		starting;

	lock();
	starting = slot->state == SLOT_STARTING && slot->generation == ticket->generation;
	if (starting)
		slot->state = SLOT_FREE;
	unlock();
	return starting;
}

/*
 * Holds end with their transactions, whatever ends those. Should one be left
 * over all the same, its database must not stay without a sweeper for good.
 */
void
workers_forget_dead_holders(void)
{
	lock();
	for (int i = 0; i < workers->hold_count; i++)
		if (OidIsValid(holds[i].database) && BackendPidGetProc(holds[i].holder) == NULL)
			holds[i].database = InvalidOid;
	unlock();
}

static void
sweeper_ends(int code, Datum arg)
{
	LWLockReleaseAll();			/* if it ends by an error under our lock */
	workers_end();
}

/*
 * The sweeper's first deed: makes the slot its own until it exits. False: the
 * slot is somebody else's by now, or a command holds the database off.
 */
bool
workers_claim(const SweeperTicket *ticket)
{
	Slot	   *slot;
	bool		claimed;

	if (ticket->slot < 0 || ticket->slot >= workers->slot_count)
		return false;
	slot = &workers->slots[ticket->slot];

	lock();
	claimed = slot->state == SLOT_STARTING && slot->generation == ticket->generation &&
		slot->database == ticket->database;
	if (claimed && is_held(ticket->database))
	{
		slot->told_to_end = true;
		slot->state = SLOT_ENDED;
		claimed = false;
		wake_launcher();
	}
	if (claimed)
	{
		slot->state = SLOT_PROBING;
		slot->pid = MyProcPid;
		slot->latch = MyLatch;
		my_slot = slot;
	}
	unlock();
	if (claimed)
		on_shmem_exit(sweeper_ends, (Datum) 0);
	return claimed;
}

/* The sweeper found the extension. */
void
workers_serving(void)
{
	lock();
	if (my_slot->state == SLOT_PROBING)
	{
		my_slot->state = SLOT_SERVING;
		wake_launcher();		/* it may start another probe */
	}
	unlock();
}

/* Somebody wants the sweeper out of the way. */
bool
workers_told_to_end(void)
{
	bool		told;

	lock();
	told = my_slot->told_to_end;
	unlock();
	return told;
}

/* Whether an extension came or went here since the last call. */
bool
workers_take_news(void)
{
	bool		news;

	lock();
	news = my_slot->news;
	my_slot->news = false;
	unlock();
	return news;
}

/* The sweeper found no extension, and is going to end. */
void
workers_absent(void)
{
	lock();
	my_slot->absent = true;
	unlock();
}

/* The sweeper's last deed. */
void
workers_end(void)
{
	if (my_slot == NULL)
		return;
	lock();
	my_slot->state = SLOT_ENDED;
	my_slot->pid = 0;
	my_slot->latch = NULL;
	my_slot = NULL;
	wake_launcher();
	unlock();
}
