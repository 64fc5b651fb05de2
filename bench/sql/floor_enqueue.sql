\set n :n + 1
\set r :rank + :n
INSERT INTO floor.task (capability, lane_id, status, priority, rank, run_at, created_at, enqueued_by, payload) VALUES ('bench', :lane, 'PENDING', 5, :r, now(), now(), 'postgres', '{"page": 17, "url": "https://example.org/item/17", "mode": "summary", "depth": 3}') RETURNING task_id AS task_id \gset
