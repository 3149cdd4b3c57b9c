/* SPDX-License-Identifier: Apache-2.0 */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/queue.h>
#include <time.h>

#include <cmocka.h>

#include "fake-metadata.h"
#include "http/transfer.h"
#include "token/broker.h"
#include "vectors.h"

#define MS	USEC_PER_MSEC
#define WHO	"service-accounts/default/?recursive=true"
#define LIFE	3600		/* seconds, of Google's tokens */
#define WISH	60
#define BRAND_NEW 60

/* A flow that does nothing by itself: what it has begun stands in a list until
   the test ends it. */
struct fake_fetch {
	struct fetch base;
	TAILQ_ENTRY(fake_fetch) entry;
	bool listed;
};

static TAILQ_HEAD(, fake_fetch) flying;
static unsigned begun;
static bool begin_fails;

static int
fake_begin(struct fetch *f, struct err *e)
{
	struct fake_fetch *ff = container_of(f, struct fake_fetch, base);

	begun++;
	if (begin_fails)
		return err_set(e, ERR_UNAVAILABLE, "cannot begin");
	TAILQ_INSERT_TAIL(&flying, ff, entry);
	ff->listed = true;
	return 0;
}

static void
fake_clear(struct fetch *f)
{
	struct fake_fetch *ff = container_of(f, struct fake_fetch, base);

	if (ff->listed)
		TAILQ_REMOVE(&flying, ff, entry);
}

static const struct flow_ops fake_flow = {
	.name = "fake",
	.fetch_size = sizeof(struct fake_fetch),
	.begin = fake_begin,
	.clear = fake_clear,
};

static struct fetch *
in_flight(const char *audience)
{
	struct fake_fetch *f;

	TAILQ_FOREACH(f, &flying, entry)
		if (strcmp(f->base.audience, audience) == 0)
			return &f->base;
	return NULL;
}

static uint64_t
deadline_of(const char *audience)
{
	const struct fetch *f = in_flight(audience);

	assert_non_null(f);
	return f ? *f->deadline : 0;
}

/* The flight to this audience ends with a token issued so long ago, good for so
   long. */
static void
succeeds(const char *audience, const char *email, int64_t age, int64_t left)
{
	_cleanup_(token_unrefp) struct token *t = NULL;
	struct fetch *f = in_flight(audience);
	struct token_now when;
	int64_t now;

	assert_non_null(f);
	when = clock_now(f ? f->ctx->clock : NULL);
	now = when.wall / (int64_t)USEC_PER_SEC;
	t = token_new(TOKEN_ID, "a.b.c", now - age, now + left, &when, email,
		      "fake");
	fetch_succeed(f, t);
}

static void
fails(const char *audience, enum err_kind kind)
{
	struct fetch *f = in_flight(audience);
	struct err e;

	assert_non_null(f);
	err_set(&e, kind, "it fails");
	fetch_fail(f, &e);
}

struct world {
	sd_event *event;
	struct http_client *http;
	struct fake *mds;
	struct endpoints at;
	struct account *a;
	struct flow_context ctx;
	struct accounts *accounts;
	struct broker_options opt;
	struct broker *b;
	int64_t boot_shift, wall_shift;	/* of the clocks, usec */
	unsigned asked;		/* for admission */
	bool refuses;
};

static int
admit(void *userdata, uint64_t owner, struct err *e)
{
	struct world *w = userdata;

	w->asked++;
	assert_true(owner > 0);
	return w->refuses ? err_set(e, ERR_BUSY, "not now") : 0;
}

/* The real clocks, shifted. */
static void
read_clocks(void *userdata, uint64_t *ret_boot, int64_t *ret_wall)
{
	struct world *w = userdata;
	struct token_now now = clock_machine_now(w->event);

	*ret_boot = now.boot + (uint64_t)w->boot_shift;
	*ret_wall = now.wall + w->wall_shift;
}

/* A broker and an account that nobody has found yet. */
static int
setup_lost(void **state)
{
	static const struct account_ops ops = { .changed = NULL };
	struct world *w = xcalloc(1, sizeof(*w));
	struct account_options o = {
		.discover_first_usec = MS,
		.discover_max_usec = 4 * MS,
		.none_usec = 10 * MS,
		.access_margin_usec = 60 * USEC_PER_SEC,
		.token_usec = 10 * USEC_PER_SEC,
	};
	struct err e;

	TAILQ_INIT(&flying);
	begun = 0;
	begin_fails = false;
	assert_true(sd_event_new(&w->event) >= 0);
	w->http = fake_client_new(w->event);
	w->mds = fake_new(w->event);
	w->at.universe = xstrdup(ENDPOINT_UNIVERSE);
	w->at.metadata = xstrdup(fake_url(w->mds));
	assert_int_equal(account_metadata_new(&(struct account_setup){
		.event = w->event, .http = w->http, .at = &w->at, .opt = &o,
		.ops = &ops, .userdata = w }, &w->a, &e), 0);
	w->ctx = (struct flow_context){ .event = w->event, .http = w->http,
					.clock = fake_clock_new(w->event,
								read_clocks, w),
					.at = &w->at, .account = w->a };
	w->opt = (struct broker_options){
		.cache = { .entries = 100, .per_owner = 50 },
		.max_flights = 3,
		.max_waiters = 8,
		.peer_share = 100,
		.failures = { .denied_usec = 60 * USEC_PER_SEC,
			      .unavailable_first_usec = 30 * MS,
			      .unavailable_max_usec = 60 * MS,
			      .max = 100 },
		.linger_usec = 100 * USEC_PER_SEC,
		.want = {
			.wish_usec = WISH * USEC_PER_SEC,
			.brand_new_usec = BRAND_NEW * USEC_PER_SEC,
		},
	};
	*state = w;
	return 0;
}

/* In the tests themselves, so that they may change w->opt first. */
static struct broker *
begin(struct world *w)
{
	assert_true(sd_event_run(w->event, 0) >= 0);
	w->accounts = accounts_new();
	accounts_add(w->accounts, &w->ctx);
	w->b = broker_new(w->event, w->accounts, &fake_flow, &w->opt, admit, w);
	return w->b;
}

static int
setup(void **state)
{
	struct world *w;

	setup_lost(state);
	w = *state;
	fake_say(w->mds, WHO, 200, VEC_A2_BODY);
	RUN_UNTIL(w->event, account_state(w->a) == ACCOUNT_FOUND);
	return 0;
}

static int
teardown(void **state)
{
	struct world *w = *state;

	broker_free(w->b);
	assert_true(TAILQ_EMPTY(&flying));
	clock_free(w->ctx.clock);
	if (w->accounts)
		accounts_free(w->accounts);
	else
		account_free(w->a);
	http_client_free(w->http);
	fake_free(w->mds);
	free(w->at.universe);
	free(w->at.metadata);
	sd_event_unref(w->event);
	free(w);
	return 0;
}

/* Somebody who asks. */
struct caller {
	struct world *w;
	const char *audience;
	struct broker_want want;
	struct ticket *ticket;
	int r;			/* what broker_get() said */
	unsigned called, order;
	bool hit, got;		/* got: a token, at once or later */
	enum broker_source source;
	struct err e;
	struct caller *frees;	/* when called */
	struct caller *asks;
};

static unsigned calls;

static void ask(struct world *w, struct caller *c, const char *audience);

static void
on_token(void *userdata, struct token *token, enum broker_source source,
	 const struct err *e)
{
	struct caller *c = userdata;

	assert_true(!token == !!e);
	assert_null(c->ticket);
	assert_int_equal(c->called, 0);		/* exactly once */
	assert_int_equal(c->r, 0);		/* and not before it was promised */
	c->called = 1;
	c->order = ++calls;
	c->got = token;
	c->source = source;
	if (e)
		c->e = *e;
	else
		assert_string_equal(token_reveal(token, NULL), "a.b.c");
	if (c->frees)
		c->frees->ticket = ticket_free(c->frees->ticket);
	if (c->asks)
		ask(c->w, c->asks, c->asks->audience);
}

static void
ask(struct world *w, struct caller *c, const char *audience)
{
	struct token_key key = { TOKEN_ID, "default", "", audience };
	struct token *t = NULL;

	c->w = w;
	c->audience = audience;
	if (c->want.owner == 0)
		c->want.owner = 1;
	if (c->want.deadline == 0)
		c->want.deadline = fake_now() + 20 * USEC_PER_SEC;
	c->r = -1;
	c->r = broker_get(w->b, &key, &c->want, on_token, c, &t, &c->ticket, &c->e);
	c->hit = c->r == 1;
	c->got = c->hit;
	if (c->r == 1)
		assert_non_null(t);
	assert_true((c->r == 0) == (c->ticket != NULL));
	if (c->r < 0)
		assert_int_equal(err_kind_errno(c->e.kind), c->r);
}

static void
ask_as(struct world *w, struct caller *c, uint64_t owner, const char *audience)
{
	c->want.owner = owner;
	ask(w, c, audience);
}

static struct broker_counts
counts(const struct world *w)
{
	struct broker_counts n;

	broker_count(w->b, &n);
	return n;
}

/* Into the cache with it. */
static void
cached(struct world *w, const char *audience, int64_t age, int64_t left)
{
	struct caller c = { .want = { .owner = 7 } };

	ask(w, &c, audience);
	assert_int_equal(c.r, 0);
	succeeds(audience, VEC_EMAIL, age, left);
	assert_int_equal(c.called, 1);
	w->asked = begun = 0;
}

static void
leave(struct caller *c)
{
	c->ticket = ticket_free(c->ticket);
}

/* --- hits, misses, sharing ---------------------------------------------------- */

static void
what_was_fetched_is_served_from_the_cache(void **state)
{
	struct world *w = *state;
	struct caller x = { 0 }, y = { 0 }, z = { 0 };

	begin(w);
	ask(w, &x, "a");
	assert_int_equal(x.r, 0);
	assert_int_equal(x.called, 0);
	assert_int_equal(begun, 1);
	succeeds("a", VEC_EMAIL, 100, LIFE);
	assert_true(x.called && x.got);
	assert_int_equal(x.source, BROKER_MISS);
	ask(w, &y, "a");
	ask(w, &z, "a");
	assert_true(y.hit && z.hit);
	assert_int_equal(begun, 1);
	assert_int_equal(w->asked, 1);		/* hits are free */
	assert_int_equal(counts(w).cached, 1);
	assert_int_equal(counts(w).misses, 1);
	assert_int_equal(counts(w).hits, 2);
	assert_int_equal(counts(w).shared, 0);
	assert_int_equal(counts(w).fetched, 1);
	assert_int_equal(counts(w).refreshed, 0);
}

static void
all_callers_of_a_key_share_one_flight(void **state)
{
	struct caller x[5] = { { .r = 0 } };
	struct world *w = *state;

	begin(w);
	calls = 0;
	for (size_t i = 0; i < ARRAY_SIZE(x); i++) {
		x[i].want.owner = i + 1;
		ask(w, &x[i], "a");
	}
	assert_int_equal(begun, 1);
	assert_int_equal(w->asked, 1);		/* joining is free */
	assert_int_equal(counts(w).flights, 1);
	assert_int_equal(counts(w).waiters, 5);
	succeeds("a", VEC_EMAIL, 0, LIFE);
	for (size_t i = 0; i < ARRAY_SIZE(x); i++) {
		assert_true(x[i].called && x[i].got);
		assert_int_equal(x[i].order, i + 1);
		assert_int_equal(x[i].source, i ? BROKER_SHARED : BROKER_MISS);
	}
	assert_int_equal(counts(w).misses, 1);
	assert_int_equal(counts(w).shared, 4);
	assert_int_equal(counts(w).flights, 0);
	assert_int_equal(counts(w).waiters, 0);
}

static void
a_failure_is_told_to_all_who_wait(void **state)
{
	struct caller x[3] = { { .r = 0 } };
	struct world *w = *state;

	begin(w);
	for (size_t i = 0; i < ARRAY_SIZE(x); i++)
		ask(w, &x[i], "a");
	fails("a", ERR_GOOGLE);
	for (size_t i = 0; i < ARRAY_SIZE(x); i++) {
		assert_true(x[i].called && !x[i].got);
		assert_int_equal(x[i].e.kind, ERR_GOOGLE);
		assert_string_equal(x[i].e.msg, "it fails");
	}
	assert_int_equal(counts(w).cached, 0);
	assert_int_equal(counts(w).failures, 1);
	assert_int_equal(counts(w).failed, 1);
}

static void
every_member_of_the_key_tells_apart(void **state)
{
	static const struct token_key keys[] = {
		{ TOKEN_ID, "default", "", "a" },
		{ TOKEN_ID, "default", "", "A" },
		{ TOKEN_ID, "default", "", "a/" },
		{ TOKEN_ID, "default", "a", "" },
		{ TOKEN_ID, "defaul", "t", "a" },
		{ TOKEN_ID, "default", "full", "a" },
		{ TOKEN_ACCESS, "default", "", "a" },
	};
	struct ticket *tickets[ARRAY_SIZE(keys)];
	static const struct account_ops ops = { .changed = NULL };
	const struct account_options o = { .none_usec = 0 };
	struct broker_want want = { .owner = 1, .deadline = UINT64_MAX };
	struct world *w = *state;
	struct flow_context other = w->ctx;
	struct token *t;
	struct err e;

	w->opt.max_flights = 10;
	begin(w);
	accounts_add(w->accounts, &other)->account = account_impersonated_new(
		&(struct account_setup){
			.event = w->event, .opt = &o, .ops = &ops,
		}, "defaul", "other@p.iam.gserviceaccount.com", w->a, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		assert_int_equal(broker_get(w->b, &keys[i], &want, on_token, NULL,
					    &t, &tickets[i], &e), 0);
	assert_int_equal(begun, ARRAY_SIZE(keys));
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		ticket_free(tickets[i]);
}

static void
an_entry_counts_for_who_caused_it(void **state)
{
	struct world *w = *state;
	struct caller x = { .want = { .owner = 1 } };
	struct caller y = { .want = { .owner = 2 } };
	struct caller z = { .want = { .owner = 1 } }, again = { 0 }, gone = { 0 };

	w->opt.cache.per_owner = 1;
	begin(w);
	ask(w, &x, "a");
	succeeds("a", VEC_EMAIL, 0, LIFE);
	ask(w, &y, "b");
	succeeds("b", VEC_EMAIL, 0, LIFE);
	ask(w, &z, "c");
	succeeds("c", VEC_EMAIL, 0, LIFE);
	ask(w, &again, "b");
	assert_true(again.hit);
	ask(w, &gone, "a");
	assert_int_equal(gone.r, 0);
	leave(&gone);
}

/* --- leaving ------------------------------------------------------------------ */

static void
who_leaves_is_not_told_and_the_flight_goes_on(void **state)
{
	struct world *w = *state;
	struct caller x = { 0 }, y = { 0 };

	begin(w);
	ask(w, &x, "a");
	leave(&x);
	assert_int_equal(counts(w).waiters, 0);
	assert_int_equal(counts(w).flights, 1);
	succeeds("a", VEC_EMAIL, 0, LIFE);
	assert_int_equal(x.called, 0);
	ask(w, &y, "a");
	assert_true(y.hit);
	assert_null(ticket_free(NULL));
}

static void
at_the_deadline_the_flight_goes_on(void **state)
{
	struct world *w = *state;
	struct caller x = { 0 }, y = { 0 }, z = { 0 };

	begin(w);
	x.want.deadline = fake_now() + 20 * MS;
	ask(w, &x, "a");
	ask(w, &y, "a");
	RUN_UNTIL(w->event, x.called);
	assert_true(fake_now() >= x.want.deadline);
	assert_int_equal(x.e.kind, ERR_TIMEOUT);
	assert_int_equal(y.called, 0);
	assert_int_equal(counts(w).flights, 1);
	assert_int_equal(counts(w).failures, 0);
	succeeds("a", VEC_EMAIL, 0, LIFE);
	assert_true(y.got);
	ask(w, &z, "a");
	assert_true(z.hit);
}

static void
a_deadline_in_the_past_is_told_by_the_loop(void **state)
{
	struct world *w = *state;
	struct caller x = { .want = { .deadline = 1 } };

	begin(w);
	ask(w, &x, "a");
	assert_int_equal(x.r, 0);
	assert_int_equal(x.called, 0);
	RUN_UNTIL(w->event, x.called);
	assert_int_equal(x.e.kind, ERR_TIMEOUT);
	succeeds("a", VEC_EMAIL, 0, LIFE);
}

static void
while_nobody_knows_the_account_a_deadline_says_so(void **state)
{
	struct world *w = *state;
	struct caller x = { 0 }, y = { 0 };

	begin(w);
	x.want.deadline = fake_now() + 10 * MS;
	ask(w, &x, "a");
	RUN_UNTIL(w->event, x.called);
	assert_int_equal(x.e.kind, ERR_UNAVAILABLE);
	assert_non_null(strstr(x.e.msg, "metadata server"));

	fake_say_once(w->mds, WHO, 503, "");
	RUN_UNTIL(w->event, account_last_error(w->a));
	y.want.deadline = fake_now() + 10 * MS;
	ask(w, &y, "a");
	RUN_UNTIL(w->event, y.called);
	assert_int_equal(y.e.kind, ERR_UNAVAILABLE);
	assert_non_null(strstr(y.e.msg, "HTTP 503"));
}

static void
a_flight_has_the_time_of_the_most_patient(void **state)
{
	struct world *w = *state;
	struct caller x = { 0 }, y = { 0 };
	uint64_t now;

	begin(w);
	sd_event_now(w->event, CLOCK_BOOTTIME, &now);
	ask(w, &x, "a");
	assert_true(deadline_of("a") == now + w->opt.linger_usec);
	y.want.deadline = now + 300 * USEC_PER_SEC;
	ask(w, &y, "a");
	assert_true(deadline_of("a") == y.want.deadline);
	leave(&y);
	assert_true(deadline_of("a") == y.want.deadline);
	leave(&x);
}

static void
a_callback_may_free_anothers_ticket(void **state)
{
	struct world *w = *state;
	struct caller x[4] = { { .r = 0 } };

	begin(w);
	for (size_t i = 0; i < ARRAY_SIZE(x); i++)
		ask(w, &x[i], "a");
	x[0].frees = &x[1];
	x[2].frees = &x[3];
	succeeds("a", VEC_EMAIL, 0, LIFE);
	assert_true(x[0].got && x[2].got);
	assert_int_equal(x[1].called + x[3].called, 0);
	assert_int_equal(counts(w).waiters, 0);
}

static void
a_callback_may_free_anothers_ticket_at_a_deadline(void **state)
{
	struct world *w = *state;
	struct caller x = { 0 }, y = { 0 };

	begin(w);
	x.want.deadline = y.want.deadline = fake_now() + 5 * MS;
	ask(w, &x, "a");
	ask(w, &y, "a");
	x.frees = &y;
	y.frees = &x;
	RUN_UNTIL(w->event, x.called + y.called == 1);
	fake_run_to(w->event, fake_now() + 10 * MS);
	assert_int_equal(x.called + y.called, 1);
	succeeds("a", VEC_EMAIL, 0, LIFE);
}

static void
a_callback_that_asks_again_gets_a_hit(void **state)
{
	struct world *w = *state;
	struct caller again = { .audience = "a" }, x = { .asks = &again };

	begin(w);
	ask(w, &x, "a");
	succeeds("a", VEC_EMAIL, 0, LIFE);
	assert_true(again.hit);
	assert_int_equal(begun, 1);
}

static void
a_callback_that_asks_again_gets_the_failure(void **state)
{
	struct world *w = *state;
	struct caller again = { .audience = "a" }, x = { .asks = &again };

	begin(w);
	ask(w, &x, "a");
	fails("a", ERR_GOOGLE);
	assert_int_equal(again.r, -EREMOTEIO);
	assert_int_equal(begun, 1);
}

static void
a_callback_that_asks_again_may_begin_another_flight(void **state)
{
	struct world *w = *state;
	struct caller again = { .audience = "a" }, other = { .audience = "b" };
	struct caller x = { .asks = &again }, y = { 0 };

	begin(w);
	ask(w, &x, "a");
	ask(w, &y, "a");
	y.asks = &other;
	fails("a", ERR_INTERNAL);		/* not remembered */
	assert_true(x.called && y.called);
	assert_int_equal(again.r, 0);
	assert_int_equal(again.called, 0);
	assert_int_equal(other.r, 0);
	assert_int_equal(begun, 3);
	assert_int_equal(counts(w).flights, 2);
	succeeds("a", VEC_EMAIL, 0, LIFE);
	assert_true(again.got);
	assert_int_equal(again.source, BROKER_MISS);
	leave(&other);
}

/* --- limits ------------------------------------------------------------------- */

static void
flights_beyond_the_limit_wait_for_their_turn(void **state)
{
	static const char *const names[] = { "a", "b", "c", "d", "e" };
	struct caller x[5] = { { .r = 0 } }, joins = { 0 };
	struct world *w = *state;

	begin(w);
	for (size_t i = 0; i < ARRAY_SIZE(x); i++)
		ask(w, &x[i], names[i]);
	assert_int_equal(begun, 3);
	assert_int_equal(counts(w).flights, 3);
	assert_int_equal(counts(w).queued, 2);
	ask(w, &joins, "e");
	assert_int_equal(counts(w).queued, 2);

	fails("b", ERR_GOOGLE);
	assert_int_equal(begun, 4);
	assert_non_null(in_flight("d"));
	assert_null(in_flight("e"));
	assert_int_equal(counts(w).queued, 1);
	succeeds("d", VEC_EMAIL, 0, LIFE);
	assert_non_null(in_flight("e"));
	assert_int_equal(counts(w).queued, 0);
	succeeds("e", VEC_EMAIL, 0, LIFE);
	assert_true(x[3].got && x[4].got && joins.got);
	assert_int_equal(x[4].source, BROKER_MISS);
	assert_int_equal(joins.source, BROKER_SHARED);
	leave(&x[0]);
	leave(&x[2]);
}

static void
nobody_overtakes_those_who_queue(void **state)
{
	struct world *w = *state;
	struct caller last = { .audience = "c" }, x = { .asks = &last }, y = { 0 };

	w->opt.max_flights = 1;
	begin(w);
	ask(w, &x, "a");
	ask(w, &y, "b");
	succeeds("a", VEC_EMAIL, 0, LIFE);
	assert_int_equal(last.r, 0);
	assert_non_null(in_flight("b"));
	assert_null(in_flight("c"));
	assert_int_equal(counts(w).flights, 1);
	succeeds("b", VEC_EMAIL, 0, LIFE);
	assert_non_null(in_flight("c"));
	succeeds("c", VEC_EMAIL, 0, LIFE);
	assert_true(last.got && y.got);
}

static void
a_queued_flight_that_nobody_waits_for_is_dropped(void **state)
{
	struct world *w = *state;
	struct caller x = { 0 }, y = { 0 }, z = { 0 }, last = { 0 };

	w->opt.max_flights = 1;
	begin(w);
	ask(w, &x, "a");
	ask(w, &y, "b");
	ask(w, &z, "c");
	ask(w, &last, "c");
	assert_int_equal(counts(w).queued, 2);
	leave(&y);
	leave(&z);
	assert_int_equal(counts(w).queued, 1);
	succeeds("a", VEC_EMAIL, 0, LIFE);
	assert_int_equal(begun, 2);
	assert_null(in_flight("b"));
	succeeds("c", VEC_EMAIL, 0, LIFE);
	assert_true(last.got);
	assert_int_equal(counts(w).queued, 0);
	assert_int_equal(counts(w).flights, 0);
}

static void
a_queued_caller_is_answered_by_its_deadline(void **state)
{
	struct world *w = *state;
	struct caller x = { 0 }, y = { 0 };

	w->opt.max_flights = 1;
	begin(w);
	ask(w, &x, "a");
	y.want.deadline = fake_now() + 10 * MS;
	ask(w, &y, "b");
	RUN_UNTIL(w->event, y.called);
	assert_int_equal(y.e.kind, ERR_TIMEOUT);
	succeeds("a", VEC_EMAIL, 0, LIFE);
	assert_int_equal(begun, 1);
}

static void
callers_beyond_the_limit_are_refused(void **state)
{
	struct caller x[9] = { { .r = 0 } };
	struct world *w = *state;

	begin(w);
	for (size_t i = 0; i < 8; i++) {
		ask(w, &x[i], i % 2 ? "a" : "b");
		assert_int_equal(x[i].r, 0);
	}
	ask(w, &x[8], "a");
	assert_int_equal(x[8].r, -EAGAIN);
	assert_int_equal(x[8].e.kind, ERR_BUSY);
	ask(w, &x[8], "new");
	assert_int_equal(x[8].r, -EAGAIN);
	assert_int_equal(counts(w).waiters_full, 2);
	assert_int_equal(begun, 2);
	assert_int_equal(counts(w).flights, 2);
	assert_int_equal(counts(w).failures, 0);
	leave(&x[0]);
	ask(w, &x[8], "a");
	assert_int_equal(x[8].r, 0);
	for (size_t i = 1; i < 9; i++)
		leave(&x[i]);
}

static void
who_is_not_admitted_begins_no_flight(void **state)
{
	struct world *w = *state;
	struct caller x = { 0 }, y = { 0 }, z = { 0 };

	begin(w);
	ask(w, &x, "a");
	w->refuses = true;
	ask(w, &y, "b");
	assert_int_equal(y.r, -EAGAIN);
	assert_string_equal(y.e.msg, "not now");
	assert_int_equal(begun, 1);
	assert_int_equal(counts(w).failures, 0);
	assert_int_equal(counts(w).waiters, 1);
	ask(w, &z, "a");		/* joins */
	assert_int_equal(z.r, 0);
	leave(&x);
	leave(&z);
}

/* --- failures ----------------------------------------------------------------- */

static void
a_denial_is_told_again_without_asking(void **state)
{
	struct world *w = *state;
	struct caller x = { 0 }, y = { 0 }, z = { 0 };

	begin(w);
	ask(w, &x, "a");
	fails("a", ERR_GOOGLE);
	ask(w, &y, "a");
	assert_int_equal(y.r, -EREMOTEIO);
	assert_string_equal(y.e.msg, "it fails");
	assert_true(y.e.retry_usec > 59 * USEC_PER_SEC);
	assert_int_equal(begun, 1);
	assert_int_equal(w->asked, 1);
	assert_int_equal(counts(w).remembered, 1);
	ask(w, &z, "b");		/* another key's business */
	assert_int_equal(z.r, 0);
	leave(&z);
}

static void
trouble_is_remembered_for_its_span_and_not_longer(void **state)
{
	struct world *w = *state;
	struct caller x = { 0 }, y = { 0 }, z = { 0 };
	uint64_t failed;

	begin(w);
	ask(w, &x, "a");
	sd_event_now(w->event, CLOCK_BOOTTIME, &failed);
	fails("a", ERR_UNAVAILABLE);
	ask(w, &y, "a");
	assert_int_equal(y.r, -EHOSTUNREACH);
	fake_run_to(w->event, failed + 31 * MS);
	RUN_UNTIL(w->event, (ask(w, &z, "a"), z.r == 0));
	assert_int_equal(begun, 2);
	succeeds("a", VEC_EMAIL, 0, LIFE);
	assert_int_equal(counts(w).failures, 0);
	assert_true(z.got);
}

static void
a_flow_that_cannot_begin_fails_at_once(void **state)
{
	struct world *w = *state;
	struct caller x = { 0 }, y = { 0 };

	begin(w);
	begin_fails = true;
	ask(w, &x, "a");
	assert_int_equal(x.r, -EHOSTUNREACH);
	assert_string_equal(x.e.msg, "cannot begin");
	ask(w, &y, "a");
	assert_int_equal(y.r, -EHOSTUNREACH);
	assert_int_equal(begun, 1);		/* remembered */
	assert_int_equal(counts(w).flights, 0);
	assert_int_equal(counts(w).waiters, 0);
}

static void
a_queued_flow_that_cannot_begin_fails_by_callback(void **state)
{
	struct world *w = *state;
	struct caller x = { 0 }, y = { 0 }, z = { 0 };

	w->opt.max_flights = 1;
	begin(w);
	ask(w, &x, "a");
	ask(w, &y, "b");
	ask(w, &z, "c");
	begin_fails = true;
	succeeds("a", VEC_EMAIL, 0, LIFE);
	assert_int_equal(y.e.kind, ERR_UNAVAILABLE);
	assert_true(y.called && z.called);
	assert_int_equal(counts(w).flights, 0);
	assert_int_equal(counts(w).queued, 0);
	assert_int_equal(counts(w).failures, 2);
}

/* --- what callers want -------------------------------------------------------- */

static void
no_cache_fetches_a_new_one(void **state)
{
	struct world *w = *state;
	struct caller x = { .want = { .no_cache = true } }, joins = x;

	begin(w);
	cached(w, "a", BRAND_NEW + 10, 3000);
	ask(w, &x, "a");
	assert_int_equal(x.r, 0);
	ask(w, &joins, "a");
	assert_int_equal(begun, 1);
	succeeds("a", VEC_EMAIL, 0, LIFE);
	assert_true(x.got && joins.got);
	assert_int_equal(x.source, BROKER_MISS);
	assert_int_equal(joins.source, BROKER_SHARED);
}

static void
no_cache_gets_what_is_brand_new(void **state)
{
	struct world *w = *state;
	struct caller x = { .want = { .no_cache = true } };

	begin(w);
	cached(w, "a", BRAND_NEW - 10, 3000);
	ask(w, &x, "a");
	assert_true(x.hit);
	cached(w, "ahead", -200, 3000);		/* by our clock */
	ask(w, &x, "ahead");
	assert_true(x.hit);
}

static void
no_cache_gets_the_old_one_where_no_new_one_can_be_had(void **state)
{
	struct world *w = *state;
	struct caller x = { .want = { .no_cache = true } };

	begin(w);
	cached(w, "a", 100, 3000);
	ask(w, &x, "a");
	fails("a", ERR_UNAVAILABLE);
	assert_true(x.got);
	assert_int_equal(x.source, BROKER_HIT);
}

static void
a_demand_is_met_from_the_cache_or_by_a_flight(void **state)
{
	struct world *w = *state;
	struct caller x = { .want = { .min_left = 299 } };
	struct caller y = { .want = { .min_left = 301 } };

	begin(w);
	cached(w, "a", 1000, 301);
	ask(w, &x, "a");
	assert_true(x.hit);
	ask(w, &y, "a");
	assert_int_equal(y.r, 0);
	succeeds("a", VEC_EMAIL, 0, LIFE);
	assert_true(y.got);
}

static void
a_demand_that_the_new_token_does_not_meet_is_an_error(void **state)
{
	struct world *w = *state;
	struct caller x = { .want = { .min_left = 3000 } }, y = { 0 };

	begin(w);
	ask(w, &x, "a");
	ask(w, &y, "a");
	succeeds("a", VEC_EMAIL, 0, 2000);
	assert_true(x.called && !x.got);
	assert_int_equal(x.e.kind, ERR_UNAVAILABLE);
	assert_non_null(strstr(x.e.msg, "not for the 3000 s"));
	assert_true(y.got);
}

static void
a_demand_has_no_fallback(void **state)
{
	struct world *w = *state;
	struct caller x = { .want = { .min_left = 3000 } };
	struct caller y = { .want = { .min_left = 3000 } };
	struct caller z = { .want = { .min_left = 3000 } };

	begin(w);
	cached(w, "a", 100, 2000);
	y.want.deadline = fake_now() + 5 * MS;
	ask(w, &x, "a");
	ask(w, &y, "a");
	RUN_UNTIL(w->event, y.called);
	assert_int_equal(y.e.kind, ERR_TIMEOUT);
	fails("a", ERR_GOOGLE);
	assert_int_equal(x.e.kind, ERR_GOOGLE);
	ask(w, &z, "a");
	assert_int_equal(z.r, -EREMOTEIO);
}

static void
what_is_brand_new_is_not_fetched_anew_for_any_demand(void **state)
{
	struct world *w = *state;
	struct caller x = { .want = { .min_left = 3000 } };
	struct caller y = { .want = { .min_left = 3000, .no_cache = true } };
	struct caller z = { .want = { .no_cache = true } }, wish = { 0 };

	begin(w);
	cached(w, "a", 20, 50);
	ask(w, &x, "a");
	assert_int_equal(x.r, -EHOSTUNREACH);
	assert_true(x.e.retry_usec > 30 * USEC_PER_SEC &&
		    x.e.retry_usec <= 40 * USEC_PER_SEC);
	ask(w, &y, "a");
	assert_int_equal(y.r, -EHOSTUNREACH);
	ask(w, &z, "a");
	assert_true(z.hit);
	ask(w, &wish, "a");
	assert_true(wish.hit);
	assert_int_equal(begun, 0);
}

static void
only_if_cached_never_asks_upstream(void **state)
{
	struct world *w = *state;
	struct caller x = { .want = { .only_if_cached = true } }, fresh = x;
	struct caller y = { 0 };

	begin(w);
	ask(w, &x, "a");
	assert_int_equal(x.r, -ETIMEDOUT);
	assert_non_null(strstr(x.e.msg, "only-if-cached"));
	cached(w, "a", 3570, 30);		/* less than the wish */
	ask(w, &x, "a");
	assert_true(x.hit);
	fresh.want.min_left = 40;
	ask(w, &fresh, "a");
	assert_int_equal(fresh.r, -ETIMEDOUT);
	assert_int_equal(begun, 0);
	ask(w, &y, "b");
	ask(w, &x, "b");			/* not even to join */
	assert_int_equal(x.r, -ETIMEDOUT);
	leave(&y);
}

static void
a_wish_is_worth_a_flight(void **state)
{
	struct world *w = *state;
	struct caller x = { 0 }, y = { 0 };

	begin(w);
	cached(w, "a", 3000, WISH + 10);
	ask(w, &x, "a");
	assert_true(x.hit);
	cached(w, "b", 3000, WISH - 10);
	ask(w, &y, "b");
	assert_int_equal(y.r, 0);
	succeeds("b", VEC_EMAIL, 0, LIFE);
	assert_int_equal(y.source, BROKER_MISS);
}

static void
a_wish_takes_less_where_nothing_better_can_be_had(void **state)
{
	struct world *w = *state;
	struct caller fails_ = { 0 }, late = { 0 }, remembered = { 0 };
	struct caller refused = { 0 }, meanwhile = { 0 };

	begin(w);
	cached(w, "a", 3000, WISH - 10);
	late.want.deadline = fake_now() + 5 * MS;
	ask(w, &late, "a");
	ask(w, &meanwhile, "a");
	assert_true(meanwhile.hit);
	RUN_UNTIL(w->event, late.called);
	assert_true(late.got);
	assert_int_equal(late.source, BROKER_HIT);
	fails_.want.no_cache = true;
	ask(w, &fails_, "a");
	fails("a", ERR_GOOGLE);
	assert_true(fails_.got);
	assert_int_equal(fails_.source, BROKER_HIT);
	ask(w, &remembered, "a");
	assert_true(remembered.hit);
	assert_int_equal(counts(w).remembered, 0);	/* it is a hit */

	cached(w, "b", 3000, WISH - 10);
	w->refuses = true;
	ask(w, &refused, "b");
	assert_true(refused.hit);
}

static void
a_used_token_is_fetched_anew_ahead_of_its_expiry(void **state)
{
	struct world *w = *state;
	struct caller after = { 0 };

	w->opt.refresh = (struct refresh_options){ 10 * USEC_PER_SEC, 0,
		USEC_PER_SEC, 2 };
	w->opt.want.wish_usec = 0;
	begin(w);
	cached(w, "a", 3000, 2);
	RUN_UNTIL(w->event, begun == 1);
	assert_int_equal(w->asked, 0);	/* it costs its owner nothing */
	succeeds("a", VEC_EMAIL, 0, 3000);
	assert_int_equal(counts(w).refreshed, 1);
	after.want.min_left = 2000;
	ask(w, &after, "a");
	assert_true(after.hit);
}

/* The flight to an access token ends with one that was issued so long ago. */
static void
access_comes(int64_t age, int64_t left)
{
	_cleanup_(token_unrefp) struct token *t = NULL;
	struct fetch *f = in_flight("");
	struct token_now when;
	int64_t now;

	assert_non_null(f);
	when = clock_now(f ? f->ctx->clock : NULL);
	now = when.wall / (int64_t)USEC_PER_SEC;
	t = token_new(TOKEN_ACCESS, "a.b.c", now - age, now + left, &when,
		      VEC_EMAIL, "fake");
	fetch_succeed(f, t);
}

static int
ask_access(struct world *w, struct caller *c)
{
	static const struct token_key key = { TOKEN_ACCESS, "default", "", "" };
	struct token *t;

	c->w = w;
	c->audience = "";
	c->want.owner = 1;
	c->want.deadline = fake_now() + 20 * USEC_PER_SEC;
	return broker_get(w->b, &key, &c->want, on_token, c, &t, &c->ticket, &c->e);
}

static void
an_access_token_has_a_wish_of_its_own(void **state)
{
	struct world *w = *state;
	struct caller x = { 0 }, y = { 0 }, z = { 0 };

	w->opt.want.access_wish_usec = 100 * USEC_PER_SEC;
	w->opt.access_ahead_usec = USEC_PER_SEC;
	w->opt.refresh.pause_usec = 10 * USEC_PER_SEC;
	begin(w);
	assert_int_equal(ask_access(w, &x), 0);
	access_comes(3000, 130);
	assert_int_equal(ask_access(w, &x), 1);
	w->wall_shift = 40 * (int64_t)USEC_PER_SEC;	/* 90 s are left */
	assert_int_equal(ask_access(w, &y), 0);
	assert_int_equal(begun, 2);
	/* What is no better is served on, and so is what is good still. */
	assert_int_equal(ask_access(w, &z), 1);
	access_comes(3040, 90);
	assert_true(y.got);
}

static void
an_access_token_is_fetched_anew_at_a_time_of_its_own(void **state)
{
	struct caller x = { 0 };
	struct world *w = *state;

	/* An ID token would be when it has expired. */
	w->opt.refresh = (struct refresh_options){ 0, 0, USEC_PER_MSEC, 2 };
	w->opt.access_ahead_usec = 3000 * USEC_PER_SEC;
	begin(w);
	assert_int_equal(ask_access(w, &x), 0);
	access_comes(3000, 8);
	RUN_UNTIL(w->event, begun == 2);
	assert_int_equal(ask_access(w, &x), 1);
	access_comes(0, LIFE);
	assert_int_equal(counts(w).refreshed, 1);
}

static void
a_failing_refresh_leaves_the_token_where_it_is(void **state)
{
	struct world *w = *state;
	struct caller after = { 0 };

	w->opt.refresh = (struct refresh_options){ 10 * USEC_PER_SEC, 0,
		USEC_PER_SEC, 2 };
	w->opt.want.wish_usec = 0;
	begin(w);
	cached(w, "a", 3000, 4);
	RUN_UNTIL(w->event, begun == 1);
	fails("a", ERR_GOOGLE);
	assert_int_equal(counts(w).refresh_failed, 1);
	ask(w, &after, "a");
	assert_true(after.hit);
}

static void
a_wish_takes_less_where_too_many_wait(void **state)
{
	struct world *w = *state;
	struct caller x = { 0 }, y = { 0 }, z = { 0 };

	w->opt.max_waiters = 1;
	begin(w);
	cached(w, "a", 3000, WISH - 10);
	cached(w, "b", 3000, WISH - 10);
	ask(w, &x, "a");
	assert_int_equal(x.r, 0);
	ask(w, &y, "a");
	assert_true(y.hit);
	ask(w, &z, "b");
	assert_true(z.hit);
	leave(&x);
}

static void
a_refresh_that_fails_with_its_caller_is_tried_again(void **state)
{
	struct caller demands = { .want.min_left = 100 };
	struct world *w = *state;

	w->opt.refresh = (struct refresh_options){ 10 * USEC_PER_SEC, 0,
		USEC_PER_SEC, 2 };
	w->opt.want.wish_usec = 0;
	begin(w);
	cached(w, "a", 3000, 2);		/* due in 1 s */
	ask(w, &demands, "a");
	assert_int_equal(begun, 1);
	fake_run_to(w->event, fake_now() + USEC_PER_SEC + 20 * MS);
	fails("a", ERR_BUSY);			/* which nobody remembers */
	assert_int_equal(counts(w).refresh_failed, 1);
	RUN_UNTIL(w->event, begun == 2);
	succeeds("a", VEC_EMAIL, 0, LIFE);
}

/* It is tokens that nobody asked for that count as unused, not tries. */
static void
a_token_in_use_is_refreshed_however_often_that_failed(void **state)
{
	struct world *w = *state;

	w->opt.refresh = (struct refresh_options){ 10 * USEC_PER_SEC, 0,
		USEC_PER_SEC, 1 };
	w->opt.want.wish_usec = 0;
	begin(w);
	cached(w, "a", 3000, 3);
	RUN_UNTIL(w->event, begun == 1);
	fails("a", ERR_UNAVAILABLE);
	RUN_UNTIL(w->event, begun == 2);
	succeeds("a", VEC_EMAIL, 0, 2);		/* the one that nobody uses */
	fake_run_to(w->event, fake_now() + 1100 * MS);
	assert_int_equal(begun, 2);
}

static void
what_is_refreshed_at_a_hand_over_is_refreshed_by_the_heir(void **state)
{
	struct world *w = *state;
	struct broker *old;

	w->opt.refresh = (struct refresh_options){ 10 * USEC_PER_SEC, 0,
		USEC_PER_MSEC, 2 };
	w->opt.want.wish_usec = 0;
	old = begin(w);
	cached(w, "a", 3000, 4);
	RUN_UNTIL(w->event, begun == 1);	/* and has not come */
	w->b = broker_new(w->event, w->accounts, &fake_flow, &w->opt, admit, w);
	broker_retire(old, w->b);
	broker_free(old);
	RUN_UNTIL(w->event, begun == 2);
	succeeds("a", VEC_EMAIL, 0, LIFE);
	assert_int_equal(counts(w).refreshed, 1);
}

/* --- clocks ------------------------------------------------------------------ */

/* The wall clock is set, or the machine sleeps: the kernel tells. */
static void
clocks_step(struct world *w, int64_t wall, int64_t boot)
{
	w->wall_shift += wall * (int64_t)USEC_PER_SEC;
	w->boot_shift += boot * (int64_t)USEC_PER_SEC;
	clock_stepped(w->ctx.clock);
	while (sd_event_run(w->event, 0) > 0)
		;
}

static void
google_is_ahead(struct world *w, int64_t seconds)
{
	for (int i = 0; i < 2; i++)
		clock_learn(w->ctx.clock, &(struct http_response){
			.status = 200, .body = "", .tls = true,
			.date = clock_now(w->ctx.clock).wall /
				(int64_t)USEC_PER_SEC + seconds,
		});
}

static void
a_token_that_any_clock_has_expired_is_not_served(void **state)
{
	static const struct {
		int64_t wall, boot;	/* seconds since the token came */
		int64_t google;		/* ahead of the wall clock */
		bool hit;
	} table[] = {
		{ 0, 0, 0, true },
		{ 3000, 0, 0, true }, { 3601, 0, 0, false },
		{ 0, 3000, 0, true }, { 0, 3601, 0, false },
		{ 3100, 3100, 400, true }, { 3100, 3100, 505, false },
		{ -86400, 3000, 0, true }, { -86400, 3601, 0, false },
		/* Too far off to be believed. */
		{ 0, 0, 4000, true },
	};
	struct world *w = *state;

	w->opt.want.wish_usec = 0;
	begin(w);
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		struct caller c = { 0 };

		broker_flush(w->b);
		cached(w, "a", 0, LIFE);
		w->wall_shift = table[i].wall * (int64_t)USEC_PER_SEC;
		w->boot_shift = table[i].boot * (int64_t)USEC_PER_SEC;
		google_is_ahead(w, table[i].google);
		ask(w, &c, "a");
		assert_int_equal(c.hit, table[i].hit);
		leave(&c);
		w->wall_shift = w->boot_shift = 0;
		google_is_ahead(w, 0);
		if (!table[i].hit)
			fails("a", ERR_REQUEST);
	}
}

static void
a_wall_clock_set_back_revives_nothing(void **state)
{
	struct world *w = *state;
	struct caller c = { 0 };

	begin(w);
	cached(w, "a", 3000, 600);
	clocks_step(w, -86400, 0);
	assert_int_equal(counts(w).cached, 1);
	clocks_step(w, 0, 601);
	assert_int_equal(counts(w).cached, 0);
	ask(w, &c, "a");
	assert_int_equal(c.r, 0);
	leave(&c);
}

static void
what_a_step_has_made_expire_leaves_the_cache(void **state)
{
	struct world *w = *state;

	begin(w);
	cached(w, "a", 0, 1000);
	cached(w, "b", 0, 2000);
	cached(w, "c", 0, 3000);
	clocks_step(w, 1500, 0);
	assert_int_equal(counts(w).cached, 2);
	clocks_step(w, 0, 2500);	/* a sleep that the wall clock missed */
	assert_int_equal(counts(w).cached, 1);
	clocks_step(w, 1600, 0);
	assert_int_equal(counts(w).cached, 0);
}

static void
what_a_step_has_made_due_is_fetched_anew_and_nothing_else(void **state)
{
	struct world *w = *state;

	w->opt.refresh = (struct refresh_options){ 2000 * USEC_PER_SEC, 0,
		USEC_PER_SEC, 2 };
	w->opt.want.wish_usec = 0;
	begin(w);
	cached(w, "a", 0, 3000);
	cached(w, "b", 0, 9000);
	clocks_step(w, 2998, 0);
	RUN_UNTIL(w->event, begun == 1);
	assert_non_null(in_flight("a"));
	assert_null(in_flight("b"));
	succeeds("a", VEC_EMAIL, 0, 3000);
}

/* At half of its life at the earliest, so of 2 s at their end. */
static void
a_step_back_puts_no_refresh_off(void **state)
{
	struct world *w = *state;

	w->opt.refresh = (struct refresh_options){ 10 * USEC_PER_SEC, 0,
		USEC_PER_SEC, 2 };
	w->opt.want.wish_usec = 0;
	begin(w);
	cached(w, "a", 0, 2);
	clocks_step(w, -86400, 0);
	RUN_UNTIL(w->event, begun == 1);
	succeeds("a", VEC_EMAIL, 0, 3000);
}

static void
a_step_forgets_failures(void **state)
{
	struct world *w = *state;
	struct caller x = { 0 }, y = { 0 }, z = { 0 };

	begin(w);
	ask(w, &x, "a");
	fails("a", ERR_GOOGLE);
	ask(w, &y, "a");
	assert_true(y.r < 0);
	clocks_step(w, 60, 0);
	ask(w, &z, "a");
	assert_int_equal(z.r, 0);
	leave(&z);
}

static void
a_clock_set_back_makes_no_token_brand_new(void **state)
{
	struct world *w = *state;
	struct caller x = { .want = { .no_cache = true } };
	struct caller y = { .want = { .no_cache = true } };

	begin(w);
	cached(w, "a", BRAND_NEW - 1, LIFE);
	clocks_step(w, 0, 2);
	clocks_step(w, -86400, 0);
	ask(w, &x, "a");
	assert_int_equal(x.r, 0);
	leave(&x);

	cached(w, "b", 0, LIFE);
	clocks_step(w, 3000, 0);
	ask(w, &y, "b");
	assert_true(y.hit);	/* and none old */
}

static void
a_flight_that_lands_after_the_end_of_its_token_serves_nobody(void **state)
{
	struct world *w = *state;
	struct caller x = { 0 }, y = { 0 };
	struct fetch *f;
	struct token_now now;
	_cleanup_(token_unrefp) struct token *t = NULL;
	int64_t iat;

	w->opt.want.wish_usec = 10 * USEC_PER_SEC;
	begin(w);
	cached(w, "a", 3000, 5);
	ask(w, &x, "a");	/* 5 s before the end: a better one is wished */
	assert_int_equal(x.r, 0);
	f = in_flight("a");
	assert_non_null(f);
	now = clock_now(w->ctx.clock);
	iat = now.wall / (int64_t)USEC_PER_SEC;
	t = token_new(TOKEN_ID, "a.b.c", iat - 3000, iat + 5, &now, VEC_EMAIL,
		      "fake");
	/* Upstream hangs until that, and its token, are over. */
	w->wall_shift = w->boot_shift = 6 * (int64_t)USEC_PER_SEC;
	if (f)
		fetch_succeed(f, t);
	assert_true(x.called && !x.got);
	assert_int_equal(x.e.kind, ERR_UNAVAILABLE);
	ask(w, &y, "a");
	assert_int_equal(y.r, 0);
	fails("a", ERR_TIMEOUT);
	assert_true(y.called && !y.got);
}

/* --- tokens that are not for anybody ------------------------------------------ */

static void
a_token_of_another_account_is_nobodys(void **state)
{
	struct world *w = *state;
	struct caller x = { 0 };

	begin(w);
	ask(w, &x, "a");
	succeeds("a", "other@example-proj-123.iam.gserviceaccount.com", 0, LIFE);
	assert_true(x.called && !x.got);
	assert_int_equal(x.e.kind, ERR_UNAVAILABLE);
	assert_non_null(strstr(x.e.msg, "has changed"));
	assert_int_equal(counts(w).cached, 0);
}

static void
without_an_account_a_token_is_nobodys(void **state)
{
	struct world *w = *state;
	struct caller x = { 0 };

	begin(w);
	ask(w, &x, "a");
	succeeds("a", VEC_EMAIL, 0, LIFE);
	assert_true(x.called && !x.got);
	assert_int_equal(counts(w).cached, 0);
}

static void
what_expired_while_it_was_waited_for_is_not_served(void **state)
{
	struct world *w = *state;
	struct caller x = { 0 }, y = { 0 };

	begin(w);
	ask(w, &x, "a");
	succeeds("a", VEC_EMAIL, 3600, 0);
	assert_true(x.called && !x.got);
	assert_int_equal(x.e.kind, ERR_UNAVAILABLE);
	assert_non_null(strstr(x.e.msg, "expired meanwhile"));
	ask(w, &y, "a");
	assert_int_equal(y.r, 0);
	leave(&y);
}

static void
an_expired_token_is_no_fallback(void **state)
{
	struct world *w = *state;
	struct caller x = { 0 }, y = { 0 };

	begin(w);
	cached(w, "a", 3600, 1);
	ask(w, &x, "a");
	assert_int_equal(x.r, 0);
	fake_run_to(w->event, fake_now() + 1100 * MS);
	assert_true(sd_event_run(w->event, 0) >= 0);
	fails("a", ERR_GOOGLE);
	assert_false(x.got);
	assert_int_equal(x.e.kind, ERR_GOOGLE);
	ask(w, &y, "a");
	assert_int_equal(y.r, -EREMOTEIO);
}

static void
a_flush_forgets_tokens_and_failures_and_no_flights(void **state)
{
	struct world *w = *state;
	struct caller x = { 0 }, y = { 0 }, z = { 0 }, hit = { 0 };

	begin(w);
	cached(w, "a", 0, LIFE);
	ask(w, &x, "b");
	fails("b", ERR_GOOGLE);
	ask(w, &y, "c");
	broker_flush(w->b);
	assert_int_equal(counts(w).cached, 0);
	assert_int_equal(counts(w).failures, 0);
	assert_int_equal(counts(w).flights, 1);
	ask(w, &z, "b");
	assert_int_equal(z.r, 0);
	leave(&z);
	succeeds("c", VEC_EMAIL, 0, LIFE);
	assert_true(y.got);
	ask(w, &hit, "a");
	assert_int_equal(hit.r, 0);
	leave(&hit);
}

static void
one_audience_can_be_flushed(void **state)
{
	struct world *w = *state;
	struct caller x = { 0 }, y = { 0 }, z = { 0 };

	begin(w);
	cached(w, "a", 0, LIFE);
	cached(w, "b", 0, LIFE);
	ask(w, &x, "c");
	fails("c", ERR_GOOGLE);
	broker_flush_audience(w->b, "a");
	assert_int_equal(counts(w).cached, 1);
	assert_int_equal(counts(w).failures, 1);
	broker_flush_audience(w->b, "c");
	assert_int_equal(counts(w).failures, 0);
	ask(w, &y, "b");
	assert_true(y.hit);
	ask(w, &z, "c");
	assert_int_equal(z.r, 0);
	leave(&z);
}

/* --- health ------------------------------------------------------------------- */

static unsigned health_told;

static void
on_health(void *userdata)
{
	health_told++;
	assert_non_null(userdata);
}

static void
trouble_is_believed_for_its_time_and_not_longer(void **state)
{
	struct world *w = *state;
	struct caller x = { 0 };
	struct err e;

	w->opt.trouble_usec = 100 * MS;
	begin(w);
	health_told = 0;
	broker_on_health(w->b, on_health, w);
	assert_int_equal(broker_health(w->b, &e), 1);
	ask(w, &x, "a");
	fails("a", ERR_UNAVAILABLE);
	assert_int_equal(health_told, 1);
	assert_int_equal(broker_health(w->b, &e), -EHOSTUNREACH);
	assert_string_equal(e.msg, "it fails");
	assert_true(e.retry_usec > 0 && e.retry_usec <= 100 * MS);
	RUN_UNTIL(w->event, health_told == 2);
	assert_int_equal(broker_health(w->b, &e), 1);
	assert_int_equal(begun, 1);		/* and nobody asked */
}

static void
trouble_lasts_while_a_flight_is_under_way(void **state)
{
	struct world *w = *state;
	struct caller x = { 0 }, y = { 0 };
	struct err e;

	w->opt.trouble_usec = 50 * MS;
	begin(w);
	ask(w, &x, "a");
	fails("a", ERR_TIMEOUT);
	ask(w, &y, "b");
	fake_run_to(w->event, fake_now() + 60 * MS);
	assert_int_equal(broker_health(w->b, &e), -ETIMEDOUT);
	assert_int_equal(e.retry_usec, 0);
	succeeds("b", VEC_EMAIL, 0, LIFE);
	assert_int_equal(broker_health(w->b, &e), 1);
}

static void
what_google_says_no_to_ends_trouble(void **state)
{
	struct world *w = *state;
	struct caller x = { 0 }, y = { 0 }, z = { 0 };
	struct err e;

	w->opt.trouble_usec = USEC_PER_MIN;
	begin(w);
	ask(w, &x, "a");
	fails("a", ERR_UNAVAILABLE);
	ask(w, &y, "b");
	fails("b", ERR_NOT_FOUND);		/* tells nothing */
	assert_int_equal(broker_health(w->b, &e), -EHOSTUNREACH);
	ask(w, &z, "c");
	fails("c", ERR_GOOGLE);
	assert_int_equal(broker_health(w->b, &e), 1);
}

static void
in_trouble_the_cache_is_worth_something_until_it_expires(void **state)
{
	struct world *w = *state;
	struct caller x = { 0 };
	struct err e;

	w->opt.trouble_usec = USEC_PER_MIN;
	begin(w);
	cached(w, "a", 3000, 2);
	health_told = 0;
	broker_on_health(w->b, on_health, w);
	ask(w, &x, "b");
	fails("b", ERR_UNAVAILABLE);
	assert_int_equal(broker_health(w->b, &e), 0);
	assert_string_equal(e.msg, "it fails");
	RUN_UNTIL(w->event, health_told == 2);
	assert_int_equal(broker_health(w->b, &e), -EHOSTUNREACH);
	broker_flush(w->b);
	assert_int_equal(broker_health(w->b, &e), 1);
}

static void
while_the_clocks_are_too_far_apart_no_token_can_be_had(void **state)
{
	struct world *w = *state;
	struct err e;

	begin(w);
	broker_on_health(w->b, on_health, w);
	google_is_ahead(w, 3600);
	health_told = 0;
	RUN_UNTIL(w->event, health_told > 0);
	assert_int_equal(broker_health(w->b, &e), -EHOSTUNREACH);
	assert_non_null(strstr(e.msg, "clock"));
	health_told = 0;
	clocks_step(w, 3600, 0);
	assert_true(health_told > 0);
	assert_int_equal(broker_health(w->b, &e), 1);
}

static void
without_an_account_no_token_can_be_had(void **state)
{
	struct world *w = *state;
	struct err e;

	begin(w);
	assert_int_equal(broker_health(w->b, &e), -EHOSTUNREACH);
	fake_say(w->mds, WHO, 404, "");
	RUN_UNTIL(w->event, account_state(w->a) == ACCOUNT_NONE);
	assert_int_equal(broker_health(w->b, &e), -ENOENT);
}

/* --- audiences that are kept warm --------------------------------------------- */

static void
warm_audiences_are_fetched_before_anybody_asks(void **state)
{
	static char *const list[] = { (char *)"a", (char *)"b", NULL };
	struct world *w = *state;
	struct caller x = { 0 };

	begin(w);
	assert_int_equal(broker_keep_warm(w->b, list, NULL), 0);
	RUN_UNTIL(w->event, begun == 2);
	succeeds("a", VEC_EMAIL, 0, LIFE);
	succeeds("b", VEC_EMAIL, 0, LIFE);
	ask(w, &x, "a");
	assert_true(x.hit);
	assert_int_equal(w->asked, 0);
	assert_int_equal(begun, 2);
}

static void
a_few_warm_audiences_fly_at_a_time(void **state)
{
	static char *const list[] = { (char *)"a", (char *)"b", (char *)"c",
		(char *)"d", (char *)"e", (char *)"f", NULL };
	struct world *w = *state;
	struct caller x = { 0 };

	w->opt.max_flights = 16;
	begin(w);
	assert_int_equal(broker_keep_warm(w->b, list, NULL), 0);
	RUN_UNTIL(w->event, begun == 4);
	for (int i = 0; i < 5; i++)
		assert_true(sd_event_run(w->event, 0) >= 0);
	assert_int_equal(begun, 4);
	/* A caller need not wait for them, and takes one off their hands. */
	ask(w, &x, "f");
	assert_int_equal(begun, 5);
	succeeds("f", VEC_EMAIL, 0, LIFE);
	assert_true(x.got);
	succeeds("a", VEC_EMAIL, 0, LIFE);
	RUN_UNTIL(w->event, in_flight("e"));
	assert_int_equal(begun, 6);
}

static void
a_warm_audience_is_tried_until_it_is_had(void **state)
{
	static char *const list[] = { (char *)"a", NULL };
	struct world *w = *state;
	struct caller x = { 0 };

	begin(w);
	assert_int_equal(broker_keep_warm(w->b, list, NULL), 0);
	for (unsigned i = 1; i <= 3; i++) {
		RUN_UNTIL(w->event, begun == i);
		fails("a", i == 2 ? ERR_BUSY : ERR_UNAVAILABLE);
	}
	RUN_UNTIL(w->event, begun == 4);
	succeeds("a", VEC_EMAIL, 0, LIFE);
	ask(w, &x, "a");
	assert_true(x.hit);
}

static void
a_warm_audience_is_refreshed_though_nobody_asks(void **state)
{
	static char *const list[] = { (char *)"a", NULL };
	struct world *w = *state;

	w->opt.refresh = (struct refresh_options){ 10 * USEC_PER_SEC, 0,
		USEC_PER_SEC, 0 };
	begin(w);
	assert_int_equal(broker_keep_warm(w->b, list, NULL), 0);
	for (unsigned i = 1; i <= 3; i++) {
		RUN_UNTIL(w->event, begun == i);
		succeeds("a", VEC_EMAIL, 0, 2);
	}
}

static void
a_warm_audience_that_a_clock_has_made_expire_is_fetched_anew(void **state)
{
	static char *const list[] = { (char *)"a", NULL };
	struct world *w = *state;

	w->opt.refresh = (struct refresh_options){ 10 * USEC_PER_SEC, 0,
		USEC_PER_SEC, 2 };
	begin(w);
	assert_int_equal(broker_keep_warm(w->b, list, NULL), 0);
	RUN_UNTIL(w->event, begun == 1);
	succeeds("a", VEC_EMAIL, 0, LIFE);
	clocks_step(w, 0, LIFE + 1);
	assert_int_equal(counts(w).cached, 0);
	RUN_UNTIL(w->event, begun == 2);
	fails("a", ERR_GOOGLE);
	/* What failed by the old time may succeed. */
	clocks_step(w, 10, 0);
	RUN_UNTIL(w->event, begun == 3);
}

/* However it left the cache. */
static void
a_warm_audience_is_looked_for_again_when_its_token_ends(void **state)
{
	static char *const list[] = { (char *)"a", NULL };
	struct caller x = { .want.only_if_cached = true };
	struct world *w = *state;
	uint64_t began;

	w->opt.refresh = (struct refresh_options){ 10 * USEC_PER_SEC, 0,
		USEC_PER_SEC, 2 };
	begin(w);
	assert_int_equal(broker_keep_warm(w->b, list, NULL), 0);
	RUN_UNTIL(w->event, begun == 1);
	succeeds("a", VEC_EMAIL, 0, 2);
	began = fake_now();
	RUN_UNTIL(w->event, begun == 2);	/* after 1 s, and again in 1 s */
	fails("a", ERR_UNAVAILABLE);
	fake_run_to(w->event, began + 2 * USEC_PER_SEC + 2 * MS);
	ask(w, &x, "a");
	assert_true(x.r < 0);
	assert_int_equal(counts(w).cached, 0);
	RUN_UNTIL(w->event, begun == 3);
}

static void
warm_audiences_count_for_the_agent_whoever_gets_them_going(void **state)
{
	static char *const list[] = { (char *)"a", NULL };
	struct caller x = { 0 }, y = { 0 }, z[60] = { { .r = 0 } }, at = { 0 };
	struct world *w = *state;
	static char names[60][8];

	w->opt.max_flights = 8;
	w->opt.peer_share = 13;		/* one */
	begin(w);
	assert_int_equal(broker_keep_warm(w->b, list, NULL), 0);
	ask_as(w, &x, CACHE_OWNER_AGENT, "b");
	ask_as(w, &y, 9, "a");		/* joins what waits for the agent's turn */
	ask_as(w, &at, 1, "a");
	RUN_UNTIL(w->event, in_flight("a"));
	succeeds("a", VEC_EMAIL, 0, LIFE);
	assert_true(y.got);
	for (uint64_t owner = 1; owner <= 9; owner += 8)
		for (size_t i = 0; i < ARRAY_SIZE(z); i++) {
			snprintf(names[i], sizeof(names[i]), "%c%zu",
				 (int)('0' + owner), i);
			z[i] = (struct caller){ 0 };
			ask_as(w, &z[i], owner, names[i]);
			succeeds(names[i], VEC_EMAIL, 0, LIFE);
		}
	y = (struct caller){ 0 };
	ask_as(w, &y, 3, "a");
	assert_true(y.hit);
	leave(&x);
}

static void
warm_audiences_count_for_the_agent_whoever_asks(void **state)
{
	static char *const list[] = { (char *)"a", NULL };
	struct world *w = *state;
	struct caller x = { .want.owner = 9 }, y = { 0 }, z[60] = { { .r = 0 } };
	static char names[60][8];

	begin(w);
	ask(w, &x, "early");
	assert_int_equal(broker_keep_warm(w->b, list, NULL), 0);
	ask(w, &y, "a");
	succeeds("early", VEC_EMAIL, 0, LIFE);
	succeeds("a", VEC_EMAIL, 0, LIFE);
	/* Its first caller's share is 50, and all of that is used up. */
	for (size_t i = 0; i < ARRAY_SIZE(z); i++) {
		snprintf(names[i], sizeof(names[i]), "z%zu", i);
		ask(w, &z[i], names[i]);
		succeeds(names[i], VEC_EMAIL, 0, LIFE);
	}
	y = (struct caller){ 0 };
	ask(w, &y, "a");
	assert_true(y.hit);
}

static void
a_flush_makes_them_wanted_again(void **state)
{
	static char *const list[] = { (char *)"a", NULL };
	struct world *w = *state;

	begin(w);
	assert_int_equal(broker_keep_warm(w->b, list, NULL), 0);
	RUN_UNTIL(w->event, begun == 1);
	succeeds("a", VEC_EMAIL, 0, LIFE);
	broker_flush_audience(w->b, "a");
	RUN_UNTIL(w->event, begun == 2);
	fails("a", ERR_GOOGLE);
	broker_flush(w->b);
	RUN_UNTIL(w->event, begun == 3);
}

static void
nothing_is_warm_before_there_is_an_account(void **state)
{
	static char *const list[] = { (char *)"a", NULL };
	struct world *w = *state;

	begin(w);
	assert_int_equal(broker_keep_warm(w->b, list, NULL), 0);
	for (int i = 0; i < 5; i++)
		assert_true(sd_event_run(w->event, MS) >= 0);
	assert_int_equal(begun, 0);
	fake_say(w->mds, WHO, 200, VEC_A2_BODY);
	RUN_UNTIL(w->event, account_state(w->a) == ACCOUNT_FOUND);
	broker_flush(w->b);		/* as for every change of account */
	RUN_UNTIL(w->event, begun == 1);
}

static void
a_caller_who_leaves_takes_no_warm_flight_along(void **state)
{
	static char *const list[] = { (char *)"w", NULL };
	struct caller x[4] = { { .r = 0 } };
	static const char *const names[] = { "a", "b", "c", "w" };
	struct world *w = *state;

	begin(w);
	for (size_t i = 0; i < ARRAY_SIZE(x); i++)
		ask(w, &x[i], names[i]);
	assert_int_equal(broker_keep_warm(w->b, list, NULL), 0);
	for (int i = 0; i < 5; i++)
		assert_true(sd_event_run(w->event, MS) >= 0);
	assert_int_equal(counts(w).queued, 1);
	leave(&x[3]);
	succeeds("a", VEC_EMAIL, 0, LIFE);
	RUN_UNTIL(w->event, in_flight("w"));
	leave(&x[1]);
	leave(&x[2]);
}

static void
it_may_be_freed_with_flights_under_way(void **state)
{
	struct world *w = *state;
	struct caller x[6] = { { .r = 0 } };
	static const char *const names[] = { "a", "b", "c", "d", "e", "f" };

	begin(w);
	for (size_t i = 0; i < ARRAY_SIZE(x); i++)
		ask(w, &x[i], names[i]);
	assert_int_equal(counts(w).queued, 3);
	for (size_t i = 0; i < ARRAY_SIZE(x); i++)
		leave(&x[i]);
	w->b = broker_free(w->b);
	assert_true(TAILQ_EMPTY(&flying));
	assert_null(broker_free(NULL));
}

/* --- shares ------------------------------------------------------------------- */

/* One of these is a quarter of the flights. */
static void
a_peer_at_its_share_of_flights_waits_and_others_do_not(void **state)
{
	static const char *const names[] = { "a", "b", "c", "d" };
	struct caller x[4] = { { .r = 0 } }, other[3] = { { .r = 0 } };
	struct world *w = *state;

	w->opt.max_flights = 8;
	w->opt.max_waiters = 100;
	w->opt.peer_share = 25;
	begin(w);
	for (size_t i = 0; i < ARRAY_SIZE(x); i++) {
		ask_as(w, &x[i], 1, names[i]);
		assert_int_equal(x[i].r, 0);
		assert_int_equal(begun, MIN(i + 1, (size_t)2));
	}
	assert_int_equal(counts(w).queued, 2);
	ask_as(w, &other[0], 2, "e");
	ask_as(w, &other[1], 2, "f");
	assert_non_null(in_flight("e"));
	assert_non_null(in_flight("f"));
	ask_as(w, &other[2], 3, "g");
	assert_non_null(in_flight("g"));

	/* A place that another leaves is not its own. */
	succeeds("g", VEC_EMAIL, 0, LIFE);
	assert_int_equal(counts(w).queued, 2);
	succeeds("b", VEC_EMAIL, 0, LIFE);
	assert_non_null(in_flight("c"));
	assert_null(in_flight("d"));
	assert_int_equal(counts(w).queued, 1);
	fails("a", ERR_UNAVAILABLE);
	assert_non_null(in_flight("d"));
	for (size_t i = 2; i < 4; i++)
		leave(&x[i]);
	for (size_t i = 0; i < 2; i++)
		leave(&other[i]);
}

/* Two have filled the queue before the third one comes. */
static void
of_many_who_queue_each_gets_a_turn(void **state)
{
	static const char *const one[] = { "a", "c", "d" };
	static const char *const two[] = { "b", "e" };
	struct caller x[3] = { { .r = 0 } }, y[2] = { { .r = 0 } }, z = { 0 };
	struct world *w = *state;

	w->opt.max_flights = 2;
	w->opt.peer_share = 50;
	begin(w);
	for (size_t i = 0; i < ARRAY_SIZE(x); i++)
		ask_as(w, &x[i], 1, one[i]);
	for (size_t i = 0; i < ARRAY_SIZE(y); i++)
		ask_as(w, &y[i], 2, two[i]);
	ask_as(w, &z, 3, "z");
	assert_int_equal(begun, 2);
	assert_int_equal(counts(w).queued, 4);

	succeeds("a", VEC_EMAIL, 0, LIFE);
	assert_non_null(in_flight("c"));	/* served longest ago */
	succeeds("b", VEC_EMAIL, 0, LIFE);
	assert_non_null(in_flight("e"));
	succeeds("c", VEC_EMAIL, 0, LIFE);
	assert_non_null(in_flight("z"));	/* and not "d", which came first */
	succeeds("z", VEC_EMAIL, 0, LIFE);
	assert_true(z.got);
	assert_non_null(in_flight("d"));
	succeeds("d", VEC_EMAIL, 0, LIFE);
	succeeds("e", VEC_EMAIL, 0, LIFE);
	assert_int_equal(counts(w).flights, 0);
	assert_int_equal(counts(w).waiters, 0);
}

static void
a_peer_has_its_share_of_waiters_and_not_one_more(void **state)
{
	struct caller x[5] = { { .r = 0 } }, y[4] = { { .r = 0 } }, hit = { 0 };
	struct caller z = { 0 };
	struct world *w = *state;

	w->opt.peer_share = 50;		/* 4 of 8 */
	begin(w);
	cached(w, "cached", 0, LIFE);
	for (size_t i = 0; i < 4; i++) {
		ask_as(w, &x[i], 1, i % 2 ? "a" : "b");
		assert_int_equal(x[i].r, 0);
	}
	ask_as(w, &x[4], 1, "a");
	assert_int_equal(x[4].e.kind, ERR_BUSY);
	assert_non_null(strstr(x[4].e.msg, "peer-share of waiters"));
	ask_as(w, &x[4], 1, "new");
	assert_int_equal(x[4].e.kind, ERR_BUSY);
	assert_int_equal(counts(w).refused, 2);
	assert_int_equal(counts(w).flights, 1);	/* of 3: its share is one */
	ask_as(w, &hit, 1, "cached");
	assert_true(hit.hit);

	for (size_t i = 0; i < 4; i++) {
		ask_as(w, &y[i], 2, "a");
		assert_int_equal(y[i].r, 0);
	}
	ask_as(w, &z, 3, "a");
	assert_int_equal(z.e.kind, ERR_BUSY);
	assert_non_null(strstr(z.e.msg, "the limit (waiters)"));
	leave(&x[0]);
	ask_as(w, &x[4], 1, "a");
	assert_int_equal(x[4].r, 0);
	for (size_t i = 0; i < 5; i++)
		leave(&x[i]);
	for (size_t i = 0; i < 4; i++)
		leave(&y[i]);
	assert_int_equal(counts(w).waiters, 0);
}

static void
at_least_one_of_everything(void **state)
{
	struct caller x = { 0 }, y = { 0 }, z = { 0 };
	struct world *w = *state;

	w->opt.peer_share = 1;
	begin(w);
	ask_as(w, &x, 1, "a");
	assert_int_equal(x.r, 0);
	ask_as(w, &y, 1, "a");
	assert_int_equal(y.e.kind, ERR_BUSY);
	ask_as(w, &z, 2, "a");
	assert_int_equal(z.r, 0);
	succeeds("a", VEC_EMAIL, 0, LIFE);
	assert_true(x.got && z.got);
}

static void
who_joins_a_flight_that_queues_gets_it_going(void **state)
{
	struct caller x = { 0 }, y = { 0 }, z = { 0 };
	struct world *w = *state;
	const struct fetch *f;

	w->opt.peer_share = 50;
	begin(w);
	ask_as(w, &x, 1, "a");
	ask_as(w, &y, 1, "b");
	assert_null(in_flight("b"));
	ask_as(w, &z, 2, "b");
	RUN_UNTIL(w->event, in_flight("b"));
	f = in_flight("b");
	assert_true(f && f->payer == HTTP_PAYER_PEERS + 2);
	succeeds("b", VEC_EMAIL, 0, LIFE);
	assert_true(y.got && z.got);
	assert_int_equal(z.source, BROKER_SHARED);
	leave(&x);
}

static void
who_has_no_place_for_it_does_not_get_it_going(void **state)
{
	struct caller x = { 0 }, y = { 0 }, z[2] = { { .r = 0 } };
	struct world *w = *state;

	w->opt.peer_share = 50;
	begin(w);
	ask_as(w, &x, 1, "a");
	ask_as(w, &y, 1, "b");
	ask_as(w, &z[0], 2, "c");
	ask_as(w, &z[1], 2, "b");
	assert_int_equal(begun, 2);
	succeeds("c", VEC_EMAIL, 0, LIFE);
	assert_int_equal(begun, 2);		/* it is the other's still */
	succeeds("a", VEC_EMAIL, 0, LIFE);
	succeeds("b", VEC_EMAIL, 0, LIFE);
	assert_true(y.got && z[1].got);
}

static void
a_queued_caller_is_told_that_it_is_its_own_share(void **state)
{
	struct caller x = { 0 }, y = { 0 };
	struct world *w = *state;

	w->opt.peer_share = 50;
	begin(w);
	ask_as(w, &x, 1, "a");
	y.want.deadline = fake_now() + 10 * MS;
	ask_as(w, &y, 1, "b");
	RUN_UNTIL(w->event, y.called);
	assert_int_equal(y.e.kind, ERR_BUSY);
	assert_non_null(strstr(y.e.msg, "1 flights under way"));
	assert_int_equal(counts(w).queued, 0);
	leave(&x);
}

static void
a_refresh_counts_for_its_owner_and_costs_nobody(void **state)
{
	struct caller own = { 0 }, other = { 0 };
	struct world *w = *state;
	const struct fetch *f;

	w->opt.refresh = (struct refresh_options){ 10 * USEC_PER_SEC, 0,
		USEC_PER_SEC, 2 };
	w->opt.want.wish_usec = 0;
	w->opt.peer_share = 50;
	begin(w);
	cached(w, "a", 3000, 2);		/* owner 7's */
	RUN_UNTIL(w->event, in_flight("a"));
	f = in_flight("a");
	assert_true(f && f->payer == HTTP_PAYER_NOBODY);
	ask_as(w, &own, 7, "b");
	ask_as(w, &other, 8, "c");
	assert_null(in_flight("b"));
	f = in_flight("c");
	assert_true(f && f->payer == HTTP_PAYER_PEERS + 8);
	leave(&own);
	leave(&other);
}

/* Whatever is asked hangs, and tokens in use expire meanwhile. */
static void
callers_leave_a_place_for_what_is_ahead_of_an_expiry(void **state)
{
	static const char *const names[] = { "b", "c", "d", "e", "f", "g", "h",
					     "i" };
	struct caller x[8] = { { .r = 0 } };
	struct world *w = *state;

	w->opt.refresh = (struct refresh_options){ 10 * USEC_PER_SEC, 0,
		USEC_PER_SEC, 2 };
	w->opt.want.wish_usec = 0;
	w->opt.max_flights = 8;
	begin(w);
	cached(w, "a", 3000, 2);
	for (size_t i = 0; i < ARRAY_SIZE(x); i++)
		ask_as(w, &x[i], 1 + i % 4, names[i]);
	assert_int_equal(begun, 7);
	assert_int_equal(counts(w).queued, 1);
	RUN_UNTIL(w->event, in_flight("a"));
	assert_null(in_flight("i"));
	assert_int_equal(counts(w).flights, 8);
	succeeds("a", VEC_EMAIL, 0, 3000);
	assert_null(in_flight("i"));		/* it is kept for the next one */
	succeeds("b", VEC_EMAIL, 0, 3000);
	assert_non_null(in_flight("i"));
	for (size_t i = 1; i < ARRAY_SIZE(x); i++)
		leave(&x[i]);
}

static void
an_owner_s_own_flood_stops_no_refresh_of_its_tokens(void **state)
{
	static const char *const names[] = { "b", "c", "d" };
	struct caller x[3] = { { .r = 0 } };
	struct world *w = *state;

	w->opt.refresh = (struct refresh_options){ 10 * USEC_PER_SEC, 0,
		USEC_PER_SEC, 2 };
	w->opt.want.wish_usec = 0;
	w->opt.max_flights = 8;
	w->opt.peer_share = 25;
	begin(w);
	cached(w, "a", 3000, 2);		/* owner 7's */
	cached(w, "aa", 3000, 2);
	for (size_t i = 0; i < ARRAY_SIZE(x); i++)
		ask_as(w, &x[i], 7, names[i]);
	assert_int_equal(begun, 2);
	RUN_UNTIL(w->event, begun == 3);
	assert_null(in_flight("d"));
	for (int i = 0; i < 5; i++)		/* one at a time */
		assert_true(sd_event_run(w->event, MS) >= 0);
	assert_int_equal(begun, 3);
	succeeds(in_flight("a") ? "a" : "aa", VEC_EMAIL, 0, 3000);
	assert_int_equal(begun, 4);
	assert_true(in_flight("a") || in_flight("aa"));
	for (size_t i = 0; i < ARRAY_SIZE(x); i++)
		leave(&x[i]);
}

static void
what_a_caller_has_queued_goes_ahead_of_an_expiry(void **state)
{
	struct caller x = { 0 }, y = { 0 }, z = { 0 }, demands = { 0 };
	struct world *w = *state;

	w->opt.refresh = (struct refresh_options){ 10 * USEC_PER_SEC, 0,
		USEC_PER_SEC, 2 };
	w->opt.want.wish_usec = 0;
	w->opt.max_flights = 4;
	begin(w);
	cached(w, "a", 3000, 2);
	ask(w, &x, "x");
	ask(w, &y, "y");
	ask(w, &z, "z");
	demands.want.min_left = 100;
	ask(w, &demands, "a");
	assert_int_equal(counts(w).queued, 1);
	RUN_UNTIL(w->event, in_flight("a"));
	succeeds("a", VEC_EMAIL, 0, LIFE);
	assert_true(demands.got);
	leave(&x);
	leave(&y);
	leave(&z);
}

/* Ten a minute for each of them. */
static struct http_client *
on_a_budget(struct world *w)
{
	const struct http_client_options o = {
		.max_body = 1, .host_connections = 1,
		.budget = { .per_minute = 100, .share = 10, .payers = 8 },
	};
	struct http_client *c = NULL;

	assert_int_equal(http_client_new(w->event, &o, &c, NULL), 0);
	w->ctx.http = c;
	return c;
}

static void
spend(struct http_client *c, uint64_t owner)
{
	uint64_t wait, payer = HTTP_PAYER_PEERS + owner;

	while (budget_take(c->budget, payer, fake_now(), &wait) == 0)
		;
}

static void
whose_budget_is_spent_begins_no_flight(void **state)
{
	struct caller x = { 0 }, y = { 0 }, z = { 0 }, hit = { 0 };
	struct world *w = *state;
	struct http_client *c = on_a_budget(w);

	begin(w);
	cached(w, "cached", 0, LIFE);
	spend(c, 1);
	x.want.deadline = fake_now() + USEC_PER_SEC;
	ask_as(w, &x, 1, "a");
	assert_int_equal(x.e.kind, ERR_BUSY);
	assert_non_null(strstr(x.e.msg, "peer-share of requests-per-minute"));
	assert_in_range(x.e.retry_usec, USEC_PER_SEC, 7 * USEC_PER_SEC);
	assert_int_equal(begun, 0);
	assert_int_equal(w->asked, 0);
	assert_int_equal(counts(w).failures, 0);
	ask_as(w, &hit, 1, "cached");
	assert_true(hit.hit);

	ask_as(w, &y, 2, "a");
	assert_int_equal(y.r, 0);
	assert_int_equal(begun, 1);
	ask_as(w, &x, 1, "a");			/* joining costs nothing */
	assert_int_equal(x.r, 0);
	ask_as(w, &z, 1, "b");			/* whoever has the time may wait */
	assert_int_equal(z.r, 0);
	assert_int_equal(begun, 2);
	leave(&x);
	leave(&y);
	leave(&z);
	w->b = broker_free(w->b);
	http_client_free(c);
}

static void
at_the_deadline_a_spent_budget_is_told_to_its_peer_alone(void **state)
{
	struct caller x = { 0 }, y = { 0 };
	struct world *w = *state;
	struct http_client *c = on_a_budget(w);

	begin(w);
	x.want.deadline = y.want.deadline = fake_now() + 20 * MS;
	ask_as(w, &x, 1, "a");
	ask_as(w, &y, 2, "a");
	spend(c, 1);
	RUN_UNTIL(w->event, x.called && y.called);
	assert_int_equal(x.e.kind, ERR_BUSY);
	assert_int_equal(y.e.kind, ERR_TIMEOUT);
	w->b = broker_free(w->b);
	http_client_free(c);
}

static void
anothers_share_is_nobodys_failure(void **state)
{
	struct caller x = { 0 }, y = { 0 }, again = { 0 };
	struct world *w = *state;

	begin(w);
	ask_as(w, &x, 1, "a");
	ask_as(w, &y, 2, "a");
	fails("a", ERR_BUSY);
	assert_int_equal(x.e.kind, ERR_BUSY);
	assert_int_equal(y.e.kind, ERR_UNAVAILABLE);
	assert_int_equal(counts(w).failures, 0);
	ask_as(w, &again, 2, "a");
	succeeds("a", VEC_EMAIL, 0, LIFE);
	assert_true(again.got);
}

#define TEST(name)	cmocka_unit_test_setup_teardown(name, setup, teardown)
#define TEST_LOST(name)	cmocka_unit_test_setup_teardown(name, setup_lost, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_was_fetched_is_served_from_the_cache),
		TEST(all_callers_of_a_key_share_one_flight),
		TEST(a_failure_is_told_to_all_who_wait),
		TEST(every_member_of_the_key_tells_apart),
		TEST(an_entry_counts_for_who_caused_it),
		TEST(who_leaves_is_not_told_and_the_flight_goes_on),
		TEST(at_the_deadline_the_flight_goes_on),
		TEST(a_deadline_in_the_past_is_told_by_the_loop),
		TEST_LOST(while_nobody_knows_the_account_a_deadline_says_so),
		TEST(a_flight_has_the_time_of_the_most_patient),
		TEST(a_callback_may_free_anothers_ticket),
		TEST(a_callback_may_free_anothers_ticket_at_a_deadline),
		TEST(a_callback_that_asks_again_gets_a_hit),
		TEST(a_callback_that_asks_again_gets_the_failure),
		TEST(a_callback_that_asks_again_may_begin_another_flight),
		TEST(flights_beyond_the_limit_wait_for_their_turn),
		TEST(nobody_overtakes_those_who_queue),
		TEST(a_queued_flight_that_nobody_waits_for_is_dropped),
		TEST(a_queued_caller_is_answered_by_its_deadline),
		TEST(callers_beyond_the_limit_are_refused),
		TEST(who_is_not_admitted_begins_no_flight),
		TEST(a_denial_is_told_again_without_asking),
		TEST(trouble_is_remembered_for_its_span_and_not_longer),
		TEST(a_flow_that_cannot_begin_fails_at_once),
		TEST(a_queued_flow_that_cannot_begin_fails_by_callback),
		TEST(no_cache_fetches_a_new_one),
		TEST(no_cache_gets_what_is_brand_new),
		TEST(no_cache_gets_the_old_one_where_no_new_one_can_be_had),
		TEST(a_demand_is_met_from_the_cache_or_by_a_flight),
		TEST(a_demand_that_the_new_token_does_not_meet_is_an_error),
		TEST(a_demand_has_no_fallback),
		TEST(what_is_brand_new_is_not_fetched_anew_for_any_demand),
		TEST(only_if_cached_never_asks_upstream),
		TEST(a_wish_is_worth_a_flight),
		TEST(a_wish_takes_less_where_nothing_better_can_be_had),
		TEST(a_used_token_is_fetched_anew_ahead_of_its_expiry),
		TEST(an_access_token_has_a_wish_of_its_own),
		TEST(an_access_token_is_fetched_anew_at_a_time_of_its_own),
		TEST(a_failing_refresh_leaves_the_token_where_it_is),
		TEST(a_refresh_that_fails_with_its_caller_is_tried_again),
		TEST(a_token_in_use_is_refreshed_however_often_that_failed),
		TEST(what_is_refreshed_at_a_hand_over_is_refreshed_by_the_heir),
		TEST(a_token_that_any_clock_has_expired_is_not_served),
		TEST(a_wall_clock_set_back_revives_nothing),
		TEST(what_a_step_has_made_expire_leaves_the_cache),
		TEST(what_a_step_has_made_due_is_fetched_anew_and_nothing_else),
		TEST(a_step_back_puts_no_refresh_off),
		TEST(a_step_forgets_failures),
		TEST(a_clock_set_back_makes_no_token_brand_new),
		TEST(a_flight_that_lands_after_the_end_of_its_token_serves_nobody),
		TEST(a_wish_takes_less_where_too_many_wait),
		TEST(a_token_of_another_account_is_nobodys),
		TEST_LOST(without_an_account_a_token_is_nobodys),
		TEST(what_expired_while_it_was_waited_for_is_not_served),
		TEST(an_expired_token_is_no_fallback),
		TEST(a_flush_forgets_tokens_and_failures_and_no_flights),
		TEST(a_peer_at_its_share_of_flights_waits_and_others_do_not),
		TEST(of_many_who_queue_each_gets_a_turn),
		TEST(a_peer_has_its_share_of_waiters_and_not_one_more),
		TEST(at_least_one_of_everything),
		TEST(who_joins_a_flight_that_queues_gets_it_going),
		TEST(who_has_no_place_for_it_does_not_get_it_going),
		TEST(a_queued_caller_is_told_that_it_is_its_own_share),
		TEST(a_refresh_counts_for_its_owner_and_costs_nobody),
		TEST(callers_leave_a_place_for_what_is_ahead_of_an_expiry),
		TEST(an_owner_s_own_flood_stops_no_refresh_of_its_tokens),
		TEST(what_a_caller_has_queued_goes_ahead_of_an_expiry),
		TEST(whose_budget_is_spent_begins_no_flight),
		TEST(at_the_deadline_a_spent_budget_is_told_to_its_peer_alone),
		TEST(anothers_share_is_nobodys_failure),
		TEST(one_audience_can_be_flushed),
		TEST(trouble_is_believed_for_its_time_and_not_longer),
		TEST(trouble_lasts_while_a_flight_is_under_way),
		TEST(what_google_says_no_to_ends_trouble),
		TEST(in_trouble_the_cache_is_worth_something_until_it_expires),
		TEST(while_the_clocks_are_too_far_apart_no_token_can_be_had),
		TEST_LOST(without_an_account_no_token_can_be_had),
		TEST(warm_audiences_are_fetched_before_anybody_asks),
		TEST(a_few_warm_audiences_fly_at_a_time),
		TEST(a_warm_audience_is_tried_until_it_is_had),
		TEST(a_warm_audience_is_refreshed_though_nobody_asks),
		TEST(a_warm_audience_that_a_clock_has_made_expire_is_fetched_anew),
		TEST(a_warm_audience_is_looked_for_again_when_its_token_ends),
		TEST(warm_audiences_count_for_the_agent_whoever_gets_them_going),
		TEST(warm_audiences_count_for_the_agent_whoever_asks),
		TEST(a_flush_makes_them_wanted_again),
		TEST_LOST(nothing_is_warm_before_there_is_an_account),
		TEST(a_caller_who_leaves_takes_no_warm_flight_along),
		TEST(it_may_be_freed_with_flights_under_way),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
