/*
 * store/schedule_store.c
 *		Schedules and templates; as in task_store.c.
 */
#include "store/schedule_store.h"

#include "catalog/pg_type.h"

#include "query.h"

static void
arg_task(QueryCall *q, const TaskSpec *task)
{
	query_arg_text(q, task->capability);
	query_arg(q, task->payload);
	query_arg(q, Int16GetDatum(task->priority));
	query_arg_optional(q, Int32GetDatum(task->max_attempts), task->max_attempts == 0);
	query_arg_length(q, task->timeout);
	query_arg_text(q, task->unique_key);
	query_arg_optional(q, task->metadata, task->metadata == 0);
}

/* Locks a row by its name and reads its owner; false: there is none. */
static bool
lock_owner(SavedQuery *lock, const char *name, Oid *owner)
{
	QueryCall	q;
	bool		found;

	query_begin(&q, lock);
	query_arg_text(&q, name);
	found = query_run(&q) > 0;
	if (found)
		*owner = query_oid(&q, 0, 1);
	query_end(&q);
	return found;
}

static void
run_by_name(SavedQuery *query, const char *name)
{
	QueryCall	q;

	query_begin(&q, query);
	query_arg_text(&q, name);
	query_run(&q);
	query_end(&q);
}

/* A new schedule; false: there is one of that name. */
bool
schedule_store_insert(const Schedule *schedule, TimestampTz now)
{
	static SavedQuery insert = {
		"INSERT INTO ains.schedule (capability, payload, priority, max_attempts, timeout,"
		" unique_key, metadata, name, cron, timezone, catch_up, next_run, owner, created_at)"
		" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)"
		" ON CONFLICT DO NOTHING RETURNING true",
		14, {TEXTOID, JSONBOID, INT2OID, INT4OID, INTERVALOID, TEXTOID, JSONBOID, TEXTOID,
		TEXTOID, TEXTOID, TEXTOID, TIMESTAMPTZOID, OIDOID, TIMESTAMPTZOID}};
	QueryCall	q;
	bool		inserted;

	query_begin(&q, &insert);
	arg_task(&q, &schedule->task);
	query_arg_text(&q, schedule->name);
	query_arg_text(&q, schedule->cron);
	query_arg_text(&q, schedule->timezone);
	query_arg_text(&q, schedule->catch_up);
	query_arg_time(&q, schedule->next_run);
	query_arg_oid(&q, schedule->owner);
	query_arg_time(&q, now);
	inserted = query_run(&q) > 0;
	query_end(&q);
	return inserted;
}

/* Another definition for a schedule; owner, pause and what it did stay. */
void
schedule_store_update(const Schedule *schedule)
{
	static SavedQuery update = {
		"UPDATE ains.schedule SET capability = $1, payload = $2, priority = $3,"
		" max_attempts = $4, timeout = $5, unique_key = $6, metadata = $7,"
		" cron = $9, timezone = $10, catch_up = $11, next_run = $12, last_error = NULL"
		" WHERE name = $8",
		12, {TEXTOID, JSONBOID, INT2OID, INT4OID, INTERVALOID, TEXTOID, JSONBOID, TEXTOID,
		TEXTOID, TEXTOID, TEXTOID, TIMESTAMPTZOID}};
	QueryCall	q;

	query_begin(&q, &update);
	arg_task(&q, &schedule->task);
	query_arg_text(&q, schedule->name);
	query_arg_text(&q, schedule->cron);
	query_arg_text(&q, schedule->timezone);
	query_arg_text(&q, schedule->catch_up);
	query_arg_time(&q, schedule->next_run);
	query_run(&q);
	query_end(&q);
}

/* Locks a schedule and reads its owner; false: there is none. */
bool
schedule_store_lock(const char *name, Oid *owner)
{
	static SavedQuery lock = {
		"SELECT owner::oid FROM ains.schedule WHERE name = $1 FOR UPDATE",
	1, {TEXTOID}};

	return lock_owner(&lock, name, owner);
}

void
schedule_store_remove(const char *name)
{
	static SavedQuery remove = {
		"DELETE FROM ains.schedule WHERE name = $1", 1, {TEXTOID}
	};

	run_by_name(&remove, name);
}

void
schedule_store_pause(const char *name, bool paused)
{
	static SavedQuery pause = {
		"UPDATE ains.schedule SET paused = $2 WHERE name = $1", 2, {TEXTOID, BOOLOID}
	};
	QueryCall	q;

	query_begin(&q, &pause);
	query_arg_text(&q, name);
	query_arg_bool(&q, paused);
	query_run(&q);
	query_end(&q);
}

/* The names of the schedules that are due, those that wait longest first. */
char	  **
schedule_store_due(TimestampTz now, int *count)
{
	static SavedQuery find = {
		"SELECT name FROM ains.schedule WHERE NOT paused AND next_run <= $1"
		" ORDER BY next_run, name",
	1, {TIMESTAMPTZOID}, .scans = true};
	QueryCall	q;
	char	  **names;

	query_begin(&q, &find);
	query_arg_time(&q, now);
	*count = query_run(&q);
	names = MemoryContextAlloc(q.caller, Max(*count, 1) * sizeof(char *));
	for (int i = 0; i < *count; i++)
		names[i] = query_text_copy(&q, i, 1);
	query_end(&q);
	return names;
}

/*
 * Locks a schedule and reads it; false: it is not due any more, or somebody
 * else has it locked, who will have handled it.
 */
bool
schedule_store_lock_due(const char *name, TimestampTz now, Schedule *schedule)
{
	static SavedQuery lock = {
		"SELECT s.cron, s.timezone, s.catch_up, s.owner::oid, s.next_run, s.capability,"
		" s.payload, s.priority, s.max_attempts, s.timeout, s.unique_key, s.metadata,"
		" (SELECT bool_and(has_function_privilege(s.owner::oid, p.oid, 'EXECUTE')) FROM pg_proc p"
		"  WHERE p.proname = 'enqueue' AND p.pronamespace = 'ains'::regnamespace)"
		" FROM ains.schedule s WHERE s.name = $1 AND NOT s.paused AND s.next_run <= $2"
		" FOR UPDATE OF s SKIP LOCKED",
	2, {TEXTOID, TIMESTAMPTZOID}};
	QueryCall	q;
	bool		found;

	query_begin(&q, &lock);
	query_arg_text(&q, name);
	query_arg_time(&q, now);
	found = query_run(&q) > 0;
	if (found)
	{
		schedule->name = name;
		schedule->cron = query_text_copy(&q, 0, 1);
		schedule->timezone = query_text_copy(&q, 0, 2);
		schedule->catch_up = query_text_copy(&q, 0, 3);
		schedule->owner = query_oid(&q, 0, 4);
		schedule->next_run = query_time(&q, 0, 5);
		schedule->task.capability = query_text_copy(&q, 0, 6);
		schedule->task.payload = query_datum_copy(&q, 0, 7);
		schedule->task.priority = query_int16(&q, 0, 8);
		schedule->task.max_attempts = query_isnull(&q, 0, 9) ? 0 : query_int32(&q, 0, 9);
		schedule->task.timeout = query_length(&q, 0, 10);
		schedule->task.unique_key = query_text_copy(&q, 0, 11);
		schedule->task.metadata = query_isnull(&q, 0, 12) ? 0 : query_datum_copy(&q, 0, 12);
		schedule->owner_may_enqueue = query_bool(&q, 0, 13);
	}
	query_end(&q);
	return found;
}

/* A schedule was run up to its next time. */
void
schedule_store_progress(const char *name, const ScheduleProgress *progress)
{
	static SavedQuery update = {
		"UPDATE ains.schedule SET next_run = $2, last_run = coalesce($3, last_run),"
		" last_task_id = coalesce($4, last_task_id), missed_runs = missed_runs + $5,"
		" last_error = NULL WHERE name = $1",
	5, {TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID, INT8OID, INT8OID}};
	QueryCall	q;

	query_begin(&q, &update);
	query_arg_text(&q, name);
	query_arg_time(&q, progress->next_run);
	query_arg_time(&q, progress->last_run);
	query_arg_optional(&q, Int64GetDatum(progress->last_task_id), progress->last_run == 0);
	query_arg_int64(&q, progress->missed);
	query_run(&q);
	query_end(&q);
}

/* A schedule could not be run; it stays due. */
void
schedule_store_failed(const char *name, const char *error)
{
	static SavedQuery update = {
		"UPDATE ains.schedule SET last_error = $2 WHERE name = $1", 2, {TEXTOID, TEXTOID}
	};
	QueryCall	q;

	query_begin(&q, &update);
	query_arg_text(&q, name);
	query_arg_text(&q, error);
	query_run(&q);
	query_end(&q);
}

/* A new template; false: there is one of that name. */
bool
template_store_insert(const char *name, Oid owner, const TaskSpec *task, TimestampTz now)
{
	static SavedQuery insert = {
		"INSERT INTO ains.template (capability, payload, priority, max_attempts, timeout,"
		" unique_key, metadata, name, owner, created_at)"
		" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING RETURNING true",
		10, {TEXTOID, JSONBOID, INT2OID, INT4OID, INTERVALOID, TEXTOID, JSONBOID, TEXTOID,
		OIDOID, TIMESTAMPTZOID}};
	QueryCall	q;
	bool		inserted;

	query_begin(&q, &insert);
	arg_task(&q, task);
	query_arg_text(&q, name);
	query_arg_oid(&q, owner);
	query_arg_time(&q, now);
	inserted = query_run(&q) > 0;
	query_end(&q);
	return inserted;
}

/* Other arguments for a template; its owner stays. */
void
template_store_update(const char *name, const TaskSpec *task)
{
	static SavedQuery update = {
		"UPDATE ains.template SET capability = $1, payload = $2, priority = $3,"
		" max_attempts = $4, timeout = $5, unique_key = $6, metadata = $7 WHERE name = $8",
	8, {TEXTOID, JSONBOID, INT2OID, INT4OID, INTERVALOID, TEXTOID, JSONBOID, TEXTOID}};
	QueryCall	q;

	query_begin(&q, &update);
	arg_task(&q, task);
	query_arg_text(&q, name);
	query_run(&q);
	query_end(&q);
}

/* Locks a template and reads its owner; false: there is none. */
bool
template_store_lock(const char *name, Oid *owner)
{
	static SavedQuery lock = {
		"SELECT owner::oid FROM ains.template WHERE name = $1 FOR UPDATE",
	1, {TEXTOID}};

	return lock_owner(&lock, name, owner);
}

void
template_store_remove(const char *name)
{
	static SavedQuery remove = {
		"DELETE FROM ains.template WHERE name = $1", 1, {TEXTOID}
	};

	run_by_name(&remove, name);
}

/*
 * The arguments of enqueue that a template gives, as a jsonb object, with those
 * of `overrides`, another one, instead of its own. Where payload or metadata is
 * an object in both, its members count one by one. False: no such template.
 */
bool
template_store_arguments(const char *name, Datum overrides, Oid *owner, Datum *arguments)
{
	static SavedQuery find = {
		"SELECT t.owner::oid, to_jsonb(t) - '{name,owner,created_at}'::text[] || $2"
		" || coalesce((SELECT jsonb_object_agg(m.key, m.own || m.other)"
		"  FROM (VALUES ('payload', t.payload, $2->'payload'),"
		"               ('metadata', t.metadata, $2->'metadata')) m (key, own, other)"
		"  WHERE jsonb_typeof(m.own) = 'object' AND jsonb_typeof(m.other) = 'object'), '{}')"
		" FROM ains.template t WHERE t.name = $1",
	2, {TEXTOID, JSONBOID}};
	QueryCall	q;
	bool		found;

	query_begin(&q, &find);
	query_arg_text(&q, name);
	query_arg(&q, overrides);
	found = query_run(&q) > 0;
	if (found)
	{
		*owner = query_oid(&q, 0, 1);
		*arguments = query_datum_copy(&q, 0, 2);
	}
	query_end(&q);
	return found;
}
