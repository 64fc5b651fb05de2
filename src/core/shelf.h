/*
 * core/shelf.h
 *		The days of history.
 */
#ifndef AINS_SHELF_H
#define AINS_SHELF_H

#include "ains.h"

#include "core/call.h"
#include "utils/date.h"

extern DateADT shelf_today(Call *call);
extern bool shelf_days_ahead(Call *call, int *ahead);
extern bool shelf_maintain(Call *call, int64 *dropped);

#endif							/* AINS_SHELF_H */
