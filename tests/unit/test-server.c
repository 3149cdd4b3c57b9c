/* SPDX-License-Identifier: Apache-2.0 */

#include "server-fixture.h"

static void
answer_is_exact_and_connection_stays(void **state)
{
	struct fixture *f = *state;
	int fd = client(f);

	for (int i = 0; i < 100; i++) {
		say(f, fd, ASK("/now"));
		expect(f, fd, HELLO);
	}
	assert_int_equal(f->admitted, 1);
	assert_int_equal(f->requests, 100);
	close(fd);
	UNTIL(f, f->forgotten == 1);
	assert_int_equal(http_server_connections(f->server), 0);
}

static void
all_parts_of_an_answer_are_sent(void **state)
{
	struct fixture *f = *state;
	int fd = client(f);

	say(f, fd, ASK("/later"));
	UNTIL(f, f->n_waiting == 1);
	http_exchange_reply(f->waiting[0], &(struct http_reply){
		.status = 429, .content_type = "text/plain", .body = "no",
		.body_len = 2, .fields = "Retry-After: 1\r\nX: y\r\n",
	});
	expect(f, fd, "HTTP/1.1 429 Too Many Requests\r\nDate: DATE\r\n"
	       "Content-Length: 2\r\nContent-Type: text/plain\r\n" EVERY
	       "Retry-After: 1\r\nX: y\r\n\r\nno");

	say(f, fd, ASK("/later"));
	UNTIL(f, f->n_waiting == 2);
	http_exchange_reply(f->waiting[1], &(struct http_reply){ .status = 204 });
	expect(f, fd, "HTTP/1.1 204 No Content\r\nDate: DATE\r\n" EVERY "\r\n");
	close(fd);
}

static void
head_is_answered_without_the_body(void **state)
{
	struct fixture *f = *state;
	int fd = client(f);

	say(f, fd, "HEAD /now HTTP/1.1\r\nHost: x\r\n\r\n" ASK("/now"));
	expect(f, fd, "HTTP/1.1 200 OK\r\n" HELLO_LINES "\r\n");
	expect(f, fd, HELLO);
	close(fd);
}

static void
http_1_0_is_answered_and_closed(void **state)
{
	struct fixture *f = *state;
	int fd = client(f);

	say(f, fd, "GET /now HTTP/1.0\r\n\r\nleft over");
	expect(f, fd, "HTTP/1.0 200 OK\r\n" HELLO_LINES
	       "Connection: close\r\n\r\nhello\n");
	expect_end(f, fd);
	assert_int_equal(f->requests, 1);
}

static void
closing_is_done_as_asked(void **state)
{
	struct fixture *f = *state;
	int fd = client(f);

	say(f, fd, "GET /now HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
	    ASK("/now"));
	expect(f, fd, HELLO_CLOSE);
	expect_end(f, fd);

	fd = client(f);
	say(f, fd, ASK("/close"));
	expect(f, fd, HELLO_CLOSE);
	expect_end(f, fd);
	assert_int_equal(f->requests, 2);
}

static void
requests_come_in_pieces(void **state)
{
	static const char post[] = POST("5") "abcde";
	struct fixture *f = *state;
	int fd = client(f);

	for (size_t i = 0; i < sizeof(post) - 1; i++) {
		assert_int_equal(f->requests, 0);
		say_bytes(f, fd, post + i, 1);
		settle(f);
	}
	expect(f, fd, "HTTP/1.1 200 OK\r\nDate: DATE\r\nContent-Length: 5\r\n"
	       EVERY "\r\nabcde");

	/* One and a half, and the other half. */
	say(f, fd, ASK("/now") "GET /now HT");
	expect(f, fd, HELLO);
	say(f, fd, "TP/1.1\r\nHost: x\r\n\r\n");
	expect(f, fd, HELLO);
	close(fd);
}

static void
largest_body_is_taken_and_one_more_is_not(void **state)
{
	struct fixture *f = *state;
	_cleanup_(freep) char *body = xcalloc(HTTP_MAX_BODY, 1);
	_cleanup_(freep) char *got = xcalloc(HTTP_MAX_BODY, 1);
	int fd = client(f);

	memset(body, 'x', HTTP_MAX_BODY);
	say(f, fd, POST("65536"));
	say_bytes(f, fd, body, HTTP_MAX_BODY);
	expect(f, fd, "HTTP/1.1 200 OK\r\nDate: DATE\r\nContent-Length: 65536\r\n"
	       EVERY "\r\n");
	assert_int_equal(hear(f, fd, got, HTTP_MAX_BODY), HTTP_MAX_BODY);
	assert_memory_equal(got, body, HTTP_MAX_BODY);

	/* All of it can be sent, and the answer be read afterwards. */
	say(f, fd, POST("524288"));
	for (int i = 0; i < 8; i++)
		say_bytes(f, fd, body, HTTP_MAX_BODY);
	expect_refusal(f, fd, 413);
	assert_int_equal(f->requests, 1);
}

static void
pipelined_requests_are_answered_in_order(void **state)
{
	struct fixture *f = *state;
	int fd = client(f);

	say(f, fd, ASK("/now") "HEAD /now HTTP/1.1\r\nHost: x\r\n\r\n"
	    ASK("/close"));
	expect(f, fd, HELLO);
	expect(f, fd, "HTTP/1.1 200 OK\r\n" HELLO_LINES "\r\n");
	expect(f, fd, HELLO_CLOSE);
	expect_end(f, fd);
	assert_int_equal(f->requests, 3);
}

static void
next_request_waits_for_the_answer(void **state)
{
	struct fixture *f = *state;
	int fd = client(f);

	say(f, fd, ASK("/later") ASK("/later") ASK("/now"));
	UNTIL(f, f->n_waiting == 1);
	say(f, fd, ASK("/now"));
	settle(f);
	assert_int_equal(f->requests, 1);

	/* The answer goes out at once; nothing is called from inside it. */
	later(f, 0);
	assert_int_equal(f->requests, 1);
	expect(f, fd, HELLO);
	UNTIL(f, f->n_waiting == 2);
	assert_int_equal(f->requests, 2);
	later(f, 1);
	expect(f, fd, HELLO);
	expect(f, fd, HELLO);
	expect(f, fd, HELLO);
	close(fd);
}

static void
late_answer_keeps_the_connection(void **state)
{
	struct fixture *f = *state;
	int a = client(f), b = client(f);

	say(f, a, ASK("/later"));
	say(f, b, ASK("/later"));
	UNTIL(f, f->n_waiting == 2);
	later(f, 1);
	expect(f, b, HELLO);
	later(f, 0);
	expect(f, a, HELLO);
	say(f, a, ASK("/now"));
	expect(f, a, HELLO);
	close(a);
	close(b);
	assert_int_equal(f->gone, 0);
}

static void
leaving_client_is_told_of_once(void **state)
{
	struct fixture *f = *state;
	int fd = client(f);

	say(f, fd, ASK("/later") ASK("/now"));
	UNTIL(f, f->n_waiting == 1);
	close(fd);
	UNTIL(f, f->forgotten == 1);
	settle(f);
	assert_int_equal(f->gone, 1);
	assert_int_equal(f->requests, 1);
}

static void
answer_to_a_client_that_just_left_is_lost(void **state)
{
	struct fixture *f = *state;
	int fd = client(f);

	say(f, fd, ASK("/later"));
	UNTIL(f, f->n_waiting == 1);
	close(fd);
	later(f, 0);
	assert_int_equal(f->forgotten, 0);
	UNTIL(f, f->forgotten == 1);
	assert_int_equal(f->gone, 0);
}

static void
half_closed_client_is_answered(void **state)
{
	struct fixture *f = *state;
	int fd = client(f);

	say(f, fd, ASK("/now"));
	shutdown(fd, SHUT_WR);
	expect(f, fd, HELLO);
	expect_end(f, fd);

	fd = client(f);
	say(f, fd, ASK("/later") ASK("/now"));
	shutdown(fd, SHUT_WR);
	UNTIL(f, f->n_waiting == 1);
	settle(f);
	later(f, 0);
	expect(f, fd, HELLO);
	expect(f, fd, HELLO);
	expect_end(f, fd);
	assert_int_equal(f->gone, 0);
}

static void
half_a_request_is_answered(void **state)
{
	struct fixture *f = *state;
	int fd = client(f);

	say(f, fd, "GET /now HTTP/1.1\r\nHost");
	shutdown(fd, SHUT_WR);
	expect_refusal(f, fd, 400);

	fd = client(f);
	shutdown(fd, SHUT_WR);
	expect_end(f, fd);
	assert_int_equal(f->refused, 1);
}

static void
bad_requests_are_answered_without_a_reset(void **state)
{
	struct fixture *f = *state;
	char line[9 * 1024];
	int fd = client(f);

	memset(line, 'A', sizeof(line));
	say_bytes(f, fd, line, sizeof(line));
	expect_refusal(f, fd, 414);

	fd = client(f);
	say(f, fd, ASK("/now") "GET nowhere HTTP/1.1\r\n\r\n" ASK("/now"));
	expect(f, fd, HELLO);
	expect_refusal(f, fd, 400);

	/* No more than the beginning is waited for. */
	fd = client(f);
	say(f, fd, "\x16\x03");
	expect_refusal(f, fd, 400);
	assert_int_equal(f->requests, 1);
	assert_int_equal(f->refused, 3);
}

static void
long_answers_are_sent_as_the_client_reads(void **state)
{
	struct fixture *f = *state;
	_cleanup_(freep) char *got = xcalloc(BIG, 1);
	int fd = client(f);

	say(f, fd, ASK("/big") ASK("/now"));
	UNTIL(f, f->requests == 1);
	settle(f);
	say(f, fd, ASK("/later"));
	settle(f);
	assert_int_equal(f->requests, 1);

	expect(f, fd, "HTTP/1.1 200 OK\r\nDate: DATE\r\nContent-Length: 1048576\r\n"
	       EVERY "\r\n");
	assert_int_equal(hear(f, fd, got, BIG), BIG);
	for (size_t i = 0; i < BIG; i++)
		if (got[i] != 'b')
			fail();
	expect(f, fd, HELLO);
	UNTIL(f, f->n_waiting == 1);
	later(f, 0);
	expect(f, fd, HELLO);
	close(fd);
}

static void
freeing_the_server_tells_the_waiting(void **state)
{
	struct fixture *f = *state;
	int a = client(f), b = client(f);

	say(f, a, ASK("/later"));
	UNTIL(f, f->n_waiting == 1);
	say(f, b, "GET /now");
	settle(f);
	assert_int_equal(http_server_connections(f->server), 2);
	f->server = http_server_free(f->server);
	assert_int_equal(f->gone, 1);
	assert_int_equal(f->forgotten, 2);
	expect_end(f, a);
	close(b);
}

int
main(void)
{
#define TEST(name)	cmocka_unit_test_setup_teardown(name, setup_roomy, teardown)
	const struct CMUnitTest tests[] = {
		TEST(answer_is_exact_and_connection_stays),
		TEST(all_parts_of_an_answer_are_sent),
		TEST(head_is_answered_without_the_body),
		TEST(http_1_0_is_answered_and_closed),
		TEST(closing_is_done_as_asked),
		TEST(requests_come_in_pieces),
		TEST(largest_body_is_taken_and_one_more_is_not),
		TEST(pipelined_requests_are_answered_in_order),
		TEST(next_request_waits_for_the_answer),
		TEST(late_answer_keeps_the_connection),
		TEST(leaving_client_is_told_of_once),
		TEST(answer_to_a_client_that_just_left_is_lost),
		TEST(half_closed_client_is_answered),
		TEST(half_a_request_is_answered),
		TEST(bad_requests_are_answered_without_a_reset),
		TEST(long_answers_are_sent_as_the_client_reads),
		TEST(freeing_the_server_tells_the_waiting),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
