/*
 * soft/notes.c
 *		Stacks of notes. What they are for is in notes.h.
 */
#include "soft/notes.h"

#include "access/xact.h"
#include "utils/memutils.h"

/* A transaction with more notes than this has its memory given back at its end. */
#define KEPT_ROOM	1024

/* Makes room for so many more, so that adding them cannot fail. May raise. */
void
notes_reserve(NoteStack *stack, int more)
{
	int			room;

	if (stack->count + more <= stack->room)
		return;
	room = Max(stack->room * 2, stack->count + more + 16);
	if (stack->notes == NULL)
		stack->notes = MemoryContextAllocHuge(TopMemoryContext, room * stack->size);
	else
		stack->notes = repalloc_huge(stack->notes, room * stack->size);
	stack->room = room;
}

/* A new note, zero but for its level. Raises only if there is no memory. */
void *
notes_add(NoteStack *stack)
{
	Note	   *note;

	notes_reserve(stack, 1);
	note = (Note *) ((char *) stack->notes + stack->count++ * stack->size);
	memset(note, 0, stack->size);
	note->level = GetCurrentTransactionNestLevel();
	return note;
}

static Note *
note_at(const NoteStack *stack, int i)
{
	return (Note *) ((char *) stack->notes + i * stack->size);
}

/* Where the notes of this level and above begin. */
int
notes_first(const NoteStack *stack, int level)
{
	int			first = stack->count;

	while (first > 0 && note_at(stack, first - 1)->level >= level)
		first--;
	return first;
}

/* The subtransaction of this level commits: what it noted is its parent's. */
void
notes_merge(NoteStack *stack, int level)
{
	for (int i = notes_first(stack, level); i < stack->count; i++)
		note_at(stack, i)->level = level - 1;
}

/* The transaction is over. */
void
notes_forget(NoteStack *stack)
{
	stack->count = 0;
	if (stack->room > KEPT_ROOM)
	{
		pfree(stack->notes);
		stack->notes = NULL;
		stack->room = 0;
	}
}
