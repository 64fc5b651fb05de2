\set ECHO none
\getenv abs_srcdir PG_ABS_SRCDIR
\set begin :abs_srcdir '/sql/begin.psql'
\i :begin
--
-- publish_capability, withdraw_capability: what an agent offers, and on what terms.
--
SELECT agent_id FROM ains.register_agent('a', capabilities => '{x}', heartbeat_timeout => '1 day');
CREATE VIEW t.offers AS SELECT * FROM ains.agent_capability ORDER BY agent_id, capability;

-- what register_agent says of a capability is its name; the defaults are the same
SELECT ains.publish_capability('a', 'plain');
\x on
SELECT * FROM t.offers;
-- everything, and all of it anew
SELECT ains.publish_capability('a', 'full', 'Does it all', 'v2.1', '{"type": "object"}', '{"type": "string"}',
                               'per_call', 0.0000025, 'EUR', 250, 99.95);
SELECT * FROM t.offers WHERE capability = 'full';
SELECT ains.publish_capability('a', 'full', price => 3);
SELECT * FROM t.offers WHERE capability = 'full';
\x off
-- a capability seen for the first time is there from now on
SELECT capability, max_attempts FROM ains.capability ORDER BY 1;
SET ains.auto_create_capabilities = off;
CALL t.refused($$SELECT ains.publish_capability('a', 'unheard of')$$);
SELECT ains.publish_capability('a', 'full');
RESET ains.auto_create_capabilities;

-- what is published is offered, at once; what is withdrawn is not
SELECT ains.enqueue('y') AS y \gset
SELECT count(*) FROM ains.claim('a');
SELECT reason FROM ains.explain_task(:y);
SELECT ains.publish_capability('a', 'y');
SELECT reason FROM ains.explain_task(:y);
SELECT task_id = :y AS claimed FROM ains.claim('a');
SELECT ains.withdraw_capability('a', 'y');
SELECT ains.enqueue('y') AS y2 \gset
SELECT count(*) FROM ains.claim('a');
-- what it holds stays its own
SELECT ains.complete(:y, t.token(:y));
SELECT status FROM ains.get_task(:y);
-- once more does no harm, nor does what was never offered
SELECT ains.withdraw_capability('a', 'y');
SELECT ains.withdraw_capability('a', 'never heard of');
SELECT count(*) FROM ains.capability WHERE capability = 'never heard of';

-- a transaction sees what it does, and a rollback undoes it
BEGIN;
SELECT ains.publish_capability('a', 'y');
SELECT task_id = :y2 AS claimed FROM ains.claim('a');
ROLLBACK;
SELECT count(*) FROM ains.claim('a');
BEGIN;
SAVEPOINT s;
SELECT ains.publish_capability('a', 'y');
SELECT task_id = :y2 AS claimed FROM ains.claim('a');
ROLLBACK TO s;
SELECT count(*) FROM ains.claim('a');
COMMIT;
SELECT count(*) FROM ains.claim('a');
SELECT ains.publish_capability('a', 'y', 'kept');
BEGIN;
SELECT ains.withdraw_capability('a', 'y');
SELECT count(*) FROM ains.claim('a');
ROLLBACK;
SELECT task_id = :y2 AS claimed FROM ains.claim('a');
SELECT capability, description FROM t.offers WHERE capability = 'y';
CALL t.undone($$SELECT ains.publish_capability('a', 'y', 'another')$$);
CALL t.undone($$SELECT ains.publish_capability('a', 'new')$$);
CALL t.undone($$SELECT ains.withdraw_capability('a', 'y')$$);

-- a restart offers what it names: of these, what was published stays
SELECT agent_id FROM ains.register_agent('a', capabilities => '{y,z}', heartbeat_timeout => '1 day');
SELECT capability, description FROM t.offers;
-- a stopped or dead agent may publish; one that is removed takes it along
SELECT agent_id FROM ains.register_agent('gone');
SELECT agent_status FROM ains.stop_agent('gone');
SELECT ains.publish_capability('gone', 'x');
SELECT ains.prune_agents('0');
SELECT count(*) FROM t.offers WHERE agent_id = 'gone';
-- an agent of this transaction
BEGIN;
SELECT agent_id FROM ains.register_agent('fresh');
SELECT ains.publish_capability('fresh', 'x');
ROLLBACK;
CALL t.refused($$SELECT ains.publish_capability('fresh', 'x')$$);
SELECT count(*) FROM t.offers WHERE agent_id = 'fresh';

-- bad input
CALL t.refused($$SELECT ains.publish_capability(NULL, 'x')$$);
CALL t.refused($$SELECT ains.publish_capability('', 'x')$$);
CALL t.refused($$SELECT ains.publish_capability('nobody', 'x')$$);
CALL t.refused($$SELECT ains.publish_capability('a', NULL)$$);
CALL t.refused($$SELECT ains.publish_capability('a', '')$$);
CALL t.refused($$SELECT ains.publish_capability('a', E'x\ty')$$);
CALL t.refused($$SELECT ains.publish_capability('a', repeat('x', 129))$$);
CALL t.refused($$SELECT ains.publish_capability('a', 'x', version => NULL)$$);
CALL t.refused($$SELECT ains.publish_capability('a', 'x', version => '')$$);
CALL t.refused($$SELECT ains.publish_capability('a', 'x', input_schema => NULL)$$);
CALL t.refused($$SELECT ains.publish_capability('a', 'x', output_schema => NULL)$$);
CALL t.refused($$SELECT ains.publish_capability('a', 'x', pricing_model => NULL)$$);
CALL t.refused($$SELECT ains.publish_capability('a', 'x', pricing_model => repeat('x', 129))$$);
CALL t.refused($$SELECT ains.publish_capability('a', 'x', price => NULL)$$);
CALL t.refused($$SELECT ains.publish_capability('a', 'x', price => -0.01)$$);
CALL t.refused($$SELECT ains.publish_capability('a', 'x', price => 'NaN')$$);
CALL t.refused($$SELECT ains.publish_capability('a', 'x', price => 'Infinity')$$);
CALL t.refused($$SELECT ains.publish_capability('a', 'x', price => 1000000000000000.01)$$);
CALL t.refused($$SELECT ains.publish_capability('a', 'x', currency => NULL)$$);
CALL t.refused($$SELECT ains.publish_capability('a', 'x', currency => '')$$);
CALL t.refused($$SELECT ains.publish_capability('a', 'x', latency_p99_ms => -1)$$);
CALL t.refused($$SELECT ains.publish_capability('a', 'x', availability_percent => -1)$$);
CALL t.refused($$SELECT ains.publish_capability('a', 'x', availability_percent => 100.01)$$);
CALL t.refused($$SELECT ains.publish_capability('a', 'x', availability_percent => 'NaN')$$);
CALL t.refused($$SELECT ains.publish_capability('a', 'x', availability_percent => '-Infinity')$$);
CALL t.refused($$SELECT ains.withdraw_capability(NULL, 'x')$$);
CALL t.refused($$SELECT ains.withdraw_capability('a', NULL)$$);
CALL t.refused($$SELECT ains.withdraw_capability('a', '')$$);
CALL t.refused($$SELECT ains.withdraw_capability('nobody', 'x')$$);
SET ains.max_payload = '1kB';
CALL t.refused($$SELECT ains.publish_capability('a', 'x', repeat('x', 2000))$$);
CALL t.refused($$SELECT ains.publish_capability('a', 'x', input_schema => jsonb_build_object('x', repeat('x', 2000)))$$);
RESET ains.max_payload;
-- the limits themselves
SELECT ains.publish_capability('a', repeat('ü', 128), version => repeat('ü', 128), price => 1000000000000000,
                               latency_p99_ms => 0, availability_percent => 100);
SELECT ains.withdraw_capability('a', repeat('ü', 128));

-- who may: members of the agent's owner, an admin
SET ROLE regress_agent;
SELECT agent_id FROM ains.register_agent('mine');
SELECT ains.publish_capability('mine', 'x');
SET ROLE regress_agent2;
CALL t.refused($$SELECT ains.publish_capability('mine', 'x', 'a lie')$$);
CALL t.refused($$SELECT ains.withdraw_capability('mine', 'x')$$);
SET ROLE regress_producer;
CALL t.refused($$SELECT ains.publish_capability('mine', 'x')$$);
SET ROLE regress_monitor;
CALL t.refused($$SELECT ains.withdraw_capability('mine', 'x')$$);
SET ROLE regress_admin;
SELECT ains.publish_capability('mine', 'y', 'by an admin');
SELECT ains.withdraw_capability('mine', 'x');
RESET ROLE;
SELECT capability, description FROM t.offers WHERE agent_id = 'mine';
