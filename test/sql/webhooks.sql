\set ECHO none
\getenv abs_srcdir PG_ABS_SRCDIR
\set begin :abs_srcdir '/sql/begin.psql'
\i :begin
--
-- Webhooks: events become tasks, each once.
--
-- What is to be delivered.
CREATE VIEW t.deliveries AS
SELECT enqueued_by::text, payload->>'url' AS url, payload->'headers'->>'X-AINS-Event' AS event,
       (payload->>'body')::jsonb->>'task_id' AS task_id
  FROM ains.task WHERE capability = 'ains.webhook' ORDER BY task_id;

-- what is refused
\set ON_ERROR_STOP off
\set VERBOSITY default
SELECT ains.add_webhook('ftp://example.com', '{*}', 'secret');
SELECT ains.add_webhook('http://', '{*}', 'secret');
SELECT ains.add_webhook('https:///path', '{*}', 'secret');
SELECT ains.add_webhook(E'https://example.com/\nX: y', '{*}', 'secret');
SELECT ains.add_webhook('https://example.com', '{task.done}', 'secret');
SELECT ains.add_webhook('https://example.com', '{"task.failed,task.expired"}', 'secret');
SELECT ains.add_webhook('https://example.com', '{}', 'secret');
SELECT ains.add_webhook('https://example.com', NULL, 'secret');
SELECT ains.add_webhook('https://example.com', '{*}', '');
SELECT ains.add_webhook('https://example.com', '{*}', NULL);
SELECT ains.remove_webhook(1);
\set VERBOSITY terse
\set ON_ERROR_STOP on

-- nothing is recorded so far
SET client_min_messages = warning;
SELECT ains.add_webhook('https://example.com', '{task.failed}', 'secret') AS id \gset
SELECT ains.remove_webhook(:id);
SET ains.events = '*';
SELECT ains.enqueue('work', '"before"') > 0;

-- each is told of what it may see, from now on
SET ROLE regress_producer;
SELECT ains.add_webhook('https://one.example', '{task.enqueued,task.cancelled}', 'secret') AS one \gset
SET ROLE regress_producer2;
SELECT ains.add_webhook('https://two.example', '{task.*}', 'another') AS two \gset
SET ROLE regress_admin;
SELECT ains.add_webhook('https://all.example', '{agent.registered,task.cancelled}', 'third') AS three \gset
SET ROLE regress_producer;
SELECT url, events, owner::text FROM ains.webhooks;
SELECT ains.enqueue('work', '"mine"') AS mine \gset
SELECT ains.cancel(:mine);
SET ROLE regress_agent;
SELECT agent_id FROM ains.register_agent('a', capabilities => '{ains.webhook}');
RESET ROLE;
CALL t.publish();
SELECT enqueued_by, url, event, task_id = :'mine' AS mine FROM t.deliveries;
-- again makes no more, nor do events of deliveries
CALL t.publish();
SELECT count(*) FROM t.deliveries;
-- who has been told of all there is is not behind
SELECT name, value > 0 AS any FROM ains.metric_samples() WHERE name ~ '^ains_(events|webhook)' ORDER BY 1;
SELECT count(*) FILTER (WHERE capability = 'ains.webhook') FROM ains.events;
-- deliveries are counted as tasks
SELECT value = (SELECT count(*) FROM t.deliveries) AS all_of_them FROM ains.metric_samples()
 WHERE name = 'ains_tasks_created_total' AND labels = '{"capability": "ains.webhook"}';

-- the payload is all that is to be sent, and not the secret
SELECT payload->>'url' AS url, (payload->'headers') - '{X-AINS-Signature,X-AINS-Delivery}'::text[] AS headers,
       payload->'headers'->>'X-AINS-Delivery' = :'one' || '-'::text || ((payload->>'body')::jsonb->>'event_id') AS delivery,
       (payload->>'body')::jsonb - '{event_id,happened_at,task_id}'::text[] AS body,
       (payload->>'body')::jsonb->>'happened_at' ~ '^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$' AS time,
       payload->'headers'->>'X-AINS-Signature' ~ '^sha256=[0-9a-f]{64}$' AS signed,
       payload::text ~ 'secret' AS secret
  FROM ains.task WHERE capability = 'ains.webhook' ORDER BY task_id LIMIT 1;
-- HMAC-SHA256 as RFC 2104 has it, for a key shorter than a block
CREATE FUNCTION t.xor(key bytea, pad integer) RETURNS bytea LANGUAGE plpgsql AS $$
BEGIN
    key := key || decode(repeat('00', 64 - length(key)), 'hex');
    FOR i IN 0 .. 63 LOOP
        key := set_byte(key, i, get_byte(key, i) # pad);
    END LOOP;
    RETURN key;
END
$$;
SELECT payload->>'url' AS url, payload->'headers'->>'X-AINS-Signature' = 'sha256=' || encode(
           sha256(t.xor(k, 92) || sha256(t.xor(k, 54) || convert_to(payload->>'body', 'UTF8'))), 'hex') AS signed_so
  FROM ains.task, LATERAL (SELECT CASE payload->>'url' WHEN 'https://one.example' THEN 'secret'
                                  ELSE 'third' END::bytea) k (k)
 WHERE capability = 'ains.webhook' ORDER BY task_id;

-- a role that must not any more
REVOKE ains_producer FROM regress_producer;
SET ains.events = 'task.cancelled';
SELECT ains.cancel(task_id) FROM ains.task WHERE capability = 'ains.webhook';
SELECT ains.cancel(task_id) FROM ains.task;
SET ROLE regress_admin;
SELECT ains.enqueue('work') AS other \gset
SELECT ains.cancel(:other);
RESET ROLE;
CALL t.publish();
SELECT enqueued_by, url, event FROM t.deliveries;
GRANT ains_producer TO regress_producer;

-- rolled back, a sweep has enqueued nothing
SET ROLE regress_producer;
SELECT ains.enqueue('work') AS mine \gset
SELECT ains.cancel(:mine);
RESET ROLE;
SELECT count(*) AS before FROM t.deliveries \gset
BEGIN;
SELECT leases_expired FROM ains.sweep();
ROLLBACK;
SELECT count(*) - :before AS more FROM t.deliveries;
CALL t.publish();
SELECT count(*) - :before AS more FROM t.deliveries;

-- a run that waits for somebody: who may see it is told
SET ains.events = 'run.*';
SET ROLE regress_producer;
SELECT ains.add_webhook('https://decide.example', '{run.needs_decision}', 'secret') AS decide \gset
SELECT ains.create_run('mine', target => 2) AS run \gset
SELECT ains.enqueue('step', run_id => :run) > 0;
SET ROLE regress_producer2;
SELECT ains.add_webhook('https://theirs.example', '{run.*}', 'secret') AS theirs \gset
RESET ROLE;
SELECT agent_id FROM ains.register_agent('worker', capabilities => '{step}');
SELECT ains.complete(task_id, lease_token) FROM ains.claim('worker');
SET ROLE regress_producer;
SELECT ains.resolve_run(:run, 'accept');
RESET ROLE;
CALL t.publish();
SELECT enqueued_by::text, payload->>'url' AS url, payload->'headers'->>'X-AINS-Event' AS event,
       (body->'detail'->>'run_id')::bigint = :run AS run, body - '{event_id,happened_at}'::text[] #- '{detail,run_id}' AS body
  FROM ains.task, LATERAL (SELECT (payload->>'body')::jsonb AS body) b
 WHERE capability = 'ains.webhook' AND body->>'event' LIKE 'run.%' ORDER BY task_id;
SET ROLE regress_admin;
SELECT ains.remove_webhook(:decide), ains.remove_webhook(:theirs);
RESET ROLE;

-- everybody removes his own
SET ROLE regress_producer2;
\set ON_ERROR_STOP off
SELECT ains.remove_webhook(:one);
\set ON_ERROR_STOP on
SELECT ains.remove_webhook(:two);
SET ROLE regress_admin;
SELECT ains.remove_webhook(:one);
SELECT url FROM ains.webhooks;
SET ROLE regress_monitor;
SELECT count(*) FROM ains.webhooks;
RESET ROLE;
