/* SPDX-License-Identifier: Apache-2.0 */

/* The real server loop (http/server.h): clients connect to its listening socket,
   say what the input says in the pieces that it says, and hear.

   The input is what the clients send, requests as they are, with commands in
   between: a byte 0xff and a letter.  What stands between two commands is sent at
   once.

	c0..c3	go on as that client (the letter's low bits), connecting it
	t	one turn of the loop		s	turn until it is quiet
	h	no more to say (half-close)	x	close
	r	read a little			R	read all there is
	a..	answer a request that waits	A	answer them all
	d	drain the server

   Where it begins with 0xff and 'o', the next byte turns options: time-outs that
   expire at once, few connections or buffers, nobody admitted.

   - Every exchange is answered, or gone, exactly once.
   - A client that reads to the end hears one well-formed answer for each request
     that it said, in their order, with the length announced.
   - The loop comes to rest.  No descriptor and no connection stays behind. */

#include <ctype.h>
#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <syslog.h>

#include "base/log.h"
#include "fuzz-words.h"
#include "http/server.h"

#define CLIENTS		4
#define WAITING_MAX	64
#define HEARD_MAX	64		/* answers on one connection */
#define TURNS_MAX	400
#define COMMANDS_MAX	400
#define BIG		(300 * 1024)	/* more than a socket takes */

/* A request that was handed up. */
struct exchange {
	struct http_exchange *x;	/* NULL: answered or gone */
	struct link *link;
	unsigned answer;		/* its place among the link's */
};

/* One connection as the server sees it; outlives it, to be compared. */
struct link {
	bool forgotten;
	unsigned n;
	struct {
		bool head_only, answered;
		unsigned status;
		size_t body_len;
	} answers[HEARD_MAX];
};

struct client {
	int fd;				/* -1: never connected, or closed */
	bool half;			/* it says no more */
	char *heard, *said;
	size_t len, said_len;
};

struct world {
	sd_event *event;
	struct http_server *server;
	struct sockaddr_un at;
	socklen_t at_len;
	struct client clients[CLIENTS];
	struct exchange waiting[WAITING_MAX];
	struct link *links[WAITING_MAX];
	unsigned n_links, n_waiting;
	unsigned admitted, forgotten, exchanges, ended, drained;
	bool refuse_all, draining;
};

static struct world *world;	/* gone() gets the exchange only */

/* --- what the server calls ------------------------------------------------ */

static int
on_admit(void *userdata, int fd, int tag, void **ret_ctx, struct err *e)
{
	struct world *w = userdata;
	struct link *l;

	CHECK(fd >= 0 && tag == 7);
	if (w->refuse_all || w->n_links == WAITING_MAX)
		return err_set(e, ERR_BUSY, "nobody is admitted");
	l = xcalloc(1, sizeof(*l));
	w->links[w->n_links++] = l;
	w->admitted++;
	*ret_ctx = l;
	return 0;
}

static void
on_forget(void *userdata, void *ctx)
{
	struct world *w = userdata;
	struct link *l = ctx;

	CHECK(l && !l->forgotten);
	l->forgotten = true;
	w->forgotten++;
}

static void
on_gone(void *userdata)
{
	struct exchange *y = userdata;

	CHECK(y->x);
	y->x = NULL;
	world->ended++;
}

static void
reply(struct world *w, struct http_exchange *x, struct link *l, unsigned answer,
      const struct http_reply *r)
{
	if (l && answer < HEARD_MAX) {
		CHECK(!l->answers[answer].answered && !l->forgotten);
		l->answers[answer].answered = true;
		l->answers[answer].status = r->status;
		l->answers[answer].body_len = r->body_len;
	}
	w->ended++;
	http_exchange_reply(x, r);
}

static void
reply_text(struct world *w, struct http_exchange *x, struct link *l,
	   unsigned answer, unsigned status, const char *text, bool close)
{
	reply(w, x, l, answer, &(struct http_reply){
		.status = status, .content_type = "text/plain",
		.body = text, .body_len = strlen(text), .close = close,
	});
}

/* The place of an answer that the connection is to get. */
static unsigned
expect(struct link *l, bool head_only)
{
	if (l && l->n < HEARD_MAX)
		l->answers[l->n].head_only = head_only;
	return l ? l->n++ : 0;
}

static void
wait_for(struct world *w, struct http_exchange *x, struct link *l,
	 unsigned answer)
{
	struct exchange *y;

	if (w->n_waiting == WAITING_MAX) {
		reply_text(w, x, l, answer, 503, "full", false);
		return;
	}
	y = &w->waiting[w->n_waiting++];
	*y = (struct exchange){ .x = x, .link = l, .answer = answer };
	http_exchange_on_gone(x, on_gone, y);
}

static void
on_request(void *userdata, struct http_exchange *x)
{
	const struct http_head *h = http_exchange_head(x);
	struct http_span body = http_exchange_body(x);
	struct link *l = http_exchange_ctx(x);
	struct world *w = userdata;
	unsigned answer;

	CHECK(l && !l->forgotten && http_exchange_tag(x) == 7);
	CHECK(h->path.p && h->path.p[0] == '/' && body.len == h->body_len);
	w->exchanges++;
	answer = expect(l, h->method == HTTP_HEAD);

	if (http_span_is(h->path, "/later")) {
		wait_for(w, x, l, answer);
	} else if (http_span_is(h->path, "/echo")) {
		reply(w, x, l, answer, &(struct http_reply){
			.status = 200, .body = body.p, .body_len = body.len,
		});
	} else if (http_span_is(h->path, "/big")) {
		_cleanup_(freep) char *big = xcalloc(BIG, 1);

		reply(w, x, l, answer, &(struct http_reply){
			.status = 200, .body = big, .body_len = BIG,
		});
	} else {
		reply_text(w, x, l, answer, 200, "hello\n",
			   http_span_is(h->path, "/close"));
	}
}

static void
on_refuse(void *userdata, struct http_exchange *x, const struct err *e)
{
	struct link *l = http_exchange_ctx(x);
	struct world *w = userdata;

	CHECK(!http_exchange_head(x)->path.p && e->msg[0]);
	CHECK(!l || !l->forgotten);
	w->exchanges++;
	reply_text(w, x, l, expect(l, false), err_http_status(e), e->msg, true);
}

static void
on_drained(void *userdata)
{
	struct world *w = userdata;

	w->drained++;
}

/* --- what the input does -------------------------------------------------- */

static void
settle(struct world *w)
{
	int turns = 0, r;

	while ((r = http_server_run(w->server, 0)) > 0)
		CHECK(++turns < TURNS_MAX);
	CHECK(r == 0);
}

static void
hear(struct client *c, size_t most)
{
	char part[64 * 1024];
	ssize_t n;

	while (c->fd >= 0 && most > 0 &&
	       (n = recv(c->fd, part, MIN(most, sizeof(part)), 0)) > 0) {
		c->heard = xrealloc(c->heard, c->len + (size_t)n, 1);
		memcpy(c->heard + c->len, part, (size_t)n);
		c->len += (size_t)n;
		most -= (size_t)n;
	}
}

static void
client_open(struct world *w, struct client *c)
{
	if (c->fd >= 0 || c->heard || c->half)
		return;
	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	CHECK(c->fd >= 0);
	if (connect(c->fd, (struct sockaddr *)&w->at, w->at_len) < 0) {
		close(c->fd);		/* it drains */
		c->fd = -1;
		c->half = true;
	}
}

static void
client_close(struct client *c)
{
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
	c->half = true;
}

static void
said(struct client *c, const char *p, size_t len)
{
	c->said = xrealloc(c->said, c->said_len + len, 1);
	memcpy(c->said + c->said_len, p, len);
	c->said_len += len;
}

static void
say(struct world *w, struct client *c, const char *p, size_t len)
{
	ssize_t n;

	if (len > 0)
		client_open(w, c);
	for (int tries = 0; len > 0 && tries < 4; p += n, len -= (size_t)n) {
		n = send(c->fd, p, len, MSG_NOSIGNAL);
		if (n >= 0) {
			said(c, p, (size_t)n);
			continue;
		}
		if (errno != EAGAIN)
			break;		/* the server has left */
		n = 0;
		tries++;
		settle(w);
	}
}

static void
answer(struct world *w, struct exchange *y)
{
	struct http_exchange *x = y->x;

	if (!x)
		return;
	y->x = NULL;
	reply_text(w, x, y->link, y->answer, 200, "at last\n", false);
}

static void
answer_all(struct world *w)
{
	for (unsigned i = 0; i < w->n_waiting; i++)
		answer(w, &w->waiting[i]);
}

static void
command(struct world *w, struct client **c, int letter)
{
	switch (letter) {
	case 't':
		CHECK(http_server_run(w->server, 0) >= 0);
		break;
	case 's':
		settle(w);
		break;
	case 'h':
		if ((*c)->fd >= 0) {
			shutdown((*c)->fd, SHUT_WR);
			(*c)->half = true;
		}
		break;
	case 'x':
		client_close(*c);
		break;
	case 'r':
		hear(*c, 100);
		break;
	case 'R':
		hear(*c, SIZE_MAX);
		break;
	case 'A':
		answer_all(w);
		break;
	case 'd':
		if (!w->draining)
			http_server_drain(w->server, on_drained, w);
		w->draining = true;
		break;
	default:
		if (letter >= 'a' && w->n_waiting > 0)
			answer(w, &w->waiting[(unsigned)letter % w->n_waiting]);
		else
			*c = &w->clients[(unsigned)letter % CLIENTS];
		if (letter < 'a')
			client_open(w, *c);
		break;
	}
}

static void
play(struct world *w, struct input in)
{
	struct client *c = &w->clients[0];
	int commands = 0;

	while (in.len > 0 && commands++ < COMMANDS_MAX) {
		struct input text = input_until(&in, (char)0xff);

		say(w, c, text.p, text.len);
		if (in.len == 0)
			break;
		command(w, &c, (unsigned char)*in.p);
		in.p++;
		in.len--;
	}
}

/* --- the whole ------------------------------------------------------------ */

static void
listen_somewhere(struct world *w)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	w->at = (struct sockaddr_un){ .sun_family = AF_UNIX };
	w->at_len = sizeof(w->at);
	/* No name: the kernel finds one that is free, without a file. */
	CHECK(fd >= 0);
	CHECK(bind(fd, (struct sockaddr *)&w->at, sizeof(sa_family_t)) == 0);
	CHECK(listen(fd, 16) == 0);
	CHECK(getsockname(fd, (struct sockaddr *)&w->at, &w->at_len) == 0);
	CHECK(http_server_listen(w->server, fd, 7, NULL) == 0);
}

static void
world_begin(struct world *w, unsigned options)
{
	static const struct http_server_ops ops = {
		.admit = on_admit, .forget = on_forget,
		.request = on_request, .refuse = on_refuse,
	};
	const uint64_t long_usec = 24 * 3600 * USEC_PER_SEC;
	struct http_server_options o = {
		.max_connections = options & 32 ? 1 : 100,
		.head_usec = options & 1 ? 0 : long_usec,
		.body_usec = options & 2 ? 0 : long_usec,
		.idle_usec = options & 4 ? 0 : long_usec,
		.write_usec = options & 8 ? 0 : long_usec,
		.lifetime_usec = options & 16 ? 0 : long_usec,
		.max_buffers = options & 64 ? 4096 : 16 * 1024 * 1024,
		.every_answer = "Metadata-Flavor: Google\r\n",
	};

	*w = (struct world){ .refuse_all = options & 128 };
	world = w;
	for (int i = 0; i < CLIENTS; i++)
		w->clients[i].fd = -1;
	log_set_level(LOG_EMERG);
	CHECK(sd_event_new(&w->event) >= 0);
	CHECK(http_server_new(w->event, &o, &ops, w, &w->server, NULL) == 0);
	listen_somewhere(w);
}

/* The last answers are read, and then nobody is there any more. */
static void
world_end(struct world *w)
{
	size_t before, after = SIZE_MAX;

	do {
		before = after;
		settle(w);
		answer_all(w);
		settle(w);
		after = w->ended;
		for (int i = 0; i < CLIENTS; i++) {
			hear(&w->clients[i], SIZE_MAX);
			after += w->clients[i].len;
		}
	} while (after != before);
	if (w->draining && w->drained == 0) {
		for (int i = 0; i < CLIENTS; i++)
			if (w->clients[i].fd >= 0)
				shutdown(w->clients[i].fd, SHUT_RDWR);
		settle(w);
		answer_all(w);
		settle(w);
		CHECK(w->drained == 1);
	}
	CHECK(w->drained <= 1);
	w->server = http_server_free(w->server);
	CHECK(w->exchanges == w->ended);
	CHECK(w->admitted == w->forgotten);
	for (unsigned i = 0; i < w->n_waiting; i++)
		CHECK(!w->waiting[i].x);
	sd_event_unref(w->event);
}

/* One answer at the beginning of heard, as announced; returns its length, or 0
   where it is cut off. */
static size_t
check_one(const char *heard, size_t len, const struct link *l, unsigned i)
{
	const char *end = memmem(heard, len, "\r\n\r\n", 4), *field;
	size_t head, body = 0;
	unsigned status;

	CHECK(len < 7 || strncmp(heard, "HTTP/1.", 7) == 0);
	if (!end)
		return 0;
	head = (size_t)(end - heard) + 4;
	CHECK(isdigit(heard[9]) && isdigit(heard[10]) && isdigit(heard[11]));
	status = (unsigned)strtoul(heard + 9, NULL, 10);
	CHECK(i < l->n && l->answers[i].answered);
	CHECK(status == l->answers[i].status);
	CHECK(memmem(heard, head, "\r\nMetadata-Flavor: Google\r\n", 27));
	CHECK(memmem(heard, head, "\r\nDate: ", 8));
	field = memmem(heard, head, "\r\nContent-Length: ", 18);
	CHECK(field && strtoul(field + 18, NULL, 10) == l->answers[i].body_len);
	if (!l->answers[i].head_only)
		body = l->answers[i].body_len;
	return head + body <= len ? head + body : 0;
}

/* How many exchanges the bytes ask for, taken as a whole. */
static unsigned
count_asked(const struct client *c)
{
	struct http_head head;
	unsigned n = 0;
	size_t at = 0;

	while (at < c->said_len) {
		size_t scanned = 0, left = c->said_len - at;
		ssize_t r = http_parse(c->said + at, left, &scanned, &head, NULL);

		if (r < 0)
			return n + 1;
		if (r == 0 || left - (size_t)r < head.body_len)
			return n + (c->half ? 1 : 0);
		n++;
		at += (size_t)r + head.body_len;
		if (!head.keep_alive || http_span_is(head.path, "/close"))
			break;
	}
	return n;
}

/* The answers of the one connection, in their order; all of them, to a client
   that neither left nor was sent away for being slow. */
static void
check_client(const struct client *c, const struct link *l, bool all)
{
	size_t at = 0, n = 1;
	unsigned i;

	for (i = 0; at < c->len && n > 0 && i < HEARD_MAX; i++) {
		n = check_one(c->heard + at, c->len - at, l, i);
		at += n;
	}
	/* What is cut off is part of an answer that was given. */
	CHECK(n > 0 || (i <= l->n && l->answers[i - 1].answered));
	if (!all || l->n >= HEARD_MAX)
		return;
	CHECK(n > 0 && i == l->n);
	CHECK(l->n == count_asked(c));
}

static void
check_heard(const struct world *w, unsigned options)
{
	const struct client *c = &w->clients[0];
	bool alone = w->n_links == 1 && !w->refuse_all;

	for (int i = 0; i < CLIENTS; i++) {
		if (i > 0 && (w->clients[i].fd >= 0 || w->clients[i].half))
			alone = false;
		if (w->clients[i].len >= 7)
			CHECK(memcmp(w->clients[i].heard, "HTTP/1.", 7) == 0);
	}
	/* With one connection there is no doubt whose answers they are. */
	if (alone && c->fd >= 0)
		check_client(c, w->links[0], options == 0 && !w->draining);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = input_of(data, size);
	uint64_t fds = fds_open();
	unsigned options = 0;
	struct world w;

	if (size >= 3 && data[0] == 0xff && data[1] == 'o') {
		options = data[2];
		in = input_of(data + 3, size - 3);
	}
	world_begin(&w, options);
	play(&w, in);
	world_end(&w);
	check_heard(&w, options);

	for (int i = 0; i < CLIENTS; i++) {
		client_close(&w.clients[i]);
		free(w.clients[i].heard);
		free(w.clients[i].said);
	}
	for (unsigned i = 0; i < w.n_links; i++)
		free(w.links[i]);
	CHECK(fds_open() == fds);
	return 0;
}
