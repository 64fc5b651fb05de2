/*
 * core/schedule.h
 *		Schedules, and templates: what is enqueued again and again.
 */
#ifndef AINS_SCHEDULE_H
#define AINS_SCHEDULE_H

#include "ains.h"

#include "core/call.h"
#include "store/schedule_store.h"

/* Times that were missed and are made up for in one go, with catch_up 'all'. */
#define AINS_MAX_CATCH_UP	1000
/* No more times than this are counted one by one. */
#define AINS_MAX_COUNTED	100000

extern TimestampTz schedule_next(const char *cron, const char *timezone, TimestampTz after);
extern int64 schedule_overdue(const char *cron, const char *timezone, TimestampTz since,
							  TimestampTz now);

extern TimestampTz schedule_save(Call *call, Schedule *schedule);
extern void schedule_remove(Call *call, const char *name);
extern void schedule_pause(Call *call, const char *name, bool paused);
extern int64 schedule_run_all(Call *call);

extern void template_save(Call *call, const char *name, const TaskSpec *task);
extern void template_remove(Call *call, const char *name);
extern Datum template_arguments(Call *call, const char *name, Datum overrides);

#endif							/* AINS_SCHEDULE_H */
