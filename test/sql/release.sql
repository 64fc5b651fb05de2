\set ECHO none
\getenv abs_srcdir PG_ABS_SRCDIR
\set begin :abs_srcdir '/sql/begin.psql'
\i :begin
--
-- release: a task is given back unharmed, at once or after a while.
--
SELECT agent_id FROM ains.register_agent('a', capabilities => '{x}', heartbeat_timeout => '1 day');
SELECT ains.enqueue('x', max_attempts => 1, expires_at => t.now() + interval '1 h') AS task_id;
SELECT ains.enqueue('x', priority => 4) AS task_id;
SELECT rank AS rank FROM ains.task WHERE task_id = 1 \gset

SELECT task_id, attempt FROM ains.claim('a');
SELECT ains.release(1, t.token(1));
SELECT task_id, status, attempt, rank = :rank AS rank_kept FROM ains.task WHERE task_id = 1;
SELECT count(*) FROM ains.attempt;
SELECT active_tasks FROM ains.heartbeat('a');
-- even the last attempt is not used up; its place in the line is kept
SELECT task_id, attempt FROM ains.claim('a');
SELECT t.token(1) AS token \gset
-- a delay makes it a snooze
SELECT ains.release(1, :token, '10 min');
SELECT status, attempt, t.about(run_at, '10 min') AS run_at FROM ains.get_task(1);
SELECT rank = :rank AS rank_kept FROM ains.task WHERE task_id = 1;
SELECT task_id FROM ains.claim('a');

-- repeated: the outcome is known, nothing changes
SELECT t.state() AS before \gset
SELECT ains.release(1, :token, '10 min');
SELECT ains.release(1, :token);
SELECT t.state() = :'before' AS nothing_changed;
-- known no more once somebody else has it
SELECT t.advance('11 min');
SELECT tasks_due FROM ains.sweep();
SELECT ains.release(1, :token);
SELECT task_id, attempt FROM ains.claim('a');
CALL t.refused(format('SELECT ains.release(1, %s)', :token));
CALL t.refused(format('SELECT ains.fail(1, %s, ''x'')', :token));
CALL t.refused(format('SELECT ains.complete(1, %s)', :token));
-- after the failure of the same token
SELECT ains.fail(1, t.token(1), 'x', false);
CALL t.refused($$SELECT ains.release(1, t.token(1))$$);
SELECT status FROM ains.get_task(1);

-- an expiry counts as long as no attempt was counted
SELECT ains.enqueue('x', expires_at => t.now() + interval '1 h') AS e \gset
SELECT count(*) FROM ains.claim('a', 10);
SELECT ains.release(:e, t.token(:e), '2 h');
SELECT t.advance('61 min');
SELECT tasks_expired, tasks_due FROM ains.sweep();
SELECT status FROM ains.get_task(:e);
-- a deadline that was set by the claim is gone
SELECT ains.enqueue('x', timeout => '1 min') AS d \gset
SELECT acknowledged FROM ains.heartbeat('a');
SELECT count(*) FROM ains.claim('a', 10);
SELECT ains.release(:d, t.token(:d));
SELECT t.advance('2 min');
SELECT attempts_timed_out FROM ains.sweep();
SELECT status, deadline, lease_expires_at FROM ains.get_task(:d);

-- bad input
CALL t.refused($$SELECT ains.release(NULL, 1)$$);
CALL t.refused($$SELECT ains.release(2, NULL)$$);
CALL t.refused($$SELECT ains.release(2, t.token(2), '-1 s')$$);
CALL t.refused($$SELECT ains.release(2, t.token(2), '110 years')$$);
CALL t.refused($$SELECT ains.release(99999, 1)$$);
SELECT status FROM ains.get_task(2);
