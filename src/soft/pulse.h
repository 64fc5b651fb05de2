/*
 * soft/pulse.h
 *		How the machinery itself is doing, for each database: what it did, how
 *		long that took, and what an operator is told of.
 *
 * All of it counts from the start of the server. Numbers are atomics; the
 * tallies of what is reported are guarded by a spinlock of the database.
 * Nothing here raises or allocates.
 */
#ifndef AINS_PULSE_H
#define AINS_PULSE_H

#include "ains.h"

#include "soft/counters.h"
#include "soft/shmem.h"

typedef enum PulseCounter
{
	PULSE_SWEEPS,				/* passes, of the sweeper and by hand */
	PULSE_STEP_FAILURES,		/* steps of the sweeper that failed */
	PULSE_REFILLS,				/* of lanes of the ready set, from the index */
	PULSE_SUPPRESSED,			/* lines that were not written to the log */
	PULSE_COUNTERS
} PulseCounter;

typedef enum PulseHistogram
{
	PULSE_SWEEP_DURATION,
	PULSE_DEADLINE_LAG,			/* how late what was due was handled */
	PULSE_HISTOGRAMS
} PulseHistogram;

/* What is reported to the server's log; journal.c has their names. */
typedef enum JournalKind
{
	JOURNAL_AGENT_DIED,
	JOURNAL_LEASE_TAKEN_BACK,
	JOURNAL_DEAD_LETTER,
	JOURNAL_SWEEPER_LATE,
	JOURNAL_PARTITION_DROPPED,
	JOURNAL_KINDS
} JournalKind;

/* Of each kind so many lines are written in a minute. */
#define PULSE_LINES_PER_MINUTE	30
/* pulse_recent() looks back so many minutes, the present one included. */
#define PULSE_MINUTES			10

extern Size pulse_size(void);
extern void pulse_shmem_init(void);
extern void pulse_forget_db(int db_number);

extern void pulse_count(DbState *db, PulseCounter counter);
extern void pulse_observe(DbState *db, PulseHistogram which, int64 us);
extern void pulse_pass_begins(DbState *db, int64 now_mono);
extern void pulse_pass_ends(DbState *db, int64 now_mono);
extern bool pulse_may_log(DbState *db, JournalKind kind, int64 now_mono, uint64 *suppressed);
extern void pulse_suppress(DbState *db, JournalKind kind, uint32 times);
extern void pulse_reported(DbState *db, JournalKind kind, int64 now_mono, uint32 times);

extern uint64 pulse_value(DbState *db, PulseCounter counter);
extern void pulse_read(DbState *db, PulseHistogram which, Histogram *histogram);
extern int64 pulse_pass_began(DbState *db);
extern uint64 pulse_total(DbState *db, JournalKind kind);
extern uint64 pulse_recent(DbState *db, JournalKind kind, int64 now_mono);

#endif							/* AINS_PULSE_H */
