/* SPDX-License-Identifier: Apache-2.0 */

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "http/conn.h"

/* Clients come first: their epoll instance is what is waited in, and sd-event's
   descriptor is one of those in it.  sd-event looks for itself (a turn) when that
   is ready, and before anything is done that may touch its sources or its clocks.
   So an answer that is at hand costs no turn, and all else is as in a callback. */

/* It stays armed when nobody is left: to find that out is one turn, and to be armed
   for each who comes alone would be two. */
void
loop_arm(struct http_server *s, uint64_t when)
{
	s->armed = when;
	s->stirred = true;
	sd_event_source_set_time(s->timer, when);
	sd_event_source_set_enabled(s->timer, SD_EVENT_ONESHOT);
}

static void
loop_work(struct http_server *s)
{
	s->stirred = true;
	sd_event_source_set_enabled(s->work, SD_EVENT_ONESHOT);
}

void
loop_wake(struct http_server *s)
{
	if (s->depth == 0)
		loop_work(s);
}

/* As all callbacks of this turn see them. */
void
loop_read_clocks(struct http_server *s)
{
	uint64_t wall = 0;

	sd_event_now(s->event, CLOCK_BOOTTIME, &s->now);
	sd_event_now(s->event, CLOCK_REALTIME, &wall);
	s->wall = (int64_t)wall;
}

void
loop_turn(struct http_server *s)
{
	if (!s->waits)
		return;
	s->waits = false;
	s->pending = sd_event_wait(s->event, 0);
	loop_read_clocks(s);
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

static void
loop_leave(struct http_server *s)
{
	struct conn *c;

	while ((c = TAILQ_FIRST(&s->queues[QUEUE_READY])))
		conn_resume(c);
	loop_reap(s);
	loop_wipe(s);
	s->depth--;
}

static bool
loop_has_drained(const struct http_server *s)
{
	return s->drained && loop_is_quiet(s);
}

/* The last thing each callback does: drained() may free the server. */
static int
loop_end(struct http_server *s)
{
	void (*drained)(void *userdata);

	loop_leave(s);
	if (loop_has_drained(s)) {
		drained = s->drained;
		s->drained = NULL;
		drained(s->drained_userdata);
	}
	return 0;
}

static struct listener *
loop_listener(struct http_server *s, void *what)
{
	struct listener *l = what;

	return l >= s->listeners && l < s->listeners + SERVER_LISTENERS ? l : NULL;
}

static void
loop_take(struct http_server *s, const struct epoll_event *ev)
{
	struct listener *l = loop_listener(s, ev->data.ptr);

	if (ev->data.ptr == s)
		loop_turn(s);
	else if (!l)
		conn_on_event(ev->data.ptr, ev->events);
	else if (!s->paused && l->fd >= 0)
		accept_one(s, l);
}

static void
loop_take_all(struct http_server *s, int n)
{
	s->depth++;
	s->now = now_usec(CLOCK_BOOTTIME);
	s->wall = (int64_t)now_usec(CLOCK_REALTIME);
	for (int i = 0; i < n; i++)
		loop_take(s, &s->events[i]);
	loop_leave(s);
	if (loop_has_drained(s))
		loop_work(s);
}

/* 0: sd-event has nothing to do before one of its descriptors is ready. */
static int
loop_prepare(struct http_server *s)
{
	int r = 0;

	if (sd_event_get_state(s->event) == SD_EVENT_ARMED) {
		if (!s->stirred)
			return 0;
		r = sd_event_wait(s->event, 0);
	}
	s->stirred = false;
	return r ?: sd_event_prepare(s->event);
}

static int
loop_msec(uint64_t usec)
{
	if (usec >= INT_MAX * USEC_PER_MSEC)
		return usec == UINT64_MAX ? -1 : INT_MAX;
	return (int)((usec + USEC_PER_MSEC - 1) / USEC_PER_MSEC);
}

int
http_server_run(struct http_server *s, uint64_t usec)
{
	sd_event *event = s->event;
	int n, r = loop_prepare(s);

	if (r != 0)
		return r < 0 ? r : sd_event_dispatch(event);
	n = epoll_wait(s->epoll_fd, s->events, SERVER_BATCH, loop_msec(usec));
	if (n <= 0)
		return n == 0 || errno == EINTR ? 0 : -errno;

	s->waits = true;
	loop_take_all(s, n);
	if (s->stirred)
		loop_turn(s);
	r = s->waits ? 0 : s->pending;
	s->waits = false;
	if (r != 0)
		return r < 0 ? r : sd_event_dispatch(event);
	return 1;
}

int
http_server_loop(struct http_server *s)
{
	sd_event *event = s->event;
	int r, code = 0;

	while (sd_event_get_state(event) != SD_EVENT_FINISHED) {
		r = http_server_run(s, UINT64_MAX);
		if (r < 0)
			return r;
	}
	sd_event_get_exit_code(event, &code);
	return code;
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
	return loop_end(s);
}

static int
on_work(_unused_ sd_event_source *source, void *userdata)
{
	struct http_server *s = userdata;

	loop_enter(s);
	return loop_end(s);
}

int
loop_add_sources(struct http_server *s)
{
	int r;

	if (!server_watch(s, sd_event_get_fd(s->event), s))
		return -errno;
	r = sd_event_add_time(s->event, &s->timer, CLOCK_BOOTTIME, 0, 0, on_timer,
			      s);
	if (r >= 0)
		r = sd_event_source_set_enabled(s->timer, SD_EVENT_OFF);
	if (r >= 0)
		r = sd_event_add_defer(s->event, &s->work, on_work, s);
	if (r >= 0)
		r = sd_event_source_set_enabled(s->work, SD_EVENT_OFF);
	if (r < 0)
		return r;
	sd_event_source_set_description(s->timer, "client-timeouts");
	sd_event_source_set_description(s->work, "client-work");
	return 0;
}

uint64_t
http_server_now(const struct http_server *s)
{
	uint64_t now = s->now;

	if (s->depth == 0)
		sd_event_now(s->event, CLOCK_BOOTTIME, &now);
	return now;
}
