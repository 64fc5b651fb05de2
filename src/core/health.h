/*
 * core/health.h
 *		Whether ains is well, what is wrong, and what to do about it.
 */
#ifndef AINS_HEALTH_H
#define AINS_HEALTH_H

#include "ains.h"

#include "core/call.h"

typedef enum HealthStatus
{
	IS_HEALTHY,
	IS_DEGRADED,				/* it works, but not as it should, or not for long */
	IS_UNHEALTHY				/* it does not work */
} HealthStatus;

typedef struct HealthCheck
{
	const char *name;
	HealthStatus status;
	const char *detail;
	const char *advice;			/* NULL: nothing is to be done */
} HealthCheck;

extern const char *health_status_name(HealthStatus status);

/*
 * All checks in an order that does not change, and their count, in the current
 * context. On a standby only those that its data can answer; those that read
 * entries of the ready index only if the caller wants that.
 */
extern HealthCheck *health_check(Call *call, bool read_tasks, int *count);

#endif							/* AINS_HEALTH_H */
