/*
 * log.c - lines on standard error, and the clock they and the timers use.
 */
#define _GNU_SOURCE
#include "log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

const char *program_name = "ains-agent";

static enum log_level shown = LV_INFO;
static bool (*sink) (enum log_level level, const char *text);

void
log_set_sink(bool (*function) (enum log_level level, const char *text))
{
	sink = function;
}

void
log_set_level(enum log_level level)
{
	shown = level;
}

int
log_shows(enum log_level level)
{
	return level <= shown;
}

void
log_line(enum log_level level, const char *task_id, const char *fmt, ...)
{
	static const char *const prefix[] = {"error: ", "warning: ", "", "debug: "};
	char		line[4096];
	char		stamp[32];
	char		zone[8];
	struct timespec ts;
	struct tm	tm;
	va_list		args;
	size_t		start;
	int			n;

	if (!log_shows(level))
		return;

	clock_gettime(CLOCK_REALTIME, &ts);
	localtime_r(&ts.tv_sec, &tm);
	strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S", &tm);
	strftime(zone, sizeof(zone), "%z", &tm);
	n = snprintf(line, sizeof(line), "%s.%03ld%s %s[%ld] %s%s%s%s",
				 stamp, ts.tv_nsec / 1000000, zone, program_name, (long) getpid(), prefix[level],
				 task_id ? "task " : "", task_id ? task_id : "", task_id ? ": " : "");
	start = (size_t) n;

	va_start(args, fmt);
	n = vsnprintf(line + start, sizeof(line) - start - 1, fmt, args);
	va_end(args);
	if (n < 0)
		n = 0;
	if ((size_t) n > sizeof(line) - start - 2)
		n = (int) (sizeof(line) - start - 2);
	for (char *p = line + start; p < line + start + n; p++)
		if (*p == '\n' || *p == '\r')
			*p = ' ';
	if (sink != NULL && !sink(level, line + start))
		return;
	line[start + (size_t) n] = '\n';

	/* One write per line, so that lines of several agents do not mix. */
	if (write(STDERR_FILENO, line, start + (size_t) n + 1) < 0)
		return;					/* nobody is left to be told */
}

int64_t
now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t) ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}
