-- report.sql - what the demo did, from SQL.
--
-- psql variables: tasks (how many were enqueued), capability, killed_at (when
-- agent-2 was killed), twice (tasks that the agents' logs call completed more
-- than once).  Fails when something is not as promised.

\set ON_ERROR_STOP on
\set QUIET on
\pset pager off
\pset footer off
\pset border 1

\echo 'Licences: in how many packages each was found'
SELECT licence,
       count(*) AS packages,
       repeat('#', (count(*) * 40 / max(count(*)) OVER ())::integer) AS " "
  FROM ains.tasks, jsonb_array_elements_text(result -> 'licences') AS licence
 WHERE capability = :'capability'
 GROUP BY licence
 ORDER BY packages DESC, licence
 LIMIT 15;

\echo 'What was read'
SELECT result ->> 'format' AS "copyright file",
       count(*) AS packages,
       pg_size_pretty(sum((result ->> 'bytes')::bigint)) AS size,
       count(*) FILTER (WHERE result -> 'licences' = '[]') AS "no licence found"
  FROM ains.tasks
 WHERE capability = :'capability'
 GROUP BY 1
 ORDER BY 2 DESC;

\echo 'Who did it'
SELECT a.agent_id AS agent, a.agent_status AS status, count(t.task_id) AS completed,
       coalesce(lost.attempts, 0) AS "attempts lost"
  FROM ains.agents AS a
  LEFT JOIN ains.tasks AS t ON t.agent_id = a.agent_id AND t.status = 'COMPLETED'
  LEFT JOIN (SELECT agent_id, count(*) AS attempts FROM ains.attempts GROUP BY 1) AS lost ON lost.agent_id = a.agent_id
 GROUP BY 1, 2, 4
 ORDER BY 1;

\echo 'What agent-2 held when it was killed: given back by the server, claimed again when a slot was free'
SELECT l.task_id AS task, t.payload ->> 'package' AS package, l.outcome AS "attempt 1",
       round(extract(epoch FROM l.ended_at - :'killed_at'::timestamptz) * 1000, 1) || ' ms' AS "given back after",
       round(extract(epoch FROM t.claimed_at - :'killed_at'::timestamptz) * 1000, 1) || ' ms' AS "claimed again after",
       t.agent_id AS by, t.attempt, t.status
  FROM ains.attempts AS l
  JOIN ains.tasks AS t USING (task_id)
 WHERE l.agent_id = 'agent-2'
 ORDER BY 1;

\echo 'Checks'
CREATE TEMP TABLE "check" AS
SELECT *, found = expected AS ok
  FROM (SELECT 'tasks completed' AS "check", :'tasks'::bigint AS expected,
               count(*) FILTER (WHERE status = 'COMPLETED') AS found
          FROM ains.tasks WHERE capability = :'capability'
        UNION ALL
        SELECT 'different tasks among them', :'tasks', count(DISTINCT task_id)
          FROM ains.task_history WHERE capability = :'capability' AND status = 'COMPLETED'
        UNION ALL
        SELECT 'results for the right package', :'tasks', count(*)
          FROM ains.tasks
         WHERE capability = :'capability' AND result ->> 'package' = payload ->> 'package'
        UNION ALL
        SELECT 'completed twice, says history', 0, count(*)
          FROM (SELECT FROM ains.task_history GROUP BY task_id HAVING count(*) > 1) AS again
        UNION ALL
        SELECT 'completed twice, say the agents', 0, :'twice'::bigint
        UNION ALL
        SELECT 'dead letters', 0, count(*) FROM ains.dead_letters
        UNION ALL
        SELECT 'still waiting or running', 0, coalesce(sum(blocked + scheduled + pending + active), 0)::bigint
          FROM ains.queue_stats()
        UNION ALL
        SELECT 'attempts lost by others than agent-2', 0, count(*) FROM ains.attempts WHERE agent_id <> 'agent-2') AS c;
SELECT "check", expected, found, CASE WHEN ok THEN 'ok' ELSE 'WRONG' END AS " " FROM "check";

SELECT bool_and(ok) AS all_ok,
       (SELECT count(*) > 0 FROM ains.attempts WHERE agent_id = 'agent-2') AS recovered
  FROM "check" \gset
\if :recovered
\else
    \warn 'nothing was recovered from the killed agent'
    \set all_ok false
\endif
\if :all_ok
    \echo 'Every task was completed exactly once.'
\else
    DO $$ BEGIN RAISE EXCEPTION 'a check failed'; END $$;
\endif
