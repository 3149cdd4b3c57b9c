/* SPDX-License-Identifier: Apache-2.0 */

/* One server, two addresses.  The first is one to which nobody can connect: its
   queue of connections is full, so that nothing comes back. */

#include <arpa/inet.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "fake-metadata.h"

#define FILL		4
#define PATIENCE	(60 * USEC_PER_SEC)

static sd_event *event;
static struct fake *second;
static struct http_client *client;
static struct http_call *call;
static uint64_t deadline;
static struct {
	unsigned n, status;
	struct err e;
} got;

static struct dead {
	int fd, fill[FILL];
	char url[64];
} dead, also_dead;

static void
dead_open(struct dead *d)
{
	struct sockaddr_in sin = { .sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(sin);

	d->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(d->fd, (struct sockaddr *)&sin, len), 0);
	assert_int_equal(listen(d->fd, 0), 0);
	assert_int_equal(getsockname(d->fd, (struct sockaddr *)&sin, &len), 0);
	snprintf(d->url, sizeof(d->url), "http://127.0.0.1:%u",
		 ntohs(sin.sin_port));
	for (size_t i = 0; i < FILL; i++) {
		d->fill[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		connect(d->fill[i], (struct sockaddr *)&sin, sizeof(sin));
	}
}

static void
dead_close(struct dead *d)
{
	if (d->fd < 0)
		return;
	for (size_t i = 0; i < FILL; i++)
		close(d->fill[i]);
	close(d->fd);
	d->fd = -1;
}

static int
set_up(void **state _unused_)
{
	memset(&got, 0, sizeof(got));
	assert_true(sd_event_new(&event) >= 0);
	second = fake_new(event);
	dead_open(&dead);
	dead_open(&also_dead);
	deadline = fake_now() + PATIENCE;
	return 0;
}

static int
tear_down(void **state _unused_)
{
	call = http_call_free(call);
	client = http_client_free(client);
	second = fake_free(second);
	dead_close(&dead);
	dead_close(&also_dead);
	event = sd_event_unref(event);
	return 0;
}

static void
client_between(const char *a, const char *b, unsigned tries)
{
	const struct http_lane_options lane = {
		.connect_usec = 50 * USEC_PER_MSEC,
		.try_usec = 10 * USEC_PER_SEC,
		.retry = { .tries = tries },
	};
	const struct http_client_options o = {
		.first = a,
		.second = b,
		.max_body = 1024,
		.host_connections = 4,
		.lane = { [HTTP_LANE_LOCAL] = lane },
	};

	client = http_client_free(client);
	assert_int_equal(http_client_new(event, &o, &client, NULL), 0);
}

static void
on_done(void *userdata _unused_, const struct http_response *re,
	const struct err *e)
{
	got.n++;
	got.status = re ? re->status : 0;
	if (e)
		got.e = *e;
}

static void
ask(const char *base)
{
	struct http_request q = {
		.lane = HTTP_LANE_LOCAL,
		.method = "GET",
		.url = xasprintf("%s/path", base),
	};

	got.n = 0;
	assert_int_equal(http_client_start(client, &q, &deadline, on_done, NULL,
					   &call, &got.e), 0);
	RUN_UNTIL(event, got.n > 0);
	assert_null(call);
}

static void
the_second_address_answers_where_the_first_does_not(void **state _unused_)
{
	client_between(dead.url, fake_url(second), 1);
	fake_say(second, "/path", 200, "{}");
	ask(dead.url);
	assert_int_equal(got.status, 200);
	assert_int_equal(http_client_sent(client), 2);
}

static void
the_one_that_has_answered_is_asked_at_once_from_there_on(void **state _unused_)
{
	client_between(dead.url, fake_url(second), 1);
	fake_say(second, "/path", 200, "{}");
	for (unsigned i = 0; i < 3; i++) {
		ask(dead.url);
		assert_int_equal(got.status, 200);
	}
	assert_int_equal(http_client_sent(client), 4);
}

/* Somebody else's answer says nothing about the way to the server. */
static void
an_answer_without_flavor_does_not_decide(void **state _unused_)
{
	client_between(dead.url, fake_url(second), 1);
	fake_always(second, "/path",
		    "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
	for (unsigned i = 0; i < 2; i++) {
		ask(dead.url);
		assert_int_equal(got.status, 200);
	}
	assert_int_equal(http_client_sent(client), 4);
}

static void
an_answer_of_any_kind_from_the_first_is_the_answer(void **state _unused_)
{
	struct fake *first = fake_new(event);

	client_between(fake_url(first), fake_url(second), 1);
	fake_say(first, "/path", 503, "{}");
	ask(fake_url(first));
	assert_int_equal(got.status, 503);
	fake_always(first, "/path", "");
	ask(fake_url(first));
	assert_int_equal(got.status, 0);
	assert_int_equal(fake_count(second), 0);
	fake_free(first);
}

static void
a_first_that_hangs_with_the_request_in_hand_is_not_left(void **state _unused_)
{
	struct fake *first = fake_new(event);

	client_between(fake_url(first), fake_url(second), 1);
	fake_always(first, "/path", NULL);
	deadline = fake_now() + 300 * USEC_PER_MSEC;
	ask(fake_url(first));
	assert_int_equal(got.status, 0);
	assert_int_equal(fake_count(second), 0);
	fake_free(first);
}

static void
a_refused_connection_is_no_lost_way(void **state _unused_)
{
	char url[64];

	memcpy(url, dead.url, sizeof(url));
	dead_close(&dead);
	client_between(url, fake_url(second), 1);
	ask(url);
	assert_non_null(strstr(got.e.msg, "Connection refused"));
	assert_int_equal(http_client_sent(client), 1);
}

static void
other_hosts_have_no_second_address(void **state _unused_)
{
	client_between("http://127.0.0.1:1", fake_url(second), 1);
	ask(dead.url);
	assert_int_equal(got.status, 0);
	assert_int_equal(http_client_sent(client), 1);
}

static void
both_lost_are_one_try_and_told_both(void **state _unused_)
{
	client_between(dead.url, also_dead.url, 2);
	ask(dead.url);
	assert_int_equal(http_client_sent(client), 4);
	assert_non_null(strstr(got.e.msg, dead.url + strlen("http://")));
	assert_non_null(strstr(got.e.msg, also_dead.url + strlen("http://")));
}

#define TEST(f)	cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(the_second_address_answers_where_the_first_does_not),
		TEST(the_one_that_has_answered_is_asked_at_once_from_there_on),
		TEST(an_answer_without_flavor_does_not_decide),
		TEST(an_answer_of_any_kind_from_the_first_is_the_answer),
		TEST(a_first_that_hangs_with_the_request_in_hand_is_not_left),
		TEST(a_refused_connection_is_no_lost_way),
		TEST(other_hosts_have_no_second_address),
		TEST(both_lost_are_one_try_and_told_both),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
