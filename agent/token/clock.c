/* SPDX-License-Identifier: Apache-2.0 */

#include <errno.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>

#include "google/token_endpoint.h"
#include "token/clock.h"

struct clock {
	sd_event *event;
	struct clock_options opt;
	clock_read_fn *source;
	void *source_userdata;
	struct clock_learned learned;
	bool bad;		/* the listener knows it */
	struct token_now turn;	/* as clock_now() told this turn of the loop */

	int fd;			/* the kernel cancels it when the clock is set */
	sd_event_source *set, *tell;
	clock_changed_fn *changed;
	void *userdata;
};

/* --- pure -------------------------------------------------------------------- */

/* Both are less than half of what fits: no overflow. */
static uint64_t
distance(int64_t a, int64_t b)
{
	return a > b ? (uint64_t)(a - b) : (uint64_t)(b - a);
}

void
clock_learn_date(struct clock_learned *l, const struct clock_options *o,
		 int64_t date, uint64_t boot)
{
	int64_t now, before = l->last;
	bool heard = l->heard;

	if (date <= 0 || date > INT64_MAX / 4 / (int64_t)USEC_PER_SEC ||
	    boot > INT64_MAX / 4)
		return;

	now = date * (int64_t)USEC_PER_SEC - (int64_t)boot;
	l->heard = true;
	l->last = now;
	if (!heard || distance(now, before) > o->agree_usec)
		return;
	/* A date is never early, but late by the way and by what is cut off. */
	l->google = MAX(now, before);
	l->known = true;
}

void
clock_judge(const struct clock_learned *l, const struct clock_options *o,
	    uint64_t boot, int64_t wall, struct clock_status *ret)
{
	*ret = (struct clock_status){ .known = l->known };
	if (!l->known)
		return;
	ret->ahead_usec = l->google + (int64_t)boot - wall;
	ret->bad = distance(ret->ahead_usec, 0) > o->limit_usec;
}

/* --- the clocks themselves ---------------------------------------------------- */

struct token_now
clock_machine_now(sd_event *event)
{
	struct token_now now = { 0 };
	uint64_t wall = 0;

	sd_event_now(event, CLOCK_BOOTTIME, &now.boot);
	sd_event_now(event, CLOCK_REALTIME, &wall);
	now.wall = now.google = (int64_t)wall;
	return now;
}

/* Other clocks than the machine's, if there are any. */
static struct token_now
clock_judge_now(const struct clock *c, struct token_now now,
		struct clock_status *ret)
{
	if (c->source)
		c->source(c->source_userdata, &now.boot, &now.wall);
	clock_judge(&c->learned, &c->opt, now.boot, now.wall, ret);
	now.google = now.wall + (ret->bad ? 0 : ret->ahead_usec);
	return now;
}

static struct token_now
clock_look(const struct clock *c, struct clock_status *ret)
{
	return clock_judge_now(c, clock_machine_now(c->event), ret);
}

struct token_now
clock_now(struct clock *c)
{
	struct token_now now = clock_machine_now(c->event);

	return clock_now_at(c, now.boot, now.wall);
}

/* Within a turn of the loop the time is one: so is this, at a fraction of the cost,
   for it is asked with every token. */
struct token_now
clock_now_at(struct clock *c, uint64_t boot, int64_t wall)
{
	struct token_now now = { .boot = boot, .wall = wall };
	struct clock_status s;

	if (c->turn.boot != boot || c->source || boot == 0)
		c->turn = clock_judge_now(c, now, &s);
	return c->turn;
}

int64_t
clock_date(const struct clock *c)
{
	struct clock_status s;
	struct token_now now = clock_look(c, &s);

	return (distance(s.ahead_usec, 0) > c->opt.correct_usec ? now.google
		: now.wall) / (int64_t)USEC_PER_SEC;
}

bool
clock_differs(const struct clock *c, int64_t date)
{
	struct clock_status s;

	clock_look(c, &s);
	return !s.bad && distance(clock_date(c), date) >
		c->opt.correct_usec / USEC_PER_SEC;
}

void
clock_status(const struct clock *c, struct clock_status *ret)
{
	clock_look(c, ret);
}

int
clock_check(const struct clock *c, struct err *e)
{
	char machine[30], google[30];
	struct clock_status s;
	struct token_now now = clock_look(c, &s);
	int64_t ahead = s.ahead_usec / (int64_t)USEC_PER_SEC;
	int r;

	if (!s.bad)
		return 0;
	http_date_format(now.wall / (int64_t)USEC_PER_SEC, machine);
	http_date_format((now.wall + s.ahead_usec) / (int64_t)USEC_PER_SEC, google);
	r = err_set(e, ERR_UNAVAILABLE, "this machine's clock is %lld s %s Google's"
		    ", and no more than %llu s are made up for: it says %s, Google "
		    "%s",
		    (long long)(ahead < 0 ? -ahead : ahead),
		    ahead < 0 ? "ahead of" : "behind",
		    (unsigned long long)(c->opt.limit_usec / USEC_PER_SEC), machine,
		    google);
	err_hint(e, TOKEN_ENDPOINT_SET_CLOCK);
	return r;
}

/* --- changes ------------------------------------------------------------------ */

void
clock_on_change(struct clock *c, clock_changed_fn *changed, void *userdata)
{
	c->changed = changed;
	c->userdata = userdata;
}

/* May do what it likes, but free the clock. */
static int
on_tell(_unused_ sd_event_source *s, void *userdata)
{
	struct clock *c = userdata;
	struct clock_status status;

	clock_status(c, &status);
	c->bad = status.bad;
	if (c->changed)
		c->changed(c->userdata, &status);
	return 0;
}

void
clock_learn(struct clock *c, const struct http_response *re)
{
	struct clock_status s;

	/* A date out of a cache is that of the first who asked. */
	if (!re->tls || re->age > 0)
		return;
	clock_learn_date(&c->learned, &c->opt, re->date, clock_now(c).boot);
	c->turn.boot = 0;
	clock_status(c, &s);
	/* Not from here: whoever is in the middle of something need not care. */
	if (s.bad != c->bad)
		sd_event_source_set_enabled(c->tell, SD_EVENT_ONESHOT);
}

void
clock_stepped(struct clock *c)
{
	struct clock_status s;

	/* Where Google's clock is out of reach now, it may as well be ours that
	   stood still while the machine was stopped: its next answers will tell. */
	clock_status(c, &s);
	if (s.bad)
		c->learned = (struct clock_learned){ 0 };
	c->turn.boot = 0;
	sd_event_source_set_enabled(c->tell, SD_EVENT_ONESHOT);
}

/* sd-event's own timers follow a clock that is set, but tell nobody. */
static int
clock_watch(const struct clock *c)
{
	const struct itimerspec never = {
		.it_value.tv_sec = sizeof(time_t) > 4 ? (time_t)INT64_MAX
				 : (time_t)INT32_MAX,
	};
	int r = timerfd_settime(c->fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET,
				&never, NULL);

	/* Set in this very moment: it is armed all the same. */
	return r < 0 && errno != ECANCELED ? -errno : 0;
}

static int
on_set(_unused_ sd_event_source *s, int fd, _unused_ uint32_t events,
       void *userdata)
{
	struct clock *c = userdata;
	uint64_t n;

	/* ECANCELED is what it says; then it is watched anew. */
	if (read(fd, &n, sizeof(n)) < 0 && errno != ECANCELED)
		return errno == EAGAIN ? 0 : -errno;
	clock_stepped(c);
	return clock_watch(c);
}

/* --- birth and death ---------------------------------------------------------- */

int
clock_new(sd_event *event, const struct clock_options *o, clock_read_fn *source,
	  void *userdata, struct clock **ret, struct err *e)
{
	_cleanup_(clock_freep) struct clock *c = xcalloc(1, sizeof(*c));
	int r;

	c->event = sd_event_ref(event);
	c->opt = *o;
	c->source = source;
	c->source_userdata = userdata;
	c->fd = timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK | TFD_CLOEXEC);
	if (c->fd < 0)
		return err_sys(e, errno, "cannot watch the clock");
	r = clock_watch(c);
	if (r >= 0)
		r = sd_event_add_io(event, &c->set, c->fd, EPOLLIN, on_set, c);
	if (r >= 0)
		r = sd_event_add_defer(event, &c->tell, on_tell, c);
	if (r >= 0)
		r = sd_event_source_set_enabled(c->tell, SD_EVENT_OFF);
	if (r < 0)
		return err_sys(e, -r, "cannot watch the clock");
	*ret = TAKE_PTR(c);
	return 0;
}

struct clock *
clock_free(struct clock *c)
{
	if (!c)
		return NULL;

	sd_event_source_unref(c->set);
	sd_event_source_unref(c->tell);
	closep(&c->fd);
	sd_event_unref(c->event);
	free(c);
	return NULL;
}
