-- ---------------------------------------------------------------------------
-- Agents. Functions run as their caller (SECURITY INVOKER): the library judges
-- by the caller's role and itself switches to the owner of the tables.
-- ---------------------------------------------------------------------------

CREATE FUNCTION ains.register_agent(
    agent_id text, agent_type text DEFAULT 'agent', capabilities text[] DEFAULT '{}',
    display_name text DEFAULT NULL, endpoint text DEFAULT NULL, public_key text DEFAULT NULL,
    tags text[] DEFAULT '{}', metadata jsonb DEFAULT '{}', heartbeat_timeout interval DEFAULT NULL,
    max_active_tasks integer DEFAULT NULL) RETURNS ains.agent
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ains_register_agent';
COMMENT ON FUNCTION ains.register_agent(text, text, text[], text, text, text, text[], jsonb, interval, integer)
    IS 'registers an agent, or restarts a known one: a new incarnation, whose old leases are taken back';

CREATE FUNCTION ains.heartbeat(
    agent_id text, health text DEFAULT 'ACTIVE', uptime_ms bigint DEFAULT NULL,
    metrics jsonb DEFAULT NULL, activity text DEFAULT NULL, held bigint[] DEFAULT NULL,
    incarnation bigint DEFAULT NULL,
    OUT acknowledged boolean, OUT next_heartbeat_in integer, OUT agent_health_status text,
    OUT agent_status ains.agent_status, OUT last_heartbeat timestamptz, OUT active_tasks integer,
    OUT cancel_requested bigint[], OUT lost bigint[])
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ains_heartbeat';
COMMENT ON FUNCTION ains.heartbeat(text, text, bigint, jsonb, text, bigint[], bigint)
    IS 'an agent is alive: renews its leases; says what to cancel and what it has lost';

CREATE FUNCTION ains.attach_agent(agent_id text, incarnation bigint DEFAULT NULL) RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ains_attach_agent';
COMMENT ON FUNCTION ains.attach_agent(text, bigint)
    IS 'ties an agent to this connection: when it ends, the agent''s leases are taken back at once';

CREATE FUNCTION ains.detach_agent(agent_id text) RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ains_detach_agent';
COMMENT ON FUNCTION ains.detach_agent(text) IS 'unties an agent from this connection';

CREATE FUNCTION ains.drain_agent(agent_id text) RETURNS ains.agent
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ains_drain_agent';
COMMENT ON FUNCTION ains.drain_agent(text) IS 'lets an agent finish what it holds and claim no more';

CREATE FUNCTION ains.resume_agent(agent_id text) RETURNS ains.agent
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ains_resume_agent';
COMMENT ON FUNCTION ains.resume_agent(text) IS 'lets a draining or stopped agent claim again';

CREATE FUNCTION ains.stop_agent(agent_id text) RETURNS ains.agent
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ains_stop_agent';
COMMENT ON FUNCTION ains.stop_agent(text) IS 'stops an agent; what it holds goes back unharmed';

CREATE FUNCTION ains.publish_capability(
    agent_id text, capability text, description text DEFAULT NULL, version text DEFAULT 'v1.0.0',
    input_schema jsonb DEFAULT '{}', output_schema jsonb DEFAULT '{}',
    pricing_model text DEFAULT 'free', price numeric DEFAULT 0, currency text DEFAULT 'USD',
    latency_p99_ms integer DEFAULT NULL, availability_percent numeric DEFAULT NULL) RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ains_publish_capability';
COMMENT ON FUNCTION ains.publish_capability(text, text, text, text, jsonb, jsonb, text, numeric, text,
    integer, numeric)
    IS 'an agent offers a capability from now on, and this is what it says about it';

CREATE FUNCTION ains.withdraw_capability(agent_id text, capability text) RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ains_withdraw_capability';
COMMENT ON FUNCTION ains.withdraw_capability(text, text)
    IS 'an agent does not offer a capability any more; it keeps the tasks it holds';

CREATE FUNCTION ains.search_agents(
    capability text DEFAULT NULL, tags text[] DEFAULT NULL, min_trust numeric DEFAULT 0,
    sort_by text DEFAULT 'trust_score', max_rows integer DEFAULT 10, skip integer DEFAULT 0,
    OUT agent_id text, OUT display_name text, OUT agent_status ains.agent_status,
    OUT trust_score real, OUT capability text, OUT price numeric, OUT currency text,
    OUT latency_p99_ms integer, OUT tags text[])
    RETURNS SETOF record
    LANGUAGE c STABLE PARALLEL UNSAFE ROWS 10 AS 'MODULE_PATHNAME', 'ains_search_agents';
COMMENT ON FUNCTION ains.search_agents(text, text[], numeric, text, integer, integer)
    IS 'agents, whoever''s they are, and what they offer: best trusted, cheapest or fastest first';

CREATE FUNCTION ains.trust_history(
    agent_id text, OUT happened_at timestamptz, OUT event text, OUT task_id bigint,
    OUT delta real, OUT trust_score real, OUT reason text, OUT adjusted_by regrole)
    RETURNS SETOF record
    LANGUAGE c STABLE PARALLEL UNSAFE ROWS 100 AS 'MODULE_PATHNAME', 'ains_trust_history';
COMMENT ON FUNCTION ains.trust_history(text)
    IS 'what raised and lowered an agent''s trust, the latest first';

CREATE FUNCTION ains.leaderboard(
    min_tasks integer DEFAULT 1,
    OUT agent_id text, OUT display_name text, OUT trust_score real, OUT trust_level text,
    OUT tasks_completed bigint, OUT tasks_failed bigint, OUT tasks_lost bigint,
    OUT success_rate double precision, OUT avg_duration interval)
    RETURNS SETOF record
    LANGUAGE c STABLE PARALLEL UNSAFE ROWS 100 AS 'MODULE_PATHNAME', 'ains_leaderboard';
COMMENT ON FUNCTION ains.leaderboard(integer)
    IS 'agents that completed so many tasks, whoever''s they are, the most trusted first';

CREATE FUNCTION ains.prune_agents(older_than interval DEFAULT '60 minutes') RETURNS SETOF text
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ains_prune_agents';
COMMENT ON FUNCTION ains.prune_agents(interval)
    IS 'removes stopped and dead agents not seen for that long; returns their ids';

CREATE FUNCTION ains.agent_stats(
    OUT agent_type text, OUT total bigint, OUT available bigint, OUT busy bigint, OUT idle bigint,
    OUT processing bigint, OUT draining bigint, OUT inactive bigint, OUT dead bigint)
    RETURNS SETOF record
    LANGUAGE c STABLE PARALLEL UNSAFE ROWS 10 AS 'MODULE_PATHNAME', 'ains_agent_stats';
COMMENT ON FUNCTION ains.agent_stats() IS 'agents by type and status';
