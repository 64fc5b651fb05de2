/*
 * soft/effects.h
 *		What the end of a transaction does to the soft state. Shared memory
 *		knows only what is committed: a call that changes a table registers
 *		here what follows from it.
 *
 * Effects of a subtransaction that aborts are dropped, or done if they are for
 * an abort. All memory is there when an effect is registered, so that doing it
 * cannot fail. A transaction with effects cannot be prepared (0A000).
 *
 * Whatever else a module has to do at the end of a transaction it does as a
 * part of this one; no other has callbacks of its own.
 */
#ifndef AINS_EFFECTS_H
#define AINS_EFFECTS_H

#include "ains.h"

#include "soft/notes.h"
#include "soft/ready.h"
#include "soft/roster.h"
#include "soft/shmem.h"

/* What the end of a transaction does about the notes of one kind. */
typedef struct TransactionPart
{
	NoteStack  *notes;
	/* If there are notes; may write rows, and raise. NULL: nothing. */
	void		(*before_commit) (void);
	/* (Sub)transactions end that left the notes from `first` on, which are then
	 * forgotten. Cannot fail. */
	void		(*end) (int first, bool commit);
	/* The subtransaction of this level commits; NULL: its notes are its parent's. */
	void		(*merge) (int level);
} TransactionPart;

extern void effects_init(const TransactionPart *core);

extern const TransactionPart effects_ready_part;

/* At commit. */
extern void effect_wake_at(DbState *db, TimestampTz at);
extern void effect_agent(DbState *db, const char *agent_id, const AgentFacts *facts, bool is_new);
extern void effect_agent_gone(DbState *db, const char *agent_id, uint64 version);
extern void effect_trust_written(DbState *db, const char *agent_id, int32 score);
extern bool effects_trust_pending(void);
extern void effect_held(DbState *db, const char *agent_id, int64 incarnation, int64 task_id,
						int delta, const TrustDelta *trust);
extern void effect_cancel_requested(DbState *db, const char *agent_id);
extern void effect_attach(DbState *db, const char *agent_id, int64 incarnation);
extern void effect_detach(DbState *db, const char *agent_id);
extern void effect_orphans_handled(DbState *db, const char *agent_id, uint32 orphans);
extern void effect_finished(DbState *db, int64 task_id);
extern void effect_policy_changed(DbState *db);
extern void effect_shelves(DbState *db, DateADT first, DateADT last);
extern void effect_extension_created(Oid database);

/* At commit or abort. */
extern void effect_release_database(Oid database);

/* At abort. */
extern void effect_unswept(DbState *db, TimestampTz at);

/*
 * Ready keys. Whoever locks a PENDING row registers its key first, ON_END; who
 * makes a row PENDING, ON_COMMIT; who pops a key, ON_ABORT. effects_reserve
 * makes room, so that the next one cannot fail.
 */
typedef enum EffectWhen
{
	NEVER = 0,
	ON_COMMIT = 1,
	ON_ABORT = 2,
	ON_END = ON_COMMIT | ON_ABORT
} EffectWhen;

extern void effects_reserve(int count);
extern void effect_ready(DbState *db, int32 lane_id, ReadyKey key, EffectWhen when);
extern void effect_lower(DbState *db, int32 lane_id, ReadyKey key);
extern PoppedKey *effects_own_ready(DbState *db, const int32 *lanes, int lane_count,
									int *count);
extern void effect_ready_changed(DbState *db, int32 lane_id, ReadyKey key);
extern void effect_ready_not(DbState *db, int32 lane_id, ReadyKey key);

/* What this transaction will do to an agent, if anything. */
extern bool effects_pending_agent(DbState *db, const char *agent_id,
								  AgentFacts *facts, bool *gone);
extern int	effects_new_agents(void);
extern void effects_pending_held(DbState *db, const char *agent_id, int *delta, uint64 *hash);
extern bool effects_any(void);
extern bool effects_policy_pending(void);
extern bool effects_shelves_pending(void);

#endif							/* AINS_EFFECTS_H */
