/* SPDX-License-Identifier: Apache-2.0 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "api/headers.h"

#define PORT	254

static bool
ours(const char *host)
{
	return headers_host_is_ours(http_span(host, strlen(host)), PORT);
}

static void
good_hosts_are_these_in_any_case_with_our_port_or_none(void **state _unused_)
{
	static const char *const good[] = {
		"127.0.0.1", "127.0.0.1:254", "127.0.0.1.", "127.0.0.1.:254",
		"localhost", "LocalHost", "localhost.", "localhost:254",
		"[::1]", "[::1]:254",
		"169.254.169.254", "169.254.169.254:254",
		"metadata.google.internal", "METADATA.google.internal.",
		"metadata.google.internal.:254",
	};

	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		if (!ours(good[i]))
			fail_msg("%s", good[i]);
}

static void
everything_else_is_evil(void **state _unused_)
{
	static const char *const evil[] = {
		"127.0.0.1.evil.com", "localhost.evil.com", "127.1", "2130706433",
		"0.0.0.0", "127.0.0.1:1", "127.0.0.1@evil", "", ".", ":", ":254",
		"127.0.0.1:", "127.0.0.1:0254", "127.0.0.1:2540", "127.0.0.1:25",
		"127.0.0.1:254.", "127.0.0.1:254:254", "127.0.0.1..",
		"127.0.0.1 ", " 127.0.0.1", "127.0.0.1:+254", "127.0.0.1/",
		"127.0.0.2", "127.0.0.10", "127.0.0", "0x7f.1", "localhos",
		"localhost..", "localhostx", "xlocalhost", "[::1", "::1", "[::1].",
		"[::1]x", "[::]", "[::ffff:127.0.0.1]", "[0:0:0:0:0:0:0:1]",
		"169.254.169.254:80", "169.254.169.25", "metadata",
		"metadata.google.internal.evil.com", "metadata.google.internal..",
		"evil.com:254", "127.0.0.1,evil.com", "[fd20:ce::254]",
	};

	for (size_t i = 0; i < ARRAY_SIZE(evil); i++)
		if (ours(evil[i]))
			fail_msg("%s", evil[i]);
	assert_false(headers_host_is_ours(http_span(NULL, 0), PORT));
	assert_false(headers_host_is_ours(http_span("localhost\0", 10), PORT));
}

/* Whatever is cut from, added to or changed in a good one by one byte. */
static void
one_byte_makes_no_other_name_ours(void **state _unused_)
{
	static const char *const names[] = { "127.0.0.1:254", "localhost:254",
		"[::1]:254", "metadata.google.internal:254" };
	char host[64];

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		size_t len = strlen(names[i]);

		for (size_t at = 0; at < len; at++) {
			for (int c = 1; c < 256; c++) {
				(void)snprintf(host, sizeof(host), "%s", names[i]);
				host[at] = (char)c;
				if (strcasecmp(host, names[i]) != 0 && ours(host))
					fail_msg("%s", host);
			}
			/* Without its port it is good. */
			if (at == 0 || names[i][at] == ':')
				continue;
			(void)snprintf(host, sizeof(host), "%.*s%s", (int)at,
				       names[i], names[i] + at + 1);
			if (ours(host) && !strchr(host, '.'))
				fail_msg("%s", host);
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			good_hosts_are_these_in_any_case_with_our_port_or_none),
		cmocka_unit_test(everything_else_is_evil),
		cmocka_unit_test(one_byte_makes_no_other_name_ours),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
