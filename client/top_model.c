/*
 * top_model.c - what ains-top shows: four tables of cells, and an hour of
 * numbers for each capability.
 */
#define _GNU_SOURCE
#include "top_model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct column capability_columns[] = {
	{.title = "CAPABILITY", .width = 14, .grows = true},
	{.title = "STATE", .width = 8},
	{.title = "READY", .width = 6, .right = true},
	{.title = "ACTIVE", .width = 6, .right = true},
	{.title = "LATER", .width = 6, .right = true},
	{.title = "OLDEST", .width = 6, .right = true},
	{.title = "IN/S", .width = 6, .right = true},
	{.title = "DONE/S", .width = 6, .right = true},
	{.title = "FAIL/S", .width = 6, .right = true, .from = 90},
	{.title = "WAIT", .width = 6, .right = true, .from = 90},
	{.title = "AGENTS", .width = 6, .right = true, .from = 100},
	{.title = "TREND", .width = 10, .trend = true},
	{0}
};

static const struct column agent_columns[] = {
	{.title = "AGENT", .width = 14, .grows = true},
	{.title = "TYPE", .width = 10, .from = 90},
	{.title = "STATE", .width = 9},
	{.title = "BEAT", .width = 6, .right = true},
	{.title = "LEASES", .width = 6, .right = true},
	{.title = "TRUST", .width = 5, .right = true},
	{.title = "ACTIVITY", .width = 20, .grows = true},
	{0}
};

static const struct column task_columns[] = {
	{.title = "TASK", .width = 11, .right = true},
	{.title = "CAPABILITY", .width = 16, .grows = true},
	{.title = "STATUS", .width = 10},
	{.title = "AGENT", .width = 14, .grows = true},
	{.title = "TRIES", .width = 5, .right = true, .from = 90},
	{.title = "AGE", .width = 6, .right = true},
	{.title = "LEASE", .width = 6, .right = true},
	{.title = "DONE", .width = 4, .right = true},
	{0}
};

static const struct column dead_columns[] = {
	{.title = "DEAD LETTER", .width = 11, .right = true},
	{.title = "CAPABILITY", .width = 16},
	{.title = "AGENT", .width = 14, .from = 90},
	{.title = "TRIES", .width = 5, .right = true},
	{.title = "AGE", .width = 6, .right = true},
	{.title = "ERROR", .width = 20, .grows = true},
	{0}
};

const struct column *
panel_columns(enum panel panel)
{
	static const struct column *const columns[PANELS] = {
		capability_columns, agent_columns, task_columns, dead_columns,
	};

	return columns[panel];
}

const char *
panel_title(enum panel panel)
{
	static const char *const titles[PANELS] = {"Capabilities", "Agents", "Live tasks", "Dead letters"};

	return titles[panel];
}

struct row *
table_add(struct table *t)
{
	struct row *row;

	/* room for a power of two */
	if ((t->count & (t->count - 1)) == 0)
	{
		struct row *rows = xmalloc(sizeof(*rows) * (t->count > 0 ? 2 * (size_t) t->count : 1));

		if (t->count > 0)
			memcpy(rows, t->rows, sizeof(*rows) * (size_t) t->count);
		free(t->rows);
		t->rows = rows;
	}
	row = &t->rows[t->count++];
	memset(row, 0, sizeof(*row));
	return row;
}

void
table_clear(struct table *t)
{
	for (int i = 0; i < t->count; i++)
		for (int j = 0; j < MAX_COLUMNS; j++)
			free(t->rows[i].cells[j].text);
	free(t->rows);
	memset(t, 0, sizeof(*t));
}

bool
row_matches(const struct row *row, const char *text)
{
	if (text == NULL || *text == '\0')
		return true;
	for (int i = 0; i < MAX_COLUMNS; i++)
		if (row->cells[i].text != NULL && strcasestr(row->cells[i].text, text) != NULL)
			return true;
	return false;
}

struct order
{
	int			column;
	bool		descending;
};

static int
compare_cells(const struct cell *a, const struct cell *b)
{
	if (!isnan(a->number) && !isnan(b->number))
		return (a->number > b->number) - (a->number < b->number);
	/* what is not known comes before what is */
	if (isnan(a->number) != isnan(b->number))
		return isnan(a->number) ? -1 : 1;
	return strcmp(a->text, b->text);
}

static int
compare_rows(const void *left, const void *right, void *arg)
{
	const struct row *a = left;
	const struct row *b = right;
	const struct order *order = arg;
	int			result = compare_cells(&a->cells[order->column], &b->cells[order->column]);

	if (result == 0)
		return compare_cells(&a->cells[0], &b->cells[0]);
	return order->descending ? -result : result;
}

void
table_sort(struct table *t, int column, bool descending)
{
	struct order order = {column, descending};

	if (t->count > 1)
		qsort_r(t->rows, (size_t) t->count, sizeof(*t->rows), compare_rows, &order);
}

char *
safe_copy(const char *text)
{
	struct buf	out = {0};

	buf_puts(&out, "");
	for (const unsigned char *s = (const unsigned char *) text; *s; s++)
	{
		/* U+0080 to 009F; U+200E, 200F, 2028 to 202E, 2066 to 2069 */
		if (*s == '\t' || *s == '\n' || *s == '\r')
			buf_puts(&out, " ");
		else if (*s < 0x20 || *s == 0x7F)
			buf_puts(&out, "?");
		else if (*s == 0xC2 && s[1] >= 0x80 && s[1] <= 0x9F)
		{
			buf_puts(&out, "?");
			s++;
		}
		else if (*s == 0xE2 && ((s[1] == 0x80 && (s[2] == 0x8E || s[2] == 0x8F || (s[2] >= 0xA8 && s[2] <= 0xAE))) ||
								(s[1] == 0x81 && s[2] >= 0xA6 && s[2] <= 0xA9)))
		{
			buf_puts(&out, "?");
			s += 2;
		}
		else
			buf_append(&out, s, 1);
	}
	return out.data;
}

void
cell_text(struct cell *c, const char *text)
{
	c->text = safe_copy(text);
	c->number = NAN;
}

void
cell_count(struct cell *c, double number)
{
	char		text[32];

	if (number >= 1e9)
		snprintf(text, sizeof(text), "%.1fG", number / 1e9);
	else if (number >= 1e6)
		snprintf(text, sizeof(text), "%.1fM", number / 1e6);
	else
		snprintf(text, sizeof(text), "%.0f", number);
	c->text = xstrdup(isnan(number) ? "-" : text);
	c->number = number;
}

void
format_rate(char *out, size_t size, double per_second)
{
	if (isnan(per_second))
		snprintf(out, size, "-");
	else if (per_second >= 1e6)
		snprintf(out, size, "%.1fM", per_second / 1e6);
	else if (per_second >= 9999.5)
		snprintf(out, size, "%.0fk", per_second / 1e3);
	else if (per_second >= 99.95)
		snprintf(out, size, "%.0f", per_second);
	else
		snprintf(out, size, "%.1f", per_second);
}

void
cell_rate(struct cell *c, double per_second)
{
	char		text[32];

	format_rate(text, sizeof(text), per_second);
	c->text = xstrdup(text);
	c->number = per_second;
}

void
format_seconds(char *out, size_t size, double seconds)
{
	if (isnan(seconds))
		snprintf(out, size, "-");
	else if (seconds < 0.0995)
		snprintf(out, size, "%.0fms", seconds > 0 ? seconds * 1000 : 0);
	else if (seconds < 99.95)
		snprintf(out, size, "%.1fs", seconds);
	else if (seconds < 100 * 60)
		snprintf(out, size, "%.0fm", floor(seconds / 60));
	else if (seconds < 100 * 3600)
		snprintf(out, size, "%.0fh", floor(seconds / 3600));
	else if (seconds < 9999 * 86400.0)
		snprintf(out, size, "%.0fd", floor(seconds / 86400));
	else
		snprintf(out, size, ">9999d");
}

void
cell_seconds(struct cell *c, double seconds)
{
	char		text[32];

	format_seconds(text, sizeof(text), seconds);
	c->text = xstrdup(text);
	c->number = seconds;
}

/* ------------------------------------------------------------------------- */

struct series *
series_new(const char *name)
{
	struct series *s = xmalloc(sizeof(*s));

	memset(s, 0, sizeof(*s));
	s->name = xstrdup(name);
	for (int i = 0; i < COUNTERS; i++)
		s->rates[i] = NAN;
	return s;
}

void
series_free(struct series *s)
{
	free(s->name);
	free(s);
}

/* Makes room for slots up to this number. */
static void
advance(struct series *s, int64_t slot)
{
	if (s->newest < slot - SLOTS)
		s->newest = slot - SLOTS;
	while (s->newest < slot)
		memset(&s->slots[++s->newest % SLOTS], 0, sizeof(struct slot));
}

void
series_update(struct series *s, int64_t now, const double counters[COUNTERS], double oldest)
{
	int64_t		slot = now / SLOT_MS;
	int64_t		since = s->at > 0 ? s->at : now;
	double		elapsed = (double) (now - since);
	double		delta[COUNTERS] = {0};

	advance(s, slot);
	for (int i = 0; i < COUNTERS && elapsed > 0; i++)
	{
		delta[i] = counters[i] >= s->counters[i] ? counters[i] - s->counters[i] : counters[i];
		s->rates[i] = delta[i] / (elapsed / 1000);
	}
	for (int64_t n = since / SLOT_MS; n <= slot; n++)
	{
		int64_t		from = n * SLOT_MS > since ? n * SLOT_MS : since;
		int64_t		to = (n + 1) * SLOT_MS < now ? (n + 1) * SLOT_MS : now;
		struct slot *into = &s->slots[n % SLOTS];

		if (n <= slot - SLOTS)
			continue;
		if (oldest > into->oldest)
			into->oldest = (float) oldest;
		if (to <= from)
			continue;
		into->seconds += (float) (to - from) / 1000;
		for (int i = 0; i < COUNTERS; i++)
			into->events[i] += (float) (delta[i] * (double) (to - from) / elapsed);
	}
	memcpy(s->counters, counters, sizeof(s->counters));
	s->at = now;
}

static const struct slot *
slot_back(const struct series *s, int back)
{
	if (back >= SLOTS || s->newest < back)
		return NULL;
	return &s->slots[(s->newest - back) % SLOTS];
}

double
series_rate(const struct series *s, int back, enum metric metric)
{
	const struct slot *slot = slot_back(s, back);

	/* hardly begun, it would jump about */
	if (slot == NULL || slot->seconds < 0.2f)
		return NAN;
	return slot->events[metric] / slot->seconds;
}

double
series_wait(const struct series *s, int back)
{
	const struct slot *slot = slot_back(s, back);

	if (slot == NULL || slot->seconds < 0.2f)
		return NAN;
	return slot->events[CLAIMED] > 0 ? slot->events[WAIT_US] / slot->events[CLAIMED] / 1e6 : 0;
}

double
series_oldest(const struct series *s, int back)
{
	const struct slot *slot = slot_back(s, back);

	if (slot == NULL || slot->seconds < 0.2f)
		return NAN;
	return slot->oldest;
}

void
series_trend(const struct series *s, int width, bool utf8, struct buf *out)
{
	static const char *const blocks[] = {
		"\u2581", "\u2582", "\u2583", "\u2584", "\u2585", "\u2586", "\u2587", "\u2588",
	};
	static const char *const ascii[] = {"_", ".", ".", "-", "-", "=", "=", "#"};
	double		most = 0;

	for (int i = 0; i < width; i++)
		most = fmax(most, series_rate(s, i, COMPLETED));
	for (int i = width - 1; i >= 0; i--)
	{
		double		rate = series_rate(s, i, COMPLETED);
		int			level = rate > 0 ? 1 + (int) (rate / most * 6.999) : 0;

		buf_puts(out, isnan(rate) ? " " : (utf8 ? blocks : ascii)[level > 7 ? 7 : level]);
	}
}
