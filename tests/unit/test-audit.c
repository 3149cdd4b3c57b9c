/* SPDX-License-Identifier: Apache-2.0 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "api/audit.h"
#include "api/audit_strangers.h"
#include "base/text.h"

#define START	(1000 * USEC_PER_SEC)
#define HOUR	(60 * USEC_PER_MIN)
#define BURST	4
#define LINES	256

/* What was written, as short text. */
static struct {
	char text[LINES][TEXT_SHOW_SIZE + 96];
	size_t n;
} said;

static void
on_line(void *userdata, const struct audit_line *l)
{
	static const char *const what[] = { "grant", "deny", "would", "sum" };
	char kind[64] = "", left[72] = "";

	assert_ptr_equal(userdata, &said);
	assert_in_range(said.n, 0, LINES - 1);
	if (l->what != AUDIT_SUM)
		snprintf(kind, sizeof(kind), " %s x%llu",
			 policy_kind_name(l->event.kind),
			 (unsigned long long)l->count);
	if (audit_left_sum(&l->left) > 0)
		snprintf(left, sizeof(left), l->left.would_be ?
			 " left %llu+%llu+%llu" : " left %llu+%llu",
			 (unsigned long long)l->left.grants,
			 (unsigned long long)l->left.denials,
			 (unsigned long long)l->left.would_be);
	snprintf(said.text[said.n++], sizeof(said.text[0]), "%s%s%s%s uid %u%s%s%s",
		 what[l->what], kind, l->event.audience ? " " : "",
		 l->event.audience ?: "", (unsigned)l->event.who.uid,
		 l->words ? ": " : "", l->words ?: "", left);
}

/* The next line that was not looked at yet. */
static void
assert_said(const char *line)
{
	assert_true(said.n > 0);
	assert_string_equal(said.text[0], line);
	memmove(said.text[0], said.text[1],
		sizeof(said.text) - sizeof(said.text[0]));
	said.n--;
}

static struct audit *
audit_of(enum audit_mode mode, size_t entries, size_t per_peer, size_t peers)
{
	said.n = 0;
	return audit_new(&(struct audit_options){
		.mode = mode,
		.repeat_usec = HOUR,
		.entries = entries,
		.per_peer = per_peer,
		.peers = peers,
		.each_usec = USEC_PER_SEC,
		.burst = BURST,
	}, on_line, &said);
}

static struct audit_event
event_of(enum policy_kind kind, const char *audience, uint64_t owner)
{
	return (struct audit_event){
		.kind = kind, .account = "default", .audience = audience,
		.rule = "r", .owner = owner,
		.who = { .uid = (uid_t)owner, .gid = 1, .pid = 42 },
	};
}

static void
grant(struct audit *a, enum policy_kind kind, const char *audience, uint64_t owner,
      uint64_t now)
{
	struct audit_event event = event_of(kind, audience, owner);
	struct audit_seen *note = NULL;

	audit_granted(a, &event, now, &note);
	audit_seen_unref(note);
}

static void
deny(struct audit *a, const char *audience, uint64_t owner, uint64_t now)
{
	struct audit_event event = event_of(POLICY_ID, audience, owner);

	audit_denied(a, &event, false, "no rule", now);
}

/* One of the strangers, served by a permissive policy. */
static void
stranger(struct audit *a, uid_t uid, uint64_t now)
{
	struct audit_event event = event_of(POLICY_ID, "a", AUDIT_STRANGERS);

	event.who.uid = uid;
	audit_denied(a, &event, true, "no rule", now);
}

static void
would_deny(struct audit *a, const char *audience, uint64_t owner, uint64_t now)
{
	struct audit_event event = event_of(POLICY_ID, audience, owner);

	audit_denied(a, &event, true, "no rule", now);
}

static void
modes_say_what_they_are_called(void **state _unused_)
{
	static const struct {
		enum audit_mode mode;
		size_t denials, ids, admins;	/* lines for two of each */
	} table[] = {
		{ AUDIT_NONE,	0, 0, 0 },
		{ AUDIT_DENIED,	2, 0, 0 },
		{ AUDIT_NEW,	2, 1, 2 },
		{ AUDIT_ALL,	2, 2, 2 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		struct audit *a = audit_of(table[i].mode, 8, 8, 8);

		deny(a, "a", 1, START);
		deny(a, "a", 1, START);
		assert_int_equal(said.n, table[i].denials);
		grant(a, POLICY_ID, "a", 1, START + HOUR);
		grant(a, POLICY_ID, "a", 1, START + HOUR);
		assert_int_equal(said.n, table[i].denials + table[i].ids);
		grant(a, POLICY_ADMIN, NULL, 1, START + HOUR);
		grant(a, POLICY_ADMIN, NULL, 1, START + HOUR);
		assert_int_equal(said.n, table[i].denials + table[i].ids +
				 table[i].admins);
		audit_free(a, START + 2 * HOUR);
	}
}

static void
first_grant_has_a_line_then_one_an_hour_counted(void **state _unused_)
{
	struct audit *a = audit_of(AUDIT_NEW, 8, 8, 8);

	grant(a, POLICY_ID, "a", 1, START);
	assert_said("grant id x1 a uid 1");
	for (int i = 0; i < 1000; i++)
		grant(a, POLICY_ID, "a", 1, START + HOUR - 1);
	assert_int_equal(said.n, 0);
	grant(a, POLICY_ID, "a", 1, START + HOUR);
	assert_said("grant id x1001 a uid 1");
	grant(a, POLICY_ID, "a", 1, START + HOUR);
	assert_int_equal(said.n, 0);
	audit_free(a, START + HOUR + 1);
	assert_said("grant id x1 a uid 1");
	assert_int_equal(said.n, 0);
}

static void
peer_kind_account_and_audience_make_it_new(void **state _unused_)
{
	struct audit *a = audit_of(AUDIT_NEW, 8, 8, 8);
	struct audit_event other = event_of(POLICY_ID, "a", 1);
	struct audit_seen *note = NULL;

	grant(a, POLICY_ID, "a", 1, START);
	assert_said("grant id x1 a uid 1");
	grant(a, POLICY_ID, "b", 1, START);
	assert_said("grant id x1 b uid 1");
	grant(a, POLICY_ID, "a", 2, START);
	assert_said("grant id x1 a uid 2");
	grant(a, POLICY_MONITOR, NULL, 1, START);
	assert_said("grant monitor x1 uid 1");
	other.account = "other";
	audit_granted(a, &other, START, &note);
	assert_said("grant id x1 a uid 1");
	audit_seen_unref(note);
	audit_free(a, START);
	assert_int_equal(said.n, 0);
}

/* The warm path: a note counts without the table, as long as no line is due. */
static void
a_note_counts_until_due_or_forgotten(void **state _unused_)
{
	struct audit *a = audit_of(AUDIT_NEW, 1, 1, 8);
	struct audit_event event = event_of(POLICY_ID, "a", 1);
	struct audit_seen *note = NULL;

	assert_false(audit_again(NULL, START));
	audit_granted(a, &event, START, &note);
	assert_said("grant id x1 a uid 1");
	for (int i = 0; i < 9; i++)
		assert_true(audit_again(note, START + HOUR - 1));
	assert_false(audit_again(note, START + HOUR));
	audit_granted(a, &event, START + HOUR, &note);
	assert_said("grant id x10 a uid 1");

	/* Pushed out: what it counted is said, and it counts no more. */
	assert_true(audit_again(note, START + HOUR + 1));
	grant(a, POLICY_ID, "b", 1, START + HOUR + 1);
	assert_said("grant id x1 a uid 1");
	assert_said("grant id x1 b uid 1");
	assert_false(audit_again(note, START + HOUR + 2));
	audit_granted(a, &event, START + HOUR + 2, &note);
	assert_said("grant id x1 a uid 1");

	audit_free(a, START + HOUR + 3);
	assert_int_equal(said.n, 0);
	assert_false(audit_again(note, START + HOUR + 4));
	audit_seen_unref(note);
}

static void
no_note_where_every_grant_has_its_line_or_none(void **state _unused_)
{
	static const enum audit_mode modes[] = {
		AUDIT_NONE, AUDIT_DENIED, AUDIT_ALL,
	};

	for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
		struct audit *a = audit_of(modes[i], 8, 8, 8);
		struct audit_event event = event_of(POLICY_ID, "a", 1);
		struct audit_seen *note = NULL;

		audit_granted(a, &event, START, &note);
		assert_null(note);
		audit_free(a, START);
	}
}

static void
denials_beyond_the_bucket_are_summed(void **state _unused_)
{
	struct audit *a = audit_of(AUDIT_DENIED, 8, 8, 8);

	for (int i = 0; i < 100; i++)
		deny(a, "a", 1, START);
	assert_int_equal(said.n, BURST);
	for (int i = 0; i < BURST; i++)
		assert_said("deny id x1 a uid 1: no rule");
	deny(a, "b", 1, START + USEC_PER_SEC);
	assert_said("deny id x1 b uid 1: no rule left 0+96");
	deny(a, "b", 1, START + USEC_PER_SEC);
	audit_free(a, START + USEC_PER_SEC);
	assert_said("sum uid 1 left 0+1");
	assert_int_equal(said.n, 0);
}

static void
what_would_be_denied_is_audited_as_denials_are(void **state _unused_)
{
	struct audit *a = audit_of(AUDIT_DENIED, 8, 8, 8);

	for (int i = 0; i < 10; i++)
		would_deny(a, "a", 1, START);
	for (int i = 0; i < BURST; i++)
		assert_said("would id x1 a uid 1: no rule");
	deny(a, "a", 1, START);
	assert_int_equal(said.n, 0);
	would_deny(a, "b", 1, START + USEC_PER_SEC);
	assert_said("would id x1 b uid 1: no rule left 0+1+6");
	audit_free(a, START + USEC_PER_SEC);

	a = audit_of(AUDIT_NONE, 8, 8, 8);
	would_deny(a, "a", 1, START);
	assert_int_equal(said.n, 0);
	audit_free(a, START);
}

static void
in_mode_all_grants_are_summed_as_denials_are(void **state _unused_)
{
	struct audit *a = audit_of(AUDIT_ALL, 8, 8, 8);

	for (int i = 0; i < 10; i++)
		grant(a, POLICY_ID, "a", 1, START);
	deny(a, "a", 1, START);
	assert_int_equal(said.n, BURST);
	said.n = 0;
	grant(a, POLICY_ID, "a", 1, START + USEC_PER_SEC);
	assert_said("grant id x1 a uid 1 left 6+1");
	audit_free(a, START);
	assert_int_equal(said.n, 0);
}

static void
a_flood_takes_no_other_peers_lines(void **state _unused_)
{
	struct audit *a = audit_of(AUDIT_NEW, 8, 8, 8);

	for (int i = 0; i < 100; i++)
		deny(a, "a", 1, START);
	for (uid_t i = 0; i < 100; i++)
		stranger(a, i, START);
	assert_int_equal(said.n, 2 * BURST);
	said.n = 0;
	deny(a, "a", 2, START);
	assert_said("deny id x1 a uid 2: no rule");
	grant(a, POLICY_ID, "a", 2, START);
	assert_said("grant id x1 a uid 2");
	audit_free(a, START + HOUR);
}

static struct audit *
audit_with_burst(unsigned burst)
{
	said.n = 0;
	return audit_new(&(struct audit_options){
		.mode = AUDIT_DENIED, .entries = 1, .per_peer = 1, .peers = 1,
		.each_usec = USEC_PER_SEC, .burst = burst,
	}, on_line, &said);
}

/* It has an eighth of the strangers' bucket, and of what drips into it. */
static void
a_chatty_stranger_leaves_lines_to_other_strangers(void **state _unused_)
{
	struct audit *a = audit_with_burst(16);

	for (unsigned i = 0; i < 100; i++)
		stranger(a, 1, START);
	assert_int_equal(said.n, 2);
	for (unsigned i = 1; i <= 100; i++)
		stranger(a, 1, START + i * USEC_PER_SEC);
	assert_int_equal(said.n, 2 + 100 / 8);
	said.n = 0;
	stranger(a, 2, START + 100 * USEC_PER_SEC);
	assert_int_equal(said.n, 1);
	assert_non_null(strstr(said.text[0], "would id x1 a uid 2: no rule left "));
	audit_free(a, START + HOUR);
}

/* Uids come back when their bucket is full, and there is room for them again. */
static void
strangers_that_cannot_be_told_apart_have_one_part(void **state _unused_)
{
	struct audit *a = audit_with_burst(160);

	for (unsigned round = 0; round < 3; round++) {
		uint64_t now = START + round * HOUR;

		said.n = 0;
		for (uid_t i = 0; i < AUDIT_STRANGERS_TOLD; i++)
			stranger(a, i, now);
		assert_int_equal(said.n, AUDIT_STRANGERS_TOLD);
		for (uid_t i = 1000; i < 2000; i++)
			stranger(a, i, now);
		assert_int_equal(said.n, AUDIT_STRANGERS_TOLD + 160 / 8);
		stranger(a, 5, now);
		assert_int_equal(said.n, AUDIT_STRANGERS_TOLD + 160 / 8 + 1);
	}
	audit_free(a, START + 9 * HOUR);
}

/* Each table and bucket is full. */
static void
strong_kinds_always_have_a_line_of_their_own(void **state _unused_)
{
	static const enum policy_kind kinds[] = {
		POLICY_JWT, POLICY_ACCESS, POLICY_SIGN, POLICY_SIGN_ANY,
		POLICY_ADMIN,
	};
	static const uint64_t owners[] = { 1, 2, 3 };	/* 3 has no bucket */

	for (size_t i = 0; i < ARRAY_SIZE(kinds) * ARRAY_SIZE(owners); i++) {
		enum policy_kind kind = kinds[i % ARRAY_SIZE(kinds)];
		uint64_t owner = owners[i / ARRAY_SIZE(kinds)];
		struct audit *a = audit_of(AUDIT_NEW, 2, 1, 2);
		char first[64], then[64];

		for (uint64_t flood = 1; flood <= 3; flood++) {
			grant(a, POLICY_ID, "a", flood, START);
			for (int j = 0; j < 100; j++)
				deny(a, "a", flood, START);
		}
		said.n = 0;
		snprintf(first, sizeof(first), "grant %s x1 uid %d left 0+97",
			 policy_kind_name(kind), (int)owner);
		snprintf(then, sizeof(then), "grant %s x1 uid %d",
			 policy_kind_name(kind), (int)owner);
		grant(a, kind, NULL, owner, START);
		assert_said(first);
		for (int j = 0; j < 50; j++) {
			grant(a, kind, NULL, owner, START);
			assert_said(then);
		}
		audit_free(a, START + HOUR);
	}
}

static void
first_sight_without_a_line_is_made_up_for(void **state _unused_)
{
	struct audit *a = audit_of(AUDIT_NEW, 8, 8, 8);

	for (int i = 0; i < BURST; i++)
		deny(a, "a", 1, START);
	said.n = 0;
	grant(a, POLICY_ID, "a", 1, START);
	grant(a, POLICY_ID, "a", 1, START);
	assert_int_equal(said.n, 0);
	grant(a, POLICY_ID, "a", 1, START + USEC_PER_SEC);
	assert_said("grant id x3 a uid 1");
	audit_free(a, START + HOUR);
	assert_int_equal(said.n, 0);
}

/* Many audiences of one peer push out its own, and no grant goes uncounted. */
static void
many_audiences_push_out_their_own_peers_only(void **state _unused_)
{
	struct audit *a = audit_of(AUDIT_NEW, 8, 4, 8);
	struct audit_event event = event_of(POLICY_ID, "mine", 2);
	struct audit_seen *note = NULL;
	char audience[16];

	audit_granted(a, &event, START, &note);
	assert_said("grant id x1 mine uid 2");
	for (int i = 0; i < 1000; i++) {
		snprintf(audience, sizeof(audience), "a%d", i);
		grant(a, POLICY_ID, audience, 1, START);
	}
	assert_int_equal(said.n, BURST);
	assert_true(audit_again(note, START));
	said.n = 0;
	audit_free(a, START + HOUR);
	assert_said("grant id x1 mine uid 2");
	assert_said("grant id x1 a996 uid 1 left 992+0");
	assert_said("grant id x1 a997 uid 1");
	assert_said("grant id x1 a998 uid 1");
	assert_said("grant id x1 a999 uid 1");
	assert_int_equal(said.n, 0);
	audit_seen_unref(note);
}

static void
what_is_in_use_is_forgotten_last(void **state _unused_)
{
	struct audit *a = audit_of(AUDIT_NEW, 3, 3, 8);

	grant(a, POLICY_ID, "a", 1, START);
	grant(a, POLICY_ID, "b", 2, START);
	grant(a, POLICY_ID, "c", 3, START);
	grant(a, POLICY_ID, "d", 4, START);	/* all were used: a goes */
	said.n = 0;
	grant(a, POLICY_ID, "b", 2, START);
	grant(a, POLICY_ID, "e", 5, START);	/* c, for b was used again */
	assert_said("grant id x1 e uid 5");
	grant(a, POLICY_ID, "b", 2, START);
	assert_int_equal(said.n, 0);
	grant(a, POLICY_ID, "c", 3, START);
	assert_true(said.n > 0);
	audit_free(a, START + HOUR);
}

/* Peers without end: those without a bucket share one, and sums are not lost. */
static void
many_peers_share_a_bucket_when_the_table_is_full(void **state _unused_)
{
	struct audit *a = audit_of(AUDIT_DENIED, 8, 8, 4);

	for (uint64_t peer = 0; peer < 1000; peer++)
		deny(a, "a", peer, START);
	assert_int_equal(said.n, 4 + BURST);
	said.n = 0;
	deny(a, "a", 2, START);		/* those who have one keep it */
	assert_said("deny id x1 a uid 2: no rule");

	/* Later the one not asked for longest makes room. */
	deny(a, "a", 1000, START + HOUR);
	assert_said("deny id x1 a uid 1000: no rule");
	audit_free(a, START + HOUR);
	assert_said("sum uid 999 left 0+992");
	assert_int_equal(said.n, 0);
}

static void
a_peer_that_is_forgotten_says_its_sums(void **state _unused_)
{
	struct audit *a = audit_of(AUDIT_NEW, 8, 8, 1);

	grant(a, POLICY_ID, "a", 1, START);
	grant(a, POLICY_ID, "a", 1, START);
	for (int i = 0; i < BURST; i++)
		deny(a, "a", 1, START);
	said.n = 0;
	deny(a, "a", 2, START + HOUR);
	assert_said("grant id x1 a uid 1 left 0+1");
	assert_said("deny id x1 a uid 2: no rule");
	audit_free(a, START + HOUR);
	assert_int_equal(said.n, 0);
}

static void
audiences_are_shown_and_cut(void **state _unused_)
{
	struct audit *a = audit_of(AUDIT_NEW, 8, 8, 8);
	char audience[2048], shown[TEXT_SHOW_SIZE], line[TEXT_SHOW_SIZE + 64];

	memset(audience, 'x', sizeof(audience) - 1);
	memcpy(audience, "\xc3\xa9 ", 3);
	audience[sizeof(audience) - 1] = '\0';
	text_show_str(shown, audience);
	assert_int_equal(strncmp(shown, "\\xc3\\xa9 x", 10), 0);

	grant(a, POLICY_ID, audience, 1, START);
	snprintf(line, sizeof(line), "grant id x1 %s uid 1", shown);
	assert_said(line);
	deny(a, audience, 1, START);
	snprintf(line, sizeof(line), "deny id x1 %s uid 1: no rule", shown);
	assert_said(line);

	/* Told apart by all of it. */
	audience[sizeof(audience) - 2] = 'y';
	grant(a, POLICY_ID, audience, 1, START);
	assert_int_equal(said.n, 1);
	audit_free(a, START + HOUR);
}

static void
repeat_of_zero_is_a_line_each(void **state _unused_)
{
	struct audit *a;

	said.n = 0;
	a = audit_new(&(struct audit_options){ .mode = AUDIT_NEW, .entries = 1,
		.per_peer = 1, .peers = 1, .each_usec = 1, .burst = 1 },
		      on_line, &said);
	for (uint64_t i = 0; i < 3; i++) {
		grant(a, POLICY_ID, "a", 1, START + i);
		assert_said("grant id x1 a uid 1");
	}
	audit_free(audit_free(a, START), START);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(modes_say_what_they_are_called),
		cmocka_unit_test(first_grant_has_a_line_then_one_an_hour_counted),
		cmocka_unit_test(peer_kind_account_and_audience_make_it_new),
		cmocka_unit_test(a_note_counts_until_due_or_forgotten),
		cmocka_unit_test(no_note_where_every_grant_has_its_line_or_none),
		cmocka_unit_test(denials_beyond_the_bucket_are_summed),
		cmocka_unit_test(what_would_be_denied_is_audited_as_denials_are),
		cmocka_unit_test(in_mode_all_grants_are_summed_as_denials_are),
		cmocka_unit_test(a_flood_takes_no_other_peers_lines),
		cmocka_unit_test(a_chatty_stranger_leaves_lines_to_other_strangers),
		cmocka_unit_test(strangers_that_cannot_be_told_apart_have_one_part),
		cmocka_unit_test(strong_kinds_always_have_a_line_of_their_own),
		cmocka_unit_test(first_sight_without_a_line_is_made_up_for),
		cmocka_unit_test(many_audiences_push_out_their_own_peers_only),
		cmocka_unit_test(what_is_in_use_is_forgotten_last),
		cmocka_unit_test(many_peers_share_a_bucket_when_the_table_is_full),
		cmocka_unit_test(a_peer_that_is_forgotten_says_its_sums),
		cmocka_unit_test(audiences_are_shown_and_cut),
		cmocka_unit_test(repeat_of_zero_is_a_line_each),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
