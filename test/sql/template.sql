\set ECHO none
\getenv abs_srcdir PG_ABS_SRCDIR
\set begin :abs_srcdir '/sql/begin.psql'
\i :begin
--
-- Templates: arguments of enqueue under a name.
--
CREATE VIEW t.last AS
SELECT capability, payload, priority, max_attempts, timeout, unique_key, metadata, status, enqueued_by FROM ains.task ORDER BY task_id DESC LIMIT 1;
SET ROLE regress_producer;
SELECT ains.save_template('report', 'report', '{"format": "pdf", "pages": [1, 2], "to": {"name": "a", "mail": "b"}}', 7, 3, '10 min', metadata => '{"team": "x", "v": 1}');
SELECT name, owner, capability, payload, priority, max_attempts, timeout, unique_key, metadata, t.about(created_at, '0') AS created FROM ains.templates;
SELECT ains.enqueue_from_template('report') AS id \gset
RESET ROLE;
SELECT * FROM t.last;
SET ROLE regress_producer;
-- members of objects one by one, at the first level
SELECT ains.enqueue_from_template('report', '{"payload": {"format": "txt", "to": {"name": "c"}, "new": null}, "metadata": {"v": 2}}') IS NOT NULL AS made;
RESET ROLE;
SELECT payload, metadata FROM t.last;
-- anything else instead
SELECT ains.enqueue_from_template('report', '{"payload": [1], "metadata": null, "priority": 9, "max_attempts": null, "timeout": "1 hour", "unique_key": "k"}') AS id \gset
SELECT * FROM t.last;
SELECT ains.enqueue_from_template('report', '{"unique_key": "k", "payload": null}') <> :id AS another;
SELECT ains.enqueue_from_template('report', '{"unique_key": "k"}') = :id AS the_same;
SELECT ains.enqueue_from_template('report', '{"payload": null, "capability": "other", "priority": "3", "timeout": null}') IS NOT NULL AS made;
SELECT capability, payload, priority, timeout, metadata FROM t.last;
SELECT ains.enqueue_from_template('report', jsonb_build_object('run_at', t.now() + interval '1 h', 'expires_at', t.now() + interval '2 h')) AS id \gset
SELECT status, t.about(run_at, '1 h') AS run_at, t.about(expires_at, '2 h') AS expires_at FROM ains.task WHERE task_id = :id;
-- a null in the template is one of enqueue
SELECT ains.save_template('bare', 'bare');
SELECT ains.enqueue_from_template('bare') IS NOT NULL AS made;
SELECT * FROM t.last;
SELECT ains.enqueue_from_template('bare', '{"metadata": {"a": 1}, "payload": 5}') IS NOT NULL AS made;
SELECT payload, metadata FROM t.last;
-- saved again: the owner stays
SET ROLE regress_admin;
SELECT ains.save_template('report', 'report', '{"format": "html"}');
RESET ROLE;
SELECT name, owner, payload, priority, max_attempts, timeout, metadata FROM ains.templates WHERE name = 'report';
-- the sessions's styles do not matter
SELECT ains.save_template('long', 'long', timeout => '1 day 2 hours');
SET IntervalStyle = 'sql_standard';
SET DateStyle = 'German';
SELECT ains.enqueue_from_template('long') IS NOT NULL AS made;
RESET IntervalStyle;
RESET DateStyle;
SELECT timeout = '26 hours' AS timeout FROM t.last;

-- whose it is
SET ROLE regress_producer2;
CALL t.refused($$SELECT ains.enqueue_from_template('report')$$);
CALL t.refused($$SELECT ains.save_template('report', 'x')$$);
CALL t.refused($$SELECT ains.drop_template('report')$$);
SELECT count(*) FROM ains.templates;
SET ROLE regress_monitor;
SELECT count(*) FROM ains.templates;
SET ROLE regress_agent;
CALL t.refused($$SELECT ains.enqueue_from_template('report')$$);
CALL t.refused($$SELECT ains.save_template('mine', 'x')$$);
CALL t.refused($$SELECT ains.drop_template('report')$$);
RESET ROLE;
GRANT regress_producer TO regress_producer2;
SET ROLE regress_producer2;
SELECT ains.enqueue_from_template('report') IS NOT NULL AS made;
SELECT name FROM ains.templates;
RESET ROLE;
SELECT enqueued_by FROM t.last;
REVOKE regress_producer FROM regress_producer2;
SET ROLE regress_admin;
SELECT ains.enqueue_from_template('report') IS NOT NULL AS made;
SELECT ains.drop_template('report');
RESET ROLE;

-- refused
CALL t.refused($$SELECT ains.enqueue_from_template('report')$$);
CALL t.refused($$SELECT ains.enqueue_from_template(NULL)$$);
CALL t.refused($$SELECT ains.enqueue_from_template('bare', NULL)$$);
CALL t.refused($$SELECT ains.enqueue_from_template('bare', '[]')$$);
CALL t.refused($$SELECT ains.enqueue_from_template('bare', '"x"')$$);
CALL t.refused($$SELECT ains.enqueue_from_template('bare', '{"format": "txt"}')$$);
CALL t.refused($$SELECT ains.enqueue_from_template('bare', '{"name": "x"}')$$);
CALL t.refused($$SELECT ains.enqueue_from_template('bare', '{"priority": 11}')$$);
CALL t.refused($$SELECT ains.enqueue_from_template('bare', '{"priority": null}')$$);
CALL t.refused($$SELECT ains.enqueue_from_template('bare', '{"priority": "high"}')$$);
CALL t.refused($$SELECT ains.enqueue_from_template('bare', '{"priority": 1.5}')$$);
CALL t.refused($$SELECT ains.enqueue_from_template('bare', '{"priority": {}}')$$);
CALL t.refused($$SELECT ains.enqueue_from_template('bare', '{"run_at": "soon"}')$$);
CALL t.refused($$SELECT ains.enqueue_from_template('bare', '{"timeout": "-1 s"}')$$);
CALL t.refused($$SELECT ains.enqueue_from_template('bare', '{"capability": ""}')$$);
CALL t.refused($$SELECT ains.enqueue_from_template('bare', '{"on_conflict": "explode"}')$$);
CALL t.refused($$SELECT ains.save_template(NULL, 'x')$$);
CALL t.refused($$SELECT ains.save_template('', 'x')$$);
CALL t.refused($$SELECT ains.save_template('t', '')$$);
CALL t.refused($$SELECT ains.save_template('t', 'x', NULL)$$);
CALL t.refused($$SELECT ains.save_template('t', 'x', priority => 0)$$);
CALL t.refused($$SELECT ains.save_template('t', 'x', timeout => '-1 s')$$);
CALL t.refused($$SELECT ains.drop_template('none')$$);
CALL t.refused($$SELECT ains.drop_template(NULL)$$);
