-- ---------------------------------------------------------------------------
-- Tasks: producers
-- ---------------------------------------------------------------------------

CREATE FUNCTION ains.enqueue(
    capability text, payload jsonb DEFAULT '{}', priority integer DEFAULT 5,
    run_at timestamptz DEFAULT NULL, max_attempts integer DEFAULT NULL,
    timeout interval DEFAULT NULL, expires_at timestamptz DEFAULT NULL,
    unique_key text DEFAULT NULL, depends_on bigint[] DEFAULT NULL, run_id bigint DEFAULT NULL,
    min_trust numeric DEFAULT NULL, agent_id text DEFAULT NULL, metadata jsonb DEFAULT NULL,
    on_conflict text DEFAULT 'return', concurrency_key text DEFAULT NULL,
    stage text DEFAULT NULL) RETURNS bigint
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ains_enqueue';
COMMENT ON FUNCTION ains.enqueue(text, jsonb, integer, timestamptz, integer, interval, timestamptz,
    text, bigint[], bigint, numeric, text, jsonb, text, text, text)
    IS 'enqueues a task, claimable by others when this transaction commits; returns its id';

CREATE FUNCTION ains.enqueue_batch(
    capability text, payloads jsonb, priority integer DEFAULT 5, run_at timestamptz DEFAULT NULL,
    max_attempts integer DEFAULT NULL, timeout interval DEFAULT NULL,
    expires_at timestamptz DEFAULT NULL, run_id bigint DEFAULT NULL,
    priorities integer[] DEFAULT NULL, unique_keys text[] DEFAULT NULL,
    stage text DEFAULT NULL) RETURNS SETOF bigint
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ains_enqueue_batch';
COMMENT ON FUNCTION ains.enqueue_batch(text, jsonb, integer, timestamptz, integer, interval,
    timestamptz, bigint, integer[], text[], text)
    IS 'enqueues 1 to 10,000 tasks, all or none; returns their ids in input order';

CREATE FUNCTION ains.cancel(task_id bigint, reason text DEFAULT NULL) RETURNS ains.task_status
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ains_cancel';
COMMENT ON FUNCTION ains.cancel(bigint, text)
    IS 'ends a waiting task (CANCELLED), or asks the agent that holds it to stop (ACTIVE)';

CREATE FUNCTION ains.retry(task_id bigint) RETURNS bigint
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ains_retry';
COMMENT ON FUNCTION ains.retry(bigint)
    IS 'puts a FAILED, CANCELLED or EXPIRED task back, with no attempt counted';

CREATE FUNCTION ains.redrive(
    capability text DEFAULT NULL, older_than interval DEFAULT NULL, max integer DEFAULT 1000)
    RETURNS bigint
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ains_redrive';
COMMENT ON FUNCTION ains.redrive(text, interval, integer)
    IS 'puts dead letters back as ains.retry does, those that failed first; returns how many';

CREATE FUNCTION ains.set_priority(task_id bigint, priority integer) RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ains_set_priority';
COMMENT ON FUNCTION ains.set_priority(bigint, integer)
    IS 'changes the priority of a live task: 1 to 10, 10 the most urgent';

CREATE FUNCTION ains.assign(task_id bigint, strategy text DEFAULT 'round_robin') RETURNS text
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ains_assign';
COMMENT ON FUNCTION ains.assign(bigint, text)
    IS 'assigns a waiting task to an agent that suits, picked by a strategy; returns its id, NULL if none suits';

CREATE FUNCTION ains.preview_route(
    capability text, strategy text DEFAULT 'round_robin', min_trust numeric DEFAULT NULL,
    OUT agent_id text, OUT trust_score real, OUT load integer, OUT avg_duration interval,
    OUT chance double precision) RETURNS SETOF record
    LANGUAGE c STABLE PARALLEL UNSAFE ROWS 100 AS 'MODULE_PATHNAME', 'ains_preview_route';
COMMENT ON FUNCTION ains.preview_route(text, text, numeric)
    IS 'the agents a task of a capability could be assigned to, the best by a strategy first';

CREATE FUNCTION ains.get_task(task_id bigint) RETURNS ains.task_info
    LANGUAGE c STABLE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ains_get_task';
COMMENT ON FUNCTION ains.get_task(bigint)
    IS 'a task, live or finished; the lease token only for the owner of the agent';

CREATE FUNCTION ains.dependencies(
    task_id bigint, OUT depends_on bigint, OUT status ains.task_status) RETURNS SETOF record
    LANGUAGE c STABLE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ains_dependencies';
COMMENT ON FUNCTION ains.dependencies(bigint)
    IS 'the tasks that had to complete before this one could run, and how they stand';

CREATE FUNCTION ains.dependents(
    task_id bigint, OUT dependent bigint, OUT status ains.task_status) RETURNS SETOF record
    LANGUAGE c STABLE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ains_dependents';
COMMENT ON FUNCTION ains.dependents(bigint)
    IS 'the tasks that wait for this one';

CREATE PROCEDURE ains.wait_for_result(
    task_id bigint, timeout interval DEFAULT '30 s',
    INOUT status ains.task_status DEFAULT NULL, INOUT result jsonb DEFAULT NULL)
    LANGUAGE c AS 'MODULE_PATHNAME', 'ains_wait_for_result';
COMMENT ON PROCEDURE ains.wait_for_result(bigint, interval, ains.task_status, jsonb)
    IS 'sleeps until a task has ended, or the time is over; outside a transaction block only';

-- ---------------------------------------------------------------------------
-- Tasks: agents
-- ---------------------------------------------------------------------------

CREATE FUNCTION ains.claim(
    agent_id text, max_tasks integer DEFAULT 1, lease interval DEFAULT NULL,
    capabilities text[] DEFAULT NULL, incarnation bigint DEFAULT NULL,
    OUT task_id bigint, OUT lease_token bigint, OUT capability text, OUT payload jsonb,
    OUT priority integer, OUT attempt integer, OUT max_attempts integer,
    OUT lease_expires_at timestamptz, OUT run_id bigint, OUT checkpoint jsonb,
    OUT deadline timestamptz, OUT metadata jsonb) RETURNS SETOF record
    LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10 AS 'MODULE_PATHNAME', 'ains_claim';
COMMENT ON FUNCTION ains.claim(text, integer, interval, text[], bigint)
    IS 'takes up to max_tasks tasks under a lease, in rank order; never waits';

CREATE PROCEDURE ains.wait_for_task(
    agent_id text, timeout interval DEFAULT '30 s', INOUT ready boolean DEFAULT NULL,
    capabilities text[] DEFAULT NULL)
    LANGUAGE c AS 'MODULE_PATHNAME', 'ains_wait_for_task';
COMMENT ON PROCEDURE ains.wait_for_task(text, interval, boolean, text[])
    IS 'sleeps until there is something to claim, or the time is over; outside a transaction block only';

CREATE FUNCTION ains.extend_lease(task_id bigint, lease_token bigint, lease interval DEFAULT NULL)
    RETURNS timestamptz
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ains_extend_lease';
COMMENT ON FUNCTION ains.extend_lease(bigint, bigint, interval)
    IS 'lets a lease run for its length, or the one given, from now; returns its end';

CREATE FUNCTION ains.checkpoint(
    task_id bigint, lease_token bigint, state jsonb,
    progress double precision DEFAULT NULL)
    RETURNS timestamptz
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ains_checkpoint';
COMMENT ON FUNCTION ains.checkpoint(bigint, bigint, jsonb, double precision)
    IS 'saves where to resume, for the next claim of this task, and extends the lease';

CREATE FUNCTION ains.complete(
    task_id bigint, lease_token bigint, result jsonb DEFAULT NULL, usage jsonb DEFAULT NULL)
    RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ains_complete';
COMMENT ON FUNCTION ains.complete(bigint, bigint, jsonb, jsonb)
    IS 'the task is done; repeating the call changes nothing';

CREATE FUNCTION ains.complete_batch(
    task_ids bigint[], lease_tokens bigint[], results jsonb DEFAULT NULL) RETURNS SETOF bigint
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ains_complete_batch';
COMMENT ON FUNCTION ains.complete_batch(bigint[], bigint[], jsonb)
    IS 'completes those of the tasks that can be; returns their ids';

CREATE FUNCTION ains.fail(
    task_id bigint, lease_token bigint, error text, retryable boolean DEFAULT NULL,
    retry_after interval DEFAULT NULL) RETURNS ains.task_status
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ains_fail';
COMMENT ON FUNCTION ains.fail(bigint, bigint, text, boolean, interval)
    IS 'the attempt failed: SCHEDULED again, or FAILED; retryable NULL lets ains.non_retryable_error decide';

CREATE FUNCTION ains.release(task_id bigint, lease_token bigint, delay interval DEFAULT '0')
    RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ains_release';
COMMENT ON FUNCTION ains.release(bigint, bigint, interval)
    IS 'gives a task back unharmed, the attempt not counted; with a delay it is a snooze';
