/*
 * core/event.h
 *		The outbox: what happened to tasks, agents and runs, for those who listen.
 */
#ifndef AINS_EVENT_H
#define AINS_EVENT_H

#include "ains.h"

#include "core/call.h"
#include "guc.h"
#include "store/event_store.h"

extern void event_record(Call *call, const Event *event);

/* Whether events of this kind are recorded. */
static inline bool
event_wanted(EventKind kind)
{
	return (ains_event_kinds & ((uint32) 1 << kind)) != 0;
}

/* To be called for every transition, in its transaction; one test if it is off. */
static inline void
event_note(Call *call, const Event *event)
{
	if (event_wanted(event->kind))
		event_record(call, event);
}

extern bool event_publish(Call *call);
extern bool event_prune(Call *call);
extern TimestampTz event_next(Call *call);

#endif							/* AINS_EVENT_H */
