/* SPDX-License-Identifier: Apache-2.0 */

/* Which addresses are loopback's, as they are written and as they are bound. */

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "http/listen_tcp.h"

static void
both_loopback_addresses_are_bound_and_shown(void **state _unused_)
{
	static const char *const at[] = { "127.0.0.1:0", "[::1]:0" };
	char show[HTTP_LISTEN_SHOW_SIZE];
	struct err e;
	int fd;

	for (size_t i = 0; i < ARRAY_SIZE(at); i++) {
		size_t name = strlen(at[i]) - 1;

		assert_int_equal(http_listen_tcp(at[i], &fd, &e), 0);
		assert_int_equal(http_listen_is_loopback(fd), 1);
		http_listen_show(fd, show);
		assert_memory_equal(show, at[i], name);
		assert_in_range(show[name], '1', '9');
		close(fd);
	}
}

static void
no_other_words_are_an_address(void **state _unused_)
{
	static const char *const bad[] = {
		"", "127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:-1",
		"127.0.0.1:65536", "127.0.0.1:+1", "127.0.0.1: 1", "127.0.0.1:1 ",
		"127.0.0.2:0", "127.0.0.10:0", "0.0.0.0:0", "localhost:0", ":0",
		"0", "[::1]", "[::1]:", "[::]:0", "::1:0", "[::1%lo]:0",
		"[::ffff:127.0.0.1]:0", "/run/x.sock", "169.254.169.254:0",
		"127.0.0.1:0\n", "http://127.0.0.1:0",
	};
	struct err e;
	int fd = -1;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		if (http_listen_tcp(bad[i], &fd, &e) != -EINVAL || fd != -1)
			fail_msg("%s", bad[i]);
		assert_int_equal(e.kind, ERR_REQUEST);
		assert_non_null(strstr(e.msg, "expected 127.0.0.1:PORT"));
	}
}

static void
a_port_that_is_taken_is_told(void **state _unused_)
{
	char at[HTTP_LISTEN_SHOW_SIZE];
	struct err e;
	int fd, second = -1;

	assert_int_equal(http_listen_tcp("127.0.0.1:0", &fd, &e), 0);
	http_listen_show(fd, at);
	assert_true(http_listen_tcp(at, &second, &e) < 0);
	assert_int_equal(e.kind, ERR_BUSY);
	assert_non_null(strstr(e.msg, at));
	assert_int_equal(second, -1);
	close(fd);
}

/* Bound there by somebody else, and listening. */
static int
listening_at(int family, const char *address, int type)
{
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6 };
	struct sockaddr_in in = { .sin_family = AF_INET };
	int fd = socket(family, type | SOCK_CLOEXEC, 0), r;

	if (family == AF_INET) {
		assert_int_equal(inet_pton(family, address, &in.sin_addr), 1);
		r = bind(fd, (struct sockaddr *)&in, sizeof(in));
	} else {
		assert_int_equal(inet_pton(family, address, &in6.sin6_addr), 1);
		r = bind(fd, (struct sockaddr *)&in6, sizeof(in6));
	}
	assert_return_code(r, errno);
	if (type == SOCK_STREAM)
		assert_return_code(listen(fd, 1), errno);
	return fd;
}

static void
what_others_have_bound_is_judged_by_its_address(void **state _unused_)
{
	static const struct {
		int family;
		const char *address;
		int type, expected;
	} cases[] = {
		{ AF_INET, "127.0.0.1", SOCK_STREAM, 1 },
		{ AF_INET6, "::1", SOCK_STREAM, 1 },
		{ AF_INET, "0.0.0.0", SOCK_STREAM, -EADDRNOTAVAIL },
		{ AF_INET, "127.0.0.2", SOCK_STREAM, -EADDRNOTAVAIL },
		{ AF_INET6, "::", SOCK_STREAM, -EADDRNOTAVAIL },
		{ AF_INET6, "::ffff:127.0.0.1", SOCK_STREAM, -EADDRNOTAVAIL },
		{ AF_INET, "127.0.0.1", SOCK_DGRAM, 0 },
	};
	int fd, pair[2];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		fd = listening_at(cases[i].family, cases[i].address, cases[i].type);
		if (http_listen_is_loopback(fd) != cases[i].expected)
			fail_msg("%s", cases[i].address);
		close(fd);
	}
	assert_return_code(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), errno);
	assert_int_equal(http_listen_is_loopback(pair[0]), 0);
	close(pair[0]);
	close(pair[1]);
	fd = socket(AF_INET, SOCK_STREAM, 0);	/* nobody listens */
	assert_int_equal(http_listen_is_loopback(fd), 0);
	close(fd);
	assert_int_equal(http_listen_is_loopback(-1), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_loopback_addresses_are_bound_and_shown),
		cmocka_unit_test(no_other_words_are_an_address),
		cmocka_unit_test(a_port_that_is_taken_is_told),
		cmocka_unit_test(what_others_have_bound_is_judged_by_its_address),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
