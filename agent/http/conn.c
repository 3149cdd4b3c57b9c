/* SPDX-License-Identifier: Apache-2.0 */

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "http/conn.h"

#define INPUT_FIRST	1024	/* bytes of own buffer; most requests fit */
#define DISCARD_READS	64
#define LINGER_READS	1024	/* in SERVER_LINGER_USEC, 16 MiB at most */

struct conn *
conn_new(struct http_server *s, int fd, int tag)
{
	struct conn *c = xcalloc(1, sizeof(*c));

	c->x.server = s;
	c->fd = fd;
	c->tag = tag;
	c->armed = EPOLLIN;
	c->expires = s->now + MIN(s->opt.lifetime_usec, UINT64_MAX - s->now);
	c->state = CONN_IDLE;
	c->queue = QUEUE_IDLE;
	TAILQ_INSERT_TAIL(&s->queues[QUEUE_IDLE], c, link);
	s->n_conns++;
	s->n.accepted++;
	conn_enqueue(c, QUEUE_IDLE);
	return c;
}

void
conn_admitted(struct conn *c, bool stranger)
{
	c->admitted = true;
	c->stranger = stranger;
	c->x.server->n_strangers += stranger;
}

void
conn_forget(struct conn *c)
{
	struct http_server *s = c->x.server;

	if (c->stranger && c->state != CONN_CLOSED)
		s->n_strangers--;
	if (c->admitted && s->ops.forget)
		s->ops.forget(s->userdata, c->ctx);
	c->admitted = c->stranger = false;
	c->ctx = NULL;
}

void
conn_free(struct conn *c)
{
	assert(c->state == CONN_CLOSED);

	held_free(c);		/* its peer is told of it */
	conn_forget(c);
	free(c);
}

void
conn_enqueue(struct conn *c, enum conn_queue queue)
{
	struct http_server *s = c->x.server;

	if (queue == QUEUE_IDLE && c->stranger)
		queue = QUEUE_STRANGERS;
	TAILQ_REMOVE(&s->queues[c->queue], c, link);
	TAILQ_INSERT_TAIL(&s->queues[queue], c, link);
	c->queue = (uint8_t)queue;
	if (queue >= QUEUES_TIMED)
		return;
	c->deadline = s->now + MIN(s->timeouts[queue], UINT64_MAX - s->now);
	if (c->deadline < s->armed)
		loop_arm(s, c->deadline);
}

/* The memory stays until the batch of events is through: a later one of them
   may be about this connection, and its handler may be running. */
void
conn_close(struct conn *c)
{
	struct http_server *s = c->x.server;
	bool waiting = c->state == CONN_WAIT;

	if (c->state == CONN_CLOSED)
		return;
	close(c->fd);
	c->fd = -1;
	c->state = CONN_CLOSED;
	conn_enqueue(c, QUEUE_CLOSED);
	s->n_conns--;
	s->n_strangers -= c->stranger;
	s->n_refused -= c->held && c->held->refused;
	loop_wake(s);

	if (waiting)
		exchange_gone(c);
}

void
conn_arm(struct conn *c, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = c };

	if (c->armed == events)
		return;
	if (epoll_ctl(c->x.server->epoll_fd, EPOLL_CTL_MOD, c->fd, &ev) < 0) {
		conn_close(c);
		return;
	}
	c->armed = (uint8_t)events;
}

/* Nothing is asked, nothing is owed. */
static void
conn_rest(struct conn *c)
{
	held_free(c);
	c->state = CONN_IDLE;
	conn_enqueue(c, QUEUE_IDLE);
	conn_arm(c, EPOLLIN);
}

/* A socket closed with input unread makes the peer see a reset, perhaps before
   it has read the answer. */
static void
conn_discard(struct conn *c)
{
	char sink[4096];
	ssize_t n;

	for (int i = 0; i < DISCARD_READS; i++) {
		n = recv(c->fd, sink, sizeof(sink), MSG_DONTWAIT);
		if (n < (ssize_t)sizeof(sink))
			break;
	}
}

/* May run inside the handler, which may still look at the input. */
void
conn_sent(struct conn *c)
{
	if (c->closing && c->linger && !c->x.server->draining) {
		shutdown(c->fd, SHUT_WR);
		c->state = CONN_LINGER;
		conn_enqueue(c, QUEUE_LINGER);
		conn_arm(c, EPOLLIN);
	} else if (c->closing) {
		conn_discard(c);
		conn_close(c);
	} else if (c->state == CONN_ASKED) {
		c->state = CONN_IDLE;
	} else if (c->held && c->held->in_len > 0) {
		c->state = CONN_READY;
		conn_enqueue(c, QUEUE_READY);
		loop_wake(c->x.server);
	} else {
		conn_rest(c);
	}
}

/* The handler has returned, and the next request has to wait; rest is what came
   behind this one. */
static void
conn_pause(struct conn *c, const char *rest, size_t len, bool own)
{
	if (c->state == CONN_CLOSED)
		return;
	if (c->state == CONN_ASKED) {
		c->state = CONN_WAIT;
		conn_arm(c, 0);
	}
	if (c->closing)
		len = 0;
	if (held_keep(c, rest, len, own) < 0)
		c->closing = c->linger = true;
}

void
conn_refuse(struct conn *c, const struct err *e, bool linger)
{
	struct http_server *s = c->x.server;

	s->parsed = (struct http_head){ .method = HTTP_OTHER };
	s->head = &s->parsed;
	s->recent = NULL;
	s->body = (struct http_span){ NULL, 0 };
	c->closing = true;
	c->linger = linger;
	c->state = CONN_ASKED;
	s->n.malformed += e->kind == ERR_REQUEST;
	conn_enqueue(c, QUEUE_WAIT);
	loop_turn(s);
	s->ops.refuse(s->userdata, &c->x, e);
	conn_pause(c, NULL, 0, false);
}

/* why: held_charge()'s. */
static void
conn_refuse_busy(struct conn *c, int why)
{
	struct err e;

	err_set(&e, ERR_BUSY, "too much unfinished input from all connections%s"
		" together", why == -EDQUOT ? " of this peer" : "");
	e.retry_usec = USEC_PER_SEC;
	conn_refuse(c, &e, true);
}

/* The length of a whole request, which is in server->head and ->body then; 0 and
   *need if its head is whole; negative. */
static ssize_t
conn_parse(struct conn *c, const char *p, size_t len, size_t *scanned,
	   size_t *need, struct err *e)
{
	struct http_server *s = c->x.server;
	ssize_t n;

	if (len < *need)
		return 0;
	c->head_only = c->minor_0 = false;
	n = recent_parse(c, p, len, scanned, e);
	if (n <= 0)
		return n;

	c->head_only = s->head->method == HTTP_HEAD;
	c->minor_0 = s->head->minor == 0;
	if (c->stranger && s->head->body_len > s->opt.stranger_body)
		return err_set_status(e, ERR_REQUEST, 413, "the body is longer than"
				      " %zu bytes, which is the limit for a peer"
				      " that no rule admits",
				      s->opt.stranger_body);
	*need = (size_t)n + s->head->body_len;
	if (len < *need)
		return 0;
	s->body = (struct http_span){ p + n, s->head->body_len };
	return (ssize_t)*need;
}

static void
conn_keep_partial(struct conn *c, const char *p, size_t len, bool own,
		  size_t scanned, size_t need)
{
	int r = held_keep(c, p, len, own);

	if (r >= 0)
		r = held_reserve(c, need);
	if (r < 0) {
		conn_refuse_busy(c, r);
		return;
	}
	c->held->scanned = scanned;
	c->held->need = need;
	/* The first byte sets the clock, further ones do not. */
	if (c->state != CONN_PARTIAL || (need > 0 && c->queue != QUEUE_BODY))
		conn_enqueue(c, need > 0 ? QUEUE_BODY : QUEUE_HEAD);
	c->state = CONN_PARTIAL;
	conn_arm(c, EPOLLIN);
}

static void
conn_ask(struct conn *c)
{
	struct http_server *s = c->x.server;

	if (!s->head->keep_alive)
		c->closing = true;
	c->asked = true;
	c->state = CONN_ASKED;
	conn_enqueue(c, QUEUE_WAIT);
	if (s->recent && s->recent->note && s->ops.again &&
	    s->ops.again(s->userdata, &c->x))
		return;
	loop_turn(s);
	s->ops.request(s->userdata, &c->x);
}

/* Take the requests that are here one after the other, as long as each is
   answered at once. */
static void
conn_work(struct conn *c, const char *p, size_t len)
{
	bool own = c->held && p == c->held->in;
	size_t scanned = own ? c->held->scanned : 0;
	size_t need = own ? c->held->need : 0;
	struct err *e = &c->x.server->err;
	ssize_t n;

	while (len > 0) {
		n = conn_parse(c, p, len, &scanned, &need, e);
		if (c->held && c->held->refused && (n != 0 || need > 0)) {
			*e = *c->held->refused;
			n = -1;
		}
		if (n < 0) {
			conn_refuse(c, e, true);
			return;
		}
		if (n == 0) {
			conn_keep_partial(c, p, len, own, scanned, need);
			return;
		}

		conn_ask(c);
		p += n;
		len -= (size_t)n;
		scanned = need = 0;
		if (c->state != CONN_IDLE) {
			conn_pause(c, p, len, own);
			return;
		}
	}
	conn_rest(c);
}

/* The peer says nothing more, but may still be reading. */
static void
conn_on_end(struct conn *c)
{
	struct err e;

	if (!c->held || c->held->in_len == 0) {
		conn_close(c);
		return;
	}
	err_set_status(&e, ERR_REQUEST, 400, "the request ends before it is whole");
	conn_refuse(c, &e, false);
}

/* One read: what is left is reported again. */
static void
conn_read(struct conn *c)
{
	struct http_server *s = c->x.server;
	struct held *h = c->held;
	size_t room = sizeof(s->in), size;
	char *to = s->in;
	ssize_t n;
	int r;

	if (h && h->in_len > 0) {
		if (h->in_len == h->in_size) {
			size = MAX(h->in_size * 2, (size_t)INPUT_FIRST);
			r = held_reserve(c, MIN(size, (size_t)HTTP_MAX_HEAD));
			if (r < 0) {
				conn_refuse_busy(c, r);
				return;
			}
		}
		to = h->in + h->in_len;
		room = h->in_size - h->in_len;
	}

	n = recv(c->fd, to, room, MSG_DONTWAIT);
	if (n < 0) {
		if (errno != EAGAIN && errno != EINTR)
			conn_close(c);
		return;
	}
	if (n == 0) {
		conn_on_end(c);
		return;
	}
	if (to == s->in) {
		conn_work(c, to, (size_t)n);
		return;
	}
	h->in_len += (size_t)n;
	conn_work(c, h->in, h->in_len);
}

static void
conn_linger(struct conn *c)
{
	struct http_server *s = c->x.server;
	ssize_t n = recv(c->fd, s->in, sizeof(s->in), MSG_DONTWAIT);

	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR) ||
	    ++c->lingered >= LINGER_READS)
		conn_close(c);
}

void
conn_resume(struct conn *c)
{
	struct http_server *s = c->x.server;

	assert(c->state == CONN_READY);

	c->state = CONN_IDLE;
	if (c->held && c->held->in_len > 0)
		conn_work(c, c->held->in, c->held->in_len);
	else
		conn_read(c);

	if (c->state == CONN_IDLE && s->draining &&
	    (c->asked || s->now >= s->late_until))
		conn_close(c);
	else if (c->queue == QUEUE_READY)
		conn_rest(c);
}

void
conn_on_event(struct conn *c, uint32_t events)
{
	/* A half-closed peer is not reported by these. */
	if (events & (EPOLLHUP | EPOLLERR)) {
		conn_close(c);
		return;
	}
	switch (c->state) {
	case CONN_IDLE:
	case CONN_PARTIAL:
		conn_read(c);
		break;
	case CONN_FLUSH:
		exchange_flush(c);
		break;
	case CONN_LINGER:
		conn_linger(c);
		break;
	default:	/* changed since, by an earlier event of the batch */
		break;
	}
}

void
conn_on_timeout(struct conn *c)
{
	struct err e;

	if (c->state != CONN_PARTIAL) {
		conn_close(c);
		return;
	}
	if (c->held && c->held->refused)
		e = *c->held->refused;
	else
		err_set_status(&e, ERR_REQUEST, 408, "the %s of the request took"
			       " too long to come",
			       c->queue == QUEUE_BODY ? "body" : "head");
	conn_refuse(c, &e, true);
}
