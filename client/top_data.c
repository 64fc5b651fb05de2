/*
 * top_data.c - asks the server, one statement a refresh, and keeps the answer.
 *
 * Everything comes as rows of text whose first column says what they are, so
 * one statement, one snapshot and no parser do.
 */
#define _GNU_SOURCE
#include "top_data.h"

#include <math.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"

#define PATIENCE_MS		15000
/* Dead letters are looked for in all of history, live tasks in all that wait: each may take so much of the time, 1/N. */
#define LOOK_SHARE		20
#define QUERY_CANCELED	"57014"	/* also by statement_timeout */

/*
 * $1 is a role or NULL, $2 whether changes are allowed.  Without a role we are
 * ains_monitor if we can.  search_path: nobody else's operators.
 */
static const char session_sql[] =
"SELECT set_config('search_path', 'pg_catalog', false), set_config('statement_timeout', '10s', false),\n"
"  set_config('default_transaction_read_only', CASE WHEN $2::bool THEN 'off' ELSE 'on' END, false),\n"
"  CASE WHEN $1::text IS NOT NULL THEN set_config('role', $1, false)\n"
"       WHEN NOT $2::bool AND pg_has_role(session_user, to_regrole('ains_monitor')::oid, 'MEMBER')\n"
"       THEN set_config('role', 'ains_monitor', false) END";

/* Whether to look for dead letters, $1, and for live tasks, $2. */
static const char refresh_sql[] =
"WITH a AS MATERIALIZED (SELECT * FROM ains.agents),\n"
"q AS MATERIALIZED (SELECT * FROM ains.queue_stats()),\n"
"n AS MATERIALIZED (SELECT capability,\n"
"    sum(value) FILTER (WHERE counter = 'enqueued') AS enqueued,\n"
"    sum(value) FILTER (WHERE counter = 'completed') AS completed,\n"
"    sum(value) FILTER (WHERE counter = 'failed') AS failed,\n"
"    sum(value) FILTER (WHERE counter = 'claimed') AS claimed,\n"
"    sum(value) FILTER (WHERE counter = 'wait_us') AS wait_us,\n"
"    sum(value) FILTER (WHERE counter IN ('failed', 'put_back')) AS dead\n"
"  FROM ains.counters GROUP BY capability)\n"
"SELECT 'server', current_database()::text, current_user::text,\n"
"    (SELECT extversion FROM pg_extension WHERE extname = 'ains'),\n"
"    to_char(clock_timestamp(), 'YYYY-MM-DD HH24:MI:SS TZ'),\n"
"    (SELECT count(*) FROM a WHERE agent_status IN ('AVAILABLE', 'BUSY', 'DRAINING'))::text,\n"
"    (SELECT count(*) FROM a WHERE agent_status = 'DEAD')::text,\n"
"    (SELECT count(*) FROM a WHERE agent_status = 'INACTIVE')::text,\n"
"    (SELECT sum(dead) FROM n)::text, (SELECT sum(enqueued) FROM n)::text,\n"
"    (SELECT sum(completed) FROM n)::text, (SELECT sum(failed) FROM n)::text,\n"
"    (SELECT sum(claimed) FROM n)::text, (SELECT sum(wait_us) FROM n)::text\n"
"UNION ALL\n"
"(SELECT 'capability', q.capability, q.paused::text, q.pending::text, q.active::text,\n"
"    (q.blocked + q.scheduled)::text, extract(epoch FROM q.oldest_pending)::text,\n"
"    q.agents_available::text, n.enqueued::text, n.completed::text, n.failed::text,\n"
"    n.claimed::text, n.wait_us::text, NULL\n"
"  FROM q LEFT JOIN n USING (capability)\n"
"  ORDER BY n.enqueued DESC NULLS LAST LIMIT 1000)\n"
"UNION ALL\n"
"(SELECT 'agent', agent_id, agent_type, agent_status::text, left(activity, 300),\n"
"    seconds_since_heartbeat::text, active_tasks::text, max_active_tasks::text, trust_score::text,\n"
"    NULL, NULL, NULL, NULL, NULL\n"
"  FROM a ORDER BY agent_status = 'DEAD' DESC, last_heartbeat DESC LIMIT 1000)\n"
"UNION ALL\n"
"(SELECT 'task', task_id::text, capability, status::text,\n"
"    CASE status WHEN 'ACTIVE' THEN agent_id ELSE assigned_to END, attempt::text, max_attempts::text,\n"
"    extract(epoch FROM clock_timestamp() - created_at)::text,\n"
"    extract(epoch FROM lease_expires_at - clock_timestamp())::text, (100 * progress)::text,\n"
"    (cancel_requested_at IS NOT NULL)::text, NULL, NULL, NULL\n"
"  FROM ains.tasks AS t WHERE $2::bool AND finished_at IS NULL\n"
"  ORDER BY t.status = 'ACTIVE' DESC, t.run_at, t.task_id LIMIT 200)\n"
"UNION ALL\n"
"(SELECT 'dead', task_id::text, capability, agent_id, attempt::text, max_attempts::text,\n"
"    extract(epoch FROM clock_timestamp() - finished_at)::text, left(error, 500),\n"
"    NULL, NULL, NULL, NULL, NULL, NULL\n"
"  FROM ains.dead_letters WHERE $1::bool ORDER BY finished_at DESC LIMIT 100)";

void
data_init(struct data *d, const char *dsn, const char *role, bool operate, int64_t interval)
{
	memset(d, 0, sizeof(*d));
	conn_init(&d->conn, "connection", dsn);
	conn_want(&d->conn);
	d->role = role;
	d->operate = operate;
	d->interval = interval;
	d->dead_counter_now = -1;
	d->total = series_new("");
	d->database = xstrdup("");
	d->user = xstrdup("");
	d->version = xstrdup("");
	d->clock = xstrdup("");
	snprintf(d->notice, sizeof(d->notice), "connecting");
}

void
data_free(struct data *d)
{
	conn_close(&d->conn);
	for (int i = 0; i < PANELS; i++)
		table_clear(&d->tables[i]);
	for (int i = 0; i < d->series_count; i++)
		series_free(d->series[i]);
	free(d->series);
	series_free(d->total);
	free(d->database);
	free(d->user);
	free(d->version);
	free(d->clock);
}

/* ------------------------------------------------------------------------- */

static const char *
text_at(const PGresult *res, int row, int column)
{
	return PQgetvalue(res, row, column);
}

static double
number_at(const PGresult *res, int row, int column)
{
	return PQgetisnull(res, row, column) ? NAN : strtod(PQgetvalue(res, row, column), NULL);
}

static void
replace(char **old, const char *text)
{
	free(*old);
	*old = safe_copy(text);
}

/* The series of a capability, made if there is none; they come in much the same order each time. */
static struct series *
find_series(struct data *d, const char *name, int hint)
{
	struct series **list;

	for (int i = 0; i < d->series_count; i++)
	{
		struct series *s = d->series[(hint + i) % d->series_count];

		if (strcmp(s->name, name) == 0)
			return s;
	}
	list = xmalloc(sizeof(*list) * ((size_t) d->series_count + 1));
	if (d->series_count > 0)
		memcpy(list, d->series, sizeof(*list) * (size_t) d->series_count);
	free(d->series);
	d->series = list;
	return d->series[d->series_count++] = series_new(name);
}

/* Those of capabilities that are gone go too. */
static void
drop_unseen_series(struct data *d)
{
	int			kept = 0;

	for (int i = 0; i < d->series_count; i++)
	{
		if (d->series[i]->seen)
			d->series[kept++] = d->series[i];
		else
			series_free(d->series[i]);
	}
	d->series_count = kept;
}

static void
read_counters(const PGresult *res, int row, int column, double counters[COUNTERS])
{
	for (int i = 0; i < COUNTERS; i++)
	{
		counters[i] = number_at(res, row, column + i);
		if (isnan(counters[i]))
			counters[i] = 0;
	}
}

static void
take_server(struct data *d, const PGresult *res, int row)
{
	double		dead = number_at(res, row, 8);

	replace(&d->database, text_at(res, row, 1));
	replace(&d->user, text_at(res, row, 2));
	replace(&d->version, text_at(res, row, 3));
	replace(&d->clock, text_at(res, row, 4));
	memset(&d->totals, 0, sizeof(d->totals));
	d->totals.alive = number_at(res, row, 5);
	d->totals.dead = number_at(res, row, 6);
	d->totals.away = number_at(res, row, 7);
	d->dead_counter_now = isnan(dead) ? 0 : dead;
}

static void
take_capability(struct data *d, const PGresult *res, int row)
{
	struct table *t = &d->tables[CAPABILITIES];
	struct series *s = find_series(d, text_at(res, row, 1), t->count);
	double		counters[COUNTERS];
	double		ready = number_at(res, row, 3);
	double		oldest = number_at(res, row, 6);
	double		agents = number_at(res, row, 7);
	struct row *r = table_add(t);
	struct cell *c = r->cells;

	read_counters(res, row, 8, counters);
	series_update(s, d->asked, counters, isnan(oldest) ? 0 : oldest);
	s->seen = true;
	r->series = s;
	r->flag = *text_at(res, row, 2) == 't';

	cell_text(&c[0], text_at(res, row, 1));
	/* tasks wait and nobody is there to take them */
	if (r->flag)
		cell_text(&c[1], "paused");
	else
		cell_text(&c[1], ready > 0 && agents == 0 ? "no agent" : "");
	c[1].tone = r->flag ? TONE_WARN : TONE_BAD;
	cell_count(&c[2], ready);
	cell_count(&c[3], number_at(res, row, 4));
	cell_count(&c[4], number_at(res, row, 5));
	cell_seconds(&c[5], oldest);
	cell_rate(&c[6], s->rates[ENQUEUED]);
	cell_rate(&c[7], s->rates[COMPLETED]);
	cell_rate(&c[8], s->rates[FAILED]);
	if (s->rates[FAILED] > 0)
		c[8].tone = TONE_BAD;
	cell_seconds(&c[9], s->rates[CLAIMED] > 0 ? s->rates[WAIT_US] / s->rates[CLAIMED] / 1e6 : NAN);
	cell_count(&c[10], agents);
	cell_rate(&c[11], s->rates[COMPLETED]);

	d->totals.ready += ready;
	d->totals.active += number_at(res, row, 4);
	d->totals.later += number_at(res, row, 5);
	if (oldest > d->totals.oldest)
		d->totals.oldest = oldest;
}

static void
take_agent(struct data *d, const PGresult *res, int row)
{
	static const struct
	{
		const char *status;
		enum tone	tone;
	}			tones[] = {
		{"DEAD", TONE_BAD}, {"BUSY", TONE_WARN}, {"DRAINING", TONE_WARN},
		{"AVAILABLE", TONE_GOOD}, {"INACTIVE", TONE_DIM},
	};
	const char *status = text_at(res, row, 3);
	struct row *r = table_add(&d->tables[AGENTS]);
	struct cell *c = r->cells;
	char		text[64];

	cell_text(&c[0], text_at(res, row, 1));
	cell_text(&c[1], text_at(res, row, 2));
	cell_text(&c[2], status);
	for (size_t i = 0; i < sizeof(tones) / sizeof(tones[0]); i++)
		if (strcmp(tones[i].status, status) == 0)
			c[2].tone = tones[i].tone;
	if (c[2].tone == TONE_BAD || c[2].tone == TONE_DIM)
		r->tone = c[2].tone;
	cell_seconds(&c[3], number_at(res, row, 5));
	cell_count(&c[4], number_at(res, row, 6));
	if (!PQgetisnull(res, row, 7))
	{
		snprintf(text, sizeof(text), "%s/%s", text_at(res, row, 6), text_at(res, row, 7));
		free(c[4].text);
		c[4].text = safe_copy(text);
	}
	snprintf(text, sizeof(text), "%.2f", number_at(res, row, 8));
	cell_text(&c[5], text);
	c[5].number = number_at(res, row, 8);
	cell_text(&c[6], text_at(res, row, 4));
}

static void
take_task(struct data *d, const PGresult *res, int row)
{
	const char *status = text_at(res, row, 3);
	bool		stopping = *text_at(res, row, 10) == 't';
	double		done = number_at(res, row, 9);
	struct cell *c = table_add(&d->tables[TASKS])->cells;
	char		text[64];

	cell_text(&c[0], text_at(res, row, 1));
	c[0].number = number_at(res, row, 1);
	cell_text(&c[1], text_at(res, row, 2));
	cell_text(&c[2], stopping ? "CANCELLING" : status);
	if (stopping)
		c[2].tone = TONE_WARN;
	else if (strcmp(status, "ACTIVE") == 0)
		c[2].tone = TONE_GOOD;
	cell_text(&c[3], text_at(res, row, 4));
	snprintf(text, sizeof(text), "%s/%s", text_at(res, row, 5), text_at(res, row, 6));
	cell_text(&c[4], text);
	c[4].number = number_at(res, row, 5);
	cell_seconds(&c[5], number_at(res, row, 7));
	cell_seconds(&c[6], number_at(res, row, 8));
	snprintf(text, sizeof(text), "%.0f%%", done);
	cell_text(&c[7], isnan(done) ? "-" : text);
	c[7].number = done;
}

static void
take_dead_letter(struct data *d, const PGresult *res, int row)
{
	struct cell *c = table_add(&d->tables[DEAD_LETTERS])->cells;
	char		text[64];

	cell_text(&c[0], text_at(res, row, 1));
	c[0].number = number_at(res, row, 1);
	cell_text(&c[1], text_at(res, row, 2));
	cell_text(&c[2], text_at(res, row, 3));
	snprintf(text, sizeof(text), "%s/%s", text_at(res, row, 4), text_at(res, row, 5));
	cell_text(&c[3], text);
	c[3].number = number_at(res, row, 4);
	cell_seconds(&c[4], number_at(res, row, 6));
	cell_text(&c[5], text_at(res, row, 7));
}

/* Those of the last look are older by now, or have less time left: a column of seconds. */
static void
shift_seconds(struct table *t, int column, double by)
{
	for (int i = 0; i < t->count; i++)
	{
		struct cell *c = &t->rows[i].cells[column];

		free(c->text);
		cell_seconds(c, c->number + by);
	}
}

static void
take_refresh(struct data *d, const PGresult *res)
{
	double		counters[COUNTERS] = {0};
	double		passed = (double) (d->asked - d->aged) / 1000;

	for (int i = 0; i < PANELS; i++)
		if ((i != DEAD_LETTERS || d->dead.asked) && (i != TASKS || d->tasks.asked))
			table_clear(&d->tables[i]);
	if (!d->dead.asked)
		shift_seconds(&d->tables[DEAD_LETTERS], 4, passed);
	if (!d->tasks.asked)
	{
		shift_seconds(&d->tables[TASKS], 5, passed);
		shift_seconds(&d->tables[TASKS], 6, -passed);
	}
	for (int i = 0; i < d->series_count; i++)
		d->series[i]->seen = false;
	for (int row = 0; row < PQntuples(res); row++)
	{
		const char *kind = text_at(res, row, 0);

		if (strcmp(kind, "server") == 0)
		{
			take_server(d, res, row);
			read_counters(res, row, 9, counters);
		}
		else if (strcmp(kind, "capability") == 0)
			take_capability(d, res, row);
		else if (strcmp(kind, "agent") == 0)
			take_agent(d, res, row);
		else if (strcmp(kind, "task") == 0)
			take_task(d, res, row);
		else
			take_dead_letter(d, res, row);
	}
	drop_unseen_series(d);
	series_update(d->total, d->asked, counters, d->totals.oldest);
	if (d->dead.asked)
	{
		d->dead.known = true;
		d->dead_counter = d->dead_counter_asked;
	}
	if (d->tasks.asked)
		d->tasks.known = true;
	d->aged = d->asked;
	d->refreshes++;
	d->failures = 0;
	d->notice[0] = '\0';
}

/* ------------------------------------------------------------------------- */

static void
take_notice(struct data *d, const PGresult *res)
{
	const char *sqlstate = result_sqlstate(res);
	const char *advice = "";

	if (strcmp(sqlstate, "3F000") == 0 || strcmp(sqlstate, "42P01") == 0 || strcmp(sqlstate, "42883") == 0)
		advice = " (Is ains installed in this database? CREATE EXTENSION ains)";
	else if (strcmp(sqlstate, "42501") == 0)
		advice = " (Be a member of ains_monitor, or see --role and --operate)";
	snprintf(d->notice, sizeof(d->notice), "%s%s", result_message(res), advice);
	d->failures++;
	d->hopeless = !sqlstate_is_transient(sqlstate);
}

static void
came_up(struct data *d)
{
	const char *params[] = {d->role, d->operate ? "t" : "f"};
	PGresult   *res = conn_query(&d->conn, session_sql, 2, params);

	if (res == NULL)
		return;
	if (PQresultStatus(res) != PGRES_TUPLES_OK)
	{
		/* To go on without the role would be wrong. */
		conn_drop(&d->conn, "cannot set up the session");
		take_notice(d, res);
	}
	else
	{
		d->fresh = true;
		d->next = 0;
	}
	PQclear(res);
}

static void
ask(struct data *d, int64_t now)
{
	const char *params[2];

	d->dead.asked = now >= d->dead.from && (d->fresh || d->dead_counter != d->dead_counter_now);
	d->dead_counter_asked = d->dead_counter_now;
	/* both at once only if they have to be: so it is known which of them costs */
	d->tasks.asked = now >= d->tasks.from && (d->fresh || !d->dead.asked);
	params[0] = d->dead.asked ? "t" : "f";
	params[1] = d->tasks.asked ? "t" : "f";
	d->asked = now;
	d->next = now + d->interval;
	conn_send(&d->conn, refresh_sql, 2, params, PATIENCE_MS);
}

/* The refresh that did it came to an end: when the next one may, and whether it took too long. */
static bool
look_ended(struct look *look, int64_t began, bool cancelled, struct table *t)
{
	int64_t		end = now_ms();

	if (!look->asked)
		return false;
	look->from = end + (end - began) * LOOK_SHARE;
	if (cancelled)
	{
		look->known = false;
		table_clear(t);
	}
	return cancelled;
}

bool
data_step(struct data *d, int64_t now, bool ready)
{
	enum conn_event event = conn_step(&d->conn, now, ready);
	PGresult   *res;

	if (event == CONN_CAME_UP)
		came_up(d);
	else if (event == CONN_FAILED)
	{
		d->failures++;
		d->hopeless = d->conn.refused;
		return true;			/* the log's sink has put the reason into the notice */
	}
	if (d->conn.state != CONN_UP)
		return event != CONN_NOTHING;
	res = conn_take(&d->conn);
	if (res != NULL)
	{
		bool		cancelled = strcmp(result_sqlstate(res), QUERY_CANCELED) == 0;

		/* Too much to look through: the rest is asked for alone, after both at once the live tasks with it. */
		if (look_ended(&d->dead, d->asked, cancelled, &d->tables[DEAD_LETTERS]) ||
			look_ended(&d->tasks, d->asked, cancelled, &d->tables[TASKS]))
		{
			d->next = 0;
			PQclear(res);
			return false;
		}
		if (PQresultStatus(res) == PGRES_TUPLES_OK)
		{
			conn_proven(&d->conn);
			take_refresh(d, res);
			d->fresh = false;
		}
		else
			take_notice(d, res);
		PQclear(res);
		return true;
	}
	if (!d->conn.busy && now >= d->next)
		ask(d, now);
	return false;
}

const char *
data_why_empty(const struct data *d, enum panel panel)
{
	if (panel == DEAD_LETTERS && !d->dead.known)
		return "not known: there is too much history to look through";
	if (panel == TASKS && !d->tasks.known)
		return "not known: there are too many to look through";
	return "none";
}

int64_t
data_timer(const struct data *d)
{
	int64_t		timer = conn_timer(&d->conn);

	if (d->conn.state == CONN_UP && !d->conn.busy && d->next < timer)
		return d->next;
	return timer;
}

PGresult *
data_run(struct data *d, const char *sql, int nparams, const char *const *params,
		 char *problem, size_t size)
{
	PGresult   *res;

	while (d->conn.state == CONN_UP && d->conn.busy)
	{
		struct pollfd pfd = {.events = POLLIN};

		pfd.fd = conn_fd(&d->conn, &pfd.events);
		data_step(d, now_ms(), poll(&pfd, 1, 100) > 0);
	}
	if (d->conn.state != CONN_UP)
	{
		snprintf(problem, size, "not connected: %s", d->notice);
		return NULL;
	}
	res = conn_query(&d->conn, sql, nparams, params);
	if (res == NULL)
	{
		snprintf(problem, size, "%s", d->notice);
		return NULL;
	}
	if (PQresultStatus(res) != PGRES_TUPLES_OK)
	{
		snprintf(problem, size, "%s", result_message(res));
		PQclear(res);
		return NULL;
	}
	/* what it changed is to be seen */
	d->next = 0;
	return res;
}
