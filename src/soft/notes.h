/*
 * soft/notes.h
 *		What a transaction notes for its end, as a stack: each note has the
 *		nesting level of its (sub)transaction, so those of a subtransaction are
 *		on top when it ends.
 *
 * The memory of a stack is the backend's own and is kept for the next
 * transaction, unless it became large. What notes point to may be in
 * TopTransactionContext, which is there until the last callback has run.
 */
#ifndef AINS_NOTES_H
#define AINS_NOTES_H

#include "ains.h"

/* Each note begins with this. */
typedef struct Note
{
	int			level;			/* nesting level of the (sub)transaction */
} Note;

typedef struct NoteStack
{
	Size		size;			/* of one note */
	void	   *notes;			/* an array of them; NULL: no room yet */
	int			count;
	int			room;
} NoteStack;

extern void notes_reserve(NoteStack *stack, int more);
extern void *notes_add(NoteStack *stack);
extern int	notes_first(const NoteStack *stack, int level);
extern void notes_merge(NoteStack *stack, int level);
extern void notes_forget(NoteStack *stack);

#endif							/* AINS_NOTES_H */
