/*
 * soft/runs.c
 *		See runs.h. A run has one place, by its id; one that needs it drops
 *		what is there, which is then counted again. Guarded by runs_mutex, held
 *		for a few loads.
 */
#include "soft/runs.h"

bool
runs_take(DbState *db, int64 run_id, int64 ended)
{
	RunLives   *lives = &db->runs[run_id % RUN_PLACES];
	bool		left = false;

	SpinLockAcquire(&db->runs_mutex);
	if (lives->run_id == run_id)
	{
		lives->at_least -= ended;
		left = lives->at_least > 0;
	}
	SpinLockRelease(&db->runs_mutex);
	return left;
}

void
runs_set(DbState *db, int64 run_id, int64 live)
{
	SpinLockAcquire(&db->runs_mutex);
	db->runs[run_id % RUN_PLACES] = (RunLives) {run_id, live};
	SpinLockRelease(&db->runs_mutex);
}

void
runs_forget(DbState *db)
{
	SpinLockAcquire(&db->runs_mutex);
	memset(db->runs, 0, sizeof(db->runs));
	SpinLockRelease(&db->runs_mutex);
}
