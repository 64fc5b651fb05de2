\set ECHO none
\getenv abs_srcdir PG_ABS_SRCDIR
\set begin :abs_srcdir '/sql/begin.psql'
\i :begin
--
-- What needs thousands of tasks or megabytes. The memory check leaves this file
-- out: it goes the same ways as the others, only more often.
--
-- larger than the default allows, though compression makes it small; 256 MB is more than jsonb holds
CALL t.refused($$SELECT ains.enqueue('work', to_jsonb(repeat('x', 17 * 1024 * 1024)))$$);
CALL t.refused($$SELECT ains.enqueue('work', to_jsonb(repeat('x', 300 * 1024 * 1024)))$$);

-- as many as allowed, in order
CREATE TABLE t.ids AS
SELECT * FROM ains.enqueue_batch('many', (SELECT jsonb_agg(n) FROM generate_series(1, 10000) n)) WITH ORDINALITY AS x (task_id, n);
SELECT count(*), bool_and(payload = to_jsonb(n)) AS in_order FROM t.ids JOIN ains.task USING (task_id);
-- a whole batch of ten thousand
SELECT agent_id FROM ains.register_agent('m', capabilities => '{many}');
DO $$
BEGIN
    FOR i IN 1 .. 10 LOOP
        PERFORM * FROM ains.claim('m', 1000);
    END LOOP;
END
$$;
SELECT active_tasks FROM ains.heartbeat('m');
SELECT count(*) FROM ains.complete_batch(ARRAY(SELECT task_id FROM ains.task WHERE agent_id = 'm' ORDER BY task_id),
    ARRAY(SELECT lease_token FROM ains.task WHERE agent_id = 'm' ORDER BY task_id));
SELECT active_tasks FROM ains.heartbeat('m');
SELECT status, count(*) FROM ains.task_info WHERE capability = 'many' GROUP BY 1;

-- more than one batch
SELECT count(*) FROM ains.enqueue_batch('many', (SELECT jsonb_agg(n) FROM generate_series(1, 2500) n), run_at => t.now() + interval '1 min');
SELECT t.advance('2 min');
SELECT tasks_due FROM ains.sweep();
SELECT status, count(*) FROM ains.task WHERE capability = 'many' GROUP BY 1;

SELECT agent_id FROM ains.register_agent('a', capabilities => '{x}');
-- many effects in one transaction, kept and thrown away
BEGIN;
SELECT count(*) FROM ains.enqueue_batch('x', (SELECT jsonb_agg(n) FROM generate_series(1, 10000) n));
SELECT count(ains.enqueue('x')) FROM generate_series(1, 3000);
DO $$
BEGIN
    FOR i IN 1 .. 300 LOOP
        BEGIN
            PERFORM * FROM ains.claim('a', 5);
            IF i % 2 = 0 THEN
                RAISE EXCEPTION 'undo' USING ERRCODE = 'TT001';
            END IF;
        EXCEPTION WHEN SQLSTATE 'TT001' THEN
            NULL;
        END;
    END LOOP;
END
$$;
COMMIT;
SELECT active_tasks = (SELECT count(*) FROM ains.task WHERE agent_id = 'a' AND status = 'ACTIVE') AS agreed FROM ains.heartbeat('a');

-- more than a slice of keys, and of tasks of a key
CREATE VIEW t.line AS
SELECT concurrency_key = 'long' AS long, status, count(*) FROM ains.task WHERE capability = 'line' GROUP BY 1, 2 ORDER BY 1, 2;
SELECT key_limit FROM ains.configure_capability('line', key_limit => 1);
SELECT count(ains.enqueue('line', concurrency_key => 'k' || n % 1100)) FROM generate_series(1, 2200) n;
SELECT count(ains.enqueue('line', concurrency_key => 'long')) FROM generate_series(1, 2500) n;
SELECT * FROM t.line;
SELECT key_limit FROM ains.configure_capability('line', key_limit => 2);
SELECT tasks_due FROM ains.sweep();
SELECT * FROM t.line;
SELECT key_limit FROM ains.configure_capability('line', key_limit => 2400);
SELECT tasks_due FROM ains.sweep();
SELECT * FROM t.line;
DELETE FROM ains.task WHERE concurrency_key = 'long' AND status = 'PENDING';
SELECT tasks_due FROM ains.sweep();
SELECT * FROM t.line;
