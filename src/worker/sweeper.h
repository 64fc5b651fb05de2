/*
 * worker/sweeper.h
 *		The housekeeper of one database: core/sweep.h, called by the clock.
 */
#ifndef AINS_SWEEPER_H
#define AINS_SWEEPER_H

#include "postgres.h"

/* Its argument is unused; the SweeperTicket is in bgw_extra. */
extern PGDLLEXPORT void ains_sweeper_main(Datum arg);

#endif							/* AINS_SWEEPER_H */
