/*
 * core/stats.c
 *		The numbers: counting live tasks, and showing them.
 */
#include "core/stats.h"

#include <math.h>

#include "utils/builtins.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "clock.h"
#include "guc.h"
#include "policy.h"
#include "soft/counters.h"
#include "soft/effects.h"
#include "soft/ready.h"
#include "store/lane_store.h"
#include "store/report_store.h"

/* Of a sweeper's time so much goes into counting, at most: one part in this many. */
#define COUNT_SHARE		1000

/*
 * Counts the live tasks, if they are not known or were last counted so long
 * ago that another count takes a thousandth of the time since.
 */
void
stats_count_live(Call *call)
{
	int64		began = clock_read().mono;
	int64		pause = ains_audit_interval * USECS_PER_SEC;
	uint64		number;
	Snapshot	snapshot;
	LiveTasks  *counted;
	int			count;

	if (!counters_due(call->db, began))
		return;
	snapshot = counters_begin(call->db, &number);
	counted = report_store_count_live(snapshot, &count);
	UnregisterSnapshot(snapshot);
	pause = Max(pause, (clock_read().mono - began) * COUNT_SHARE);
	counters_finish(call->db, number, counted, count, began + pause);
}

static int
compare_capabilities(const void *a, const void *b)
{
	return strcmp(((const LiveTasks *) a)->capability, ((const LiveTasks *) b)->capability);
}

/*
 * When the PENDING task of a capability that was due first was due, as far as
 * the first 1,000 of each of its lanes tell; 0: there is none. Reads the ready
 * index from where the ready set begins.
 */
static TimestampTz
oldest_pending(Call *call, const char *capability, int64 aging_interval)
{
	int			count;
	int32	   *lanes = lane_store_of_capability(capability, &count);
	TimestampTz oldest = 0;

	for (int i = 0; i < count; i++)
	{
		/* the ready set does not know what this transaction has made ready itself */
		int64		from_rank = effects_any() ? PG_INT64_MIN : ready_floor(call->db, lanes[i]).rank;
		TimestampTz first = report_store_oldest_pending(lanes[i], aging_interval, from_rank);

		if (first != 0 && (oldest == 0 || first < oldest))
			oldest = first;
	}
	return oldest;
}

/* For how long it has been due, in microseconds; 0: there is none. */
int64
stats_waiting_for(Call *call, const CapabilityRow *capability)
{
	TimestampTz oldest = oldest_pending(call, capability->name, capability->aging_interval);

	/* below 0: the clock was set back */
	return oldest == 0 ? 0 : Max(call->now.wall - oldest, 0);
}

/* Appends the rows of queue_stats() to a tuplestore. */
void
stats_queues(Call *call, Tuplestorestate *store, TupleDesc desc)
{
	int			queue_count;
	Queue	   *queues = report_store_queues(&queue_count);
	int			count;
	LiveTasks  *tasks = counters_live(call->db, &count);

	/* as on a standby, which is told of no commit */
	if (tasks == NULL)
		tasks = report_store_count_live(NULL, &count);
	qsort(tasks, count, sizeof(LiveTasks), compare_capabilities);
	for (int i = 0; i < queue_count; i++)
	{
		LiveTasks	wanted = {.capability = queues[i].capability};
		const LiveTasks *live = bsearch(&wanted, tasks, count, sizeof(LiveTasks),
										compare_capabilities);
		Datum		values[8] = {0};
		bool		nulls[8] = {0};

		values[0] = CStringGetTextDatum(queues[i].capability);
		values[1] = BoolGetDatum(queues[i].paused);
		for (int j = 0; j < LIVE_STATUS_COUNT; j++)
			values[2 + j] = Int64GetDatum(live != NULL ? Max(live->live[j], 0) : 0);
		nulls[6] = live == NULL || live->live[TASK_PENDING] <= 0;
		if (!nulls[6])
		{
			TimestampTz oldest = oldest_pending(call, queues[i].capability,
												queues[i].aging_interval);

			nulls[6] = oldest == 0;
			values[6] = DirectFunctionCall2(timestamp_mi, TimestampTzGetDatum(call->now.wall),
											TimestampTzGetDatum(oldest));
		}
		values[7] = Int64GetDatum(queues[i].agents_available);
		tuplestore_putvalues(store, desc, values, nulls);
	}
}

/* One row of counters(); bound: NaN for none. */
static void
put_counter(Tuplestorestate *store, TupleDesc desc, const char *capability, const char *counter,
			double bound, int64 value, bool known)
{
	Datum		values[4] = {0};
	bool		nulls[4] = {0};

	nulls[0] = capability[0] == '\0';
	if (!nulls[0])
		values[0] = CStringGetTextDatum(capability);
	values[1] = CStringGetTextDatum(counter);
	nulls[2] = isnan(bound);
	values[2] = Float8GetDatum(bound);
	nulls[3] = !known;
	values[3] = Int64GetDatum(value);
	tuplestore_putvalues(store, desc, values, nulls);
}

/* Appends the rows of ains_internal.counters(). */
void
stats_counters(Call *call, Tuplestorestate *store, TupleDesc desc)
{
	int			count;
	CapabilityCounts *counts = counters_read(call->db, &count);
	bool		known = counters_live_known(call->db);

	for (int i = 0; i < count; i++)
	{
		const char *capability = counts[i].capability;

		for (int j = 0; j < COUNT_EVENTS; j++)
			put_counter(store, desc, capability, counters_event_names[j], NAN,
						counts[i].events[j], true);
		for (int j = 0; j < LIVE_STATUS_COUNT; j++)
			put_counter(store, desc, capability, task_status_name(j), NAN, counts[i].live[j],
						known);
		for (int j = 0; j < COUNT_HISTOGRAMS; j++)
		{
			const Histogram *histogram = &counts[i].histograms[j];
			const char *name = counters_histogram_names[j];

			for (int k = 0; k < COUNT_BUCKETS; k++)
				put_counter(store, desc, capability, name,
							counters_bounds[k] == PG_INT64_MAX ? INFINITY :
							(double) counters_bounds[k] / USECS_PER_SEC,
							histogram->buckets[k], true);
			put_counter(store, desc, capability, psprintf("%s_us", name), NAN, histogram->sum,
						true);
		}
	}
}
