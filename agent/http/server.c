/* SPDX-License-Identifier: Apache-2.0 */

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "http/conn.h"

bool
server_watch(struct http_server *s, int fd, void *what)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = what };

	return epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, fd, &ev) == 0;
}

static void
server_set_timeouts(struct http_server *s)
{
	const struct http_server_options *o = &s->opt;

	s->timeouts[QUEUE_IDLE] = s->timeouts[QUEUE_STRANGERS] = o->idle_usec;
	s->timeouts[QUEUE_HEAD] = o->head_usec;
	s->timeouts[QUEUE_BODY] = o->body_usec;
	s->timeouts[QUEUE_WRITE] = o->write_usec;
	s->timeouts[QUEUE_LINGER] = SERVER_LINGER_USEC;
}

int
http_server_new(sd_event *event, const struct http_server_options *o,
		const struct http_server_ops *ops, void *userdata,
		struct http_server **ret, struct err *e)
{
	_cleanup_(http_server_freep) struct http_server *s = NULL;
	int r;

	s = xcalloc(1, sizeof(*s));
	s->event = sd_event_ref(event);
	s->opt = *o;
	s->latest = &s->recents[0];
	s->opt.every_answer = xstrdup(o->every_answer ? o->every_answer : "");
	s->every_len = strlen(s->opt.every_answer);
	s->ops = *ops;
	s->userdata = userdata;
	s->armed = UINT64_MAX;
	s->date = -1;
	s->stirred = true;
	server_set_timeouts(s);
	for (unsigned q = 0; q < QUEUES; q++)
		TAILQ_INIT(&s->queues[q]);

	s->spare_fd = eventfd(0, EFD_CLOEXEC);
	s->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (s->spare_fd < 0 || s->epoll_fd < 0)
		return err_sys(e, errno, "cannot watch client connections");
	r = loop_add_sources(s);
	if (r < 0)
		return err_sys(e, -r, "cannot watch client connections");
	*ret = TAKE_PTR(s);
	return 0;
}

static void
server_close_listeners(struct http_server *s)
{
	for (unsigned i = 0; i < s->n_listeners; i++)
		close(s->listeners[i].fd);
	for (unsigned i = 0; i < SERVER_LISTENERS; i++)
		s->listeners[i].fd = -1;
	s->n_listeners = 0;
	s->paused = false;
}

struct http_server *
http_server_free(struct http_server *s)
{
	struct conn *c;

	if (!s)
		return NULL;
	assert(s->depth == 0);

	s->depth++;
	for (unsigned q = 0; q < QUEUE_CLOSED; q++)
		while ((c = TAILQ_FIRST(&s->queues[q])))
			conn_close(c);
	loop_reap(s);
	recent_clear(s);
	server_close_listeners(s);
	sd_event_source_disable_unref(s->timer);
	sd_event_source_disable_unref(s->work);
	sd_event_unref(s->event);
	closep(&s->epoll_fd);
	closep(&s->spare_fd);
	free((char *)s->opt.every_answer);
	explicit_bzero(s->in, sizeof(s->in));
	free(s);
	return NULL;
}

int
http_server_listen(struct http_server *s, int fd, int tag, struct err *e)
{
	struct listener *l = &s->listeners[s->n_listeners];
	int flags = fcntl(fd, F_GETFL), one = 1, r;

	if (s->n_listeners == SERVER_LISTENERS) {
		close(fd);
		return err_set(e, ERR_INTERNAL, "more than %d listening sockets",
			       SERVER_LISTENERS);
	}
	*l = (struct listener){ .fd = fd, .tag = tag };
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ||
	    fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 || !server_watch(s, fd, l)) {
		r = err_sys(e, errno, "cannot listen");
		close(fd);
		l->fd = -1;
		return r;
	}
	/* Inherited by what is accepted; fails on Unix sockets, which have no
	   need of it. */
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	s->n_listeners++;
	return 0;
}

/* What was to last for the old time ends after the new one. */
static uint64_t
server_shift(uint64_t end, uint64_t old, uint64_t new)
{
	uint64_t begun = end - MIN(old, end);

	return begun + MIN(new, UINT64_MAX - begun);
}

void
http_server_configure(struct http_server *s, const struct http_server_options *o)
{
	struct http_server_options old = s->opt;
	uint64_t before[QUEUES_TIMED];
	struct conn *c;

	memcpy(before, s->timeouts, sizeof(before));
	s->opt = *o;
	s->opt.every_answer = old.every_answer;
	server_set_timeouts(s);

	/* The whole queue moves: its first stays the first to expire. */
	for (unsigned q = 0; q < QUEUE_CLOSED; q++) {
		TAILQ_FOREACH(c, &s->queues[q], link) {
			c->expires = server_shift(c->expires, old.lifetime_usec,
						  o->lifetime_usec);
			if (q < QUEUES_TIMED)
				c->deadline = server_shift(c->deadline, before[q],
							   s->timeouts[q]);
		}
	}
	if (s->n_conns > 0)
		loop_arm(s, http_server_now(s));
}

void
http_server_drain(struct http_server *s, void (*drained)(void *userdata),
		  void *userdata)
{
	struct conn *c;

	assert(!s->draining);

	s->draining = true;
	s->now = http_server_now(s);
	s->late_until = s->now + s->opt.late_usec;
	if (s->late_until < s->armed)
		loop_arm(s, s->late_until);
	server_close_listeners(s);
	TAILQ_FOREACH(c, &s->queues[QUEUE_WRITE], link)
		c->closing = true;

	/* A request may have come in that nobody has seen yet: the loop looks
	   before it closes them. */
	while ((c = TAILQ_FIRST(&s->queues[QUEUE_IDLE])) ||
	       (c = TAILQ_FIRST(&s->queues[QUEUE_STRANGERS]))) {
		c->state = CONN_READY;
		conn_enqueue(c, QUEUE_READY);
	}
	if (s->depth == 0 && loop_is_quiet(s)) {
		drained(userdata);
		return;
	}
	s->drained = drained;
	s->drained_userdata = userdata;
	loop_wake(s);
}

unsigned
http_server_connections(const struct http_server *s)
{
	return s->n_conns;
}

void
http_server_count(const struct http_server *s, struct http_server_counts *ret)
{
	*ret = s->n;
	ret->connections = s->n_conns;
	ret->strangers = s->n_strangers;
	ret->most_strangers = s->opt.max_strangers;
	ret->most = s->opt.max_connections;
	ret->buffers = s->buffers;
}
