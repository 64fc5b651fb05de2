/*
 * policy.h
 *		Pure rules: which state follows which, rank, backoff, liveness. Nothing
 *		here reads a table, a clock or shared memory.
 */
#ifndef AINS_POLICY_H
#define AINS_POLICY_H

#include "ains.h"

typedef enum BackoffKind
{
	BACKOFF_EXPONENTIAL,
	BACKOFF_LINEAR,
	BACKOFF_FIXED
} BackoffKind;

/* The rules of a capability that decide what becomes of an attempt. */
typedef struct RetryPolicy
{
	int32		max_attempts;
	BackoffKind backoff;
	int64		backoff_base;
	int64		backoff_max;
	double		jitter;			/* 0-1 */
	bool		fail_when_lost; /* on_lost = 'fail' */
} RetryPolicy;

/* How an attempt ends. */
typedef enum AttemptEnd
{
	END_COMPLETED,
	END_FAILED,					/* the agent said so; may be retried */
	END_REFUSED,				/* the agent said so; not retryable */
	END_TIMED_OUT,
	END_LEASE_EXPIRED,
	END_AGENT_DEAD,
	END_DISCONNECTED,
	END_REREGISTERED,
	END_NOT_HELD,				/* the agent's heartbeat does not know of it */
	END_RELEASED
} AttemptEnd;

/* What becomes of the task. */
typedef struct Verdict
{
	TaskStatus	status;
	bool		counted;		/* the attempt counts against max_attempts */
	int64		delay;			/* before the next attempt; SCHEDULED only */
	const char *outcome;		/* for ains.attempt; NULL: no row there */
} Verdict;

extern Verdict policy_end_attempt(AttemptEnd end, int32 attempt, bool cancel_requested,
								  const RetryPolicy *policy, int64 asked_delay,
								  double random);
extern int64 policy_backoff(const RetryPolicy *policy, int32 attempt, double random);
extern int64 policy_rank(TimestampTz due, int32 priority, int64 aging_interval);
extern AgentStatus policy_agent_status(AgentWanted wanted, AgentHealth health, bool dead);
extern bool policy_lease_is_stale(const AinsTime *now, TimestampTz lease_expires_at,
								  int64 lease, bool renewable, int64 last_beat_mono);

extern const char *task_status_name(TaskStatus status);
extern TaskStatus task_status_from_name(const char *name);
extern const char *agent_status_name(AgentStatus status);
extern const char *agent_wanted_name(AgentWanted wanted);
extern AgentWanted agent_wanted_from_name(const char *name);
extern const char *agent_health_name(AgentHealth health);
extern bool agent_health_from_name(const char *name, AgentHealth *health);
extern bool backoff_from_name(const char *name, BackoffKind *kind);

#endif							/* AINS_POLICY_H */
