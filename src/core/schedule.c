/*
 * core/schedule.c
 *		Schedules, and templates: what is enqueued again and again.
 *
 * A schedule remembers the first time that is not handled yet. Whoever runs it
 * locks its row, handles all times up to now, and moves that on, in one
 * transaction: so each time becomes one task, or none, whoever else runs it.
 */
#include "core/limit.h"
#include "core/schedule.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/timestamp.h"

#include "clock.h"
#include "compat.h"
#include "core/capability.h"
#include "core/cron.h"
#include "core/task.h"
#include "core/ticker.h"

/* A time is missed when nobody came for this long: pg_cron comes every minute. */
#define LATE	USECS_PER_MINUTE
/* Somebody's open transaction, with a unique key, shall not stop all schedules. */
#define RUN_LOCK_TIMEOUT	"1s"

pg_noreturn static void
refuse(const char *what, const char *why, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid %s", what),
			 errdetail("%s", why),
			 errhint("%s", hint)));
}

/* Raises 22023. */
static pg_tz *
read_texts(const char *cron, const char *timezone, CronTimes *times)
{
	pg_tz	   *zone = strlen(timezone) < TZ_STRLEN_MAX ? pg_tzset(timezone) : NULL;
	char	   *wrong = cron_parse(cron, times);

	if (wrong != NULL)
		refuse("cron", wrong,
			   "Give minute, hour, day of the month, month and day of the week, such as '30 4 * * mon-fri'.");
	if (zone == NULL || !pg_tz_acceptable(zone))
		refuse("timezone", psprintf("There is no time zone \"%s\".", timezone),
			   "Use a name of pg_timezone_names, such as Europe/Berlin.");
	return zone;
}

/* The first time after that one; 0: none in forty years. Raises 22023. */
TimestampTz
schedule_next(const char *cron, const char *timezone, TimestampTz after)
{
	CronTimes	times;
	pg_tz	   *zone = read_texts(cron, timezone, &times);

	return cron_next(&times, after, zone);
}

/* How many times, from `since` on, which is one, are missed by now. */
int64
schedule_overdue(const char *cron, const char *timezone, TimestampTz since, TimestampTz now)
{
	CronTimes	times;
	pg_tz	   *zone = read_texts(cron, timezone, &times);
	int64		count = 0;

	for (TimestampTz time = since; time != 0 && now - time >= LATE && count < AINS_MAX_COUNTED;
		 time = cron_next(&times, time, zone))
	{
		count++;
		CHECK_FOR_INTERRUPTS();
	}
	return count;
}

pg_noreturn static void
refuse_unknown(const char *kind, const char *name)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("unknown %s", kind),
			 errdetail("There is no %s \"%s\".", kind, name),
			 errhint("The view ains.%ss shows those you may use.", kind)));
}

static void
require_owner(Call *call, Oid owner, const char *kind, const char *name)
{
	if (call_is_member(call, owner) || call_is_admin(call))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("permission denied for %s \"%s\"", kind, name),
			 errdetail("It belongs to the role that made it."),
			 errhint("Use a member of that role or of ains_admin, or another name.")));
}

/*
 * Makes a schedule, or changes the one of that name; of it, the caller fills in
 * all but owner and next_run. Returns the first time it will run. Raises 22023,
 * 42501, 55000 (nobody would run it), NS007.
 */
TimestampTz
schedule_save(Call *call, Schedule *schedule)
{
	CronTimes	times;
	pg_tz	   *zone = read_texts(schedule->cron, schedule->timezone, &times);
	Oid			owner;

	schedule->owner = call->role;
	schedule->next_run = cron_next(&times, call->now.wall, zone);
	if (schedule->next_run == 0)
		refuse("cron", psprintf("\"%s\" is no time that ever comes.", schedule->cron),
			   "Not every month has that day.");
	ticker_require(call);
	(void) capability_ensure(call, schedule->task.capability);

	while (!schedule_store_insert(schedule, call->now.wall))
	{
		if (schedule_store_lock(schedule->name, &owner))
		{
			require_owner(call, owner, "schedule", schedule->name);
			/* whoever ran it while we waited for the lock has gone on in time */
			schedule->next_run = cron_next(&times, clock_read().wall, zone);
			schedule_store_update(schedule);
			break;
		}
		CHECK_FOR_INTERRUPTS(); /* that one was removed in between */
	}
	return schedule->next_run;
}

/* Locks a schedule that the caller may change; raises 42704, 42501. */
static void
lock_own(Call *call, const char *name)
{
	Oid			owner;

	if (!schedule_store_lock(name, &owner))
		refuse_unknown("schedule", name);
	require_owner(call, owner, "schedule", name);
}

void
schedule_remove(Call *call, const char *name)
{
	lock_own(call, name);
	schedule_store_remove(name);
}

void
schedule_pause(Call *call, const char *name, bool paused)
{
	lock_own(call, name);
	schedule_store_pause(name, paused);
}

static void
push_string(JsonbParseState **state, JsonbIteratorToken token, const char *value)
{
	JsonbValue	string = {.type = jbvString};

	string.val.string.val = unconstify(char *, value);
	string.val.string.len = strlen(value);
	(void) pushJsonbValue(state, token, &string);
}

/* The task's metadata: the schedule's, with its name and the time it is for. */
static Datum
metadata_for(const Schedule *schedule, TimestampTz time)
{
	JsonbParseState *state = NULL;
	struct pg_tm tm;
	fsec_t		fsec;
	Datum		own;

	/* the same text whatever the session's DateStyle and zone */
	if (timestamp2tm(time, NULL, &tm, &fsec, NULL, NULL) != 0)
		elog(ERROR, "time out of range");
	(void) pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	push_string(&state, WJB_KEY, "schedule");
	push_string(&state, WJB_VALUE, schedule->name);
	push_string(&state, WJB_KEY, "scheduled_for");
	push_string(&state, WJB_VALUE,
				psprintf("%04d-%02d-%02dT%02d:%02d:00Z", tm.tm_year, tm.tm_mon, tm.tm_mday,
						 tm.tm_hour, tm.tm_min));
	own = JsonbPGetDatum(JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL)));
	if (schedule->task.metadata == 0)
		return own;
	return DirectFunctionCall2(jsonb_concat, schedule->task.metadata, own);
}

/* Enqueues the task of one time, for the schedule's owner; returns its id. */
static int64
enqueue_for(Call *call, const Schedule *schedule, TimestampTz time)
{
	Call		as_owner = *call;
	NewTask		task = {
		.capability = schedule->task.capability,
		.payload = schedule->task.payload,
		.priority = schedule->task.priority,
		.max_attempts = schedule->task.max_attempts,
		.timeout = schedule->task.timeout,
		.unique_key = schedule->task.unique_key,
		.metadata = metadata_for(schedule, time),
		.run_at = time
	};

	as_owner.role = schedule->owner;
	limit_enqueue(&as_owner, 1);
	return task_enqueue(&as_owner, &task, CONFLICT_RETURN);
}

/*
 * Handles all times of a schedule up to now, and returns how many became a task.
 * The last one may be on time; those before it were missed, and are made up for
 * as the schedule says.
 */
static int64
run_one(Call *call, const Schedule *schedule)
{
	CronTimes	times;
	pg_tz	   *zone = read_texts(schedule->cron, schedule->timezone, &times);
	TimestampTz *runs = palloc((AINS_MAX_CATCH_UP + 1) * sizeof(TimestampTz));
	TimestampTz *late = palloc(AINS_MAX_CATCH_UP * sizeof(TimestampTz));
	ScheduleProgress progress = {0};
	int64		make_up;
	int			count = 0;
	TimestampTz time;

	if (!schedule->owner_may_enqueue)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for the owner of schedule \"%s\"", schedule->name),
				 errdetail("Its owner must not call ains.enqueue, or is gone."),
				 errhint("Grant the owner membership in ains_producer.")));

	for (time = schedule->next_run; time != 0 && call->now.wall - time >= LATE;
		 time = cron_next(&times, time, zone))
	{
		late[progress.missed++ % AINS_MAX_CATCH_UP] = time;
		CHECK_FOR_INTERRUPTS();
	}
	if (strcmp(schedule->catch_up, "skip") == 0)
		make_up = 0;
	else if (strcmp(schedule->catch_up, "one") == 0)
		make_up = Min(progress.missed, 1);
	else
		make_up = Min(progress.missed, AINS_MAX_CATCH_UP);
	for (int64 i = progress.missed - make_up; i < progress.missed; i++)
		runs[count++] = late[i % AINS_MAX_CATCH_UP];
	if (time != 0 && time <= call->now.wall)
	{
		runs[count++] = time;
		time = cron_next(&times, time, zone);
	}

	for (int i = 0; i < count; i++)
	{
		progress.last_task_id = enqueue_for(call, schedule, runs[i]);
		progress.last_run = runs[i];
		CHECK_FOR_INTERRUPTS();
	}
	progress.next_run = time;
	schedule_store_progress(schedule->name, &progress);
	return count;
}

/*
 * Runs a schedule in a subtransaction, so that one that fails does not stop the
 * others: it stays due, and says why. Somebody who cancels stops them all.
 */
static int64
try_one(Call *call, const char *name)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	ErrorData  *volatile error = NULL;
	volatile int64 count = 0;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		Schedule	schedule;
		int			level = NewGUCNestLevel();

		(void) set_config_option("lock_timeout", RUN_LOCK_TIMEOUT, PGC_USERSET,
								 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
		if (schedule_store_lock_due(name, call->now.wall, &schedule))
			count = run_one(call, &schedule);
		AtEOXact_GUC(true, level);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		if (ERRCODE_TO_CATEGORY(error->sqlerrcode) == ERRCODE_OPERATOR_INTERVENTION)
			PG_RE_THROW();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		count = 0;
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;

	if (error != NULL)
	{
		schedule_store_failed(name, error->message);
		ereport(WARNING,
				(errcode(error->sqlerrcode),
				 errmsg("schedule \"%s\" could not be run: %s", name, error->message),
				 error->detail != NULL ? errdetail("%s", error->detail) : 0));
	}
	return count;
}

/* Enqueues the tasks of all schedules that are due; returns how many. */
int64
schedule_run_all(Call *call)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "ains schedule",
												  ALLOCSET_DEFAULT_SIZES);
	char	  **names;
	int			due;
	int64		count = 0;

	call_require_read_committed("run_schedules");
	ticker_note(call);
	names = schedule_store_due(call->now.wall, &due);
	for (int i = 0; i < due; i++)
	{
		MemoryContext old = MemoryContextSwitchTo(context);

		count += try_one(call, names[i]);
		MemoryContextSwitchTo(old);
		MemoryContextReset(context);
	}
	return count;
}

/* Saves a template, or changes the one of that name; raises 42501, NS007. */
void
template_save(Call *call, const char *name, const TaskSpec *task)
{
	Oid			owner;

	(void) capability_ensure(call, task->capability);
	while (!template_store_insert(name, call->role, task, call->now.wall))
	{
		if (template_store_lock(name, &owner))
		{
			require_owner(call, owner, "template", name);
			template_store_update(name, task);
			break;
		}
		CHECK_FOR_INTERRUPTS(); /* that one was removed in between */
	}
}

void
template_remove(Call *call, const char *name)
{
	Oid			owner;

	if (!template_store_lock(name, &owner))
		refuse_unknown("template", name);
	require_owner(call, owner, "template", name);
	template_store_remove(name);
}

/* What enqueue_from_template gives to enqueue, a jsonb object; raises 42704, 42501. */
Datum
template_arguments(Call *call, const char *name, Datum overrides)
{
	Oid			owner;
	Datum		arguments;

	if (!template_store_arguments(name, overrides, &owner, &arguments))
		refuse_unknown("template", name);
	require_owner(call, owner, "template", name);
	return arguments;
}
