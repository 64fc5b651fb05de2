/*
 * soft/pulse.c
 *		How the machinery itself is doing. Locks: pulse.h.
 */
#include "soft/pulse.h"

#include "storage/shmem.h"

#include "guc.h"

/* How often something was reported, by minutes of the monotonic clock. */
typedef struct Tally
{
	uint64		total;
	int64		minutes[PULSE_MINUTES]; /* which minute the count of this place is of */
	uint32		counts[PULSE_MINUTES];
	int64		log_minute;
	uint32		logged;			/* lines in log_minute */
	uint64		suppressed;		/* lines left out since the last one */
} Tally;

typedef struct Pulse
{
	pg_atomic_uint64 counters[PULSE_COUNTERS];
	pg_atomic_uint64 buckets[PULSE_HISTOGRAMS][COUNT_BUCKETS];
	pg_atomic_uint64 sums[PULSE_HISTOGRAMS];
	pg_atomic_uint64 pass_began;	/* of the sweeper's pass that runs, monotonic; 0: none */
	slock_t		mutex;			/* guards the rest */
	Tally		tallies[JOURNAL_KINDS];
} Pulse;

static Pulse *pulses;

/* Bytes to request. */
Size
pulse_size(void)
{
	return mul_size(ains_max_databases, sizeof(Pulse));
}

/* Forgets the numbers of a database whose extension is gone. */
void
pulse_forget_db(int db_number)
{
	Pulse	   *pulse = &pulses[db_number];

	for (int i = 0; i < PULSE_COUNTERS; i++)
		pg_atomic_write_u64(&pulse->counters[i], 0);
	for (int i = 0; i < PULSE_HISTOGRAMS; i++)
	{
		for (int j = 0; j < COUNT_BUCKETS; j++)
			pg_atomic_write_u64(&pulse->buckets[i][j], 0);
		pg_atomic_write_u64(&pulse->sums[i], 0);
	}
	pg_atomic_write_u64(&pulse->pass_began, 0);
	SpinLockAcquire(&pulse->mutex);
	memset(pulse->tallies, 0, sizeof(pulse->tallies));
	SpinLockRelease(&pulse->mutex);
}

/* Makes or finds it; under AddinShmemInitLock. */
void
pulse_shmem_init(void)
{
	bool		found;

	pulses = ShmemInitStruct("ains pulse", pulse_size(), &found);
	if (found)
		return;
	memset(pulses, 0, pulse_size());
	for (int i = 0; i < ains_max_databases; i++)
	{
		Pulse	   *pulse = &pulses[i];

		for (int j = 0; j < PULSE_COUNTERS; j++)
			pg_atomic_init_u64(&pulse->counters[j], 0);
		for (int j = 0; j < PULSE_HISTOGRAMS; j++)
		{
			for (int k = 0; k < COUNT_BUCKETS; k++)
				pg_atomic_init_u64(&pulse->buckets[j][k], 0);
			pg_atomic_init_u64(&pulse->sums[j], 0);
		}
		pg_atomic_init_u64(&pulse->pass_began, 0);
		SpinLockInit(&pulse->mutex);
	}
}

static Pulse *
pulse_of(DbState *db)
{
	return &pulses[shmem_db_number(db)];
}

void
pulse_count(DbState *db, PulseCounter counter)
{
	pg_atomic_fetch_add_u64(&pulse_of(db)->counters[counter], 1);
}

/* Notes a length of time in microseconds; one below 0, of a clock set back, as 0. */
void
pulse_observe(DbState *db, PulseHistogram which, int64 us)
{
	Pulse	   *pulse = pulse_of(db);

	us = Max(us, 0);
	pg_atomic_fetch_add_u64(&pulse->buckets[which][counters_bucket(us)], 1);
	pg_atomic_fetch_add_u64(&pulse->sums[which], us);
}

/* The sweeper begins a pass, and ends it; by the monotonic clock. */
void
pulse_pass_begins(DbState *db, int64 now_mono)
{
	pg_atomic_write_u64(&pulse_of(db)->pass_began, (uint64) Max(now_mono, 1));
}

void
pulse_pass_ends(DbState *db, int64 now_mono)
{
	int64		began = (int64) pg_atomic_exchange_u64(&pulse_of(db)->pass_began, 0);

	if (began == 0)
		return;
	pulse_count(db, PULSE_SWEEPS);
	pulse_observe(db, PULSE_SWEEP_DURATION, now_mono - began);
}

/* When the sweeper's pass that runs began, by the monotonic clock; 0: none runs. */
int64
pulse_pass_began(DbState *db)
{
	return (int64) pg_atomic_read_u64(&pulse_of(db)->pass_began);
}

/*
 * Whether one more line of this kind may be written; if so, how many were left
 * out since the last one.
 */
bool
pulse_may_log(DbState *db, JournalKind kind, int64 now_mono, uint64 *suppressed)
{
	Pulse	   *pulse = pulse_of(db);
	Tally	   *tally = &pulse->tallies[kind];
	int64		minute = now_mono / USECS_PER_MINUTE;
	bool		may;

	SpinLockAcquire(&pulse->mutex);
	if (tally->log_minute != minute)
	{
		tally->log_minute = minute;
		tally->logged = 0;
	}
	may = tally->logged < PULSE_LINES_PER_MINUTE;
	if (may)
	{
		tally->logged++;
		*suppressed = tally->suppressed;
		tally->suppressed = 0;
	}
	SpinLockRelease(&pulse->mutex);
	if (!may)
		pulse_suppress(db, kind, 1);
	return may;
}

/* So many lines are left out. */
void
pulse_suppress(DbState *db, JournalKind kind, uint32 times)
{
	Pulse	   *pulse = pulse_of(db);

	SpinLockAcquire(&pulse->mutex);
	pulse->tallies[kind].suppressed += times;
	SpinLockRelease(&pulse->mutex);
	pg_atomic_fetch_add_u64(&pulse->counters[PULSE_SUPPRESSED], times);
}

/* It happened so many times, and is committed. */
void
pulse_reported(DbState *db, JournalKind kind, int64 now_mono, uint32 times)
{
	Pulse	   *pulse = pulse_of(db);
	Tally	   *tally = &pulse->tallies[kind];
	int64		minute = now_mono / USECS_PER_MINUTE;
	int			place = minute % PULSE_MINUTES;

	SpinLockAcquire(&pulse->mutex);
	tally->total += times;
	if (tally->minutes[place] != minute)
	{
		tally->minutes[place] = minute;
		tally->counts[place] = 0;
	}
	tally->counts[place] += times;
	SpinLockRelease(&pulse->mutex);
}

uint64
pulse_value(DbState *db, PulseCounter counter)
{
	return pg_atomic_read_u64(&pulse_of(db)->counters[counter]);
}

void
pulse_read(DbState *db, PulseHistogram which, Histogram *histogram)
{
	Pulse	   *pulse = pulse_of(db);

	for (int i = 0; i < COUNT_BUCKETS; i++)
		histogram->buckets[i] = pg_atomic_read_u64(&pulse->buckets[which][i]);
	histogram->sum = pg_atomic_read_u64(&pulse->sums[which]);
}

/* How often it happened since the start of the server. */
uint64
pulse_total(DbState *db, JournalKind kind)
{
	Pulse	   *pulse = pulse_of(db);
	uint64		total;

	SpinLockAcquire(&pulse->mutex);
	total = pulse->tallies[kind].total;
	SpinLockRelease(&pulse->mutex);
	return total;
}

/* How often it happened in the last PULSE_MINUTES minutes. */
uint64
pulse_recent(DbState *db, JournalKind kind, int64 now_mono)
{
	Pulse	   *pulse = pulse_of(db);
	const Tally *tally = &pulse->tallies[kind];
	int64		minute = now_mono / USECS_PER_MINUTE;
	uint64		recent = 0;

	SpinLockAcquire(&pulse->mutex);
	for (int i = 0; i < PULSE_MINUTES; i++)
		if (tally->minutes[i] > minute - PULSE_MINUTES)
			recent += tally->counts[i];
	SpinLockRelease(&pulse->mutex);
	return recent;
}
