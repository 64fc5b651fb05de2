SELECT * FROM ains.claim(:client_id) \gset
