/* SPDX-License-Identifier: Apache-2.0 */

/* Requests that come again, byte for byte, and what a handler has noted of them. */

#include "server-fixture.h"

#define ASK_NOTE(query)	ASK("/note?" query)
#define NOTE(len, text)	"HTTP/1.1 200 OK\r\nDate: DATE\r\nContent-Length: " len \
			"\r\n" EVERY "\r\n" text
#define NEW		NOTE("1", "-")

static void
a_note_is_found_by_the_same_bytes_only(void **state)
{
	struct fixture *f = *state;
	int fd = client(f);

	say(f, fd, ASK_NOTE("a"));
	expect(f, fd, NEW);
	say(f, fd, ASK_NOTE("a"));
	expect(f, fd, NOTE("1", "a"));
	say(f, fd, ASK_NOTE("b"));
	expect(f, fd, NEW);
	say(f, fd, "GET /note?a HTTP/1.1\r\nHost: y\r\n\r\n");
	expect(f, fd, NEW);
	say(f, fd, "GET /note?a HTTP/1.0\r\nHost: x\r\n\r\n");
	expect(f, fd, "HTTP/1.0 200 OK\r\nDate: DATE\r\nContent-Length: 1\r\n" EVERY
	       "Connection: close\r\n\r\n-");
	expect_end(f, fd);
}

static void
a_note_is_found_from_any_connection(void **state)
{
	struct fixture *f = *state;
	int a = client(f), b = client(f);

	say(f, a, ASK_NOTE("a"));
	expect(f, a, NEW);
	close(a);
	say(f, b, ASK_NOTE("a"));
	expect(f, b, NOTE("1", "a"));
	close(b);
}

static void
pipelined_and_cut_requests_find_their_own_notes(void **state)
{
	struct fixture *f = *state;
	int fd = client(f);

	for (int i = 0; i < 2; i++) {
		say(f, fd, ASK_NOTE("one") ASK_NOTE("two") ASK_NOTE("one"));
		expect(f, fd, i ? NOTE("3", "one") : NEW);
		expect(f, fd, NEW);
		expect(f, fd, NEW);
	}
	say(f, fd, "GET /note?one HTTP/1.1\r\nHo");
	settle(f);
	say(f, fd, "st: x\r\n\r\n");
	expect(f, fd, NEW);
	close(fd);
}

/* Whatever is remembered has a place among 64, and 512 bytes. */
static void
notes_are_few_and_short(void **state)
{
	char ask[1200], query[64];
	struct fixture *f = *state;
	int fd = client(f);

	for (unsigned i = 0; i < 1000; i++) {
		snprintf(query, sizeof(query), "%u", i);
		snprintf(ask, sizeof(ask), ASK_NOTE("%s"), query);
		say(f, fd, ask);
		expect(f, fd, NEW);
		assert_true(f->kept - f->dropped <= 64);
	}
	assert_true(f->kept - f->dropped > 32);

	for (int i = 0; i < 2; i++) {
		snprintf(ask, sizeof(ask), ASK_NOTE("%0*d"), 512, 1);
		say(f, fd, ask);
		expect(f, fd, NEW);
	}
	close(fd);
}

int
main(void)
{
#define TEST(name)	cmocka_unit_test_setup_teardown(name, setup_roomy, teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_note_is_found_by_the_same_bytes_only),
		TEST(a_note_is_found_from_any_connection),
		TEST(pipelined_and_cut_requests_find_their_own_notes),
		TEST(notes_are_few_and_short),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
