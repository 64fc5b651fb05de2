/*
 * soft/held.c
 *		What the slots of the roster say of what agents hold, and of how far
 *		they are trusted.
 *
 * Locks: slots.h.
 */
#include "soft/slots.h"

#include "utils/builtins.h"
#include "utils/fmgrprotos.h"

/* As SQL's hashint8extended(task_id, 0), so that queries can compute it. */
uint64
roster_task_hash(int64 task_id)
{
	return DatumGetUInt64(DirectFunctionCall2(hashint8extended, Int64GetDatum(task_id),
											  Int64GetDatum(0)));
}

/*
 * Corrects the count of leases after they were read from the table, unless it
 * changed since `seen` was copied.
 */
void
roster_correct_held(DbState *db, const AgentView *seen, int32 active_tasks, uint64 held_hash)
{
	WITH_SLOT(db, seen->agent_id,
			  if (slot->beats.active_tasks == seen->beats.active_tasks &&
				  slot->beats.held_hash == seen->beats.held_hash)
			  {
				  slot->beats.active_tasks = active_tasks;
				  slot->beats.held_hash = held_hash;
			  });
}

/*
 * The table says how many leases the agent holds. The difference to what we
 * count may be in motion; if two audits find the same one it stays, and is
 * made up for, whatever the agent claimed or ended meanwhile.
 */
void
roster_audit_held(DbState *db, const AgentView *seen, int32 held, uint64 hash)
{
	int32		drift = held - seen->beats.active_tasks;
	uint64		hash_drift = hash ^ seen->beats.held_hash;

	WITH_SLOT(db, seen->agent_id,
			  if (slot->beats.held_drift == drift && slot->beats.hash_drift == hash_drift)
			  {
				  slot->beats.active_tasks += drift;
				  slot->beats.held_hash ^= hash_drift;
				  drift = 0;
				  hash_drift = 0;
			  }
			  slot->beats.held_drift = drift;
			  slot->beats.hash_drift = hash_drift);
}

/*
 * What an agent's row has to be told of its trust; false: nothing. Also what
 * was taken and not written, because that was rolled back. One at a time.
 */
bool
roster_take_trust(DbState *db, const char *agent_id, TrustDelta *trust)
{
	memset(trust, 0, sizeof(*trust));
	WITH_SLOT(db, agent_id,
			  policy_trust_join(&slot->trust_taken, &slot->trust);
			  memset(&slot->trust, 0, sizeof(slot->trust));
			  *trust = slot->trust_taken);
	return !policy_trust_is_nothing(trust);
}

/* What was taken is in the row, whose score is this now. */
void
roster_trust_written(DbState *db, const char *agent_id, int32 score)
{
	WITH_SLOT(db, agent_id,
			  slot->facts.trust = score;
			  memset(&slot->trust_taken, 0, sizeof(slot->trust_taken)));
}

/*
 * A task was assigned to the agent: of all, it is the latest. Also if that is
 * rolled back, so that the next of the same transaction goes to another one.
 */
void
roster_assigned(DbState *db, const char *agent_id)
{
	uint64		now = db_version(db);

	WITH_SLOT(db, agent_id, slot->beats.assigned = now);
}

/* Of so many cancels that came, none is of a task the agent holds now. */
void
roster_cancels_handled(DbState *db, const char *agent_id, uint32 cancels)
{
	WITH_SLOT(db, agent_id, slot->beats.cancels_handled = cancels);
}

/*
 * This incarnation of the agent got (or, below zero, lost) so many leases; XOR
 * of their hashes; what that does to its trust, or NULL. Leases that come after
 * it was replaced or stopped have no holder: the sweeper shall look. True: it
 * held as many as it may, and may hold more now.
 */
bool
roster_held(DbState *db, const char *agent_id, int64 incarnation, int delta, uint64 hash,
			const TrustDelta *trust)
{
	bool		orphaned = false;
	bool		has_room = false;

	WITH_SLOT(db, agent_id,
			  if (trust != NULL)
			  policy_trust_join(&slot->trust, trust);
			  has_room = slot->facts.max_active_tasks > 0 &&
			  slot->beats.active_tasks >= slot->facts.max_active_tasks &&
			  slot->beats.active_tasks + delta < slot->facts.max_active_tasks;
			  slot->beats.active_tasks += delta;
			  slot->beats.held_hash ^= hash;
			  if (delta > 0 && (slot->facts.incarnation != incarnation ||
								slot->facts.wanted == WANTED_STOPPED))
			  {
				  slot->beats.orphans++;
				  orphaned = true;
			  });
	if (orphaned)
		db_wake_now(db);
	return has_room;
}

/* A task the agent holds shall be cancelled: its next heartbeat tells it. */
void
roster_cancel_requested(DbState *db, const char *agent_id)
{
	WITH_SLOT(db, agent_id, slot->beats.cancels++);
}

/* The leases that had lost their holder, so often, are taken back. */
void
roster_orphans_handled(DbState *db, const char *agent_id, uint32 orphans)
{
	WITH_SLOT(db, agent_id, slot->beats.orphans_handled = orphans);
}
