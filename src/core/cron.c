/*
 * core/cron.c
 *		Cron texts.
 *
 * pg_cron reads them, too, but tells nobody when a job is due next, nor when it
 * was while pg_cron was away: so ains has to. Where the two could differ pg_cron
 * is followed, except that what it reads past ("5/10", "5x") is refused here.
 */
#include "core/cron.h"

#include <ctype.h>

#include "miscadmin.h"
#include "utils/datetime.h"
#include "utils/timestamp.h"

/* Rarer than that is never: a 29 February on a given weekday comes in 40 years. */
#define LONGEST_WAIT	(41 * 366 * USECS_PER_DAY)

typedef struct Field
{
	const char *name;
	int			min;
	int			max;
	const char *const *words;	/* for min and what follows; NULL: none */
} Field;

static const char *const month_names[] = {
	"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec", NULL
};
static const char *const day_names[] = {
	"sun", "mon", "tue", "wed", "thu", "fri", "sat", NULL
};

enum
{
	OF_MINUTE, OF_HOUR, OF_DAY, OF_MONTH, OF_WEEKDAY, FIELD_COUNT
};

static const Field fields[FIELD_COUNT] = {
	{"minute", 0, 59, NULL},
	{"hour", 0, 23, NULL},
	{"day of the month", 1, 31, NULL},
	{"month", 1, 12, month_names},
	{"day of the week", 0, 7, day_names},
};

static const struct
{
	const char *name;
	const char *text;
}			nicknames[] = {
	{"@yearly", "0 0 1 1 *"},
	{"@annually", "0 0 1 1 *"},
	{"@monthly", "0 0 1 * *"},
	{"@weekly", "0 0 * * 0"},
	{"@daily", "0 0 * * *"},
	{"@midnight", "0 0 * * *"},
	{"@hourly", "0 * * * *"},
};

/* A number or a word at *at, which moves on; -1: neither, or too large. */
static int
read_value(const char **at, const Field *field)
{
	int			value = 0;
	int			digits = 0;

	while (isdigit((unsigned char) **at) && digits < 3)
	{
		value = value * 10 + *(*at)++ - '0';
		digits++;
	}
	if (digits > 0)
		return digits < 3 ? value : -1;
	for (int i = 0; field->words != NULL && field->words[i] != NULL; i++)
		if (pg_strncasecmp(*at, field->words[i], 3) == 0 && !isalnum((unsigned char) (*at)[3]))
		{
			*at += 3;
			return field->min + i;
		}
	return -1;
}

/* Reads one field, up to its end; NULL, or what is wrong with it. */
static char *
read_field(const char *cron, const Field *field, uint64 *bits, bool *last)
{
	const char *at = cron;

	for (;;)
	{
		int			from = field->min;
		int			to = field->max;
		int			step = 1;
		bool		range = true;

		if (*at == '$' && last != NULL)
		{
			*last = true;
			at++;
			range = false;
			from = to + 1;		/* no day by its number */
		}
		else if (*at == '*')
			at++;
		else
		{
			from = to = read_value(&at, field);
			range = *at == '-';
			if (range)
			{
				at++;
				to = read_value(&at, field);
			}
			if (from < field->min || to < field->min || from > field->max || to > field->max)
				return psprintf("\"%s\" is no %s from %d to %d.",
								cron, field->name, field->min, field->max);
			if (to < from)
				return psprintf("The range of the %s \"%s\" runs backwards.", field->name, cron);
		}
		if (range && *at == '/')
		{
			at++;
			step = isdigit((unsigned char) *at) ? read_value(&at, field) : -1;
			if (step < 1)
				return psprintf("The step of the %s \"%s\" is no number from 1 to 99.",
								field->name, cron);
		}
		for (int value = from; value <= to && value <= field->max; value += step)
			*bits |= UINT64CONST(1) << value;
		if (*at == '\0')
			return NULL;
		if (*at++ != ',')
			return psprintf("The %s \"%s\" is no list of values and ranges.", field->name, cron);
	}
}

char *
cron_parse(const char *cron, CronTimes *times)
{
	char	   *copy;
	char	   *rest;
	char	   *word;
	uint64		bits[FIELD_COUNT] = {0};
	bool		star[FIELD_COUNT] = {0};
	int			count = 0;

	memset(times, 0, sizeof(*times));
	copy = pstrdup(cron);
	for (word = strtok_r(copy, " \t", &rest); word != NULL; word = strtok_r(NULL, " \t", &rest))
	{
		char	   *wrong;

		if (count == 0 && *word == '@')
		{
			for (int i = 0; i < lengthof(nicknames); i++)
				if (pg_strcasecmp(word, nicknames[i].name) == 0 &&
					strtok_r(NULL, " \t", &rest) == NULL)
					return cron_parse(nicknames[i].text, times);
			return psprintf("\"%s\" is none of @hourly, @daily, @midnight, @weekly, @monthly, @yearly and @annually.",
							cron);
		}
		if (count == FIELD_COUNT)
			return psprintf("\"%s\" has more than five fields.", cron);
		star[count] = *word == '*';
		wrong = read_field(word, &fields[count], &bits[count],
						   count == OF_DAY ? &times->last_day : NULL);
		if (wrong != NULL)
			return wrong;
		count++;
	}
	if (count < FIELD_COUNT)
		return psprintf("\"%s\" has %d of five fields.", cron, count);

	times->minutes = bits[OF_MINUTE];
	times->hours = bits[OF_HOUR];
	times->days = bits[OF_DAY];
	times->months = bits[OF_MONTH];
	/* Sunday is 0 and 7 */
	times->weekdays = (bits[OF_WEEKDAY] | bits[OF_WEEKDAY] >> 7) & 0x7f;
	times->either_day = !star[OF_DAY] && !star[OF_WEEKDAY];
	return NULL;
}

static bool
is_day(const CronTimes *times, const struct pg_tm *tm)
{
	int			days_of_month = day_tab[isleap(tm->tm_year)][tm->tm_mon - 1];
	int			weekday = j2day(date2j(tm->tm_year, tm->tm_mon, tm->tm_mday));
	bool		by_day = (times->days >> tm->tm_mday & 1) != 0 ||
		(times->last_day && tm->tm_mday == days_of_month);
	bool		by_weekday = (times->weekdays >> weekday & 1) != 0;

	if ((times->months >> tm->tm_mon & 1) == 0)
		return false;
	return times->either_day ? by_day || by_weekday : by_day && by_weekday;
}

/* The beginning of the minute after that one. */
static TimestampTz
next_minute(TimestampTz time)
{
	int64		past = time % USECS_PER_MINUTE;

	return time - past + (past < 0 ? 0 : USECS_PER_MINUTE);
}

/*
 * Walks forward in steps that skip no minute that could fit: an hour at most,
 * or, in a day that does not fit, to three hours before it ends, which a change
 * of the clock does not reach.
 */
TimestampTz
cron_next(const CronTimes *times, TimestampTz after, pg_tz *zone)
{
	TimestampTz last = after > END_TIMESTAMP - LONGEST_WAIT ? END_TIMESTAMP : after + LONGEST_WAIT;
	TimestampTz time = next_minute(after);

	while (time < last)
	{
		struct pg_tm tm;
		int			offset;
		fsec_t		fsec;
		int			minutes;

		if (timestamp2tm(time, &offset, &tm, &fsec, NULL, zone) != 0)
			return 0;
		if (!is_day(times, &tm))
			minutes = tm.tm_hour < 21 ? (21 - tm.tm_hour) * MINS_PER_HOUR - tm.tm_min :
				MINS_PER_HOUR - tm.tm_min;
		else if ((times->hours >> tm.tm_hour & 1) == 0)
			minutes = MINS_PER_HOUR - tm.tm_min;
		else if ((times->minutes >> tm.tm_min & 1) == 0)
			minutes = 1;
		else
			return time;
		time += minutes * USECS_PER_MINUTE;
		CHECK_FOR_INTERRUPTS();
	}
	return 0;
}
