/* SPDX-License-Identifier: Apache-2.0 */

/* Real sockets on 127.0.0.1 and one event loop for both ends: a server that
   plays a script, and the client against it. */

#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>

#include <cmocka.h>

#include "http/client.h"

#define MSEC		USEC_PER_MSEC
#define PATIENCE	(60 * USEC_PER_SEC)	/* a test that waits longer fails */
#define SOON		(500 * MSEC)	/* time for a request to get there */
#define MAX_BODY	1000
#define STEPS_MAX	32

/* --- the server ------------------------------------------------------------- */

enum then { THEN_KEEP, THEN_CLOSE, THEN_RESET, THEN_HANG };

/* What it does with the next request that is complete. */
struct step {
	const char *send;	/* NULL: nothing */
	enum then then;
};

struct server;

struct connection {
	struct server *server;
	int fd;
	sd_event_source *source;
	char in[8192];
	size_t len;
};

struct server {
	sd_event *event;
	int fd;
	uint16_t port;
	sd_event_source *source;
	struct step steps[STEPS_MAX];
	size_t n_steps, at;
	struct connection *connections[STEPS_MAX];
	size_t n_connections;
	char requests[STEPS_MAX][2048];
	size_t n_requests;
	void (*on_request)(void);	/* after it was read, before the answer */
};

static void
connection_close(struct connection *c, bool reset)
{
	struct linger hard = { .l_onoff = 1 };

	if (c->fd < 0)
		return;
	if (reset)
		setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
	c->source = sd_event_source_disable_unref(c->source);
	close(c->fd);
	c->fd = -1;
}

static size_t
request_len(const char *s)
{
	const char *end = strstr(s, "\r\n\r\n"),
		   *field = strcasestr(s, "\nContent-Length:");
	size_t body = field && field < end ? strtoul(field + 16, NULL, 10) : 0;

	if (!end || strlen(end + 4) < body)
		return 0;
	return (size_t)(end + 4 - s) + body;
}

static void
server_answer(struct connection *c, size_t len)
{
	struct server *s = c->server;
	const struct step *step;

	assert_true(s->n_requests < STEPS_MAX && s->at < s->n_steps);
	snprintf(s->requests[s->n_requests++], sizeof(s->requests[0]), "%.*s",
		 (int)len, c->in);
	memmove(c->in, c->in + len, sizeof(c->in) - len);
	c->len -= len;
	if (s->on_request)
		s->on_request();

	step = &s->steps[s->at++];
	if (step->send)
		send(c->fd, step->send, strlen(step->send), MSG_NOSIGNAL);
	if (step->then == THEN_CLOSE || step->then == THEN_RESET)
		connection_close(c, step->then == THEN_RESET);
}

static int
on_connection(sd_event_source *source _unused_, int fd, uint32_t revents _unused_,
	      void *userdata)
{
	struct connection *c = userdata;
	ssize_t n = recv(fd, c->in + c->len, sizeof(c->in) - 1 - c->len, 0);
	size_t len;

	if (n <= 0) {
		connection_close(c, false);
		return 0;
	}
	c->len += (size_t)n;
	c->in[c->len] = '\0';
	len = request_len(c->in);
	if (len > 0)
		server_answer(c, len);
	return 0;
}

static int
on_accept(sd_event_source *source _unused_, int fd, uint32_t revents _unused_,
	  void *userdata)
{
	struct server *s = userdata;
	struct connection *c = calloc(1, sizeof(*c));

	assert_true(c && s->n_connections < STEPS_MAX);
	c->server = s;
	c->fd = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	assert_true(c->fd >= 0);
	s->connections[s->n_connections++] = c;
	assert_true(sd_event_add_io(s->event, &c->source, c->fd, EPOLLIN,
				    on_connection, c) >= 0);
	return 0;
}

static int
listen_somewhere(int backlog, uint16_t *ret_port)
{
	struct sockaddr_in sin = { .sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(sin);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&sin, len), 0);
	assert_int_equal(listen(fd, backlog), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&sin, &len), 0);
	*ret_port = ntohs(sin.sin_port);
	return fd;
}

static void
server_open(struct server *s, sd_event *event)
{
	memset(s, 0, sizeof(*s));
	s->event = event;
	s->fd = listen_somewhere(64, &s->port);
	assert_true(sd_event_add_io(event, &s->source, s->fd, EPOLLIN, on_accept,
				    s) >= 0);
}

static void
server_close(struct server *s)
{
	for (size_t i = 0; i < s->n_connections; i++) {
		connection_close(s->connections[i], false);
		free(s->connections[i]);
	}
	sd_event_source_disable_unref(s->source);
	close(s->fd);
}

/* --- the world of one test -------------------------------------------------- */

struct outcome {
	unsigned n;		/* callbacks run */
	bool gone;		/* the handle was, then */
	bool answered;
	struct http_response re;
	char body[MAX_BODY + 1];
	struct err e;
	struct http_call *call;
	void (*then)(struct outcome *o);
};

static sd_event *event;
static struct server server, other;
static struct http_client *client;
static struct http_client_options opt;
static uint64_t deadline;
static struct outcome out[8];

static uint64_t
now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (uint64_t)ts.tv_sec * USEC_PER_SEC + (uint64_t)ts.tv_nsec / 1000;
}

static int
set_up(void **state _unused_)
{
	struct http_lane_options lane = {
		.connect_usec = PATIENCE,
		.try_usec = PATIENCE,
		.retry = { .tries = 1, .first_usec = MSEC, .max_usec = MSEC,
			   .retry_after_max_usec = 2 * USEC_PER_SEC },
	};

	signal(SIGPIPE, SIG_IGN);
	memset(out, 0, sizeof(out));
	opt = (struct http_client_options){
		.user_agent = "AGENT/1.0", .max_body = MAX_BODY,
		.host_connections = 4, .plain_http = true,
		.lane = { lane, lane },
	};
	deadline = now() + PATIENCE;
	assert_true(sd_event_new(&event) >= 0);
	server_open(&server, event);
	server_open(&other, event);
	return 0;
}

static int
tear_down(void **state _unused_)
{
	for (size_t i = 0; i < ARRAY_SIZE(out); i++)
		http_call_free(out[i].call);
	client = http_client_free(client);
	server_close(&server);
	server_close(&other);
	event = sd_event_unref(event);
	return 0;
}

static void
script(const char *send_this, enum then then)
{
	assert_true(server.n_steps < STEPS_MAX);
	server.steps[server.n_steps++] = (struct step){ send_this, then };
}

#define OK(body_len, body) \
	"HTTP/1.1 200 OK\r\nContent-Length: " body_len "\r\n\r\n" body
#define UNAVAILABLE \
	"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nbusy"

static void
on_done(void *userdata, const struct http_response *re, const struct err *e)
{
	struct outcome *o = userdata;

	o->n++;
	o->gone = o->call == NULL;
	o->answered = re != NULL;
	assert_true(!re != !e);
	if (e)
		o->e = *e;
	if (re) {
		o->re = *re;
		assert_true(re->body_len <= MAX_BODY);
		assert_int_equal(re->body[re->body_len], '\0');
		memcpy(o->body, re->body, re->body_len + 1);
	}
	if (o->then)
		o->then(o);
}

static int
start_port(struct outcome *o, enum http_lane lane, uint16_t port)
{
	struct http_request q = {
		.lane = lane,
		.method = "GET",
		.url = xasprintf("http://127.0.0.1:%u/path?key=private", port),
	};
	int r;

	if (!client)
		assert_int_equal(http_client_new(event, &opt, &client, NULL), 0);
	r = http_client_start(client, &q, &deadline, on_done, o, &o->call, &o->e);
	assert_null(q.url);
	return r;
}

static void
start(struct outcome *o)
{
	assert_int_equal(start_port(o, HTTP_LANE_LOCAL, server.port), 0);
	assert_non_null(o->call);
}

/* Until so many callbacks have run. */
static void
run_until(unsigned n)
{
	uint64_t end = now() + PATIENCE;
	unsigned seen;

	for (;;) {
		seen = 0;
		for (size_t i = 0; i < ARRAY_SIZE(out); i++)
			seen += out[i].n;
		if (seen >= n)
			return;
		assert_true(now() < end);
		assert_true(sd_event_run(event, 100 * MSEC) >= 0);
	}
}

/* Whatever is ready: afterwards nothing more comes without time passing. */
static void
run_ready(void)
{
	while (sd_event_run(event, 0) > 0)
		;
}

static void
assert_failed(const struct outcome *o, enum err_kind kind, const char *words)
{
	assert_int_equal(o->n, 1);
	assert_false(o->answered);
	assert_int_equal(o->e.kind, kind);
	if (!strstr(o->e.msg, words))
		fail_msg("no \"%s\" in \"%s\"", words, o->e.msg);
	assert_non_null(strstr(o->e.msg, "127.0.0.1"));
	/* What stands in a URL behind the host may be secret. */
	assert_null(strstr(o->e.msg, "private"));
	assert_null(strstr(o->e.msg, "path"));
}

/* --- requests and answers --------------------------------------------------- */

static void
an_answer_arrives_with_status_headers_and_body(void **state _unused_)
{
	script("HTTP/1.1 200 OK\r\nMetadata-Flavor: Google\r\n"
	       "Date: Thu, 01 Jan 2026 00:00:00 GMT\r\n"
	       "Content-Type: application/text\r\nContent-Length: 5\r\n\r\nhello",
	       THEN_KEEP);
	start(&out[0]);
	run_until(1);
	assert_true(out[0].answered);
	assert_int_equal(out[0].re.status, 200);
	assert_string_equal(out[0].body, "hello");
	assert_int_equal(out[0].re.body_len, 5);
	assert_true(out[0].re.flavor_google);
	assert_int_equal(out[0].re.date, 1767225600);
	assert_string_equal(out[0].re.content_type, "application/text");
	assert_false(out[0].re.tls);
}

static void
a_request_goes_out_as_it_was_built(void **state _unused_)
{
	struct http_request q = {
		.lane = HTTP_LANE_GOOGLE,
		.method = "POST",
		.url = xasprintf("http://127.0.0.1:%u/v1/a@b:signBlob",
				 server.port),
		.body = xstrdup("{\"payload\":\"eA==\"}"),
		.body_len = 18,
	};
	char expected[500];

	script(OK("2", "{}"), THEN_KEEP);
	http_request_field(&q, "Authorization", "Bearer secret");
	http_request_field(&q, "Content-Type", "application/json");
	assert_int_equal(http_client_new(event, &opt, &client, NULL), 0);
	assert_int_equal(http_client_start(client, &q, &deadline, on_done, &out[0],
					   &out[0].call, NULL), 0);
	run_until(1);
	snprintf(expected, sizeof(expected),
		 "POST /v1/a@b:signBlob HTTP/1.1\r\nHost: 127.0.0.1:%u\r\n"
		 "User-Agent: AGENT/1.0\r\nAuthorization: Bearer secret\r\n"
		 "Content-Type: application/json\r\nContent-Length: 18\r\n\r\n"
		 "{\"payload\":\"eA==\"}", server.port);
	assert_string_equal(server.requests[0], expected);
}

static void
a_get_carries_host_and_agent_only(void **state _unused_)
{
	char expected[200];

	script(OK("0", ""), THEN_KEEP);
	start(&out[0]);
	run_until(1);
	snprintf(expected, sizeof(expected),
		 "GET /path?key=private HTTP/1.1\r\n"
		 "Host: 127.0.0.1:%u\r\nUser-Agent: AGENT/1.0\r\n\r\n",
		 server.port);
	assert_string_equal(server.requests[0], expected);
	assert_int_equal(out[0].re.body_len, 0);
}

static void
a_post_without_a_body_sends_an_empty_one(void **state _unused_)
{
	struct http_request q = {
		.lane = HTTP_LANE_LOCAL, .method = "POST",
		.url = xasprintf("http://127.0.0.1:%u/", server.port),
	};

	script(OK("0", ""), THEN_KEEP);
	assert_int_equal(http_client_new(event, &opt, &client, NULL), 0);
	assert_int_equal(http_client_start(client, &q, &deadline, on_done, &out[0],
					   &out[0].call, NULL), 0);
	run_until(1);
	assert_non_null(strstr(server.requests[0], "Content-Length: 0\r\n"));
}

static void
a_connection_is_used_again(void **state _unused_)
{
	script(OK("1", "a"), THEN_KEEP);
	script(OK("1", "b"), THEN_KEEP);
	start(&out[0]);
	run_until(1);
	start(&out[1]);
	run_until(2);
	assert_string_equal(out[1].body, "b");
	assert_int_equal(server.n_connections, 1);
	assert_int_equal(http_client_sent(client), 2);
}

static void
what_became_of_tries_is_counted_by_upstream(void **state _unused_)
{
	const struct http_upstream *u;

	script(NULL, THEN_CLOSE);
	script(UNAVAILABLE, THEN_KEEP);
	script(OK("1", "a"), THEN_KEEP);
	opt.lane[HTTP_LANE_LOCAL].retry.tries = 3;
	start(&out[0]);
	run_until(1);
	u = http_client_upstream(client, 0);
	assert_int_equal(u->requests, 1);
	assert_int_equal(u->tries, 3);
	assert_int_equal(u->answers[0], 1);
	assert_int_equal(u->answers[2], 1);
	assert_int_equal(u->answers[5], 1);
	assert_int_equal(u->gave_up, 0);
	assert_false(u->failing);
	assert_true(u->failed > 0 && u->failed <= u->ended);
	assert_string_equal(u->why, "HTTP 503");

	assert_int_equal(http_client_upstream(client, 1)->tries, 0);
	assert_int_equal(http_client_upstream(client, 1)->ended, 0);
}

static void
an_upstream_that_never_answers_is_failing(void **state _unused_)
{
	const struct http_upstream *u;

	script(NULL, THEN_CLOSE);
	start(&out[0]);
	run_until(1);
	u = http_client_upstream(client, 0);
	assert_int_equal(u->gave_up, 1);
	assert_true(u->failing);
	assert_int_equal(u->failed, u->ended);
	assert_non_null(strstr(out[0].e.msg, u->why));
}

static void
headers_before_the_last_status_line_do_not_count(void **state _unused_)
{
	script("HTTP/1.1 103 Early Hints\r\nMetadata-Flavor: Google\r\n"
	       "Retry-After: 5\r\n\r\n" OK("1", "x"), THEN_KEEP);
	start(&out[0]);
	run_until(1);
	assert_int_equal(out[0].re.status, 200);
	assert_false(out[0].re.flavor_google);
	assert_int_equal(out[0].re.retry_after_usec, 0);
}

static void
trailers_do_not_count(void **state _unused_)
{
	script("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"
	       "Trailer: Metadata-Flavor\r\n\r\n"
	       "1\r\nx\r\n0\r\nMetadata-Flavor: Google\r\n\r\n", THEN_KEEP);
	start(&out[0]);
	run_until(1);
	assert_string_equal(out[0].body, "x");
	assert_false(out[0].re.flavor_google);
}

static void
a_redirect_is_an_answer_and_not_followed(void **state _unused_)
{
	static const unsigned statuses[] = { 301, 302, 303, 307, 308 };
	char answers[ARRAY_SIZE(statuses)][200];

	for (size_t i = 0; i < ARRAY_SIZE(statuses); i++) {
		snprintf(answers[i], sizeof(answers[i]),
			 "HTTP/1.1 %u Moved\r\n"
			 "Location: http://127.0.0.1:%u/\r\n"
			 "Content-Length: 0\r\n\r\n",
			 statuses[i], other.port);
		script(answers[i], THEN_KEEP);
		start(&out[i]);
		run_until((unsigned)i + 1);
		assert_int_equal(out[i].re.status, statuses[i]);
	}
	run_ready();
	assert_int_equal(other.n_connections, 0);
}

/* --- the contract of asynchronous calls ------------------------------------- */

static void
the_callback_never_runs_before_start_has_returned(void **state _unused_)
{
	script(OK("0", ""), THEN_KEEP);
	start(&out[0]);
	assert_int_equal(out[0].n, 0);
	run_until(1);
	run_ready();
	assert_int_equal(out[0].n, 1);
}

static void
the_handle_is_gone_when_the_callback_runs(void **state _unused_)
{
	script(OK("0", ""), THEN_KEEP);
	start(&out[0]);
	run_until(1);
	assert_true(out[0].gone);
	assert_null(out[0].call);
}

static void
a_freed_call_is_never_heard_of_again(void **state _unused_)
{
	script(OK("0", ""), THEN_KEEP);
	script(OK("0", ""), THEN_KEEP);
	start(&out[0]);
	start(&out[1]);
	out[0].call = http_call_free(out[0].call);
	run_until(1);
	run_ready();
	assert_int_equal(out[0].n, 0);
	assert_int_equal(out[1].n, 1);
}

static void
a_call_may_be_freed_while_the_server_writes(void **state _unused_)
{
	script("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", THEN_HANG);
	start(&out[0]);
	while (server.n_requests == 0)
		assert_true(sd_event_run(event, PATIENCE) > 0);
	run_ready();
	out[0].call = http_call_free(out[0].call);
	run_ready();
	assert_int_equal(out[0].n, 0);
}

static void
free_neighbour(struct outcome *o)
{
	struct outcome *neighbour = o == &out[0] ? &out[1] : &out[0];

	neighbour->call = http_call_free(neighbour->call);
}

static void
a_callback_may_free_its_neighbour(void **state _unused_)
{
	script(OK("0", ""), THEN_KEEP);
	script(OK("0", ""), THEN_KEEP);
	out[0].then = out[1].then = free_neighbour;
	start(&out[0]);
	start(&out[1]);
	run_until(1);
	run_ready();
	assert_int_equal(out[0].n + out[1].n, 1);
}

static void
start_next(struct outcome *o)
{
	if (o < &out[3]) {
		o[1].then = start_next;
		start(&o[1]);
		assert_int_equal(o[1].n, 0);
	}
}

static void
a_callback_may_start_another_call(void **state _unused_)
{
	for (int i = 0; i < 4; i++)
		script(OK("0", ""), i == 1 ? THEN_CLOSE : THEN_KEEP);
	out[0].then = start_next;
	start(&out[0]);
	run_until(4);
	for (int i = 0; i < 4; i++)
		assert_true(out[i].answered);
}

static void
free_everything(struct outcome *o _unused_)
{
	for (size_t i = 0; i < ARRAY_SIZE(out); i++)
		out[i].call = http_call_free(out[i].call);
	client = http_client_free(client);
}

static void
a_callback_may_free_the_client(void **state _unused_)
{
	script(OK("0", ""), THEN_KEEP);
	script(OK("0", ""), THEN_KEEP);
	out[0].then = out[1].then = free_everything;
	start(&out[0]);
	start(&out[1]);
	run_until(1);
	run_ready();
	assert_int_equal(out[0].n + out[1].n, 1);
}

static void
a_callback_of_a_timeout_may_free_the_client(void **state _unused_)
{
	script(NULL, THEN_HANG);
	script(NULL, THEN_HANG);
	deadline = now() + 30 * MSEC;
	out[0].then = out[1].then = free_everything;
	start(&out[0]);
	start(&out[1]);
	run_until(1);
	run_ready();
	assert_int_equal(out[0].n + out[1].n, 1);
}

/* --- time ------------------------------------------------------------------- */

static void
two_timeouts_in_one_tick_are_both_reported(void **state _unused_)
{
	script(NULL, THEN_HANG);
	script(NULL, THEN_HANG);
	deadline = now() + SOON;
	start(&out[0]);
	start(&out[1]);
	run_until(2);
	assert_failed(&out[0], ERR_TIMEOUT, "waited in vain for its answer");
	assert_failed(&out[1], ERR_TIMEOUT, "waited in vain for its answer");
}

/* libcurl's own time-outs: connections that nobody takes up. */
static void
two_connect_timeouts_in_one_tick_are_both_reported(void **state _unused_)
{
	struct sockaddr_in sin = { .sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	uint16_t port;
	int fd = listen_somewhere(0, &port), fill[4];

	sin.sin_port = htons(port);
	for (size_t i = 0; i < ARRAY_SIZE(fill); i++) {
		fill[i] = socket(AF_INET,
				 SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		connect(fill[i], (struct sockaddr *)&sin, sizeof(sin));
	}

	opt.lane[HTTP_LANE_LOCAL].connect_usec = 30 * MSEC;
	for (int i = 0; i < 2; i++)
		assert_int_equal(start_port(&out[i], HTTP_LANE_LOCAL, port), 0);
	run_ready();
	/* The loop comes late: one turn finds both of them over. */
	for (uint64_t over = now() + 40 * MSEC; now() < over;)
		;
	run_until(2);
	assert_failed(&out[0], ERR_UNAVAILABLE, "Timeout");
	assert_failed(&out[1], ERR_UNAVAILABLE, "Timeout");

	for (size_t i = 0; i < ARRAY_SIZE(fill); i++)
		close(fill[i]);
	close(fd);
}

static void
a_try_that_takes_too_long_is_followed_by_another(void **state _unused_)
{
	script(NULL, THEN_HANG);
	script(OK("1", "x"), THEN_KEEP);
	opt.lane[HTTP_LANE_LOCAL].try_usec = 30 * MSEC;
	opt.lane[HTTP_LANE_LOCAL].retry.tries = 2;
	start(&out[0]);
	run_until(1);
	assert_true(out[0].answered);
	assert_string_equal(out[0].body, "x");
	assert_int_equal(http_client_sent(client), 2);
}

static void
tries_used_up_before_the_deadline_are_no_timeout(void **state _unused_)
{
	script(NULL, THEN_CLOSE);
	script(NULL, THEN_HANG);
	opt.lane[HTTP_LANE_LOCAL].try_usec = 30 * MSEC;
	opt.lane[HTTP_LANE_LOCAL].retry.tries = 2;
	start(&out[0]);
	run_until(1);
	assert_failed(&out[0], ERR_UNAVAILABLE, "waited in vain for its answer; "
		      "before that: ");
}

static void
an_answer_that_stops_half_way_is_waited_for_by_name(void **state _unused_)
{
	script("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", THEN_HANG);
	deadline = now() + SOON;
	start(&out[0]);
	run_until(1);
	assert_failed(&out[0], ERR_TIMEOUT, "the rest of its answer");
}

static void
a_deadline_that_has_passed_is_refused_at_once(void **state _unused_)
{
	deadline = now() - 1;
	assert_int_equal(start_port(&out[0], HTTP_LANE_LOCAL, server.port),
			 err_kind_errno(ERR_TIMEOUT));
	assert_int_equal(out[0].e.kind, ERR_TIMEOUT);
	assert_null(out[0].call);
	run_ready();
	assert_int_equal(out[0].n, 0);
	assert_int_equal(server.n_connections, 0);
}

static void
move_deadline_away(void)
{
	deadline = now() + PATIENCE;
}

static int
on_answer_late(sd_event_source *s _unused_, uint64_t usec _unused_, void *userdata)
{
	static const char answer[] = OK("4", "late");
	int fd = *(int *)userdata;

	assert_int_equal(send(fd, answer, strlen(answer), MSG_NOSIGNAL),
			 strlen(answer));
	return 0;
}

static void
a_deadline_that_moves_away_lets_the_try_go_on(void **state _unused_)
{
	sd_event_source *late = NULL;
	uint64_t first = now() + SOON;

	script(NULL, THEN_HANG);
	server.on_request = move_deadline_away;
	deadline = first;
	start(&out[0]);
	while (server.n_requests == 0)
		assert_true(sd_event_run(event, PATIENCE) > 0);
	/* Answered only after the first deadline. */
	assert_true(sd_event_add_time(event, &late, CLOCK_BOOTTIME,
				      first + 40 * MSEC, 1, on_answer_late,
				      &server.connections[0]->fd) >= 0);
	run_until(1);
	sd_event_source_disable_unref(late);
	assert_true(out[0].answered);
	assert_string_equal(out[0].body, "late");
	assert_int_equal(http_client_sent(client), 1);
}

static void
move_deadline_here(void)
{
	deadline = now();
}

static void
a_deadline_that_moves_near_counts_at_the_next_decision(void **state _unused_)
{
	script(UNAVAILABLE, THEN_KEEP);
	server.on_request = move_deadline_here;
	opt.lane[HTTP_LANE_LOCAL].retry.tries = 5;
	start(&out[0]);
	run_until(1);
	/* No second try, and the answer that there was. */
	assert_true(out[0].answered);
	assert_int_equal(out[0].re.status, 503);
	assert_int_equal(http_client_sent(client), 1);
}

static int
on_deadline_moved(sd_event_source *s _unused_, uint64_t usec _unused_,
		  void *userdata _unused_)
{
	deadline = now();
	return 0;
}

static void
a_deadline_that_moves_near_ends_a_pause(void **state _unused_)
{
	sd_event_source *mover = NULL;

	script("HTTP/1.1 503 X\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n",
	       THEN_KEEP);
	opt.lane[HTTP_LANE_LOCAL].retry.tries = 5;
	start(&out[0]);
	while (server.n_requests == 0)
		assert_true(sd_event_run(event, PATIENCE) > 0);
	assert_true(sd_event_add_time(event, &mover, CLOCK_BOOTTIME,
				      now() + 50 * MSEC, 1, on_deadline_moved,
				      NULL) >= 0);
	run_until(1);
	sd_event_source_disable_unref(mover);
	assert_failed(&out[0], ERR_TIMEOUT, "HTTP 503");
	assert_int_equal(http_client_sent(client), 1);
}

static void
waiting_for_a_free_connection_ends_at_the_deadline(void **state _unused_)
{
	script(NULL, THEN_HANG);
	opt.host_connections = 1;
	deadline = now() + SOON;
	start(&out[0]);
	start(&out[1]);
	start(&out[2]);
	run_until(3);
	assert_int_equal(server.n_connections, 1);
	assert_int_equal(server.n_requests, 1);
	for (int i = 0; i < 3; i++)
		assert_failed(&out[i], ERR_TIMEOUT, "waited in vain");
}

static void
no_more_connections_to_a_host_than_configured(void **state _unused_)
{
	opt.host_connections = 2;
	for (int i = 0; i < 6; i++) {
		script(OK("0", ""), THEN_KEEP);
		start(&out[i]);
	}
	run_until(6);
	assert_true(server.n_connections <= 2);
	for (int i = 0; i < 6; i++)
		assert_true(out[i].answered);
}

/* --- trying again ----------------------------------------------------------- */

static void
two_503_and_then_an_answer(void **state _unused_)
{
	script(UNAVAILABLE, THEN_KEEP);
	script(UNAVAILABLE, THEN_CLOSE);
	script(OK("4", "fine"), THEN_KEEP);
	opt.lane[HTTP_LANE_LOCAL].retry.tries = 3;
	start(&out[0]);
	run_until(1);
	assert_int_equal(out[0].n, 1);
	assert_int_equal(out[0].re.status, 200);
	assert_string_equal(out[0].body, "fine");
	assert_int_equal(http_client_sent(client), 3);
}

static void
the_last_503_is_an_answer(void **state _unused_)
{
	script(UNAVAILABLE, THEN_KEEP);
	script(UNAVAILABLE, THEN_KEEP);
	opt.lane[HTTP_LANE_LOCAL].retry.tries = 2;
	start(&out[0]);
	run_until(1);
	assert_true(out[0].answered);
	assert_int_equal(out[0].re.status, 503);
	assert_string_equal(out[0].body, "busy");
}

static void
a_denial_is_asked_once(void **state _unused_)
{
	script("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", THEN_KEEP);
	opt.lane[HTTP_LANE_LOCAL].retry.tries = 5;
	start(&out[0]);
	run_until(1);
	assert_int_equal(out[0].re.status, 403);
	assert_int_equal(http_client_sent(client), 1);
}

static void
a_request_for_once_is_tried_once(void **state _unused_)
{
	struct http_request q = {
		.lane = HTTP_LANE_LOCAL,
		.method = "GET",
		.url = xasprintf("http://127.0.0.1:%u/", server.port),
		.once = true,
	};

	script(UNAVAILABLE, THEN_KEEP);
	opt.lane[HTTP_LANE_LOCAL].retry.tries = 5;
	assert_int_equal(http_client_new(event, &opt, &client, NULL), 0);
	assert_int_equal(http_client_start(client, &q, &deadline, on_done, &out[0],
					   &out[0].call, NULL), 0);
	run_until(1);
	assert_int_equal(out[0].re.status, 503);
	assert_int_equal(http_client_sent(client), 1);
}

static void
retry_after_is_waited_for(void **state _unused_)
{
	uint64_t begin = now();

	script("HTTP/1.1 429 X\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n",
	       THEN_KEEP);
	script(OK("0", ""), THEN_KEEP);
	opt.lane[HTTP_LANE_LOCAL].retry.tries = 2;
	start(&out[0]);
	run_until(1);
	assert_int_equal(out[0].re.status, 200);
	assert_true(now() - begin >= USEC_PER_SEC);
}

static void
a_retry_after_too_long_is_handed_up(void **state _unused_)
{
	script("HTTP/1.1 503 X\r\nRetry-After: 60\r\nContent-Length: 0\r\n\r\n",
	       THEN_KEEP);
	opt.lane[HTTP_LANE_LOCAL].retry.tries = 5;
	start(&out[0]);
	run_until(1);
	assert_int_equal(out[0].re.status, 503);
	assert_int_equal(out[0].re.retry_after_usec, 60 * USEC_PER_SEC);
}

static void
a_post_is_sent_again_whole(void **state _unused_)
{
	struct http_request q = {
		.lane = HTTP_LANE_GOOGLE, .method = "POST",
		.url = xasprintf("http://127.0.0.1:%u/token", server.port),
		.body = xstrdup("grant_type=x"), .body_len = 12,
	};

	script(UNAVAILABLE, THEN_RESET);
	script(OK("0", ""), THEN_KEEP);
	opt.lane[HTTP_LANE_GOOGLE].retry.tries = 2;
	assert_int_equal(http_client_new(event, &opt, &client, NULL), 0);
	assert_int_equal(http_client_start(client, &q, &deadline, on_done, &out[0],
					   &out[0].call, NULL), 0);
	run_until(1);
	assert_int_equal(out[0].re.status, 200);
	assert_string_equal(server.requests[0], server.requests[1]);
}

/* --- failures --------------------------------------------------------------- */

static void
a_refused_connection_is_told(void **state _unused_)
{
	uint16_t port;
	int fd = listen_somewhere(1, &port);

	close(fd);
	opt.lane[HTTP_LANE_LOCAL].retry.tries = 3;
	assert_int_equal(start_port(&out[0], HTTP_LANE_LOCAL, port), 0);
	run_until(1);
	assert_failed(&out[0], ERR_UNAVAILABLE, "Connection refused");
	assert_int_equal(http_client_sent(client), 3);
}

static void
a_reset_in_the_middle_of_a_body_is_no_answer(void **state _unused_)
{
	script("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", THEN_RESET);
	start(&out[0]);
	run_until(1);
	assert_failed(&out[0], ERR_UNAVAILABLE, "");
}

static void
an_answer_cut_short_is_no_answer(void **state _unused_)
{
	static const char *const cut[] = {
		"",
		"HTTP/1.1 200 OK\r\nContent-Le",
		OK("10", "half"),
		"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf",
	};

	for (unsigned i = 0; i < ARRAY_SIZE(cut); i++) {
		script(cut[i], THEN_CLOSE);
		start(&out[i]);
		run_until(i + 1);
		assert_failed(&out[i], ERR_UNAVAILABLE, "");
	}
}

static void
an_answer_too_large_by_its_length_is_refused_unread(void **state _unused_)
{
	script("HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n", THEN_HANG);
	opt.lane[HTTP_LANE_LOCAL].retry.tries = 3;
	start(&out[0]);
	run_until(1);
	assert_failed(&out[0], ERR_UNAVAILABLE, "too large");
	assert_int_equal(http_client_sent(client), 1);
}

static void
an_answer_too_large_in_chunks_is_refused_on_the_way(void **state _unused_)
{
	char answer[1200] =
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n";

	memset(answer + strlen(answer), 'x', 1001);
	script(answer, THEN_HANG);
	start(&out[0]);
	run_until(1);
	assert_failed(&out[0], ERR_UNAVAILABLE, "too large");
	assert_null(strstr(out[0].e.msg, "xxx"));
}

static void
an_answer_of_exactly_the_limit_is_taken(void **state _unused_)
{
	char answer[1200] = "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n";

	memset(answer + strlen(answer), 'x', 1000);
	script(answer, THEN_KEEP);
	start(&out[0]);
	run_until(1);
	assert_int_equal(out[0].re.body_len, 1000);
}

static void
a_head_without_end_is_refused(void **state _unused_)
{
	static char answer[20000] = "HTTP/1.1 200 OK\r\n";

	while (strlen(answer) < sizeof(answer) - 100)
		snprintf(answer + strlen(answer), 100, "X-Field: %080d\r\n", 1);
	script(answer, THEN_HANG);
	start(&out[0]);
	run_until(1);
	assert_failed(&out[0], ERR_UNAVAILABLE, "too large");
}

static void
interim_answers_without_end_are_refused(void **state _unused_)
{
	static char answer[20000] = "";

	while (strlen(answer) < sizeof(answer) - 100)
		snprintf(answer + strlen(answer), 100,
			 "HTTP/1.1 100 Continue\r\n\r\n");
	script(answer, THEN_HANG);
	start(&out[0]);
	run_until(1);
	assert_failed(&out[0], ERR_UNAVAILABLE, "too large");
}

static void
what_is_not_http_is_no_answer(void **state _unused_)
{
	script("SSH-2.0-OpenSSH_9.2p1 eyJhbGciOiJSUzI1NiJ9\r\n", THEN_CLOSE);
	start(&out[0]);
	run_until(1);
	assert_failed(&out[0], ERR_UNAVAILABLE, "HTTP");
	assert_null(strstr(out[0].e.msg, "SSH"));
}

static void
plain_http_is_refused_where_https_is_due(void **state _unused_)
{
	opt.plain_http = false;
	assert_int_equal(start_port(&out[0], HTTP_LANE_GOOGLE, server.port),
			 err_kind_errno(ERR_INTERNAL));
	assert_null(out[0].call);
	script(OK("0", ""), THEN_KEEP);
	start(&out[1]);
	run_until(1);
	assert_true(out[1].answered);
}

static void
tls_to_a_server_without_it_is_no_answer(void **state _unused_)
{
	struct http_request q = {
		.lane = HTTP_LANE_GOOGLE, .method = "GET",
		.url = xasprintf("https://127.0.0.1:%u/path?private", server.port),
	};

	deadline = now() + 30 * MSEC;
	assert_int_equal(http_client_new(event, &opt, &client, NULL), 0);
	assert_int_equal(http_client_start(client, &q, &deadline, on_done, &out[0],
					   &out[0].call, NULL), 0);
	run_until(1);
	assert_failed(&out[0], ERR_TIMEOUT, "waited in vain for a connection");
}

/* --- proxies ---------------------------------------------------------------- */

static void
set_environment(const char *proxy)
{
	static const char *const names[] = {
		"http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY",
		"all_proxy", "ALL_PROXY",
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (proxy)
			setenv(names[i], proxy, 1);
		else
			unsetenv(names[i]);
}

static void
proxies_of_the_environment_are_ignored(void **state _unused_)
{
	char proxy[64];

	snprintf(proxy, sizeof(proxy), "http://127.0.0.1:%u", other.port);
	set_environment(proxy);
	script(OK("0", ""), THEN_KEEP);
	script(OK("0", ""), THEN_KEEP);
	start(&out[0]);
	assert_int_equal(start_port(&out[1], HTTP_LANE_GOOGLE, server.port), 0);
	run_until(2);
	set_environment(NULL);
	assert_true(out[0].answered && out[1].answered);
	assert_int_equal(other.n_connections, 0);
}

static void
the_environment_counts_only_if_told_and_never_locally(void **state _unused_)
{
	char proxy[64];

	snprintf(proxy, sizeof(proxy), "http://127.0.0.1:%u", other.port);
	set_environment(proxy);
	opt.proxy_environment = true;
	script(OK("5", "local"), THEN_KEEP);
	other.steps[other.n_steps++] = (struct step){ OK("5", "proxy"), THEN_KEEP };
	start(&out[0]);
	assert_int_equal(start_port(&out[1], HTTP_LANE_GOOGLE, server.port), 0);
	run_until(2);
	set_environment(NULL);
	assert_string_equal(out[0].body, "local");
	assert_string_equal(out[1].body, "proxy");
}

static void
a_configured_proxy_is_for_google_only_and_heeds_no_exception(void **state _unused_)
{
	char proxy[64];

	setenv("no_proxy", "*", 1);
	snprintf(proxy, sizeof(proxy), "http://127.0.0.1:%u", other.port);
	opt.proxy = proxy;
	script(OK("5", "local"), THEN_KEEP);
	other.steps[other.n_steps++] = (struct step){ OK("5", "proxy"), THEN_KEEP };
	start(&out[0]);
	assert_int_equal(start_port(&out[1], HTTP_LANE_GOOGLE, server.port), 0);
	run_until(2);
	unsetenv("no_proxy");
	assert_string_equal(out[0].body, "local");
	assert_string_equal(out[1].body, "proxy");
}

#define TEST(f)	cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(an_answer_arrives_with_status_headers_and_body),
		TEST(a_request_goes_out_as_it_was_built),
		TEST(a_get_carries_host_and_agent_only),
		TEST(a_post_without_a_body_sends_an_empty_one),
		TEST(a_connection_is_used_again),
		TEST(what_became_of_tries_is_counted_by_upstream),
		TEST(an_upstream_that_never_answers_is_failing),
		TEST(headers_before_the_last_status_line_do_not_count),
		TEST(trailers_do_not_count),
		TEST(a_redirect_is_an_answer_and_not_followed),
		TEST(the_callback_never_runs_before_start_has_returned),
		TEST(the_handle_is_gone_when_the_callback_runs),
		TEST(a_freed_call_is_never_heard_of_again),
		TEST(a_call_may_be_freed_while_the_server_writes),
		TEST(a_callback_may_free_its_neighbour),
		TEST(a_callback_may_start_another_call),
		TEST(a_callback_may_free_the_client),
		TEST(a_callback_of_a_timeout_may_free_the_client),
		TEST(two_timeouts_in_one_tick_are_both_reported),
		TEST(two_connect_timeouts_in_one_tick_are_both_reported),
		TEST(a_try_that_takes_too_long_is_followed_by_another),
		TEST(tries_used_up_before_the_deadline_are_no_timeout),
		TEST(an_answer_that_stops_half_way_is_waited_for_by_name),
		TEST(a_deadline_that_has_passed_is_refused_at_once),
		TEST(a_deadline_that_moves_away_lets_the_try_go_on),
		TEST(a_deadline_that_moves_near_counts_at_the_next_decision),
		TEST(a_deadline_that_moves_near_ends_a_pause),
		TEST(waiting_for_a_free_connection_ends_at_the_deadline),
		TEST(no_more_connections_to_a_host_than_configured),
		TEST(two_503_and_then_an_answer),
		TEST(the_last_503_is_an_answer),
		TEST(a_denial_is_asked_once),
		TEST(a_request_for_once_is_tried_once),
		TEST(retry_after_is_waited_for),
		TEST(a_retry_after_too_long_is_handed_up),
		TEST(a_post_is_sent_again_whole),
		TEST(a_refused_connection_is_told),
		TEST(a_reset_in_the_middle_of_a_body_is_no_answer),
		TEST(an_answer_cut_short_is_no_answer),
		TEST(an_answer_too_large_by_its_length_is_refused_unread),
		TEST(an_answer_too_large_in_chunks_is_refused_on_the_way),
		TEST(an_answer_of_exactly_the_limit_is_taken),
		TEST(a_head_without_end_is_refused),
		TEST(interim_answers_without_end_are_refused),
		TEST(what_is_not_http_is_no_answer),
		TEST(plain_http_is_refused_where_https_is_due),
		TEST(tls_to_a_server_without_it_is_no_answer),
		TEST(proxies_of_the_environment_are_ignored),
		TEST(the_environment_counts_only_if_told_and_never_locally),
		TEST(a_configured_proxy_is_for_google_only_and_heeds_no_exception),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
