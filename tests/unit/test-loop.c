/* SPDX-License-Identifier: Apache-2.0 */

/* Clients ahead of sd-event: what is at hand costs no turn of it, and nothing else
   is done without one. */

#include "server-fixture.h"

#define ASK_NOTE	ASK("/note?a")
#define NOTE		"HTTP/1.1 200 OK\r\nDate: DATE\r\nContent-Length: 1\r\n" \
			EVERY "\r\na"
#define NEW		"HTTP/1.1 200 OK\r\nDate: DATE\r\nContent-Length: 1\r\n" \
			EVERY "\r\n-"
#define OTHER_CODE	7

static uint64_t
turns(const struct fixture *f)
{
	uint64_t n;

	assert_true(sd_event_get_iteration(f->event, &n) >= 0);
	return n;
}

/* A client whose next ASK_NOTE is at hand. */
static int
client_at_hand(struct fixture *f)
{
	int fd = client(f);

	say(f, fd, ASK_NOTE);
	expect(f, fd, NEW);
	settle(f);
	f->at_hand = true;
	return fd;
}

/* Some answers at hand, and until it is later than it was. */
static void
ask_for_a_while(struct fixture *f, int fd)
{
	uint64_t now = now_usec(CLOCK_BOOTTIME);

	for (unsigned n = 0;
	     n < 4 || now_usec(CLOCK_BOOTTIME) - now < 2 * USEC_PER_MSEC; n++) {
		say(f, fd, ASK_NOTE);
		expect(f, fd, NOTE);
	}
}

static void
an_answer_at_hand_takes_no_turn_of_sd_event(void **state)
{
	struct fixture *f = *state;
	int fd = client_at_hand(f);
	uint64_t before = turns(f);

	ask_for_a_while(f, fd);
	assert_true(f->asked_again > 1);
	assert_int_equal(f->requests, 1);
	assert_int_equal(turns(f), before);
	close(fd);
}

static void
what_is_not_at_hand_is_asked_in_a_turn_that_has_just_begun(void **state)
{
	struct fixture *f = *state;
	int fd = client_at_hand(f);
	uint64_t now;

	ask_for_a_while(f, fd);
	now = now_usec(CLOCK_BOOTTIME);
	f->at_hand = false;
	say(f, fd, ASK_NOTE);
	expect(f, fd, NOTE);
	assert_int_equal(f->requests, 2);
	assert_true(f->turn >= now);

	f->at_hand = true;
	ask_for_a_while(f, fd);
	now = now_usec(CLOCK_BOOTTIME);
	say(f, fd, ASK("/now"));
	expect(f, fd, HELLO);
	assert_true(f->turn >= now);
	close(fd);
}

static void
both_kinds_in_one_look_are_answered(void **state)
{
	struct fixture *f = *state;
	int a = client_at_hand(f), b = client(f), c = client(f);

	settle(f);
	say(f, a, ASK_NOTE);
	say(f, b, ASK("/now"));
	say(f, c, ASK_NOTE ASK("/now") ASK_NOTE);
	expect(f, a, NOTE);
	expect(f, b, HELLO);
	expect(f, c, NOTE);
	expect(f, c, HELLO);
	expect(f, c, NEW);
	close(a);
	close(b);
	close(c);
}

static void
who_waits_and_leaves_is_told_of_in_a_turn(void **state)
{
	struct fixture *f = *state;
	int fd = client_at_hand(f), waits = client(f);
	uint64_t now;

	say(f, waits, ASK("/later"));
	UNTIL(f, f->n_waiting == 1);
	ask_for_a_while(f, fd);
	now = now_usec(CLOCK_BOOTTIME);
	close(waits);
	UNTIL(f, f->gone == 1);
	assert_true(f->turn >= now);
	close(fd);
}

static void
answers_at_hand_do_not_keep_timers_waiting(void **state)
{
	struct fixture *f = *state;
	int fd = client_at_hand(f);

	say(f, fd, ASK("/timer"));
	expect(f, fd, HELLO);
	while (!f->fired) {
		say(f, fd, ASK_NOTE);
		expect(f, fd, NOTE);
	}
	close(fd);
}

static void
a_change_from_outside_of_the_loop_is_seen(void **state)
{
	struct fixture *f = *state;
	struct http_server_options o = roomy();
	int fd = client_at_hand(f);

	assert_int_equal(http_server_run(f->server, 0), 0);
	o.idle_usec = 0;
	http_server_configure(f->server, &o);
	expect_end(f, fd);
}

/* Comes, asks, and leaves alone. */
static void
visit(struct fixture *f)
{
	int fd = client(f);

	say(f, fd, ASK_NOTE);
	expect(f, fd, NOTE);
	close(fd);
	UNTIL(f, f->forgotten == f->admitted);
}

static void
who_comes_alone_and_leaves_takes_no_turn_of_sd_event(void **state)
{
	struct fixture *f = *state;
	uint64_t before;

	close(client_at_hand(f));
	UNTIL(f, f->forgotten == 1);
	settle(f);
	before = turns(f);
	for (int i = 0; i < 3; i++)
		visit(f);
	assert_int_equal(f->admitted, 4);
	assert_int_equal(f->requests, 1);
	assert_int_equal(turns(f), before);
}

static int
on_exit_time(sd_event_source *s, _unused_ uint64_t usec, _unused_ void *userdata)
{
	return sd_event_exit(sd_event_source_get_event(s), OTHER_CODE);
}

static void
the_loop_ends_with_the_code_of_sd_event_exit(void **state)
{
	struct fixture *f = *state;
	int fd = client_at_hand(f);

	assert_true(sd_event_add_time_relative(f->event, NULL, CLOCK_BOOTTIME, 0, 1,
					       on_exit_time, NULL) >= 0);
	say(f, fd, ASK("/timer"));	/* the loop has not seen the other one */
	assert_int_equal(http_server_loop(f->server), OTHER_CODE);
	close(fd);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name)	cmocka_unit_test_setup_teardown(name, setup_roomy, teardown)
		T(an_answer_at_hand_takes_no_turn_of_sd_event),
		T(what_is_not_at_hand_is_asked_in_a_turn_that_has_just_begun),
		T(both_kinds_in_one_look_are_answered),
		T(who_waits_and_leaves_is_told_of_in_a_turn),
		T(answers_at_hand_do_not_keep_timers_waiting),
		T(a_change_from_outside_of_the_loop_is_seen),
		T(who_comes_alone_and_leaves_takes_no_turn_of_sd_event),
		T(the_loop_ends_with_the_code_of_sd_event_exit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
