-- health(): each check, and what makes it fail. Those that need other servers,
-- sessions or settings are in t/062_health.pl.
\set ECHO none
\getenv abs_srcdir PG_ABS_SRCDIR
\set begin :abs_srcdir '/sql/begin.psql'
\i :begin

-- A check; lengths of time masked, as machines are slow.
CREATE FUNCTION t.check(name text) RETURNS TABLE (status text, detail text, advice text) LANGUAGE sql AS $$
SELECT status, regexp_replace(detail, '[0-9]+ (s|min|h)\M', 'N \1'), advice FROM ains.check_health() WHERE check_name = name
$$;
CREATE FUNCTION t.summary() RETURNS text LANGUAGE sql AS $$
SELECT format('%s, %s: %s', h ->> 'status', CASE WHEN (h -> 'ready')::boolean THEN 'ready' ELSE 'not ready' END,
       (SELECT string_agg(r ->> 'check', ', ') FROM jsonb_array_elements(h -> 'reasons') r))
  FROM ains.health() h
$$;

-- nobody sweeps here yet
SELECT check_name, status FROM ains.check_health();
SELECT * FROM t.check('sweeper');
SELECT t.summary();
SELECT ains.health() - 'version' - 'reasons' AS health, ains.health() ->> 'version' = extversion AS version FROM pg_extension WHERE extname = 'ains';
SELECT jsonb_pretty(ains.health() -> 'reasons');

-- sweeps by hand
SELECT tasks_due FROM ains.sweep();
SELECT * FROM t.check('sweeper');
SELECT t.summary();
SELECT ains_internal.stall_clock('100 s');
SELECT status, detail FROM t.check('sweeper');
SELECT ains_internal.stall_clock('5 min');
SELECT * FROM t.check('sweeper');
SELECT tasks_due FROM ains.sweep();
SELECT t.summary();

-- the oldest pending task, unless somebody means it to wait
SELECT count(*) FROM ains.register_agent('a', capabilities => '{x}', heartbeat_timeout => '10 years');
SELECT ains.enqueue('x', run_at => t.now() - interval '50 min') AS x1 \gset
SELECT tasks_due FROM ains.sweep();
SELECT status FROM t.check('oldest_pending');
SELECT t.advance('30 min');
SELECT * FROM t.check('oldest_pending');
SELECT ains.pause('x');
SELECT * FROM t.check('oldest_pending');
SELECT ains.resume('x');

-- dead letters, of the last ten minutes
SELECT count(*) FROM ains.enqueue_batch('x', '[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]');
SELECT count(ains.fail(task_id, lease_token, 'broken', retryable => false)) FROM ains.claim('a', 9);
SELECT * FROM t.check('dead_letters');
BEGIN;
SELECT count(ains.fail(task_id, lease_token, 'broken', retryable => false)) FROM ains.claim('a', 2);
ROLLBACK;
SELECT status FROM t.check('dead_letters');
SELECT count(ains.fail(task_id, lease_token, 'broken', retryable => false)) FROM ains.claim('a', 1);
SELECT * FROM t.check('dead_letters');
SELECT t.advance('10 min');
SELECT status, detail FROM t.check('dead_letters');

-- ids that come to their end
SELECT status FROM t.check('wraparound');
SELECT last_value AS last_id FROM ains.task_task_id_seq \gset
SELECT setval('ains.task_task_id_seq', 9007199254740991 / 2 + 1) \g /dev/null
SELECT status FROM t.check('wraparound');
SELECT setval('ains.task_task_id_seq', 9007199254740000) \g /dev/null
SELECT status, regexp_replace(detail, 'to [0-9]+', 'to N') AS detail, advice FROM t.check('wraparound');
SELECT setval('ains.task_task_id_seq', :last_id) \g /dev/null
SELECT status FROM t.check('wraparound');

-- partitions: nobody makes them while nobody sweeps
SELECT tasks_due FROM ains.sweep();
SELECT * FROM t.check('partitions');
SELECT t.advance('5 days');
SELECT status FROM t.check('partitions');
SELECT t.advance('1 day');
SELECT * FROM t.check('partitions');
SELECT t.advance('2 days');
SELECT * FROM t.check('partitions');
SELECT tasks_due IS NOT NULL AS swept FROM ains.sweep();
SELECT status FROM t.check('partitions');

-- schedules that nobody runs, and one that cannot be run
SELECT ains.run_schedules();
SELECT ains.schedule('s', '* * * * *', 'x') > t.now() AS scheduled;
SELECT * FROM t.check('schedules');
SELECT t.advance('7 min');
SELECT * FROM t.check('schedules');
SELECT ains.unschedule('s');

-- who may
SET ROLE regress_monitor;
SELECT count(*) > 5 AS checks FROM ains.check_health();
SELECT ains.health() ? 'status' AS answers;
SET ROLE regress_agent;
CALL t.refused('SELECT ains.health()');
CALL t.refused('SELECT count(*) FROM ains.check_health()');
RESET ROLE;
