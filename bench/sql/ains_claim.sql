SELECT * FROM ains.claim(:client_id) \gset
SELECT ains.complete(:task_id, :lease_token);
