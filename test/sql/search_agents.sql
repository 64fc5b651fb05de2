\set ECHO none
\getenv abs_srcdir PG_ABS_SRCDIR
\set begin :abs_srcdir '/sql/begin.psql'
\i :begin
--
-- search_agents: who could do it, and on what terms.
--
SELECT * FROM ains.search_agents();
SELECT agent_id FROM ains.register_agent('cheap', capabilities => '{sum}', tags => '{eu,small}');
SELECT agent_id FROM ains.register_agent('fast', display_name => 'A fast one', tags => '{eu,big}');
SELECT agent_id FROM ains.register_agent('steady', display_name => 'The steady one', capabilities => '{Sum}', tags => '{us}');
SELECT agent_id FROM ains.register_agent('idle');
SELECT agent_id FROM ains.register_agent('busy', capabilities => '{sum}');
SELECT ains.publish_capability('cheap', 'sum', price => 0.01, availability_percent => 90);
SELECT ains.publish_capability('fast', 'sum', price => 2, currency => 'EUR', latency_p99_ms => 5);
SELECT ains.publish_capability('fast', 'sum.all', price => 3, latency_p99_ms => 500, availability_percent => 50);
SELECT ains.publish_capability('steady', 'sum', price => 1, latency_p99_ms => 50, availability_percent => 99.99);
SELECT agent_status FROM ains.heartbeat('busy', 'DEGRADED');
UPDATE ains.agent SET trust_score = 0.7 WHERE agent_id = 'steady';
UPDATE ains.agent SET trust_score = 0.3 WHERE agent_id = 'cheap';

-- all there is: the most trusted first, then those who would work soonest, then by id
SELECT * FROM ains.search_agents();
-- the exact name, as for enqueue
SELECT agent_id, capability FROM ains.search_agents('sum');
SELECT agent_id, capability FROM ains.search_agents('Sum');
SELECT agent_id, capability FROM ains.search_agents('su%');
-- all tags
SELECT agent_id, capability, tags FROM ains.search_agents(tags => '{eu}');
SELECT agent_id, capability, tags FROM ains.search_agents(tags => '{big,eu}');
SELECT agent_id, capability, tags FROM ains.search_agents(tags => '{us,eu}');
SELECT count(*) FROM ains.search_agents(tags => '{}');
-- trust: as much as asked for is enough
SELECT agent_id, trust_score FROM ains.search_agents('sum', min_trust => 0.7);
SELECT agent_id, trust_score FROM ains.search_agents('sum', min_trust => 0.70001);
SELECT agent_id, trust_score FROM ains.search_agents('sum', min_trust => 0.3);
SELECT count(*) FROM ains.search_agents('sum', min_trust => 1e-100);
-- orders; what is not said comes last
SELECT agent_id, capability, price, currency FROM ains.search_agents(sort_by => 'price');
SELECT agent_id, capability, latency_p99_ms FROM ains.search_agents(sort_by => 'latency');
SELECT agent_id, capability FROM ains.search_agents(sort_by => 'availability');
SELECT agent_id, display_name, capability FROM ains.search_agents(sort_by => 'name');
-- pages
SELECT agent_id, capability FROM ains.search_agents(sort_by => 'name', max_rows => 3);
SELECT agent_id, capability FROM ains.search_agents(sort_by => 'name', max_rows => 3, skip => 3);
SELECT agent_id, capability FROM ains.search_agents(sort_by => 'name', skip => 7);
SELECT count(*) FROM ains.search_agents(max_rows => 1000, skip => 2147483647);
-- a stopped agent is found, and says so
SELECT agent_id FROM ains.stop_agent('fast');
SELECT agent_id, agent_status FROM ains.search_agents('sum', min_trust => 0.5);
-- what was withdrawn is not
SELECT ains.withdraw_capability('steady', 'sum');
SELECT agent_id FROM ains.search_agents('sum', sort_by => 'availability');

-- bad input
CALL t.refused($$SELECT ains.search_agents('')$$);
CALL t.refused($$SELECT ains.search_agents(repeat('x', 129))$$);
CALL t.refused($$SELECT ains.search_agents(tags => ARRAY['x', NULL])$$);
CALL t.refused($$SELECT ains.search_agents(tags => '{{a,b},{c,d}}')$$);
CALL t.refused($$SELECT ains.search_agents(min_trust => NULL)$$);
CALL t.refused($$SELECT ains.search_agents(min_trust => -0.01)$$);
CALL t.refused($$SELECT ains.search_agents(min_trust => 1.01)$$);
CALL t.refused($$SELECT ains.search_agents(min_trust => 'NaN')$$);
CALL t.refused($$SELECT ains.search_agents(sort_by => NULL)$$);
CALL t.refused($$SELECT ains.search_agents(sort_by => '')$$);
CALL t.refused($$SELECT ains.search_agents(sort_by => 'Price')$$);
CALL t.refused($$SELECT ains.search_agents(sort_by => 'agent_id; DROP TABLE ains.agent')$$);
CALL t.refused($$SELECT ains.search_agents(max_rows => 0)$$);
CALL t.refused($$SELECT ains.search_agents(max_rows => 1001)$$);
CALL t.refused($$SELECT ains.search_agents(max_rows => NULL)$$);
CALL t.refused($$SELECT ains.search_agents(skip => -1)$$);
CALL t.refused($$SELECT ains.search_agents(skip => NULL)$$);

-- agents of other roles are found by whoever may search
SET ROLE regress_producer;
SELECT agent_id, price FROM ains.search_agents('sum');
SELECT count(*) FROM ains.agents;
SET ROLE regress_monitor;
SELECT count(*) FROM ains.search_agents();
SET ROLE regress_nobody;
CALL t.refused($$SELECT ains.search_agents()$$);
RESET ROLE;
