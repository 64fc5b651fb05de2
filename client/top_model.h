/*
 * top_model.h - what ains-top shows: four tables of cells, and an hour of
 * numbers for each capability.
 */
#ifndef AINS_CLIENT_TOP_MODEL_H
#define AINS_CLIENT_TOP_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include "text.h"

enum panel
{
	CAPABILITIES, AGENTS, TASKS, DEAD_LETTERS, PANELS,
};

enum tone
{
	TONE_PLAIN, TONE_DIM, TONE_GOOD, TONE_WARN, TONE_BAD,
};

struct column
{
	const char *title;			/* NULL ends the list */
	int			width;			/* characters; of a column that grows, at least */
	bool		right;			/* numbers stand on the right */
	bool		grows;			/* takes what width is left */
	int			from;			/* shown when there is room for so many characters */
	bool		trend;			/* not a cell's text but the row's series */
};

#define MAX_COLUMNS 12

struct cell
{
	char	   *text;			/* owned; no control characters; never NULL */
	double		number;			/* NAN: sorted by its text */
	enum tone	tone;
};

struct row
{
	struct cell cells[MAX_COLUMNS];	/* the first one names the row */
	const struct series *series;	/* of a capability; not owned */
	enum tone	tone;			/* of the row as a whole */
	bool		flag;			/* of a capability: it is paused */
};

struct table
{
	struct row *rows;			/* owned */
	int			count;
};

/* Columns and name of a panel. */
extern const struct column *panel_columns(enum panel panel);
extern const char *panel_title(enum panel panel);

/* Appends an empty row and returns it, valid until the next one is appended. */
extern struct row *table_add(struct table *t);
extern void table_clear(struct table *t);

/* Whether any cell contains the text, in any case of ASCII letters; NULL or "" always. */
extern bool row_matches(const struct row *row, const char *text);

/* Sorts by a column; rows that are equal there by their names. */
extern void table_sort(struct table *t, int column, bool descending);

/* Fills a cell: a text (copied, made safe for terminals), a number as such. */
extern void cell_text(struct cell *c, const char *text);
extern void cell_count(struct cell *c, double number);
extern void cell_rate(struct cell *c, double per_second);
extern void cell_seconds(struct cell *c, double seconds);

/*
 * Copies a name or message that came from somewhere: control characters, which
 * a terminal would obey, and marks that turn the direction of writing, become
 * "?", tabs and line ends spaces.  Caller frees.
 */
extern char *safe_copy(const char *text);

/* A number of seconds in at most 6 characters, "-" for NAN. */
extern void format_seconds(char *out, size_t size, double seconds);
extern void format_rate(char *out, size_t size, double per_second);

/* ------------------------------------------------------------------------- */

#define SLOT_MS		5000
#define SLOTS		720			/* an hour */

enum metric
{
	ENQUEUED, COMPLETED, FAILED, CLAIMED, WAIT_US, COUNTERS,
};

struct slot
{
	float		seconds;		/* how much of it was observed */
	float		events[COUNTERS];
	float		oldest;			/* the longest that a task had been due, seconds */
};

/* What the counters of a capability, or of all, did within an hour. */
struct series
{
	char	   *name;			/* owned */
	double		counters[COUNTERS];	/* as of the last update */
	double		rates[COUNTERS];	/* per second, between the last two; NAN before */
	int64_t		at;				/* ms, of the last update; 0: none yet */
	int64_t		newest;			/* number of the newest slot */
	bool		seen;			/* in this refresh */
	struct slot slots[SLOTS];
};

extern struct series *series_new(const char *name);
extern void series_free(struct series *s);

/*
 * Takes in the counters as of `now` (ms of now_ms()).  What was counted since
 * the last update is spread evenly over that time.  A counter that went down
 * began again from 0: the server was restarted.
 */
extern void series_update(struct series *s, int64_t now, const double counters[COUNTERS], double oldest);

/* Of a slot, 0 the newest: events per second, seconds waited on average, age; NAN: not known. */
extern double series_rate(const struct series *s, int back, enum metric metric);
extern double series_wait(const struct series *s, int back);
extern double series_oldest(const struct series *s, int back);

/* Appends a sparkline of what was completed, `width` characters, to the right the newest. */
extern void series_trend(const struct series *s, int width, bool utf8, struct buf *out);

#endif
