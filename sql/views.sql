-- ---------------------------------------------------------------------------
-- Views. They show a caller his own rows: tasks that a role he is a member of
-- enqueued or whose holder such a role owns, agents that such a role owns.
-- ains_admin sees everything, ains_monitor all but payloads and results.
-- Filters are sub-selects where they do not depend on the row, so that they
-- are computed once.
-- ---------------------------------------------------------------------------

-- Every task, unfiltered; its row type is the result of get_task().
-- effective_priority: what linear aging has made of the priority; the rank is
-- microseconds since 2000 of the due time less priority * aging interval.
CREATE VIEW ains.task_info AS
SELECT t.task_id, t.capability, t.status, t.priority,
       ((extract(epoch FROM ains_internal.clock_now()) - 946684800) * 1000000 - t.rank)::float8
           / nullif(extract(epoch FROM c.aging_interval) * 1000000, 0)::float8 AS effective_priority,
       t.attempt, coalesce(t.max_attempts, c.max_attempts) AS max_attempts,
       t.run_at, t.created_at, t.expires_at, t.enqueued_by,
       t.agent_id, t.lease_token, t.claimed_at, t.lease_expires_at, t.deadline,
       coalesce(t.timeout, c.timeout) AS timeout, t.min_trust, l.agent_id AS assigned_to,
       t.cancel_requested_at, t.cancel_reason, t.unique_key, t.progress,
       t.last_error AS error, NULL::timestamptz AS finished_at,
       t.payload, t.metadata, t.checkpoint, NULL::jsonb AS result, NULL::jsonb AS usage,
       t.depends_on, t.run_id, t.stage, t.concurrency_key
  FROM ains.task t JOIN ains.capability c USING (capability) LEFT JOIN ains.lane l USING (lane_id)
UNION ALL
SELECT h.task_id, h.capability, h.status, h.priority, NULL,
       h.attempt, coalesce(h.max_attempts, c.max_attempts),
       h.run_at, h.created_at, h.expires_at, h.enqueued_by,
       h.agent_id, h.lease_token, h.claimed_at, NULL, NULL,
       coalesce(h.timeout, c.timeout), h.min_trust, NULL,
       NULL, h.cancel_reason, h.unique_key, h.progress,
       h.error, h.finished_at,
       h.payload, h.metadata, h.checkpoint, h.result, h.usage,
       h.depends_on, h.run_id, h.stage, h.concurrency_key
  FROM ains.task_history h LEFT JOIN ains.capability c USING (capability);
COMMENT ON VIEW ains.task_info IS 'every task, live and finished; for the library (see ains.tasks)';

-- No barrier here: it is on the views that select from this one, each around all
-- of its conditions. So dead_letters looks at the status of a row before it asks
-- whether the caller may see it; = of an enum is not leakproof.
CREATE VIEW ains.visible_task AS
SELECT i.task_id, i.capability, i.status, i.priority, i.effective_priority, i.attempt,
       i.max_attempts, i.run_at, i.created_at, i.expires_at, i.enqueued_by, i.agent_id,
       i.claimed_at, i.lease_expires_at, i.deadline, i.timeout, i.min_trust,
       i.assigned_to, i.cancel_requested_at,
       i.cancel_reason, i.unique_key, i.progress, i.error, i.finished_at,
       CASE WHEN me.admin OR o.own THEN i.payload END AS payload,
       CASE WHEN me.admin OR o.own THEN i.metadata END AS metadata,
       CASE WHEN me.admin OR o.own THEN i.checkpoint END AS checkpoint,
       CASE WHEN me.admin OR o.own THEN i.result END AS result,
       CASE WHEN me.admin OR o.own THEN i.usage END AS usage,
       i.depends_on, i.run_id, i.stage, i.concurrency_key
  FROM ains.task_info i
  LEFT JOIN ains.agent a ON a.agent_id = i.agent_id AND i.status = 'ACTIVE'
 CROSS JOIN LATERAL (
       SELECT pg_has_role(current_user, i.enqueued_by::oid, 'USAGE')
              OR coalesce(pg_has_role(current_user, a.owner::oid, 'USAGE'), false) AS own) o
 CROSS JOIN (
       SELECT (SELECT coalesce(pg_has_role(current_user, to_regrole('ains_admin')::oid, 'USAGE'), false)) AS admin,
              (SELECT coalesce(pg_has_role(current_user, to_regrole('ains_monitor')::oid, 'USAGE'), false)) AS monitor) me
 WHERE me.monitor OR me.admin OR o.own;
COMMENT ON VIEW ains.visible_task IS 'the tasks you may see, without a barrier; for the library (see ains.tasks)';

CREATE VIEW ains.tasks WITH (security_barrier) AS
SELECT * FROM ains.visible_task;
COMMENT ON VIEW ains.tasks IS 'the tasks you may see, live and finished';

CREATE VIEW ains.dead_letters WITH (security_barrier) AS
SELECT * FROM ains.visible_task WHERE status = 'FAILED';
COMMENT ON VIEW ains.dead_letters IS 'tasks that failed for good; ains.retry puts one back, ains.redrive many';

CREATE VIEW ains.attempts WITH (security_barrier) AS
SELECT t.task_id, t.attempt, t.agent_id, t.started_at, t.ended_at, t.outcome, t.next_status, t.error
  FROM ains.attempt t
 WHERE EXISTS (SELECT FROM ains.tasks v WHERE v.task_id = t.task_id);
COMMENT ON VIEW ains.attempts IS 'attempts that did not succeed, of the tasks you may see';

CREATE VIEW ains.agents WITH (security_barrier) AS
SELECT a.agent_id, a.agent_type, a.display_name, a.endpoint, a.public_key, a.tags, a.metadata,
       a.owner, a.incarnation, a.wanted, a.health, a.dead_since, a.agent_status,
       a.heartbeat_timeout, a.max_active_tasks, a.metrics, a.registered_at,
       s.last_heartbeat,
       extract(epoch FROM ains_internal.clock_now() - s.last_heartbeat)::float8
           AS seconds_since_heartbeat,
       coalesce(r.active_tasks, 0) AS active_tasks, r.activity, a.trust_score
  FROM ains.agent a
  LEFT JOIN ains_internal.roster() r USING (agent_id)
 CROSS JOIN LATERAL (SELECT greatest(a.last_seen_at, r.last_heartbeat) AS last_heartbeat) s
 WHERE (SELECT coalesce(pg_has_role(current_user, to_regrole('ains_monitor')::oid, 'USAGE'), false))
    OR pg_has_role(current_user, a.owner::oid, 'USAGE');
COMMENT ON VIEW ains.agents IS 'the agents you may see';

CREATE VIEW ains.active_agents WITH (security_barrier) AS
SELECT * FROM ains.agents WHERE agent_status IN ('AVAILABLE', 'BUSY', 'DRAINING');
COMMENT ON VIEW ains.active_agents IS 'agents that are alive: AVAILABLE, BUSY or DRAINING';

CREATE VIEW ains.dead_agents WITH (security_barrier) AS
SELECT * FROM ains.agents WHERE agent_status = 'DEAD';
COMMENT ON VIEW ains.dead_agents IS 'agents that stopped beating';

CREATE VIEW ains.counters WITH (security_barrier) AS
SELECT capability, counter, bound, value FROM ains_internal.counters();
COMMENT ON VIEW ains.counters IS 'what was counted for each capability since the server was started: events, live tasks by status, histograms';

-- Runs that nobody has handled yet, since pg_cron or the schedule stands still,
-- are counted as missed all the same.
CREATE VIEW ains.schedules WITH (security_barrier) AS
SELECT s.name, s.owner, s.cron, s.timezone, s.catch_up, s.paused, s.capability, s.priority,
       s.max_attempts, s.timeout, s.unique_key, s.created_at, s.last_run, s.last_task_id,
       CASE WHEN s.paused THEN NULL
            WHEN s.next_run > ains_internal.clock_now() - interval '1 min' THEN s.next_run
            ELSE ains_internal.next_run(s.cron, s.timezone, ains_internal.clock_now()) END AS next_run,
       s.missed_runs
           + coalesce(ains_internal.missed_runs(s.cron, s.timezone, s.next_run), 0) AS missed_runs,
       s.last_error,
       CASE WHEN me.admin OR o.own THEN s.payload END AS payload,
       CASE WHEN me.admin OR o.own THEN s.metadata END AS metadata
  FROM ains.schedule s
 CROSS JOIN LATERAL (SELECT pg_has_role(current_user, s.owner::oid, 'USAGE') AS own) o
 CROSS JOIN (
       SELECT (SELECT coalesce(pg_has_role(current_user, to_regrole('ains_admin')::oid, 'USAGE'), false)) AS admin,
              (SELECT coalesce(pg_has_role(current_user, to_regrole('ains_monitor')::oid, 'USAGE'), false)) AS monitor) me
 WHERE me.monitor OR me.admin OR o.own;
COMMENT ON VIEW ains.schedules IS 'the schedules you may see';

CREATE VIEW ains.templates WITH (security_barrier) AS
SELECT t.*
  FROM ains.template t
 WHERE (SELECT coalesce(pg_has_role(current_user, to_regrole('ains_admin')::oid, 'USAGE'), false))
    OR pg_has_role(current_user, t.owner::oid, 'USAGE');
COMMENT ON VIEW ains.templates IS 'the templates you may use';

CREATE VIEW ains.events WITH (security_barrier) AS
SELECT e.event_id, e.happened_at, e.kind, e.owner, e.task_id, e.capability, e.agent_id, e.detail
  FROM ains.event e
 WHERE e.event_id <= (SELECT p.published FROM ains.event_progress p)
   AND ((SELECT coalesce(pg_has_role(current_user, to_regrole('ains_monitor')::oid, 'USAGE'), false))
        OR pg_has_role(current_user, e.owner::oid, 'USAGE'));
COMMENT ON VIEW ains.events IS 'the events you may see; no event with a lower id comes later';

CREATE VIEW ains.webhooks WITH (security_barrier) AS
SELECT w.webhook_id, w.url, w.events, w.owner, w.created_at, w.position
  FROM ains.webhook w
 WHERE (SELECT coalesce(pg_has_role(current_user, to_regrole('ains_admin')::oid, 'USAGE'), false))
    OR pg_has_role(current_user, w.owner::oid, 'USAGE');
COMMENT ON VIEW ains.webhooks IS 'the webhooks you may remove';

CREATE VIEW ains.runs WITH (security_barrier) AS
SELECT r.run_id, r.name, r.owner, r.status, r.target, r.on_failure, r.decision, r.decided_by,
       r.created_at, r.finished_at, l.live, e.completed, e.failed, e.cancelled, e.expired,
       CASE WHEN me.admin OR o.own THEN r.criteria END AS criteria,
       CASE WHEN me.admin OR o.own THEN r.metadata END AS metadata
  FROM ains.run r
 CROSS JOIN LATERAL (SELECT pg_has_role(current_user, r.owner::oid, 'USAGE') AS own) o
 CROSS JOIN (
       SELECT (SELECT coalesce(pg_has_role(current_user, to_regrole('ains_admin')::oid, 'USAGE'), false)) AS admin,
              (SELECT coalesce(pg_has_role(current_user, to_regrole('ains_monitor')::oid, 'USAGE'), false)) AS monitor) me
 CROSS JOIN LATERAL (SELECT count(*) AS live FROM ains.task t WHERE t.run_id = r.run_id) l
 CROSS JOIN LATERAL (
       SELECT coalesce(sum(y.completed), 0)::bigint AS completed,
              coalesce(sum(y.failed), 0)::bigint AS failed,
              coalesce(sum(y.cancelled), 0)::bigint AS cancelled,
              coalesce(sum(y.expired), 0)::bigint AS expired
         FROM ains.run_tally y WHERE y.run_id = r.run_id) e
 WHERE me.monitor OR me.admin OR o.own;
COMMENT ON VIEW ains.runs IS 'the runs you may see; ains.run_progress tells more of one';

COMMENT ON COLUMN ains.runs.live IS 'tasks that have not ended';
COMMENT ON COLUMN ains.runs.completed IS 'tasks that ended so; likewise the others';
COMMENT ON COLUMN ains.tasks.run_id IS 'the run it belongs to';
COMMENT ON COLUMN ains.tasks.stage IS 'its stage in that run';

COMMENT ON COLUMN ains.schedules.next_run IS 'when it is due next; NULL: it is paused';
COMMENT ON COLUMN ains.schedules.missed_runs IS 'runs that were a minute late or later, or still are';
COMMENT ON COLUMN ains.schedules.last_run IS 'the last time that became a task, last_task_id';

COMMENT ON COLUMN ains.counters.capability IS 'NULL: all that had no room in shared memory';
COMMENT ON COLUMN ains.counters.bound IS 'of a histogram''s bucket: seconds, at most';
COMMENT ON COLUMN ains.counters.value IS 'NULL: not known';

COMMENT ON COLUMN ains.tasks.effective_priority IS 'the priority and what waiting has added to it';
COMMENT ON COLUMN ains.tasks.min_trust IS 'the trust its agent must have, 0 to 1; NULL: none';
COMMENT ON COLUMN ains.tasks.assigned_to IS 'the agent that alone may claim it; NULL: any';
COMMENT ON COLUMN ains.tasks.cancel_requested_at IS 'when its agent was asked to stop';
COMMENT ON COLUMN ains.tasks.lease_expires_at IS 'when the lease ends unless beats renew it';

COMMENT ON COLUMN ains.agents.last_heartbeat IS 'when it was last seen';
COMMENT ON COLUMN ains.agents.active_tasks IS 'leases it holds';
COMMENT ON COLUMN ains.agents.activity IS 'what it says it is doing';
COMMENT ON COLUMN ains.agents.trust_score IS '0 to 1';
