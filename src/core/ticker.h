/*
 * core/ticker.h
 *		Who calls ains.run_schedules() every minute: pg_cron, wherever it lives.
 */
#ifndef AINS_TICKER_H
#define AINS_TICKER_H

#include "ains.h"

#include "core/call.h"

/* The schedules of this database are being run. */
extern void ticker_note(Call *call);

/*
 * Sees to it that they will be: unless somebody has run them in the last five
 * minutes, pg_cron has, or is given, a job for it. What it is given stays if
 * the transaction is rolled back. Raises 55000 if there is no pg_cron.
 */
extern void ticker_require(Call *call);

/* The main function of the worker that asks pg_cron. */
extern PGDLLEXPORT void ains_ticker_main(Datum handle);

#endif							/* AINS_TICKER_H */
