-- A role for the exporter that may read the numbers and nothing else: no task,
-- no agent, no payload. As a superuser, in each database that has ains:
--
--	psql -d DATABASE -f monitoring/role.sql
--
-- Debian's exporter runs as the user prometheus, whom PostgreSQL lets in as the
-- role of that name, by its socket and without a password.
DO $$
BEGIN
    IF to_regrole('prometheus') IS NULL THEN
        CREATE ROLE prometheus LOGIN CONNECTION LIMIT 5;
        ALTER ROLE prometheus SET default_transaction_read_only = on;
        ALTER ROLE prometheus SET statement_timeout = '5s';
    END IF;
END
$$;
GRANT USAGE ON SCHEMA ains TO prometheus;
GRANT EXECUTE ON FUNCTION ains.metric_samples(), ains.queue_stats() TO prometheus;
