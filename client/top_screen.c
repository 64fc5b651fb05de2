/*
 * top_screen.c - the terminal view, and its keys.
 */
#define _GNU_SOURCE
#define NCURSES_WIDECHAR 1
#include <ctype.h>
#include <math.h>
#include <ncurses.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wchar.h>

#include "top.h"

#define HEADER_LINES	2
#define TREND_COLUMNS	10
#define MAX_LINE		128		/* bytes of what is typed at a prompt */

static struct
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
}			screen;

static void draw(struct top *top);

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

/* Indexes of the rows that match the filter; caller frees. */
static int *
matching(const struct table *t, int *count)
{
	int		   *list = xmalloc(sizeof(*list) * (size_t) (t->count + 1));

	*count = 0;
	for (int i = 0; i < t->count; i++)
		if (row_matches(&t->rows[i], screen.filter))
			list[(*count)++] = i;
	return list;
}

/* Where the selected row is among those that match; 0 when it is not there. */
static int
selected_place(const struct table *t, enum panel panel, const int *list, int count)
{
	for (int i = 0; i < count && screen.panels[panel].selected != NULL; i++)
		if (strcmp(t->rows[list[i]].cells[0].text, screen.panels[panel].selected) == 0)
			return i;
	return 0;
}

static const struct row *
selected_row(const struct top *top, enum panel panel)
{
	const struct table *t = &top->data.tables[panel];
	int			count;
	int		   *list = matching(t, &count);
	const struct row *row = count > 0 ? &t->rows[list[selected_place(t, panel, list, count)]] : NULL;

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
	list = matching(t, &count);
	place = selected_place(t, panel, list, count);
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
		put_text(y + 1, 0, COLS, t->count > 0 ? "none that match" : "none", false);
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

		free(matching(&top->data.tables[i], &count));
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

static void
draw(struct top *top)
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

/* Runs a statement with one parameter; its rows go to the pager, with a title. */
static void
page_rows(struct top *top, const char *title, const char *sql, const char *param)
{
	const char *params[] = {param};
	PGresult   *res = data_run(&top->data, sql, 1, params, screen.message, sizeof(screen.message));

	if (res == NULL)
		return;
	buf_free(&screen.pager);
	screen.pager_first = 0;
	buf_puts(&screen.pager, title);
	buf_puts(&screen.pager, "\n\n");
	for (int i = 0; i < PQntuples(res); i++)
	{
		char	   *line = safe_copy(PQgetvalue(res, i, 0));

		buf_puts(&screen.pager, line);
		buf_puts(&screen.pager, "\n");
		free(line);
	}
	if (PQntuples(res) == 0)
		buf_puts(&screen.pager, "none\n");
	PQclear(res);
}

/* Runs a statement that changes something, and says what came of it. */
static void
change(struct top *top, const char *sql, const char *param)
{
	const char *params[] = {param};
	PGresult   *res = data_run(&top->data, sql, 1, params, screen.message, sizeof(screen.message));
	char	   *text;

	if (res == NULL)
		return;
	text = safe_copy(PQgetvalue(res, 0, 0));
	snprintf(screen.message, sizeof(screen.message), "%s", text);
	free(text);
	PQclear(res);
}

static bool
may_change(const struct top *top)
{
	if (top->data.operate)
		return true;
	snprintf(screen.message, sizeof(screen.message), "This only looks: start ains-top with --operate to change things.");
	return false;
}

static void
pause_or_resume(struct top *top)
{
	const struct row *row = selected_row(top, CAPABILITIES);

	if (!may_change(top) || row == NULL)
		return;
	/* The name on the screen may be a changed one (safe_copy); then the server knows none such. */
	change(top, row->flag ?
		   "SELECT format('%s resumed%s', $1::text, ains.resume($1)::text)" :
		   "SELECT format('%s paused%s', $1::text, ains.pause($1)::text)", row->cells[0].text);
}

static void
explain(struct top *top, const char *id)
{
	char		title[MAX_LINE + 32];

	snprintf(title, sizeof(title), "Task %s", id);
	page_rows(top, title, "SELECT reason || ': ' || detail FROM ains.explain_task($1)", id);
}

static void
cancel(struct top *top, const char *id)
{
	change(top, "SELECT format('task %s: %s', $1::text, CASE s WHEN 'ACTIVE' THEN 'its agent is asked to stop'"
		   " ELSE lower(s) END) FROM CAST(ains.cancel($1::bigint, 'ains-top') AS text) AS s", id);
}

static void
retry(struct top *top, const char *id)
{
	change(top, "SELECT format('task %s is put back', ains.retry($1::bigint))", id);
}

static void
list_tasks(struct top *top)
{
	static const char *const sql[] = {
		[CAPABILITIES] = "SELECT format('%s  %s  attempt %s  %s', task_id, status, attempt, agent_id)"
		" FROM ains.tasks WHERE finished_at IS NULL AND capability = $1 ORDER BY status = 'ACTIVE' DESC, task_id LIMIT 500",
		[AGENTS] = "SELECT format('%s  %s  %s  attempt %s', task_id, status, capability, attempt)"
		" FROM ains.tasks WHERE finished_at IS NULL AND agent_id = $1 AND status = 'ACTIVE' ORDER BY task_id LIMIT 500",
	};
	const struct row *row = selected_row(top, screen.focus);
	char		title[600];

	if (row == NULL)
		return;
	if (screen.focus == DEAD_LETTERS)
	{
		explain(top, row->cells[0].text);
		return;
	}
	snprintf(title, sizeof(title), screen.focus == AGENTS ? "Tasks that %s holds" : "Live tasks of %s", row->cells[0].text);
	page_rows(top, title, sql[screen.focus], row->cells[0].text);
}

static void
set_filter(struct top *top, const char *text)
{
	(void) top;
	snprintf(screen.filter, sizeof(screen.filter), "%s", text);
}

static void
ask(const char *prompt, const char *proposal, void (*entered) (struct top *top, const char *line))
{
	screen.prompting = true;
	screen.prompt = prompt;
	snprintf(screen.line, sizeof(screen.line), "%s", proposal);
	screen.entered = entered;
}

/* For a task's id: the selected dead letter's is proposed. */
static void
ask_task(struct top *top, const char *prompt, void (*entered) (struct top *top, const char *line))
{
	const struct row *row = screen.focus == DEAD_LETTERS ? selected_row(top, DEAD_LETTERS) : NULL;

	ask(prompt, row ? row->cells[0].text : "", entered);
}

static void
move_selection(struct top *top, int by)
{
	const struct table *t = &top->data.tables[screen.focus];
	int			count;
	int		   *list = matching(t, &count);
	int			place = selected_place(t, screen.focus, list, count) + by;

	if (place >= count)
		place = count - 1;
	if (place < 0)
		place = 0;
	if (count > 0)
	{
		free(screen.panels[screen.focus].selected);
		screen.panels[screen.focus].selected = xstrdup(t->rows[list[place]].cells[0].text);
	}
	free(list);
}

static void
move_sort(int by)
{
	const struct column *columns = panel_columns(screen.focus);
	int		   *sort = &screen.panels[screen.focus].sort;
	int			count = 0;

	while (columns[count].title != NULL)
		count++;
	do
		*sort = (*sort + by + count) % count;
	while (columns[*sort].from > COLS);	/* not on this screen; the first one always is */
	/* numbers are more interesting from above */
	screen.panels[screen.focus].descending = columns[*sort].right || columns[*sort].trend;
}

static void
show_help(void)
{
	buf_puts(&screen.pager,
			 "ains-top " AINS_VERSION "\n\n"
			 "  Tab, 1 2 3      choose a panel: capabilities, agents, dead letters\n"
			 "  up down j k     choose a row; Page Up, Page Down, Home, End too\n"
			 "  < >             sort by another column; R turns the order round\n"
			 "  /               show only rows that contain a text; empty shows all\n"
			 "  Enter           the tasks of an agent or capability; why a dead letter is one\n"
			 "  e               explain why a task is not running\n"
			 "  space           refresh now\n"
			 "  + -             refresh more or less often\n"
			 "  h ?             this help\n"
			 "  q               quit\n"
			 "\nWith --operate:\n"
			 "  p               pause or resume the selected capability\n"
			 "  c               cancel a task\n"
			 "  r               put a dead letter, or another ended task, back\n");
	screen.pager_first = 0;
}

static void
change_interval(struct top *top, double factor)
{
	double		interval = (double) top->data.interval * factor;

	if (interval >= 200 && interval <= 3600 * 1000)
		top->data.interval = (int64_t) interval;
	top->data.next = 0;
	snprintf(screen.message, sizeof(screen.message), "refreshed every %.1f s", (double) top->data.interval / 1000);
}

static void
prompt_key(struct top *top, wint_t key, bool special)
{
	size_t		length = strlen(screen.line);

	if (key == 27 || key == 7)
		screen.prompting = false;
	else if (key == '\n' || key == '\r' || (special && key == KEY_ENTER))
	{
		char		line[MAX_LINE];

		screen.prompting = false;
		snprintf(line, sizeof(line), "%s", screen.line);
		/* no id means never mind; no filter means no filter */
		if (line[0] != '\0' || screen.entered == set_filter)
			screen.entered(top, line);
	}
	else if (key == 127 || key == 8 || (special && key == KEY_BACKSPACE))
	{
		while (length > 0 && ((unsigned char) screen.line[--length] & 0xC0) == 0x80)
			;
		screen.line[length] = '\0';
	}
	else if (key == 21)			/* ^U */
		screen.line[0] = '\0';
	else if (!special && key >= 32)
	{
		char		bytes[16];
		mbstate_t	state;
		size_t		n;

		memset(&state, 0, sizeof(state));
		n = wcrtomb(bytes, (wchar_t) key, &state);
		if (n != (size_t) -1 && length + n < sizeof(screen.line))
		{
			memcpy(screen.line + length, bytes, n);
			screen.line[length + n] = '\0';
		}
	}
}

static void
pager_key(wint_t key, bool special)
{
	int			lines = 0;

	for (const char *p = screen.pager.data; *p; p++)
		lines += *p == '\n';
	if (special && (key == KEY_DOWN || key == KEY_NPAGE))
		screen.pager_first += key == KEY_DOWN ? 1 : LINES - 2;
	else if (special && (key == KEY_UP || key == KEY_PPAGE))
		screen.pager_first -= key == KEY_UP ? 1 : LINES - 2;
	else if (!special || key != KEY_RESIZE)
		buf_free(&screen.pager);
	if (screen.pager_first > lines - (LINES - 1))
		screen.pager_first = lines - (LINES - 1);
	if (screen.pager_first < 0)
		screen.pager_first = 0;
}

static void
special_key(struct top *top, wint_t key)
{
	switch (key)
	{
		case KEY_UP:
			move_selection(top, -1);
			break;
		case KEY_DOWN:
			move_selection(top, 1);
			break;
		case KEY_PPAGE:
			move_selection(top, -LINES / 2);
			break;
		case KEY_NPAGE:
			move_selection(top, LINES / 2);
			break;
		case KEY_HOME:
			move_selection(top, -100000);
			break;
		case KEY_END:
			move_selection(top, 100000);
			break;
		case KEY_LEFT:
			move_sort(-1);
			break;
		case KEY_RIGHT:
			move_sort(1);
			break;
		case KEY_BTAB:
			screen.focus = (screen.focus + PANELS - 1) % PANELS;
			break;
		case KEY_ENTER:
			list_tasks(top);
			break;
	}
}

static void
plain_key(struct top *top, wint_t key)
{
	switch (key)
	{
		case 'q':
			top->quit = true;
			break;
		case '\t':
			screen.focus = (screen.focus + 1) % PANELS;
			break;
		case '1':
		case '2':
		case '3':
			screen.focus = (enum panel) (key - '1');
			break;
		case 'j':
			move_selection(top, 1);
			break;
		case 'k':
			move_selection(top, -1);
			break;
		case '<':
			move_sort(-1);
			break;
		case '>':
			move_sort(1);
			break;
		case 'R':
			screen.panels[screen.focus].descending = !screen.panels[screen.focus].descending;
			break;
		case '/':
			ask("filter: ", screen.filter, set_filter);
			break;
		case ' ':
			top->data.next = 0;
			break;
		case '+':
			change_interval(top, 0.5);
			break;
		case '-':
			change_interval(top, 2);
			break;
		case 'h':
		case '?':
			show_help();
			break;
		case '\n':
		case '\r':
			list_tasks(top);
			break;
		case 'e':
			ask_task(top, "explain task: ", explain);
			break;
		case 'p':
			pause_or_resume(top);
			break;
		case 'c':
			if (may_change(top))
				ask_task(top, "cancel task: ", cancel);
			break;
		case 'r':
			if (may_change(top))
				ask_task(top, "retry task: ", retry);
			break;
	}
}

static void
read_keys(struct top *top)
{
	wint_t		key;
	int			kind;

	while ((kind = get_wch(&key)) != ERR && !top->quit)
	{
		bool		special = kind == KEY_CODE_YES;

		screen.message[0] = '\0';
		if (screen.pager.data != NULL)
			pager_key(key, special);
		else if (screen.prompting)
			prompt_key(top, key, special);
		else if (special)
			special_key(top, key);
		else
			plain_key(top, key);
	}
	draw(top);
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
	screen.panels[DEAD_LETTERS].sort = 4;	/* AGE */
	draw(top);
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
	.show = draw,
	.input = read_keys,
	.fd = screen_fd,
	.close = close_screen,
};
