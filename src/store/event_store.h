/*
 * store/event_store.h
 *		ains.event, and how far they were published and pruned.
 */
#ifndef AINS_EVENT_STORE_H
#define AINS_EVENT_STORE_H

#include "ains.h"

#include "policy.h"

/* Something that happened to a task, an agent or a run. */
typedef struct Event
{
	EventKind	kind;
	Oid			owner;			/* whose event it is */
	int64		task_id;		/* 0: none */
	const char *capability;		/* NULL: none, likewise below */
	const char *agent_id;
	const char *status;			/* of the task, agent or run, from now on */
	int32		attempt;		/* 0: none */
	const char *outcome;		/* of an attempt */
	const char *error;
	int64		run_id;			/* of an event of a run; 0: none */
	const char *run_name;
} Event;

/* The row of ains.event_progress; see core/event.c. */
typedef struct EventProgress
{
	int64		published;
	int64		marked;
	int64		marked_xid;
	int64		pruned;
} EventProgress;

extern void event_store_add(const Event *event, TimestampTz now);
extern int64 event_store_last(void);
extern bool event_store_progress(bool lock, EventProgress *progress);
extern void event_store_set_progress(const EventProgress *progress);
extern int64 event_store_prune(int64 after, int64 until, TimestampTz older_than, bool *more);

#endif							/* AINS_EVENT_STORE_H */
