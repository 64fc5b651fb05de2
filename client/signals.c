/*
 * signals.c - signals as something poll() can wait for (the self-pipe trick).
 */
#define _GNU_SOURCE
#include "signals.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "log.h"

static int	wake[2];
static volatile sig_atomic_t stops;
static volatile sig_atomic_t last;

static void
on_signal(int sig)
{
	int			saved = errno;

	if (sig != SIGCHLD)
	{
		last = sig;
		if (stops < 1000)
			stops++;
	}
	/* A full pipe wakes as well as one more byte would. */
	if (write(wake[1], "", 1) < 0)
		errno = EAGAIN;
	errno = saved;
}

void
signals_init(void)
{
	static const int caught[] = {SIGTERM, SIGINT, SIGHUP, SIGCHLD};
	struct sigaction act;
	sigset_t	none;

	if (pipe2(wake, O_CLOEXEC | O_NONBLOCK) != 0)
	{
		log_line(LV_ERROR, NULL, "cannot make a pipe: %s", strerror(errno));
		exit(3);
	}
	memset(&act, 0, sizeof(act));
	sigfillset(&act.sa_mask);
	act.sa_flags = SA_RESTART;
	act.sa_handler = on_signal;
	for (size_t i = 0; i < sizeof(caught) / sizeof(caught[0]); i++)
		sigaction(caught[i], &act, NULL);
	act.sa_handler = SIG_IGN;
	sigaction(SIGPIPE, &act, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

int
signals_fd(void)
{
	return wake[0];
}

void
signals_clear(void)
{
	char		bytes[256];

	while (read(wake[0], bytes, sizeof(bytes)) > 0)
		;
}

int
signals_stops(void)
{
	return (int) stops;
}

int
signals_last(void)
{
	return (int) last;
}
