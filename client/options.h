/*
 * options.h - what the command line asks for.
 */
#ifndef AINS_CLIENT_OPTIONS_H
#define AINS_CLIENT_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#define EXIT_SOME_FAILED	1	/* --once or --max-tasks: not every task was completed */
#define EXIT_USAGE			2
#define EXIT_REFUSED		3	/* the server or the command makes work impossible */

struct options
{
	const char *dsn;			/* NULL: libpq's environment */
	const char *agent_id;
	const char *agent_type;
	const char *capabilities;	/* as an array literal */
	int			concurrency;	/* commands at once */
	const char *lease;			/* interval or NULL: the capability's */
	const char *heartbeat_timeout;	/* interval or NULL: the server's */
	const char *snooze;			/* interval: delay of a task released by exit code 75 */
	int64_t		grace_ms;		/* after the first signal, for running commands */
	int64_t		kill_after_ms;	/* from SIGTERM to SIGKILL for a command */
	bool		once;
	int64_t		max_tasks;		/* 0: no limit */
	char	  **argv;			/* the command, NULL-terminated */
};

/*
 * Parses the command line and sets the log level; ends the process for
 * --help, --version (0) and for mistakes (EXIT_USAGE).  Strings belong to
 * argv or are never freed.
 */
extern void options_parse(struct options *o, int argc, char **argv);

#endif
