/* SPDX-License-Identifier: Apache-2.0 */

/* A client and its budget: how many requests leave, whose, and when. */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "fake-metadata.h"
#include "http/transfer.h"

#define MS	USEC_PER_MSEC
#define A	HTTP_PAYER_PEERS
#define B	(HTTP_PAYER_PEERS + 1)

struct world {
	sd_event *event;
	struct fake *upstream;
	struct http_client *client;
};

struct caller {
	struct http_call *call;
	uint64_t deadline;
	unsigned called, status;
	struct err e;
	struct caller *frees;
	struct world *ends;	/* its client */
};

static int
setup(void **state)
{
	struct world *w = xcalloc(1, sizeof(*w));

	assert_true(sd_event_new(&w->event) >= 0);
	w->upstream = fake_new(w->event);
	*state = w;
	return 0;
}

static int
teardown(void **state)
{
	struct world *w = *state;

	http_client_free(w->client);
	fake_free(w->upstream);
	sd_event_unref(w->event);
	free(w);
	return 0;
}

/* Tries without end and without a pause. */
static void
begin(struct world *w, unsigned per_minute, unsigned share)
{
	const struct http_lane_options lane = {
		.connect_usec = 5 * USEC_PER_SEC,
		.try_usec = 10 * USEC_PER_SEC,
		.retry = { .tries = 1000000, .first_usec = MS, .max_usec = MS },
	};
	const struct http_client_options o = {
		.user_agent = "test/1",
		.max_body = 1024,
		.host_connections = 4,
		.plain_http = true,
		.budget = { .per_minute = per_minute, .share = share,
			    .payers = 16 },
		.lane = { [HTTP_LANE_LOCAL] = lane, [HTTP_LANE_GOOGLE] = lane },
	};
	struct err e;

	assert_int_equal(http_client_new(w->event, &o, &w->client, &e), 0);
	assert_true(sd_event_run(w->event, 0) >= 0);
}

static void
on_done(void *userdata, const struct http_response *re, const struct err *e)
{
	struct caller *c = userdata;

	assert_true(!re != !e);
	assert_null(c->call);
	assert_int_equal(c->called, 0);
	c->called = 1;
	if (re)
		c->status = re->status;
	else
		c->e = *e;
	if (c->frees)
		c->frees->call = http_call_free(c->frees->call);
	if (c->ends)
		c->ends->client = http_client_free(c->ends->client);
}

static int
ask(struct world *w, struct caller *c, const char *path, uint64_t payer)
{
	struct http_request q = {
		.method = "GET",
		.payer = payer,
		.url = xasprintf("%s/%s", fake_url(w->upstream), path),
	};

	if (c->deadline == 0)
		c->deadline = fake_now() + 20 * USEC_PER_SEC;
	return http_client_start(w->client, &q, &c->deadline, on_done, c, &c->call,
				 &c->e);
}

static struct http_client_counts
counts(const struct world *w)
{
	struct http_client_counts n;

	http_client_count(w->client, &n);
	return n;
}

/* Somebody has asked before. */
static void
spend(struct world *w, uint64_t payer)
{
	uint64_t wait;

	while (budget_take(w->client->budget, payer, fake_now(), &wait) == 0)
		;
}

static bool
asked_in_order(const struct world *w, const char *const *paths, size_t n)
{
	if (fake_count(w->upstream) != n)
		return false;
	for (size_t i = 0; i < n; i++)
		if (!strstr(fake_request(w->upstream, i)->text, paths[i]))
			return false;
	return true;
}

/* --- so many and not one more ------------------------------------------------- */

/* 10 a minute: 9 for peers at once, the next after 6 s. */
static void
a_storm_of_503_stops_at_the_budget(void **state)
{
	struct world *w = *state;
	struct caller x = { 0 };

	begin(w, 10, 100);
	x.deadline = fake_now() + 5 * USEC_PER_SEC;
	fake_say(w->upstream, "/", 503, "{}");
	assert_int_equal(ask(w, &x, "x", A), 0);
	RUN_UNTIL(w->event, x.called);
	assert_int_equal(x.status, 503);	/* what upstream said */
	assert_int_equal(fake_count(w->upstream), 9);
	assert_int_equal(http_client_sent(w->client), 9);
	assert_int_equal(counts(w).refused, 1);
	assert_int_equal(counts(w).left, 1);
	assert_int_equal(counts(w).per_minute, 10);
}

static void
a_storm_of_no_answers_stops_at_the_budget(void **state)
{
	struct world *w = *state;
	struct caller x = { 0 };

	begin(w, 20, 50);
	x.deadline = fake_now() + 5 * USEC_PER_SEC;
	fake_always(w->upstream, "/", "");
	assert_int_equal(ask(w, &x, "x", A), 0);
	RUN_UNTIL(w->event, x.called);
	assert_int_equal(x.e.kind, ERR_UNAVAILABLE);
	assert_int_equal(fake_count(w->upstream), 10);
}

static void
a_peer_in_a_loop_stops_at_its_share(void **state)
{
	struct world *w = *state;
	unsigned sent = 0;

	begin(w, 40, 25);
	fake_say(w->upstream, "/", 200, "{}");
	for (unsigned i = 0; i < 200; i++) {
		struct caller x = { .deadline = fake_now() + 500 * MS };

		if (ask(w, &x, "x", A) == 0) {
			RUN_UNTIL(w->event, x.called);
			assert_int_equal(x.status, 200);
			sent++;
			continue;
		}
		assert_int_equal(x.e.kind, ERR_BUSY);
		assert_non_null(strstr(x.e.msg, "peer-share"));
		assert_in_range(x.e.retry_usec, 500 * MS, 7 * USEC_PER_SEC);
		assert_null(x.call);
	}
	assert_int_equal(sent, 10);
	assert_int_equal(fake_count(w->upstream), 10);
	assert_int_equal(counts(w).refused, 190);
	assert_int_equal(counts(w).left, 30);
}

/* What everybody needs is nobody's fault. */
static void
whose_fault_it_is(void **state)
{
	static const struct {
		uint64_t spends, asks;
		enum err_kind kind;
		const char *words;
	} cases[] = {
		{ A, A, ERR_BUSY, "peer-share" },
		{ HTTP_PAYER_ACCESS, HTTP_PAYER_ACCESS, ERR_UNAVAILABLE,
		  "requests-per-minute" },
		{ HTTP_PAYER_VALUES, HTTP_PAYER_VALUES, ERR_UNAVAILABLE,
		  "requests-per-minute" },
		{ HTTP_PAYER_NOBODY, HTTP_PAYER_NOBODY, ERR_UNAVAILABLE,
		  "requests-per-minute" },
		{ HTTP_PAYER_NOBODY, A, ERR_UNAVAILABLE, "requests-per-minute" },
	};
	struct world *w = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct caller x = { .deadline = fake_now() + 500 * MS };
		struct err e;

		begin(w, 40, 25);
		assert_int_equal(http_client_may(w->client, cases[i].asks,
						 x.deadline, &e), 0);
		spend(w, cases[i].spends);
		assert_true(http_client_may(w->client, cases[i].asks, x.deadline,
					    &e) < 0);
		assert_int_equal(e.kind, cases[i].kind);
		assert_int_equal(http_client_may(w->client, cases[i].asks,
						 UINT64_MAX, &e), 0);
		assert_int_equal(ask(w, &x, "x", cases[i].asks),
				 err_kind_errno(cases[i].kind));
		assert_int_equal(x.e.kind, cases[i].kind);
		assert_non_null(strstr(x.e.msg, cases[i].words));
		assert_true(x.e.retry_usec > 500 * MS);
		w->client = http_client_free(w->client);
	}
	assert_int_equal(fake_count(w->upstream), 0);
}

/* --- waiting ------------------------------------------------------------------ */

/* From here on: 250 ms for one of all, 500 ms for one of a share, so that a machine
   which is slow between two lines has not gone past them. */
static void
those_of_one_payer_go_in_order_and_others_at_once(void **state)
{
	static const char *const order[] = { "other", "nobody", "a", "b", "c" };
	struct caller a = { 0 }, b = { 0 }, c = { 0 };
	struct caller other = { 0 }, nobody = { 0 };
	struct world *w = *state;
	uint64_t began;

	begin(w, 240, 50);
	fake_say(w->upstream, "/", 200, "{}");
	began = fake_now();
	spend(w, A);
	assert_int_equal(ask(w, &a, "a", A), 0);
	assert_int_equal(ask(w, &b, "b", A), 0);
	assert_int_equal(ask(w, &c, "c", A), 0);
	assert_int_equal(counts(w).waiting, 3);
	assert_int_equal(http_client_sent(w->client), 0);
	assert_int_equal(ask(w, &other, "other", B), 0);
	assert_int_equal(http_client_sent(w->client), 1);
	RUN_UNTIL(w->event, other.called);
	assert_int_equal(ask(w, &nobody, "nobody", HTTP_PAYER_NOBODY), 0);
	RUN_UNTIL(w->event, nobody.called);
	RUN_UNTIL(w->event, a.called && b.called && c.called);
	assert_true(asked_in_order(w, order, ARRAY_SIZE(order)));
	/* None before its time. */
	for (size_t i = 2; i < 5; i++)
		assert_true(fake_request(w->upstream, i)->came >=
			    began + (i - 1) * 500 * MS);
	assert_int_equal(counts(w).waiting, 0);
	assert_int_equal(counts(w).delayed, 3);
	assert_int_equal(counts(w).refused, 0);
}

static void
all_wait_where_all_is_spent_and_nobody_goes_first(void **state)
{
	static const char *const order[] = { "nobody", "a" };
	struct world *w = *state;
	struct caller a = { 0 }, nobody = { 0 };

	begin(w, 240, 100);
	fake_say(w->upstream, "/", 200, "{}");
	spend(w, A);
	for (unsigned i = 0; i < 22; i++)	/* of a reserve of 24 */
		assert_int_equal(budget_take(w->client->budget, HTTP_PAYER_NOBODY,
					     fake_now(), &(uint64_t){ 0 }), 0);
	assert_int_equal(ask(w, &a, "a", A), 0);
	spend(w, HTTP_PAYER_NOBODY);
	assert_int_equal(ask(w, &nobody, "nobody", HTTP_PAYER_NOBODY), 0);
	assert_int_equal(counts(w).waiting, 2);
	RUN_UNTIL(w->event, nobody.called && a.called);
	assert_true(asked_in_order(w, order, ARRAY_SIZE(order)));
}

static void
who_leaves_the_line_is_not_asked_for(void **state)
{
	static const char *const order[] = { "b" };
	struct world *w = *state;
	struct caller a = { 0 }, b = { 0 };

	begin(w, 240, 50);
	fake_say(w->upstream, "/", 200, "{}");
	spend(w, A);
	assert_int_equal(ask(w, &a, "a", A), 0);
	assert_int_equal(ask(w, &b, "b", A), 0);
	a.call = http_call_free(a.call);
	assert_int_equal(counts(w).waiting, 1);
	RUN_UNTIL(w->event, b.called);
	assert_int_equal(a.called, 0);
	assert_true(asked_in_order(w, order, ARRAY_SIZE(order)));
}

static void
whose_turn_comes_too_late_is_told_so(void **state)
{
	struct caller a = { .deadline = fake_now() + 1250 * MS },
		      b = { .deadline = a.deadline },
		      c = { .deadline = a.deadline },
		      d = { .deadline = a.deadline };
	struct world *w = *state;

	begin(w, 240, 50);
	fake_say(w->upstream, "/", 200, "{}");
	spend(w, A);
	assert_int_equal(ask(w, &a, "a", A), 0);
	assert_int_equal(ask(w, &b, "b", A), 0);
	assert_int_equal(ask(w, &c, "c", A), 0);
	assert_int_equal(ask(w, &d, "d", A), 0);
	RUN_UNTIL(w->event, a.called && b.called && c.called && d.called);
	assert_true(fake_now() < a.deadline + 10 * USEC_PER_SEC);
	assert_int_equal(a.status, 200);
	assert_in_range(fake_count(w->upstream), 1, 2);	/* by the clock */
	assert_int_equal(d.e.kind, ERR_BUSY);
	assert_non_null(strstr(d.e.msg, "not asked"));
	assert_int_equal(c.e.kind, ERR_BUSY);
	assert_int_equal(counts(w).waiting, 0);
}

/* Both their turns come too late, which is found in one and the same turn. */
static void
a_callback_may_free_the_next_in_line_and_the_client(void **state)
{
	struct caller a = { 0 }, b = { 0 }, c = { 0 };
	struct world *w = *state;

	begin(w, 240, 50);
	fake_say(w->upstream, "/", 200, "{}");
	spend(w, A);
	a.deadline = b.deadline = c.deadline = fake_now() + 750 * MS;
	assert_int_equal(ask(w, &a, "a", A), 0);
	assert_int_equal(ask(w, &b, "b", A), 0);
	assert_int_equal(ask(w, &c, "c", A), 0);
	/* The first one would keep the client. */
	a.call = http_call_free(a.call);
	spend(w, A);
	b.frees = &c;
	b.ends = w;
	a.deadline = b.deadline = c.deadline = fake_now() + 50 * MS;
	RUN_UNTIL(w->event, b.called || c.called);
	assert_int_equal(b.called, 1);
	assert_int_equal(c.called, 0);
	assert_null(c.call);
	assert_null(w->client);
}

static void
a_deadline_that_moves_lets_it_wait_longer(void **state)
{
	struct caller a = { 0 }, b = { 0 };
	struct world *w = *state;

	begin(w, 240, 50);
	fake_say(w->upstream, "/", 200, "{}");
	spend(w, A);
	a.deadline = fake_now() + 750 * MS;
	assert_int_equal(ask(w, &b, "b", A), 0);
	assert_int_equal(ask(w, &a, "a", A), 0);
	a.deadline += 20 * USEC_PER_SEC;
	RUN_UNTIL(w->event, a.called && b.called);
	assert_int_equal(a.status, 200);
}

/* --- connections -------------------------------------------------------------- */

/* Four to a host: one for a peer, three for all of them, the last for nobody. */
static void
a_host_that_hangs_takes_one_payers_share_of_it(void **state)
{
	struct caller a = { 0 }, b = { 0 }, c = { 0 }, d = { 0 };
	struct caller a2 = { 0 }, nobody = { 0 }, last = { 0 };
	struct world *w = *state;

	begin(w, 1200, 25);
	assert_int_equal(ask(w, &a, "hangs", A), 0);
	assert_int_equal(ask(w, &a2, "a2", A), 0);
	assert_int_equal(http_client_sent(w->client), 1);
	assert_int_equal(ask(w, &b, "hangs", B), 0);
	assert_int_equal(ask(w, &c, "hangs", B + 1), 0);
	assert_int_equal(http_client_sent(w->client), 3);
	assert_int_equal(ask(w, &d, "d", B + 2), 0);
	assert_int_equal(http_client_sent(w->client), 3);
	fake_say(w->upstream, "/nobody", 200, "{}");
	assert_int_equal(ask(w, &nobody, "nobody", HTTP_PAYER_NOBODY), 0);
	RUN_UNTIL(w->event, nobody.called);
	assert_int_equal(counts(w).waiting, 2);
	assert_int_equal(counts(w).left, 1200 - 4);	/* to wait costs nothing */

	/* One place more is one for another peer, not for the first in line. */
	fake_say(w->upstream, "/d", 200, "{}");
	b.call = http_call_free(b.call);
	RUN_UNTIL(w->event, d.called);
	assert_int_equal(a2.called, 0);
	fake_say(w->upstream, "/a2", 200, "{}");
	a.call = http_call_free(a.call);
	RUN_UNTIL(w->event, a2.called);
	fake_say(w->upstream, "/last", 200, "{}");
	assert_int_equal(ask(w, &last, "last", A), 0);
	RUN_UNTIL(w->event, last.called);
	assert_int_equal(counts(w).waiting, 0);
	c.call = http_call_free(c.call);
}

static void
who_waits_for_one_host_may_ask_another(void **state)
{
	struct caller a = { 0 }, a2 = { 0 }, b = { 0 };
	struct world *w = *state;
	struct fake *hangs = fake_new(w->event), *works = w->upstream;

	begin(w, 1200, 25);
	fake_say(works, "/", 200, "{}");
	w->upstream = hangs;
	assert_int_equal(ask(w, &a, "a", A), 0);
	assert_int_equal(ask(w, &a2, "a2", A), 0);
	w->upstream = works;
	assert_int_equal(ask(w, &b, "b", A), 0);
	RUN_UNTIL(w->event, b.called);
	assert_int_equal(b.status, 200);
	a.call = http_call_free(a.call);
	a2.call = http_call_free(a2.call);
	fake_free(hangs);
}

/* It has not been asked, and nobody can say more. */
static void
whose_host_stays_full_is_told_at_the_deadline(void **state)
{
	struct caller a = { 0 }, b = { .deadline = fake_now() + 50 * MS };
	struct world *w = *state;

	begin(w, 1200, 25);
	assert_int_equal(ask(w, &a, "a", A), 0);
	assert_int_equal(ask(w, &b, "b", A), 0);
	RUN_UNTIL(w->event, b.called);
	assert_int_equal(b.e.kind, ERR_TIMEOUT);
	assert_non_null(strstr(b.e.msg, "not asked"));
	assert_int_equal(http_client_sent(w->client), 1);
	a.call = http_call_free(a.call);
}

/* A retry is a request like any other: it stands in line. */
static void
a_retry_waits_for_its_turn(void **state)
{
	struct world *w = *state;
	struct caller a = { 0 };

	begin(w, 240, 50);
	fake_say_once(w->upstream, "/", 503, "{}");
	fake_say(w->upstream, "/", 200, "{}");
	assert_int_equal(ask(w, &a, "a", A), 0);
	spend(w, A);
	RUN_UNTIL(w->event, a.called);
	assert_int_equal(a.status, 200);
	assert_int_equal(fake_count(w->upstream), 2);
	assert_int_equal(counts(w).delayed, 1);
}

#define TEST(f)	cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_storm_of_503_stops_at_the_budget),
		TEST(a_storm_of_no_answers_stops_at_the_budget),
		TEST(a_peer_in_a_loop_stops_at_its_share),
		TEST(whose_fault_it_is),
		TEST(those_of_one_payer_go_in_order_and_others_at_once),
		TEST(all_wait_where_all_is_spent_and_nobody_goes_first),
		TEST(who_leaves_the_line_is_not_asked_for),
		TEST(whose_turn_comes_too_late_is_told_so),
		TEST(a_callback_may_free_the_next_in_line_and_the_client),
		TEST(a_deadline_that_moves_lets_it_wait_longer),
		TEST(a_host_that_hangs_takes_one_payers_share_of_it),
		TEST(who_waits_for_one_host_may_ask_another),
		TEST(whose_host_stays_full_is_told_at_the_deadline),
		TEST(a_retry_waits_for_its_turn),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
