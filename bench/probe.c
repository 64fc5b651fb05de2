/*
 * probe.c
 *		Measures moments that pgbench cannot: from something that happens to an
 *		agent that has the task in its hands.
 *
 *		probe latency N		an idle agent waits; one task is enqueued
 *		probe killed N		an attached agent's process is killed by SIGKILL; its
 *							task runs at another
 *		probe lease N		leases end; their tasks run at another
 *		probe dead N		agents fall silent; their tasks run at another
 *		probe first			connects as soon as it can, claims one task: two
 *							lines, the whole and the claim alone
 *
 * One microsecond count per line. Connects as the environment says (PGHOST ...).
 * The waiting agent is a process of its own, as it would be: told to go, it calls
 * ains.wait_for_task, then ains.claim, until it has a task in its hands. Both
 * processes read the machine's one clock.
 */
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <libpq-fe.h>

static int64_t
now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (int64_t) t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void
die(const char *what, const char *why)
{
	fprintf(stderr, "probe: %s: %s\n", what, why);
	exit(1);
}

static PGresult *
ask(PGconn *conn, const char *format,...)
{
	char		sql[1024];
	va_list		args;
	PGresult   *result;

	va_start(args, format);
	vsnprintf(sql, sizeof(sql), format, args);
	va_end(args);
	result = PQexec(conn, sql);
	if (PQresultStatus(result) != PGRES_TUPLES_OK && PQresultStatus(result) != PGRES_COMMAND_OK)
		die(sql, PQerrorMessage(conn));
	return result;
}

static PGconn *
connect_or_die(void)
{
	PGconn	   *conn = PQconnectdb("application_name=probe");

	if (PQstatus(conn) != CONNECTION_OK)
		die("no connection", PQerrorMessage(conn));
	return conn;
}

static void
prepare(PGconn *conn, const char *name, const char *sql)
{
	PGresult   *result = PQprepare(conn, name, sql, 0, NULL);

	if (PQresultStatus(result) != PGRES_COMMAND_OK)
		die(sql, PQerrorMessage(conn));
	PQclear(result);
}

static PGresult *
run(PGconn *conn, const char *name, int nargs, const char *const *args)
{
	PGresult   *result = PQexecPrepared(conn, name, nargs, args, NULL, NULL, 0);

	if (PQresultStatus(result) != PGRES_TUPLES_OK && PQresultStatus(result) != PGRES_COMMAND_OK)
		die(name, PQerrorMessage(conn));
	return result;
}

typedef struct Got
{
	int64_t		at;
	int64_t		task_id;
} Got;

/* Told to go, waits, claims, says so and completes; until it is killed. */
static void
waiting_agent(int in, int out)
{
	PGconn	   *conn = connect_or_die();
	const char *agent[] = {"probe-waiter"};
	Got			got = {0, 0};
	char		go;

	PQclear(ask(conn, "SELECT ains.register_agent('probe-waiter', capabilities => '{probe}',"
				" heartbeat_timeout => '1 h')"));
	prepare(conn, "wait", "CALL ains.wait_for_task($1, '1 min')");
	prepare(conn, "claim", "SELECT task_id, lease_token, capability, payload, attempt"
			" FROM ains.claim($1)");
	prepare(conn, "complete", "SELECT ains.complete($1, $2)");
	while (write(out, &got, sizeof(got)) == sizeof(got) && read(in, &go, 1) == 1)
	{
		PGresult   *claimed = NULL;
		const char *args[2];

		do
		{
			PQclear(claimed);
			PQclear(run(conn, "wait", 1, agent));
			claimed = run(conn, "claim", 1, agent);
		} while (PQntuples(claimed) == 0);
		got = (Got) {now_us(), atoll(PQgetvalue(claimed, 0, 0))};
		args[0] = PQgetvalue(claimed, 0, 0);
		args[1] = PQgetvalue(claimed, 0, 1);
		PQclear(run(conn, "complete", 2, args));
		PQclear(claimed);
	}
	exit(0);
}

static pid_t waiter;
static int	from_waiter;
static int	to_waiter;

static void
stop_waiter(void)
{
	if (waiter > 0)
		kill(waiter, SIGKILL);
}

static Got
next_got(void)
{
	struct pollfd p = {from_waiter, POLLIN, 0};
	Got			got;

	if (poll(&p, 1, 30000) != 1 || read(from_waiter, &got, sizeof(got)) != sizeof(got))
		die("the waiting agent", "no answer within 30 s");
	return got;
}

static void
go(void)
{
	if (write(to_waiter, "g", 1) != 1)
		die("the waiting agent", "is gone");
}

static void
start_waiter(void)
{
	int			up[2];
	int			down[2];

	if (pipe(up) != 0 || pipe(down) != 0)
		die("pipe", "failed");
	waiter = fork();
	if (waiter == 0)
	{
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(up[0]);
		close(down[1]);
		waiting_agent(down[0], up[1]);
	}
	close(up[1]);
	close(down[0]);
	from_waiter = up[0];
	to_waiter = down[1];
	atexit(stop_waiter);
	next_got();
}

static int
by_value(const void *a, const void *b)
{
	int64_t		x = *(const int64_t *) a;
	int64_t		y = *(const int64_t *) b;

	return (x > y) - (x < y);
}

static void
latency(int n)
{
	PGconn	   *conn = connect_or_die();

	prepare(conn, "enqueue", "SELECT ains.enqueue('probe', '{\"n\": 1}')");
	start_waiter();
	for (int i = -20; i < n; i++)
	{
		int64_t		t0;

		go();
		usleep(3000 + rand() % 6000);	/* it falls asleep */
		t0 = now_us();
		PQclear(run(conn, "enqueue", 0, NULL));
		t0 = next_got().at - t0;
		if (i >= 0)				/* the first ones fill caches */
			printf("%lld\n", (long long) t0);
	}
}

/* Enqueues one task, and claims it as this agent. */
static void
hold_one(PGconn *conn, const char *agent, const char *lease)
{
	PGresult   *claimed;

	PQclear(ask(conn, "SELECT ains.enqueue('probe')"));
	claimed = ask(conn, "SELECT task_id FROM ains.claim('%s', lease => '%s')", agent, lease);
	if (PQntuples(claimed) != 1)
		die(agent, "got no task");
	PQclear(claimed);
}

static void
killed(int n)
{
	start_waiter();
	for (int i = 0; i < n; i++)
	{
		int			fds[2];
		char		c;
		pid_t		victim;
		int64_t		t0;

		if (pipe(fds) != 0)
			die("pipe", "failed");
		victim = fork();
		if (victim == 0)
		{
			PGconn	   *conn;

			prctl(PR_SET_PDEATHSIG, SIGKILL);
			conn = connect_or_die();
			PQclear(ask(conn, "SELECT ains.register_agent('probe-victim', capabilities => '{probe}')"));
			PQclear(ask(conn, "SELECT ains.attach_agent('probe-victim')"));
			hold_one(conn, "probe-victim", "1 h");
			if (write(fds[1], "x", 1) != 1)
				_exit(1);
			pause();
			_exit(0);
		}
		close(fds[1]);
		if (read(fds[0], &c, 1) != 1)
			die("the victim", "does not come to hold a task");
		close(fds[0]);
		go();
		usleep(20000 + rand() % 30000);
		t0 = now_us();
		kill(victim, SIGKILL);
		printf("%lld\n", (long long) (next_got().at - t0));
		waitpid(victim, NULL, 0);
	}
}

/*
 * N agents hold one task each and say no more: after a second (dead: because
 * they are silent, lease: because that is how long they have it) others may
 * have it. One waiting agent takes one after the other, so they end one by one.
 */
static void
overdue(int n, int dead)
{
	PGconn	   *conn = connect_or_die();
	int64_t    *due = malloc(n * sizeof(int64_t));
	PGresult   *result;

	start_waiter();
	for (int i = 0; i < n; i++)
	{
		char		agent[40];

		snprintf(agent, sizeof(agent), "probe-silent-%d-%d", dead, i);
		PQclear(ask(conn, "SELECT ains.register_agent('%s', capabilities => '{probe}',"
					" heartbeat_timeout => '%s')", agent, dead ? "1 s" : "1 h"));
		hold_one(conn, agent, dead ? "1 h" : "1 s");
		if (i + 1 < n)
			usleep(800000 / n);
	}
	result = ask(conn, "SELECT (extract(epoch FROM %s) * 1000000)::bigint FROM ains.task"
				 " WHERE agent_id LIKE 'probe-silent-%d-%%' AND status = 'ACTIVE'",
				 dead ? "claimed_at + interval '1 s'" : "lease_expires_at", dead);
	if (PQntuples(result) != n)
		die("the silent agents", "have lost tasks too early: the machine is too slow for this");
	for (int i = 0; i < n; i++)
		due[i] = atoll(PQgetvalue(result, i, 0));
	qsort(due, n, sizeof(int64_t), by_value);
	for (int i = 0; i < n; i++)
	{
		go();
		printf("%lld\n", (long long) (next_got().at - due[i]));
	}
}

static void
first(void)
{
	int64_t		t0 = now_us();
	int64_t		t1;
	PGconn	   *conn;
	PGresult   *claimed;

	for (;;)
	{
		conn = PQconnectdb("application_name=probe");
		if (PQstatus(conn) == CONNECTION_OK)
			break;
		PQfinish(conn);
		if (now_us() - t0 > 60000000)
			die("no connection", "within 60 s");
		usleep(1000);
	}
	t1 = now_us();
	claimed = ask(conn, "SELECT * FROM ains.claim('0')");
	if (PQntuples(claimed) != 1)
		die("the first claim", "returned no task");
	printf("%lld\n%lld\n", (long long) (now_us() - t0), (long long) (now_us() - t1));
}

int
main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	int			n = argc > 2 ? atoi(argv[2]) : 1;

	setvbuf(stdout, NULL, _IOLBF, 0);
	srand(n);
	if (strcmp(what, "latency") == 0)
		latency(n);
	else if (strcmp(what, "killed") == 0)
		killed(n);
	else if (strcmp(what, "lease") == 0 || strcmp(what, "dead") == 0)
		overdue(n, *what == 'd');
	else if (strcmp(what, "first") == 0)
		first();
	else
		die("usage", "probe latency|killed|lease|dead N, probe first");
	return 0;
}
