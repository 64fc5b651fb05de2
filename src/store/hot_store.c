/*
 * store/hot_store.c
 *		Enqueue, claim and complete, row by row.
 *
 * The same as the statements of task_store.c, lease_store.c and history_store.c,
 * which do it when these cannot; what they lock is only what they looked at before. Results
 * are in the current context.
 */
#include "store/hot_store.h"

#include "catalog/pg_enum.h"
#include "commands/sequence.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "clock.h"
#include "policy.h"
#include "rows.h"
#include "store/history_store.h"

/*
 * Columns of both tables by one numbering: those that go to history as they
 * are come first.
 */
enum
{
	TASK_ID, PRIORITY, MAX_ATTEMPTS, RUN_AT, CREATED_AT, EXPIRES_AT, ENQUEUED_BY,
	INCARNATION, LEASE_TOKEN, CLAIMED_AT, PROGRESS, TIMEOUT, MIN_TRUST, AGENT_ID,
	CAPABILITY, UNIQUE_KEY, CONCURRENCY_KEY, PAYLOAD, METADATA, CHECKPOINT, DEPENDS_ON, RUN_ID,
	STAGE, TAKES_OUTPUT, ATTEMPT,
	SHARED_COUNT,
	STATUS = SHARED_COUNT,
	/* of ains.task */
	LANE_ID, RANK, WAKE_AT, LEASE_EXPIRES_AT, DEADLINE, CANCEL_REQUESTED_AT, LEASE,
	AWAITED,
	/* of history */
	FINISHED_AT = STATUS + 1, SHELF, RESULT, USAGE
};

#define SHARED_NAMES \
	"task_id", "priority", "max_attempts", "run_at", "created_at", "expires_at", \
	"enqueued_by", "incarnation", "lease_token", "claimed_at", "progress", "timeout", \
	"min_trust", "agent_id", "capability", "unique_key", "concurrency_key", "payload", "metadata", \
	"checkpoint", "depends_on", "run_id", "stage", "takes_output", "attempt", "status"

static const char *const task_columns[] = {
	SHARED_NAMES, "lane_id", "rank", "wake_at", "lease_expires_at", "deadline",
	"cancel_requested_at", "lease", "awaited", NULL};
static const char *const history_columns[] = {
	SHARED_NAMES, "finished_at", "shelf", "result", "usage", NULL};

static RowTable tasks = {.columns = task_columns};
static RowTable history = {.columns = history_columns};	/* one shelf of it */
static bool history_is_open;

/* Labels of the enum ains.task_status; of a type the oids do not change. */
static struct
{
	Oid			type;
	Oid			labels[TASK_STATUS_COUNT];
}			statuses;

static Datum
status_datum(TaskStatus status)
{
	Oid			type = TupleDescAttr(tasks.row->tts_tupleDescriptor,
									 tasks.attno[STATUS] - 1)->atttypid;

	if (statuses.type != type)
	{
		statuses.type = InvalidOid;
		for (int i = 0; i < TASK_STATUS_COUNT; i++)
			statuses.labels[i] =
				GetSysCacheOid2(ENUMTYPOIDNAME, Anum_pg_enum_oid, ObjectIdGetDatum(type),
								CStringGetDatum(task_status_name(i)));
		statuses.type = type;
	}
	return ObjectIdGetDatum(statuses.labels[status]);
}

/*
 * Opens ains.task for hot_store_insert and hot_store_claim; false: use
 * task_store_insert and lease_store_claim. Until hot_store_close, or an error.
 */
bool
hot_store_open(Oid task_relid)
{
	history_is_open = false;
	return rows_open(&tasks, task_relid);
}

/* The same and a shelf, for hot_store_complete; false: use history_store_finish. */
bool
hot_store_open_shelf(Oid task_relid, DateADT shelf)
{
	Oid			schema = get_rel_namespace(task_relid);
	Oid			parent = get_relname_relid("task_history", schema);
	Oid			relid;

	if (!OidIsValid(parent))
		return false;
	/* as an insert through the parent would: the shelf stays attached meanwhile */
	LockRelationOid(parent, RowExclusiveLock);
	relid = get_relname_relid(history_store_shelf_name(shelf), schema);
	if (!OidIsValid(relid) || !rows_open(&history, relid))
		return false;
	history_is_open = history.parent == parent && rows_open(&tasks, task_relid);
	if (!history_is_open)
		rows_close(&history);
	return history_is_open;
}

void
hot_store_close(void)
{
	rows_close(&tasks);
	if (history_is_open)
		rows_close(&history);
}

static Datum
copy(int column)
{
	Form_pg_attribute att = TupleDescAttr(tasks.row->tts_tupleDescriptor,
										  tasks.attno[column] - 1);

	return rows_isnull(&tasks, column) ? (Datum) 0
		: datumCopy(rows_get(&tasks, column), att->attbyval, att->attlen);
}

static void
set_optional(int column, Datum value, bool isnull)
{
	if (!isnull)
		rows_set(&tasks, column, value);
}

/* A new task without a unique key; its id. */
int64
hot_store_insert(const NewTask *task)
{
	Relation	rel = tasks.result->ri_RelationDesc;
	Oid			sequence = get_relname_relid("task_task_id_seq", RelationGetNamespace(rel));
	int64		task_id = nextval_internal(sequence, false);

	rows_new(&tasks);
	rows_set(&tasks, TASK_ID, Int64GetDatum(task_id));
	rows_set(&tasks, CAPABILITY, CStringGetTextDatum(task->capability));
	rows_set(&tasks, LANE_ID, Int32GetDatum(task->lane_id));
	rows_set(&tasks, STATUS, status_datum(task->status));
	rows_set(&tasks, PRIORITY, Int16GetDatum(task->priority));
	rows_set(&tasks, RANK, Int64GetDatum(task->rank));
	rows_set(&tasks, ATTEMPT, Int32GetDatum(0));
	rows_set(&tasks, RUN_AT, TimestampTzGetDatum(task->run_at));
	rows_set(&tasks, CREATED_AT, TimestampTzGetDatum(task->now));
	rows_set(&tasks, ENQUEUED_BY, ObjectIdGetDatum(task->enqueued_by));
	rows_set(&tasks, PAYLOAD, task->payload);
	set_optional(MAX_ATTEMPTS, Int32GetDatum(task->max_attempts), task->max_attempts == 0);
	if (task->timeout >= 0)
		rows_set(&tasks, TIMEOUT, IntervalPGetDatum(length_to_interval(task->timeout)));
	set_optional(EXPIRES_AT, TimestampTzGetDatum(task->expires_at), task->expires_at == 0);
	set_optional(WAKE_AT, TimestampTzGetDatum(task->wake_at), task->wake_at == 0);
	set_optional(METADATA, task->metadata, task->metadata == 0);
	if (task->run_id != 0)
	{
		rows_set(&tasks, RUN_ID, Int64GetDatum(task->run_id));
		if (task->stage != NULL)
			rows_set(&tasks, STAGE, CStringGetTextDatum(task->stage));
		set_optional(TAKES_OUTPUT, BoolGetDatum(true), !task->takes_output);
	}
	if (task->concurrency_key != NULL)
		rows_set(&tasks, CONCURRENCY_KEY, CStringGetTextDatum(task->concurrency_key));
	set_optional(MIN_TRUST, task->min_trust, task->min_trust == 0);
	rows_insert(&tasks);
	return task_id;
}

/*
 * Makes the task of a ready key ACTIVE, if its row is still what the key says,
 * has known no greater token, and nobody has it locked; false, and nothing
 * changed or locked, if not.
 */
bool
hot_store_claim(ReadyKey key, const ClaimLane *lane, const char *agent_id,
				int64 incarnation, int64 token, TimestampTz now, ClaimedTask *task)
{
	TimestampTz expires_at;
	int64		timeout = lane->timeout;

	if (!rows_find(&tasks, key.task_id) ||
		rows_get(&tasks, STATUS) != status_datum(TASK_PENDING) ||
		DatumGetInt32(rows_get(&tasks, LANE_ID)) != lane->lane_id ||
		rows_int64(&tasks, RANK) != key.rank ||
		rows_int64(&tasks, LEASE_TOKEN) >= token)
		return false;
	expires_at = rows_int64(&tasks, EXPIRES_AT);
	if (expires_at != 0 && expires_at <= now && DatumGetInt32(rows_get(&tasks, ATTEMPT)) == 0)
		return false;

	if (!rows_isnull(&tasks, TIMEOUT))
		timeout = length_from_interval(DatumGetIntervalP(rows_get(&tasks, TIMEOUT)), "timeout");
	memset(task, 0, sizeof(*task));
	task->task_id = key.task_id;
	task->lane_id = lane->lane_id;
	task->lease_token = token;
	task->run_at = rows_int64(&tasks, RUN_AT);
	task->attempt = DatumGetInt32(rows_get(&tasks, ATTEMPT)) + 1;
	task->lease_expires_at = time_plus(now, lane->lease);
	task->deadline = timeout < 0 ? 0 : time_plus(now, timeout);

	rows_change(&tasks);
	rows_set(&tasks, STATUS, status_datum(TASK_ACTIVE));
	rows_set(&tasks, ATTEMPT, Int32GetDatum(task->attempt));
	rows_set(&tasks, AGENT_ID, CStringGetTextDatum(agent_id));
	rows_set(&tasks, INCARNATION, Int64GetDatum(incarnation));
	rows_set(&tasks, LEASE_TOKEN, Int64GetDatum(token));
	rows_set(&tasks, LEASE, IntervalPGetDatum(length_to_interval(lane->lease)));
	rows_set(&tasks, CLAIMED_AT, TimestampTzGetDatum(now));
	rows_set(&tasks, LEASE_EXPIRES_AT, TimestampTzGetDatum(task->lease_expires_at));
	if (task->deadline == 0)
		rows_set_null(&tasks, DEADLINE);
	else
		rows_set(&tasks, DEADLINE, TimestampTzGetDatum(task->deadline));
	rows_set(&tasks, WAKE_AT,
			 TimestampTzGetDatum(task->deadline == 0 ? task->lease_expires_at
								 : Min(task->lease_expires_at, task->deadline)));
	if (rows_update(&tasks) != ROW_DONE)
		return false;

	task->capability = copy(CAPABILITY);
	task->payload = copy(PAYLOAD);
	task->priority = DatumGetInt16(rows_get(&tasks, PRIORITY));
	task->max_attempts = rows_isnull(&tasks, MAX_ATTEMPTS) ? lane->max_attempts
		: DatumGetInt32(rows_get(&tasks, MAX_ATTEMPTS));
	task->checkpoint = copy(CHECKPOINT);
	task->metadata = copy(METADATA);
	task->enqueued_by = DatumGetObjectId(rows_get(&tasks, ENQUEUED_BY));
	task->run_id = rows_int64(&tasks, RUN_ID);
	return true;
}

/*
 * Looks for a task whose lease the token holds and whose cancel was not
 * requested; false: there is none. Locks nothing. Of the task, only what its end
 * needs is filled in.
 */
bool
hot_store_find_held(int64 task_id, int64 lease_token, TaskRow *task)
{
	if (!rows_find(&tasks, task_id) ||
		rows_get(&tasks, STATUS) != status_datum(TASK_ACTIVE) ||
		rows_int64(&tasks, LEASE_TOKEN) != lease_token ||
		!rows_isnull(&tasks, CANCEL_REQUESTED_AT))
		return false;
	memset(task, 0, sizeof(*task));
	task->task_id = task_id;
	task->status = TASK_ACTIVE;
	task->lease_token = lease_token;
	task->agent_id = TextDatumGetCString(rows_get(&tasks, AGENT_ID));
	task->capability = TextDatumGetCString(rows_get(&tasks, CAPABILITY));
	task->claimed_at = rows_int64(&tasks, CLAIMED_AT);
	task->timeout = rows_isnull(&tasks, TIMEOUT) ? -1
		: length_from_interval(DatumGetIntervalP(rows_get(&tasks, TIMEOUT)), "timeout");
	task->concurrency_key = rows_isnull(&tasks, CONCURRENCY_KEY) ? NULL
		: TextDatumGetCString(rows_get(&tasks, CONCURRENCY_KEY));
	task->awaited = !rows_isnull(&tasks, AWAITED);
	task->enqueued_by = DatumGetObjectId(rows_get(&tasks, ENQUEUED_BY));
	task->attempt = DatumGetInt32(rows_get(&tasks, ATTEMPT));
	task->run_id = rows_int64(&tasks, RUN_ID);
	task->stage = rows_isnull(&tasks, STAGE) ? NULL : TextDatumGetCString(rows_get(&tasks, STAGE));
	return true;
}

/*
 * Puts the task that was found last away as COMPLETED, on the shelf that is
 * open if it is to be kept. Waits for whoever has the row; false, and nothing
 * changed, if it is not what was found any more. result, usage: 0 is NULL.
 */
bool
hot_store_complete(Datum result, Datum usage, TimestampTz now, DateADT shelf, bool keep)
{
	if (rows_delete(&tasks) != ROW_DONE)
		return false;
	if (!keep)
		return true;

	rows_new(&history);
	for (int column = 0; column < SHARED_COUNT; column++)
		if (!rows_isnull(&tasks, column))
			rows_set(&history, column, rows_get(&tasks, column));
	rows_set(&history, STATUS, status_datum(TASK_COMPLETED));
	rows_set(&history, FINISHED_AT, TimestampTzGetDatum(now));
	rows_set(&history, SHELF, DateADTGetDatum(shelf));
	if (result != 0)
		rows_set(&history, RESULT, result);
	if (usage != 0)
		rows_set(&history, USAGE, usage);
	rows_insert(&history);
	return true;
}
