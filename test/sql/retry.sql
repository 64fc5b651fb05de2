\set ECHO none
\getenv abs_srcdir PG_ABS_SRCDIR
\set begin :abs_srcdir '/sql/begin.psql'
\i :begin
--
-- retry: a FAILED, CANCELLED or EXPIRED task comes back.
--
SELECT agent_id FROM ains.register_agent('a', capabilities => '{x}', heartbeat_timeout => '1 day');
SELECT ains.enqueue('x', '{"p": 1}', 8, max_attempts => 1, timeout => '1 h', unique_key => 'k', metadata => '{"m": 1}') AS failed,
       ains.enqueue('x', '{"p": 2}') AS cancelled,
       ains.enqueue('x', '{"p": 3}', 2, expires_at => t.now() + interval '1 min', run_at => t.now() + interval '30 s') AS expired,
       ains.enqueue('x', '{"p": 4}') AS completed \gset
SELECT task_id = :failed AS claimed FROM ains.claim('a');
SELECT ains.checkpoint(:failed, t.token(:failed), '"half"', 0.5) IS NOT NULL AS saved;
SELECT ains.fail(:failed, t.token(:failed), 'broken');
SELECT ains.cancel(:cancelled, 'why');
SELECT task_id = :completed AS claimed FROM ains.claim('a');
SELECT ains.complete(:completed, t.token(:completed));
SELECT t.advance('2 min');
SELECT tasks_expired FROM ains.sweep();
SELECT task_id, status FROM ains.task_info ORDER BY 1;

-- attempts at zero, same id, due now, history row gone; what was asked for is kept
SELECT t.token(:failed) AS token \gset
SELECT ains.retry(:failed) = :failed AS same_id;
SELECT status, priority, attempt, max_attempts, timeout, t.about(run_at, '0') AS due_now, unique_key, payload, metadata, checkpoint, error, finished_at, cancel_reason
  FROM ains.get_task(:failed);
SELECT count(*) FROM ains.task_history WHERE task_id = :failed;
SELECT ains.retry(:cancelled) = :cancelled AS same_id;
SELECT status, attempt, cancel_requested_at, cancel_reason, finished_at FROM ains.get_task(:cancelled);
-- one that expired does not expire again
SELECT ains.retry(:expired) = :expired AS same_id;
SELECT tasks_expired FROM ains.sweep();
-- they are claimable, with all their attempts
SELECT task_id, attempt, max_attempts, checkpoint FROM ains.claim('a', 10) WITH ORDINALITY ORDER BY ordinality;
-- the old token does not hold the new lease
CALL t.refused(format('SELECT ains.complete(%s, %s)', :failed, :token));
CALL t.refused(format('SELECT ains.extend_lease(%s, %s)', :failed, :token));
-- what it failed of before is still told
SELECT ains.fail(:failed, t.token(:failed), 'broken again');
SELECT attempt, outcome, error FROM ains.attempts WHERE task_id = :failed ORDER BY started_at;
-- and again
SELECT ains.retry(:failed) = :failed AS same_id;
SELECT task_id = :failed AS claimed, attempt FROM ains.claim('a');
SELECT ains.complete(:failed, t.token(:failed), '"at last"');
SELECT status, result FROM ains.get_task(:failed);
SELECT count(*) FROM ains.task_history WHERE task_id = :failed;

-- refused: what has not ended, and what completed
CALL t.refused(format('SELECT ains.retry(%s)', :completed));
CALL t.refused(format('SELECT ains.retry(%s)', :cancelled));
SELECT ains.release(:cancelled, t.token(:cancelled));
CALL t.refused(format('SELECT ains.retry(%s)', :cancelled));
SELECT task_id = :cancelled AS claimed FROM ains.claim('a');
SELECT ains.fail(:cancelled, t.token(:cancelled), 'later', true);
CALL t.refused(format('SELECT ains.retry(%s)', :cancelled));
-- its key is another live task's by now
SELECT ains.enqueue('x', unique_key => 'u') AS first \gset
SELECT ains.cancel(:first);
SELECT ains.enqueue('x', unique_key => 'u') AS second \gset
CALL t.refused(format('SELECT ains.retry(%s)', :first));
SELECT status FROM ains.get_task(:first);
SELECT ains.cancel(:second);
SELECT ains.retry(:first) = :first AS same_id;
CALL t.refused(format('SELECT ains.retry(%s)', :second));
-- bad input
CALL t.refused($$SELECT ains.retry(NULL)$$);
CALL t.refused($$SELECT ains.retry(99999)$$);
-- its capability is gone: it is made again
SELECT ains.enqueue('fleeting') AS fleeting \gset
SELECT ains.cancel(:fleeting);
DELETE FROM ains.capability WHERE capability = 'fleeting';
DELETE FROM ains.lane WHERE capability = 'fleeting';
SELECT ains.rescan();
SET ains.auto_create_capabilities = off;
SELECT ains.retry(:fleeting) = :fleeting AS same_id;
RESET ains.auto_create_capabilities;
SELECT status FROM ains.get_task(:fleeting);

-- who may: who enqueued it, an admin; not the agent that had it
SET ROLE regress_producer;
SELECT ains.enqueue('own') AS own \gset
SET ROLE regress_agent;
SELECT agent_id FROM ains.register_agent('mine', capabilities => '{own}');
SELECT task_id = :own AS claimed FROM ains.claim('mine');
SELECT ains.fail(:own, t.token(:own), 'broken', false);
CALL t.refused(format('SELECT ains.retry(%s)', :own));
SET ROLE regress_producer2;
CALL t.refused(format('SELECT ains.retry(%s)', :own));
SET ROLE regress_monitor;
CALL t.refused(format('SELECT ains.retry(%s)', :own));
SET ROLE regress_producer;
SELECT ains.retry(:own) = :own AS retried;
SELECT ains.cancel(:own);
SET ROLE regress_admin;
SELECT ains.retry(:own) = :own AS retried;
RESET ROLE;
-- it is still who enqueued it that it belongs to
SELECT enqueued_by FROM ains.get_task(:own);
