-- ---------------------------------------------------------------------------
-- ains_internal: for the views, the install script and the tests
-- ---------------------------------------------------------------------------

CREATE FUNCTION ains_internal.clock_now() RETURNS timestamptz
    LANGUAGE c STABLE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ains_clock_now';
COMMENT ON FUNCTION ains_internal.clock_now() IS 'the time ains goes by';

-- Filters by itself: agents of the caller, or all for ains_monitor.
CREATE FUNCTION ains_internal.roster(
    OUT agent_id text, OUT last_heartbeat timestamptz, OUT active_tasks integer, OUT activity text)
    RETURNS SETOF record
    LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 100 AS 'MODULE_PATHNAME', 'ains_roster';
COMMENT ON FUNCTION ains_internal.roster() IS 'what shared memory knows of the agents';

-- Of a cron text alone: they read no table.
CREATE FUNCTION ains_internal.next_run(cron text, timezone text, after timestamptz) RETURNS timestamptz
    LANGUAGE c STABLE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ains_next_run';
COMMENT ON FUNCTION ains_internal.next_run(text, text, timestamptz) IS 'the first time after that one which a cron text says';

CREATE FUNCTION ains_internal.missed_runs(cron text, timezone text, since timestamptz) RETURNS bigint
    LANGUAGE c STABLE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ains_missed_runs';
COMMENT ON FUNCTION ains_internal.missed_runs(text, text, timestamptz) IS 'how many times of a cron text, from that one on, are a minute ago or more; 100,000 at most';

CREATE FUNCTION ains_internal.extension_created() RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ains_extension_created';
COMMENT ON FUNCTION ains_internal.extension_created() IS 'asks the launcher for a sweeper in this database, at commit';

CREATE FUNCTION ains_internal.check_ready_set() RETURNS boolean
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ains_check_ready_set';
COMMENT ON FUNCTION ains_internal.check_ready_set() IS 'for tests: whether the ready set keeps its invariants';

-- A value that is not known is NULL; so is the capability that stands for all
-- that had no room in shared memory.
CREATE FUNCTION ains_internal.counters(
    OUT capability text, OUT counter text, OUT bound double precision, OUT value bigint)
    RETURNS SETOF record
    LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 1000 AS 'MODULE_PATHNAME', 'ains_counters';
COMMENT ON FUNCTION ains_internal.counters() IS 'what shared memory has counted: events, live tasks by status, histograms (bound: seconds, at most)';

CREATE FUNCTION ains_internal.ready_drift() RETURNS bigint
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ains_ready_drift';
COMMENT ON FUNCTION ains_internal.ready_drift() IS 'ready keys that were lost and found again by the audit; 0 is right';

-- The test clock works only with ains.enable_test_clock, set at server start.
CREATE FUNCTION ains_internal.advance_clock("by" interval) RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ains_advance_clock';
COMMENT ON FUNCTION ains_internal.advance_clock(interval) IS 'for tests: time passes';

CREATE FUNCTION ains_internal.stall_clock("by" interval) RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ains_stall_clock';
COMMENT ON FUNCTION ains_internal.stall_clock(interval) IS 'for tests: time passes while the server is paused';

CREATE FUNCTION ains_internal.step_wall_clock("by" interval) RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ains_step_wall_clock';
COMMENT ON FUNCTION ains_internal.step_wall_clock(interval) IS 'for tests: somebody sets the wall clock';
