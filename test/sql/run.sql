\set ECHO none
\getenv abs_srcdir PG_ABS_SRCDIR
\set begin :abs_srcdir '/sql/begin.psql'
\i :begin
--
-- runs: tasks that belong together
--
SELECT agent_id FROM ains.register_agent('a', capabilities => '{find, research, contact}');
CREATE VIEW t.run AS SELECT run_id, name, status, decision, live, completed, failed, cancelled, expired, finished_at IS NOT NULL AS finished FROM ains.runs ORDER BY run_id;
CREATE VIEW t.rows AS SELECT run_id, stage, sum(completed) AS completed, sum(failed) AS failed, count(*) AS rows FROM ains.run_tally GROUP BY 1, 2 ORDER BY 1, 2;
-- completes so many tasks, one after the other, or fails them
CREATE FUNCTION t.work(tasks integer, broken boolean DEFAULT false) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    c record;
    done bigint := 0;
BEGIN
    FOR c IN SELECT * FROM ains.claim('a', tasks) LOOP
        IF broken THEN
            PERFORM ains.fail(c.task_id, c.lease_token, 'broken', retryable => false);
        ELSE
            PERFORM ains.complete(c.task_id, c.lease_token, c.payload);
        END IF;
        done := done + 1;
    END LOOP;
    RETURN done;
END $$;

-- from the first task to the last
SELECT ains.create_run('companies', '{"state": "TX"}', target => 3) AS run \gset
SELECT * FROM t.run;
SELECT count(*) FROM ains.enqueue_batch('find', '[1, 2, 3]', run_id => :run, stage => 'find');
SELECT task_id, run_id, payload FROM ains.claim('a') \gset
SELECT run_id = :run AS told, stage FROM ains.get_task(:task_id);
SELECT lease_token AS token FROM ains.task WHERE task_id = :task_id \gset
SELECT ains.checkpoint(:task_id, :token, '{"page": 2}', 0.5) IS NOT NULL AS saved;
SELECT stage, pending, active, completed, total, percent, gap, eta FROM ains.run_progress(:run);
SELECT ains_internal.advance_clock('60 s');
SELECT ains.complete(:task_id, :token);
SELECT status FROM t.run;
SELECT stage, pending, active, completed, total, percent, gap, t.about(eta, '2 min') AS eta FROM ains.run_progress(:run);
SELECT t.work(2);
SELECT * FROM t.run;
CALL t.refused(format('SELECT ains.enqueue(%L, run_id => %s)', 'find', :run));
CALL t.refused(format('SELECT ains.cancel_run(%s)', :run));
CALL t.refused(format('SELECT ains.resolve_run(%s, %L)', :run, 'accept'));

-- stages that enqueue the next one, in the transaction that ends the one before
SELECT ains.create_run('pipeline', target => 2) AS run \gset
SELECT ains.enqueue('find', '"x"', run_id => :run, stage => 'find') IS NOT NULL AS first;
CREATE FUNCTION t.next(capability text, next text, run_id bigint, tasks integer) RETURNS void LANGUAGE sql AS $$
SELECT ains.complete(task_id, lease_token) FROM ains.claim('a', capabilities => ARRAY[capability]);
SELECT ains.enqueue(next, run_id => run_id, stage => next) FROM generate_series(1, tasks);
$$;
SELECT t.next('find', 'research', :run, 2);
SELECT t.next('research', 'contact', :run, 1);
SELECT status, live, completed FROM t.run WHERE run_id = :run;
SELECT t.next('research', 'contact', :run, 0);
SELECT stage, pending, completed, gap FROM ains.run_progress(:run);
-- the last stage falls short of the target: somebody has to decide
SELECT t.work(1);
SELECT * FROM t.run WHERE run_id = :run;
CALL t.refused(format('SELECT ains.enqueue(%L, run_id => %s)', 'contact', :run));
CALL t.refused(format('SELECT ains.resolve_run(%s, %L)', :run, 'perhaps'));
SELECT ains.resolve_run(:run, 'continue');
SELECT * FROM t.run WHERE run_id = :run;
SELECT ains.enqueue('contact', run_id => :run, stage => 'contact') IS NOT NULL AS more;
SELECT t.work(1);
SELECT * FROM t.run WHERE run_id = :run;

-- accepted as it is; cancelled
SELECT ains.create_run('short', target => 5) AS run \gset
SELECT ains.enqueue('find', run_id => :run) IS NOT NULL AS one;
SELECT t.work(1);
SELECT ains.resolve_run(:run, 'accept');
SELECT * FROM t.run WHERE run_id = :run;
SELECT ains.create_run('short', target => 5) AS run \gset
SELECT ains.enqueue('find', run_id => :run) IS NOT NULL AS one;
SELECT t.work(1);
SELECT ains.resolve_run(:run, 'cancel');
SELECT * FROM t.run WHERE run_id = :run;
-- a stage that is named counts for the target, whichever began last
SELECT ains.create_run('named', '{"target_stage": "good"}', target => 1) AS run \gset
SELECT ains.enqueue('find', run_id => :run, stage => 'good') > 0, ains.enqueue('find', run_id => :run, stage => 'other') > 0;
SELECT t.work(2);
SELECT * FROM t.run WHERE run_id = :run;

-- all of them failed; some of them, in a run that goes on, and in one that does not
SELECT ains.create_run('failing', target => 1) AS run \gset
SELECT count(*) FROM ains.enqueue_batch('find', '[1, 2]', run_id => :run);
SELECT t.work(2, broken => true);
SELECT * FROM t.run WHERE run_id = :run;
SELECT ains.retry_run(:run);
SELECT * FROM t.run WHERE run_id = :run;
SELECT t.work(2);
SELECT * FROM t.run WHERE run_id = :run;
SELECT ains.create_run('half', on_failure => kind) AS run FROM (VALUES ('fail'), ('continue')) k (kind);
SELECT count(*) FROM t.run r, ains.enqueue_batch('find', '[1, 2]', run_id => r.run_id) WHERE name = 'half';
SELECT t.work(1, broken => true), t.work(1), t.work(1, broken => true), t.work(1);
SELECT * FROM t.run WHERE name = 'half';
-- retry and redrive of a single task: its run goes on
SELECT max(task_id) AS dead FROM ains.dead_letters \gset
SELECT ains.retry(:dead) = :dead AS retried;
SELECT * FROM t.run WHERE name = 'half';
SELECT t.work(1);
SELECT * FROM t.run WHERE name = 'half';
SELECT ains.redrive();
SELECT t.work(1);
SELECT * FROM t.run WHERE name = 'half';

-- dependents of one that failed: failed, or not
SELECT ains.create_run('chained') AS fails, ains.create_run('chained', on_failure => 'continue') AS goes_on \gset
SELECT ains.enqueue('find', run_id => :fails) AS one \gset
SELECT ains.enqueue('find', run_id => :fails, depends_on => ARRAY[:one]) > 0;
SELECT ains.enqueue('find', run_id => :goes_on) AS two \gset
SELECT ains.enqueue('find', run_id => :goes_on, depends_on => ARRAY[:two, :one]) > 0, ains.enqueue('find', depends_on => ARRAY[:two]) > 0;
SELECT t.work(2, broken => true);
SELECT run_id = :fails AS fails, status, error ~ 'which it depends on' AS by_dependency FROM ains.tasks WHERE run_id IN (:fails, :goes_on) OR status = 'FAILED' AND run_id IS NULL ORDER BY task_id;
SELECT ains.enqueue('find', run_id => :goes_on, depends_on => ARRAY[:one]) > 0 AS any_end_will_do;
SELECT t.work(5);
SELECT * FROM t.run WHERE name = 'chained';
SELECT ains.retry_run(:fails);
SELECT status FROM ains.tasks WHERE run_id = :fails ORDER BY task_id;
SELECT t.work(1), t.work(1);
SELECT * FROM t.run WHERE name = 'chained';

-- cancelled: what waits ends, what is held is asked to
SELECT ains.create_run('cancelled') AS run \gset
SELECT ains.enqueue('find', run_id => :run) AS held \gset
SELECT count(*) FROM ains.claim('a');
SELECT ains.enqueue('find', run_id => :run) AS parent \gset
SELECT ains.enqueue('find', run_id => :run, depends_on => ARRAY[:parent]) > 0, ains.enqueue('find', run_id => :run, run_at => t.now() + '1 h') > 0;
SELECT ains.cancel_run(:run, 'not wanted');
SELECT * FROM t.run WHERE run_id = :run;
SELECT status, cancel_requested_at IS NOT NULL AS asked, cancel_reason FROM ains.tasks WHERE run_id = :run ORDER BY task_id;
CALL t.refused(format('SELECT ains.enqueue(%L, run_id => %s)', 'find', :run));
CALL t.refused(format('SELECT ains.complete(%s, %s)', :held, t.token(:held)));
SELECT ains.fail(:held, t.token(:held), 'stopped');
SELECT * FROM t.run WHERE run_id = :run;
SELECT ains.retry_run(:run);
SELECT status FROM ains.tasks WHERE run_id = :run ORDER BY task_id;
SELECT t.work(9), t.work(9);
SELECT * FROM t.run WHERE run_id = :run;

-- no history is kept: what ended counts all the same
SELECT keep_history FROM ains.configure_capability('research', keep_history => false);
SELECT ains.create_run('forgotten', target => 20) AS run \gset
SELECT count(*) FROM ains.enqueue_batch('research', (SELECT jsonb_agg(n) FROM generate_series(1, 20) n), run_id => :run);
SELECT t.work(7);
SELECT count(*) FROM (SELECT array_agg(task_id) AS ids, array_agg(lease_token) AS tokens FROM ains.claim('a', 5)) c, ains.complete_batch(ids, tokens);
SELECT t.work(8);
SELECT * FROM t.run WHERE run_id = :run;
SELECT count(*) FROM ains.tasks WHERE run_id = :run;
SELECT keep_history FROM ains.configure_capability('research', keep_history => true);

-- expired ones; lost ones
SELECT ains.create_run('expired') AS run \gset
SELECT ains.enqueue('find', run_id => :run, expires_at => t.now() + '1 min') > 0, ains.enqueue('contact', run_id => :run, max_attempts => 1) > 0;
SELECT count(*) FROM ains.claim('a', capabilities => '{contact}');
SELECT t.advance('10 min');
SELECT tasks_expired, leases_expired + leases_of_dead_agents AS taken FROM ains.sweep();
SELECT * FROM t.run WHERE run_id = :run;
SELECT ains.heartbeat('a') IS NOT NULL AS beats;

-- rolled back, by halves: what did not happen does not count
SELECT ains.create_run('savepoints') AS run \gset
SELECT count(*) FROM ains.enqueue_batch('find', '[1, 2]', run_id => :run);
BEGIN;
SELECT t.work(1);
SAVEPOINT s;
SELECT t.work(1);
ROLLBACK TO s;
COMMIT;
SELECT * FROM t.run WHERE run_id = :run;
BEGIN;
SELECT t.work(1);
ROLLBACK;
SELECT status, live, completed FROM t.run WHERE run_id = :run;
BEGIN;
SAVEPOINT s;
SELECT t.work(1);
RELEASE s;
SELECT status AS not_before_commit FROM t.run WHERE run_id = :run;
COMMIT;
SELECT * FROM t.run WHERE run_id = :run;
-- all in one transaction
BEGIN;
SELECT ains.create_run('at once') AS run \gset
SELECT ains.enqueue('find', run_id => :run) > 0, ains.enqueue('find', run_id => :run) > 0;
SELECT t.work(2);
COMMIT;
SELECT * FROM t.run WHERE run_id = :run;
-- by a snapshot that is older than the end
SELECT ains.create_run('repeatable') AS run \gset
SELECT count(*) FROM ains.enqueue_batch('find', '[1, 2]', run_id => :run);
SELECT task_id, lease_token FROM ains.claim('a') \gset
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT ains.complete(:task_id, :lease_token);
COMMIT;
SELECT task_id, lease_token FROM ains.claim('a') \gset
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT ains.complete(:task_id, :lease_token);
COMMIT;
SELECT * FROM t.run WHERE run_id = :run;

-- two-phase commit is refused, also of what changes nothing in memory
SELECT ains.create_run('prepared') AS run \gset
SELECT ains.enqueue('find', run_id => :run) AS one \gset
SELECT count(*) FROM ains.claim('a');
BEGIN;
SELECT ains.enqueue('find', run_id => :run, depends_on => ARRAY[:one]) > 0 AS blocked;
PREPARE TRANSACTION 'run';
SELECT ains.complete(:one, t.token(:one));
SELECT * FROM t.run WHERE run_id = :run;

-- rows of what ended are added up, and runs past retention forgotten
SELECT ains.create_run('folded') AS run \gset
SELECT count(*) FROM ains.enqueue_batch('find', (SELECT jsonb_agg(n) FROM generate_series(1, 1100) n), run_id => :run);
INSERT INTO ains.run_tally (run_id, completed, failed, cancelled, expired) SELECT :run, 1, 0, 0, 0 FROM generate_series(1, 1100);
SELECT ains.cancel_run(:run);
SELECT FROM ains.sweep();
SELECT * FROM t.rows WHERE run_id = :run;
SELECT * FROM t.run WHERE run_id = :run;
SELECT t.advance('8 days');
SELECT FROM ains.sweep();
SELECT * FROM t.run;
SELECT * FROM t.rows;

-- arguments
CALL t.refused($$SELECT ains.create_run('')$$);
CALL t.refused($$SELECT ains.create_run('x', target => 0)$$);
CALL t.refused($$SELECT ains.create_run('x', criteria => NULL)$$);
CALL t.refused($$SELECT ains.create_run('x', on_failure => 'stop')$$);
CALL t.refused($$SELECT ains.enqueue('find', run_id => 999999)$$);
CALL t.refused($$SELECT ains.enqueue('find', stage => 'x')$$);
CALL t.refused($$SELECT ains.run_progress(999999)$$);
CALL t.refused($$SELECT ains.run_progress(NULL)$$);
CALL t.refused($$SELECT ains.cancel_run(999999)$$);
CALL t.refused($$SELECT ains.retry_run(999999)$$);
CALL t.refused($$SELECT ains.resolve_run(999999, 'accept')$$);

-- whose run it is
SET ROLE regress_producer;
SELECT ains.create_run('mine', metadata => '{"secret": 1}') AS run \gset
SELECT ains.enqueue('find', run_id => :run) > 0 AS joined;
SET ROLE regress_producer2;
SELECT count(*) FROM ains.runs;
CALL t.refused(format('SELECT ains.enqueue(%L, run_id => %s)', 'find', :run));
CALL t.refused(format('SELECT ains.run_progress(%s)', :run));
CALL t.refused(format('SELECT ains.cancel_run(%s)', :run));
CALL t.refused(format('SELECT ains.retry_run(%s)', :run));
CALL t.refused(format('SELECT ains.resolve_run(%s, %L)', :run, 'accept'));
SET ROLE regress_monitor;
SELECT name, status, criteria, metadata, (SELECT total FROM ains.run_progress(run_id)) AS total FROM ains.runs;
CALL t.refused(format('SELECT ains.cancel_run(%s)', :run));
SET ROLE regress_admin;
SELECT name, metadata FROM ains.runs;
SELECT ains.cancel_run(:run);
RESET ROLE;

-- an agent of another role ends it
SET ROLE regress_agent;
SELECT agent_id FROM ains.register_agent('theirs', capabilities => '{theirs}');
SET ROLE regress_producer;
SELECT ains.enqueue_chain('[{"capability": "theirs"}, {"capability": "theirs"}]', name => 'theirs') > 0 AS made;
SET ROLE regress_agent;
SELECT ains.complete(task_id, lease_token, '1') FROM ains.claim('theirs');
SELECT payload, ains.complete(task_id, lease_token) FROM ains.claim('theirs');
SELECT count(*) FROM ains.runs;
SET ROLE regress_producer;
SELECT name, status, completed FROM ains.runs WHERE name = 'theirs';
RESET ROLE;
