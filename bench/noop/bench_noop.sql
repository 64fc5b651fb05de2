-- The arguments and the row of ains.heartbeat(); the last argument carries the
-- enum's value, which a constant of C cannot know.
CREATE FUNCTION bench.heartbeat(
    agent_id text, health text DEFAULT 'ACTIVE', uptime_ms bigint DEFAULT NULL,
    metrics jsonb DEFAULT NULL, activity text DEFAULT NULL, held bigint[] DEFAULT NULL,
    incarnation bigint DEFAULT NULL, status ains.agent_status DEFAULT 'AVAILABLE',
    OUT acknowledged boolean, OUT next_heartbeat_in integer, OUT agent_health_status text,
    OUT agent_status ains.agent_status, OUT last_heartbeat timestamptz, OUT active_tasks integer,
    OUT cancel_requested bigint[], OUT lost bigint[])
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'bench_noop', 'bench_heartbeat';
