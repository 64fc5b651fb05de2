CALL ains.wait_for_task('idle-' || :client_id, '10 min');
