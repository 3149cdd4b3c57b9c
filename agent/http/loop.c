/* SPDX-License-Identifier: Apache-2.0 */

#include <assert.h>
#include <string.h>

#include "http/conn.h"

void
loop_arm(struct http_server *s, uint64_t when)
{
	s->armed = when;
	sd_event_source_set_time(s->timer, when);
	sd_event_source_set_enabled(s->timer, SD_EVENT_ONESHOT);
}

static void
loop_disarm(struct http_server *s)
{
	s->armed = UINT64_MAX;
	sd_event_source_set_enabled(s->timer, SD_EVENT_OFF);
}

void
loop_wake(struct http_server *s)
{
	if (s->depth == 0)
		sd_event_source_set_enabled(s->work, SD_EVENT_ONESHOT);
}

void
loop_read_clocks(struct http_server *s)
{
	uint64_t usec = 0;

	s->now = http_server_now(s);
	sd_event_now(s->event, CLOCK_REALTIME, &usec);
	s->wall = (int64_t)(usec / USEC_PER_SEC);
}

void
loop_wipe(struct http_server *s)
{
	explicit_bzero(s->scratch, s->scratch_len);
	s->scratch_len = 0;
}

/* Is nothing on its way that would still be waited for? */
static bool
loop_awaits_nobody(const struct http_server *s)
{
	return s->now >= s->late_until ||
	       (TAILQ_EMPTY(&s->queues[QUEUE_IDLE]) &&
		TAILQ_EMPTY(&s->queues[QUEUE_HEAD]) &&
		TAILQ_EMPTY(&s->queues[QUEUE_BODY]));
}

bool
loop_is_quiet(const struct http_server *s)
{
	return loop_awaits_nobody(s) &&
	       TAILQ_EMPTY(&s->queues[QUEUE_WAIT]) &&
	       TAILQ_EMPTY(&s->queues[QUEUE_READY]) &&
	       TAILQ_EMPTY(&s->queues[QUEUE_WRITE]);
}

void
loop_reap(struct http_server *s)
{
	struct conn *c;

	while ((c = TAILQ_FIRST(&s->queues[QUEUE_CLOSED]))) {
		TAILQ_REMOVE(&s->queues[QUEUE_CLOSED], c, link);
		conn_free(c);
	}
}

static void
loop_enter(struct http_server *s)
{
	assert(s->depth == 0);

	s->depth++;
	loop_read_clocks(s);
}

/* The last thing each callback does: drained() may free the server. */
static void
loop_leave(struct http_server *s)
{
	void (*drained)(void *userdata);
	struct conn *c;

	while ((c = TAILQ_FIRST(&s->queues[QUEUE_READY])))
		conn_resume(c);
	loop_reap(s);
	loop_wipe(s);
	if (s->n_conns == 0 && !s->paused && s->armed != UINT64_MAX)
		loop_disarm(s);
	s->depth--;

	drained = s->drained;
	if (drained && loop_is_quiet(s)) {
		s->drained = NULL;
		drained(s->drained_userdata);
	}
}

static struct listener *
loop_listener(struct http_server *s, void *what)
{
	struct listener *l = what;

	return l >= s->listeners && l < s->listeners + SERVER_LISTENERS ? l : NULL;
}

static int
loop_take_batch(struct http_server *s)
{
	struct listener *l;
	int n;

	n = epoll_wait(s->epoll_fd, s->events, SERVER_BATCH, 0);
	for (int i = 0; i < n; i++) {
		l = loop_listener(s, s->events[i].data.ptr);
		if (!l)
			conn_on_event(s->events[i].data.ptr, s->events[i].events);
		else if (!s->paused && l->fd >= 0)
			accept_one(s, l);
	}
	return n;
}

static int
on_clients(_unused_ sd_event_source *source, _unused_ int fd,
	   _unused_ uint32_t revents, void *userdata)
{
	struct http_server *s = userdata;

	loop_enter(s);
	/* While several clients are busy there is more by now, and a look costs
	   less than a turn of the whole loop. */
	for (int i = 0; i < SERVER_LOOKS; i++)
		if (loop_take_batch(s) < 2)
			break;
	loop_leave(s);
	return 0;
}

static int
on_timer(_unused_ sd_event_source *source, _unused_ uint64_t usec, void *userdata)
{
	struct http_server *s = userdata;
	uint64_t next = UINT64_MAX;
	struct conn *c;

	loop_enter(s);
	s->armed = UINT64_MAX;
	if (s->paused)
		accept_again(s);
	for (unsigned q = 0; q < QUEUES_TIMED; q++) {
		while ((c = TAILQ_FIRST(&s->queues[q])) && c->deadline <= s->now)
			conn_on_timeout(c);
	}
	for (unsigned q = 0; q < QUEUES_TIMED; q++) {
		c = TAILQ_FIRST(&s->queues[q]);
		if (c)
			next = MIN(next, c->deadline);
	}
	if (s->draining && s->late_until > s->now)
		next = MIN(next, s->late_until);
	if (next < s->armed)
		loop_arm(s, next);
	loop_leave(s);
	return 0;
}

static int
on_work(_unused_ sd_event_source *source, void *userdata)
{
	struct http_server *s = userdata;

	loop_enter(s);
	loop_leave(s);
	return 0;
}

int
loop_add_sources(struct http_server *s)
{
	int r;

	r = sd_event_add_io(s->event, &s->io, s->epoll_fd, EPOLLIN, on_clients, s);
	if (r >= 0)
		r = sd_event_add_time(s->event, &s->timer, CLOCK_BOOTTIME, 0, 0,
				      on_timer, s);
	if (r >= 0)
		r = sd_event_source_set_enabled(s->timer, SD_EVENT_OFF);
	if (r >= 0)
		r = sd_event_add_defer(s->event, &s->work, on_work, s);
	if (r >= 0)
		r = sd_event_source_set_enabled(s->work, SD_EVENT_OFF);
	if (r < 0)
		return r;
	sd_event_source_set_description(s->io, "clients");
	sd_event_source_set_description(s->timer, "client-timeouts");
	sd_event_source_set_description(s->work, "client-work");
	return 0;
}

uint64_t
http_server_now(const struct http_server *s)
{
	uint64_t now = 0;

	sd_event_now(s->event, CLOCK_BOOTTIME, &now);
	return now;
}
