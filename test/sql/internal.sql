\set ECHO none
\getenv abs_srcdir PG_ABS_SRCDIR
\set begin :abs_srcdir '/sql/begin.psql'
\i :begin
--
-- ains_internal: the clock of the tests, and what the views call.
--
SELECT p.oid::regprocedure AS function,
       has_function_privilege('regress_agent', p.oid, 'EXECUTE') AS agent, has_function_privilege('regress_admin', p.oid, 'EXECUTE') AS admin,
       has_function_privilege('regress_nobody', p.oid, 'EXECUTE') AS nobody
  FROM pg_proc p WHERE pronamespace = 'ains_internal'::regnamespace ORDER BY p.proname::text COLLATE "C";
SELECT r AS role, has_schema_privilege(r, 'ains_internal', 'USAGE') AS usage, has_schema_privilege(r, 'ains_internal', 'CREATE') AS internal_create,
       has_schema_privilege(r, 'ains', 'CREATE') AS ains_create
  FROM unnest('{regress_producer,regress_agent,regress_monitor,regress_admin,regress_nobody}'::regrole[]) r;

-- the clock goes forward by as much as it is told
SELECT t.now() AS before \gset
SELECT ains_internal.advance_clock('1 day 2 hours');
SELECT t.now() - :'before'::timestamptz BETWEEN '26 h' AND '26 h 1 min' AS moved;
SELECT t.now() AS before \gset
SELECT ains_internal.stall_clock('1 min');
SELECT t.now() - :'before'::timestamptz BETWEEN '1 min' AND '2 min' AS moved;
SELECT t.now() AS before \gset
SELECT ains_internal.step_wall_clock('1 min');
SELECT t.now() - :'before'::timestamptz BETWEEN '1 min' AND '2 min' AS moved;
-- it is nobody's transaction's: no rollback turns it back
SELECT t.now() AS before \gset
BEGIN;
SELECT ains_internal.advance_clock('1 h');
ROLLBACK;
SELECT t.now() - :'before'::timestamptz > '59 min' AS still_moved;
CALL t.refused($$SELECT ains_internal.advance_clock(NULL)$$);
CALL t.refused($$SELECT ains_internal.stall_clock(NULL)$$);
CALL t.refused($$SELECT ains_internal.step_wall_clock(NULL)$$);

-- a wall clock that is set back: nobody is dead, no lease is lost, and work goes on
SELECT agent_id FROM ains.register_agent('a', capabilities => '{x}');
SELECT ains.enqueue('x') AS x1, ains.enqueue('x') AS x2 \gset
SELECT task_id = :x1 AS claimed FROM ains.claim('a');
SELECT ains_internal.step_wall_clock('-1 hour');
SELECT * FROM ains.sweep();
SELECT ains.complete(:x1, t.token(:x1));
SELECT status, finished_at < claimed_at AS so_it_seems FROM ains.get_task(:x1);
SELECT task_id = :x2 AS claimed, t.about(lease_expires_at, '5 min') AS lease FROM ains.claim('a');
SELECT agent_status, seconds_since_heartbeat < 60 AS seen FROM ains.agents;
SELECT ains_internal.step_wall_clock('1 hour');
SELECT acknowledged FROM ains.heartbeat('a');
SELECT * FROM ains.sweep();
SELECT status FROM ains.get_task(:x2);

-- roster: agents of the caller, or all for ains_monitor
SET ROLE regress_agent;
SELECT agent_id FROM ains.register_agent('mine');
RESET ROLE;
GRANT USAGE ON SCHEMA ains_internal TO regress_agent, regress_agent2, regress_monitor;
SET ROLE regress_agent;
SELECT agent_id FROM ains_internal.roster() ORDER BY 1;
SELECT ains_internal.clock_now() IS NOT NULL AS clock;
CALL t.refused($$SELECT ains_internal.advance_clock('1 s')$$);
CALL t.refused($$SELECT ains_internal.stall_clock('1 s')$$);
CALL t.refused($$SELECT ains_internal.step_wall_clock('1 s')$$);
CALL t.refused($$SELECT ains_internal.extension_created()$$);
SET ROLE regress_agent2;
SELECT agent_id FROM ains_internal.roster() ORDER BY 1;
SET ROLE regress_monitor;
SELECT agent_id FROM ains_internal.roster() ORDER BY 1;
RESET ROLE;
REVOKE USAGE ON SCHEMA ains_internal FROM regress_agent, regress_agent2, regress_monitor;

-- harmless when called again
SELECT ains_internal.extension_created();
