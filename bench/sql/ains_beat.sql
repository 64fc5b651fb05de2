SELECT * FROM ains.heartbeat(:client_id);
