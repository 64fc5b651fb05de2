/*
 * core/run.h
 *		Runs: tasks that belong together.
 */
#ifndef AINS_RUN_H
#define AINS_RUN_H

#include "ains.h"

#include "utils/tuplestore.h"

#include "core/call.h"
#include "soft/effects.h"
#include "store/run_store.h"

/* What is written about runs before a commit; for effects_init. */
extern const TransactionPart run_part;

/* What tasks of a run do; to be said in the transaction in which they do it. */
extern void run_note_added(Call *call, int64 run_id, int64 tasks);
extern void run_note_ended(Call *call, int64 run_id, const char *stage, TaskStatus status,
						   int64 task_id, TimestampTz claimed_at);
extern void run_note_put_back(Call *call, int64 run_id, const char *stage, TaskStatus was);

extern int64 run_create(Call *call, NewRun *run);
extern bool run_require_open(Call *call, int64 run_id);
extern bool run_goes_on(Call *call, int64 run_id);
extern void run_progress(Call *call, int64 run_id, Tuplestorestate *store);
extern int64 run_cancel(Call *call, int64 run_id, const char *reason);
extern int64 run_retry(Call *call, int64 run_id);
extern const char *run_resolve(Call *call, int64 run_id, const char *decision);
extern bool run_upkeep(Call *call);

#endif							/* AINS_RUN_H */
