\set ECHO none
\getenv abs_srcdir PG_ABS_SRCDIR
\set begin :abs_srcdir '/sql/begin.psql'
\i :begin
--
-- Schedules. The clock goes from full hour to full hour; what runs in the
-- minute after one is on time.
--
CREATE FUNCTION t.to_hour() RETURNS void LANGUAGE sql VOLATILE AS $$
SELECT t.advance(date_trunc('hour', t.now(), 'UTC') + interval '1 h 1 s' - t.now())
$$;
-- a time as so many hours from the current one
CREATE FUNCTION t.hours(at timestamptz) RETURNS numeric LANGUAGE sql VOLATILE AS $$
SELECT round(extract(epoch FROM at - date_trunc('hour', t.now(), 'UTC')) / 3600, 2)
$$;
CREATE VIEW t.schedules AS
SELECT name, owner, catch_up, paused, t.hours(last_run) AS last_run, t.hours(next_run) AS next_run, missed_runs, last_error FROM ains.schedules ORDER BY name;
-- the tasks that came of it, by the hour they are for; and they are gone
CREATE FUNCTION t.made() RETURNS TABLE (capability text, "for" numeric, run_at numeric, status ains.task_status, by regrole, priority smallint, metadata jsonb)
    LANGUAGE sql VOLATILE SECURITY DEFINER AS $$
WITH made AS (SELECT * FROM ains.task ORDER BY run_at, task_id), gone AS (SELECT ains.cancel(task_id) FROM made)
SELECT capability, t.hours((metadata->>'scheduled_for')::timestamptz), t.hours(run_at), status, enqueued_by, priority, metadata - 'scheduled_for' FROM made
 WHERE (SELECT count(*) FROM gone) >= 0 ORDER BY run_at, task_id
$$;
GRANT SELECT ON t.schedules TO PUBLIC;
SELECT t.to_hour();

-- nobody to run them: no pg_cron, and nothing else has called in the last minutes
CALL t.refused($$SELECT ains.schedule('s', '0 * * * *', 'x')$$);
SET ROLE regress_admin;
SELECT ains.run_schedules();
RESET ROLE;

SET ROLE regress_producer;
SELECT t.hours(ains.schedule('hourly', '0 * * * *', 'x', '{"p": 1}', 7, max_attempts => 2, timeout => '1 min', metadata => '{"m": 1}')) AS first_run;
SELECT * FROM t.schedules;
SELECT cron, timezone, capability, payload, priority, max_attempts, timeout, unique_key, metadata, last_task_id, t.about(created_at, '0') AS created FROM ains.schedules;
RESET ROLE;
-- not due
SELECT ains.run_schedules(), count(*) FROM ains.task;
-- due: one task, of the one who made it; once
SELECT t.to_hour(), ains.run_schedules() AS made, ains.run_schedules() AS again;
SELECT payload, max_attempts, timeout FROM ains.task;
SELECT name, last_task_id = (SELECT max(task_id) FROM ains.task) AS its_task FROM ains.schedules;
SELECT * FROM t.made();
SELECT * FROM t.schedules;
-- the schedule's name cannot be forged
SELECT ains.schedule('forged', '0 * * * *', 'x', metadata => '{"schedule": "other", "scheduled_for": "never"}') IS NOT NULL AS made;
SELECT t.to_hour(), ains.run_schedules();
SELECT capability, by = current_user::regrole AS mine, metadata FROM t.made() ORDER BY metadata->>'schedule';
SELECT ains.unschedule('forged');
-- undone with its transaction
BEGIN;
SELECT t.to_hour(), ains.run_schedules();
ROLLBACK;
SELECT count(*) FROM ains.task;
SELECT ains.run_schedules();
SELECT "for", run_at FROM t.made();

-- what was missed: none of it, one, or all; and the one that is on time
SELECT ains.unschedule('hourly');
SELECT count(ains.schedule('catch ' || c, '0 * * * *', 'c ' || c, catch_up => c)) FROM unnest(ARRAY['skip', 'one', 'all']) c;
SELECT t.to_hour(), t.to_hour(), t.to_hour(), t.to_hour();
SELECT * FROM t.schedules;
SELECT ains.run_schedules();
SELECT capability, "for", run_at, status FROM t.made() ORDER BY capability, "for";
SELECT * FROM t.schedules;
-- a minute late is missed
SELECT t.to_hour(), t.advance('61 s');
SELECT name, missed_runs FROM t.schedules;
SELECT ains.run_schedules();
SELECT capability, "for" FROM t.made() ORDER BY capability, "for";
SELECT name, next_run, missed_runs FROM t.schedules;
-- a second less is not
SELECT t.to_hour(), t.advance('40 s');
SELECT ains.run_schedules();
SELECT capability, "for" FROM t.made() ORDER BY capability, "for";
SELECT name, missed_runs FROM t.schedules;
-- a thousand at most, the latest of them
SELECT ains.unschedule('catch ' || c) FROM unnest(ARRAY['skip', 'one', 'all']) c;
SELECT count(ains.schedule('often', '* * * * *', 'often', catch_up => 'all'));
SELECT t.to_hour(), t.advance('24 h');
SELECT missed_runs BETWEEN 1440 AND 1500 AS missed FROM ains.schedules;
SELECT ains.run_schedules() IN (1000, 1001) AS made, ains.run_schedules() IN (0, 1) AS again;
SELECT count(*) IN (1000, 1001) AS made, count(DISTINCT run_at) = count(*) AS each_once, max(run_at) >= t.now() - interval '2 min' AS the_latest FROM ains.task;
SELECT missed_runs BETWEEN 1440 AND 1500 AS missed, next_run > t.now() - interval '1 min' AS goes_on FROM ains.schedules;
SELECT ains.unschedule('often');
SELECT count(ains.cancel(task_id)) IN (1000, 1001) AS gone FROM ains.task;

-- pause: nothing is made; what it missed counts, and is made up for
SELECT t.to_hour(), ains.run_schedules();
SET ROLE regress_producer;
SELECT count(ains.schedule('p', '0 * * * *', 'p'));
SELECT ains.pause_schedule('p'), ains.pause_schedule('p');
RESET ROLE;
SELECT t.to_hour(), t.to_hour(), ains.run_schedules();
SELECT * FROM t.schedules;
SET ROLE regress_producer;
SELECT ains.resume_schedule('p'), ains.resume_schedule('p');
RESET ROLE;
SELECT ains.run_schedules();
SELECT "for" FROM t.made();
SELECT * FROM t.schedules;
-- changed: as new, but for its owner, its pause and what it did
SET ROLE regress_admin;
SELECT ains.pause_schedule('p');
SELECT t.hours(ains.schedule('p', '30 * * * *', 'q', '2', catch_up => 'skip')) AS first_run;
RESET ROLE;
SELECT * FROM t.schedules;
SELECT capability, payload FROM ains.schedules;
SELECT ains.resume_schedule('p');
-- what is due when it is changed is not run any more
SELECT t.to_hour();
SELECT t.hours(ains.schedule('p', '0 * * * *', 'q')), ains.run_schedules() FROM ains.run_schedules();
SELECT ains.unschedule('p');
SELECT count(*) FROM ains.schedule;

-- unique_key: not while a task of an earlier run lives
SELECT count(ains.schedule('u', '0 * * * *', 'u', unique_key => 'only one', catch_up => 'all'));
SELECT t.to_hour(), t.to_hour(), t.to_hour(), ains.run_schedules();
SELECT "for" FROM t.made();
SELECT t.to_hour(), ains.run_schedules();
SELECT "for" FROM t.made();
SELECT ains.unschedule('u');

-- zones
SELECT count(ains.schedule('z', '0 0 1 1 *', 'z', timezone => 'Asia/Kathmandu'));
SELECT to_char(next_run AT TIME ZONE 'UTC', 'MM-DD HH24:MI') AS next_run, timezone FROM ains.schedules;
SELECT ains.unschedule('z');

-- one that cannot be run does not stop the others, stays due, and says why
SET ROLE regress_producer2;
SELECT count(ains.schedule('a revoked', '0 * * * *', 'x'));
SET ROLE regress_producer;
SELECT count(ains.schedule('b fine', '0 * * * *', 'x'));
RESET ROLE;
SELECT count(ains.schedule('c gone', '0 * * * *', 'gone'));
REVOKE ains_producer FROM regress_producer2;
DELETE FROM ains.capability WHERE capability = 'gone';
DELETE FROM ains.lane WHERE capability = 'gone';
SET ains.auto_create_capabilities = off;
SELECT ains.rescan();
SELECT t.to_hour();
SELECT ains.run_schedules();
SELECT by, "for" FROM t.made();
SELECT * FROM t.schedules;
GRANT ains_producer TO regress_producer2;
RESET ains.auto_create_capabilities;
SELECT ains.run_schedules();
SELECT CASE WHEN by <> current_user::regrole THEN by END AS by, "for" FROM t.made();
SELECT name, last_error FROM t.schedules;
SELECT ains.unschedule(name) FROM ains.schedules;

-- whose it is
SET ROLE regress_producer;
SELECT count(ains.schedule('mine', '0 * * * *', 'x', '{"secret": 1}', metadata => '{"m": 1}'));
SET ROLE regress_producer2;
CALL t.refused($$SELECT ains.schedule('mine', '0 * * * *', 'x')$$);
CALL t.refused($$SELECT ains.unschedule('mine')$$);
CALL t.refused($$SELECT ains.pause_schedule('mine')$$);
CALL t.refused($$SELECT ains.resume_schedule('mine')$$);
CALL t.refused($$SELECT ains.run_schedules()$$);
SELECT count(*) FROM ains.schedules;
SET ROLE regress_monitor;
SELECT name, payload, metadata FROM ains.schedules;
SET ROLE regress_agent;
SELECT count(*) FROM ains.schedules;
CALL t.refused($$SELECT ains.schedule('mine', '0 * * * *', 'x')$$);
SET ROLE regress_nobody;
CALL t.refused($$SELECT ains.unschedule('mine')$$);
CALL t.refused($$SELECT FROM ains.schedules$$);
RESET ROLE;
GRANT regress_producer TO regress_producer2;
SET ROLE regress_producer2;
SELECT ains.pause_schedule('mine');
SELECT count(ains.schedule('mine', '0 * * * *', 'x'));
SELECT name, owner, paused, payload FROM ains.schedules;
SELECT ains.unschedule('mine');
RESET ROLE;
REVOKE regress_producer FROM regress_producer2;
SET ROLE regress_producer;
SELECT count(ains.schedule('theirs', '0 * * * *', 'x'));
SET ROLE regress_admin;
SELECT ains.pause_schedule('theirs');
SELECT ains.resume_schedule('theirs');
SELECT ains.unschedule('theirs');
RESET ROLE;

-- refused
CALL t.refused($$SELECT ains.schedule(NULL, '* * * * *', 'x')$$);
CALL t.refused($$SELECT ains.schedule('', '* * * * *', 'x')$$);
CALL t.refused($$SELECT ains.schedule(repeat('x', 129), '* * * * *', 'x')$$);
CALL t.refused($$SELECT ains.schedule('s', NULL, 'x')$$);
CALL t.refused($$SELECT ains.schedule('s', 'every day', 'x')$$);
CALL t.refused($$SELECT ains.schedule('s', '61 * * * *', 'x')$$);
CALL t.refused($$SELECT ains.schedule('s', '0 0 30 2 *', 'x')$$);
CALL t.refused($$SELECT ains.schedule('s', '@reboot', 'x')$$);
CALL t.refused($$SELECT ains.schedule('s', '5 seconds', 'x')$$);
CALL t.refused($$SELECT ains.schedule('s', '* * * * *', NULL)$$);
CALL t.refused($$SELECT ains.schedule('s', '* * * * *', '')$$);
CALL t.refused($$SELECT ains.schedule('s', '* * * * *', 'x', NULL)$$);
CALL t.refused($$SELECT ains.schedule('s', '* * * * *', 'x', priority => 99)$$);
CALL t.refused($$SELECT ains.schedule('s', '* * * * *', 'x', priority => NULL)$$);
CALL t.refused($$SELECT ains.schedule('s', '* * * * *', 'x', max_attempts => 0)$$);
CALL t.refused($$SELECT ains.schedule('s', '* * * * *', 'x', timeout => '-1 s')$$);
CALL t.refused($$SELECT ains.schedule('s', '* * * * *', 'x', unique_key => '')$$);
CALL t.refused($$SELECT ains.schedule('s', '* * * * *', 'x', metadata => '[1]')$$);
CALL t.refused($$SELECT ains.schedule('s', '* * * * *', 'x', metadata => '"s"')$$);
CALL t.refused($$SELECT ains.schedule('s', '* * * * *', 'x', timezone => 'Nowhere')$$);
CALL t.refused($$SELECT ains.schedule('s', '* * * * *', 'x', timezone => NULL)$$);
CALL t.refused($$SELECT ains.schedule('s', '* * * * *', 'x', catch_up => 'some')$$);
CALL t.refused($$SELECT ains.schedule('s', '* * * * *', 'x', catch_up => NULL)$$);
SET ains.auto_create_capabilities = off;
CALL t.refused($$SELECT ains.schedule('s', '* * * * *', 'new')$$);
RESET ains.auto_create_capabilities;
CALL t.refused($$SELECT ains.unschedule('none')$$);
CALL t.refused($$SELECT ains.unschedule(NULL)$$);
CALL t.refused($$SELECT ains.pause_schedule('none')$$);
CALL t.refused($$SELECT ains.pause_schedule(NULL)$$);
CALL t.refused($$SELECT ains.resume_schedule('none')$$);
CALL t.refused($$SELECT ains.resume_schedule(NULL)$$);
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT ains.run_schedules();
ROLLBACK;
-- the last five minutes
SELECT t.to_hour(), ains.run_schedules();
SELECT t.advance('4 min');
SELECT count(ains.schedule('s', '* * * * *', 'x'));
SELECT t.advance('1 min');
CALL t.refused($$SELECT ains.schedule('s', '* * * * *', 'x')$$);
SELECT ains.pause_schedule('s'), ains.resume_schedule('s'), ains.unschedule('s');
