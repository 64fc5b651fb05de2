CALL ains.wait_for_task(:client_id, '1 min');
SELECT count(ains.complete(task_id, lease_token)) FROM ains.claim(:client_id);
