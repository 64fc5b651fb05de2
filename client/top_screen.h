/*
 * top_screen.h - what the terminal view's two parts share: drawing
 * (top_screen.c) and keys (top_keys.c).
 */
#ifndef AINS_CLIENT_TOP_SCREEN_H
#define AINS_CLIENT_TOP_SCREEN_H

#include "top.h"

#define MAX_LINE		128		/* bytes of what is typed at a prompt */

struct screen
{
	bool		on;
	enum panel	focus;
	struct
	{
		int			sort;
		bool		descending;
		char	   *selected;	/* name of the selected row, or NULL: the first */
		int			first;		/* the row at the top, of those that match */
	}			panels[PANELS];
	char		filter[MAX_LINE];
	char		message[1024];	/* what the last key did, until the next one */
	bool		prompting;		/* a line is being typed */
	const char *prompt;
	char		line[MAX_LINE];
	void		(*entered) (struct top *top, const char *line);
	struct buf	pager;			/* a text over everything, lines of it */
	int			pager_first;
};

extern struct screen screen;

/* Draws everything. */
extern void screen_draw(struct top *top);

/* Indexes of the rows that match the filter, `count` of them; caller frees. */
extern int *screen_matching(const struct table *t, int *count);

/* Where the selected row of a panel is among those; 0 when it is not there. */
extern int	screen_place(const struct table *t, enum panel panel, const int *list, int count);

/* The row itself, until the next refresh; NULL: there is none. */
extern const struct row *screen_selected(const struct top *top, enum panel panel);

/* Reads and obeys all keys that were pressed, then draws. */
extern void screen_keys(struct top *top);

#endif
