\set ECHO none
\getenv abs_srcdir PG_ABS_SRCDIR
\set begin :abs_srcdir '/sql/begin.psql'
\i :begin
--
-- Routing: tasks that are assigned to agents
--
DO $$ BEGIN PERFORM ains.register_agent(a, capabilities => '{work}') FROM unnest('{a,b,c}'::text[]) a; END $$;
CREATE VIEW t.waiting AS
SELECT row_number() OVER (ORDER BY task_id) AS n, status, min_trust, assigned_to
  FROM ains.tasks WHERE finished_at IS NULL ORDER BY task_id;

-- directly: nobody else gets it, its agent in rank order with what is for all
SELECT ains.enqueue('work', priority => 2, agent_id => 'a') AS direct,
       ains.enqueue('work', priority => 3) AS any,
       ains.enqueue('work', priority => 1) AS any2 \gset
SELECT (ains.get_task(:direct)).assigned_to;
SELECT t.claim('b') = :any AS any;
SELECT t.claim('a') = :direct AS direct;
SELECT t.claim('a') = :any2 AS any2;
-- it comes back to its agent as long as that takes it
SELECT ains.release(:direct, t.token(:direct));
SELECT t.claim('b') AS nothing;
SELECT reason, detail FROM ains.explain_task(:direct);
SELECT t.claim('a') = :direct AS direct;
SELECT ains.complete(task_id, t.token(task_id)) FROM ains.task WHERE status = 'ACTIVE' \g /dev/null
SELECT status, assigned_to, agent_id FROM ains.tasks WHERE task_id = :direct;

-- round_robin: who was assigned one longest ago
SELECT agent_id, load, chance FROM ains.preview_route('work');
SELECT agent_id, load, chance FROM ains.preview_route('work');
DO $$ BEGIN PERFORM ains.enqueue_batch('work', '[1, 2, 3, 4]'); END $$;
SELECT task_id AS one FROM ains.task ORDER BY task_id LIMIT 1 \gset
SELECT n, ains.assign(task_id) FROM (SELECT task_id, row_number() OVER (ORDER BY task_id) AS n FROM ains.task) x ORDER BY n;
SELECT agent_id, load, chance FROM ains.preview_route('work');
SELECT * FROM t.waiting;
-- once more to another, and back
SELECT ains.assign(:one);
SELECT ains.assign(:one);
SELECT * FROM t.waiting;
SELECT count(*) FROM t.claim('c', 10);
SELECT ains.release(task_id, t.token(task_id)) FROM ains.task WHERE status = 'ACTIVE' \g /dev/null

-- least_loaded: held and assigned
SELECT count(*) FROM t.claim('a', 10);
DO $$ BEGIN PERFORM ains.enqueue('work'); END $$;
SELECT agent_id, load FROM ains.preview_route('work', 'least_loaded');
SELECT ains.assign(max(task_id), 'least_loaded') FROM ains.task;
SELECT agent_id, load FROM ains.preview_route('work', 'least_loaded');
SELECT ains.complete(task_id, t.token(task_id)) FROM ains.task WHERE status = 'ACTIVE' \g /dev/null

-- fastest_response: who has completed some in the least time on average
UPDATE ains.agent SET avg_duration = '2 s' WHERE agent_id = 'b';
UPDATE ains.agent SET avg_duration = '1 s' WHERE agent_id = 'c';
UPDATE ains.agent SET avg_duration = NULL WHERE agent_id = 'a';
SELECT agent_id, avg_duration, chance FROM ains.preview_route('work', 'fastest_response');
SELECT ains.assign(max(task_id), 'fastest_response') FROM ains.task;

-- trust_weighted: a is passed over as long as others are trusted more
UPDATE ains.agent SET trust_score = CASE agent_id WHEN 'a' THEN 0.2 WHEN 'b' THEN 0.3 ELSE 0.9 END;
SELECT count(*) FROM ains.sweep();
SELECT agent_id, trust_score, chance FROM ains.preview_route('work', 'trust_weighted');
DO $$ BEGIN PERFORM ains.enqueue_batch('work', (SELECT jsonb_agg(n) FROM generate_series(1, 200) n)); END $$;
SELECT ains.assign(task_id, 'trust_weighted') AS agent, count(*) BETWEEN 30 AND 70 AS a_quarter,
       count(*) > 120 AS three_quarters
  FROM ains.task WHERE payload <> '{}' GROUP BY 1 ORDER BY 1;
SELECT bool_and(ains.assign(task_id, 'trust_weighted') = assigned_to) AS the_same
  FROM ains.tasks WHERE payload <> '{}' AND finished_at IS NULL;
UPDATE ains.agent SET trust_score = CASE agent_id WHEN 'a' THEN 0.2 ELSE 0.05 END;
SELECT count(*) FROM ains.sweep();
SELECT agent_id, trust_score, chance FROM ains.preview_route('work', 'trust_weighted');
SELECT count(ains.cancel(task_id)) FROM ains.tasks WHERE finished_at IS NULL;

-- only who is alive, accepts, is trusted enough, offers it and has room
SELECT agent_id FROM ains.register_agent('d', capabilities => '{work}', max_active_tasks => 1);
SELECT agent_id FROM ains.register_agent('e', capabilities => '{other}');
UPDATE ains.agent SET trust_score = 0.5;
SELECT count(*) FROM ains.sweep();
SELECT agent_id FROM ains.preview_route('work', 'least_loaded');
SELECT agent_id FROM ains.drain_agent('a');
SELECT agent_id FROM ains.stop_agent('b');
SELECT agent_id FROM ains.preview_route('work', 'least_loaded');
SELECT agent_id FROM ains.preview_route('work', 'least_loaded', min_trust => 0.51);
SELECT ains.enqueue('work', agent_id => 'd') AS full \gset
SELECT agent_id, load FROM ains.preview_route('work', 'least_loaded');
-- of the task itself that is there already nobody's load is more
SELECT ains.assign(:full, 'least_loaded') IN ('c', 'd') AS assigned;
SELECT ains.cancel(:full);
SELECT t.advance('91 s');
SELECT ains.heartbeat('c') IS NOT NULL AS beat;
-- the others are silent, though no sweep has said so
SELECT agent_id FROM ains.preview_route('work', 'least_loaded');
SELECT ains.withdraw_capability('c', 'work');
SELECT agent_id FROM ains.preview_route('work', 'least_loaded');
SELECT ains.enqueue('work') AS nobodys \gset
SELECT ains.assign(:nobodys);
SELECT reason FROM ains.explain_task(:nobodys);
SELECT ains.cancel(:nobodys);

-- its agent dies, drains, stops, withdraws, loses trust: the lane goes back to
-- all with the next sweep, whoever claims before does not get it
DO $$ BEGIN PERFORM ains.register_agent(a, capabilities => '{work}') FROM unnest('{a,b,c}'::text[]) a; END $$;
DO $$ BEGIN PERFORM ains.enqueue('work', agent_id => 'a', min_trust => 0.4); END $$;
SELECT agent_id FROM ains.drain_agent('a');
SELECT t.claim('b') AS nothing;
SELECT reason, detail FROM ains.explain_task((SELECT max(task_id) FROM ains.task)) LIMIT 1;
SELECT count(*) FROM ains.sweep();
SELECT * FROM t.waiting;
-- for one that does not take it, it is everybody's at once
DO $$ BEGIN PERFORM ains.enqueue('work', agent_id => 'a', min_trust => 0.4); END $$;
SELECT * FROM t.waiting;
SELECT count(*) FROM t.claim('b', 10);
SELECT ains.complete(task_id, t.token(task_id)) FROM ains.task WHERE status = 'ACTIVE' \g /dev/null

DO $$ BEGIN PERFORM ains.resume_agent('a'), ains.enqueue('work', agent_id => 'a'); END $$;
SELECT ains.withdraw_capability('a', 'work');
SELECT t.claim('a') AS nothing;
SELECT count(*) FROM ains.sweep();
SELECT count(*) FROM t.claim('b');
SELECT ains.complete(task_id, t.token(task_id)) FROM ains.task WHERE status = 'ACTIVE' \g /dev/null

DO $$ BEGIN PERFORM ains.publish_capability('a', 'work'), ains.enqueue('work', agent_id => 'a', min_trust => 0.45); END $$;
SELECT ains.adjust_trust('a', -0.2, 'was rude');
SELECT t.claim('a') AS nothing;
SELECT count(*) FROM ains.sweep();
SELECT * FROM t.waiting;
SELECT count(ains.cancel(task_id)) FROM ains.task;
SELECT ains.adjust_trust('a', 0.2, 'has improved');

-- a death: what waits goes to all, what it held too, what is not due yet when it is
SELECT ains.enqueue('work', agent_id => 'a') AS held,
       ains.enqueue('work', agent_id => 'a') AS waits \gset
SELECT ains.enqueue('work', agent_id => 'a', run_at => t.now() + '10 min') AS later,
       ains.enqueue('work', agent_id => 'a', depends_on => ARRAY[:held]) AS after \gset
SELECT t.claim('a') = :held AS held;
SELECT t.advance('91 s');
SELECT count(ains.heartbeat(a)) FROM unnest('{b,c}'::text[]) a;
SELECT leases_of_dead_agents, agents_marked_dead FROM ains.sweep();
SELECT * FROM t.waiting;
SELECT count(*) FROM t.claim('b', 10);
SELECT ains.complete(:held, t.token(:held)), ains.complete(:waits, t.token(:waits));
SELECT * FROM t.waiting;
SELECT t.claim('b') = :after AS after;
SELECT t.advance('10 min');
SELECT count(ains.heartbeat(a)) FROM unnest('{b,c}'::text[]) a;
SELECT tasks_due FROM ains.sweep();
SELECT * FROM t.waiting;
SELECT t.claim('b') = :later AS later;
SELECT ains.complete(task_id, t.token(task_id)) FROM ains.task WHERE status = 'ACTIVE' \g /dev/null

-- stopped while it holds one; drained, and then the attempt fails
SELECT ains.enqueue('work', agent_id => 'b') AS stop, ains.enqueue('work', agent_id => 'c') AS drain \gset
SELECT t.claim('b') = :stop AS stop, t.claim('c') = :drain AS drain;
SELECT agent_id FROM ains.stop_agent('b');
SELECT agent_id FROM ains.drain_agent('c');
SELECT ains.fail(:drain, t.token(:drain), 'no', retryable => true);
SELECT * FROM t.waiting;
SELECT count(ains.cancel(task_id)) FROM ains.task;

-- a pruned agent's lanes go once nothing is in them
SELECT agent_id FROM ains.resume_agent('b');
SELECT ains.enqueue('work', agent_id => 'b', run_at => t.now() + '1 h') AS late \gset
SELECT agent_id FROM ains.stop_agent('b');
SELECT ains.prune_agents('0');
SELECT count(*) FROM ains.sweep();
SELECT capability, min_trust, agent_id FROM ains.lane WHERE agent_id = 'b';
SELECT t.advance('61 min');
SELECT tasks_due FROM ains.sweep();
SELECT * FROM t.waiting;
SELECT capability, min_trust, agent_id FROM ains.lane WHERE agent_id = 'b';
SELECT ains.cancel(:late);

-- undone; and what one transaction does with its own
DO $$ BEGIN PERFORM ains.register_agent(a, capabilities => '{work}') FROM unnest('{a,b}'::text[]) a; END $$;
SELECT ains.enqueue('work') AS task \gset
BEGIN;
SELECT ains.assign(:task, 'least_loaded') = 'a' AS a;
ROLLBACK;
SELECT t.claim('b') = :task AS b;
SELECT ains.release(:task, t.token(:task));
BEGIN;
SELECT ains.enqueue('work', agent_id => 'b') AS own \gset
SELECT ains.assign(:own) = 'b' AS b;
SAVEPOINT s;
SELECT ains.assign(:own) = 'a' AS a;
SELECT t.claim('b') = :task AS other;
SELECT t.claim('b') AS nothing;
ROLLBACK TO s;
SELECT t.claim('a') = :task AS other;
SELECT t.claim('a') AS nothing;
SELECT t.claim('b') = :own AS own;
COMMIT;
SELECT ains_internal.check_ready_set();
SELECT count(*) FROM ains.sweep();
SELECT ains_internal.ready_drift();

-- refused
CALL t.refused(format('SELECT ains.assign(%s)', :own));
CALL t.refused(format('SELECT ains.assign(%s)', :late));
CALL t.refused('SELECT ains.assign(0)');
CALL t.refused(format('SELECT ains.assign(%s, %L)', :own, 'random'));
CALL t.refused(format('SELECT ains.assign(%s, NULL)', :own));
CALL t.refused($$SELECT ains.preview_route('work', 'Round_Robin')$$);
CALL t.refused($$SELECT ains.preview_route('nothing')$$);
CALL t.refused($$SELECT ains.preview_route('work', min_trust => 2)$$);
CALL t.refused($$SELECT ains.enqueue('work', agent_id => 'nobody')$$);
SELECT agent_id FROM ains.register_agent('e', capabilities => '{other}');
CALL t.refused($$SELECT ains.enqueue('work', agent_id => 'e')$$);
CALL t.refused($$SELECT ains.enqueue('work', agent_id => '')$$);
SELECT ains.enqueue('work') AS mine \gset
SET ROLE regress_producer;
CALL t.refused(format('SELECT ains.assign(%s)', :mine));
RESET ROLE;
