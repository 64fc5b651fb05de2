\set n :n + 1
SELECT count(*) FROM ains.enqueue_batch('bench', (SELECT jsonb_agg('{"page": 17, "url": "https://example.org/item/17", "mode": "summary", "depth": 3}'::jsonb) FROM generate_series(1, 100)), 5);
SELECT array_agg(task_id) AS ids, array_agg(lease_token) AS tokens, count(payload) FROM ains.claim(:client_id, 100) \gset
SELECT count(*) / (count(*) = 100)::int FROM ains.complete_batch(:ids, :tokens);
