\set n :n + 1
SELECT ains.enqueue('bench', '{"page": 17, "url": "https://example.org/item/17", "mode": "summary", "depth": 3}', 5) AS task_id \gset
