/*
 * core/offer.c
 *		What an agent publishes. That it offers a capability lets it claim tasks
 *		of it; the terms are for those who look for an agent, and ains does not
 *		go by them.
 *
 * The row of the agent is locked meanwhile, so that it is neither pruned nor
 * registered anew: nothing is offered by nobody.
 */
#include "core/offer.h"

#include "core/agent.h"
#include "core/capability.h"
#include "soft/effects.h"

/*
 * From now on the agent offers the capability, on these terms and no others.
 * Raises NS002, 42501, NS007.
 */
void
offer_publish(Call *call, const Offer *offer)
{
	AgentFacts	facts;

	agent_lock(call, offer->agent_id, &facts);
	(void) capability_ensure(call, offer->capability);
	/* other terms for what it offers already are no news to claims */
	if (agent_store_publish(offer))
		effect_policy_changed(call->db);
}

/*
 * From now on it does not; what it holds of it stays its own. Harmless if it
 * never did. Raises NS002, 42501.
 */
void
offer_withdraw(Call *call, const char *agent_id, const char *capability)
{
	AgentFacts	facts;

	agent_lock(call, agent_id, &facts);
	if (agent_store_withdraw(agent_id, capability))
	{
		effect_policy_changed(call->db);
		/* tasks of it that are assigned to the agent go to others */
		effect_wake_at(call->db, call->now.wall);
	}
}
