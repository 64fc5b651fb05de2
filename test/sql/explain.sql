\set ECHO none
\getenv abs_srcdir PG_ABS_SRCDIR
\set begin :abs_srcdir '/sql/begin.psql'
\i :begin
--
-- explain_task: why a task is not running; never empty.
--
CREATE FUNCTION t.why(task_id bigint) RETURNS TABLE (reason text, detail text)
    LANGUAGE sql AS 'SELECT reason, t.mask(detail) FROM ains.explain_task($1) WITH ORDINALITY ORDER BY ordinality';

SELECT ains.enqueue('x') AS id \gset
SELECT * FROM t.why(:id);
SELECT agent_id FROM ains.register_agent('a', capabilities => '{x}', heartbeat_timeout => '1 min');
SELECT * FROM t.why(:id);
SELECT ains.enqueue('x', priority => 10) AS id2, ains.enqueue('x', priority => 9) AS id3 \gset
SELECT * FROM t.why(:id);
SELECT ains.pause('x');
SELECT * FROM t.why(:id);
SELECT agent_status FROM ains.drain_agent('a');
SELECT * FROM t.why(:id);
SELECT ains.resume('x');
SELECT * FROM t.why(:id);
SELECT agent_status FROM ains.resume_agent('a');
SELECT t.advance('2 min');
SELECT agents_marked_dead FROM ains.sweep();
SELECT * FROM t.why(:id);
SELECT agent_status FROM ains.heartbeat('a');
-- scheduled, held, cancelled, expired, finished
SELECT ains.enqueue('x', run_at => t.now() + interval '1 h') AS later \gset
SELECT * FROM t.why(:later);
SELECT task_id = :id2 AS claimed FROM ains.claim('a');
SELECT * FROM t.why(:id2);
SELECT ains.cancel(:id2);
SELECT * FROM t.why(:id2);
SELECT ains.fail(:id2, t.token(:id2), 'x');
SELECT * FROM t.why(:id2);
SELECT ains.enqueue('x', expires_at => t.now() + interval '1 min') AS late \gset
SELECT t.advance('2 min');
SELECT * FROM t.why(:late);
SELECT tasks_expired FROM ains.sweep();
SELECT * FROM t.why(:late);

-- bad input, and who may
CALL t.refused($$SELECT * FROM ains.explain_task(NULL)$$);
CALL t.refused($$SELECT * FROM ains.explain_task(99999)$$);
SET ROLE regress_producer;
CALL t.refused(format('SELECT * FROM ains.explain_task(%s)', :id));
SELECT count(*) FROM ains.explain_task(ains.enqueue('x'));
SET ROLE regress_agent;
CALL t.refused(format('SELECT * FROM ains.explain_task(%s)', :id));
SET ROLE regress_monitor;
SELECT count(*) > 0 AS explained FROM ains.explain_task(:id);
SET ROLE regress_admin;
SELECT count(*) > 0 AS explained FROM ains.explain_task(:id);
SET ROLE regress_nobody;
CALL t.refused(format('SELECT * FROM ains.explain_task(%s)', :id));
RESET ROLE;

-- every live task has a reason, in whatever state
SELECT count(*) AS live, count(*) FILTER (WHERE NOT EXISTS (SELECT FROM ains.explain_task(task_id) WHERE reason <> '' AND detail <> '')) AS without_reason
  FROM ains.task;
