/*
 * soft/types.h
 *		The types of agents that the server has seen, by number: so that the
 *		roster can count agents by type, and metrics have a bounded label.
 *
 * A number once given keeps its name until the server stops. Guarded by the
 * roster lock: shared to look, exclusive to add.
 */
#ifndef AINS_TYPES_H
#define AINS_TYPES_H

#include "ains.h"

/* Numbers are below this; 0 is of all types beyond. */
#define AGENT_TYPES		64

extern Size types_size(void);
extern void types_shmem_init(void);

/* Raises nothing; the caller holds none of our locks. */
extern int16 types_number(const char *name);
/* In the current context; empty for 0. */
extern char *types_name(int16 number);

#endif							/* AINS_TYPES_H */
