-- ---------------------------------------------------------------------------
-- Metrics and health
-- ---------------------------------------------------------------------------

CREATE FUNCTION ains.metrics() RETURNS text
    LANGUAGE c STABLE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ains_metrics';
COMMENT ON FUNCTION ains.metrics() IS 'the metrics for Prometheus, exposition format 0.0.4';

CREATE FUNCTION ains.metric_samples(
    OUT name text, OUT type text, OUT help text, OUT labels jsonb, OUT value double precision)
    RETURNS SETOF record
    LANGUAGE c STABLE PARALLEL UNSAFE ROWS 200 AS 'MODULE_PATHNAME', 'ains_metric_samples';
COMMENT ON FUNCTION ains.metric_samples() IS 'the same metrics as rows';

CREATE FUNCTION ains.health() RETURNS jsonb
    LANGUAGE c STABLE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ains_health';
COMMENT ON FUNCTION ains.health() IS 'healthy, degraded or unhealthy, and why';

CREATE FUNCTION ains.check_health(
    OUT check_name text, OUT status text, OUT detail text, OUT advice text) RETURNS SETOF record
    LANGUAGE c STABLE PARALLEL UNSAFE ROWS 11 AS 'MODULE_PATHNAME', 'ains_check_health';
COMMENT ON FUNCTION ains.check_health() IS 'each check of health(), and what to do';
