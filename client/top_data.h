/*
 * top_data.h - asks the server, one statement a refresh, and keeps the answer.
 */
#ifndef AINS_CLIENT_TOP_DATA_H
#define AINS_CLIENT_TOP_DATA_H

#include <stdbool.h>
#include <stdint.h>

#include "conn.h"
#include "top_model.h"

/* How the agents are, and the tasks of all capabilities. */
struct totals
{
	double		alive;
	double		dead;
	double		away;			/* stopped, or said to be offline */
	double		ready;
	double		active;
	double		later;			/* SCHEDULED or BLOCKED */
	double		oldest;			/* seconds */
};

/* A look at what may be many rows: not at every refresh. */
struct look
{
	bool		asked;			/* the refresh under way does it */
	bool		known;			/* the last one came to its end */
	int64_t		from;			/* not earlier than then, for it may cost */
};

struct data
{
	struct conn conn;
	const char *role;			/* what --role says, or NULL; not owned */
	bool		operate;		/* keeps the login's role and may change things */
	int64_t		interval;		/* ms from one refresh to the next */
	int64_t		next;			/* when the next one is due */
	int64_t		asked;			/* when the one under way began */
	bool		fresh;			/* the first refresh of a connection is still to come */
	struct look dead;			/* for dead letters */
	struct look tasks;			/* for live tasks */
	double		dead_counter;	/* what failed and was put back, before the last look began */
	double		dead_counter_asked; /* the same for the look under way */
	double		dead_counter_now;
	int64_t		aged;			/* when the ages of what was looked for were right */
	unsigned	refreshes;		/* how many came */
	int			failures;		/* attempts in a row that did not come to a refresh */
	bool		hopeless;		/* and the next one will not either */
	char		notice[1024];	/* why there is no fresh data; "": there is */
	/* what the last refresh brought */
	struct table tables[PANELS];
	struct totals totals;
	char	   *database;		/* owned, as the next four */
	char	   *user;			/* the role that the server goes by */
	char	   *version;
	char	   *clock;
	struct series *total;		/* of all capabilities */
	struct series **series;		/* one for each capability; owned */
	int			series_count;
};

/* Prepares; dsn and role must outlive it. */
extern void data_init(struct data *d, const char *dsn, const char *role, bool operate, int64_t interval);
extern void data_free(struct data *d);

/*
 * Does what is due: connects, asks, takes the answer.  True when something
 * changed that is to be shown: fresh tables, or the notice.  Never blocks but
 * to begin a connection.
 */
extern bool data_step(struct data *d, int64_t now, bool ready);

/* What to say of a panel without rows. */
extern const char *data_why_empty(const struct data *d, enum panel panel);

/* When data_step() must be called at the latest. */
extern int64_t data_timer(const struct data *d);

/*
 * Runs a statement now, after the refresh under way.  Returns rows, which the
 * caller PQclears, or NULL: then the reason is in `problem`.
 */
extern PGresult *data_run(struct data *d, const char *sql, int nparams, const char *const *params,
						  char *problem, size_t size);

#endif
