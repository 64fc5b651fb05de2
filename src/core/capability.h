/*
 * core/capability.h
 *		Capabilities and their policy, from a cache.
 */
#ifndef AINS_CAPABILITY_H
#define AINS_CAPABILITY_H

#include "ains.h"

#include "core/call.h"
#include "store/capability_store.h"

extern const CapabilityRow *capability_find(Call *call, const char *name);
extern const CapabilityRow *capability_require(Call *call, const char *name);
extern const CapabilityRow *capability_ensure(Call *call, const char *name);
extern const CapabilityRow *capability_restore(Call *call, const char *name);
extern int64 capability_lease(const CapabilityRow *capability);
extern Datum capability_configure(Call *call, const char *name, const CapabilityChange *change);
extern void capability_pause(Call *call, const char *name, bool paused);

#endif							/* AINS_CAPABILITY_H */
