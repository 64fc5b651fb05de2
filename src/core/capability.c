/*
 * core/capability.c
 *		Capabilities and their policy.
 *
 * Each backend keeps the policies it has read until the shared generation
 * changes, which a commit that changes one does after it is visible. The
 * generation is read before the row, so a row that is too old carries a
 * generation that is too old. A transaction that changed a policy itself, or
 * whose snapshot cannot see newer rows, reads past the cache.
 */
#include "core/capability.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "utils/hsearch.h"

#include "errors.h"
#include "guc.h"
#include "soft/effects.h"
#include "store/lane_store.h"
#include "store/task_store.h"

/* More policies than this are not kept. */
#define CACHE_LIMIT		1000

static HTAB *cache;				/* CapabilityRow by name */
static DbState *cache_db;
static uint64 cache_generation;

static void
reset_cache(DbState *db, uint64 generation)
{
	HASHCTL		ctl = {.keysize = AINS_NAME_SIZE, .entrysize = sizeof(CapabilityRow)};

	if (cache != NULL)
		hash_destroy(cache);
	cache = NULL;
	cache = hash_create("ains policies", 16, &ctl, HASH_ELEM | HASH_STRINGS);
	cache_db = db;
	cache_generation = generation;
}

/*
 * A capability, or NULL. Valid until the next call of this function or, in a
 * transaction that changed a policy, the end of the current memory context.
 */
const CapabilityRow *
capability_find(Call *call, const char *name)
{
	uint64		generation = pg_atomic_read_u64(&call->db->policy_generation);
	CapabilityRow *entry;
	CapabilityRow row;

	/* on a standby nobody would tell the cache of changes */
	if (effects_policy_pending() || IsolationUsesXactSnapshot() || RecoveryInProgress())
	{
		entry = palloc(sizeof(CapabilityRow));
		return capability_store_find(name, entry) ? entry : NULL;
	}

	pg_read_barrier();
	if (cache == NULL || cache_db != call->db || cache_generation != generation ||
		hash_get_num_entries(cache) > CACHE_LIMIT)
		reset_cache(call->db, generation);
	entry = hash_search(cache, name, HASH_FIND, NULL);
	if (entry == NULL && capability_store_find(name, &row))
	{
		entry = hash_search(cache, name, HASH_ENTER, NULL);
		*entry = row;
		entry->limits.generation = generation;
	}
	return entry;
}

/* The same for one that must exist: raises NS007. */
const CapabilityRow *
capability_require(Call *call, const char *name)
{
	const CapabilityRow *capability = capability_find(call, name);

	if (capability == NULL)
		ereport(ERROR,
				(errcode(AINS_UNKNOWN_CAPABILITY),
				 errmsg("unknown capability"),
				 errdetail("There is no capability \"%s\".", name),
				 errhint("Create it with ains.configure_capability.")));
	return capability;
}

/* The same for one that may be seen for the first time: created if allowed. */
const CapabilityRow *
capability_ensure(Call *call, const char *name)
{
	const CapabilityRow *capability = capability_find(call, name);

	if (capability != NULL)
		return capability;
	if (!ains_auto_create_capabilities)
		return capability_require(call, name);
	return capability_restore(call, name);
}

/*
 * The same for one that a live task has, whatever the setting: should its row
 * have been deleted by hand, it comes back with the default policy.
 */
const CapabilityRow *
capability_restore(Call *call, const char *name)
{
	const CapabilityRow *capability = capability_find(call, name);

	if (capability != NULL)
		return capability;
	if (capability_store_create(name, call->now.wall))
		effect_policy_changed(call->db);
	return capability_require(call, name);
}

/* The length of a lease of this capability, if the claim names none. */
int64
capability_lease(const CapabilityRow *capability)
{
	return capability->lease >= 0 ? capability->lease : ains_default_lease * USECS_PER_SEC;
}

/* Changes a policy, or creates the capability with it; returns its row. */
Datum
capability_configure(Call *call, const char *name, const CapabilityChange *change)
{
	int64		aging_interval;
	Datum		row;

	(void) capability_store_create(name, call->now.wall);
	if (!capability_store_lock(name, &aging_interval))
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("capability \"%s\" was removed meanwhile", name),
				 errdetail("Another transaction deleted its row by hand."),
				 errhint("Try again.")));
	effect_policy_changed(call->db);
	row = capability_store_configure(name, change);
	/* there may be tasks in line that need not wait */
	if (change->key_limit != NULL)
		effect_wake_at(call->db, call->now.wall);
	if (change->rate_limit != NULL && *change->rate_limit > 0 &&
		capability_require(call, name)->limits.rate == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("rate_limit needs a rate_period"),
				 errdetail("Capability \"%s\" has none.", name),
				 errhint("Give rate_period as well.")));
	if (change->aging_interval != NULL && *change->aging_interval != aging_interval)
	{
		int			count;
		int32	   *lane_ids = lane_store_of_capability(name, &count);

		for (int i = 0; i < count; i++)
			effect_lower(call->db, lane_ids[i], READY_KEY_MIN);
		task_store_rerank(name, *change->aging_interval - aging_interval);
	}
	return row;
}

/* Stops or resumes claims of a capability; raises NS007. */
void
capability_pause(Call *call, const char *name, bool paused)
{
	(void) capability_require(call, name);
	capability_store_pause(name, paused);
	effect_policy_changed(call->db);
}
