/*
 * soft/journal.c
 *		Lines for the server's log. What they are for is in journal.h.
 *
 * Of a transaction with many notes only the first are kept with their text: the
 * others could not be written anyway.
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

typedef struct JournalNote
{
	Note		note;
	DbState    *db;
	JournalKind kind;
	const char *members;		/* in TopTransactionContext; NULL: of `times` that are only counted */
	uint32		times;
} JournalNote;

static NoteStack stack = {sizeof(JournalNote)};
static int	text_count[JOURNAL_KINDS];	/* notes with a text */

static inline JournalNote *
note_at(int i)
{
	return (JournalNote *) stack.notes + i;
}

void
journal_note(DbState *db, JournalKind kind, const char *members)
{
	int			level = GetCurrentTransactionNestLevel();
	bool		has_text = text_count[kind] < PULSE_LINES_PER_MINUTE;
	char	   *copy;
	JournalNote *note;

	for (int i = stack.count; !has_text && i > 0 && note_at(i - 1)->note.level == level; i--)
	{
		note = note_at(i - 1);
		if (note->members == NULL && note->kind == kind && note->db == db)
		{
			note->times++;
			return;
		}
	}
	copy = has_text ? MemoryContextStrdup(TopTransactionContext, members) : NULL;
	note = notes_add(&stack);
	note->db = db;
	note->kind = kind;
	note->members = copy;
	note->times = 1;
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

	for (int i = 0; i < stack.count; i++)
	{
		const JournalNote *note = note_at(i);
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
end(int first, bool commit)
{
	for (int i = first; i < stack.count; i++)
	{
		const JournalNote *note = note_at(i);

		if (commit)
			pulse_reported(note->db, note->kind, clock_read().mono, note->times);
		if (note->members != NULL)
			text_count[note->kind]--;
	}
}

const TransactionPart journal_part = {.notes = &stack, .before_commit = write_lines, .end = end};
