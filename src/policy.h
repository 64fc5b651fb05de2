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

/* How many tasks of a capability may be claimed; 0: as many as there are. */
typedef struct ClaimLimits
{
	int32		lane_id;		/* the capability's own, by which limits.c knows it */
	int32		concurrency;	/* ACTIVE at a time */
	int32		rate;			/* claimed in each window of this length: */
	int64		period;
	uint64		generation;		/* of the policies when this was read; 0: not committed */
} ClaimLimits;

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

/* What an event says has happened; their names are in policy.c, in this order. */
typedef enum EventKind
{
	EVENT_TASK_ENQUEUED,
	EVENT_TASK_DUE,				/* a SCHEDULED or BLOCKED task is PENDING */
	EVENT_TASK_CLAIMED,
	EVENT_TASK_RELEASED,		/* a lease was given back unharmed */
	EVENT_TASK_RETRIED,			/* an attempt failed or was lost; there will be another */
	EVENT_TASK_COMPLETED,
	EVENT_TASK_FAILED,			/* for good */
	EVENT_TASK_CANCEL_REQUESTED,	/* its agent will be told */
	EVENT_TASK_CANCELLED,
	EVENT_TASK_EXPIRED,
	EVENT_TASK_PUT_BACK,		/* an ended task was made live again, by retry */
	EVENT_AGENT_REGISTERED,
	EVENT_AGENT_REPORTED,		/* its heartbeat said something new */
	EVENT_AGENT_DRAINING,
	EVENT_AGENT_RESUMED,
	EVENT_AGENT_STOPPED,
	EVENT_AGENT_DEAD,
	EVENT_AGENT_REMOVED,
	EVENT_RUN_NEEDS_DECISION,	/* it fell short of its target */
	EVENT_RUN_COMPLETED,
	EVENT_RUN_FAILED,
	EVENT_RUN_CANCELLED
} EventKind;

#define EVENT_KINDS		(EVENT_RUN_CANCELLED + 1)

/* Trust is counted in ten-thousandths. */
#define TRUST_ONE		10000

/*
 * What the ends of some attempts, one after the other, do to an agent's trust.
 * It needs no score to start from, so that memory can add up what the row gets
 * later. All 0: nothing.
 */
typedef struct TrustDelta
{
	int64		completed;
	int64		failed;
	int64		lost;			/* timed out, or the lease was lost */
	int64		shift;			/* score: min(high, max(low, score + shift)) */
	int64		low;
	int64		high;
	double		keep;			/* average seconds: average * keep + add ... */
	double		add;
	double		first;			/* ... or this, if there was none */
	TimestampTz ended_at;		/* of the latest: by time, then by token */
	int64		lease_token;
} TrustDelta;

extern TrustDelta policy_trust(const char *outcome, TimestampTz started_at,
							   TimestampTz ended_at, int64 timeout, int64 lease_token);
extern void policy_trust_join(TrustDelta *delta, const TrustDelta *later);
extern bool policy_trust_is_nothing(const TrustDelta *delta);
extern int64 policy_trust_apply(const TrustDelta *delta, int64 score);
extern int64 policy_trust_after(const TrustDelta *delta, int64 score);

extern Verdict policy_end_attempt(AttemptEnd end, int32 attempt, bool cancel_requested,
								  const RetryPolicy *policy, int64 asked_delay,
								  double random);
extern int64 policy_backoff(const RetryPolicy *policy, int32 attempt, double random);
extern int64 policy_rank(TimestampTz due, int32 priority, int64 aging_interval);
extern AgentStatus policy_agent_status(AgentWanted wanted, AgentHealth health, bool dead);
extern bool policy_lease_is_stale(const AinsTime *now, TimestampTz lease_expires_at,
								  int64 lease, bool renewable, int64 last_beat_mono);

extern bool policy_event_kinds(const char *list, uint32 *kinds, const char **wrong,
							   int *wrong_length);
extern const char *event_kind_name(EventKind kind);
extern const char *task_status_name(TaskStatus status);
extern TaskStatus task_status_from_name(const char *name);
extern const char *agent_status_name(AgentStatus status);
extern const char *agent_wanted_name(AgentWanted wanted);
extern AgentWanted agent_wanted_from_name(const char *name);
extern const char *agent_health_name(AgentHealth health);
extern bool agent_health_from_name(const char *name, AgentHealth *health);
extern bool backoff_from_name(const char *name, BackoffKind *kind);

#endif							/* AINS_POLICY_H */
