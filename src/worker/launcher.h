/*
 * worker/launcher.h
 *		Keeps a sweeper running in each database that has ains.
 */
#ifndef AINS_LAUNCHER_H
#define AINS_LAUNCHER_H

#include "postgres.h"

extern void launcher_init(void);
extern PGDLLEXPORT void ains_launcher_main(Datum arg);

#endif							/* AINS_LAUNCHER_H */
