-- ---------------------------------------------------------------------------
-- Tables: the hard state. Nobody is granted DML on them; the functions below
-- are the only way in. Lengths are intervals, times are the server's.
-- ---------------------------------------------------------------------------

-- A kind of work and its policy. NULL means: no such limit, or (lease) the
-- setting ains.default_lease.
CREATE TABLE ains.capability (
    capability        text PRIMARY KEY,
    lease             interval,
    max_attempts      integer NOT NULL DEFAULT 4,
    backoff           text NOT NULL DEFAULT 'exponential',
    backoff_base      interval NOT NULL DEFAULT '1 s',
    backoff_max       interval NOT NULL DEFAULT '60 s',
    jitter            real NOT NULL DEFAULT 0.1,
    aging_interval    interval NOT NULL DEFAULT '10 min',
    timeout           interval,
    concurrency_limit integer,
    rate_limit        integer,
    rate_period       interval,
    min_trust         numeric(3,2),
    on_lost           text NOT NULL DEFAULT 'retry',
    keep_history      boolean NOT NULL DEFAULT true,
    key_limit         integer,
    paused            boolean NOT NULL DEFAULT false,
    created_at        timestamptz NOT NULL,
    CHECK (char_length(capability) BETWEEN 1 AND 128),
    CHECK (max_attempts BETWEEN 1 AND 1000000),
    CHECK (backoff IN ('exponential', 'linear', 'fixed')),
    CHECK (jitter BETWEEN 0 AND 1),
    CHECK (on_lost IN ('retry', 'fail'))
);
COMMENT ON TABLE ains.capability IS 'a named kind of work and its policy: lease, attempts, backoff, aging, limits';

-- A set of ready tasks that an agent may claim from or not as a whole. Each
-- capability has one for all its tasks but those that want trust (a lane for
-- each step of 0.05) or are assigned to an agent. A row stays as long as its
-- capability and agent: tasks name it.
CREATE TABLE ains.lane (
    lane_id    integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    capability text NOT NULL,
    min_trust  numeric(3,2) NOT NULL DEFAULT 0,
    agent_id   text,                        -- NULL: any agent
    UNIQUE NULLS NOT DISTINCT (capability, min_trust, agent_id)
);
CREATE INDEX lane_agent ON ains.lane (agent_id) WHERE agent_id IS NOT NULL;
COMMENT ON TABLE ains.lane IS 'a set of ready tasks an agent may claim from or not as a whole';

-- Two facts make the status: what was ordered (wanted) and what the beats say
-- (health, dead_since). When an agent was last seen is kept in shared memory;
-- last_seen_at is written along with a change of status.
CREATE TABLE ains.agent (
    agent_id          text PRIMARY KEY,
    agent_type        text NOT NULL DEFAULT 'agent',
    display_name      text,
    endpoint          text,
    public_key        text,
    tags              text[] NOT NULL DEFAULT '{}',
    metadata          jsonb NOT NULL DEFAULT '{}',
    owner             regrole NOT NULL,
    incarnation       bigint NOT NULL,
    wanted            text NOT NULL DEFAULT 'accepting',
    health            text NOT NULL DEFAULT 'ACTIVE',
    dead_since        timestamptz,
    agent_status      ains.agent_status GENERATED ALWAYS AS (
        CASE WHEN wanted OPERATOR(pg_catalog.=) 'stopped' THEN 'INACTIVE'::ains.agent_status
             WHEN dead_since IS NOT NULL THEN 'DEAD'::ains.agent_status
             WHEN wanted OPERATOR(pg_catalog.=) 'draining' THEN 'DRAINING'::ains.agent_status
             WHEN health OPERATOR(pg_catalog.=) 'ACTIVE' THEN 'AVAILABLE'::ains.agent_status
             WHEN health OPERATOR(pg_catalog.=) 'DEGRADED' THEN 'BUSY'::ains.agent_status
             ELSE 'INACTIVE'::ains.agent_status END) STORED,
    heartbeat_timeout interval,
    max_active_tasks  integer,
    metrics           jsonb,
    trust_score       real NOT NULL DEFAULT 0.5,
    tasks_completed   bigint NOT NULL DEFAULT 0,
    tasks_failed      bigint NOT NULL DEFAULT 0,
    tasks_lost        bigint NOT NULL DEFAULT 0,
    avg_duration      interval,
    trust_until       timestamptz,          -- the latest end that is in these,
    trust_until_token bigint,               -- and its lease token
    registered_at     timestamptz NOT NULL,
    last_seen_at      timestamptz NOT NULL,
    CHECK (char_length(agent_id) BETWEEN 1 AND 128),
    CHECK (wanted IN ('accepting', 'draining', 'stopped')),
    CHECK (health IN ('ACTIVE', 'DEGRADED', 'OFFLINE')),
    CHECK (trust_score BETWEEN 0 AND 1)
);
COMMENT ON TABLE ains.agent IS 'the registered agents';

-- What was added to or taken from an agent's trust by hand. The rest of its
-- trust follows from history.
CREATE TABLE ains.trust_event (
    agent_id    text NOT NULL,
    adjusted_at timestamptz NOT NULL,
    adjusted_by regrole NOT NULL,
    delta       real NOT NULL,
    reason      text NOT NULL
);
CREATE INDEX trust_event_agent ON ains.trust_event (agent_id, adjusted_at);
COMMENT ON TABLE ains.trust_event IS 'changes of trust by hand';

-- That there is a row lets an agent claim; the rest is what it publishes, for
-- those who look for an agent.
CREATE TABLE ains.agent_capability (
    agent_id             text NOT NULL,
    capability           text NOT NULL,
    description          text,
    version              text NOT NULL DEFAULT 'v1.0.0',
    input_schema         jsonb NOT NULL DEFAULT '{}',
    output_schema        jsonb NOT NULL DEFAULT '{}',
    pricing_model        text NOT NULL DEFAULT 'free',
    price                numeric NOT NULL DEFAULT 0,
    currency             text NOT NULL DEFAULT 'USD',
    latency_p99_ms       integer,
    availability_percent numeric,
    PRIMARY KEY (agent_id, capability),
    CHECK (char_length(version) BETWEEN 1 AND 128),
    CHECK (char_length(pricing_model) BETWEEN 1 AND 128),
    CHECK (char_length(currency) BETWEEN 1 AND 128),
    CHECK (price BETWEEN 0 AND 1000000000000000),
    CHECK (latency_p99_ms >= 0),
    CHECK (availability_percent BETWEEN 0 AND 100)
);
COMMENT ON TABLE ains.agent_capability IS 'what each agent can do, and what it publishes about it';

-- The live tasks only, so it stays small and hot. No foreign keys: a FOR KEY
-- SHARE on one lane row would make multixacts of it.
CREATE TABLE ains.task (
    task_id             bigint GENERATED ALWAYS AS IDENTITY (MAXVALUE 9007199254740991) PRIMARY KEY,
    -- The next moment the sweeper must look at this row: run_at, lease expiry
    -- or attempt deadline, expires_at. NULL: no clock moves it.
    wake_at             timestamptz,
    -- rank = microseconds of run_at - priority * aging_interval. It never
    -- changes while a task waits, so aging costs no writes (docs/internals.md).
    rank                bigint NOT NULL,
    lane_id             integer NOT NULL,
    status              ains.task_status NOT NULL,
    priority            smallint NOT NULL,
    attempt             integer NOT NULL DEFAULT 0,
    max_attempts        integer,            -- NULL: the capability's
    run_at              timestamptz NOT NULL,
    created_at          timestamptz NOT NULL,
    expires_at          timestamptz,
    enqueued_by         regrole NOT NULL,
    incarnation         bigint,             -- from here: of the current or last lease
    lease_token         bigint,
    claimed_at          timestamptz,
    lease_expires_at    timestamptz,
    deadline            timestamptz,
    cancel_requested_at timestamptz,
    unmet               integer,            -- NULL: none
    awaited             boolean,            -- NULL: nobody ever waited for it
    progress            real,
    lease               interval,
    timeout             interval,           -- NULL: the capability's
    min_trust           numeric(3,2),       -- as its lane; NULL: none
    agent_id            text,
    capability          text NOT NULL,
    unique_key          text,
    concurrency_key     text,
    cancel_reason       text,
    last_error          text,
    payload             jsonb NOT NULL,
    metadata            jsonb,
    checkpoint          jsonb,
    depends_on          bigint[],
    run_id              bigint,             -- NULL: no run
    stage               text,
    takes_output        boolean,            -- NULL: it does not
    CHECK (status IN ('BLOCKED', 'SCHEDULED', 'PENDING', 'ACTIVE')),
    CHECK (priority BETWEEN 1 AND 10),
    CHECK (status <> 'ACTIVE' OR (agent_id IS NOT NULL AND lease_token IS NOT NULL
                                  AND wake_at IS NOT NULL)),
    CHECK (status <> 'BLOCKED' OR unmet > 0 OR concurrency_key IS NOT NULL)
);
COMMENT ON TABLE ains.task IS 'the live tasks; finished ones are in ains.task_history';

-- Room for the next versions of a row on its own page: a claim is an update.
ALTER TABLE ains.task SET (fillfactor = 70);

CREATE INDEX task_ready ON ains.task (lane_id, rank, task_id) WHERE status = 'PENDING';
CREATE INDEX task_held ON ains.task (agent_id) WHERE status = 'ACTIVE';
CREATE INDEX task_wake ON ains.task (wake_at) WHERE wake_at IS NOT NULL;
CREATE UNIQUE INDEX task_unique_key ON ains.task (capability, unique_key) WHERE unique_key IS NOT NULL;
CREATE INDEX task_run ON ains.task (run_id) WHERE run_id IS NOT NULL;

-- Which tasks of a key may run, and who is next (core/concurrency_key.c).
CREATE INDEX task_concurrency_key ON ains.task (capability, concurrency_key, status, rank, task_id)
    WHERE concurrency_key IS NOT NULL;

-- To be locked by who changes which tasks of a key may run; that is all it is
-- for.
CREATE TABLE ains.concurrency_key (
    capability      text,
    concurrency_key text,
    PRIMARY KEY (capability, concurrency_key)
);
COMMENT ON TABLE ains.concurrency_key IS 'keys of which tasks are PENDING or ACTIVE, to be locked';

-- What BLOCKED tasks still wait for, and nothing else: an edge goes when the
-- task it names completes, or the one that waits ends (core/dependency.c).
CREATE TABLE ains.dependency (
    task_id    bigint,
    depends_on bigint,
    PRIMARY KEY (task_id, depends_on)
);
COMMENT ON TABLE ains.dependency IS 'which BLOCKED task still waits for which live ones';

CREATE INDEX dependency_dependents ON ains.dependency (depends_on, task_id);

-- Finished tasks, by the day they finished. The shelves (partitions) are made
-- at run time, ahead of need, by the sweeper, and dropped whole; see
-- core/shelf.c. Keys and indexes stand on the shelves alone: one of the parent
-- would belong to the extension, and what a dump makes for the shelves would be
-- there already. The last lease token is kept, so that a repeated complete() is
-- answered.
CREATE TABLE ains.task_history (
    task_id       bigint NOT NULL,
    finished_at   timestamptz NOT NULL,
    shelf         date NOT NULL,
    status        ains.task_status NOT NULL,
    priority      smallint NOT NULL,
    attempt       integer NOT NULL,
    max_attempts  integer,
    run_at        timestamptz NOT NULL,
    created_at    timestamptz NOT NULL,
    expires_at    timestamptz,
    enqueued_by   regrole NOT NULL,
    incarnation   bigint,
    lease_token   bigint,
    claimed_at    timestamptz,
    progress      real,
    timeout       interval,
    min_trust     numeric(3,2),
    agent_id      text,
    capability    text NOT NULL,
    unique_key    text,
    concurrency_key text,
    cancel_reason text,
    error         text,
    payload       jsonb NOT NULL,
    metadata      jsonb,
    checkpoint    jsonb,
    depends_on    bigint[],
    run_id        bigint,
    stage         text,
    takes_output  boolean,
    result        jsonb,
    usage         jsonb
) PARTITION BY RANGE (shelf);
COMMENT ON TABLE ains.task_history IS 'finished tasks, partitioned by day of finishing';

-- One row per attempt that did not succeed.
CREATE TABLE ains.attempt (
    task_id     bigint NOT NULL,
    lease_token bigint NOT NULL,
    shelf       date NOT NULL,
    attempt     integer NOT NULL,
    started_at  timestamptz NOT NULL,
    ended_at    timestamptz NOT NULL,
    outcome     text NOT NULL,
    next_status ains.task_status NOT NULL,
    agent_id    text NOT NULL,
    error       text
) PARTITION BY RANGE (shelf);
COMMENT ON TABLE ains.attempt IS 'attempts that did not succeed: failed, timed out, lease_expired, agent_dead, disconnected, reregistered, not_held, cancelled';

-- fail(retryable => NULL) looks here: an error that contains one of these
-- texts, in any case, is not retried, unless it also contains one that is
-- marked retryable. The six built-in ones are not dumped: a new installation
-- brings its own.
CREATE TABLE ains.non_retryable_error (
    pattern   text NOT NULL CHECK (pattern <> ''),
    retryable boolean NOT NULL DEFAULT false,
    builtin   boolean NOT NULL DEFAULT false,
    PRIMARY KEY (pattern, builtin)
);
INSERT INTO ains.non_retryable_error (pattern, builtin) VALUES
    ('invalid input', true), ('authentication failed', true), ('permission denied', true),
    ('not found', true), ('bad request', true), ('validation error', true);
COMMENT ON TABLE ains.non_retryable_error IS 'texts in an error that make fail() give up at once';

-- How many tasks a role may enqueue. How many it has is kept in shared memory.
CREATE TABLE ains.quota (
    role      regrole PRIMARY KEY,
    max_tasks integer NOT NULL CHECK (max_tasks >= 0),
    period    interval NOT NULL CHECK (period > '0')
);
COMMENT ON TABLE ains.quota IS 'how many tasks a role may enqueue in a period';

-- Tasks to be enqueued at times that a cron text says. Which of these times
-- have been handled is one column, next_run: whoever holds the row's lock moves
-- it on, so none is handled twice.
CREATE TABLE ains.schedule (
    name         text PRIMARY KEY,
    owner        regrole NOT NULL,
    cron         text NOT NULL,
    timezone     text NOT NULL,
    catch_up     text NOT NULL,
    paused       boolean NOT NULL DEFAULT false,
    capability   text NOT NULL,
    priority     smallint NOT NULL,
    max_attempts integer,
    timeout      interval,
    unique_key   text,
    payload      jsonb NOT NULL,
    metadata     jsonb,
    created_at   timestamptz NOT NULL,
    next_run     timestamptz,
    last_run     timestamptz,
    last_task_id bigint,
    missed_runs  bigint NOT NULL DEFAULT 0,
    last_error   text,
    CHECK (char_length(name) BETWEEN 1 AND 128),
    CHECK (catch_up IN ('skip', 'one', 'all')),
    CHECK (priority BETWEEN 1 AND 10)
);
COMMENT ON TABLE ains.schedule IS 'tasks to be enqueued again and again, at times that a cron text says';

-- Arguments of enqueue() to be used again.
CREATE TABLE ains.template (
    name         text PRIMARY KEY,
    owner        regrole NOT NULL,
    capability   text NOT NULL,
    payload      jsonb NOT NULL,
    priority     smallint NOT NULL,
    max_attempts integer,
    timeout      interval,
    unique_key   text,
    metadata     jsonb,
    created_at   timestamptz NOT NULL,
    CHECK (char_length(name) BETWEEN 1 AND 128),
    CHECK (priority BETWEEN 1 AND 10)
);
COMMENT ON TABLE ains.template IS 'arguments of ains.enqueue under a name';

-- What happened to tasks, agents and runs, of the kinds in ains.events: added by the
-- transaction that did it, shown by the view ains.events when all earlier ones
-- are there.
CREATE TABLE ains.event (
    event_id    bigint GENERATED ALWAYS AS IDENTITY (MAXVALUE 9007199254740991) PRIMARY KEY,
    happened_at timestamptz NOT NULL,
    kind        text NOT NULL,
    owner       regrole NOT NULL,
    task_id     bigint,
    capability  text,
    agent_id    text,
    detail      jsonb NOT NULL
);
COMMENT ON TABLE ains.event IS 'what happened to tasks, agents and runs, of the kinds in ains.events';

-- How far the sweeper has come with them: one row; see core/event.c. It is not
-- dumped: where nothing runs that may commit another event it follows from them.
CREATE TABLE ains.event_progress (
    published  bigint NOT NULL,
    marked     bigint NOT NULL,
    marked_xid bigint NOT NULL,
    pruned     bigint NOT NULL
);
CREATE UNIQUE INDEX event_progress_one ON ains.event_progress ((true));
INSERT INTO ains.event_progress VALUES (0, 0, 0, 0);
COMMENT ON TABLE ains.event_progress IS 'how far events are published and pruned';

-- Who is to be told of events, at which URL. A row stands at the last event it
-- was given a task for, or passed over.
CREATE TABLE ains.webhook (
    webhook_id bigint GENERATED ALWAYS AS IDENTITY (MAXVALUE 9007199254740991) PRIMARY KEY,
    url        text NOT NULL,
    events     text[] NOT NULL,
    secret     text NOT NULL,
    owner      regrole NOT NULL,
    created_at timestamptz NOT NULL,
    position   bigint NOT NULL
);
COMMENT ON TABLE ains.webhook IS 'URLs that are told of events';

-- Tasks that belong together. Its status moves in the transaction that ends the
-- last of them; until then none of them touches this row (core/run.c).
CREATE TABLE ains.run (
    run_id      bigint GENERATED ALWAYS AS IDENTITY (MAXVALUE 9007199254740991) PRIMARY KEY,
    name        text NOT NULL,
    owner       regrole NOT NULL,
    status      text NOT NULL DEFAULT 'RUNNING',
    target      integer,
    on_failure  text NOT NULL DEFAULT 'fail',
    decision    text,
    decided_by  regrole,
    created_at  timestamptz NOT NULL,
    finished_at timestamptz,
    criteria    jsonb NOT NULL,
    metadata    jsonb,
    CHECK (char_length(name) BETWEEN 1 AND 128),
    CHECK (status IN ('RUNNING', 'NEEDS_DECISION', 'COMPLETED', 'FAILED', 'CANCELLED')),
    CHECK (target > 0),
    CHECK (on_failure IN ('fail', 'continue')),
    CHECK (decision IN ('accept', 'continue', 'cancel'))
);
COMMENT ON TABLE ains.run IS 'runs: tasks that belong together, what they are for and how it stands';

-- What has ended in a run: one row for each transaction that ended tasks of it,
-- so that none waits for another. The sweeper adds many up to one. What lives is
-- counted in ains.task.
CREATE TABLE ains.run_tally (
    tally_id   bigint GENERATED ALWAYS AS IDENTITY,
    run_id     bigint NOT NULL,
    completed  bigint NOT NULL,
    failed     bigint NOT NULL,
    cancelled  bigint NOT NULL,
    expired    bigint NOT NULL,
    first_task bigint,
    started_at timestamptz,
    stage      text,
    PRIMARY KEY (run_id, tally_id)
);
COMMENT ON TABLE ains.run_tally IS 'how many tasks of each stage of a run have ended, and how; to be added up';

-- No lease token is ever issued above this. A sequence, because setval is not
-- undone by a rollback; see soft/token.c.
CREATE SEQUENCE ains.token_ceiling MAXVALUE 9007199254740991;
COMMENT ON SEQUENCE ains.token_ceiling IS 'no lease token was ever issued above this';

COMMENT ON COLUMN ains.capability.lease IS 'how long a claim holds a task; NULL: ains.default_lease';
COMMENT ON COLUMN ains.capability.timeout IS 'the longest an attempt may take, whatever its lease; NULL: no limit';
COMMENT ON COLUMN ains.capability.backoff IS 'how the wait between attempts grows: exponential, linear or fixed';
COMMENT ON COLUMN ains.capability.backoff_base IS 'the first wait';
COMMENT ON COLUMN ains.capability.backoff_max IS 'the longest wait';
COMMENT ON COLUMN ains.capability.jitter IS 'the part of a wait that may be taken off at random, 0 to 1';
COMMENT ON COLUMN ains.capability.aging_interval IS 'waiting for so long is worth one point of priority';
COMMENT ON COLUMN ains.capability.on_lost IS 'what becomes of a task whose lease is lost: retry or fail';
COMMENT ON COLUMN ains.capability.keep_history IS 'whether tasks that did not fail are kept when they end';
COMMENT ON COLUMN ains.capability.paused IS 'whether claims leave it alone';

COMMENT ON COLUMN ains.agent.owner IS 'the role that registered it; its members act for it';
COMMENT ON COLUMN ains.agent.incarnation IS 'changes with each registration; an older process is refused';
COMMENT ON COLUMN ains.agent.wanted IS 'what was ordered: accepting, draining or stopped';
COMMENT ON COLUMN ains.agent.health IS 'what its last heartbeat said';
COMMENT ON COLUMN ains.agent.dead_since IS 'when it was found silent for too long; NULL: it lives';
COMMENT ON COLUMN ains.agent.agent_status IS 'follows from wanted, dead_since and health';
COMMENT ON COLUMN ains.agent.last_seen_at IS 'when it was last seen as of the last change of status; the view agents knows better';
COMMENT ON COLUMN ains.agent.heartbeat_timeout IS 'its own limit of silence; NULL: ains.heartbeat_timeout';
COMMENT ON COLUMN ains.agent.trust_score IS '0 to 1, as of the last upkeep; so are the counts';
COMMENT ON COLUMN ains.agent.tasks_completed IS 'attempts that it completed';
COMMENT ON COLUMN ains.agent.tasks_failed IS 'attempts that it said have failed';
COMMENT ON COLUMN ains.agent.tasks_lost IS 'attempts that timed out or lost their lease';
COMMENT ON COLUMN ains.agent.avg_duration IS 'moving average of completed attempts: 0.7 of the old, 0.3 of the new';
COMMENT ON COLUMN ains.agent.trust_until IS 'the latest end of an attempt that is in these';

COMMENT ON COLUMN ains.trust_event.delta IS 'as asked for; the score stays between 0 and 1';

COMMENT ON COLUMN ains.agent_capability.input_schema IS 'what payloads it takes';
COMMENT ON COLUMN ains.agent_capability.output_schema IS 'what its results look like';
COMMENT ON COLUMN ains.agent_capability.pricing_model IS 'what is paid for, such as free, per_call or subscription';
COMMENT ON COLUMN ains.agent_capability.price IS 'in its currency, by its pricing model';
COMMENT ON COLUMN ains.agent_capability.latency_p99_ms IS 'as the agent says: 99 of 100 tasks take no longer';
COMMENT ON COLUMN ains.agent_capability.availability_percent IS 'as the agent says, 0 to 100';

COMMENT ON COLUMN ains.task.wake_at IS 'the next moment the sweeper must look at it; NULL: no clock moves it';
COMMENT ON COLUMN ains.task.rank IS 'its place in its lane: microseconds of run_at less priority * aging_interval';
COMMENT ON COLUMN ains.task.lane_id IS 'the set of ready tasks it belongs to';
COMMENT ON COLUMN ains.task.min_trust IS 'the trust its agent must have, 0 to 1; NULL: none';
COMMENT ON COLUMN ains.task.attempt IS 'attempts that were counted, the current one included';
COMMENT ON COLUMN ains.task.run_at IS 'when it is or was due';
COMMENT ON COLUMN ains.task.expires_at IS 'not started by then, it expires';
COMMENT ON COLUMN ains.task.lease_token IS 'the fencing number of its current or last lease';
COMMENT ON COLUMN ains.task.deadline IS 'when the current attempt is over, whatever its lease';
COMMENT ON COLUMN ains.task.enqueued_by IS 'the role it belongs to';
COMMENT ON COLUMN ains.task.unique_key IS 'unique among the live tasks of the capability';
COMMENT ON COLUMN ains.task.concurrency_key IS 'of its capability''s tasks with this key at most key_limit are PENDING or ACTIVE';
COMMENT ON COLUMN ains.task.checkpoint IS 'where the next attempt resumes';
COMMENT ON COLUMN ains.task.depends_on IS 'the tasks that must complete before it may run, done ones included';
COMMENT ON COLUMN ains.task.unmet IS 'how many of depends_on have not completed, as long as it is BLOCKED';
COMMENT ON COLUMN ains.task.awaited IS 'true: whoever ends it looks for tasks that wait for it; NULL: nobody does';

COMMENT ON COLUMN ains.task.run_id IS 'the run it belongs to';
COMMENT ON COLUMN ains.task.stage IS 'its stage in that run';
COMMENT ON COLUMN ains.task.takes_output IS 'true: its payload gets the result of the task it depends on, as previous_output';

COMMENT ON COLUMN ains.run.owner IS 'the role that made it; its members add tasks';
COMMENT ON COLUMN ains.run.target IS 'how many tasks of the last stage have to complete; NULL: no matter';
COMMENT ON COLUMN ains.run.on_failure IS 'what a task that ended otherwise does to those that wait for it: fail them, or let them continue';
COMMENT ON COLUMN ains.run.decision IS 'what ains.resolve_run was told last';
COMMENT ON COLUMN ains.run.criteria IS 'what it is for; the key target_stage names the stage whose tasks count for the target';
COMMENT ON COLUMN ains.run_tally.completed IS 'tasks that ended so, less those that were put back; likewise the others';
COMMENT ON COLUMN ains.run_tally.first_task IS 'the smallest id among them';
COMMENT ON COLUMN ains.run_tally.started_at IS 'when the first of them was claimed';

COMMENT ON COLUMN ains.dependency.task_id IS 'the task that waits';
COMMENT ON COLUMN ains.dependency.depends_on IS 'a task it waits for';

COMMENT ON COLUMN ains.task_history.shelf IS 'the day it is kept under: that of its end, or the last there was';
COMMENT ON COLUMN ains.task_history.lease_token IS 'the fencing number of its last lease';
COMMENT ON COLUMN ains.task_history.usage IS 'what complete() was told it cost';

COMMENT ON COLUMN ains.attempt.outcome IS 'how it ended';
COMMENT ON COLUMN ains.attempt.next_status IS 'what became of the task';
COMMENT ON COLUMN ains.attempt.shelf IS 'as in task_history';

COMMENT ON COLUMN ains.schedule.owner IS 'the role its tasks belong to';
COMMENT ON COLUMN ains.schedule.cron IS 'when: minute, hour, day of the month, month, day of the week';
COMMENT ON COLUMN ains.schedule.timezone IS 'whose local time the cron text means';
COMMENT ON COLUMN ains.schedule.catch_up IS 'what becomes of missed runs: skip, one or all of them are made up for';
COMMENT ON COLUMN ains.schedule.next_run IS 'the first time that is not handled yet';
COMMENT ON COLUMN ains.schedule.last_run IS 'the last time that became a task';
COMMENT ON COLUMN ains.schedule.last_task_id IS 'that task';
COMMENT ON COLUMN ains.schedule.missed_runs IS 'times that were handled a minute late or later';
COMMENT ON COLUMN ains.schedule.last_error IS 'why the last try enqueued nothing; NULL: it did';

COMMENT ON COLUMN ains.event.owner IS 'the role that enqueued the task, registered the agent, or made the run';
COMMENT ON COLUMN ains.event.detail IS 'the status from now on, and what there is of attempt, outcome and error; of a run, its run_id and name, too';
COMMENT ON COLUMN ains.event_progress.published IS 'all events up to this id are there, or never will be';
COMMENT ON COLUMN ains.event_progress.marked IS 'the same once no transaction before marked_xid runs';
COMMENT ON COLUMN ains.event_progress.pruned IS 'up to here they were deleted';

COMMENT ON COLUMN ains.webhook.secret IS 'the key of the signatures, as it was given';
COMMENT ON COLUMN ains.webhook.owner IS 'the role that made it: its events, and its tasks';
COMMENT ON COLUMN ains.webhook.position IS 'the last event that was looked at';

COMMENT ON COLUMN ains.template.owner IS 'the role that saved it; its members use it';

COMMENT ON COLUMN ains.non_retryable_error.retryable IS 'true: errors with this text are worth another attempt after all';
COMMENT ON COLUMN ains.non_retryable_error.builtin IS 'comes with ains, and is not dumped';

-- What pg_dump keeps. Shelves are made at run time and dump as plain tables.
SELECT pg_extension_config_dump('ains.capability', '');
SELECT pg_extension_config_dump('ains.lane', '');
SELECT pg_extension_config_dump('ains.lane_lane_id_seq', '');
SELECT pg_extension_config_dump('ains.agent', '');
SELECT pg_extension_config_dump('ains.trust_event', '');
SELECT pg_extension_config_dump('ains.agent_capability', '');
SELECT pg_extension_config_dump('ains.task', '');
SELECT pg_extension_config_dump('ains.task_task_id_seq', '');
SELECT pg_extension_config_dump('ains.dependency', '');
SELECT pg_extension_config_dump('ains.concurrency_key', '');
SELECT pg_extension_config_dump('ains.task_history', '');
SELECT pg_extension_config_dump('ains.attempt', '');
SELECT pg_extension_config_dump('ains.non_retryable_error', 'WHERE NOT builtin');
SELECT pg_extension_config_dump('ains.quota', '');
SELECT pg_extension_config_dump('ains.schedule', '');
SELECT pg_extension_config_dump('ains.template', '');
SELECT pg_extension_config_dump('ains.event', '');
SELECT pg_extension_config_dump('ains.event_event_id_seq', '');
SELECT pg_extension_config_dump('ains.webhook', '');
SELECT pg_extension_config_dump('ains.webhook_webhook_id_seq', '');
SELECT pg_extension_config_dump('ains.run', '');
SELECT pg_extension_config_dump('ains.run_run_id_seq', '');
SELECT pg_extension_config_dump('ains.run_tally', '');
SELECT pg_extension_config_dump('ains.run_tally_tally_id_seq', '');
SELECT pg_extension_config_dump('ains.token_ceiling', '');
