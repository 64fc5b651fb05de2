-- schema.sql: what CREATE EXTENSION ains makes, as docs/functions.md promises it.
\set ON_ERROR_STOP 1
\set QUIET 1
BEGIN;
SELECT no_plan();

SELECT has_extension('ains');
SELECT has_schema('ains');

-- ---------------------------------------------------------------------------
-- Types
-- ---------------------------------------------------------------------------

SELECT enum_has_labels('ains', 'task_status', ARRAY['BLOCKED', 'SCHEDULED', 'PENDING', 'ACTIVE',
    'COMPLETED', 'FAILED', 'CANCELLED', 'EXPIRED']);
SELECT enum_has_labels('ains', 'agent_status',
    ARRAY['AVAILABLE', 'BUSY', 'DRAINING', 'INACTIVE', 'DEAD']);
SELECT enums_are('ains', ARRAY['task_status', 'agent_status']);

-- ---------------------------------------------------------------------------
-- Tables and views
-- ---------------------------------------------------------------------------

SELECT set_eq(
    $$SELECT relname::text FROM pg_class WHERE relnamespace = 'ains'::regnamespace
         AND relkind IN ('r', 'p') AND NOT relispartition$$,
    ARRAY['agent', 'agent_capability', 'attempt', 'capability', 'concurrency_key', 'dependency', 'event',
          'event_progress', 'lane', 'non_retryable_error', 'quota', 'run', 'run_tally',
          'schedule', 'task', 'task_history', 'template', 'trust_event', 'webhook'],
    'the tables');
SELECT views_are('ains', ARRAY['active_agents', 'agents', 'attempts', 'counters', 'dead_agents',
    'dead_letters', 'events', 'runs', 'schedules', 'task_info', 'tasks', 'templates', 'visible_task',
    'webhooks']);
SELECT is_partitioned('ains', 'task_history', 'history is partitioned');
SELECT is_partitioned('ains', 'attempt', 'attempts are partitioned');

SELECT col_is_pk('ains', 'task', 'task_id', 'a task has an id');
SELECT col_is_pk('ains', 'agent', 'agent_id', 'an agent has an id');
SELECT col_is_pk('ains', 'capability', 'capability', 'a capability has a name');
SELECT is(count(*), 0::bigint, 'no foreign keys: they would lock rows of lanes and capabilities')
  FROM pg_constraint WHERE connamespace = 'ains'::regnamespace AND contype = 'f';
SELECT is(seqmax, 9007199254740991, 'task ids are safe as JSON numbers')
  FROM pg_sequence WHERE seqrelid = 'ains.task_task_id_seq'::regclass;
SELECT indexes_are('ains', 'task',
    ARRAY['task_pkey', 'task_ready', 'task_held', 'task_wake', 'task_unique_key', 'task_concurrency_key', 'task_run']);
SELECT index_is_unique('ains', 'task', 'task_unique_key');

-- columns that others rely on: name, type, NOT NULL
CREATE TEMP TABLE col (rel text, name text, type text, not_null boolean);
INSERT INTO col VALUES
    ('capability', 'capability', 'text', true), ('capability', 'lease', 'interval', false),
    ('capability', 'max_attempts', 'integer', true), ('capability', 'backoff', 'text', true),
    ('capability', 'backoff_base', 'interval', true), ('capability', 'backoff_max', 'interval', true),
    ('capability', 'jitter', 'real', true), ('capability', 'aging_interval', 'interval', true),
    ('capability', 'timeout', 'interval', false), ('capability', 'concurrency_limit', 'integer', false),
    ('capability', 'rate_limit', 'integer', false), ('capability', 'rate_period', 'interval', false),
    ('capability', 'min_trust', 'numeric(3,2)', false), ('capability', 'on_lost', 'text', true),
    ('capability', 'keep_history', 'boolean', true), ('capability', 'key_limit', 'integer', false),
    ('capability', 'paused', 'boolean', true),
    ('agent', 'agent_id', 'text', true), ('agent', 'agent_type', 'text', true),
    ('agent', 'display_name', 'text', false), ('agent', 'endpoint', 'text', false),
    ('agent', 'public_key', 'text', false), ('agent', 'tags', 'text[]', true),
    ('agent', 'metadata', 'jsonb', true), ('agent', 'owner', 'regrole', true),
    ('agent', 'incarnation', 'bigint', true), ('agent', 'agent_status', 'ains.agent_status', false),
    ('agent', 'heartbeat_timeout', 'interval', false), ('agent', 'max_active_tasks', 'integer', false),
    ('agent', 'metrics', 'jsonb', false), ('agent', 'registered_at', 'timestamp with time zone', true),
    ('agent_capability', 'description', 'text', false), ('agent_capability', 'version', 'text', true),
    ('agent_capability', 'input_schema', 'jsonb', true), ('agent_capability', 'output_schema', 'jsonb', true),
    ('agent_capability', 'pricing_model', 'text', true), ('agent_capability', 'price', 'numeric', true),
    ('agent_capability', 'currency', 'text', true), ('agent_capability', 'latency_p99_ms', 'integer', false),
    ('agent_capability', 'availability_percent', 'numeric', false),
    ('task', 'run_id', 'bigint', false), ('task', 'stage', 'text', false),
    ('tasks', 'run_id', 'bigint', false), ('tasks', 'stage', 'text', false),
    ('run', 'run_id', 'bigint', true), ('run', 'status', 'text', true),
    ('run', 'criteria', 'jsonb', true), ('run', 'target', 'integer', false),
    ('task', 'task_id', 'bigint', true), ('task', 'status', 'ains.task_status', true),
    ('task', 'priority', 'smallint', true), ('task', 'rank', 'bigint', true),
    ('task', 'wake_at', 'timestamp with time zone', false), ('task', 'lease_token', 'bigint', false),
    ('task', 'enqueued_by', 'regrole', true), ('task', 'payload', 'jsonb', true),
    ('task_history', 'shelf', 'date', true), ('task_history', 'lease_token', 'bigint', false),
    ('task_history', 'result', 'jsonb', false), ('task_history', 'usage', 'jsonb', false),
    ('task_info', 'task_id', 'bigint', false), ('task_info', 'status', 'ains.task_status', false),
    ('task_info', 'effective_priority', 'double precision', false),
    ('task_info', 'lease_token', 'bigint', false), ('task_info', 'result', 'jsonb', false),
    ('tasks', 'payload', 'jsonb', false), ('tasks', 'result', 'jsonb', false),
    ('tasks', 'finished_at', 'timestamp with time zone', false),
    ('schedules', 'last_run', 'timestamp with time zone', false),
    ('schedules', 'next_run', 'timestamp with time zone', false),
    ('schedules', 'missed_runs', 'bigint', false), ('schedules', 'payload', 'jsonb', false),
    ('agents', 'last_heartbeat', 'timestamp with time zone', false),
    ('agents', 'seconds_since_heartbeat', 'double precision', false),
    ('agents', 'active_tasks', 'integer', false), ('agents', 'activity', 'text', false),
    ('agents', 'trust_score', 'real', false);
SELECT is(format_type(a.atttypid, a.atttypmod) || CASE WHEN a.attnotnull THEN ' not null' ELSE '' END,
          c.type || CASE WHEN c.not_null THEN ' not null' ELSE '' END,
          format('column %s.%s', c.rel, c.name))
  FROM col c LEFT JOIN pg_attribute a
    ON a.attrelid = ('ains.' || c.rel)::regclass AND a.attname = c.name;

SELECT hasnt_column('ains', 'tasks', 'lease_token', 'the view shows no lease tokens');

-- the defaults of a capability
INSERT INTO ains.capability (capability, created_at) VALUES ('schema test', now());
SELECT row_eq(
    $$SELECT lease, max_attempts, backoff, backoff_base, backoff_max, jitter, aging_interval,
             timeout, concurrency_limit, rate_limit, min_trust, on_lost, keep_history, paused
        FROM ains.capability WHERE capability = 'schema test'$$,
    ROW(NULL::interval, 4, 'exponential'::text, '1 s'::interval, '60 s'::interval, 0.1::real,
        '10 min'::interval, NULL::interval, NULL::int, NULL::int, NULL::numeric(3,2),
        'retry'::text, true, false),
    'a capability''s defaults');

-- ---------------------------------------------------------------------------
-- Functions: arguments with names, order and defaults; results; volatility
-- ---------------------------------------------------------------------------

CREATE TEMP TABLE fn (name text, args text, result text, volatility text DEFAULT 'v');
INSERT INTO fn VALUES
('register_agent', 'agent_id text, agent_type text DEFAULT ''agent''::text, capabilities text[] DEFAULT ''{}''::text[], display_name text DEFAULT NULL::text, endpoint text DEFAULT NULL::text, public_key text DEFAULT NULL::text, tags text[] DEFAULT ''{}''::text[], metadata jsonb DEFAULT ''{}''::jsonb, heartbeat_timeout interval DEFAULT NULL::interval, max_active_tasks integer DEFAULT NULL::integer', 'ains.agent'),
('heartbeat', 'agent_id text, health text DEFAULT ''ACTIVE''::text, uptime_ms bigint DEFAULT NULL::bigint, metrics jsonb DEFAULT NULL::jsonb, activity text DEFAULT NULL::text, held bigint[] DEFAULT NULL::bigint[], incarnation bigint DEFAULT NULL::bigint', '(acknowledged boolean, next_heartbeat_in integer, agent_health_status text, agent_status ains.agent_status, last_heartbeat timestamp with time zone, active_tasks integer, cancel_requested bigint[], lost bigint[])'),
('attach_agent', 'agent_id text, incarnation bigint DEFAULT NULL::bigint', 'void'),
('detach_agent', 'agent_id text', 'void'),
('drain_agent', 'agent_id text', 'ains.agent'),
('resume_agent', 'agent_id text', 'ains.agent'),
('stop_agent', 'agent_id text', 'ains.agent'),
('publish_capability', 'agent_id text, capability text, description text DEFAULT NULL::text, version text DEFAULT ''v1.0.0''::text, input_schema jsonb DEFAULT ''{}''::jsonb, output_schema jsonb DEFAULT ''{}''::jsonb, pricing_model text DEFAULT ''free''::text, price numeric DEFAULT 0, currency text DEFAULT ''USD''::text, latency_p99_ms integer DEFAULT NULL::integer, availability_percent numeric DEFAULT NULL::numeric', 'void'),
('withdraw_capability', 'agent_id text, capability text', 'void'),
('add_webhook', 'url text, events text[], secret text', 'bigint'),
('remove_webhook', 'webhook_id bigint', 'void'),
('prune_agents', 'older_than interval DEFAULT ''01:00:00''::interval', 'SETOF text'),
('enqueue', 'capability text, payload jsonb DEFAULT ''{}''::jsonb, priority integer DEFAULT 5, run_at timestamp with time zone DEFAULT NULL::timestamp with time zone, max_attempts integer DEFAULT NULL::integer, timeout interval DEFAULT NULL::interval, expires_at timestamp with time zone DEFAULT NULL::timestamp with time zone, unique_key text DEFAULT NULL::text, depends_on bigint[] DEFAULT NULL::bigint[], run_id bigint DEFAULT NULL::bigint, min_trust numeric DEFAULT NULL::numeric, agent_id text DEFAULT NULL::text, metadata jsonb DEFAULT NULL::jsonb, on_conflict text DEFAULT ''return''::text, concurrency_key text DEFAULT NULL::text, stage text DEFAULT NULL::text', 'bigint'),
('enqueue_batch', 'capability text, payloads jsonb, priority integer DEFAULT 5, run_at timestamp with time zone DEFAULT NULL::timestamp with time zone, max_attempts integer DEFAULT NULL::integer, timeout interval DEFAULT NULL::interval, expires_at timestamp with time zone DEFAULT NULL::timestamp with time zone, run_id bigint DEFAULT NULL::bigint, priorities integer[] DEFAULT NULL::integer[], unique_keys text[] DEFAULT NULL::text[], stage text DEFAULT NULL::text', 'SETOF bigint'),
('cancel', 'task_id bigint, reason text DEFAULT NULL::text', 'ains.task_status'),
('retry', 'task_id bigint', 'bigint'),
('redrive', 'capability text DEFAULT NULL::text, older_than interval DEFAULT NULL::interval, max integer DEFAULT 1000', 'bigint'),
('set_priority', 'task_id bigint, priority integer', 'void'),
('assign', 'task_id bigint, strategy text DEFAULT ''round_robin''::text', 'text'),
('wait_for_result', 'task_id bigint, timeout interval DEFAULT ''00:00:30''::interval, INOUT status ains.task_status DEFAULT NULL::ains.task_status, INOUT result jsonb DEFAULT NULL::jsonb', 'procedure'),
('claim', 'agent_id text, max_tasks integer DEFAULT 1, lease interval DEFAULT NULL::interval, capabilities text[] DEFAULT NULL::text[], incarnation bigint DEFAULT NULL::bigint', 'SETOF (task_id bigint, lease_token bigint, capability text, payload jsonb, priority integer, attempt integer, max_attempts integer, lease_expires_at timestamp with time zone, run_id bigint, checkpoint jsonb, deadline timestamp with time zone, metadata jsonb)'),
('wait_for_task', 'agent_id text, timeout interval DEFAULT ''00:00:30''::interval, INOUT ready boolean DEFAULT NULL::boolean, capabilities text[] DEFAULT NULL::text[]', 'procedure'),
('extend_lease', 'task_id bigint, lease_token bigint, lease interval DEFAULT NULL::interval', 'timestamp with time zone'),
('checkpoint', 'task_id bigint, lease_token bigint, state jsonb, progress double precision DEFAULT NULL::double precision', 'timestamp with time zone'),
('complete', 'task_id bigint, lease_token bigint, result jsonb DEFAULT NULL::jsonb, usage jsonb DEFAULT NULL::jsonb', 'void'),
('complete_batch', 'task_ids bigint[], lease_tokens bigint[], results jsonb DEFAULT NULL::jsonb', 'SETOF bigint'),
('fail', 'task_id bigint, lease_token bigint, error text, retryable boolean DEFAULT NULL::boolean, retry_after interval DEFAULT NULL::interval', 'ains.task_status'),
('release', 'task_id bigint, lease_token bigint, delay interval DEFAULT ''00:00:00''::interval', 'void'),
('configure_capability', 'capability text, lease interval DEFAULT NULL::interval, max_attempts integer DEFAULT NULL::integer, backoff text DEFAULT NULL::text, backoff_base interval DEFAULT NULL::interval, backoff_max interval DEFAULT NULL::interval, jitter real DEFAULT NULL::real, aging_interval interval DEFAULT NULL::interval, timeout interval DEFAULT NULL::interval, concurrency_limit integer DEFAULT NULL::integer, rate_limit integer DEFAULT NULL::integer, rate_period interval DEFAULT NULL::interval, min_trust numeric DEFAULT NULL::numeric, on_lost text DEFAULT NULL::text, keep_history boolean DEFAULT NULL::boolean, key_limit integer DEFAULT NULL::integer', 'ains.capability'),
('pause', 'capability text', 'void'),
('resume', 'capability text', 'void'),
('adjust_trust', 'agent_id text, delta numeric, reason text', 'real'),
('set_quota', 'role regrole, max_tasks integer, period interval DEFAULT ''00:01:00''::interval', 'void'),
('sweep', '', '(leases_expired bigint, leases_of_dead_agents bigint, attempts_timed_out bigint, tasks_due bigint, tasks_expired bigint, agents_marked_dead bigint, partitions_dropped bigint)'),
('release_dead_agent_leases', '', 'bigint'),
('rescan', '', 'void'),
('create_run', 'name text, criteria jsonb DEFAULT ''{}''::jsonb, target integer DEFAULT NULL::integer, on_failure text DEFAULT ''fail''::text, metadata jsonb DEFAULT NULL::jsonb', 'bigint'),
('enqueue_chain', 'steps jsonb, name text DEFAULT ''chain''::text, run_id bigint DEFAULT NULL::bigint, on_failure text DEFAULT ''fail''::text, metadata jsonb DEFAULT NULL::jsonb', 'bigint'),
('cancel_run', 'run_id bigint, reason text DEFAULT NULL::text', 'bigint'),
('retry_run', 'run_id bigint', 'bigint'),
('resolve_run', 'run_id bigint, decision text', 'text'),
('schedule', 'name text, cron text, capability text, payload jsonb DEFAULT ''{}''::jsonb, priority integer DEFAULT 5, max_attempts integer DEFAULT NULL::integer, timeout interval DEFAULT NULL::interval, unique_key text DEFAULT NULL::text, metadata jsonb DEFAULT NULL::jsonb, timezone text DEFAULT ''UTC''::text, catch_up text DEFAULT ''one''::text', 'timestamp with time zone'),
('unschedule', 'name text', 'void'),
('pause_schedule', 'name text', 'void'),
('resume_schedule', 'name text', 'void'),
('run_schedules', '', 'bigint'),
('save_template', 'name text, capability text, payload jsonb DEFAULT ''{}''::jsonb, priority integer DEFAULT 5, max_attempts integer DEFAULT NULL::integer, timeout interval DEFAULT NULL::interval, unique_key text DEFAULT NULL::text, metadata jsonb DEFAULT NULL::jsonb', 'void'),
('drop_template', 'name text', 'void'),
('enqueue_from_template', 'name text, overrides jsonb DEFAULT ''{}''::jsonb', 'bigint');
INSERT INTO fn VALUES
('get_task', 'task_id bigint', 'ains.task_info', 's'),
('preview_route', 'capability text, strategy text DEFAULT ''round_robin''::text, min_trust numeric DEFAULT NULL::numeric', 'SETOF (agent_id text, trust_score real, load integer, avg_duration interval, chance double precision)', 's'),
('search_agents', 'capability text DEFAULT NULL::text, tags text[] DEFAULT NULL::text[], min_trust numeric DEFAULT 0, sort_by text DEFAULT ''trust_score''::text, max_rows integer DEFAULT 10, skip integer DEFAULT 0', 'SETOF (agent_id text, display_name text, agent_status ains.agent_status, trust_score real, capability text, price numeric, currency text, latency_p99_ms integer, tags text[])', 's'),
('trust_history', 'agent_id text', 'SETOF (happened_at timestamp with time zone, event text, task_id bigint, delta real, trust_score real, reason text, adjusted_by regrole)', 's'),
('leaderboard', 'min_tasks integer DEFAULT 1', 'SETOF (agent_id text, display_name text, trust_score real, trust_level text, tasks_completed bigint, tasks_failed bigint, tasks_lost bigint, success_rate double precision, avg_duration interval)', 's'),
('agent_stats', '', 'SETOF (agent_type text, total bigint, available bigint, busy bigint, idle bigint, processing bigint, draining bigint, inactive bigint, dead bigint)', 's'),
('run_progress', 'run_id bigint', 'SETOF (stage text, blocked bigint, scheduled bigint, pending bigint, active bigint, completed bigint, failed bigint, cancelled bigint, expired bigint, total bigint, percent numeric, gap bigint, eta timestamp with time zone)', 's'),
('queue_stats', '', 'SETOF (capability text, paused boolean, blocked bigint, scheduled bigint, pending bigint, active bigint, oldest_pending interval, agents_available bigint)', 's'),
('metrics', '', 'text', 's'),
('metric_samples', '', 'SETOF (name text, type text, help text, labels jsonb, value double precision)', 's'),
('health', '', 'jsonb', 's'),
('check_health', '', 'SETOF (check_name text, status text, detail text, advice text)', 's'),
('explain_task', 'task_id bigint', 'SETOF (reason text, detail text)', 's'),
('dependencies', 'task_id bigint', 'SETOF (depends_on bigint, status ains.task_status)', 's'),
('dependents', 'task_id bigint', 'SETOF (dependent bigint, status ains.task_status)', 's');

CREATE TEMP VIEW real AS
SELECT p.oid, p.proname::text AS name, p.prokind, p.provolatile, p.prosecdef, p.proparallel, p.proconfig,
       p.proacl, p.proowner, p.prolang, p.proleakproof,
       regexp_replace(regexp_replace(pg_get_function_arguments(p.oid), '(^|, )OUT .*$', ''), '\mIN ', '', 'g') AS args,
       CASE WHEN p.prokind = 'p' THEN 'procedure'
            WHEN 'o' = ANY (p.proargmodes) OR 't' = ANY (p.proargmodes) THEN
                 CASE WHEN p.proretset THEN 'SETOF ' ELSE '' END
                 || (SELECT '(' || string_agg(a.name || ' ' || format_type(a.type, NULL), ', ' ORDER BY a.n) || ')'
                       FROM ROWS FROM (unnest(p.proargnames), unnest(p.proallargtypes), unnest(p.proargmodes))
                            WITH ORDINALITY AS a (name, type, mode, n)
                      WHERE a.mode IN ('o', 't'))
            ELSE pg_get_function_result(p.oid) END AS result
  FROM pg_proc p WHERE p.pronamespace = 'ains'::regnamespace;

SELECT set_eq('SELECT name FROM real', 'SELECT name FROM fn', 'the functions');
SELECT is((SELECT count(*) FROM real), (SELECT count(*) FROM fn), 'none is overloaded');
SELECT is(r.args, f.args, format('arguments of %s', f.name)) FROM fn f LEFT JOIN real r USING (name);
SELECT is(r.result, f.result, format('result of %s', f.name)) FROM fn f LEFT JOIN real r USING (name);
SELECT is(r.provolatile::text, f.volatility, format('volatility of %s', f.name))
  FROM fn f LEFT JOIN real r USING (name);

-- ---------------------------------------------------------------------------
-- Everything says what it is
-- ---------------------------------------------------------------------------

SELECT ok(obj_description(oid, 'pg_namespace') IS NOT NULL, format('schema %s has a comment', nspname))
  FROM pg_namespace WHERE nspname IN ('ains', 'ains_internal');
SELECT ok(obj_description(oid, 'pg_extension') IS NOT NULL, 'the extension has a comment')
  FROM pg_extension WHERE extname = 'ains';
SELECT ok(obj_description(c.oid, 'pg_class') IS NOT NULL, format('%s has a comment', c.oid::regclass))
  FROM pg_class c
 WHERE c.relnamespace IN ('ains'::regnamespace, 'ains_internal'::regnamespace)
   AND c.relkind IN ('r', 'p', 'v', 'm', 'S') AND NOT c.relispartition
   AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'i' AND c.relkind = 'S')
 ORDER BY c.relname;
SELECT ok(obj_description(t.oid, 'pg_type') IS NOT NULL, format('type %s has a comment', t.oid::regtype))
  FROM pg_type t WHERE t.typnamespace = 'ains'::regnamespace AND t.typtype IN ('e', 'd');
SELECT ok(obj_description(p.oid, 'pg_proc') IS NOT NULL, format('%s has a comment', p.oid::regprocedure))
  FROM pg_proc p WHERE p.pronamespace IN ('ains'::regnamespace, 'ains_internal'::regnamespace)
 ORDER BY p.proname;
-- columns whose name does not say it all
SELECT ok(col_description(a.attrelid, a.attnum) IS NOT NULL, format('%s.%s has a comment', c.rel, c.name))
  FROM (VALUES
        ('capability', 'lease'), ('capability', 'backoff'), ('capability', 'backoff_base'),
        ('capability', 'backoff_max'), ('capability', 'jitter'), ('capability', 'aging_interval'),
        ('capability', 'timeout'), ('capability', 'on_lost'), ('capability', 'keep_history'),
        ('capability', 'paused'),
        ('agent', 'owner'), ('agent', 'incarnation'), ('agent', 'wanted'), ('agent', 'health'),
        ('agent', 'dead_since'), ('agent', 'agent_status'), ('agent', 'last_seen_at'),
        ('agent', 'heartbeat_timeout'), ('agent', 'trust_score'),
        ('agent', 'tasks_completed'), ('agent', 'tasks_failed'), ('agent', 'tasks_lost'),
        ('agent', 'avg_duration'), ('agent', 'trust_until'), ('trust_event', 'delta'),
        ('agent_capability', 'input_schema'), ('agent_capability', 'output_schema'),
        ('agent_capability', 'pricing_model'), ('agent_capability', 'price'),
        ('agent_capability', 'latency_p99_ms'), ('agent_capability', 'availability_percent'),
        ('task', 'wake_at'), ('task', 'rank'), ('task', 'lane_id'), ('task', 'attempt'),
        ('task', 'run_at'), ('task', 'expires_at'), ('task', 'lease_token'),
        ('task', 'deadline'), ('task', 'enqueued_by'), ('task', 'unique_key'), ('task', 'checkpoint'),
        ('task', 'depends_on'), ('task', 'unmet'), ('task', 'awaited'),
        ('task', 'run_id'), ('task', 'stage'), ('task', 'takes_output'),
        ('run', 'owner'), ('run', 'target'), ('run', 'on_failure'), ('run', 'decision'),
        ('run', 'criteria'), ('run_tally', 'completed'), ('run_tally', 'first_task'),
        ('run_tally', 'started_at'), ('runs', 'live'), ('runs', 'completed'),
        ('tasks', 'run_id'), ('tasks', 'stage'),
        ('dependency', 'task_id'), ('dependency', 'depends_on'),
        ('task_history', 'shelf'), ('task_history', 'lease_token'), ('task_history', 'usage'),
        ('attempt', 'outcome'), ('attempt', 'next_status'), ('attempt', 'shelf'),
        ('schedule', 'owner'), ('schedule', 'cron'), ('schedule', 'timezone'), ('schedule', 'catch_up'),
        ('schedule', 'next_run'), ('schedule', 'last_run'), ('schedule', 'last_task_id'),
        ('schedule', 'missed_runs'), ('schedule', 'last_error'), ('template', 'owner'),
        ('schedules', 'next_run'), ('schedules', 'missed_runs'), ('schedules', 'last_run'),
        ('non_retryable_error', 'retryable'), ('non_retryable_error', 'builtin'),
        ('counters', 'capability'), ('counters', 'bound'), ('counters', 'value'),
        ('tasks', 'effective_priority'), ('tasks', 'cancel_requested_at'), ('tasks', 'lease_expires_at'),
        ('agents', 'last_heartbeat'), ('agents', 'active_tasks'), ('agents', 'activity'),
        ('agents', 'trust_score')) AS c (rel, name)
  JOIN pg_attribute a ON a.attrelid = ('ains.' || c.rel)::regclass AND a.attname = c.name;

-- ---------------------------------------------------------------------------
-- Who may what, as far as catalogs say it (privileges.sql tries it)
-- ---------------------------------------------------------------------------

CREATE TEMP VIEW acl AS
SELECT 'function ' || p.oid::regprocedure AS object, 'f' AS kind, a.grantee, a.privilege_type, a.is_grantable
  FROM pg_proc p, LATERAL aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
 WHERE p.pronamespace IN ('ains'::regnamespace, 'ains_internal'::regnamespace) AND a.grantee <> p.proowner
UNION ALL
SELECT 'relation ' || c.oid::regclass, c.relkind, a.grantee, a.privilege_type, a.is_grantable
  FROM pg_class c, LATERAL aclexplode(c.relacl) a
 WHERE c.relnamespace IN ('ains'::regnamespace, 'ains_internal'::regnamespace) AND a.grantee <> c.relowner
UNION ALL
SELECT format('column %s.%s', t.attrelid::regclass, t.attname), 'c', a.grantee, a.privilege_type, a.is_grantable
  FROM pg_attribute t JOIN pg_class c ON c.oid = t.attrelid, LATERAL aclexplode(t.attacl) a
 WHERE c.relnamespace IN ('ains'::regnamespace, 'ains_internal'::regnamespace)
UNION ALL
SELECT 'schema ' || n.nspname, 'n', a.grantee, a.privilege_type, a.is_grantable
  FROM pg_namespace n, LATERAL aclexplode(n.nspacl) a
 WHERE n.nspname IN ('ains', 'ains_internal') AND a.grantee <> n.nspowner;

SELECT is_empty('SELECT object, privilege_type FROM acl WHERE grantee = 0', 'PUBLIC has nothing');
SELECT is_empty($$SELECT object, grantee::regrole, privilege_type FROM acl
                   WHERE kind IN ('r', 'p', 'S', 'c', 'm')$$, 'nobody has anything on a table or sequence');
SELECT is_empty($$SELECT object, grantee::regrole, privilege_type FROM acl
                   WHERE kind = 'v' AND privilege_type <> 'SELECT'$$, 'views are for reading');
SELECT is_empty($$SELECT object, grantee::regrole FROM acl WHERE kind = 'n' AND privilege_type <> 'USAGE'$$,
    'nobody may create in the schemas');
SELECT is_empty($$SELECT object FROM acl WHERE is_grantable$$, 'nobody may pass a privilege on');
SELECT is_empty($$SELECT object, grantee::regrole FROM acl
                   WHERE grantee NOT IN (SELECT oid FROM pg_roles WHERE rolname ~ '^ains_(producer|agent|monitor|admin)$')$$,
    'the four roles have all that is granted');
SELECT is_empty($$SELECT 1 FROM pg_default_acl WHERE defaclnamespace = 'ains'::regnamespace$$,
    'shelves made later are nobody''s either');
SELECT schema_privs_are('ains', r, ARRAY['USAGE'])
  FROM unnest(ARRAY['ains_producer', 'ains_agent', 'ains_monitor', 'ains_admin']) AS r;

SELECT is_empty('SELECT oid::regprocedure FROM real WHERE prosecdef', 'no function is SECURITY DEFINER');
SELECT is_empty('SELECT oid::regprocedure FROM real WHERE proconfig IS NOT NULL', 'none sets a parameter');
SELECT is_empty($$SELECT oid::regprocedure FROM real WHERE proparallel <> 'u'$$, 'all are parallel unsafe');
SELECT is_empty('SELECT oid::regprocedure FROM real WHERE proleakproof', 'none claims to be leakproof');
SELECT is_empty($$SELECT p.oid::regprocedure FROM pg_proc p WHERE p.pronamespace = 'ains_internal'::regnamespace
                   AND (p.prosecdef OR p.proparallel <> 'u')$$, 'the same in ains_internal');
SELECT is_empty($$SELECT oid::regclass FROM pg_class WHERE relnamespace = 'ains'::regnamespace AND relkind = 'v'
                   AND relname NOT IN ('task_info', 'visible_task')
                   AND NOT coalesce('security_barrier=true' = ANY (reloptions), false)$$,
    'views that filter are security barriers');
SELECT is_empty($$SELECT rolname FROM pg_roles WHERE rolname ~ '^ains_(producer|agent|monitor|admin)$'
                   AND (rolcanlogin OR rolsuper OR rolcreaterole OR rolcreatedb OR rolbypassrls OR rolreplication)$$,
    'the roles are bare groups');
SELECT is(pg_has_role('ains_admin', r, 'USAGE'), true, format('ains_admin is a member of %s', r))
  FROM unnest(ARRAY['ains_producer', 'ains_agent', 'ains_monitor']) AS r;
SELECT is(trusted OR superuser IS FALSE, false, 'only a superuser may create the extension')
  FROM pg_available_extension_versions WHERE name = 'ains' AND installed;

-- what pg_dump keeps: every table but one that follows from another, and every sequence
SELECT set_eq(
    $$SELECT c.oid::regclass::text FROM pg_class c
       WHERE c.relnamespace = 'ains'::regnamespace AND c.relkind IN ('r', 'p', 'S') AND NOT c.relispartition
         AND c.relname <> 'event_progress'$$,
    $$SELECT unnest(extconfig)::regclass::text FROM pg_extension WHERE extname = 'ains'$$,
    'pg_dump keeps every table and sequence');

SELECT * FROM finish();
ROLLBACK;
