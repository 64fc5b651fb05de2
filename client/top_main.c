/*
 * top_main.c - ains-top shows what agents and tasks are doing.
 */
#define _GNU_SOURCE
#include <getopt.h>
#include <errno.h>
#include <langinfo.h>
#include <locale.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "log.h"
#include "signals.h"
#include "top.h"

static struct top top;
static const struct view *view;
static bool terminal_is_ours;	/* messages would spoil it */

static void
print_help(void)
{
	fputs("ains-top shows what the agents and tasks of ains are doing.\n"
		  "\n"
		  "Usage:\n"
		  "  ains-top [OPTION]... [DATABASE]\n"
		  "\n"
		  "Options:\n"
		  "  -d, --dsn=CONNINFO        connection string (default: PGHOST, PGDATABASE, ...)\n"
		  "  -n, --interval=SECONDS    from one refresh to the next, 0.2 to 3600 (default: 2)\n"
		  "      --role=ROLE           look with the rights of ROLE (default: ains_monitor, for\n"
		  "                            its members)\n"
		  "      --operate             keep your own rights, and let keys change things\n"
		  "      --once                print everything once as text, then exit\n"
		  "      --html=FILE           write a web page to FILE at each refresh; with --once,\n"
		  "                            once\n"
		  "      --serve=ADDRESS:PORT  serve the page, /metrics and /health by HTTP; port 0\n"
		  "                            chooses one\n"
		  "      --allow-remote        with --serve: ADDRESS may be one that others can reach\n"
		  "  -h, --help                show this help, then exit\n"
		  "  -V, --version             show the version, then exit\n"
		  "\n"
		  "Keys: h shows them.\n"
		  "\n"
		  "Exit codes: 0 normal end; 2 wrong usage; 3 the server, the file or the address\n"
		  "makes work impossible.\n"
		  "\n"
		  "See ains-top(1).\n", stdout);
}

static void __attribute__((noreturn, format(printf, 1, 2)))
usage_error(const char *fmt, ...)
{
	va_list		args;

	fputs("ains-top: ", stderr);
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fputs("\nTry \"ains-top --help\".\n", stderr);
	exit(EXIT_USAGE);
}

static void
parse_options(struct options *o, int argc, char **argv)
{
	enum
	{
		OPT_ROLE = 256, OPT_OPERATE, OPT_ONCE, OPT_HTML, OPT_SERVE, OPT_ALLOW_REMOTE,
	};
	static const struct option longs[] = {
		{"dsn", required_argument, NULL, 'd'},
		{"interval", required_argument, NULL, 'n'},
		{"role", required_argument, NULL, OPT_ROLE},
		{"operate", no_argument, NULL, OPT_OPERATE},
		{"once", no_argument, NULL, OPT_ONCE},
		{"html", required_argument, NULL, OPT_HTML},
		{"serve", required_argument, NULL, OPT_SERVE},
		{"allow-remote", no_argument, NULL, OPT_ALLOW_REMOTE},
		{"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'V'},
		{NULL, 0, NULL, 0},
	};
	char	   *end;
	double		seconds;
	int			opt;

	o->interval = 2000;
	while ((opt = getopt_long(argc, argv, "d:n:hV", longs, NULL)) != -1)
	{
		switch (opt)
		{
			case 'd':
				o->dsn = optarg;
				break;
			case 'n':
				seconds = strtod(optarg, &end);
				if (end == optarg || *end != '\0' || !(seconds >= 0.2 && seconds <= 3600))
					usage_error("--interval must be a number of seconds from 0.2 to 3600, not \"%s\"", optarg);
				o->interval = (int64_t) (seconds * 1000);
				break;
			case OPT_ROLE:
				o->role = optarg;
				break;
			case OPT_OPERATE:
				o->operate = true;
				break;
			case OPT_ONCE:
				o->once = true;
				break;
			case OPT_HTML:
				o->html = optarg;
				break;
			case OPT_SERVE:
				o->serve = optarg;
				break;
			case OPT_ALLOW_REMOTE:
				o->allow_remote = true;
				break;
			case 'h':
				print_help();
				exit(0);
			case 'V':
				puts("ains-top " AINS_VERSION);
				exit(0);
			default:
				fputs("Try \"ains-top --help\".\n", stderr);
				exit(EXIT_USAGE);
		}
	}
	if (optind < argc && o->dsn == NULL)
		o->dsn = argv[optind++];
	if (optind < argc)
		usage_error("too many arguments: \"%s\"", argv[optind]);
	if (o->serve != NULL && (o->html != NULL || o->once))
		usage_error("--serve does not go with --html or --once");
	if (o->operate && (o->serve != NULL || o->html != NULL || o->once))
		usage_error("--operate is for the keys of the terminal view");
}

bool
top_utf8(void)
{
	return strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
}

/* Warnings are the notice that every view shows; programs without a screen log them too. */
static bool
keep_notice(enum log_level level, const char *text)
{
	if (level <= LV_WARNING)
	{
		char	   *safe = safe_copy(text);

		snprintf(top.data.notice, sizeof(top.data.notice), "%s", safe);
		free(safe);
	}
	return !terminal_is_ours;
}

static void
close_view(void)
{
	if (view != NULL && view->close != NULL)
		view->close();
	view = NULL;
}

/* Before anything was shown, what will not cure itself ends us; --once has no second try. */
static void
check_start(void)
{
	if (top.data.refreshes == 0 && top.data.failures > 0 && (top.data.hopeless || top.options->once))
	{
		close_view();
		fprintf(stderr, "ains-top: %s\n", top.data.notice);
		exit(EXIT_REFUSED);
	}
}

static void
loop(void)
{
	bool		ready = false;

	while (!top.quit && signals_stops() == 0)
	{
		struct pollfd fds[3] = {{.fd = signals_fd(), .events = POLLIN}};
		int64_t		now = now_ms();
		int64_t		wait;
		int			limit;

		if (data_step(&top.data, now, ready))
		{
			check_start();
			view->show(&top);
			if (top.quit)
				break;
		}
		wait = data_timer(&top.data) - now_ms();
		if (wait > 1000)
			wait = 1000;
		limit = view->timeout ? view->timeout() : -1;
		if (limit >= 0 && limit < wait)
			wait = limit;
		fds[1].fd = conn_fd(&top.data.conn, &fds[1].events);
		fds[2].fd = view->fd ? view->fd() : -1;
		fds[2].events = POLLIN;
		if (poll(fds, 3, wait > 0 ? (int) wait : 0) < 0)
		{
			/* a window was resized: input() will see it */
			fds[0].revents = fds[1].revents = 0;
			fds[2].revents = POLLIN;
			if (errno != EINTR)
				break;
		}
		if (fds[0].revents)
			signals_clear();
		if (fds[2].revents & (POLLHUP | POLLERR | POLLNVAL))
			break;				/* the terminal is gone */
		ready = fds[1].revents != 0;
		if (view->input != NULL && (fds[2].revents || limit >= 0))
			view->input(&top);
	}
}

int
main(int argc, char **argv)
{
	static struct options options;

	setlocale(LC_ALL, "");
	setlocale(LC_NUMERIC, "C");
	program_name = "ains-top";
	srandom((unsigned) time(NULL) ^ ((unsigned) getpid() << 16));
	parse_options(&options, argc, argv);
	top.options = &options;
	view = options.serve ? &serve_view : options.html ? &file_view : options.once ? &once_view : &screen_view;
	if (view == &screen_view && (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO)))
	{
		view = NULL;
		usage_error("standard input and output are not a terminal; --once prints text, --html and --serve make a page");
	}
	signals_init();
	data_init(&top.data, options.dsn, options.role, options.operate, options.interval);
	terminal_is_ours = view == &screen_view || options.once;
	log_set_sink(keep_notice);
	atexit(close_view);
	if (view->open != NULL)
		view->open(&top);
	loop();
	close_view();
	data_free(&top.data);
	return 0;
}
