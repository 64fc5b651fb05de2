\set ECHO none
\getenv abs_srcdir PG_ABS_SRCDIR
\set begin :abs_srcdir '/sql/begin.psql'
\i :begin
--
-- enqueue, claim and complete write rows without the executor, unless the
-- table needs it: both ways do the same.
--
SELECT agent_id FROM ains.register_agent('a', capabilities => '{x}');
CREATE TABLE t.seen (op text, status ains.task_status);
CREATE FUNCTION t.see() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO t.seen VALUES (TG_OP, CASE WHEN TG_OP = 'DELETE' THEN OLD.status ELSE NEW.status END);
    RETURN NULL;
END $$;

-- everything a task can carry, there and back; what becomes of each column
CREATE FUNCTION t.round() RETURNS TABLE (step text, r text) LANGUAGE plpgsql AS $$
DECLARE
    id    bigint;
    ids   bigint[];
    c     record;
    batch record;
BEGIN
    id := ains.enqueue('x', '{"n": 1}', 7, max_attempts => 3, timeout => '10 min', min_trust => 0.2, metadata => '{"m": 1}');
    RETURN QUERY SELECT 'enqueued', jsonb_strip_nulls(to_jsonb(t) - '{task_id,run_at,created_at,rank,lane_id,enqueued_by}'::text[])::text FROM ains.task t;
    SELECT * INTO c FROM ains.claim('a');
    RETURN QUERY SELECT 'claimed', jsonb_strip_nulls(to_jsonb(t) - '{task_id,run_at,created_at,rank,lane_id,enqueued_by,incarnation,lease_token,claimed_at,lease_expires_at,deadline,wake_at}'::text[])::text FROM ains.task t;
    RETURN QUERY SELECT 'its times', format('%s %s %s', lease_expires_at - claimed_at, deadline - claimed_at, wake_at = lease_expires_at) FROM ains.task;
    RETURN QUERY SELECT 'told', format('%s %s %s %s %s %s', c.task_id = id, c.payload, c.priority, c.attempt, c.max_attempts, c.metadata);
    PERFORM ains.checkpoint(c.task_id, c.lease_token, '{"at": 5}', 0.5);
    PERFORM ains.complete(c.task_id, c.lease_token, '{"ok": true}', '{"tokens": 9}');
    RETURN QUERY SELECT 'completed', jsonb_strip_nulls(to_jsonb(h) - '{task_id,run_at,created_at,enqueued_by,incarnation,lease_token,claimed_at,finished_at,shelf}'::text[])::text FROM ains.task_history h;
    RETURN QUERY SELECT 'its token', (h.lease_token = c.lease_token AND h.incarnation IS NOT NULL AND h.shelf = (h.finished_at AT TIME ZONE 'UTC')::date)::text FROM ains.task_history h;
    -- many at once, and in the same transaction; one is given twice, one not at all
    ids := ARRAY(SELECT ains.enqueue('x', to_jsonb(n)) FROM generate_series(1, 5) n);
    SELECT array_agg(task_id ORDER BY task_id) AS ids, array_agg(lease_token ORDER BY task_id) AS tokens INTO batch FROM ains.claim('a', 10);
    RETURN QUERY SELECT 'all of them', (batch.ids = ids)::text;
    RETURN QUERY SELECT 'completed', count(*)::text FROM ains.complete_batch(batch.ids[1:4] || batch.ids[1], batch.tokens[1:4] || batch.tokens[1], '[1, 2, 3, 4, 5]');
    RETURN QUERY SELECT 'and again', count(*)::text FROM ains.complete_batch(batch.ids[1:4], batch.tokens[1:4]);
    RETURN QUERY SELECT 'results', jsonb_agg(result ORDER BY task_id)::text FROM ains.task_history WHERE task_id = ANY (ids);
    RETURN QUERY SELECT 'left', jsonb_agg(jsonb_build_array(payload, status))::text FROM ains.task;
    TRUNCATE ains.task, ains.task_history;
END $$;

SELECT step, r FROM t.round();
CREATE TABLE t.first AS SELECT * FROM t.round() WITH ORDINALITY;

-- a trigger sees every row; the rest is the same
CREATE TRIGGER see AFTER INSERT OR UPDATE OR DELETE ON ains.task FOR EACH ROW EXECUTE FUNCTION t.see();
SELECT n, a.r AS by_row, b.r AS by_statement FROM t.first a (step, r, n) FULL JOIN t.round() WITH ORDINALITY b (step, r, n) USING (n)
 WHERE a.r IS DISTINCT FROM b.r;
SELECT op, status, count(*) FROM t.seen GROUP BY 1, 2 ORDER BY 1, 2;
DROP TRIGGER see ON ains.task;

-- an index with somebody's function: likewise
CREATE FUNCTION t.f(jsonb) RETURNS text IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN RETURN $1::text; END $$;
CREATE INDEX by_f ON ains.task (t.f(payload));
SELECT n, a.r AS by_row, b.r AS by_statement FROM t.first a (step, r, n) FULL JOIN t.round() WITH ORDINALITY b (step, r, n) USING (n)
 WHERE a.r IS DISTINCT FROM b.r;
DROP INDEX ains.by_f;
CREATE INDEX partly ON ains.task (task_id) WHERE t.f(payload) <> '';
SELECT n, a.r AS by_row, b.r AS by_statement FROM t.first a (step, r, n) FULL JOIN t.round() WITH ORDINALITY b (step, r, n) USING (n)
 WHERE a.r IS DISTINCT FROM b.r;
DROP INDEX ains.partly;

-- a plain index that somebody adds is kept up
CREATE INDEX plain ON ains.task (priority);
SELECT count(ains.enqueue('x', priority => n)) FROM generate_series(1, 10) n;
SELECT count(*) FROM ains.claim('a', 3);
SET enable_seqscan = off;
SELECT priority, count(*) FROM ains.task WHERE priority > 6 GROUP BY 1 ORDER BY 1;
RESET enable_seqscan;
DROP INDEX ains.plain;

-- and a check that somebody adds is obeyed
ALTER TABLE ains.task ADD CONSTRAINT no_eight CHECK (priority <> 8) NOT VALID;
\set VERBOSITY terse
SELECT ains.enqueue('x', priority => 8);
\set VERBOSITY default
ALTER TABLE ains.task DROP CONSTRAINT no_eight;
SELECT count(ains.enqueue('x', priority => 9));

-- a snapshot that is older than the call, and a transaction that may not write
SELECT task_id, lease_token FROM ains.claim('a') \gset
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT ains.complete(:task_id, :lease_token, '"done"');
SELECT status, result FROM ains.get_task(:task_id);
ROLLBACK;
SELECT status FROM ains.get_task(:task_id);
BEGIN READ ONLY;
SELECT ains.complete(:task_id, :lease_token);
ROLLBACK;
SELECT ains.complete(:task_id, :lease_token);
