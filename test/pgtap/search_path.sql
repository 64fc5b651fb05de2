-- search_path.sql: somebody planted operators, functions, types and tables that
-- look like ours and PostgreSQL's, and put them first into search_path. None of
-- them ever runs: not when the plans of ains are made, not when saved plans are
-- analysed again. In many transactions, since that is how calls come.
\set ON_ERROR_STOP 1
\set QUIET 1
SELECT no_plan();

SET client_min_messages = warning;
DROP SCHEMA IF EXISTS evil CASCADE;
DROP ROLE IF EXISTS tap_producer, tap_agent, tap_monitor, tap_admin;
CREATE ROLE tap_producer IN ROLE ains_producer;
CREATE ROLE tap_agent IN ROLE ains_agent;
CREATE ROLE tap_monitor IN ROLE ains_monitor;
CREATE ROLE tap_admin IN ROLE ains_admin;

-- ---------------------------------------------------------------------------
-- What was planted. Each of it raises when it runs.
-- ---------------------------------------------------------------------------

CREATE SCHEMA evil;
GRANT USAGE ON SCHEMA evil TO PUBLIC;
CREATE TYPE evil.task_status AS ENUM ('PLANTED');
CREATE TYPE evil.agent_status AS ENUM ('PLANTED');
CREATE TABLE evil.task (LIKE ains.task);
CREATE TABLE evil.task_history (LIKE ains.task_history);
CREATE TABLE evil.attempt (LIKE ains.attempt);
CREATE TABLE evil.agent (LIKE ains.agent);
CREATE TABLE evil.agent_capability (LIKE ains.agent_capability);
CREATE TABLE evil.capability (LIKE ains.capability);
CREATE TABLE evil.lane (LIKE ains.lane);
CREATE TABLE evil.pg_inherits (LIKE pg_inherits);
CREATE TABLE evil.pg_class (relname text);
CREATE SEQUENCE evil.token_ceiling;
CREATE SEQUENCE evil.task_task_id_seq;
CREATE TABLE pg_temp.task (LIKE ains.task);
CREATE TABLE pg_temp.pg_class (relname text);

-- every operator and function of these types that a query of ours could mean
CREATE TEMP TABLE planted (what text);
DO $$
DECLARE
    t CONSTANT oid[] := ARRAY['int2'::regtype, 'int4'::regtype, 'int8'::regtype, 'text'::regtype,
        'timestamptz'::regtype, 'interval'::regtype, 'date'::regtype, 'bool'::regtype, 'oid'::regtype,
        'float4'::regtype, 'float8'::regtype, 'numeric'::regtype, 'jsonb'::regtype, 'name'::regtype, '"char"'::regtype];
    raises CONSTANT text := 'BEGIN RAISE EXCEPTION ''planted %s ran'' USING ERRCODE = ''EVIL0''; END';
    o record;
    e regtype;
    n int := 0;
BEGIN
    FOR o IN
        SELECT oprname, oprleft::regtype AS l, oprright::regtype AS r, oprresult::regtype AS result
          FROM pg_operator
         WHERE oprnamespace = 'pg_catalog'::regnamespace AND oprkind = 'b'
           AND oprleft = ANY (t) AND oprright = ANY (t) AND oprresult = ANY (t)
           AND oprname IN ('=', '<>', '<', '<=', '>', '>=', '+', '-', '*', '/', '||', '->', '->>', '~', '#>>', '@>', '?')
        UNION ALL       -- for the enums and arrays only generic ones exist: exact ones would win
        SELECT op, type, type, 'boolean'::regtype
          FROM unnest(ARRAY['=', '<>', '<', '<=', '>', '>=']) AS op,
               unnest(ARRAY['ains.task_status', 'ains.agent_status', 'text[]', 'bigint[]', 'integer[]', 'regrole']::regtype[]) AS type
        UNION ALL
        SELECT op, type, 'text', 'boolean'
          FROM unnest(ARRAY['=', '<>']) AS op, unnest(ARRAY['ains.task_status', 'ains.agent_status', 'int8', 'oid']::regtype[]) AS type
        UNION ALL
        SELECT '||', 'text[]', 'text', 'text[]'
    LOOP
        n := n + 1;
        EXECUTE format('CREATE FUNCTION evil.op_%s(%s, %s) RETURNS %s LANGUAGE plpgsql AS %L', n, o.l, o.r, o.result,
                       format(raises, 'operator ' || o.oprname));
        EXECUTE format('CREATE OPERATOR evil.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = evil.op_%s)', o.oprname, o.l, o.r, n);
    END LOOP;
    INSERT INTO planted SELECT format('%s operators', n);
    n := 0;
    FOR o IN
        SELECT p.oid, p.proname, pg_get_function_identity_arguments(p.oid) AS args, p.proretset, p.prorettype::regtype AS result
          FROM pg_proc p
         WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.prokind = 'f'
           AND p.prorettype <> ALL (ARRAY['internal', 'trigger', 'cstring']::regtype[])
           AND NOT ('internal'::regtype = ANY (p.proargtypes)) AND NOT ('cstring'::regtype = ANY (p.proargtypes))
           AND NOT ('"any"'::regtype = ANY (p.proargtypes))
           AND p.proname IN ('now', 'clock_timestamp', 'lower', 'position', 'strpos', 'right', 'left', 'length', 'char_length',
               'nextval', 'setval', 'currval', 'to_regclass', 'to_regrole', 'to_date', 'to_char', 'pg_has_role',
               'hashint8extended', 'unnest', 'date_part', 'extract', 'jsonb_build_object', 'array_append', 'array_length',
               'cardinality', 'quote_literal', 'timezone', 'float8', 'int4', 'int8', 'text', 'name', 'numeric', 'bool',
               'abs', 'round', 'pg_notify', 'current_setting', 'set_config', 'generate_series', 'make_interval', 'pg_sleep')
    LOOP
        n := n + 1;
        EXECUTE format('CREATE FUNCTION evil.%I(%s) RETURNS %s %s LANGUAGE plpgsql AS %L', o.proname, o.args,
                       CASE WHEN o.proretset THEN 'SETOF' END, o.result, format(raises, 'function ' || o.proname));
    END LOOP;
    INSERT INTO planted SELECT format('%s functions', n);
    -- aggregates and window functions
    CREATE FUNCTION evil.step(bigint, anyelement) RETURNS bigint LANGUAGE plpgsql AS
        'BEGIN RAISE EXCEPTION ''planted aggregate ran'' USING ERRCODE = ''EVIL0''; END';
    CREATE AGGREGATE evil.count(anyelement) (SFUNC = evil.step, STYPE = bigint, INITCOND = '0');
    CREATE FUNCTION evil.step_same(anyelement, anyelement) RETURNS anyelement LANGUAGE plpgsql AS
        'BEGIN RAISE EXCEPTION ''planted aggregate ran'' USING ERRCODE = ''EVIL0''; END';
    FOREACH e IN ARRAY ARRAY['bigint', 'timestamptz', 'date', 'integer', 'boolean']::regtype[] LOOP
        EXECUTE format('CREATE AGGREGATE evil.min(%s) (SFUNC = evil.step_same, STYPE = %1$s)', e);
        EXECUTE format('CREATE AGGREGATE evil.max(%s) (SFUNC = evil.step_same, STYPE = %1$s)', e);
        EXECUTE format('CREATE AGGREGATE evil.bit_xor(%s) (SFUNC = evil.step_same, STYPE = %1$s)', e);
        EXECUTE format('CREATE AGGREGATE evil.bool_or(%s) (SFUNC = evil.step_same, STYPE = %1$s)', e);
    END LOOP;
    -- types that are looked up by name
    CREATE FUNCTION evil.raise() RETURNS boolean LANGUAGE plpgsql AS
        'BEGIN RAISE EXCEPTION ''planted type ran'' USING ERRCODE = ''EVIL0''; END';
    FOREACH e IN ARRAY ARRAY['text', 'jsonb', 'date', 'oid', 'regclass', 'regrole', 'name']::regtype[] LOOP
        EXECUTE format('CREATE DOMAIN evil.%s AS pg_catalog.%1$s CHECK (evil.raise())', e);
    END LOOP;
END $$;
SELECT cmp_ok((SELECT sum(split_part(what, ' ', 1)::int) FROM planted), '>', 250::bigint, 'plenty was planted');

-- Functions of our names, in case one of ours called another without a schema.
DO $$
DECLARE
    f record;
BEGIN
    FOR f IN SELECT proname, oidvectortypes(proargtypes) AS args FROM pg_proc
              WHERE pronamespace IN ('ains'::regnamespace, 'ains_internal'::regnamespace) AND prokind = 'f' LOOP
        EXECUTE format('CREATE FUNCTION evil.%I(%s) RETURNS void LANGUAGE plpgsql AS %L', f.proname, f.args,
            'BEGIN RAISE EXCEPTION ''planted function ran'' USING ERRCODE = ''EVIL0''; END');
    END LOOP;
END $$;

-- ---------------------------------------------------------------------------
-- A life in calls. {x} is what an earlier call said and was kept as x.
-- ---------------------------------------------------------------------------

CREATE TEMP TABLE life (n serial, role name, call text, keep text, expect text);
INSERT INTO life (role, call, keep, expect) VALUES
    ('tap_admin',    $$SELECT capability FROM ains.configure_capability('tap', '1 min', 3, 'linear', '1 ms', '2 ms', 0.5, '1 min', '1 h', on_lost => 'retry', keep_history => true)$$, NULL, 'tap'),
    ('tap_admin',    $$SELECT ains.pause('tap')$$, NULL, ''),
    ('tap_admin',    $$SELECT ains.resume('tap')$$, NULL, ''),
    ('tap_agent',    $$SELECT agent_id FROM ains.register_agent('tap', 'kind', '{tap, tap new}', 'name', 'http://x', 'key', '{a, b}', '{"m": 1}', '1 min', 5)$$, NULL, 'tap'),
    ('tap_agent',    $$SELECT agent_id FROM ains.register_agent('tap', 'kind', '{tap}')$$, NULL, 'tap'),
    ('tap_agent',    $$SELECT ains.publish_capability('tap', 'tap', 'what it is', price => 0.5, availability_percent => 99.9)$$, NULL, ''),
    ('tap_agent',    $$SELECT ains.publish_capability('tap', 'tap new', input_schema => '{"a": 1}', latency_p99_ms => 5)$$, NULL, ''),
    ('tap_producer', $$SELECT price FROM ains.search_agents('tap', '{}', 0.1, 'price', skip => 0)$$, NULL, '0.5'),
    ('tap_producer', $$SELECT latency_p99_ms FROM ains.search_agents(sort_by => 'latency')$$, NULL, '5'),
    ('tap_admin',    $$SELECT ains.withdraw_capability('tap', 'tap new')$$, NULL, ''),
    ('tap_agent',    $$SELECT ains.attach_agent('tap')$$, NULL, ''),
    ('tap_agent',    $$SELECT ains.detach_agent('tap')$$, NULL, ''),
    ('tap_producer', $$SELECT ains.enqueue('tap', '{"n": 1}', 9, metadata => '1', unique_key => 'k', timeout => '1 h', expires_at => 'tomorrow')$$, 'a', NULL),
    ('tap_producer', $$SELECT ains.enqueue('tap', '{"n": 1}', 9, unique_key => 'k')$$, 'again', NULL),
    ('tap_producer', $$SELECT ains.enqueue('tap', '{"n": 2}', 9, unique_key => 'k', on_conflict => 'replace')$$, 'replaced', NULL),
    ('tap_producer', $$SELECT ains.enqueue('tap', unique_key => 'k', on_conflict => 'refuse')$$, NULL, '!23505'),
    ('tap_producer', $$SELECT ains.enqueue('tap', priority => 1, run_at => 'tomorrow')$$, 'later', NULL),
    ('tap_producer', $$SELECT ains.enqueue_batch('tap', '[1, 2, 3]', priorities => '{3, 2, 1}', unique_keys => '{k, k2, NULL}')$$, NULL, NULL),
    ('tap_producer', $$SELECT ains.set_priority({a}, 10)$$, NULL, ''),
    ('tap_producer', $$SELECT agent_id FROM ains.preview_route('tap', 'fastest_response', 0.1)$$, NULL, 'tap'),
    ('tap_producer', $$SELECT ains.enqueue('tap', priority => 1, run_at => 'tomorrow', min_trust => 0.3, agent_id => 'tap')$$, 'own', NULL),
    ('tap_producer', $$SELECT ains.assign({own}, 'trust_weighted')$$, NULL, 'tap'),
    ('tap_producer', $$SELECT ains.assign({a}, 'least_loaded')$$, NULL, 'tap'),
    ('tap_producer', $$SELECT reason FROM ains.explain_task({a})$$, NULL, 'assigned'),
    ('tap_agent',    $$SELECT lease_token FROM ains.claim('tap', 1, '1 min', '{tap}')$$, 'token', NULL),
    ('tap_producer', $$SELECT reason FROM ains.explain_task({a})$$, NULL, 'running'),
    ('tap_agent',    $$SELECT active_tasks FROM ains.heartbeat('tap', 'DEGRADED', 1, '{"m": 2}', 'busy', ARRAY[{a}])$$, NULL, '1'),
    ('tap_agent',    $$SELECT lost FROM ains.heartbeat('tap', held => ARRAY[{a}, {later}])$$, NULL, '{{later}}'),
    ('tap_agent',    $$SELECT pg_catalog.isfinite(ains.extend_lease({a}, {token}))$$, NULL, 'true'),
    ('tap_agent',    $$SELECT pg_catalog.isfinite(ains.checkpoint({a}, {token}, '{"at": 1}', 0.5))$$, NULL, 'true'),
    ('tap_agent',    $$SELECT ains.complete({a}, 1)$$, NULL, '!NS001'),
    ('tap_agent',    $$SELECT ains.complete({later}, 1)$$, NULL, '!NS001'),
    ('tap_agent',    $$SELECT ains.complete(9007199254740991, 1)$$, NULL, '!NS003'),
    ('tap_agent',    $$SELECT ains.release({a}, {token})$$, NULL, ''),
    ('tap_agent',    $$SELECT lease_token FROM ains.claim('tap')$$, 'token', NULL),
    ('tap_agent',    $$SELECT ains.fail({a}, {token}, 'it is broken', retry_after => '0')$$, NULL, 'PENDING'),
    ('tap_agent',    $$SELECT lease_token FROM ains.claim('tap')$$, 'token', NULL),
    ('tap_agent',    $$SELECT ains.fail({a}, {token}, 'Permission denied')$$, NULL, 'FAILED'),
    ('tap_agent',    $$SELECT ains.fail({a}, {token}, 'Permission denied')$$, NULL, 'FAILED'),
    ('tap_producer', $$SELECT status FROM ains.get_task({a})$$, NULL, 'FAILED'),
    ('tap_producer', $$SELECT reason FROM ains.explain_task({a})$$, NULL, 'finished'),
    ('tap_producer', $$SELECT ains.redrive('tap', '0', 5)$$, NULL, '1'),
    ('tap_agent',    $$SELECT lease_token FROM ains.claim('tap')$$, 'token', NULL),
    ('tap_agent',    $$SELECT ains.fail({a}, {token}, 'Permission denied')$$, NULL, 'FAILED'),
    ('tap_producer', $$SELECT ains.retry({a})$$, 'again', NULL),
    ('tap_agent',    $$SELECT lease_token FROM ains.claim('tap')$$, 'token', NULL),
    ('tap_producer', $$SELECT ains.cancel({a}, 'not needed')$$, NULL, 'ACTIVE'),
    ('tap_agent',    $$SELECT cancel_requested FROM ains.heartbeat('tap')$$, NULL, '{{a}}'),
    ('tap_agent',    $$SELECT ains.complete({a}, {token})$$, NULL, '!NS004'),
    ('tap_agent',    $$SELECT ains.fail({a}, {token}, 'stopped')$$, NULL, 'CANCELLED'),
    ('tap_producer', $$SELECT ains.cancel({later})$$, NULL, 'CANCELLED'),
    ('tap_producer', $$SELECT ains.enqueue('tap', '3', 10)$$, 'b', NULL),
    ('tap_agent',    $$SELECT lease_token FROM ains.claim('tap')$$, 'token', NULL),
    ('tap_agent',    $$SELECT ains.complete({b}, {token}, '{"r": 1}', '{"tokens": 1}')$$, NULL, ''),
    ('tap_agent',    $$SELECT ains.complete({b}, {token})$$, NULL, ''),
    ('tap_producer', $$SELECT ains.enqueue('tap', '4', 10)$$, 'c', NULL),
    ('tap_agent',    $$SELECT lease_token FROM ains.claim('tap')$$, 'token', NULL),
    ('tap_agent',    $$SELECT ains.complete_batch(ARRAY[{c}, {a}], ARRAY[{token}, 1], '[1, 2]')$$, NULL, '{c}'),
    ('tap_agent',    $$SELECT lease_token FROM ains.claim('tap', lease => '1 ms')$$, 'token', NULL),
    ('tap_agent',    $$SELECT agent_status FROM ains.heartbeat('tap', held => '{}')$$, NULL, 'AVAILABLE'),
    ('tap_agent',    $$SELECT agent_status FROM ains.heartbeat('tap', held => '{}')$$, NULL, 'AVAILABLE'),
    ('tap_agent',    $$SELECT pg_catalog.pg_sleep(0.01)$$, NULL, ''),
    ('tap_agent',    $$SELECT agent_status FROM ains.drain_agent('tap')$$, NULL, 'DRAINING'),
    ('tap_agent',    $$SELECT agent_status FROM ains.resume_agent('tap')$$, NULL, 'AVAILABLE'),
    ('tap_admin',    $$SELECT partitions_dropped FROM ains.sweep()$$, NULL, '0'),
    ('tap_admin',    $$SELECT ains.release_dead_agent_leases()$$, NULL, '0'),
    ('tap_admin',    $$SELECT ains.rescan()$$, NULL, ''),
    ('tap_admin',    $$SELECT lease FROM ains.configure_capability('tap', aging_interval => '2 min')$$, NULL, '00:01:00'),
    ('tap_admin',    $$SELECT ains.run_schedules()$$, NULL, '0'),
    ('tap_producer', $$SELECT pg_catalog.isfinite(ains.schedule('tap', '* * * * *', 'tap', metadata => '{"a": 1}', timeout => '1 h'))$$, NULL, 'true'),
    ('tap_producer', $$SELECT pg_catalog.isfinite(ains.schedule('tap', '@daily', 'tap', timezone => 'Europe/Berlin', catch_up => 'all'))$$, NULL, 'true'),
    ('tap_producer', $$SELECT ains.pause_schedule('tap')$$, NULL, ''),
    ('tap_producer', $$SELECT ains.resume_schedule('tap')$$, NULL, ''),
    ('tap_admin',    $$SELECT ains.run_schedules()$$, NULL, '0'),
    ('tap_producer', $$TABLE ains.schedules$$, NULL, NULL),
    ('tap_monitor',  $$TABLE ains.schedules$$, NULL, NULL),
    ('tap_producer', $$SELECT ains.unschedule('tap')$$, NULL, ''),
    ('tap_producer', $$SELECT ains.save_template('tap', 'tap', '{"n": 1}', timeout => '1 h', metadata => '{"m": 1}')$$, NULL, ''),
    ('tap_producer', $$SELECT ains.save_template('tap', 'tap', '{"n": 2}', timeout => '1 h', metadata => '{"m": 1}')$$, NULL, ''),
    ('tap_producer', $$SELECT ains.enqueue_from_template('tap', '{"payload": {"k": 1}, "metadata": {"k": 1}, "run_at": "tomorrow", "priority": 3}')$$, 'saved', NULL),
    ('tap_producer', $$SELECT ains.cancel({saved})$$, NULL, 'CANCELLED'),
    ('tap_producer', $$TABLE ains.templates$$, NULL, NULL),
    ('tap_producer', $$SELECT ains.drop_template('tap')$$, NULL, ''),
    ('tap_monitor',  $$SELECT paused FROM ains.queue_stats()$$, NULL, 'false'),
    ('tap_monitor',  $$SELECT pg_catalog.int8larger(total, 1) FROM ains.agent_stats()$$, NULL, NULL),
    ('tap_producer', $$TABLE ains.tasks$$, NULL, NULL),
    ('tap_producer', $$TABLE ains.dead_letters$$, NULL, NULL),
    ('tap_monitor',  $$TABLE ains.tasks$$, NULL, NULL),
    ('tap_monitor',  $$TABLE ains.attempts$$, NULL, NULL),
    ('tap_monitor',  $$TABLE ains.agents$$, NULL, NULL),
    ('tap_monitor',  $$TABLE ains.active_agents$$, NULL, NULL),
    ('tap_monitor',  $$TABLE ains.dead_agents$$, NULL, NULL),
    ('tap_producer', $$CALL ains.wait_for_result({a})$$, NULL, '!25001'),
    ('tap_agent',    $$CALL ains.wait_for_task('tap')$$, NULL, '!25001'),
    ('tap_agent',    $$SELECT agent_status FROM ains.stop_agent('tap')$$, NULL, 'INACTIVE'),
    ('tap_admin',    $$SELECT pg_catalog.pg_sleep(0.01)$$, NULL, ''),
    ('tap_admin',    $$SELECT ains.prune_agents('0')$$, NULL, NULL);

-- Calls as a role with a search_path; the result, or ! and the SQLSTATE. Between
-- the two SETs nothing may be looked up by name but the call's own.
CREATE FUNCTION pg_temp.call_with(path text, role name, call text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    result pg_catalog.text;
    set_role pg_catalog.text := format('SET LOCAL ROLE %I', role);
    set_path pg_catalog.text := format('SET LOCAL search_path = %s', path);
BEGIN
    EXECUTE set_role;
    EXECUTE set_path;
    EXECUTE call INTO result;
    SET LOCAL search_path = public, pg_catalog;
    RESET ROLE;
    RETURN result;
EXCEPTION WHEN OTHERS THEN
    RETURN '!' || SQLSTATE || CASE WHEN SQLSTATE ~ '^(EVIL|42|XX)' THEN ' ' || SQLERRM ELSE '' END;
END $$;

CREATE TEMP TABLE tap (n serial, line text);
CREATE PROCEDURE pg_temp.live(path text) LANGUAGE plpgsql AS $$
DECLARE
    l record;
    kept jsonb := '{}';
    name text;
    call text;
    expect text;
    got text;
BEGIN
    FOR l IN SELECT * FROM life ORDER BY n LOOP
        call := l.call;
        expect := l.expect;
        FOR name IN SELECT jsonb_object_keys(kept) LOOP
            call := replace(call, format('{%s}', name), kept ->> name);
            expect := replace(expect, format('{%s}', name), kept ->> name);
        END LOOP;
        got := pg_temp.call_with(path, l.role, call);
        COMMIT;
        IF l.keep IS NOT NULL THEN
            kept := kept || jsonb_build_object(l.keep, got);
        END IF;
        IF expect IS NOT NULL THEN
            INSERT INTO tap (line) VALUES (is(got, expect, format('[%s] %s', path, call)));
        ELSE
            INSERT INTO tap (line) VALUES (ok(coalesce(got, '') !~ '^!', format('[%s] %s', path, call)));
            IF got ~ '^!' THEN
                INSERT INTO tap (line) VALUES (diag(got));
            END IF;
        END IF;
    END LOOP;
    INSERT INTO tap (line) VALUES (is(kept ->> 'again', kept ->> 'a', 'the same task all along'));
    INSERT INTO tap (line) VALUES (is(kept ->> 'replaced', kept ->> 'a', 'and the replaced one'));
END $$;

-- what is planted does run where it is looked up
SELECT is(pg_temp.call_with('evil, pg_catalog', 'tap_agent', 'SELECT 1::bigint = 2::bigint'), '!EVIL0 planted operator = ran', 'the trap works');
SELECT is(pg_temp.call_with('evil, pg_catalog', 'tap_agent', $$SELECT lower('A'::pg_catalog.text)$$), '!EVIL0 planted function lower ran', 'also for functions');
SELECT is(pg_temp.call_with('evil, pg_catalog', 'tap_agent', $$SELECT 'A'::text$$), '!EVIL0 planted type ran', 'and for types');

-- ---------------------------------------------------------------------------
-- The life, again and again, in this one session
-- ---------------------------------------------------------------------------

-- no plan of ains is there yet: all are made now
CALL pg_temp.live('evil, ains, public, pg_catalog');
-- saved plans are analysed again, since search_path is another
CALL pg_temp.live('public, pg_catalog');
CALL pg_temp.live('pg_temp, evil, pg_catalog, ains');
CALL pg_temp.live('evil');
-- all are analysed again
DISCARD PLANS;
CALL pg_temp.live('evil, pg_catalog');
-- likewise, because the tables have changed
ANALYZE ains.task, ains.agent, ains.capability, ains.agent_capability, ains.lane, ains.task_history, ains.attempt;
CALL pg_temp.live('evil, pg_catalog');
SELECT line FROM tap ORDER BY n;

SELECT is((SELECT count(*) FROM evil.task) + (SELECT count(*) FROM evil.task_history) + (SELECT count(*) FROM evil.attempt)
        + (SELECT count(*) FROM evil.agent) + (SELECT count(*) FROM evil.capability) + (SELECT count(*) FROM evil.lane)
        + (SELECT count(*) FROM evil.agent_capability) + (SELECT count(*) FROM pg_temp.task), 0::bigint,
          'nothing was written to the planted tables');
SELECT is(is_called, false, 'nor drawn from the planted sequences')
  FROM (SELECT is_called FROM evil.task_task_id_seq UNION ALL SELECT is_called FROM evil.token_ceiling) s;
-- shelves that were made meanwhile are where they belong
SELECT is_empty($$SELECT inhrelid::regclass FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class c ON c.oid = inhrelid
                   WHERE inhparent IN ('ains.task_history'::regclass, 'ains.attempt'::regclass)
                     AND c.relnamespace <> 'ains'::regnamespace$$, 'shelves are in schema ains');

SELECT * FROM finish();

SELECT count(ains.cancel(task_id)) AS cancelled FROM ains.task WHERE capability = 'tap' \gset
DELETE FROM ains.task_history WHERE capability = 'tap';
DELETE FROM ains.attempt WHERE agent_id = 'tap';
DROP SCHEMA evil CASCADE;
DROP ROLE tap_producer, tap_agent, tap_monitor, tap_admin;
