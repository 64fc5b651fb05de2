/*
 * soft/token.h
 *		Lease tokens: numbers that are never issued twice.
 */
#ifndef AINS_TOKEN_H
#define AINS_TOKEN_H

#include "ains.h"

#include "soft/shmem.h"

extern int64 token_take(DbState *db, int count, TimestampTz now);
extern void token_keep_ahead(DbState *db);

#endif							/* AINS_TOKEN_H */
