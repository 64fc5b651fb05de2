/*
 * store/report_store.h
 *		Reads for people: what the tables say, for get_task, search_agents, the
 *		statistics and explain_task.
 */
#ifndef AINS_REPORT_STORE_H
#define AINS_REPORT_STORE_H

#include "ains.h"

#include "utils/snapshot.h"
#include "utils/tuplestore.h"

/* What get_task must know before it shows the row. */
typedef struct TaskReport
{
	Datum		row;			/* an ains.task_info */
	Oid			enqueued_by;
	TaskStatus	status;
	char	   *agent_id;		/* NULL: none yet */
} TaskReport;

/* A capability for queue_stats. */
typedef struct Queue
{
	char	   *capability;
	int64		aging_interval;
	bool		paused;
	int64		agents_available;
} Queue;

/* What search_agents looks for. */
typedef struct AgentSearch
{
	const char *capability;		/* NULL: any, or none */
	Datum		tags;			/* text[], all of which it must have; 0: any */
	Datum		min_trust;		/* numeric */
	const char *sort_by;		/* trust_score, price, latency, availability, name */
	int32		max_rows;
	int32		skip;
} AgentSearch;

/* Schedules; those that fail and those that are overdue are active ones. */
typedef struct ScheduleTally
{
	int64		active;
	int64		paused;
	int64		failing;
	int64		overdue;
} ScheduleTally;

/* The outbox, and who is told of it. */
typedef struct EventTally
{
	int64		added;			/* ids taken; some were rolled back */
	int64		published;		/* ids up to which all is shown */
	int64		webhooks;
	int64		behind;			/* published ids that the last of them has not looked at */
} EventTally;

extern bool report_store_task(int64 task_id, TaskReport *report);
extern LiveTasks *report_store_count_live(Snapshot snapshot, int *count);
extern Queue *report_store_queues(int *count);
/* A lane, and the agents that offer its capability. */
typedef struct LaneReport
{
	char	   *agent_id;		/* the one that alone may claim from it; NULL: any */
	char	   *min_trust;		/* as text; NULL: there is no such lane */
	int			agents;			/* how many there are, ... */
	int			accepting;		/* ... may claim, ... */
	int			fit;			/* ... and may claim from this lane */
} LaneReport;

extern TimestampTz report_store_oldest_pending(int32 lane_id, int64 aging_interval,
											   int64 from_rank);
extern void report_store_search_agents(const AgentSearch *search, Tuplestorestate *store);
extern void report_store_agent_stats(Tuplestorestate *store);
extern void report_store_offering(int32 lane_id, LaneReport *report);
extern int64 *report_store_active(const char *capability, int most, int *named, int *active);
extern int64 report_store_position(int64 task_id, TaskStatus status);
extern void report_store_events(EventTally *tally);
extern void report_store_schedules(TimestampTz since, ScheduleTally *tally);
extern int64 report_store_shelf_count(void);

#endif							/* AINS_REPORT_STORE_H */
