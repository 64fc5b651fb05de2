/*
 * soft/slots.h
 *		The slots of the roster; for roster.c and held.c alone.
 *
 * A fixed array of slots, found through hash chains. The roster lock guards
 * which slot belongs to whom: shared to look, exclusive to add or remove. A
 * slot's own spinlock guards what is in it. Order: roster lock, then slot.
 */
#ifndef AINS_SLOTS_H
#define AINS_SLOTS_H

#include "ains.h"

#include "storage/lwlock.h"
#include "storage/spin.h"

#include "soft/roster.h"

#define NO_SLOT		(-1)

typedef struct AgentSlot
{
	int32		next;			/* in its chain or the free list; roster lock */
	int32		db_number;		/* NO_SLOT: free; roster lock */
	char		agent_id[AINS_NAME_SIZE];	/* roster lock */
	slock_t		mutex;			/* guards the rest */
	int			attached_pid;	/* backend it is tied to; 0: none */
	AgentFacts	facts;
	AgentBeats	beats;
	TrustDelta	trust;			/* what its row does not have yet ... */
	TrustDelta	trust_taken;	/* ... and before that, what is being written */
} AgentSlot;

typedef struct Roster
{
	int32		size;
	int32		free;			/* first free slot; roster lock, as the next two */
	int32		free_count;
	int32		hand;			/* where the search for an idle agent goes on */
	AgentSlot	slots[FLEXIBLE_ARRAY_MEMBER];
	/* followed by int32 chains[size] */
} Roster;

extern Roster *roster;

/* The slot of an agent, or NULL. Needs the roster lock. */
extern AgentSlot *roster_slot(DbState *db, const char *agent_id);

/* Runs `code` with `slot` set and locked, if the agent is in the roster. */
#define WITH_SLOT(db, agent_id, code) \
	do { \
		AgentSlot  *slot; \
		LWLockAcquire(shmem_lock(LOCK_ROSTER), LW_SHARED); \
		slot = roster_slot(db, agent_id); \
		if (slot != NULL) \
		{ \
			SpinLockAcquire(&slot->mutex); \
			code; \
			SpinLockRelease(&slot->mutex); \
		} \
		LWLockRelease(shmem_lock(LOCK_ROSTER)); \
	} while (0)

#endif							/* AINS_SLOTS_H */
