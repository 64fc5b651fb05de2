-- ---------------------------------------------------------------------------
-- Schedules and templates
-- ---------------------------------------------------------------------------

CREATE FUNCTION ains.schedule(
    name text, cron text, capability text, payload jsonb DEFAULT '{}', priority integer DEFAULT 5,
    max_attempts integer DEFAULT NULL, timeout interval DEFAULT NULL,
    unique_key text DEFAULT NULL, metadata jsonb DEFAULT NULL, timezone text DEFAULT 'UTC',
    catch_up text DEFAULT 'one') RETURNS timestamptz
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ains_schedule';
COMMENT ON FUNCTION ains.schedule(text, text, text, jsonb, integer, integer, interval, text,
    jsonb, text, text)
    IS 'enqueues a task at each time the cron text says, or changes such a schedule; returns the first time';

CREATE FUNCTION ains.unschedule(name text) RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ains_unschedule';
COMMENT ON FUNCTION ains.unschedule(text) IS 'removes a schedule; its tasks stay';

CREATE FUNCTION ains.pause_schedule(name text) RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ains_pause_schedule';
COMMENT ON FUNCTION ains.pause_schedule(text) IS 'the schedule enqueues nothing until ains.resume_schedule';

CREATE FUNCTION ains.resume_schedule(name text) RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ains_resume_schedule';
COMMENT ON FUNCTION ains.resume_schedule(text)
    IS 'ends ains.pause_schedule; what was missed meanwhile is made up for as catch_up says';

CREATE FUNCTION ains.run_schedules() RETURNS bigint
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ains_run_schedules';
COMMENT ON FUNCTION ains.run_schedules()
    IS 'enqueues the tasks of all schedules that are due; returns how many. pg_cron calls it every minute';

CREATE FUNCTION ains.save_template(
    name text, capability text, payload jsonb DEFAULT '{}', priority integer DEFAULT 5,
    max_attempts integer DEFAULT NULL, timeout interval DEFAULT NULL,
    unique_key text DEFAULT NULL, metadata jsonb DEFAULT NULL) RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ains_save_template';
COMMENT ON FUNCTION ains.save_template(text, text, jsonb, integer, integer, interval, text, jsonb)
    IS 'keeps arguments of ains.enqueue under a name, or replaces those that are kept there';

CREATE FUNCTION ains.drop_template(name text) RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ains_drop_template';
COMMENT ON FUNCTION ains.drop_template(text) IS 'removes a template; its tasks stay';

CREATE FUNCTION ains.enqueue_from_template(name text, overrides jsonb DEFAULT '{}') RETURNS bigint
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ains_enqueue_from_template';
COMMENT ON FUNCTION ains.enqueue_from_template(text, jsonb)
    IS 'enqueues what a template says, with the arguments of ains.enqueue given here instead of its own';
