/*
 * log.h - lines on standard error, and the clock they and the timers use.
 */
#ifndef AINS_CLIENT_LOG_H
#define AINS_CLIENT_LOG_H

#include <stdbool.h>
#include <stdint.h>

enum log_level
{
	LV_ERROR,					/* always shown */
	LV_WARNING,					/* always shown */
	LV_INFO,					/* hidden by --quiet */
	LV_DEBUG,					/* shown by --verbose */
};

/* The name in log lines, and the connections' application_name; set by main(). */
extern const char *program_name;

/*
 * Gives the text of each line that would be shown to a function from now on;
 * the line is written as well when that returns true.
 */
extern void log_set_sink(bool (*sink) (enum log_level level, const char *text));

/* Shows lines up to this level from now on. */
extern void log_set_level(enum log_level level);

/* Whether a line of this level would be shown. */
extern int	log_shows(enum log_level level);

/*
 * Writes one line: local time with zone, program and pid, "task N:" when
 * task_id is not NULL, the message.  Line ends in the message become spaces.
 */
extern void log_line(enum log_level level, const char *task_id, const char *fmt, ...)
			__attribute__((format(printf, 3, 4)));

/* Milliseconds of a monotonic clock; the only clock the client decides by. */
extern int64_t now_ms(void);

#endif
