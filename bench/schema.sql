-- The floor and the textbook queue: ains.task and ains.task_history again, with
-- the same columns, indexes, checks and fillfactor, in schemas of their own.
-- Needs the extension; run once per database.
SET client_min_messages = warning;

DO $$
DECLARE
    s       text;
    options text;
    day     date;
BEGIN
    SELECT array_to_string(reloptions, ', ') INTO options FROM pg_class WHERE oid = 'ains.task'::regclass;
    FOREACH s IN ARRAY ARRAY['floor', 'skip'] LOOP
        EXECUTE format('CREATE SCHEMA %I', s);
        EXECUTE format('CREATE TABLE %I.task (LIKE ains.task INCLUDING ALL)', s);
        IF options <> '' THEN
            EXECUTE format('ALTER TABLE %I.task SET (%s)', s, options);
        END IF;
        EXECUTE format('CREATE TABLE %I.task_history (LIKE ains.task_history INCLUDING ALL) PARTITION BY RANGE (shelf)', s);
        -- as many days as ains keeps ahead
        FOR day IN SELECT generate_series(current_date, current_date + 7, '1 day') LOOP
            EXECUTE format('CREATE TABLE %I.%I (LIKE %I.task_history INCLUDING ALL, PRIMARY KEY (task_id))',
                           s, 'task_history_' || to_char(day, 'YYYYMMDD'), s);
            EXECUTE format('ALTER TABLE %I.task_history ATTACH PARTITION %I.%I FOR VALUES FROM (%L) TO (%L)',
                           s, s, 'task_history_' || to_char(day, 'YYYYMMDD'), day, day + 1);
        END LOOP;
    END LOOP;
END
$$;

CREATE SCHEMA bench;

-- As a fleet would be: one agent per client, expected to be silent for hours.
SELECT count(ains.register_agent(n::text, capabilities => '{bench}', heartbeat_timeout => '12 h'))
  FROM generate_series(0, 511) AS n;
SELECT ains.enqueue('bench');		-- makes the lane and the first shelf

-- Empties one queue and puts so many tasks into it, all due, one a microsecond,
-- laid out the same for each of the three. in_runs_of: ours are of runs with so
-- many tasks.
CREATE PROCEDURE bench.fill(s text, tasks bigint, in_runs_of integer DEFAULT NULL) LANGUAGE plpgsql AS $$
DECLARE
    runs bigint[];
BEGIN
    EXECUTE format('TRUNCATE %I.task, %I.task_history', s, s);
    IF in_runs_of IS NOT NULL THEN
        SELECT array_agg(ains.create_run('bench')) INTO runs FROM generate_series(0, tasks / in_runs_of);
    END IF;
    EXECUTE format($sql$
        INSERT INTO %I.task (rank, lane_id, status, priority, run_at, created_at, enqueued_by, capability, payload, run_id)
        SELECT extract(epoch FROM now())::bigint * 1000000 - 5 * 600000000::bigint + n,
               (SELECT lane_id FROM ains.lane WHERE capability = 'bench'),
               'PENDING', 5, now(), now(), 'postgres', 'bench',
               jsonb_build_object('page', n, 'url', 'https://example.org/item/' || n, 'mode', 'summary',
                                  'depth', 3),
               $2[1 + (n - 1) / $3]
          FROM generate_series(1, $1) AS n$sql$, s) USING tasks, runs, in_runs_of;
    COMMIT;
    IF s = 'ains' THEN
        PERFORM ains.rescan();
    END IF;
END
$$;

-- Empties the queue and enqueues so many tasks for each of so many keys.
CREATE PROCEDURE bench.fill_keyed(keys integer, tasks integer) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM ains.configure_capability('bench', key_limit => 1);
    TRUNCATE ains.task, ains.task_history;
    COMMIT;
    PERFORM ains.rescan();
    FOR i IN 1 .. tasks LOOP
        PERFORM ains.enqueue('bench', jsonb_build_object('page', n, 'url', 'https://example.org/item/' || n,
                                                         'mode', 'summary', 'depth', 3),
                             concurrency_key => 'https://example.org/host/' || n)
           FROM generate_series(1, keys) AS n;
        COMMIT;
    END LOOP;
END
$$;
