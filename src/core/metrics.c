/*
 * core/metrics.c
 *		Metrics: a table of families, and where each gets its samples.
 *
 * Labels are bounded: capabilities (those beyond ains.max_capabilities share an
 * empty label), types of agents and statuses; never ids. What is not known has
 * no sample, rather than a NaN that would stay in somebody's average.
 */
#include "core/metrics.h"

#include <math.h>

#include "access/xlog.h"
#include "miscadmin.h"
#include "utils/timestamp.h"

#include "clock.h"
#include "core/capability.h"
#include "core/health.h"
#include "core/shelf.h"
#include "core/stats.h"
#include "core/sweep.h"
#include "guc.h"
#include "policy.h"
#include "soft/counters.h"
#include "soft/pulse.h"
#include "soft/ready.h"
#include "soft/roster.h"
#include "soft/types.h"
#include "soft/waiters.h"
#include "soft/workers.h"
#include "store/report_store.h"

/* A schedule that was due so long ago is overdue: pg_cron comes every minute. */
#define SCHEDULE_PATIENCE	(5 * USECS_PER_MINUTE)

typedef struct Walk Walk;

/* Puts the samples of walk->family; what `which` means is its own. */
typedef void (*MetricSource) (Walk *walk, int which);

typedef struct MetricFamily
{
	const char *name;
	const char *type;
	const char *help;
	MetricSource source;
	int			which;
	bool		on_standby;		/* comes from tables alone */
} MetricFamily;

/* Agents of a type, by status. */
typedef struct TypeCount
{
	const char *name;
	int32		agents[AGENT_DEAD + 1];
} TypeCount;

struct Walk
{
	Call	   *call;
	const MetricSink *sink;
	const MetricFamily *family;
	/* read once, before the first family */
	CapabilityCounts *counts;	/* by capability */
	int			count;
	bool		live_known;
	TypeCount	types[AGENT_TYPES]; /* by name, those that have agents */
	int			type_count;
	ScheduleTally schedules;
	EventTally	events;
};

/* Puts one sample; label names that are NULL are left out. */
static void
put(Walk *walk, const char *name, double value, const char *label, const char *label_value,
	const char *label2, const char *label2_value)
{
	Sample		sample = {.name = name, .value = value};

	if (label != NULL)
		sample.labels[sample.label_count++] = (MetricLabel) {label, label_value};
	if (label2 != NULL)
		sample.labels[sample.label_count++] = (MetricLabel) {label2, label2_value};
	walk->sink->sample(walk->sink->state, &sample);
}

static void
put_plain(Walk *walk, double value)
{
	put(walk, walk->family->name, value, NULL, NULL, NULL, NULL);
}

/* Prometheus counts what is at most the bound, so the buckets add up. */
static void
put_histogram(Walk *walk, const Histogram *histogram, const char *label, const char *value)
{
	const char *name = walk->family->name;
	const char *bucket = psprintf("%s_bucket", name);
	uint64		count = 0;

	for (int i = 0; i < COUNT_BUCKETS; i++)
	{
		bool		last = counters_bounds[i] == PG_INT64_MAX;
		const char *bound = last ? "+Inf"
			: psprintf("%g", (double) counters_bounds[i] / USECS_PER_SEC);

		count += histogram->buckets[i];
		if (label != NULL)
			put(walk, bucket, count, label, value, "le", bound);
		else
			put(walk, bucket, count, "le", bound, NULL, NULL);
	}
	put(walk, psprintf("%s_sum", name), (double) histogram->sum / USECS_PER_SEC, label, value,
		NULL, NULL);
	put(walk, psprintf("%s_count", name), count, label, value, NULL, NULL);
}

static void
info(Walk *walk, int which)
{
	put(walk, walk->family->name, 1, "version", AINS_VERSION, NULL, NULL);
}

/* which: a COUNT_... event */
static void
task_events(Walk *walk, int which)
{
	int			event = 0;

	while (!(which & (1 << event)))
		event++;
	for (int i = 0; i < walk->count; i++)
		put(walk, walk->family->name, walk->counts[i].events[event],
			"capability", walk->counts[i].capability, NULL, NULL);
}

/* which: of CapabilityCounts.histograms */
static void
task_histogram(Walk *walk, int which)
{
	for (int i = 0; i < walk->count; i++)
		put_histogram(walk, &walk->counts[i].histograms[which], "capability",
					  walk->counts[i].capability);
}

static void
live_tasks(Walk *walk, int which)
{
	for (int i = 0; i < walk->count && walk->live_known; i++)
		for (int status = 0; status < LIVE_STATUS_COUNT; status++)
			put(walk, walk->family->name, Max(walk->counts[i].live[status], 0),
				"capability", walk->counts[i].capability, "status", task_status_name(status));
}

static void
queued_tasks(Walk *walk, int which)
{
	for (int i = 0; i < walk->count && walk->live_known; i++)
		put(walk, walk->family->name, Max(walk->counts[i].live[TASK_PENDING], 0),
			"capability", walk->counts[i].capability, NULL, NULL);
}

static void
oldest_pending(Walk *walk, int which)
{
	for (int i = 0; i < walk->count && walk->live_known; i++)
	{
		const char *name = walk->counts[i].capability;
		const CapabilityRow *capability = NULL;
		int64		age = 0;

		if (walk->counts[i].live[TASK_PENDING] > 0)
			capability = capability_find(walk->call, name);
		if (capability != NULL)
			age = stats_waiting_for(walk->call, capability);
		put(walk, walk->family->name, (double) age / USECS_PER_SEC, "capability", name,
			NULL, NULL);
	}
}

static void
agents(Walk *walk, int which)
{
	for (int i = 0; i < walk->type_count; i++)
		for (int status = 0; status <= AGENT_DEAD; status++)
			if (walk->types[i].agents[status] > 0)
				put(walk, walk->family->name, walk->types[i].agents[status],
					"agent_type", walk->types[i].name, "status", agent_status_name(status));
}

/* As the view active_agents has it; 0 for a type that has only others. */
static void
active_agents(Walk *walk, int which)
{
	for (int i = 0; i < walk->type_count; i++)
	{
		const int32 *of = walk->types[i].agents;

		put(walk, walk->family->name, of[AGENT_AVAILABLE] + of[AGENT_BUSY] + of[AGENT_DRAINING],
			"agent_type", walk->types[i].name, NULL, NULL);
	}
}

/* which: a JournalKind */
static void
reported(Walk *walk, int which)
{
	put_plain(walk, pulse_total(walk->call->db, which));
}

/* which: a PulseCounter */
static void
pulse_counter(Walk *walk, int which)
{
	put_plain(walk, pulse_value(walk->call->db, which));
}

/* which: a PulseHistogram */
static void
pulse_histogram(Walk *walk, int which)
{
	Histogram	histogram;

	pulse_read(walk->call->db, which, &histogram);
	put_histogram(walk, &histogram, NULL, NULL);
}

static void
sweeper_running(Walk *walk, int which)
{
	bool		running;
	int64		overdue;

	(void) db_sweep_overdue(walk->call->db, &walk->call->now, &running, &overdue);
	put_plain(walk, running);
}

static void
sweep_overdue(Walk *walk, int which)
{
	bool		running;
	int64		overdue;

	if (db_sweep_overdue(walk->call->db, &walk->call->now, &running, &overdue))
		put_plain(walk, (double) Max(overdue, 0) / USECS_PER_SEC);
}

static void
launcher_running(Walk *walk, int which)
{
	put_plain(walk, workers_have_launcher());
}

static void
waiters(Walk *walk, int which)
{
	put_plain(walk, waiters_count(walk->call->db));
}

static void
roster_size_of(Walk *walk, int which)
{
	put_plain(walk, ains_max_agents);
}

static void
roster_free(Walk *walk, int which)
{
	put_plain(walk, roster_room());
}

static void
lanes_size_of(Walk *walk, int which)
{
	put_plain(walk, ains_max_lanes);
}

static void
lanes_free(Walk *walk, int which)
{
	int64		keys;

	put_plain(walk, ains_max_lanes - ready_use(walk->call->db, &keys));
}

static void
ready_keys(Walk *walk, int which)
{
	int64		keys;

	(void) ready_use(walk->call->db, &keys);
	put_plain(walk, keys);
}

static void
ready_drift(Walk *walk, int which)
{
	put_plain(walk, pg_atomic_read_u64(&walk->call->db->ready_drift));
}

static void
shelves(Walk *walk, int which)
{
	put_plain(walk, report_store_shelf_count());
}

static void
shelves_ahead(Walk *walk, int which)
{
	int			ahead;

	if (shelf_days_ahead(walk->call, &ahead))
		put_plain(walk, ahead);
}

static void
schedules(Walk *walk, int which)
{
	put(walk, walk->family->name, walk->schedules.active, "status", "active", NULL, NULL);
	put(walk, walk->family->name, walk->schedules.paused, "status", "paused", NULL, NULL);
}

static void
schedules_failing(Walk *walk, int which)
{
	put_plain(walk, walk->schedules.failing);
}

static void
schedules_overdue(Walk *walk, int which)
{
	put_plain(walk, walk->schedules.overdue);
}

static void
events_added(Walk *walk, int which)
{
	put_plain(walk, walk->events.added);
}

static void
events_published(Walk *walk, int which)
{
	put_plain(walk, walk->events.published);
}

static void
webhooks(Walk *walk, int which)
{
	put_plain(walk, walk->events.webhooks);
}

static void
webhook_events_behind(Walk *walk, int which)
{
	put_plain(walk, walk->events.behind);
}

/*
 * The numbers are those of HealthStatus. Without the age of the oldest task,
 * which is a family of its own: it is not to be read twice.
 */
static void
health_status(Walk *walk, int which)
{
	int			count;
	HealthCheck *checks = health_check(walk->call, false, &count);

	for (int i = 0; i < count; i++)
		put(walk, walk->family->name, checks[i].status, "check", checks[i].name, NULL, NULL);
}

/* docs/monitoring.md has the same table. */
static const MetricFamily families[] = {
	{"ains_application_info", "gauge", "The version of the extension, as a label; always 1.",
	info, 0, true},
	{"ains_health_status", "gauge",
		"The checks of check_health but oldest_pending: 0 is healthy, 1 degraded, 2 unhealthy.",
	health_status, 0, true},
	{"ains_tasks_created_total", "counter", "Tasks enqueued.", task_events, COUNT_ENQUEUED},
	{"ains_tasks_claimed_total", "counter", "Leases granted: attempts begun.",
	task_events, COUNT_CLAIMED},
	{"ains_tasks_completed_total", "counter", "Tasks completed.", task_events, COUNT_COMPLETED},
	{"ains_tasks_failed_total", "counter", "Tasks that failed for good: dead letters.",
	task_events, COUNT_FAILED},
	{"ains_tasks_cancelled_total", "counter", "Tasks cancelled.", task_events, COUNT_CANCELLED},
	{"ains_tasks_expired_total", "counter", "Tasks that expired before an attempt began.",
	task_events, COUNT_EXPIRED},
	{"ains_tasks_put_back_total", "counter", "Ended tasks that retry or redrive put back.",
	task_events, COUNT_PUT_BACK},
	{"ains_task_retries_total", "counter", "Attempts that failed or were lost, with another to come.",
	task_events, COUNT_RETRIED},
	{"ains_task_timeouts_total", "counter", "Attempts that took longer than their timeout.",
	task_events, COUNT_TIMED_OUT},
	{"ains_leases_released_total", "counter", "Leases given back unharmed.",
	task_events, COUNT_RELEASED},
	{"ains_leases_lost_total", "counter", "Leases taken back from their holder.",
	task_events, COUNT_LEASE_LOST},
	{"ains_task_wait_seconds", "histogram", "How long tasks had been due when they were claimed.",
	task_histogram, 0},
	{"ains_task_duration_seconds", "histogram", "How long the attempts ran that completed a task.",
	task_histogram, 1},
	{"ains_tasks", "gauge", "Live tasks by status.", live_tasks},
	{"ains_tasks_in_queue", "gauge", "PENDING tasks: due, and not claimed.", queued_tasks},
	{"ains_oldest_pending_seconds", "gauge",
		"How long the PENDING task that was due first has been due; 0: there is none.",
	oldest_pending},
	{"ains_agents", "gauge", "Agents by status; memory may have forgotten INACTIVE and DEAD ones.",
	agents},
	{"ains_agents_active", "gauge", "Agents that are alive: AVAILABLE, BUSY or DRAINING.",
	active_agents},
	{"ains_agents_died_total", "counter", "Agents that were marked dead.",
	reported, JOURNAL_AGENT_DIED},
	{"ains_roster_slots", "gauge", "Agents of all databases that shared memory has room for.",
	roster_size_of},
	{"ains_roster_slots_free", "gauge", "Agents there is still room for; idle ones give way.",
	roster_free},
	{"ains_waiters", "gauge", "Sessions that sleep in wait_for_task or wait_for_result.", waiters},
	{"ains_ready_keys", "gauge", "Ready tasks that shared memory holds.", ready_keys},
	{"ains_ready_refills_total", "counter", "Refills of the ready set from the index.",
	pulse_counter, PULSE_REFILLS},
	{"ains_ready_drift_total", "counter", "Ready tasks that shared memory had lost; 0 is right.",
	ready_drift},
	{"ains_lanes", "gauge", "Lanes of all databases that the ready set has room for.",
	lanes_size_of},
	{"ains_lanes_free", "gauge", "Lanes there is still room for.", lanes_free},
	{"ains_launcher_running", "gauge", "1 if the launcher runs.", launcher_running},
	{"ains_sweeper_running", "gauge", "1 if a sweeper runs in this database.", sweeper_running},
	{"ains_sweeps_total", "counter", "Passes of housekeeping.", pulse_counter, PULSE_SWEEPS},
	{"ains_sweep_duration_seconds", "histogram", "How long the passes took.",
	pulse_histogram, PULSE_SWEEP_DURATION},
	{"ains_sweep_failures_total", "counter", "Steps of the sweeper that failed and were undone.",
	pulse_counter, PULSE_STEP_FAILURES},
	{"ains_sweep_overdue_seconds", "gauge", "By how much the next sweep is overdue.",
	sweep_overdue},
	{"ains_sweeps_late_total", "counter", "Sweeps that were late, or met a clock that was set.",
	reported, JOURNAL_SWEEPER_LATE},
	{"ains_deadline_lag_seconds", "histogram",
		"How late the sweeps handled what was due: tasks, leases, timeouts, deaths of agents.",
	pulse_histogram, PULSE_DEADLINE_LAG},
	{"ains_history_partitions", "gauge", "Days of history that are kept or made ahead.",
	shelves, 0, true},
	{"ains_history_partitions_ahead", "gauge", "Days from today to the last partition of history.",
	shelves_ahead, 0, true},
	{"ains_history_partitions_dropped_total", "counter", "Days of history that were dropped.",
	reported, JOURNAL_PARTITION_DROPPED},
	{"ains_schedules", "gauge", "Schedules by status.", schedules, 0, true},
	{"ains_schedules_failing", "gauge", "Active schedules whose last run failed.",
	schedules_failing, 0, true},
	{"ains_schedules_overdue", "gauge", "Active schedules that were due five minutes ago.",
	schedules_overdue, 0, true},
	{"ains_events_added_total", "counter", "Events added to the outbox; some of them were rolled back.",
	events_added, 0, true},
	{"ains_events_published_total", "counter",
		"Events up to which all that are there are shown; less than were added while some transaction is open.",
	events_published, 0, true},
	{"ains_webhooks", "gauge", "Webhooks.", webhooks, 0, true},
	{"ains_webhook_events_behind", "gauge",
		"Published events that the webhook that is furthest behind has not been given.",
	webhook_events_behind, 0, true},
	{"ains_log_lines_suppressed_total", "counter",
		"Lines about events that were not written to the server's log, as there were too many.",
	pulse_counter, PULSE_SUPPRESSED},
};

static int
compare_counts(const void *a, const void *b)
{
	return strcmp(((const CapabilityCounts *) a)->capability,
				  ((const CapabilityCounts *) b)->capability);
}

static int
compare_types(const void *a, const void *b)
{
	return strcmp(((const TypeCount *) a)->name, ((const TypeCount *) b)->name);
}

static void
count_agents(Walk *walk)
{
	TypeCount	counts[AGENT_TYPES] = {0};
	AgentView	view;
	int			position = 0;

	while (roster_next(walk->call->db, &position, &view))
	{
		TypeCount  *type = &counts[view.facts.type];

		if (type->name == NULL)
			type->name = types_name(view.facts.type);
		type->agents[policy_agent_status(view.facts.wanted, view.facts.health,
										 view.facts.dead)]++;
	}
	for (int i = 0; i < AGENT_TYPES; i++)
		if (counts[i].name != NULL)
			walk->types[walk->type_count++] = counts[i];
	qsort(walk->types, walk->type_count, sizeof(TypeCount), compare_types);
}

void
metrics_walk(Call *call, const MetricSink *sink)
{
	Walk		walk = {.call = call, .sink = sink};
	bool		standby = RecoveryInProgress();

	walk.counts = counters_read(call->db, &walk.count);
	qsort(walk.counts, walk.count, sizeof(CapabilityCounts), compare_counts);
	walk.live_known = counters_live_known(call->db);
	count_agents(&walk);
	report_store_schedules(call->now.wall - SCHEDULE_PATIENCE, &walk.schedules);
	report_store_events(&walk.events);
	for (int i = 0; i < lengthof(families); i++)
	{
		walk.family = &families[i];
		sink->family(sink->state, walk.family->name, walk.family->type, walk.family->help);
		if (walk.family->on_standby || !standby)
			walk.family->source(&walk, walk.family->which);
		CHECK_FOR_INTERRUPTS();
	}
}
