/* SPDX-License-Identifier: Apache-2.0 */

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "base/log.h"
#include "http/conn.h"

#define WARN_USEC	USEC_PER_MIN

static void
accept_warn(struct http_server *s, int errnum)
{
	if (s->warned && s->now - s->warned < WARN_USEC)
		return;
	s->warned = s->now;
	log_warning(LOG_NO_FIELDS, "clients are turned away: %s (%u connections)",
		    errnum ? strerror(errnum) : "max-connections is reached",
		    s->n_conns);
}

static void
busy_error(struct err *e)
{
	err_set(e, ERR_BUSY, "too many connections to the agent");
	e->retry_usec = USEC_PER_SEC;
}

/* Answer and close at once; nobody waits for the request. */
static void
accept_turn_away(struct conn *c)
{
	struct err e;

	busy_error(&e);
	conn_refuse(c, &e, false);
	conn_close(c);
}

/* With nothing left to accept with, the listeners would be reported without
   end. */
static void
accept_pause(struct http_server *s)
{
	for (unsigned i = 0; i < s->n_listeners; i++)
		epoll_ctl(s->epoll_fd, EPOLL_CTL_DEL, s->listeners[i].fd, NULL);
	s->paused = true;
	if (s->now + SERVER_PAUSE_USEC < s->armed)
		server_arm(s, s->now + SERVER_PAUSE_USEC);
}

void
accept_again(struct http_server *s)
{
	s->paused = false;
	if (s->spare_fd < 0)
		s->spare_fd = eventfd(0, EFD_CLOEXEC);
	for (unsigned i = 0; i < s->n_listeners; i++)
		if (!server_watch(s, s->listeners[i].fd, &s->listeners[i]))
			s->paused = true;
	if (s->paused)
		accept_pause(s);
}

static void
accept_failed(struct http_server *s, const struct listener *l, int errnum)
{
	int fd = -1;

	if (errnum != EMFILE && errnum != ENFILE && errnum != ENOMEM &&
	    errnum != ENOBUFS)
		return;		/* gone before we came, or some such */

	accept_warn(s, errnum);
	if (s->spare_fd >= 0) {
		close(s->spare_fd);
		fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd >= 0)
			accept_turn_away(conn_new(s, fd, l->tag));
	}
	s->spare_fd = eventfd(0, EFD_CLOEXEC);
	if (fd < 0)
		accept_pause(s);
}

/* What comes above the limit is let in to be told so, up to a point. */
static int
accept_admit(struct http_server *s, struct conn *c, struct err *e)
{
	int r;

	if (s->n_conns > s->opt.max_connections) {
		accept_warn(s, 0);
		busy_error(e);
		return -EAGAIN;
	}
	r = s->ops.admit(s->userdata, c->fd, c->tag, &c->ctx, e);
	c->admitted = r >= 0;
	return r;
}

void
accept_one(struct http_server *s, const struct listener *l)
{
	struct conn *c;
	struct err e;
	int fd;

	fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd < 0) {
		accept_failed(s, l, errno);
		return;
	}

	c = conn_new(s, fd, l->tag);
	if (s->n_conns > s->opt.max_connections + SERVER_TURNED_AWAY ||
	    !server_watch(s, fd, c)) {
		accept_warn(s, 0);
		accept_turn_away(c);
		return;
	}
	if (accept_admit(s, c, &e) >= 0)
		return;
	if (!server_charge(s, 0, sizeof(e))) {
		accept_turn_away(c);
		return;
	}
	held_get(c)->refused = xmemdup(&e, sizeof(e));
	conn_enqueue(c, QUEUE_HEAD);
}
