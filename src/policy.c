/*
 * policy.c
 *		The rules of the coordinator that need nothing but their arguments.
 */
#include "policy.h"

#include "common/int.h"

/* What follows the end of an attempt, when no cancel was requested. */
typedef enum Delay
{
	NO_DELAY,
	BACKOFF_OR_ASKED,
	ASKED
} Delay;

typedef struct AttemptRule
{
	const char *outcome;		/* in ains.attempt; NULL: writes no row */
	bool		counted;
	TaskStatus	next;			/* while attempts are left */
	TaskStatus	last;			/* when this was the last one */
	Delay		delay;
	bool		lost;			/* on_lost = 'fail' applies */
} AttemptRule;

/*
 * The transition table of an ACTIVE task (docs/functions.md, "States"). One
 * rule stands before it: once cancel was requested every end but completion,
 * which is refused, makes the task CANCELLED and counts. The rank is kept in
 * every row.
 */
static const AttemptRule attempt_rules[] = {
	[END_COMPLETED] = {NULL, true, TASK_COMPLETED, TASK_COMPLETED, NO_DELAY, false},
	[END_FAILED] = {"failed", true, TASK_SCHEDULED, TASK_FAILED, BACKOFF_OR_ASKED, false},
	[END_REFUSED] = {"failed", true, TASK_FAILED, TASK_FAILED, NO_DELAY, false},
	[END_TIMED_OUT] = {"timed_out", true, TASK_SCHEDULED, TASK_FAILED, BACKOFF_OR_ASKED, false},
	[END_LEASE_EXPIRED] = {"lease_expired", true, TASK_PENDING, TASK_FAILED, NO_DELAY, true},
	[END_AGENT_DEAD] = {"agent_dead", true, TASK_PENDING, TASK_FAILED, NO_DELAY, true},
	[END_DISCONNECTED] = {"disconnected", true, TASK_PENDING, TASK_FAILED, NO_DELAY, true},
	[END_REREGISTERED] = {"reregistered", true, TASK_PENDING, TASK_FAILED, NO_DELAY, true},
	[END_NOT_HELD] = {"not_held", true, TASK_PENDING, TASK_FAILED, NO_DELAY, true},
	[END_RELEASED] = {NULL, false, TASK_PENDING, TASK_PENDING, ASKED, false},
};

/*
 * Decides what becomes of an ACTIVE task whose attempt number `attempt`
 * (counted from 1) ends. asked_delay: what the caller of fail or release
 * asked for, negative if nothing. random: in [0, 1).
 */
Verdict
policy_end_attempt(AttemptEnd end, int32 attempt, bool cancel_requested,
				   const RetryPolicy *policy, int64 asked_delay, double random)
{
	const AttemptRule *rule = &attempt_rules[end];
	Verdict		verdict = {0};

	if (cancel_requested && end != END_COMPLETED)
	{
		verdict.status = TASK_CANCELLED;
		verdict.counted = true;
		verdict.outcome = "cancelled";
		return verdict;
	}

	verdict.outcome = rule->outcome;
	verdict.counted = rule->counted;
	if (rule->lost && policy->fail_when_lost)
		verdict.status = TASK_FAILED;
	else if (rule->counted && attempt >= policy->max_attempts)
		verdict.status = rule->last;
	else
		verdict.status = rule->next;

	if (verdict.status == TASK_SCHEDULED || verdict.status == TASK_PENDING)
	{
		if (rule->delay != NO_DELAY && asked_delay >= 0)
			verdict.delay = asked_delay;
		else if (rule->delay == BACKOFF_OR_ASKED)
			verdict.delay = policy_backoff(policy, attempt, random);
		verdict.status = verdict.delay > 0 ? TASK_SCHEDULED : TASK_PENDING;
	}
	return verdict;
}

/*
 * The wait after attempt number `attempt` failed: base * 2^(n-1), base * n or
 * base, at most the cap, less a random part of up to `jitter` of it; so never
 * more than the cap. Overflow is the cap.
 */
int64
policy_backoff(const RetryPolicy *policy, int32 attempt, double random)
{
	int64		delay = policy->backoff_base;

	switch (policy->backoff)
	{
		case BACKOFF_EXPONENTIAL:
			/* doubling stops at the cap, so at most 62 turns */
			for (int32 n = 1; n < attempt && delay > 0 && delay < policy->backoff_max; n++)
				delay *= 2;
			break;
		case BACKOFF_LINEAR:
			if (pg_mul_s64_overflow(delay, attempt, &delay))
				delay = policy->backoff_max;
			break;
		case BACKOFF_FIXED:
			break;
	}
	delay = Min(delay, policy->backoff_max);
	return delay - (int64) (delay * policy->jitter * random);
}

/*
 * A ready task's place in its lane, lower first:
 *
 *		rank = microseconds of due - priority * aging_interval
 *
 * Two tasks compare as linear aging would compare them at any later time,
 * because both age at the same speed: so the rank can be written once. A task
 * of priority p is overtaken by none of priority q that becomes due more than
 * (q - p) * aging_interval after it.
 */
int64
policy_rank(TimestampTz due, int32 priority, int64 aging_interval)
{
	int64		rank;

	if (pg_sub_s64_overflow(due, priority * aging_interval, &rank))
		rank = PG_INT64_MIN;
	return rank;
}

/* In ten-thousandths. */
#define TRUST_COMPLETED		200
#define TRUST_QUICK			300		/* more, in less than half of the timeout */
#define TRUST_FAILED		(-500)
#define TRUST_LOST			(-300)
/* The weight of the latest duration in the moving average. */
#define TRUST_LATEST		0.3

/*
 * What one attempt that ended so does to its agent's trust; nothing if it was
 * cancelled or given back (NULL). timeout: of the attempt, negative for none.
 */
TrustDelta
policy_trust(const char *outcome, TimestampTz started_at, TimestampTz ended_at,
			 int64 timeout, int64 lease_token)
{
	TrustDelta	delta = {.low = 0, .high = TRUST_ONE, .keep = 1,
	.ended_at = ended_at, .lease_token = lease_token};
	int64		took = ended_at - started_at;

	if (outcome == NULL || strcmp(outcome, "cancelled") == 0)
		return (TrustDelta) {0};
	if (strcmp(outcome, "completed") == 0)
	{
		delta.completed = 1;
		delta.shift = TRUST_COMPLETED;
		if (timeout >= 0 && took < timeout / 2.0)
			delta.shift += TRUST_QUICK;
		delta.first = Max(took, 0) / (double) USECS_PER_SEC;
		delta.keep = 1 - TRUST_LATEST;
		delta.add = TRUST_LATEST * delta.first;
	}
	else if (strcmp(outcome, "failed") == 0)
	{
		delta.failed = 1;
		delta.shift = TRUST_FAILED;
	}
	else
	{
		delta.lost = 1;
		delta.shift = TRUST_LOST;
	}
	delta.low = policy_trust_apply(&delta, 0);
	delta.high = policy_trust_apply(&delta, TRUST_ONE);
	return delta;
}

bool
policy_trust_is_nothing(const TrustDelta *delta)
{
	return delta->completed + delta->failed + delta->lost == 0;
}

/* The score after it. */
int64
policy_trust_apply(const TrustDelta *delta, int64 score)
{
	return Min(delta->high, Max(delta->low, score + delta->shift));
}

/* The same if there may be nothing to apply. */
int64
policy_trust_after(const TrustDelta *delta, int64 score)
{
	return policy_trust_is_nothing(delta) ? score : policy_trust_apply(delta, score);
}

/*
 * First the one, then the other, as one. What is clamped to [low, high], moved
 * and clamped again is moved by the sum, and clamped to where the second clamp
 * takes low and high.
 */
void
policy_trust_join(TrustDelta *delta, const TrustDelta *later)
{
	if (policy_trust_is_nothing(later))
		return;
	if (policy_trust_is_nothing(delta))
	{
		*delta = *later;
		return;
	}
	delta->low = policy_trust_apply(later, delta->low);
	delta->high = policy_trust_apply(later, delta->high);
	delta->shift += later->shift;
	delta->first = delta->completed > 0 ? delta->first * later->keep + later->add : later->first;
	delta->add = delta->add * later->keep + later->add;
	/* what is smaller than that is nothing; multiplied by it, SQL would see an underflow */
	delta->keep = delta->keep * later->keep < 1e-100 ? 0 : delta->keep * later->keep;
	delta->completed += later->completed;
	delta->failed += later->failed;
	delta->lost += later->lost;
	if (later->ended_at > delta->ended_at ||
		(later->ended_at == delta->ended_at && later->lease_token > delta->lease_token))
	{
		delta->ended_at = later->ended_at;
		delta->lease_token = later->lease_token;
	}
}

/* stopped > DEAD > draining > what the beats say. */
AgentStatus
policy_agent_status(AgentWanted wanted, AgentHealth health, bool dead)
{
	if (wanted == WANTED_STOPPED)
		return AGENT_INACTIVE;
	if (dead)
		return AGENT_DEAD;
	if (wanted == WANTED_DRAINING)
		return AGENT_DRAINING;
	switch (health)
	{
		case HEALTH_ACTIVE:
			return AGENT_AVAILABLE;
		case HEALTH_DEGRADED:
			return AGENT_BUSY;
		case HEALTH_OFFLINE:
			return AGENT_INACTIVE;
	}
	return AGENT_INACTIVE;		/* not reached */
}

/*
 * Whether a lease may be taken back: both its own expiry and, if beats renew
 * it, the last beat of its agent plus its length are over. The beat is judged
 * by the monotonic clock.
 */
bool
policy_lease_is_stale(const AinsTime *now, TimestampTz lease_expires_at,
					  int64 lease, bool renewable, int64 last_beat_mono)
{
	if (lease_expires_at > now->wall)
		return false;
	return !renewable || now->mono - last_beat_mono >= lease;
}

/*
 * Names of the enums, as in SQL.
 */
static const char *const task_status_names[] = {
	[TASK_BLOCKED] = "BLOCKED", [TASK_SCHEDULED] = "SCHEDULED",
	[TASK_PENDING] = "PENDING", [TASK_ACTIVE] = "ACTIVE",
	[TASK_COMPLETED] = "COMPLETED", [TASK_FAILED] = "FAILED",
	[TASK_CANCELLED] = "CANCELLED", [TASK_EXPIRED] = "EXPIRED",
};
static const char *const agent_status_names[] = {
	[AGENT_AVAILABLE] = "AVAILABLE", [AGENT_BUSY] = "BUSY",
	[AGENT_DRAINING] = "DRAINING", [AGENT_INACTIVE] = "INACTIVE",
	[AGENT_DEAD] = "DEAD",
};
static const char *const agent_wanted_names[] = {
	[WANTED_ACCEPTING] = "accepting", [WANTED_DRAINING] = "draining",
	[WANTED_STOPPED] = "stopped",
};
static const char *const agent_health_names[] = {
	[HEALTH_ACTIVE] = "ACTIVE", [HEALTH_DEGRADED] = "DEGRADED",
	[HEALTH_OFFLINE] = "OFFLINE",
};
static const char *const backoff_names[] = {
	[BACKOFF_EXPONENTIAL] = "exponential", [BACKOFF_LINEAR] = "linear",
	[BACKOFF_FIXED] = "fixed",
};

/* Index of name in names, or -1. */
static int
find_name(const char *const *names, int count, const char *name)
{
	for (int i = 0; i < count; i++)
		if (strcmp(names[i], name) == 0)
			return i;
	return -1;
}

#define FIND_NAME(names, name)	find_name(names, lengthof(names), name)

const char *
task_status_name(TaskStatus status)
{
	return task_status_names[status];
}

TaskStatus
task_status_from_name(const char *name)
{
	int			i = FIND_NAME(task_status_names, name);

	Assert(i >= 0);
	return (TaskStatus) i;
}

const char *
agent_status_name(AgentStatus status)
{
	return agent_status_names[status];
}

const char *
agent_wanted_name(AgentWanted wanted)
{
	return agent_wanted_names[wanted];
}

AgentWanted
agent_wanted_from_name(const char *name)
{
	int			i = FIND_NAME(agent_wanted_names, name);

	Assert(i >= 0);
	return (AgentWanted) i;
}

const char *
agent_health_name(AgentHealth health)
{
	return agent_health_names[health];
}

/* False: no such health. */
bool
agent_health_from_name(const char *name, AgentHealth *health)
{
	int			i = FIND_NAME(agent_health_names, name);

	if (i < 0)
		return false;
	*health = (AgentHealth) i;
	return true;
}

/* False: no such backoff policy. */
bool
backoff_from_name(const char *name, BackoffKind *kind)
{
	int			i = FIND_NAME(backoff_names, name);

	if (i < 0)
		return false;
	*kind = (BackoffKind) i;
	return true;
}

static const char *const event_kind_names[EVENT_KINDS] = {
	"task.enqueued", "task.due", "task.claimed", "task.released", "task.retried",
	"task.completed", "task.failed", "task.cancel_requested", "task.cancelled",
	"task.expired", "task.put_back", "agent.registered", "agent.reported",
	"agent.draining", "agent.resumed", "agent.stopped", "agent.dead", "agent.removed",
	"run.needs_decision", "run.completed", "run.failed", "run.cancelled"
};

StaticAssertDecl(EVENT_KINDS <= 32, "a set of kinds of events has 32 bits");

const char *
event_kind_name(EventKind kind)
{
	return event_kind_names[kind];
}

/* The kinds that a name stands for, as a set: one, those of "task.*", all of "*". */
static uint32
event_kinds_of(const char *name, int length)
{
	bool		prefix = length > 0 && name[length - 1] == '*';
	uint32		kinds = 0;

	if (prefix)
		length--;
	if (prefix && length > 0 && name[length - 1] != '.')
		return 0;
	for (int i = 0; i < EVENT_KINDS; i++)
		if (strncmp(event_kind_names[i], name, length) == 0 &&
			(prefix || event_kind_names[i][length] == '\0'))
			kinds |= (uint32) 1 << i;
	return kinds;
}

/*
 * The set of kinds of events that a list of names says, separated by commas and
 * spaces; false, and where the wrong name is, if there is no such kind.
 * Allocates nothing.
 */
bool
policy_event_kinds(const char *list, uint32 *kinds, const char **wrong, int *wrong_length)
{
	static const char between[] = ", \t\n\r";

	*kinds = 0;
	while (*(list += strspn(list, between)) != '\0')
	{
		int			length = strcspn(list, between);
		uint32		named = event_kinds_of(list, length);

		if (named == 0)
		{
			*wrong = list;
			*wrong_length = length;
			return false;
		}
		*kinds |= named;
		list += length;
	}
	return true;
}
