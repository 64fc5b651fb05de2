/*
 * soft/journal.h
 *		What the server's log is told: one line for each thing that an operator
 *		should hear of, for machines to read.
 *
 * A line is written when the transaction is about to commit, so what is rolled
 * back is not told, and counted when it has. Of each kind only
 * PULSE_LINES_PER_MINUTE are written; the next line says how many were not.
 */
#ifndef AINS_JOURNAL_H
#define AINS_JOURNAL_H

#include "ains.h"

#include "soft/effects.h"
#include "soft/pulse.h"

extern const TransactionPart journal_part;

/*
 * Reports something. `members`: of a JSON object, such as "task_id": 1; copied.
 * journal_text() makes a JSON string.
 */
extern void journal_note(DbState *db, JournalKind kind, const char *members);
extern void journal_dead_letter(DbState *db, int64 task_id, const char *capability,
								int32 attempt, const char *reason);
extern const char *journal_text(const char *s);

#endif							/* AINS_JOURNAL_H */
