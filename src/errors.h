/*
 * errors.h
 *		SQLSTATEs of ains: class NS. The tables are in docs/functions.md and, of
 *		what is not raised but written to the log, in docs/monitoring.md.
 */
#ifndef AINS_ERRORS_H
#define AINS_ERRORS_H

#include "utils/elog.h"

#define AINS_LEASE_LOST				MAKE_SQLSTATE('N','S','0','0','1')
#define AINS_UNKNOWN_AGENT			MAKE_SQLSTATE('N','S','0','0','2')
#define AINS_UNKNOWN_TASK			MAKE_SQLSTATE('N','S','0','0','3')
#define AINS_TASK_CANCELLED			MAKE_SQLSTATE('N','S','0','0','4')
#define AINS_AGENT_NOT_ACCEPTING	MAKE_SQLSTATE('N','S','0','0','5')
#define AINS_INVALID_TRANSITION		MAKE_SQLSTATE('N','S','0','0','6')
#define AINS_UNKNOWN_CAPABILITY		MAKE_SQLSTATE('N','S','0','0','7')
#define AINS_LIMIT_EXCEEDED			MAKE_SQLSTATE('N','S','0','0','8')

#define AINS_LOG_AGENT_DIED			MAKE_SQLSTATE('N','S','1','0','1')
#define AINS_LOG_LEASE_TAKEN_BACK	MAKE_SQLSTATE('N','S','1','0','2')
#define AINS_LOG_DEAD_LETTER		MAKE_SQLSTATE('N','S','1','0','3')
#define AINS_LOG_SWEEPER_LATE		MAKE_SQLSTATE('N','S','1','0','4')
#define AINS_LOG_PARTITION_DROPPED	MAKE_SQLSTATE('N','S','1','0','5')

#endif							/* AINS_ERRORS_H */
