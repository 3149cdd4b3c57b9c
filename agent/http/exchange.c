/* SPDX-License-Identifier: Apache-2.0 */

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/text.h"
#include "http/conn.h"
#include "http/message.h"

#define STATUS_NO_CONTENT	204

static struct conn *
exchange_conn(const struct http_exchange *x)
{
	return container_of((struct http_exchange *)x, struct conn, x);
}

static inline char *
put(char *p, const char *s, size_t len)
{
	if (len > 0)
		memcpy(p, s, len);
	return p + len;
}

static char *
puts_(char *p, const char *s)
{
	return put(p, s, strlen(s));
}

#define PUT_LITERAL(p, s)	put((p), (s), sizeof(s) - 1)

static char *
status_line(char *p, bool minor_0, unsigned status)
{
	if (status == 200 && !minor_0)
		return PUT_LITERAL(p, "HTTP/1.1 200 OK\r\n");

	p = puts_(p, minor_0 ? "HTTP/1.0 " : "HTTP/1.1 ");
	p += text_from_u64(p, status);
	*p++ = ' ';
	p = puts_(p, http_reason(status));
	return PUT_LITERAL(p, "\r\n");
}

static char *
put_date(char *to, struct http_server *s)
{
	int64_t date = s->wall / (int64_t)USEC_PER_SEC;
	char *p;

	if (date != s->date) {
		p = puts_(s->date_line, "Date: ");
		http_date_format(date, p);
		p = puts_(p + strlen(p), "\r\n");
		s->date_len = (size_t)(p - s->date_line);
		s->date = date;
	}
	return put(to, s->date_line, s->date_len);
}

/* What stands in every answer, but for what the handler and the options add: less
   than this. */
#define ANSWER_ROOM	256

/* Head and body in one piece: two pieces cost more than the copy. */
static size_t
answer_write(struct conn *c, const struct http_reply *r, size_t type_len,
	     size_t fields_len, char *to)
{
	struct http_server *s = c->x.server;
	char *p = to;

	p = status_line(p, c->minor_0, r->status);
	p = put_date(p, s);
	if (r->status != STATUS_NO_CONTENT) {
		p = PUT_LITERAL(p, "Content-Length: ");
		p += text_from_u64(p, r->body_len);
		p = PUT_LITERAL(p, "\r\n");
	}
	if (r->content_type) {
		p = PUT_LITERAL(p, "Content-Type: ");
		p = put(p, r->content_type, type_len);
		p = PUT_LITERAL(p, "\r\n");
	}
	p = put(p, s->opt.every_answer, s->every_len);
	p = put(p, r->fields, fields_len);
	if (c->closing)
		p = PUT_LITERAL(p, "Connection: close\r\n");
	p = PUT_LITERAL(p, "\r\n");
	if (!c->head_only && r->status != STATUS_NO_CONTENT)
		p = put(p, r->body, r->body_len);
	return (size_t)(p - to);
}

/* The number of bytes that went out; negative: none ever will. */
static ssize_t
conn_send(struct conn *c, const char *p, size_t len)
{
	ssize_t n = send(c->fd, p, len, MSG_NOSIGNAL | MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR || errno == ENOBUFS))
		return 0;
	return n;
}

static void
conn_send_answer(struct conn *c, const char *p, size_t len)
{
	ssize_t n = conn_send(c, p, len);
	struct held *h;

	if (n == (ssize_t)len) {
		conn_sent(c);
		return;
	}
	if (n >= 0) {
		len -= (size_t)n;
		if (held_charge(c, 0, len) >= 0) {
			h = held_get(c);
			h->out = xmemdup(p + n, len);
			h->out_len = len;
			c->state = CONN_FLUSH;
			conn_enqueue(c, QUEUE_WRITE);
			conn_arm(c, EPOLLOUT);
			return;
		}
	}
	conn_close(c);
}

void
exchange_flush(struct conn *c)
{
	struct held *h = c->held;
	ssize_t n = conn_send(c, h->out + h->out_sent, h->out_len - h->out_sent);

	if (n < 0) {
		conn_close(c);
		return;
	}
	h->out_sent += (size_t)n;
	if (h->out_sent < h->out_len)
		return;
	held_drop_output(c);
	conn_sent(c);
}

const struct http_head *
http_exchange_head(const struct http_exchange *x)
{
	assert(exchange_conn(x)->state == CONN_ASKED);
	return x->server->head;
}

struct http_span
http_exchange_body(const struct http_exchange *x)
{
	assert(exchange_conn(x)->state == CONN_ASKED);
	return x->server->body;
}

void *
http_exchange_ctx(const struct http_exchange *x)
{
	return exchange_conn(x)->ctx;
}

uint64_t
http_exchange_now(const struct http_exchange *x)
{
	return http_server_now(x->server);
}

int64_t
http_exchange_wall(const struct http_exchange *x)
{
	assert(x->server->depth > 0);
	return x->server->wall;
}

int
http_exchange_tag(const struct http_exchange *x)
{
	return exchange_conn(x)->tag;
}

void *
http_exchange_userdata(const struct http_exchange *x)
{
	return x->server->userdata;
}

const struct http_server *
http_exchange_server(const struct http_exchange *x)
{
	return x->server;
}

int
http_exchange_charge(struct http_exchange *x, size_t old, size_t new)
{
	return held_charge(exchange_conn(x), old, new);
}

void
http_exchange_on_gone(struct http_exchange *x, void (*gone)(void *userdata),
		      void *userdata)
{
	struct held *h = held_get(exchange_conn(x));

	if (!h->gone) {
		h->era = x->server->era;
		x->server->waiting[h->era]++;
	}
	h->gone = gone;
	h->gone_userdata = userdata;
}

/* The answer has come, or nobody is left to have it. */
static void
exchange_waits_no_more(struct conn *c)
{
	struct http_server *s = c->x.server;

	if (!c->held || !c->held->gone)
		return;
	c->held->gone = NULL;
	if (--s->waiting[c->held->era] == 0 && c->held->era != s->era)
		s->left(s->left_userdata);
}

void
exchange_gone(struct conn *c)
{
	void (*gone)(void *userdata) = c->held ? c->held->gone : NULL;
	void *userdata = c->held ? c->held->gone_userdata : NULL;

	loop_turn(c->x.server);
	exchange_waits_no_more(c);
	if (gone)
		gone(userdata);
}

int
http_server_begin_era(struct http_server *s, void (*left)(void *userdata),
		      void *userdata)
{
	unsigned ended = s->era, next = (s->era + 1) % HTTP_ERAS;

	if (s->waiting[next] > 0)
		return -EBUSY;
	s->era = next;
	s->left = left;
	s->left_userdata = userdata;
	return (int)ended;
}

unsigned
http_server_waiting(const struct http_server *s, int era)
{
	return s->waiting[era];
}

void
http_exchange_reply(struct http_exchange *x, const struct http_reply *r)
{
	struct http_server *s = x->server;
	struct conn *c = exchange_conn(x);
	size_t type_len = r->content_type ? strlen(r->content_type) : 0;
	size_t fields_len = r->fields ? strlen(r->fields) : 0, size, len;
	char *p = s->scratch;

	assert(c->state == CONN_ASKED || c->state == CONN_WAIT);

	if (s->depth == 0)
		loop_read_clocks(s);
	exchange_waits_no_more(c);
	if (r->close || s->draining || s->now >= c->expires)
		c->closing = true;

	size = ANSWER_ROOM + type_len + s->every_len + fields_len + r->body_len;
	if (size > sizeof(s->scratch))
		p = xcalloc(size, 1);
	len = answer_write(c, r, type_len, fields_len, p);
	conn_send_answer(c, p, len);

	if (p != s->scratch) {
		explicit_bzero(p, len);
		free(p);
		return;
	}
	/* The loop wipes it before it sleeps; from outside of it that is now. */
	s->scratch_len = MAX(s->scratch_len, len);
	if (s->depth == 0)
		loop_wipe(s);
}
