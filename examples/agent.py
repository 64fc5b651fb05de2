#!/usr/bin/env python3
"""A whole agent in Python: it counts the words of texts.

    PGDATABASE=postgres AGENT=counter-1 python3 agent.py

It needs psycopg 3 (Debian: python3-psycopg). What to connect to is in libpq's
variables. Another kind of work is another function in place of work().
"""
import os
import signal
import threading

import psycopg
from psycopg.types.json import Jsonb

AGENT = os.environ.get("AGENT", f"counter-{os.getpid()}")
CAPABILITY = os.environ.get("CAPABILITY", "text.count")
LEASE_LOST, TASK_CANCELLED = "NS001", "NS004"

stopping = threading.Event()
held = []  # the task in hand, if any


def work(payload):
    """What it returns is the task's result; what it raises, its error."""
    words = payload["text"].split()
    return {"words": len(words), "different": len(set(words))}


def beat(incarnation):
    """Heartbeats on a connection of their own: work may take longer than a beat."""
    with psycopg.connect(autocommit=True) as db:
        pause = 0
        while not stopping.wait(pause):
            pause, = db.execute(
                "SELECT next_heartbeat_in FROM ains.heartbeat(%s, held => %s::bigint[], incarnation => %s)",
                (AGENT, list(held), incarnation)).fetchone()


def settle(db, task, token, function, argument):
    """Ends the task, unless somebody else has it by now or called it off."""
    try:
        db.execute(f"SELECT ains.{function}(%s, %s, %s)", (task, token, argument))
    except psycopg.Error as e:
        if e.sqlstate == TASK_CANCELLED:
            db.execute("SELECT ains.release(%s, %s)", (task, token))
        elif e.sqlstate != LEASE_LOST:
            raise


def main():
    for number in signal.SIGTERM, signal.SIGINT:
        signal.signal(number, lambda *_: stopping.set())
    with psycopg.connect(autocommit=True) as db:
        incarnation, = db.execute("SELECT incarnation FROM ains.register_agent(%s, capabilities => %s)",
                                  (AGENT, [CAPABILITY])).fetchone()
        db.execute("SELECT ains.attach_agent(%s, %s)", (AGENT, incarnation))
        threading.Thread(target=beat, args=(incarnation,), daemon=True).start()
        while not stopping.is_set():
            # a short wait: a signal is noticed between two of them
            db.execute("CALL ains.wait_for_task(%s, '1 s')", (AGENT,))
            for task, token, payload in db.execute(
                    "SELECT task_id, lease_token, payload FROM ains.claim(%s, incarnation => %s)",
                    (AGENT, incarnation)):
                held.append(task)
                try:
                    settle(db, task, token, "complete", Jsonb(work(payload)))
                except (KeyError, TypeError, AttributeError) as e:
                    settle(db, task, token, "fail", f"bad request: {e!r}")
                held.clear()
        db.execute("SELECT ains.stop_agent(%s)", (AGENT,))


main()
