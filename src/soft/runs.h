/*
 * soft/runs.h
 *		How many tasks of a run live at least, so that whoever ends one knows
 *		without looking that it is not the last.
 *
 * Written only under the run's lock (core/run.c), so that what is counted and
 * what is taken off belong together. What is not known is 0.
 */
#ifndef AINS_RUNS_H
#define AINS_RUNS_H

#include "ains.h"

#include "soft/shmem.h"

/* Takes `ended` off; false: there may be none left. */
extern bool runs_take(DbState *db, int64 run_id, int64 ended);
/* So many live; the caller has the run's lock exclusively. */
extern void runs_set(DbState *db, int64 run_id, int64 live);
/* What somebody changed by hand is counted anew. */
extern void runs_forget(DbState *db);

#endif							/* AINS_RUNS_H */
