\set ECHO none
\getenv abs_srcdir PG_ABS_SRCDIR
\set begin :abs_srcdir '/sql/begin.psql'
\i :begin
--
-- Dependencies: a task is BLOCKED until those it depends on are COMPLETED.
--
SELECT agent_id FROM ains.register_agent('a', capabilities => '{x,y}', heartbeat_timeout => '1 day');

-- claims the task and completes it
CREATE PROCEDURE t.work_on(task_id bigint) LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM ains.claim('a') c WHERE c.task_id = work_on.task_id) THEN
        RAISE EXCEPTION 'not claimed';
    END IF;
    PERFORM ains.complete(task_id, t.token(task_id));
END
$$;
CREATE PROCEDURE t.work_in_vain(task_id bigint) LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM ains.claim('a') c WHERE c.task_id = work_in_vain.task_id) THEN
        RAISE EXCEPTION 'not claimed';
    END IF;
    PERFORM ains.fail(task_id, t.token(task_id), 'broken', retryable => false);
END
$$;
CREATE VIEW t.edges AS SELECT * FROM ains.dependency ORDER BY 1, 2;
-- what must always hold: counts, edges and marks say the same, and shared memory too
CREATE FUNCTION t.consistent() RETURNS boolean LANGUAGE sql AS $$
SELECT ains_internal.check_ready_set()
   AND NOT EXISTS (SELECT FROM ains.task t WHERE coalesce(unmet, 0) <>
                   (SELECT count(*) FROM ains.dependency e WHERE e.task_id = t.task_id)
                   OR (unmet IS NOT NULL) <> (status = 'BLOCKED'))
   AND NOT EXISTS (SELECT FROM ains.dependency e
                    WHERE NOT EXISTS (SELECT FROM ains.task t WHERE t.task_id = e.depends_on AND t.awaited)
                       OR NOT EXISTS (SELECT FROM ains.task t WHERE t.task_id = e.task_id))
   AND NOT EXISTS (SELECT FROM ains.queue_stats() q WHERE (blocked, scheduled, pending, active) IS DISTINCT FROM
                   (SELECT (count(*) FILTER (WHERE status = 'BLOCKED'), count(*) FILTER (WHERE status = 'SCHEDULED'),
                            count(*) FILTER (WHERE status = 'PENDING'), count(*) FILTER (WHERE status = 'ACTIVE'))
                      FROM ains.task t WHERE t.capability = q.capability))
$$;

-- a chain: one after the other
SELECT ains.enqueue('x') AS a \gset
SELECT ains.enqueue('x', depends_on => ARRAY[:a]) AS b \gset
SELECT ains.enqueue('x', priority => 10, depends_on => ARRAY[:b]) AS c \gset
SELECT * FROM t.tasks;
SELECT reason, detail FROM ains.explain_task(:c);
SELECT * FROM ains.dependencies(:b);
SELECT * FROM ains.dependents(:b);
SELECT * FROM ains.dependents(:c);
SELECT blocked, pending FROM ains.queue_stats() WHERE capability = 'x';
SELECT t.consistent();
CALL t.work_on(:a);
SELECT * FROM t.tasks;
SELECT * FROM ains.dependencies(:b);
SELECT * FROM ains.dependents(:a);
CALL t.work_on(:b);
CALL t.work_on(:c);
SELECT status, count(*) FROM t.tasks GROUP BY 1;
SELECT * FROM ains.dependencies(:c);
SELECT * FROM t.edges;
SELECT t.consistent();

-- a diamond, one side of it completed in a batch and by the other way (a trigger)
SELECT ains.enqueue('x') AS top \gset
SELECT ains.enqueue('x', depends_on => ARRAY[:top]) AS left, ains.enqueue('y', depends_on => ARRAY[:top]) AS right \gset
SELECT ains.enqueue('x', depends_on => ARRAY[:right, :left, :right]) AS bottom \gset
SELECT depends_on = ARRAY[:left, :right]::bigint[] AS each_once FROM ains.task WHERE task_id = :bottom;
SELECT task_id = :top AS claimed FROM ains.claim('a', 5);
SELECT ains.complete_batch(ARRAY[:top], ARRAY[t.token(:top)]) = :top AS done;
SELECT task_id = ANY (ARRAY[:left, :right]) AS claimed FROM ains.claim('a', 5);
CREATE FUNCTION t.nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER other_way AFTER DELETE ON ains.task FOR EACH STATEMENT EXECUTE FUNCTION t.nothing();
SELECT ains.complete(:right, t.token(:right));
SELECT status FROM ains.get_task(:bottom);
SELECT t.consistent();
SELECT ains.complete(:left, t.token(:left));
DROP TRIGGER other_way ON ains.task;
SELECT status FROM ains.get_task(:bottom);
-- once more changes nothing
SELECT ains.complete(:left, t.token(:left));
SELECT t.consistent();
CALL t.work_on(:bottom);
SELECT count(*) FROM t.edges;

-- a hundred for one, and one for many
SELECT array_agg(id) AS hundred FROM ains.enqueue_batch('x', (SELECT jsonb_agg(i) FROM generate_series(1, 100) i)) id \gset
SELECT ains.enqueue('y', depends_on => :'hundred') AS last \gset
SELECT detail LIKE 'It waits for task % and 90 more.' AS named FROM ains.explain_task(:last);
SELECT count(*), min(status), max(status) FROM ains.dependencies(:last);
SELECT array_agg(task_id) AS ids, array_agg(lease_token) AS tokens FROM ains.claim('a', 1000) \gset
SELECT count(*) FROM ains.complete_batch((:'ids'::bigint[])[:99], (:'tokens'::bigint[])[:99]);
SELECT unmet FROM ains.task WHERE task_id = :last;
SELECT ains.complete((:'ids'::bigint[])[100], (:'tokens'::bigint[])[100]);
SELECT status FROM ains.get_task(:last);
SELECT count(*) FROM (SELECT ains.enqueue('x', jsonb_build_object('n', i), depends_on => ARRAY[:last]) FROM generate_series(1, 1100) i) n;
SELECT count(*) FROM ains.dependents(:last);
CALL t.work_on(:last);
SELECT status, count(*) FROM ains.task GROUP BY 1;
SELECT t.consistent();
SELECT count(DISTINCT task_id) FROM (SELECT (ains.claim('a', 1000)).task_id FROM generate_series(1, 2)) c;
SELECT count(*) FROM ains.complete_batch((SELECT array_agg(task_id ORDER BY task_id) FROM ains.task),
                                         (SELECT array_agg(lease_token ORDER BY task_id) FROM ains.task));
SELECT count(*) FROM ains.task;

-- none at all, and one that is done already
SELECT ains.enqueue('x', depends_on => '{}') AS none \gset
SELECT ains.enqueue('x', depends_on => ARRAY[:a]) AS done \gset
SELECT status, count(*) FROM ains.task GROUP BY 1;
SELECT * FROM ains.dependencies(:none);
SELECT status FROM ains.dependencies(:done);
SELECT ains.enqueue('x', depends_on => ARRAY[:a, :none, :b]) AS mixed \gset
SELECT unmet FROM ains.task WHERE task_id = :mixed;
CALL t.work_on(:none);
CALL t.work_on(:done);
CALL t.work_on(:mixed);

-- not due yet when it is unblocked, and due long ago: its rank stays, but it is not late
SELECT ains.enqueue('x') AS first \gset
SELECT ains.enqueue('x', run_at => t.now() + interval '1 h', depends_on => ARRAY[:first]) AS later,
       ains.enqueue('x', run_at => t.now() - interval '1 h', depends_on => ARRAY[:first]) AS early \gset
SELECT wake_at FROM ains.task WHERE task_id = :later;
SELECT ains.set_priority(:early, 6);
SELECT ains.enqueue('x') AS next \gset
CALL t.work_on(:first);
SELECT task_id = :early AS early, task_id = :later AS later, status, t.about(run_at, '0') AS now, wake_at IS NULL AS no_wake FROM ains.task ORDER BY task_id;
SELECT oldest_pending < '1 min' AS not_late FROM ains.queue_stats() WHERE capability = 'x';
CALL t.work_on(:early);
CALL t.work_on(:next);
SELECT t.advance('2 h');
SELECT tasks_due FROM ains.sweep();
CALL t.work_on(:later);

-- a failure fails what waits for it, and what waits for that
SELECT ains.enqueue('x') AS a, ains.enqueue('y') AS other \gset
SELECT ains.enqueue('x', depends_on => ARRAY[:a, :other]) AS b, ains.enqueue('x', depends_on => ARRAY[:other]) AS free \gset
SELECT ains.enqueue('x', depends_on => ARRAY[:b, :free]) AS c \gset
SELECT ains.enqueue('x', depends_on => ARRAY[:c], unique_key => 'k') AS d \gset
SELECT task_id = :a AS claimed FROM ains.claim('a', capabilities => '{x}');
-- not by an attempt that is not the last
SELECT ains.fail(:a, t.token(:a), 'try again', retryable => true, retry_after => '0');
SELECT count(*) FROM ains.task WHERE status = 'BLOCKED';
CALL t.work_in_vain(:a);
SELECT task_id, status, attempt, error, finished_at IS NOT NULL AS finished FROM ains.task_info WHERE task_id >= :a ORDER BY 1;
SELECT * FROM t.attempts WHERE task_id > :a;
SELECT depends_on = :other AS other, task_id = :free AS free FROM t.edges;
SELECT t.consistent();
SELECT value FROM ains_internal.counters() WHERE capability = 'x' AND counter = 'failed';
-- the key is free
SELECT ains.cancel(ains.enqueue('x', unique_key => 'k'));

-- to come back they wait for what comes back before them, in this order only
CALL t.refused(format('SELECT ains.retry(%s)', :b));
SELECT ains.retry(:a) = :a AS back;
CALL t.refused(format('SELECT ains.retry(%s)', :c));
SELECT ains.retry(:b) = :b AS back;
SELECT ains.retry(:c) = :c AS back;
SELECT task_id = :b AS b, depends_on = :a AS a, depends_on = :other AS other FROM t.edges WHERE task_id = :b;
SELECT status, count(*) FROM ains.task GROUP BY 1 ORDER BY 1;
SELECT t.consistent();
CALL t.work_on(:other);
CALL t.work_on(:free);
SELECT status, unmet FROM ains.task WHERE task_id IN (:b, :c) ORDER BY task_id;
CALL t.work_on(:a);
CALL t.work_on(:b);
CALL t.work_on(:c);
-- what it depended on is done: it can come back at once
SELECT ains.retry(:d) = :d AS back;
SELECT status FROM ains.get_task(:d);
CALL t.work_on(:d);

-- cancelled: one that waits, one that is blocked itself, one that is held
SELECT ains.enqueue('x') AS a \gset
SELECT ains.enqueue('x', depends_on => ARRAY[:a]) AS b \gset
SELECT ains.enqueue('x', depends_on => ARRAY[:b]) AS c \gset
SELECT ains.cancel(:b, 'not needed');
SELECT task_id - :a AS task, status, error, cancel_reason FROM ains.task_info WHERE task_id >= :a ORDER BY 1;
SELECT * FROM t.edges;
SELECT ains.enqueue('x', depends_on => ARRAY[:a]) AS d \gset
SELECT ains.cancel(:a);
SELECT status FROM ains.get_task(:d);
SELECT ains.enqueue('x') AS a \gset
SELECT ains.enqueue('x', depends_on => ARRAY[:a]) AS b \gset
SELECT task_id = :a AS claimed FROM ains.claim('a');
SELECT ains.cancel(:a);
SELECT status FROM ains.get_task(:b);
SELECT ains.release(:a, t.token(:a));
SELECT status, error LIKE '% ended as CANCELLED' AS names_it FROM ains.get_task(:b);
SELECT t.consistent();

-- expired, blocked or not; and by the sweeper
SELECT ains.enqueue('x', expires_at => t.now() + interval '1 min') AS a \gset
SELECT ains.enqueue('x', depends_on => ARRAY[:a]) AS b,
       ains.enqueue('x', depends_on => ARRAY[:a], expires_at => t.now() + interval '30 s') AS c \gset
SELECT ains.enqueue('x', depends_on => ARRAY[:c]) AS d \gset
SELECT t.advance('31 s');
SELECT tasks_expired FROM ains.sweep();
SELECT task_id - :a AS task, status, error LIKE '% ended as EXPIRED' AS names_it FROM ains.task_info WHERE task_id >= :a ORDER BY 1;
SELECT t.advance('31 s');
SELECT tasks_expired FROM ains.sweep();
SELECT task_id - :a AS task, status, error LIKE '% ended as EXPIRED' AS names_it FROM ains.task_info WHERE task_id >= :a ORDER BY 1;
SELECT ains.enqueue('x', max_attempts => 1, timeout => '1 min') AS a \gset
SELECT ains.enqueue('x', depends_on => ARRAY[:a]) AS b \gset
SELECT task_id = :a AS claimed FROM ains.claim('a');
SELECT t.advance('2 min');
SELECT attempts_timed_out FROM ains.sweep();
SELECT status, error LIKE '% ended as FAILED' AS names_it FROM ains.get_task(:b);
-- an agent that stops loses its task by no fault of what waits
SELECT ains.enqueue('x', max_attempts => 1) AS a \gset
SELECT ains.enqueue('x', depends_on => ARRAY[:a]) AS b \gset
SELECT task_id = :a AS claimed FROM ains.claim('a');
SELECT ains.release(:a, t.token(:a));
SELECT status FROM ains.get_task(:b);
SELECT task_id = :a AS claimed FROM ains.claim('a');
SELECT incarnation > 0 AS again FROM ains.register_agent('a', capabilities => '{x,y}', heartbeat_timeout => '1 day');
SELECT status, error LIKE '% ended as FAILED' AS names_it FROM ains.get_task(:b);
SELECT count(*) FROM ains.task;
SELECT count(*) FROM t.edges;

-- in one transaction, and undone
BEGIN;
SELECT ains.enqueue('x') AS a \gset
SELECT ains.enqueue('x', depends_on => ARRAY[:a]) AS b \gset
CALL t.work_on(:a);
CALL t.work_on(:b);
COMMIT;
SELECT status FROM ains.get_task(:b);
SELECT ains.enqueue('x') AS a \gset
BEGIN;
SELECT ains.enqueue('x', depends_on => ARRAY[:a]) AS b \gset
ROLLBACK;
SELECT awaited, status FROM ains.task;
CALL t.work_on(:a);
SELECT ains.enqueue('x') AS a \gset
SELECT ains.enqueue('x', depends_on => ARRAY[:a]) AS b \gset
SELECT ains.enqueue('x', depends_on => ARRAY[:b]) AS c \gset
BEGIN;
CALL t.work_on(:a);
SAVEPOINT s;
CALL t.work_in_vain(:b);
SELECT status FROM ains.get_task(:c);
ROLLBACK TO s;
SELECT status FROM ains.get_task(:c);
CALL t.work_on(:b);
ROLLBACK;
SELECT task_id - :a AS task, status, unmet FROM ains.task ORDER BY 1;
SELECT t.consistent();
BEGIN;
SAVEPOINT s;
SELECT ains.enqueue('x', depends_on => ARRAY[:c]) AS d \gset
RELEASE s;
COMMIT;
SELECT ains.cancel(:b);
SELECT task_id - :a AS task, status FROM t.tasks WHERE task_id >= :a;
CALL t.work_on(:a);

-- the same key: what is there already keeps what it waits for
SELECT ains.enqueue('x') AS a, ains.enqueue('x') AS b \gset
SELECT ains.enqueue('y', depends_on => ARRAY[:a], unique_key => 'k') AS c \gset
SELECT ains.enqueue('y', depends_on => ARRAY[:b], unique_key => 'k') = :c AS the_same;
SELECT ains.enqueue('y', '{"new": true}', depends_on => ARRAY[:b], unique_key => 'k', on_conflict => 'replace') = :c AS the_same;
SELECT depends_on = :a AS a FROM t.edges;
SELECT payload, status FROM ains.get_task(:c);
-- from a template
SELECT ains.save_template('t', 'y');
SELECT ains.enqueue_from_template('t', format('{"depends_on": [%s, %s]}', :a, :b)::jsonb) AS d \gset
SELECT unmet FROM ains.task WHERE task_id = :d;
SELECT ains.cancel(:a), ains.cancel(:b);
SELECT count(*) FROM ains.task;

-- of a capability that keeps no history nothing is known afterwards
SELECT keep_history FROM ains.configure_capability('y', keep_history => false);
SELECT ains.enqueue('y') AS a \gset
SELECT ains.enqueue('x', depends_on => ARRAY[:a]) AS b \gset
CALL t.work_on(:a);
SELECT depends_on = :a AS a, status FROM ains.dependencies(:b);
CALL t.refused(format('SELECT ains.enqueue(''x'', depends_on => ARRAY[%s])', :a));
SELECT ains.cancel(:b);
SELECT ains.retry(:b) = :b AS back;
CALL t.work_on(:b);
SELECT ains.enqueue('y') AS a \gset
SELECT ains.cancel(:a);
CALL t.refused(format('SELECT ains.enqueue(''x'', depends_on => ARRAY[%s])', :a));
-- but one that somebody waited for is kept unless it completed: what failed with it must not come back without it
SELECT ains.enqueue('y') AS held \gset
SELECT ains.enqueue('y', depends_on => ARRAY[:held]) AS c \gset
SELECT task_id = :held AS claimed FROM ains.claim('a');
SELECT ains.cancel(:held), ains.fail(:held, t.token(:held), 'stopped');
SELECT ains.enqueue('y') AS a \gset
SELECT ains.enqueue('x', depends_on => ARRAY[:a]) AS b \gset
SELECT ains.cancel(:a);
SELECT task_id - :held AS task, status FROM t.tasks WHERE task_id >= :held;
CALL t.refused(format('SELECT ains.enqueue(''x'', depends_on => ARRAY[%s])', :a));
CALL t.refused(format('SELECT ains.retry(%s)', :b));
CALL t.refused(format('SELECT ains.retry(%s)', :c));
SELECT ains.redrive('y') AS redriven;
SELECT ains.retry(:a) = :a AS back, ains.retry(:b) = :b AS back;
CALL t.work_on(:a);
CALL t.work_on(:b);

-- refused
SELECT ains.enqueue('x') AS a \gset
SELECT ains.cancel(:a);
CALL t.refused(format('SELECT ains.enqueue(''x'', depends_on => ARRAY[%s])', :a));
CALL t.refused($$SELECT ains.enqueue('x', depends_on => '{999999}')$$);
CALL t.refused($$SELECT ains.enqueue('x', depends_on => '{0}')$$);
CALL t.refused($$SELECT ains.enqueue('x', depends_on => '{1,NULL}')$$);
CALL t.refused($$SELECT ains.enqueue('x', depends_on => '{{1,2}}')$$);
CALL t.refused($$SELECT ains.enqueue('x', depends_on => (SELECT array_agg(i) FROM generate_series(1, 1001) i))$$);
CALL t.refused($$SELECT * FROM ains.dependencies(NULL)$$);
CALL t.refused($$SELECT * FROM ains.dependencies(999999)$$);
CALL t.refused($$SELECT * FROM ains.dependents(999999)$$);
SELECT array_agg(id) AS thousand FROM ains.enqueue_batch('x', (SELECT jsonb_agg(i) FROM generate_series(1, 1000) i)) id \gset
SELECT ains.enqueue('x', depends_on => :'thousand') AS id \gset
SELECT unmet FROM ains.task WHERE task_id = :id;
SELECT ains.cancel((:'thousand'::bigint[])[1000]);
SELECT status FROM ains.get_task(:id);

-- only on tasks that one may see
SET ROLE regress_producer;
SELECT ains.enqueue('x') AS mine \gset
SELECT ains.enqueue('x', depends_on => ARRAY[:mine]) AS b \gset
CALL t.refused(format('SELECT ains.enqueue(''x'', depends_on => ARRAY[%s])', (:'thousand'::bigint[])[1]));
CALL t.refused(format('SELECT ains.enqueue(''x'', depends_on => ARRAY[%s])', :id));
SET ROLE regress_producer2;
CALL t.refused(format('SELECT ains.enqueue(''x'', depends_on => ARRAY[%s])', :mine));
CALL t.refused(format('SELECT ains.dependencies(%s)', :mine));
CALL t.refused(format('SELECT ains.dependents(%s)', :mine));
SET ROLE regress_admin;
SELECT ains.enqueue('x', depends_on => ARRAY[:mine]) IS NOT NULL AS admin_may;
SELECT count(*) FROM ains.dependents(:mine);
SET ROLE regress_monitor;
SELECT count(*) FROM ains.dependents(:mine);
CALL t.refused(format('SELECT ains.enqueue(''x'', depends_on => ARRAY[%s])', :mine));
RESET ROLE;

SELECT t.consistent();
SELECT ains_internal.ready_drift();
