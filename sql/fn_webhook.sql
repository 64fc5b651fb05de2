-- ---------------------------------------------------------------------------
-- Webhooks
-- ---------------------------------------------------------------------------

CREATE FUNCTION ains.add_webhook(url text, events text[], secret text) RETURNS bigint
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ains_add_webhook';
COMMENT ON FUNCTION ains.add_webhook(text, text[], text)
    IS 'from now on each of these events becomes a task that tells the URL of it, signed; returns the webhook''s id';

CREATE FUNCTION ains.remove_webhook(webhook_id bigint) RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ains_remove_webhook';
COMMENT ON FUNCTION ains.remove_webhook(bigint) IS 'ends ains.add_webhook; tasks that it made stay';
