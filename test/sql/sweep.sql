\set ECHO none
\getenv abs_srcdir PG_ABS_SRCDIR
\set begin :abs_srcdir '/sql/begin.psql'
\i :begin
--
-- sweep and release_dead_agent_leases: one pass, counted.
--
SELECT agent_id FROM ains.register_agent('a', capabilities => '{x}', heartbeat_timeout => '1 year');
-- nothing to do
SELECT * FROM ains.sweep();
SELECT ains.release_dead_agent_leases();

-- everything at once
SELECT (c).lease FROM ains.configure_capability('x', lease => '1 min') c;
SELECT agent_id FROM ains.register_agent('d1', capabilities => '{dead}', heartbeat_timeout => '30 s');
SELECT agent_id FROM ains.register_agent('d2', capabilities => '{dead}', heartbeat_timeout => '30 s');
SELECT agent_id FROM ains.register_agent('d3', heartbeat_timeout => '30 s');
SELECT count(ains.enqueue('x')) FROM generate_series(1, 3);
SELECT count(ains.enqueue('dead')) FROM generate_series(1, 5);
SELECT count(ains.enqueue('out of time', timeout => '50 s')) FROM generate_series(1, 4);
SELECT count(ains.enqueue('soon', run_at => t.now() + interval '40 s')) FROM generate_series(1, 6);
SELECT count(ains.enqueue('late', expires_at => t.now() + interval '40 s')) FROM generate_series(1, 7);
SELECT agent_id FROM ains.register_agent('o', capabilities => '{out of time}', heartbeat_timeout => '1 year');
SELECT count(*) FROM ains.claim('a', 10);
SELECT count(*) FROM ains.claim('d1', 2, '1 h');
SELECT count(*) FROM ains.claim('d2', 10, '1 h');
SELECT count(*) FROM ains.claim('o', 10, '1 h');
SELECT t.advance('20 s');
SELECT * FROM ains.sweep();
SELECT t.advance('1 min');
SELECT * FROM ains.sweep();
SELECT * FROM ains.sweep();
SELECT capability, status, count(*) FROM ains.task_info GROUP BY 1, 2 ORDER BY 1, 2;
SELECT agent_id, agent_status, active_tasks FROM ains.agents ORDER BY 1;
SELECT outcome, count(*) FROM ains.attempt GROUP BY 1 ORDER BY 1;

-- the leases of dead agents, alone
SELECT agent_status FROM ains.heartbeat('d1');
SELECT count(*) FROM ains.claim('d1', 10, '1 h');
SELECT t.advance('1 min');
SELECT ains.release_dead_agent_leases();
SELECT ains.release_dead_agent_leases();
SELECT agent_status, active_tasks FROM ains.agents WHERE agent_id = 'd1';
SELECT capability, status, attempt, count(*) FROM ains.task WHERE capability = 'dead' GROUP BY 1, 2, 3 ORDER BY 3;

SELECT t.advance('2 min');
SELECT tasks_due FROM ains.sweep();

-- in a transaction that is rolled back nothing has happened, and the next pass does it
SELECT count(ains.enqueue('x', run_at => t.now() + interval '30 s', expires_at => t.now() + interval '1 h')) FROM generate_series(1, 2);
SELECT t.advance('1 min');
BEGIN;
SELECT tasks_due FROM ains.sweep();
SELECT tasks_due FROM ains.sweep();
ROLLBACK;
SELECT tasks_due FROM ains.sweep();
BEGIN;
SAVEPOINT s;
SELECT t.advance('1 h');
SELECT tasks_expired FROM ains.sweep();
ROLLBACK TO s;
SELECT tasks_expired FROM ains.sweep();
COMMIT;
SELECT tasks_expired FROM ains.sweep();

-- dead by a beat that came too late; a stall of the server is the same when nobody sweeps
SELECT agent_status FROM ains.heartbeat('d3');
SELECT t.advance('29 s');
SELECT agent_status FROM ains.heartbeat('d3');
SELECT t.advance('29 s');
SELECT agents_marked_dead FROM ains.sweep();
SELECT t.advance('29 s');
SELECT agents_marked_dead FROM ains.sweep();

-- after a change by hand
UPDATE ains.task SET wake_at = '2001-01-01 00:00+00', run_at = '2001-01-01 00:00+00', status = 'SCHEDULED' WHERE task_id = (SELECT min(task_id) FROM ains.task WHERE capability = 'dead');
SELECT ains.rescan();
SELECT tasks_due FROM ains.sweep();

-- who may
SET ROLE regress_agent;
CALL t.refused($$SELECT * FROM ains.sweep()$$);
CALL t.refused($$SELECT ains.release_dead_agent_leases()$$);
CALL t.refused($$SELECT ains.rescan()$$);
SET ROLE regress_monitor;
CALL t.refused($$SELECT * FROM ains.sweep()$$);
SET ROLE regress_admin;
SELECT tasks_due FROM ains.sweep();
SELECT ains.release_dead_agent_leases();
SELECT ains.rescan();
RESET ROLE;
