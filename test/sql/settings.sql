\set ECHO none
\getenv abs_srcdir PG_ABS_SRCDIR
\set begin :abs_srcdir '/sql/begin.psql'
\i :begin
--
-- The settings: which there are, who may change them and to what.
--
SELECT name, boot_val, unit, min_val, max_val, context, short_desc FROM pg_settings WHERE name LIKE 'ains.%' ORDER BY name COLLATE "C";
-- none that is misspelt
SET ains.max_paylod = 1;
\echo :LAST_ERROR_SQLSTATE
-- out of range
CALL t.refused($$SELECT set_config('ains.default_lease', '0', false)$$);
CALL t.refused($$SELECT set_config('ains.default_lease', '31 d', false)$$);
CALL t.refused($$SELECT set_config('ains.default_lease', 'NaN', false)$$);
CALL t.refused($$SELECT set_config('ains.max_payload', '0', false)$$);
CALL t.refused($$SELECT set_config('ains.max_payload', '1 GB', false)$$);
CALL t.refused($$SELECT set_config('ains.auto_create_capabilities', 'maybe', false)$$);
-- only with a reload, only with a restart
CALL t.refused($$SELECT set_config('ains.heartbeat_timeout', '10 s', false)$$);
CALL t.refused($$SELECT set_config('ains.retention', '2 d', false)$$);
CALL t.refused($$SELECT set_config('ains.databases', 'x', false)$$);
CALL t.refused($$SELECT set_config('ains.max_agents', '100', false)$$);
CALL t.refused($$SELECT set_config('ains.enable_test_clock', 'on', false)$$);
-- not everybody
SET ROLE regress_admin;
CALL t.refused($$SELECT set_config('ains.default_lease', '1 h', false)$$);
CALL t.refused($$SELECT set_config('ains.max_payload', '1 MB', false)$$);
CALL t.refused($$SELECT set_config('ains.auto_create_capabilities', 'off', false)$$);
RESET ROLE;
-- the heartbeat timeout of agents that have none of their own
SELECT agent_id FROM ains.register_agent('a');
SELECT next_heartbeat_in FROM ains.heartbeat('a');
ALTER SYSTEM SET ains.heartbeat_timeout = '12 s';
SELECT pg_reload_conf() AS reloaded;
\c -
\set SHOW_CONTEXT never
SHOW ains.heartbeat_timeout;
SELECT next_heartbeat_in FROM ains.heartbeat('a');
SELECT t.advance('13 s');
SELECT agents_marked_dead FROM ains.sweep();
ALTER SYSTEM RESET ains.heartbeat_timeout;
SELECT pg_reload_conf() AS reloaded;
\c -
SHOW ains.heartbeat_timeout;
