/*
 * soft/counters.h
 *		What happened to the tasks of each capability, and how many live tasks
 *		it has: numbers that nobody has to look for in a table.
 *
 * All of them change when a transaction commits, by what it noted here:
 * effects.c says when. Events and histograms count from the start of the
 * server. Live tasks (the gauges) are exact: they are counted in the table
 * once, and kept up by every commit since.
 *
 * The count stops nobody. It is made with a snapshot S that is taken under the
 * counters lock, exclusively, and published. A commit applies what it noted
 * under the same lock, shared, after it has become visible; so by its
 * transaction id it can tell whether S sees it, in which case the count has it
 * already and it is left out. That holds also for one that comes to it only
 * after the count is over, so S stays published until the next count is:
 *
 *		live = counted by S + what commits that S does not see have noted
 *
 * During a count both sums are kept, that of the last one and that of this.
 * A count that does not come to its end is forgotten when the next one begins.
 * What is changed in the table by other means than our functions is seen by
 * the next count: soon after ains.rescan(), else in its time.
 */
#ifndef AINS_COUNTERS_H
#define AINS_COUNTERS_H

#include "ains.h"

#include "soft/effects.h"
#include "soft/shmem.h"
#include "utils/snapshot.h"

/* Events, as a set. */
#define COUNT_ENQUEUED		(1 << 0)
#define COUNT_CLAIMED		(1 << 1)	/* its delay: how long the task was due */
#define COUNT_COMPLETED		(1 << 2)	/* its delay: how long the attempt ran */
#define COUNT_FAILED		(1 << 3)	/* the task, for good */
#define COUNT_CANCELLED		(1 << 4)
#define COUNT_EXPIRED		(1 << 5)
#define COUNT_RETRIED		(1 << 6)	/* an attempt failed or was lost; there will be another */
#define COUNT_RELEASED		(1 << 7)	/* a lease was given back unharmed */
#define COUNT_LEASE_LOST	(1 << 8)	/* a lease was taken back */
#define COUNT_PUT_BACK		(1 << 9)	/* an ended task was made live again, by retry */
#define COUNT_TIMED_OUT		(1 << 10)	/* a lease was taken back since the attempt took too long */
#define COUNT_EVENTS		11

/* The status of a task that is not there: before it is enqueued or put back. */
#define TASK_ABSENT			TASK_STATUS_COUNT

#define COUNT_BUCKETS		15
#define COUNT_HISTOGRAMS	2

typedef struct Histogram
{
	uint64		buckets[COUNT_BUCKETS]; /* not cumulative */
	uint64		sum;			/* microseconds */
} Histogram;

/* All numbers of a capability. */
typedef struct CapabilityCounts
{
	char	   *capability;		/* empty: of all that had no room */
	uint64		events[COUNT_EVENTS];
	Histogram	histograms[COUNT_HISTOGRAMS];
	int64		live[LIVE_STATUS_COUNT];
} CapabilityCounts;

extern const char *const counters_event_names[COUNT_EVENTS];
extern const char *const counters_histogram_names[COUNT_HISTOGRAMS];
/* Upper bounds in microseconds, inclusive; the last one is PG_INT64_MAX. */
extern const int64 counters_bounds[COUNT_BUCKETS];

extern int	counters_bucket(int64 delay);

extern Size counters_size(void);
extern void counters_shmem_init(void);
extern void counters_forget_db(int db_number);

/* For calls: what the commit of this transaction counts. */
extern void counters_note(DbState *db, const char *capability, int events,
						  TaskStatus from, TaskStatus to, int64 delay);

extern const TransactionPart counters_part;

/* Reading. */
extern CapabilityCounts *counters_read(DbState *db, int *count);
extern bool counters_live_known(DbState *db);
extern bool counters_known(DbState *db);

/* For limits.c: one gauge, to be judged by. */
typedef struct Counters Counters;

extern Counters *counters_of(DbState *db, const char *capability);
extern bool counters_active(DbState *db, const Counters *counters, int64 *active);
extern LiveTasks *counters_live(DbState *db, int *count);

/* The count; counters_begin's snapshot is registered. */
extern bool counters_due(DbState *db, int64 now_mono);
extern Snapshot counters_begin(DbState *db, uint64 *number);
extern void counters_finish(DbState *db, uint64 number, const LiveTasks *counted, int count,
							int64 next_mono);
extern void counters_doubt(DbState *db);

#endif							/* AINS_COUNTERS_H */
