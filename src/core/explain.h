/*
 * core/explain.h
 *		Why a task is not running.
 */
#ifndef AINS_EXPLAIN_H
#define AINS_EXPLAIN_H

#include "ains.h"

#include "core/call.h"
#include "nodes/pg_list.h"

typedef struct Reason
{
	const char *reason;			/* a word for programs */
	char	   *detail;			/* a sentence for people */
} Reason;

extern List *explain_task(Call *call, int64 task_id);

#endif							/* AINS_EXPLAIN_H */
