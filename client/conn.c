/*
 * conn.c - one connection to the server: connects without blocking, comes
 * back by itself after a loss, runs statements with parameters.
 */
#define _GNU_SOURCE
#include "conn.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "signals.h"

#define CONNECT_TIMEOUT_MS	10000
#define BACKOFF_FIRST_MS	100
#define BACKOFF_LAST_MS		10000
#define QUERY_PATIENCE_MS	60000
#define HURRY_PATIENCE_MS	3000	/* after a second signal to stop */

void
conn_init(struct conn *c, const char *name, const char *dsn)
{
	memset(c, 0, sizeof(*c));
	c->name = name;
	c->dsn = dsn;
}

void
conn_want(struct conn *c)
{
	if (c->state != CONN_OFF)
		return;
	c->state = CONN_WAITING;
	c->retry_at = 0;
}

static void
disconnect(struct conn *c)
{
	PQclear(c->pending);
	c->pending = NULL;
	c->busy = false;
	PQfinish(c->pg);
	c->pg = NULL;
}

void
conn_close(struct conn *c)
{
	disconnect(c);
	c->state = CONN_OFF;
}

void
conn_drop(struct conn *c, const char *reason)
{
	int64_t		delay = BACKOFF_LAST_MS;

	if (c->failures < 7)
		delay = (int64_t) BACKOFF_FIRST_MS << c->failures;
	/* Half to all of it, by chance: a fleet must not come back in step. */
	delay = delay / 2 + (int64_t) (random() % (delay / 2 + 1));
	c->failures++;
	log_line(LV_WARNING, NULL, "%s: %s; next attempt in %.1f s", c->name, reason, (double) delay / 1000);
	disconnect(c);
	c->state = CONN_WAITING;
	c->retry_at = now_ms() + delay;
}

void
conn_proven(struct conn *c)
{
	c->failures = 0;
}

/* The first line of libpq's message: what follows it is context and advice. */
static const char *
pg_message(const PGconn *pg)
{
	static char text[1024];

	snprintf(text, sizeof(text), "%s", PQerrorMessage(pg));
	text[strcspn(text, "\n")] = '\0';
	return *text ? text : "the connection was closed";
}

/*
 * libpq gives no SQLSTATE for a refused connection, but with verbose messages
 * the text has it: "FATAL:  28P01: ...".  Class 28 (authentication) and 3D000
 * (no such database) do not cure themselves.
 */
static bool
connect_was_refused(PGconn *pg)
{
	const char *p = PQerrorMessage(pg);

	if (PQconnectionNeedsPassword(pg))
		return true;
	while ((p = strstr(p, ":  ")) != NULL)
	{
		p += 3;
		if ((strncmp(p, "28", 2) == 0 || strncmp(p, "3D000", 5) == 0) &&
			strlen(p) > 5 && p[5] == ':')
			return true;
	}
	return false;
}

static void
on_notice(void *arg, const PGresult *res)
{
	const struct conn *c = arg;

	log_line(LV_DEBUG, NULL, "%s: server says: %s", c->name, result_message(res));
}

static void
start_connecting(struct conn *c, int64_t now)
{
	/* What stands before dbname is a default, what stands after it is fixed. */
	const char *const keys[] = {"keepalives_idle", "keepalives_interval", "keepalives_count",
		"tcp_user_timeout", "dbname", "fallback_application_name", "client_encoding", NULL};
	const char *const values[] = {"30", "10", "3",
		"60000", c->dsn, program_name, "UTF8", NULL};

	c->refused = false;
	c->deadline = now + CONNECT_TIMEOUT_MS;
	c->polling = PGRES_POLLING_WRITING;
	c->state = CONN_CONNECTING;
	c->pg = PQconnectStartParams(keys, values, 1);
	if (c->pg != NULL)
	{
		PQsetErrorVerbosity(c->pg, PQERRORS_VERBOSE);
		PQsetNoticeReceiver(c->pg, on_notice, c);
	}
}

static enum conn_event
connect_failed(struct conn *c, const char *reason)
{
	c->refused = c->pg != NULL && connect_was_refused(c->pg);
	conn_drop(c, reason);
	return CONN_FAILED;
}

int
conn_fd(const struct conn *c, short *events)
{
	*events = POLLIN;
	if (c->pg == NULL)
		return -1;
	if (c->state == CONN_CONNECTING && c->polling == PGRES_POLLING_WRITING)
		*events = POLLOUT;
	return PQsocket(c->pg);
}

int64_t
conn_timer(const struct conn *c)
{
	if (c->state == CONN_WAITING)
		return c->retry_at;
	if (c->state == CONN_CONNECTING || c->busy)
		return c->deadline;
	return INT64_MAX;
}

/* Collects what has arrived; false when the connection is gone. */
static bool
absorb(struct conn *c)
{
	if (!PQconsumeInput(c->pg))
		return false;
	while (!PQisBusy(c->pg) && c->busy)
	{
		PGresult   *res = PQgetResult(c->pg);

		if (res == NULL)
		{
			c->busy = false;
			break;
		}
		PQclear(c->pending);
		c->pending = res;
	}
	return PQstatus(c->pg) == CONNECTION_OK;
}

enum conn_event
conn_step(struct conn *c, int64_t now, bool ready)
{
	switch (c->state)
	{
		case CONN_OFF:
			return CONN_NOTHING;

		case CONN_WAITING:
			if (now < c->retry_at)
				return CONN_NOTHING;
			start_connecting(c, now);
			if (c->pg == NULL || PQstatus(c->pg) == CONNECTION_BAD)
				return connect_failed(c, c->pg ? pg_message(c->pg) : "out of memory");
			return CONN_NOTHING;

		case CONN_CONNECTING:
			if (!ready && now >= c->deadline)
				return connect_failed(c, "no answer to the connection attempt");
			if (!ready)
				return CONN_NOTHING;
			c->polling = PQconnectPoll(c->pg);
			if (c->polling == PGRES_POLLING_FAILED)
				return connect_failed(c, pg_message(c->pg));
			if (c->polling != PGRES_POLLING_OK)
				return CONN_NOTHING;
			PQsetErrorVerbosity(c->pg, PQERRORS_DEFAULT);
			PQsetnonblocking(c->pg, 1);
			c->state = CONN_UP;
			return CONN_CAME_UP;

		case CONN_UP:
			if (ready && !absorb(c))
			{
				conn_drop(c, pg_message(c->pg));
				return CONN_FAILED;
			}
			if (c->busy && now >= c->deadline)
			{
				conn_drop(c, "the server does not answer");
				return CONN_FAILED;
			}
			return CONN_NOTHING;
	}
	return CONN_NOTHING;
}

/*
 * Sends what is queued and waits until a result can be taken without blocking
 * (until_result) or everything is sent.  False when the connection failed.
 * Any traffic restarts the patience.
 */
static bool
settle(struct conn *c, bool until_result)
{
	int64_t		since = now_ms();

	for (;;)
	{
		struct pollfd pfd = {.fd = PQsocket(c->pg), .events = POLLIN};
		int			unsent = PQflush(c->pg);
		int			rc;

		if (unsent < 0)
			return false;
		if (unsent == 0 && (!until_result || !PQisBusy(c->pg)))
			return true;
		if (unsent > 0)
			pfd.events |= POLLOUT;

		/* Short turns: a signal may shorten the patience. */
		rc = poll(&pfd, 1, 250);
		if (rc < 0 && errno != EINTR)
			return false;
		if (rc > 0)
		{
			since = now_ms();
			if ((pfd.revents & ~POLLOUT) && !PQconsumeInput(c->pg))
				return false;
		}
		else if (now_ms() - since > (signals_stops() > 1 ? HURRY_PATIENCE_MS : QUERY_PATIENCE_MS))
			return false;
	}
}

PGresult *
conn_query(struct conn *c, const char *sql, int nparams, const char *const *params)
{
	PGresult   *last = NULL;

	if (c->state != CONN_UP)
		return NULL;
	if (PQsendQueryParams(c->pg, sql, nparams, NULL, params, NULL, NULL, 0))
	{
		while (settle(c, true))
		{
			PGresult   *res = PQgetResult(c->pg);

			if (res == NULL)
				break;
			PQclear(last);
			last = res;
		}
	}
	if (last == NULL || PQstatus(c->pg) != CONNECTION_OK || PQtransactionStatus(c->pg) != PQTRANS_IDLE)
	{
		PQclear(last);
		conn_drop(c, pg_message(c->pg));
		return NULL;
	}
	return last;
}

bool
conn_send(struct conn *c, const char *sql, int nparams, const char *const *params, int64_t timeout_ms)
{
	if (c->state != CONN_UP || c->busy)
		return false;
	if (!PQsendQueryParams(c->pg, sql, nparams, NULL, params, NULL, NULL, 0) || !settle(c, false))
	{
		conn_drop(c, pg_message(c->pg));
		return false;
	}
	c->busy = true;
	c->deadline = now_ms() + timeout_ms;
	return true;
}

PGresult *
conn_take(struct conn *c)
{
	PGresult   *res;

	if (c->busy)
		return NULL;
	res = c->pending;
	c->pending = NULL;
	return res;
}

void
conn_cancel(struct conn *c)
{
	PGcancel   *cancel;
	char		error[256];

	if (c->state != CONN_UP || !c->busy)
		return;
	cancel = PQgetCancel(c->pg);
	if (cancel == NULL || !PQcancel(cancel, error, sizeof(error)))
		conn_drop(c, "cannot interrupt the wait");
	PQfreeCancel(cancel);
}

const char *
result_sqlstate(const PGresult *res)
{
	const char *sqlstate = PQresultErrorField(res, PG_DIAG_SQLSTATE);

	if (sqlstate != NULL)
		return sqlstate;
	return PQresultStatus(res) == PGRES_FATAL_ERROR ? "08006" : "";
}

const char *
result_message(const PGresult *res)
{
	static char text[2048];
	const char *primary = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);
	const char *detail = PQresultErrorField(res, PG_DIAG_MESSAGE_DETAIL);
	const char *hint = PQresultErrorField(res, PG_DIAG_MESSAGE_HINT);

	if (primary == NULL)
		primary = PQresultErrorMessage(res);
	snprintf(text, sizeof(text), "%s [%s]%s%s%s%s", primary, result_sqlstate(res),
			 detail ? " " : "", detail ? detail : "",
			 hint ? " Hint: " : "", hint ? hint : "");
	return text;
}

bool
sqlstate_is_transient(const char *sqlstate)
{
	/* connection, rollback, resources, operator intervention, lock not available, standby */
	static const char *const classes[] = {"08", "40", "53", "57", "55P03", "25006"};

	for (size_t i = 0; i < sizeof(classes) / sizeof(classes[0]); i++)
		if (strncmp(sqlstate, classes[i], strlen(classes[i])) == 0)
			return true;
	return false;
}
