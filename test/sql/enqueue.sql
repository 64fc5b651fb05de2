\set ECHO none
\getenv abs_srcdir PG_ABS_SRCDIR
\set begin :abs_srcdir '/sql/begin.psql'
\i :begin
--
-- enqueue and enqueue_batch: results, defaults, what is refused.
--

-- the defaults
SELECT ains.enqueue('work') AS task_id;
\x on
SELECT task_id, capability, status, priority, effective_priority BETWEEN 5 AND 5.1 AS effective_priority,
       attempt, max_attempts, run_at = created_at AS due_at_once, t.about(created_at, '0') AS now,
       expires_at, pg_get_userbyid(enqueued_by) = current_user AS enqueued_by, agent_id, lease_token, claimed_at, lease_expires_at, deadline, timeout,
       cancel_requested_at, cancel_reason, unique_key, progress, error, finished_at, payload, metadata,
       checkpoint, result, usage
  FROM ains.get_task(1);
-- everything that can be said
SELECT ains.enqueue('work', '{"n": [1, 2.50, "ü", null]}', 10, run_at => t.now() + '1 h', max_attempts => 7,
                    timeout => '90 s', expires_at => t.now() + '2 h', unique_key => 'one', metadata => '[true]',
                    on_conflict => 'refuse') AS task_id;
SELECT status, priority, attempt, max_attempts, t.about(run_at, '1 h') AS run_at, t.about(expires_at, '2 h') AS expires_at,
       timeout, unique_key, payload, metadata
  FROM ains.get_task(2);
\x off
-- a capability is created with the default policy
SELECT * FROM (SELECT (x).* FROM ains.capability x) c (capability, lease, max_attempts, backoff, backoff_base,
    backoff_max, jitter, aging_interval, timeout, concurrency_limit, rate_limit, rate_period, min_trust, on_lost,
    keep_history, key_limit, paused, created_at) \gset
\echo :capability :max_attempts :backoff :backoff_base :backoff_max :jitter :aging_interval :on_lost :keep_history :paused
-- a run_at in the past gives it that age
SELECT ains.enqueue('work', run_at => t.now() - interval '1 h') AS task_id;
SELECT status, round(effective_priority::numeric, 1) AS effective_priority FROM ains.get_task(3);
SELECT ains.enqueue('work', run_at => '0001-01-01 BC') AS task_id;
SELECT ains.enqueue('work', run_at => '2000-01-01 00:00:00+00') AS task_id;
SELECT task_id, status FROM t.tasks WHERE task_id IN (4, 5);
SELECT ains.enqueue('work', run_at => '294000-01-01') AS task_id;
SELECT status FROM ains.get_task(6);
-- payloads of every kind, and those that JSON's null is
SELECT ains.enqueue('work', 'null'), ains.enqueue('work', '"text"'), ains.enqueue('work', '-0.0'), ains.enqueue('work', '[]');
SELECT payload FROM ains.task WHERE task_id BETWEEN 7 AND 10 ORDER BY task_id;
-- NULL is the default where there is one of NULL
SELECT ains.enqueue('work', '{}', 5, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 'return', NULL) AS task_id;

-- required
CALL t.refused($$SELECT ains.enqueue(NULL)$$);
CALL t.refused($$SELECT ains.enqueue('work', NULL)$$);
CALL t.refused($$SELECT ains.enqueue('work', priority => NULL)$$);
CALL t.refused($$SELECT ains.enqueue('work', on_conflict => NULL)$$);
-- names
CALL t.refused($$SELECT ains.enqueue('')$$);
CALL t.refused($$SELECT ains.enqueue(repeat('x', 129))$$);
CALL t.refused($$SELECT ains.enqueue(E'x\r')$$);
SELECT ains.enqueue(repeat('ж', 128)) AS task_id;
-- ranges
CALL t.refused($$SELECT ains.enqueue('work', priority => 0)$$);
CALL t.refused($$SELECT ains.enqueue('work', priority => 11)$$);
CALL t.refused($$SELECT ains.enqueue('work', priority => -2147483648)$$);
CALL t.refused($$SELECT ains.enqueue('work', priority => 70000)$$);
CALL t.refused($$SELECT ains.enqueue('work', max_attempts => 0)$$);
CALL t.refused($$SELECT ains.enqueue('work', max_attempts => -1)$$);
CALL t.refused($$SELECT ains.enqueue('work', max_attempts => 2147483647)$$);
CALL t.refused($$SELECT ains.enqueue('work', timeout => '0')$$);
CALL t.refused($$SELECT ains.enqueue('work', timeout => '-1 s')$$);
CALL t.refused($$SELECT ains.enqueue('work', timeout => '1 year -13 months')$$);
CALL t.refused($$SELECT ains.enqueue('work', timeout => '110 years')$$);
CALL t.refused($$SELECT ains.enqueue('work', timeout => '178000000 years')$$);
-- times
CALL t.refused($$SELECT ains.enqueue('work', run_at => 'infinity')$$);
CALL t.refused($$SELECT ains.enqueue('work', run_at => '-infinity')$$);
CALL t.refused($$SELECT ains.enqueue('work', expires_at => 'infinity')$$);
CALL t.refused($$SELECT ains.enqueue('work', expires_at => '-infinity')$$);
CALL t.refused($$SELECT ains.enqueue('work', run_at => t.now() + interval '2 h', expires_at => t.now() + interval '1 h')$$);
CALL t.refused($$SELECT ains.enqueue('work', run_at => '2040-01-01', expires_at => '2040-01-01')$$);
-- keys
CALL t.refused($$SELECT ains.enqueue('work', unique_key => '')$$);
CALL t.refused($$SELECT ains.enqueue('work', unique_key => repeat('x', 100000))$$);
CALL t.refused($$SELECT ains.enqueue('work', on_conflict => 'ignore')$$);
CALL t.refused($$SELECT ains.enqueue('work', on_conflict => '')$$);
-- sizes
SET ains.max_payload = '1kB';
CALL t.refused($$SELECT ains.enqueue('work', to_jsonb(repeat('x', 1100)))$$);
CALL t.refused($$SELECT ains.enqueue('work', metadata => to_jsonb(repeat('x', 1100)))$$);
SELECT ains.enqueue('work', to_jsonb(repeat('x', 900))) AS task_id;
RESET ains.max_payload;
-- a run that is not there
CALL t.refused($$SELECT ains.enqueue('work', run_id => 1)$$);
-- a capability that must exist
SET ains.auto_create_capabilities = off;
CALL t.refused($$SELECT ains.enqueue('never heard of')$$);
CALL t.refused($$SELECT * FROM ains.enqueue_batch('never heard of', '[1]')$$);
SELECT ains.enqueue('work') AS task_id;
RESET ains.auto_create_capabilities;
-- who may
SET ROLE regress_producer;
SELECT enqueued_by FROM ains.get_task(ains.enqueue('work'));
SET ROLE regress_agent;
CALL t.refused($$SELECT ains.enqueue('work')$$);
CALL t.refused($$SELECT * FROM ains.enqueue_batch('work', '[1]')$$);
SET ROLE regress_monitor;
CALL t.refused($$SELECT ains.enqueue('work')$$);
SET ROLE regress_nobody;
CALL t.refused($$SELECT ains.enqueue('work')$$);
SET ROLE regress_admin;
SELECT enqueued_by FROM ains.get_task(ains.enqueue('work'));
RESET ROLE;

-- part of the caller's transaction
SELECT t.state() AS before \gset
BEGIN;
SELECT ains.enqueue('work') > 0 AS enqueued;
SELECT ains.enqueue('new one') > 0 AS enqueued;
ROLLBACK;
SELECT t.state() = :'before' AS nothing_left;
BEGIN READ ONLY;
SELECT ains.enqueue('work');
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
-- also under REPEATABLE READ and SERIALIZABLE
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT ains.enqueue('serial') > 0 AS enqueued;
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT ains.enqueue('serial') > 0 AS enqueued;
COMMIT;
SELECT count(*) FROM ains.task WHERE capability = 'serial';

-- expires_at: no attempt started before
SELECT ains.enqueue('late', expires_at => t.now() + interval '1 min') AS late \gset
SELECT ains.enqueue('late', expires_at => t.now() - interval '1 min') AS too_late \gset
SELECT agent_id FROM ains.register_agent('a', capabilities => '{late}');
SELECT task_id = :late AS the_first FROM ains.claim('a', 10);
SELECT ains.release(:late, t.token(:late));
SELECT t.advance('2 min');
SELECT acknowledged FROM ains.heartbeat('a');
SELECT count(*) AS claimable FROM ains.claim('a', 10);
SELECT tasks_expired FROM ains.sweep();
SELECT task_id = :late AS is_first, status, attempt, finished_at IS NOT NULL AS finished
  FROM ains.task_info WHERE capability = 'late' ORDER BY task_id;
-- once an attempt was started and counted it does not expire
SELECT ains.enqueue('late', expires_at => t.now() + interval '1 min') AS late \gset
SELECT task_id = :late AS claimed FROM ains.claim('a', 10);
SELECT ains.fail(:late, t.token(:late), 'again', true, '5 min');
SELECT t.advance('10 min');
SELECT tasks_expired, tasks_due FROM ains.sweep();
SELECT acknowledged FROM ains.heartbeat('a');
SELECT task_id = :late AS claimed, attempt FROM ains.claim('a', 10);
-- one that is scheduled and expires the moment it is due
SELECT ains.enqueue('late', run_at => t.now() + interval '1 min', expires_at => t.now() + interval '2 min') AS late \gset
SELECT t.advance('90 s');
SELECT tasks_expired, tasks_due FROM ains.sweep();
SELECT status FROM ains.get_task(:late);
SELECT t.advance('90 s');
SELECT tasks_expired, tasks_due FROM ains.sweep();
SELECT status FROM ains.get_task(:late);

-- run_at: SCHEDULED until then
SELECT ains.enqueue('soon', run_at => t.now() + interval '1 min') AS soon \gset
SELECT agent_id FROM ains.register_agent('s', capabilities => '{soon}');
SELECT count(*) FROM ains.claim('s');
SELECT t.advance('61 s');
SELECT tasks_due FROM ains.sweep();
SELECT status FROM ains.get_task(:soon);
SELECT tasks_due FROM ains.sweep();
SELECT acknowledged FROM ains.heartbeat('s');
SELECT task_id = :soon AS claimed FROM ains.claim('s');
