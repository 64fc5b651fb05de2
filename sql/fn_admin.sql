-- ---------------------------------------------------------------------------
-- Policy and operation
-- ---------------------------------------------------------------------------

CREATE FUNCTION ains.configure_capability(
    capability text, lease interval DEFAULT NULL, max_attempts integer DEFAULT NULL,
    backoff text DEFAULT NULL, backoff_base interval DEFAULT NULL,
    backoff_max interval DEFAULT NULL, jitter real DEFAULT NULL,
    aging_interval interval DEFAULT NULL, timeout interval DEFAULT NULL,
    concurrency_limit integer DEFAULT NULL, rate_limit integer DEFAULT NULL,
    rate_period interval DEFAULT NULL, min_trust numeric DEFAULT NULL,
    on_lost text DEFAULT NULL, keep_history boolean DEFAULT NULL, key_limit integer DEFAULT NULL)
    RETURNS ains.capability
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ains_configure_capability';
COMMENT ON FUNCTION ains.configure_capability(text, interval, integer, text, interval, interval,
    real, interval, interval, integer, integer, interval, numeric, text, boolean, integer)
    IS 'creates a capability or changes its policy; NULL leaves a value as it is, a lease or timeout of 0 removes it';

CREATE FUNCTION ains.pause(capability text) RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ains_pause';
COMMENT ON FUNCTION ains.pause(text) IS 'no task of the capability is claimed until ains.resume';

CREATE FUNCTION ains.resume(capability text) RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ains_resume';
COMMENT ON FUNCTION ains.resume(text) IS 'ends ains.pause';

CREATE FUNCTION ains.set_quota(role regrole, max_tasks integer, period interval DEFAULT '1 min')
    RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ains_set_quota';
COMMENT ON FUNCTION ains.set_quota(regrole, integer, interval)
    IS 'lets a role enqueue so many tasks in each period; NULL: as many as it likes';

CREATE FUNCTION ains.adjust_trust(agent_id text, delta numeric, reason text) RETURNS real
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ains_adjust_trust';
COMMENT ON FUNCTION ains.adjust_trust(text, numeric, text)
    IS 'adds to an agent''s trust, or takes from it; returns the new score';

CREATE FUNCTION ains.sweep(
    OUT leases_expired bigint, OUT leases_of_dead_agents bigint, OUT attempts_timed_out bigint,
    OUT tasks_due bigint, OUT tasks_expired bigint, OUT agents_marked_dead bigint,
    OUT partitions_dropped bigint)
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ains_sweep';
COMMENT ON FUNCTION ains.sweep() IS 'one pass of housekeeping, as the sweeper does it';

CREATE FUNCTION ains.release_dead_agent_leases() RETURNS bigint
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ains_release_dead_agent_leases';
COMMENT ON FUNCTION ains.release_dead_agent_leases()
    IS 'takes back the leases of dead agents, marking those that are; returns how many';

CREATE FUNCTION ains.rescan() RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ains_rescan';
COMMENT ON FUNCTION ains.rescan()
    IS 'makes shared memory forget what it believes of the tables, after they were changed by hand';

CREATE FUNCTION ains.queue_stats(
    OUT capability text, OUT paused boolean, OUT blocked bigint, OUT scheduled bigint,
    OUT pending bigint, OUT active bigint, OUT oldest_pending interval,
    OUT agents_available bigint) RETURNS SETOF record
    LANGUAGE c STABLE PARALLEL UNSAFE ROWS 10 AS 'MODULE_PATHNAME', 'ains_queue_stats';
COMMENT ON FUNCTION ains.queue_stats() IS 'live tasks by capability and status';

CREATE FUNCTION ains.explain_task(task_id bigint, OUT reason text, OUT detail text)
    RETURNS SETOF record
    LANGUAGE c STABLE PARALLEL UNSAFE ROWS 3 AS 'MODULE_PATHNAME', 'ains_explain_task';
COMMENT ON FUNCTION ains.explain_task(bigint) IS 'why a task is not running';
