/*
 * store/report_store.h
 *		Reads for people: what the tables say, for get_task, the statistics and
 *		explain_task.
 */
#ifndef AINS_REPORT_STORE_H
#define AINS_REPORT_STORE_H

#include "ains.h"

#include "utils/tuplestore.h"

/* What get_task must know before it shows the row. */
typedef struct TaskReport
{
	Datum		row;			/* an ains.task_info */
	Oid			enqueued_by;
	TaskStatus	status;
	char	   *agent_id;		/* NULL: none yet */
} TaskReport;

extern bool report_store_task(int64 task_id, TaskReport *report);
extern void report_store_queue_stats(TimestampTz now, Tuplestorestate *store);
extern void report_store_agent_stats(Tuplestorestate *store);
extern void report_store_offering(const char *capability, int *agents, int *accepting);
extern int64 report_store_position(int64 task_id);

#endif							/* AINS_REPORT_STORE_H */
