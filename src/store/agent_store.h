/*
 * store/agent_store.h
 *		ains.agent and ains.agent_capability: SQL text and row <-> struct.
 */
#ifndef AINS_AGENT_STORE_H
#define AINS_AGENT_STORE_H

#include "ains.h"

#include "nodes/pg_list.h"
/* What register_agent writes. Datums are the caller's; 0 is NULL. */
typedef struct NewAgent
{
	const char *agent_id;
	const char *agent_type;
	const char *display_name;
	const char *endpoint;
	const char *public_key;
	Datum		tags;			/* text[] */
	Datum		metadata;		/* jsonb */
	Oid			owner;
	int64		incarnation;
	int64		heartbeat_timeout;	/* -1: NULL */
	int32		max_active_tasks;	/* 0: NULL */
	TimestampTz now;
} NewAgent;

/* What publish_capability writes. Datums are the caller's; 0 is NULL. */
typedef struct Offer
{
	const char *agent_id;
	const char *capability;
	const char *description;
	const char *version;
	Datum		input_schema;	/* jsonb */
	Datum		output_schema;
	const char *pricing_model;
	Datum		price;			/* numeric */
	const char *currency;
	int32		latency_p99;	/* ms; -1: NULL */
	Datum		availability;	/* numeric */
} Offer;

/* A row with its key. */
typedef struct AgentRow
{
	char	   *agent_id;
	AgentFacts	facts;
	int32		held;			/* leases, if they were asked for ... */
	uint64		held_hash;		/* ... and the XOR of their hashes (roster.h) */
} AgentRow;

extern bool agent_store_find(const char *agent_id, AgentFacts *facts);
extern bool agent_store_lock(const char *agent_id, AgentFacts *facts);
extern bool agent_store_lock_free(const char *agent_id, AgentFacts *facts);
extern AgentRow *agent_store_all(bool leases, int *count);
extern bool agent_store_insert(const NewAgent *agent);
extern void agent_store_restart(const NewAgent *agent);
extern Datum agent_store_row(const char *agent_id);
extern void agent_store_write_state(const char *agent_id, const AgentFacts *facts,
									TimestampTz now, TimestampTz last_seen);
extern void agent_store_write_metrics(const char *agent_id, Datum metrics);
extern AgentRow *agent_store_prunable(TimestampTz seen_before, int *count);
extern void agent_store_delete(const char *agent_id);

extern void agent_store_set_capabilities(const char *agent_id, Datum capabilities);
extern bool agent_store_publish(const Offer *offer);
extern bool agent_store_withdraw(const char *agent_id, const char *capability);

#endif							/* AINS_AGENT_STORE_H */
