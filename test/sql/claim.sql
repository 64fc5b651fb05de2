\set ECHO none
\getenv abs_srcdir PG_ABS_SRCDIR
\set begin :abs_srcdir '/sql/begin.psql'
\i :begin
--
-- claim: what is taken, in which order, by whom; what it answers.
--
SELECT agent_id FROM ains.register_agent('a', capabilities => '{x,y}');
SELECT agent_id FROM ains.register_agent('b', capabilities => '{x,y,z}');
SELECT agent_id FROM ains.register_agent('idle');

-- nothing there is no row, and no error
SELECT * FROM ains.claim('a');
SELECT * FROM ains.claim('idle', 1000);

-- the columns of the answer
SELECT ains.enqueue('x', '{"n": 1}', 7, max_attempts => 2, timeout => '10 min', metadata => '{"m": 1}') AS task_id;
SELECT task_id, lease_token > 0 AS lease_token, capability, payload, priority, attempt, max_attempts,
       t.about(lease_expires_at, '5 min') AS lease_expires_at, run_id, checkpoint,
       t.about(deadline, '10 min') AS deadline, metadata
  FROM ains.claim('a');
SELECT status, agent_id, attempt, t.about(claimed_at, '0') AS claimed_at, t.about(deadline, '10 min') AS deadline,
       lease_token = t.token(1) AS lease_token
  FROM ains.get_task(1);
SELECT agent_id, active_tasks FROM ains.agents ORDER BY 1;
-- nobody gets it twice
SELECT count(*) FROM ains.claim('a');
SELECT count(*) FROM ains.claim('b');

-- the length of the lease: the argument, else the capability's, else the setting
SELECT (ains.configure_capability('y', lease => '20 min', timeout => '30 min', max_attempts => 9)).lease;
SELECT ains.enqueue('y') FROM generate_series(1, 2);
SELECT t.about(lease_expires_at, '20 min') AS lease, t.about(deadline, '30 min') AS deadline, max_attempts FROM ains.claim('a');
SELECT t.about(lease_expires_at, '2 h') AS lease, t.about(deadline, '30 min') AS deadline FROM ains.claim('a', lease => '2 h');
SELECT ains.enqueue('x') AS task_id;
SET ains.default_lease = '40 min';
SELECT t.about(lease_expires_at, '40 min') AS lease, deadline FROM ains.claim('a');
RESET ains.default_lease;
-- a task's own timeout goes before its capability's
SELECT ains.enqueue('y', timeout => '1 h') AS task_id;
SELECT t.about(deadline, '1 h') AS deadline FROM ains.claim('a');

-- as many as wanted, of the capabilities offered, in rank order over all of them
SELECT ains.enqueue(c, priority => p) FROM (VALUES ('x', 1), ('y', 10), ('z', 10), ('x', 9), ('y', 2), ('x', 10), ('z', 5)) v (c, p);
SELECT capability, priority, attempt FROM ains.claim('a', 2) WITH ORDINALITY ORDER BY ordinality;
SELECT capability, priority FROM ains.claim('b', 3) WITH ORDINALITY ORDER BY ordinality;
SELECT capability, priority FROM ains.claim('b', 1000) WITH ORDINALITY ORDER BY ordinality;
-- the same rank: first come, first served
SELECT ains.enqueue('x', to_jsonb(n), run_at => '2020-01-01 00:00+00') FROM generate_series(1, 5) n;
SELECT payload FROM ains.claim('a', 3) WITH ORDINALITY ORDER BY ordinality;
SELECT payload FROM ains.claim('a', 3) WITH ORDINALITY ORDER BY ordinality;

-- a subset of what it offers; what it does not offer gives nothing
SELECT ains.enqueue(c) > 0 AS enqueued FROM unnest('{x,y,z}'::text[]) c;
SELECT capability FROM ains.claim('a', 10, capabilities => '{y,z,never heard of}');
SELECT capability FROM ains.claim('a', 10, capabilities => '{}');
SELECT capability FROM ains.claim('a', 10, capabilities => '{z}');
SELECT capability FROM ains.claim('a', 10, capabilities => '{x,x}');
SELECT capability FROM ains.claim('b', 10, capabilities => '{z}', incarnation => (SELECT incarnation FROM ains.agent WHERE agent_id = 'b'));

-- tokens are numbers below 2^53, larger with every claim
SELECT count(*) AS claims, count(DISTINCT lease_token) AS tokens, max(lease_token) < 2::numeric ^ 53 AS small FROM ains.task WHERE status = 'ACTIVE';
SELECT ains.enqueue('z') AS z \gset
SELECT lease_token AS one FROM ains.claim('b') \gset
SELECT ains.release(:z, :one);
SELECT lease_token > :one AS larger FROM ains.claim('b');

-- bad input
CALL t.refused($$SELECT * FROM ains.claim(NULL)$$);
CALL t.refused($$SELECT * FROM ains.claim('')$$);
CALL t.refused($$SELECT * FROM ains.claim('unknown')$$);
CALL t.refused($$SELECT * FROM ains.claim('a', NULL)$$);
CALL t.refused($$SELECT * FROM ains.claim('a', 0)$$);
CALL t.refused($$SELECT * FROM ains.claim('a', -1)$$);
CALL t.refused($$SELECT * FROM ains.claim('a', 1001)$$);
CALL t.refused($$SELECT * FROM ains.claim('a', lease => '0')$$);
CALL t.refused($$SELECT * FROM ains.claim('a', lease => '-5 min')$$);
CALL t.refused($$SELECT * FROM ains.claim('a', lease => '110 years')$$);
CALL t.refused($$SELECT * FROM ains.claim('a', capabilities => '{x,NULL}')$$);
CALL t.refused($$SELECT * FROM ains.claim('a', capabilities => '{""}')$$);
CALL t.refused($$SELECT * FROM ains.claim('a', capabilities => '{{x,y},{y,x}}')$$);
CALL t.refused($$SELECT * FROM ains.claim('a', capabilities => ARRAY[repeat('x', 129)])$$);
CALL t.refused($$SELECT * FROM ains.claim('a', incarnation => 4)$$);

-- who may not
SELECT ains.enqueue('x') AS task_id;
SELECT agent_status FROM ains.drain_agent('a');
CALL t.refused($$SELECT * FROM ains.claim('a')$$);
SELECT agent_status FROM ains.stop_agent('a');
CALL t.refused($$SELECT * FROM ains.claim('a')$$);
SELECT agent_status FROM ains.resume_agent('a');
SELECT agent_status FROM ains.heartbeat('a', 'OFFLINE');
CALL t.refused($$SELECT * FROM ains.claim('a')$$);
SELECT agent_status FROM ains.heartbeat('a', 'DEGRADED');
SET ROLE regress_agent;
CALL t.refused($$SELECT * FROM ains.claim('a')$$);
SET ROLE regress_producer;
CALL t.refused($$SELECT * FROM ains.claim('a')$$);
SET ROLE regress_monitor;
CALL t.refused($$SELECT * FROM ains.claim('a')$$);
SET ROLE regress_nobody;
CALL t.refused($$SELECT * FROM ains.claim('a')$$);
RESET ROLE;

-- a snapshot that cannot see newer rows: refused before anything is taken
BEGIN ISOLATION LEVEL REPEATABLE READ;
CALL t.refused($$SELECT * FROM ains.claim('a')$$);
CALL t.refused($$SELECT * FROM ains.sweep()$$);
CALL t.refused($$SELECT ains.release_dead_agent_leases()$$);
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE;
CALL t.refused($$SELECT * FROM ains.claim('a')$$);
COMMIT;
SET default_transaction_isolation = 'repeatable read';
CALL t.refused($$SELECT * FROM ains.claim('a')$$);
RESET default_transaction_isolation;
BEGIN READ ONLY;
SELECT * FROM ains.claim('a');
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;

-- a claim of a task that the same transaction enqueued
BEGIN;
SELECT agent_id FROM ains.register_agent('own', capabilities => '{own}');
SELECT ains.enqueue('own') AS own \gset
SELECT task_id = :own AS claimed FROM ains.claim('own');
SELECT ains.complete(:own, t.token(:own));
SELECT count(*) FROM ains.claim('own');
COMMIT;
SELECT status FROM ains.get_task(:own);
SELECT active_tasks FROM ains.heartbeat('own');
-- also when the capability has been in use: only others have to wait for the commit
SELECT count(*) FROM ains.claim('own');
BEGIN;
SELECT ains.enqueue('own') AS own \gset
SELECT task_id = :own AS claimed FROM ains.claim('own');
COMMIT;
SELECT agent_status FROM ains.stop_agent('own');

-- never more than the agent may hold at a time
SELECT agent_id, max_active_tasks FROM ains.register_agent('few', capabilities => '{few}', max_active_tasks => 3);
SELECT count(ains.enqueue('few')) FROM generate_series(1, 6);
SELECT count(*) FROM ains.claim('few');
SELECT count(*) FROM ains.claim('few', 10);
SELECT count(*) FROM ains.claim('few', 10);
SELECT active_tasks FROM ains.heartbeat('few');
SELECT ains.complete(min(task_id), t.token(min(task_id))) FROM ains.task WHERE agent_id = 'few' AND status = 'ACTIVE';
SELECT count(*) FROM ains.claim('few', 10);
BEGIN;
SELECT ains.release(min(task_id), t.token(min(task_id))) FROM ains.task WHERE agent_id = 'few' AND status = 'ACTIVE';
ROLLBACK;
SELECT count(*) FROM ains.claim('few', 10);

-- many at once, more lanes than one
SELECT count(*) FROM ains.enqueue_batch('p', (SELECT jsonb_agg(n) FROM generate_series(1, 600) n));
SELECT count(*) FROM ains.enqueue_batch('q', (SELECT jsonb_agg(n) FROM generate_series(1, 600) n), priority => 6);
SELECT agent_id FROM ains.register_agent('lots', capabilities => '{p,q}');
SELECT capability, count(*), count(DISTINCT lease_token) AS tokens FROM ains.claim('lots', 1000) GROUP BY 1 ORDER BY 1;
SELECT capability, count(*) FROM ains.claim('lots', 1000) GROUP BY 1 ORDER BY 1;
SELECT active_tasks FROM ains.heartbeat('lots');
SELECT agent_status FROM ains.stop_agent('lots');
SELECT active_tasks FROM ains.heartbeat('lots');
SELECT status, count(*) FROM ains.task WHERE capability IN ('p', 'q') GROUP BY 1;

-- what this transaction has locked or changed before, it can claim all the same;
-- also a task whose key from an earlier life is still in memory
BEGIN;
SELECT ains.enqueue('mine') AS id \gset
SELECT ains.set_priority(:id, 4);
SELECT agent_id FROM ains.register_agent('own', capabilities => '{mine}');
SAVEPOINT s;
SELECT task_id = :id AS claimed FROM ains.claim('own');
ROLLBACK TO s;
SELECT task_id = :id AS claimed FROM ains.claim('own');
COMMIT;
SELECT ains.enqueue('mine') AS id \gset
SELECT ains.cancel(:id);
SELECT ains.retry(:id) = :id AS back;
SELECT task_id = :id AS claimed FROM ains.claim('own');
