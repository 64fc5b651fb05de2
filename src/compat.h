/*
 * compat.h
 *		What differs between PostgreSQL 15 and 18; the only file that asks
 *		for the server's version.
 */
#ifndef AINS_COMPAT_H
#define AINS_COMPAT_H

#include "postgres.h"

#include "access/genam.h"
#include "access/tableam.h"
#include "catalog/namespace.h"
#include "miscadmin.h"
#include "storage/proc.h"
#include "utils/backend_status.h"
#include "utils/guc.h"
#include "utils/wait_event.h"

#if PG_VERSION_NUM < 150000 || PG_VERSION_NUM >= 190000
#error "ains builds for PostgreSQL 15 to 18"
#endif

/* A function that does not return says so first since 18 (28e7a9968). */
#if PG_VERSION_NUM < 180000
#define pg_noreturn pg_attribute_noreturn()
#endif

/* A backend's place in arrays of MaxBackends; 17 counts from 0 (024c52111). */
#if PG_VERSION_NUM >= 170000
#define compat_my_backend_index()	(MyProcNumber)
#else
#define compat_my_backend_index()	(MyBackendId - 1)
#endif

/*
 * Pins search_path to "pg_catalog, pg_temp" until compat_unpin_search_path().
 * Up to 16 by the override stack, which costs next to nothing; it left in 17
 * (7c5c4e1c0), which made setting the variable cheap instead. An error undoes
 * both with the (sub)transaction.
 */
#if PG_VERSION_NUM >= 170000
static inline int
compat_pin_search_path(void)
{
	int			level = NewGUCNestLevel();

	RestrictSearchPath();
	return level;
}

static inline void
compat_unpin_search_path(int level)
{
	AtEOXact_GUC(false, level);
}
#else
static inline int
compat_pin_search_path(void)
{
	OverrideSearchPath path = {.schemas = NIL, .addCatalog = true, .addTemp = false};

	PushOverrideSearchPath(&path);
	return 0;
}

static inline void
compat_unpin_search_path(int level)
{
	(void) level;
	PopOverrideSearchPath();
}
#endif

/* Named wait events for extensions came with 17 (c9af05465). */
static inline uint32
compat_wait_event(const char *name, uint32 *cache)
{
#if PG_VERSION_NUM >= 170000
	if (*cache == 0)
		*cache = WaitEventExtensionNew(name);
	return *cache;
#else
	(void) name;
	(void) cache;
	return PG_WAIT_EXTENSION;
#endif
}

/* Backends by their place in the list of pg_stat_activity; 16 renamed it. */
#if PG_VERSION_NUM >= 160000
#define compat_backend_at(place)	pgstat_get_local_beentry_by_index(place)
#else
#define compat_backend_at(place)	pgstat_fetch_stat_local_beentry(place)
#endif

/* Ownership checks of all kinds of objects became one in 16 (afbfc0298). */
#if PG_VERSION_NUM >= 160000
#define compat_owns_database(database, role) \
	object_ownercheck(DatabaseRelationId, (database), (role))
#else
#define compat_owns_database(database, role) \
	pg_database_ownercheck((database), (role))
#endif

/* An index scan may be watched since 18 (0fbceae84). */
#if PG_VERSION_NUM >= 180000
#define compat_index_beginscan(table, index, snapshot, keys) \
	index_beginscan((table), (index), (snapshot), NULL, (keys), 0)
#else
#define compat_index_beginscan(table, index, snapshot, keys) \
	index_beginscan((table), (index), (snapshot), (keys), 0)
#endif

/* An update says since 16 which indexes need entries (19d8e2308); ours are all btrees. */
static inline TM_Result
compat_tuple_update(Relation rel, ItemPointer tid, TupleTableSlot *slot, CommandId cid,
					bool wait, TM_FailureData *failure, bool *indexes)
{
	LockTupleMode mode;
	TM_Result	result;
#if PG_VERSION_NUM >= 160000
	TU_UpdateIndexes which = TU_None;

	result = table_tuple_update(rel, tid, slot, cid, InvalidSnapshot, InvalidSnapshot, wait,
								failure, &mode, &which);
	*indexes = which != TU_None;
#else
	result = table_tuple_update(rel, tid, slot, cid, InvalidSnapshot, InvalidSnapshot, wait,
								failure, &mode, indexes);
#endif
	return result;
}

#endif							/* AINS_COMPAT_H */
