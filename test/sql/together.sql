\set ECHO none
\getenv abs_srcdir PG_ABS_SRCDIR
\set begin :abs_srcdir '/sql/begin.psql'
\i :begin
--
-- Keys, lanes, chains, runs and limits together: whatever a task has of these,
-- none is lost on its way through the others.
--
SELECT key_limit FROM ains.configure_capability('work', key_limit => 1, concurrency_limit => 5, max_attempts => 1);
SELECT agent_id FROM ains.register_agent('a', capabilities => '{work}');
SELECT agent_id FROM ains.register_agent('b', capabilities => '{work}');

CREATE VIEW t.live AS
SELECT payload, status, concurrency_key AS key, unmet, (SELECT l.agent_id FROM ains.lane l WHERE l.lane_id = x.lane_id) AS lane_of
  FROM ains.task x ORDER BY task_id;
CREATE FUNCTION t.done(agent_id text) RETURNS void LANGUAGE sql AS $$
SELECT ains.complete(task_id, lease_token) FROM ains.task WHERE agent_id = $1 AND status = 'ACTIVE' ORDER BY task_id LIMIT 1
$$;

-- a task in line that is assigned to an agent which drains meanwhile goes to all, with its turn
SELECT ains.enqueue('work', '"holder"', concurrency_key => 'k') IS NOT NULL;
SELECT payload FROM ains.claim('a');
SELECT ains.enqueue('work', '"assigned"', concurrency_key => 'k', agent_id => 'b') IS NOT NULL;
SELECT agent_status FROM ains.drain_agent('b');
SELECT tasks_due FROM ains.sweep();
SELECT * FROM t.live;
SELECT t.done('a');
SELECT * FROM t.live;
SELECT payload FROM ains.claim('a');
SELECT t.done('a');
SELECT agent_status FROM ains.resume_agent('b');
SELECT * FROM ains.concurrency_key;

-- a key that is only looked at, since a live task has the unique_key, is not kept
SELECT ains.enqueue('work', '"one"', unique_key => 'u') IS NOT NULL;
SELECT ains.enqueue('work', '"two"', unique_key => 'u', concurrency_key => 'seen'), ains.enqueue('work', '"two"', unique_key => 'u', concurrency_key => 'seen', on_conflict => 'replace');
SELECT * FROM ains.concurrency_key;
SELECT * FROM t.live;
SELECT payload FROM ains.claim('a');
SELECT t.done('a');

-- steps of a chain with a key, trust and an output, in a run that goes on: a step that fails lets the
-- next come, which stands in line, and a retry of it stands there too
SELECT trust_score >= 0.4 FROM ains.agents WHERE agent_id = 'a';
SELECT ains.enqueue('work', '"before"', concurrency_key => 'k') IS NOT NULL;
SELECT ains.create_run('run', on_failure => 'continue') AS run_id \gset
SELECT ains.enqueue('work', '"first"', run_id => :run_id, min_trust => 0.4, concurrency_key => 'f') AS first \gset
SELECT ains.enqueue('work', '"second"', run_id => :run_id, min_trust => 0.4, concurrency_key => 'k', depends_on => ARRAY[:first]) AS second \gset
SELECT payload FROM ains.claim('a', 2);
SELECT ains.fail(:first, t.token(:first), 'broken');
SELECT * FROM t.live;
SELECT ains.cancel(:second);
SELECT status, live, completed, failed, cancelled FROM ains.runs;
SELECT ains.retry(:second), ains.retry(:first);
SELECT * FROM t.live;
SELECT status, live, failed, cancelled FROM ains.runs;
SELECT t.done('a');
SELECT * FROM t.live;
SELECT payload FROM ains.claim('b', 10) ORDER BY payload::text;
SELECT t.done('b'), t.done('b');
SELECT status, live, completed, failed, cancelled FROM ains.runs;
SELECT * FROM t.live;
SELECT * FROM ains.concurrency_key;

-- without history: a task in line that expires, one that is cancelled, and one that is taken back
SELECT keep_history FROM ains.configure_capability('work', keep_history => false, max_attempts => 2, backoff_base => '1 min', jitter => 0);
SELECT ains.enqueue('work', '"1"', concurrency_key => 'k'), ains.enqueue('work', '"2"', concurrency_key => 'k', expires_at => t.now() + interval '1 min'),
       ains.enqueue('work', '"3"', concurrency_key => 'k'), ains.enqueue('work', '"4"', concurrency_key => 'k') \g /dev/null
SELECT payload FROM ains.claim('a');
SELECT ains.cancel(task_id) FROM ains.task WHERE payload = '"3"';
SELECT t.advance('1 min');
SELECT tasks_expired FROM ains.sweep();
SELECT * FROM t.live;
SELECT agent_id FROM ains.register_agent('a', capabilities => '{work}');
SELECT * FROM t.live;
SELECT payload FROM ains.claim('b');
SELECT t.advance('10 min');
SELECT tasks_due FROM ains.sweep();
SELECT * FROM t.live;
SELECT status, key IS NOT NULL AS has_key, count(*) FROM t.live GROUP BY 1, 2 ORDER BY 1, 2;

-- a quota of the role that made a webhook holds up no deliveries, of it or of others
SET ains.events = 'task.cancelled';
SET ROLE regress_producer;
SELECT ains.add_webhook('https://one.example', '{task.cancelled}', 'secret') IS NOT NULL;
SELECT ains.enqueue('other'), ains.enqueue('other'), ains.enqueue('other') \g /dev/null
RESET ROLE;
SELECT ains.add_webhook('https://two.example', '{task.cancelled}', 'secret') IS NOT NULL;
SELECT ains.set_quota('regress_producer', 1, '1 hour');
SELECT ains.cancel(task_id) FROM ains.task WHERE capability = 'other';
CALL t.publish();
SELECT payload->>'url' AS url, count(*) FROM ains.task WHERE capability = 'ains.webhook' GROUP BY 1 ORDER BY 1;
SET ROLE regress_producer;
SELECT ains.enqueue('other') IS NOT NULL;
CALL t.refused($$SELECT ains.enqueue('other')$$);
RESET ROLE;
SELECT ains.set_quota('regress_producer', NULL);

-- and the gauges say what the rows say
SELECT coalesce(sum(value), 0) = (SELECT count(*) FROM ains.task WHERE status = s.status::ains.task_status) AS right, s.status
  FROM unnest('{BLOCKED,SCHEDULED,PENDING,ACTIVE}'::text[]) s (status) LEFT JOIN ains_internal.counters() c ON c.counter = s.status GROUP BY 2 ORDER BY 2;

--
-- One pass finds several due at once, and the first of them changes the others:
-- what depends on it fails before it expires, who is next in line is PENDING.
--
SELECT (c).key_limit FROM ains.configure_capability('chained', key_limit => 1) c;
SELECT ains.enqueue('chained', '"first"', expires_at => t.now() + interval '1 min') AS first \gset
SELECT ains.enqueue('chained', '"second"', expires_at => t.now() + interval '2 min', depends_on => ARRAY[:first]) AS second \gset
SELECT ains.enqueue('chained', '"third"', expires_at => t.now() + interval '3 min', depends_on => ARRAY[:second]) AS third \gset
SELECT ains.enqueue('chained', '"head"', expires_at => t.now() + interval '1 min', concurrency_key => 'k') AS head \gset
SELECT ains.enqueue('chained', '"next"', expires_at => t.now() + interval '2 min', concurrency_key => 'k') AS next \gset
SELECT ains.enqueue('chained', '"last"', expires_at => t.now() + interval '1 day', concurrency_key => 'k') AS last \gset
SELECT t.advance('5 min');
SELECT tasks_expired FROM ains.sweep();
SELECT payload, status, error FROM ains.tasks WHERE capability = 'chained' ORDER BY task_id;
SELECT counter, value FROM ains_internal.counters()
 WHERE capability = 'chained' AND bound IS NULL AND counter ~ '^(enqueued|failed|expired|BLOCKED|PENDING|SCHEDULED)$' ORDER BY 1;
