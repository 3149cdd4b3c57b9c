/* SPDX-License-Identifier: Apache-2.0 */

#include <errno.h>
#include <fcntl.h>
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
accept_turn_away(struct conn *c, const struct err *e)
{
	conn_refuse(c, e, false);
	conn_close(c);
}

/* Make room: the stranger that has been idle for longest goes. */
static bool
accept_close_stranger(struct http_server *s)
{
	struct conn *c = TAILQ_FIRST(&s->queues[QUEUE_STRANGERS]);

	if (!c)
		return false;
	conn_close(c);
	s->n.strangers_closed++;
	return true;
}

/* The kernel gives the lowest free number, so whoever is given one of these came
   when all others were taken. */
static bool
accept_is_kept(const struct http_server *s, int fd)
{
	return s->opt.client_fds > 0 && fd >= s->opt.client_fds;
}

/* Room for one connection more, which is c. */
static bool
accept_has_room(struct http_server *s, const struct conn *c)
{
	if (c->stranger && s->n_strangers > s->opt.max_strangers &&
	    !accept_close_stranger(s))
		return false;
	if (s->n_conns - s->n_refused > s->opt.max_connections &&
	    !accept_close_stranger(s)) {
		accept_warn(s, 0);
		return false;
	}
	if (accept_is_kept(s, c->fd)) {
		accept_warn(s, EMFILE);
		return false;
	}
	return true;
}

static int
accept_admit(struct http_server *s, struct conn *c, struct err *e)
{
	int r;

	r = s->ops.admit(s->userdata, c->fd, c->tag, &c->ctx, e);
	if (r < 0) {
		s->n.refused++;
		return r;
	}
	conn_admitted(c, r == HTTP_STRANGER);
	if (accept_has_room(s, c) ||
	    (s->ops.privileged && s->ops.privileged(s->userdata, c->ctx))) {
		conn_enqueue(c, QUEUE_IDLE);
		return 0;
	}
	conn_forget(c);
	s->n.turned_away++;
	busy_error(e);
	return -EAGAIN;
}

/* Who is not let in is held until the request is here, to be told so, up to a
   point. */
static void
accept_refuse(struct conn *c, const struct err *e)
{
	struct http_server *s = c->x.server;

	if (accept_is_kept(s, c->fd) || s->n_refused >= SERVER_TURNED_AWAY ||
	    held_charge(c, 0, sizeof(*e)) < 0) {
		accept_turn_away(c, e);
		return;
	}
	held_get(c)->refused = xmemdup(e, sizeof(*e));
	s->n_refused++;
	conn_enqueue(c, QUEUE_HEAD);
}

static void
accept_client(struct http_server *s, int fd, int tag)
{
	struct conn *c;
	struct err e;
	int lower;

	/* Only the kept ones are left: a stranger's will do. */
	if (accept_is_kept(s, fd) && accept_close_stranger(s)) {
		lower = fcntl(fd, F_DUPFD_CLOEXEC, 3);
		if (lower >= 0) {
			close(fd);
			fd = lower;
		}
	}

	c = conn_new(s, fd, tag);
	if (!server_watch(s, fd, c)) {
		accept_warn(s, errno);
		busy_error(&e);
		s->n.turned_away++;
		accept_turn_away(c, &e);
	} else if (accept_admit(s, c, &e) < 0) {
		accept_refuse(c, &e);
	}
}

/* The kernel cannot give even one descriptor in place of another: with the
   listeners reported without end, nothing else would be done. */
static void
accept_pause(struct http_server *s)
{
	for (unsigned i = 0; i < s->n_listeners; i++)
		epoll_ctl(s->epoll_fd, EPOLL_CTL_DEL, s->listeners[i].fd, NULL);
	s->paused = true;
	if (s->now + SERVER_PAUSE_USEC < s->armed)
		loop_arm(s, s->now + SERVER_PAUSE_USEC);
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

static int
accept_fd(const struct listener *l)
{
	return accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
}

/* With the spare descriptor whoever comes is accepted, told, and closed. */
static int
accept_with_spare(struct http_server *s, const struct listener *l)
{
	struct err e;
	int fd;

	if (s->spare_fd < 0)
		return -1;
	close(s->spare_fd);
	fd = accept_fd(l);
	if (fd >= 0) {
		busy_error(&e);
		s->n.turned_away++;
		accept_turn_away(conn_new(s, fd, l->tag), &e);
	}
	s->spare_fd = eventfd(0, EFD_CLOEXEC);
	return fd;
}

static void
accept_failed(struct http_server *s, const struct listener *l, int errnum)
{
	int fd = -1;

	if (errnum != EMFILE && errnum != ENFILE && errnum != ENOMEM &&
	    errnum != ENOBUFS)
		return;		/* gone before we came, or some such */

	if (accept_close_stranger(s))
		fd = accept_fd(l);
	if (fd >= 0) {
		accept_client(s, fd, l->tag);
		return;
	}
	accept_warn(s, errnum);
	if (accept_with_spare(s, l) < 0)
		accept_pause(s);
}

void
accept_one(struct http_server *s, const struct listener *l)
{
	int fd = accept_fd(l);

	if (fd < 0)
		accept_failed(s, l, errno);
	else
		accept_client(s, fd, l->tag);
}
