\set ECHO none
\getenv abs_srcdir PG_ABS_SRCDIR
\set begin :abs_srcdir '/sql/begin.psql'
\i :begin
--
-- redrive: dead letters come back, many at a time.
--
SELECT agent_id FROM ains.register_agent('a', capabilities => '{x,y}', heartbeat_timeout => '1 day');
-- Takes and fails as many tasks of a capability as there are; in rank order.
CREATE FUNCTION t.fail_all(capability text) RETURNS bigint
    LANGUAGE sql VOLATILE AS $$
SELECT count(ains.fail(task_id, lease_token, 'broken', false)) FROM ains.claim('a', 1000, capabilities => ARRAY[$1])
$$;
-- nothing to do
SELECT ains.redrive();
SELECT ains.redrive('never heard of');
SELECT count(*) FROM ains.capability WHERE capability = 'never heard of';

-- all of them, as retry does; others that have ended stay
SELECT ains.enqueue('x', '{"p": 1}', 8, max_attempts => 1, timeout => '1 h', unique_key => 'k', metadata => '{"m": 1}') AS one,
       ains.enqueue('y', '{"p": 2}') AS two,
       ains.enqueue('x', '{"p": 3}') AS cancelled,
       ains.enqueue('x', '{"p": 4}', 10) AS completed \gset
SELECT ains.cancel(:cancelled);
SELECT ains.complete(task_id, lease_token) FROM ains.claim('a');
SELECT t.fail_all('x'), t.fail_all('y');
SELECT task_id FROM ains.dead_letters ORDER BY 1;
SELECT ains.redrive();
SELECT task_id, capability, status, attempt, error FROM t.tasks;
SELECT status, priority, attempt, max_attempts, timeout, t.about(run_at, '0') AS due_now, unique_key, payload, metadata, error, finished_at
  FROM ains.get_task(:one);
SELECT count(*) FROM ains.task_history WHERE status = 'FAILED';
SELECT ains.redrive();
-- they are claimable, and can fail again
SELECT task_id, attempt FROM ains.claim('a', 10) WITH ORDINALITY ORDER BY ordinality;
SELECT ains.fail(task_id, lease_token, 'again', false) FROM ains.task WHERE status = 'ACTIVE' ORDER BY task_id;
SELECT counter, capability, value FROM ains_internal.counters() WHERE counter = 'put_back' ORDER BY 2;

-- of one capability
SELECT ains.redrive('y');
SELECT task_id FROM ains.dead_letters ORDER BY 1;
SELECT t.fail_all('y');

-- of some age, those that failed first, and no more than asked for
SELECT t.advance('1 h');
SELECT ains.redrive(older_than => '2 h');
SELECT ains.enqueue('y') AS three, ains.enqueue('y') AS four \gset
SELECT t.fail_all('y');
SELECT ains.redrive(older_than => '30 min', max => 1);
SELECT task_id = :one AS is_first FROM ains.task;
SELECT ains.redrive(older_than => '30 min', max => 10);
SELECT ains.redrive(older_than => '30 min');
SELECT ains.redrive(max => 1);
SELECT task_id = :four AS is_last FROM ains.dead_letters;
SELECT ains.redrive(older_than => '0', max => 10000);
SELECT count(*) FROM ains.dead_letters;

-- a key that is live: those that have it stay, the others come
SELECT t.fail_all('x'), t.fail_all('y');
SELECT ains.enqueue('x', unique_key => 'k') AS live \gset
SELECT ains.redrive();
SELECT task_id = :one AS is_one, unique_key FROM ains.dead_letters;
SELECT ains.cancel(:live);
-- the same key under another capability is another
SELECT ains.enqueue('y', unique_key => 'k') AS live \gset
SELECT ains.redrive();
SELECT ains.cancel(:live);
-- several with the same key: the one that failed first; the others are not lost
SELECT t.fail_all('x'), t.fail_all('y');
SELECT ains.enqueue('x', unique_key => 'k') IS NOT NULL AS enqueued;
SELECT t.fail_all('x');
SELECT ains.redrive('x');
SELECT task_id = :one AS is_one, unique_key, status FROM ains.tasks WHERE capability = 'x' AND unique_key = 'k' AND status <> 'CANCELLED' ORDER BY task_id;
SELECT task_id AS other FROM ains.dead_letters WHERE unique_key = 'k' \gset
CALL t.refused(format('SELECT ains.retry(%s)', :other));
SELECT count(*) FROM ains.dead_letters WHERE unique_key = 'k';
-- one that a restore has brought back to life stays as it is
SELECT count(*) FROM ains.dead_letters WHERE capability = 'y';
INSERT INTO ains.task (task_id, rank, lane_id, status, priority, run_at, created_at, enqueued_by, capability, payload)
    OVERRIDING SYSTEM VALUE
    SELECT task_id, 0, lane_id, 'PENDING', priority, run_at, created_at, enqueued_by, capability, payload
      FROM ains.task_history JOIN ains.lane USING (capability) WHERE task_id = :two;
SELECT ains.redrive('y');
SELECT task_id = :two AS is_two FROM ains.task_history WHERE capability = 'y' AND status = 'FAILED';
DELETE FROM ains.task WHERE task_id = :two;
SELECT ains.rescan();
SELECT ains.redrive('y');

-- its capability is gone: it is made again
SELECT ains.enqueue('fleeting') AS fleeting \gset
SELECT ains.publish_capability('a', 'fleeting');
SELECT t.fail_all('fleeting');
DELETE FROM ains.capability WHERE capability = 'fleeting';
DELETE FROM ains.lane WHERE capability = 'fleeting';
SELECT ains.rescan();
SELECT ains.redrive('fleeting');
SELECT status FROM ains.get_task(:fleeting);

-- a rollback undoes it
SELECT t.fail_all('y') > 0 AS failed;
CALL t.undone($$SELECT ains.redrive()$$);
BEGIN;
SAVEPOINT s;
SELECT ains.redrive('y') > 0 AS redriven;
ROLLBACK TO s;
SELECT count(*) FROM ains.claim('a', capabilities => '{y}');
COMMIT;
SELECT count(*) FROM ains.claim('a', capabilities => '{y}');
-- a transaction may claim what it brought back
BEGIN;
SELECT ains.redrive('y', max => 1);
SELECT count(*) FROM ains.claim('a', 10, capabilities => '{y}');
ROLLBACK;

-- bad input
CALL t.refused($$SELECT ains.redrive('')$$);
CALL t.refused($$SELECT ains.redrive(repeat('x', 129))$$);
CALL t.refused($$SELECT ains.redrive(older_than => '-1 s')$$);
CALL t.refused($$SELECT ains.redrive(older_than => '110 years')$$);
CALL t.refused($$SELECT ains.redrive(max => NULL)$$);
CALL t.refused($$SELECT ains.redrive(max => 0)$$);
CALL t.refused($$SELECT ains.redrive(max => 10001)$$);
SELECT ains.redrive(older_than => '99 years');

-- whose: tasks that the caller may retry
SELECT ains.redrive() > 0 AS redriven;
SET ROLE regress_producer;
SELECT ains.enqueue('own') AS own, ains.enqueue('own') AS own2 \gset
SET ROLE regress_agent;
SELECT agent_id FROM ains.register_agent('mine', capabilities => '{own}');
SELECT ains.fail(task_id, lease_token, 'broken', false) FROM ains.claim('mine', 2);
SELECT ains.redrive();
SET ROLE regress_producer2;
SELECT ains.redrive();
SET ROLE regress_monitor;
CALL t.refused($$SELECT ains.redrive()$$);
SET ROLE regress_producer;
SELECT ains.redrive(max => 1);
SET ROLE regress_admin;
SELECT ains.redrive();
RESET ROLE;
-- they are still whose they were
SELECT DISTINCT enqueued_by FROM ains.task WHERE capability = 'own';
