-- metrics(): what Prometheus reads, and the same as rows.
\set ECHO none
\getenv abs_srcdir PG_ABS_SRCDIR
\set begin :abs_srcdir '/sql/begin.psql'
\i :begin

-- The value of a sample; NULL: there is none.
CREATE FUNCTION t.sample(name text, labels jsonb DEFAULT '{}') RETURNS float8 LANGUAGE sql AS $$
SELECT s.value FROM ains.metric_samples() s WHERE s.name = $1 AND s.labels = $2
$$;
-- Samples that are not 0, but for buckets and what depends on the machine.
CREATE FUNCTION t.samples(filter text) RETURNS TABLE (sample text, value float8) LANGUAGE sql AS $$
SELECT s.name || ' ' || s.labels, s.value FROM ains.metric_samples() s
 WHERE s.name ~ filter AND s.value <> 0 AND s.name !~ '_bucket$'
$$;

-- the families, in their order
SELECT substr(line, 8) AS family FROM regexp_split_to_table(ains.metrics(), E'\n') WITH ORDINALITY AS l (line, n) WHERE line ~ '^# TYPE' ORDER BY n;
-- each has one HELP, before its TYPE
SELECT count(*) AS wrong FROM (SELECT line, lag(line) OVER (ORDER BY n) AS before
       FROM regexp_split_to_table(ains.metrics(), E'\n') WITH ORDINALITY AS l (line, n)) l
 WHERE line ~ '^# TYPE' AND split_part(before, ' ', 3) IS DISTINCT FROM split_part(line, ' ', 3);
SELECT count(DISTINCT split_part(line, ' ', 3)) = count(*) AS named_once FROM regexp_split_to_table(ains.metrics(), E'\n') line WHERE line ~ '^# TYPE';
SELECT right(ains.metrics(), 1) = E'\n' AS ends_with_a_line_feed;

-- gauges that are not known have no sample
SELECT ains.enqueue('x') AS early \gset
SELECT t.sample('ains_tasks_in_queue', '{"capability": "x"}') AS not_counted_yet, t.sample('ains_tasks_created_total', '{"capability": "x"}') AS created;
SELECT tasks_due FROM ains.sweep();
SELECT t.sample('ains_tasks_in_queue', '{"capability": "x"}') AS in_queue;

-- every event
SELECT count(*) FROM ains.register_agent('a', 'crawler', capabilities => '{x,y}', heartbeat_timeout => '1 year');
SELECT count(*) FROM ains.register_agent('b', 'crawler', capabilities => '{x}', heartbeat_timeout => '1 year');
SELECT count(*) FROM ains.register_agent('c', 'painter', heartbeat_timeout => '1 min');
SELECT (c).capability FROM ains.configure_capability('x', max_attempts => 2, jitter => 0) c;
SELECT t.advance('20 s');
SELECT count(*) FROM ains.claim('a', 1);
SELECT t.advance('7 s');
SELECT ains.complete(:early, t.token(:early));
SELECT ains.enqueue('x', timeout => '10 s') AS x1, ains.enqueue('y', depends_on => ARRAY[:early]::bigint[]) AS y1 \gset
SELECT ains.enqueue('x', priority => 1) AS x2 \gset
SELECT count(*) FROM ains.claim('a', 1);
SELECT t.advance('1 min');
-- c dies, and x1 is out of time
SELECT leases_expired, attempts_timed_out, agents_marked_dead FROM ains.sweep();
SELECT t.advance('1 min');
SELECT tasks_due FROM ains.sweep();
SELECT count(*) FROM ains.claim('a', 1);
SELECT ains.fail(:x1, t.token(:x1), 'no use', retryable => false);
SELECT * FROM t.samples('^ains_(task|lease|agent)') WHERE sample !~ 'seconds_sum';
-- lengths, to the second; a bucket has what is at most its bound
SELECT name, labels, round(value) AS value FROM ains.metric_samples() WHERE name ~ '^ains_task_duration_seconds';
SELECT t.sample('ains_oldest_pending_seconds', '{"capability": "x"}') BETWEEN 120 AND 180 AS two_minutes, t.sample('ains_oldest_pending_seconds', '{"capability": "y"}') BETWEEN 120 AND 180 AS likewise;
-- a death 27 s and a timeout 50 s after they were due, and 59 s for what became due a second after a sweep
SELECT t.sample('ains_deadline_lag_seconds_count') AS handled_late, t.sample('ains_deadline_lag_seconds_bucket', '{"le": "30"}') < t.sample('ains_deadline_lag_seconds_bucket', '{"le": "60"}') AS by_so_much;

-- the machinery
SELECT * FROM t.samples('^ains_(launcher|sweep|schedule|waiters|ready_drift|log)') WHERE sample !~ 'overdue|duration';
SELECT t.sample('ains_history_partitions') BETWEEN 8 AND 9 AS partitions, t.sample('ains_history_partitions_ahead') BETWEEN 6 AND 7 AS ahead;
SELECT t.sample('ains_sweep_duration_seconds_count') = t.sample('ains_sweeps_total') AS each_took_its_time;
SELECT t.sample('ains_ready_refills_total') > 0 AS refilled, t.sample('ains_ready_keys') AS ready_keys;
SELECT t.sample('ains_roster_slots') = current_setting('ains.max_agents')::int AS size, t.sample('ains_roster_slots') - t.sample('ains_roster_slots_free') >= 2 AS used;
SELECT t.sample('ains_lanes') = current_setting('ains.max_lanes')::int AS size, t.sample('ains_lanes_free') < t.sample('ains_lanes') AS used;
SELECT t.sample('ains_application_info', jsonb_build_object('version', extversion)) AS one FROM pg_extension WHERE extname = 'ains';
SELECT ains.run_schedules();
SELECT ains.schedule('s', '0 0 1 1 *', 'x') > t.now() AS scheduled, ains.schedule('s2', '* * * * *', 'x') > t.now() AS scheduled;
SELECT ains.pause_schedule('s');
SELECT * FROM t.samples('^ains_schedules');
SELECT t.advance('10 min');
SELECT * FROM t.samples('^ains_schedules');
SELECT ains.unschedule('s2');

-- the checks of health(), but for the one that reads tasks
SELECT check_name, h.status, m.status AS sample FROM ains.check_health() h FULL JOIN
    (SELECT labels ->> 'check', ('{healthy,degraded,unhealthy}'::text[])[value::int + 1] FROM ains.metric_samples() WHERE name = 'ains_health_status') m (check_name, status)
    USING (check_name) WHERE h.status IS DISTINCT FROM m.status;
-- what is rolled back was not
BEGIN;
SELECT ains.cancel(:x2);
ROLLBACK;
SELECT t.sample('ains_tasks_cancelled_total', '{"capability": "x"}') AS cancelled;

-- the text says what the rows say
CREATE FUNCTION t.as_text() RETURNS TABLE (line text) LANGUAGE sql AS $$
SELECT name || coalesce('{' || (SELECT string_agg(format('%s="%s"', key, value), ',' ORDER BY key = 'le', key) FROM jsonb_each_text(labels)) || '}', '')
       || ' ' || value FROM ains.metric_samples()
$$;
SELECT count(*) AS differ FROM (
    (SELECT line FROM regexp_split_to_table(ains.metrics(), E'\n') line WHERE line ~ '^[a-z]' EXCEPT SELECT line FROM t.as_text())
    UNION ALL
    (SELECT line FROM t.as_text() EXCEPT SELECT line FROM regexp_split_to_table(ains.metrics(), E'\n') line)) d
 WHERE line !~ 'overdue|oldest';
-- help is that of the text
SELECT count(*) AS differ FROM ains.metric_samples() s WHERE position(format(E'# HELP %1$s %2$s\n# TYPE %1$s %3$s\n', regexp_replace(name, CASE type WHEN 'histogram' THEN '_(bucket|sum|count)$' ELSE '^$' END, ''), help, type) IN ains.metrics()) = 0;

-- names that have to be escaped: quotes, backslashes, and a line separator that is none here
SELECT ains.enqueue(E'say "hi" \\n \\\\ {x="1"} \u2028 \u20ac') IS NOT NULL AS enqueued;
SELECT replace(line, U&'\2028', '<2028>') AS line FROM regexp_split_to_table(ains.metrics(), E'\n') line WHERE line ~ '^ains_tasks_created_total.*say';
SELECT labels ->> 'capability' = E'say "hi" \\n \\\\ {x="1"} \u2028 \u20ac' AS same, value FROM ains.metric_samples() WHERE name = 'ains_tasks_created_total' AND labels ->> 'capability' ~ 'say';
-- a real line feed, which no function lets in
UPDATE ains.agent SET agent_type = E'two\nlines' WHERE agent_id = 'b';
SELECT tasks_due FROM ains.sweep();
SELECT line FROM regexp_split_to_table(ains.metrics(), E'\n') line WHERE line ~ 'two';

-- who may
SET ROLE regress_monitor;
SELECT count(*) > 100 AS rows FROM ains.metric_samples();
SELECT length(ains.metrics()) > 1000 AS text;
SET ROLE regress_producer;
CALL t.refused('SELECT ains.metrics()');
CALL t.refused('SELECT count(*) FROM ains.metric_samples()');
RESET ROLE;

-- no task is read but through the ready index, and nothing of history
SELECT count(*) FROM ains.enqueue_batch('y', (SELECT jsonb_agg(n) FROM generate_series(1, 2000) n));
SELECT tasks_due FROM ains.sweep();
BEGIN;
SELECT pg_stat_get_xact_numscans('ains.task'::regclass) AS scans, pg_stat_get_xact_tuples_returned('ains.task_ready'::regclass) AS entries \gset
SELECT length(ains.metrics()) > 1000 AS text;
SELECT pg_stat_get_xact_numscans('ains.task'::regclass) - :scans AS table_scans, pg_stat_get_xact_tuples_returned('ains.task_ready'::regclass) - :entries < 2010 AS bounded;
COMMIT;
