\set ECHO none
\getenv abs_srcdir PG_ABS_SRCDIR
\set begin :abs_srcdir '/sql/begin.psql'
\i :begin
--
-- min_trust: who may claim what
--
SELECT agent_id FROM ains.register_agent('low', capabilities => '{work,hard}');
SELECT agent_id FROM ains.register_agent('high', capabilities => '{work,hard}');
SELECT ains.adjust_trust('low', -0.1, 'new here'), ains.adjust_trust('high', 0.2, 'well known');

-- in steps of 0.05, upwards; 0 is none
SELECT ains.enqueue('work', priority => 9, min_trust => 0.7) AS seven,
       ains.enqueue('work', priority => 8, min_trust => 0.66) AS step,
       ains.enqueue('work', priority => 7, min_trust => 0) AS none,
       ains.enqueue('work', priority => 6, min_trust => 1) AS one,
       ains.enqueue('work', priority => 1) AS plain \gset
SELECT task_id = :plain AS plain, min_trust, assigned_to FROM ains.tasks ORDER BY task_id;
SELECT capability, min_trust, agent_id FROM ains.lane ORDER BY lane_id;
SELECT (ains.get_task(:seven)).min_trust;

-- the one is passed by, not walked over; the order is that of the ranks
SELECT t.claim('low', 10) IN (:none, :plain) AS right;
SELECT ains.release(task_id, t.token(task_id)) FROM ains.task WHERE status = 'ACTIVE' \g /dev/null
SELECT row_number() OVER () AS n, task_id = :seven AS seven, task_id = :step AS step
  FROM ains.claim('high', 10);
SELECT t.claim('high') IS NOT NULL AS more;
SELECT ains.complete(task_id, t.token(task_id)) FROM ains.task WHERE status = 'ACTIVE' \g /dev/null

-- what is done in the same transaction
BEGIN;
SELECT ains.enqueue('work', min_trust => 0.55) AS own, ains.enqueue('work', min_trust => 0.95) AS far \gset
SELECT t.claim('low') AS nothing;
SELECT t.claim('high', 10) = :own AS own;
ROLLBACK;

-- trust moves while it claims: each claim is judged anew, before the sweeper
-- has written anything down
SELECT ains.enqueue('work', min_trust => 0.75) AS a, ains.enqueue('work', min_trust => 0.75) AS b \gset
SELECT trust_score FROM ains.agent WHERE agent_id = 'high';
SELECT t.claim('high', 1) = :a AS a;
SELECT ains.fail(:a, t.token(:a), 'no', retryable => true);
SELECT t.claim('high') IS NOT NULL AS claimed;
SELECT ains.enqueue('work') AS easy \gset
SELECT t.claim('high') = :easy AS claimed;
SELECT ains.release(:easy, t.token(:easy)), ains.cancel(:easy);
SELECT trust_score FROM ains.agent WHERE agent_id = 'high';
SELECT agent_id, trust_score FROM ains.preview_route('work', min_trust => 0.7);
SELECT leases_expired FROM ains.sweep();
SELECT trust_score FROM ains.agent WHERE agent_id = 'high';
SELECT t.claim('high') IS NOT NULL AS claimed;

-- why it waits
SELECT * FROM ains.explain_task(:b);
SELECT ains.adjust_trust('high', 0.2, 'works well');
SELECT * FROM ains.explain_task(:b);
SELECT t.claim('high') = :b AS claimed;
SELECT ains.release(:b, t.token(:b));
SELECT t.claim('high') = :b AS claimed;
SELECT ains.complete(:b, t.token(:b));

-- a finished task keeps it, and comes back with it
SELECT ains.enqueue('work', min_trust => 0.8, max_attempts => 1) AS back \gset
SELECT t.claim('high') = :back AS claimed;
SELECT ains.fail(:back, t.token(:back), 'broken');
SELECT status, min_trust FROM ains.tasks WHERE task_id = :back;
SELECT ains.cancel(:a), ains.cancel(:one);
SELECT ains.adjust_trust('high', 0.2, 'works well');
SELECT ains.retry(:back) = :back AS retried;
SELECT t.claim('low') AS nothing;
SELECT t.claim('high') = :back AS claimed;
SELECT ains.fail(:back, t.token(:back), 'broken', retryable => false);
SELECT ains.redrive('work');
SELECT t.claim('low') AS nothing;
SELECT status, min_trust FROM ains.tasks WHERE task_id = :back;
SELECT t.claim('high') = :back AS claimed;
SELECT ains.complete(:back, t.token(:back));
SELECT status, min_trust FROM ains.tasks WHERE task_id = :back;

-- scheduled, and blocked, into the same lane
SELECT ains.enqueue('work', run_at => t.now() + '1 h', min_trust => 0.8) AS later \gset
SELECT ains.enqueue('work', depends_on => ARRAY[:later], min_trust => 0.8) AS after \gset
SELECT t.advance('61 min');
SELECT ains.heartbeat('low') IS NOT NULL, ains.heartbeat('high') IS NOT NULL;
SELECT tasks_due FROM ains.sweep();
SELECT t.claim('low') AS nothing;
SELECT t.claim('high', 10) = :later AS claimed;
SELECT ains.complete(:later, t.token(:later));
SELECT t.claim('low') AS nothing;
SELECT t.claim('high') = :after AS claimed;
SELECT ains.complete(:after, t.token(:after));
SELECT count(*) FROM ains.lane;

-- a capability's own
SELECT capability, min_trust FROM ains.configure_capability('hard', min_trust => 0.6);
SELECT ains.enqueue('hard') AS hard, ains.enqueue('hard', min_trust => 0.3) AS lower \gset
SELECT t.claim('low') AS nothing;
SELECT ready FROM ains.explain_task(:hard), LATERAL (SELECT reason || ': ' || detail) r (ready);
SELECT count(*) FROM t.claim('high', 10);
SELECT ains.release(task_id, t.token(task_id)) FROM ains.task WHERE status = 'ACTIVE' \g /dev/null
SELECT ains.adjust_trust('low', 0.3, 'has learned');
SELECT count(*) FROM t.claim('low', 10);
SELECT ains.release(task_id, t.token(task_id)) FROM ains.task WHERE status = 'ACTIVE' \g /dev/null
SELECT ains.adjust_trust('low', -0.3, 'has forgotten');
SELECT min_trust FROM ains.configure_capability('hard', min_trust => 0);
SELECT count(*) FROM t.claim('low', 10);
SELECT ains.release(task_id, t.token(task_id)) FROM ains.task WHERE status = 'ACTIVE' \g /dev/null

-- all lanes are ranked anew, and counted
SELECT ains.enqueue('work', priority => 9, min_trust => 0.3) IS NOT NULL, ains.enqueue('work', priority => 1) IS NOT NULL;
SELECT capability, pending, oldest_pending < '1 min' AS young FROM ains.queue_stats();
SELECT capability FROM ains.configure_capability('work', aging_interval => '1 s');
SELECT priority FROM ains.claim('low', 10, capabilities => '{work}');
SELECT ains_internal.check_ready_set();
SELECT ains_internal.ready_drift();

-- direct DML of a score is noticed by the next sweep
SELECT ains.enqueue('work', min_trust => 0.95) AS top \gset
UPDATE ains.agent SET trust_score = 0.95 WHERE agent_id = 'low';
SELECT count(*) FROM ains.sweep();
SELECT :top IN (SELECT t.claim('low', 10)) AS claimed;

CALL t.refused($$SELECT ains.enqueue('work', min_trust => 1.01)$$);
CALL t.refused($$SELECT ains.enqueue('work', min_trust => -0.01)$$);
CALL t.refused($$SELECT ains.enqueue('work', min_trust => 'NaN')$$);
CALL t.refused($$SELECT ains.configure_capability('work', min_trust => 2)$$);
