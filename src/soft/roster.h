/*
 * soft/roster.h
 *		Who is alive: the last beat of each agent, and the facts of its row
 *		that every call needs. A heartbeat costs no WAL, no dead row, no xid.
 *
 * The roster may forget any agent at any time; whoever misses one loads it
 * from its row (core/agent.c), with a beat of now: a restart is a grace
 * period. Facts are those of the committed row; effects.c brings the changes,
 * perhaps not in the order of the commits: the version tells which is later.
 */
#ifndef AINS_ROSTER_H
#define AINS_ROSTER_H

#include "ains.h"

#include "policy.h"
#include "soft/shmem.h"

/* What only shared memory knows. */
typedef struct AgentBeats
{
	int64		alive_mono;		/* last beat or grace, monotonic */
	TimestampTz last_beat;		/* last beat; 0: none since it was loaded */
	TimestampTz last_heartbeat; /* last call of heartbeat(); 0: none */
	int32		active_tasks;	/* leases it holds ... */
	uint64		held_hash;		/* ... and the XOR of their roster_task_hash */
	int32		held_drift;		/* what the table said beyond that at the last audit */
	uint64		hash_drift;
	uint32		cancels;		/* how often a cancel of a task it holds came ... */
	uint32		cancels_handled;	/* ... and was seen to be over */
	uint32		orphans;		/* how often leases may have lost their holder ... */
	uint32		orphans_handled;	/* ... and were taken back */
	TimestampTz disconnected_at;	/* when its connection ended last; 0: never */
	uint64		assigned;		/* when a task was assigned to it last; see roster_assigned */
	char		activity[AINS_ACTIVITY_SIZE];
} AgentBeats;

typedef struct AgentView
{
	char		agent_id[AINS_NAME_SIZE];
	AgentFacts	facts;
	AgentBeats	beats;
	int64		trust;			/* the score with what its row does not have yet */
	bool		in_roster;		/* false: the beats are made up */
} AgentView;

extern Size roster_size(void);
extern void roster_shmem_init(void);

extern bool roster_find(DbState *db, const char *agent_id, AgentView *view);
extern bool roster_beat(DbState *db, const char *agent_id, const AinsTime *now,
						AgentView *view);
extern bool roster_heartbeat(DbState *db, const char *agent_id, const AinsTime *now,
							 const char *activity, AgentView *view);
extern bool roster_make_room(int wanted);
extern int32 roster_room(void);
extern void roster_prepare_attach(void);
extern bool roster_load(DbState *db, const char *agent_id, const AgentFacts *facts,
						int32 active_tasks, uint64 held_hash, const AinsTime *now);
extern bool roster_next(DbState *db, int *position, AgentView *view);
extern TimestampTz roster_next_deadline(DbState *db, const AinsTime *now);
extern void roster_grace(DbState *db, const AinsTime *now);
extern void roster_forget_db(int db_number);
extern int64 roster_timeout(const AgentFacts *facts);
extern uint64 roster_task_hash(int64 task_id);
extern void roster_correct_held(DbState *db, const AgentView *seen,
								int32 active_tasks, uint64 held_hash);
extern void roster_audit_held(DbState *db, const AgentView *seen, int32 held, uint64 hash);
extern bool roster_take_trust(DbState *db, const char *agent_id, TrustDelta *trust);
extern void roster_assigned(DbState *db, const char *agent_id);
extern void roster_cancels_handled(DbState *db, const char *agent_id, uint32 cancels);
extern void roster_correct_facts(DbState *db, const AgentView *seen, const AgentFacts *facts);

/* For effects.c: these cannot fail. */
extern void roster_set(DbState *db, const char *agent_id, const AgentFacts *facts);
extern void roster_remove(DbState *db, const char *agent_id, uint64 version);
extern bool roster_held(DbState *db, const char *agent_id, int64 incarnation, int delta,
						uint64 hash, const TrustDelta *trust);
extern void roster_trust_written(DbState *db, const char *agent_id, int32 score);
extern void roster_cancel_requested(DbState *db, const char *agent_id);
extern void roster_attach(DbState *db, const char *agent_id, int64 incarnation);
extern void roster_detach(DbState *db, const char *agent_id);
extern void roster_orphans_handled(DbState *db, const char *agent_id, uint32 orphans);

#endif							/* AINS_ROSTER_H */
