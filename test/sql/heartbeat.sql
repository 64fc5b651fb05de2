\set ECHO none
\getenv abs_srcdir PG_ABS_SRCDIR
\set begin :abs_srcdir '/sql/begin.psql'
\i :begin
--
-- Heartbeats: what they say, what they answer, what they renew.
--
SELECT agent_id FROM ains.register_agent('a', capabilities => '{x}');
SELECT ains.enqueue('x') FROM generate_series(1, 6);

-- the columns of the answer, and the mapping of health
SELECT acknowledged, next_heartbeat_in, agent_health_status, agent_status,
       t.about(last_heartbeat, '0') AS now, active_tasks, cancel_requested, lost
  FROM ains.heartbeat('a');
SELECT agent_health_status, agent_status FROM ains.heartbeat('a', 'DEGRADED');
SELECT agent_health_status, agent_status FROM ains.heartbeat('a', 'OFFLINE');
CALL t.refused($$SELECT * FROM ains.claim('a')$$);
-- the next ACTIVE beat ends it
SELECT agent_health_status, agent_status FROM ains.heartbeat('a', 'ACTIVE');
SELECT task_id FROM ains.claim('a');
-- the interval is a third of the timeout
SELECT agent_id FROM ains.register_agent('quick', heartbeat_timeout => '9 s');
SELECT agent_id FROM ains.register_agent('quickest', heartbeat_timeout => '1 s');
SELECT next_heartbeat_in FROM ains.heartbeat('quick');
SELECT next_heartbeat_in FROM ains.heartbeat('quickest');

-- bad input
CALL t.refused($$SELECT * FROM ains.heartbeat(NULL)$$);
CALL t.refused($$SELECT * FROM ains.heartbeat('')$$);
CALL t.refused($$SELECT * FROM ains.heartbeat('unknown')$$);
CALL t.refused($$SELECT * FROM ains.heartbeat('a', NULL)$$);
CALL t.refused($$SELECT * FROM ains.heartbeat('a', 'active')$$);
CALL t.refused($$SELECT * FROM ains.heartbeat('a', 'DEAD')$$);
CALL t.refused($$SELECT * FROM ains.heartbeat('a', '')$$);
CALL t.refused($$SELECT * FROM ains.heartbeat('a', uptime_ms => -1)$$);
CALL t.refused($$SELECT * FROM ains.heartbeat('a', held => ARRAY[1, NULL])$$);
CALL t.refused($$SELECT * FROM ains.heartbeat('a', held => '{{1,2},{3,4}}')$$);
CALL t.refused($$SELECT * FROM ains.heartbeat('a', incarnation => 1)$$);
CALL t.refused($$SELECT * FROM ains.heartbeat('a', incarnation => -1)$$);
SET ains.max_payload = '1kB';
CALL t.refused($$SELECT * FROM ains.heartbeat('a', metrics => jsonb_build_object('x', repeat('x', 2000)))$$);
RESET ains.max_payload;

-- a beat writes no table, unless there is news
SELECT t.state() AS before \gset
SELECT acknowledged FROM ains.heartbeat('a', uptime_ms => 12345);
SELECT t.state() = :'before' AS nothing_written;
SELECT acknowledged, active_tasks FROM ains.heartbeat('a', uptime_ms => 9223372036854775807, metrics => '{"load": 0.5}', activity => 'sums', held => '{1}',
    incarnation => (SELECT incarnation FROM ains.agent WHERE agent_id = 'a'));
SELECT metrics, activity FROM ains.agents WHERE agent_id = 'a';
-- an activity stays until the next, a very long one is cut
SELECT acknowledged FROM ains.heartbeat('a');
SELECT metrics, activity FROM ains.agents WHERE agent_id = 'a';
SELECT acknowledged FROM ains.heartbeat('a', activity => repeat('ü', 10000));
SELECT activity ~ '^ü+$' AS whole_characters, char_length(activity) BETWEEN 20 AND 1000 AS cut FROM ains.agents WHERE agent_id = 'a';
SELECT acknowledged FROM ains.heartbeat('a', activity => '');
SELECT activity FROM ains.agents WHERE agent_id = 'a';

-- beats renew the leases: no lease is taken back however much time passes
SELECT (ains.configure_capability('x', lease => '1 min')).lease;
SELECT task_id FROM ains.claim('a', 2);
DO $$
BEGIN
    FOR i IN 1 .. 20 LOOP
        PERFORM t.advance('30 s');
        PERFORM ains.heartbeat('a');
        IF (SELECT leases_expired + leases_of_dead_agents FROM ains.sweep()) > 0 THEN
            RAISE EXCEPTION 'taken back after % beats', i;
        END IF;
    END LOOP;
END
$$;
SELECT task_id, status, attempt FROM t.tasks WHERE agent_id = 'a';
SELECT acknowledged, active_tasks FROM ains.heartbeat('a');
-- the row catches up with the renewal, so that others can see it
SELECT task_id, lease_expires_at > t.now() - interval '30 s' AS written FROM ains.task WHERE task_id IN (2, 3) ORDER BY 1;
-- OFFLINE is no sign of life: its leases lapse
SELECT agent_status, active_tasks FROM ains.heartbeat('a', 'OFFLINE');
SELECT t.advance('70 s');
SELECT agent_status FROM ains.heartbeat('a', 'OFFLINE');
SELECT leases_expired FROM ains.sweep();
SELECT task_id, status, attempt FROM t.tasks WHERE agent_id = 'a';
-- the first one has the default lease of five minutes: it lapses too
SELECT t.advance('5 min');
SELECT leases_expired, agents_marked_dead > 0 AS marked FROM ains.sweep();
SELECT agent_status FROM ains.heartbeat('a');

-- held: the tasks the agent knows of; what it lost comes back
SELECT task_id FROM ains.claim('a', 3);
SELECT active_tasks, lost FROM ains.heartbeat('a', held => '{1,2,3}');
SELECT active_tasks, lost FROM ains.heartbeat('a', held => '{3,2,1}');
SELECT active_tasks, lost FROM ains.heartbeat('a', held => '{1,2,3,4,999}');
SELECT active_tasks, lost FROM ains.heartbeat('a', held => '{999,3,1,2,3,-5}');
-- what it does not know of is given back ...
SELECT active_tasks, lost FROM ains.heartbeat('a', held => '{1,3}');
SELECT task_id, status, attempt FROM t.tasks WHERE task_id <= 3;
SELECT * FROM t.attempts WHERE task_id = 2 ORDER BY attempt;
-- ... unless it was claimed after the previous heartbeat: the answer may be under way
SELECT task_id FROM ains.claim('a');
SELECT active_tasks, lost FROM ains.heartbeat('a', held => '{1,3}');
SELECT task_id, status FROM t.tasks WHERE agent_id = 'a' AND status = 'ACTIVE';
SELECT active_tasks, lost FROM ains.heartbeat('a', held => '{1,3}');
SELECT task_id, status FROM t.tasks WHERE agent_id = 'a' AND status = 'ACTIVE';
-- nothing held at all; a beat without held gives nothing back
SELECT active_tasks, lost FROM ains.heartbeat('a');
SELECT active_tasks, lost FROM ains.heartbeat('a', held => '{}');
SELECT count(*) FROM ains.task WHERE status = 'ACTIVE';
-- one that another agent holds is lost
SELECT agent_id FROM ains.register_agent('b', capabilities => '{x}');
SELECT task_id FROM ains.claim('b');
SELECT active_tasks, lost FROM ains.heartbeat('a', held => ARRAY(SELECT task_id FROM ains.task WHERE status = 'ACTIVE'));
SELECT active_tasks, lost FROM ains.heartbeat('b', held => ARRAY(SELECT task_id FROM ains.task WHERE status = 'ACTIVE'));
-- a lease is not renewed when the agent does not hold its task any more
SELECT task_id AS kept FROM ains.task WHERE agent_id = 'b' AND status = 'ACTIVE' \gset

-- cancel_requested says which to give up
SELECT task_id AS second FROM ains.claim('b') \gset
SELECT ains.cancel(:second, 'no use');
SELECT cancel_requested = ARRAY[:second]::bigint[] AS told, lost FROM ains.heartbeat('b');
SELECT cancel_requested = ARRAY[:second]::bigint[] AS told_again FROM ains.heartbeat('b');
SELECT ains.fail(:second, t.token(:second), 'gave up');
SELECT cancel_requested FROM ains.heartbeat('b');

-- a lease whose cancel was requested is not renewed
SELECT ains.cancel(:kept);
SELECT t.advance('40 s');
SELECT acknowledged FROM ains.heartbeat('b');
SELECT t.advance('40 s');
SELECT acknowledged FROM ains.heartbeat('b');
SELECT leases_expired FROM ains.sweep();
SELECT status, error FROM ains.task_info WHERE task_id = :kept;

-- dead: no beat for the timeout; once marked, and revived by a beat
SELECT agent_id FROM ains.register_agent('d', capabilities => '{dead}', heartbeat_timeout => '30 s');
SELECT ains.enqueue('dead') AS dead \gset
SELECT count(*) FROM ains.claim('d', lease => '1 day');
SELECT t.advance('20 s');
SELECT agents_marked_dead FROM ains.sweep();
SELECT acknowledged FROM ains.heartbeat('b');
SELECT acknowledged FROM ains.heartbeat('a');
SELECT t.advance('20 s');
SELECT agents_marked_dead > 0 AS marked, leases_of_dead_agents FROM ains.sweep();
SELECT agents_marked_dead, leases_of_dead_agents FROM ains.sweep();
SELECT agent_status FROM ains.agents WHERE agent_id = 'd';
SELECT status, attempt FROM ains.task WHERE task_id = :dead;
CALL t.refused($$SELECT * FROM ains.claim('d')$$);
SELECT agent_status, active_tasks, lost = ARRAY[:dead]::bigint[] AS lost FROM ains.heartbeat('d', held => ARRAY[:dead]);
CALL t.refused(format('SELECT ains.complete(%s, t.token(%1$s))', :dead));
SELECT attempt FROM ains.claim('d');

-- a step of the wall clock kills nobody and takes nothing back from who beats
SELECT acknowledged FROM ains.heartbeat('d');
SELECT ains_internal.step_wall_clock('2 days');
SELECT agents_marked_dead, leases_expired, leases_of_dead_agents FROM ains.sweep();
SELECT agent_status, active_tasks FROM ains.heartbeat('d');

-- a claim counts as a beat, a refused one does not
SELECT t.advance('20 s');
SELECT count(*) FROM ains.claim('d');
SELECT t.advance('20 s');
SELECT acknowledged FROM ains.heartbeat('a');
SELECT acknowledged FROM ains.heartbeat('b');
SELECT agents_marked_dead FROM ains.sweep();
SELECT agent_status FROM ains.drain_agent('d');
SELECT acknowledged FROM ains.heartbeat('d');
SELECT t.advance('20 s');
CALL t.refused($$SELECT * FROM ains.claim('d')$$);
SELECT t.advance('20 s');
SELECT agents_marked_dead FROM ains.sweep();
SELECT agent_status FROM ains.agents WHERE agent_id = 'd';

-- not in a read-only transaction of its own making: a beat without news may
BEGIN READ ONLY;
SELECT acknowledged FROM ains.heartbeat('a');
COMMIT;
