/*
 * core/shelf.c
 *		The days of history: shelves made ahead, dropped whole.
 *
 * A task that ends goes to the shelf of today or, should the sweeper have been
 * away, to the last one there is: so ending a task never fails while there is
 * one shelf. The first is made by the first enqueue rather than by CREATE
 * EXTENSION, because a dump brings its own.
 */
#include "core/shelf.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

#include "clock.h"
#include "guc.h"
#include "soft/effects.h"
#include "soft/journal.h"
#include "store/history_store.h"

/* Shelves beyond today's. */
#define DAYS_AHEAD		7
/* A table that a restore has made is its own to attach for so long. */
#define LOOSE_PATIENCE		(10 * USECS_PER_SEC)
/* Readers are asked to let a shelf go for so long; then it is tried later. */
#define DROP_LOCK_TIMEOUT	"100ms"

/* The run of shelves that holds the latest day; makes today's if there is none. */
static void
known_shelves(Call *call, DateADT *first, DateADT *last)
{
	DateADT		oldest;

	db_get_shelves(call->db, first, last);
	if (*last != NO_SHELF)
		return;

	history_store_shelves(first, last, &oldest);
	if (*last == NO_SHELF)
	{
		history_store_lock_shelves();
		history_store_shelves(first, last, &oldest);
	}
	if (*last == NO_SHELF)
	{
		*first = *last = time_to_day(call->now.wall);
		history_store_add_shelf(*last);
		effect_shelves(call->db, *first, *last);
	}
	else if (!effects_shelves_pending())
		db_set_shelves(call->db, *first, *last);
}

/* Where a task that ends now is put. Makes the first shelf. */
DateADT
shelf_today(Call *call)
{
	DateADT		first;
	DateADT		last;
	DateADT		today = time_to_day(call->now.wall);

	known_shelves(call, &first, &last);
	return Max(Min(today, last), first);
}

/* How many days from today to the last shelf; false: there is none yet. */
bool
shelf_days_ahead(Call *call, int *ahead)
{
	DateADT		first;
	DateADT		last;
	DateADT		oldest;

	history_store_shelves(&first, &last, &oldest);
	*ahead = last - time_to_day(call->now.wall);
	return last != NO_SHELF;
}

/*
 * Drops the shelf of a day in a subtransaction; false if somebody reads it.
 * DROP takes ACCESS EXCLUSIVE on history, so it must not wait for long. Who
 * else sweeps has read history too before his own DROP: of two who upgrade at
 * the same time one is told of a deadlock at once, which is no more than that.
 */
static bool
try_drop(DateADT day)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	volatile bool dropped = false;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		int			level = NewGUCNestLevel();

		(void) set_config_option("lock_timeout", DROP_LOCK_TIMEOUT, PGC_USERSET,
								 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
		history_store_drop_shelf(day);
		AtEOXact_GUC(true, level);
		ReleaseCurrentSubTransaction();
		dropped = true;
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		if (error->sqlerrcode != ERRCODE_LOCK_NOT_AVAILABLE &&
			error->sqlerrcode != ERRCODE_T_R_DEADLOCK_DETECTED)
			PG_RE_THROW();
		FlushErrorState();
		FreeErrorData(error);
		RollbackAndReleaseCurrentSubTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	return dropped;
}

/*
 * Whether one of the shelves from `first` to `last` stands there unattached
 * for a short time only: pg_restore makes all of them before it attaches the
 * first, and fails if one of them is attached already.
 */
static bool
left_to_others(Call *call, DateADT first, DateADT last)
{
	bool		loose = false;

	for (DateADT day = first; day <= last && !loose; day++)
		loose = history_store_shelf_is_loose(day);
	return call->now.mono - db_loose_since(call->db, loose ? call->now.mono : 0) <
		LOOSE_PATIENCE && loose;
}

/*
 * Attaches shelves ahead and drops the oldest one that is past retention;
 * true if there may be another. Does nothing before the first enqueue. In a
 * transaction block nothing is dropped: the lock would last as long as it.
 */
bool
shelf_maintain(Call *call, int64 *dropped)
{
	DateADT		first;
	DateADT		last;
	DateADT		oldest;
	DateADT		today = time_to_day(call->now.wall);
	TimestampTz cutoff = call->now.wall - ains_retention * USECS_PER_MINUTE;

	history_store_shelves(&first, &last, &oldest);
	if (last == NO_SHELF)
		return false;

	if (last < today + DAYS_AHEAD)
	{
		/* days the sweeper slept through get none: nothing ends in the past */
		DateADT		from = Max(last + 1, today);

		history_store_lock_shelves();
		if (left_to_others(call, from, today + DAYS_AHEAD))
			return false;
		for (DateADT day = from; day <= today + DAYS_AHEAD; day++)
			history_store_add_shelf(day);
		if (from > last + 1)
			first = from;
		last = today + DAYS_AHEAD;
		effect_shelves(call->db, first, last);
	}
	else
		(void) db_loose_since(call->db, 0);

	/* a shelf that was the last for longer than its day has younger rows too */
	if (oldest >= time_to_day(cutoff) || oldest >= today - 1 || IsTransactionBlock() ||
		!history_store_shelf_is_older(oldest, cutoff))
		return false;
	/* a backend shows its user's statement */
	if (MyBackendType == B_BG_WORKER)
		pgstat_report_activity(STATE_RUNNING, psprintf("ains: dropping %s",
													   history_store_shelf_name(oldest)));
	if (!try_drop(oldest))
		return false;
	journal_note(call->db, JOURNAL_PARTITION_DROPPED,
				 psprintf("\"partition\": \"%s\", \"reason\": \"retention\"",
						  history_store_shelf_name(oldest)));
	(*dropped)++;
	if (first <= oldest)
		effect_shelves(call->db, oldest + 1, last);
	return true;
}
