/*
 * top_keys.c - the keys of the terminal view.
 */
#define _GNU_SOURCE
#define NCURSES_WIDECHAR 1
#include <ncurses.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#include "top_screen.h"

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
	/* the live tasks may be others now: looked for at once, whatever it costs */
	top->data.tasks.from = 0;
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
	const struct row *row = screen_selected(top, CAPABILITIES);

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
	const struct row *row = screen_selected(top, screen.focus);
	char		title[600];

	if (row == NULL)
		return;
	if (screen.focus == TASKS || screen.focus == DEAD_LETTERS)
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

/* For a task's id: that of the selected task or dead letter is proposed. */
static void
ask_task(struct top *top, const char *prompt, void (*entered) (struct top *top, const char *line))
{
	bool		chosen = screen.focus == TASKS || screen.focus == DEAD_LETTERS;
	const struct row *row = chosen ? screen_selected(top, screen.focus) : NULL;

	ask(prompt, row ? row->cells[0].text : "", entered);
}

static void
move_selection(struct top *top, int by)
{
	const struct table *t = &top->data.tables[screen.focus];
	int			count;
	int		   *list = screen_matching(t, &count);
	int			place = screen_place(t, screen.focus, list, count) + by;

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
			 "  Tab, 1 2 3 4    choose a panel: capabilities, agents, live tasks, dead letters\n"
			 "  up down j k     choose a row; Page Up, Page Down, Home, End too\n"
			 "  < >             sort by another column; R turns the order round\n"
			 "  /               show only rows that contain a text; empty shows all\n"
			 "  Enter           the tasks of an agent or capability; why a task is where it is\n"
			 "  e               explain why a task is not running\n"
			 "  space           refresh now\n"
			 "  + -             refresh more or less often\n"
			 "  h ?             this help\n"
			 "  q               quit\n"
			 "\nWith --operate:\n"
			 "  p               pause or resume the selected capability\n"
			 "  c               cancel a task\n"
			 "  r               put a dead letter, or another ended task, back\n"
			 "\ne, c and r ask which task; the selected one is proposed.\n");
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
		case '4':
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

void
screen_keys(struct top *top)
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
	screen_draw(top);
}
