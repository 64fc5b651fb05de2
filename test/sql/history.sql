\set ECHO none
\getenv abs_srcdir PG_ABS_SRCDIR
\set begin :abs_srcdir '/sql/begin.psql'
\i :begin
--
-- History: shelves made ahead and dropped whole; a month without a sweeper.
--

-- The time is noon by UTC, that no midnight comes between two lines.
SELECT t.advance(date_trunc('day', t.now() AT TIME ZONE 'UTC') + interval '36 h' - (t.now() AT TIME ZONE 'UTC'));
CREATE TABLE t.start AS SELECT (t.now() AT TIME ZONE 'UTC')::date AS day;
-- Days since then.
CREATE FUNCTION t.day(at timestamptz) RETURNS integer LANGUAGE sql AS
    'SELECT (date_trunc(''day'', $1 AT TIME ZONE ''UTC'')::date - (SELECT day FROM t.start))';
-- The shelves there are, and how many rows each has.
CREATE VIEW t.shelves AS
SELECT c.relname AS shelf, to_date(right(c.relname, 8), 'YYYYMMDD') - (SELECT day FROM t.start) AS day
  FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid WHERE inhparent = 'ains.task_history'::regclass;
CREATE VIEW t.both AS
SELECT (SELECT array_agg(day ORDER BY day) FROM t.shelves) AS history,
       (SELECT array_agg(to_date(right(c.relname, 8), 'YYYYMMDD') - (SELECT day FROM t.start) ORDER BY c.relname)
          FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid WHERE inhparent = 'ains.attempt'::regclass)
       = (SELECT array_agg(day ORDER BY day) FROM t.shelves) AS attempts_too;

-- none before the first task, and a sweep does not make one
SELECT * FROM t.both;
SELECT partitions_dropped FROM ains.sweep();
SELECT * FROM t.both;
SELECT agent_id FROM ains.register_agent('a', capabilities => '{x}', heartbeat_timeout => '10 years');

-- One day: a task completes, one fails after one attempt, one is cancelled.
CREATE TABLE t.done (day integer, task_id bigint);
CREATE PROCEDURE t.one_day()
    LANGUAGE plpgsql AS $$
DECLARE
    c record;
    day integer := t.day(t.now());
BEGIN
    PERFORM ains.heartbeat('a');
    INSERT INTO t.done SELECT day, ains.enqueue('x', to_jsonb(day), max_attempts => 2) FROM generate_series(1, 3);
    COMMIT;
    FOR c IN SELECT *, row_number() OVER () AS n FROM ains.claim('a', 2) LOOP
        IF c.n = 1 THEN
            PERFORM ains.complete(c.task_id, c.lease_token, to_jsonb(day));
        ELSE
            PERFORM ains.fail(c.task_id, c.lease_token, 'again', true, '0');
        END IF;
    END LOOP;
    COMMIT;
    SELECT * INTO STRICT c FROM ains.claim('a', 1, capabilities => '{x}');
    PERFORM ains.fail(c.task_id, c.lease_token, 'for good', false);
    PERFORM ains.cancel((SELECT max(task_id) FROM t.done));
    COMMIT;
END
$$;
CALL t.one_day();
-- the first task made the first shelf
SELECT * FROM t.both;
SELECT partitions_dropped FROM ains.sweep();
-- and a sweep those of the next seven days
SELECT * FROM t.both;

-- a month without a sweep: what ends goes to today's shelf, then to the last there is
DO $$
BEGIN
    FOR i IN 1 .. 30 LOOP
        PERFORM t.advance('1 day');
        CALL t.one_day();
    END LOOP;
END
$$;
SELECT * FROM t.both;
SELECT shelf - (SELECT day FROM t.start) AS shelf, count(*), min(t.day(finished_at)) AS first_day, max(t.day(finished_at)) AS last_day
  FROM ains.task_history GROUP BY 1 ORDER BY 1;
SELECT shelf - (SELECT day FROM t.start) AS shelf, count(*), max(t.day(ended_at)) AS last_day FROM ains.attempt GROUP BY 1 ORDER BY 1;
-- all of it can be read
SELECT count(*), count(DISTINCT (SELECT g.task_id FROM ains.get_task(task_id) g)) AS found FROM t.done;
SELECT status, count(*) FROM ains.tasks GROUP BY 1 ORDER BY 1;
SELECT outcome, next_status, count(*) FROM ains.attempts GROUP BY 1, 2 ORDER BY 2;
-- a repeated complete is answered, a task can be put back
SELECT ains.complete(task_id, t.token(task_id)) FROM ains.task_history WHERE status = 'COMPLETED' ORDER BY finished_at LIMIT 1;
SELECT ains.retry(task_id) = task_id AS back FROM ains.task_history WHERE status = 'CANCELLED' ORDER BY finished_at DESC LIMIT 1;
SELECT ains.cancel(task_id) FROM ains.task;

-- the sweep makes up for it: shelves from today on; days past retention go,
-- but not the one that has younger rows too, and none of them is touched
SELECT partitions_dropped FROM ains.sweep();
SELECT * FROM t.both;
SELECT count(*) AS rows, count(*) FILTER (WHERE finished_at > t.now() - interval '7 days') AS younger_than_retention FROM ains.task_history;
SELECT count(*) AS must_be FROM t.done WHERE t.day(t.now()) - day < 7;
-- what was dropped is not known any more; its attempts went with it
SELECT day, task_id AS gone FROM t.done WHERE day = 0 ORDER BY 2 LIMIT 1 \gset
CALL t.refused(format('SELECT ains.get_task(%s)', :gone));
SELECT count(*) FROM ains.attempt WHERE task_id IN (SELECT task_id FROM t.done WHERE day < 7);
SELECT partitions_dropped FROM ains.sweep();
-- things end today again
CALL t.one_day();
SELECT shelf - (SELECT day FROM t.start) AS shelf, count(*) FROM ains.task_history WHERE t.day(finished_at) = t.day(t.now()) GROUP BY 1 ORDER BY 1;

-- two weeks with a sweep each day: never a row younger than retention lost,
-- never one kept for more than a day longer than that (but on the shelf above)
CREATE TABLE t.log (day integer, shelves integer, young_lost integer, oldest integer, dropped integer);
DO $$
DECLARE
    dropped integer;
BEGIN
    FOR i IN 1 .. 16 LOOP
        PERFORM t.advance('1 day');
        dropped := (SELECT partitions_dropped FROM ains.sweep());
        INSERT INTO t.log SELECT t.day(t.now()), (SELECT count(*) FROM t.shelves),
            (SELECT count(*) FROM t.done d WHERE t.day(t.now()) - d.day < 7 AND NOT EXISTS (SELECT FROM ains.task_history h WHERE h.task_id = d.task_id)),
            (SELECT t.day(t.now()) - t.day(min(finished_at)) FROM ains.task_history), dropped;
        COMMIT;
        CALL t.one_day();
    END LOOP;
END
$$;
SELECT * FROM t.log ORDER BY 1;
SELECT * FROM t.both;

-- longer retention
SELECT t.advance('1 day');
ALTER SYSTEM SET ains.retention = '9 d';
SELECT pg_reload_conf() AS reloaded;
\c -
\set SHOW_CONTEXT never
SHOW ains.retention;
SELECT partitions_dropped FROM ains.sweep();
ALTER SYSTEM RESET ains.retention;
SELECT pg_reload_conf() AS reloaded;
\c -
\set SHOW_CONTEXT never
SHOW ains.retention;

-- in a transaction block nothing is dropped: its lock would stay until the end
BEGIN;
SELECT partitions_dropped FROM ains.sweep();
COMMIT;
SELECT partitions_dropped FROM ains.sweep();
SELECT partitions_dropped FROM ains.sweep();

-- a shelf of that name that is there already is adopted, if nobody else attaches it soon; a sweep
-- that is rolled back made none
SELECT format('ains.task_history_%s', to_char((t.now() AT TIME ZONE 'UTC')::date + 8, 'YYYYMMDD')) AS name \gset
CREATE TABLE :name (LIKE ains.task_history INCLUDING ALL);
SELECT t.advance('1 day');
SELECT partitions_dropped >= 0 AS swept FROM ains.sweep();
SELECT max(day) - t.day(t.now()) AS ahead FROM t.shelves;
SELECT t.advance('11 s');
BEGIN;
SELECT partitions_dropped FROM ains.sweep();
SELECT max(day) - t.day(t.now()) AS ahead FROM t.shelves;
ROLLBACK;
SELECT max(day) - t.day(t.now()) AS ahead FROM t.shelves;
SELECT partitions_dropped >= 0 AS swept FROM ains.sweep();
SELECT max(day) - t.day(t.now()) AS ahead FROM t.shelves;
CALL t.one_day();

-- a month again, and not one sweep before the first task: with one shelf only
DROP VIEW t.tasks, t.attempts, t.both, t.shelves;
DROP EXTENSION ains;
CREATE EXTENSION ains;
SELECT agent_id FROM ains.register_agent('a', capabilities => '{x}', heartbeat_timeout => '10 years');
TRUNCATE t.done;
DO $$
BEGIN
    FOR i IN 0 .. 30 LOOP
        CALL t.one_day();
        PERFORM t.advance('1 day');
    END LOOP;
END
$$;
SELECT count(DISTINCT shelf) AS shelves, count(*) FROM ains.task_history;
SELECT ains.heartbeat('a') IS NOT NULL AS beat;
SELECT partitions_dropped FROM ains.sweep();
SELECT count(*) FROM ains.task_history;
SELECT t.advance('7 days');
SELECT partitions_dropped FROM ains.sweep();
SELECT count(*) FROM ains.task_history;

-- direct writes of nobody
SET ROLE regress_admin;
CALL t.refused($$SELECT 1 FROM ains.task_history$$);
CALL t.refused($$DELETE FROM ains.attempt$$);
CALL t.refused($$UPDATE ains.task SET priority = 1$$);
CALL t.refused($$INSERT INTO ains.agent_capability VALUES ('a', 'b')$$);
RESET ROLE;
