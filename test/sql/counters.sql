\set ECHO none
\getenv abs_srcdir PG_ABS_SRCDIR
\set begin :abs_srcdir '/sql/begin.psql'
\i :begin
--
-- ains_internal.counters(), and the live tasks that queue_stats() takes from
-- there: what each call counts, and that only commits do.
--
-- What was counted since it was last asked, events of x and y.
CREATE TABLE t.last AS SELECT capability, counter, value FROM ains_internal.counters() WHERE false;
CREATE FUNCTION t.counted() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    answer text;
BEGIN
    SELECT string_agg(format('%s %s %s', n.capability, n.counter, n.value - coalesce(l.value, 0)), ', ' ORDER BY n.capability, n.counter)
      INTO answer
      FROM ains_internal.counters() n LEFT JOIN t.last l USING (capability, counter)
     WHERE n.bound IS NULL AND n.counter !~ '_us$' AND n.counter = lower(n.counter) AND n.value <> coalesce(l.value, 0);
    DELETE FROM t.last;
    INSERT INTO t.last SELECT capability, counter, value FROM ains_internal.counters() WHERE bound IS NULL;
    RETURN coalesce(answer, 'nothing');
END
$$;
-- The live tasks by memory; NULL: not known.
CREATE FUNCTION t.live() RETURNS text LANGUAGE sql AS $$
SELECT string_agg(format('%s %s %s', capability, counter, value), ', ' ORDER BY capability, counter)
  FROM ains_internal.counters() WHERE counter = upper(counter) AND value <> 0
$$;
-- The live tasks by the table, and by queue_stats.
CREATE FUNCTION t.really() RETURNS text LANGUAGE sql AS $$
SELECT string_agg(format('%s %s %s', capability, status, count), ', ' ORDER BY capability, status::text)
  FROM (SELECT capability, status, count(*) FROM ains.task GROUP BY 1, 2) t
$$;
CREATE FUNCTION t.stats() RETURNS text LANGUAGE sql AS $$
SELECT string_agg(format('%s %s %s', capability, status, count), ', ' ORDER BY capability, status::text)
  FROM ains.queue_stats() q, LATERAL (VALUES ('BLOCKED', blocked), ('SCHEDULED', scheduled), ('PENDING', pending), ('ACTIVE', active)) v (status, count)
 WHERE count <> 0
$$;
CREATE FUNCTION t.agree() RETURNS boolean LANGUAGE sql AS $$
SELECT (t.live(), t.stats()) IS NOT DISTINCT FROM (t.really(), t.really())
$$;

SELECT agent_id FROM ains.register_agent('a', capabilities => '{x,y}', heartbeat_timeout => '1 year');
SELECT (c).capability FROM ains.configure_capability('x', max_attempts => 2, jitter => 0) c;

-- nothing is known before the first sweep; queue_stats counts the table
SELECT ains.enqueue('x') AS early \gset
SELECT t.counted(), t.live(), t.stats();
SELECT tasks_due FROM ains.sweep();
SELECT t.live(), t.agree();

-- each event
SELECT ains.enqueue('x') AS x1, ains.enqueue('x') AS x2, ains.enqueue('x', run_at => t.now() + interval '1 min') AS x3 \gset
SELECT count(*) FROM ains.enqueue_batch('y', '[1, 2, 3]');
SELECT ains.enqueue('y', unique_key => 'k') AS k \gset
SELECT ains.enqueue('y', unique_key => 'k') = :k AS there_already, ains.enqueue('y', '2', unique_key => 'k', on_conflict => 'replace') = :k AS replaced;
SELECT t.counted(), t.agree(), t.live();
SELECT count(*) FROM ains.claim('a', 3, capabilities => '{x}');
SELECT t.counted(), t.agree(), t.live();
SELECT ains.complete(:early, t.token(:early));
SELECT ains.complete(:early, t.token(:early)) AS again;
SELECT t.counted(), t.agree();
SELECT ains.fail(:x1, t.token(:x1), 'bad luck', retryable => true);
SELECT t.counted(), t.agree();
SELECT ains.release(:x2, t.token(:x2));
SELECT t.counted(), t.agree();
SELECT t.advance('2 s');
SELECT tasks_due FROM ains.sweep();
SELECT t.counted(), t.agree(), t.live();
-- a dead letter, and back
SELECT count(*) FROM ains.claim('a', 2, capabilities => '{x}');
SELECT ains.fail(:x1, t.token(:x1), 'bad luck', retryable => true);
SELECT t.counted(), t.agree();
SELECT ains.retry(:x1) = :x1 AS retried;
SELECT t.counted(), t.agree();
SELECT ains.fail(:x2, t.token(:x2), 'no use', retryable => false);
SELECT t.counted(), t.agree();
-- leases that are lost: with another attempt, and without
SELECT count(*) FROM ains.claim('a', 1, capabilities => '{x}', lease => '1 s');
SELECT t.advance('2 min');
SELECT leases_expired, tasks_due FROM ains.sweep();
SELECT t.counted(), t.agree();
SELECT count(*) FROM ains.claim('a', 1, capabilities => '{x}', lease => '1 s');
SELECT t.advance('2 min');
SELECT leases_expired FROM ains.sweep();
SELECT t.counted(), t.agree();
-- cancelled while it waits, while it is held
SELECT ains.cancel(:k);
SELECT t.counted(), t.agree();
SELECT task_id AS y1 FROM ains.claim('a', 1, capabilities => '{y}') \gset
SELECT ains.cancel(:y1);
SELECT t.counted(), t.agree();
SELECT ains.release(:y1, t.token(:y1));
SELECT t.counted(), t.agree();
-- expired
SELECT ains.enqueue('y', expires_at => t.now() + interval '1 min') IS NOT NULL AS enqueued;
SELECT t.advance('2 min');
SELECT tasks_expired FROM ains.sweep();
SELECT t.counted(), t.agree();
-- completed in a batch, one of them twice
SELECT array_agg(task_id) AS ids, array_agg(lease_token) AS tokens FROM ains.claim('a', 10, capabilities => '{y}') \gset
SELECT count(*) FROM ains.complete_batch(:'ids'::bigint[] || (:'ids'::bigint[])[1], :'tokens'::bigint[] || (:'tokens'::bigint[])[1]);
SELECT t.counted(), t.agree();
SELECT t.live();

-- what is rolled back was not
BEGIN;
SELECT count(*) FROM ains.enqueue_batch('x', '[1, 2, 3]');
SELECT t.stats() = t.really() AS own_are_seen, t.live();
ROLLBACK;
SELECT t.counted(), t.agree();
BEGIN;
SELECT ains.enqueue('x') IS NOT NULL AS stays;
SAVEPOINT s;
SELECT count(*) FROM ains.enqueue_batch('x', '[1, 2, 3]');
SAVEPOINT s2;
SELECT count(*) FROM ains.claim('a', 2);
RELEASE s2;
SELECT t.stats() = t.really() AS own_are_seen;
ROLLBACK TO s;
SELECT t.stats() = t.really() AS own_are_seen;
SAVEPOINT s3;
SELECT count(*) FROM ains.claim('a', 2);
RELEASE s3;
-- the sweep counts, and what it sees of its own transaction may yet be undone
SELECT ains.rescan();
SELECT t.live();
SELECT tasks_due FROM ains.sweep();
SAVEPOINT s4;
SELECT count(*) FROM ains.enqueue_batch('x', '[1, 2, 3]');
ROLLBACK TO s4;
SELECT t.stats() = t.really() AS own_are_seen;
COMMIT;
SELECT t.counted(), t.agree(), t.live();
BEGIN;
SELECT ains.enqueue('x') IS NOT NULL AS enqueued;
SELECT ains.rescan();
SELECT tasks_due FROM ains.sweep();
ROLLBACK;
SELECT t.counted(), t.agree(), t.live();
-- a subtransaction for each
DO $$
BEGIN
    FOR i IN 1 .. 50 LOOP
        BEGIN
            PERFORM ains.enqueue('y');
            IF i % 2 = 0 THEN RAISE EXCEPTION 'no'; END IF;
        EXCEPTION WHEN raise_exception THEN NULL;
        END;
    END LOOP;
END
$$;
SELECT t.counted(), t.agree(), t.live();

-- what was done to the table by hand is seen after rescan
DELETE FROM ains.task WHERE task_id IN (SELECT task_id FROM ains.task WHERE capability = 'y' LIMIT 5);
SELECT t.agree();
SELECT ains.rescan();
SELECT t.live() AS not_known, t.stats() = t.really() AS counted;
SELECT tasks_due FROM ains.sweep();
SELECT t.agree();
-- or, without, in its time
DELETE FROM ains.task WHERE capability = 'y';
SELECT t.advance('1 day');
SELECT tasks_due FROM ains.sweep();
SELECT t.agree(), t.live();

-- wait: from due to claim; run: from claim to completion; seconds, not cumulative
SELECT count(*) FROM ains.register_agent('b', capabilities => '{z}', heartbeat_timeout => '1 year');
SELECT ains.enqueue('z') IS NOT NULL AS enqueued;
SELECT t.advance('5 s');
SELECT task_id AS z1 FROM ains.claim('b') \gset
SELECT t.advance('20 s');
SELECT ains.complete(:z1, t.token(:z1));
SELECT ains.enqueue('z', run_at => t.now() - interval '50 min') AS z2 \gset
SELECT count(*) FROM ains.claim('b');
SELECT t.advance('5 h');
SELECT ains.complete(:z2, t.token(:z2));
SELECT counter, bound, value FROM ains_internal.counters() WHERE capability = 'z' AND bound IS NOT NULL AND value <> 0 ORDER BY counter DESC, bound;
SELECT counter, value / 60000000 AS minutes FROM ains_internal.counters() WHERE capability = 'z' AND counter ~ '_us$' ORDER BY counter DESC;
SELECT counter, count(*), max(bound) FROM ains_internal.counters() WHERE capability = 'z' AND bound IS NOT NULL GROUP BY counter ORDER BY counter DESC;

-- oldest_pending: by due time, not by rank
SELECT (c).capability FROM ains.configure_capability('w', aging_interval => '10 min') c;
SELECT ains.enqueue('w', priority => 10, run_at => t.now() - interval '10 min') IS NOT NULL AS urgent,
       ains.enqueue('w', priority => 5, run_at => t.now() - interval '20 min') IS NOT NULL AS older,
       ains.enqueue('w', priority => 1, run_at => t.now() - interval '30 min') IS NOT NULL AS oldest;
SELECT oldest_pending BETWEEN '30 min' AND '31 min' AS oldest_pending FROM ains.queue_stats() WHERE capability = 'w';
-- as far as the first 1000 in rank order tell
SELECT count(*) FROM ains.enqueue_batch('w', (SELECT jsonb_agg(n) FROM generate_series(1, 1000) n), priority => 10);
SELECT oldest_pending BETWEEN '10 min' AND '11 min' AS of_the_first FROM ains.queue_stats() WHERE capability = 'w';
