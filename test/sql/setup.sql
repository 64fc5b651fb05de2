\set ECHO none
\getenv abs_srcdir PG_ABS_SRCDIR
\set begin :abs_srcdir '/sql/begin.psql'
\i :begin
--
-- The extension: what CREATE EXTENSION makes, where, and for whom.
--
SELECT extname, extversion, n.nspname, extrelocatable
  FROM pg_extension e JOIN pg_namespace n ON n.oid = extnamespace WHERE extname = 'ains';

-- everything there is: names, arguments and results are promised
\pset format unaligned
\pset tuples_only on
SELECT format(E'%s(%s)\n    %s', p.proname, replace(pg_get_function_arguments(p.oid), ', ', E',\n        '),
              replace(pg_get_function_result(p.oid), ', ', E',\n        '))
  FROM pg_proc p WHERE pronamespace = 'ains'::regnamespace ORDER BY p.proname::text COLLATE "C";
SELECT c.relname AS relation, c.relkind
  FROM pg_class c
 WHERE c.relnamespace = 'ains'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'S')
 ORDER BY c.relname::text COLLATE "C";
\pset tuples_only off
\pset format aligned

-- and nothing that PUBLIC may use
SELECT count(*) AS for_public FROM pg_proc p
 WHERE p.pronamespace IN ('ains'::regnamespace, 'ains_internal'::regnamespace)
   AND has_function_privilege('regress_nobody', p.oid, 'EXECUTE');
SELECT p.oid::regprocedure AS not_invoker_or_not_unsafe FROM pg_proc p
 WHERE p.pronamespace IN ('ains'::regnamespace, 'ains_internal'::regnamespace)
   AND (p.prosecdef OR p.proparallel <> 'u' OR p.proconfig IS NOT NULL);

-- every name has a comment
SELECT p.oid::regprocedure AS without_comment FROM pg_proc p
 WHERE p.pronamespace IN ('ains'::regnamespace, 'ains_internal'::regnamespace)
   AND obj_description(p.oid, 'pg_proc') IS NULL;
SELECT c.oid::regclass AS without_comment FROM pg_class c
 WHERE c.relnamespace = 'ains'::regnamespace AND c.relkind IN ('r', 'p', 'v')
   AND NOT c.relispartition AND obj_description(c.oid, 'pg_class') IS NULL;

-- what pg_dump keeps: every table and every sequence, but how far events are,
-- which follows from them
SELECT c.oid::regclass AS not_dumped FROM pg_class c, pg_extension e
 WHERE c.relnamespace = 'ains'::regnamespace AND c.relkind IN ('r', 'p', 'S') AND NOT c.relispartition
   AND e.extname = 'ains' AND NOT c.oid = ANY (e.extconfig);

-- the states
SELECT enum_range(NULL::ains.task_status) AS task, enum_range(NULL::ains.agent_status) AS agent;

-- the schema cannot be another one
CALL t.refused('ALTER EXTENSION ains SET SCHEMA public');

-- another script than the library's: every function says so
\c -
\set SHOW_CONTEXT never
BEGIN;
UPDATE pg_extension SET extversion = '0.0.1' WHERE extname = 'ains';
SAVEPOINT s;
SELECT ains.enqueue('x');
\echo :LAST_ERROR_SQLSTATE
ROLLBACK TO s;
SELECT * FROM ains.claim('x');
\echo :LAST_ERROR_SQLSTATE
ROLLBACK TO s;
SELECT * FROM ains.queue_stats();
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
SELECT ains.enqueue('x') IS NOT NULL AS enqueued;

-- without the extension the library does nothing
DROP VIEW t.tasks, t.attempts;
DROP EXTENSION ains;
CREATE FUNCTION t.sweep() RETURNS record LANGUAGE c AS '$libdir/ains', 'ains_sweep';
SELECT t.sweep();
\echo :LAST_ERROR_SQLSTATE
CREATE FUNCTION t.release_dead() RETURNS bigint LANGUAGE c AS '$libdir/ains', 'ains_release_dead_agent_leases';
SELECT t.release_dead();
\echo :LAST_ERROR_SQLSTATE

-- not in another schema, not in a version there is not
CREATE EXTENSION ains SCHEMA public;
\echo :LAST_ERROR_SQLSTATE
CREATE EXTENSION ains VERSION '9.9';
\echo :LAST_ERROR_SQLSTATE

-- created and dropped in one transaction, and not at all
BEGIN;
CREATE EXTENSION ains;
SELECT ains.enqueue('x');
DROP EXTENSION ains;
COMMIT;
BEGIN;
CREATE EXTENSION ains;
SELECT (ains.register_agent('a', capabilities => '{x}')).agent_status;
SELECT ains.enqueue('x');
SELECT task_id, attempt FROM ains.claim('a');
ROLLBACK;
SELECT to_regclass('ains.task');
CREATE EXTENSION ains;
CREATE EXTENSION ains;
\echo :LAST_ERROR_SQLSTATE

-- new tables, and nothing remembered of the old ones
SELECT ains.enqueue('x');
SELECT count(*) FROM ains_internal.roster();
SELECT task_id FROM ains.claim('a');
\echo :LAST_ERROR_SQLSTATE
SELECT (ains.register_agent('a', capabilities => '{x}')).agent_status;
SELECT task_id, attempt FROM ains.claim('a');
DROP EXTENSION ains;
