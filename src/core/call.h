/*
 * core/call.h
 *		What every rule of the coordinator needs to know of the call it serves.
 */
#ifndef AINS_CALL_H
#define AINS_CALL_H

#include "ains.h"

#include "soft/shmem.h"

typedef struct Call
{
	DbState    *db;
	AinsTime	now;			/* read once */
	Oid			role;			/* whose rights count */
	Oid			owner;			/* of the tables */
} Call;

/*
 * Fills a Call for the current role. Raises 55000 if the library is not
 * preloaded, the extension is not there, or its script has another version;
 * call_begin raises 25006 on a standby, call_begin_read does not.
 */
extern void call_begin(Call *call);
extern void call_begin_read(Call *call);
/* Raises 0A000 in a transaction whose snapshot cannot see newer rows. */
extern void call_require_read_committed(const char *what);

/* Membership as has_privs_of_role has it. */
extern bool call_is_member(const Call *call, Oid role);
extern bool call_is_admin(const Call *call);
extern bool call_is_monitor(const Call *call);

#endif							/* AINS_CALL_H */
