\set ECHO none
\getenv abs_srcdir PG_ABS_SRCDIR
\set begin :abs_srcdir '/sql/begin.psql'
\i :begin
--
-- Transactions: what a rollback leaves, and two-phase commit.
--
SELECT agent_id FROM ains.register_agent('a', capabilities => '{x}', heartbeat_timeout => '1 day');
SELECT agent_id FROM ains.register_agent('idle', heartbeat_timeout => '1 min');
SELECT count(ains.enqueue('x', unique_key => 'k' || n)) FROM generate_series(1, 8) n;
SELECT count(ains.enqueue('x', run_at => t.now() + interval '1 min')) FROM generate_series(1, 2) n;
SELECT count(*) FROM ains.claim('a', 4);
SELECT ains.fail(4, t.token(4), 'broken', false);
SELECT ains.cancel(3);
SELECT t.advance('2 min');
SELECT active_tasks, cancel_requested FROM ains.heartbeat('a');

-- every call that writes, in a subtransaction that is rolled back
CALL t.undone($$SELECT ains.register_agent('new', capabilities => '{x,new}')$$);
CALL t.undone($$SELECT ains.register_agent('a', capabilities => '{y}')$$);
CALL t.undone($$SELECT ains.heartbeat('a', 'DEGRADED', metrics => '{"m": 1}')$$);
CALL t.undone($$SELECT ains.heartbeat('a', held => '{1}') FROM ains.heartbeat('a')$$);
CALL t.undone($$SELECT ains.drain_agent('a')$$);
CALL t.undone($$SELECT ains.stop_agent('a')$$);
CALL t.undone($$SELECT ains.attach_agent('a')$$);
CALL t.undone($$SELECT ains.detach_agent('a')$$);
CALL t.undone($$SELECT ains.enqueue('x')$$);
CALL t.undone($$SELECT ains.enqueue('never heard of')$$);
CALL t.undone($$SELECT ains.enqueue('x', '"new"', unique_key => 'k5', on_conflict => 'replace')$$);
CALL t.undone($$SELECT count(*) FROM ains.enqueue_batch('x', '[1, 2, 3]')$$);
CALL t.undone($$SELECT count(*) FROM ains.claim('a', 3)$$);
CALL t.undone($$SELECT ains.extend_lease(1, t.token(1), '1 day')$$);
CALL t.undone($$SELECT ains.checkpoint(1, t.token(1), '1')$$);
CALL t.undone($$SELECT ains.complete(1, t.token(1))$$);
CALL t.undone($$SELECT count(*) FROM ains.complete_batch('{1,2}', ARRAY[t.token(1), t.token(2)])$$);
CALL t.undone($$SELECT ains.fail(1, t.token(1), 'x')$$);
CALL t.undone($$SELECT ains.fail(3, t.token(3), 'x')$$);
CALL t.undone($$SELECT ains.release(1, t.token(1))$$);
CALL t.undone($$SELECT ains.cancel(1)$$);
CALL t.undone($$SELECT ains.cancel(5)$$);
CALL t.undone($$SELECT ains.retry(4)$$);
CALL t.undone($$SELECT ains.set_priority(5, 10)$$);
CALL t.undone($$SELECT ains.configure_capability('x', lease => '1 h', aging_interval => '1 h')$$);
CALL t.undone($$SELECT ains.pause('x')$$);
CALL t.undone($$SELECT ains.sweep()$$);
CALL t.undone($$SELECT ains.release_dead_agent_leases()$$);
CALL t.undone($$SELECT 1 FROM ains.stop_agent('idle'), ains.prune_agents('0')$$);
-- it can all be done after that, and shared memory agrees with the tables
SELECT agent_id, agent_status, active_tasks FROM ains.agents ORDER BY 1;
SELECT active_tasks, cancel_requested, lost FROM ains.heartbeat('a', held => '{1,2,3}');
SELECT tasks_due, agents_marked_dead FROM ains.sweep();

-- the same by SAVEPOINT and by ROLLBACK of the whole
SELECT t.state() AS before \gset
BEGIN;
SAVEPOINT s1;
SELECT task_id FROM ains.claim('a');
SAVEPOINT s2;
SELECT ains.complete(5, t.token(5));
ROLLBACK TO s2;
SELECT status FROM ains.get_task(5);
SELECT ains.complete(5, t.token(5));
RELEASE s2;
SELECT status FROM ains.get_task(5);
ROLLBACK TO s1;
SELECT status FROM ains.get_task(5);
SELECT task_id FROM ains.claim('a');
ROLLBACK;
SELECT t.state() = :'before' AS as_before;
SELECT active_tasks FROM ains.heartbeat('a', held => '{1,2,3}');
-- and what was kept of it
BEGIN;
SELECT task_id FROM ains.claim('a');
SAVEPOINT s1;
SELECT task_id FROM ains.claim('a');
ROLLBACK TO s1;
SELECT task_id FROM ains.claim('a');
SAVEPOINT s2;
SELECT ains.release(5, t.token(5));
ROLLBACK TO s2;
SELECT ains.cancel(6);
SAVEPOINT s3;
SELECT ains.complete(1, t.token(1));
RELEASE s3;
COMMIT;
SELECT active_tasks, cancel_requested, lost FROM ains.heartbeat('a', held => '{2,3,5,6}');
SELECT agent_id, active_tasks FROM ains.agents WHERE agent_id = 'a';
SELECT task_id, status FROM t.tasks WHERE agent_id = 'a';
-- an error in the middle
BEGIN;
SELECT task_id FROM ains.claim('a');
SELECT ains.complete(7, 1);
\echo :LAST_ERROR_SQLSTATE
SELECT 1;
COMMIT;
SELECT status, agent_id FROM ains.get_task(7);
SELECT active_tasks FROM ains.heartbeat('a', held => '{2,3,5,6}');

-- an agent registered in a transaction that is rolled back is unknown
BEGIN;
SELECT agent_id FROM ains.register_agent('ghost', capabilities => '{x}');
SELECT acknowledged FROM ains.heartbeat('ghost');
SELECT count(*) FROM ains.claim('ghost');
ROLLBACK;
CALL t.refused($$SELECT * FROM ains.heartbeat('ghost')$$);
CALL t.refused($$SELECT * FROM ains.claim('ghost')$$);
-- stopped or restarted in one that is rolled back, it goes on
BEGIN;
SELECT agent_status FROM ains.stop_agent('a');
CALL t.refused($$SELECT * FROM ains.claim('a')$$);
ROLLBACK;
SELECT agent_status, active_tasks FROM ains.heartbeat('a', held => '{2,3,5,6}');
SELECT incarnation AS incarnation FROM ains.agent WHERE agent_id = 'a' \gset
BEGIN;
SELECT incarnation > :incarnation AS restarted FROM ains.register_agent('a', capabilities => '{x}');
CALL t.refused(format($$SELECT * FROM ains.heartbeat('a', incarnation => %s)$$, :incarnation));
ROLLBACK;
SELECT acknowledged, active_tasks FROM ains.heartbeat('a', held => '{2,3,5,6}', incarnation => :incarnation);

-- claimed through a cursor that is not read to its end: claimed all the same
BEGIN;
DECLARE c CURSOR FOR SELECT task_id FROM ains.claim('a', 2);
FETCH 1 FROM c;
CLOSE c;
COMMIT;
SELECT active_tasks FROM ains.heartbeat('a');

-- two-phase commit is refused once there is something to tell at its end
SELECT t.state() AS before \gset
BEGIN;
SELECT ains.enqueue('x') IS NOT NULL AS enqueued;
PREPARE TRANSACTION 'p1';
\echo :LAST_ERROR_SQLSTATE
BEGIN;
SELECT ains.complete(2, t.token(2));
PREPARE TRANSACTION 'p2';
\echo :LAST_ERROR_SQLSTATE
BEGIN;
SELECT agent_status FROM ains.drain_agent('a');
PREPARE TRANSACTION 'p3';
\echo :LAST_ERROR_SQLSTATE
BEGIN;
SELECT ains.pause('x');
PREPARE TRANSACTION 'p4';
\echo :LAST_ERROR_SQLSTATE
SELECT t.state() = :'before' AS nothing_changed;
