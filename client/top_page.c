/*
 * top_page.c - the page: HTML that holds everything it needs.
 *
 * It is the same page for a file and by HTTP.  Names and messages come from
 * anybody: all text goes through escape(), and the policy (CSP) allows nothing
 * that is not ours.
 */
#define _GNU_SOURCE
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "top.h"

/* Made of page/top.css and page/top.js. */
static const char page_css[] =
#include "page_css.inc"
;
static const char page_js[] =
#include "page_js.inc"
;

#define PLOT_WIDTH		720		/* units of the picture */
#define PLOT_HEIGHT		100

static void __attribute__((format(printf, 2, 3)))
put(struct buf *out, const char *fmt, ...)
{
	char		text[1024];
	va_list		args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	buf_puts(out, text);
}

/* For text and for attributes in quotes. */
static void
escape(struct buf *out, const char *text)
{
	for (; *text; text++)
	{
		switch (*text)
		{
			case '&':
				buf_puts(out, "&amp;");
				break;
			case '<':
				buf_puts(out, "&lt;");
				break;
			case '>':
				buf_puts(out, "&gt;");
				break;
			case '"':
				buf_puts(out, "&quot;");
				break;
			case '\'':
				buf_puts(out, "&#39;");
				break;
			default:
				buf_append(out, text, 1);
		}
	}
}

/* ------------------------------------------------------------------------- */

typedef double (*value_of) (const struct series *s, int back);

static double
enqueued(const struct series *s, int back)
{
	return series_rate(s, back, ENQUEUED);
}

static double
completed(const struct series *s, int back)
{
	return series_rate(s, back, COMPLETED);
}

static double
failed(const struct series *s, int back)
{
	return series_rate(s, back, FAILED);
}

static double
most_of(const struct series *s, value_of value, double most)
{
	for (int i = 0; i < SLOTS; i++)
		most = fmax(most, value(s, i));
	return most;
}

/* How many slots the plots show: as long as something is known, from 5 minutes to the hour. */
static int
span_of(const struct series *s)
{
	int			span = SLOTS / 12;

	for (int i = 0; i < SLOTS; i++)
		while (i >= span && !isnan(completed(s, i)))
			span = span < SLOTS / 4 ? SLOTS / 4 : span * 2;
	return span;
}

/* A line over that time, interrupted where nothing is known. */
static void
put_line(struct buf *out, const struct series *s, int span, value_of value, double most, const char *class)
{
	bool		pen_down = false;

	put(out, "<path class=\"%s\" d=\"", class);
	for (int i = span - 1; i >= 0; i--)
	{
		double		y = value(s, i);
		int			x = PLOT_WIDTH - 1 - i * (PLOT_WIDTH / span);

		if (isnan(y))
		{
			pen_down = false;
			continue;
		}
		y = PLOT_HEIGHT - (most > 0 ? y / most : 0) * PLOT_HEIGHT;
		/* A point alone is a short line. */
		put(out, pen_down ? "L%d %.1f" : "M%d %.1fh1", x, y);
		pen_down = true;
	}
	buf_puts(out, "\"/>");
}

static void
put_svg(struct buf *out, const char *label)
{
	put(out, "<svg viewBox=\"0 -3 %d %d\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"%s\">",
		PLOT_WIDTH, PLOT_HEIGHT + 6, label);
}

static void
put_frame(struct buf *out, const char *title, const char *most)
{
	put(out, "<figure><figcaption><span>%s</span><span class=\"most\">%s</span></figcaption>", title, most);
	put_svg(out, "over time");
	put(out, "<line x1=\"0\" y1=\"%d\" x2=\"%d\" y2=\"%d\"/>", PLOT_HEIGHT, PLOT_WIDTH, PLOT_HEIGHT);
}

static void
put_plot_end(struct buf *out, int span)
{
	put(out, "</svg><div class=\"span\"><span>%d min ago</span><span>now</span></div></figure>\n",
		span * SLOT_MS / 60000);
}

static void
put_plots(struct buf *out, const struct series *s)
{
	char		number[32];
	char		most_text[64];
	int			span = span_of(s);
	double		most = most_of(s, enqueued, most_of(s, completed, most_of(s, failed, 0)));

	buf_puts(out, "<div class=\"plots\">\n");
	format_rate(number, sizeof(number), most);
	snprintf(most_text, sizeof(most_text), "up to %s/s", number);
	put_frame(out, "<span class=\"key\">completed</span>, <span class=\"key in\">enqueued</span>, "
			  "<span class=\"key failed\">failed</span>", most_text);
	put_line(out, s, span, enqueued, most, "in");
	put_line(out, s, span, failed, most, "failed");
	put_line(out, s, span, completed, most, "completed");
	put_plot_end(out, span);

	most = most_of(s, series_wait, 0);
	format_seconds(number, sizeof(number), most);
	snprintf(most_text, sizeof(most_text), "up to %s", number);
	put_frame(out, "wait from due to claim, mean", most_text);
	put_line(out, s, span, series_wait, most, "wait");
	put_plot_end(out, span);

	most = most_of(s, series_oldest, 0);
	format_seconds(number, sizeof(number), most);
	snprintf(most_text, sizeof(most_text), "up to %s", number);
	put_frame(out, "age of the oldest ready task", most_text);
	put_line(out, s, span, series_oldest, most, "oldest");
	put_plot_end(out, span);
	buf_puts(out, "</div>\n");
}

/* ------------------------------------------------------------------------- */

static const char *
tone_class(enum tone tone)
{
	static const char *const classes[] = {"", "dim", "good", "warn", "bad"};

	return classes[tone];
}

static void
put_fact(struct buf *out, const char *name, const char *value, enum tone tone)
{
	put(out, "<div><dt>%s</dt><dd class=\"%s\">%s</dd></div>\n", name, tone_class(tone), value);
}

static void
put_facts(struct buf *out, const struct data *d)
{
	const struct totals *t = &d->totals;
	char		text[32];

	buf_puts(out, "<dl class=\"facts\">\n");
	snprintf(text, sizeof(text), "%.0f", t->alive);
	put_fact(out, "agents alive", text, TONE_PLAIN);
	snprintf(text, sizeof(text), "%.0f", t->dead);
	put_fact(out, "agents dead", text, t->dead > 0 ? TONE_BAD : TONE_PLAIN);
	snprintf(text, sizeof(text), "%.0f", t->ready);
	put_fact(out, "tasks ready", text, TONE_PLAIN);
	snprintf(text, sizeof(text), "%.0f", t->active);
	put_fact(out, "active", text, TONE_PLAIN);
	snprintf(text, sizeof(text), "%.0f", t->later);
	put_fact(out, "later", text, TONE_PLAIN);
	format_rate(text, sizeof(text), d->total->rates[COMPLETED]);
	put_fact(out, "completed/s", text, TONE_PLAIN);
	format_rate(text, sizeof(text), d->total->rates[FAILED]);
	put_fact(out, "failed/s", text, d->total->rates[FAILED] > 0 ? TONE_BAD : TONE_PLAIN);
	format_seconds(text, sizeof(text), t->ready > 0 ? t->oldest : NAN);
	put_fact(out, "oldest", text, TONE_PLAIN);
	buf_puts(out, "</dl>\n");
}

static void
put_cell(struct buf *out, const struct data *d, const struct column *column, const struct row *row, int i)
{
	const struct cell *c = &row->cells[i];

	put(out, "<td class=\"%s%s%s%s\"", column->right ? "number " : "", column->grows ? "grows " : "",
		column->from > 0 ? "wide " : "", column->trend ? "wide" : tone_class(c->tone));
	if (!isnan(c->number))
		put(out, " data-n=\"%.17g\"", c->number);
	buf_puts(out, ">");
	if (column->trend)
	{
		put_svg(out, "completed over time");
		put_line(out, row->series, span_of(d->total), completed, most_of(row->series, completed, 0), "completed");
		buf_puts(out, "</svg>");
	}
	else
		escape(out, c->text);
	buf_puts(out, "</td>");
}

static void
put_table(struct buf *out, const struct data *d, enum panel panel)
{
	static const char *const ids[PANELS] = {"capabilities", "agents", "tasks", "dead-letters"};
	const struct table *t = &d->tables[panel];
	const struct column *columns = panel_columns(panel);

	put(out, "<h2>%s</h2>\n", panel_title(panel));
	if (t->count == 0)
	{
		put(out, "<p class=\"none\">%s</p>\n", data_why_empty(d, panel));
		return;
	}
	put(out, "<div class=\"scroll\"><table id=\"%s\"><thead><tr>", ids[panel]);
	for (const struct column *c = columns; c->title != NULL; c++)
		put(out, "<th scope=\"col\" class=\"%s%s\"><button>%s</button></th>", c->right ? "number " : "",
			c->from > 0 || c->trend ? "wide" : "", c->title);
	buf_puts(out, "</tr></thead><tbody>\n");
	for (int i = 0; i < t->count; i++)
	{
		put(out, "<tr class=\"%s\">", tone_class(t->rows[i].tone));
		for (int j = 0; columns[j].title != NULL; j++)
			put_cell(out, d, &columns[j], &t->rows[i], j);
		buf_puts(out, "</tr>\n");
	}
	buf_puts(out, "</tbody></table></div>\n");
}

void
page_write_live(const struct data *d, struct buf *out)
{
	buf_puts(out, "<main id=\"live\">\n");
	put(out, "<p id=\"notice\" class=\"notice\" role=\"status\"%s>", d->notice[0] ? "" : " hidden");
	escape(out, d->notice);
	buf_puts(out, "</p>\n");
	put_facts(out, d);
	put_plots(out, d->total);
	for (int i = 0; i < PANELS; i++)
		put_table(out, d, (enum panel) i);
	buf_puts(out, "<p class=\"dim\">as of ");
	escape(out, d->clock);
	buf_puts(out, ", seen by ");
	escape(out, d->user);
	buf_puts(out, ", ains ");
	escape(out, d->version);
	buf_puts(out, "</p>\n</main>\n");
}

void
page_write(const struct top *top, const char *nonce, struct buf *out)
{
	const struct data *d = &top->data;

	buf_puts(out, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
			 "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
			 "<link rel=\"icon\" href=\"data:,\">\n");
	if (nonce == NULL)
	{
		buf_puts(out, "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
				 "style-src 'unsafe-inline'; img-src data:\">\n");
		if (!top->options->once)
			put(out, "<meta http-equiv=\"refresh\" content=\"%lld\">\n",
				(long long) (top->options->interval + 999) / 1000);
	}
	buf_puts(out, "<title>ains-top: ");
	escape(out, d->database);
	put(out, "</title>\n<style%s%s%s>\n", nonce ? " nonce=\"" : "", nonce ? nonce : "", nonce ? "\"" : "");
	buf_puts(out, page_css);
	put(out, "</style>\n</head>\n<body data-interval=\"%lld\">\n", (long long) top->options->interval);
	buf_puts(out, "<header><h1>ains</h1><p>database ");
	escape(out, d->database);
	buf_puts(out, "</p><input id=\"filter\" type=\"search\" placeholder=\"filter\" aria-label=\"filter\" hidden></header>\n");
	page_write_live(d, out);
	if (nonce != NULL)
	{
		put(out, "<script nonce=\"%s\">\n", nonce);
		buf_puts(out, page_js);
		buf_puts(out, "</script>\n");
	}
	buf_puts(out, "</body>\n</html>\n");
}

/* ------------------------------------------------------------------------- */

/* Readers see the old page or the new one, whole. */
static void
write_file(struct top *top)
{
	const char *path = top->options->html;
	char	   *temporary;
	struct buf	page = {0};
	FILE	   *file;
	bool		good;

	if (top->data.refreshes == 0)
		return;
	page_write(top, NULL, &page);
	if (asprintf(&temporary, "%s.tmp", path) < 0)
		exit(EXIT_REFUSED);
	file = fopen(temporary, "we");
	good = file != NULL && fwrite(page.data, 1, page.len, file) == page.len;
	if (file != NULL && fclose(file) != 0)
		good = false;
	if (!good || rename(temporary, path) != 0)
	{
		fprintf(stderr, "ains-top: cannot write \"%s\": %m\n", path);
		unlink(temporary);
		exit(EXIT_REFUSED);
	}
	free(temporary);
	buf_free(&page);
	if (top->options->once)
		top->quit = true;
}

const struct view file_view = {
	.show = write_file,
};
