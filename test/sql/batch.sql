\set ECHO none
\getenv abs_srcdir PG_ABS_SRCDIR
\set begin :abs_srcdir '/sql/begin.psql'
\i :begin
--
-- enqueue_batch and complete_batch.
--

-- ids in input order, whatever the priorities
SELECT * FROM ains.enqueue_batch('work', '[{"n": 1}, {"n": 2}, {"n": 3}]') AS task_id;
SELECT task_id, status, priority, max_attempts, timeout, payload, unique_key FROM ains.task_info ORDER BY task_id;
SELECT * FROM ains.enqueue_batch('work', '["a", null, [], 4]', priority => 2, run_at => t.now() + '1 h', max_attempts => 2,
    timeout => '1 min', expires_at => t.now() + '1 day', priorities => '{10,1,5,7}', unique_keys => '{k1,NULL,k3,NULL}') AS task_id;
SELECT task_id, status, priority, max_attempts, timeout, payload, unique_key,
       t.about(run_at, '1 h') AS run_at, t.about(expires_at, '1 day') AS expires_at
  FROM ains.task_info WHERE task_id > 3 ORDER BY task_id;
-- a live task with that key: its id, and none made
SELECT * FROM ains.enqueue_batch('work', '[1, 2, 3]', unique_keys => '{new,k3,k1}') WITH ORDINALITY AS x (task_id, n);
SELECT payload FROM ains.get_task(6);
-- the same key twice in one batch is one task
SELECT count(*), count(DISTINCT task_id) AS tasks FROM ains.enqueue_batch('work', '[1, 2, 3]', unique_keys => '{dup,dup,other}') AS task_id;
SELECT unique_key, count(*), min(payload::text) FROM ains.task WHERE unique_key IN ('dup', 'other') GROUP BY 1 ORDER BY 1;
-- a new capability
SELECT count(*) FROM ains.enqueue_batch('brand new', '[1]');
SELECT capability FROM ains.capability ORDER BY 1;

-- all or none
CALL t.refused($$SELECT * FROM ains.enqueue_batch('work', '[]')$$);
CALL t.refused($$SELECT * FROM ains.enqueue_batch('work', '{}')$$);
CALL t.refused($$SELECT * FROM ains.enqueue_batch('work', '{"0": 1}')$$);
CALL t.refused($$SELECT * FROM ains.enqueue_batch('work', '1')$$);
CALL t.refused($$SELECT * FROM ains.enqueue_batch('work', 'null')$$);
CALL t.refused($$SELECT * FROM ains.enqueue_batch('work', NULL)$$);
CALL t.refused($$SELECT * FROM ains.enqueue_batch(NULL, '[1]')$$);
CALL t.refused($$SELECT * FROM ains.enqueue_batch('', '[1]')$$);
CALL t.refused($$SELECT * FROM ains.enqueue_batch('work', '[1]', priority => 11)$$);
CALL t.refused($$SELECT * FROM ains.enqueue_batch('work', '[1]', priority => NULL)$$);
CALL t.refused($$SELECT * FROM ains.enqueue_batch('work', '[1]', run_at => 'infinity')$$);
CALL t.refused($$SELECT * FROM ains.enqueue_batch('work', '[1]', max_attempts => 0)$$);
CALL t.refused($$SELECT * FROM ains.enqueue_batch('work', '[1]', timeout => '0')$$);
CALL t.refused($$SELECT * FROM ains.enqueue_batch('work', '[1]', expires_at => '-infinity')$$);
CALL t.refused($$SELECT * FROM ains.enqueue_batch('work', '[1]', run_id => 1)$$);
CALL t.refused($$SELECT * FROM ains.enqueue_batch('work', '[1, 2]', priorities => '{1}')$$);
CALL t.refused($$SELECT * FROM ains.enqueue_batch('work', '[1, 2]', priorities => '{1,2,3}')$$);
CALL t.refused($$SELECT * FROM ains.enqueue_batch('work', '[1, 2]', priorities => '{}')$$);
CALL t.refused($$SELECT * FROM ains.enqueue_batch('work', '[1, 2]', priorities => '{1,NULL}')$$);
CALL t.refused($$SELECT * FROM ains.enqueue_batch('work', '[1, 2]', priorities => '{1,0}')$$);
CALL t.refused($$SELECT * FROM ains.enqueue_batch('work', '[1, 2]', priorities => '{{1},{2}}')$$);
CALL t.refused($$SELECT * FROM ains.enqueue_batch('work', '[1, 2]', unique_keys => '{a}')$$);
CALL t.refused($$SELECT * FROM ains.enqueue_batch('work', '[1, 2]', unique_keys => '{a,""}')$$);
CALL t.refused($$SELECT * FROM ains.enqueue_batch('work', '[1, 2]', unique_keys => ARRAY['a', repeat('x', 5000)])$$);
CALL t.refused($$SELECT * FROM ains.enqueue_batch('work', '[1, 2]', unique_keys => '{{a},{b}}')$$);
CALL t.refused($$SELECT * FROM ains.enqueue_batch('work', (SELECT jsonb_agg(n) FROM generate_series(1, 10001) n))$$);
SET ains.max_payload = '1kB';
CALL t.refused($$SELECT * FROM ains.enqueue_batch('work', jsonb_build_array(1, repeat('x', 2000)))$$);
-- the limit is for one payload, not for all of them
SELECT count(*) FROM ains.enqueue_batch('work', (SELECT jsonb_agg(repeat('x', 100)) FROM generate_series(1, 100) n));
RESET ains.max_payload;
-- complete_batch: the ids completed; what cannot be is left out, the rest stands
SELECT agent_id FROM ains.register_agent('a', capabilities => '{cb}');
SELECT agent_id FROM ains.register_agent('b', capabilities => '{cb}');
SELECT min(e) AS first FROM ains.enqueue_batch('cb', '[1, 2, 3, 4, 5, 6]') e \gset
CREATE TABLE t.claimed AS SELECT task_id - :first + 1 AS n, task_id, lease_token FROM ains.claim('a', 4);
INSERT INTO t.claimed SELECT task_id - :first + 1, task_id, lease_token FROM ains.claim('b', 1);
SELECT ains.cancel(:first + 2);
-- 1 is held, 2 comes with the token of 3, 3 is cancelled, 4 is held, 5 is of another agent but of the same role, 6 is not held, 99999 is not there
SELECT b - :first + 1 AS completed FROM ains.complete_batch(
    ARRAY[:first, :first + 1, :first + 2, :first + 3, :first + 4, :first + 5, 99999],
    ARRAY[(SELECT lease_token FROM t.claimed WHERE n = 1), (SELECT lease_token FROM t.claimed WHERE n = 3),
          (SELECT lease_token FROM t.claimed WHERE n = 3), (SELECT lease_token FROM t.claimed WHERE n = 4),
          (SELECT lease_token FROM t.claimed WHERE n = 5), 17, 17],
    '["r1", "r2", "r3", null, {"r": 5}, "r6", "r7"]') b;
SELECT task_id - :first + 1 AS n, status, result FROM ains.task_info WHERE capability = 'cb' ORDER BY 1;
SELECT agent_id, active_tasks FROM ains.agents ORDER BY 1;
-- repeated: they are completed, nothing changes
SELECT t.state() AS before \gset
SELECT b - :first + 1 AS completed FROM ains.complete_batch(
    ARRAY[:first + 3, :first], ARRAY[(SELECT lease_token FROM t.claimed WHERE n = 4), (SELECT lease_token FROM t.claimed WHERE n = 1)],
    '["other", "results"]') b;
SELECT t.state() = :'before' AS nothing_changed;
-- the same one twice
SELECT count(DISTINCT b) AS completed FROM ains.complete_batch(ARRAY[:first + 1, :first + 1],
    ARRAY[(SELECT lease_token FROM t.claimed WHERE n = 2), (SELECT lease_token FROM t.claimed WHERE n = 2)]) b;
SELECT count(*) FROM ains.task_history WHERE task_id = :first + 1;
SELECT agent_id, active_tasks FROM ains.agents ORDER BY 1;
-- input
CALL t.refused($$SELECT * FROM ains.complete_batch(NULL, NULL)$$);
CALL t.refused($$SELECT * FROM ains.complete_batch('{}', '{}')$$);
CALL t.refused($$SELECT * FROM ains.complete_batch('{1}', NULL)$$);
CALL t.refused($$SELECT * FROM ains.complete_batch('{1,2}', '{1}')$$);
CALL t.refused($$SELECT * FROM ains.complete_batch('{1,NULL}', '{1,2}')$$);
CALL t.refused($$SELECT * FROM ains.complete_batch('{1,2}', '{1,NULL}')$$);
CALL t.refused($$SELECT * FROM ains.complete_batch('{{1,2},{3,4}}', '{1,2,3,4}')$$);
CALL t.refused($$SELECT * FROM ains.complete_batch('{1,2}', '{1,2}', '[1]')$$);
CALL t.refused($$SELECT * FROM ains.complete_batch('{1,2}', '{1,2}', '{}')$$);
CALL t.refused($$SELECT * FROM ains.complete_batch('{1,2}', '{1,2}', '"text"')$$);
CALL t.refused($$SELECT * FROM ains.complete_batch(ARRAY(SELECT generate_series(1, 10001)), ARRAY(SELECT generate_series(1, 10001)))$$);
SET ains.max_payload = '1kB';
CALL t.refused($$SELECT * FROM ains.complete_batch('{1}', '{1}', jsonb_build_array(repeat('x', 2000)))$$);
RESET ains.max_payload;
-- a role may complete its own agents' tasks only: the others are left out
SELECT ains.fail(:first + 2, t.token(:first + 2), 'cancelled');
SELECT ains.retry(:first + 2) = :first + 2 AS retried;
SET ROLE regress_agent;
SELECT agent_id FROM ains.register_agent('mine', capabilities => '{cb}');
SELECT task_id - :first + 1 AS n FROM ains.claim('mine');
RESET ROLE;
SELECT task_id - :first + 1 AS n FROM ains.claim('b');
SET ROLE regress_agent;
SELECT b - :first + 1 AS completed FROM ains.complete_batch(ARRAY[:first + 2, :first + 5],
    ARRAY[t.token(:first + 2), t.token(:first + 5)]) b;
RESET ROLE;
SELECT task_id - :first + 1 AS n, status, agent_id FROM ains.task_info WHERE capability = 'cb' ORDER BY 1;
