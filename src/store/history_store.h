/*
 * store/history_store.h
 *		ains.task_history and ains.attempt: finished tasks, failed attempts,
 *		and the shelves (partitions) they stand on.
 */
#ifndef AINS_HISTORY_STORE_H
#define AINS_HISTORY_STORE_H

#include "ains.h"

#include "utils/date.h"

/* How a task is put away. */
typedef struct Finish
{
	TaskStatus	status;
	TimestampTz now;
	DateADT		shelf;
	bool		keep;			/* false: it leaves no row */
	const char *error;			/* NULL: the row's last error */
	const char *cancel_reason;	/* NULL: the row's */
	int32		attempt;		/* as it counts now */
	Datum		result;			/* jsonb; 0: NULL, likewise below */
	Datum		usage;
} Finish;

/* One of a batch. */
typedef struct BatchItem
{
	int64		n;				/* its place in the batch, from 1 */
	int64		task_id;
} BatchItem;

/* Which dead letters to put back. */
typedef struct DeadLetters
{
	const char *capability;		/* NULL: any */
	TimestampTz failed_by;		/* not later; 0: any time */
	Oid			role;			/* it must be a member of who enqueued them ... */
	bool		is_admin;		/* ... unless this is set */
	int32		max;
} DeadLetters;

/* What matters of a finished task when it is put back. */
typedef struct PastTask
{
	char	   *capability;
	int			depends_on_count;
	int64		run_id;			/* 0: none */
	char	   *concurrency_key;	/* NULL: none */
	Datum		min_trust;		/* numeric; 0: none */
} PastTask;

/* One of them. */
typedef struct DeadLetter
{
	int64		task_id;
	PastTask	task;
} DeadLetter;

/* A finished task that was put back. */
typedef struct PutBack
{
	int64		rank;
	bool		key_is_live;	/* it was not, since another has its unique key */
	TaskStatus	was;
	int64		run_id;			/* 0: none */
	char	   *stage;
	bool		lacks_output;	/* takes one, and never got it */
} PutBack;

/* A finished task. */
typedef struct HistoryRow
{
	TaskStatus	status;
	int64		lease_token;	/* 0: none */
	Oid			enqueued_by;
	char	   *agent_id;		/* NULL: never claimed */
	PastTask	task;
} HistoryRow;

/* An attempt that ended without success. */
typedef struct AttemptRow
{
	const char *outcome;
	TaskStatus	next_status;
} AttemptRow;

extern BatchItem *history_store_completed_before(Datum task_ids, Datum tokens, Oid role,
												 int *count);
extern void history_store_finish(int64 task_id, const Finish *finish);
extern bool history_store_find(int64 task_id, HistoryRow *row);
extern bool history_store_result(int64 task_id, TaskStatus *status, Datum *result, bool *isnull);
extern DeadLetter *history_store_lock_dead(const DeadLetters *which, int *count);
extern bool history_store_put_back(int64 task_id, TaskStatus status, int32 lane_id,
								   int64 aging_interval, TimestampTz now, PutBack *back);
extern void history_store_add_attempt(int64 task_id, const char *outcome, TaskStatus next_status,
									  const char *error, TimestampTz now, DateADT shelf);
extern bool history_store_find_attempt(int64 task_id, int64 lease_token, AttemptRow *row);
extern bool history_store_non_retryable(const char *error);

extern const char *history_store_shelf_name(DateADT day);
extern void history_store_shelves(DateADT *first, DateADT *last, DateADT *oldest);
extern void history_store_lock_shelves(void);
extern bool history_store_shelf_is_loose(DateADT day);
extern void history_store_add_shelf(DateADT day);
extern bool history_store_shelf_is_older(DateADT day, TimestampTz than);
extern void history_store_drop_shelf(DateADT day);

#endif							/* AINS_HISTORY_STORE_H */
