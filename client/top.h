/*
 * top.h - what the parts of ains-top share: the options, and what shows.
 */
#ifndef AINS_CLIENT_TOP_H
#define AINS_CLIENT_TOP_H

#include <stdbool.h>
#include <stdint.h>

#include "top_data.h"

#define EXIT_USAGE		2
#define EXIT_REFUSED	3		/* the server or the terminal makes work impossible */

struct options
{
	const char *dsn;			/* NULL: libpq's environment */
	const char *role;			/* NULL: ains_monitor if possible */
	bool		operate;
	int64_t		interval;		/* ms */
	bool		once;
	const char *html;			/* file to write, or NULL */
	const char *serve;			/* address and port, or NULL */
	bool		allow_remote;
};

struct top
{
	const struct options *options;
	struct data data;
	bool		quit;
};

/*
 * A way to show the data.  The loop in top_main.c calls show() when something
 * changed, input() when fd() can be read and after at most timeout() ms (-1:
 * no matter how long).  open() ends the process when it cannot work.  All but
 * show() may be NULL: there is nothing to do.
 */
struct view
{
	void		(*open) (struct top *top);
	void		(*show) (struct top *top);
	void		(*input) (struct top *top);
	int			(*fd) (void);
	int			(*timeout) (void);
	void		(*close) (void);	/* also when the process ends by exit() */
};

extern const struct view once_view; /* top_text.c: plain text, once */
extern const struct view screen_view;	/* top_screen.c: the terminal */
extern const struct view file_view; /* top_page.c: the page in a file */
extern const struct view serve_view;	/* top_serve.c: the page by HTTP */

/* Whether this process writes UTF-8. */
extern bool top_utf8(void);

/*
 * Appends the whole page.  nonce: what the Content-Security-Policy of the
 * answer allows, or NULL: the page is a file, brings its own policy and comes
 * back by itself instead of asking for the next one.
 */
extern void page_write(const struct top *top, const char *nonce, struct buf *out);

/* Appends that part of the page which changes: its one <main id="live">. */
extern void page_write_live(const struct data *d, struct buf *out);

#endif
