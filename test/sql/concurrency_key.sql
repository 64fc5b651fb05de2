\set ECHO none
\getenv abs_srcdir PG_ABS_SRCDIR
\set begin :abs_srcdir '/sql/begin.psql'
\i :begin
--
-- concurrency_key: of the tasks of a key at most key_limit are PENDING or
-- ACTIVE, the others wait in rank order.
--
SELECT key_limit FROM ains.configure_capability('work', key_limit => 1, backoff_base => '1 min', jitter => 0, max_attempts => 3);
SELECT agent_id FROM ains.register_agent('a', capabilities => '{work,free}');

CREATE VIEW t.keys AS
SELECT task_id, payload, concurrency_key AS key, status, unmet FROM ains.task ORDER BY task_id;
CREATE FUNCTION t.put(payload jsonb, key text, priority integer DEFAULT 5, run_at timestamptz DEFAULT NULL,
    expires_at timestamptz DEFAULT NULL, depends_on bigint[] DEFAULT NULL) RETURNS bigint LANGUAGE sql AS $$
SELECT ains.enqueue('work', payload, priority, run_at => run_at, expires_at => expires_at,
                    depends_on => depends_on, concurrency_key => key)
$$;
CREATE FUNCTION t.held(OUT task_id bigint, OUT token bigint) LANGUAGE sql AS $$
SELECT task_id, lease_token FROM ains.task WHERE status = 'ACTIVE' ORDER BY task_id LIMIT 1
$$;
-- Never more of a key than its limit, never a place that nobody takes.
CREATE FUNCTION t.wrong() RETURNS SETOF text LANGUAGE sql AS $$
SELECT format('%s: %s in use, %s wait', concurrency_key, used, waiting) FROM (
    SELECT concurrency_key, count(*) FILTER (WHERE status IN ('PENDING', 'ACTIVE')) AS used,
           count(*) FILTER (WHERE status = 'BLOCKED' AND unmet IS NULL) AS waiting, key_limit
      FROM ains.task JOIN ains.capability USING (capability)
     WHERE concurrency_key IS NOT NULL GROUP BY 1, key_limit) k
 WHERE used > key_limit OR (waiting > 0 AND used < key_limit)
$$;

CALL t.refused($$SELECT ains.enqueue('work', concurrency_key => '')$$);
CALL t.refused($$SELECT ains.enqueue('work', concurrency_key => repeat('x', 10000))$$);

-- the first may run, the others stand in line by rank; other keys, and tasks without one, do not
SELECT t.put('1', 'k'), t.put('2', 'k'), t.put('3', 'k', 9), t.put('4', 'k', 9), t.put('5', 'other'), t.put('6', NULL);
SELECT * FROM t.keys;
SELECT reason, t.mask(detail) AS detail FROM t.keys, ains.explain_task(task_id) WHERE payload IN ('1', '2', '3') ORDER BY task_id;
SELECT payload FROM ains.claim('a', 10);
-- what completes lets the first in line go, and is the same in one transaction
SELECT ains.complete(task_id, token) FROM t.held();
SELECT * FROM t.keys;
SELECT payload FROM ains.claim('a', 10);
BEGIN;
SELECT ains.complete(task_id, t.token(task_id)) FROM ains.task WHERE payload = '3';
SELECT payload FROM ains.claim('a', 10);
ROLLBACK;
SELECT * FROM t.keys;

-- every other way: a retry later lets the next go, and stands in line again when it is due
SELECT ains.fail(task_id, t.token(task_id), 'broken') FROM ains.task WHERE payload = '3';
SELECT * FROM t.keys;
SELECT payload FROM ains.claim('a', 10);
SELECT t.advance('1 min');
SELECT tasks_due FROM ains.sweep();
SELECT * FROM t.keys;
-- a release, and a lease taken back, keep the place
SELECT ains.release(task_id, t.token(task_id)) FROM ains.task WHERE payload = '4';
SELECT * FROM t.keys;
SELECT payload FROM ains.claim('a', 10);
SELECT count(*) FROM ains.register_agent('a', capabilities => '{work,free}');
SELECT * FROM t.keys;
-- a release with a delay does not
SELECT payload FROM ains.claim('a', 10);
SELECT ains.release(task_id, t.token(task_id), '1 day') FROM ains.task WHERE payload = '4';
SELECT * FROM t.keys;
SELECT payload FROM ains.claim('a', 10);
-- a failure for good
SELECT ains.fail(task_id, t.token(task_id), 'broken', retryable => false) FROM ains.task WHERE payload = '3';
SELECT * FROM t.keys;
SELECT * FROM t.wrong();
-- retry puts it back in line, by its priority
SELECT ains.retry(task_id) IS NOT NULL FROM ains.task_history WHERE payload = '3';
SELECT * FROM t.keys;
-- cancel: of the one that may run, of one in line, of one that is held
SELECT ains.cancel(task_id) FROM ains.task WHERE payload = '2';
SELECT * FROM t.keys;
SELECT t.put('7', 'k'), t.put('8', 'k');
SELECT ains.cancel(task_id) FROM ains.task WHERE payload = '7';
SELECT payload FROM ains.claim('a', 10);
SELECT ains.cancel(task_id) FROM ains.task WHERE payload = '3';
SELECT * FROM t.keys;
SELECT ains.fail(task_id, t.token(task_id), 'as you like') FROM ains.task WHERE payload = '3';
SELECT * FROM t.keys;
-- an attempt that lasts too long
SELECT payload FROM ains.claim('a', 10);
SELECT t.put('9', 'k');
SELECT t.advance('6 min');
SELECT leases_expired + leases_of_dead_agents AS taken FROM ains.sweep();
SELECT * FROM t.keys;
SELECT count(*) FROM ains.register_agent('a', capabilities => '{work,free}');
-- expiry: of one in line, and of the one that may run
SELECT t.put('10', 'e', expires_at => t.now() + '1 min'), t.put('11', 'e', expires_at => t.now() + '1 min'), t.put('12', 'e');
SELECT t.advance('2 min');
SELECT tasks_expired FROM ains.sweep();
SELECT * FROM t.keys WHERE key = 'e';

TRUNCATE ains.task, ains.concurrency_key;
SELECT ains.rescan();
-- set_priority: another place in line
SELECT t.put('1', 'k'), t.put('2', 'k'), t.put('3', 'k');
SELECT ains.set_priority(task_id, 10) FROM ains.task WHERE payload = '3';
SELECT ains.cancel(task_id) FROM ains.task WHERE payload = '1';
SELECT * FROM t.keys;
-- dependencies first, then the line
SELECT t.put('4', 'k', 10, depends_on => ARRAY(SELECT task_id FROM ains.task WHERE payload = '3'));
SELECT t.put('5', 'k', 10, run_at => t.now() + '1 h');
SELECT * FROM t.keys;
SELECT count(*) FROM ains.register_agent('a', capabilities => '{work,free}');
SELECT payload FROM ains.claim('a', 10);
SELECT ains.complete(task_id, token) FROM t.held();
SELECT * FROM t.keys;
SELECT reason, t.mask(detail) AS detail FROM t.keys, ains.explain_task(task_id) ORDER BY task_id;
SELECT payload FROM ains.claim('a', 10);
SELECT ains.complete(task_id, token) FROM t.held();
SELECT payload FROM ains.claim('a', 10);
SELECT count(*) FROM ains.complete_batch(ARRAY[(SELECT task_id FROM t.held())], ARRAY[(SELECT token FROM t.held())]);
SELECT * FROM t.keys;
-- the key is gone with the last of its tasks that may run
SELECT * FROM ains.concurrency_key;
SELECT t.advance('1 h');
SELECT tasks_due FROM ains.sweep();
SELECT * FROM t.keys;
SELECT ains.cancel(task_id) FROM ains.task;
SELECT * FROM ains.concurrency_key;

-- other limits: a higher one lets the next ones go, a lower one lets those that run end
SELECT count(t.put(to_jsonb(n), 'k')) FROM generate_series(1, 6) n;
SELECT key_limit FROM ains.configure_capability('work', key_limit => 3);
SELECT status, count(*) FROM t.keys GROUP BY 1 ORDER BY 1;
SELECT tasks_due FROM ains.sweep();
SELECT status, count(*) FROM t.keys GROUP BY 1 ORDER BY 1;
SELECT key_limit FROM ains.configure_capability('work', key_limit => 2);
SELECT ains.cancel(task_id) FROM ains.task WHERE payload = '1';
SELECT status, count(*) FROM t.keys GROUP BY 1 ORDER BY 1;
SELECT ains.cancel(task_id) FROM ains.task WHERE payload = '2';
SELECT status, count(*) FROM t.keys GROUP BY 1 ORDER BY 1;
SELECT key_limit FROM ains.configure_capability('work', key_limit => 0);
SELECT t.put('7', 'k') IS NOT NULL;
SELECT tasks_due FROM ains.sweep();
SELECT status, count(*) FROM t.keys GROUP BY 1 ORDER BY 1;
SELECT count(ains.cancel(task_id)) FROM ains.task;
SELECT * FROM t.keys;
-- what direct DML left behind is made up for by a sweep
SELECT key_limit FROM ains.configure_capability('work', key_limit => 2);
SELECT count(t.put(to_jsonb(n), 'k')) FROM generate_series(1, 5) n;
DELETE FROM ains.task WHERE status = 'PENDING';
SELECT tasks_due FROM ains.sweep();
SELECT status, count(*) FROM t.keys GROUP BY 1 ORDER BY 1;
SELECT * FROM t.wrong();
SELECT concurrency_key, count(*) FROM ains.tasks WHERE concurrency_key = 'k' GROUP BY 1;
-- what a completion unblocks is judged with those in line, by rank: here it comes after, there before them
SELECT key_limit FROM ains.configure_capability('work', key_limit => 1);
TRUNCATE ains.task, ains.concurrency_key;
SELECT ains.rescan();
SELECT t.put('1', 'k'), t.put('2', 'k');
SELECT t.put('3', 'k', depends_on => ARRAY(SELECT task_id FROM ains.task WHERE payload = '1'));
SELECT t.put('4', 'k', depends_on => ARRAY(SELECT task_id FROM ains.task WHERE payload = '2')),
       t.put('5', 'k', 9, depends_on => ARRAY(SELECT task_id FROM ains.task WHERE payload = '2'));
SELECT count(*) FROM ains.register_agent('a', capabilities => '{work,free}');
SELECT payload FROM ains.claim('a');
SELECT ains.complete(task_id, token) FROM t.held();
SELECT * FROM t.keys;
SELECT payload FROM ains.claim('a');
SELECT ains.complete(task_id, token) FROM t.held();
SELECT * FROM t.keys;
SELECT count(ains.cancel(task_id)) FROM t.keys;
-- two that are unblocked at once, of a key that nobody has
SELECT t.put('1', NULL), t.put('2', 'k', depends_on => ARRAY[currval('ains.task_task_id_seq')]);
SELECT t.put('3', 'k', 9, depends_on => ARRAY(SELECT task_id FROM ains.task WHERE payload = '1'));
SELECT payload FROM ains.claim('a');
SELECT ains.complete(task_id, token) FROM t.held();
SELECT * FROM t.keys;
SELECT * FROM t.wrong();
-- in a transaction whose snapshot is older than its changes
TRUNCATE ains.task, ains.concurrency_key;
SELECT ains.rescan();
SELECT t.put('1', 'k'), t.put('2', 'k');
SELECT count(*) FROM ains.register_agent('a', capabilities => '{work,free}');
SELECT task_id, lease_token FROM ains.claim('a') \gset
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT ains.complete(:task_id, :lease_token);
COMMIT;
SELECT payload, status FROM t.keys;
SELECT ains_internal.check_ready_set(), ains_internal.ready_drift();
