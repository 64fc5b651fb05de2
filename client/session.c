/*
 * session.c - what the agent says to the server, and what follows from the answers.
 */
#define _GNU_SOURCE
#include "session.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "log.h"

#define WAIT_MS			30000	/* longest wait_for_task() */
#define CLAIM_AGAIN_MS	100		/* after a refusal that a beat has cleared up */

int
tasks_held(const struct agent *a)
{
	int			n = 0;

	for (int i = 0; i < a->o->concurrency; i++)
		n += a->tasks[i].state != TASK_FREE;
	return n;
}

void
stop_all(struct agent *a, enum task_verdict why, int64_t kill_after_ms)
{
	for (int i = 0; i < a->o->concurrency; i++)
		task_stop(&a->tasks[i], why, now_ms(), kill_after_ms);
}

void
give_up(struct agent *a)
{
	a->stopping = a->forced = a->mute = a->grace_over = true;
	a->exit_status = EXIT_REFUSED;
	stop_all(a, VERDICT_LOST, a->o->kill_after_ms);
}

void
begin_stop(struct agent *a, int64_t now)
{
	if (a->stopping)
		return;
	a->stopping = true;
	a->stop_began = now;
	a->grace_ends = now + a->o->grace_ms;
	a->claim_at = NEVER;
	if (a->waiter == &a->extra)
	{
		conn_close(&a->extra);
		a->waiting = false;
	}
}

static struct task *
find_task(struct agent *a, long long id)
{
	for (int i = 0; i < a->o->concurrency; i++)
		if (a->tasks[i].state != TASK_FREE && strtoll(a->tasks[i].id, NULL, 10) == id)
			return &a->tasks[i];
	return NULL;
}

/*
 * The server answered `res` to a statement about this agent; true when it is
 * no error.  Otherwise decides what follows: register again, try again later,
 * look at the agent's state, or give up.
 */
static bool
accepted(struct agent *a, const PGresult *res, const char *what)
{
	const char *sqlstate = result_sqlstate(res);

	if (*sqlstate == '\0')
		return true;

	if (strcmp(sqlstate, "NS002") == 0)
	{
		log_line(LV_WARNING, NULL, "the server does not know this agent any more; registering again");
		a->registered = a->ready = false;
		a->beat_at = now_ms();
	}
	else if (strcmp(sqlstate, "3F000") == 0 || strcmp(sqlstate, "42883") == 0)
	{
		log_line(LV_ERROR, NULL, "ains is not installed in this database, or in another version: %s",
				 result_message(res));
		log_line(LV_ERROR, NULL, "a superuser installs it with: CREATE EXTENSION ains");
		give_up(a);
	}
	else if (sqlstate_is_transient(sqlstate) || (a->registered && strcmp(sqlstate, "55000") == 0))
		log_line(LV_WARNING, NULL, "%s: %s; trying again", what, result_message(res));
	else
	{
		log_line(LV_ERROR, NULL, "%s: %s", what, result_message(res));
		if (strcmp(sqlstate, "42501") == 0)
			log_line(LV_ERROR, NULL, "an agent needs a role that is a member of ains_agent and of the agent's owner");
		give_up(a);
	}
	return false;
}

static void
superseded(struct agent *a, const PGresult *res)
{
	log_line(LV_ERROR, NULL, "another process took over the agent id \"%s\": %s",
			 a->o->agent_id, result_message(res));
	give_up(a);
}

static bool
register_agent(struct agent *a)
{
	static const char sql[] =
		"SELECT incarnation FROM ains.register_agent(agent_id => $1::text, agent_type => $2::text, "
		"capabilities => $3::text[], heartbeat_timeout => $4::interval, "
		"metadata => jsonb_build_object('client', $5::text, 'host', $6::text, 'pid', $7::bigint))";
	char		host[128] = "";
	char		pid[24];
	const char *params[7] = {a->o->agent_id, a->o->agent_type, a->o->capabilities,
		a->o->heartbeat_timeout, "ains-agent " AINS_VERSION, host, pid};
	PGresult   *res;
	bool		ok;

	gethostname(host, sizeof(host) - 1);
	snprintf(pid, sizeof(pid), "%ld", (long) getpid());
	res = conn_query(&a->ctl, sql, 7, params);
	if (res == NULL)
		return false;
	ok = accepted(a, res, "cannot register");
	if (ok)
	{
		snprintf(a->incarnation, sizeof(a->incarnation), "%s", PQgetvalue(res, 0, 0));
		a->registered = true;
		a->draining = false;
		log_line(LV_INFO, NULL, "registered as \"%s\" (incarnation %s) for %s",
				 a->o->agent_id, a->incarnation, a->o->capabilities);
	}
	PQclear(res);
	return ok;
}

static bool
attach_agent(struct agent *a)
{
	const char *const params[2] = {a->o->agent_id, a->incarnation};
	PGresult   *res = conn_query(&a->ctl, "SELECT ains.attach_agent(agent_id => $1::text, incarnation => $2::bigint)",
								 2, params);
	bool		ok = false;

	if (res == NULL)
		return false;
	if (strcmp(result_sqlstate(res), "NS005") == 0)
		superseded(a, res);
	else
		ok = accepted(a, res, "cannot attach");
	PQclear(res);
	return ok;
}

/* Calls `act` for each held task named in an array of bigint as the server prints it. */
static void
for_each_id(struct agent *a, const char *array, void (*act) (struct agent *, struct task *))
{
	const char *p = array;

	while (*p)
	{
		char	   *end;
		long long	id;

		if (*p < '0' || *p > '9')
		{
			p++;
			continue;
		}
		id = strtoll(p, &end, 10);
		p = end;
		if (find_task(a, id) != NULL)
			act(a, find_task(a, id));
	}
}

static void
on_cancel_requested(struct agent *a, struct task *t)
{
	if (t->verdict == VERDICT_CANCELLED || t->state != TASK_RUNNING)
		return;
	log_line(LV_INFO, t->id, "was cancelled; stopping the command");
	task_stop(t, VERDICT_CANCELLED, now_ms(), a->o->kill_after_ms);
}

static void
on_lost(struct agent *a, struct task *t)
{
	if (t->verdict == VERDICT_LOST)
		return;
	log_line(LV_WARNING, t->id, "the lease was lost; stopping the command");
	task_stop(t, VERDICT_LOST, now_ms(), a->o->kill_after_ms);
}

bool
session_beat(struct agent *a)
{
	static const char sql[] =
		"SELECT next_heartbeat_in, agent_status, cancel_requested, lost FROM ains.heartbeat("
		"agent_id => $1::text, uptime_ms => $2::bigint, activity => $3::text, held => $4::bigint[], "
		"incarnation => $5::bigint)";
	char		uptime[24];
	char		activity[64];
	struct buf	held = {0};
	const char *params[5] = {a->o->agent_id, uptime, activity, NULL, a->incarnation};
	int			running = 0;
	const char *capability = NULL;
	bool		ok = false;
	PGresult   *res;

	buf_puts(&held, "{");
	for (int i = 0; i < a->o->concurrency; i++)
	{
		struct task *t = &a->tasks[i];

		if (t->state == TASK_FREE || t->verdict == VERDICT_LOST)
			continue;
		if (held.len > 1)
			buf_puts(&held, ",");
		buf_puts(&held, t->id);
		capability = t->capability;
		running++;
	}
	buf_puts(&held, "}");
	params[3] = held.data;
	snprintf(uptime, sizeof(uptime), "%" PRId64, now_ms() - a->born);
	if (running == 1)
	{
		/* Cut by bytes; a torn last character would be no UTF-8. */
		struct buf	text = {0};

		buf_puts(&text, capability);
		if (text.len > 48)
			text.len = 48;
		text_sanitize(&text);
		snprintf(activity, sizeof(activity), "%.*s", (int) text.len, text.data);
		buf_free(&text);
	}
	else if (running > 1)
		snprintf(activity, sizeof(activity), "running %d tasks", running);
	else
		snprintf(activity, sizeof(activity), "%s", a->stopping ? "stopping" : "idle");

	a->beat_at = now_ms() + a->beat_every;
	res = conn_query(&a->ctl, sql, 5, params);
	buf_free(&held);
	if (res == NULL)
		return false;
	if (strcmp(result_sqlstate(res), "NS005") == 0)
		superseded(a, res);
	else if (!accepted(a, res, "heartbeat"))
		a->beat_at = now_ms() + (a->registered ? PAUSE_MS : 0);
	else
	{
		const char *status = PQgetvalue(res, 0, 1);
		int64_t		seconds = strtoll(PQgetvalue(res, 0, 0), NULL, 10);
		bool		accepting = strcmp(status, "AVAILABLE") == 0 || strcmp(status, "BUSY") == 0;

		a->beat_every = (seconds > 0 ? seconds : 1) * 1000;
		a->beat_at = now_ms() + a->beat_every;
		for_each_id(a, PQgetvalue(res, 0, 3), on_lost);
		for_each_id(a, PQgetvalue(res, 0, 2), on_cancel_requested);
		if (accepting != a->accepting && !a->stopping)
			log_line(LV_INFO, NULL, "the server says that this agent is %s: %s", status,
					 accepting ? "claiming again" : "claiming nothing until it is resumed");
		if (accepting && (!a->accepting || a->claim_refused))
			a->claim_at = now_ms() + (a->claim_refused ? CLAIM_AGAIN_MS : 0);
		a->accepting = accepting;
		a->claim_refused = false;
		ok = true;
	}
	PQclear(res);
	return ok;
}

static void
count_report(struct agent *a, enum task_report report)
{
	switch (report)
	{
		case REPORT_LATER:
			return;
		case REPORT_COMPLETED:
			a->completed++;
			break;
		case REPORT_FAILED:
			a->failed++;
			break;
		case REPORT_RELEASED:
			a->released++;
			break;
		case REPORT_LOST:
			a->lost++;
			break;
	}
	/* A slot is free.  While a wait is under way there is nothing to claim. */
	if (!a->waiting && a->claim_at == NEVER)
		a->claim_at = now_ms();
	a->dry = false;
}

/* Tells the ends that wait to be told; stops when the connection is lost. */
void
session_report(struct agent *a, int64_t now)
{
	for (int i = 0; i < a->o->concurrency; i++)
	{
		struct task *t = &a->tasks[i];

		if (t->state != TASK_ENDED)
			continue;
		if (a->mute)
			task_free(t);
		else if (a->ctl.state == CONN_UP && a->registered && now >= t->report_at)
			count_report(a, task_report(t, a->o, &a->ctl));
	}
}

/* A new connection becomes ready: registered, attached, ends told, tasks settled. */
void
session_set_up(struct agent *a, int64_t now)
{
	if (now < a->beat_at)
		return;
	a->beat_at = now + PAUSE_MS;	/* when it fails without losing the connection */
	if (!a->registered && !register_agent(a))
		return;
	if (!attach_agent(a))
		return;
	for (int i = 0; i < a->o->concurrency; i++)
		a->tasks[i].report_at = 0;
	session_report(a, now);
	if (a->ctl.state != CONN_UP)
		return;
	a->accepting = true;
	a->claim_refused = false;
	if (!session_beat(a))
		return;
	conn_proven(&a->ctl);
	a->ready = true;
	a->claim_at = a->accepting && !a->stopping ? now : NEVER;
}

void
session_claim(struct agent *a)
{
	static const char sql[] =
		"SELECT " TASK_COLUMNS " FROM ains.claim(agent_id => $1::text, max_tasks => $2::integer, "
		"lease => $3::interval, incarnation => $4::bigint)";
	char		wanted[24];
	const char *const params[4] = {a->o->agent_id, wanted, a->o->lease, a->incarnation};
	int64_t		slots = a->o->concurrency - tasks_held(a);
	int			slot = 0;
	int			rows;
	PGresult   *res;

	if (a->o->max_tasks > 0 && slots > a->o->max_tasks - a->claimed)
		slots = a->o->max_tasks - a->claimed;
	a->claim_at = NEVER;
	if (slots <= 0)
		return;
	snprintf(wanted, sizeof(wanted), "%" PRId64, slots);
	res = conn_query(&a->ctl, sql, 4, params);
	if (res == NULL)
		return;
	if (strcmp(result_sqlstate(res), "NS005") == 0)
	{
		/* Drained, stopped, thought dead, or superseded: the heartbeat tells which. */
		log_line(LV_DEBUG, NULL, "claim: %s", result_message(res));
		a->claim_refused = true;
		a->beat_at = 0;
		PQclear(res);
		return;
	}
	if (!accepted(a, res, "claim"))
	{
		a->claim_at = now_ms() + PAUSE_MS;
		PQclear(res);
		return;
	}

	rows = PQntuples(res);
	for (int row = 0; row < rows; row++)
	{
		while (slot < a->o->concurrency && a->tasks[slot].state != TASK_FREE)
			slot++;
		if (slot == a->o->concurrency)
			break;				/* more than asked for; the next beat gives it back */
		a->claimed++;
		if (!task_start(&a->tasks[slot], a->o, res, row, now_ms()))
		{
			begin_stop(a, now_ms());
			a->exit_status = EXIT_REFUSED;
		}
	}
	PQclear(res);

	a->dry = rows == 0 && tasks_held(a) == 0;
	a->fruitless = rows == 0 && a->was_ready ? a->fruitless + 1 : 0;
	a->was_ready = false;
	if (rows > 0 && rows < slots && a->o->once)
		a->claim_at = now_ms();
}

void
session_start_wait(struct agent *a)
{
	int64_t		ms = WAIT_MS;
	char		timeout[48];
	const char *const params[2] = {a->o->agent_id, timeout};

	/*
	 * The wait beats for us, even while this process hangs: no longer than
	 * from one heartbeat to the next, lest the server notice that too late.
	 */
	if (a->beat_every < ms)
		ms = a->beat_every;
	snprintf(timeout, sizeof(timeout), "%" PRId64 " milliseconds", ms);
	if (conn_send(a->waiter, "CALL ains.wait_for_task(agent_id => $1::text, timeout => $2::interval)",
				  2, params, ms + 30000))
	{
		a->waiting = true;
		a->cancel_sent = false;
		a->claim_at = NEVER;
	}
	else
		a->claim_at = now_ms() + PAUSE_MS;
}

void
session_finish_wait(struct agent *a)
{
	PGresult   *res;
	int64_t		pause = 0;

	if (!a->waiting || (res = conn_take(a->waiter)) == NULL)
		return;
	a->waiting = false;
	if (a->stopping)
	{
		PQclear(res);
		return;
	}
	if (strcmp(result_sqlstate(res), "NS005") == 0)
	{
		a->claim_refused = true;
		a->beat_at = 0;
		pause = NEVER;
	}
	else if (!accepted(a, res, "wait"))
		pause = PAUSE_MS;
	else
	{
		a->was_ready = PQntuples(res) > 0 && strcmp(PQgetvalue(res, 0, 0), "t") == 0;
		if (a->waiter == &a->extra)
			conn_proven(&a->extra);
		/* Others are faster, again and again: step back a little. */
		if (a->fruitless > 3)
			pause = a->fruitless < 10 ? (int64_t) 1 << a->fruitless : PAUSE_MS;
	}
	PQclear(res);
	a->claim_at = pause == NEVER ? NEVER : now_ms() + pause;
}


/*
 * drain_agent and stop_agent know no incarnation: the beat makes sure that it
 * is us whom we stop, not a successor under the same id.
 */
static bool
tell_state(struct agent *a, const char *function)
{
	const char *const params[1] = {a->o->agent_id};
	char		sql[128];
	PGresult   *res;

	if (!session_beat(a))
		return a->ctl.state == CONN_UP;
	snprintf(sql, sizeof(sql), "SELECT agent_id FROM ains.%s(agent_id => $1::text)", function);
	res = conn_query(&a->ctl, sql, 1, params);
	if (res == NULL)
		return false;
	if (*result_sqlstate(res) != '\0')
		log_line(LV_WARNING, NULL, "%s: %s", function, result_message(res));
	PQclear(res);
	return true;
}

bool
session_drain(struct agent *a)
{
	return tell_state(a, "drain_agent");
}

bool
session_stop(struct agent *a)
{
	return tell_state(a, "stop_agent");
}
