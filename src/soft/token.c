/*
 * soft/token.c
 *		Lease tokens: a shared counter below a stored ceiling.
 *
 * The ceiling in the table's sequence is always ahead of every token issued,
 * and durable before one below it is. When the soft state is born (server
 * start, promotion, CREATE EXTENSION) counting goes on at the greater of the
 * microseconds since 2000 and that ceiling: so no token comes twice, also
 * after a crash with synchronous_commit off, a failover or a restore.
 */
#include "soft/token.h"

#include "miscadmin.h"
#include "storage/lock.h"

#include "store/token_store.h"

/* The ceiling is raised by so much, and again when half of it is used. */
#define TOKEN_STEP	(INT64CONST(1) << 24)

/*
 * Lets the ceiling be at least a step above the counter, which is born if
 * needed. A heavyweight lock keeps two from doing it at once: it may be waited
 * for with interrupts on, and an error lets it go.
 */
static void
raise_ceiling(DbState *db, TimestampTz now)
{
	LOCKTAG		tag;
	int64		next;
	int64		wanted;

	/* field4 is neither 1 nor 2, so this is no lock of a user's */
	SET_LOCKTAG_ADVISORY(tag, db->database, db->task_relid, 0, 4);
	(void) LockAcquire(&tag, ExclusiveLock, false, false);

	next = (int64) pg_atomic_read_u64(&db->next_token);
	wanted = next + TOKEN_STEP;
	if (next == 0)
	{
		next = Max(now, token_store_ceiling() + 1);
		wanted = next + TOKEN_STEP;
	}
	if ((int64) pg_atomic_read_u64(&db->token_ceiling) < next + TOKEN_STEP / 2)
	{
		token_store_set_ceiling(wanted);
		pg_atomic_write_u64(&db->token_ceiling, (uint64) wanted);
	}
	/* nobody takes a token from an unborn counter, so this is no race */
	if (pg_atomic_read_u64(&db->next_token) == 0)
		pg_atomic_write_u64(&db->next_token, (uint64) next);

	LockRelease(&tag, ExclusiveLock, false);
}

/* The first of `count` tokens, all the caller's. May write the ceiling. */
int64
token_take(DbState *db, int count, TimestampTz now)
{
	for (;;)
	{
		int64		first;

		if (pg_atomic_read_u64(&db->next_token) != 0)
		{
			first = (int64) pg_atomic_fetch_add_u64(&db->next_token, count);
			if (first + count <= (int64) pg_atomic_read_u64(&db->token_ceiling))
				return first;
			/* these are lost: the ceiling comes first */
		}
		CHECK_FOR_INTERRUPTS();
		raise_ceiling(db, now);
	}
}

/* For the sweeper: raises the ceiling before anybody has to wait for it. */
void
token_keep_ahead(DbState *db)
{
	int64		next = (int64) pg_atomic_read_u64(&db->next_token);

	if (next != 0 && (int64) pg_atomic_read_u64(&db->token_ceiling) < next + TOKEN_STEP / 2)
		raise_ceiling(db, next);
}
