\set ECHO none
\getenv abs_srcdir PG_ABS_SRCDIR
\set begin :abs_srcdir '/sql/begin.psql'
\i :begin
--
-- chains: tasks one after the other, each with the result of the one before
--
SELECT agent_id FROM ains.register_agent('a', capabilities => '{find, read, write}');
CREATE FUNCTION t.step(result jsonb) RETURNS TABLE (capability text, payload jsonb, stage text) LANGUAGE plpgsql AS $$
DECLARE
    c record;
BEGIN
    FOR c IN SELECT * FROM ains.claim('a') LOOP
        PERFORM ains.complete(c.task_id, c.lease_token, result);
        RETURN QUERY SELECT c.capability, CASE WHEN length(c.payload::text) < 200 THEN c.payload ELSE to_jsonb(length(c.payload::text)) END, (ains.get_task(c.task_id)).stage;
    END LOOP;
END $$;

SELECT ains.enqueue_chain('[{"capability": "find", "payload": {"state": "TX"}, "name": "discovery"},
    {"capability": "read", "payload": {"depth": 2}, "priority": 9},
    {"capability": "read", "payload": "text"},
    {"capability": "write", "use_previous_output": false},
    {"capability": "write", "stage": "the end"}]', name => 'nightly', metadata => '{"by": "test"}') AS run \gset
SELECT run_id, name, status, live, metadata FROM ains.runs;
SELECT capability, status, priority, cardinality(depends_on) AS waits, stage FROM ains.tasks ORDER BY task_id;
SELECT stage, blocked, pending FROM ains.run_progress(:run);
SELECT * FROM t.step('{"companies": [1, 2]}');
SELECT * FROM t.step(NULL);
SELECT * FROM t.step('"third"');
SELECT * FROM t.step('4');
SELECT status, live, completed FROM ains.runs;
SELECT * FROM t.step('5');
SELECT status, live, completed FROM ains.runs;
SELECT stage, completed FROM ains.run_progress(:run);

-- a large one, and in batches
SELECT ains.enqueue_chain('[{"capability": "find"}, {"capability": "read", "payload": {"a": 1}}]') > 0 AS made;
SELECT * FROM t.step((SELECT jsonb_agg(md5(n::text)) FROM generate_series(1, 20000) n));
SELECT payload -> 'a' AS a, jsonb_array_length(payload -> 'previous_output') AS large FROM ains.tasks WHERE status = 'PENDING';
SELECT * FROM t.step(NULL);
SELECT ains.enqueue_chain('[{"capability": "find"}, {"capability": "read"}]') > 0 AS made;
SELECT count(*) FROM ains.claim('a') c, ains.complete_batch(ARRAY[c.task_id], ARRAY[c.lease_token], '["batch"]');
SELECT * FROM t.step(NULL);

-- by statement, where rows have a trigger
CREATE FUNCTION t.nothing() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE TRIGGER see AFTER INSERT OR UPDATE OR DELETE ON ains.task FOR EACH ROW EXECUTE FUNCTION t.nothing();
SELECT ains.enqueue_chain('[{"capability": "find"}, {"capability": "read"}]', name => 'by statement') AS run \gset
SELECT * FROM t.step('"by statement"');
SELECT * FROM t.step(NULL);
SELECT status, live, completed FROM ains.runs WHERE run_id = :run;
DROP TRIGGER see ON ains.task;

-- a step fails: so do those after it, and the run
SELECT ains.enqueue_chain('[{"capability": "find"}, {"capability": "read", "payload": {"n": 2}}, {"capability": "write"}]', name => 'broken') AS run \gset
SELECT ains.fail(task_id, lease_token, 'broken', retryable => false) FROM ains.claim('a');
SELECT status, live, completed, failed FROM ains.runs WHERE run_id = :run;
-- and comes back as it was: all of it
SELECT ains.retry_run(:run);
SELECT status, live, completed, failed FROM ains.runs WHERE run_id = :run;
SELECT * FROM t.step('"one"');
SELECT * FROM t.step('"two"');
SELECT * FROM t.step('"three"');
SELECT status, live, completed, failed FROM ains.runs WHERE run_id = :run;
-- or step by step: what comes back after the one before has completed gets its result
SELECT ains.enqueue_chain('[{"capability": "find"}, {"capability": "read", "payload": {"n": 2}}]', name => 'broken') AS run \gset
SELECT ains.fail(task_id, lease_token, 'broken', retryable => false) FROM ains.claim('a');
SELECT min(task_id) AS one, max(task_id) AS two FROM ains.tasks WHERE run_id = :run \gset
SELECT ains.retry(:one) = :one AS retried;
SELECT * FROM t.step('"late"');
SELECT ains.retry(:two) = :two AS retried;
SELECT ains.fail(task_id, lease_token, 'broken', retryable => false) FROM ains.claim('a');
SELECT payload FROM ains.get_task(:two);
SELECT ains.retry(:two) = :two AS retried;
SELECT * FROM t.step(NULL);
SELECT status, live, completed, failed FROM ains.runs WHERE run_id = :run;

-- one that goes on
SELECT ains.enqueue_chain('[{"capability": "find"}, {"capability": "read"}]', on_failure => 'continue') AS run \gset
SELECT ains.fail(task_id, lease_token, 'broken', retryable => false) FROM ains.claim('a');
SELECT * FROM t.step(NULL);
SELECT status, live, completed, failed FROM ains.runs WHERE run_id = :run;

-- as part of a run
SELECT ains.create_run('whole', target => 2, criteria => '{"target_stage": "read"}') AS run \gset
SELECT ains.enqueue_chain('[{"capability": "find"}, {"capability": "read", "name": "read"}]', run_id => :run) = :run AS joined FROM generate_series(1, 2);
SELECT stage, blocked, pending, gap FROM ains.run_progress(:run);
SELECT count(*) FROM (SELECT t.step('1') UNION ALL SELECT t.step('1') UNION ALL SELECT t.step('1') UNION ALL SELECT t.step('1')) s;
SELECT name, status, completed FROM ains.runs WHERE run_id = :run;

CALL t.refused($$SELECT ains.enqueue_chain('{}')$$);
CALL t.refused($$SELECT ains.enqueue_chain('[]')$$);
CALL t.refused($$SELECT ains.enqueue_chain('[1]')$$);
CALL t.refused($$SELECT ains.enqueue_chain('[{}]')$$);
CALL t.refused($$SELECT ains.enqueue_chain('[{"capability": "find"}, {"capability": "find", "depends_on": [1]}]')$$);
CALL t.refused($$SELECT ains.enqueue_chain('[{"capability": "find", "colour": 1}]')$$);
CALL t.refused($$SELECT ains.enqueue_chain('[{"capability": "find", "name": 1}]')$$);
CALL t.refused($$SELECT ains.enqueue_chain('[{"capability": "find", "use_previous_output": 1}]')$$);
CALL t.refused($$SELECT ains.enqueue_chain('[{"capability": "find", "priority": 99}]')$$);
CALL t.refused($$SELECT ains.enqueue_chain('[{"capability": "find"}]', run_id => 99999)$$);
