/*
 * clock.c
 *		The clock seam: every time in ains comes from here, read once per call.
 *
 * Two clocks. The wall clock (what now() would say) is written to tables and
 * decides what is due. The monotonic clock decides who is alive: a stepped
 * wall clock must not declare a fleet dead. Tests move both, or the wall clock
 * alone, through offsets in shared memory, so that nothing has to sleep.
 */
#include "clock.h"

#include <time.h>

#include "common/int.h"
#include "errors.h"

static ClockOffsets *offsets;	/* NULL: not preloaded */

/* Points the clock at its offsets; called while shared memory is set up. */
void
clock_shmem_init(ClockOffsets *shared, bool found)
{
	offsets = shared;
	if (!found)
	{
		pg_atomic_init_u64(&offsets->wall, 0);
		pg_atomic_init_u64(&offsets->mono, 0);
	}
}

/* Reads both clocks. Takes no lock, raises nothing. */
AinsTime
clock_read(void)
{
	AinsTime	now;
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	now.wall = GetCurrentTimestamp() + (int64) pg_atomic_read_u64(&offsets->wall);
	now.mono = (int64) ts.tv_sec * USECS_PER_SEC + ts.tv_nsec / 1000
		+ (int64) pg_atomic_read_u64(&offsets->mono);
	return now;
}

/* Microseconds from now to a moment by the server's own clock. */
int64
clock_until(TimestampTz moment)
{
	return moment - GetCurrentTimestamp();
}

/* Moves the test clock of the whole server, by microseconds, for good. */
void
clock_advance(int64 wall_us, int64 mono_us)
{
	pg_atomic_fetch_add_u64(&offsets->wall, wall_us);
	pg_atomic_fetch_add_u64(&offsets->mono, mono_us);
}

/*
 * An interval as microseconds: a day is 24 hours, a month 30 days. Raises
 * 22023 naming the argument `what` if it is negative or beyond 100 years.
 */
int64
length_from_interval(const Interval *interval, const char *what)
{
	int64		days = (int64) interval->month * DAYS_PER_MONTH + interval->day;
	int64		us;

	if (pg_mul_s64_overflow(days, USECS_PER_DAY, &us) ||
		pg_add_s64_overflow(us, interval->time, &us) ||
		us < 0 || us > AINS_MAX_LENGTH)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s is out of range", what),
				 errdetail("A length of time is between 0 and 100 years.")));
	return us;
}

/* The reverse, palloc'd; whole days stay in the time part, so sums are exact. */
Interval *
length_to_interval(int64 us)
{
	Interval   *interval = palloc0(sizeof(Interval));

	interval->time = us;
	return interval;
}

/*
 * time + us, kept within what a timestamptz can hold. Infinities are never
 * stored by ains, so there is no special case for them.
 */
TimestampTz
time_plus(TimestampTz time, int64 us)
{
	int64		sum;

	if (pg_add_s64_overflow(time, us, &sum) || sum >= END_TIMESTAMP)
		return END_TIMESTAMP - 1;
	return Max(sum, MIN_TIMESTAMP);
}

/* The day of a moment, by UTC: shelves must not depend on a session's zone. */
DateADT
time_to_day(TimestampTz time)
{
	int64		day = time / USECS_PER_DAY;

	if (time % USECS_PER_DAY < 0)
		day--;
	return (DateADT) day;
}
