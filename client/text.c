/*
 * text.c - growing byte buffers, UTF-8, and the first look at "is it JSON".
 */
#define _GNU_SOURCE
#include "text.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"

static void
out_of_memory(void)
{
	log_line(LV_ERROR, NULL, "out of memory");
	exit(3);
}

void *
xmalloc(size_t n)
{
	void	   *p = malloc(n ? n : 1);

	if (p == NULL)
		out_of_memory();
	return p;
}

char *
xstrdup(const char *s)
{
	size_t		n = strlen(s) + 1;

	return memcpy(xmalloc(n), s, n);
}

void
buf_append(struct buf *b, const void *bytes, size_t n)
{
	if (b->len + n + 1 > b->cap)
	{
		size_t		cap = b->cap ? b->cap : 256;
		char	   *data;

		while (cap < b->len + n + 1)
			cap *= 2;
		data = realloc(b->data, cap);
		if (data == NULL)
			out_of_memory();
		b->data = data;
		b->cap = cap;
	}
	if (n > 0)
		memcpy(b->data + b->len, bytes, n);
	b->len += n;
	b->data[b->len] = '\0';
}

void
buf_puts(struct buf *b, const char *s)
{
	buf_append(b, s, strlen(s));
}

void
buf_free(struct buf *b)
{
	free(b->data);
	memset(b, 0, sizeof(*b));
}

/* Length of the valid UTF-8 sequence at s (n bytes are there), 0 if none; NUL is none. */
static size_t
utf8_length(const unsigned char *s, size_t n)
{
	size_t		len;

	if (s[0] >= 0x01 && s[0] < 0x80)
		return 1;
	if (s[0] >= 0xC2 && s[0] <= 0xDF)
		len = 2;
	else if (s[0] >= 0xE0 && s[0] <= 0xEF)
		len = 3;
	else if (s[0] >= 0xF0 && s[0] <= 0xF4)
		len = 4;
	else
		return 0;
	if (n < len)
		return 0;
	for (size_t i = 1; i < len; i++)
		if ((s[i] & 0xC0) != 0x80)
			return 0;
	/* Overlong forms, surrogates, beyond U+10FFFF. */
	if ((s[0] == 0xE0 && s[1] < 0xA0) || (s[0] == 0xED && s[1] > 0x9F) ||
		(s[0] == 0xF0 && s[1] < 0x90) || (s[0] == 0xF4 && s[1] > 0x8F))
		return 0;
	return len;
}

size_t
text_sanitize(struct buf *b)
{
	const unsigned char *s = (const unsigned char *) b->data;
	struct buf	clean = {0};
	size_t		bad = 0;
	size_t		good_from = 0;
	size_t		i = 0;

	while (i < b->len)
	{
		size_t		len = utf8_length(s + i, b->len - i);

		if (len > 0)
		{
			i += len;
			continue;
		}
		bad++;
		buf_append(&clean, s + good_from, i - good_from);
		buf_puts(&clean, "\xEF\xBF\xBD");
		good_from = ++i;
	}
	if (bad > 0)
	{
		buf_append(&clean, s + good_from, b->len - good_from);
		buf_free(b);
		*b = clean;
	}
	return bad;
}

size_t
text_sanitize_tail(struct buf *b)
{
	size_t		skip = 0;

	while (skip < 3 && skip < b->len && ((unsigned char) b->data[skip] & 0xC0) == 0x80)
		skip++;
	if (skip > 0)
	{
		memmove(b->data, b->data + skip, b->len - skip + 1);
		b->len -= skip;
	}
	return text_sanitize(b);
}

static bool
is_json_space(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

bool
text_is_blank(const struct buf *b)
{
	for (size_t i = 0; i < b->len; i++)
		if (!is_json_space(b->data[i]))
			return false;
	return true;
}

bool
text_may_be_json(const struct buf *b)
{
	size_t		from = 0;
	size_t		to = b->len;
	char		first;
	char		last;

	while (from < to && is_json_space(b->data[from]))
		from++;
	while (to > from && is_json_space(b->data[to - 1]))
		to--;
	if (from == to)
		return false;
	first = b->data[from];
	last = b->data[to - 1];

	switch (first)
	{
		case '{':
			return last == '}';
		case '[':
			return last == ']';
		case '"':
			return last == '"' && to - from >= 2;
		case 't':
			return to - from == 4 && memcmp(b->data + from, "true", 4) == 0;
		case 'f':
			return to - from == 5 && memcmp(b->data + from, "false", 5) == 0;
		case 'n':
			return to - from == 4 && memcmp(b->data + from, "null", 4) == 0;
		default:
			/* A number: nothing but its characters. */
			if (first != '-' && (first < '0' || first > '9'))
				return false;
			return strspn(b->data + from, "+-.0123456789eE") >= to - from;
	}
}

void
text_chomp(struct buf *b)
{
	if (b->len > 0 && b->data[b->len - 1] == '\n')
		b->data[--b->len] = '\0';
	if (b->len > 0 && b->data[b->len - 1] == '\r')
		b->data[--b->len] = '\0';
}

void
text_array_element(struct buf *b, const char *s)
{
	buf_puts(b, "\"");
	for (; *s; s++)
	{
		if (*s == '"' || *s == '\\')
			buf_puts(b, "\\");
		buf_append(b, s, 1);
	}
	buf_puts(b, "\"");
}
