/*
 * soft/types.c
 *		Types of agents by number; see types.h.
 */
#include "soft/types.h"

#include "storage/shmem.h"

#include "soft/shmem.h"

typedef struct Types
{
	int			used;			/* numbers that are given, with 0 */
	char		names[AGENT_TYPES][AINS_NAME_SIZE];
} Types;

static Types *types;

/* Bytes to request. */
Size
types_size(void)
{
	return sizeof(Types);
}

/* Makes or finds them; under AddinShmemInitLock. */
void
types_shmem_init(void)
{
	bool		found;

	types = ShmemInitStruct("ains types", types_size(), &found);
	if (found)
		return;
	memset(types, 0, types_size());
	types->used = 1;
}

/* Needs the roster lock; 0: it has no number. */
static int16
find(const char *name)
{
	for (int i = 1; i < types->used; i++)
		if (strcmp(types->names[i], name) == 0)
			return i;
	return 0;
}

/* The number of a type, given to it now if there is one left. */
int16
types_number(const char *name)
{
	int16		number;
	bool		full;

	/* no function lets such a name in */
	if (strlen(name) >= AINS_NAME_SIZE)
		return 0;
	LWLockAcquire(shmem_lock(LOCK_ROSTER), LW_SHARED);
	number = find(name);
	full = types->used == AGENT_TYPES;
	LWLockRelease(shmem_lock(LOCK_ROSTER));
	if (number != 0 || full)
		return number;

	LWLockAcquire(shmem_lock(LOCK_ROSTER), LW_EXCLUSIVE);
	number = find(name);
	if (number == 0 && types->used < AGENT_TYPES)
	{
		number = types->used++;
		strlcpy(types->names[number], name, AINS_NAME_SIZE);
	}
	LWLockRelease(shmem_lock(LOCK_ROSTER));
	return number;
}

char *
types_name(int16 number)
{
	/* what is given does not change */
	return pstrdup(types->names[number]);
}
