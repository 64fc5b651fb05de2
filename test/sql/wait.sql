\set ECHO none
\getenv abs_srcdir PG_ABS_SRCDIR
\set begin :abs_srcdir '/sql/begin.psql'
\i :begin
--
-- wait_for_task and wait_for_result, as far as one session can see.
--
SELECT agent_id FROM ains.register_agent('a', capabilities => '{x}', heartbeat_timeout => '1 day');

-- nothing there, something there
CALL ains.wait_for_task('a', '0 s');
CALL ains.wait_for_task('a', '20 ms');
SELECT ains.enqueue('x', priority => 1) AS x1 \gset
CALL ains.wait_for_task('a');
CALL ains.wait_for_task('a', '1 s', NULL, '{x}');
CALL ains.wait_for_task('a', '0 s', NULL, '{y}');
CALL ains.wait_for_task('a', '0 s', NULL, '{}');
CALL ains.wait_for_task(agent_id => 'a', timeout => '1 s');
-- paused, due later, expired: nothing it may claim
SELECT ains.pause('x');
CALL ains.wait_for_task('a', '0 s');
SELECT ains.resume('x');
CALL ains.wait_for_task('a', '0 s');
SELECT count(*) FROM ains.claim('a', lease => '1 day');
SELECT ains.enqueue('x', run_at => t.now() + interval '1 h', expires_at => t.now() + interval '2 h') AS x2 \gset
CALL ains.wait_for_task('a', '0 s');
SELECT t.advance('61 min');
SELECT tasks_due FROM ains.sweep();
CALL ains.wait_for_task('a', '0 s');
SELECT t.advance('1 h');
CALL ains.wait_for_task('a', '0 s');
-- early, before statement_timeout would strike
SET statement_timeout = '500 ms';
CALL ains.wait_for_task('a', '30 s');
CALL ains.wait_for_result(:x1, '30 s');
RESET statement_timeout;
-- in PL/pgSQL a variable for each INOUT argument
DO $$
DECLARE
    ready boolean;
    status ains.task_status;
    result jsonb;
BEGIN
    CALL ains.wait_for_task('a', '0 s', ready);
    CALL ains.wait_for_result(1, '0 s', status, result);
    RAISE INFO '% % %', ready, status, result;
END
$$;

-- the result of a task
CALL ains.wait_for_result(:x1, '0 s');
SELECT ains.complete(:x1, t.token(:x1), '{"answer": 42}');
CALL ains.wait_for_result(:x1);
CALL ains.wait_for_result(:x1, '1 s', NULL, NULL);
SELECT ains.enqueue('x') AS x3, ains.enqueue('x') AS x4, ains.enqueue('x', priority => 10) AS x5 \gset
SELECT ains.cancel(:x3);
CALL ains.wait_for_result(:x3, '0 s');
SELECT task_id = :x5 AS claimed FROM ains.claim('a');
SELECT ains.fail(:x5, t.token(:x5), 'broken', false);
CALL ains.wait_for_result(:x5, '0 s');
-- a large one
SELECT task_id = :x4 AS claimed FROM ains.claim('a');
SELECT ains.complete(:x4, t.token(:x4), (SELECT jsonb_agg(md5(n::text)) FROM generate_series(1, 20000) n));
CREATE TABLE t.result (status ains.task_status, result jsonb);
DO $$
DECLARE
    id bigint := (SELECT max(task_id) - 1 FROM ains.task_history);
    status ains.task_status;
    result jsonb;
BEGIN
    CALL ains.wait_for_result(id, '0 s', status, result);
    INSERT INTO t.result VALUES (status, result);
END
$$;
SELECT status, jsonb_array_length(result) FROM t.result;

-- not in a transaction
BEGIN;
CALL ains.wait_for_task('a', '0 s');
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
BEGIN;
CALL ains.wait_for_result(1, '0 s');
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
CALL t.refused($$CALL ains.wait_for_task('a', '0 s')$$);
CALL t.refused($$CALL ains.wait_for_result(1, '0 s')$$);
-- nor with a snapshot that cannot see newer rows
SET default_transaction_isolation = 'repeatable read';
CALL ains.wait_for_task('a', '0 s');
\echo :LAST_ERROR_SQLSTATE
CALL ains.wait_for_result(1, '0 s');
\echo :LAST_ERROR_SQLSTATE
RESET default_transaction_isolation;

-- bad input
CALL ains.wait_for_task(NULL);
\echo :LAST_ERROR_SQLSTATE
CALL ains.wait_for_task('unknown');
\echo :LAST_ERROR_SQLSTATE
CALL ains.wait_for_task('a', '-1 s');
\echo :LAST_ERROR_SQLSTATE
CALL ains.wait_for_task('a', '200 years');
\echo :LAST_ERROR_SQLSTATE
CALL ains.wait_for_task('a', '0 s', NULL, ARRAY['x', NULL]);
\echo :LAST_ERROR_SQLSTATE
CALL ains.wait_for_result(NULL);
\echo :LAST_ERROR_SQLSTATE
CALL ains.wait_for_result(99999);
\echo :LAST_ERROR_SQLSTATE
CALL ains.wait_for_result(1, '-1 s');
\echo :LAST_ERROR_SQLSTATE
-- who may not
SELECT agent_status FROM ains.drain_agent('a');
CALL ains.wait_for_task('a', '0 s');
\echo :LAST_ERROR_SQLSTATE
SELECT agent_status FROM ains.resume_agent('a');
SET ROLE regress_agent;
CALL ains.wait_for_task('a', '0 s');
\echo :LAST_ERROR_SQLSTATE
CALL ains.wait_for_result(1, '0 s');
\echo :LAST_ERROR_SQLSTATE
SET ROLE regress_producer;
CALL ains.wait_for_result(1, '0 s');
\echo :LAST_ERROR_SQLSTATE
RESET ROLE;

-- waiting counts as beating
SELECT agent_id FROM ains.register_agent('w', heartbeat_timeout => '1 min');
SELECT t.advance('50 s');
CALL ains.wait_for_task('w', '0 s');
SELECT t.advance('50 s');
SELECT agents_marked_dead FROM ains.sweep();
