-- So many events in ticks of 500, then one consumer reads them all, batch by
-- batch; prints events per second.
\set QUIET on
SET client_min_messages = warning;
SELECT set_config('bench.events', :'events', false) AS n \gset
DO $$
BEGIN
    FOR i IN 1 .. current_setting('bench.events')::int / 500 LOOP
        PERFORM pgq.insert_event('bench', 'task', jsonb_build_object('page', n, 'url',
                    'https://example.org/item/' || n, 'mode', 'summary', 'depth', 3)::text)
           FROM generate_series(1, 500) AS n;
        COMMIT;
        PERFORM pgq.force_tick('bench');
        PERFORM pgq.ticker('bench');
        COMMIT;
    END LOOP;
END
$$;
CREATE TEMP TABLE took (seconds float8, events bigint);
DO $$
DECLARE
    begun timestamptz := clock_timestamp();
    batch bigint;
    seen  bigint := 0;
BEGIN
    LOOP
        batch := pgq.next_batch('bench', 'bench');
        EXIT WHEN batch IS NULL;
        COMMIT;
        seen := seen + (SELECT count(e.ev_data) FROM pgq.get_batch_events(batch) AS e);
        PERFORM pgq.finish_batch(batch);
        COMMIT;
    END LOOP;
    INSERT INTO took VALUES (extract(epoch FROM clock_timestamp() - begun), seen);
END
$$;
SELECT events / seconds FROM took;
