\set ECHO none
\getenv abs_srcdir PG_ABS_SRCDIR
\set begin :abs_srcdir '/sql/begin.psql'
\i :begin
--
-- Agents: registration and restart, orders, pruning, views, statistics.
--

-- the defaults
\x on
SELECT agent_id, agent_type, display_name, endpoint, public_key, tags, metadata, pg_get_userbyid(owner) = current_user AS owner,
       incarnation > 0 AS incarnation, wanted, health, dead_since, agent_status, heartbeat_timeout,
       max_active_tasks, metrics, trust_score,
       t.about(registered_at, '0') AS registered_now, t.about(last_seen_at, '0') AS seen_now
  FROM ains.register_agent('plain');
SELECT agent_id, agent_type, display_name, endpoint, public_key, tags, metadata, agent_status,
       heartbeat_timeout, max_active_tasks
  FROM ains.register_agent('full', 'summariser', '{sum,translate,sum}', 'A full one', 'https://a.example/',
                           'ed25519:abc', '{blue,"two words"}', '{"a": [1, null]}', '2 min', 3);
\x off
SELECT agent_id, capability FROM ains.agent_capability ORDER BY 1, 2;
-- a capability seen for the first time is there from now on
SELECT capability, lease, max_attempts, backoff FROM ains.capability ORDER BY 1;

-- NULLs: what has to be given, and what need not
CALL t.refused($$SELECT ains.register_agent(NULL)$$);
CALL t.refused($$SELECT ains.register_agent('a', NULL)$$);
SELECT tags, display_name, metadata, capabilities FROM (
    SELECT r.*, ARRAY(SELECT c.capability FROM ains.agent_capability c WHERE c.agent_id = 'nulls') AS capabilities
      FROM ains.register_agent('nulls', capabilities => NULL, tags => NULL) r) x;
CALL t.refused($$SELECT ains.register_agent('a', metadata => NULL)$$);
-- names
CALL t.refused($$SELECT ains.register_agent('')$$);
CALL t.refused($$SELECT ains.register_agent(repeat('x', 129))$$);
CALL t.refused($$SELECT ains.register_agent(E'a\nb')$$);
CALL t.refused($$SELECT ains.register_agent(E'a\u0085b')$$);
CALL t.refused($$SELECT ains.register_agent(E'a\x7f')$$);
CALL t.refused($$SELECT ains.register_agent('a', '')$$);
CALL t.refused($$SELECT ains.register_agent('a', repeat('x', 129))$$);
CALL t.refused($$SELECT ains.register_agent('a', capabilities => '{""}')$$);
CALL t.refused($$SELECT ains.register_agent('a', capabilities => ARRAY['x', NULL])$$);
CALL t.refused($$SELECT ains.register_agent('a', capabilities => ARRAY[repeat('x', 129)])$$);
CALL t.refused($$SELECT ains.register_agent('a', capabilities => ARRAY[E'x\ty'])$$);
CALL t.refused($$SELECT ains.register_agent('a', capabilities => '{{a,b},{c,d}}')$$);
CALL t.refused($$SELECT ains.register_agent('a', tags => ARRAY['x', NULL])$$);
CALL t.refused($$SELECT ains.register_agent('a', tags => '{{a,b},{c,d}}')$$);
-- as long as allowed, and not in ASCII
SELECT char_length(agent_id) FROM ains.register_agent(repeat('ü', 128));
SELECT agent_id FROM ains.register_agent('робот 7 / "quoted"');
-- numbers and lengths
CALL t.refused($$SELECT ains.register_agent('a', heartbeat_timeout => '0')$$);
CALL t.refused($$SELECT ains.register_agent('a', heartbeat_timeout => '-1 s')$$);
CALL t.refused($$SELECT ains.register_agent('a', heartbeat_timeout => '999 ms')$$);
CALL t.refused($$SELECT ains.register_agent('a', heartbeat_timeout => '110 years')$$);
CALL t.refused($$SELECT ains.register_agent('a', heartbeat_timeout => '170000000 years')$$);
CALL t.refused($$SELECT ains.register_agent('a', max_active_tasks => 0)$$);
CALL t.refused($$SELECT ains.register_agent('a', max_active_tasks => -1)$$);
-- sizes
SET ains.max_payload = '1kB';
CALL t.refused($$SELECT ains.register_agent('a', metadata => jsonb_build_object('x', repeat('x', 2000)))$$);
RESET ains.max_payload;
-- a capability that must exist
SET ains.auto_create_capabilities = off;
CALL t.refused($$SELECT ains.register_agent('a', capabilities => '{unheard_of}')$$);
SELECT agent_id FROM ains.register_agent('full', capabilities => '{translate}');
RESET ains.auto_create_capabilities;

-- a restart: everything is as the new call says, the incarnation is larger,
-- and what the old one held is taken back at once
SELECT (ains.configure_capability('translate', max_attempts => 3)).max_attempts;
SELECT ains.enqueue('translate') FROM generate_series(1, 2);
SELECT incarnation AS old FROM ains.agent WHERE agent_id = 'full' \gset
SELECT task_id, attempt FROM ains.claim('full', 2);
SELECT agent_id, agent_type, display_name, tags, metadata, max_active_tasks, incarnation > :old AS is_new
  FROM ains.register_agent('full', capabilities => '{sum}');
SELECT agent_id, capability FROM ains.agent_capability WHERE agent_id = 'full';
SELECT * FROM t.tasks;
SELECT * FROM t.attempts;
SELECT agent_id, active_tasks FROM ains.agents WHERE agent_id = 'full';
-- the old process learns it from every call
CALL t.refused(format($$SELECT * FROM ains.claim('full', incarnation => %s)$$, :old));
CALL t.refused(format($$SELECT * FROM ains.heartbeat('full', incarnation => %s)$$, :old));
CALL t.refused(format($$SELECT ains.attach_agent('full', %s)$$, :old));
CALL t.refused($$SELECT ains.complete(1, t.token(1))$$);
-- the new one offers another capability
SELECT count(*) FROM ains.claim('full');

-- who may
SET ROLE regress_agent;
SELECT agent_id, owner FROM ains.register_agent('mine', capabilities => '{sum}');
SET ROLE regress_agent2;
CALL t.refused($$SELECT ains.register_agent('mine')$$);
CALL t.refused($$SELECT * FROM ains.heartbeat('mine')$$);
CALL t.refused($$SELECT * FROM ains.claim('mine')$$);
CALL t.refused($$SELECT ains.drain_agent('mine')$$);
CALL t.refused($$SELECT ains.resume_agent('mine')$$);
CALL t.refused($$SELECT ains.stop_agent('mine')$$);
CALL t.refused($$SELECT ains.attach_agent('mine')$$);
CALL t.refused($$SELECT ains.detach_agent('mine')$$);
CALL t.refused($$SELECT * FROM ains.prune_agents()$$);
SET ROLE regress_nobody;
CALL t.refused($$SELECT ains.register_agent('a')$$);
CALL t.refused($$SELECT 1 FROM ains.agent$$);
CALL t.refused($$SELECT 1 FROM ains.agents$$);
-- a member of the owner may; the owner stays
RESET ROLE;
GRANT regress_agent TO regress_agent2;
SET ROLE regress_agent2;
SELECT agent_id, owner FROM ains.register_agent('mine');
SELECT acknowledged FROM ains.heartbeat('mine');
RESET ROLE;
REVOKE regress_agent FROM regress_agent2;
-- an admin may order any agent about, but not pass for it
SET ROLE regress_admin;
SELECT agent_status FROM ains.drain_agent('mine');
SELECT agent_status FROM ains.resume_agent('mine');
CALL t.refused($$SELECT * FROM ains.heartbeat('mine')$$);
CALL t.refused($$SELECT * FROM ains.claim('mine')$$);
CALL t.refused($$SELECT ains.register_agent('mine')$$);
RESET ROLE;

-- drain, resume, stop: a heartbeat does not undo them
SELECT agent_id FROM ains.register_agent('worker', capabilities => '{work}');
SELECT ains.enqueue('work') FROM generate_series(1, 3);
SELECT task_id FROM ains.claim('worker', 2);
SELECT agent_status, wanted FROM ains.drain_agent('worker');
SELECT agent_status, active_tasks FROM ains.heartbeat('worker');
CALL t.refused($$SELECT * FROM ains.claim('worker')$$);
-- what it holds it may finish
SELECT ains.complete(3, t.token(3));
SELECT agent_status, active_tasks FROM ains.heartbeat('worker');
SELECT agent_status, wanted FROM ains.drain_agent('worker');
SELECT agent_status, wanted FROM ains.resume_agent('worker');
SELECT task_id FROM ains.claim('worker');
SELECT agent_status, wanted FROM ains.stop_agent('worker');
-- gracefully: no attempt counted, nothing written about it
SELECT * FROM t.tasks WHERE capability = 'work';
SELECT * FROM t.attempts WHERE agent_id = 'worker';
SELECT agent_status, active_tasks FROM ains.heartbeat('worker');
CALL t.refused($$SELECT * FROM ains.claim('worker')$$);
CALL t.refused($$SELECT ains.complete(4, t.token(4))$$);
SELECT agent_status, wanted FROM ains.stop_agent('worker');
-- draining does not start a stopped one, registering does
SELECT agent_status, wanted FROM ains.register_agent('worker', capabilities => '{work}');
SELECT task_id, attempt FROM ains.claim('worker', 10);
SELECT agent_status FROM ains.stop_agent('worker');
SELECT agent_status FROM ains.drain_agent('worker');
SELECT agent_status FROM ains.resume_agent('worker');

-- DEGRADED may claim
SELECT agent_status FROM ains.heartbeat('worker', 'DEGRADED');
SELECT task_id FROM ains.claim('worker');

-- stopped > DEAD > draining > said
SELECT agent_status FROM ains.drain_agent('worker');
SELECT t.advance('10 min');
SELECT agents_marked_dead > 0 AS marked FROM ains.sweep();
SELECT agent_status, wanted, health FROM ains.agent WHERE agent_id = 'worker';
SELECT agent_status FROM ains.stop_agent('worker');
SELECT agent_status FROM ains.resume_agent('worker');
CALL t.refused($$SELECT * FROM ains.claim('worker')$$);
SELECT agent_status FROM ains.heartbeat('worker');

-- unknown, and badly named
CALL t.refused($$SELECT ains.drain_agent('nobody')$$);
CALL t.refused($$SELECT ains.resume_agent('nobody')$$);
CALL t.refused($$SELECT ains.stop_agent('nobody')$$);
CALL t.refused($$SELECT ains.attach_agent('nobody')$$);
CALL t.refused($$SELECT ains.detach_agent('nobody')$$);
CALL t.refused($$SELECT ains.drain_agent(NULL)$$);
CALL t.refused($$SELECT ains.resume_agent('')$$);
CALL t.refused($$SELECT ains.stop_agent(repeat('x', 200))$$);
CALL t.refused($$SELECT ains.attach_agent(NULL)$$);
CALL t.refused($$SELECT ains.detach_agent(NULL)$$);

-- attach: the end of the connection takes the leases back at once
SELECT agent_id FROM ains.register_agent('tied', capabilities => '{tie}');
SELECT agent_id FROM ains.register_agent('untied', capabilities => '{tie}');
SELECT agent_id FROM ains.register_agent('half', capabilities => '{tie}');
SELECT min(e) AS tie1, min(e) + 1 AS tie2, max(e) AS tie3 FROM (SELECT ains.enqueue('tie') AS e FROM generate_series(1, 3)) x \gset
SELECT ains.attach_agent('tied');
SELECT ains.attach_agent('untied', (SELECT incarnation FROM ains.agent WHERE agent_id = 'untied'));
SELECT ains.detach_agent('untied');
SELECT ains.detach_agent('untied');
BEGIN;
SELECT ains.attach_agent('half');
ROLLBACK;
SELECT task_id = :tie1 AS claimed FROM ains.claim('tied');
SELECT task_id = :tie2 AS claimed FROM ains.claim('untied');
SELECT task_id = :tie3 AS claimed FROM ains.claim('half');
\c -
\set SHOW_CONTEXT never
DO $$
BEGIN
    FOR i IN 1 .. 3000 LOOP
        PERFORM ains.release_dead_agent_leases();
        EXIT WHEN NOT EXISTS (SELECT FROM ains.task WHERE agent_id = 'tied' AND status = 'ACTIVE');
        PERFORM pg_sleep(0.01);
    END LOOP;
END
$$;
SELECT agent_id, status, attempt FROM ains.task_info WHERE capability = 'tie' ORDER BY task_id;
SELECT outcome, next_status, error FROM t.attempts WHERE agent_id = 'tied';
-- it is not dead, and may go on
SELECT agent_id, agent_status, active_tasks FROM ains.agents WHERE agent_id IN ('tied', 'untied', 'half') ORDER BY 1;
SELECT attempt FROM ains.claim('tied');

-- pruning: INACTIVE and DEAD agents that were not seen for so long
CALL t.refused($$SELECT * FROM ains.prune_agents(NULL)$$);
CALL t.refused($$SELECT * FROM ains.prune_agents('-1 h')$$);
CALL t.refused($$SELECT * FROM ains.prune_agents('200 years')$$);
SELECT * FROM ains.prune_agents();
SELECT t.advance('50 min');
SELECT acknowledged FROM ains.heartbeat('worker');
SELECT agent_status FROM ains.stop_agent('worker');
SELECT agent_status FROM ains.stop_agent('nulls');
SELECT agents_marked_dead > 0 AS marked FROM ains.sweep();
SELECT agent_id, agent_status FROM ains.agents WHERE agent_id IN ('worker', 'plain', 'nulls', 'tied') ORDER BY 1;
SELECT t.advance('20 min');
-- one is alive again
SELECT agent_status FROM ains.heartbeat('full');
SELECT p FROM ains.prune_agents('1 h') p ORDER BY 1;
SELECT agent_id, agent_status FROM ains.agents ORDER BY 1;
SELECT agent_id FROM ains.agent_capability ORDER BY 1;
SELECT t.advance('24 hours');
SELECT agents_marked_dead FROM ains.sweep();
SELECT t.advance('1 min');
SELECT agents_marked_dead FROM ains.sweep();
SELECT count(*) AS left_after_agent_retention FROM ains.agents;
CALL t.refused($$SELECT * FROM ains.heartbeat('worker')$$);
SELECT p FROM ains.prune_agents('0') p;

-- a task whose holder is pruned is not lost
SELECT agent_id FROM ains.register_agent('last', capabilities => '{tie}');
SELECT count(*) AS claimable FROM ains.claim('last', 10);

-- statistics: busy and available may be idle or at work
SELECT agent_type, agent_id FROM ains.register_agent('s1', 'x', '{s}');
SELECT agent_type, agent_id FROM ains.register_agent('s2', 'x', '{s}');
SELECT agent_type, agent_id FROM ains.register_agent('s3', 'x', '{s}');
SELECT agent_type, agent_id FROM ains.register_agent('s4', 'y', '{s}');
SELECT agent_type, agent_id FROM ains.register_agent('s5', 'y', '{s}');
SELECT agent_type, agent_id FROM ains.register_agent('s6', 'y', '{s}', heartbeat_timeout => '1 s');
SELECT ains.enqueue('s') IS NOT NULL AS enqueued FROM generate_series(1, 2);
SELECT count(*) FROM ains.claim('s1');
SELECT count(*) FROM ains.claim('s2');
SELECT agent_status FROM ains.heartbeat('s2', 'DEGRADED');
SELECT agent_status FROM ains.drain_agent('s4');
SELECT agent_status FROM ains.stop_agent('s5');
SELECT t.advance('10 s');
SELECT agents_marked_dead FROM ains.sweep();
SELECT * FROM ains.agent_stats();
SELECT agent_id, agent_status FROM ains.active_agents WHERE agent_type <> 'agent' ORDER BY 1;
SELECT agent_id, agent_status FROM ains.dead_agents ORDER BY 1;
SELECT agent_id, active_tasks, round(seconds_since_heartbeat) >= 10 AS seconds, t.about(last_heartbeat, '-10 s') AS beat
  FROM ains.agents WHERE agent_id IN ('s1', 's6') ORDER BY 1;
