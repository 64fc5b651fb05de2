/*
 * agent.c - the agent: registers, claims, beats, and stops in good order.
 *
 * One loop around one poll().  `ctl` is the attached connection; every
 * statement that matters goes through it, each answered within milliseconds.
 * CALL ains.wait_for_task is the only slow one and is sent without waiting:
 * over `ctl` itself when there is one slot, since an agent that waits has then
 * nothing else to say; over a connection of its own when others may be
 * running meanwhile.
 *
 * When `ctl` is lost the commands go on.  A new connection attaches with the
 * same incarnation, tells the ends that came meanwhile, and its first
 * heartbeat with `held` learns which tasks were given to others.
 */
#define _GNU_SOURCE
#include "agent.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conn.h"
#include "log.h"
#include "session.h"
#include "signals.h"
#include "task.h"

#define POLL_MS			2000	/* claim that often when the wait is not possible */
#define FIRST_CONNECT_MS 30000	/* --once: give up when the server cannot be reached */
#define LAST_WORDS_MS	5000	/* after the grace: for telling the server about tasks */
#define STOP_WAIT_MS	2000	/* for saying goodbye when no task is held */

/* Claims when it is time to, and makes sure that something will tell when. */
static void
look_for_work(struct agent *a, int64_t now)
{
	const struct options *o = a->o;

	if (!a->ready || a->stopping || !a->accepting || a->claim_refused || a->waiting)
		return;
	if (now >= a->claim_at)
	{
		session_claim(a);
		now = now_ms();
	}
	if (o->once || a->claim_at != NEVER || !a->ready || a->stopping || a->claim_refused ||
		a->ctl.state != CONN_UP || tasks_held(a) >= o->concurrency ||
		(o->max_tasks > 0 && a->claimed >= o->max_tasks))
		return;
	conn_want(a->waiter);
	if (a->waiter->state == CONN_UP)
		session_start_wait(a);
	else
		a->claim_at = now + POLL_MS;
}

/* Steps a connection and keeps the agent's view of it. */
static void
step_conn(struct agent *a, struct conn *c, int64_t now, bool socket_ready)
{
	bool		was_up = c->state == CONN_UP;
	enum conn_event event = conn_step(c, now, socket_ready);

	if (event == CONN_CAME_UP)
	{
		log_line(LV_DEBUG, NULL, "%s: connected", c->name);
		if (c == &a->ctl)
			a->beat_at = 0;
		else
			a->claim_at = now;
	}
	else if (event == CONN_FAILED && !was_up && c == &a->ctl && !a->registered)
	{
		if (c->refused)
		{
			log_line(LV_ERROR, NULL, "the server refuses this login; giving up");
			give_up(a);
		}
		else if (a->o->once && now - a->born > FIRST_CONNECT_MS)
		{
			log_line(LV_ERROR, NULL, "the server cannot be reached; giving up");
			give_up(a);
		}
	}
	/* Whoever is leaving has no time for long pauses. */
	if (a->stopping && c->state == CONN_WAITING && c->retry_at > now + PAUSE_MS)
		c->retry_at = now + PAUSE_MS;
	if (a->waiting && a->waiter == c && c->state != CONN_UP)
	{
		a->waiting = false;
		a->claim_at = now;
	}
	if (c == &a->ctl && c->state != CONN_UP)
	{
		/* Waiting is pointless while nothing can be claimed. */
		if (a->ready && a->waiter == &a->extra)
		{
			conn_close(&a->extra);
			a->waiting = false;
		}
		a->ready = false;
	}
}

static void
heed_signals(struct agent *a, int64_t now)
{
	int			stops = signals_stops();

	if (stops > 0 && !a->stopping)
	{
		int			held = tasks_held(a);

		if (held > 0)
			log_line(LV_INFO, NULL, "%s: stopping; %d running, with %.0f s to finish", strsignal(signals_last()),
					 held, (double) a->o->grace_ms / 1000);
		else
			log_line(LV_INFO, NULL, "%s: stopping", strsignal(signals_last()));
		begin_stop(a, now);
	}
	if (stops > 1 && !a->forced)
	{
		log_line(LV_WARNING, NULL, "%s again: stopping at once", strsignal(signals_last()));
		a->forced = true;
		a->grace_ends = now;
		if (a->exit_status == 0)
			a->exit_status = 128 + signals_last();
		stop_all(a, VERDICT_RELEASE, 0);
	}
	if (a->stopping && !a->grace_over && !a->mute && now >= a->grace_ends)
	{
		a->grace_over = true;
		if (tasks_held(a) > 0 && !a->forced)
		{
			log_line(LV_WARNING, NULL, "the grace is over; giving back what is not finished: %d", tasks_held(a));
			stop_all(a, VERDICT_RELEASE, a->o->kill_after_ms);
		}
	}
	/* A wait on ctl is in the way of the last words. */
	if (a->stopping && a->waiting && a->waiter == &a->ctl && !a->cancel_sent)
	{
		a->cancel_sent = true;
		conn_cancel(&a->ctl);
	}
}

/* Whether everything is said and done. */
static bool
is_over(struct agent *a, int64_t now)
{
	int64_t		last_words_end = a->grace_ends +
		(a->forced ? STOP_WAIT_MS : a->o->kill_after_ms + LAST_WORDS_MS);

	if (!a->stopping && tasks_held(a) == 0 && a->ready && !a->waiting)
	{
		if ((a->o->once && (a->dry || !a->accepting)) ||
			(a->o->max_tasks > 0 && a->claimed >= a->o->max_tasks))
			begin_stop(a, now);
	}
	if (!a->stopping)
		return false;
	if (tasks_held(a) > 0)
	{
		bool		any_running = false;

		for (int i = 0; i < a->o->concurrency; i++)
			any_running |= a->tasks[i].state == TASK_RUNNING;
		if (any_running || (!a->mute && now < last_words_end))
			return false;
		log_line(LV_ERROR, NULL, "the server could not be told how %d ended; they run again when it misses us",
				 tasks_held(a));
		if (a->exit_status == 0)
			a->exit_status = EXIT_SOME_FAILED;
		return true;
	}
	if (a->mute || !a->registered)
		return true;
	if (a->ctl.state == CONN_UP && a->registered && !a->ctl.busy)
		return session_stop(a);
	/* Nothing is held: the end of the connection says as much as stop_agent. */
	return a->forced || now >= a->stop_began + STOP_WAIT_MS;
}

static int64_t
next_timer(const struct agent *a)
{
	int64_t		at = NEVER;

#define SOONER(t) do { int64_t t_ = (t); if (t_ < at) at = t_; } while (0)
	SOONER(conn_timer(&a->ctl));
	SOONER(conn_timer(&a->extra));
	if (a->ctl.state == CONN_UP && !a->ctl.busy)
	{
		SOONER(a->beat_at);
		if (a->ready && !a->stopping && a->accepting && !a->claim_refused && !a->waiting)
			SOONER(a->claim_at);
	}
	if (a->stopping)
		SOONER(a->grace_over || tasks_held(a) == 0 ? now_ms() + 100 : a->grace_ends);
	for (int i = 0; i < a->o->concurrency; i++)
	{
		const struct task *t = &a->tasks[i];

		if (t->state == TASK_RUNNING)
		{
			SOONER(child_timer(&t->child));
			SOONER(t->deadline_at);
		}
		else if (t->state == TASK_ENDED && a->ctl.state == CONN_UP)
			SOONER(t->report_at);
	}
#undef SOONER
	return at;
}

/* Sleeps until something happens, then moves bytes; connections are stepped. */
static void
wait_for_events(struct agent *a, struct pollfd *pfds)
{
	struct conn *conns[2] = {&a->ctl, &a->extra};
	int			conn_at[2] = {-1, -1};
	int64_t		at = next_timer(a);
	int64_t		now = now_ms();
	int			n = 0;
	int			first_child;
	int			timeout = -1;

	if (at != NEVER)
		timeout = at <= now ? 0 : at - now > 60000 ? 60000 : (int) (at - now);
	pfds[n++] = (struct pollfd) {.fd = signals_fd(), .events = POLLIN};
	for (int i = 0; i < 2; i++)
	{
		short		events;
		int			fd = conn_fd(conns[i], &events);

		if (fd >= 0)
		{
			conn_at[i] = n;
			pfds[n++] = (struct pollfd) {.fd = fd, .events = events};
		}
	}
	first_child = n;
	for (int i = 0; i < a->o->concurrency; i++)
		if (a->tasks[i].state == TASK_RUNNING)
			n += child_pollfds(&a->tasks[i].child, pfds + n);

	if (poll(pfds, (nfds_t) n, timeout) < 0 && errno != EINTR)
		log_line(LV_ERROR, NULL, "poll: %s", strerror(errno));
	signals_clear();

	/* Descriptors are the children's own, so a linear search is right and cheap. */
	for (int i = 0, k = first_child; i < a->o->concurrency; i++)
	{
		struct child *child = &a->tasks[i].child;

		while (a->tasks[i].state == TASK_RUNNING && k < n &&
			   (pfds[k].fd == child->in || pfds[k].fd == child->out || pfds[k].fd == child->err))
		{
			if (pfds[k].revents)
				child_io(child, &pfds[k]);
			k++;
		}
	}
	now = now_ms();
	for (int i = 0; i < 2; i++)
		step_conn(a, conns[i], now, conn_at[i] >= 0 && pfds[conn_at[i]].revents != 0);
}

int
agent_run(const struct options *o)
{
	struct agent a;
	struct pollfd *pfds;

	memset(&a, 0, sizeof(a));
	a.o = o;
	a.born = now_ms();
	a.beat_every = 1000;
	a.claim_at = NEVER;
	conn_init(&a.ctl, "connection", o->dsn);
	conn_init(&a.extra, "waiting connection", o->dsn);
	a.waiter = o->concurrency == 1 ? &a.ctl : &a.extra;
	a.tasks = xmalloc((size_t) o->concurrency * sizeof(*a.tasks));
	memset(a.tasks, 0, (size_t) o->concurrency * sizeof(*a.tasks));
	pfds = xmalloc(((size_t) o->concurrency * CHILD_FDS + 3) * sizeof(*pfds));
	conn_want(&a.ctl);

	for (;;)
	{
		int64_t		now;

		wait_for_events(&a, pfds);
		now = now_ms();
		heed_signals(&a, now);
		for (int i = 0; i < o->concurrency; i++)
		{
			task_step(&a.tasks[i], now);
			/* Its time is up: the server decides, we only ask at once. */
			if (a.tasks[i].state == TASK_RUNNING && now >= a.tasks[i].deadline_at)
			{
				a.tasks[i].deadline_at = now + PAUSE_MS;
				a.beat_at = now + 100 < a.beat_at ? now + 100 : a.beat_at;
			}
		}
		session_finish_wait(&a);
		if (a.ctl.state == CONN_UP && !a.ctl.busy && !a.mute)
		{
			if (!a.ready)
				session_set_up(&a, now);
			else if (now >= a.beat_at)
				session_beat(&a);
			if (a.ready && a.stopping && !a.draining && !a.mute && tasks_held(&a) > 0)
				a.draining = session_drain(&a);
		}
		session_report(&a, now);
		look_for_work(&a, now);
		if (is_over(&a, now))
			break;
	}

	conn_close(&a.extra);
	conn_close(&a.ctl);
	log_line(LV_INFO, NULL, "stopped: %" PRId64 " completed, %" PRId64 " failed, %" PRId64 " given back, %" PRId64 " lost",
			 a.completed, a.failed, a.released, a.lost);
	if (a.exit_status == 0 && (o->once || o->max_tasks > 0) && a.completed < a.claimed)
		a.exit_status = EXIT_SOME_FAILED;
	for (int i = 0; i < o->concurrency; i++)
		if (a.tasks[i].state != TASK_FREE)
			task_free(&a.tasks[i]);
	free(pfds);
	free(a.tasks);
	return a.exit_status;
}
