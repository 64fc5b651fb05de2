\set ECHO none
\getenv abs_srcdir PG_ABS_SRCDIR
\set begin :abs_srcdir '/sql/begin.psql'
\i :begin
--
-- What becomes of an ACTIVE task: the transition table of the contract, every
-- row with attempts left, with the last attempt, with its cancel requested,
-- and with on_lost = 'fail'.
--

-- The contract.  after: when the next attempt may begin.
CREATE TABLE t.rule (n serial, ends_by text, counted boolean, attempts_left ains.task_status, after interval,
                     last_attempt ains.task_status, lost boolean, outcome text);
INSERT INTO t.rule (ends_by, counted, attempts_left, after, last_attempt, lost, outcome) VALUES
    ('complete',                     true,  'COMPLETED', NULL,   'COMPLETED', false, NULL),
    ('fail, retryable',              true,  'SCHEDULED', '10 s', 'FAILED',    false, 'failed'),
    ('fail, retryable, retry_after', true,  'SCHEDULED', '70 s', 'FAILED',    false, 'failed'),
    ('fail, not retryable',          true,  'FAILED',    NULL,   'FAILED',    false, 'failed'),
    ('timeout passed',               true,  'SCHEDULED', '10 s', 'FAILED',    false, 'timed_out'),
    ('lease expired',                true,  'PENDING',   '0',    'FAILED',    true,  'lease_expired'),
    ('agent dead',                   true,  'PENDING',   '0',    'FAILED',    true,  'agent_dead'),
    ('connection ended',             true,  'PENDING',   '0',    'FAILED',    true,  'disconnected'),
    ('agent re-registered',          true,  'PENDING',   '0',    'FAILED',    true,  'reregistered'),
    ('not held any more',            true,  'PENDING',   '0',    'FAILED',    true,  'not_held'),
    ('release',                      false, 'PENDING',   '0',    'PENDING',   false, NULL),
    ('release, delay',               false, 'SCHEDULED', '70 s', 'SCHEDULED', false, NULL),
    ('stop_agent',                   false, 'PENDING',   '0',    'PENDING',   false, NULL);

CREATE TABLE t.kase (k serial, kase text, max_attempts integer, cancel boolean, on_lost text);
INSERT INTO t.kase (kase, max_attempts, cancel, on_lost) VALUES
    ('attempts left',             3, false, 'retry'),
    ('last attempt',              1, false, 'retry'),
    ('cancel requested',          3, true,  'retry'),
    ('cancel requested, last',    1, true,  'retry'),
    ('on_lost fail',              3, false, 'fail'),
    ('on_lost fail, last',        1, false, 'fail'),
    ('on_lost fail, cancel',      3, true,  'fail');

-- One task, one agent and one capability for each pair.
CREATE TABLE t.try AS
SELECT n, k, format('%s / %s', ends_by, kase) AS name, ends_by, kase, max_attempts, cancel, on_lost,
       NULL::bigint AS task_id, NULL::bigint AS token, NULL::bigint AS rank, NULL::text AS error
  FROM t.rule, t.kase;
CREATE PROCEDURE t.set_up()
    LANGUAGE plpgsql AS $$
DECLARE
    r record;
BEGIN
    FOR r IN SELECT * FROM t.try ORDER BY n, k LOOP
        PERFORM ains.configure_capability(r.name, max_attempts => r.max_attempts, backoff => 'fixed', backoff_base => '10 s',
            jitter => 0, on_lost => r.on_lost, timeout => CASE WHEN r.ends_by = 'timeout passed' THEN interval '50 s' END,
            lease => CASE WHEN r.ends_by = 'lease expired' THEN interval '50 s' ELSE '1 day' END);
        PERFORM ains.register_agent(r.name, capabilities => ARRAY[r.name],
            heartbeat_timeout => CASE WHEN r.ends_by = 'agent dead' THEN interval '50 s' ELSE '1 day' END);
        PERFORM ains.enqueue(r.name, priority => 1 + (r.n + r.k) % 10);
        COMMIT;
        UPDATE t.try SET (task_id, token) = (SELECT c.task_id, c.lease_token FROM ains.claim(r.name) c)
         WHERE name = r.name;
        UPDATE t.try SET rank = (SELECT a.rank FROM ains.task a WHERE a.task_id = try.task_id) WHERE name = r.name;
        IF r.cancel THEN
            PERFORM ains.cancel((SELECT task_id FROM t.try WHERE name = r.name), 'unwanted');
        END IF;
        IF r.ends_by = 'connection ended' THEN
            PERFORM ains.attach_agent(r.name);
        END IF;
    END LOOP;
END
$$;
CALL t.set_up();
SELECT count(*) AS held FROM ains.task WHERE status = 'ACTIVE';

-- The ends that somebody calls for.
CREATE FUNCTION t.end_all() RETURNS void
    LANGUAGE plpgsql AS $$
DECLARE
    r record;
BEGIN
    FOR r IN SELECT * FROM t.try ORDER BY n, k LOOP
        BEGIN
            CASE r.ends_by
                WHEN 'complete' THEN PERFORM ains.complete(r.task_id, r.token, '"done"');
                WHEN 'fail, retryable' THEN PERFORM ains.fail(r.task_id, r.token, 'broken', true);
                WHEN 'fail, retryable, retry_after' THEN PERFORM ains.fail(r.task_id, r.token, 'broken', true, '70 s');
                WHEN 'fail, not retryable' THEN PERFORM ains.fail(r.task_id, r.token, 'broken', false, '70 s');
                WHEN 'agent re-registered' THEN PERFORM ains.register_agent(r.name, capabilities => ARRAY[r.name]);
                WHEN 'not held any more' THEN PERFORM ains.heartbeat(r.name), ains.heartbeat(r.name, held => '{}');
                WHEN 'release' THEN PERFORM ains.release(r.task_id, r.token);
                WHEN 'release, delay' THEN PERFORM ains.release(r.task_id, r.token, '70 s');
                WHEN 'stop_agent' THEN PERFORM ains.stop_agent(r.name);
                ELSE NULL;
            END CASE;
        EXCEPTION WHEN SQLSTATE 'NS004' THEN
            UPDATE t.try SET error = SQLSTATE WHERE name = r.name;
        END;
    END LOOP;
END
$$;
SELECT t.end_all();
-- the due time of those that wait is further away than the test takes
UPDATE ains.task SET run_at = run_at + interval '1 h', wake_at = wake_at + interval '1 h' WHERE status = 'SCHEDULED';
-- nothing there is a sweep to do yet
SELECT * FROM ains.sweep();
-- the connection
\c -
\set SHOW_CONTEXT never
DO $$
BEGIN
    FOR i IN 1 .. 3000 LOOP
        PERFORM ains.sweep();
        EXIT WHEN NOT EXISTS (SELECT FROM ains.task WHERE agent_id ~ 'connection ended' AND status = 'ACTIVE');
        PERFORM pg_sleep(0.01);
    END LOOP;
END
$$;
-- the clock
SELECT t.advance('60 s');
SELECT count(ains.heartbeat(name)) AS beats FROM t.try WHERE ends_by = 'timeout passed';
SELECT leases_expired, leases_of_dead_agents, attempts_timed_out, agents_marked_dead FROM ains.sweep();
UPDATE ains.task SET run_at = run_at - interval '1 h', wake_at = wake_at - interval '1 h'
 WHERE status = 'SCHEDULED' AND capability !~ 'timeout passed';

-- Expected and got.
CREATE VIEW t.verdict AS
WITH expected AS (
    SELECT y.*, r.counted, r.outcome,
           CASE WHEN cancel AND ends_by = 'complete' THEN 'ACTIVE'        -- refused: NS004
                WHEN cancel THEN 'CANCELLED'
                WHEN on_lost = 'fail' AND lost THEN 'FAILED'
                WHEN max_attempts = 1 THEN last_attempt
                ELSE attempts_left END::ains.task_status AS status,
           r.after
      FROM t.try y JOIN t.rule r USING (n, ends_by))
SELECT e.name, e.n, e.k, e.ends_by, e.kase, e.status AS expected, i.status, i.attempt,
       (e.counted OR e.cancel)::integer AS expected_attempt,
       CASE WHEN e.cancel AND e.ends_by = 'complete' THEN NULL WHEN e.cancel THEN 'cancelled' ELSE e.outcome END AS expected_outcome,
       a.outcome, a.next_status,
       CASE WHEN i.status IN ('SCHEDULED', 'PENDING') THEN e.after END AS expected_after,
       -- a PENDING task is due since it was enqueued
       CASE i.status WHEN 'PENDING' THEN greatest(i.run_at - l.created_at, '0')
                     WHEN 'SCHEDULED' THEN coalesce(i.run_at - a.ended_at, e.after) END AS after,
       l.rank = e.rank AS rank_kept,
       e.error
  FROM expected e
  JOIN ains.task_info i USING (task_id)
  LEFT JOIN ains.task l USING (task_id)
  LEFT JOIN ains.attempt a USING (task_id);
SELECT ends_by, kase, status, attempt, outcome, after, rank_kept, error,
       CASE WHEN (status, attempt) = (expected, expected_attempt) AND outcome IS NOT DISTINCT FROM expected_outcome
                 AND after IS NOT DISTINCT FROM expected_after AND rank_kept IS NOT FALSE
                 AND (outcome IS NULL OR next_status = status)
            THEN 'as promised'
            ELSE format('EXPECTED %s, attempt %s, outcome %s, after %s', expected, expected_attempt, expected_outcome, expected_after) END AS verdict
  FROM t.verdict ORDER BY n, k;
SELECT count(*), count(*) FILTER (WHERE status <> expected) AS wrong FROM t.verdict;

-- a cancelled task keeps the reason, and what its agent said
SELECT DISTINCT cancel_reason FROM ains.task_info WHERE status = 'CANCELLED';

-- every token that ended is refused by every call but the repetition of its own
CREATE FUNCTION t.refusals() RETURNS TABLE (ends_by text, complete text, fail text, release text, extend text, checkpoint text)
    LANGUAGE plpgsql AS $$
DECLARE
    r record;
    call text;
    answers text[];
BEGIN
    FOR r IN SELECT * FROM t.try WHERE kase = 'attempts left' ORDER BY n LOOP
        answers := '{}';
        FOREACH call IN ARRAY ARRAY['complete(%s, %s)', 'fail(%s, %s, ''x'')', 'release(%s, %s)', 'extend_lease(%s, %s)', 'checkpoint(%s, %s, ''{}'')'] LOOP
            BEGIN
                EXECUTE format('SELECT ains.' || call, r.task_id, r.token);
                answers := answers || 'repeated'::text;
            EXCEPTION WHEN OTHERS THEN
                answers := answers || SQLSTATE::text;
            END;
        END LOOP;
        RETURN QUERY SELECT r.ends_by, answers[1], answers[2], answers[3], answers[4], answers[5];
    END LOOP;
END
$$;
SELECT t.state() AS before \gset
SELECT * FROM t.refusals();
SELECT t.state() = :'before' AS nothing_changed;

-- what waits is claimable when it is due, and not before
SELECT ends_by, kase, (SELECT count(*) FROM ains.claim(name)) AS claimed
  FROM t.verdict WHERE status IN ('PENDING', 'SCHEDULED') AND kase = 'attempts left' AND ends_by NOT IN ('agent dead', 'stop_agent') ORDER BY n, k;
SELECT t.advance('2 min');
SELECT tasks_due FROM ains.sweep();
SELECT status, count(*) FROM ains.task GROUP BY 1 ORDER BY 1;
