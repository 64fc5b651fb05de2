\set ECHO none
\getenv abs_srcdir PG_ABS_SRCDIR
\set begin :abs_srcdir '/sql/begin.psql'
\i :begin
--
-- Trust: what raises and lowers it. The test clock ticks a little between calls
-- too, so durations are shown in steps of ten seconds.
--
SELECT agent_id FROM ains.register_agent('a', capabilities => '{plain,timed,short,loose}', display_name => 'Ann');
SELECT agent_id FROM ains.register_agent('b', capabilities => '{plain}');
SELECT capability FROM ains.configure_capability('plain', max_attempts => 1000);
SELECT capability FROM ains.configure_capability('timed', timeout => '1000 s');
SELECT capability FROM ains.configure_capability('loose', keep_history => false);

-- One task of a capability, or with a timeout of its own: claimed, and after so
-- long completed, or failed.
CREATE PROCEDURE t.work(capability text, agent text, takes interval DEFAULT '0', own_timeout interval DEFAULT NULL, fails boolean DEFAULT false)
    LANGUAGE plpgsql AS $$
DECLARE
    task bigint := ains.enqueue(capability, timeout => own_timeout, max_attempts => 1);
BEGIN
    PERFORM FROM ains.claim(agent, capabilities => ARRAY[capability]);
    PERFORM ains_internal.advance_clock(takes);
    PERFORM ains.heartbeat('a'), ains.heartbeat('b');
    IF fails THEN
        PERFORM ains.fail(task, t.token(task), 'broken');
    ELSE
        PERFORM ains.complete(task, t.token(task));
    END IF;
END
$$;
CREATE FUNCTION t.trust(agent text) RETURNS TABLE (score real, completed bigint, failed bigint, lost bigint, average interval)
    LANGUAGE plpgsql AS $$
BEGIN
    PERFORM ains.sweep();
    RETURN QUERY SELECT trust_score, tasks_completed, tasks_failed, tasks_lost,
                        make_interval(secs => 10 * floor(extract(epoch FROM avg_duration) / 10)::float8)
                   FROM ains.agent a WHERE a.agent_id = $1;
END
$$;

SELECT * FROM t.trust('a');
-- completed, no timeout: 0.02; the first duration is the average
CALL t.work('plain', 'a', '100 s');
SELECT trust_score FROM ains.agents WHERE agent_id = 'a';
SELECT * FROM t.trust('a');
-- written down once
SELECT * FROM t.trust('a');
-- in less than half the timeout 0.03 more; 0.7 * 100 s + 0.3 * 400 s
CALL t.work('timed', 'a', '400 s');
SELECT * FROM t.trust('a');
-- more than half
CALL t.work('timed', 'a', '525 s');
SELECT * FROM t.trust('a');
-- its own timeout is what counts
CALL t.work('timed', 'a', '525 s', '2000 s');
SELECT * FROM t.trust('a');
-- failed: -0.05, and the average stays
CALL t.work('plain', 'a', '1 s', fails => true);
SELECT * FROM t.trust('a');
-- timed out: -0.03; as it is a sweep that notices, the next one writes it down
SELECT ains.enqueue('plain', timeout => '10 s', max_attempts => 1) AS timed \gset
SELECT t.claim('a') = :timed AS claimed;
SELECT t.advance('11 s');
SELECT * FROM t.trust('a');
-- a lost lease: -0.03, likewise
SELECT ains.enqueue('plain', max_attempts => 1) AS lost \gset
SELECT t.claim('a', lease => '1 s') = :lost AS claimed;
SELECT t.advance('2 s');
SELECT * FROM t.trust('a');
-- registered anew while it holds one
SELECT ains.enqueue('plain', max_attempts => 1) AS held \gset
SELECT t.claim('a') = :held AS claimed;
SELECT agent_id, tasks_completed FROM ains.register_agent('a', capabilities => '{plain,timed,short,loose}', display_name => 'Ann');
SELECT * FROM t.trust('a');
-- released or cancelled: nothing
SELECT ains.enqueue('plain') AS calm \gset
SELECT t.claim('a') = :calm AS claimed;
SELECT ains.release(:calm, t.token(:calm));
SELECT t.claim('a') = :calm AS claimed;
SELECT ains.cancel(:calm);
SELECT ains.fail(:calm, t.token(:calm), 'stopped');
SELECT * FROM t.trust('a');
-- a task that leaves no history counts all the same
CALL t.work('loose', 'a');
SELECT * FROM t.trust('a');
-- rolled back: nothing; so are parts of a transaction
BEGIN;
CALL t.work('plain', 'a');
ROLLBACK;
BEGIN;
CALL t.work('plain', 'a', '190 s');
SAVEPOINT s;
CALL t.work('plain', 'a', fails => true);
ROLLBACK TO s;
COMMIT;
SELECT * FROM t.trust('a');
-- a sweep that is rolled back takes nothing away
CALL t.work('plain', 'a');
BEGIN;
SELECT * FROM t.trust('a');
SELECT * FROM t.trust('a');
ROLLBACK;
SELECT score, completed FROM t.trust('a');

-- never below 0: eleven failures, then a success; order matters, and is kept
DO $$ BEGIN FOR i IN 1 .. 11 LOOP CALL t.work('plain', 'b', fails => true); END LOOP; END $$;
CALL t.work('plain', 'b');
SELECT score, completed, failed FROM t.trust('b');
-- never above 1, in one transaction or in many
DO $$ BEGIN FOR i IN 1 .. 60 LOOP CALL t.work('plain', 'b'); END LOOP; END $$;
SELECT score, completed, failed FROM t.trust('b');
CALL t.work('plain', 'b', fails => true);
CALL t.work('plain', 'b');
SELECT score, completed, failed FROM t.trust('b');

-- so many at once that nothing of the old average is left
SELECT agent_id FROM ains.register_agent('busy', capabilities => '{plain}', heartbeat_timeout => '10 years');
CALL t.work('plain', 'busy', '100 ms');
SELECT score, completed FROM t.trust('busy');
SELECT count(*) FROM ains.enqueue_batch('plain', (SELECT jsonb_agg(n) FROM generate_series(1, 2086) n));
SELECT count(*) FROM (SELECT array_agg(task_id) AS ids, array_agg(lease_token) AS tokens FROM generate_series(1, 3) n, LATERAL ains.claim('busy', 695 + n / 3, capabilities => '{plain}')) c,
    ains.complete_batch(ids, tokens);
SELECT score, completed FROM t.trust('busy');

-- by hand: after what came before, which is written down first
CALL t.work('plain', 'b', fails => true);
SELECT ains.adjust_trust('b', -0.4, 'was rude');
SELECT ains.adjust_trust('b', 1, 'has improved');
SELECT ains.adjust_trust('b', -0.12345, 'rounded');
BEGIN;
CALL t.work('plain', 'b');
SELECT ains.adjust_trust('b', 0.1, 'one');
SELECT ains.adjust_trust('b', -0.1, 'two');
COMMIT;
SELECT score, completed, failed FROM t.trust('b');

-- where it comes from, the latest first; it ends where it is
SELECT event, task_id IS NOT NULL AS task, delta, trust_score, reason, adjusted_by = current_user::regrole AS me
  FROM ains.trust_history('b') LIMIT 10;
SELECT event, delta, trust_score FROM ains.trust_history('b') ORDER BY happened_at LIMIT 13;
SELECT event, count(*), sum(delta::numeric) FROM ains.trust_history('a') GROUP BY event ORDER BY event;
SELECT h.trust_score = a.trust_score AS same FROM ains.trust_history('a') h, ains.agent a WHERE agent_id = 'a' LIMIT 1;

-- the leaderboard
SELECT agent_id FROM ains.register_agent('new');
SELECT agent_id, display_name, trust_score, trust_level, tasks_completed, tasks_failed, tasks_lost,
       round(success_rate::numeric, 3) AS success_rate, avg_duration IS NOT NULL AS average
  FROM ains.leaderboard(0);
SELECT agent_id FROM ains.leaderboard();
SELECT agent_id FROM ains.leaderboard(60);
UPDATE ains.agent SET trust_score = 0.9 WHERE agent_id = 'a';
UPDATE ains.agent SET trust_score = 0.7 WHERE agent_id = 'b';
UPDATE ains.agent SET trust_score = 0.3 WHERE agent_id = 'new';
SELECT agent_id, trust_level FROM ains.leaderboard(0);
UPDATE ains.agent SET trust_score = 0.89 WHERE agent_id = 'a';
UPDATE ains.agent SET trust_score = 0.69 WHERE agent_id = 'b';
UPDATE ains.agent SET trust_score = 0.29 WHERE agent_id = 'new';
SELECT agent_id, trust_level FROM ains.leaderboard(0);

-- a lost memory finds the rest in history, but only what the rows do not have
SELECT ains.rescan();
SELECT score, completed, failed, lost FROM t.trust('a');

-- an agent that is gone takes it along
SELECT agent_id FROM ains.stop_agent('b');
SELECT ains.prune_agents('0');
SELECT count(*) FROM ains.trust_event;
SELECT agent_id FROM ains.register_agent('b');
SELECT ains.rescan();
SELECT score, completed, failed, lost FROM t.trust('b');
SELECT count(*) FROM ains.trust_history('b');

-- bad input, and others' agents
CALL t.refused($$SELECT ains.adjust_trust('nobody', 0.1, 'x')$$);
CALL t.refused($$SELECT ains.adjust_trust('a', 1.1, 'x')$$);
CALL t.refused($$SELECT ains.adjust_trust('a', 'NaN', 'x')$$);
CALL t.refused($$SELECT ains.adjust_trust('a', NULL, 'x')$$);
CALL t.refused($$SELECT ains.adjust_trust('a', 0.1, NULL)$$);
CALL t.refused($$SELECT ains.leaderboard(-1)$$);
CALL t.refused($$SELECT ains.trust_history('nobody')$$);
SET ROLE regress_agent;
CALL t.refused($$SELECT ains.trust_history('a')$$);
RESET ROLE;
