-- repeatable_read.sql: whose snapshot cannot see newer rows may not claim.
\set ON_ERROR_STOP 1
\set QUIET 1
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT no_plan();

SELECT ains.register_agent('tap', capabilities => '{tap}') IS NOT NULL AS registered \gset
SELECT lives_ok($$SELECT ains.enqueue('tap')$$, 'enqueue');
SELECT lives_ok($$SELECT ains.heartbeat('tap')$$, 'heartbeat');
SELECT throws_ok($$SELECT ains.claim('tap')$$, '0A000', NULL, 'claim is refused');
SELECT throws_ok($$SELECT ains.sweep()$$, '0A000', NULL, 'and so is a sweep');
SELECT is((SELECT count(*) FROM ains.tasks WHERE capability = 'tap' AND status = 'PENDING'), 1::bigint, 'nothing was claimed');
SELECT lives_ok($$SELECT ains.cancel(task_id) FROM ains.tasks WHERE capability = 'tap'$$, 'cancel');

SELECT * FROM finish();
ROLLBACK;
