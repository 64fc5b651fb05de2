-- visibility.sql: whose agents and tasks a role may see and touch. (That it may
-- call the function at all is the subject of privileges.sql.)
\set ON_ERROR_STOP 1
\set QUIET 1
BEGIN;
SELECT no_plan();

CREATE ROLE tap_alice IN ROLE ains_producer;
CREATE ROLE tap_bob IN ROLE ains_producer;
CREATE ROLE tap_gina IN ROLE ains_agent;
CREATE ROLE tap_gus IN ROLE ains_agent;
CREATE ROLE tap_mona IN ROLE ains_monitor;
CREATE ROLE tap_ada IN ROLE ains_admin;
CREATE ROLE tap_team IN ROLE ains_producer, ains_agent;     -- nobody logs in as this
CREATE ROLE tap_ina INHERIT IN ROLE tap_team;               -- has its privileges
CREATE ROLE tap_noi NOINHERIT IN ROLE tap_team;             -- must SET ROLE for them
CREATE ROLE tap_ops IN ROLE ains_producer, ains_agent;      -- may call all, owns nothing
GRANT ains_producer, ains_agent TO tap_noi;                 -- NOINHERIT: these, too

-- The result of a query or call as a role, or its SQLSTATE.
CREATE FUNCTION pg_temp.as_role(role name, call text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    result text;
BEGIN
    EXECUTE format('SET LOCAL ROLE %I', role);
    EXECUTE call INTO result;
    RESET ROLE;
    RETURN result;
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE;
END $$;

-- The SQLSTATE of a call as a role; what it did is undone.
CREATE FUNCTION pg_temp.state_of(role name, call text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('SET LOCAL ROLE %I', role);
    EXECUTE call;
    RAISE EXCEPTION 'undo' USING ERRCODE = 'UNDO0';
EXCEPTION WHEN OTHERS THEN
    RETURN CASE SQLSTATE WHEN 'UNDO0' THEN '00000' ELSE SQLSTATE END;
END $$;

-- alice, bob and the team enqueue; gina's agent holds one of alice's and one of
-- bob's; two of alice's are finished.
SET ROLE tap_gina;
SELECT incarnation AS gina FROM ains.register_agent('tap gina', capabilities => '{tap a, tap b}') \gset
RESET ROLE;
SET ROLE tap_gus;
SELECT incarnation AS gus FROM ains.register_agent('tap gus', capabilities => '{tap a}') \gset
RESET ROLE;
SET ROLE tap_alice;
SELECT ains.enqueue('tap a', '"a dead"', 9, metadata => '"m"') AS a_dead,
       ains.enqueue('tap a', '"a done"', 8, metadata => '"m"') AS a_done,
       ains.enqueue('tap a', '"a held"', 7, metadata => '"m"') AS a_held,
       ains.enqueue('tap a', '"a waits"', 1, metadata => '"m"') AS a_waits \gset
RESET ROLE;
SET ROLE tap_bob;
SELECT ains.enqueue('tap b', '"b held"', 9) AS b_held, ains.enqueue('tap b', '"b waits"', 1) AS b_waits \gset
RESET ROLE;
SET ROLE tap_team;
SELECT ains.enqueue('tap team', '"t waits"') AS t_waits \gset
SELECT agent_id FROM ains.register_agent('tap team') \gset
RESET ROLE;
SET ROLE tap_gina;
SELECT ains.fail(task_id, lease_token, 'secret in an error', false)
  FROM ains.claim('tap gina', capabilities => '{tap a}') \gset
SELECT ains.checkpoint(task_id, lease_token, '"half"') AS saved, ains.complete(task_id, lease_token, '"r"', '"u"')
  FROM ains.claim('tap gina', capabilities => '{tap a}') \gset
SELECT lease_token AS a_token, task_id = :a_held AS it_is FROM ains.claim('tap gina', capabilities => '{tap a}') \gset
SELECT ains.checkpoint(:a_held, :a_token, '"half"') AS saved \gset
SELECT lease_token AS b_token FROM ains.claim('tap gina', capabilities => '{tap b}') \gset
RESET ROLE;

-- ---------------------------------------------------------------------------
-- Rows in the views
-- ---------------------------------------------------------------------------

\set tasks 'SELECT string_agg(payload #>> \'{}\', \', \' ORDER BY task_id) FROM ains.tasks WHERE capability LIKE \'tap %\''
\set ids 'SELECT string_agg(task_id::text, \', \' ORDER BY task_id) FROM ains.tasks WHERE capability LIKE \'tap %\''
\set all_ids 'concat_ws(\', \', :a_dead, :a_done, :a_held, :a_waits, :b_held, :b_waits, :t_waits)'

SELECT is(pg_temp.as_role('tap_alice', :'tasks'), 'a dead, a done, a held, a waits', 'a producer sees what it enqueued');
SELECT is(pg_temp.as_role('tap_bob', :'tasks'), 'b held, b waits', 'and nothing else');
SELECT is(pg_temp.as_role('tap_gina', :'tasks'), 'a held, b held', 'an agent''s owner sees what it holds');
SELECT is(pg_temp.as_role('tap_gus', :'tasks'), NULL, 'another agent''s owner sees nothing');
SELECT is(pg_temp.as_role('tap_ada', :'tasks'), 'a dead, a done, a held, a waits, b held, b waits, t waits', 'an admin sees all');
SELECT is(pg_temp.as_role('tap_mona', :'ids'), :all_ids, 'a monitor sees all rows');
SELECT is(pg_temp.as_role('tap_mona', $$SELECT count(payload) + count(metadata) + count(checkpoint) + count(result)
                                           + count(usage) FROM ains.tasks WHERE capability LIKE 'tap %'$$), '0',
          'but no payload, metadata, checkpoint, result or usage');
SELECT is(pg_temp.as_role('tap_alice', format($$SELECT (payload, metadata, checkpoint, result, usage)::text FROM ains.tasks WHERE task_id = %s$$, :a_done)),
          '("""a done""","""m""","""half""","""r""","""u""")', 'the producer sees all of its own');
SELECT is(pg_temp.as_role('tap_ada', format($$SELECT (payload, metadata, checkpoint, result, usage)::text FROM ains.tasks WHERE task_id = %s$$, :a_done)),
          '("""a done""","""m""","""half""","""r""","""u""")', 'and so does an admin');
SELECT is(pg_temp.as_role('tap_ina', :'tasks'), 't waits', 'a member sees what its role enqueued');
SELECT is(pg_temp.as_role('tap_noi', :'tasks'), '42501', 'a NOINHERIT member has not even the views');
SELECT is(pg_temp.as_role('tap_team', :'tasks'), 't waits', 'until it does SET ROLE');
SELECT is(pg_temp.as_role(current_user, :'tasks'), 'a dead, a done, a held, a waits, b held, b waits, t waits', 'a superuser sees all');

\set dead 'SELECT string_agg(payload #>> \'{}\', \', \') FROM ains.dead_letters WHERE capability LIKE \'tap %\''
SELECT is(pg_temp.as_role('tap_alice', :'dead'), 'a dead', 'dead_letters: the producer''s');
SELECT is(pg_temp.as_role('tap_bob', :'dead'), NULL, 'dead_letters: nobody else''s');
SELECT is(pg_temp.as_role('tap_mona', $$SELECT count(*) || ' ' || count(payload) FROM ains.dead_letters WHERE capability LIKE 'tap %'$$),
          '1 0', 'dead_letters: a monitor without payloads');

\set attempts 'SELECT count(*) FROM ains.attempts WHERE agent_id LIKE \'tap %\''
SELECT is(pg_temp.as_role('tap_alice', :'attempts'), '1', 'attempts: the producer''s');
SELECT is(pg_temp.as_role('tap_bob', :'attempts'), '0', 'attempts: nobody else''s');
SELECT is(pg_temp.as_role('tap_mona', :'attempts'), '1', 'attempts: a monitor sees all');

\set agents 'SELECT string_agg(agent_id, \', \' ORDER BY agent_id) FROM ains.agents WHERE agent_id LIKE \'tap %\''
SELECT is(pg_temp.as_role('tap_gina', :'agents'), 'tap gina', 'an agent''s owner sees it');
SELECT is(pg_temp.as_role('tap_alice', :'agents'), NULL, 'a producer sees no agents');
SELECT is(pg_temp.as_role('tap_mona', :'agents'), 'tap gina, tap gus, tap team', 'a monitor sees all agents');
SELECT is(pg_temp.as_role('tap_ada', :'agents'), 'tap gina, tap gus, tap team', 'and so does an admin');
SELECT is(pg_temp.as_role('tap_ina', :'agents'), 'tap team', 'and a member its role''s');
SELECT is(pg_temp.as_role('tap_gina', $$SELECT count(*) FROM ains.active_agents WHERE agent_id LIKE 'tap %'$$), '1', 'active_agents are the same');
SELECT is(pg_temp.as_role('tap_gina', $$SELECT count(*) FROM ains.dead_agents WHERE agent_id LIKE 'tap %'$$), '0', 'dead_agents, too');

-- discovery is of others' agents: all of them, but only what they publish
\set found 'SELECT string_agg(agent_id || \' \' || capability, \', \' ORDER BY agent_id) FROM ains.search_agents(\'tap a\')'
SELECT is(pg_temp.as_role(role, :'found'), 'tap gina tap a, tap gus tap a', format('search_agents: %s finds everybody''s', role))
  FROM unnest(ARRAY['tap_alice', 'tap_gus', 'tap_mona', 'tap_ada', 'tap_ina']) AS role;

-- A function that a user pushes into the view is not shown other rows.
CREATE TABLE tap_leaked (what text);
GRANT INSERT ON tap_leaked TO tap_bob;
CREATE FUNCTION tap_leak(what text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS
    $$BEGIN INSERT INTO tap_leaked VALUES (what); RETURN true; END$$;
SELECT is(pg_temp.as_role('tap_bob', $$SELECT count(*) FROM ains.tasks WHERE tap_leak(payload::text)$$), '2', 'a leaky function in WHERE');
SELECT is(pg_temp.as_role('tap_bob', $$SELECT count(*) FROM ains.dead_letters WHERE tap_leak(error)$$), '0', 'the same for dead letters');
SELECT is(pg_temp.as_role('tap_bob', $$SELECT count(*) FROM ains.attempts WHERE tap_leak(error)$$), '0', 'the same for attempts');
SELECT is(pg_temp.as_role('tap_bob', $$SELECT count(*) FROM ains.agents WHERE tap_leak(agent_id)$$), '0', 'the same for agents');
SELECT set_eq('SELECT what FROM tap_leaked', ARRAY['"b held"', '"b waits"'], 'it saw nobody else''s rows');

-- ---------------------------------------------------------------------------
-- get_task, cancel, retry, set_priority, explain_task
-- ---------------------------------------------------------------------------

-- y: may, -: 42501, n: NS006 (may, but it is not in a state for it)
CREATE TEMP TABLE may (call text, task text, alice char, bob char, gina char, gus char, ada char, ops char);
INSERT INTO may VALUES
--   call                                  task       al   bo   gi   gu   ad   ops
    ('SELECT ains.get_task(%s)',          'a_waits', 'y', '-', '-', '-', 'y', '-'),
    ('SELECT ains.get_task(%s)',          'a_held',  'y', '-', 'y', '-', 'y', '-'),
    ('SELECT ains.get_task(%s)',          'a_done',  'y', '-', '-', '-', 'y', '-'),
    ('SELECT ains.get_task(%s)',          'a_dead',  'y', '-', '-', '-', 'y', '-'),
    ('SELECT ains.explain_task(%s)',      'a_waits', 'y', '-', '-', '-', 'y', '-'),
    ('SELECT ains.explain_task(%s)',      'a_held',  'y', '-', 'y', '-', 'y', '-'),
    ('SELECT ains.explain_task(%s)',      'a_done',  'y', '-', '-', '-', 'y', '-'),
    ('SELECT ains.cancel(%s)',            'a_waits', 'y', '-', '-', '-', 'y', '-'),
    ('SELECT ains.cancel(%s)',            'a_held',  'y', '-', 'y', '-', 'y', '-'),
    ('SELECT ains.cancel(%s)',            'a_done',  'n', '-', '-', '-', 'n', '-'),
    ('SELECT ains.set_priority(%s, 2)',   'a_waits', 'y', '-', '-', '-', 'y', '-'),
    ('SELECT ains.set_priority(%s, 2)',   'a_held',  'y', '-', 'y', '-', 'y', '-'),
    ('SELECT ains.set_priority(%s, 2)',   'a_done',  'n', '-', '-', '-', 'n', '-'),
    ('SELECT ains.retry(%s)',             'a_dead',  'y', '-', '-', '-', 'y', '-'),
    ('SELECT ains.retry(%s)',             'a_held',  'n', '-', 'n', '-', 'n', '-'),
    ('SELECT ains.retry(%s)',             'a_done',  'n', '-', '-', '-', 'n', '-');
CREATE TEMP TABLE id AS SELECT * FROM (VALUES ('a_waits', :a_waits), ('a_held', :a_held), ('a_done', :a_done), ('a_dead', :a_dead)) AS v (task, task_id);
SELECT is(pg_temp.state_of(r.role, format(m.call, id.task_id)),
          CASE r.may WHEN 'y' THEN '00000' WHEN 'n' THEN 'NS006' ELSE '42501' END,
          format(m.call, m.task) || ' as ' || r.role)
  FROM may m JOIN id USING (task), LATERAL (VALUES
       (1, 'tap_alice', m.alice), (2, 'tap_bob', m.bob), (3, 'tap_gina', m.gina), (4, 'tap_gus', m.gus),
       (5, 'tap_ada', m.ada), (6, 'tap_ops', m.ops)) AS r (n, role, may)
 ORDER BY m.ctid, r.n;
SELECT is(pg_temp.state_of('tap_mona', format('SELECT ains.explain_task(%s)', :a_waits)), '00000', 'a monitor may ask why');
SELECT is(pg_temp.state_of('tap_alice', format('SELECT ains.%s', call)), 'NS003', call || ' of no task')
  FROM unnest(ARRAY['get_task(9007199254740991)', 'cancel(9007199254740991)', 'retry(9007199254740991)',
                    'set_priority(9007199254740991, 2)', 'explain_task(9007199254740991)']) AS call;

-- the refusal tells what to do
CREATE FUNCTION pg_temp.refusal(role name, call text) RETURNS text[] LANGUAGE plpgsql AS $$
DECLARE
    m text;
    d text;
    h text;
BEGIN
    EXECUTE format('SET LOCAL ROLE %I', role);
    EXECUTE call;
    RETURN NULL;
EXCEPTION WHEN insufficient_privilege THEN
    GET STACKED DIAGNOSTICS m = MESSAGE_TEXT, d = PG_EXCEPTION_DETAIL, h = PG_EXCEPTION_HINT;
    RETURN ARRAY[m, d, h];
END $$;
SELECT ok(e[1] ~ '^permission denied' AND e[2] <> '' AND e[3] <> '', 'message, detail and hint: ' || call)
  FROM (SELECT call, pg_temp.refusal('tap_ops', call) AS e
          FROM unnest(ARRAY[format('SELECT ains.get_task(%s)', :a_held), format('SELECT ains.cancel(%s)', :a_done),
                            format('SELECT ains.complete(%s, %s)', :a_held, :a_token), $$SELECT ains.heartbeat('tap gina')$$]) AS call) c;

-- members of roles
SELECT is(pg_temp.state_of('tap_ina', format('SELECT ains.%s(%s)', f, :t_waits)), '00000', f || ' as a member')
  FROM unnest(ARRAY['get_task', 'cancel', 'explain_task']) AS f;
-- 16 and above: a grant keeps what the role was when it was given
REVOKE tap_team FROM tap_noi;
ALTER ROLE tap_noi INHERIT;
GRANT tap_team TO tap_noi;
SELECT is(pg_temp.state_of('tap_noi', format('SELECT ains.get_task(%s)', :t_waits)), '00000', 'membership counts when it is inherited');
REVOKE tap_team FROM tap_noi;
ALTER ROLE tap_noi NOINHERIT;
GRANT tap_team TO tap_noi;
GRANT EXECUTE ON FUNCTION ains.get_task, ains.cancel, ains.heartbeat TO tap_noi;
GRANT USAGE ON SCHEMA ains TO tap_noi;
SELECT is(pg_temp.state_of('tap_noi', format('SELECT ains.%s(%s)', f, :t_waits)), '42501', f || ' as a NOINHERIT member')
  FROM unnest(ARRAY['get_task', 'cancel']) AS f;
SELECT is(pg_temp.state_of('tap_noi', $$SELECT ains.heartbeat('tap team')$$), '42501', 'heartbeat as a NOINHERIT member');
SELECT is(pg_temp.state_of('tap_ina', $$SELECT ains.heartbeat('tap team')$$), '00000', 'heartbeat as a member');
GRANT tap_alice TO tap_bob;
SELECT is(pg_temp.as_role('tap_bob', format('SELECT (ains.get_task(%s)).payload', :a_waits)), '"a waits"', 'a new member sees it at once');
REVOKE tap_alice FROM tap_bob;
SELECT is(pg_temp.as_role('tap_bob', format('SELECT (ains.get_task(%s)).payload', :a_waits)), '42501', 'a former member no more');

-- the lease token is for its holder only
SELECT is(pg_temp.as_role('tap_gina', format('SELECT (ains.get_task(%s)).lease_token', :a_held)), :'a_token', 'the holder gets the token');
SELECT is(pg_temp.as_role(r, format('SELECT coalesce((ains.get_task(%s)).lease_token::text, ''none'')', :a_held)), 'none', r || ' does not')
  FROM unnest(ARRAY['tap_alice', 'tap_ada']) AS r;

-- who calls is current_user: a SECURITY DEFINER function enqueues for its owner
GRANT CREATE ON SCHEMA public TO tap_alice;
SET ROLE tap_alice;
CREATE FUNCTION tap_enqueue() RETURNS bigint LANGUAGE sql SECURITY DEFINER AS $$SELECT ains.enqueue('tap a', '"for alice"', 1)$$;
RESET ROLE;
CREATE ROLE tap_guest;
SELECT pg_temp.as_role('tap_guest', 'SELECT tap_enqueue()') AS guests \gset
SELECT is((ains.get_task(:guests)).enqueued_by::text, 'tap_alice', 'a definer function enqueues for its owner');
SELECT is(pg_temp.state_of('tap_guest', format('SELECT ains.cancel(%s)', :guests)), '42501', 'its caller gets no right to the task');

-- a task outlives the role that enqueued it
CREATE ROLE tap_leaver IN ROLE ains_producer, ains_agent;
SELECT pg_temp.as_role('tap_leaver', $$SELECT ains.enqueue('tap leaver', '"left"')$$) AS left \gset
SELECT lives_ok('DROP ROLE tap_leaver', 'a role with tasks can be dropped');
SELECT is(pg_temp.as_role('tap_ada', format('SELECT (ains.get_task(%s)).payload', :left)), '"left"', 'an admin sees its task');
SELECT is(pg_temp.state_of('tap_alice', format('SELECT ains.get_task(%s)', :left)), '42501', 'others do not');
SELECT is(pg_temp.as_role('tap_ada', $$SELECT count(*) FROM ains.tasks WHERE capability = 'tap leaver'$$), '1', 'in the view, too');
SELECT is(pg_temp.as_role('tap_alice', $$SELECT count(*) FROM ains.tasks WHERE capability = 'tap leaver'$$), '0', 'nor there');
SELECT is(pg_temp.as_role('tap_ada', format('SELECT ains.cancel(%s)', :left)), 'CANCELLED', 'an admin ends it');

-- ---------------------------------------------------------------------------
-- Agents are their owner's
-- ---------------------------------------------------------------------------

CREATE TEMP TABLE agent_call (call text, done text DEFAULT '00000');
INSERT INTO agent_call VALUES
    ($$SELECT ains.heartbeat('tap gina')$$),
    ($$SELECT ains.heartbeat('tap gina', 'OFFLINE', metrics => '{}', held => '{}')$$),
    ($$SELECT ains.register_agent('tap gina')$$),
    ($$SELECT ains.attach_agent('tap gina')$$),
    ($$SELECT ains.detach_agent('tap gina')$$),
    ($$SELECT ains.drain_agent('tap gina')$$),
    ($$SELECT ains.resume_agent('tap gina')$$),
    ($$SELECT ains.stop_agent('tap gina')$$),
    ($$SELECT ains.claim('tap gina')$$),
    (format('SELECT ains.extend_lease(%s, %s)', :a_held, :a_token)),
    (format('SELECT ains.checkpoint(%s, %s, NULL)', :a_held, :a_token)),
    (format('SELECT ains.complete(%s, %s)', :a_held, :a_token)),
    (format('SELECT ains.fail(%s, %s, ''x'')', :a_held, :a_token)),
    (format('SELECT ains.release(%s, %s)', :a_held, :a_token));
SELECT is(pg_temp.state_of('tap_gus', call), '42501', call || ' as another agent''s owner') FROM agent_call;
SELECT is(pg_temp.state_of('tap_ops', call), '42501', call || ' as one who may call everything') FROM agent_call;
SELECT is(pg_temp.state_of('tap_gina', call), '00000', call || ' as its owner') FROM agent_call;
GRANT tap_gina TO tap_gus;
SELECT is(pg_temp.state_of('tap_gus', call), '00000', call || ' as a member of its owner') FROM agent_call;
REVOKE tap_gina FROM tap_gus;
SELECT is(pg_temp.as_role('tap_gus', format('SELECT count(*) FROM ains.complete_batch(ARRAY[%s, %s], ARRAY[%s, %s])',
                                            :a_held, :b_held, :a_token, :b_token)), '0', 'complete_batch leaves out what is another''s');
SELECT is(pg_temp.as_role('tap_gina', format('SELECT count(*) FROM ains.complete_batch(ARRAY[%s, %s], ARRAY[%s, %s])',
                                             :a_held, :b_held, :a_token, :b_token)), '2', 'and completes its owner''s');
SELECT is(pg_temp.state_of('tap_gus', format('SELECT ains.complete(%s, %s)', :a_held, :a_token)), '42501', 'nor may another repeat it');
SELECT is((SELECT owner::text FROM ains.agent WHERE agent_id = 'tap gina'), 'tap_gina', 'the owner has not changed');
SELECT is(pg_temp.as_role('tap_team', $$SELECT owner FROM ains.register_agent('tap team')$$), 'tap_team', 'a restart keeps the owner');
SELECT is(pg_temp.as_role('tap_ina', $$SELECT owner FROM ains.register_agent('tap team')$$), 'tap_team', 'also by a member');

SELECT * FROM finish();
ROLLBACK;
