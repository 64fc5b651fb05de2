/*
 * main.c - ains-agent makes any command an agent of ains.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "agent.h"
#include "options.h"
#include "signals.h"

/* Pipes must not get the numbers 0 to 2, which the commands' own streams have. */
static void
open_standard_streams(void)
{
	int			fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= 2);
	if (fd > 2)
		close(fd);
}

int
main(int argc, char **argv)
{
	static struct options options;

	open_standard_streams();
	srandom((unsigned) time(NULL) ^ ((unsigned) getpid() << 16));
	options_parse(&options, argc, argv);
	signals_init();
	return agent_run(&options);
}
