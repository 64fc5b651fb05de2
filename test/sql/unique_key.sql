\set ECHO none
\getenv abs_srcdir PG_ABS_SRCDIR
\set begin :abs_srcdir '/sql/begin.psql'
\i :begin
--
-- unique_key: one live task of a capability has it.
--
SELECT agent_id FROM ains.register_agent('a', capabilities => '{x,y}', heartbeat_timeout => '1 day');

SELECT ains.enqueue('x', '1', unique_key => 'k', metadata => '"m1"') AS id \gset
-- return, the default: the id of the live one, and nothing of the call is used
SELECT t.state() AS before \gset
SELECT ains.enqueue('x', '2', 9, unique_key => 'k', metadata => '"m2"') = :id AS the_same;
SELECT ains.enqueue('x', '2', unique_key => 'k', on_conflict => 'return') = :id AS the_same;
SELECT t.state() = :'before' AS nothing_changed;
-- refuse
CALL t.refused($$SELECT ains.enqueue('x', '2', unique_key => 'k', on_conflict => 'refuse')$$);
-- replace: the payload of one that is not ACTIVE
SELECT ains.enqueue('x', '3', 9, unique_key => 'k', on_conflict => 'replace') = :id AS the_same;
SELECT payload, metadata, priority, status FROM ains.get_task(:id);
SELECT ains.enqueue('x', '4', unique_key => 'k', metadata => '"m4"', on_conflict => 'replace') = :id AS the_same;
SELECT payload, metadata FROM ains.get_task(:id);
SELECT task_id = :id AS claimed FROM ains.claim('a');
SELECT ains.enqueue('x', '5', unique_key => 'k', on_conflict => 'replace') = :id AS the_same;
SELECT payload, status FROM ains.get_task(:id);
CALL t.refused($$SELECT ains.enqueue('x', '2', unique_key => 'k', on_conflict => 'refuse')$$);
-- one that waits for its next attempt
SELECT ains.fail(:id, t.token(:id), 'again', true);
SELECT ains.enqueue('x', '6', unique_key => 'k', on_conflict => 'replace') = :id AS the_same;
SELECT payload, status, attempt FROM ains.get_task(:id);

-- another capability, another key, no key: other tasks
SELECT ains.enqueue('y', unique_key => 'k') <> :id AS another, ains.enqueue('x', unique_key => 'K') <> :id AS another,
       ains.enqueue('x', unique_key => 'k ') <> :id AS another, ains.enqueue('x') <> :id AS another, ains.enqueue('x') <> :id AS another;
-- longest
SELECT ains.enqueue('x', unique_key => repeat('k', 1024)) = ains.enqueue('x', unique_key => repeat('k', 1024)) AS the_same;
SELECT ains.enqueue('x', unique_key => repeat('ü', 1000)) = ains.enqueue('x', unique_key => repeat('ü', 1000)) AS the_same;

-- free when the task has ended, however
SELECT ains.cancel(:id);
SELECT ains.enqueue('x', unique_key => 'k') AS next \gset
SELECT :next <> :id AS another;
SELECT count(*) > 0 AS claimed FROM ains.claim('a', 100);
SELECT ains.complete(:next, t.token(:next));
SELECT ains.enqueue('x', unique_key => 'k', on_conflict => 'refuse') <> :next AS another;
-- taken in a transaction that is rolled back
BEGIN;
SELECT ains.enqueue('x', unique_key => 'rolled back') IS NOT NULL AS enqueued;
CALL t.refused($$SELECT ains.enqueue('x', unique_key => 'rolled back', on_conflict => 'refuse')$$);
ROLLBACK;
SELECT ains.enqueue('x', unique_key => 'rolled back', on_conflict => 'refuse') IS NOT NULL AS enqueued;
