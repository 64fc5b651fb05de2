/*
 * child.h - one run of the command: spawned in a process group of its own,
 * fed through a pipe, its output collected, its group killed on demand.
 *
 * Driven by the caller's poll() loop, like conn.h.
 */
#ifndef AINS_CLIENT_CHILD_H
#define AINS_CLIENT_CHILD_H

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "text.h"

#define CHILD_MAX_OUTPUT	(64 * 1024 * 1024)	/* bytes of standard output kept */
#define CHILD_MAX_STDERR	2000	/* bytes of the end of standard error kept */
#define CHILD_FDS			3

struct child
{
	pid_t		pid;			/* also its process group; 0 when there is none */
	int			in;				/* our ends of its pipes, -1 when closed */
	int			out;
	int			err;
	struct buf	input;			/* what it gets on standard input */
	size_t		input_sent;
	struct buf	output;			/* what it wrote on standard output */
	struct buf	errors;			/* the end of its standard error */
	bool		overflow;		/* wrote more than CHILD_MAX_OUTPUT; has been killed */
	bool		exited;			/* its status is known; what follows is about pipes */
	int			status;			/* as of waitpid(), valid once child_finished() */
	int64_t		linger_until;	/* after its exit: close the pipes then */
	int64_t		kill_at;		/* SIGKILL follows then; INT64_MAX: no kill under way */
};

/*
 * Starts argv with the given environment (both NULL-terminated) and input,
 * whose bytes the child struct takes over.  Returns 0, or the errno of what
 * failed; then nothing runs and the struct is released.
 */
extern int	child_spawn(struct child *c, char *const *argv, char *const *envp, struct buf *input);

/* Fills up to CHILD_FDS entries to poll; returns how many. */
extern int	child_pollfds(const struct child *c, struct pollfd *pfds);

/* Moves bytes for one polled entry that has revents. */
extern void child_io(struct child *c, const struct pollfd *pfd);

/*
 * Looks whether the command ended and does what is due at `now`.  Returns true
 * once it is over: exited, pipes read, the rest of its group killed, status
 * collected.  Call it after SIGCHLD, after I/O and when child_timer() says so.
 */
extern bool child_finished(struct child *c, int64_t now);

/* When child_finished() must be called at the latest; INT64_MAX: never. */
extern int64_t child_timer(const struct child *c);

/*
 * Sends SIGTERM to the group now, SIGKILL after kill_after_ms; with 0, SIGKILL
 * at once.  Repeating it can only bring SIGKILL nearer.
 */
extern void child_terminate(struct child *c, int64_t now, int64_t kill_after_ms);

/* Frees buffers and descriptors of a child that is over. */
extern void child_release(struct child *c);

#endif
