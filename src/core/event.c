/*
 * core/event.c
 *		The outbox: what happened to tasks, agents and runs, for those who listen.
 *
 * An event is a row that the transaction of the transition adds, so none is
 * lost and none is told of what was rolled back. Its id comes from a sequence:
 * ids are taken in one order and committed in another, and a reader who has
 * seen 6 would never look for a 5 that commits later. So events are not shown
 * before they are published. `published` says that no transaction that took an
 * id up to it is still running; the sweeper raises it:
 *
 * Who adds an event has its transaction id before it takes the event's id. So
 * if S is the last id taken, and X, read after S, the next transaction id, all
 * ids up to S belong to transactions before X; and once the oldest transaction
 * that runs is not before X, all of these have ended. If that is not so yet, S
 * and X are noted as the mark, for a later pass to come back to. Only
 * transactions that write are waited for.
 *
 * What was published is announced by one NOTIFY for each pass, and never by who
 * made it happen: all commits with a NOTIFY stand in one line.
 */
#include "core/event.h"

#include "access/transam.h"
#include "access/xact.h"
#include "commands/async.h"
#include "storage/procarray.h"

#include "clock.h"
#include "soft/effects.h"

#define CHANNEL		"ains_events"
/* From the first commit with an event to the pass that tells of it and more. */
#define GATHER		(100 * INT64CONST(1000))

/* A pass that cannot publish all is followed by others, ever later, up to this. */
#define MAX_PATIENCE	USECS_PER_SEC

/* Whether the last pass of this process left events that it could not publish, */
static bool behind = false;
/* and how long it waits before it tries again. */
static int64 patience = GATHER;

/* Adds an event whose kind is wanted. */
void
event_record(Call *call, const Event *event)
{
	/* see above: this id comes first */
	(void) GetTopTransactionId();
	event_store_add(event, call->now.wall);
	effect_wake_at(call->db, time_plus(call->now.wall, GATHER));
}

/* The next transaction id, and the oldest of those that run (or the next). */
static void
read_xids(int64 *next, int64 *oldest)
{
	FullTransactionId after;
	TransactionId running;

	*next = U64FromFullTransactionId(ReadNextFullTransactionId());
	running = GetOldestActiveTransactionId();
	after = ReadNextFullTransactionId();
	*oldest = U64FromFullTransactionId(after) -
		(uint32) (XidFromFullTransactionId(after) - running);
}

/*
 * A step of the sweeper: shows the events of transactions that have ended. To
 * be run in a transaction that has not written yet, or it waits for itself.
 */
bool
event_publish(Call *call)
{
	EventProgress progress;
	int64		published;
	int64		last;
	int64		next;
	int64		oldest;
	char		payload[32];

	behind = false;
	if (!event_store_progress(false, &progress))
		return false;
	last = event_store_last();
	if (last <= progress.published)
		return false;
	read_xids(&next, &oldest);
	/* who has it locked will look again */
	behind = true;
	if (!event_store_progress(true, &progress))
		return false;
	published = progress.published;
	if (progress.marked > published && progress.marked_xid <= oldest)
		published = progress.marked;
	if (oldest >= next)
		published = Max(published, last);
	behind = published < last;
	if (behind && progress.marked <= published)
	{
		progress.marked = last;
		progress.marked_xid = next;
	}
	else if (published == progress.published)
		return false;

	if (published > progress.published)
	{
		snprintf(payload, sizeof(payload), INT64_FORMAT, published);
		Async_Notify(CHANNEL, payload);
	}
	progress.published = published;
	event_store_set_progress(&progress);
	return false;
}

/* Deletes a batch of events past retention; true if there may be more. */
bool
event_prune(Call *call)
{
	EventProgress progress;
	bool		more;
	int64		pruned;

	if (!event_store_progress(false, &progress) || progress.pruned >= progress.published ||
		!event_store_progress(true, &progress))
		return false;
	pruned = event_store_prune(progress.pruned, progress.published,
							   call->now.wall - ains_retention * USECS_PER_MINUTE, &more);
	if (pruned > progress.pruned)
	{
		progress.pruned = pruned;
		event_store_set_progress(&progress);
	}
	return more;
}

/* When the sweeper has to look again for what it could not publish. */
TimestampTz
event_next(Call *call)
{
	patience = behind ? Min(patience * 2, MAX_PATIENCE) : GATHER;
	return behind ? time_plus(call->now.wall, patience) : PG_INT64_MAX;
}
