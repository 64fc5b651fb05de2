/*
 * session.h - what the agent knows, and what it says to the server.
 *
 * agent.c decides when; session.c holds the statements and what follows from
 * the server's answers.
 */
#ifndef AINS_CLIENT_SESSION_H
#define AINS_CLIENT_SESSION_H

#include "conn.h"
#include "options.h"
#include "task.h"

#define NEVER			INT64_MAX
#define PAUSE_MS		1000	/* after an error that should pass */

struct agent
{
	const struct options *o;
	struct conn ctl;			/* attached; claims, beats, reports */
	struct conn extra;			/* waits, when there are several slots */
	struct conn *waiter;		/* the one of them that waits */
	struct task *tasks;			/* o->concurrency slots */
	int64_t		born;

	bool		registered;
	char		incarnation[24];
	bool		ready;			/* ctl is attached and our tasks are settled */
	bool		accepting;		/* the server lets us claim, said the last beat */
	bool		claim_refused;	/* a claim got NS005; the next beat tells why */
	int64_t		beat_every;
	int64_t		beat_at;
	int64_t		claim_at;		/* NEVER: the wait will tell */
	bool		waiting;		/* wait_for_task is under way on `waiter` */
	bool		cancel_sent;
	unsigned	fruitless;		/* claims in a row without a task after ready = true */
	bool		was_ready;		/* the last wait said there is something */
	bool		dry;			/* --once: nothing was claimable and nothing ran */

	bool		stopping;		/* claims no more */
	bool		forced;			/* a second signal: kills and leaves */
	bool		draining;		/* the server knows that we stop */
	bool		grace_over;
	bool		mute;			/* must not or cannot tell the server anything more */
	int64_t		stop_began;
	int64_t		grace_ends;
	int			exit_status;

	int64_t		claimed;
	int64_t		completed;
	int64_t		failed;
	int64_t		released;
	int64_t		lost;
};

/* How many slots hold a task, running or ended but not yet told. */
extern int	tasks_held(const struct agent *a);

/* Ends all running commands early; see task_stop(). */
extern void stop_all(struct agent *a, enum task_verdict why, int64_t kill_after_ms);

/* From now on nothing is claimed; the loop ends when nothing is held. */
extern void begin_stop(struct agent *a, int64_t now);

/* Work is impossible: kills what runs, tells nobody, ends with EXIT_REFUSED. */
extern void give_up(struct agent *a);

/*
 * Makes a new `ctl` ready: registered, attached, ends told, and a heartbeat
 * that settles which tasks are still ours.  Tries at most once a second.
 */
extern void session_set_up(struct agent *a, int64_t now);

/* Sends a heartbeat and acts on its answer; false when it was not accepted. */
extern bool session_beat(struct agent *a);

/* Claims as many tasks as there are free slots and starts their commands. */
extern void session_claim(struct agent *a);

/* Starts wait_for_task on `waiter`; session_finish_wait() takes its answer if it is there. */
extern void session_start_wait(struct agent *a);
extern void session_finish_wait(struct agent *a);

/* Tells the ends of commands that are due to be told. */
extern void session_report(struct agent *a, int64_t now);

/* Says that no more is claimed (drain) / that the agent ends; false when the connection was lost. */
extern bool session_drain(struct agent *a);
extern bool session_stop(struct agent *a);

#endif
