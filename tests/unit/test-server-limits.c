/* SPDX-License-Identifier: Apache-2.0 */

/* The server where something is too much, too slow or at its end. */

#include <sys/resource.h>

#include "server-fixture.h"

#define TINY	(5 * USEC_PER_MSEC)

static struct fixture the_fixture;

static struct fixture *
start(const struct http_server_options *o)
{
	server_start(&the_fixture, o);
	return &the_fixture;
}

static void
slow_head_is_answered_408(void **state _unused_)
{
	struct http_server_options o = roomy();
	struct http_server_counts n;
	struct fixture *f;
	int fd;

	o.head_usec = TINY;
	f = start(&o);
	fd = client(f);
	say(f, fd, "GET /now HTTP/1.1\r\nHost:");
	expect_refusal(f, fd, 408);

	/* The rest of a second request, too. */
	fd = client(f);
	say(f, fd, ASK("/now") "G");
	expect(f, fd, HELLO);
	expect_refusal(f, fd, 408);
	http_server_count(f->server, &n);
	assert_int_equal(n.malformed, 2);
	server_stop(f);
}

static void
slow_body_is_answered_408(void **state _unused_)
{
	struct http_server_options o = roomy();
	struct fixture *f;
	int fd;

	o.body_usec = TINY;
	f = start(&o);
	fd = client(f);
	say(f, fd, POST("3") "ab");
	expect_refusal(f, fd, 408);
	assert_int_equal(f->requests, 0);
	server_stop(f);
}

static void
idle_connection_is_closed_in_silence(void **state _unused_)
{
	struct http_server_options o = roomy();
	struct fixture *f;
	int fd;

	o.idle_usec = TINY;
	f = start(&o);
	fd = client(f);
	expect_end(f, fd);
	fd = client(f);
	say(f, fd, ASK("/now"));
	expect(f, fd, HELLO);
	expect_end(f, fd);
	assert_int_equal(f->refused, 0);
	server_stop(f);
}

static void
other_times_hold_for_those_who_are_connected(void **state _unused_)
{
	struct http_server_options o = roomy();
	struct fixture *f = start(&o);
	int idle = client(f), asked = client(f), waiting = client(f);

	say(f, asked, ASK("/now"));
	expect(f, asked, HELLO);
	say(f, waiting, ASK("/later"));
	UNTIL(f, f->n_waiting == 1);

	/* By far more than all of them have waited; then by far less. */
	o.idle_usec *= 2;
	http_server_configure(f->server, &o);
	say(f, asked, ASK("/now"));
	expect(f, asked, HELLO);
	o.idle_usec = TINY;
	http_server_configure(f->server, &o);
	expect_end(f, idle);
	expect_end(f, asked);

	o.lifetime_usec = 0;
	http_server_configure(f->server, &o);
	later(f, 0);
	expect(f, waiting, HELLO_CLOSE);
	expect_end(f, waiting);
	server_stop(f);
}

static void
waiting_has_no_time_out_here(void **state _unused_)
{
	struct http_server_options o = roomy();
	struct fixture *f;
	int a, b;

	o.idle_usec = o.head_usec = o.body_usec = o.write_usec = TINY;
	f = start(&o);
	a = client(f);
	say(f, a, ASK("/later"));
	UNTIL(f, f->n_waiting == 1);
	b = client(f);
	expect_end(f, b);
	later(f, 0);
	expect(f, a, HELLO);
	expect_end(f, a);
	server_stop(f);
}

static void
unread_output_ends_the_connection(void **state _unused_)
{
	struct http_server_options o = roomy();
	struct fixture *f;
	int fd;

	o.write_usec = TINY;
	f = start(&o);
	fd = client(f);
	say(f, fd, ASK("/big"));
	UNTIL(f, f->forgotten == 1);
	assert_int_equal(f->requests, 1);
	close(fd);
	server_stop(f);
}

static void
old_connection_is_closed_behind_its_answer(void **state _unused_)
{
	struct http_server_options o = roomy();
	struct fixture *f;
	int fd;

	o.lifetime_usec = 0;
	f = start(&o);
	fd = client(f);
	say(f, fd, ASK("/now"));
	expect(f, fd, HELLO_CLOSE);
	expect_end(f, fd);
	server_stop(f);
}

static void
the_timer_that_finds_nobody_is_not_armed_again(void **state _unused_)
{
	struct http_server_options o = roomy();
	uint64_t slack = 250 * USEC_PER_MSEC, due;	/* sd-event's */
	struct fixture *f;

	o.idle_usec = 50 * USEC_PER_MSEC;
	f = start(&o);
	close(client(f));
	UNTIL(f, f->forgotten == 1);

	due = now_usec(CLOCK_BOOTTIME) + o.idle_usec + slack;
	UNTIL(f, now_usec(CLOCK_BOOTTIME) > due);
	settle(f);
	assert_int_equal(http_server_run(f->server, 2 * (o.idle_usec + slack)), 0);
	server_stop(f);
}

static void
one_connection_too_many_is_told_so(void **state _unused_)
{
	struct http_server_options o = roomy();
	struct http_server_counts n;
	struct fixture *f;
	int a, b, extra;

	o.max_connections = 2;
	f = start(&o);
	a = client(f);
	b = client(f);
	UNTIL(f, f->admitted == 2);
	extra = client(f);
	say(f, extra, ASK("/now"));
	expect_refusal(f, extra, 429);
	say(f, b, ASK("/now"));
	expect(f, b, HELLO);
	assert_int_equal(f->admitted - f->forgotten, 2);
	http_server_count(f->server, &n);
	assert_int_equal(n.accepted, 3);
	assert_int_equal(n.turned_away, 1);
	assert_int_equal(n.refused, 0);
	assert_int_equal(n.malformed, 0);

	close(a);
	UNTIL(f, http_server_connections(f->server) == 1);
	a = client(f);
	say(f, a, ASK("/now"));
	expect(f, a, HELLO);
	close(a);
	close(b);
	server_stop(f);
}

static void
far_too_many_connections_are_turned_away_at_once(void **state _unused_)
{
	struct http_server_options o = roomy();
	struct http_server_counts n;
	struct fixture *f;
	int fds[80];

	o.max_connections = 1;
	f = start(&o);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		fds[i] = client(f);
	/* 64 above the limit are held until they ask; the last is not. */
	expect_refusal(f, fds[79], 429);
	assert_int_equal(http_server_connections(f->server), 65);
	http_server_count(f->server, &n);
	assert_int_equal(n.connections, 65);
	assert_int_equal(n.turned_away, 79);
	say(f, fds[0], ASK("/now"));
	expect(f, fds[0], HELLO);
	for (size_t i = 0; i < ARRAY_SIZE(fds) - 1; i++)
		close(fds[i]);
	server_stop(f);
}

static void
nobody_waits_for_want_of_descriptors(void **state _unused_)
{
	struct http_server_options o = roomy();
	struct fixture *f = start(&o);
	int a = client(f), b = client(f), next = dup(0);
	struct rlimit old, tight;

	assert_true(next >= 0);
	close(next);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	tight = old;
	tight.rlim_cur = (rlim_t)next;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
	say(f, a, ASK("/now"));
	say(f, b, ASK("/now"));
	/* The spare descriptor is there again for the second. */
	hear_refusal(f, a, 429);
	hear_refusal(f, b, 429);
	assert_int_equal(f->admitted, 0);
	close(a);
	close(b);

	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	a = client(f);
	say(f, a, ASK("/now"));
	expect(f, a, HELLO);
	close(a);
	server_stop(f);
}

static void
loop_does_not_spin_where_nothing_can_be_accepted(void **state _unused_)
{
	struct http_server_options o = roomy();
	struct fixture *f = start(&o);
	struct rlimit old, none;
	int fd = client(f);

	say(f, fd, ASK("/now"));
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	none = old;
	none.rlim_cur = 3;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	settle(f);
	assert_int_equal(http_server_run(f->server, 10 * USEC_PER_MSEC), 0);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	expect(f, fd, HELLO);
	close(fd);
	server_stop(f);
}

static void
buffers_have_a_budget(void **state _unused_)
{
	struct http_server_options o = roomy();
	struct fixture *f;
	int a, b;

	o.max_buffers = 4096;
	f = start(&o);
	a = client(f);
	say(f, a, POST("4000"));
	settle(f);
	b = client(f);
	say(f, b, POST("4000"));
	expect_refusal(f, b, 429);

	/* Needs none of its own. */
	b = client(f);
	say(f, b, ASK("/now"));
	expect(f, b, HELLO);
	say(f, b, ASK("/big"));
	UNTIL(f, f->forgotten == 2);
	close(a);
	close(b);
	server_stop(f);
}

static void
what_a_handler_holds_is_of_the_same_budget(void **state _unused_)
{
	struct http_server_options o = roomy();
	struct http_server_counts n;
	struct fixture *f;
	int a, b;

	o.max_buffers = 8192;
	f = start(&o);
	a = client(f);
	say(f, a, ASK("/later"));
	UNTIL(f, f->n_waiting == 1);
	assert_int_equal(http_exchange_charge(f->waiting[0], 0, 8193), -ENOBUFS);
	assert_int_equal(http_exchange_charge(f->waiting[0], 0, 8192), 0);
	http_server_count(f->server, &n);
	assert_int_equal(n.buffers, 8192);
	assert_int_equal(f->charged, 8192);
	b = client(f);
	say(f, b, POST("4000"));
	expect_refusal(f, b, 429);

	assert_int_equal(http_exchange_charge(f->waiting[0], 8192, 1), 0);
	f->charge_max = 100;
	assert_int_equal(http_exchange_charge(f->waiting[0], 1, 101), -EDQUOT);
	f->charge_max = 0;
	assert_int_equal(http_exchange_charge(f->waiting[0], 1, 0), 0);
	b = client(f);
	say(f, b, POST("4000"));
	settle(f);
	http_server_count(f->server, &n);
	assert_true(n.buffers > 0);
	later(f, 0);
	expect(f, a, HELLO);
	close(a);
	close(b);
	server_stop(f);
}

static void
who_is_not_admitted_is_told_why(void **state _unused_)
{
	struct http_server_options o = roomy();
	struct http_server_counts n;
	struct fixture *f = start(&o);
	struct err e;
	int a, b, c;

	err_set(&e, ERR_BUSY, "you have too many");
	f->admit_error = &e;
	a = client(f);
	b = client(f);
	c = client(f);
	UNTIL(f, http_server_connections(f->server) == 3);
	http_server_count(f->server, &n);
	assert_int_equal(n.refused, 3);
	assert_int_equal(n.turned_away, 0);
	f->admit_error = NULL;
	memset(&e, 0, sizeof(e));
	settle(f);
	assert_int_equal(f->refused, 0);

	say(f, a, ASK("/now"));
	expect(f, a, "HTTP/1.1 429 Too Many Requests\r\nDate: DATE\r\n"
	       "Content-Length: 17\r\n" EVERY
	       "Connection: close\r\n\r\nyou have too many");
	expect_end(f, a);
	say(f, b, "nonsense\r\n");
	expect_refusal(f, b, 429);
	close(c);
	UNTIL(f, http_server_connections(f->server) == 0);
	assert_int_equal(f->requests, 0);
	assert_int_equal(f->admitted, 0);
	server_stop(f);
}

static void
draining_without_connections_is_done_at_once(void **state _unused_)
{
	struct http_server_options o = roomy();
	struct fixture *f = start(&o);
	int fd = client_socket();

	http_server_drain(f->server, on_drained, f);
	assert_int_equal(f->drained, 1);
	assert_int_equal(connect(fd, (struct sockaddr *)&f->sun,
				 sizeof(f->sun)), -1);
	assert_int_equal(errno, ECONNREFUSED);
	close(fd);
	settle(f);
	assert_int_equal(f->drained, 1);
	server_stop(f);
}

static void
draining_waits_for_what_is_asked_already(void **state _unused_)
{
	struct http_server_options o = roomy();
	struct fixture *f = start(&o);
	int waits = client(f), idle = client(f), asks = client(f);

	say(f, waits, ASK("/later") ASK("/now"));
	UNTIL(f, f->n_waiting == 1 && f->admitted == 3);
	settle(f);
	/* Sent, and not seen by the server yet. */
	say(f, asks, ASK("/now"));

	http_server_drain(f->server, on_drained, f);
	expect(f, asks, HELLO_CLOSE);
	expect_end(f, asks);
	expect_end(f, idle);
	settle(f);
	assert_int_equal(f->drained, 0);

	later(f, 0);
	expect(f, waits, HELLO_CLOSE);
	expect_end(f, waits);
	UNTIL(f, f->drained == 1);
	settle(f);
	assert_int_equal(f->drained, 1);
	assert_int_equal(http_server_connections(f->server), 0);
	server_stop(f);
}

static void
draining_waits_for_unsent_output_only(void **state _unused_)
{
	struct http_server_options o = roomy();
	struct fixture *f = start(&o);
	_cleanup_(freep) char *got = xcalloc(BIG, 2);
	int big = client(f), half = client(f);

	say(f, half, "GET /now HTTP/1.1\r\n");
	say(f, big, ASK("/big"));
	UNTIL(f, f->requests == 1);
	settle(f);
	http_server_drain(f->server, on_drained, f);
	settle(f);
	assert_int_equal(f->drained, 0);
	assert_in_range(hear(f, big, got, 2 * BIG), BIG, 2 * BIG - 1);
	UNTIL(f, f->drained == 1);
	close(big);
	close(half);
	server_stop(f);
}

static void
draining_waits_for_first_requests(void **state _unused_)
{
	struct http_server_options o = roomy();
	struct fixture *f;
	int fresh, half, used;

	o.late_usec = 60 * USEC_PER_SEC;
	f = start(&o);
	fresh = client(f), half = client(f), used = client(f);
	say(f, half, "GET /now HTTP/1.1\r\n");
	say(f, used, ASK("/now"));
	expect(f, used, HELLO);
	UNTIL(f, f->admitted == 3);
	settle(f);

	http_server_drain(f->server, on_drained, f);
	expect_end(f, used);
	settle(f);
	assert_int_equal(f->drained, 0);

	say(f, fresh, ASK("/now"));
	expect(f, fresh, HELLO_CLOSE);
	expect_end(f, fresh);
	say(f, half, "Host: x\r\n\r\n");
	expect(f, half, HELLO_CLOSE);
	expect_end(f, half);
	UNTIL(f, f->drained == 1);
	server_stop(f);
}

static void
draining_does_not_wait_long_for_silence(void **state _unused_)
{
	struct http_server_options o = roomy();
	struct fixture *f;
	int fresh, half;

	o.late_usec = 50 * USEC_PER_MSEC;
	f = start(&o);
	fresh = client(f), half = client(f);
	say(f, half, "GET /now HTTP/1.1\r\n");
	UNTIL(f, f->admitted == 2);
	settle(f);
	http_server_drain(f->server, on_drained, f);
	UNTIL(f, f->drained == 1);
	assert_int_equal(f->requests, 0);
	close(fresh);
	close(half);
	server_stop(f);
}

static void
drained_may_free(void *userdata)
{
	struct fixture *f = userdata;

	f->drained++;
	f->server = http_server_free(f->server);
}

static void
drained_server_may_be_freed_from_there(void **state _unused_)
{
	struct http_server_options o = roomy();
	struct fixture *f = start(&o);
	int a = client(f), b = client(f);

	say(f, a, ASK("/later"));
	say(f, b, "GET /now HTTP/1.1\r\n");
	UNTIL(f, f->n_waiting == 1 && f->admitted == 2);
	http_server_drain(f->server, drained_may_free, f);
	later(f, 0);
	expect(f, a, HELLO_CLOSE);
	expect_end(f, a);
	UNTIL(f, f->drained == 1);
	expect_end(f, b);
	assert_null(f->server);
	server_stop(f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(slow_head_is_answered_408),
		cmocka_unit_test(slow_body_is_answered_408),
		cmocka_unit_test(idle_connection_is_closed_in_silence),
		cmocka_unit_test(other_times_hold_for_those_who_are_connected),
		cmocka_unit_test(waiting_has_no_time_out_here),
		cmocka_unit_test(unread_output_ends_the_connection),
		cmocka_unit_test(old_connection_is_closed_behind_its_answer),
		cmocka_unit_test(the_timer_that_finds_nobody_is_not_armed_again),
		cmocka_unit_test(one_connection_too_many_is_told_so),
		cmocka_unit_test(far_too_many_connections_are_turned_away_at_once),
		cmocka_unit_test(buffers_have_a_budget),
		cmocka_unit_test(what_a_handler_holds_is_of_the_same_budget),
		cmocka_unit_test(who_is_not_admitted_is_told_why),
		cmocka_unit_test(draining_without_connections_is_done_at_once),
		cmocka_unit_test(draining_waits_for_what_is_asked_already),
		cmocka_unit_test(draining_waits_for_unsent_output_only),
		cmocka_unit_test(draining_waits_for_first_requests),
		cmocka_unit_test(draining_does_not_wait_long_for_silence),
		cmocka_unit_test(drained_server_may_be_freed_from_there),
		cmocka_unit_test(nobody_waits_for_want_of_descriptors),
		cmocka_unit_test(loop_does_not_spin_where_nothing_can_be_accepted),
	};
	size_t n = ARRAY_SIZE(tests);

	if (getenv("UNDER_VALGRIND")) {
		print_message("# not run: the last two, for valgrind has "
			      "descriptors of its own\n");
		n -= 2;
	}
	return _cmocka_run_group_tests("tests", tests, n, NULL, NULL);
}
