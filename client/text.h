/*
 * text.h - growing byte buffers, UTF-8, and the first look at "is it JSON".
 */
#ifndef AINS_CLIENT_TEXT_H
#define AINS_CLIENT_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Bytes owned by the struct.  A zeroed struct is an empty buffer; data is NULL
 * until something is appended and always ends in a NUL that len does not count.
 */
struct buf
{
	char	   *data;
	size_t		len;
	size_t		cap;
};

/* Appends n bytes / a string; ends the process when memory is out. */
extern void buf_append(struct buf *b, const void *bytes, size_t n);
extern void buf_puts(struct buf *b, const char *s);

/* Frees the bytes and empties the buffer. */
extern void buf_free(struct buf *b);

/* malloc and strdup that end the process when memory is out; caller frees. */
extern void *xmalloc(size_t n);
extern char *xstrdup(const char *s);

/*
 * Makes the buffer valid UTF-8 without NUL: each offending byte becomes
 * U+FFFD.  Returns how many there were.
 */
extern size_t text_sanitize(struct buf *b);

/*
 * Like text_sanitize, for a piece cut out of the middle of a stream: stray
 * continuation bytes at its start are dropped instead of replaced.
 */
extern size_t text_sanitize_tail(struct buf *b);

/* Whether the buffer holds nothing but JSON white space. */
extern bool text_is_blank(const struct buf *b);

/*
 * Whether the text could be JSON by its first and last character.  A cheap
 * filter: the server is the judge, and is asked only when this says yes, so
 * that plain text does not leave an error in the server's log.
 */
extern bool text_may_be_json(const struct buf *b);

/* Removes one line end at the end, as a shell's $(...) would. */
extern void text_chomp(struct buf *b);

/* Appends s to b as one quoted element of an array literal such as {"a","b"}. */
extern void text_array_element(struct buf *b, const char *s);

#endif
