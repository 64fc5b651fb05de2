\set ECHO none
\getenv abs_srcdir PG_ABS_SRCDIR
\set begin :abs_srcdir '/sql/begin.psql'
\i :begin
--
-- fail: backoff, its cap and jitter, what is not retried, repetition.
--
SELECT agent_id FROM ains.register_agent('a', capabilities => '{exponential,linear,fixed,x}', heartbeat_timeout => '1 day');

-- the wait after each attempt, by policy; the defaults are exponential, 1 s, 60 s
CREATE PROCEDURE t.waits(name text, attempts integer)
    LANGUAGE plpgsql AS $$
DECLARE
    id bigint := ains.enqueue(name, max_attempts => attempts);
    token bigint;
    status text;
    waits text := '';
BEGIN
    FOR i IN 1 .. attempts LOOP
        COMMIT;
        SELECT c.lease_token INTO STRICT token FROM ains.claim('a', capabilities => ARRAY[name]) c;
        status := ains.fail(id, token, 'try again', true);
        IF status = 'SCHEDULED' THEN
            waits := waits || (SELECT extract(epoch FROM k.run_at - t.ended_at)::numeric(14, 3)::text || ' '
                                 FROM ains.task k JOIN ains.attempt t USING (task_id, attempt) WHERE k.task_id = id);
        END IF;
        EXIT WHEN i = attempts;
        PERFORM t.advance((SELECT k.run_at - t.now() + interval '1 ms' FROM ains.task k WHERE k.task_id = id));
        PERFORM ains.sweep();
    END LOOP;
    RAISE INFO '%%', waits, status;
END
$$;
SELECT (c).backoff, (c).backoff_base, (c).backoff_max FROM ains.configure_capability('exponential', jitter => 0) c;
CALL t.waits('exponential', 9);
SELECT (c).backoff FROM ains.configure_capability('linear', backoff => 'linear', backoff_base => '7 s', backoff_max => '30 s', jitter => 0) c;
CALL t.waits('linear', 7);
SELECT (c).backoff FROM ains.configure_capability('fixed', backoff => 'fixed', backoff_base => '1.5 s', jitter => 0) c;
CALL t.waits('fixed', 4);
-- a base above the cap; no base: again at once
SELECT (c).backoff_max FROM ains.configure_capability('fixed', backoff_base => '10 min', backoff_max => '5 min') c;
CALL t.waits('fixed', 3);
SELECT (c).backoff_base FROM ains.configure_capability('fixed', backoff_base => '0') c;
SELECT ains.enqueue('fixed') AS id \gset
SELECT task_id = :id AS claimed FROM ains.claim('a', capabilities => '{fixed}');
SELECT ains.fail(:id, t.token(:id), 'again', true);
SELECT ains.cancel(:id);
-- as long as can be: nothing overflows
SELECT (c).backoff_max FROM ains.configure_capability('exponential', backoff_base => '90 years', backoff_max => '95 years') c;
SELECT (c).backoff_max FROM ains.configure_capability('linear', backoff_base => '90 years', backoff_max => '95 years') c;
SELECT ains.enqueue(c, max_attempts => 1000000) FROM unnest('{exponential,linear}'::text[]) c;
UPDATE ains.task SET attempt = 999998 WHERE status = 'PENDING';
SELECT capability, attempt, ains.fail(task_id, lease_token, 'again', true) FROM ains.claim('a', 2) ORDER BY 1;
SELECT capability, k.run_at - t.ended_at = '95 years' AS capped FROM ains.task k JOIN ains.attempt t USING (task_id) WHERE k.attempt = 999999 ORDER BY 1;
SELECT capability, ains.cancel(task_id) FROM ains.task WHERE attempt = 999999 ORDER BY 1;

-- jitter takes a part of it away, never adds: within [1 - jitter, 1] of the wait
SELECT (c).jitter FROM ains.configure_capability('x', backoff => 'fixed', backoff_base => '1000 s', backoff_max => '1000 s', jitter => 0.5) c;
SELECT count(*) FROM ains.enqueue_batch('x', (SELECT jsonb_agg(n) FROM generate_series(1, 200) n));
SELECT count(ains.fail(task_id, lease_token, 'again', true)) FROM ains.claim('a', 200);
SELECT min(w) BETWEEN 500 AND 600 AS least, max(w) BETWEEN 900 AND 1000 AS most, avg(w) BETWEEN 650 AND 850 AS mean
  FROM (SELECT extract(epoch FROM k.run_at - t.ended_at) AS w FROM ains.task k JOIN ains.attempt t USING (task_id)) x;
SELECT (c).jitter FROM ains.configure_capability('x', jitter => 0, max_attempts => 3) c;
SELECT count(ains.cancel(task_id)) FROM ains.task;

-- retry_after goes before the backoff; 0 is at once
SELECT ains.enqueue('x') AS id \gset
SELECT task_id = :id AS claimed FROM ains.claim('a');
SELECT ains.fail(:id, t.token(:id), 'busy', true, '90 s');
SELECT status, t.about(run_at, '90 s') AS run_at, error, agent_id FROM ains.get_task(:id);
SELECT t.advance('91 s');
SELECT tasks_due FROM ains.sweep();
SELECT attempt FROM ains.claim('a');
SELECT ains.fail(:id, t.token(:id), 'busy', true, '0');
SELECT attempt FROM ains.claim('a');
-- not for the last one
SELECT ains.fail(:id, t.token(:id), 'busy for good', true, '90 s');
SELECT status, attempt, error, t.about(finished_at, '0') AS finished_at FROM ains.get_task(:id);
SELECT task_id = :id AS it FROM ains.dead_letters;
SELECT attempt, outcome, next_status, agent_id, error FROM ains.attempts WHERE task_id = :id ORDER BY attempt;

-- the error says whether it is worth another attempt
SELECT * FROM ains.non_retryable_error ORDER BY pattern;
CREATE PROCEDURE t.fails(errors text[], retryable boolean DEFAULT NULL)
    LANGUAGE plpgsql AS $$
DECLARE
    error text;
BEGIN
    FOREACH error IN ARRAY errors LOOP
        PERFORM ains.enqueue('x');
        COMMIT;
        RAISE INFO '%: %', error, (SELECT ains.fail(c.task_id, c.lease_token, error, retryable) FROM ains.claim('a') c);
    END LOOP;
END
$$;
CALL t.fails(ARRAY['timeout', 'Invalid INPUT: 3', 'user not found', 'NOT FOUND', 'HTTP 400 Bad Request', 'Permission denied (publickey)',
    'authentication failed', 'Validation Error', 'validation  error', 'rate limited', '', 'ünïcode', 'no%t found', 'not_found']);
-- what the caller says goes before
CALL t.fails('{not found}', true);
CALL t.fails('{timeout}', false);
-- patterns of one's own; one that is marked retryable stands above the others
INSERT INTO ains.non_retryable_error (pattern) VALUES ('Quota'), ('100%');
INSERT INTO ains.non_retryable_error (pattern, retryable) VALUES ('host not found', true);
CALL t.fails('{QUOTA exceeded,100% full,1000 full,Host not found,file not found}');
DELETE FROM ains.non_retryable_error WHERE NOT builtin;

-- repeated: the outcome is known, nothing changes
SELECT ains.enqueue('x') AS id \gset
SELECT lease_token AS token FROM ains.claim('a') \gset
SELECT ains.fail(:id, :token, 'one', true, '1 h');
SELECT t.state() AS before \gset
SELECT ains.fail(:id, :token, 'one', true, '1 h');
SELECT ains.fail(:id, :token, 'another', false);
SELECT t.state() = :'before' AS nothing_changed;
SELECT t.advance('2 h');
SELECT tasks_due > 0 AS due FROM ains.sweep();
SELECT acknowledged FROM ains.heartbeat('a');
SELECT count(*) FROM ains.claim('a', 1000);
-- also while the next attempt is running
SELECT ains.fail(:id, :token, 'one');
SELECT ains.fail(:id, t.token(:id), 'two', false);
SELECT ains.fail(:id, t.token(:id), 'two', false);
SELECT ains.fail(:id, :token, 'one');
CALL t.refused(format('SELECT ains.complete(%s, %s)', :id, :token));
SELECT attempt, outcome, next_status, error FROM ains.attempts WHERE task_id = :id ORDER BY attempt;

-- bad input
SELECT ains.enqueue('x') AS id \gset
SELECT task_id = :id AS claimed FROM ains.claim('a');
CALL t.refused($$SELECT ains.fail(NULL, 1, 'x')$$);
CALL t.refused($$SELECT ains.fail(1, NULL, 'x')$$);
CALL t.refused(format('SELECT ains.fail(%s, t.token(%1$s), NULL)', :id));
CALL t.refused(format('SELECT ains.fail(%s, t.token(%1$s), ''x'', retry_after => ''-1 s'')', :id));
CALL t.refused(format('SELECT ains.fail(%s, t.token(%1$s), ''x'', retry_after => ''110 years'')', :id));
CALL t.refused(format('SELECT ains.fail(%s, 12, ''x'')', :id));
-- an error of many lines and bytes is kept
SELECT ains.fail(:id, t.token(:id), E'line 1\nline 2\t' || repeat('ü', 5000), false);
SELECT char_length(error), error ~ E'^line 1\nline 2\t' AS kept FROM ains.get_task(:id);
