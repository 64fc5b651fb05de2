/*
 * top_serve.c - the page by HTTP, with /metrics and /health beside it.
 *
 * libmicrohttpd runs inside our loop, by its epoll descriptor: one thread,
 * nothing to lock.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>

#include <microhttpd.h>

#include "log.h"
#include "top.h"

#define MAX_CONNECTIONS		64
#define IDLE_SECONDS		30

static struct MHD_Daemon *server;

static void __attribute__((noreturn))
refuse(const char *where, const char *why)
{
	fprintf(stderr, "ains-top: cannot serve \"%s\": %s\n", where, why);
	exit(EXIT_REFUSED);
}

union address
{
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

/* ADDRESS:PORT or [ADDRESS]:PORT, numbers only: a name could mean more than was meant. */
static bool
parse_address(const char *text, union address *a)
{
	char		host[64];
	const char *colon = strrchr(text, ':');
	char	   *end;
	long		port;
	size_t		length;

	memset(a, 0, sizeof(*a));
	if (colon == NULL || colon[1] == '\0')
		return false;
	port = strtol(colon + 1, &end, 10);
	if (*end != '\0' || port < 0 || port > 65535)
		return false;
	length = (size_t) (colon - text);
	if (length > 2 && text[0] == '[' && colon[-1] == ']')
	{
		text++;
		length -= 2;
	}
	if (length >= sizeof(host))
		return false;
	memcpy(host, text, length);
	host[length] = '\0';
	if (strcmp(host, "localhost") == 0)
		strcpy(host, "127.0.0.1");
	if (inet_pton(AF_INET, host, &a->v4.sin_addr) == 1)
	{
		a->v4.sin_family = AF_INET;
		a->v4.sin_port = htons((uint16_t) port);
		return true;
	}
	if (inet_pton(AF_INET6, host, &a->v6.sin6_addr) == 1)
	{
		a->v6.sin6_family = AF_INET6;
		a->v6.sin6_port = htons((uint16_t) port);
		return true;
	}
	return false;
}

static bool
is_loopback(const union address *a)
{
	if (a->any.sa_family == AF_INET)
		return (ntohl(a->v4.sin_addr.s_addr) >> 24) == 127;
	return IN6_IS_ADDR_LOOPBACK(&a->v6.sin6_addr);
}

/*
 * Whether a request is meant for us.  A site's own name may be made to point
 * to the loopback, and its scripts then read what we serve; so on the loopback
 * only a number or "localhost" is taken for our name.
 */
static bool
host_is_ours(struct MHD_Connection *connection, const struct options *o)
{
	const char *host = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Host");
	union address a;
	char		text[128];

	if (o->allow_remote || host == NULL)
		return true;
	if (parse_address(host, &a))
		return is_loopback(&a);
	/* without a port */
	snprintf(text, sizeof(text), "%s:80", host);
	return parse_address(text, &a) && is_loopback(&a);
}

static enum MHD_Result
answer_text(struct MHD_Connection *connection, unsigned status, const char *type, struct buf *body,
			const char *nonce)
{
	struct MHD_Response *response;
	char		policy[256];
	enum MHD_Result result;

	response = MHD_create_response_from_buffer(body->len, body->len ? body->data : "",
											   MHD_RESPMEM_MUST_COPY);
	buf_free(body);
	if (response == NULL)
		return MHD_NO;
	snprintf(policy, sizeof(policy), "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'");
	if (nonce != NULL)
		snprintf(policy + strlen(policy), sizeof(policy) - strlen(policy),
				 "; style-src 'nonce-%s'; script-src 'nonce-%s'; connect-src 'self'; img-src data:", nonce, nonce);
	MHD_add_response_header(response, "Content-Type", type);
	MHD_add_response_header(response, "Content-Security-Policy", policy);
	MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
	MHD_add_response_header(response, "Referrer-Policy", "no-referrer");
	MHD_add_response_header(response, "Cache-Control", "no-store");
	if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
		MHD_add_response_header(response, "Allow", "GET, HEAD");
	result = MHD_queue_response(connection, status, response);
	MHD_destroy_response(response);
	return result;
}

static enum MHD_Result
answer_message(struct MHD_Connection *connection, unsigned status, const char *message)
{
	struct buf	body = {0};

	buf_puts(&body, message);
	buf_puts(&body, "\n");
	return answer_text(connection, status, "text/plain; charset=utf-8", &body, NULL);
}

static enum MHD_Result
answer_page(struct MHD_Connection *connection, struct top *top)
{
	unsigned char random_bytes[16];
	char		nonce[2 * sizeof(random_bytes) + 1];
	struct buf	body = {0};

	if (getrandom(random_bytes, sizeof(random_bytes), 0) != (ssize_t) sizeof(random_bytes))
		return answer_message(connection, MHD_HTTP_INTERNAL_SERVER_ERROR, "no random numbers");
	for (size_t i = 0; i < sizeof(random_bytes); i++)
		snprintf(nonce + 2 * i, 3, "%02x", random_bytes[i]);
	page_write(top, nonce, &body);
	return answer_text(connection, MHD_HTTP_OK, "text/html; charset=utf-8", &body, nonce);
}

/* What the page's script asks for. */
static enum MHD_Result
answer_live(struct MHD_Connection *connection, struct top *top)
{
	struct buf	body = {0};

	page_write_live(&top->data, &body);
	return answer_text(connection, MHD_HTTP_OK, "text/html; charset=utf-8", &body, NULL);
}

/* What one function returns. */
static enum MHD_Result
answer_call(struct MHD_Connection *connection, struct top *top, const char *sql, const char *type)
{
	char		problem[2048];
	struct buf	body = {0};
	PGresult   *res = data_run(&top->data, sql, 0, NULL, problem, sizeof(problem));

	if (res == NULL)
		return answer_message(connection, MHD_HTTP_SERVICE_UNAVAILABLE, problem);
	buf_puts(&body, PQgetvalue(res, 0, 0));
	PQclear(res);
	return answer_text(connection, MHD_HTTP_OK, type, &body, NULL);
}

static enum MHD_Result
on_request(void *arg, struct MHD_Connection *connection, const char *url, const char *method,
		   const char *version, const char *upload, size_t *upload_size, void **state)
{
	static int	begun;
	struct top *top = arg;

	(void) version;
	(void) upload;
	/* The first call is for the headers alone; a body, if one comes, is thrown away. */
	if (*state == NULL)
	{
		*state = &begun;
		return MHD_YES;
	}
	if (*upload_size > 0)
	{
		*upload_size = 0;
		return MHD_YES;
	}
	if (!host_is_ours(connection, top->options))
		return answer_message(connection, MHD_HTTP_FORBIDDEN, "not served under this name");
	if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)
		return answer_message(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "only for reading");
	if (strcmp(url, "/") == 0)
		return answer_page(connection, top);
	if (strcmp(url, "/live") == 0)
		return answer_live(connection, top);
	if (strcmp(url, "/metrics") == 0)
		return answer_call(connection, top, "SELECT ains.metrics()", "text/plain; version=0.0.4; charset=utf-8");
	if (strcmp(url, "/health") == 0)
		return answer_call(connection, top, "SELECT ains.health()", "application/json");
	return answer_message(connection, MHD_HTTP_NOT_FOUND, "there are /, /metrics and /health");
}

static void
open_server(struct top *top)
{
	const char *where = top->options->serve;
	const union MHD_DaemonInfo *info;
	union address a;
	char		text[INET6_ADDRSTRLEN];
	bool		v6;

	if (!parse_address(where, &a))
		refuse(where, "it must be ADDRESS:PORT, such as 127.0.0.1:8080 or [::1]:8080");
	if (!is_loopback(&a) && !top->options->allow_remote)
		refuse(where, "others could read the page there without a password; say --allow-remote if they may");
	v6 = a.any.sa_family == AF_INET6;
	server = MHD_start_daemon(MHD_USE_EPOLL | (v6 ? MHD_USE_IPv6 : 0), 0, NULL, NULL, on_request, top,
							  MHD_OPTION_SOCK_ADDR, &a.any,
							  MHD_OPTION_CONNECTION_LIMIT, (unsigned) MAX_CONNECTIONS,
							  MHD_OPTION_CONNECTION_TIMEOUT, (unsigned) IDLE_SECONDS,
							  MHD_OPTION_END);
	if (server == NULL)
		refuse(where, strerror(errno));
	info = MHD_get_daemon_info(server, MHD_DAEMON_INFO_BIND_PORT);
	inet_ntop(a.any.sa_family, v6 ? (void *) &a.v6.sin6_addr : (void *) &a.v4.sin_addr, text, sizeof(text));
	log_line(LV_INFO, NULL, v6 ? "serving http://[%s]:%u/" : "serving http://%s:%u/", text,
			 info ? (unsigned) info->port : 0);
}

static int
server_fd(void)
{
	const union MHD_DaemonInfo *info = MHD_get_daemon_info(server, MHD_DAEMON_INFO_EPOLL_FD);

	return info ? info->epoll_fd : -1;
}

static int
server_timeout(void)
{
	MHD_UNSIGNED_LONG_LONG ms;

	if (MHD_get_timeout(server, &ms) != MHD_YES)
		return -1;
	return ms > 1000 ? 1000 : (int) ms;
}

static void
run_server(struct top *top)
{
	(void) top;
	MHD_run(server);
}

/* Each answer is made of what is there; nothing to do. */
static void
show_nothing(struct top *top)
{
	(void) top;
}

static void
close_server(void)
{
	if (server != NULL)
		MHD_stop_daemon(server);
	server = NULL;
}

const struct view serve_view = {
	.open = open_server,
	.show = show_nothing,
	.input = run_server,
	.fd = server_fd,
	.timeout = server_timeout,
	.close = close_server,
};
