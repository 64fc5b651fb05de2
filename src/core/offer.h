/*
 * core/offer.h
 *		What an agent publishes: which capabilities it offers, and on what terms.
 */
#ifndef AINS_OFFER_H
#define AINS_OFFER_H

#include "ains.h"

#include "core/call.h"
#include "store/agent_store.h"

extern void offer_publish(Call *call, const Offer *offer);
extern void offer_withdraw(Call *call, const char *agent_id, const char *capability);

#endif							/* AINS_OFFER_H */
