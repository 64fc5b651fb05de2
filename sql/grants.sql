-- ---------------------------------------------------------------------------
-- Privileges. Nothing is PUBLIC's; no role gets DML on a table. The roles are
-- made if they are not there, and never dropped: other databases use them.
-- docs/operations.md has the table function x role, and a test compares.
-- ---------------------------------------------------------------------------

DO $$
DECLARE
    r text;
BEGIN
    FOREACH r IN ARRAY ARRAY['ains_producer', 'ains_agent', 'ains_monitor', 'ains_admin'] LOOP
        IF to_regrole(r) IS NULL THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN', r);
        END IF;
    END LOOP;
    IF NOT pg_has_role('ains_admin', 'ains_producer', 'MEMBER')
       OR NOT pg_has_role('ains_admin', 'ains_agent', 'MEMBER')
       OR NOT pg_has_role('ains_admin', 'ains_monitor', 'MEMBER') THEN
        GRANT ains_producer, ains_agent, ains_monitor TO ains_admin;
    END IF;
END
$$;

REVOKE ALL ON ALL ROUTINES IN SCHEMA ains, ains_internal FROM PUBLIC;

GRANT USAGE ON SCHEMA ains TO ains_producer, ains_agent, ains_monitor, ains_admin;

-- What the views call; each filters by itself, or reads no table.
GRANT EXECUTE ON FUNCTION ains_internal.clock_now(), ains_internal.roster(),
    ains_internal.next_run(text, text, timestamptz),
    ains_internal.missed_runs(text, text, timestamptz)
    TO ains_producer, ains_agent, ains_monitor, ains_admin;

GRANT SELECT ON ains.tasks, ains.dead_letters, ains.attempts, ains.agents, ains.active_agents,
    ains.dead_agents, ains.schedules, ains.templates, ains.events,
    ains.webhooks, ains.runs
    TO ains_producer, ains_agent, ains_monitor, ains_admin;

GRANT EXECUTE ON ROUTINE
    ains.enqueue, ains.enqueue_batch, ains.wait_for_result, ains.schedule, ains.unschedule,
    ains.pause_schedule, ains.resume_schedule, ains.save_template, ains.drop_template,
    ains.enqueue_from_template, ains.create_run, ains.enqueue_chain, ains.cancel_run,
    ains.retry_run, ains.resolve_run, ains.assign
    TO ains_producer;

GRANT EXECUTE ON ROUTINE
    ains.cancel, ains.retry, ains.redrive, ains.set_priority, ains.get_task, ains.add_webhook,
    ains.remove_webhook
    TO ains_producer, ains_agent;

GRANT EXECUTE ON ROUTINE
    ains.register_agent, ains.heartbeat, ains.attach_agent, ains.detach_agent,
    ains.drain_agent, ains.resume_agent, ains.stop_agent, ains.publish_capability,
    ains.withdraw_capability, ains.claim, ains.wait_for_task,
    ains.extend_lease, ains.checkpoint, ains.complete, ains.complete_batch, ains.fail, ains.release
    TO ains_agent;

GRANT EXECUTE ON ROUTINE ains.explain_task, ains.dependencies, ains.dependents, ains.search_agents,
    ains.preview_route, ains.trust_history, ains.leaderboard
    TO ains_producer, ains_agent, ains_monitor;

GRANT EXECUTE ON ROUTINE ains.run_progress
    TO ains_producer, ains_monitor;

GRANT EXECUTE ON ROUTINE ains.queue_stats, ains.agent_stats
    TO ains_monitor;

GRANT EXECUTE ON ROUTINE ains.metrics, ains.metric_samples, ains.health, ains.check_health
    TO ains_monitor;

-- They tell the names of everybody's capabilities, as queue_stats does.
GRANT EXECUTE ON FUNCTION ains_internal.counters() TO ains_monitor;
GRANT SELECT ON ains.counters TO ains_monitor;

GRANT EXECUTE ON ROUTINE
    ains.configure_capability, ains.pause, ains.resume, ains.sweep,
    ains.release_dead_agent_leases, ains.rescan, ains.prune_agents, ains.run_schedules,
    ains.adjust_trust, ains.set_quota
    TO ains_admin;
