/*
 * store/schedule_store.h
 *		Rows of ains.schedule and ains.template.
 */
#ifndef AINS_SCHEDULE_STORE_H
#define AINS_SCHEDULE_STORE_H

#include "ains.h"

/* What a schedule and a template say of their tasks; Datums are jsonb. */
typedef struct TaskSpec
{
	const char *capability;
	Datum		payload;
	int32		priority;
	int32		max_attempts;	/* 0: NULL */
	int64		timeout;		/* -1: NULL */
	const char *unique_key;
	Datum		metadata;		/* 0: NULL */
} TaskSpec;

/* A schedule; times that are NULL are 0. */
typedef struct Schedule
{
	const char *name;
	const char *cron;
	const char *timezone;
	const char *catch_up;
	TaskSpec	task;
	Oid			owner;
	bool		owner_may_enqueue;	/* as read; not written */
	TimestampTz next_run;
} Schedule;

/* What running a schedule changes. */
typedef struct ScheduleProgress
{
	TimestampTz next_run;
	TimestampTz last_run;		/* 0: none was enqueued */
	int64		last_task_id;
	int64		missed;			/* in addition */
} ScheduleProgress;

extern bool schedule_store_insert(const Schedule *schedule, TimestampTz now);
extern void schedule_store_update(const Schedule *schedule);
extern bool schedule_store_lock(const char *name, Oid *owner);
extern void schedule_store_remove(const char *name);
extern void schedule_store_pause(const char *name, bool paused);

extern char **schedule_store_due(TimestampTz now, int *count);
extern bool schedule_store_lock_due(const char *name, TimestampTz now, Schedule *schedule);
extern void schedule_store_progress(const char *name, const ScheduleProgress *progress);
extern void schedule_store_failed(const char *name, const char *error);

extern bool template_store_insert(const char *name, Oid owner, const TaskSpec *task,
								  TimestampTz now);
extern void template_store_update(const char *name, const TaskSpec *task);
extern bool template_store_lock(const char *name, Oid *owner);
extern void template_store_remove(const char *name);
extern bool template_store_arguments(const char *name, Datum overrides, Oid *owner,
									 Datum *arguments);

#endif							/* AINS_SCHEDULE_STORE_H */
