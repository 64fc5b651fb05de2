\set ECHO none
\getenv abs_srcdir PG_ABS_SRCDIR
\set begin :abs_srcdir '/sql/begin.psql'
\i :begin
--
-- Priority and aging: the rank, its bound, and what changes it.
--
SELECT agent_id FROM ains.register_agent('a', capabilities => '{x,y}', heartbeat_timeout => '10 years');

-- every aging interval of waiting is worth one point
SELECT ains.enqueue('x', run_at => t.now() - interval '25 min') AS id \gset
SELECT priority, round(effective_priority::numeric, 1) AS effective_priority FROM ains.get_task(:id);
SELECT t.advance('50 min');
SELECT priority, round(effective_priority::numeric, 1) AS effective_priority FROM ains.get_task(:id);
-- changing the interval ranks the waiting tasks anew
SELECT (c).aging_interval FROM ains.configure_capability('x', aging_interval => '25 min') c;
SELECT priority, round(effective_priority::numeric, 1) AS effective_priority FROM ains.get_task(:id);
-- so does another priority
SELECT ains.set_priority(:id, 9);
SELECT priority, round(effective_priority::numeric, 1) AS effective_priority FROM ains.get_task(:id);
SELECT t.rank = (extract(epoch FROM t.run_at) - 946684800)::numeric * 1000000 - 9 * 25 * 60 * 1000000::numeric AS rank
  FROM ains.task t WHERE task_id = :id;
SELECT ains.cancel(:id);

-- an interval of nothing: any waiting outweighs any priority, so first come, first served
SELECT (c).aging_interval FROM ains.configure_capability('x', aging_interval => '0') c;
SELECT ains.enqueue('x', '"old"', 1, run_at => t.now() - interval '1 year') AS id \gset
SELECT effective_priority FROM ains.get_task(:id);
SELECT ains.enqueue('x', '"urgent"', 10) AS id \gset
SELECT payload FROM ains.claim('a', 2) WITH ORDINALITY ORDER BY ordinality;

--
-- The bound: a task of priority p is overtaken by no task of priority q that
-- becomes due more than (q - p) * aging_interval after it -- and, aging being
-- linear, by each that becomes due before that.  Every pair of priorities and
-- delays around the bound, each pair in a capability of its own; the clock
-- moves, nobody sleeps.
--
CREATE TABLE t.pair (name text, p integer, q integer, delay interval, bound interval, first bigint, second bigint, won bigint);
INSERT INTO t.pair (name, p, q, delay, bound)
SELECT format('%s %s %s', p, q, d), p, q, d, (q - p) * interval '10 min'
  FROM generate_series(1, 10) p, generate_series(1, 10) q,
       LATERAL (VALUES (interval '3 min'), ((q - p) * interval '10 min' - interval '3 min'),
                       ((q - p) * interval '10 min' + interval '3 min'), (interval '100 min')) v (d)
 WHERE d > '0';
CREATE PROCEDURE t.race()
    LANGUAGE plpgsql AS $$
DECLARE
    start timestamptz;
    r record;
BEGIN
    PERFORM ains.register_agent('racer', capabilities => ARRAY(SELECT name FROM t.pair), heartbeat_timeout => '10 years');
    start := t.now();
    UPDATE t.pair SET first = ains.enqueue(name, priority => p, run_at => start);
    FOR r IN SELECT * FROM t.pair ORDER BY delay LOOP
        IF start + r.delay > t.now() THEN
            PERFORM t.advance(start + r.delay - t.now());
        END IF;
        UPDATE t.pair SET second = ains.enqueue(name, priority => q) WHERE name = r.name;
    END LOOP;
    PERFORM t.advance('1 year');
    COMMIT;
    UPDATE t.pair SET won = (SELECT c.task_id FROM ains.claim('racer', capabilities => ARRAY[name]) c);
END
$$;
CALL t.race();
SELECT count(*) AS pairs, count(*) FILTER (WHERE won = first) + count(*) FILTER (WHERE won = second) AS decided,
       count(*) FILTER (WHERE delay > bound) AS beyond_the_bound,
       count(*) FILTER (WHERE delay > bound AND won = second) AS overtaken_all_the_same,
       count(*) FILTER (WHERE delay < bound AND won = first) AS not_overtaken_before
  FROM t.pair;
SELECT p, q, delay, CASE won WHEN first THEN 'the first' ELSE 'the second' END AS is_claimed
  FROM t.pair WHERE (p, q) IN ((1, 10), (4, 5), (5, 5), (5, 4)) ORDER BY 1, 2, 3;

-- claims come in rank order, over several capabilities with intervals of their
-- own, in whatever portions; rank by hand: due - priority * interval
SELECT (c).aging_interval FROM ains.configure_capability('x', aging_interval => '1 min') c;
SELECT (c).aging_interval FROM ains.configure_capability('y', aging_interval => '7 min') c;
SELECT count(ains.enqueue(CASE n % 2 WHEN 0 THEN 'x' ELSE 'y' END, to_jsonb(n), priority => 1 + (n * 7919) % 10,
                          run_at => t.now() - (n * 104729 % 3000) * interval '1 s'))
  FROM generate_series(1, 300) n;
CREATE TABLE t.wanted AS
SELECT task_id, row_number() OVER (ORDER BY run_at - priority * CASE capability WHEN 'x' THEN interval '1 min' ELSE interval '7 min' END, task_id) AS n
  FROM ains.task WHERE status = 'PENDING' AND capability IN ('x', 'y');
CREATE TABLE t.got (n serial, task_id bigint);
INSERT INTO t.got (task_id) SELECT task_id FROM ains.claim('a');
INSERT INTO t.got (task_id) SELECT task_id FROM ains.claim('a', 7) WITH ORDINALITY ORDER BY ordinality;
INSERT INTO t.got (task_id) SELECT task_id FROM ains.claim('a', 150) WITH ORDINALITY ORDER BY ordinality;
INSERT INTO t.got (task_id) SELECT task_id FROM ains.claim('a', 1000) WITH ORDINALITY ORDER BY ordinality;
SELECT count(*), bool_and(w.n = g.n) AS in_rank_order FROM t.wanted w FULL JOIN t.got g USING (task_id);

-- a rank is kept: one that comes back stands where it stood
SELECT agent_id FROM ains.register_agent('b', capabilities => '{z}', heartbeat_timeout => '10 years');
SELECT count(ains.enqueue('z', to_jsonb(n), priority => n)) FROM generate_series(1, 4) n;
SELECT task_id AS back, payload FROM ains.claim('b') \gset
SELECT t.advance('1 h');
SELECT ains.enqueue('z', '"new"', 10, run_at => t.now()) > 0 AS enqueued;
SELECT ains.release(:back, t.token(:back));
SELECT payload FROM ains.claim('b', 10) WITH ORDINALITY ORDER BY ordinality;

-- set_priority: waiting, scheduled and held tasks
SELECT ains.enqueue('s', priority => 1) AS s1, ains.enqueue('s', priority => 2) AS s2,
       ains.enqueue('s', priority => 3, run_at => t.now() + interval '1 h') AS s3 \gset
SELECT agent_id FROM ains.register_agent('c', capabilities => '{s}', heartbeat_timeout => '10 years');
SELECT ains.set_priority(:s1, 10);
SELECT task_id = :s1 AS the_raised_one FROM ains.claim('c');
SELECT ains.set_priority(:s1, 1);
SELECT ains.set_priority(:s3, 10);
SELECT ains.release(:s1, t.token(:s1));
SELECT t.advance('1 h');
SELECT tasks_due FROM ains.sweep();
SELECT CASE task_id WHEN :s1 THEN 's1' WHEN :s2 THEN 's2' ELSE 's3' END, priority FROM ains.claim('c', 3) WITH ORDINALITY ORDER BY ordinality;
-- one that is held, its priority changed, and that fails: the rank of the new one
SELECT ains.set_priority(:s2, 7);
SELECT ains.fail(:s2, t.token(:s2), 'again', true, '0');
SELECT priority, rank = (extract(epoch FROM created_at) - 946684800)::numeric * 1000000 - 7 * 600 * 1000000::numeric AS rank
  FROM ains.task WHERE task_id = :s2;

-- bad input
CALL t.refused(format('SELECT ains.set_priority(%s, 0)', :s2));
CALL t.refused(format('SELECT ains.set_priority(%s, 11)', :s2));
CALL t.refused(format('SELECT ains.set_priority(%s, NULL)', :s2));
CALL t.refused($$SELECT ains.set_priority(NULL, 5)$$);
CALL t.refused($$SELECT ains.set_priority(99999, 5)$$);
SELECT ains.cancel(:s2);
CALL t.refused(format('SELECT ains.set_priority(%s, 5)', :s2));
SET ROLE regress_producer;
SELECT ains.enqueue('s') AS own \gset
SELECT ains.set_priority(:own, 6);
SET ROLE regress_producer2;
CALL t.refused(format('SELECT ains.set_priority(%s, 5)', :own));
SET ROLE regress_monitor;
CALL t.refused(format('SELECT ains.set_priority(%s, 5)', :own));
SET ROLE regress_admin;
SELECT ains.set_priority(:own, 5);
RESET ROLE;
