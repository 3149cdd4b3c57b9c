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
	sd_event_source_unref(t->timer);
	free(t);
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

/* No answer in time: is the account not known yet, or does a step hang? */
static int
on_ticket_deadline(_unused_ sd_event_source *s, _unused_ uint64_t usec,
		   void *userdata)
{
	struct ticket *t = userdata;
	const struct account *a = t->flight->broker->ctx->account;
	struct err e;

	if (account_state(a) == ACCOUNT_SOUGHT)
		account_sought_error(a, &e);
	else
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
	t->want = *want;
	t->source = source;
	t->slot = ret;
	TAILQ_INSERT_TAIL(&fl->tickets, t, entry);
	fl->broker->n.waiters++;
	fl->deadline = MAX(fl->deadline, want->deadline);
	*ret = t;
	return 0;
}
