/* SPDX-License-Identifier: Apache-2.0 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/hash.h"
#include "fake-metadata.h"
#include "token/keyring.h"
#include "vectors.h"

#define MS	USEC_PER_MSEC
#define S	USEC_PER_SEC
#define CERTS	"/certs"

/* Google's kid over the account's key, and the other way round. */
#define SET(kid, n) "{\"keys\":[{\"e\":\"AQAB\",\"kid\":\"" kid \
	"\",\"kty\":\"RSA\",\"n\":\"" n "\"}]}"
#define WRONG_SET SET(VEC_GOOGLE_KEY_KID, VEC_SA_KEY_N)
#define OTHER_SET SET("other", VEC_SA_KEY_N)

struct world {
	sd_event *event;
	struct http_client *http;
	struct fake *google;
	struct endpoints at;
	struct keyring_options opt;
	struct keyring *k;
	struct jwt *j;
};

static int
setup(void **state)
{
	struct world *w = xcalloc(1, sizeof(*w));

	assert_true(sd_event_new(&w->event) >= 0);
	w->http = fake_client_new(w->event);
	w->google = fake_new(w->event);
	w->at.certs = xasprintf("%s" CERTS, fake_url(w->google));
	w->opt = (struct keyring_options){
		.min_usec = 60 * S,
		.max_usec = 3600 * S,
		.refetch_usec = 60 * S,
		.retry_usec = 20 * MS,
		.fetch_usec = 10 * S,
	};
	assert_int_equal(jwt_parse(VEC_ID_TOKEN_C1, strlen(VEC_ID_TOKEN_C1), &w->j,
				   NULL), 0);
	*state = w;
	return 0;
}

/* In the tests themselves, so that they may change w->opt first. */
static void
begin(struct world *w)
{
	assert_true(sd_event_run(w->event, 0) >= 0);
	w->k = keyring_new(w->event, w->http, &w->at, &w->opt);
}

static int
teardown(void **state)
{
	struct world *w = *state;

	keyring_free(w->k);
	jwt_free(w->j);
	http_client_free(w->http);
	fake_free(w->google);
	free(w->at.certs);
	sd_event_unref(w->event);
	free(w);
	return 0;
}

static void
publish(struct world *w, const char *cache_control, const char *body)
{
	_cleanup_(freep) char *bytes = xasprintf(
		"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n%s"
		"Content-Length: %zu\r\n\r\n%s", cache_control, strlen(body), body);

	fake_always(w->google, CERTS, bytes);
}

struct waiter {
	struct world *w;
	struct keyring_wait *wait;
	uint64_t deadline;
	unsigned called;
	bool good;
	struct err e;
	struct waiter *frees, *asks;	/* when called */
};

static int verify(struct world *w, struct waiter *x);

static void
on_verified(void *userdata, const struct err *e)
{
	struct waiter *x = userdata;

	assert_null(x->wait);		/* gone before it is told */
	x->called++;
	x->good = !e;
	if (e)
		x->e = *e;
	if (x->frees)
		x->frees->wait = keyring_wait_free(x->frees->wait);
	if (x->asks)
		verify(x->w, x->asks);
}

static int
verify(struct world *w, struct waiter *x)
{
	int r;

	x->w = w;
	if (x->deadline == 0)
		x->deadline = fake_now() + 20 * S;
	r = keyring_verify(w->k, w->j, VEC_ID_TOKEN_C1, &x->deadline, on_verified,
			   x, &x->wait, &x->e);
	assert_true((r == 0) == (x->wait != NULL));
	assert_int_equal(x->called, 0);
	if (r < 0)
		assert_int_equal(err_kind_errno(x->e.kind), r);
	return r;
}

static void
wait_for(struct world *w, struct waiter *x)
{
	RUN_UNTIL(w->event, x->called);
	assert_int_equal(x->called, 1);
}

static size_t
asked(const struct world *w)
{
	return fake_count(w->google);
}

static void
have_keys(struct world *w)
{
	struct waiter x = { .called = 0 };

	publish(w, "", VEC_D1_BODY);
	assert_int_equal(verify(w, &x), 0);
	wait_for(w, &x);
	assert_true(x.good);
	assert_int_equal(asked(w), 1);
}

/* --- tests -------------------------------------------------------------------- */

static void
a_key_is_fetched_once_for_all_who_want_it(void **state)
{
	struct waiter x[3] = { { .called = 0 } }, late = { .called = 0 };
	struct world *w = *state;

	begin(w);
	for (size_t i = 0; i < ARRAY_SIZE(x); i++)
		assert_int_equal(verify(w, &x[i]), 0);
	publish(w, "", VEC_D1_BODY);
	for (size_t i = 0; i < ARRAY_SIZE(x); i++) {
		wait_for(w, &x[i]);
		assert_true(x[i].good);
	}
	assert_int_equal(verify(w, &late), 1);
	assert_int_equal(asked(w), 1);
	assert_non_null(strstr(fake_last(w->google)->text,
			       "GET " CERTS " HTTP/1.1\r\n"));
}

static void
keys_fetched_early_are_there_when_wanted(void **state)
{
	struct waiter x = { .called = 0 };
	struct world *w = *state;
	struct keyring_status s;

	begin(w);
	publish(w, "", VEC_D1_BODY);
	keyring_prefetch(w->k);
	keyring_prefetch(w->k);
	assert_int_equal(asked(w), 0);		/* not before the loop runs */
	RUN_UNTIL(w->event, (keyring_status(w->k, &s), s.keys > 0));
	assert_null(s.e);
	assert_int_equal(verify(w, &x), 1);
	assert_int_equal(asked(w), 1);
}

static void
whoever_comes_while_keys_are_fetched_early_waits_for_these(void **state)
{
	struct waiter x = { .called = 0 };
	struct world *w = *state;

	begin(w);
	keyring_prefetch(w->k);
	RUN_UNTIL(w->event, asked(w) > 0);
	assert_int_equal(verify(w, &x), 0);
	publish(w, "", VEC_D1_BODY);
	wait_for(w, &x);
	assert_true(x.good);
	assert_int_equal(asked(w), 1);
}

/* 1,000 VMs, started in the same second, with the default of [timing]. */
static void
a_fleet_that_boots_shows_no_spike_over_twice_the_mean(void **state)
{
	const struct keyring_options o = { .early_usec = 60 * S };
	unsigned buckets[7] = { 0 };
	uint64_t n = 0;

	(void)state;
	for (uint64_t vm = 0; vm < 1000; vm++) {
		struct hash_key seed = { 0xb007, vm };
		uint64_t delay = keyring_early_delay(
			&o, hash_bytes(&seed, &n, sizeof(n)));

		assert_true(delay <= o.early_usec);
		buckets[delay / (10 * S)]++;
	}
	for (size_t i = 0; i < ARRAY_SIZE(buckets); i++)
		assert_true(buckets[i] < 2 * 1000 / 6);
}

static void
an_early_fetch_comes_within_its_time_at_the_limits_too(void **state)
{
	struct keyring_options o = { .early_usec = 0 };

	(void)state;
	assert_int_equal(keyring_early_delay(&o, UINT64_MAX), 0);
	o.early_usec = 9;
	assert_int_equal(keyring_early_delay(&o, 9), 9);
	assert_int_equal(keyring_early_delay(&o, 10), 0);
	o.early_usec = UINT64_MAX;
	assert_true(keyring_early_delay(&o, UINT64_MAX) == UINT64_MAX);
}

static void
who_wants_a_key_does_not_wait_for_the_early_fetch(void **state)
{
	struct waiter x = { .called = 0 };
	struct world *w = *state;

	w->opt.early_usec = 3600 * S;
	begin(w);
	publish(w, "", VEC_D1_BODY);
	keyring_prefetch(w->k);
	assert_int_equal(verify(w, &x), 0);
	wait_for(w, &x);
	assert_true(x.good);
	assert_int_equal(asked(w), 1);
}

static void
a_wrong_signature_is_refused(void **state)
{
	struct waiter x = { .called = 0 }, y = { .called = 0 };
	struct world *w = *state;

	begin(w);
	publish(w, "", WRONG_SET);
	assert_int_equal(verify(w, &x), 0);
	wait_for(w, &x);
	assert_false(x.good);
	assert_int_equal(x.e.kind, ERR_UNAVAILABLE);
	assert_non_null(strstr(x.e.msg, "the signature is not that of Google's key "
			       VEC_GOOGLE_KEY_KID));
	/* Its key is known: nobody is asked for another one. */
	assert_true(verify(w, &y) < 0);
	assert_int_equal(asked(w), 1);
}

static void
only_rs256_is_verified(void **state)
{
	static const char *const algs[] = { "none", "HS256", "RS512", "rs256", "" };
	struct world *w = *state;

	begin(w);
	have_keys(w);
	for (size_t i = 0; i <= ARRAY_SIZE(algs); i++) {
		struct waiter x = { .called = 0 };

		free(w->j->alg);
		w->j->alg = i < ARRAY_SIZE(algs) ? xstrdup(algs[i]) : NULL;
		assert_true(verify(w, &x) < 0);
		assert_non_null(strstr(x.e.msg, "alg is not RS256"));
	}
	assert_int_equal(asked(w), 1);
}

static void
a_token_without_a_kid_is_refused(void **state)
{
	struct waiter x = { .called = 0 };
	struct world *w = *state;

	begin(w);
	have_keys(w);
	free(w->j->kid);
	w->j->kid = NULL;
	assert_true(verify(w, &x) < 0);
	assert_int_equal(x.e.kind, ERR_UNAVAILABLE);
}

static void
an_unknown_key_is_asked_for_but_not_often(void **state)
{
	struct waiter x = { .called = 0 }, y = { .called = 0 }, z = { .called = 0 };
	struct world *w = *state;
	uint64_t until;

	w->opt.refetch_usec = 200 * MS;
	begin(w);
	publish(w, "", OTHER_SET);
	assert_int_equal(verify(w, &x), 0);
	wait_for(w, &x);
	assert_false(x.good);
	assert_non_null(strstr(x.e.msg, "none of Google's current ones"));
	until = fake_request(w->google, 0)->came + w->opt.refetch_usec;

	publish(w, "", VEC_D1_BODY);
	assert_true(verify(w, &y) < 0);		/* too early */
	assert_true(y.e.retry_usec > 0);
	assert_true(y.e.retry_usec <= w->opt.refetch_usec);
	assert_int_equal(asked(w), 1);

	fake_run_to(w->event, until + 10 * MS);
	assert_int_equal(verify(w, &z), 0);
	wait_for(w, &z);
	assert_true(z.good);
	assert_int_equal(asked(w), 2);
}

static void
old_keys_stay_good_while_new_ones_are_not_to_be_had(void **state)
{
	struct world *w = *state;
	struct keyring_status s;

	w->opt.min_usec = MS;
	w->opt.max_usec = 30 * MS;
	w->opt.refetch_usec = 20 * MS;
	begin(w);
	have_keys(w);
	fake_say(w->google, CERTS, 503, "");
	for (size_t n = 2; n < 5; n++) {
		struct waiter x = { .called = 0 };

		fake_run_to(w->event, fake_now() + 60 * MS);
		assert_int_equal(verify(w, &x), 1);	/* at once */
		RUN_UNTIL(w->event, asked(w) >= n);
		RUN_UNTIL(w->event, (keyring_status(w->k, &s), s.e));
		assert_int_equal(s.keys, 1);
	}
	publish(w, "", OTHER_SET);
	fake_run_to(w->event, fake_now() + 60 * MS);
	assert_int_equal(verify(w, &(struct waiter){ .called = 0 }), 1);
	RUN_UNTIL(w->event, (keyring_status(w->k, &s), !s.e));

	/* Replaced: the old key is none any more. */
	{
		struct waiter x = { .called = 0 };
		int r = verify(w, &x);

		if (r == 0) {
			wait_for(w, &x);
			r = x.good ? 1 : -1;
		}
		assert_true(r < 0);
	}
}

static void
a_set_is_current_as_long_as_its_header_says(void **state)
{
	static const struct {
		const char *fields;
		uint64_t seconds;
	} table[] = {
		{ "Cache-Control: public, max-age=1000, x\r\n", 1000 },
		{ "Cache-Control: max-age=1000\r\nAge: 400\r\n", 600 },
		{ "Age: 400\r\nCache-Control: max-age=1000\r\n", 600 },
		{ "Cache-Control: max-age=1000\r\nAge: 990\r\n", 60 },
		{ "Cache-Control: max-age=1000\r\nAge: 5000\r\n", 60 },
		{ "Cache-Control: max-age=0\r\n", 60 },
		{ "Cache-Control: no-store\r\n", 60 },
		{ "", 60 },
		{ "Cache-Control: max-age=999999999999\r\n", 3600 },
	};
	struct world *w = *state;

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		struct waiter x = { .called = 0 };
		struct keyring_status s;

		w->k = keyring_free(w->k);
		begin(w);
		publish(w, table[i].fields, VEC_D1_BODY);
		assert_int_equal(verify(w, &x), 0);
		wait_for(w, &x);
		keyring_status(w->k, &s);
		if (s.fresh_usec > table[i].seconds * S ||
		    s.fresh_usec < (table[i].seconds - 10) * S)
			fail_msg("%s: %llu", table[i].fields,
				 (unsigned long long)s.fresh_usec);
	}
}

static void
no_keys_no_token(void **state)
{
	struct waiter x = { .called = 0 }, y = { .called = 0 }, z = { .called = 0 };
	struct world *w = *state;

	w->opt.retry_usec = 200 * MS;
	begin(w);
	fake_say(w->google, CERTS, 503, "");
	assert_int_equal(verify(w, &x), 0);
	wait_for(w, &x);
	assert_false(x.good);
	assert_int_equal(x.e.kind, ERR_UNAVAILABLE);
	assert_non_null(strstr(x.e.msg, "Google's public keys: HTTP 503"));
	assert_non_null(strstr(x.e.hint, "verify = claims"));

	/* Nobody is asked for every token. */
	assert_true(verify(w, &y) < 0);
	assert_int_equal(y.e.kind, ERR_UNAVAILABLE);
	assert_true(y.e.retry_usec > 0 && y.e.retry_usec <= 200 * MS);
	assert_int_equal(asked(w), 1);

	fake_run_to(w->event, fake_now() + 210 * MS);
	publish(w, "", VEC_D1_BODY);
	assert_int_equal(verify(w, &z), 0);
	wait_for(w, &z);
	assert_true(z.good);
}

static void
pauses_after_failures_double_up_to_that_between_fetches(void **state)
{
	static const uint64_t pauses[] = { 20, 40, 50, 50 };
	struct world *w = *state;

	w->opt.refetch_usec = 50 * MS;
	begin(w);
	fake_once(w->google, CERTS, "");
	fake_say(w->google, CERTS, 200, "{}");
	for (size_t i = 0; i < ARRAY_SIZE(pauses); i++) {
		struct waiter x = { .called = 0 }, y = { .called = 0 };

		assert_int_equal(verify(w, &x), 0);
		wait_for(w, &x);
		assert_false(x.good);
		if (verify(w, &y) == 0) {	/* the machine was slow */
			wait_for(w, &y);
			continue;
		}
		assert_true(y.e.retry_usec <= pauses[i] * MS);
		fake_run_to(w->event, fake_now() + pauses[i] * MS + MS);
	}
}

static void
waits_end_at_their_deadlines_which_may_move(void **state)
{
	struct waiter x = { .deadline = fake_now() + 30 * MS };
	struct waiter y = { .deadline = fake_now() + 30 * MS };
	struct world *w = *state;

	begin(w);
	assert_int_equal(verify(w, &x), 0);
	assert_int_equal(verify(w, &y), 0);
	y.deadline += 20 * S;
	wait_for(w, &x);
	assert_int_equal(x.e.kind, ERR_TIMEOUT);
	assert_int_equal(y.called, 0);
	publish(w, "", VEC_D1_BODY);
	wait_for(w, &y);
	assert_true(y.good);
}

static void
a_wait_that_is_freed_is_never_told(void **state)
{
	struct waiter x = { .called = 0 }, y = { .called = 0 }, z = { .called = 0 };
	struct world *w = *state;

	begin(w);
	x.frees = &y;
	assert_int_equal(verify(w, &x), 0);
	assert_int_equal(verify(w, &y), 0);
	assert_int_equal(verify(w, &z), 0);
	z.wait = keyring_wait_free(z.wait);
	publish(w, "", VEC_D1_BODY);
	wait_for(w, &x);
	fake_run_to(w->event, fake_now() + 10 * MS);
	assert_int_equal(y.called + z.called, 0);
	assert_null(keyring_wait_free(NULL));
	assert_null(keyring_free(NULL));
}

static void
a_callback_may_ask_again(void **state)
{
	struct waiter x = { .called = 0 }, y = { .called = 0 };
	struct world *w = *state;

	w->opt.refetch_usec = 0;
	begin(w);
	x.asks = &y;
	publish(w, "", OTHER_SET);
	assert_int_equal(verify(w, &x), 0);
	wait_for(w, &x);
	assert_false(x.good);
	publish(w, "", VEC_D1_BODY);
	wait_for(w, &y);
}

static void
keys_that_are_none_are_left_out(void **state)
{
	struct waiter x = { .called = 0 };
	struct world *w = *state;
	struct keyring_status s;

	begin(w);
	publish(w, "", SET("weak", "AQAB"));
	assert_int_equal(verify(w, &x), 0);
	wait_for(w, &x);
	assert_false(x.good);
	assert_non_null(strstr(x.e.msg, "Google's public keys: key: "));
	keyring_status(w->k, &s);
	assert_int_equal(s.keys, 0);
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_key_is_fetched_once_for_all_who_want_it),
		TEST(keys_fetched_early_are_there_when_wanted),
		TEST(whoever_comes_while_keys_are_fetched_early_waits_for_these),
		TEST(a_fleet_that_boots_shows_no_spike_over_twice_the_mean),
		TEST(an_early_fetch_comes_within_its_time_at_the_limits_too),
		TEST(who_wants_a_key_does_not_wait_for_the_early_fetch),
		TEST(a_wrong_signature_is_refused),
		TEST(only_rs256_is_verified),
		TEST(a_token_without_a_kid_is_refused),
		TEST(an_unknown_key_is_asked_for_but_not_often),
		TEST(old_keys_stay_good_while_new_ones_are_not_to_be_had),
		TEST(a_set_is_current_as_long_as_its_header_says),
		TEST(no_keys_no_token),
		TEST(pauses_after_failures_double_up_to_that_between_fetches),
		TEST(waits_end_at_their_deadlines_which_may_move),
		TEST(a_wait_that_is_freed_is_never_told),
		TEST(a_callback_may_ask_again),
		TEST(keys_that_are_none_are_left_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
