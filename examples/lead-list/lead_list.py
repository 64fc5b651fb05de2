#!/usr/bin/env python3
"""A list of leads, in three stages: companies, what they do, whom to write to.

The companies are the projects whose packages are installed on this Debian
system, one for each homepage; what is known of them, and their addresses, is in
the packages' copyright files. README.md beside this file shows it at work.

It needs psycopg 3 (Debian: python3-psycopg). What to connect to is in libpq's
variables, such as PGDATABASE and PGUSER.
"""
import argparse
import os
import re
import signal
import sys
import threading
import time

import psycopg
from psycopg.rows import namedtuple_row
from psycopg.types.json import Jsonb

BATCH = 10          # companies between two checkpoints
CONTACTS_MAX = 3    # addresses of one company
LEASE_LOST, TASK_CANCELLED, RUN_OVER = "NS001", "NS004", "NS006"

# Many companies share these sites; there the first part of the path is theirs.
SITE = re.compile(r"https?://(?:www\.)?((?:git(?:hub|lab)\.com/)?[^/:?#\s]+)")
EMAIL = re.compile(r"[\w.+-]+@(?:[\w-]+\.)+[a-z]{2,}")
PACKAGERS = re.compile(r"@([\w.-]+\.)?(debian|ubuntu|example)\.")

stopping = threading.Event()
held = []  # the task in hand, if any


class Hopeless(Exception):
    """A reason to fail that another attempt would not change."""


def connect():
    return psycopg.connect(autocommit=True, row_factory=namedtuple_row)


# The stages. What one has found, the tasks of the next, and its own end are
# one transaction: so all of it happens once, however often a worker dies.

def companies(args):
    """What there is to discover, by site, each site once."""
    found = {}
    with open(args.packages, encoding="utf-8", errors="replace") as file:
        for paragraph in file.read().split("\n\n"):
            field = dict(re.findall(r"^([A-Za-z-]+): (.*)", paragraph, re.M))
            site = SITE.match(field.get("Homepage", ""))
            if site and field.get("Status", "").endswith(" installed"):
                found.setdefault(site[1].lower(), (field["Package"], field.get("Description", "")))
    return [{"site": site, "package": found[site][0], "summary": found[site][1]} for site in sorted(found)]


def discover(db, task, args):
    """Finds companies in batches, from the checkpoint on, and has each of them researched."""
    at = task.checkpoint or {"after": task.payload["after"], "found": 0}
    wanted = task.payload["companies"]
    ahead = [company for company in companies(args) if company["site"] > at["after"]]
    while True:
        size = min(BATCH, wanted - at["found"])
        batch, ahead = ahead[:size], ahead[size:]
        with db.transaction():
            new = db.execute("INSERT INTO leads.company (run_id, site, package, summary) SELECT %s, *"
                             " FROM jsonb_to_recordset(%s) AS c (site text, package text, summary text)"
                             " ON CONFLICT DO NOTHING RETURNING site, package", (task.run_id, Jsonb(batch))).fetchall()
            if new:
                db.execute("SELECT ains.enqueue_batch('lead.research', %s, run_id => %s, stage => 'research')",
                           (Jsonb([company._asdict() for company in new]), task.run_id))
            at = {"after": batch[-1]["site"] if batch else at["after"], "found": at["found"] + len(new)}
            if at["found"] >= wanted or not ahead:
                db.execute("SELECT ains.complete(%s, %s, %s)", (task.task_id, task.lease_token, Jsonb(at)))
                return
            db.execute("SELECT ains.checkpoint(%s, %s, %s, %s)",
                       (task.task_id, task.lease_token, Jsonb(at), at["found"] / wanted))


def copyright_of(task, args):
    """The text of the copyright file. One that cannot be read now may be later; one that is missing, not."""
    package = task.payload["package"]
    try:
        with open(f"{args.docs}/{package}/copyright", encoding="utf-8", errors="replace") as file:
            return file.read()
    except FileNotFoundError:
        raise Hopeless(f"package {package} has no copyright file") from None


def research(db, task, args):
    """Reads what a company is called, and its licence; then somebody shall look for contacts."""
    text = copyright_of(task, args)
    name = re.search(r"^Upstream-Name:[ \t]*(\S.*)", text, re.M)
    licence = re.search(r"^License:[ \t]*(\S+)|/usr/share/common-licenses/([\w.+-]*\w)", text, re.M)
    with db.transaction():
        db.execute("UPDATE leads.company SET name = %s, licence = %s WHERE run_id = %s AND site = %s",
                   (name[1] if name else task.payload["package"], licence and (licence[1] or licence[2]),
                    task.run_id, task.payload["site"]))
        db.execute("SELECT ains.enqueue('lead.contact', %s, run_id => %s, stage => 'contact')",
                   (Jsonb(task.payload), task.run_id))
        db.execute("SELECT ains.complete(%s, %s)", (task.task_id, task.lease_token))


def contact(db, task, args):
    """Finds addresses that are not the packagers', and that no other company of this run has."""
    emails = {email.lower() for email in EMAIL.findall(copyright_of(task, args))}
    # sorted: two workers that insert the same ones wait for each other in one order
    emails = sorted(email for email in emails if not PACKAGERS.search(email))[:CONTACTS_MAX]
    with db.transaction():
        new = db.execute("INSERT INTO leads.contact (run_id, email, site) SELECT %s, unnest(%s::text[]), %s"
                         " ON CONFLICT DO NOTHING", (task.run_id, emails, task.payload["site"])).rowcount
        if not new:
            raise Hopeless(f"no address of its own for {task.payload['site']}")
        db.execute("SELECT ains.complete(%s, %s)", (task.task_id, task.lease_token))


STAGES = {"lead.discover": discover, "lead.research": research, "lead.contact": contact}


# A worker: any number of them, for any stage.

def beat(agent, incarnation):
    """Heartbeats on a connection of their own: work may take longer than a beat."""
    with connect() as db:
        pause = 0
        while not stopping.wait(pause):
            pause = db.execute(
                "SELECT next_heartbeat_in FROM ains.heartbeat(%s, held => %s::bigint[], incarnation => %s)",
                (agent, list(held), incarnation)).fetchone()[0]


def attempt(db, task, args):
    hold = task.task_id, task.lease_token
    try:
        try:
            STAGES[task.capability](db, task, args)
        except (Hopeless, OSError) as e:
            db.execute("SELECT ains.fail(%s, %s, %s, retryable => %s)", (*hold, str(e), isinstance(e, OSError)))
    except psycopg.Error as e:
        if e.sqlstate in (TASK_CANCELLED, RUN_OVER):
            db.execute("SELECT ains.release(%s, %s)", hold)
        elif e.sqlstate != LEASE_LOST:
            raise


def work(db, args):
    for number in signal.SIGTERM, signal.SIGINT:
        signal.signal(number, lambda *_: stopping.set())
    incarnation = db.execute("SELECT incarnation FROM ains.register_agent(%s, capabilities => %s)",
                             (args.agent, list(STAGES))).fetchone()[0]
    db.execute("SELECT ains.attach_agent(%s, %s)", (args.agent, incarnation))
    threading.Thread(target=beat, args=(args.agent, incarnation), daemon=True).start()
    while not stopping.is_set():
        # a short wait: a signal is noticed between two of them
        db.execute("CALL ains.wait_for_task(%s, '1 s')", (args.agent,))
        for task in db.execute("SELECT * FROM ains.claim(%s, incarnation => %s)", (args.agent, incarnation)):
            held.append(task.task_id)
            attempt(db, task, args)
            held.clear()
    db.execute("SELECT ains.stop_agent(%s)", (args.agent,))


# The run, for the person who wants the list.

def look_for_more(db, run):
    """Enqueues the discovery of what is missing, and some more since not every company becomes a lead."""
    db.execute("""SELECT ains.enqueue('lead.discover', jsonb_build_object(
            'after', (SELECT coalesce(max(site), '') FROM leads.company WHERE run_id = r.run_id),
            'companies', ceil((criteria ->> 'oversample')::numeric *
                              (target - (SELECT count(*) FROM leads.lead l WHERE l.run_id = r.run_id)))),
            run_id => run_id, stage => 'discovery')
        FROM ains.runs r WHERE run_id = %s""", (run,))


def start(db, args):
    if not args.oversample >= 1:
        sys.exit("lead_list: --oversample must be at least 1: not every company becomes a lead")
    with db.transaction():
        run = db.execute("SELECT ains.create_run('lead list', %s, target => %s)",
                         (Jsonb({"target_stage": "contact", "oversample": args.oversample}), args.target)).fetchone()[0]
        look_for_more(db, run)
    print(run)


def the_run(db, args):
    run = db.execute("SELECT status, target FROM ains.runs WHERE run_id = %s", (args.run,)).fetchone()
    if run is None:
        sys.exit(f"there is no run {args.run}, or it is not yours")
    return run


def progress(db, args):
    while True:
        run = the_run(db, args)
        print(f"run {args.run}: {run.status}, target {run.target}")
        for s in db.execute("SELECT * FROM ains.run_progress(%s)", (args.run,)):
            gap = f", {s.gap} missing" if s.gap else ""
            print(f"  {s.stage:<10}{s.percent:>6} %  {s.completed} of {s.total} completed, {s.failed} failed{gap}")
        if not args.wait or run.status != "RUNNING":
            return {"COMPLETED": 0, "RUNNING": 0, "NEEDS_DECISION": 3}.get(run.status, 1)
        time.sleep(1)


def decide(db, args):
    with db.transaction():
        if args.decision == "retry":
            print(db.execute("SELECT ains.retry_run(%s)", (args.run,)).fetchone()[0], "tasks put back")
            return
        print(db.execute("SELECT ains.resolve_run(%s, %s)", (args.run, args.decision)).fetchone()[0])
        if args.decision == "continue":
            look_for_more(db, args.run)


def export(db, args):
    run = the_run(db, args)
    if run.status != "COMPLETED":
        sys.exit(f"run {args.run} is {run.status}: there is no list yet")
    # there may be more than the target: then those with most contacts
    with db.cursor().copy("COPY (SELECT site, name, licence, summary, emails FROM leads.lead WHERE run_id = %s"
                          " ORDER BY contacts DESC, site LIMIT %s) TO STDOUT (FORMAT csv, HEADER)",
                          (args.run, run.target)) as rows:
        for row in rows:
            sys.stdout.buffer.write(row)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(function, help):
        c = commands.add_parser(function.__name__, help=help, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
        c.set_defaults(function=function)
        return c

    c = command(start, "make a run, and print its number")
    c.add_argument("--target", type=int, default=25, help="how many leads")
    c.add_argument("--oversample", type=float, default=2.0, help="how many companies to look at for each lead")
    c = command(work, "be a worker, until a signal")
    c.add_argument("--agent", default=f"leads-{os.getpid()}", help="its id")
    c.add_argument("--packages", default="/var/lib/dpkg/status", help="where to find companies")
    c.add_argument("--docs", default="/usr/share/doc", help="where to read of them")
    c = command(progress, "show how far a run is; exit status 3 if it needs a decision")
    c.add_argument("--wait", action="store_true", help="go on until it is over or needs a decision")
    c.add_argument("run", type=int)
    c = command(decide, "decide about a run that needs a decision")
    c.add_argument("run", type=int)
    c.add_argument("decision", choices=["continue", "retry", "accept", "cancel"],
                   help="look at more companies, at the failed ones again, take what there is, or nothing")
    c = command(export, "print the list as CSV")
    c.add_argument("run", type=int)
    return parser.parse_args()


def main():
    args = arguments()
    try:
        with connect() as db:
            sys.exit(args.function(db, args))
    except psycopg.Error as e:
        missing = isinstance(e, (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName))
        sys.exit(f"lead_list: {str(e).strip()}" + "\nCREATE EXTENSION ains; then psql -f schema.sql" * missing)


main()
