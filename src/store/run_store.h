/*
 * store/run_store.h
 *		ains.run and ains.run_tally.
 */
#ifndef AINS_RUN_STORE_H
#define AINS_RUN_STORE_H

#include "ains.h"

#include "utils/snapshot.h"
#include "utils/tuplestore.h"

/* A run as the rules need it. */
typedef struct RunRow
{
	int64		run_id;
	Oid			owner;
	char	   *name;
	char	   *status;
	int32		target;			/* 0: none */
	bool		goes_on;		/* on_failure = 'continue' */
} RunRow;

/* What create_run writes. */
typedef struct NewRun
{
	const char *name;
	Oid			owner;
	int32		target;			/* 0: none */
	const char *on_failure;
	TimestampTz now;
	Datum		criteria;		/* jsonb */
	Datum		metadata;		/* jsonb; 0: NULL */
} NewRun;

/* Tasks of a stage that ended in one transaction. */
typedef struct RunTally
{
	int64		run_id;
	const char *stage;			/* NULL: none */
	int64		completed;		/* less those that were put back, likewise below */
	int64		failed;
	int64		cancelled;
	int64		expired;
	int64		first_task;		/* 0: none */
	TimestampTz started_at;		/* 0: none was claimed */
} RunTally;

/* What all that has ended comes to. */
typedef struct RunTotals
{
	int64		completed;
	int64		failed;			/* or expired */
	int64		towards_target; /* completed in the stage that counts */
} RunTotals;

extern int64 run_store_insert(const NewRun *run);
extern bool run_store_find(Oid task_relid, int64 run_id, RunRow *run);
extern bool run_store_lock(int64 run_id, RunRow *run);
extern void run_store_set_status(int64 run_id, const char *status, TimestampTz finished_at);
extern void run_store_decide(int64 run_id, const char *decision, Oid role);

extern void run_store_add_tally(Oid task_relid, const RunTally *tally);
extern int64 run_store_count_live(int64 run_id, Snapshot snapshot);
extern void run_store_totals(int64 run_id, Snapshot snapshot, RunTotals *totals);
extern void run_store_progress(int64 run_id, TimestampTz now, Tuplestorestate *store);
extern int64 *run_store_live_tasks(int64 run_id, int64 below, int *count);
extern int64 *run_store_ended_tasks(int64 run_id, bool cancelled, int *count);
extern bool run_store_has_dead_end(int64 task_id);

extern bool run_store_fold(void);
extern int64 *run_store_left_over(int *count);
extern void run_store_prune(TimestampTz before);

#endif							/* AINS_RUN_STORE_H */
