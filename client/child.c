/*
 * child.c - one run of the command.
 *
 * The command is a process group leader, so that one kill() reaches what it
 * started.  Its exit is seen with WNOWAIT first: while it is a zombie its pid,
 * and so the group's id, cannot be taken by another process, and what is left
 * of the group can be killed without hitting a stranger.
 */
#define _GNU_SOURCE
#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif

#include "log.h"

/* After the command's exit, how long something it left behind may hold the pipes. */
#define LINGER_MS	1000

static void
close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void
close_pair(int pair[2])
{
	close_fd(&pair[0]);
	close_fd(&pair[1]);
}

/* In the new process: becomes the command, or tells why not and ends. */
static void
become_command(char *const *argv, char *const *envp, pid_t parent,
			   int in, int out, int err, int tell)
{
	static const int reset[] = {SIGTERM, SIGINT, SIGHUP, SIGCHLD, SIGPIPE};
	sigset_t	none;
	int			error;

	setpgid(0, 0);
#ifdef __linux__
	/* An agent that is killed must not leave work running that it no longer owns. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(127);
#else
	(void) parent;
#endif
	for (size_t i = 0; i < sizeof(reset) / sizeof(reset[0]); i++)
		signal(reset[i], SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);

	if (dup2(in, STDIN_FILENO) >= 0 && dup2(out, STDOUT_FILENO) >= 0 && dup2(err, STDERR_FILENO) >= 0)
		execvpe(argv[0], argv, envp);
	error = errno;
	if (write(tell, &error, sizeof(error)) < 0)
		_exit(126);
	_exit(127);
}

int
child_spawn(struct child *c, char *const *argv, char *const *envp, struct buf *input)
{
	int			in[2] = {-1, -1};
	int			out[2] = {-1, -1};
	int			err[2] = {-1, -1};
	int			tell[2] = {-1, -1};
	pid_t		parent = getpid();
	pid_t		pid = -1;
	int			error = 0;

	memset(c, 0, sizeof(*c));
	c->in = c->out = c->err = -1;
	c->kill_at = INT64_MAX;

	if (pipe2(in, O_CLOEXEC) == 0 && pipe2(out, O_CLOEXEC) == 0 &&
		pipe2(err, O_CLOEXEC) == 0 && pipe2(tell, O_CLOEXEC) == 0)
		pid = fork();
	if (pid < 0)
		error = errno;
	else if (pid == 0)
		become_command(argv, envp, parent, in[0], out[1], err[1], tell[1]);
	else
	{
		ssize_t		n;

		setpgid(pid, pid);		/* whoever is first */
		close_fd(&tell[1]);
		do
			n = read(tell[0], &error, sizeof(error));
		while (n < 0 && errno == EINTR);
		if (n <= 0)
			error = 0;			/* closed by exec: the command runs */
		else
			while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
				;
	}
	if (error == 0)
	{
		c->pid = pid;
		c->in = in[1];
		c->out = out[0];
		c->err = err[0];
		in[1] = out[0] = err[0] = -1;
		fcntl(c->in, F_SETFL, O_NONBLOCK);
		fcntl(c->out, F_SETFL, O_NONBLOCK);
		fcntl(c->err, F_SETFL, O_NONBLOCK);
		c->input = *input;
		memset(input, 0, sizeof(*input));
		if (c->input.len == 0)
			close_fd(&c->in);
	}
	else
		buf_free(input);
	close_pair(in);
	close_pair(out);
	close_pair(err);
	close_pair(tell);
	return error;
}

int
child_pollfds(const struct child *c, struct pollfd *pfds)
{
	int			n = 0;

	if (c->in >= 0)
		pfds[n++] = (struct pollfd) {.fd = c->in, .events = POLLOUT};
	if (c->out >= 0)
		pfds[n++] = (struct pollfd) {.fd = c->out, .events = POLLIN};
	if (c->err >= 0)
		pfds[n++] = (struct pollfd) {.fd = c->err, .events = POLLIN};
	return n;
}

static void
feed(struct child *c)
{
	ssize_t		n = write(c->in, c->input.data + c->input_sent, c->input.len - c->input_sent);

	if (n > 0)
		c->input_sent += (size_t) n;
	else if (errno == EAGAIN || errno == EINTR)
		return;
	/* Sent it all, or the command does not care to read (EPIPE). */
	if (n < 0 || c->input_sent == c->input.len)
	{
		close_fd(&c->in);
		buf_free(&c->input);
	}
}

/* Keeps the last CHILD_MAX_STDERR bytes, moving seldom. */
static void
keep_tail(struct buf *tail, const char *bytes, size_t n)
{
	buf_append(tail, bytes, n);
	if (tail->len > 8 * CHILD_MAX_STDERR)
	{
		memmove(tail->data, tail->data + tail->len - CHILD_MAX_STDERR, CHILD_MAX_STDERR + 1);
		tail->len = CHILD_MAX_STDERR;
	}
}

/* Reads one piece from *fd; false when there is nothing more for now. */
static bool
collect(struct child *c, int *fd)
{
	char		piece[16384];
	ssize_t		n = read(*fd, piece, sizeof(piece));

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n <= 0)
	{
		close_fd(fd);
		return false;
	}
	if (fd == &c->err)
	{
		keep_tail(&c->errors, piece, (size_t) n);
		/* With --verbose the command's own words are shown as they come. */
		if (log_shows(LV_DEBUG) && write(STDERR_FILENO, piece, (size_t) n) < 0)
			return true;
	}
	else if (c->output.len + (size_t) n > CHILD_MAX_OUTPUT)
	{
		c->overflow = true;
		close_fd(fd);
		child_terminate(c, now_ms(), 0);
		return false;
	}
	else
		buf_append(&c->output, piece, (size_t) n);
	return true;
}

void
child_io(struct child *c, const struct pollfd *pfd)
{
	if (pfd->fd == c->in)
		feed(c);
	else if (pfd->fd == c->out)
		collect(c, &c->out);
	else if (pfd->fd == c->err)
		collect(c, &c->err);
}

bool
child_finished(struct child *c, int64_t now)
{
	siginfo_t	info;

	if (now >= c->kill_at && !c->exited)
	{
		kill(-c->pid, SIGKILL);
		c->kill_at = INT64_MAX;
	}
	if (!c->exited)
	{
		memset(&info, 0, sizeof(info));
		if (waitid(P_PID, (id_t) c->pid, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid == 0)
			return false;
		c->exited = true;
		c->linger_until = now + LINGER_MS;
		close_fd(&c->in);
	}

	/* What it wrote before it ended may still be in the pipes, never more than this. */
	for (int i = 0; i < 128 && c->out >= 0 && collect(c, &c->out); i++)
		;
	for (int i = 0; i < 128 && c->err >= 0 && collect(c, &c->err); i++)
		;
	if ((c->out >= 0 || c->err >= 0) && now < c->linger_until && !c->overflow)
		return false;

	kill(-c->pid, SIGKILL);
	while (waitpid(c->pid, &c->status, 0) < 0 && errno == EINTR)
		;
	c->pid = 0;
	close_fd(&c->out);
	close_fd(&c->err);
	if (c->errors.len > CHILD_MAX_STDERR)
	{
		memmove(c->errors.data, c->errors.data + c->errors.len - CHILD_MAX_STDERR, CHILD_MAX_STDERR + 1);
		c->errors.len = CHILD_MAX_STDERR;
	}
	text_sanitize_tail(&c->errors);
	return true;
}

int64_t
child_timer(const struct child *c)
{
	if (c->exited)
		return c->linger_until;
	return c->kill_at;
}

void
child_terminate(struct child *c, int64_t now, int64_t kill_after_ms)
{
	if (c->pid == 0 || c->exited)
		return;
	if (kill_after_ms <= 0)
	{
		kill(-c->pid, SIGKILL);
		return;
	}
	if (c->kill_at == INT64_MAX)
	{
		kill(-c->pid, SIGTERM);
		kill(-c->pid, SIGCONT);
	}
	if (now + kill_after_ms < c->kill_at)
		c->kill_at = now + kill_after_ms;
}

void
child_release(struct child *c)
{
	close_fd(&c->in);
	close_fd(&c->out);
	close_fd(&c->err);
	buf_free(&c->input);
	buf_free(&c->output);
	buf_free(&c->errors);
}
