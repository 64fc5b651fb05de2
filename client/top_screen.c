/*
 * top_screen.c - the terminal view.
 */
#define _GNU_SOURCE
#define NCURSES_WIDECHAR 1
#include <math.h>
#include <ncurses.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wchar.h>

#include "top_screen.h"

#define HEADER_LINES	2
#define TREND_COLUMNS	10
struct screen screen;

/* ------------------------------------------------------------------------- */

static attr_t
attributes(enum tone tone)
{
	switch (tone)
	{
		case TONE_DIM:
			return A_DIM;
		case TONE_GOOD:
			return COLOR_PAIR(1);
		case TONE_WARN:
			return COLOR_PAIR(2);
		case TONE_BAD:
			return COLOR_PAIR(3) | A_BOLD;
		case TONE_PLAIN:
			break;
	}
	return A_NORMAL;
}

/* Writes at most `width` columns of UTF-8 text, padded to all of them. */
static void
put_text(int y, int x, int width, const char *text, bool right)
{
	wchar_t		wide[512];
	size_t		n = 0;
	int			used = 0;
	mbstate_t	state;

	memset(&state, 0, sizeof(state));
	while (*text && n < sizeof(wide) / sizeof(wide[0]) - 1)
	{
		wchar_t		c;
		size_t		length = mbrtowc(&c, text, MB_CUR_MAX, &state);
		int			columns;

		if (length == (size_t) -1 || length == (size_t) -2)
		{
			memset(&state, 0, sizeof(state));
			c = L'?';
			length = 1;
		}
		columns = wcwidth(c);
		if (columns < 0)
		{
			c = L'?';
			columns = 1;
		}
		if (used + columns > width)
			break;
		used += columns;
		wide[n++] = c;
		text += length;
	}
	if (width <= 0)
		return;
	mvhline(y, x, ' ', width);
	mvaddnwstr(y, right ? x + width - used : x, wide, (int) n);
}

/* Widths of a panel's columns on this screen; 0: no room for it. */
static void
lay_out(const struct column *columns, int widths[MAX_COLUMNS])
{
	int			left = COLS;
	int			growing = 0;

	for (int i = 0; columns[i].title != NULL; i++)
	{
		widths[i] = columns[i].from > COLS ? 0 : columns[i].width;
		if (widths[i] > 0)
			left -= widths[i] + 1;
		if (columns[i].grows)
			growing++;
	}
	for (int i = 0; columns[i].title != NULL && left > 0; i++)
		if (columns[i].grows)
		{
			widths[i] += left / growing;
			left -= left / growing--;
		}
	/* too narrow: those on the right go */
	for (int i = 0, x = 0; columns[i].title != NULL; i++)
	{
		if (x + widths[i] > COLS)
			widths[i] = COLS > x ? COLS - x : 0;
		x += widths[i] > 0 ? widths[i] + 1 : 0;
	}
}

int *
screen_matching(const struct table *t, int *count)
{
	int		   *list = xmalloc(sizeof(*list) * (size_t) (t->count + 1));

	*count = 0;
	for (int i = 0; i < t->count; i++)
		if (row_matches(&t->rows[i], screen.filter))
			list[(*count)++] = i;
	return list;
}

int
screen_place(const struct table *t, enum panel panel, const int *list, int count)
{
	for (int i = 0; i < count && screen.panels[panel].selected != NULL; i++)
		if (strcmp(t->rows[list[i]].cells[0].text, screen.panels[panel].selected) == 0)
			return i;
	return 0;
}

const struct row *
screen_selected(const struct top *top, enum panel panel)
{
	const struct table *t = &top->data.tables[panel];
	int			count;
	int		   *list = screen_matching(t, &count);
	const struct row *row = count > 0 ? &t->rows[list[screen_place(t, panel, list, count)]] : NULL;

	free(list);
	return row;
}

static void
draw_row(const struct row *row, const struct column *columns, const int widths[MAX_COLUMNS], int y, bool selected)
{
	int			x = 0;

	if (selected)
		mvchgat(y, 0, -1, A_REVERSE, 0, NULL);
	for (int i = 0; columns[i].title != NULL; i++)
	{
		const struct cell *c = &row->cells[i];
		attr_t		look = attributes(c->tone != TONE_PLAIN ? c->tone : row->tone);

		if (widths[i] == 0)
			continue;
		if (columns[i].trend)
		{
			struct buf	trend = {0};

			look = attributes(TONE_GOOD);
			attrset(selected ? look | A_REVERSE : look);
			series_trend(row->series, TREND_COLUMNS, top_utf8(), &trend);
			put_text(y, x, widths[i], trend.data, false);
			buf_free(&trend);
		}
		else
		{
			attrset(selected ? look | A_REVERSE : look);
			put_text(y, x, widths[i], c->text, columns[i].right);
		}
		x += widths[i];
		if (x < COLS)
			mvaddch(y, x, ' ');
		x++;
	}
	attrset(A_NORMAL);
}

static void
draw_titles(enum panel panel, const struct column *columns, const int widths[MAX_COLUMNS], int y)
{
	attr_t		look = panel == screen.focus ? A_REVERSE | A_BOLD : A_REVERSE | A_DIM;
	int			x = 0;

	attrset(look);
	mvhline(y, 0, ' ', COLS);
	for (int i = 0; columns[i].title != NULL; i++)
	{
		char		title[32];

		if (widths[i] == 0)
			continue;
		/* the order of the rows: by which column, and which way */
		snprintf(title, sizeof(title), "%s%s", columns[i].title,
				 i != screen.panels[panel].sort ? "" : screen.panels[panel].descending ? "-" : "+");
		attrset(i == screen.panels[panel].sort ? look | A_UNDERLINE : look);
		put_text(y, x, widths[i], title, columns[i].right);
		x += widths[i] + 1;
	}
	attrset(A_NORMAL);
}

static void
draw_panel(struct top *top, enum panel panel, int y, int lines)
{
	struct table *t = &top->data.tables[panel];
	const struct column *columns = panel_columns(panel);
	int			widths[MAX_COLUMNS] = {0};
	int			count;
	int		   *list;
	int			place;
	int		   *first = &screen.panels[panel].first;

	table_sort(t, screen.panels[panel].sort, screen.panels[panel].descending);
	list = screen_matching(t, &count);
	place = screen_place(t, panel, list, count);
	lay_out(columns, widths);
	draw_titles(panel, columns, widths, y);
	lines--;
	if (*first > place)
		*first = place;
	if (*first < place - lines + 1)
		*first = place - lines + 1;
	if (*first > count - lines)
		*first = count > lines ? count - lines : 0;
	for (int i = 0; i < lines && *first + i < count; i++)
		draw_row(&t->rows[list[*first + i]], columns, widths, y + 1 + i,
				 panel == screen.focus && *first + i == place);
	if (count == 0 && lines > 0)
	{
		attrset(A_DIM);
		put_text(y + 1, 0, COLS, t->count > 0 ? "none that match" : data_why_empty(&top->data, panel), false);
		attrset(A_NORMAL);
	}
	free(list);
}

static void
draw_header(const struct top *top)
{
	const struct data *d = &top->data;
	char		text[512];
	char		done[32];
	char		oldest[32];

	snprintf(text, sizeof(text), "ains-top  %s  %s  as %s%s", d->database, d->clock, d->user,
			 d->operate ? " (operating)" : "");
	attrset(A_BOLD);
	put_text(0, 0, COLS, text, false);
	attrset(A_NORMAL);
	if (d->notice[0] != '\0')
	{
		attrset(attributes(TONE_BAD));
		put_text(1, 0, COLS, d->notice, false);
		attrset(A_NORMAL);
		return;
	}
	format_rate(done, sizeof(done), d->total->rates[COMPLETED]);
	format_seconds(oldest, sizeof(oldest), d->totals.ready > 0 ? d->totals.oldest : NAN);
	snprintf(text, sizeof(text), "agents: %.0f alive %.0f dead  tasks: %.0f ready %.0f active %.0f later  %s/s  oldest %s",
			 d->totals.alive, d->totals.dead, d->totals.ready, d->totals.active, d->totals.later, done, oldest);
	put_text(1, 0, COLS, text, false);
}

static void
draw_footer(const struct top *top)
{
	char		text[1200];
	int			y = LINES - 1;

	if (screen.prompting)
	{
		snprintf(text, sizeof(text), "%s%s", screen.prompt, screen.line);
		put_text(y, 0, COLS, text, false);
		curs_set(1);
		return;
	}
	curs_set(0);
	if (screen.message[0] != '\0')
		snprintf(text, sizeof(text), "%s", screen.message);
	else if (screen.filter[0] != '\0')
		snprintf(text, sizeof(text), "filter: %s (/ changes it)", screen.filter);
	else
		snprintf(text, sizeof(text), "%s", top->data.operate ?
				 "h help  Tab panel  / filter  < > R sort  e explain  p pause  c cancel  r retry" :
				 "h help  Tab panel  / filter  < > R sort  Enter tasks  e explain  q quit");
	attrset(A_DIM);
	put_text(y, 0, COLS, text, false);
	attrset(A_NORMAL);
}

static void
draw_pager(void)
{
	const char *p = screen.pager.data;
	int			line = 0;

	for (int skip = screen.pager_first; skip > 0 && strchr(p, '\n') != NULL; skip--)
		p = strchr(p, '\n') + 1;
	while (*p && line < LINES - 1)
	{
		size_t		length = strcspn(p, "\n");
		char		text[1024];

		snprintf(text, sizeof(text), "%.*s", (int) (length < 1000 ? length : 1000), p);
		put_text(line++, 0, COLS, text, false);
		p += length + (p[length] == '\n');
	}
	attrset(A_DIM);
	put_text(LINES - 1, 0, COLS, "up and down move; any other key goes back", false);
	attrset(A_NORMAL);
}

/* Each panel gets its title and two rows, the focused one what it needs, the others what is left. */
static void
share_lines(const struct top *top, int lines, int heights[PANELS])
{
	int			wanted[PANELS];

	for (int i = 0; i < PANELS; i++)
	{
		int			count;

		free(screen_matching(&top->data.tables[i], &count));
		wanted[i] = 1 + (count > 0 ? count : 1);
		heights[i] = wanted[i] < 3 ? wanted[i] : 3;
		if (heights[i] > lines)
			heights[i] = lines;
		lines -= heights[i];
	}
	for (int i = -1; i < PANELS; i++)
	{
		int			panel = i < 0 ? (int) screen.focus : i;
		int			more = wanted[panel] - heights[panel];

		if (more > lines)
			more = lines;
		heights[panel] += more;
		lines -= more;
	}
}

void
screen_draw(struct top *top)
{
	int			heights[PANELS];
	int			y = HEADER_LINES;

	erase();
	if (screen.pager.data != NULL)
		draw_pager();
	else
	{
		draw_header(top);
		share_lines(top, LINES - HEADER_LINES - 1, heights);
		for (int i = 0; i < PANELS; i++)
		{
			if (heights[i] > 0)
				draw_panel(top, (enum panel) i, y, heights[i]);
			y += heights[i];
		}
		draw_footer(top);
	}
	refresh();
}

/* ------------------------------------------------------------------------- */

static void
open_screen(struct top *top)
{
	if (newterm(NULL, stdout, stdin) == NULL)
	{
		fprintf(stderr, "ains-top: this terminal is not known (TERM): --once prints text\n");
		exit(EXIT_REFUSED);
	}
	screen.on = true;
	set_escdelay(50);
	start_color();
	use_default_colors();
	init_pair(1, COLOR_GREEN, -1);
	init_pair(2, COLOR_YELLOW, -1);
	init_pair(3, COLOR_RED, -1);
	cbreak();
	noecho();
	nonl();
	keypad(stdscr, true);
	nodelay(stdscr, true);
	curs_set(0);
	screen.panels[CAPABILITIES].sort = 2;	/* READY */
	screen.panels[CAPABILITIES].descending = true;
	screen.panels[AGENTS].sort = 2; /* STATE: AVAILABLE, ..., DEAD */
	screen.panels[TASKS].sort = 2;	/* STATUS: ACTIVE, ... */
	screen.panels[DEAD_LETTERS].sort = 4;	/* AGE */
	screen_draw(top);
}

static int
screen_fd(void)
{
	return STDIN_FILENO;
}

static void
close_screen(void)
{
	if (screen.on)
		endwin();
	screen.on = false;
	buf_free(&screen.pager);
	for (int i = 0; i < PANELS; i++)
		free(screen.panels[i].selected);
}

const struct view screen_view = {
	.open = open_screen,
	.show = screen_draw,
	.input = screen_keys,
	.fd = screen_fd,
	.close = close_screen,
};
