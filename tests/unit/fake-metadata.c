/* SPDX-License-Identifier: Apache-2.0 */

#include <assert.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/queue.h>
#include <sys/socket.h>

#include "base/buf.h"
#include "fake-metadata.h"

#define UNIVERSE	"universe/universe-domain"
#define USUAL		"HTTP/1.1 404 Not Found\r\nMetadata-Flavor: Google\r\n" \
			"Content-Length: 0\r\n\r\n"

struct rule {
	TAILQ_ENTRY(rule) entry;
	char *path, *bytes;
	bool once;
};

struct conn {
	LIST_ENTRY(conn) entry;
	struct fake *fake;
	sd_event_source *source;
	int fd;
	struct buf in;
	char *held;		/* the first line of what is not answered yet */
};

struct fake {
	sd_event *event;
	sd_event_source *source;
	char *url;
	LIST_HEAD(, conn) conns;
	TAILQ_HEAD(, rule) rules;
	struct fake_request *requests;
	size_t n;
};

uint64_t
fake_now(void)
{
	return now_usec(CLOCK_BOOTTIME);
}

void
fake_run_to(sd_event *event, uint64_t usec)
{
	uint64_t now;

	while ((now = fake_now()) < usec)
		if (sd_event_run(event, usec - now) < 0)
			abort();
}

static void
conn_free(struct conn *c)
{
	LIST_REMOVE(c, entry);
	sd_event_source_disable_unref(c->source);
	close(c->fd);
	buf_free(&c->in);
	free(c->held);
	free(c);
}

static void
rule_free(struct fake *f, struct rule *r)
{
	TAILQ_REMOVE(&f->rules, r, entry);
	free(r->path);
	free(r->bytes);
	free(r);
}

static struct rule *
rule_find(struct fake *f, const char *line)
{
	struct rule *r, *always = NULL;

	TAILQ_FOREACH(r, &f->rules, entry) {
		if (!strstr(line, r->path))
			continue;
		if (r->once)
			return r;
		always = r;
	}
	return always;
}

/* Answer what is held, if anything has been said for it.  False: the connection
   is gone. */
static bool
conn_answer(struct conn *c)
{
	struct rule *r = rule_find(c->fake, c->held);
	size_t len;
	bool ok;

	if (!r)
		return true;
	free(c->held);
	c->held = NULL;
	len = strlen(r->bytes);
	ok = len > 0 && send(c->fd, r->bytes, len, MSG_NOSIGNAL) == (ssize_t)len;
	if (r->once)
		rule_free(c->fake, r);
	if (!ok)
		conn_free(c);
	return ok;
}

/* Take one whole request off the front. */
static bool
conn_take(struct conn *c)
{
	const char *in = buf_str(&c->in), *end = strstr(in, "\r\n\r\n");
	const char *length = strstr(in, "Content-Length: ");
	struct fake *f = c->fake;
	struct fake_request *q;
	_cleanup_(freep) char *line = xstrndup(in, strcspn(in, "\r"));
	size_t head, len;

	if (!end)
		return false;
	head = (size_t)(end - in) + 4;
	len = head;
	if (length && length < end)
		len += strtoul(length + strlen("Content-Length: "), NULL, 10);
	if (c->in.len < len)
		return false;

	if (strstr(line, UNIVERSE) && !rule_find(f, line)) {
		buf_consume(&c->in, len);
		return send(c->fd, USUAL, strlen(USUAL), MSG_NOSIGNAL) >= 0;
	}
	f->requests = xrealloc(f->requests, f->n + 1, sizeof(*f->requests));
	q = &f->requests[f->n++];
	q->text = xstrndup(in, len);
	q->body = q->text + head;
	q->came = fake_now();
	c->held = TAKE_PTR(line);
	buf_consume(&c->in, len);
	return true;
}

static int
on_readable(_unused_ sd_event_source *s, int fd, _unused_ uint32_t revents,
	    void *userdata)
{
	struct conn *c = userdata;
	char part[4096];
	ssize_t n = recv(fd, part, sizeof(part), MSG_DONTWAIT);

	if (n <= 0) {
		conn_free(c);
		return 0;
	}
	buf_add(&c->in, part, (size_t)n);
	while (!c->held && conn_take(c))
		if (c->held && !conn_answer(c))
			return 0;
	return 0;
}

static int
on_connection(_unused_ sd_event_source *s, int fd, _unused_ uint32_t revents,
	      void *userdata)
{
	struct fake *f = userdata;
	struct conn *c;
	int client = accept4(fd, NULL, NULL, SOCK_CLOEXEC);

	if (client < 0)
		return 0;
	c = xcalloc(1, sizeof(*c));
	c->fake = f;
	c->fd = client;
	c->in = BUF_INIT(1024 * 1024);
	LIST_INSERT_HEAD(&f->conns, c, entry);
	sd_event_add_io(f->event, &c->source, client, EPOLLIN, on_readable, c);
	return 0;
}

struct fake *
fake_new(sd_event *event)
{
	struct sockaddr_in at = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(at);
	struct fake *f = xcalloc(1, sizeof(*f));
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), r;

	TAILQ_INIT(&f->rules);
	f->event = sd_event_ref(event);
	r = bind(fd, (struct sockaddr *)&at, len);
	assert(r == 0);
	r = listen(fd, 64);
	assert(r == 0);
	r = getsockname(fd, (struct sockaddr *)&at, &len);
	assert(r == 0);
	f->url = xasprintf("http://127.0.0.1:%u", ntohs(at.sin_port));
	r = sd_event_add_io(event, &f->source, fd, EPOLLIN, on_connection, f);
	assert(r >= 0);
	sd_event_source_set_io_fd_own(f->source, true);
	return f;
}

struct fake *
fake_free(struct fake *f)
{
	if (!f)
		return NULL;

	while (!LIST_EMPTY(&f->conns))
		conn_free(LIST_FIRST(&f->conns));
	while (!TAILQ_EMPTY(&f->rules))
		rule_free(f, TAILQ_FIRST(&f->rules));
	for (size_t i = 0; i < f->n; i++)
		free(f->requests[i].text);
	free(f->requests);
	free(f->url);
	sd_event_source_disable_unref(f->source);
	sd_event_unref(f->event);
	free(f);
	return NULL;
}

const char *
fake_url(const struct fake *f)
{
	return f->url;
}

static void
rule_new(struct fake *f, const char *path, const char *bytes, bool once)
{
	struct rule *r = xcalloc(1, sizeof(*r));
	struct conn *c, *next;

	r->path = xstrdup(path);
	r->bytes = xstrdup(bytes);
	r->once = once;
	TAILQ_INSERT_TAIL(&f->rules, r, entry);
	for (c = LIST_FIRST(&f->conns); c; c = next) {
		next = LIST_NEXT(c, entry);
		if (c->held)
			conn_answer(c);
	}
}

void
fake_once(struct fake *f, const char *path, const char *bytes)
{
	rule_new(f, path, bytes, true);
}

void
fake_always(struct fake *f, const char *path, const char *bytes)
{
	struct rule *r, *next;

	for (r = TAILQ_FIRST(&f->rules); r; r = next) {
		next = TAILQ_NEXT(r, entry);
		if (!r->once && strcmp(r->path, path) == 0)
			rule_free(f, r);
	}
	if (bytes)
		rule_new(f, path, bytes, false);
}

static char *
answer(unsigned status, const char *body)
{
	return xasprintf("HTTP/1.1 %u Word\r\nMetadata-Flavor: Google\r\n"
			 "Content-Type: application/json\r\n"
			 "Content-Length: %zu\r\n\r\n%s", status, strlen(body),
			 body);
}

void
fake_say_once(struct fake *f, const char *path, unsigned status, const char *body)
{
	_cleanup_(freep) char *bytes = answer(status, body);

	fake_once(f, path, bytes);
}

void
fake_say(struct fake *f, const char *path, unsigned status, const char *body)
{
	_cleanup_(freep) char *bytes = answer(status, body);

	fake_always(f, path, bytes);
}

size_t
fake_count(const struct fake *f)
{
	return f->n;
}

size_t
fake_count_of(const struct fake *f, const char *path)
{
	size_t n = 0;

	for (size_t i = 0; i < f->n; i++) {
		const char *at = strstr(f->requests[i].text, path);

		n += at && at < strchr(f->requests[i].text, '\r');
	}
	return n;
}

const struct fake_request *
fake_request(const struct fake *f, size_t i)
{
	assert(i < f->n);
	return &f->requests[i];
}

const struct fake_request *
fake_last(const struct fake *f)
{
	return fake_request(f, f->n - 1);
}

struct http_client *
fake_client_new(sd_event *event)
{
	const struct http_lane_options lane = {
		.connect_usec = 5 * USEC_PER_SEC,
		.try_usec = 10 * USEC_PER_SEC,
		.retry = { .tries = 1 },
	};
	const struct http_client_options o = {
		.user_agent = "test/1",
		.max_body = 64 * 1024,
		.host_connections = 4,
		.plain_http = true,
		.lane = { [HTTP_LANE_LOCAL] = lane, [HTTP_LANE_GOOGLE] = lane },
	};
	struct http_client *c = NULL;
	struct err e;
	int r = http_client_new(event, &o, &c, &e);

	assert(r >= 0);
	return c;
}

struct clock *
fake_clock_new(sd_event *event, clock_read_fn *source, void *userdata)
{
	static const struct clock_options o = {
		.agree_usec = 5 * USEC_PER_SEC,
		.correct_usec = 10 * USEC_PER_SEC,
		.limit_usec = 10 * USEC_PER_MIN,
	};
	struct clock *c;

	if (clock_new(event, &o, source, userdata, &c, NULL) < 0)
		abort();
	return c;
}
