/*
 * options.c - what the command line asks for.
 */
#define _GNU_SOURCE
#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <libpq-fe.h>

#include "log.h"
#include "text.h"

#define MAX_CONCURRENCY 1000	/* as many as claim() gives at once */
#define MAX_NAME		128		/* characters of an agent id or a capability */

static void
print_help(void)
{
	fputs("ains-agent makes any command an agent of ains, the coordinator inside PostgreSQL.\n"
		  "\n"
		  "Usage:\n"
		  "  ains-agent [OPTION]... --capability NAME[,NAME...] -- COMMAND [ARG]...\n"
		  "\n"
		  "It claims tasks of these capabilities and runs COMMAND once for each, with the\n"
		  "task's payload (JSON) on standard input and AINS_* variables in its environment.\n"
		  "What COMMAND prints becomes the task's result when it exits with 0.\n"
		  "\n"
		  "Options:\n"
		  "  -d, --dsn=CONNINFO            connection string (default: PGHOST, PGDATABASE, ...)\n"
		  "  -i, --agent-id=ID             name of this agent (default: host name and pid)\n"
		  "  -t, --agent-type=TYPE         kind of agent, for statistics (default: agent)\n"
		  "  -c, --capability=NAME[,NAME]  what it can do; may be repeated\n"
		  "  -j, --concurrency=N           commands at once (default: 1)\n"
		  "      --lease=INTERVAL          lease of a claim (default: the capability's)\n"
		  "      --heartbeat-timeout=INTERVAL\n"
		  "                                silence after which the server thinks it dead\n"
		  "      --snooze=INTERVAL         delay of a task given back by exit code 75\n"
		  "                                (default: 30 s)\n"
		  "      --grace=SECONDS           after SIGTERM, time for running commands (default: 30)\n"
		  "      --kill-after=SECONDS      from SIGTERM to SIGKILL for a command (default: 5)\n"
		  "      --once                    work until there is nothing to claim, then exit\n"
		  "      --max-tasks=N             claim at most N tasks, then exit\n"
		  "  -q, --quiet                   log warnings and errors only\n"
		  "  -v, --verbose                 log more, and what commands write to standard error\n"
		  "  -h, --help                    show this help, then exit\n"
		  "  -V, --version                 show the version, then exit\n"
		  "\n"
		  "Exit codes of COMMAND: 0 completes the task; 65 fails it for good; 75 gives it\n"
		  "back unharmed, to be tried after the snooze; any other fails the attempt.\n"
		  "\n"
		  "Exit codes of ains-agent: 0 normal end; 1 with --once or --max-tasks, a task was\n"
		  "not completed; 2 wrong usage; 3 the server or COMMAND makes work impossible;\n"
		  "128 + N a second signal N ended it.\n"
		  "\n"
		  "See ains-agent(1).\n", stdout);
}

static void __attribute__((noreturn, format(printf, 1, 2)))
usage_error(const char *fmt, ...)
{
	char		text[512];
	va_list		args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	fprintf(stderr, "ains-agent: %s\nTry \"ains-agent --help\".\n", text);
	exit(EXIT_USAGE);
}

static int64_t
parse_count(const char *option, const char *text, int64_t low, int64_t high)
{
	char	   *end;
	long long	n;

	errno = 0;
	n = strtoll(text, &end, 10);
	if (errno != 0 || end == text || *end != '\0' || n < low || n > high)
		usage_error("%s must be a whole number from %lld to %lld, not \"%s\"",
					option, (long long) low, (long long) high, text);
	return n;
}

static int64_t
parse_seconds(const char *option, const char *text)
{
	char	   *end;
	double		s = strtod(text, &end);

	if (end == text || *end != '\0' || !(s >= 0 && s <= 86400))
		usage_error("%s must be a number of seconds from 0 to 86400, not \"%s\"", option, text);
	return (int64_t) (s * 1000);
}

static const char *
parse_name(const char *what, const char *text)
{
	size_t		characters = 0;

	for (const char *p = text; *p; p++)
	{
		if ((unsigned char) *p < 0x20 || *p == 0x7F)
			usage_error("%s must not contain control characters", what);
		if (((unsigned char) *p & 0xC0) != 0x80)
			characters++;
	}
	if (characters == 0 || characters > MAX_NAME)
		usage_error("%s must have 1 to %d characters", what, MAX_NAME);
	return text;
}

/* Adds the names of a comma-separated list, white space around them dropped. */
static void
add_capabilities(struct buf *list, const char *text)
{
	char	   *copy = xstrdup(text);
	char	   *rest = copy;
	char	   *name;

	while ((name = strsep(&rest, ",")) != NULL)
	{
		char	   *end;

		name += strspn(name, " \t");
		end = name + strlen(name);
		while (end > name && (end[-1] == ' ' || end[-1] == '\t'))
			*--end = '\0';
		parse_name("a capability", name);
		buf_puts(list, list->len > 0 ? "," : "{");
		text_array_element(list, name);
	}
	free(copy);
}

static const char *
default_agent_id(void)
{
	static char id[MAX_NAME + 1];
	char		host[96];

	if (gethostname(host, sizeof(host)) != 0)
		strcpy(host, "agent");
	host[sizeof(host) - 1] = '\0';
	snprintf(id, sizeof(id), "%s-%ld", host, (long) getpid());
	return id;
}

/* A command that cannot be found would cost every task an attempt: say so first. */
static void
check_command(const char *command)
{
	const char *path = getenv("PATH");
	char	   *copy;
	char	   *rest;
	char	   *dir;
	bool		found = false;

	if (strchr(command, '/') != NULL)
	{
		if (access(command, X_OK) != 0)
			usage_error("cannot run \"%s\": %s", command, strerror(errno));
		return;
	}
	rest = copy = xstrdup(path ? path : "/usr/local/bin:/usr/bin:/bin");
	while (!found && (dir = strsep(&rest, ":")) != NULL)
	{
		char		full[4096];

		snprintf(full, sizeof(full), "%s/%s", *dir ? dir : ".", command);
		found = access(full, X_OK) == 0;
	}
	free(copy);
	if (!found)
		usage_error("cannot run \"%s\": not found in PATH", command);
}

static void
check_dsn(const char *dsn)
{
	char	   *error = NULL;
	PQconninfoOption *parsed;

	/* As in psql, a plain word is the name of a database. */
	if (dsn == NULL || (strchr(dsn, '=') == NULL && strstr(dsn, "://") == NULL))
		return;
	parsed = PQconninfoParse(dsn, &error);
	if (parsed == NULL)
		usage_error("--dsn: %.*s", error ? (int) strcspn(error, "\n") : 13, error ? error : "out of memory");
	PQconninfoFree(parsed);
}

void
options_parse(struct options *o, int argc, char **argv)
{
	enum
	{
		OPT_LEASE = 256, OPT_HEARTBEAT_TIMEOUT, OPT_SNOOZE, OPT_GRACE,
		OPT_KILL_AFTER, OPT_ONCE, OPT_MAX_TASKS,
	};
	static const struct option longs[] = {
		{"dsn", required_argument, NULL, 'd'},
		{"agent-id", required_argument, NULL, 'i'},
		{"agent-type", required_argument, NULL, 't'},
		{"capability", required_argument, NULL, 'c'},
		{"concurrency", required_argument, NULL, 'j'},
		{"lease", required_argument, NULL, OPT_LEASE},
		{"heartbeat-timeout", required_argument, NULL, OPT_HEARTBEAT_TIMEOUT},
		{"snooze", required_argument, NULL, OPT_SNOOZE},
		{"grace", required_argument, NULL, OPT_GRACE},
		{"kill-after", required_argument, NULL, OPT_KILL_AFTER},
		{"once", no_argument, NULL, OPT_ONCE},
		{"max-tasks", required_argument, NULL, OPT_MAX_TASKS},
		{"quiet", no_argument, NULL, 'q'},
		{"verbose", no_argument, NULL, 'v'},
		{"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'V'},
		{NULL, 0, NULL, 0},
	};
	struct buf	capabilities = {0};
	int			opt;

	memset(o, 0, sizeof(*o));
	o->agent_id = default_agent_id();
	o->agent_type = "agent";
	o->concurrency = 1;
	o->snooze = "30 s";
	o->grace_ms = 30000;
	o->kill_after_ms = 5000;

	/* "+": options end at the command's name, also without "--". */
	while ((opt = getopt_long(argc, argv, "+d:i:t:c:j:qvhV", longs, NULL)) != -1)
	{
		switch (opt)
		{
			case 'd':
				o->dsn = optarg;
				break;
			case 'i':
				o->agent_id = parse_name("--agent-id", optarg);
				break;
			case 't':
				o->agent_type = parse_name("--agent-type", optarg);
				break;
			case 'c':
				add_capabilities(&capabilities, optarg);
				break;
			case 'j':
				o->concurrency = (int) parse_count("--concurrency", optarg, 1, MAX_CONCURRENCY);
				break;
			case OPT_LEASE:
				o->lease = optarg;
				break;
			case OPT_HEARTBEAT_TIMEOUT:
				o->heartbeat_timeout = optarg;
				break;
			case OPT_SNOOZE:
				o->snooze = optarg;
				break;
			case OPT_GRACE:
				o->grace_ms = parse_seconds("--grace", optarg);
				break;
			case OPT_KILL_AFTER:
				o->kill_after_ms = parse_seconds("--kill-after", optarg);
				break;
			case OPT_ONCE:
				o->once = true;
				break;
			case OPT_MAX_TASKS:
				o->max_tasks = parse_count("--max-tasks", optarg, 1, INT64_MAX);
				break;
			case 'q':
				log_set_level(LV_WARNING);
				break;
			case 'v':
				log_set_level(LV_DEBUG);
				break;
			case 'h':
				print_help();
				exit(0);
			case 'V':
				puts("ains-agent " AINS_VERSION);
				exit(0);
			default:
				fputs("Try \"ains-agent --help\".\n", stderr);
				exit(EXIT_USAGE);
		}
	}
	if (capabilities.len == 0)
		usage_error("--capability is missing");
	if (optind >= argc)
		usage_error("the command is missing; write it after \"--\"");
	buf_puts(&capabilities, "}");
	o->capabilities = capabilities.data;
	o->argv = argv + optind;
	check_dsn(o->dsn);
	check_command(o->argv[0]);
}
