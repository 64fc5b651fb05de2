/*
 * top_text.c - the tables as plain text, once: for pipes.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#include "top.h"

/* Columns a text takes on a terminal; what the locale cannot read counts as bytes. */
static int
text_width(const char *text)
{
	wchar_t		wide[1024];
	size_t		n = mbstowcs(wide, text, sizeof(wide) / sizeof(wide[0]) - 1);
	int			width;

	if (n == (size_t) -1)
		return (int) strlen(text);
	wide[n] = L'\0';
	width = wcswidth(wide, n);
	return width < 0 ? (int) n : width;
}

static void
print_table(const struct data *d, enum panel panel)
{
	const struct table *t = &d->tables[panel];
	const struct column *columns = panel_columns(panel);
	int			widths[MAX_COLUMNS] = {0};

	for (int i = -1; i < t->count; i++)
		for (int j = 0; columns[j].title != NULL && !columns[j].trend; j++)
		{
			int			width = text_width(i < 0 ? columns[j].title : t->rows[i].cells[j].text);

			if (width > widths[j])
				widths[j] = width;
		}
	if (t->count == 0)
	{
		printf("\n%s: %s\n", panel_title(panel), data_why_empty(d, panel));
		return;
	}
	printf("\n%s: %d\n", panel_title(panel), t->count);
	for (int i = -1; i < t->count; i++)
	{
		for (int j = 0; columns[j].title != NULL; j++)
		{
			const char *text = i < 0 ? columns[j].title : t->rows[i].cells[j].text;
			bool		last = columns[j + 1].title == NULL || columns[j + 1].trend;
			int			pad = widths[j] - text_width(text);

			if (columns[j].trend)
				break;
			printf("%s%*s%s%*s", j > 0 ? "  " : "", columns[j].right ? pad : 0, "", text,
				   columns[j].right || last ? 0 : pad, "");
		}
		putchar('\n');
	}
}

static void
show_text(struct top *top)
{
	struct data *d = &top->data;

	if (d->refreshes == 0)
		return;
	printf("ains %s  database %s  role %s  %s\n", d->version, d->database, d->user, d->clock);
	printf("agents: %.0f alive, %.0f dead, %.0f away  tasks: %.0f ready, %.0f active, %.0f later\n",
		   d->totals.alive, d->totals.dead, d->totals.away,
		   d->totals.ready, d->totals.active, d->totals.later);
	for (int i = 0; i < PANELS; i++)
	{
		table_sort(&d->tables[i], 0, i == DEAD_LETTERS);
		print_table(d, (enum panel) i);
	}
	if (fflush(stdout) != 0)
	{
		perror("ains-top: standard output");
		exit(EXIT_REFUSED);
	}
	top->quit = true;
}

const struct view once_view = {
	.show = show_text,
};
