\set ECHO none
\getenv abs_srcdir PG_ABS_SRCDIR
\set begin :abs_srcdir '/sql/begin.psql'
\i :begin
--
-- extend_lease and checkpoint; tokens that do not hold.
--
SELECT agent_id FROM ains.register_agent('a', capabilities => '{x}');
SELECT agent_id FROM ains.register_agent('b', capabilities => '{x}');
SELECT ains.enqueue('x') FROM generate_series(1, 4);
SELECT task_id FROM ains.claim('a', 2, '1 min');

-- extended by its own length, or by the one given
SELECT t.advance('30 s');
SELECT t.about(ains.extend_lease(1, t.token(1)), '1 min') AS until;
SELECT t.about(lease_expires_at, '1 min') AS until FROM ains.get_task(1);
SELECT t.about(ains.extend_lease(1, t.token(1), '1 h'), '1 h') AS until;
SELECT t.about(lease_expires_at, '1 h') AS until FROM ains.get_task(1);
-- an extended lease is not taken back before its end
SELECT t.advance('50 min');
SELECT ains.heartbeat('a') IS NOT NULL AS beat, ains.heartbeat('b') IS NOT NULL AS beat;
SELECT leases_expired FROM ains.sweep();

-- a checkpoint saves where to resume, and extends the lease
SELECT t.about(ains.checkpoint(2, t.token(2), '{"page": 3}', 0.25), '1 min') AS until;
SELECT checkpoint, progress FROM ains.get_task(2);
-- floats as drivers send them, and those of the column
SELECT ains.checkpoint(2, t.token(2), '{"page": 3}', 0.25::float8) IS NOT NULL AS saved, ains.checkpoint(2, t.token(2), '{"page": 3}', 0.25::real) IS NOT NULL AS saved;
-- a progress that is not given stays
SELECT ains.checkpoint(2, t.token(2), '"later"') IS NOT NULL AS saved;
SELECT checkpoint, progress FROM ains.get_task(2);
SELECT ains.checkpoint(2, t.token(2), '[]', 0) IS NOT NULL AS saved, ains.checkpoint(2, t.token(2), '[1]', 1) IS NOT NULL AS saved;
SELECT checkpoint, progress FROM ains.get_task(2);
-- the next claim returns it
SELECT ains.fail(2, t.token(2), 'later', true, '0');
SELECT task_id, attempt, checkpoint FROM ains.claim('b');
SELECT ains.complete(2, t.token(2));
SELECT checkpoint, progress FROM ains.get_task(2);

-- bad input
CALL t.refused($$SELECT ains.extend_lease(NULL, 1)$$);
CALL t.refused($$SELECT ains.extend_lease(1, NULL)$$);
CALL t.refused($$SELECT ains.extend_lease(1, t.token(1), '0')$$);
CALL t.refused($$SELECT ains.extend_lease(1, t.token(1), '-1 s')$$);
CALL t.refused($$SELECT ains.extend_lease(1, t.token(1), '110 years')$$);
CALL t.refused($$SELECT ains.checkpoint(NULL, 1, '{}')$$);
CALL t.refused($$SELECT ains.checkpoint(1, NULL, '{}')$$);
CALL t.refused($$SELECT ains.checkpoint(1, t.token(1), '{}', -0.1)$$);
CALL t.refused($$SELECT ains.checkpoint(1, t.token(1), '{}', 1.1)$$);
CALL t.refused($$SELECT ains.checkpoint(1, t.token(1), '{}', 1.000000001)$$);
CALL t.refused($$SELECT ains.checkpoint(1, t.token(1), '{}', 'NaN')$$);
CALL t.refused($$SELECT ains.checkpoint(1, t.token(1), '{}', 'Infinity')$$);
CALL t.refused($$SELECT ains.checkpoint(1, t.token(1), '{}', '-Infinity')$$);
SET ains.max_payload = '1kB';
CALL t.refused($$SELECT ains.checkpoint(1, t.token(1), to_jsonb(repeat('x', 2000)))$$);
RESET ains.max_payload;

-- every mutating call refuses a token that does not hold: never, not yet,
-- not any more, and of another task
SELECT ains.extend_lease(1, t.token(1), '1 day') IS NOT NULL AS extended;
SELECT task_id FROM ains.claim('b', 1);
CREATE TABLE t.tokens AS SELECT t.token(3) AS old;
SELECT ains.release(3, old) FROM t.tokens;
SELECT task_id FROM ains.claim('a', 1);
DO $$
DECLARE
    call text;
    who text;
    bad text;
BEGIN
    FOREACH call IN ARRAY ARRAY[
        'ains.extend_lease(%s)', 'ains.checkpoint(%s, ''{}'')', 'ains.complete(%s)',
        'ains.fail(%s, ''no'')', 'ains.release(%s)'] LOOP
        RAISE INFO '%', call;
        -- a task there never was; waiting; held by another; released before and claimed again; finished by another token
        FOREACH bad IN ARRAY ARRAY['99999, 1', '-1, 1', '9223372036854775807, 1', '4, 1', '4, 0', '4, -1', '1, t.token(3)', '1, 9223372036854775807',
                                   '3, (SELECT old FROM t.tokens)', '2, t.token(1)'] LOOP
            CALL t.refused('SELECT ' || format(call, bad));
        END LOOP;
    END LOOP;
END
$$;

-- time alone never ends a lease: only a sweep does
SELECT task_id FROM ains.claim('b', 1, '1 min');
SELECT t.advance('1 hour');
SELECT ains.checkpoint(4, t.token(4), '"late, but in time"') IS NOT NULL AS saved;
SELECT t.advance('1 hour');
SELECT t.about(ains.extend_lease(4, t.token(4)), '1 min') AS extended;
SELECT t.advance('1 hour');
SELECT ains.complete(4, t.token(4));
SELECT status FROM ains.get_task(4);

-- who may: a member of the agent's owner
SET ROLE regress_agent;
SELECT agent_id FROM ains.register_agent('mine', capabilities => '{own}');
RESET ROLE;
SELECT ains.enqueue('own') AS own \gset
SET ROLE regress_agent;
SELECT task_id = :own AS claimed FROM ains.claim('mine');
SET ROLE regress_agent2;
CALL t.refused(format('SELECT ains.extend_lease(%s, t.token(%1$s))', :own));
CALL t.refused(format('SELECT ains.checkpoint(%s, t.token(%1$s), ''{}'')', :own));
CALL t.refused(format('SELECT ains.complete(%s, t.token(%1$s))', :own));
CALL t.refused(format('SELECT ains.fail(%s, t.token(%1$s), ''no'')', :own));
CALL t.refused(format('SELECT ains.release(%s, t.token(%1$s))', :own));
SET ROLE regress_admin;
CALL t.refused(format('SELECT ains.complete(%s, t.token(%1$s))', :own));
SET ROLE regress_producer;
CALL t.refused(format('SELECT ains.complete(%s, t.token(%1$s))', :own));
SET ROLE regress_agent;
SELECT ains.extend_lease(:own, t.token(:own)) IS NOT NULL AS extended;
SELECT ains.complete(:own, t.token(:own));
-- nor may they repeat it
SET ROLE regress_agent2;
CALL t.refused(format('SELECT ains.complete(%s, t.token(%1$s))', :own));
RESET ROLE;
