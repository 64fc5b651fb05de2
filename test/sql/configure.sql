\set ECHO none
\getenv abs_srcdir PG_ABS_SRCDIR
\set begin :abs_srcdir '/sql/begin.psql'
\i :begin
--
-- configure_capability, pause, resume.
--
SELECT agent_id FROM ains.register_agent('a', capabilities => '{x,y}', heartbeat_timeout => '1 day');

-- the defaults
\x on
SELECT capability, lease, max_attempts, backoff, backoff_base, backoff_max, jitter, aging_interval, timeout, concurrency_limit,
       rate_limit, rate_period, min_trust, on_lost, keep_history, key_limit, paused, t.about(created_at, '0') AS created_at
  FROM ains.configure_capability('new');
-- everything; then NULL leaves it as it is
SELECT capability, lease, max_attempts, backoff, backoff_base, backoff_max, jitter, aging_interval, timeout, on_lost, keep_history
  FROM ains.configure_capability('new', '1 min', 9, 'linear', '2 s', '3 min', 0.25, '4 min', '5 min', on_lost => 'fail', keep_history => false);
SELECT capability, lease, max_attempts, backoff, backoff_base, backoff_max, jitter, aging_interval, timeout, on_lost, keep_history
  FROM ains.configure_capability('new', max_attempts => 10);
-- none: a lease or timeout of 0
SELECT lease, timeout, max_attempts FROM ains.configure_capability('new', lease => '0', timeout => '0');
\x off
SELECT count(*) FROM ains.capability;

-- it creates one, whatever ains.auto_create_capabilities says
SET ains.auto_create_capabilities = off;
SELECT capability FROM ains.configure_capability('made on purpose');
RESET ains.auto_create_capabilities;
SELECT ains.enqueue('made on purpose') IS NOT NULL AS enqueued;

-- bad input
CALL t.refused($$SELECT ains.configure_capability(NULL)$$);
CALL t.refused($$SELECT ains.configure_capability('')$$);
CALL t.refused($$SELECT ains.configure_capability(E'a\tb')$$);
CALL t.refused($$SELECT ains.configure_capability(repeat('x', 129))$$);
CALL t.refused($$SELECT ains.configure_capability('new', lease => '-1 s')$$);
CALL t.refused($$SELECT ains.configure_capability('new', lease => '110 years')$$);
CALL t.refused($$SELECT ains.configure_capability('new', max_attempts => 0)$$);
CALL t.refused($$SELECT ains.configure_capability('new', max_attempts => -1)$$);
CALL t.refused($$SELECT ains.configure_capability('new', max_attempts => 2000000)$$);
CALL t.refused($$SELECT ains.configure_capability('new', backoff => 'quadratic')$$);
CALL t.refused($$SELECT ains.configure_capability('new', backoff => '')$$);
CALL t.refused($$SELECT ains.configure_capability('new', backoff_base => '-1 s')$$);
CALL t.refused($$SELECT ains.configure_capability('new', backoff_max => '110 years')$$);
CALL t.refused($$SELECT ains.configure_capability('new', jitter => -0.1)$$);
CALL t.refused($$SELECT ains.configure_capability('new', jitter => 1.1)$$);
CALL t.refused($$SELECT ains.configure_capability('new', jitter => 'NaN')$$);
CALL t.refused($$SELECT ains.configure_capability('new', jitter => 'Infinity')$$);
CALL t.refused($$SELECT ains.configure_capability('new', aging_interval => '-1 s')$$);
CALL t.refused($$SELECT ains.configure_capability('new', timeout => '-1 s')$$);
CALL t.refused($$SELECT ains.configure_capability('new', on_lost => 'ignore')$$);
-- limits: 0 takes one away again
CALL t.refused($$SELECT ains.configure_capability('new', concurrency_limit => -1)$$);
CALL t.refused($$SELECT ains.configure_capability('new', rate_limit => -1)$$);
CALL t.refused($$SELECT ains.configure_capability('new', rate_period => '-1 s')$$);
CALL t.refused($$SELECT ains.configure_capability('new', rate_limit => 1)$$);
SELECT concurrency_limit, rate_limit, rate_period
  FROM ains.configure_capability('new', concurrency_limit => 3, rate_limit => 2, rate_period => '1 min');
SELECT concurrency_limit, rate_limit, rate_period
  FROM ains.configure_capability('new', concurrency_limit => 0, rate_limit => 0, rate_period => '0');
CALL t.refused($$SELECT ains.configure_capability('new', min_trust => 1.5)$$);
-- who may
SET ROLE regress_producer;
CALL t.refused($$SELECT ains.configure_capability('new')$$);
CALL t.refused($$SELECT ains.pause('new')$$);
CALL t.refused($$SELECT ains.resume('new')$$);
SET ROLE regress_monitor;
CALL t.refused($$SELECT ains.configure_capability('new')$$);
SET ROLE regress_admin;
SELECT capability FROM ains.configure_capability('new');
SELECT ains.pause('new'), ains.resume('new');
RESET ROLE;

-- in force at once, also for tasks that wait
SELECT ains.enqueue('x') AS x1, ains.enqueue('x') AS x2 \gset
SELECT max_attempts FROM ains.get_task(:x1);
SELECT max_attempts FROM ains.configure_capability('x', max_attempts => 1, timeout => '1 h', lease => '2 h');
SELECT max_attempts, timeout FROM ains.get_task(:x1);
SELECT task_id = :x1 AS claimed, max_attempts, t.about(lease_expires_at, '2 h') AS lease, t.about(deadline, '1 h') AS deadline FROM ains.claim('a');
SELECT ains.fail(:x1, t.token(:x1), 'once', true);
-- a lease that runs keeps its length
SELECT task_id = :x2 AS claimed FROM ains.claim('a');
SELECT lease FROM ains.configure_capability('x', lease => '1 min', timeout => '0', max_attempts => 4);
SELECT t.about(ains.extend_lease(:x2, t.token(:x2)), '2 h') AS extended;
-- and the change of a transaction that is rolled back never was
SELECT ains.enqueue('x') IS NOT NULL AS enqueued;
BEGIN;
SELECT lease FROM ains.configure_capability('x', lease => '3 h');
SELECT t.about(lease_expires_at, '3 h') AS lease FROM ains.claim('a');
ROLLBACK;
SELECT t.about(lease_expires_at, '1 min') AS lease FROM ains.claim('a');
SELECT ains.enqueue('x') IS NOT NULL AS enqueued;
BEGIN;
SAVEPOINT s;
SELECT lease FROM ains.configure_capability('x', lease => '3 h');
ROLLBACK TO s;
SELECT t.about(lease_expires_at, '1 min') AS lease FROM ains.claim('a');
COMMIT;

-- pause: no claim until resume; what is held goes on
SELECT ains.enqueue('x') AS x, ains.enqueue('y') AS y, ains.enqueue('x') AS x2 \gset
SELECT task_id = :x AS claimed FROM ains.claim('a', capabilities => '{x}');
SELECT ains.pause('x');
SELECT ains.pause('x');
SELECT capability FROM ains.claim('a', 10);
SELECT capability, paused, pending, active FROM ains.queue_stats() WHERE capability IN ('x', 'y');
SELECT ains.complete(:x, t.token(:x));
SELECT ains.enqueue('x') IS NOT NULL AS enqueued;
SELECT count(*) FROM ains.claim('a', 10);
SELECT reason FROM ains.explain_task(:x2);
SELECT ains.resume('x');
SELECT ains.resume('x');
SELECT count(*) FROM ains.claim('a', 10);
-- rolled back
SELECT ains.enqueue('y') IS NOT NULL AS enqueued;
BEGIN;
SELECT ains.pause('y');
SELECT count(*) FROM ains.claim('a', 10);
ROLLBACK;
SELECT count(*) FROM ains.claim('a', 10);
-- bad input
CALL t.refused($$SELECT ains.pause(NULL)$$);
CALL t.refused($$SELECT ains.pause('')$$);
CALL t.refused($$SELECT ains.pause('never heard of')$$);
CALL t.refused($$SELECT ains.resume(NULL)$$);
CALL t.refused($$SELECT ains.resume('never heard of')$$);
