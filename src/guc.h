/*
 * guc.h
 *		The settings of ains; docs/settings.md says what each is for.
 */
#ifndef AINS_GUC_H
#define AINS_GUC_H

#include "postgres.h"

/* Seconds, unless said otherwise. */
extern int	ains_default_lease;
extern int	ains_heartbeat_timeout;
extern int	ains_retention;			/* minutes */
extern int	ains_agent_retention;	/* minutes */
extern int	ains_sweep_max_nap;		/* milliseconds */
extern int	ains_audit_interval;
extern int	ains_max_payload;		/* kilobytes */
extern bool ains_auto_create_capabilities;
extern char *ains_databases;
extern char *ains_events;
extern uint32 ains_event_kinds; /* what ains.events says: 1 << EventKind */

/* Sizes of shared memory, fixed at server start. */
extern int	ains_max_agents;
extern int	ains_max_databases;
extern int	ains_max_capabilities;
extern int	ains_max_lanes;
extern int	ains_ready_set_size;	/* keys in a lane */
extern bool ains_enable_test_clock;

extern void guc_init(void);

#endif							/* AINS_GUC_H */
