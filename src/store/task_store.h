/*
 * store/task_store.h
 *		Rows of ains.task: SQL text and row <-> struct. No policy.
 */
#ifndef AINS_TASK_STORE_H
#define AINS_TASK_STORE_H

#include "ains.h"

/*
 * A live task that is ACTIVE, the last of the live states. Said so, because
 * "status = 'ACTIVE'" lets the planner take the index task_held, and read all
 * of it, for a task that is named by its id.
 */
#define IS_ACTIVE	"status > 'PENDING'"

/* A live task as the rules need it; NULLs are 0, lengths -1. */
typedef struct TaskRow
{
	int64		task_id;
	int32		lane_id;
	TaskStatus	status;
	int32		priority;
	int32		attempt;
	int32		max_attempts;	/* 0: the capability's */
	int64		rank;
	TimestampTz run_at;
	TimestampTz expires_at;
	TimestampTz claimed_at;
	TimestampTz lease_expires_at;
	TimestampTz deadline;
	int64		incarnation;
	int64		lease_token;
	int64		lease;
	int64		timeout;		/* -1: the capability's */
	Oid			enqueued_by;
	bool		cancel_requested;
	bool		awaited;		/* a BLOCKED task waits for it, or did */
	int32		unmet;			/* how many tasks it waits for */
	int64		run_id;			/* 0: none */
	bool		takes_output;	/* of the task it waits for */
	char	   *stage;			/* NULL: none */
	Datum		min_trust;		/* numeric; 0: none */
	char	   *agent_id;
	char	   *capability;
	char	   *concurrency_key;	/* NULL: none */
} TaskRow;

/* What enqueue writes. Datums are the caller's; 0 pointers are NULL. */
typedef struct NewTask
{
	const char *capability;
	int32		lane_id;
	TaskStatus	status;			/* BLOCKED, SCHEDULED or PENDING */
	int32		priority;
	int64		rank;
	int32		max_attempts;	/* 0: NULL */
	int64		timeout;		/* -1: NULL */
	TimestampTz run_at;
	TimestampTz expires_at;
	TimestampTz wake_at;
	TimestampTz now;
	Oid			enqueued_by;
	const char *unique_key;
	const char *concurrency_key;
	Datum		payload;		/* jsonb */
	Datum		metadata;		/* jsonb; 0: NULL */
	int64		run_id;			/* 0: none */
	const char *stage;
	bool		takes_output;	/* of the one task it depends on */
	Datum		min_trust;		/* numeric, a step of 0.05; 0: NULL */
	const char *agent_id;		/* it is assigned to; NULL: none */
	int64	   *depends_on;		/* ascending, each once */
	int			depends_on_count;
} NewTask;

extern int64 task_store_insert(const NewTask *task);
extern void task_store_insert_batch(const NewTask *common, Datum payloads, Datum priorities,
									Datum ranks, Datum unique_keys, int64 *task_ids);
extern bool task_store_find_unique(const char *capability, const char *unique_key,
								   bool lock, TaskRow *row);
extern void task_store_replace(int64 task_id, Datum payload, Datum metadata);

extern bool task_store_find(int64 task_id, TaskRow *row);
extern bool task_store_lock(int64 task_id, TaskRow *row);
extern bool task_store_await(int64 task_id, TaskRow *row);
extern bool task_store_lock_free(int64 task_id, TaskRow *row);
extern TaskRow *task_store_lock_ready(int32 lane_id, int *count);
extern TaskRow *task_store_lock_of_agent(const char *agent_id, bool skip_locked, int *count);
extern int	task_store_count_of_agent(const char *agent_id, uint64 *held_hash);
extern int64 *task_store_cancel_requested_of(const char *agent_id, int *count);
extern int64 *task_store_not_held_by(const char *agent_id, const int64 *task_ids,
									 int total, int *count);

extern void task_store_wait_again(int64 task_id, TaskStatus status, int32 attempt,
								  TimestampTz run_at, TimestampTz wake_at, const char *error);
extern void task_store_set_unmet(int64 task_id, int32 unmet, TaskStatus status,
								 TimestampTz run_at, TimestampTz wake_at);
extern void task_store_give_output(int64 task_id, Datum output);
extern void task_store_set_lane(int64 task_id, int32 lane_id);
extern void task_store_set_rank(int64 task_id, int32 priority, int64 rank);
extern void task_store_request_cancel(int64 task_id, const char *reason, TimestampTz now);
extern int64 task_store_rerank(const char *capability, int64 change);

extern TaskRow *task_store_lock_due(TimestampTz from, TimestampTz until, int *count);
extern TimestampTz task_store_earliest_wake(TimestampTz from, TimestampTz until);
extern int64 task_store_index_reads(void);

#endif							/* AINS_TASK_STORE_H */
