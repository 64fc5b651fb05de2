\set ECHO none
\getenv abs_srcdir PG_ABS_SRCDIR
\set begin :abs_srcdir '/sql/begin.psql'
\i :begin
--
-- How many tasks of a capability may be claimed: slots and windows.
--
SELECT capability FROM ains.configure_capability('slots', concurrency_limit => 2);
SELECT capability FROM ains.configure_capability('rated', rate_limit => 3, rate_period => '1 min');
SELECT capability FROM ains.configure_capability('free');
SELECT agent_id FROM ains.register_agent('a', capabilities => '{slots,rated,free}');
SELECT agent_id FROM ains.register_agent('b', capabilities => '{slots}');

CREATE VIEW t.held AS
SELECT capability, count(*) FROM ains.task WHERE status = 'ACTIVE' GROUP BY 1 ORDER BY 1;
-- ends the task of that capability which was claimed first
CREATE FUNCTION t.first(capability text, OUT task_id bigint, OUT token bigint)
    LANGUAGE sql AS $$
SELECT t.task_id, t.lease_token FROM ains.task t
 WHERE t.capability = $1 AND t.status = 'ACTIVE' ORDER BY t.task_id LIMIT 1
$$;

-- slots: as many as there are, and others are claimed all the same
SELECT count(*) FROM ains.enqueue_batch('slots', '[1, 2, 3, 4, 5, 6]', priority => 10);
SELECT count(*) FROM ains.enqueue_batch('free', '[1, 2]');
SELECT capability, count(*) FROM ains.claim('a', 10) GROUP BY 1 ORDER BY 1;
SELECT count(*) FROM ains.claim('b', 10);
SELECT task_id IS NOT NULL AS counted FROM ains.task WHERE status = 'PENDING' LIMIT 1;

-- every end of a task gives its slot to the next
SELECT ains.complete(task_id, token) FROM t.first('slots');
SELECT count(*) FROM ains.claim('b', 10);
SELECT ains.fail(task_id, token, 'broken') FROM t.first('slots');
SELECT count(*) FROM ains.claim('b', 10);
SELECT ains.release(task_id, token) FROM t.first('slots');
SELECT count(*) FROM ains.claim('b', 10);
SELECT ains.release(task_id, token, '1 day') FROM t.first('slots');
SELECT count(*) FROM ains.claim('b', 10);
SELECT count(ains.cancel(task_id)) FROM t.first('slots');
SELECT count(*) FROM ains.claim('b', 10);
SELECT ains.fail(task_id, token, 'as you like') FROM t.first('slots');
SELECT count(*) FROM ains.claim('b', 10);
SELECT leases FROM (SELECT count(*) AS leases FROM ains.register_agent('b', capabilities => '{slots}')) r;
SELECT * FROM t.held;
SELECT count(*) FROM ains.claim('a', 10, capabilities => '{slots}');
SELECT * FROM t.held;
SELECT ains.stop_agent('a') IS NOT NULL, ains.resume_agent('a') IS NOT NULL;
SELECT count(*) FROM ains.claim('a', 10, capabilities => '{slots}');
SELECT t.advance('6 min');
SELECT leases_expired + leases_of_dead_agents AS taken FROM ains.sweep();
SELECT * FROM t.held;

-- one transaction: what it took is taken, what it ended is free when it commits
SELECT ains.resume_agent('a') IS NOT NULL, ains.resume_agent('b') IS NOT NULL;
SELECT count(*) FROM ains.register_agent('a', capabilities => '{slots,rated,free}');
SELECT count(*) FROM ains.register_agent('b', capabilities => '{slots}');
BEGIN;
SELECT count(*) FROM ains.claim('b', 1);
SAVEPOINT one;
SELECT count(*) FROM ains.claim('b', 10);
SELECT count(*) FROM ains.claim('b', 10);
ROLLBACK TO one;
SELECT count(*) FROM ains.claim('b', 10);
SELECT ains.complete(task_id, token) FROM t.first('slots');
SELECT count(*) FROM ains.claim('b', 10);
ROLLBACK;
SELECT * FROM t.held;
BEGIN;
SAVEPOINT one;
SELECT count(*) FROM ains.claim('b', 10);
RELEASE one;
ROLLBACK;
SELECT count(*) FROM ains.claim('b', 10);

-- another limit holds from the next claim on: fewer run out, more are taken
SELECT count(*) FROM ains.enqueue_batch('slots', '[1, 2, 3, 4, 5, 6]');
SELECT concurrency_limit FROM ains.configure_capability('slots', concurrency_limit => 1);
SELECT ains.complete(task_id, token) FROM t.first('slots');
SELECT count(*) FROM ains.claim('b', 10);
SELECT ains.complete(task_id, token) FROM t.first('slots');
SELECT count(*) FROM ains.claim('b', 10);
SELECT concurrency_limit FROM ains.configure_capability('slots', concurrency_limit => 3);
SELECT count(*) FROM ains.claim('b', 10);
-- so it does for the transaction that changes it
BEGIN;
SELECT concurrency_limit FROM ains.configure_capability('slots', concurrency_limit => 4);
SELECT count(*) FROM ains.claim('b', 10);
ROLLBACK;
SELECT * FROM t.held;
SELECT concurrency_limit FROM ains.configure_capability('slots', concurrency_limit => 0);
SELECT count(*) > 0 AS "no limit" FROM ains.claim('b', 1);

-- a table that was changed by other means is counted after rescan
SELECT concurrency_limit FROM ains.configure_capability('slots', concurrency_limit => 1);
DELETE FROM ains.task WHERE capability = 'slots' AND status = 'ACTIVE';
SELECT count(*) FROM ains.claim('b', 10);
SELECT ains.rescan();
SELECT count(*) FROM ains.claim('b', 10);
SELECT count(*) FROM ains.claim('b', 10);

-- waiting: nobody waits for nothing, and nobody is told of what he cannot have
CALL ains.wait_for_task('b', '0 s', NULL);
SELECT ains.complete(task_id, token) FROM t.first('slots');
CALL ains.wait_for_task('b', '0 s', NULL);

-- windows
SELECT count(*) FROM ains.enqueue_batch('rated', '[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]');
SELECT count(*) FROM ains.claim('a', 2, capabilities => '{rated}');
SELECT count(*) FROM ains.claim('a', 2, capabilities => '{rated}');
SELECT count(*) FROM ains.claim('a', 2, capabilities => '{rated}');
CALL ains.wait_for_task('a', '0 s', NULL, '{rated}');
-- an end opens no window
SELECT ains.complete(task_id, token) FROM t.first('rated');
SELECT count(*) FROM ains.claim('a', 2, capabilities => '{rated}');
SELECT t.advance('1 min');
CALL ains.wait_for_task('a', '0 s', NULL, '{rated}');
BEGIN;
SELECT count(*) FROM ains.claim('a', 10, capabilities => '{rated}');
ROLLBACK;
SELECT count(*) FROM ains.claim('a', 10, capabilities => '{rated}');
SELECT rate_limit FROM ains.configure_capability('rated', rate_limit => 5);
SELECT count(*) FROM ains.claim('a', 10, capabilities => '{rated}');
SELECT rate_limit FROM ains.configure_capability('rated', rate_limit => 0);
SELECT count(*) FROM ains.claim('a', 10, capabilities => '{rated}');
SELECT ains_internal.check_ready_set(), ains_internal.ready_drift();
SELECT sum(value) FROM ains_internal.counters() WHERE counter = 'ACTIVE' HAVING sum(value) <> (SELECT count(*) FROM ains.task WHERE status = 'ACTIVE');

-- quotas
CALL t.refused($$SELECT ains.set_quota(NULL, 1)$$);
CALL t.refused($$SELECT ains.set_quota(0::oid::regrole, 1)$$);
CALL t.refused($$SELECT ains.set_quota('regress_producer', -1)$$);
CALL t.refused($$SELECT ains.set_quota('regress_producer', 1, '0')$$);
SELECT ains.set_quota('regress_producer', 3, '1 h');
SET ROLE regress_producer;
CALL t.refused($$SELECT ains.set_quota('regress_producer', 100)$$);
SELECT count(ains.enqueue('free')) FROM generate_series(1, 2);
CALL t.refused($$SELECT ains.enqueue_batch('free', '[1, 2]')$$);
BEGIN;
SELECT ains.enqueue('free') IS NOT NULL AS third;
ROLLBACK;
SELECT ains.enqueue('free') IS NOT NULL AS third;
CALL t.refused($$SELECT ains.enqueue('free')$$);
-- others are not concerned, nor is it later
SET ROLE regress_producer2;
SELECT count(*) FROM ains.enqueue_batch('free', '[1, 2, 3, 4]');
SET ROLE regress_producer;
SELECT t.advance('1 h');
SELECT count(*) FROM ains.enqueue_batch('free', '[1, 2, 3]');
RESET ROLE;
SELECT ains.set_quota('regress_producer', 4, '1 h');
SET ROLE regress_producer;
SELECT count(ains.enqueue('free')) FROM generate_series(1, 1);
CALL t.refused($$SELECT ains.enqueue('free')$$);
RESET ROLE;
SELECT ains.set_quota('regress_producer', NULL);
SET ROLE regress_producer;
SELECT count(*) FROM ains.enqueue_batch('free', '[1, 2, 3, 4, 5]');
RESET ROLE;

-- why a task is not running
SELECT concurrency_limit FROM ains.configure_capability('slots', concurrency_limit => 1);
SELECT rate_limit FROM ains.configure_capability('rated', rate_limit => 1, rate_period => '1 h');
DELETE FROM ains.task;
SELECT ains.rescan();
SELECT count(*) FROM ains.register_agent('a', capabilities => '{slots,rated,free}');
SELECT count(ains.enqueue(c)) FROM unnest('{slots,slots,rated,rated}'::text[]) c;
SELECT count(*) FROM ains.claim('a', 10);
SELECT reason, regexp_replace(t.mask(detail), 'task \d+', 'task <id>') AS detail
  FROM ains.task, ains.explain_task(task_id) WHERE status = 'PENDING' ORDER BY task_id, reason;
