-- ains: the coordinator for fleets of agents and workers, inside PostgreSQL.
--
-- This script is joined from the parts in sql/, in this order: header, types,
-- tables, internal, fn_agent, fn_task, fn_run, fn_schedule, fn_admin, views, grants,
-- startup.
-- Words: an *agent* is a registered worker process; a *capability* a named
-- kind of work; a *task* one unit of it; a *lease* the exclusive hold a claim
-- gives, until a time; a *lease token* the fencing number of that hold.

-- complain if script is sourced in psql, rather than via CREATE EXTENSION
\echo Use "CREATE EXTENSION ains" to load this file. \quit

SET LOCAL search_path = pg_catalog, pg_temp;

-- CREATE EXTENSION uses a schema "ains" that is there already. Somebody else's
-- could hold tables that wait to be taken for ours.
DO $$
BEGIN
    IF (SELECT nspowner::regrole::text <> quote_ident(current_user)
          FROM pg_namespace WHERE nspname = 'ains') THEN
        RAISE EXCEPTION 'schema "ains" belongs to another role'
            USING ERRCODE = '42501', HINT = 'Drop it, or make it yours, and try again.';
    END IF;
END
$$;

-- The extension's own schema is made by CREATE EXTENSION; what only the
-- library and the tests call lives apart.
CREATE SCHEMA ains_internal;
COMMENT ON SCHEMA ains_internal IS 'ains: what only the library, its views and its tests call';
COMMENT ON SCHEMA ains IS 'ains: agents, capabilities, tasks, leases';
