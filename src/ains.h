/*
 * ains.h
 *		Names and enums that every part of ains shares.
 *
 * Words (design: docs/concepts.md): an agent is a registered worker process, a
 * capability a named kind of work, a task one unit of it, a lease the
 * exclusive hold a claim gives until a time, a lease token the fencing number
 * of that hold, an attempt one execution, a sweep one pass of housekeeping, a
 * lane a set of ready tasks an agent may claim from or not as a whole, a rank
 * a ready task's place in its lane.
 *
 * Lengths of time are int64 microseconds throughout the C code.
 */
#ifndef AINS_H
#define AINS_H

#include "postgres.h"

#include "datatype/timestamp.h"

/* As in the type ains.task_status, in its order. */
typedef enum TaskStatus
{
	TASK_BLOCKED,
	TASK_SCHEDULED,
	TASK_PENDING,
	TASK_ACTIVE,
	TASK_COMPLETED,
	TASK_FAILED,
	TASK_CANCELLED,
	TASK_EXPIRED
} TaskStatus;

#define TASK_STATUS_COUNT	(TASK_EXPIRED + 1)
#define LIVE_STATUS_COUNT	(TASK_ACTIVE + 1)

/* As in the type ains.agent_status, in its order. */
typedef enum AgentStatus
{
	AGENT_AVAILABLE,
	AGENT_BUSY,
	AGENT_DRAINING,
	AGENT_INACTIVE,
	AGENT_DEAD
} AgentStatus;

/* What drain, resume, stop and register ordered. */
typedef enum AgentWanted
{
	WANTED_ACCEPTING,
	WANTED_DRAINING,
	WANTED_STOPPED
} AgentWanted;

/* What the agent's heartbeats say of it. */
typedef enum AgentHealth
{
	HEALTH_ACTIVE,
	HEALTH_DEGRADED,
	HEALTH_OFFLINE
} AgentHealth;

/* Ids of agents and names of capabilities: 1 to this many characters. */
#define AINS_NAME_MAX_CHARS		128
/* The same in bytes of any server encoding, with the final zero. */
#define AINS_NAME_SIZE			(AINS_NAME_MAX_CHARS * 4 + 1)
/* What an agent says it is doing; longer text is cut. */
#define AINS_ACTIVITY_SIZE		128

#define AINS_MIN_PRIORITY		1
#define AINS_MAX_PRIORITY		10
#define AINS_MAX_CLAIM			1000
#define AINS_MAX_ATTEMPTS		1000000
#define AINS_MAX_BATCH			10000
#define AINS_MAX_SEARCH			1000
#define AINS_MAX_PRICE			INT64CONST(1000000000000000)
#define AINS_MAX_DEPENDENCIES	1000
/* Rows the sweeper handles in one transaction. */
#define AINS_SWEEP_BATCH		1000
/* Ids and tokens stay exact as JSON numbers. */
#define AINS_MAX_ID				INT64CONST(9007199254740991)

/* The row of an agent, as far as calls need it. */
typedef struct AgentFacts
{
	int64		incarnation;
	Oid			owner;
	AgentWanted wanted;
	AgentHealth health;
	bool		dead;
	int64		heartbeat_timeout;	/* -1: the setting */
	int32		max_active_tasks;	/* 0: no limit */
	int16		type;			/* see soft/types.h */
	int32		trust;			/* the score in its row, in ten-thousandths */
	uint64		version;		/* of what this transaction writes; 0: as read */
} AgentFacts;

/* How many live tasks a capability has, by status. */
typedef struct LiveTasks
{
	char	   *capability;
	int64		live[LIVE_STATUS_COUNT];
} LiveTasks;

/* A ready task's place in its lane: by rank, then by id. */
typedef struct ReadyKey
{
	int64		rank;
	int64		task_id;
} ReadyKey;

/* A moment by both clocks; read once per call, by clock.c. */
typedef struct AinsTime
{
	TimestampTz wall;			/* what tables and users see */
	int64		mono;			/* microseconds, never steps: for liveness */
} AinsTime;

#endif							/* AINS_H */
