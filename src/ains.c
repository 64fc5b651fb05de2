/*
 * ains.c
 *		The coordinator for fleets of agents, inside PostgreSQL.
 *
 * Hard state lives in tables, soft state in shared memory; docs/internals.md
 * tells the whole story. The layers, with arrows that run down only:
 *
 *		ains.c -> { worker/, sql/ } -> core/ -> soft/ -> store/ -> services
 */
#include "ains.h"

#include "fmgr.h"
#include "miscadmin.h"

#include "core/run.h"
#include "guc.h"
#include "soft/effects.h"
#include "soft/shmem.h"
#include "worker/ddl.h"
#include "worker/launcher.h"

PG_MODULE_MAGIC;

PGDLLEXPORT void _PG_init(void);

/*
 * Loaded without shared_preload_libraries, there are only settings, and every
 * function says what is missing (55000).
 */
void
_PG_init(void)
{
	guc_init();
	if (!process_shared_preload_libraries_in_progress)
		return;
	shmem_init();
	effects_init(&run_part);
	ddl_init();
	launcher_init();
}
