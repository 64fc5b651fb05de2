/*
 * guc.c
 *		The settings, as data. A test compares docs/settings.md with them.
 */
#include "guc.h"

#include <limits.h>

#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/varlena.h"

#include "policy.h"

int			ains_default_lease;
int			ains_heartbeat_timeout;
int			ains_retention;
int			ains_agent_retention;
int			ains_sweep_max_nap;
int			ains_audit_interval;
int			ains_max_payload;
bool		ains_auto_create_capabilities;
char	   *ains_databases;
char	   *ains_events;
uint32		ains_event_kinds;
int			ains_max_agents;
int			ains_max_databases;
int			ains_max_capabilities;
int			ains_max_lanes;
int			ains_ready_set_size;
bool		ains_enable_test_clock;

typedef struct IntSetting
{
	const char *name;
	const char *short_desc;
	const char *long_desc;
	int		   *variable;
	int			boot;
	int			min;
	int			max;
	GucContext	context;
	int			flags;
} IntSetting;

#define MINUTES_PER_DAY		(24 * 60)

static const IntSetting int_settings[] = {
	{"ains.default_lease",
		"Length of a lease when neither the claim nor the capability says one.", NULL,
	&ains_default_lease, 300, 1, 30 * SECS_PER_DAY, PGC_SUSET, GUC_UNIT_S},
	{"ains.heartbeat_timeout",
		"An agent that has not beaten for this long is dead, unless it registered with another limit.", NULL,
	&ains_heartbeat_timeout, 90, 1, SECS_PER_DAY, PGC_SIGHUP, GUC_UNIT_S},
	{"ains.retention",
		"How long finished tasks are kept.", "Whole days of history are dropped at once.",
	&ains_retention, 7 * MINUTES_PER_DAY, MINUTES_PER_DAY, INT_MAX, PGC_SIGHUP, GUC_UNIT_MIN},
	{"ains.agent_retention",
		"How long stopped and dead agents stay registered.", NULL,
	&ains_agent_retention, MINUTES_PER_DAY, 1, INT_MAX, PGC_SIGHUP, GUC_UNIT_MIN},
	{"ains.sweep_max_nap",
		"The longest time the sweeper sleeps.",
		"It wakes by itself for whatever is due; this bounds what a lost wake-up could cost.",
	&ains_sweep_max_nap, 60 * 1000, 10, 3600 * 1000, PGC_SIGHUP, GUC_UNIT_MS},
	{"ains.audit_interval",
		"How often the sweeper compares shared memory with the tables.", NULL,
	&ains_audit_interval, 60, 1, SECS_PER_DAY, PGC_SIGHUP, GUC_UNIT_S},
	{"ains.max_payload",
		"The largest payload, metadata, checkpoint or result of a task.", NULL,
	&ains_max_payload, 16 * 1024, 1, 256 * 1024, PGC_SUSET, GUC_UNIT_KB},
};

static const IntSetting preload_settings[] = {
	{"ains.max_agents",
		"Agents of all databases that shared memory has room for.", NULL,
	&ains_max_agents, 10000, 16, 1000000, PGC_POSTMASTER, 0},
	{"ains.max_databases",
		"Databases of this server that can use ains at the same time.", NULL,
	&ains_max_databases, 16, 1, 1000, PGC_POSTMASTER, 0},
	{"ains.max_capabilities",
		"Capabilities of all databases that shared memory has counters for.",
		"Those beyond are counted as one, and queue_stats counts the table.",
	&ains_max_capabilities, 1024, 1, 100000, PGC_POSTMASTER, 0},
	{"ains.max_lanes",
		"Lanes (capabilities) of all databases that shared memory has room for.",
		"A lane without room costs a claim an index scan, nothing else.",
	&ains_max_lanes, 256, 1, 100000, PGC_POSTMASTER, 0},
	{"ains.ready_set_size",
		"Ready tasks of a lane that shared memory holds, 16 bytes each.",
		"The others are read from the index when these are used up.",
	&ains_ready_set_size, 4096, 16, 1000000, PGC_POSTMASTER, 0},
};

/* Refuses a list that could not be split into names. */
static bool
check_databases(char **newval, void **extra, GucSource source)
{
	char	   *copy = pstrdup(*newval);
	List	   *names;
	bool		valid = SplitIdentifierString(copy, ',', &names);

	if (!valid)
		GUC_check_errdetail("List syntax is invalid.");
	list_free(names);
	pfree(copy);
	return valid;
}

/* Refuses a kind of event that there is not. */
static bool
check_events(char **newval, void **extra, GucSource source)
{
	uint32		kinds;
	const char *wrong;
	int			length;

	if (policy_event_kinds(*newval, &kinds, &wrong, &length))
		return true;
	GUC_check_errdetail("There is no kind of event \"%.*s\".", length, wrong);
	GUC_check_errhint("Use kinds such as task.failed, or task.*, agent.*, run.*, or * for all.");
	return false;
}

static void
assign_events(const char *newval, void *extra)
{
	const char *wrong;
	int			length;

	(void) policy_event_kinds(newval, &ains_event_kinds, &wrong, &length);
}

static void
define_int(const IntSetting *s)
{
	DefineCustomIntVariable(s->name, s->short_desc, s->long_desc, s->variable,
							s->boot, s->min, s->max, s->context, s->flags,
							NULL, NULL, NULL);
}

/*
 * Defines the settings. Those that size shared memory exist only when the
 * library is preloaded, since they could not take effect otherwise.
 */
void
guc_init(void)
{
	for (int i = 0; i < lengthof(int_settings); i++)
		define_int(&int_settings[i]);

	DefineCustomBoolVariable("ains.auto_create_capabilities",
							 "Whether enqueue and register_agent create a capability they see for the first time.",
							 NULL, &ains_auto_create_capabilities, true,
							 PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomStringVariable("ains.databases",
							   "Comma-separated names of the databases in which a sweeper may run.",
							   "Empty: all that have the extension.",
							   &ains_databases, "", PGC_SIGHUP, GUC_LIST_INPUT,
							   check_databases, NULL, NULL);
	DefineCustomStringVariable("ains.events",
							   "Kinds of events that are recorded, separated by commas.",
							   "Empty: none; task.*, agent.*, run.* or *: all of these.",
							   &ains_events, "", PGC_SUSET, GUC_LIST_INPUT,
							   check_events, assign_events, NULL);

	if (process_shared_preload_libraries_in_progress)
	{
		for (int i = 0; i < lengthof(preload_settings); i++)
			define_int(&preload_settings[i]);
		DefineCustomBoolVariable("ains.enable_test_clock",
								 "Whether ains_internal.advance_clock works: for tests, never in production.",
								 NULL, &ains_enable_test_clock, false,
								 PGC_POSTMASTER, GUC_NOT_IN_SAMPLE, NULL, NULL, NULL);
	}

	MarkGUCPrefixReserved("ains");
}
