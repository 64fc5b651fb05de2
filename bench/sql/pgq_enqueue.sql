SELECT pgq.insert_event('bench', 'task', '{"page": 17, "url": "https://example.org/item/17", "mode": "summary", "depth": 3}');
