/*
 * task.c - one claimed task: the command that works on it, and how its end is
 * told to the server.
 */
#define _GNU_SOURCE
#include "task.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "log.h"

#define EXIT_CODE_FATAL		65	/* EX_DATAERR: trying again is useless */
#define EXIT_CODE_SNOOZE	75	/* EX_TEMPFAIL: not now */

extern char **environ;

/* What the command finds in its environment, and where in the claim it comes from. */
static const struct
{
	const char *variable;
	const char *column;
}			fields[] = {
	{"AINS_TASK_ID", "task_id"},
	{"AINS_LEASE_TOKEN", "lease_token"},
	{"AINS_CAPABILITY", "capability"},
	{"AINS_ATTEMPT", "attempt"},
	{"AINS_MAX_ATTEMPTS", "max_attempts"},
	{"AINS_PRIORITY", "priority"},
	{"AINS_RUN_ID", "run_id"},
	{"AINS_CHECKPOINT", "checkpoint"},
	{"AINS_DEADLINE", "deadline"},
	{"AINS_METADATA", "metadata"},
	{"AINS_AGENT_ID", NULL},
};

#define NFIELDS (sizeof(fields) / sizeof(fields[0]))

static bool
is_ours(const char *assignment)
{
	for (size_t i = 0; i < NFIELDS; i++)
	{
		size_t		n = strlen(fields[i].variable);

		if (strncmp(assignment, fields[i].variable, n) == 0 && assignment[n] == '=')
			return true;
	}
	return false;
}

/*
 * The agent's environment with the task's variables in place of inherited ones
 * of the same names.  The array and the strings from `own` on belong to the
 * caller.
 */
static char **
make_environment(const struct options *o, const PGresult *claim, int row, size_t *own)
{
	size_t		inherited = 0;
	size_t		n = 0;
	char	  **envp;

	while (environ[inherited] != NULL)
		inherited++;
	envp = xmalloc((inherited + NFIELDS + 1) * sizeof(*envp));
	for (size_t i = 0; i < inherited; i++)
		if (!is_ours(environ[i]))
			envp[n++] = environ[i];
	*own = n;

	for (size_t i = 0; i < NFIELDS; i++)
	{
		const char *value = o->agent_id;
		struct buf	text = {0};

		if (fields[i].column != NULL)
		{
			int			column = PQfnumber(claim, fields[i].column);

			/* What is NULL is unset. */
			if (column < 0 || PQgetisnull(claim, row, column))
				continue;
			value = PQgetvalue(claim, row, column);
		}
		buf_puts(&text, fields[i].variable);
		buf_puts(&text, "=");
		buf_puts(&text, value);
		envp[n++] = text.data;
	}
	envp[n] = NULL;
	return envp;
}

static const char *
field(const PGresult *claim, int row, const char *column)
{
	int			n = PQfnumber(claim, column);

	return n < 0 ? "" : PQgetvalue(claim, row, n);
}

/* The task ends with this error instead of an exit status. */
static void __attribute__((format(printf, 3, 4)))
end_with_error(struct task *t, bool fatal, const char *fmt, ...)
{
	char		text[1024];
	va_list		args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	buf_free(&t->error);
	buf_puts(&t->error, text);
	text_sanitize(&t->error);
	t->verdict = VERDICT_ERROR;
	t->fatal_error = fatal;
}

bool
task_start(struct task *t, const struct options *o, const PGresult *claim, int row, int64_t now)
{
	struct buf	input = {0};
	size_t		own = 0;
	char	  **envp;
	int			error;

	memset(t, 0, sizeof(*t));
	snprintf(t->id, sizeof(t->id), "%s", field(claim, row, "task_id"));
	snprintf(t->token, sizeof(t->token), "%s", field(claim, row, "lease_token"));
	t->capability = xstrdup(field(claim, row, "capability"));
	t->attempt = atoi(field(claim, row, "attempt"));
	t->max_attempts = atoi(field(claim, row, "max_attempts"));
	t->started = now;
	t->deadline_at = INT64_MAX;
	if (*field(claim, row, "seconds_left"))
		t->deadline_at = now + (int64_t) (strtod(field(claim, row, "seconds_left"), NULL) * 1000);

	/* A line, so that tools which read lines get one. */
	buf_puts(&input, field(claim, row, "payload"));
	buf_puts(&input, "\n");
	envp = make_environment(o, claim, row, &own);
	error = child_spawn(&t->child, o->argv, envp, &input);
	for (size_t i = own; envp[i] != NULL; i++)
		free(envp[i]);
	free(envp);

	if (error == 0)
	{
		t->state = TASK_RUNNING;
		log_line(LV_DEBUG, t->id, "%s, attempt %d of %d, started as pid %ld",
				 t->capability, t->attempt, t->max_attempts, (long) t->child.pid);
		return true;
	}
	t->state = TASK_ENDED;
	if (error == E2BIG)
	{
		end_with_error(t, true, "cannot start the command: %s (its checkpoint or metadata does not fit into the environment)",
					   strerror(error));
		return true;
	}
	log_line(LV_ERROR, t->id, "cannot start \"%s\": %s", o->argv[0], strerror(error));
	t->verdict = VERDICT_RELEASE;
	/* Short of memory, processes or descriptors: that passes. */
	return error == EAGAIN || error == ENOMEM || error == EMFILE || error == ENFILE || error == ETXTBSY;
}

void
task_step(struct task *t, int64_t now)
{
	if (t->state != TASK_RUNNING || !child_finished(&t->child, now))
		return;
	t->state = TASK_ENDED;
	t->report_at = now;

	/* Finished before the signal hit: the work is done, so say that. */
	if (t->verdict == VERDICT_RELEASE && WIFEXITED(t->child.status) && WEXITSTATUS(t->child.status) == 0)
		t->verdict = VERDICT_BY_EXIT;
	if (t->verdict == VERDICT_BY_EXIT && t->child.overflow)
		end_with_error(t, true, "the command wrote more than %d MiB to standard output",
					   CHILD_MAX_OUTPUT / 1024 / 1024);
}

void
task_stop(struct task *t, enum task_verdict why, int64_t now, int64_t kill_after_ms)
{
	if (t->state == TASK_FREE)
		return;
	/* A lost lease is the last word; a cancellation outweighs a release. */
	if (why == VERDICT_LOST)
		t->verdict = VERDICT_LOST;
	if (t->state != TASK_RUNNING)
		return;
	if (t->verdict == VERDICT_BY_EXIT || (t->verdict == VERDICT_RELEASE && why == VERDICT_CANCELLED))
		t->verdict = why;
	child_terminate(&t->child, now, kill_after_ms);
}

/* Turns the exit status of a command that failed into the text of the error. */
static void
describe_failure(struct task *t, struct buf *text)
{
	int			status = t->child.status;
	struct buf *errors = &t->child.errors;
	char		head[128];

	if (WIFSIGNALED(status))
		snprintf(head, sizeof(head), "signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
	else
		snprintf(head, sizeof(head), "exit code %d", WEXITSTATUS(status));
	buf_puts(text, head);
	while (errors->len > 0 && strchr(" \t\r\n", errors->data[errors->len - 1]) != NULL)
		errors->data[--errors->len] = '\0';
	if (errors->len > 0)
	{
		buf_puts(text, ": ");
		buf_append(text, errors->data, errors->len);
	}
}

static PGresult *
send_complete(struct task *t, struct conn *c)
{
	struct buf *output = &t->child.output;
	const char *params[3] = {t->id, t->token, NULL};

	if (!t->prepared)
	{
		/* JSON and PostgreSQL's text have no room for such bytes. */
		size_t		bad = text_sanitize(output);

		if (bad > 0)
			log_line(LV_WARNING, t->id, "%zu bytes of the output are not UTF-8 text and became U+FFFD", bad);
		text_chomp(output);
		t->as_text = !text_may_be_json(output);
		t->prepared = true;
	}
	if (text_is_blank(output))
		return conn_query(c, "SELECT ains.complete(task_id => $1::bigint, lease_token => $2::bigint, result => $3::jsonb)",
						  3, params);
	params[2] = output->data;
	if (!t->as_text)
		return conn_query(c, "SELECT ains.complete(task_id => $1::bigint, lease_token => $2::bigint, result => $3::jsonb)",
						  3, params);
	return conn_query(c, "SELECT ains.complete(task_id => $1::bigint, lease_token => $2::bigint, result => to_jsonb($3::text))",
					  3, params);
}

static PGresult *
send_fail(struct task *t, struct conn *c, const char *error, const char *retryable)
{
	const char *const params[4] = {t->id, t->token, error, retryable};

	return conn_query(c, "SELECT ains.fail(task_id => $1::bigint, lease_token => $2::bigint, error => $3::text, "
					  "retryable => $4::boolean)", 4, params);
}

static PGresult *
send_release(struct task *t, struct conn *c, const char *delay)
{
	const char *const params[3] = {t->id, t->token, delay};

	return conn_query(c, "SELECT ains.release(task_id => $1::bigint, lease_token => $2::bigint, delay => $3::interval)",
					  3, params);
}

/* Errors by which the server says "this text is not a jsonb I can store". */
static bool
is_json_error(const char *sqlstate)
{
	return strcmp(sqlstate, "22P02") == 0 ||	/* no JSON */
		strcmp(sqlstate, "22P05") == 0 ||	/* \u0000 and the like */
		strcmp(sqlstate, "22003") == 0 ||	/* a number beyond numeric */
		strcmp(sqlstate, "54000") == 0 ||	/* too many elements */
		strcmp(sqlstate, "54001") == 0; /* nested too deeply */
}

static enum task_report
report_later(struct task *t, const char *why)
{
	int64_t		delay = t->report_failures < 7 ? (int64_t) 100 << t->report_failures : 10000;

	t->report_failures++;
	t->report_at = now_ms() + delay;
	log_line(LV_WARNING, t->id, "not reported yet: %s", why);
	return REPORT_LATER;
}

/* Sends what the verdict asks for; *outcome is what its success means. */
static PGresult *
send_verdict(struct task *t, const struct options *o, struct conn *c,
			 enum task_report *outcome, struct buf *text)
{
	int			status = t->child.status;

	*outcome = REPORT_FAILED;
	switch (t->verdict)
	{
		case VERDICT_CANCELLED:
			buf_puts(text, "cancelled");
			return send_fail(t, c, text->data, "false");
		case VERDICT_RELEASE:
			*outcome = REPORT_RELEASED;
			buf_puts(text, "given back");
			return send_release(t, c, "0");
		case VERDICT_ERROR:
			buf_append(text, t->error.data, t->error.len);
			return send_fail(t, c, text->data, t->fatal_error ? "false" : NULL);
		default:
			break;
	}
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
	{
		*outcome = REPORT_COMPLETED;
		buf_puts(text, "completed");
		return send_complete(t, c);
	}
	describe_failure(t, text);
	if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_CODE_SNOOZE)
	{
		*outcome = REPORT_RELEASED;
		return send_release(t, c, o->snooze);
	}
	return send_fail(t, c, text->data,
					 WIFEXITED(status) && WEXITSTATUS(status) == EXIT_CODE_FATAL ? "false" : NULL);
}

enum task_report
task_report(struct task *t, const struct options *o, struct conn *c)
{
	/* Each turn either tells the server or changes the verdict for good. */
	for (int turn = 0; turn < 5; turn++)
	{
		enum task_report outcome = REPORT_LOST;
		struct buf	text = {0};
		PGresult   *res;
		const char *sqlstate;

		if (t->verdict == VERDICT_LOST)
		{
			task_free(t);
			return REPORT_LOST;
		}
		res = send_verdict(t, o, c, &outcome, &text);
		if (res == NULL)
		{
			buf_free(&text);
			return report_later(t, "the connection was lost");
		}
		sqlstate = result_sqlstate(res);
		if (*sqlstate == '\0')
		{
			double		seconds = (double) (now_ms() - t->started) / 1000;

			if (outcome == REPORT_FAILED)
				log_line(LV_WARNING, t->id, "%s %s (attempt %d of %d, %.3f s)",
						 t->verdict == VERDICT_CANCELLED ? "ended:" : "failed:", text.data,
						 t->attempt, t->max_attempts, seconds);
			else
				log_line(LV_INFO, t->id, "%s%s (attempt %d of %d, %.3f s)",
						 outcome == REPORT_RELEASED && t->verdict == VERDICT_BY_EXIT ? "given back: " : "",
						 text.data, t->attempt, t->max_attempts, seconds);
			PQclear(res);
			buf_free(&text);
			task_free(t);
			return outcome;
		}
		buf_free(&text);

		if (strcmp(sqlstate, "NS001") == 0 || strcmp(sqlstate, "NS003") == 0)
		{
			log_line(LV_WARNING, t->id, "the lease was lost: %s", result_message(res));
			t->verdict = VERDICT_LOST;
		}
		else if (strcmp(sqlstate, "NS004") == 0 && t->verdict != VERDICT_CANCELLED)
			t->verdict = VERDICT_CANCELLED;
		else if (sqlstate_is_transient(sqlstate))
		{
			report_later(t, result_message(res));
			PQclear(res);
			return REPORT_LATER;
		}
		else if (outcome == REPORT_COMPLETED && !t->as_text && is_json_error(sqlstate))
		{
			log_line(LV_DEBUG, t->id, "the output is kept as text: %s", result_message(res));
			t->as_text = true;
		}
		else if (outcome == REPORT_COMPLETED)
			end_with_error(t, false, "the server refused the result: %s", result_message(res));
		else
		{
			/* The next heartbeat does not name it as held, which gives it back. */
			log_line(LV_ERROR, t->id, "the server refused the report: %s", result_message(res));
			t->verdict = VERDICT_LOST;
		}
		PQclear(res);
	}
	task_free(t);
	return REPORT_LOST;
}

void
task_free(struct task *t)
{
	child_release(&t->child);
	buf_free(&t->error);
	free(t->capability);
	memset(t, 0, sizeof(*t));
}
