/*
 * core/sweep.h
 *		Housekeeping: what the clock does to tasks, leases and agents.
 *
 * A pass is a list of steps. The sweeper runs each step in a transaction of
 * its own, again and again while it says there is more; ains.sweep() runs them
 * all in the caller's. Any number of passes may run at once: rows are locked
 * with SKIP LOCKED and at most AINS_SWEEP_BATCH at a time.
 */
#ifndef AINS_SWEEP_H
#define AINS_SWEEP_H

#include "ains.h"

#include "core/call.h"

/* What a pass did; the columns of ains.sweep(), in its order. */
typedef struct SweepCounts
{
	int64		leases_expired;
	int64		leases_of_dead_agents;
	int64		attempts_timed_out;
	int64		tasks_due;
	int64		tasks_expired;
	int64		agents_marked_dead;
	int64		partitions_dropped;
} SweepCounts;

typedef struct SweepStep
{
	const char *name;			/* for pg_stat_activity and the log */
	bool		(*run) (Call *call, SweepCounts *counts);	/* true: more to do now */
} SweepStep;

extern const SweepStep sweep_steps[];
extern const int sweep_step_count;

/* Runs all steps to their end in the current transaction. */
extern void sweep_pass(Call *call, SweepCounts *counts);
/* The dead-agents step alone, to its end; returns the number of leases. */
extern int64 sweep_dead_agents(Call *call);
/* When the next step will have something to do, by the wall clock of `call`. */
extern TimestampTz sweep_next(Call *call);
/* When a sweep counts as late. */
extern int64 sweep_patience(void);
/* The sweeper's first words in each pass, and in each step: grants grace if it is due. */
extern void sweep_note_pass(Call *call);
extern void sweep_note_step(Call *call);

#endif							/* AINS_SWEEP_H */
