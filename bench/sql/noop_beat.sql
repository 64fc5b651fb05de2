SELECT * FROM bench.heartbeat(:client_id);
