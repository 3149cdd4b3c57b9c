/* SPDX-License-Identifier: Apache-2.0 */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "http/parse.h"

#define GET	"GET /p HTTP/1.1\r\nHost: x\r\n"
#define POST	"POST /p HTTP/1.1\r\nHost: x\r\n"

struct verdict {
	ssize_t r;
	unsigned status;
	char msg[400];
};

static struct verdict
verdict(ssize_t r, const struct err *e)
{
	struct verdict v = { .r = r };

	if (r < 0) {
		v.status = e->status;
		memcpy(v.msg, e->msg, sizeof(v.msg));
	}
	return v;
}

/* In exactly as many bytes as there are, so that reading past them shows. */
static struct verdict
parse_once(const char *s, size_t len, size_t *scanned, struct http_head *ret)
{
	char *p = xcalloc(len + 1, 1), *at = p + 1;
	struct err e;
	ssize_t r;

	memcpy(at, s, len);
	r = http_parse(at, len, scanned, ret, &e);
	free(p);
	return verdict(r, &e);
}

/* Whole, and byte by byte: the verdict has to be the same. */
static struct verdict
parse(const char *s, size_t len)
{
	struct http_head head;
	struct verdict whole, v = { 0 };
	size_t scanned = 0;

	whole = parse_once(s, len, &scanned, &head);

	scanned = 0;
	for (size_t i = 0; i <= len && v.r == 0; i++)
		v = parse_once(s, i, &scanned, &head);
	assert_int_equal(v.r, whole.r);
	assert_int_equal(v.status, whole.status);
	assert_string_equal(v.msg, whole.msg);
	return whole;
}

static void
good_requests_are_taken(void **state _unused_)
{
	static const char *const good[] = {
		GET "\r\n",
		"GET / HTTP/1.1\r\nHost:\r\n\r\n",
		"GET / HTTP/1.0\r\n\r\n",
		"HEAD /a?b=c HTTP/1.1\r\nhOST: x\r\n\r\n",
		"get / HTTP/1.1\r\nHost: x\r\n\r\n",
		"M-SEARCH!#$ / HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET //a?x=:/?=@%zz&{}|\"<>\\^` HTTP/1.1\r\nHost: x\r\n\r\n",
		GET "X: a\tb \xc3\xa4\xff\r\n\r\n",
		GET "X:\r\nY:\t \r\nZ:z \t\r\n\r\n",
		GET "Content-Length: 0\r\n\r\n",
		GET "Accept: a\r\nAccept: b\r\n"
			"Origin: e\r\nVia: f\r\nConnection: g\r\n"
			"Connection: h\r\n\r\n",
		GET "X-Same: a\r\nX-Same: b\r\n\r\n",
		POST "Content-Length: 5\r\n\r\n",
		POST "Content-Length: 0000000000000000000000000065536\r\n\r\n",
		"PUT / HTTP/1.1\r\nHost: x\r\n\r\n",
	};

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		struct verdict v = parse(good[i], strlen(good[i]));

		if (v.r != (ssize_t)strlen(good[i]))
			print_error("%zu: %s\n", i, v.msg);
		assert_int_equal(v.r, strlen(good[i]));
	}
}

static const struct {
	unsigned status;
	const char *text;
} bad[] = {
	{ 400, "\r\n" GET "\r\n" },
	{ 400, " " GET "\r\n" },
	{ 400, "\x16\x03\x01" },
	{ 400, "GET / HTTP/1.1\nHost: x\n\n" },
	{ 400, "GET / HTTP/1.1\r\nHost: x\n\r\n" },
	{ 400, "GET / HTTP/1.1\rHost: x\r\n\r\n" },
	{ 400, "GET / HTTP/1.1\r\r\nHost: x\r\n\r\n" },
	{ 400, GET "\n" },
	{ 400, "GET  / HTTP/1.1\r\n" },
	{ 400, "GET /  HTTP/1.1\r\n" },
	{ 400, "GET / HTTP/1.1 \r\n" },
	{ 400, "GET\t/ HTTP/1.1\r\n" },
	{ 400, "GET /\r\n" },
	{ 400, "GET\r\n" },
	{ 400, "GET \r\n" },
	{ 400, "GET / \r\n" },
	{ 400, "GET / http/1.1\r\n" },
	{ 400, "GET / HTTP/1.10\r\n" },
	{ 400, "GET / HTTP/11\r\n" },
	{ 400, "GET / HTTP/1.x\r\n" },
	{ 400, "G(T / HTTP/1.1\r\n" },
	{ 400, "GET * HTTP/1.1\r\n" },
	{ 400, "OPTIONS * HTTP/1.1\r\n" },
	{ 400, "GET http://x/ HTTP/1.1\r\n" },
	{ 400, "CONNECT x:443 HTTP/1.1\r\n" },
	{ 400, "GET x HTTP/1.1\r\n" },
	{ 400, "GET /a#b HTTP/1.1\r\n" },
	{ 400, "GET /\xc3\xa4 HTTP/1.1\r\n" },
	{ 400, "GET /\x7f HTTP/1.1\r\n" },
	{ 400, "GET /\x01 HTTP/1.1\r\n" },
	{ 505, "GET / HTTP/2.0\r\n" },
	{ 505, "PRI * HTTP/2.0\r\n" },
	{ 505, "GET / HTTP/1.2\r\n" },
	{ 505, "GET / HTTP/0.9\r\n" },
	{ 400, "GET / HTTP/1.1\r\n\r\n" },
	{ 400, GET "Host: x\r\n" },
	{ 400, GET "HOST:\r\n" },
	{ 400, "GET / HTTP/1.0\r\nHost: x\r\nHost: x\r\n" },
	{ 400, GET "Cache-Control: no-cache\r\nCache-Control: min-fresh=9\r\n" },
	{ 400, GET "Prefer: wait=1\r\nprefer: wait=2\r\n" },
	{ 400, GET "X: a\r\n b\r\n" },
	{ 400, GET "X: a\r\n\tb\r\n" },
	{ 400, GET "X : a\r\n" },
	{ 400, GET "X\r\n" },
	{ 400, GET ": a\r\n" },
	{ 400, GET "X(: a\r\n" },
	{ 400, GET "X\xc3: a\r\n" },
	{ 400, GET "X: a\rb\r\n" },
	{ 400, GET "X: a\x7f\r\n" },
	{ 400, GET "X: a\x1b" "bcdefghijkl\r\n" },
	{ 400, GET "X: abcdefgh\x01\r\n" },
	{ 400, GET "Metadata-Flavor: Google\r\nMetadata-Flavor: Google\r\n" },
	{ 400, GET "Content-Type: a\r\nContent-Type: a\r\n" },
	{ 400, GET "Expect: 100-continue\r\n" },
	{ 501, GET "Transfer-Encoding: chunked\r\n" },
	{ 501, POST "Content-Length: 1\r\nTransfer-Encoding: identity\r\n" },
	{ 400, GET "Content-Length: 1\r\n\r\n" },
	{ 400, "HEAD / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n" },
	{ 400, "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n" },
	{ 411, POST "\r\n" },
	{ 411, "POST / HTTP/1.0\r\n\r\n" },
	{ 400, POST "Content-Length: 1\r\nContent-Length: 1\r\n" },
	{ 400, POST "Content-Length: 1, 1\r\n\r\n" },
	{ 400, POST "Content-Length:\r\n\r\n" },
	{ 400, POST "Content-Length: +1\r\n\r\n" },
	{ 400, POST "Content-Length: -1\r\n\r\n" },
	{ 400, POST "Content-Length: 0x1\r\n\r\n" },
	{ 400, POST "Content-Length: 1 1\r\n\r\n" },
	{ 413, POST "Content-Length: 65537\r\n\r\n" },
	{ 413, POST "Content-Length: 99999999999999999999999999999\r\n\r\n" },
	/* The first fault decides, whatever comes behind it. */
	{ 505, "GET / HTTP/3.0\r\nbad line\r\n" },
	{ 400, GET "bad line\r\nTransfer-Encoding: chunked\r\n" },
};

static void
bad_requests_are_refused(void **state _unused_)
{
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct verdict v = parse(bad[i].text, strlen(bad[i].text));

		if (v.r >= 0 || v.status != bad[i].status)
			print_error("%zu: %s: %zd %u %s\n", i, bad[i].text, v.r,
				    v.status, v.msg);
		assert_true(v.r < 0);
		assert_int_equal(v.status, bad[i].status);
	}
}

static void
nul_bytes_are_refused(void **state _unused_)
{
	static const char line[] = "GET /\0 HTTP/1.1\r\nHost: x\r\n\r\n";
	static const char name[] = GET "X\0: a\r\n\r\n";
	static const char value[] = GET "X: a\0b\r\n\r\n";
	static const char first[] = "\0";

	assert_int_equal(parse(line, sizeof(line) - 1).status, 400);
	assert_int_equal(parse(name, sizeof(name) - 1).status, 400);
	assert_int_equal(parse(value, sizeof(value) - 1).status, 400);
	assert_int_equal(parse(first, 1).status, 400);
}

static void
bad_beginnings_are_not_waited_for(void **state _unused_)
{
	char *s = xcalloc(HTTP_MAX_HEAD, 1);
	size_t scanned = 0;
	struct http_head head;

	assert_int_equal(parse("{", 1).status, 400);

	memset(s, 'A', HTTP_MAX_HEAD);
	assert_int_equal(parse(s, HTTP_MAX_LINE + 1).r, 0);
	assert_int_equal(parse(s, HTTP_MAX_LINE + 2).status, 414);
	assert_int_equal(parse_once(s, 9 * 1024, &scanned, &head).status, 414);
	free(s);
}

/* before, then as many fill bytes as make it n in all, then after. */
static char *
filled(const char *before, size_t n, const char *after)
{
	size_t a = strlen(before), z = strlen(after);
	char *s = xcalloc(n + 1, 1);

	assert_true(a + z <= n);
	memcpy(s, before, a);
	memset(s + a, 'f', n - a - z);
	memcpy(s + n - z, after, z);
	return s;
}

static void
limits_are_exact(void **state _unused_)
{
	static const char end[] = " HTTP/1.1\r\nHost: x\r\n\r\n";
	char *s;

	/* The line without its CR LF; behind it come 13 bytes. */
	s = filled("GET /", HTTP_MAX_LINE + 13, end);
	assert_int_equal(parse(s, strlen(s)).r, strlen(s));
	free(s);
	s = filled("GET /", HTTP_MAX_LINE + 14, end);
	assert_int_equal(parse(s, strlen(s)).status, 414);
	free(s);

	s = filled(GET "X: ", HTTP_MAX_HEAD, "\r\n\r\n");
	assert_int_equal(parse(s, strlen(s)).r, HTTP_MAX_HEAD);
	free(s);
	s = filled(GET "X: ", HTTP_MAX_HEAD + 1, "\r\n\r\n");
	assert_int_equal(parse(s, strlen(s)).status, 431);
	assert_int_equal(parse(s, HTTP_MAX_HEAD).status, 431);
	assert_int_equal(parse(s, HTTP_MAX_HEAD - 1).r, 0);
	free(s);
}

static void
fields_are_counted(void **state _unused_)
{
	for (unsigned extra = 0; extra < 2; extra++) {
		_cleanup_(buf_free) struct buf b = BUF_INIT(HTTP_MAX_HEAD);
		struct verdict v;

		buf_adds(&b, GET);
		for (unsigned i = 1; i < HTTP_MAX_FIELDS + extra; i++)
			buf_adds(&b, "X: y\r\n");
		buf_adds(&b, "\r\n");
		v = parse(b.data, b.len);
		assert_int_equal(v.status, extra ? 431 : 0);
	}
}

static void
bytes_behind_the_head_are_left_alone(void **state _unused_)
{
	static const char two[] = GET "\r\n\r\n\x01 garbage";
	struct http_head head;
	size_t scanned = 0;
	struct err e;

	assert_int_equal(http_parse(two, sizeof(two), &scanned, &head, &e),
			 strlen(GET "\r\n"));
}

static void
span_equal(struct http_span s, const char *expected)
{
	if (!expected) {
		assert_null(s.p);
		return;
	}
	assert_true(http_span_is(s, expected));
}

static void
parts_are_handed_out(void **state _unused_)
{
	static const char s[] =
		"POST /v1/jwt?account=a&x HTTP/1.1\r\n"
		"host:\t localhost:80 \r\n"
		"METADATA-FLAVOR: Google\r\n"
		"Content-Length: 12\r\n"
		"Content-Type: application/json\r\n"
		"Accept: text/plain\r\n"
		"Accept: application/json\r\n"
		"Cache-Control: min-fresh=5\r\n"
		"Prefer: wait=3\r\n"
		"Sec-Fetch-Mode: cors\r\n"
		"X-Forwarded-For: 1.2.3.4\r\n"
		"\r\n";
	struct http_head h;
	size_t scanned = 0;

	assert_int_equal(http_parse(s, strlen(s), &scanned, &h, NULL), strlen(s));
	assert_int_equal(h.method, HTTP_POST);
	span_equal(h.method_name, "POST");
	span_equal(h.path, "/v1/jwt");
	span_equal(h.query, "account=a&x");
	span_equal(h.field[HTTP_FIELD_HOST], "localhost:80");
	span_equal(h.field[HTTP_FIELD_METADATA_FLAVOR], "Google");
	span_equal(h.field[HTTP_FIELD_CONTENT_TYPE], "application/json");
	span_equal(h.field[HTTP_FIELD_ACCEPT], "text/plain");
	span_equal(h.field[HTTP_FIELD_CACHE_CONTROL], "min-fresh=5");
	span_equal(h.field[HTTP_FIELD_PREFER], "wait=3");
	span_equal(h.field[HTTP_FIELD_FORWARDED], "1.2.3.4");
	span_equal(h.field[HTTP_FIELD_BROWSER], "cors");
	span_equal(h.field[HTTP_FIELD_CONNECTION], NULL);
	assert_int_equal(h.minor, 1);
	assert_int_equal(h.body_len, 12);
	assert_true(h.keep_alive);
}

static void
forbidden_fields_are_seen_by_every_name(void **state _unused_)
{
	static const char *const names[] = {
		"Origin", "referer", "SEC-FETCH-SITE", "Sec-Fetch-X",
		"Forwarded", "Via"
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		char s[200];
		struct http_head h;
		size_t scanned = 0;

		snprintf(s, sizeof(s), GET "%s:\r\n\r\n", names[i]);
		assert_true(http_parse(s, strlen(s), &scanned, &h, NULL) > 0);
		assert_non_null(h.field[HTTP_FIELD_BROWSER].p);
	}
}

static void
query_is_absent_or_empty(void **state _unused_)
{
	static const char none[] = GET "\r\n";
	static const char empty[] = "GET /p? HTTP/1.0\r\n\r\n";
	struct http_head h;
	size_t scanned = 0;

	assert_true(http_parse(none, strlen(none), &scanned, &h, NULL) > 0);
	span_equal(h.query, NULL);
	scanned = 0;
	assert_true(http_parse(empty, strlen(empty), &scanned, &h, NULL) > 0);
	span_equal(h.query, "");
	span_equal(h.path, "/p");
}

static void
connections_are_kept_as_asked(void **state _unused_)
{
	static const struct {
		bool keep;
		const char *text;
	} cases[] = {
		{ true,  GET "\r\n" },
		{ true,  GET "Connection: keep-alive\r\n\r\n" },
		{ true,  GET "Connection: closed, x-close\r\n\r\n" },
		{ false, GET "Connection: close\r\n\r\n" },
		{ false, GET "Connection: x ,CLOSE\r\n\r\n" },
		{ false, GET "Connection: x\r\nConnection: close\r\n\r\n" },
		{ false, GET "Connection: close\r\n"
			     "Connection: keep-alive\r\n\r\n" },
		{ false, "GET / HTTP/1.0\r\n\r\n" },
		{ false, "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *s = cases[i].text;
		struct http_head h;
		size_t scanned = 0;

		assert_true(http_parse(s, strlen(s), &scanned, &h, NULL) > 0);
		assert_int_equal(h.keep_alive, cases[i].keep);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_requests_are_taken),
		cmocka_unit_test(bad_requests_are_refused),
		cmocka_unit_test(nul_bytes_are_refused),
		cmocka_unit_test(bad_beginnings_are_not_waited_for),
		cmocka_unit_test(limits_are_exact),
		cmocka_unit_test(fields_are_counted),
		cmocka_unit_test(bytes_behind_the_head_are_left_alone),
		cmocka_unit_test(parts_are_handed_out),
		cmocka_unit_test(forbidden_fields_are_seen_by_every_name),
		cmocka_unit_test(query_is_absent_or_empty),
		cmocka_unit_test(connections_are_kept_as_asked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
