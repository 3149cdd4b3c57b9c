/* SPDX-License-Identifier: Apache-2.0 */

/* Callers' places in the queue of a flight, each with a deadline of its own. */

#include "token/flight.h"

struct ticket *
ticket_free(struct ticket *t)
{
	struct flight *fl;

	if (!t)
		return NULL;

	fl = t->flight;
	TAILQ_REMOVE(&fl->tickets, t, entry);
	fl->broker->n.waiters--;
	t->share->waiters--;
	share_unref(t->share);
	sd_event_source_unref(t->timer);
	free(t);
	/* The queue is no longer than there are callers. */
	if (fl->queued && !fl->ahead && TAILQ_EMPTY(&fl->tickets))
		flight_free(fl);
	return NULL;
}

/* Its callback may free what it likes. */
void
ticket_end(struct ticket *t, struct token *token, enum broker_source source,
	   const struct err *e)
{
	broker_done_fn *done = t->done;
	void *userdata = t->userdata;

	*t->slot = NULL;
	ticket_free(t);
	done(userdata, token, source, e);
}

void
ticket_fail(struct ticket *t, const struct err *e)
{
	struct broker *b = t->flight->broker;
	struct token_now now = clock_now(b->ctx->clock);
	struct token *cached = t->want.min_left > 0 ? NULL :
		cache_get(b->cache, t->flight->key, &now);

	if (!cached)
		return ticket_end(t, NULL, t->source, e);
	token_ref(cached);
	ticket_end(t, cached, BROKER_HIT, NULL);
	token_unref(cached);
}

/* Does it wait for its own peer alone, to have less under way or to ask less? */
static bool
own_share_spent(const struct ticket *t, struct err *e)
{
	const struct flight *fl = t->flight;
	const struct broker *b = fl->broker;

	if (fl->share != t->share)
		return false;
	if (!fl->queued)
		return http_client_may(b->ctx->http, flight_payer(fl),
				       broker_boot(b), e) < 0;
	if (b->n.flights >= b->opt.max_flights ||
	    fl->share->flights < share_flights(b))
		return false;
	err_set(e, ERR_BUSY, "this peer has %u flights under way, which is its "
		"share (peer-share of flights); this one waits for its turn",
		fl->share->flights);
	return true;
}

/* No answer in time: is the account not known yet, is it somebody's share, or does
   a step hang? */
static int
on_ticket_deadline(_unused_ sd_event_source *s, _unused_ uint64_t usec,
		   void *userdata)
{
	struct ticket *t = userdata;
	const struct account *a = t->flight->ctx->account;
	struct err e;

	if (account_state(a) == ACCOUNT_SOUGHT)
		account_sought_error(a, &e);
	else if (!own_share_spent(t, &e))
		err_set(&e, ERR_TIMEOUT, "Google has not answered in time; it is "
			"still being asked: ask again");
	ticket_fail(t, &e);
	return 0;
}

int
ticket_new(struct flight *fl, const struct broker_want *want,
	   enum broker_source source, struct ticket **ret, struct err *e)
{
	struct ticket *t = xcalloc(1, sizeof(*t));
	int r;

	r = sd_event_add_time(fl->broker->event, &t->timer, CLOCK_BOOTTIME,
			      want->deadline, 1, on_ticket_deadline, t);
	if (r < 0) {
		free(t);
		return err_sys(e, -r, "cannot arm a timer");
	}
	t->flight = fl;
	t->share = share_ref(fl->broker, want->owner);
	t->share->waiters++;
	t->want = *want;
	t->source = source;
	t->slot = ret;
	TAILQ_INSERT_TAIL(&fl->tickets, t, entry);
	fl->broker->n.waiters++;
	fl->deadline = MAX(fl->deadline, want->deadline);
	*ret = t;
	return 0;
}
