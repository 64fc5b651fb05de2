\set ECHO none
\getenv abs_srcdir PG_ABS_SRCDIR
\set begin :abs_srcdir '/sql/begin.psql'
\i :begin
--
-- Events: what happened, in the order of ids that never go back.
--
CREATE VIEW t.events AS
SELECT kind, CASE WHEN owner <> session_user::regrole THEN owner END AS owner, task_id - min(task_id) OVER () + 1 AS task, capability, agent_id, detail
  FROM ains.events ORDER BY event_id;
-- For the next look only what comes then.
CREATE PROCEDURE t.forget() LANGUAGE sql AS
    'UPDATE ains.event_progress SET pruned = published; DELETE FROM ains.event';

-- off by default, and the kinds are known ones
SHOW ains.events;
SELECT ains.register_agent('a', capabilities => ARRAY['work']) IS NOT NULL;
SELECT count(*) FROM ains.event;
\set ON_ERROR_STOP off
SET ains.events = 'task.completed, task.complete';
SET ains.events = 'task*';
SET ains.events = 'tasks.*';
\set ON_ERROR_STOP on
SET ains.events = ' task.completed,agent.dead ';
SELECT ains.enqueue('work') > 0;
SELECT count(*) FROM ains.claim('a');
SELECT ains.complete(task_id, lease_token) FROM ains.task;
CALL t.publish();
SELECT * FROM t.events;
CALL t.forget();

SET ains.events = '*';
-- the ways of a task
SET ROLE regress_producer;
SELECT ains.enqueue('work', '"hard"', max_attempts => 2) AS hard \gset
RESET ROLE;
SELECT lease_token FROM ains.claim('a') \gset
SELECT ains.fail(:hard, :lease_token, 'no luck', retryable => true, retry_after => '1 s');
SELECT t.advance('2 s');
SELECT tasks_due FROM ains.sweep();
SELECT lease_token FROM ains.claim('a') \gset
SELECT ains.release(:hard, :lease_token);
SELECT lease_token FROM ains.claim('a') \gset
SELECT ains.cancel(:hard, 'changed my mind');
SELECT ains.fail(:hard, :lease_token, 'as you wish');
SELECT ains.retry(:hard);
SELECT lease_token FROM ains.claim('a') \gset
SELECT ains.fail(:hard, :lease_token, 'not found');
CALL t.publish();
SELECT * FROM t.events;
CALL t.forget();

-- batches, dependencies, expiry
SELECT ains.enqueue('work', '1') AS first \gset
SELECT ains.enqueue('work', '2', depends_on => ARRAY[:first]) AS second \gset
SELECT ains.enqueue('work', '3', depends_on => ARRAY[:first]) AS third \gset
SELECT ains.enqueue('work', '4', depends_on => ARRAY[:third]) AS fourth \gset
SELECT ains.complete(task_id, lease_token) FROM ains.claim('a');
SELECT ains.cancel(:third);
SELECT count(*) FROM ains.enqueue_batch('other', '[1, 2]');
SELECT ains.enqueue('other', expires_at => t.now() + '1 s') > 0;
SELECT t.advance('2 s');
SELECT tasks_expired FROM ains.sweep();
SELECT count(*) FROM ains.claim('a');
SELECT ains.complete_batch(array_agg(task_id), array_agg(lease_token)) IS NOT NULL FROM ains.task WHERE status = 'ACTIVE';
CALL t.publish();
SELECT * FROM t.events;
CALL t.forget();

-- agents
SELECT (ains.drain_agent('a')).wanted;
SELECT (ains.resume_agent('a')).wanted;
SELECT agent_status FROM ains.heartbeat('a', 'DEGRADED');
SELECT t.advance('91 s');
SELECT agents_marked_dead FROM ains.sweep();
SELECT agent_status FROM ains.heartbeat('a');
SELECT (ains.stop_agent('a')).wanted;
SELECT t.advance('2 days');
SELECT ains.prune_agents('1 h');
CALL t.publish();
SELECT * FROM t.events;
CALL t.forget();

-- what is rolled back has not happened
BEGIN;
SELECT ains.enqueue('work') > 0;
SAVEPOINT s;
SELECT ains.enqueue('work') > 0;
ROLLBACK TO s;
COMMIT;
BEGIN;
SELECT ains.enqueue('work') > 0;
ROLLBACK;
CALL t.publish();
SELECT kind, capability FROM ains.events;

-- everybody sees his own
SET ROLE regress_producer;
SELECT ains.enqueue('work') > 0;
RESET ROLE;
CALL t.publish();
SET ROLE regress_producer;
SELECT kind, owner::text FROM ains.events;
SET ROLE regress_monitor;
SELECT count(*) FROM ains.events;
SET ROLE regress_agent;
SELECT count(*) FROM ains.events;
RESET ROLE;

-- they go when they are past retention
SELECT t.advance('8 days');
SELECT ains.enqueue('work') > 0;
CALL t.publish();
SELECT count(*) FROM ains.events;
SELECT pruned < published FROM ains.event_progress;

-- runs: how they end, in the transaction that ends the last task, and what is decided
CALL t.forget();
SELECT agent_id FROM ains.register_agent('r', capabilities => ARRAY['step']);
CREATE FUNCTION t.work(tasks integer, broken boolean DEFAULT false) RETURNS bigint LANGUAGE sql AS $$
SELECT count(CASE WHEN broken THEN ains.fail(task_id, lease_token, 'broken', retryable => false)::text
             ELSE ains.complete(task_id, lease_token)::text END) FROM ains.claim('r', tasks);
$$;
CREATE VIEW t.run_events AS
SELECT kind, CASE WHEN owner <> session_user::regrole THEN owner END AS owner, detail->>'status' AS status, detail->>'name' AS name,
       (detail->>'run_id')::bigint = (SELECT run_id FROM ains.run r WHERE r.name = detail->>'name') AS its_id, task_id, capability, agent_id,
       detail - '{status,name,run_id}'::text[] AS more FROM ains.events WHERE kind LIKE 'run.%' ORDER BY event_id;
SET ains.events = 'run.*';
SET ROLE regress_producer;
SELECT ains.create_run('short', target => 5) AS short, ains.create_run('good') AS good, ains.create_run('bad') AS bad,
       ains.create_run('unwanted') AS unwanted \gset
SELECT count(*) FROM ains.enqueue_batch('step', '[1, 2]', run_id => :short);
RESET ROLE;
SELECT t.work(2);
SELECT ains.enqueue('step', run_id => :good) > 0;
SELECT t.work(1);
SELECT ains.enqueue('step', run_id => :bad) > 0;
SELECT t.work(1, broken => true);
SELECT ains.enqueue('step', run_id => :unwanted) > 0;
SELECT ains.cancel_run(:unwanted);
SELECT ains.resolve_run(:short, 'continue');
SELECT ains.enqueue('step', run_id => :short) > 0;
SELECT t.work(1);
SELECT ains.resolve_run(:short, 'accept');
-- a run that is retried ends again
SELECT ains.retry_run(:bad);
SELECT t.work(1);
CALL t.publish();
SELECT * FROM t.run_events;
CALL t.forget();

-- what is rolled back, by halves, too; an end is told at the commit, and once
SELECT ains.create_run('half') AS half \gset
SELECT count(*) FROM ains.enqueue_batch('step', '[1, 2]', run_id => :half);
BEGIN;
SAVEPOINT s;
SELECT ains.cancel_run(:half);
ROLLBACK TO s;
SELECT t.work(1);
SAVEPOINT s;
SELECT t.work(1);
ROLLBACK TO s;
COMMIT;
BEGIN;
SELECT t.work(1);
ROLLBACK;
SELECT count(*) AS none FROM ains.event;
BEGIN;
SAVEPOINT s;
SELECT t.work(1);
RELEASE s;
SELECT count(*) AS not_before_commit FROM ains.event;
COMMIT;
SELECT ains.create_run('at once', target => 2) AS at_once \gset
BEGIN;
SELECT ains.enqueue('step', run_id => :at_once) > 0;
SELECT t.work(1);
COMMIT;
SELECT ains.resolve_run(:at_once, 'cancel');
CALL t.publish();
SELECT * FROM t.run_events;
CALL t.forget();

-- the sweeper ends one; a kind that is not wanted is not recorded
SET ains.events = 'run.failed';
SELECT ains.create_run('expired') AS expired, ains.create_run('quiet') AS quiet \gset
SELECT ains.enqueue('step', run_id => :expired, expires_at => t.now() + '1 s') > 0;
SELECT ains.cancel_run(:quiet);
SELECT t.advance('2 s');
SELECT tasks_expired FROM ains.sweep();
CALL t.publish();
SELECT * FROM t.run_events;
