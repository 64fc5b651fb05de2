/*
 * store/token_store.h
 *		The stored ceiling of lease tokens.
 */
#ifndef AINS_TOKEN_STORE_H
#define AINS_TOKEN_STORE_H

#include "ains.h"

extern int64 token_store_ceiling(void);
extern void token_store_set_ceiling(int64 ceiling);

#endif							/* AINS_TOKEN_STORE_H */
