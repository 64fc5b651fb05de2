/*
 * task.h - one claimed task: the command that works on it, and how its end is
 * told to the server.
 */
#ifndef AINS_CLIENT_TASK_H
#define AINS_CLIENT_TASK_H

#include "child.h"
#include "conn.h"
#include "options.h"

enum task_state
{
	TASK_FREE,					/* this slot holds no task */
	TASK_RUNNING,				/* the command runs */
	TASK_ENDED,					/* the end is still to be told to the server */
};

/* What to tell the server, decided when the command ends or the server refuses. */
enum task_verdict
{
	VERDICT_BY_EXIT,			/* as the exit status says */
	VERDICT_CANCELLED,			/* cancel was requested: fail() makes it CANCELLED */
	VERDICT_LOST,				/* not ours any more: tell nothing */
	VERDICT_RELEASE,			/* give it back unharmed */
	VERDICT_ERROR,				/* fail with the text in `error` */
};

struct task
{
	enum task_state state;
	enum task_verdict verdict;
	char		id[24];
	char		token[24];
	char	   *capability;		/* owned */
	int			attempt;
	int			max_attempts;
	int64_t		started;		/* ms of now_ms() */
	int64_t		deadline_at;	/* look for a timeout then; INT64_MAX: none */
	struct child child;
	struct buf	error;			/* VERDICT_ERROR */
	bool		fatal_error;	/* ... and trying again is useless */
	bool		prepared;		/* the output is clean UTF-8 and as_text is decided */
	bool		as_text;		/* the output is no JSON: send it as a JSON string */
	int64_t		report_at;		/* ENDED: next try to tell it */
	unsigned	report_failures;
};

enum task_report
{
	REPORT_LATER,				/* not told yet; try again at report_at */
	REPORT_COMPLETED,
	REPORT_FAILED,				/* the attempt failed, or the task was cancelled */
	REPORT_RELEASED,
	REPORT_LOST,				/* the lease is another's, or the server has no use for it */
};

/* The columns task_start() reads, in its order; for the caller's claim statement. */
#define TASK_COLUMNS \
	"task_id, lease_token, capability, payload, priority, attempt, max_attempts, run_id, checkpoint, " \
	"to_char(deadline AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') AS deadline, metadata, " \
	"extract(epoch FROM deadline - clock_timestamp()) AS seconds_left"

/*
 * Fills a FREE slot from one row of the claim and starts the command.  When it
 * cannot be started the task is ENDED at once with a fitting verdict.  Returns
 * false when the command itself cannot be run, so that no task ever will.
 */
extern bool task_start(struct task *t, const struct options *o, const PGresult *claim, int row, int64_t now);

/* RUNNING becomes ENDED once the command is over; does what its timers ask. */
extern void task_step(struct task *t, int64_t now);

/* Ends the command early, for a reason that becomes the verdict. */
extern void task_stop(struct task *t, enum task_verdict why, int64_t now, int64_t kill_after_ms);

/*
 * Tells the end of an ENDED task to the server over a connection that is UP
 * and idle, and frees the slot unless it must be repeated (REPORT_LATER).
 */
extern enum task_report task_report(struct task *t, const struct options *o, struct conn *c);

/* Frees the slot whatever it holds; the command must be over. */
extern void task_free(struct task *t);

#endif
