/* SPDX-License-Identifier: Apache-2.0 */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/timerfd.h>
#include <time.h>

#include <cmocka.h>

#include "token/clock.h"

#define S	((int64_t)USEC_PER_SEC)
#define NOW	INT64_C(1767225600)
#define UP	(1000 * S)	/* CLOCK_BOOTTIME when the wall clock says NOW */
#define ANSWERS_MAX 8

static const struct clock_options usual = {
	.agree_usec = 5 * USEC_PER_SEC,
	.correct_usec = 10 * USEC_PER_SEC,
	.limit_usec = 600 * USEC_PER_SEC,
};

/* --- what dates teach --------------------------------------------------------- */

/* One answer: after so many seconds, with a date so many ahead of this machine's
   clock. */
struct answer {
	int64_t after, ahead;
};

static void
two_answers_that_agree_are_believed(void **state _unused_)
{
	static const struct {
		const char *name;
		struct answer answers[ANSWERS_MAX];
		size_t n;
		bool known;
		int64_t ahead;
	} table[] = {
		{ "nothing", { { 0, 0 } }, 0, false, 0 },
		{ "one is none", { { 0, 0 } }, 1, false, 0 },
		{ "one bad one neither", { { 0, 86400 } }, 1, false, 0 },
		{ "two", { { 0, 300 }, { 1, 300 } }, 2, true, 300 },
		{ "far apart", { { 0, 300 }, { 40000, 300 } }, 2, true, 300 },
		{ "behind", { { 0, -300 }, { 1, -300 } }, 2, true, -300 },
		{ "the seconds are cut off: the later is nearer", {
			{ 0, 300 }, { 1, 299 } }, 2, true, 300 },
		{ "the first took its time", {
			{ 0, 296 }, { 1, 300 } }, 2, true, 300 },
		{ "the second did", { { 0, 300 }, { 1, 296 } }, 2, true, 300 },
		{ "five seconds agree", { { 0, 300 }, { 1, 305 } }, 2, true, 305 },
		{ "six do not", { { 0, 300 }, { 1, 306 } }, 2, false, 0 },
		{ "opposite", { { 0, 300 }, { 1, -300 } }, 2, false, 0 },
		{ "a bad one between counts nothing", {
			{ 0, 0 }, { 1, 0 }, { 2, 900 }, { 3, 0 } }, 4, true, 0 },
		{ "nor does each other one", {
			{ 0, 0 }, { 1, 0 }, { 2, 900 }, { 3, 0 }, { 4, 900 },
			{ 5, 0 }, { 6, 900 } }, 7, true, 0 },
		{ "from the start: never two in a row", {
			{ 0, 900 }, { 1, 0 }, { 2, 900 }, { 3, 0 } }, 4, false, 0 },
		{ "bad ones that differ", {
			{ 0, 0 }, { 1, 0 }, { 2, 900 }, { 3, 1800 } }, 4, true, 0 },
		{ "two bad ones count", {
			{ 0, 0 }, { 1, 0 }, { 2, 900 }, { 3, 900 } }, 4, true,
			900 },
		{ "a good pair later clears them", {
			{ 0, 900 }, { 1, 900 }, { 2, 0 }, { 3, 0 } }, 4, true, 0 },
		{ "one good one does not", {
			{ 0, 900 }, { 1, 900 }, { 2, 0 } }, 3, true, 900 },
		{ "it is followed as it drifts", {
			{ 0, 300 }, { 3600, 303 }, { 7200, 306 }, { 9000, 309 } },
			4, true, 309 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		struct clock_learned l = { 0 };
		struct clock_status s;

		for (size_t k = 0; k < table[i].n; k++) {
			const struct answer *a = &table[i].answers[k];

			clock_learn_date(&l, &usual, NOW + a->after + a->ahead,
					 (uint64_t)(UP + a->after * S));
		}
		clock_judge(&l, &usual, (uint64_t)UP, NOW * S, &s);
		if (s.known != table[i].known ||
		    s.ahead_usec != table[i].ahead * S)
			fail_msg("%s: %s, %lld", table[i].name, s.known ? "known"
				 : "unknown", (long long)s.ahead_usec);
	}
}

/* Google's clock is right with this machine's; its dates are whole seconds, and the
   answers take up to three. */
static void
cut_off_seconds_and_slow_answers_make_no_offset(void **state _unused_)
{
	struct clock_learned l = { 0 };
	uint64_t x = 1;

	for (int64_t t = 0; t < 20000 * S; t += 700 * S / 1000) {
		struct clock_status s;
		int64_t delay;

		x = x * UINT64_C(6364136223846793005) + 1442695040888963407;
		delay = (int64_t)(x >> 33) % (3 * S);
		clock_learn_date(&l, &usual, (NOW * S + t - delay) / S,
				 (uint64_t)(UP + t));
		clock_judge(&l, &usual, (uint64_t)(UP + t), NOW * S + t, &s);
		assert_false(s.bad);
		assert_true(s.known || t == 0);
		assert_true(s.ahead_usec <= 0 && s.ahead_usec > -4 * S);
	}
}

static void
a_senseless_date_is_no_answer(void **state _unused_)
{
	static const int64_t dates[] = { 0, -1, INT64_MIN, INT64_MAX,
					 INT64_MAX / S };

	for (size_t i = 0; i < ARRAY_SIZE(dates); i++) {
		struct clock_learned l = { 0 };
		struct clock_status s;

		clock_learn_date(&l, &usual, dates[i], (uint64_t)UP);
		clock_learn_date(&l, &usual, dates[i], (uint64_t)UP);
		clock_judge(&l, &usual, (uint64_t)UP, NOW * S, &s);
		assert_false(s.known || s.bad);
	}
}

static void
an_offset_is_used_up_to_its_limit(void **state _unused_)
{
	static const struct {
		int64_t ahead;
		bool bad;
	} table[] = {
		{ 0, false },
		{ 599 * S, false }, { 600 * S, false }, { 600 * S + 1, true },
		{ -599 * S, false }, { -600 * S, false }, { -600 * S - 1, true },
		{ 86400 * 365 * S, true }, { -86400 * 365 * S, true },
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		struct clock_learned l = { 0 };
		struct clock_status s;

		/* The machine's clock is off by this, to the microsecond. */
		clock_learn_date(&l, &usual, NOW, (uint64_t)UP);
		clock_learn_date(&l, &usual, NOW, (uint64_t)UP);
		clock_judge(&l, &usual, (uint64_t)UP, NOW * S - table[i].ahead, &s);
		assert_true(s.known);
		assert_true(s.ahead_usec == table[i].ahead);
		assert_int_equal(s.bad, table[i].bad);
	}
}

/* --- the module --------------------------------------------------------------- */

struct world {
	sd_event *event;
	struct clock *c;
	uint64_t boot;
	int64_t wall;
	unsigned told;
	struct clock_status s;	/* as told */
};

static void
read_clocks(void *userdata, uint64_t *ret_boot, int64_t *ret_wall)
{
	struct world *w = userdata;

	*ret_boot = w->boot;
	*ret_wall = w->wall;
}

static void
on_changed(void *userdata, const struct clock_status *s)
{
	struct world *w = userdata;

	w->told++;
	w->s = *s;
}

static int
setup(void **state)
{
	struct world *w = xcalloc(1, sizeof(*w));
	struct err e;

	w->boot = (uint64_t)UP;
	w->wall = NOW * S;
	assert_true(sd_event_new(&w->event) >= 0);
	assert_int_equal(clock_new(w->event, &usual, read_clocks, w, &w->c, &e), 0);
	clock_on_change(w->c, on_changed, w);
	*state = w;
	return 0;
}

static int
teardown(void **state)
{
	struct world *w = *state;

	clock_free(w->c);
	sd_event_unref(w->event);
	free(w);
	return 0;
}

static void
passes(struct world *w, int64_t usec)
{
	w->boot += (uint64_t)usec;
	w->wall += usec;
}

static void
google_says(struct world *w, int64_t ahead)
{
	clock_learn(w->c, &(struct http_response){
		.status = 200, .body = "", .tls = true,
		.date = NOW + (int64_t)(w->boot - (uint64_t)UP) / S + ahead,
	});
}

static void
turn(struct world *w)
{
	while (sd_event_run(w->event, 0) > 0)
		;
}

static void
google_is_taken_for_this_machine_while_it_has_said_nothing(void **state)
{
	struct world *w = *state;
	struct token_now now = clock_now(w->c);

	assert_true(now.boot == w->boot);
	assert_true(now.wall == w->wall && now.google == w->wall);
	assert_true(clock_date(w->c) == NOW);
	assert_int_equal(clock_check(w->c, NULL), 0);
}

static void
only_a_date_that_came_fresh_and_by_tls_is_heard(void **state)
{
	const struct http_response table[] = {
		{ .date = NOW + 300, .tls = false },
		{ .date = NOW + 300, .tls = true, .age = 1 },
		{ .date = 0, .tls = true },
	};
	struct world *w = *state;
	struct clock_status s;

	for (size_t i = 0; i < ARRAY_SIZE(table); i++)
		for (int k = 0; k < 3; k++)
			clock_learn(w->c, &table[i]);
	clock_status(w->c, &s);
	assert_false(s.known);
	assert_true(clock_now(w->c).google == w->wall);
}

static void
an_answer_of_any_status_tells_the_time(void **state)
{
	static const unsigned statuses[] = { 200, 400, 403, 503 };
	struct world *w = *state;

	for (size_t i = 0; i < ARRAY_SIZE(statuses); i++)
		clock_learn(w->c, &(struct http_response){
			.status = statuses[i], .tls = true, .date = NOW + 300 });
	assert_true(clock_now(w->c).google == w->wall + 300 * S);
}

static void
an_assertion_is_dated_by_google_within_its_bounds(void **state)
{
	static const struct {
		int64_t ahead, date;
	} table[] = {
		{ 0, 0 }, { 10, 0 }, { 11, 11 }, { 300, 300 }, { 600, 600 },
		{ 601, 0 }, { -10, 0 }, { -11, -11 }, { -600, -600 }, { -601, 0 },
	};
	struct world *w = *state;

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		google_says(w, table[i].ahead);
		google_says(w, table[i].ahead);
		assert_true(clock_date(w->c) == NOW + table[i].date);
	}
}

static void
a_clock_too_far_off_is_an_error_that_says_what_to_do(void **state)
{
	struct world *w = *state;
	struct err e;

	google_says(w, 1200);
	assert_int_equal(clock_check(w->c, &e), 0);
	google_says(w, 1200);
	assert_int_equal(clock_check(w->c, &e), -EHOSTUNREACH);
	assert_int_equal(e.kind, ERR_UNAVAILABLE);
	assert_string_equal(e.msg, "this machine's clock is 1200 s behind Google's"
			    ", and no more than 600 s are made up for: it says "
			    "Thu, 01 Jan 2026 00:00:00 GMT, Google "
			    "Thu, 01 Jan 2026 00:20:00 GMT");
	assert_non_null(strstr(e.hint, "chronyc makestep"));
	assert_non_null(strstr(e.hint, "systemd-timesyncd"));
	/* And it counts for nothing else. */
	assert_true(clock_now(w->c).google == w->wall);

	google_says(w, -1200);
	google_says(w, -1200);
	assert_int_equal(clock_check(w->c, &e), -EHOSTUNREACH);
	assert_non_null(strstr(e.msg, "1200 s ahead of Google's"));
	google_says(w, 0);
	assert_int_equal(clock_check(w->c, &e), -EHOSTUNREACH);
	google_says(w, 0);
	assert_int_equal(clock_check(w->c, &e), 0);
}

static void
google_goes_on_by_a_clock_that_nobody_sets(void **state)
{
	struct world *w = *state;
	int64_t google;

	google_says(w, 300);
	google_says(w, 300);
	google = clock_now(w->c).google;
	w->wall += 300 * S;		/* set right */
	assert_true(clock_now(w->c).google == google);
	assert_true(clock_date(w->c) == NOW + 300);
	w->wall -= 500 * S;		/* set wrong */
	assert_true(clock_now(w->c).google == google);
	assert_true(clock_date(w->c) == NOW + 300);
	passes(w, 3600 * S);
	assert_true(clock_now(w->c).google == google + 3600 * S);
}

static void
setting_the_clock_mends_it_at_once(void **state)
{
	struct world *w = *state;

	google_says(w, 1200);
	google_says(w, 1200);
	turn(w);
	assert_int_equal(w->told, 1);
	assert_true(w->s.bad);
	w->wall += 1199 * S;
	clock_stepped(w->c);
	assert_int_equal(w->told, 1);		/* not from within the call */
	turn(w);
	assert_int_equal(w->told, 2);
	assert_false(w->s.bad);
	assert_true(w->s.known);
	assert_int_equal(clock_check(w->c, NULL), 0);
}

/* A machine that was stopped from outside: no clock of its has gone on, and then
   its wall clock is set. */
static void
what_was_learned_is_doubted_when_the_clock_is_set_far_away(void **state)
{
	struct world *w = *state;

	google_says(w, 0);
	google_says(w, 0);
	w->wall += 7200 * S;
	clock_stepped(w->c);
	turn(w);
	assert_int_equal(w->told, 1);
	assert_false(w->s.known || w->s.bad);
	assert_true(clock_date(w->c) == NOW + 7200);
	/* Google says who is right. */
	google_says(w, 0);
	assert_int_equal(clock_check(w->c, NULL), 0);
	google_says(w, 0);
	assert_int_equal(clock_check(w->c, NULL), -EHOSTUNREACH);
}

static void
the_listener_is_told_once_a_change(void **state)
{
	struct world *w = *state;

	for (int i = 0; i < 5; i++)
		google_says(w, 300);
	turn(w);
	assert_int_equal(w->told, 0);
	for (int i = 0; i < 5; i++)
		google_says(w, 1200);
	turn(w);
	assert_int_equal(w->told, 1);
	for (int i = 0; i < 5; i++)
		google_says(w, 1200);
	turn(w);
	assert_int_equal(w->told, 1);
	google_says(w, 0);
	google_says(w, 0);
	turn(w);
	assert_int_equal(w->told, 2);
	assert_false(w->s.bad);
	clock_on_change(w->c, NULL, NULL);
	clock_stepped(w->c);
	turn(w);
	assert_int_equal(w->told, 2);
}

/* The timer that the kernel is to cancel when the clock is set, or -1. */
static int
watching(void)
{
	for (int fd = 3; fd < 64; fd++) {
		_cleanup_(freep) char *path = xasprintf("/proc/self/fdinfo/%d", fd);
		char text[1024] = "";
		FILE *f = fopen(path, "re");

		if (!f)
			continue;
		text[fread(text, 1, sizeof(text) - 1, f)] = '\0';
		fclose(f);
		if (strstr(text, "clockid: 0\n") &&
		    strstr(text, "settime flags: 03\n"))
			return fd;
	}
	return -1;
}

/* Nobody here can set the clock, but a timer that goes off looks much the same. */
static void
the_kernel_is_heard_and_goes_on_being_heard(void **state)
{
	static const struct itimerspec soon = { .it_value.tv_nsec = 1 };
	struct world *w = *state;

	for (unsigned i = 1; i <= 3; i++) {
		int fd = watching();

		assert_true(fd >= 0);
		assert_int_equal(timerfd_settime(fd, 0, &soon, NULL), 0);
		assert_int_equal(watching(), -1);
		while (w->told < i)
			assert_true(sd_event_run(w->event, UINT64_MAX) >= 0);
		turn(w);
		assert_int_equal(w->told, i);
	}
	assert_true(watching() >= 0);
}

static void
by_itself_it_reads_the_loops_clocks(void **state _unused_)
{
	_cleanup_(clock_freep) struct clock *c = NULL;
	sd_event *event;
	struct token_now now;
	int64_t wall;

	assert_true(sd_event_new(&event) >= 0);
	assert_int_equal(clock_new(event, &usual, NULL, NULL, &c, NULL), 0);
	now = clock_now(c);
	wall = (int64_t)time(NULL);
	assert_true(now.boot > 0);
	assert_true(now.wall / S >= wall - 5 && now.wall / S <= wall + 1);
	assert_true(now.google == now.wall);
	sd_event_unref(event);
}

#define TEST(f)		cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(two_answers_that_agree_are_believed),
		cmocka_unit_test(
			cut_off_seconds_and_slow_answers_make_no_offset),
		cmocka_unit_test(a_senseless_date_is_no_answer),
		cmocka_unit_test(an_offset_is_used_up_to_its_limit),
		TEST(google_is_taken_for_this_machine_while_it_has_said_nothing),
		TEST(only_a_date_that_came_fresh_and_by_tls_is_heard),
		TEST(an_answer_of_any_status_tells_the_time),
		TEST(an_assertion_is_dated_by_google_within_its_bounds),
		TEST(a_clock_too_far_off_is_an_error_that_says_what_to_do),
		TEST(google_goes_on_by_a_clock_that_nobody_sets),
		TEST(setting_the_clock_mends_it_at_once),
		TEST(what_was_learned_is_doubted_when_the_clock_is_set_far_away),
		TEST(the_listener_is_told_once_a_change),
		TEST(the_kernel_is_heard_and_goes_on_being_heard),
		cmocka_unit_test(by_itself_it_reads_the_loops_clocks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
