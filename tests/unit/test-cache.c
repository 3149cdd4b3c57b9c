/* SPDX-License-Identifier: Apache-2.0 */

#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "token/cache.h"

#define NOW	INT64_C(1767225600)
#define NEVER	CACHE_NEVER

/* All clocks say so many seconds since 1970: one number does for them. */
static const struct token_now *
at(int64_t seconds)
{
	static struct token_now now;
	int64_t usec = seconds * (int64_t)USEC_PER_SEC;

	now = (struct token_now){ (uint64_t)usec, usec, usec };
	return &now;
}

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

/* The key of audience a; good until the next call but three. */
static const struct token_key *
key(unsigned a)
{
	static char text[4][24];
	static struct token_key keys[4];
	static unsigned turn;
	unsigned i = turn++ % 4;

	snprintf(text[i], sizeof(text[i]), "https://a%u", a);
	keys[i] = (struct token_key){ TOKEN_ID, "default", "", text[i] };
	return &keys[i];
}

static void
put_key(struct cache *c, const struct token_key *k, uint64_t owner, int64_t exp,
	uint64_t refresh_at)
{
	struct token *t = token_new(TOKEN_ID, k->audience, NOW, exp, at(NOW),
				    NULL, NULL);

	cache_put(c, k, owner, t, refresh_at);
	token_unref(t);
}

static void
put(struct cache *c, unsigned a, uint64_t owner)
{
	put_key(c, key(a), owner, NOW + 3600, NEVER);
}

static bool
has(struct cache *c, unsigned a)
{
	struct token *t = cache_get(c, key(a), at(NOW));

	if (t)
		assert_string_equal(token_reveal(t, NULL), key(a)->audience);
	return t;
}

static struct cache *
cache_of(size_t entries, size_t per_owner)
{
	return cache_new(&(struct cache_options){ entries, per_owner });
}

static void
what_was_put_is_got(void **state _unused_)
{
	_cleanup_(cache_freep) struct cache *c = cache_of(10, 10);

	assert_false(has(c, 1));
	put(c, 1, 7);
	assert_true(has(c, 1));
	assert_false(has(c, 2));
	assert_int_equal(cache_len(c), 1);
	assert_int_equal(cache_owner_len(c, 7), 1);
	assert_int_equal(cache_owner_len(c, 8), 0);
}

static void
expired_token_is_never_returned(void **state _unused_)
{
	_cleanup_(cache_freep) struct cache *c = cache_of(10, 10);

	put_key(c, key(1), 7, NOW + 10, NEVER);
	assert_non_null(cache_get(c, key(1), at(NOW + 9)));
	assert_null(cache_get(c, key(1), at(NOW + 10)));
	/* and is gone, though time may go back */
	assert_int_equal(cache_len(c), 0);
	assert_null(cache_get(c, key(1), at(NOW)));
}

static void
a_token_taken_outlives_its_entry(void **state _unused_)
{
	_cleanup_(cache_freep) struct cache *c = cache_of(10, 10);
	_cleanup_(token_unrefp) struct token *t = NULL;

	put(c, 1, 7);
	t = token_ref(cache_get(c, key(1), at(NOW)));
	cache_drop(c, key(1));
	assert_false(has(c, 1));
	assert_string_equal(token_reveal(t, NULL), "https://a1");
}

static void
every_member_of_the_key_counts(void **state _unused_)
{
	static const struct token_key keys[] = {
		{ TOKEN_ID, "default", "", "x" },
		{ TOKEN_ACCESS, "default", "", "x" },
		{ TOKEN_ID, "other", "", "x" },
		{ TOKEN_ID, "default", "full", "x" },
		{ TOKEN_ID, "default", "", "X" },
		{ TOKEN_ID, "default", "", "x " },
		{ TOKEN_ID, "default", "x", "" },
		{ TOKEN_ID, "defaultx", "", "" },
		{ TOKEN_ID, "", "default", "x" },
		{ TOKEN_ID, "", "", "" },
	};
	_cleanup_(cache_freep) struct cache *c = cache_of(100, 100);

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		assert_null(cache_get(c, &keys[i], at(NOW)));
		put_key(c, &keys[i], i, NOW + 1 + (int64_t)i, NEVER);
	}
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		assert_true(token_exp(cache_get(c, &keys[i], at(NOW))) ==
			    NOW + 1 + (int64_t)i);
	assert_int_equal(cache_len(c), ARRAY_SIZE(keys));
}

static void
replacing_keeps_the_owner(void **state _unused_)
{
	_cleanup_(cache_freep) struct cache *c = cache_of(10, 10);

	put_key(c, key(1), 7, NOW + 10, NOW + 5);
	put_key(c, key(1), 8, NOW + 20, NOW + 15);
	assert_int_equal(cache_len(c), 1);
	assert_int_equal(cache_owner_len(c, 7), 1);
	assert_int_equal(cache_owner_len(c, 8), 0);
	assert_true(token_exp(cache_get(c, key(1), at(NOW))) == NOW + 20);
	assert_true(cache_next_refresh(c) == NOW + 15);
}

static void
a_token_may_replace_itself(void **state _unused_)
{
	_cleanup_(cache_freep) struct cache *c = cache_of(10, 10);

	put(c, 1, 7);
	cache_put(c, key(1), 7, cache_get(c, key(1), at(NOW)), NOW + 1);
	assert_true(has(c, 1));
}

static void
an_owner_at_its_share_loses_its_own_oldest(void **state _unused_)
{
	_cleanup_(cache_freep) struct cache *c = cache_of(100, 3);

	put(c, 10, 1);
	for (unsigned a = 0; a < 3; a++)
		put(c, a, 7);
	assert_true(has(c, 0));		/* 1 is the oldest now */
	put(c, 3, 7);
	assert_false(has(c, 1));
	assert_true(has(c, 0) && has(c, 2) && has(c, 3) && has(c, 10));
	assert_int_equal(cache_owner_len(c, 7), 3);
}

static void
a_full_cache_takes_from_who_holds_the_most(void **state _unused_)
{
	_cleanup_(cache_freep) struct cache *c = cache_of(6, 6);

	for (unsigned a = 0; a < 4; a++)
		put(c, a, 7);
	put(c, 10, 1);
	put(c, 20, 2);
	put(c, 30, 3);
	assert_false(has(c, 0));
	assert_true(has(c, 1) && has(c, 2) && has(c, 3));
	put(c, 31, 3);
	assert_false(has(c, 1));
	assert_true(has(c, 10) && has(c, 20) && has(c, 30) && has(c, 31));
	assert_int_equal(cache_len(c), 6);
}

static void
among_equals_the_one_idle_the_longest_loses(void **state _unused_)
{
	_cleanup_(cache_freep) struct cache *c = cache_of(3, 3);

	put(c, 10, 1);
	put(c, 20, 2);
	put(c, 30, 3);
	assert_true(has(c, 10));
	put(c, 40, 4);
	assert_false(has(c, 20));
	assert_true(has(c, 30) && has(c, 10) && has(c, 40));
	put(c, 50, 5);
	assert_false(has(c, 30));
}

static void
the_newest_entry_stays_even_alone(void **state _unused_)
{
	_cleanup_(cache_freep) struct cache *c = cache_of(1, 1);

	for (unsigned a = 0; a < 100; a++) {
		put(c, a, a % 3);
		assert_true(has(c, a));
		assert_int_equal(cache_len(c), 1);
	}
}

static void
one_greedy_peer_leaves_others_entries_alone(void **state _unused_)
{
	_cleanup_(cache_freep) struct cache *c = cache_of(1000, 1000);

	for (unsigned a = 0; a < 100; a++)
		put(c, a, 1 + a % 10);
	for (unsigned a = 1000; a < 21000; a++)
		put(c, a, 99);
	for (unsigned a = 0; a < 100; a++)
		assert_true(has(c, a));
	assert_int_equal(cache_len(c), 1000);
	assert_int_equal(cache_owner_len(c, 99), 900);
}

static void
the_next_refresh_is_the_earliest_there_is(void **state _unused_)
{
	_cleanup_(cache_freep) struct cache *c = cache_of(100, 100);

	assert_true(cache_next_refresh(c) == NEVER);
	put_key(c, key(1), 7, NOW + 3600, NOW + 30);
	put_key(c, key(2), 7, NOW + 3600, NOW + 10);
	put_key(c, key(3), 7, NOW + 3600, NEVER);
	put_key(c, key(4), 7, NOW + 3600, NOW + 20);
	assert_true(cache_next_refresh(c) == NOW + 10);
	cache_drop(c, key(2));
	assert_true(cache_next_refresh(c) == NOW + 20);
	put_key(c, key(4), 7, NOW + 3600, NOW + 40);
	assert_true(cache_next_refresh(c) == NOW + 30);
	put_key(c, key(1), 7, NOW + 3600, NEVER);
	assert_true(cache_next_refresh(c) == NOW + 40);
	cache_drop(c, key(4));
	assert_true(cache_next_refresh(c) == NEVER);
}

static void
a_flush_leaves_nothing_and_the_cache_goes_on(void **state _unused_)
{
	_cleanup_(cache_freep) struct cache *c = cache_of(100, 100);

	cache_flush(c);
	for (unsigned a = 0; a < 50; a++)
		put(c, a, a % 7);
	cache_flush(c);
	assert_int_equal(cache_len(c), 0);
	assert_int_equal(cache_owner_len(c, 1), 0);
	assert_true(cache_next_refresh(c) == NEVER);
	assert_false(has(c, 1));
	cache_drop(c, key(1));
	put(c, 1, 7);
	assert_true(has(c, 1));
}

/* --- the same, done by the simplest of means, and compared ------------------- */

#define KEYS	40u
#define OWNERS	5u
#define ENTRIES	20u
#define SHARE	9u

struct simple {
	bool in[KEYS];
	unsigned owner[KEYS];
	uint64_t used[KEYS];
	uint64_t refresh[KEYS];
	uint64_t owner_used[OWNERS], uses;
};

static size_t
simple_len(const struct simple *s, unsigned owner)
{
	size_t n = 0;

	for (unsigned a = 0; a < KEYS; a++)
		n += s->in[a] && (owner == OWNERS || s->owner[a] == owner);
	return n;
}

static void
simple_use(struct simple *s, unsigned a)
{
	s->used[a] = s->owner_used[s->owner[a]] = ++s->uses;
}

static void
simple_evict(struct simple *s, unsigned owner)
{
	unsigned oldest = KEYS;

	for (unsigned a = 0; a < KEYS; a++)
		if (s->in[a] && s->owner[a] == owner &&
		    (oldest == KEYS || s->used[a] < s->used[oldest]))
			oldest = a;
	s->in[oldest] = false;
}

static void
simple_put(struct simple *s, unsigned a, unsigned owner, uint64_t refresh)
{
	unsigned most = 0;

	s->refresh[a] = refresh;
	if (s->in[a])
		return;
	s->in[a] = true;
	s->owner[a] = owner;
	simple_use(s, a);
	if (simple_len(s, owner) > SHARE)
		simple_evict(s, owner);
	if (simple_len(s, OWNERS) <= ENTRIES)
		return;
	for (unsigned o = 1; o < OWNERS; o++)
		if (simple_len(s, o) > simple_len(s, most) ||
		    (simple_len(s, o) == simple_len(s, most) &&
		     s->owner_used[o] < s->owner_used[most]))
			most = o;
	simple_evict(s, most);
}

static unsigned
dice(unsigned sides)
{
	static uint64_t x = 88172645463325252;	/* the same game every time */

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return (unsigned)(x >> 33) % sides;
}

static void
it_does_what_a_simple_cache_does(void **state _unused_)
{
	_cleanup_(cache_freep) struct cache *c = cache_of(ENTRIES, SHARE);
	struct simple s = { 0 };
	uint64_t earliest;

	for (int i = 0; i < 20000; i++) {
		unsigned a = dice(KEYS), owner = dice(OWNERS), what = dice(100);
		uint64_t refresh = NOW + dice(1000);

		if (what < 50) {
			assert_int_equal(has(c, a), s.in[a]);
			if (s.in[a])
				simple_use(&s, a);
		} else if (what < 95) {
			put_key(c, key(a), owner, NOW + 3600, refresh);
			simple_put(&s, a, owner, refresh);
		} else {
			cache_drop(c, key(a));
			s.in[a] = false;
		}

		earliest = NEVER;
		for (unsigned k = 0; k < KEYS; k++)
			if (s.in[k] && s.refresh[k] < earliest)
				earliest = s.refresh[k];
		assert_true(cache_next_refresh(c) == earliest);
		assert_int_equal(cache_len(c), simple_len(&s, OWNERS));
		for (unsigned o = 0; o < OWNERS; o++)
			assert_int_equal(cache_owner_len(c, o), simple_len(&s, o));
	}
}

/* --- size -------------------------------------------------------------------- */

static size_t
memory_used(void)
{
#if __GLIBC_PREREQ(2, 33)
	struct mallinfo2 m = mallinfo2();
#else
	struct mallinfo m = mallinfo();
#endif

	/* in the heap, and in mappings of their own */
	return (size_t)m.uordblks + (size_t)m.hblkhd;
}

static void
memory_does_not_grow_with_what_was_evicted(void **state _unused_)
{
	struct cache *c = cache_of(1000, 500);
	size_t empty = memory_used(), full, later;

	/* audiences, and as many owners: full, and 100,000 later */
	for (unsigned a = 0; a < 100; a++)
		put(c, a, 7);
	for (unsigned a = 100; a < 2000; a++)
		put(c, a, a);
	full = memory_used();
	for (unsigned a = 2000; a < 102000; a++)
		put(c, a, a);
	later = memory_used();
	assert_int_equal(cache_len(c), 1000);
	cache_flush(c);
	/* Other allocators than glibc's do not say. */
	if (!SANITIZED && full > empty) {
		assert_true(later - empty < (full - empty) / 10 * 11);
		assert_true(memory_used() - empty < (full - empty) / 10);
	}
	cache_free(c);
}

static void
a_hundred_thousand_entries_are_no_burden(void **state _unused_)
{
	struct cache *c = cache_of(100000, 100000);
	size_t empty = memory_used();
	clock_t begin = clock();

	for (unsigned a = 0; a < 100000; a++)
		put_key(c, key(a), a % 2 ? a : 0, NOW + 3600,
			NOW + (a * 7919) % 3600);
	for (unsigned a = 0; a < 100000; a++)
		assert_true(has(c, a));
	for (unsigned a = 100000; a < 200000; a++)
		put(c, a, a % 3);
	assert_int_equal(cache_len(c), 100000);
	/* dropped one by one, tables and heaps shrink as they grew */
	for (unsigned a = 0; a < 200000; a++)
		cache_drop(c, key(a));
	assert_int_equal(cache_len(c), 0);
	if (!SANITIZED)
		assert_true(memory_used() <= empty + 64 * 1024);
	/* Quadratic would be minutes; this is a second, under valgrind 30. */
	assert_true((clock() - begin) / CLOCKS_PER_SEC < 60);
	cache_free(c);
}

static void
what_is_due_is_taken_once_with_its_key_and_owner(void **state)
{
	_cleanup_(cache_freep) struct cache *c = NULL;
	struct token_key *k = NULL;
	unsigned unused = 9;
	uint64_t owner = 0;

	(void)state;
	c = cache_new(&(struct cache_options){ 10, 10 });
	put_key(c, key(1), 5, NOW + 3600, NOW + 100);
	assert_false(cache_due(c, NOW + 99, &k, &owner, &unused));
	assert_true(cache_due(c, NOW + 100, &k, &owner, &unused));
	assert_string_equal(k->audience, key(1)->audience);
	assert_string_equal(k->account, "default");
	assert_string_equal(k->variant, "");
	assert_true(owner == 5);
	assert_int_equal(unused, 0);
	assert_false(cache_due(c, NOW + 4000, &k, &owner, &unused));
	cache_refresh_at(c, k, at(NOW), NOW + 200);
	assert_true(cache_next_refresh(c) == NOW + 200);
	/* Tried again: it is the same token still. */
	free(k);
	assert_true(cache_due(c, NOW + 200, &k, &owner, &unused));
	assert_int_equal(unused, 0);
	cache_refresh_at(c, k, at(NOW + 3600), NOW + 4000);
	assert_int_equal(cache_len(c), 0);	/* it is too late for that */
	free(k);
}

static void
unused_refreshes_are_counted_and_a_use_begins_anew(void **state)
{
	static const unsigned expected[] = { 0, 1, 2, 0, 1 };
	_cleanup_(cache_freep) struct cache *c = NULL;
	struct token_key *k;
	unsigned unused;
	uint64_t owner;

	(void)state;
	c = cache_new(&(struct cache_options){ 10, 10 });
	for (size_t i = 0; i < ARRAY_SIZE(expected); i++) {
		put_key(c, key(1), 5, NOW + 3600, NOW + 100);
		if (i == 3)
			assert_non_null(cache_get(c, key(1), at(NOW)));
		assert_true(cache_due(c, NOW + 100, &k, &owner, &unused));
		assert_int_equal(unused, expected[i]);
		free(k);
	}
}

struct rejudged {
	unsigned asked;
	uint64_t when;
};

static uint64_t
when_asked(void *userdata, const struct token *t)
{
	struct rejudged *r = userdata;

	assert_non_null(t);
	r->asked++;
	return r->when;
}

/* Entry i expires at NOW + i, to be refreshed a quarter of an hour earlier. */
static void
what_a_clock_has_made_expire_goes_and_the_rest_stays(void **state _unused_)
{
	_cleanup_(cache_freep) struct cache *c = cache_of(4000, 4000);
	struct rejudged r = { .when = NEVER };

	for (unsigned i = 1; i <= 3600; i++)
		put_key(c, key(i), i % 7, NOW + i, NOW + i - 900);
	cache_rejudge(c, at(NOW), when_asked, &r);
	assert_int_equal(cache_len(c), 3600);
	assert_int_equal(r.asked, 3600);
	assert_true(cache_next_refresh(c) == NOW - 899);

	cache_rejudge(c, at(NOW + 2000), when_asked, &r);
	assert_int_equal(cache_len(c), 1600);
	for (unsigned i = 1; i <= 3600; i += 37)
		assert_int_equal(has(c, i), i > 2000);
	for (unsigned i = 0, sum = 0; i < 7; i++) {
		sum += cache_owner_len(c, i);
		assert_true(i < 6 || sum == 1600);
	}
	assert_true(cache_next_refresh(c) == NOW + 2001 - 900);
	cache_rejudge(c, at(NOW + 3600), when_asked, &r);
	assert_int_equal(cache_len(c), 0);
	assert_true(cache_next_refresh(c) == NEVER);
	cache_rejudge(c, at(NOW + 3600), when_asked, &r);
}

static void
a_clock_brings_refreshes_forward_and_never_puts_them_off(void **state _unused_)
{
	_cleanup_(cache_freep) struct cache *c = cache_of(10, 10);
	struct rejudged r = { .when = NOW + 200 };

	put_key(c, key(1), 7, NOW + 3600, NOW + 100);
	put_key(c, key(2), 7, NOW + 3600, NOW + 300);
	put_key(c, key(3), 7, NOW + 3600, NEVER);
	cache_rejudge(c, at(NOW), when_asked, &r);
	assert_int_equal(r.asked, 2);		/* nobody wants the third one */
	assert_true(cache_next_refresh(c) == NOW + 100);
	cache_drop(c, key(1));
	assert_true(cache_next_refresh(c) == NOW + 200);
	cache_drop(c, key(2));
	assert_true(cache_next_refresh(c) == NEVER);
	assert_int_equal(cache_len(c), 1);
}

static void
what_was_due_is_due_again_when_its_taker_is_gone(void **state _unused_)
{
	_cleanup_(cache_freep) struct cache *c = cache_of(10, 10);
	struct rejudged r = { .when = NOW + 200 };
	struct token_key *k;
	uint64_t owner;
	unsigned unused;

	put_key(c, key(1), 7, NOW + 3600, NOW + 100);
	put_key(c, key(2), 7, NOW + 3600, NOW + 300);
	put_key(c, key(3), 7, NOW + 3600, NEVER);
	assert_true(cache_due(c, NOW + 100, &k, &owner, &unused));
	free(k);
	cache_due_again(c);
	assert_true(cache_next_refresh(c) == NOW + 300);
	cache_rejudge(c, at(NOW), when_asked, &r);
	assert_int_equal(r.asked, 3);
	for (unsigned i = 0; i < 3; i++) {
		assert_true(cache_due(c, NOW + 200, &k, &owner, &unused));
		free(k);
	}
	assert_true(cache_next_refresh(c) == NEVER);
}

struct looked {
	size_t n, stop;			/* false is said then */
	bool seen[16];
};

static bool
look(void *userdata, const struct cache_item *item)
{
	struct looked *l = userdata;

	if (l->n == l->stop)
		return false;
	l->n++;
	for (unsigned a = 0; a < ARRAY_SIZE(l->seen); a++)
		if (strcmp(item->key->audience, key(a)->audience) == 0) {
			assert_false(l->seen[a]);
			l->seen[a] = true;
			assert_int_equal(item->owner, 7 + a);
			assert_int_equal(token_exp(item->token), NOW + 3600);
		}
	return true;
}

static void
a_walk_shows_each_entry_once(void **state _unused_)
{
	_cleanup_(cache_freep) struct cache *c = cache_of(100, 10);
	struct looked l = { .stop = 100 };

	assert_int_equal(cache_walk(c, look, &l), 0);
	for (unsigned a = 0; a < 16; a++)
		put(c, a, 7 + a);
	assert_int_equal(cache_walk(c, look, &l), 16);
	assert_int_equal(l.n, 16);
	for (unsigned a = 0; a < 16; a++)
		assert_true(l.seen[a]);
}

static void
a_walk_ends_where_it_is_told_to(void **state _unused_)
{
	_cleanup_(cache_freep) struct cache *c = cache_of(100, 10);
	struct looked l = { .stop = 5 };

	for (unsigned a = 0; a < 16; a++)
		put(c, a, 7 + a);
	assert_int_equal(cache_walk(c, look, &l), 5);
	assert_int_equal(l.n, 5);
}

static void
a_walk_is_no_use_of_what_it_shows(void **state _unused_)
{
	_cleanup_(cache_freep) struct cache *c = cache_of(100, 2);
	struct looked l = { .stop = 100 };

	put(c, 0, 7);
	put_key(c, key(20), 7, NOW + 3600, NEVER);
	assert_int_equal(cache_walk(c, look, &l), 2);
	put_key(c, key(21), 7, NOW + 3600, NEVER);
	assert_false(has(c, 0));
	assert_true(has(c, 20));
}

static void
an_audience_is_dropped_in_all_its_variants(void **state _unused_)
{
	_cleanup_(cache_freep) struct cache *c = cache_of(1000, 1000);
	struct token_key full = *key(3);

	for (unsigned a = 0; a < 300; a++)
		put(c, a, a % 5);
	full = *key(3);
	full.variant = "full";
	put_key(c, &full, 9, NOW + 3600, NEVER);
	cache_drop_audience(c, "https://a3");
	assert_int_equal(cache_len(c), 299);
	assert_null(cache_get(c, &full, at(NOW)));
	for (unsigned a = 0; a < 300; a++)
		assert_true(has(c, a) == (a != 3));
	/* https://a33 ends in 3, and https://a is how all begin. */
	cache_drop_audience(c, "3");
	cache_drop_audience(c, "https://a");
	cache_drop_audience(c, "");
	assert_int_equal(cache_len(c), 299);
}

static void
what_the_agent_wants_is_not_pushed_out_by_others(void **state _unused_)
{
	_cleanup_(cache_freep) struct cache *c = cache_of(10, 10);

	for (unsigned a = 0; a < 8; a++)
		put(c, a, CACHE_OWNER_AGENT);
	/* Each holds one, and the agent eight. */
	for (unsigned a = 100; a < 200; a++) {
		put(c, a, a);
		assert_int_equal(cache_owner_len(c, CACHE_OWNER_AGENT), 8);
	}
	assert_int_equal(cache_len(c), 10);
	assert_int_equal(cache_evicted(c), 98);
	/* It is held to its own share all the same. */
	for (unsigned a = 8; a < 20; a++)
		put(c, a, CACHE_OWNER_AGENT);
	assert_int_equal(cache_owner_len(c, CACHE_OWNER_AGENT), 10);
}

static void
no_token_is_good_for_longer_than_the_last(void **state _unused_)
{
	_cleanup_(cache_freep) struct cache *c = cache_of(10, 10);

	assert_true(cache_last_exp(c) == INT64_MIN);
	put_key(c, key(1), 7, NOW + 10, NEVER);
	put_key(c, key(2), 7, NOW + 30, NEVER);
	put_key(c, key(3), 7, NOW + 20, NEVER);
	assert_int_equal(cache_last_exp(c), NOW + 30);
	cache_drop_audience(c, "https://a2");
	assert_int_equal(cache_last_exp(c), NOW + 20);
	cache_drop(c, key(1));
	cache_drop(c, key(3));
	assert_true(cache_last_exp(c) == INT64_MIN);
	put_key(c, key(1), 7, NOW + 5, NEVER);
	cache_flush(c);
	put_key(c, key(1), 7, NOW + 1, NEVER);
	assert_int_equal(cache_last_exp(c), NOW + 1);
}

static void
smaller_limits_push_out_what_was_used_least(void **state _unused_)
{
	_cleanup_(cache_freep) struct cache *c = cache_of(100, 50);

	for (unsigned i = 0; i < 6; i++)
		put(c, i, 1);
	for (unsigned i = 6; i < 9; i++)
		put(c, i, 2);
	assert_true(has(c, 0));
	cache_configure(c, &(struct cache_options){ 100, 3 });
	assert_int_equal(cache_owner_len(c, 1), 3);
	assert_int_equal(cache_owner_len(c, 2), 3);
	assert_true(has(c, 0) && has(c, 4) && has(c, 5));
	assert_false(has(c, 3));
	cache_configure(c, &(struct cache_options){ 2, 1 });
	assert_int_equal(cache_len(c), 2);
	cache_configure(c, &(struct cache_options){ 1, 1 });
	assert_int_equal(cache_len(c), 1);
	cache_flush(c);
	cache_configure(c, &(struct cache_options){ 1, 1 });
	put(c, 1, 1);
	put(c, 2, 1);
	assert_int_equal(cache_len(c), 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_put_is_got),
		cmocka_unit_test(smaller_limits_push_out_what_was_used_least),
		cmocka_unit_test(expired_token_is_never_returned),
		cmocka_unit_test(a_token_taken_outlives_its_entry),
		cmocka_unit_test(every_member_of_the_key_counts),
		cmocka_unit_test(replacing_keeps_the_owner),
		cmocka_unit_test(a_token_may_replace_itself),
		cmocka_unit_test(an_owner_at_its_share_loses_its_own_oldest),
		cmocka_unit_test(a_full_cache_takes_from_who_holds_the_most),
		cmocka_unit_test(among_equals_the_one_idle_the_longest_loses),
		cmocka_unit_test(the_newest_entry_stays_even_alone),
		cmocka_unit_test(one_greedy_peer_leaves_others_entries_alone),
		cmocka_unit_test(the_next_refresh_is_the_earliest_there_is),
		cmocka_unit_test(a_flush_leaves_nothing_and_the_cache_goes_on),
		cmocka_unit_test(what_is_due_is_taken_once_with_its_key_and_owner),
		cmocka_unit_test(
			unused_refreshes_are_counted_and_a_use_begins_anew),
		cmocka_unit_test(
			what_a_clock_has_made_expire_goes_and_the_rest_stays),
		cmocka_unit_test(
			a_clock_brings_refreshes_forward_and_never_puts_them_off),
		cmocka_unit_test(
			what_was_due_is_due_again_when_its_taker_is_gone),
		cmocka_unit_test(a_walk_shows_each_entry_once),
		cmocka_unit_test(a_walk_ends_where_it_is_told_to),
		cmocka_unit_test(a_walk_is_no_use_of_what_it_shows),
		cmocka_unit_test(an_audience_is_dropped_in_all_its_variants),
		cmocka_unit_test(
			what_the_agent_wants_is_not_pushed_out_by_others),
		cmocka_unit_test(no_token_is_good_for_longer_than_the_last),
		cmocka_unit_test(it_does_what_a_simple_cache_does),
		cmocka_unit_test(memory_does_not_grow_with_what_was_evicted),
		cmocka_unit_test(a_hundred_thousand_entries_are_no_burden),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
