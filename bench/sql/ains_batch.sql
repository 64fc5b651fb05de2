SELECT array_agg(task_id) AS ids, array_agg(lease_token) AS tokens, count(payload) FROM ains.claim(:client_id, 100) \gset
SELECT count(*) / (count(*) = 100)::int FROM ains.complete_batch(:ids, :tokens);
