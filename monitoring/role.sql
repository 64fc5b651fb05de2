-- A role for the exporter that may read the numbers and nothing else: no task,
-- no agent, no payload. As a superuser, in each database that has ains:
--
--	psql -d DATABASE -f monitoring/role.sql
--
-- It has no password: let pg_hba.conf say peer for it, or say \password
-- ains_exporter.
DO $$
BEGIN
    IF to_regrole('ains_exporter') IS NULL THEN
        CREATE ROLE ains_exporter LOGIN CONNECTION LIMIT 5;
    END IF;
END
$$;
ALTER ROLE ains_exporter SET default_transaction_read_only = on;
ALTER ROLE ains_exporter SET statement_timeout = '5s';
GRANT USAGE ON SCHEMA ains TO ains_exporter;
GRANT EXECUTE ON FUNCTION ains.metric_samples(), ains.queue_stats() TO ains_exporter;
