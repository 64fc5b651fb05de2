-- privileges.sql: every function, called as every role. The table below is the
-- one in docs/operations.md. That a call may be made says nothing yet about
-- whose agent or task it is for: see visibility.sql.
\set ON_ERROR_STOP 1
\set QUIET 1
BEGIN;
SELECT no_plan();

-- One role for each column. All of them are members of tap_crew, which owns an
-- agent and has enqueued tasks: so only the privilege to call is in question.
CREATE ROLE tap_crew;
CREATE ROLE tap_producer IN ROLE tap_crew, ains_producer;
CREATE ROLE tap_agent IN ROLE tap_crew, ains_agent;
CREATE ROLE tap_monitor IN ROLE tap_crew, ains_monitor;
CREATE ROLE tap_admin IN ROLE tap_crew, ains_admin;
CREATE ROLE tap_nobody IN ROLE tap_crew;

GRANT ains_producer, ains_agent TO tap_crew;
SET ROLE tap_crew;
SELECT agent_id FROM ains.register_agent('tap crew', capabilities => '{tap work}') \gset
SELECT ains.enqueue('tap work', priority => 10) AS held,
       ains.enqueue('tap work', priority => 9) AS dead,
       ains.enqueue('tap work', priority => 1) AS waiting \gset
SELECT lease_token AS token FROM ains.claim('tap crew') \gset
SELECT ains.fail(task_id, lease_token, 'broken', retryable => false) AS failed FROM ains.claim('tap crew') \gset
RESET ROLE;
SET ROLE tap_crew;
SELECT ains.save_template('tap saved', 'tap work') AS saved \gset
RESET ROLE;
-- somebody has run the schedules, so pg_cron is not asked for
SELECT ains.run_schedules() AS run \gset
SET ROLE tap_crew;
SELECT ains.schedule('tap made', '* * * * *', 'tap work') AS made \gset
SELECT ains.create_run('tap run') AS run, ains.create_run('tap over') AS over, ains.create_run('tap short', target => 5) AS short \gset
RESET ROLE;
UPDATE ains.run SET status = 'NEEDS_DECISION' WHERE run_id = :short;
REVOKE ains_producer, ains_agent FROM tap_crew;
SELECT quote_literal(ains.stop_agent(agent_id)) AS stopped
  FROM ains.register_agent('tap old') \gset

-- y: may call it, -: 42501.
CREATE TEMP TABLE may (
    function text, call text,
    producer char, agent char, monitor char, admin char, nobody char, owner char,
    otherwise text DEFAULT '00000');
INSERT INTO may VALUES
--   function                    call                                                                 pr   ag   mo   ad   no   ow
    ('enqueue',                   $$SELECT ains.enqueue('tap work')$$,                                 'y', '-', '-', 'y', '-', 'y'),
    ('enqueue_batch',             $$SELECT ains.enqueue_batch('tap work', '[1, 2]')$$,                 'y', '-', '-', 'y', '-', 'y'),
    ('wait_for_result',           'CALL ains.wait_for_result({waiting})',                              'y', '-', '-', 'y', '-', 'y'),
    ('cancel',                    'SELECT ains.cancel({waiting})',                                     'y', 'y', '-', 'y', '-', 'y'),
    ('retry',                     'SELECT ains.retry({dead})',                                         'y', 'y', '-', 'y', '-', 'y'),
    ('redrive',                   'SELECT ains.redrive()',                                             'y', 'y', '-', 'y', '-', 'y'),
    ('set_priority',              'SELECT ains.set_priority({waiting}, 3)',                            'y', 'y', '-', 'y', '-', 'y'),
    ('assign',                    'SELECT ains.assign({waiting})',                                     'y', '-', '-', 'y', '-', 'y'),
    ('preview_route',             $$SELECT ains.preview_route('tap work')$$,                           'y', 'y', 'y', 'y', '-', 'y'),
    ('get_task',                  'SELECT ains.get_task({held})',                                      'y', 'y', '-', 'y', '-', 'y'),
    ('register_agent',            $$SELECT ains.register_agent('tap new')$$,                           '-', 'y', '-', 'y', '-', 'y'),
    ('heartbeat',                 $$SELECT ains.heartbeat('tap crew')$$,                               '-', 'y', '-', 'y', '-', 'y'),
    ('attach_agent',              $$SELECT ains.attach_agent('tap crew')$$,                            '-', 'y', '-', 'y', '-', 'y'),
    ('detach_agent',              $$SELECT ains.detach_agent('tap crew')$$,                            '-', 'y', '-', 'y', '-', 'y'),
    ('drain_agent',               $$SELECT ains.drain_agent('tap crew')$$,                             '-', 'y', '-', 'y', '-', 'y'),
    ('resume_agent',              $$SELECT ains.resume_agent('tap crew')$$,                            '-', 'y', '-', 'y', '-', 'y'),
    ('stop_agent',                $$SELECT ains.stop_agent('tap crew')$$,                              '-', 'y', '-', 'y', '-', 'y'),
    ('publish_capability',        $$SELECT ains.publish_capability('tap crew', 'tap more')$$,          '-', 'y', '-', 'y', '-', 'y'),
    ('withdraw_capability',       $$SELECT ains.withdraw_capability('tap crew', 'tap work')$$,         '-', 'y', '-', 'y', '-', 'y'),
    ('claim',                     $$SELECT ains.claim('tap crew')$$,                                   '-', 'y', '-', 'y', '-', 'y'),
    ('wait_for_task',             $$CALL ains.wait_for_task('tap crew')$$,                             '-', 'y', '-', 'y', '-', 'y'),
    ('extend_lease',              'SELECT ains.extend_lease({held}, {token})',                         '-', 'y', '-', 'y', '-', 'y'),
    ('checkpoint',                'SELECT ains.checkpoint({held}, {token}, NULL)',                     '-', 'y', '-', 'y', '-', 'y'),
    ('complete',                  'SELECT ains.complete({held}, {token})',                             '-', 'y', '-', 'y', '-', 'y'),
    ('complete_batch',            'SELECT ains.complete_batch(ARRAY[{held}], ARRAY[{token}])',         '-', 'y', '-', 'y', '-', 'y'),
    ('fail',                      $$SELECT ains.fail({held}, {token}, 'broken')$$,                     '-', 'y', '-', 'y', '-', 'y'),
    ('release',                   'SELECT ains.release({held}, {token})',                              '-', 'y', '-', 'y', '-', 'y'),
    ('explain_task',              'SELECT ains.explain_task({waiting})',                               'y', 'y', 'y', 'y', '-', 'y'),
    ('search_agents',             'SELECT ains.search_agents()',                                       'y', 'y', 'y', 'y', '-', 'y'),
    ('dependencies',              'SELECT ains.dependencies({waiting})',                               'y', 'y', 'y', 'y', '-', 'y'),
    ('dependents',                'SELECT ains.dependents({waiting})',                                 'y', 'y', 'y', 'y', '-', 'y'),
    ('trust_history',             $$SELECT ains.trust_history('tap crew')$$,                           'y', 'y', 'y', 'y', '-', 'y'),
    ('leaderboard',               'SELECT ains.leaderboard()',                                         'y', 'y', 'y', 'y', '-', 'y'),
    ('queue_stats',               'SELECT ains.queue_stats()',                                         '-', '-', 'y', 'y', '-', 'y'),
    ('agent_stats',               'SELECT ains.agent_stats()',                                         '-', '-', 'y', 'y', '-', 'y'),
    ('metrics',                   'SELECT ains.metrics()',                                             '-', '-', 'y', 'y', '-', 'y'),
    ('metric_samples',            'SELECT ains.metric_samples()',                                      '-', '-', 'y', 'y', '-', 'y'),
    ('health',                    'SELECT ains.health()',                                              '-', '-', 'y', 'y', '-', 'y'),
    ('check_health',              'SELECT ains.check_health()',                                        '-', '-', 'y', 'y', '-', 'y'),
    ('configure_capability',      $$SELECT ains.configure_capability('tap work', max_attempts => 9)$$, '-', '-', '-', 'y', '-', 'y'),
    ('pause',                     $$SELECT ains.pause('tap work')$$,                                   '-', '-', '-', 'y', '-', 'y'),
    ('resume',                    $$SELECT ains.resume('tap work')$$,                                  '-', '-', '-', 'y', '-', 'y'),
    ('set_quota',                 $$SELECT ains.set_quota('tap_crew', 9)$$,                            '-', '-', '-', 'y', '-', 'y'),
    ('adjust_trust',              $$SELECT ains.adjust_trust('tap crew', 0.1, 'tap')$$,                '-', '-', '-', 'y', '-', 'y'),
    ('prune_agents',              $$SELECT ains.prune_agents('0')$$,                                   '-', '-', '-', 'y', '-', 'y'),
    ('sweep',                     'SELECT ains.sweep()',                                               '-', '-', '-', 'y', '-', 'y'),
    ('release_dead_agent_leases', 'SELECT ains.release_dead_agent_leases()',                           '-', '-', '-', 'y', '-', 'y'),
    ('rescan',                    'SELECT ains.rescan()',                                              '-', '-', '-', 'y', '-', 'y'),
    ('schedule',                  $$SELECT ains.schedule('tap made', '* * * * *', 'tap work')$$,       'y', '-', '-', 'y', '-', 'y'),
    ('unschedule',                $$SELECT ains.unschedule('tap made')$$,                              'y', '-', '-', 'y', '-', 'y'),
    ('pause_schedule',            $$SELECT ains.pause_schedule('tap made')$$,                          'y', '-', '-', 'y', '-', 'y'),
    ('resume_schedule',           $$SELECT ains.resume_schedule('tap made')$$,                         'y', '-', '-', 'y', '-', 'y'),
    ('run_schedules',             'SELECT ains.run_schedules()',                                       '-', '-', '-', 'y', '-', 'y'),
    ('save_template',             $$SELECT ains.save_template('tap saved', 'tap work')$$,              'y', '-', '-', 'y', '-', 'y'),
    ('drop_template',             $$SELECT ains.drop_template('tap saved')$$,                          'y', '-', '-', 'y', '-', 'y'),
    ('enqueue_from_template',     $$SELECT ains.enqueue_from_template('tap saved')$$,                  'y', '-', '-', 'y', '-', 'y'),
    ('add_webhook',               $$SELECT ains.add_webhook('https://example.com', '{*}', 'tap')$$,     'y', 'y', '-', 'y', '-', 'y'),
    ('remove_webhook',            $$SELECT ains.remove_webhook(ains.add_webhook('https://example.com', '{*}', 'tap'))$$, 'y', 'y', '-', 'y', '-', 'y'),
    ('create_run',                $$SELECT ains.create_run('tap made')$$,                              'y', '-', '-', 'y', '-', 'y'),
    ('enqueue_chain',             $$SELECT ains.enqueue_chain('[{"capability": "tap work"}]')$$,       'y', '-', '-', 'y', '-', 'y'),
    ('run_progress',              'SELECT ains.run_progress({run})',                                   'y', '-', 'y', 'y', '-', 'y'),
    ('cancel_run',                'SELECT ains.cancel_run({over})',                                    'y', '-', '-', 'y', '-', 'y'),
    ('retry_run',                 'SELECT ains.retry_run({run})',                                      'y', '-', '-', 'y', '-', 'y'),
    ('resolve_run',               $$SELECT ains.resolve_run({short}, 'accept')$$,                      'y', '-', '-', 'y', '-', 'y'),
    -- views: reading them is open to all four, what they show is not
    ('view tasks',                'SELECT FROM ains.tasks',                                            'y', 'y', 'y', 'y', '-', 'y'),
    ('view dead_letters',         'SELECT FROM ains.dead_letters',                                     'y', 'y', 'y', 'y', '-', 'y'),
    ('view attempts',             'SELECT FROM ains.attempts',                                         'y', 'y', 'y', 'y', '-', 'y'),
    ('view agents',               'SELECT FROM ains.agents',                                           'y', 'y', 'y', 'y', '-', 'y'),
    ('view active_agents',        'SELECT FROM ains.active_agents',                                    'y', 'y', 'y', 'y', '-', 'y'),
    ('view dead_agents',          'SELECT FROM ains.dead_agents',                                      'y', 'y', 'y', 'y', '-', 'y'),
    ('view counters',             'SELECT FROM ains.counters',                                         '-', '-', 'y', 'y', '-', 'y'),
    ('view schedules',            'SELECT FROM ains.schedules',                                        'y', 'y', 'y', 'y', '-', 'y'),
    ('view templates',            'SELECT FROM ains.templates',                                        'y', 'y', 'y', 'y', '-', 'y'),
    ('view events',               'SELECT FROM ains.events',                                           'y', 'y', 'y', 'y', '-', 'y'),
    ('view webhooks',             'SELECT FROM ains.webhooks',                                         'y', 'y', 'y', 'y', '-', 'y'),
    ('view runs',                 'SELECT FROM ains.runs',                                             'y', 'y', 'y', 'y', '-', 'y'),
    -- tables and what only the library uses: nobody's
    ('view task_info',            'SELECT FROM ains.task_info',                                        '-', '-', '-', '-', '-', 'y'),
    ('view visible_task',         'SELECT FROM ains.visible_task',                                     '-', '-', '-', '-', '-', 'y'),
    ('table task',                'SELECT FROM ains.task',                                             '-', '-', '-', '-', '-', 'y'),
    ('table task: insert',        $$INSERT INTO ains.task (rank, lane_id, status, priority, run_at, created_at, enqueued_by, capability, payload)
                                    SELECT 1, 1, 'PENDING', 1, now(), now(), 10, 'tap work', '1'$$,    '-', '-', '-', '-', '-', 'y'),
    ('table task: update',        'UPDATE ains.task SET priority = 1',                                 '-', '-', '-', '-', '-', 'y'),
    ('table task: delete',        'DELETE FROM ains.task',                                             '-', '-', '-', '-', '-', 'y'),
    ('table task_history',        'SELECT FROM ains.task_history',                                     '-', '-', '-', '-', '-', 'y'),
    ('table concurrency_key',     'SELECT FROM ains.concurrency_key',                                  '-', '-', '-', '-', '-', 'y'),
    ('table attempt',             'SELECT FROM ains.attempt',                                          '-', '-', '-', '-', '-', 'y'),
    ('table agent',               'SELECT FROM ains.agent',                                            '-', '-', '-', '-', '-', 'y'),
    ('table agent: update',       'UPDATE ains.agent SET owner = 10',                                  '-', '-', '-', '-', '-', 'y'),
    ('table trust_event',         'SELECT FROM ains.trust_event',                                      '-', '-', '-', '-', '-', 'y'),
    ('table agent_capability',    'SELECT FROM ains.agent_capability',                                 '-', '-', '-', '-', '-', 'y'),
    ('table capability',          'SELECT FROM ains.capability',                                       '-', '-', '-', '-', '-', 'y'),
    ('table lane',                'SELECT FROM ains.lane',                                             '-', '-', '-', '-', '-', 'y'),
    ('table non_retryable_error', 'SELECT FROM ains.non_retryable_error',                              '-', '-', '-', '-', '-', 'y'),
    ('table run',                 'SELECT FROM ains.run',                                              '-', '-', '-', '-', '-', 'y'),
    ('table run_tally',           'SELECT FROM ains.run_tally',                                        '-', '-', '-', '-', '-', 'y'),
    ('table quota',               'SELECT FROM ains.quota',                                            '-', '-', '-', '-', '-', 'y'),
    ('table schedule',            'SELECT FROM ains.schedule',                                         '-', '-', '-', '-', '-', 'y'),
    ('table schedule: update',    'UPDATE ains.schedule SET owner = 10',                               '-', '-', '-', '-', '-', 'y'),
    ('table event',               'SELECT FROM ains.event',                                            '-', '-', '-', '-', '-', 'y'),
    ('table event_progress',      'SELECT FROM ains.event_progress',                                   '-', '-', '-', '-', '-', 'y'),
    ('table webhook',             'SELECT FROM ains.webhook',                                          '-', '-', '-', '-', '-', 'y'),
    ('table template',            'SELECT FROM ains.template',                                         '-', '-', '-', '-', '-', 'y'),
    ('sequence of task ids',      $$SELECT nextval('ains.task_task_id_seq')$$,                         '-', '-', '-', '-', '-', 'y'),
    ('sequence token_ceiling',    'SELECT last_value FROM ains.token_ceiling',                         '-', '-', '-', '-', '-', 'y'),
    ('ains_internal.clock_now',   'SELECT ains_internal.clock_now()',                                  '-', '-', '-', '-', '-', 'y'),
    ('ains_internal.roster',      'SELECT ains_internal.roster()',                                     '-', '-', '-', '-', '-', 'y'),
    ('ains_internal.next_run',    $$SELECT ains_internal.next_run('* * * * *', 'UTC', 'now')$$,        '-', '-', '-', '-', '-', 'y'),
    ('ains_internal.missed_runs', $$SELECT ains_internal.missed_runs('* * * * *', 'UTC', 'now')$$,     '-', '-', '-', '-', '-', 'y'),
    ('ains_internal.extension_created', 'SELECT ains_internal.extension_created()',                    '-', '-', '-', '-', '-', 'y'),
    ('ains_internal.advance_clock', $$SELECT ains_internal.advance_clock('0')$$,                       '-', '-', '-', '-', '-', 'y'),
    ('ains_internal.stall_clock', $$SELECT ains_internal.stall_clock('0')$$,                           '-', '-', '-', '-', '-', 'y'),
    ('ains_internal.step_wall_clock', $$SELECT ains_internal.step_wall_clock('0')$$,                   '-', '-', '-', '-', '-', 'y'),
    ('create in schema ains',     'CREATE TABLE ains.mine ()',                                         '-', '-', '-', '-', '-', 'y');

UPDATE may SET call = replace(replace(replace(replace(replace(replace(replace(call,
    '{held}', :'held'), '{dead}', :'dead'), '{waiting}', :'waiting'), '{token}', :'token'),
    '{run}', :'run'), '{over}', :'over'), '{short}', :'short');
-- the procedures wait outside a transaction only
UPDATE may SET otherwise = '25001' WHERE call LIKE 'CALL %';
-- the test clock is off, unless this server is for tests of it
UPDATE may SET otherwise = '55000'
 WHERE call LIKE '%_clock(''0'')' AND NOT current_setting('ains.enable_test_clock')::boolean;

-- Calls it as a role and undoes what it did; the SQLSTATE.
CREATE FUNCTION pg_temp.state_of(role name, call text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('SET LOCAL ROLE %I', role);
    EXECUTE call;
    RAISE EXCEPTION 'undo' USING ERRCODE = 'UNDO0';
EXCEPTION WHEN OTHERS THEN
    RETURN CASE SQLSTATE WHEN 'UNDO0' THEN '00000' ELSE SQLSTATE END;
END $$;

SELECT is(pg_temp.state_of(r.role, m.call), CASE r.may WHEN 'y' THEN m.otherwise ELSE '42501' END,
          format('%s as %s', m.function, r.role))
  FROM may m, LATERAL (VALUES
       (1, 'tap_producer', m.producer), (2, 'tap_agent', m.agent), (3, 'tap_monitor', m.monitor),
       (4, 'tap_admin', m.admin), (5, 'tap_nobody', m.nobody), (6, current_user, m.owner)) AS r (n, role, may)
 ORDER BY m.ctid, r.n;

SELECT set_eq(
    'SELECT proname::text FROM pg_proc WHERE pronamespace = ''ains''::regnamespace',
    'SELECT function FROM may WHERE function !~ ''[ .]''',
    'the table has every function');
SELECT set_eq(
    'SELECT ''view '' || viewname FROM pg_views WHERE schemaname = ''ains''',
    'SELECT function FROM may WHERE function ~ ''^view ''',
    'the table has every view');
SELECT is(has_schema_privilege(role, 'ains_internal', 'USAGE'), false, format('schema ains_internal is closed to %s', role))
  FROM unnest(ARRAY['tap_producer', 'tap_agent', 'tap_monitor', 'tap_admin', 'tap_nobody']) AS role;

-- the shelves, made at run time, are no less private
SELECT is(pg_temp.state_of('tap_admin', format('SELECT FROM %s', inhrelid::regclass)), '42501',
          format('%s as tap_admin', inhrelid::regclass))
  FROM pg_inherits WHERE inhparent IN ('ains.task_history'::regclass, 'ains.attempt'::regclass)
 ORDER BY inhrelid LIMIT 4;

-- settings that could hurt others are the superuser's
SELECT is(pg_temp.state_of('tap_admin', format('SET %I = %L', name, setting)), '42501', format('%s is not for everybody', name))
  FROM pg_settings WHERE name LIKE 'ains.%' AND context = 'superuser';
SELECT is_empty($$SELECT name FROM pg_settings WHERE name LIKE 'ains.%' AND context = 'user'$$,
    'no setting is everybody''s');

SELECT * FROM finish();
ROLLBACK;
