/*
 * agent.h - the agent: registers, claims, beats, and stops in good order.
 */
#ifndef AINS_CLIENT_AGENT_H
#define AINS_CLIENT_AGENT_H

#include "options.h"

/*
 * Works until a signal, --once, --max-tasks or a reason to give up ends it.
 * Returns the exit status of the process.
 */
extern int	agent_run(const struct options *o);

#endif
