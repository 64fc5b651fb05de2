/*
 * core/audit.h
 *		What shared memory believes, compared with the tables: whatever the
 *		cause of a difference (direct DML by the owner, a restore, logical
 *		replication, a bug), it is mended here.
 */
#ifndef AINS_AUDIT_H
#define AINS_AUDIT_H

#include "ains.h"

#include "core/call.h"

/*
 * Whether the audits that read the indexes of ains.task may be done now. To be
 * asked once, before all of them.
 */
extern bool audit_affordable(Call *call);

/* The roster, and with `leases` its counts of leases as well. */
extern void audit_agents(Call *call, bool leases);
/* What backends have cached of capabilities, lanes, and who offers what. */
extern void audit_policies(Call *call);
/* The mark before which no wake_at is unseen. */
extern void audit_wakes(Call *call);
/* The heaps of ready keys. */
extern void audit_ready_set(Call *call);

#endif							/* AINS_AUDIT_H */
