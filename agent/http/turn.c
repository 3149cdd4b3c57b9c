/* SPDX-License-Identifier: Apache-2.0 */

#include <errno.h>
#include <string.h>

#include "http/turn.h"

static uint64_t
client_now(const struct http_client *c)
{
	uint64_t now = 0;

	sd_event_now(c->event, CLOCK_BOOTTIME, &now);
	return now;
}

/* With a share of nothing there are no shares. */
static bool
host_is_full(const struct http_client *c, const struct turn *t)
{
	const struct http_client_options *o = &c->opt;
	unsigned most = o->host_connections * o->budget.share / 100;
	unsigned own = 0, all = 0;
	const struct turn *other;

	if (t->payer == HTTP_PAYER_NOBODY || o->budget.share == 0)
		return false;
	TAILQ_FOREACH(other, &c->tries, entry) {
		if (strcmp(other->host, t->host) != 0)
			continue;
		all += other->payer != HTTP_PAYER_NOBODY;
		own += other->payer == t->payer;
	}
	return own >= MAX(most, 1U) || (all > 0 && all + 1 >= o->host_connections);
}

/* Those who wait for a host stand in the way of others for that host only. */
static bool
stands_behind(const struct http_client *c, const struct turn *t)
{
	const struct turn *other;

	if (t->state == TURN_WAITS)
		return false;
	TAILQ_FOREACH(other, &c->turns, entry)
		if (other->payer == t->payer &&
		    (other->lacks != -EBUSY || strcmp(other->host, t->host) == 0))
			return true;
	return false;
}

int
turn_take(struct http_client *c, const struct turn *t, uint64_t now,
	  uint64_t *ret_wait)
{
	int r;

	if (host_is_full(c, t)) {
		*ret_wait = UINT64_MAX;
		return -EBUSY;
	}
	*ret_wait = 0;
	if (!stands_behind(c, t) && now < *t->deadline)
		return budget_take(c->budget, t->payer, now, ret_wait);
	r = budget_ask(c->budget, t->payer, now, ret_wait);
	return r < 0 ? r : -EAGAIN;
}

/* Whose fault is it: a peer's that wants more than its share? */
int
turn_error(int lacks, uint64_t payer, uint64_t wait, struct err *e)
{
	int r;

	if (lacks == -EBUSY)
		return err_set(e, ERR_TIMEOUT, "what was asked before has not been "
			       "answered in time");
	if (lacks == -EDQUOT && payer >= HTTP_PAYER_PEERS)
		r = err_set(e, ERR_BUSY, "this peer has used up its share of what "
			    "may be asked upstream (peer-share of "
			    "requests-per-minute)");
	else
		r = err_set(e, ERR_UNAVAILABLE, "as much has been asked upstream "
			    "as may be in a minute (requests-per-minute)");
	e->retry_usec = wait;
	return r;
}

void
turn_set(struct http_client *c, struct turn *t, int state)
{
	int before = t->state;

	if (before == state)
		return;
	if (before == TURN_WAITS) {
		TAILQ_REMOVE(&c->turns, t, entry);
		c->n.waiting--;
	} else if (before == TURN_TRIES) {
		TAILQ_REMOVE(&c->tries, t, entry);
	}
	t->state = state;
	if (state == TURN_WAITS) {
		TAILQ_INSERT_TAIL(&c->turns, t, entry);
		c->n.waiting++;
		c->n.delayed++;
	} else if (state == TURN_TRIES) {
		TAILQ_INSERT_TAIL(&c->tries, t, entry);
	}
	/* A connection has become free. */
	if (before == TURN_TRIES && !TAILQ_EMPTY(&c->turns))
		turn_arm(c, 0);
}

static int
on_turn(_unused_ sd_event_source *s, _unused_ uint64_t usec, void *userdata)
{
	struct http_client *c = userdata;

	c->turn_at = UINT64_MAX;
	turns_come(c, client_now(c));
	return 0;
}

int
turn_arm(struct http_client *c, uint64_t when)
{
	int r;

	if (when >= c->turn_at)
		return 0;
	r = c->turn ? sd_event_source_set_time(c->turn, when)
		: sd_event_add_time(c->event, &c->turn, CLOCK_BOOTTIME, when, 1,
				    on_turn, c);
	if (r >= 0)
		r = sd_event_source_set_enabled(c->turn, SD_EVENT_ONESHOT);
	if (r >= 0)
		c->turn_at = when;
	return r;
}

int
http_client_may(const struct http_client *c, uint64_t payer, uint64_t deadline,
		struct err *e)
{
	uint64_t now = client_now(c), wait;
	int r = budget_ask(c->budget, payer, now, &wait);

	if (r == 0 || now + wait < deadline)
		return 0;
	return turn_error(r, payer, wait, e);
}

void
http_client_count(const struct http_client *c, struct http_client_counts *ret)
{
	*ret = c->n;
	ret->per_minute = c->opt.budget.per_minute;
	ret->left = budget_left(c->budget, client_now(c));
}
