/*
 * clock.h
 *		The only place that reads a clock.
 */
#ifndef AINS_CLOCK_H
#define AINS_CLOCK_H

#include "ains.h"

#include "port/atomics.h"
#include "utils/date.h"
#include "utils/timestamp.h"

/* Offsets the tests add to both clocks; in shared memory, atomics. */
typedef struct ClockOffsets
{
	pg_atomic_uint64 wall;
	pg_atomic_uint64 mono;
} ClockOffsets;

extern void clock_shmem_init(ClockOffsets *offsets, bool found);
extern AinsTime clock_read(void);
extern int64 clock_until(TimestampTz moment);
extern void clock_advance(int64 wall_us, int64 mono_us);

extern int64 length_from_interval(const Interval *interval, const char *what);
extern Interval *length_to_interval(int64 us);
extern TimestampTz time_plus(TimestampTz time, int64 us);
extern DateADT time_to_day(TimestampTz time);

/* No length of time in ains is longer; keeps sums of a few of them exact. */
#define AINS_MAX_LENGTH		(INT64CONST(100) * 366 * USECS_PER_DAY)

#endif							/* AINS_CLOCK_H */
