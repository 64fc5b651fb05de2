\set ECHO none
\getenv abs_srcdir PG_ABS_SRCDIR
\set begin :abs_srcdir '/sql/begin.psql'
\i :begin
--
-- cancel: a waiting task ends at once, a held one when its agent ends it.
--
SELECT agent_id FROM ains.register_agent('a', capabilities => '{x}', heartbeat_timeout => '1 day');

-- waiting
SELECT ains.enqueue('x') AS pending, ains.enqueue('x', run_at => t.now() + interval '1 h', unique_key => 'k') AS scheduled \gset
SELECT ains.cancel(:pending);
SELECT ains.cancel(:scheduled, 'not needed');
SELECT task_id, status, attempt, cancel_reason, cancel_requested_at, t.about(finished_at, '0') AS finished_at, agent_id, unique_key
  FROM ains.task_info ORDER BY 1;
SELECT count(*) FROM ains.claim('a');
-- its key is free
SELECT ains.enqueue('x', unique_key => 'k') AS again \gset
SELECT ains.cancel(:again, '');
-- one that failed before, and waits
SELECT ains.enqueue('x') AS id \gset
SELECT task_id = :id AS claimed FROM ains.claim('a');
SELECT ains.fail(:id, t.token(:id), 'first', true);
SELECT ains.cancel(:id, 'enough');
SELECT status, attempt, error, cancel_reason FROM ains.get_task(:id);

-- held: it stays ACTIVE and is marked
SELECT ains.enqueue('x') AS held \gset
SELECT task_id = :held AS claimed FROM ains.claim('a');
SELECT ains.cancel(:held, 'changed our minds');
SELECT status, t.about(cancel_requested_at, '0') AS cancel_requested_at, cancel_reason FROM ains.get_task(:held);
-- once more: the first reason stays
SELECT t.state() AS before \gset
SELECT ains.cancel(:held, 'another reason');
SELECT t.state() = :'before' AS nothing_changed;
-- the agent learns it
SELECT cancel_requested = ARRAY[:held]::bigint[] AS told FROM ains.heartbeat('a');
CALL t.refused(format('SELECT ains.extend_lease(%s, t.token(%1$s))', :held));
CALL t.refused(format('SELECT ains.checkpoint(%s, t.token(%1$s), ''{}'')', :held));
CALL t.refused(format('SELECT ains.complete(%s, t.token(%1$s))', :held));
SELECT * FROM ains.complete_batch(ARRAY[:held], ARRAY[t.token(:held)]);
-- with a wrong token it is not the holder's to know
CALL t.refused(format('SELECT ains.complete(%s, 1)', :held));
-- fail ends it, whatever it says about retrying
SELECT ains.fail(:held, t.token(:held), 'stopped', true, '1 h');
SELECT status, attempt, error, cancel_reason FROM ains.get_task(:held);
SELECT attempt, outcome, next_status, error FROM ains.attempts WHERE task_id = :held;
SELECT cancel_requested, active_tasks FROM ains.heartbeat('a');
-- repeated
SELECT ains.fail(:held, t.token(:held), 'stopped');
SELECT ains.release(:held, t.token(:held));
CALL t.refused(format('SELECT ains.complete(%s, t.token(%1$s))', :held));
-- release ends it too
SELECT ains.enqueue('x') AS held \gset
SELECT task_id = :held AS claimed FROM ains.claim('a');
SELECT ains.cancel(:held);
SELECT ains.release(:held, t.token(:held), '1 h');
SELECT status, attempt, cancel_reason FROM ains.get_task(:held);
SELECT ains.release(:held, t.token(:held), '1 h');
SELECT ains.fail(:held, t.token(:held), 'x');
-- claimed in the same transaction as its cancel is asked for
SELECT ains.enqueue('x') AS held \gset
BEGIN;
SELECT task_id = :held AS claimed FROM ains.claim('a');
SELECT ains.cancel(:held);
COMMIT;
SELECT cancel_requested = ARRAY[:held]::bigint[] AS told FROM ains.heartbeat('a');
SELECT ains.fail(:held, t.token(:held), 'x');

-- it is told again after a heartbeat that was rolled back
SELECT ains.enqueue('x') AS held \gset
SELECT task_id = :held AS claimed FROM ains.claim('a');
SELECT ains.cancel(:held);
BEGIN;
SELECT ains.release(:held, t.token(:held));
SELECT cancel_requested FROM ains.heartbeat('a');
ROLLBACK;
SELECT cancel_requested = ARRAY[:held]::bigint[] AS told FROM ains.heartbeat('a');
BEGIN;
SAVEPOINT s;
SELECT ains.fail(:held, t.token(:held), 'x');
SELECT cancel_requested FROM ains.heartbeat('a');
ROLLBACK TO s;
SELECT cancel_requested = ARRAY[:held]::bigint[] AS told FROM ains.heartbeat('a');
COMMIT;
SELECT cancel_requested = ARRAY[:held]::bigint[] AS told FROM ains.heartbeat('a');
SELECT ains.fail(:held, t.token(:held), 'x');

-- finished: refused
CALL t.refused(format('SELECT ains.cancel(%s)', :held));
SELECT ains.enqueue('x') AS id \gset
SELECT task_id = :id AS claimed FROM ains.claim('a');
SELECT ains.complete(:id, t.token(:id));
CALL t.refused(format('SELECT ains.cancel(%s, ''too late'')', :id));
-- bad input
CALL t.refused($$SELECT ains.cancel(NULL)$$);
CALL t.refused($$SELECT ains.cancel(0)$$);
CALL t.refused($$SELECT ains.cancel(-9223372036854775808)$$);

-- who may: who enqueued it, the owner of the agent that holds it, an admin
SET ROLE regress_producer;
SELECT ains.enqueue('own') AS o1, ains.enqueue('own') AS o2, ains.enqueue('own') AS o3, ains.enqueue('own') AS o4 \gset
SET ROLE regress_producer2;
CALL t.refused(format('SELECT ains.cancel(%s)', :o1));
SET ROLE regress_agent;
SELECT agent_id FROM ains.register_agent('mine', capabilities => '{own}');
CALL t.refused(format('SELECT ains.cancel(%s)', :o1));
SELECT task_id = :o1 AS claimed FROM ains.claim('mine');
SELECT ains.cancel(:o1);
SET ROLE regress_agent2;
CALL t.refused(format('SELECT ains.cancel(%s)', :o1));
SET ROLE regress_monitor;
CALL t.refused(format('SELECT ains.cancel(%s)', :o1));
SET ROLE regress_producer;
SELECT ains.cancel(:o2);
SET ROLE regress_admin;
SELECT ains.cancel(:o3);
RESET ROLE;
GRANT regress_producer TO regress_producer2;
SET ROLE regress_producer2;
SELECT ains.cancel(:o4);
RESET ROLE;
REVOKE regress_producer FROM regress_producer2;
