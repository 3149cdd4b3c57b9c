/* SPDX-License-Identifier: Apache-2.0 */

/* Who gets in where little is left, and what a stranger gets. */

#include <sys/resource.h>

#include "server-fixture.h"

#define REFUSED_HELD	64	/* who is not let in, and waits to be told so */

static struct fixture the_fixture;

static struct fixture *
start(const struct http_server_options *o)
{
	server_start(&the_fixture, o);
	return &the_fixture;
}

static struct http_server_counts
counts(const struct fixture *f)
{
	struct http_server_counts n;

	http_server_count(f->server, &n);
	return n;
}

static int
come(struct fixture *f, bool stranger)
{
	unsigned admitted = f->admitted;
	int fd;

	f->strangers = stranger;
	fd = client(f);
	UNTIL(f, f->admitted > admitted);
	settle(f);
	return fd;
}

static void
is_served(struct fixture *f, int fd)
{
	say(f, fd, ASK("/now"));
	expect(f, fd, HELLO);
}

static void
is_refused(struct fixture *f, int fd, unsigned status)
{
	say(f, fd, ASK("/now"));
	expect_refusal(f, fd, status);
}

/* Closed without a word. */
static void
is_closed(struct fixture *f, int fd)
{
	expect_end(f, fd);
}

static void
one_stranger_too_many_takes_the_place_of_another(void **state _unused_)
{
	struct http_server_options o = roomy();
	int known, a, b, c, d;
	struct fixture *f;

	o.max_strangers = 2;
	f = start(&o);
	known = come(f, false);
	a = come(f, true);
	b = come(f, true);
	assert_int_equal(counts(f).strangers, 2);
	assert_int_equal(counts(f).strangers_closed, 0);
	is_served(f, a);
	is_served(f, b);

	c = come(f, true);
	is_closed(f, a);
	is_served(f, c);
	/* Whoever asks is not the oldest any more. */
	is_served(f, b);
	d = come(f, true);
	is_closed(f, c);
	is_served(f, b);
	is_served(f, d);
	is_served(f, known);
	assert_int_equal(counts(f).strangers, 2);
	assert_int_equal(counts(f).strangers_closed, 2);
	assert_int_equal(counts(f).connections, 3);

	close(b);
	UNTIL(f, counts(f).strangers == 1);
	a = come(f, true);
	is_served(f, d);
	is_served(f, a);
	assert_int_equal(counts(f).strangers_closed, 2);
	close(a);
	close(d);
	close(known);
	server_stop(f);
}

static void
a_stranger_that_is_served_is_not_closed(void **state _unused_)
{
	struct http_server_options o = roomy();
	struct fixture *f;
	int a, b, c;

	o.max_strangers = 2;
	f = start(&o);
	a = come(f, true);
	b = come(f, true);
	say(f, a, ASK("/later"));
	say(f, b, "GET /now");		/* not whole yet */
	UNTIL(f, f->n_waiting == 1);
	settle(f);

	c = come(f, true);
	is_refused(f, c, 429);
	assert_int_equal(counts(f).turned_away, 1);
	assert_int_equal(counts(f).strangers_closed, 0);
	c = come(f, false);		/* nobody else is affected */
	is_served(f, c);
	close(c);

	later(f, 0);
	expect(f, a, HELLO);
	c = come(f, true);
	is_closed(f, a);
	is_served(f, c);
	say(f, b, " HTTP/1.1\r\nHost: x\r\n\r\n");
	expect(f, b, HELLO);
	close(b);
	close(c);
	server_stop(f);
}

static void
strangers_make_room_for_all_others(void **state _unused_)
{
	struct http_server_options o = roomy();
	int stranger, a, b, c;
	struct fixture *f;

	o.max_connections = 3;
	f = start(&o);
	a = come(f, false);
	stranger = come(f, true);
	b = come(f, false);
	assert_int_equal(counts(f).strangers_closed, 0);

	c = come(f, false);
	is_closed(f, stranger);
	is_served(f, a);
	is_served(f, b);
	is_served(f, c);
	assert_int_equal(counts(f).strangers, 0);

	/* There is none left. */
	is_refused(f, come(f, false), 429);
	is_refused(f, come(f, true), 429);
	assert_int_equal(counts(f).turned_away, 2);
	assert_int_equal(counts(f).strangers_closed, 1);

	f->privileged = true;
	stranger = come(f, false);
	is_served(f, stranger);
	assert_int_equal(counts(f).connections, 4);
	close(stranger);
	close(a);
	close(b);
	close(c);
	server_stop(f);
}

static void
the_largest_body_of_a_stranger(void **state _unused_)
{
	struct http_server_options o = roomy();
	struct fixture *f;
	int fd;

	o.stranger_body = 3;
	f = start(&o);
	fd = come(f, true);
	say(f, fd, POST("3") "abc");
	expect(f, fd, "HTTP/1.1 200 OK\r\nDate: DATE\r\nContent-Length: 3\r\n"
	       EVERY "\r\nabc");
	/* Refused before any of it has come. */
	say(f, fd, POST("4"));
	expect_refusal(f, fd, 413);
	assert_int_equal(f->requests, 1);

	fd = come(f, false);
	say(f, fd, POST("4") "abcd");
	expect(f, fd, "HTTP/1.1 200 OK\r\nDate: DATE\r\nContent-Length: 4\r\n"
	       EVERY "\r\nabcd");
	close(fd);
	server_stop(f);
}

static void
who_is_refused_does_not_take_the_place_of_others(void **state _unused_)
{
	struct http_server_options o = roomy();
	int held[REFUSED_HELD], a, b;
	struct fixture *f;
	struct err e;

	o.max_connections = 2;
	f = start(&o);
	a = come(f, false);
	err_set(&e, ERR_BUSY, "you have too many");
	f->admit_error = &e;
	for (size_t i = 0; i < ARRAY_SIZE(held); i++)
		held[i] = client(f);
	UNTIL(f, counts(f).refused == REFUSED_HELD);
	assert_int_equal(counts(f).connections, 1 + REFUSED_HELD);

	/* One more is told at once why, and closed. */
	b = client(f);
	expect_refusal(f, b, 429);
	assert_int_equal(counts(f).connections, 1 + REFUSED_HELD);

	f->admit_error = NULL;
	b = come(f, false);
	is_served(f, b);
	is_served(f, a);
	close(b);
	for (size_t i = 0; i < ARRAY_SIZE(held); i++)
		is_refused(f, held[i], 429);
	UNTIL(f, counts(f).connections == 1);

	/* There is room for as many again. */
	f->admit_error = &e;
	b = client(f);
	UNTIL(f, counts(f).refused == REFUSED_HELD + 2);
	assert_int_equal(counts(f).connections, 2);
	is_refused(f, b, 429);
	f->admit_error = NULL;
	close(a);
	server_stop(f);
}

/* The number that the next descriptor has. */
static int
next_fd(void)
{
	int fd = dup(0);

	assert_true(fd >= 0);
	close(fd);
	return fd;
}

/* All descriptors below this number are taken. */
static size_t
fill(int below, int fds[static 64])
{
	size_t n = 0;

	for (; next_fd() < below; n++) {
		assert_true(n < 64);
		fds[n] = dup(0);
	}
	return n;
}

static void
the_last_descriptors_are_for_the_privileged(void **state _unused_)
{
	int a, b, c, below = next_fd() + 50, filled[64];
	struct http_server_options o = roomy();
	struct fixture *f;
	size_t n;

	o.client_fds = below;
	f = start(&o);
	a = come(f, false);
	assert_true(f->fd < below);
	b = client(f);
	c = client(f);
	n = fill(below - 1, filled);
	UNTIL(f, f->admitted == 2);
	assert_int_equal(f->fd, below - 1);
	UNTIL(f, f->admitted == 3);
	assert_int_equal(f->fd, below);
	is_served(f, b);
	/* Answered at once: it holds no descriptor until it asks. */
	expect_refusal(f, c, 429);
	assert_int_equal(counts(f).turned_away, 1);
	assert_int_equal(counts(f).connections, 2);

	f->privileged = true;
	c = come(f, false);
	assert_true(f->fd >= below);
	is_served(f, c);
	is_served(f, a);
	close(a);
	close(b);
	close(c);
	while (n > 0)
		close(filled[--n]);
	server_stop(f);
}

static void
a_stranger_gives_its_descriptor_away(void **state _unused_)
{
	int a, b, below = next_fd() + 50, number, filled[64];
	struct http_server_options o = roomy();
	struct fixture *f;
	size_t n;

	o.client_fds = below;
	f = start(&o);
	a = come(f, true);
	number = f->fd;
	b = client(f);
	n = fill(below, filled);
	f->strangers = false;
	UNTIL(f, f->admitted == 2);
	assert_int_equal(f->fd, number);
	is_closed(f, a);
	is_served(f, b);
	assert_int_equal(counts(f).strangers_closed, 1);
	assert_int_equal(counts(f).turned_away, 0);
	close(b);
	while (n > 0)
		close(filled[--n]);
	server_stop(f);
}

static void
where_no_descriptor_is_left_a_stranger_s_will_do(void **state _unused_)
{
	struct http_server_options o = roomy();
	struct fixture *f = start(&o);
	int a = come(f, true), b = client(f), c = client(f);
	struct rlimit old, tight;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	tight = old;
	tight.rlim_cur = (rlim_t)next_fd();
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
	f->strangers = false;
	UNTIL(f, f->admitted == 2);
	is_served(f, b);
	hear_refusal(f, c, 429);
	is_closed(f, a);
	assert_int_equal(counts(f).strangers_closed, 1);
	assert_int_equal(counts(f).turned_away, 1);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	close(b);
	close(c);
	server_stop(f);
}

static void
a_peer_s_buffers_have_a_limit(void **state _unused_)
{
	struct http_server_options o = roomy();
	char body[4000] = "";
	struct fixture *f;
	int a, b;

	f = start(&o);
	f->charge_max = 10000;
	a = come(f, false);
	b = come(f, false);
	memset(body, 'a', sizeof(body));
	say(f, a, POST("4000"));
	say_bytes(f, a, body, sizeof(body) - 1);
	settle(f);
	assert_true(f->charged >= sizeof(body) && f->charged < 5000);
	assert_int_equal(counts(f).buffers, f->charged);
	say(f, b, POST("8000") "b");
	expect_refusal(f, b, 429);
	assert_true(f->charged < 5000);

	say(f, a, "a");
	hear(f, a, body, sizeof(body));
	UNTIL(f, f->charged == 0);
	b = come(f, false);
	say(f, b, POST("8000") "b");
	UNTIL(f, f->charged >= 8000);
	close(b);			/* what it held is its peer's again */
	UNTIL(f, f->charged == 0);
	assert_int_equal(counts(f).buffers, 0);

	/* An answer that its peer does not read has to be held, too. */
	say(f, a, ASK("/big"));
	UNTIL(f, f->forgotten == 3);
	assert_int_equal(f->charged, 0);
	close(a);
	server_stop(f);
}

static void
a_stranger_is_closed_when_its_time_is_up(void **state _unused_)
{
	struct http_server_options o = roomy();
	struct fixture *f;
	int a, b;

	o.idle_usec = 5 * USEC_PER_MSEC;
	f = start(&o);
	f->strangers = true;
	a = client(f);
	b = client(f);
	expect_end(f, a);
	expect_end(f, b);
	assert_int_equal(counts(f).strangers, 0);
	assert_int_equal(counts(f).strangers_closed, 0);
	server_stop(f);
}

static void
drained_strangers_are_closed(void **state _unused_)
{
	struct http_server_options o = roomy();
	struct fixture *f = start(&o);
	int fd = come(f, true);

	is_served(f, fd);
	http_server_drain(f->server, on_drained, f);
	expect_end(f, fd);
	UNTIL(f, f->drained == 1);
	server_stop(f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_stranger_too_many_takes_the_place_of_another),
		cmocka_unit_test(a_stranger_that_is_served_is_not_closed),
		cmocka_unit_test(strangers_make_room_for_all_others),
		cmocka_unit_test(the_largest_body_of_a_stranger),
		cmocka_unit_test(who_is_refused_does_not_take_the_place_of_others),
		cmocka_unit_test(the_last_descriptors_are_for_the_privileged),
		cmocka_unit_test(a_stranger_gives_its_descriptor_away),
		cmocka_unit_test(a_peer_s_buffers_have_a_limit),
		cmocka_unit_test(a_stranger_is_closed_when_its_time_is_up),
		cmocka_unit_test(drained_strangers_are_closed),
		cmocka_unit_test(where_no_descriptor_is_left_a_stranger_s_will_do),
	};
	size_t n = ARRAY_SIZE(tests);

	if (getenv("UNDER_VALGRIND")) {
		print_message("# not run: the last one, for valgrind has "
			      "descriptors of its own\n");
		n--;
	}
	return _cmocka_run_group_tests("tests", tests, n, NULL, NULL);
}
