/*
 * soft/roster.c
 *		The roster of agents in shared memory.
 *
 * Slots, their facts, beats and connections; what the agents hold is in held.c.
 * Locks: slots.h.
 */
#include "soft/roster.h"

#include "common/hashfn.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/shmem.h"

#include "clock.h"
#include "guc.h"
#include "policy.h"
#include "soft/slots.h"

Roster	   *roster;

/* True once this backend has promised to say when it ends. */
static bool exit_registered = false;
/* How many agents this backend has attached, so that others skip the scan. */
static int	attached_count = 0;

Size
roster_size(void)
{
	return add_size(add_size(offsetof(Roster, slots),
							 mul_size(ains_max_agents, sizeof(AgentSlot))),
					mul_size(ains_max_agents, sizeof(int32)));
}

static inline int32 *
chains(void)
{
	return (int32 *) &roster->slots[roster->size];
}

void
roster_shmem_init(void)
{
	bool		found;

	roster = ShmemInitStruct("ains roster", roster_size(), &found);
	if (found)
		return;
	roster->size = ains_max_agents;
	roster->free = 0;
	roster->free_count = roster->size;
	roster->hand = 0;
	for (int32 i = 0; i < roster->size; i++)
	{
		AgentSlot  *slot = &roster->slots[i];

		memset(slot, 0, sizeof(AgentSlot));
		slot->next = i + 1 < roster->size ? i + 1 : NO_SLOT;
		slot->db_number = NO_SLOT;
		SpinLockInit(&slot->mutex);
		chains()[i] = NO_SLOT;
	}
}

static int32 *
chain_of(int db_number, const char *agent_id)
{
	uint32		hash = hash_combine(hash_bytes((const unsigned char *) agent_id,
											   strlen(agent_id)),
									murmurhash32(db_number));

	return &chains()[hash % roster->size];
}

/* Needs the roster lock. */
AgentSlot *
roster_slot(DbState *db, const char *agent_id)
{
	int			db_number = shmem_db_number(db);

	for (int32 i = *chain_of(db_number, agent_id); i != NO_SLOT; i = roster->slots[i].next)
	{
		AgentSlot  *slot = &roster->slots[i];

		if (slot->db_number == db_number && strcmp(slot->agent_id, agent_id) == 0)
			return slot;
	}
	return NULL;
}

/* Needs the roster lock, exclusively. */
static void
free_slot(AgentSlot *slot)
{
	int32		index = slot - roster->slots;
	int32	   *link = chain_of(slot->db_number, slot->agent_id);

	while (*link != index)
		link = &roster->slots[*link].next;
	*link = slot->next;
	slot->next = roster->free;
	slot->db_number = NO_SLOT;
	roster->free = index;
	roster->free_count++;
}

/* Needs the roster lock, exclusively; NULL when full. The slot is zeroed. */
static AgentSlot *
take_slot(DbState *db, const char *agent_id)
{
	int32		index = roster->free;
	AgentSlot  *slot;
	int32	   *chain;

	if (index == NO_SLOT)
		return NULL;
	slot = &roster->slots[index];
	roster->free = slot->next;
	roster->free_count--;
	slot->db_number = shmem_db_number(db);
	strlcpy(slot->agent_id, agent_id, AINS_NAME_SIZE);
	chain = chain_of(slot->db_number, agent_id);
	slot->next = *chain;
	*chain = index;
	slot->attached_pid = 0;
	memset(&slot->facts, 0, sizeof(slot->facts));
	memset(&slot->beats, 0, sizeof(slot->beats));
	memset(&slot->trust, 0, sizeof(slot->trust));
	memset(&slot->trust_taken, 0, sizeof(slot->trust_taken));
	return slot;
}

/* An agent nobody misses: not expected to beat and without leases. */
static bool
is_idle(const AgentSlot *slot)
{
	AgentStatus status = policy_agent_status(slot->facts.wanted, slot->facts.health,
											 slot->facts.dead);

	return (status == AGENT_INACTIVE || status == AGENT_DEAD) &&
		slot->beats.active_tasks <= 0 && slot->attached_pid == 0 &&
		slot->beats.orphans == slot->beats.orphans_handled &&
		policy_trust_is_nothing(&slot->trust) && policy_trust_is_nothing(&slot->trust_taken);
}

/*
 * Makes sure that so many slots are free, forgetting idle agents if need be;
 * false: it is full of agents that are needed. Goes on where the last search
 * ended, so that one after the other does not look at the same ones. Needs the
 * roster lock, exclusively.
 */
static bool
make_room(int wanted)
{
	for (int32 i = 0; roster->free_count < wanted && i < roster->size; i++)
	{
		AgentSlot  *slot = &roster->slots[roster->hand];

		roster->hand = (roster->hand + 1) % roster->size;
		if (slot->db_number != NO_SLOT && is_idle(slot))
			free_slot(slot);
	}
	return roster->free_count >= wanted;
}

static void
copy_out(AgentSlot *slot, AgentView *view)
{
	strlcpy(view->agent_id, slot->agent_id, AINS_NAME_SIZE);
	view->facts = slot->facts;
	view->beats = slot->beats;
	view->trust = policy_trust_after(&slot->trust,
									 policy_trust_after(&slot->trust_taken, slot->facts.trust));
	view->in_roster = true;
}

/* Copies what is known of an agent; false if it is not in the roster. */
bool
roster_find(DbState *db, const char *agent_id, AgentView *view)
{
	AgentSlot  *slot;

	LWLockAcquire(shmem_lock(LOCK_ROSTER), LW_SHARED);
	slot = roster_slot(db, agent_id);
	if (slot != NULL)
	{
		SpinLockAcquire(&slot->mutex);
		copy_out(slot, view);
		SpinLockRelease(&slot->mutex);
	}
	LWLockRelease(shmem_lock(LOCK_ROSTER));
	return slot != NULL;
}

/*
 * Notes a sign of life and copies what is known, after it; false if the agent
 * is not in the roster.
 */
bool
roster_beat(DbState *db, const char *agent_id, const AinsTime *now, AgentView *view)
{
	AgentSlot  *slot;

	LWLockAcquire(shmem_lock(LOCK_ROSTER), LW_SHARED);
	slot = roster_slot(db, agent_id);
	if (slot != NULL)
	{
		SpinLockAcquire(&slot->mutex);
		slot->beats.alive_mono = Max(slot->beats.alive_mono, now->mono);
		slot->beats.last_beat = Max(slot->beats.last_beat, now->wall);
		copy_out(slot, view);
		SpinLockRelease(&slot->mutex);
	}
	LWLockRelease(shmem_lock(LOCK_ROSTER));
	return slot != NULL;
}

/*
 * The same for a call of heartbeat(): also notes the call, and the activity
 * unless NULL. view->beats.last_heartbeat is that of the call before this one.
 */
bool
roster_heartbeat(DbState *db, const char *agent_id, const AinsTime *now,
				 const char *activity, AgentView *view)
{
	char		cut[AINS_ACTIVITY_SIZE];
	AgentSlot  *slot;

	if (activity != NULL)
	{
		int			len = pg_mbcliplen(activity, strlen(activity), AINS_ACTIVITY_SIZE - 1);

		memcpy(cut, activity, len);
		cut[len] = '\0';
	}

	LWLockAcquire(shmem_lock(LOCK_ROSTER), LW_SHARED);
	slot = roster_slot(db, agent_id);
	if (slot != NULL)
	{
		SpinLockAcquire(&slot->mutex);
		if (activity != NULL)
			strlcpy(slot->beats.activity, cut, AINS_ACTIVITY_SIZE);
		slot->beats.alive_mono = Max(slot->beats.alive_mono, now->mono);
		slot->beats.last_beat = Max(slot->beats.last_beat, now->wall);
		copy_out(slot, view);
		slot->beats.last_heartbeat = now->wall;
		SpinLockRelease(&slot->mutex);
	}
	LWLockRelease(shmem_lock(LOCK_ROSTER));
	return slot != NULL;
}

/* Whether so many more agents can be registered. */
bool
roster_make_room(int wanted)
{
	bool		room;

	LWLockAcquire(shmem_lock(LOCK_ROSTER), LW_EXCLUSIVE);
	room = make_room(wanted);
	LWLockRelease(shmem_lock(LOCK_ROSTER));
	return room;
}

/* For how many more agents of all databases there is room; idle ones give way. */
int32
roster_room(void)
{
	int32		room = 0;

	LWLockAcquire(shmem_lock(LOCK_ROSTER), LW_EXCLUSIVE);
	for (int32 i = 0; i < roster->size; i++)
		room += roster->slots[i].db_number == NO_SLOT || is_idle(&roster->slots[i]);
	LWLockRelease(shmem_lock(LOCK_ROSTER));
	return room;
}

/*
 * Adds an agent whose row was read, as if it had beaten now, unless it is
 * there already. False: the roster is full of agents in use.
 */
bool
roster_load(DbState *db, const char *agent_id, const AgentFacts *facts,
			int32 active_tasks, uint64 held_hash, const AinsTime *now)
{
	AgentSlot  *slot;
	bool		room = true;

	LWLockAcquire(shmem_lock(LOCK_ROSTER), LW_EXCLUSIVE);
	slot = roster_slot(db, agent_id);
	if (slot == NULL)
	{
		room = make_room(1);
		if (room)
		{
			slot = take_slot(db, agent_id);
			slot->facts = *facts;
			slot->beats.active_tasks = active_tasks;
			slot->beats.held_hash = held_hash;
			slot->beats.alive_mono = now->mono;
			/* it may hold a task whose cancel was requested: let it look */
			slot->beats.cancels = 1;
		}
	}
	LWLockRelease(shmem_lock(LOCK_ROSTER));
	return room;
}

/*
 * Steps through the agents of a database: start with *position = 0, go on
 * while it returns true. Agents that come and go meanwhile may be missed.
 */
bool
roster_next(DbState *db, int *position, AgentView *view)
{
	int			db_number = shmem_db_number(db);
	bool		found = false;

	LWLockAcquire(shmem_lock(LOCK_ROSTER), LW_SHARED);
	while (!found && *position < roster->size)
	{
		AgentSlot  *slot = &roster->slots[(*position)++];

		if (slot->db_number != db_number)
			continue;
		SpinLockAcquire(&slot->mutex);
		copy_out(slot, view);
		SpinLockRelease(&slot->mutex);
		found = true;
	}
	LWLockRelease(shmem_lock(LOCK_ROSTER));
	return found;
}

/* The agent's own limit of silence, or the setting, in microseconds. */
int64
roster_timeout(const AgentFacts *facts)
{
	return facts->heartbeat_timeout >= 0 ? facts->heartbeat_timeout
		: ains_heartbeat_timeout * USECS_PER_SEC;
}

/*
 * When the first of the agents will have been silent for too long, by the wall
 * clock of now; "now" itself if leases without a holder wait to be taken back.
 */
TimestampTz
roster_next_deadline(DbState *db, const AinsTime *now)
{
	int			db_number = shmem_db_number(db);
	TimestampTz earliest = PG_INT64_MAX;

	LWLockAcquire(shmem_lock(LOCK_ROSTER), LW_SHARED);
	for (int32 i = 0; i < roster->size; i++)
	{
		AgentSlot  *slot = &roster->slots[i];
		AgentStatus status;

		if (slot->db_number != db_number)
			continue;
		SpinLockAcquire(&slot->mutex);
		status = policy_agent_status(slot->facts.wanted, slot->facts.health, slot->facts.dead);
		if (slot->beats.orphans != slot->beats.orphans_handled)
			earliest = Min(earliest, now->wall);
		/* a row was locked when its agent died */
		if (status == AGENT_DEAD && slot->beats.active_tasks > 0)
			earliest = Min(earliest, now->wall);
		if (status != AGENT_INACTIVE && status != AGENT_DEAD)
			earliest = Min(earliest, now->wall + slot->beats.alive_mono - now->mono +
						   roster_timeout(&slot->facts));
		SpinLockRelease(&slot->mutex);
	}
	LWLockRelease(shmem_lock(LOCK_ROSTER));
	return earliest;
}

/* Treats every agent of a database as if it had beaten now. */
void
roster_grace(DbState *db, const AinsTime *now)
{
	int			db_number = shmem_db_number(db);

	LWLockAcquire(shmem_lock(LOCK_ROSTER), LW_SHARED);
	for (int32 i = 0; i < roster->size; i++)
	{
		AgentSlot  *slot = &roster->slots[i];

		if (slot->db_number != db_number)
			continue;
		SpinLockAcquire(&slot->mutex);
		slot->beats.alive_mono = Max(slot->beats.alive_mono, now->mono);
		SpinLockRelease(&slot->mutex);
	}
	LWLockRelease(shmem_lock(LOCK_ROSTER));
}

/* Forgets the agents of a database whose extension is gone. */
void
roster_forget_db(int db_number)
{
	LWLockAcquire(shmem_lock(LOCK_ROSTER), LW_EXCLUSIVE);
	for (int32 i = 0; i < roster->size; i++)
		if (roster->slots[i].db_number == db_number)
			free_slot(&roster->slots[i]);
	LWLockRelease(shmem_lock(LOCK_ROSTER));
}

/*
 * Corrects the facts after the row was read, unless they changed since `seen`
 * was copied: the row is newer than that, or was changed by hand.
 */
void
roster_correct_facts(DbState *db, const AgentView *seen, const AgentFacts *facts)
{
	WITH_SLOT(db, seen->agent_id,
			  if (slot->facts.version == seen->facts.version &&
				  slot->facts.trust == seen->facts.trust)
			  {
				  slot->facts = *facts;
				  slot->facts.version = seen->facts.version;
			  });
}

/*
 * The row changed. Callbacks of two transactions may come in another order
 * than their commits: what is older than we know is left out. A new incarnation
 * starts with a clean slate. An agent that is new is added if there is room; if
 * not, it is loaded when it is needed.
 */
void
roster_set(DbState *db, const char *agent_id, const AgentFacts *facts)
{
	AinsTime	now = clock_read();
	AgentSlot  *slot;

	LWLockAcquire(shmem_lock(LOCK_ROSTER), LW_EXCLUSIVE);
	slot = roster_slot(db, agent_id);
	if (slot == NULL && make_room(1))
		slot = take_slot(db, agent_id);
	if (slot != NULL && facts->version > slot->facts.version)
	{
		SpinLockAcquire(&slot->mutex);
		/*
		 * A claim may have come after the leases were taken back, before this
		 * commit; one that comes later is noted by roster_held.
		 */
		if (slot->beats.active_tasks != 0 && slot->facts.incarnation != 0 &&
			(slot->facts.incarnation != facts->incarnation ||
			 (facts->wanted == WANTED_STOPPED && slot->facts.wanted != WANTED_STOPPED)))
			slot->beats.orphans++;
		if (slot->facts.incarnation != facts->incarnation)
		{
			slot->attached_pid = 0;
			slot->beats.disconnected_at = 0;
			slot->beats.last_heartbeat = 0;
			slot->beats.activity[0] = '\0';
			slot->beats.alive_mono = now.mono;
			slot->beats.last_beat = now.wall;
		}
		slot->facts = *facts;
		SpinLockRelease(&slot->mutex);
	}
	LWLockRelease(shmem_lock(LOCK_ROSTER));
	pg_atomic_fetch_add_u64(&db->agents_changed, 1);
}

/* The row is gone, unless we know of a later one. */
void
roster_remove(DbState *db, const char *agent_id, uint64 version)
{
	AgentSlot  *slot;

	LWLockAcquire(shmem_lock(LOCK_ROSTER), LW_EXCLUSIVE);
	slot = roster_slot(db, agent_id);
	if (slot != NULL && version > slot->facts.version)
		free_slot(slot);
	LWLockRelease(shmem_lock(LOCK_ROSTER));
}

/*
 * This backend ends: the agents it had attached lost their connection. Runs
 * after the abort of its transaction, so nothing it holds is in the way.
 */
static void
detach_all(int code, Datum arg)
{
	TimestampTz now = clock_read().wall;

	if (attached_count == 0)
		return;
	LWLockAcquire(shmem_lock(LOCK_ROSTER), LW_SHARED);
	for (int32 i = 0; i < roster->size; i++)
	{
		AgentSlot  *slot = &roster->slots[i];

		if (slot->db_number == NO_SLOT)
			continue;
		SpinLockAcquire(&slot->mutex);
		if (slot->attached_pid == MyProcPid)
		{
			slot->attached_pid = 0;
			slot->beats.disconnected_at = now;
			slot->beats.orphans++;
		}
		SpinLockRelease(&slot->mutex);
	}
	LWLockRelease(shmem_lock(LOCK_ROSTER));
	db_wake_all();
}

/* Ties the agent to this backend, if it is still this incarnation. */
void
roster_attach(DbState *db, const char *agent_id, int64 incarnation)
{
	WITH_SLOT(db, agent_id,
			  if (slot->facts.incarnation == incarnation)
			  {
				  slot->attached_pid = MyProcPid;
				  slot->beats.disconnected_at = 0;
				  attached_count++;
			  });
}

/* Must be called once before roster_attach; may fail. */
void
roster_prepare_attach(void)
{
	if (!exit_registered)
	{
		on_shmem_exit(detach_all, (Datum) 0);
		exit_registered = true;
	}
}

void
roster_detach(DbState *db, const char *agent_id)
{
	WITH_SLOT(db, agent_id,
			  if (slot->attached_pid == MyProcPid)
			  slot->attached_pid = 0);
}
