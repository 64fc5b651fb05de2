\set ECHO none
\getenv abs_srcdir PG_ABS_SRCDIR
\set begin :abs_srcdir '/sql/begin.psql'
\i :begin
--
-- get_task, the views, queue_stats: what is shown, and to whom.
--
SET ROLE regress_producer;
SELECT ains.enqueue('x', '{"secret": 1}', metadata => '{"m": 1}') AS p1, ains.enqueue('x', '{"secret": 2}') AS p2,
       ains.enqueue('y', '{"secret": 3}', run_at => t.now() + interval '1 h') AS p3 \gset
SET ROLE regress_producer2;
SELECT ains.enqueue('x', '{"secret": 4}') AS q1, ains.enqueue('x', '{"secret": 5}') AS q2 \gset
SET ROLE regress_agent;
SELECT agent_id FROM ains.register_agent('a', capabilities => '{x}');
SELECT count(*) FROM ains.claim('a', 3);
SELECT ains.checkpoint(:p1, t.token(:p1), '"cp"') IS NOT NULL AS saved;
SELECT ains.fail(:p2, t.token(:p2), 'broken', false);
SELECT ains.fail(:q1, t.token(:q1), 'later', true);
SET ROLE regress_agent2;
SELECT agent_id FROM ains.register_agent('b', capabilities => '{x}');
SELECT count(*) FROM ains.claim('b', 1);
SELECT ains.complete(:q2, t.token(:q2), '{"result": 5}', '{"cost": 5}');
RESET ROLE;

-- the columns, all of them, and in their order
SELECT string_agg(attname, ', ' ORDER BY attnum) AS task_info FROM pg_attribute WHERE attrelid = 'ains.task_info'::regclass AND attnum > 0;
SELECT string_agg(attname, ', ' ORDER BY attnum) AS tasks FROM pg_attribute WHERE attrelid = 'ains.tasks'::regclass AND attnum > 0;
SELECT array_agg((attname, atttypid) ORDER BY attnum) = (SELECT array_agg((attname, atttypid) ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'ains.tasks'::regclass AND attnum > 0) AS the_same FROM pg_attribute WHERE attrelid = 'ains.dead_letters'::regclass AND attnum > 0;
SELECT string_agg(attname, ', ' ORDER BY attnum) AS agents FROM pg_attribute WHERE attrelid = 'ains.agents'::regclass AND attnum > 0;
SELECT relname, reloptions FROM pg_class WHERE relnamespace = 'ains'::regnamespace AND relkind = 'v' AND relname NOT IN ('task_info', 'visible_task') ORDER BY relname::text COLLATE "C";

-- which rows, and which payloads
CREATE FUNCTION t.who_sees_what() RETURNS TABLE (role text, tasks text, payloads text, results text, dead_letters text, attempts text, agents text, get_task text)
    LANGUAGE plpgsql AS $$
DECLARE
    id bigint;
BEGIN
    FOREACH role IN ARRAY ARRAY['producer', 'producer2', 'agent', 'agent2', 'monitor', 'admin'] LOOP
        EXECUTE 'SET LOCAL ROLE regress_' || role;
        SELECT string_agg(k.task_id::text, ' ' ORDER BY k.task_id), string_agg(k.task_id::text, ' ' ORDER BY k.task_id) FILTER (WHERE k.payload IS NOT NULL),
               string_agg(k.task_id::text, ' ' ORDER BY k.task_id) FILTER (WHERE k.result IS NOT NULL OR k.usage IS NOT NULL OR k.checkpoint IS NOT NULL OR k.metadata IS NOT NULL)
          INTO tasks, payloads, results FROM ains.tasks k;
        dead_letters := (SELECT string_agg(d.task_id::text, ' ' ORDER BY d.task_id) FROM ains.dead_letters d);
        attempts := (SELECT string_agg(d.task_id::text, ' ' ORDER BY d.task_id) FROM ains.attempts d);
        agents := (SELECT string_agg(g.agent_id, ' ' ORDER BY g.agent_id) FROM ains.agents g);
        get_task := '';
        FOR id IN 1 .. 5 LOOP
            BEGIN
                get_task := get_task || ' ' || (SELECT g.task_id || CASE WHEN g.lease_token IS NOT NULL THEN ' (token)' ELSE '' END FROM ains.get_task(id) g);
            EXCEPTION WHEN insufficient_privilege THEN
                NULL;
            END;
        END LOOP;
        RETURN NEXT;
    END LOOP;
    RESET ROLE;
END
$$;
SELECT * FROM t.who_sees_what();
-- a member sees what the role sees
GRANT regress_producer TO regress_producer2;
SELECT * FROM t.who_sees_what() WHERE role = 'producer2';
REVOKE regress_producer FROM regress_producer2;
-- a condition of the caller's does not see hidden rows
SET ROLE regress_producer;
CREATE FUNCTION pg_temp.leak(jsonb) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS
    $$BEGIN RAISE NOTICE 'seen: %', $1; RETURN true; END$$;
SELECT task_id FROM ains.tasks WHERE pg_temp.leak(payload) AND task_id >= 4;
SET ROLE regress_monitor;
CREATE FUNCTION pg_temp.leak2(jsonb) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS
    $$BEGIN RAISE NOTICE 'seen: %', $1; RETURN true; END$$;
SELECT count(*) FROM ains.tasks WHERE pg_temp.leak2(payload) OR pg_temp.leak2(result);
RESET ROLE;

-- nobody may read the tables themselves, nor the unfiltered view
SELECT r AS role, string_agg(c.relname, ' ') AS may_read_or_write
  FROM unnest('{regress_producer,regress_agent,regress_monitor,regress_admin,regress_nobody}'::regrole[]) r, pg_class c
 WHERE c.relnamespace = 'ains'::regnamespace AND c.relkind IN ('r', 'p', 'S', 'v')
   AND c.relname NOT IN ('tasks', 'dead_letters', 'attempts', 'agents', 'active_agents', 'dead_agents', 'schedules', 'templates', 'events', 'webhooks', 'runs')
   AND NOT (c.relname = 'counters' AND r::text IN ('regress_monitor', 'regress_admin'))
   AND CASE WHEN c.relkind = 'S' THEN has_sequence_privilege(r, c.oid, 'USAGE, SELECT, UPDATE')
            ELSE has_table_privilege(r, c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE') OR has_any_column_privilege(r, c.oid, 'SELECT, INSERT, UPDATE') END
 GROUP BY 1;
SELECT r AS role, c.relname FROM unnest('{regress_producer,regress_agent,regress_monitor,regress_admin}'::regrole[]) r, pg_class c
 WHERE c.relnamespace = 'ains'::regnamespace AND c.relkind = 'v' AND has_table_privilege(r, c.oid, 'INSERT, UPDATE, DELETE');

-- the function x role table
\pset format unaligned
\pset footer off
SELECT p.proname AS function, has_function_privilege('regress_producer', p.oid, 'EXECUTE') AS producer, has_function_privilege('regress_agent', p.oid, 'EXECUTE') AS agent,
       has_function_privilege('regress_monitor', p.oid, 'EXECUTE') AS monitor, has_function_privilege('regress_admin', p.oid, 'EXECUTE') AS admin,
       has_function_privilege('regress_nobody', p.oid, 'EXECUTE') AS nobody
  FROM pg_proc p WHERE p.pronamespace = 'ains'::regnamespace ORDER BY p.proname::text COLLATE "C";
\pset footer on
\pset format aligned

-- which of our roles one is a member of is asked once per query, not for each row
CREATE FUNCTION t.plan(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
    RETURN QUERY EXECUTE 'EXPLAIN (VERBOSE, COSTS OFF) ' || query;
END
$$;
GRANT EXECUTE ON FUNCTION t.plan TO PUBLIC;
SET ROLE regress_monitor;
SELECT viewname, count(*) FILTER (WHERE line ~ 'to_regrole' AND line ~ 'owner|enqueued_by') AS for_each_row,
       count(*) FILTER (WHERE line ~ 'Output: COALESCE\(pg_has_role\(.*to_regrole') > 0 AS once
  FROM pg_views, t.plan('SELECT * FROM ains.' || viewname) line
 WHERE schemaname = 'ains' AND definition ~ 'to_regrole|visible_task' AND has_table_privilege(format('ains.%I', viewname), 'SELECT')
 GROUP BY 1 ORDER BY viewname::text COLLATE "C";
RESET ROLE;

-- get_task
CALL t.refused($$SELECT ains.get_task(NULL)$$);
CALL t.refused($$SELECT ains.get_task(99999)$$);
CALL t.refused($$SELECT ains.get_task(-1)$$);
SET ROLE regress_nobody;
CALL t.refused($$SELECT ains.get_task(1)$$);
RESET ROLE;
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
SELECT task_id, status FROM ains.get_task(:p1);
SELECT count(*) FROM ains.tasks;
SELECT count(*) FROM ains.queue_stats();
COMMIT;

-- queue_stats
SELECT capability, paused, blocked, scheduled, pending, active, oldest_pending IS NOT NULL AS oldest_pending, agents_available FROM ains.queue_stats();
SELECT ains.enqueue('z', run_at => t.now() - interval '1 h') IS NOT NULL AS enqueued FROM generate_series(1, 3);
SELECT capability, pending, oldest_pending BETWEEN '1 h' AND '62 min' AS oldest_pending, agents_available FROM ains.queue_stats() WHERE capability = 'z';
SELECT agent_status FROM ains.drain_agent('a');
SELECT capability, agents_available FROM ains.queue_stats();
SET ROLE regress_agent;
CALL t.refused($$SELECT * FROM ains.queue_stats()$$);
CALL t.refused($$SELECT * FROM ains.agent_stats()$$);
SET ROLE regress_monitor;
SELECT count(*) FROM ains.queue_stats();
SELECT * FROM ains.agent_stats();
RESET ROLE;
