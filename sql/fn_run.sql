-- ---------------------------------------------------------------------------
-- Runs and chains
-- ---------------------------------------------------------------------------

CREATE FUNCTION ains.create_run(
    name text, criteria jsonb DEFAULT '{}', target integer DEFAULT NULL,
    on_failure text DEFAULT 'fail', metadata jsonb DEFAULT NULL) RETURNS bigint
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ains_create_run';
COMMENT ON FUNCTION ains.create_run(text, jsonb, integer, text, jsonb)
    IS 'a run, for tasks to join by run_id; returns its id';

CREATE FUNCTION ains.enqueue_chain(
    steps jsonb, name text DEFAULT 'chain', run_id bigint DEFAULT NULL,
    on_failure text DEFAULT 'fail', metadata jsonb DEFAULT NULL) RETURNS bigint
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ains_enqueue_chain';
COMMENT ON FUNCTION ains.enqueue_chain(jsonb, text, bigint, text, jsonb)
    IS 'enqueues tasks that run one after the other, each with the result of the one before; returns the id of their run';

CREATE FUNCTION ains.run_progress(
    run_id bigint, OUT stage text, OUT blocked bigint, OUT scheduled bigint, OUT pending bigint,
    OUT active bigint, OUT completed bigint, OUT failed bigint, OUT cancelled bigint,
    OUT expired bigint, OUT total bigint, OUT percent numeric, OUT gap bigint,
    OUT eta timestamptz) RETURNS SETOF record
    LANGUAGE c STABLE PARALLEL UNSAFE ROWS 10 AS 'MODULE_PATHNAME', 'ains_run_progress';
COMMENT ON FUNCTION ains.run_progress(bigint)
    IS 'how far each stage of a run is, in the order in which they began';

CREATE FUNCTION ains.cancel_run(run_id bigint, reason text DEFAULT NULL) RETURNS bigint
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ains_cancel_run';
COMMENT ON FUNCTION ains.cancel_run(bigint, text)
    IS 'ends a run and cancels its live tasks, as ains.cancel does; returns how many';

CREATE FUNCTION ains.retry_run(run_id bigint) RETURNS bigint
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ains_retry_run';
COMMENT ON FUNCTION ains.retry_run(bigint)
    IS 'puts the FAILED and EXPIRED tasks of a run back, and the CANCELLED ones of a cancelled run; returns how many';

CREATE FUNCTION ains.resolve_run(run_id bigint, decision text) RETURNS text
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ains_resolve_run';
COMMENT ON FUNCTION ains.resolve_run(bigint, text)
    IS 'for a run that NEEDS_DECISION: accept what there is, continue with more tasks, or cancel; returns its new status';

