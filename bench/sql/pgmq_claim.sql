SELECT msg_id AS task_id, read_ct, enqueued_at, vt, message FROM pgmq.read('bench', 300, 1) \gset
SELECT pgmq.archive('bench', :task_id::bigint);
