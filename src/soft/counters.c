/*
 * soft/counters.c
 *		Numbers per capability. How the gauges stay exact is in counters.h.
 *
 * The counters lock guards which entry belongs to which capability, and all of
 * Gauges. The numbers are atomics: who adds to them holds the lock shared, so
 * who holds it exclusively sees them stand still. An entry keeps its place
 * until the installation it belongs to is gone.
 *
 * What a transaction notes is kept by nesting level, as in effects.c, but
 * added up: one with 10,000 tasks needs a few entries.
 */
#include "soft/counters.h"

#include "access/transam.h"
#include "access/twophase.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "storage/shmem.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "guc.h"

/* The capability name that stands for all that have no entry of their own. */
#define OTHER	""

#define SECONDS(s)	((s) * USECS_PER_SEC)

const int64 counters_bounds[COUNT_BUCKETS] = {
	1000, 3000, 10000, 30000, 100000, 300000,
	SECONDS(1), SECONDS(3), SECONDS(10), SECONDS(30), SECONDS(60), SECONDS(300),
	SECONDS(900), SECONDS(3600), PG_INT64_MAX
};

const char *const counters_event_names[COUNT_EVENTS] = {
	"enqueued", "claimed", "completed", "failed", "cancelled", "expired", "retried",
	"released", "lease_lost", "put_back", "timed_out"
};

typedef enum HistogramKind
{
	HISTOGRAM_WAIT,
	HISTOGRAM_RUN,
	HISTOGRAM_NONE
} HistogramKind;

const char *const counters_histogram_names[COUNT_HISTOGRAMS] = {"wait", "run"};

typedef struct CounterKey
{
	int32		db_number;
	char		capability[AINS_NAME_SIZE];
} CounterKey;

/* Gauges are signed; they may be below 0 for a moment, as commits apply in any order. */
struct Counters
{
	CounterKey	key;
	pg_atomic_uint64 events[COUNT_EVENTS];
	pg_atomic_uint64 buckets[COUNT_HISTOGRAMS][COUNT_BUCKETS];
	pg_atomic_uint64 sums[COUNT_HISTOGRAMS];
	pg_atomic_uint64 live[LIVE_STATUS_COUNT];	/* by the last count */
	pg_atomic_uint64 since[LIVE_STATUS_COUNT];	/* not seen by the running one */
};

/* Which commits a count has seen. Full transaction ids, which do not wrap. */
typedef struct Seen
{
	uint64		xmin;			/* all before it; 0: no count yet, none */
	uint64		xmax;			/* none from it on */
	int			count;			/* but these between, at xids_of() */
} Seen;

typedef struct Gauges
{
	bool		known;
	bool		counting;		/* seen[1 - last] is of a count that runs */
	int			last;			/* seen[last] is of the count that live[] is based on */
	uint64		number;			/* of the latest count that began */
	int64		next_mono;		/* when to count again */
	Seen		seen[2];
} Gauges;

typedef struct CountersShared
{
	int			used;			/* entries with a name */
	int			xid_room;		/* ids in a Seen */
	Gauges		gauges[FLEXIBLE_ARRAY_MEMBER];
	/* followed by two arrays of ids for each */
} CountersShared;

static CountersShared *shared;
static HTAB *entries;			/* Counters */

/* What this transaction adds, if it commits. */
typedef struct Delta
{
	Note		note;
	DbState    *db;
	Counters   *counters;
	int			events;
	TaskStatus	from;
	TaskStatus	to;
	int			bucket;
	int64		sum;
	int64		times;
} Delta;

static NoteStack stack = {sizeof(Delta)};

static inline Delta *
delta_at(int i)
{
	return (Delta *) stack.notes + i;
}

static int
entry_room(void)
{
	/* each database may have one for the others */
	return ains_max_capabilities + ains_max_databases;
}

/* Transactions that a snapshot can find running, and our own. */
static int
xid_room(void)
{
	return MaxBackends + max_prepared_xacts + 1;
}

static Size
shared_size(void)
{
	return add_size(MAXALIGN(offsetof(CountersShared, gauges) +
							 mul_size(ains_max_databases, sizeof(Gauges))),
					mul_size(2 * ains_max_databases, xid_room() * sizeof(TransactionId)));
}

/* Bytes to request. */
Size
counters_size(void)
{
	return add_size(shared_size(), hash_estimate_size(entry_room(), sizeof(Counters)));
}

void
counters_shmem_init(void)
{
	bool		found;
	HASHCTL		ctl = {.keysize = sizeof(CounterKey), .entrysize = sizeof(Counters)};

	entries = ShmemInitHash("ains counters", entry_room(), entry_room(), &ctl,
							HASH_ELEM | HASH_BLOBS);
	shared = ShmemInitStruct("ains gauges", shared_size(), &found);
	if (found)
		return;
	memset(shared, 0, shared_size());
	shared->xid_room = xid_room();
}

static inline Gauges *
gauges_of(DbState *db)
{
	return &shared->gauges[shmem_db_number(db)];
}

static TransactionId *
xids_of(DbState *db, int which)
{
	char	   *first = (char *) shared + MAXALIGN(offsetof(CountersShared, gauges) +
												   ains_max_databases * sizeof(Gauges));

	return (TransactionId *) first + (2 * shmem_db_number(db) + which) * shared->xid_room;
}

/* Forgets the numbers of a database whose extension is gone. */
void
counters_forget_db(int db_number)
{
	HASH_SEQ_STATUS scan;
	Counters   *counters;

	LWLockAcquire(shmem_lock(LOCK_COUNTERS), LW_EXCLUSIVE);
	hash_seq_init(&scan, entries);
	while ((counters = hash_seq_search(&scan)) != NULL)
	{
		if (counters->key.db_number != db_number)
			continue;
		if (strcmp(counters->key.capability, OTHER) != 0)
			shared->used--;
		(void) hash_search(entries, &counters->key, HASH_REMOVE, NULL);
	}
	shared->gauges[db_number].known = false;
	shared->gauges[db_number].counting = false;
	shared->gauges[db_number].number++;
	LWLockRelease(shmem_lock(LOCK_COUNTERS));
}

static Counters *
search_entry(DbState *db, const char *capability, HASHACTION action)
{
	CounterKey	key;

	memset(&key, 0, sizeof(key));
	key.db_number = shmem_db_number(db);
	strlcpy(key.capability, capability, sizeof(key.capability));
	return hash_search(entries, &key, action, NULL);
}

/* Needs the counters lock; NULL: one has to be made, of its own or for the others. */
static Counters *
find_entry(DbState *db, const char *capability)
{
	Counters   *counters = search_entry(db, capability, HASH_FIND);

	if (counters == NULL && shared->used >= ains_max_capabilities)
		counters = search_entry(db, OTHER, HASH_FIND);
	return counters;
}

/* Needs the counters lock, exclusively; there is no such entry. */
static Counters *
make_entry(DbState *db, const char *capability)
{
	Counters   *counters;

	if (shared->used >= ains_max_capabilities)
		capability = OTHER;
	/* there is memory for it: entry_room() */
	counters = search_entry(db, capability, HASH_ENTER);
	if (strcmp(capability, OTHER) != 0)
		shared->used++;
	for (int i = 0; i < COUNT_EVENTS; i++)
		pg_atomic_init_u64(&counters->events[i], 0);
	for (int i = 0; i < COUNT_HISTOGRAMS; i++)
	{
		for (int j = 0; j < COUNT_BUCKETS; j++)
			pg_atomic_init_u64(&counters->buckets[i][j], 0);
		pg_atomic_init_u64(&counters->sums[i], 0);
	}
	for (int i = 0; i < LIVE_STATUS_COUNT; i++)
	{
		pg_atomic_init_u64(&counters->live[i], 0);
		pg_atomic_init_u64(&counters->since[i], 0);
	}
	return counters;
}

/* The entry of a capability, made if need be; takes the counters lock. */
static Counters *
entry_of(DbState *db, const char *capability)
{
	/* an entry lasts as long as the installation, whose birth is a new generation */
	static DbState *last_db = NULL;
	static uint64 last_generation;
	static Counters *last = NULL;
	uint64		generation = pg_atomic_read_u64(&db->policy_generation);

	if (last_db == db && last_generation == generation &&
		strcmp(last->key.capability, capability) == 0)
		return last;

	last_db = NULL;
	LWLockAcquire(shmem_lock(LOCK_COUNTERS), LW_SHARED);
	last = find_entry(db, capability);
	LWLockRelease(shmem_lock(LOCK_COUNTERS));
	if (last == NULL)
	{
		LWLockAcquire(shmem_lock(LOCK_COUNTERS), LW_EXCLUSIVE);
		last = find_entry(db, capability);
		if (last == NULL)
			last = make_entry(db, capability);
		LWLockRelease(shmem_lock(LOCK_COUNTERS));
	}
	last_generation = generation;
	last_db = db;
	return last;
}

/* The place of a length of time, in microseconds, in a histogram. */
int
counters_bucket(int64 delay)
{
	int			bucket = 0;

	while (delay > counters_bounds[bucket])
		bucket++;
	return bucket;
}

/* What the delay of such an event goes to. */
static HistogramKind
histogram_of(int events)
{
	return events & COUNT_CLAIMED ? HISTOGRAM_WAIT :
		events & COUNT_COMPLETED ? HISTOGRAM_RUN : HISTOGRAM_NONE;
}

/* Adds to what is noted already. */
static void
add_delta(const Delta *delta)
{
	for (int i = stack.count; i > 0 && delta_at(i - 1)->note.level == delta->note.level; i--)
	{
		Delta	   *same = delta_at(i - 1);

		if (same->counters == delta->counters && same->events == delta->events &&
			same->from == delta->from && same->to == delta->to &&
			same->bucket == delta->bucket && same->db == delta->db)
		{
			same->times += delta->times;
			same->sum += delta->sum;
			return;
		}
	}
	*(Delta *) notes_add(&stack) = *delta;
}

/*
 * A task of the capability went from one status to another, by these events;
 * `delay` (microseconds) is for COUNT_CLAIMED and COUNT_COMPLETED. Counted when
 * the transaction commits. To be called when the row is written, so that our
 * lock on the table keeps the installation.
 */
void
counters_note(DbState *db, const char *capability, int events, TaskStatus from, TaskStatus to,
			  int64 delay)
{
	Delta		delta = {.note.level = GetCurrentTransactionNestLevel(), .db = db, .events = events,
		.from = from, .to = to, .times = 1};

	if (histogram_of(events) != HISTOGRAM_NONE)
	{
		delta.sum = Max(delay, 0);	/* a clock may be set back */
		delta.bucket = counters_bucket(delta.sum);
	}
	delta.counters = entry_of(db, capability);
	add_delta(&delta);
}

/* Whether the count that left this behind has counted what we committed. */
static bool
is_seen(const Seen *seen, const TransactionId *xids, FullTransactionId id)
{
	uint64		value = U64FromFullTransactionId(id);

	if (value < seen->xmin || value >= seen->xmax)
		return value < seen->xmin;
	for (int i = 0; i < seen->count; i++)
		if (xids[i] == XidFromFullTransactionId(id))
			return false;
	return true;
}

static void
move(pg_atomic_uint64 *live, const Delta *delta)
{
	if (delta->from < LIVE_STATUS_COUNT)
		pg_atomic_fetch_sub_u64(&live[delta->from], delta->times);
	if (delta->to < LIVE_STATUS_COUNT)
		pg_atomic_fetch_add_u64(&live[delta->to], delta->times);
}

/* Needs the counters lock, at least shared; the transaction has committed. */
static void
apply(const Delta *delta)
{
	DbState    *db = delta->db;
	Counters   *counters = delta->counters;
	Gauges	   *gauges = gauges_of(db);
	HistogramKind kind = histogram_of(delta->events);
	FullTransactionId id = GetTopFullTransactionIdIfAny();

	for (int i = 0; i < COUNT_EVENTS; i++)
		if (delta->events & (1 << i))
			pg_atomic_fetch_add_u64(&counters->events[i], delta->times);
	if (kind != HISTOGRAM_NONE)
	{
		pg_atomic_fetch_add_u64(&counters->buckets[kind][delta->bucket], delta->times);
		pg_atomic_fetch_add_u64(&counters->sums[kind], delta->sum);
	}
	if (!is_seen(&gauges->seen[gauges->last], xids_of(db, gauges->last), id))
		move(counters->live, delta);
	if (gauges->counting &&
		!is_seen(&gauges->seen[1 - gauges->last], xids_of(db, 1 - gauges->last), id))
		move(counters->since, delta);
}

static void
end(int first, bool commit)
{
	if (!commit)
		return;
	LWLockAcquire(shmem_lock(LOCK_COUNTERS), LW_SHARED);
	for (int i = first; i < stack.count; i++)
		/* it may be another's if this very transaction dropped the extension */
		if (delta_at(i)->counters->key.db_number == shmem_db_number(delta_at(i)->db))
			apply(delta_at(i));
	LWLockRelease(shmem_lock(LOCK_COUNTERS));
}

/* What a subtransaction noted is added to what its parent did. */
static void
merge(int level)
{
	int			first = notes_first(&stack, level);
	int			count = stack.count;

	stack.count = first;
	for (int i = first; i < count; i++)
	{
		Delta		delta = *delta_at(i);

		delta.note.level = level - 1;
		add_delta(&delta);
	}
}

const TransactionPart counters_part = {.notes = &stack, .end = end, .merge = merge};

/* What this transaction will do to the gauges of an entry; the table shows it already. */
static void
add_pending(DbState *db, const Counters *counters, int64 *live, int sign)
{
	for (int i = 0; i < stack.count; i++)
	{
		const Delta *delta = delta_at(i);

		if (delta->db != db || delta->counters != counters)
			continue;
		if (delta->from < LIVE_STATUS_COUNT)
			live[delta->from] -= sign * delta->times;
		if (delta->to < LIVE_STATUS_COUNT)
			live[delta->to] += sign * delta->times;
	}
}

/* All numbers of the database, in the current context, in no order. */
CapabilityCounts *
counters_read(DbState *db, int *count)
{
	CapabilityCounts *counts = palloc(entry_room() * sizeof(CapabilityCounts));
	HASH_SEQ_STATUS scan;
	Counters   *counters;

	*count = 0;
	LWLockAcquire(shmem_lock(LOCK_COUNTERS), LW_SHARED);
	hash_seq_init(&scan, entries);
	while ((counters = hash_seq_search(&scan)) != NULL)
	{
		CapabilityCounts *one = &counts[*count];

		if (counters->key.db_number != shmem_db_number(db))
			continue;
		one->capability = pstrdup(counters->key.capability);
		for (int i = 0; i < COUNT_EVENTS; i++)
			one->events[i] = pg_atomic_read_u64(&counters->events[i]);
		for (int i = 0; i < COUNT_HISTOGRAMS; i++)
		{
			for (int j = 0; j < COUNT_BUCKETS; j++)
				one->histograms[i].buckets[j] = pg_atomic_read_u64(&counters->buckets[i][j]);
			one->histograms[i].sum = pg_atomic_read_u64(&counters->sums[i]);
		}
		for (int i = 0; i < LIVE_STATUS_COUNT; i++)
			one->live[i] = (int64) pg_atomic_read_u64(&counters->live[i]);
		(*count)++;
	}
	LWLockRelease(shmem_lock(LOCK_COUNTERS));
	return counts;
}

/*
 * The live tasks as this transaction sees them: what is committed, and what it
 * did itself. A capability that is left out has none. NULL: they are not known,
 * or some capability has no entry of its own.
 */
LiveTasks *
counters_live(DbState *db, int *count)
{
	LiveTasks  *tasks;
	HASH_SEQ_STATUS scan;
	Counters   *counters;

	*count = 0;
	if (!counters_live_known(db))
		return NULL;
	tasks = palloc(entry_room() * sizeof(LiveTasks));
	LWLockAcquire(shmem_lock(LOCK_COUNTERS), LW_SHARED);
	hash_seq_init(&scan, entries);
	while ((counters = hash_seq_search(&scan)) != NULL)
	{
		LiveTasks  *one = &tasks[*count];

		if (counters->key.db_number != shmem_db_number(db))
			continue;
		one->capability = pstrdup(counters->key.capability);
		for (int i = 0; i < LIVE_STATUS_COUNT; i++)
			one->live[i] = (int64) pg_atomic_read_u64(&counters->live[i]);
		add_pending(db, counters, one->live, 1);
		(*count)++;
	}
	LWLockRelease(shmem_lock(LOCK_COUNTERS));
	return tasks;
}

/* Whether the gauges are right, for each capability by itself. */
bool
counters_live_known(DbState *db)
{
	bool		known;

	LWLockAcquire(shmem_lock(LOCK_COUNTERS), LW_SHARED);
	known = gauges_of(db)->known && search_entry(db, OTHER, HASH_FIND) == NULL;
	LWLockRelease(shmem_lock(LOCK_COUNTERS));
	return known;
}

/* Whether the gauges are right for those that have an entry of their own. */
bool
counters_known(DbState *db)
{
	bool		known;

	LWLockAcquire(shmem_lock(LOCK_COUNTERS), LW_SHARED);
	known = gauges_of(db)->known;
	LWLockRelease(shmem_lock(LOCK_COUNTERS));
	return known;
}

/* The entry of a capability, good as long as the installation; NULL: not its own. */
Counters *
counters_of(DbState *db, const char *capability)
{
	Counters   *counters = entry_of(db, capability);

	return strcmp(counters->key.capability, capability) == 0 ? counters : NULL;
}

/*
 * How many tasks of a capability are ACTIVE, of those whose transactions have
 * come to counters_end; false: not known. Needs the counters lock, so that it
 * does not change but by commits.
 */
bool
counters_active(DbState *db, const Counters *counters, int64 *active)
{
	*active = (int64) pg_atomic_read_u64((pg_atomic_uint64 *) &counters->live[TASK_ACTIVE]);
	return gauges_of(db)->known;
}

/* Whether it is time to count; by the monotonic clock. */
bool
counters_due(DbState *db, int64 now_mono)
{
	bool		due;

	LWLockAcquire(shmem_lock(LOCK_COUNTERS), LW_SHARED);
	due = !gauges_of(db)->known || gauges_of(db)->next_mono <= now_mono;
	LWLockRelease(shmem_lock(LOCK_COUNTERS));
	return due;
}

/* Somebody says that the table was changed by other means: a count is due. */
void
counters_doubt(DbState *db)
{
	LWLockAcquire(shmem_lock(LOCK_COUNTERS), LW_EXCLUSIVE);
	gauges_of(db)->known = false;
	gauges_of(db)->counting = false;
	gauges_of(db)->number++;
	LWLockRelease(shmem_lock(LOCK_COUNTERS));
}

/*
 * A count begins: returns the snapshot to count with, registered, and the
 * count's number. Another one that runs will come to nothing.
 */
Snapshot
counters_begin(DbState *db, uint64 *number)
{
	Gauges	   *gauges = gauges_of(db);
	Seen	   *seen;
	TransactionId *xids;
	TransactionId own = GetTopTransactionIdIfAny();
	HASH_SEQ_STATUS scan;
	Counters   *counters;
	Snapshot	snapshot;
	FullTransactionId next;

	CommandCounterIncrement();	/* what we did ourselves is taken off, so it must be seen */
	LWLockAcquire(shmem_lock(LOCK_COUNTERS), LW_EXCLUSIVE);
	gauges->counting = false;	/* as long as this may fail */
	*number = ++gauges->number;
	hash_seq_init(&scan, entries);
	while ((counters = hash_seq_search(&scan)) != NULL)
		if (counters->key.db_number == shmem_db_number(db))
			for (int i = 0; i < LIVE_STATUS_COUNT; i++)
				pg_atomic_write_u64(&counters->since[i], 0);
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	next = ReadNextFullTransactionId();
	seen = &gauges->seen[1 - gauges->last];
	xids = xids_of(db, 1 - gauges->last);
	seen->xmin = U64FromFullTransactionId(next) -
		(uint32) (XidFromFullTransactionId(next) - snapshot->xmin);
	seen->xmax = U64FromFullTransactionId(next) -
		(uint32) (XidFromFullTransactionId(next) - snapshot->xmax);
	seen->count = snapshot->xcnt;
	Assert(seen->count < shared->xid_room);
	memcpy(xids, snapshot->xip, seen->count * sizeof(TransactionId));
	/* a snapshot does not name the transaction that takes it */
	if (TransactionIdIsValid(own))
		xids[seen->count++] = own;
	gauges->counting = true;
	LWLockRelease(shmem_lock(LOCK_COUNTERS));
	return snapshot;
}

/*
 * What was counted, unless another count has begun since or somebody had
 * doubts. The next one is due at next_mono.
 */
void
counters_finish(DbState *db, uint64 number, const LiveTasks *counted, int count,
				int64 next_mono)
{
	Gauges	   *gauges = gauges_of(db);
	Counters  **owners = palloc(Max(count, 1) * sizeof(Counters *));
	HASH_SEQ_STATUS scan;
	Counters   *counters;

	/* entries that are made from here on have counted nothing, and noted it all */
	for (int i = 0; i < count; i++)
		owners[i] = entry_of(db, counted[i].capability);

	LWLockAcquire(shmem_lock(LOCK_COUNTERS), LW_EXCLUSIVE);
	if (gauges->number == number && gauges->counting)
	{
		hash_seq_init(&scan, entries);
		while ((counters = hash_seq_search(&scan)) != NULL)
		{
			int64		live[LIVE_STATUS_COUNT] = {0};

			if (counters->key.db_number != shmem_db_number(db))
				continue;
			/* what we did ourselves was counted, but may be rolled back yet */
			add_pending(db, counters, live, -1);
			for (int i = 0; i < LIVE_STATUS_COUNT; i++)
				pg_atomic_write_u64(&counters->live[i], live[i] +
									pg_atomic_read_u64(&counters->since[i]));
		}
		for (int i = 0; i < count; i++)
			for (int j = 0; j < LIVE_STATUS_COUNT; j++)
				pg_atomic_fetch_add_u64(&owners[i]->live[j], counted[i].live[j]);
		gauges->last = 1 - gauges->last;
		gauges->counting = false;
		gauges->known = true;
		gauges->next_mono = next_mono;
	}
	LWLockRelease(shmem_lock(LOCK_COUNTERS));
	pfree(owners);
}
