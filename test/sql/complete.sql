\set ECHO none
\getenv abs_srcdir PG_ABS_SRCDIR
\set begin :abs_srcdir '/sql/begin.psql'
\i :begin
--
-- complete: the task is done; repeating it changes nothing.
--
SELECT agent_id FROM ains.register_agent('a', capabilities => '{x}');
SELECT ains.enqueue('x', to_jsonb(n), unique_key => 'key ' || n) FROM generate_series(1, 9) n;
SELECT count(*) FROM ains.claim('a', 5);

SELECT ains.complete(1, t.token(1));
SELECT ains.complete(2, t.token(2), '{"answer": 42}', '{"tokens": 1200, "cost": 0.002}');
SELECT ains.complete(3, t.token(3), 'null');
SELECT task_id, status, attempt, agent_id, result, usage, t.about(finished_at, '0') AS finished_at, error, payload, unique_key
  FROM ains.task_info WHERE task_id <= 3 ORDER BY 1;
SELECT count(*) AS live FROM ains.task WHERE task_id <= 3;
SELECT active_tasks FROM ains.heartbeat('a');
-- no attempt failed
SELECT count(*) FROM ains.attempts;

-- repeated with the same token
SELECT t.state() AS before \gset
SELECT ains.complete(2, t.token(2));
SELECT ains.complete(2, t.token(2), '"another"', '"other"');
SELECT t.state() = :'before' AS nothing_changed;
-- also much later, and by a new incarnation of the agent
SELECT t.advance('1 day');
SELECT agent_id FROM ains.register_agent('a', capabilities => '{x}');
SELECT t.state() AS before \gset
SELECT ains.complete(2, t.token(2));
SELECT t.state() = :'before' AS nothing_changed;
-- not with another token, and not by another call
CALL t.refused($$SELECT ains.complete(2, t.token(1))$$);
CALL t.refused($$SELECT ains.fail(2, t.token(2), 'after all')$$);
CALL t.refused($$SELECT ains.release(2, t.token(2))$$);
CALL t.refused($$SELECT ains.extend_lease(2, t.token(2))$$);
CALL t.refused($$SELECT ains.checkpoint(2, t.token(2), '{}')$$);

-- bad input
CALL t.refused($$SELECT ains.complete(NULL, 1)$$);
CALL t.refused($$SELECT ains.complete(6, NULL)$$);
CALL t.refused($$SELECT ains.complete(9999, 1)$$);
SELECT task_id FROM ains.claim('a');
SET ains.max_payload = '1kB';
CALL t.refused($$SELECT ains.complete(4, t.token(4), to_jsonb(repeat('x', 2000)))$$);
CALL t.refused($$SELECT ains.complete(4, t.token(4), '{}', to_jsonb(repeat('x', 2000)))$$);
RESET ains.max_payload;
SELECT ains.complete(4, t.token(4), '{"large": "enough"}');
-- once it ended, its unique key is free
SELECT ains.enqueue('x', unique_key => 'key 4') > 9 AS a_new_one;
SELECT ains.enqueue('x', unique_key => 'key 5');

-- a large result, out of line, is kept whole
SELECT task_id FROM ains.claim('a');
SELECT ains.complete(5, t.token(5), (SELECT jsonb_agg(md5(n::text)) FROM generate_series(1, 20000) n));
SELECT jsonb_array_length(result), result ->> 19999 = md5('20000') AS whole FROM ains.get_task(5);

-- keep_history = false: COMPLETED, CANCELLED and EXPIRED are not kept, FAILED is
SELECT (ains.configure_capability('gone', keep_history => false)).keep_history;
SELECT agent_id FROM ains.register_agent('g', capabilities => '{gone}');
SELECT ains.enqueue('gone') AS g1 \gset
SELECT ains.enqueue('gone') AS g2 \gset
SELECT ains.enqueue('gone') AS g3 \gset
SELECT ains.enqueue('gone') AS g4 \gset
SELECT ains.enqueue('gone', run_at => t.now() + interval '1 min', expires_at => t.now() + interval '2 min') AS g5 \gset
SELECT count(*) FROM ains.claim('g', 3);
SELECT t.token(:g1) AS g1_token \gset
SELECT ains.complete(:g1, :g1_token, '{}');
SELECT ains.fail(:g2, t.token(:g2), 'broken', false);
SELECT ains.cancel(:g3);
SELECT ains.fail(:g3, t.token(:g3), 'stopped');
SELECT ains.cancel(:g4);
SELECT t.advance('3 min');
SELECT tasks_expired FROM ains.sweep();
SELECT task_id = :g2 AS the_failed_one, status, error FROM ains.task_info WHERE capability = 'gone';
SELECT count(*) AS live FROM ains.task WHERE capability = 'gone';
CALL t.refused(format('SELECT ains.get_task(%s)', :g1));
CALL t.refused(format('SELECT ains.complete(%s, %s)', :g1, :g1_token));
CALL t.refused(format('SELECT ains.retry(%s)', :g4));
SELECT ains.retry(:g2) = :g2 AS retried;
-- it can be kept again
SELECT (ains.configure_capability('gone', keep_history => true)).keep_history;
SELECT acknowledged FROM ains.heartbeat('g');
SELECT task_id = :g2 AS claimed FROM ains.claim('g');
SELECT ains.complete(:g2, t.token(:g2));
SELECT status FROM ains.get_task(:g2);
