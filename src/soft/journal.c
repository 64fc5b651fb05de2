/*
 * soft/journal.c
 *		Lines for the server's log. What they are for is in journal.h.
 *
 * Notes are kept by nesting level, as in effects.c, in the memory of the
 * transaction. Of a transaction with many of them only the first are kept with
 * their text: the others could not be written anyway.
 */
#include "soft/journal.h"

#include "access/xact.h"
#include "lib/stringinfo.h"
#include "utils/json.h"
#include "utils/memutils.h"

#include "clock.h"
#include "errors.h"

static const struct
{
	const char *name;
	int			code;
}			kinds[JOURNAL_KINDS] = {
	[JOURNAL_AGENT_DIED] = {"agent_died", AINS_LOG_AGENT_DIED},
	[JOURNAL_LEASE_TAKEN_BACK] = {"lease_taken_back", AINS_LOG_LEASE_TAKEN_BACK},
	[JOURNAL_DEAD_LETTER] = {"dead_letter", AINS_LOG_DEAD_LETTER},
	[JOURNAL_SWEEPER_LATE] = {"sweeper_late", AINS_LOG_SWEEPER_LATE},
	[JOURNAL_PARTITION_DROPPED] = {"partition_dropped", AINS_LOG_PARTITION_DROPPED},
};

typedef struct Note
{
	int			level;			/* nesting level of the (sub)transaction */
	DbState    *db;
	JournalKind kind;
	const char *members;		/* NULL: of `times` that are only counted */
	uint32		times;
} Note;

/* All in TopTransactionContext. */
static Note *notes;
static int	note_count;
static int	note_room;
static int	text_count[JOURNAL_KINDS];	/* notes with a text */

void
journal_note(DbState *db, JournalKind kind, const char *members)
{
	int			level = GetCurrentTransactionNestLevel();
	bool		has_text = text_count[kind] < PULSE_LINES_PER_MINUTE;
	Note	   *note;

	for (int i = note_count; !has_text && i > 0 && notes[i - 1].level == level; i--)
	{
		note = &notes[i - 1];
		if (note->members == NULL && note->kind == kind && note->db == db)
		{
			note->times++;
			return;
		}
	}
	if (note_count == note_room)
	{
		int			room = Max(note_room * 2, 16);

		if (notes == NULL)
			notes = MemoryContextAlloc(TopTransactionContext, room * sizeof(Note));
		else
			notes = repalloc(notes, room * sizeof(Note));
		note_room = room;
	}
	note = &notes[note_count];
	note->level = level;
	note->db = db;
	note->kind = kind;
	note->members = has_text ? MemoryContextStrdup(TopTransactionContext, members) : NULL;
	note->times = 1;
	note_count++;
	text_count[kind] += has_text;
}

/* A JSON string, quoted, in the current context; null for NULL. */
const char *
journal_text(const char *s)
{
	StringInfoData json;

	if (s == NULL)
		return "null";
	initStringInfo(&json);
	escape_json(&json, s);
	return json.data;
}

/* A task failed for good: by the outcome of its last attempt, or since it had none. */
void
journal_dead_letter(DbState *db, int64 task_id, const char *capability, int32 attempt,
					const char *reason)
{
	journal_note(db, JOURNAL_DEAD_LETTER,
				 psprintf("\"task_id\": " INT64_FORMAT ", \"capability\": %s, \"attempt\": %d, \"reason\": \"%s\"",
						  task_id, journal_text(capability), attempt, reason));
}

static void
write_lines(void)
{
	int64		now = clock_read().mono;

	for (int i = 0; i < note_count; i++)
	{
		const Note *note = &notes[i];
		uint64		suppressed = 0;

		if (note->members == NULL)
			pulse_suppress(note->db, note->kind, note->times);
		else if (pulse_may_log(note->db, note->kind, now, &suppressed))
			ereport(LOG_SERVER_ONLY,
					(errcode(kinds[note->kind].code),
					 errmsg_internal("ains: {\"code\": \"%s\", \"event\": \"%s\", %s, \"suppressed\": "
									 UINT64_FORMAT "}",
									 unpack_sql_state(kinds[note->kind].code),
									 kinds[note->kind].name, note->members, suppressed),
					 errhidestmt(true),
					 errhidecontext(true)));
	}
}

static void
forget(void)
{
	notes = NULL;
	note_count = note_room = 0;
	memset(text_count, 0, sizeof(text_count));
}

static void
at_end(XactEvent event, void *arg)
{
	if (notes == NULL)
		return;
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
			write_lines();
			break;
		case XACT_EVENT_COMMIT:
			for (int i = 0; i < note_count; i++)
				pulse_reported(notes[i].db, notes[i].kind, clock_read().mono, notes[i].times);
			forget();
			break;
		case XACT_EVENT_ABORT:
		case XACT_EVENT_PREPARE:
			forget();
			break;
		default:
			break;
	}
}

static void
at_sub_end(SubXactEvent event, SubTransactionId mine, SubTransactionId parent, void *arg)
{
	int			level = GetCurrentTransactionNestLevel();

	if (event == SUBXACT_EVENT_COMMIT_SUB)
	{
		for (int i = note_count; i > 0 && notes[i - 1].level >= level; i--)
			notes[i - 1].level = level - 1;
	}
	else if (event == SUBXACT_EVENT_ABORT_SUB)
	{
		for (; note_count > 0 && notes[note_count - 1].level >= level; note_count--)
			if (notes[note_count - 1].members != NULL)
				text_count[notes[note_count - 1].kind]--;
	}
}

void
journal_init(void)
{
	RegisterXactCallback(at_end, NULL);
	RegisterSubXactCallback(at_sub_end, NULL);
}
