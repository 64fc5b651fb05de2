-- lifecycle.sql: agents and tasks from registration to history, as a user of
-- pgTAP would test the queue his application stands on. In many transactions,
-- as in life, and with the sweeper at work.
\set ON_ERROR_STOP 1
\set QUIET 1
SELECT no_plan();

-- row_eq cannot compare texts
CREATE FUNCTION pg_temp.row_is(query text, want anyelement, description text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    got text;
BEGIN
    EXECUTE format('SELECT q::text FROM (%s) q', query) INTO STRICT got;
    RETURN is(got, want::text, description);
END $$;

-- ---------------------------------------------------------------------------
-- An agent
-- ---------------------------------------------------------------------------

SELECT throws_ok($$SELECT ains.heartbeat('tap')$$, 'NS002', 'unknown agent', 'nobody is known yet');
SELECT throws_ok($$SELECT ains.claim('tap')$$, 'NS002', 'unknown agent', 'and nobody may claim');
SELECT pg_temp.row_is($$SELECT agent_id, agent_type, display_name, tags, metadata, owner::text, agent_status, heartbeat_timeout, max_active_tasks
                  FROM ains.register_agent('tap', 'gpu', '{tap sum, tap image}', 'Tap', tags => '{fast}', metadata => '{"zone": 1}',
                                           heartbeat_timeout => '1 min', max_active_tasks => 3)$$,
              ROW('tap'::text, 'gpu'::text, 'Tap'::text, '{fast}'::text[], '{"zone": 1}'::jsonb, current_user::text,
                  'AVAILABLE'::ains.agent_status, '1 min'::interval, 3), 'register_agent returns the agent');
SELECT pg_temp.row_is($$SELECT acknowledged, next_heartbeat_in, agent_health_status, agent_status, active_tasks, cancel_requested, lost
                  FROM ains.heartbeat('tap')$$,
              ROW(true, 20, 'ACTIVE'::text, 'AVAILABLE'::ains.agent_status, 0, '{}'::bigint[], '{}'::bigint[]),
              'a heartbeat: beat again after a third of the timeout');
SELECT is((ains.heartbeat('tap', health)).agent_status::text, status, health || ' makes it ' || status)
  FROM (VALUES ('DEGRADED', 'BUSY'), ('OFFLINE', 'INACTIVE'), ('ACTIVE', 'AVAILABLE')) AS v (health, status);
SELECT throws_ok(format('SELECT ains.heartbeat(%L, %L)', 'tap', health), '22023', NULL, format('health %L is refused', health))
  FROM unnest(ARRAY['active', '', 'DEAD', 'AVAILABLE', NULL]) AS health;
SELECT is((ains.drain_agent('tap')).agent_status, 'DRAINING', 'drain_agent');
SELECT throws_ok($$SELECT ains.claim('tap')$$, 'NS005', 'agent not accepting', 'a draining agent may not claim');
SELECT is((ains.heartbeat('tap')).agent_status, 'DRAINING', 'a beat does not undo it');
SELECT is((ains.resume_agent('tap')).agent_status, 'AVAILABLE', 'resume_agent does');
SELECT is((ains.stop_agent('tap')).agent_status, 'INACTIVE', 'stop_agent');
SELECT throws_ok($$SELECT ains.claim('tap')$$, 'NS005', 'agent not accepting', 'a stopped agent may not claim');
SELECT is((ains.heartbeat('tap')).agent_status, 'INACTIVE', 'nor does a beat undo that');
SELECT lives_ok($$SELECT ains.resume_agent('tap')$$, 'and it is back');
SELECT throws_ok($$SELECT ains.drain_agent('tap nobody')$$, 'NS002', NULL, 'drain an unknown agent');
SELECT throws_ok($$SELECT ains.heartbeat('tap', incarnation => 1)$$, 'NS005', 'agent not accepting', 'an old incarnation may not beat');
SELECT throws_ok($$SELECT ains.claim('tap', incarnation => 1)$$, 'NS005', NULL, 'nor claim');

-- ---------------------------------------------------------------------------
-- A task that succeeds
-- ---------------------------------------------------------------------------

SELECT ains.enqueue('tap sum', '{"numbers": [1, 2]}', priority => 7, metadata => '{"trace": "t"}') AS sum \gset
SELECT ok(:sum < 9007199254740992, 'a task id is safe as a JSON number');
SELECT pg_temp.row_is(format('SELECT status, priority, attempt, max_attempts, payload, metadata, agent_id, result FROM ains.get_task(%s)', :sum),
              ROW('PENDING'::ains.task_status, 7::smallint, 0, 4, '{"numbers": [1, 2]}'::jsonb, '{"trace": "t"}'::jsonb, NULL::text, NULL::jsonb),
              'get_task: a task that waits');
SELECT results_eq($$SELECT paused, blocked, scheduled, pending, active, agents_available FROM ains.queue_stats() WHERE capability = 'tap sum'$$,
                  $$VALUES (false, 0::bigint, 0::bigint, 1::bigint, 0::bigint, 1::bigint)$$, 'queue_stats counts it');
SELECT isnt_empty(format('SELECT * FROM ains.explain_task(%s)', :sum), 'explain_task has a reason');
SELECT is_empty($$SELECT * FROM ains.claim('tap', capabilities => '{tap image}')$$, 'claim of another capability');
SELECT is_empty($$SELECT * FROM ains.claim('tap', capabilities => '{tap other}')$$, 'claim of what it does not offer');
SELECT lease_token AS token FROM ains.claim('tap', lease => '1 min') \gset
SELECT ok(:token < 9007199254740992, 'a token is safe as a JSON number');
SELECT pg_temp.row_is(format('SELECT status, attempt, agent_id, lease_token, lease_expires_at - claimed_at FROM ains.get_task(%s)', :sum),
              ROW('ACTIVE'::ains.task_status, 1, 'tap'::text, :token::bigint, '1 min'::interval), 'it is leased for a minute');
SELECT is_empty($$SELECT * FROM ains.claim('tap')$$, 'it is claimed once');
SELECT is((ains.heartbeat('tap', held => ARRAY[:sum])).active_tasks, 1, 'the agent holds it');
SELECT is((ains.heartbeat('tap', held => ARRAY[:sum, 9007199254740991])).lost, ARRAY[9007199254740991], 'and nothing else');
SELECT cmp_ok(ains.extend_lease(:sum, :token, '1 h'), '>', now() + '59 min', 'extend_lease');
SELECT cmp_ok(ains.checkpoint(:sum, :token, '{"at": 1}', 0.5), '>', now(), 'checkpoint');
SELECT pg_temp.row_is(format('SELECT checkpoint, progress FROM ains.get_task(%s)', :sum), ROW('{"at": 1}'::jsonb, 0.5::real), 'where to resume');
SELECT throws_ok(format(call, :sum, :token + 1), 'NS001', 'lease lost', 'not the token: ' || call)
  FROM unnest(ARRAY['SELECT ains.extend_lease(%s, %s)', 'SELECT ains.checkpoint(%s, %s, NULL)', 'SELECT ains.complete(%s, %s)',
                    'SELECT ains.fail(%s, %s, ''x'')', 'SELECT ains.release(%s, %s)']) AS call;
SELECT throws_ok(format(call, 9007199254740991, :token), 'NS003', 'unknown task', 'no such task: ' || call)
  FROM unnest(ARRAY['SELECT ains.extend_lease(%s, %s)', 'SELECT ains.checkpoint(%s, %s, NULL)', 'SELECT ains.complete(%s, %s)',
                    'SELECT ains.fail(%s, %s, ''x'')', 'SELECT ains.release(%s, %s)']) AS call;
SELECT lives_ok(format('SELECT ains.complete(%s, %s, ''3'', ''{"tokens": 7}'')', :sum, :token), 'complete');
SELECT pg_temp.row_is(format('SELECT status, attempt, result, usage, finished_at IS NOT NULL, checkpoint FROM ains.get_task(%s)', :sum),
              ROW('COMPLETED'::ains.task_status, 1, '3'::jsonb, '{"tokens": 7}'::jsonb, true, '{"at": 1}'::jsonb), 'get_task: from history');
SELECT lives_ok(format('SELECT ains.complete(%s, %s, ''4'')', :sum, :token), 'complete can be repeated');
SELECT is((ains.get_task(:sum)).result, '3', 'and changes nothing');
SELECT throws_ok(format('SELECT ains.fail(%s, %s, ''x'')', :sum, :token), 'NS001', NULL, 'what is completed cannot fail');
SELECT throws_ok(format('SELECT ains.cancel(%s)', :sum), 'NS006', NULL, 'nor be cancelled');
SELECT throws_ok(format('SELECT ains.retry(%s)', :sum), 'NS006', NULL, 'nor be retried');
SELECT throws_ok(format('SELECT ains.set_priority(%s, 1)', :sum), 'NS006', NULL, 'nor get another priority');
SELECT is((ains.heartbeat('tap', held => '{}')).active_tasks, 0, 'the agent holds nothing');

-- ---------------------------------------------------------------------------
-- A task that fails, and comes back
-- ---------------------------------------------------------------------------

SELECT lives_ok($$SELECT ains.configure_capability('tap image', max_attempts => 2, backoff => 'fixed', backoff_base => '10 s', jitter => 0)$$, 'a policy');
SELECT ains.enqueue('tap image', '"cat"') AS image \gset
SELECT lease_token AS token FROM ains.claim('tap') \gset
SELECT is(ains.fail(:image, :token, 'out of memory'), 'SCHEDULED', 'the first attempt fails');
SELECT is(ains.fail(:image, :token, 'out of memory'), 'SCHEDULED', 'repeated, it answers the same');
SELECT pg_temp.row_is(format('SELECT status, attempt, error, lease_expires_at, round(extract(epoch FROM run_at - now())) BETWEEN 8 AND 11 FROM ains.get_task(%s)', :image),
              ROW('SCHEDULED'::ains.task_status, 1, 'out of memory'::text, NULL::timestamptz, true), 'it comes back after the backoff');
SELECT is_empty($$SELECT * FROM ains.claim('tap')$$, 'not before');
SELECT results_eq(format('SELECT reason FROM ains.explain_task(%s)', :image), ARRAY['not_due'], 'explain_task says so');
SELECT is(ains.cancel(:image, 'no more cats'), 'CANCELLED', 'cancel of a waiting task');
SELECT is((ains.get_task(:image)).cancel_reason, 'no more cats', 'with its reason');
SELECT is(ains.retry(:image), :image::bigint, 'retry of a cancelled task: the same id');
SELECT pg_temp.row_is(format('SELECT status, attempt, finished_at FROM ains.get_task(%s)', :image),
              ROW('PENDING'::ains.task_status, 0, NULL::timestamptz), 'as new');
SELECT is((SELECT count(*) FROM ains.tasks WHERE task_id = :image), 1::bigint, 'and gone from history');
SELECT throws_ok(format('SELECT ains.retry(%s)', :image), 'NS006', NULL, 'a live task cannot be retried');

SELECT lease_token AS token FROM ains.claim('tap') \gset
SELECT lives_ok(format('SELECT ains.release(%s, %s)', :image, :token), 'release');
SELECT is((ains.get_task(:image)).attempt, 0, 'is not counted');
SELECT throws_ok(format('SELECT ains.complete(%s, %s)', :image, :token), 'NS001', NULL, 'and ends the lease');
SELECT lease_token AS token FROM ains.claim('tap') \gset
SELECT is(ains.fail(:image, :token, 'busy', retry_after => '0'), 'PENDING', 'retry_after 0: claimable at once');
SELECT lease_token AS token FROM ains.claim('tap') \gset
SELECT is(ains.fail(:image, :token, 'busy'), 'FAILED', 'the last attempt');
SELECT results_eq(format('SELECT task_id, error FROM ains.dead_letters WHERE task_id = %s', :image),
                  format('VALUES (%s::bigint, %L)', :image, 'busy'), 'is a dead letter');
SELECT is(ains.retry(:image), :image::bigint, 'that can be retried');
SELECT lease_token AS token FROM ains.claim('tap') \gset
SELECT is(ains.fail(:image, :token, 'Error 404: Not Found'), 'FAILED', 'an error that is not worth another attempt');
SELECT results_eq(format('SELECT attempt, outcome, next_status::text, error FROM ains.attempts WHERE task_id = %s ORDER BY started_at', :image),
    $$VALUES (1, 'failed', 'SCHEDULED', 'out of memory'), (1, 'failed', 'PENDING', 'busy'), (2, 'failed', 'FAILED', 'busy'),
             (1, 'failed', 'FAILED', 'Error 404: Not Found')$$, 'attempts remembers all of it');
SELECT is(ains.retry(:image), :image::bigint, 'once more');
SELECT lease_token AS token FROM ains.claim('tap') \gset
SELECT is(ains.fail(:image, :token, 'not found', retryable => true, retry_after => '1 h'), 'SCHEDULED', 'unless the agent knows better');
SELECT is(ains.cancel(:image), 'CANCELLED', 'enough');

-- ---------------------------------------------------------------------------
-- A task that is cancelled while it is held
-- ---------------------------------------------------------------------------

SELECT ains.enqueue('tap sum') AS held \gset
SELECT lease_token AS token FROM ains.claim('tap') \gset
SELECT is(ains.cancel(:held, 'changed my mind'), 'ACTIVE', 'cancel of a held task asks its agent');
SELECT is(ains.cancel(:held), 'ACTIVE', 'asking twice is harmless');
SELECT throws_ok(format(call, :held, :token), 'NS004', 'task cancelled', call)
  FROM unnest(ARRAY['SELECT ains.extend_lease(%s, %s)', 'SELECT ains.checkpoint(%s, %s, NULL)', 'SELECT ains.complete(%s, %s)']) AS call;
SELECT is_empty(format('SELECT ains.complete_batch(ARRAY[%s], ARRAY[%s])', :held, :token), 'complete_batch leaves it out');
SELECT is(ains.fail(:held, :token, 'stopped'), 'CANCELLED', 'fail ends it');
SELECT pg_temp.row_is(format('SELECT status, attempt, cancel_reason FROM ains.get_task(%s)', :held),
              ROW('CANCELLED'::ains.task_status, 1, 'changed my mind'::text), 'cancelled, the attempt counted');

-- ---------------------------------------------------------------------------
-- Leases that nobody renews
-- ---------------------------------------------------------------------------

SELECT ains.enqueue('tap sum') AS lapsed \gset
SELECT lease_token AS token FROM ains.claim('tap', lease => '1 s') \gset
SELECT lives_ok(format('SELECT ains.checkpoint(%s, %s, ''"before"'')', :lapsed, :token), 'a checkpoint within the lease');
SELECT pg_sleep(1.1) FROM ains.sweep() \gset
SELECT leases_expired AS by_hand FROM ains.sweep() \gset
SELECT pg_temp.row_is(format('SELECT status, attempt, error FROM ains.get_task(%s)', :lapsed),
              ROW('PENDING'::ains.task_status, 1, 'lease expired'::text), 'the sweep took it back');
SELECT throws_ok(format('SELECT ains.complete(%s, %s)', :lapsed, :token), 'NS001', NULL, 'the old token is worth nothing');
SELECT results_eq($$SELECT checkpoint, attempt FROM ains.claim('tap')$$, $$VALUES ('"before"'::jsonb, 2)$$, 'the next attempt knows where to resume');
SELECT is((ains.register_agent('tap', capabilities => '{tap sum, tap image}')).agent_status, 'AVAILABLE', 'the agent starts again');
SELECT pg_temp.row_is(format('SELECT status, attempt FROM ains.get_task(%s)', :lapsed), ROW('PENDING'::ains.task_status, 2), 'which gives back what it held');
SELECT is(ains.cancel(:lapsed), 'CANCELLED', 'enough');

SELECT ains.enqueue('tap sum', expires_at => clock_timestamp() + '500 ms') AS expired,
       ains.enqueue('tap image', run_at => clock_timestamp() + '500 ms') AS due \gset
SELECT is((ains.get_task(:due)).status, 'SCHEDULED', 'a task for later');
SELECT pg_sleep(0.6) \gset
SELECT is_empty($$SELECT * FROM ains.claim('tap', capabilities => '{tap sum}')$$, 'what has expired is not claimed, swept or not');
SELECT leases_expired AS by_hand FROM ains.sweep() \gset
SELECT is((ains.get_task(:expired)).status, 'EXPIRED', 'EXPIRED');
SELECT is((ains.get_task(:due)).status, 'PENDING', 'PENDING');
SELECT lives_ok(format('SELECT ains.retry(%s)', :expired), 'an expired task can be retried');
SELECT is((SELECT count(*) FROM ains.claim('tap', 10)), 2::bigint, 'both are claimed');
SELECT is((ains.stop_agent('tap')).agent_status, 'INACTIVE', 'a stop gives them back unharmed');
SELECT is((ains.get_task(:due)).attempt, 0, 'no attempt counted');
SELECT lives_ok($$SELECT ains.resume_agent('tap')$$, 'and on it goes');
SELECT is(ains.cancel(task), 'CANCELLED', 'enough') FROM unnest(ARRAY[:expired, :due]) AS task;

-- ---------------------------------------------------------------------------
-- Order, batches, unique keys
-- ---------------------------------------------------------------------------

SELECT is((SELECT count(*) FROM ains.enqueue_batch('tap sum', '["low", "high", "mid"]', priorities => '{1, 10, 5}')), 3::bigint, 'enqueue_batch');
SELECT ains.enqueue('tap sum', '"old"', 5, run_at => now() - interval '1 h') AS old \gset
SELECT results_eq($$SELECT payload #>> '{}' FROM ains.claim('tap', 2)$$, ARRAY['old', 'high'],
    'an hour of waiting (six aging intervals) is worth six points of priority');
SELECT lives_ok(format('SELECT ains.set_priority(%s, 10)', (SELECT task_id FROM ains.tasks WHERE payload = '"low"')), 'set_priority');
SELECT results_eq($$SELECT payload #>> '{}', priority FROM ains.claim('tap', 2)$$, $$VALUES ('low', 10), ('mid', 5)$$, 'overtakes');
SELECT results_eq($$SELECT count(*) FROM ains.complete_batch(
        (SELECT array_agg(task_id ORDER BY task_id) FROM ains.task WHERE agent_id = 'tap' AND status = 'ACTIVE'),
        (SELECT array_agg(lease_token ORDER BY task_id) FROM ains.task WHERE agent_id = 'tap' AND status = 'ACTIVE'), '[1, 2, 3, 4]')$$,
    ARRAY[4::bigint], 'complete_batch');
SELECT results_eq($$SELECT result FROM ains.tasks WHERE payload = '"mid"'$$, ARRAY['3'::jsonb], 'each has its result');

SELECT ains.enqueue('tap sum', '1', unique_key => 'k') AS one \gset
SELECT is(ains.enqueue('tap sum', '2', unique_key => 'k'), :one::bigint, 'a unique key: the same task');
SELECT throws_ok($$SELECT ains.enqueue('tap sum', '2', unique_key => 'k', on_conflict => 'refuse')$$, '23505', NULL, 'or refused');
SELECT is(ains.enqueue('tap sum', '3', unique_key => 'k', on_conflict => 'replace'), :one::bigint, 'or replaced');
SELECT is((ains.get_task(:one)).payload, '3', 'with the new payload');
SELECT isnt(ains.enqueue('tap other', '2', unique_key => 'k'), :one::bigint, 'of another capability it is another key');
SELECT lease_token AS token FROM ains.claim('tap') \gset
SELECT is(ains.enqueue('tap sum', '4', unique_key => 'k', on_conflict => 'replace'), :one::bigint, 'a held task is not replaced');
SELECT is((ains.get_task(:one)).payload, '3', 'its payload stays');
SELECT ains.fail(:one, :token, 'bad request') \gset
SELECT ains.enqueue('tap sum', '5', unique_key => 'k') AS two \gset
SELECT isnt(:two::bigint, :one::bigint, 'a finished task frees its key');
SELECT throws_ok(format('SELECT ains.retry(%s)', :one), '23505', NULL, 'so it cannot come back');
SELECT is(ains.cancel(:two), 'CANCELLED', 'until the other is gone');
SELECT is(ains.retry(:one), :one::bigint, 'then it can');
SELECT is(ains.cancel(:one), 'CANCELLED', 'enough');

-- ---------------------------------------------------------------------------
-- Policy
-- ---------------------------------------------------------------------------

SELECT ains.enqueue('tap sum') AS paused \gset
SELECT lives_ok($$SELECT ains.pause('tap sum')$$, 'pause');
SELECT is_empty($$SELECT * FROM ains.claim('tap')$$, 'nothing is claimed');
SELECT results_eq(format('SELECT reason FROM ains.explain_task(%s) LIMIT 1', :paused), ARRAY['paused'], 'explain_task says so');
SELECT lives_ok($$SELECT ains.resume('tap sum')$$, 'resume');
SELECT is((SELECT count(*) FROM ains.claim('tap')), 1::bigint, 'and it is claimed');
SELECT throws_ok($$SELECT ains.pause('tap nothing')$$, 'NS007', NULL, 'pause of nothing');
SELECT throws_ok($$SELECT ains.resume('tap nothing')$$, 'NS007', NULL, 'resume of nothing');
SET ains.auto_create_capabilities = off;
SELECT throws_ok($$SELECT ains.enqueue('tap nothing')$$, 'NS007', NULL, 'no capability is created by mistake');
SELECT throws_ok($$SELECT ains.enqueue_batch('tap nothing', '[1]')$$, 'NS007', NULL, 'nor by a batch');
SELECT throws_ok($$SELECT ains.register_agent('tap two', capabilities => '{tap nothing}')$$, 'NS007', NULL, 'nor by an agent');
SET ains.auto_create_capabilities = on;
SELECT lives_ok($$SELECT ains.configure_capability('tap forgets', keep_history => false)$$, 'a capability without history');
SELECT ains.register_agent('tap', capabilities => '{tap forgets}') IS NOT NULL AS again \gset
SELECT ains.enqueue('tap forgets') AS forgotten \gset
SELECT lives_ok($$SELECT ains.complete(task_id, lease_token) FROM ains.claim('tap')$$, 'completes');
SELECT throws_ok(format('SELECT ains.get_task(%s)', :forgotten), 'NS003', NULL, 'and forgets');

-- ---------------------------------------------------------------------------
-- What is refused
-- ---------------------------------------------------------------------------

SELECT throws_ok(call, '22023', NULL, call) FROM unnest(ARRAY[
    $$SELECT ains.enqueue(NULL)$$, $$SELECT ains.enqueue('')$$, $$SELECT ains.enqueue(repeat('x', 129))$$,
    $$SELECT ains.enqueue(E'a\tb')$$, $$SELECT ains.enqueue('tap', NULL)$$,
    $$SELECT ains.enqueue('tap', priority => 0)$$, $$SELECT ains.enqueue('tap', priority => 11)$$,
    $$SELECT ains.enqueue('tap', priority => NULL)$$, $$SELECT ains.enqueue('tap', max_attempts => 0)$$,
    $$SELECT ains.enqueue('tap', timeout => '-1 s')$$, $$SELECT ains.enqueue('tap', run_at => 'infinity')$$,
    $$SELECT ains.enqueue('tap', expires_at => '-infinity')$$, $$SELECT ains.enqueue('tap', on_conflict => 'ignore')$$,
    $$SELECT ains.enqueue('tap', run_at => 'tomorrow', expires_at => 'today')$$,
    $$SELECT ains.enqueue_batch('tap', '[]')$$, $$SELECT ains.enqueue_batch('tap', '{}')$$, $$SELECT ains.enqueue_batch('tap', NULL)$$,
    $$SELECT ains.enqueue_batch('tap', '[1, 2]', priorities => '{1}')$$, $$SELECT ains.enqueue_batch('tap', '[1]', unique_keys => '{a, b}')$$,
    $$SELECT ains.claim('tap', 0)$$, $$SELECT ains.claim('tap', 1001)$$, $$SELECT ains.claim('tap', NULL)$$, $$SELECT ains.claim('tap', lease => '0')$$,
    $$SELECT ains.register_agent('')$$, $$SELECT ains.register_agent(NULL)$$, $$SELECT ains.register_agent('tap x', heartbeat_timeout => '-1 s')$$,
    $$SELECT ains.register_agent('tap x', max_active_tasks => 0)$$, $$SELECT ains.register_agent('tap x', capabilities => '{a, NULL}')$$,
    $$SELECT ains.configure_capability('tap', backoff => 'random')$$, $$SELECT ains.configure_capability('tap', jitter => 'NaN')$$,
    $$SELECT ains.configure_capability('tap', jitter => 1.1)$$, $$SELECT ains.configure_capability('tap', max_attempts => 0)$$,
    $$SELECT ains.configure_capability('tap', on_lost => 'forget')$$, $$SELECT ains.configure_capability('tap', lease => '-1 s')$$,
    $$SELECT ains.complete_batch('{1}', '{1, 2}')$$, $$SELECT ains.complete_batch('{1}', '{1}', '[1, 2]')$$,
    $$SELECT ains.set_priority(1, 11)$$, $$SELECT ains.prune_agents(NULL)$$, $$SELECT ains.get_task(NULL)$$, $$SELECT ains.cancel(NULL)$$,
    $$SELECT ains.heartbeat('tap', uptime_ms => -1)$$, $$SELECT ains.fail(1, 1, NULL)$$, $$SELECT ains.checkpoint(1, 1, NULL, 'NaN')$$
]) AS call;
SELECT throws_ok(call, '22P02', NULL, call) FROM unnest(ARRAY[
    $$SELECT ains.enqueue('tap', '{')$$, $$SELECT ains.cancel('x')$$, $$SELECT ains.claim('tap', 'many')$$]) AS call;
SELECT throws_ok(call, '42704', NULL, call) FROM unnest(ARRAY[$$SELECT ains.enqueue('tap', run_id => 1)$$, $$SELECT ains.run_progress(1)$$]) AS call;
SELECT throws_ok(call, '25001', NULL, call) FROM unnest(ARRAY[
    $$CALL ains.wait_for_task('tap')$$, $$CALL ains.wait_for_result(1)$$]) AS call;
SET ains.max_payload = '1kB';
SELECT throws_ok(call, 'NS008', NULL, call) FROM unnest(ARRAY[
    $$SELECT ains.enqueue('tap', to_jsonb(repeat('x', 2000)))$$, $$SELECT ains.enqueue('tap', metadata => to_jsonb(repeat('x', 2000)))$$,
    $$SELECT ains.enqueue_batch('tap', jsonb_build_array(repeat('x', 2000)))$$,
    $$SELECT ains.complete(1, 1, to_jsonb(repeat('x', 2000)))$$, $$SELECT ains.checkpoint(1, 1, to_jsonb(repeat('x', 2000)))$$]) AS call;

-- every error tells what to do
CREATE FUNCTION pg_temp.error_of(call text) RETURNS text[] LANGUAGE plpgsql AS $$
DECLARE
    m text;
    d text;
    h text;
BEGIN
    EXECUTE call;
    RETURN NULL;
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS m = MESSAGE_TEXT, d = PG_EXCEPTION_DETAIL, h = PG_EXCEPTION_HINT;
    RETURN ARRAY[m, d, h];
END $$;
SELECT ok(e[1] !~ E'[\n.]' AND e[1] ~ '^[a-z]' AND e[2] <> '' AND e[3] <> '', 'message, detail and hint: ' || call)
  FROM (SELECT call, pg_temp.error_of(call) AS e FROM unnest(ARRAY[
    $$SELECT ains.heartbeat('tap nobody')$$, $$SELECT ains.get_task(9007199254740991)$$, format('SELECT ains.complete(%s, 1)', :sum),
    format('SELECT ains.cancel(%s)', :sum), $$SELECT ains.pause('tap nothing')$$, $$SELECT ains.claim('tap', incarnation => 1)$$,
    $$SELECT ains.enqueue('tap', to_jsonb(repeat('x', 2000)))$$, $$CALL ains.wait_for_task('tap')$$, $$SELECT ains.enqueue('tap', run_id => 1)$$,
    $$SELECT ains.enqueue('tap', on_conflict => 'ignore')$$, $$SELECT ains.enqueue('tap', priority => 0)$$, $$SELECT ains.enqueue(NULL)$$]) AS call) c;
SELECT ok(e[2] ~ 'COMPLETED', 'NS006 names the state') FROM pg_temp.error_of(format('SELECT ains.cancel(%s)', :sum)) AS e;

SELECT * FROM finish();

RESET ains.max_payload;
SELECT count(ains.stop_agent(agent_id)) AS stopped FROM ains.agent WHERE agent_id LIKE 'tap%' \gset
SELECT count(ains.cancel(task_id)) AS cancelled FROM ains.task WHERE capability LIKE 'tap%' \gset
SELECT count(*) AS pruned FROM ains.prune_agents('0') \gset
DELETE FROM ains.task_history WHERE capability LIKE 'tap%';
