/*
 * conn.h - one connection to the server: connects without blocking, comes
 * back by itself after a loss, runs statements with parameters.
 *
 * A connection is driven by the caller's poll() loop: conn_fd() says what to
 * poll for, conn_timer() when to come back, conn_step() does what is due.
 */
#ifndef AINS_CLIENT_CONN_H
#define AINS_CLIENT_CONN_H

#include <stdbool.h>
#include <stdint.h>

#include <libpq-fe.h>

enum conn_state
{
	CONN_OFF,					/* not wanted */
	CONN_WAITING,				/* will try at retry_at */
	CONN_CONNECTING,			/* handshake under way */
	CONN_UP,
};

enum conn_event
{
	CONN_NOTHING,
	CONN_CAME_UP,
	CONN_FAILED,				/* an attempt failed or the connection was lost */
};

struct conn
{
	const char *name;			/* for log lines; not owned */
	const char *dsn;			/* connection string or NULL; not owned */
	enum conn_state state;
	PGconn	   *pg;				/* NULL unless CONNECTING or UP; owned */
	PostgresPollingStatusType polling;
	int64_t		deadline;		/* CONNECTING: give up then; busy: likewise */
	int64_t		retry_at;		/* WAITING */
	unsigned	failures;		/* in a row, for the backoff */
	bool		busy;			/* an asynchronous statement is under way */
	PGresult   *pending;		/* its last result so far; owned */
	bool		refused;		/* the last failure will not cure itself (password, database, role) */
};

/* Prepares a connection that is OFF; name and dsn must outlive it. */
extern void conn_init(struct conn *c, const char *name, const char *dsn);

/* OFF becomes WAITING with an attempt due at once; otherwise nothing. */
extern void conn_want(struct conn *c);

/* Closes for good: OFF.  Frees everything; never fails. */
extern void conn_close(struct conn *c);

/* Closes and tries again after the backoff; logs the reason. */
extern void conn_drop(struct conn *c, const char *reason);

/* Tells that the connection is good for work: the backoff starts afresh. */
extern void conn_proven(struct conn *c);

/* The socket to poll and, in *events, for what; -1 when there is none. */
extern int	conn_fd(const struct conn *c, short *events);

/* When conn_step() must be called even without socket activity; INT64_MAX: never. */
extern int64_t conn_timer(const struct conn *c);

/*
 * Does what is due at time `now`; `ready` says that the polled socket has
 * something.  Never blocks (but libpq resolves host names synchronously).
 */
extern enum conn_event conn_step(struct conn *c, int64_t now, bool ready);

/*
 * Runs one statement and waits for its result; parameters are text, NULL is
 * SQL NULL, types are inferred by the server.  Returns the result, which the
 * caller PQclears and which may be an error of the server, or NULL when the
 * connection was lost or silent for a minute, a few seconds after a second signal
 * to stop (it has been dropped then).
 */
extern PGresult *conn_query(struct conn *c, const char *sql, int nparams, const char *const *params);

/*
 * Starts a statement without waiting.  It must answer within timeout_ms.
 * conn_take() returns its result once it is there (caller PQclears), NULL
 * before.  A lost connection shows as CONN_FAILED from conn_step().
 */
extern bool conn_send(struct conn *c, const char *sql, int nparams, const char *const *params,
					  int64_t timeout_ms);
extern PGresult *conn_take(struct conn *c);

/* Asks the server to cancel what conn_send() started. */
extern void conn_cancel(struct conn *c);

/* The SQLSTATE of a result, "" when it is no error; not owned by the caller. */
extern const char *result_sqlstate(const PGresult *res);

/* The server's message, detail and hint as one line, in a static buffer. */
extern const char *result_message(const PGresult *res);

/* Whether an error of this SQLSTATE may well be gone when tried again. */
extern bool sqlstate_is_transient(const char *sqlstate);

#endif
