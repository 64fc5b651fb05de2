/*
 * core/cron.h
 *		Cron texts: what they say, and when they are due next.
 *
 * Five fields, as crontab(5) and pg_cron read them: minute, hour, day of the
 * month, month, day of the week; '*', lists, ranges, steps, names of months
 * and days; '$' for the last day of the month; or one of @hourly, @daily,
 * @midnight, @weekly, @monthly, @yearly, @annually.
 */
#ifndef AINS_CRON_H
#define AINS_CRON_H

#include "ains.h"

#include "pgtime.h"

typedef struct CronTimes
{
	uint64		minutes;		/* bit n: minute n; the others likewise */
	uint32		hours;
	uint32		days;
	bool		last_day;		/* of the month, whichever that is */
	uint16		months;
	uint8		weekdays;		/* 0 is Sunday */
	bool		either_day;		/* days or weekdays, not both: neither began with '*' */
} CronTimes;

/* NULL, or what is wrong with the text, palloc'd. */
extern char *cron_parse(const char *cron, CronTimes *times);

/*
 * The first time after that one, which is no time of its own; 0: there is none
 * in the next forty years. Every minute counts whose local time fits, so one
 * that a change of the clock skips is not due, and one that it repeats is twice.
 */
extern TimestampTz cron_next(const CronTimes *times, TimestampTz after, pg_tz *zone);

#endif							/* AINS_CRON_H */
