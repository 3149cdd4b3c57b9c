/* SPDX-License-Identifier: Apache-2.0 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "google/certs.h"
#include "google/endpoints.h"
#include "vectors.h"

#define KEY(more) \
	"{\"e\":\"AQAB\",\"kid\":\"k\",\"kty\":\"RSA\",\"n\":\"abc\"" more "}"

static struct http_response
answer(unsigned status, const char *body)
{
	struct http_response re = HTTP_RESPONSE_INIT;

	re.status = status;
	re.body = body;
	re.body_len = strlen(body);
	re.retry_after_usec = 7;
	return re;
}

static void
fails(unsigned status, const char *body)
{
	struct http_response re = answer(status, body);
	struct certs c = { .len = 99 };
	struct err e = { .kind = ERR_KINDS };

	assert_int_equal(certs_response(&re, &c, &e),
			 err_kind_errno(ERR_UNAVAILABLE));
	assert_int_equal(e.kind, ERR_UNAVAILABLE);
	assert_int_equal(e.retry_usec, 7);
	assert_non_null(strstr(e.msg, "Google's public keys: "));
	assert_int_equal(c.len, 99);
	assert_true(certs_response(&re, &c, NULL) < 0);
}

/* How many keys are taken of a set with these. */
static size_t
taken(const char *keys)
{
	_cleanup_(freep) char *body = xasprintf("{\"keys\":[%s]}", keys);
	struct http_response re = answer(200, body);
	struct certs c = { .len = 0 };
	struct err e;
	size_t n;

	if (certs_response(&re, &c, &e) < 0)
		return 0;
	n = c.len;
	certs_clear(&c);
	return n;
}

static void
the_request_is_that_of_the_reference(void **state _unused_)
{
	struct http_request q;

	certs_request("https://www.googleapis.com/oauth2/v3/certs", &q);
	assert_int_equal(q.lane, HTTP_LANE_GOOGLE);
	assert_string_equal(q.method, "GET");
	assert_string_equal(q.url, "https://www.googleapis.com/oauth2/v3/certs");
	assert_int_equal(q.n_fields, 1);
	assert_string_equal(q.fields[0], "Accept: application/json");
	assert_null(q.body);
	http_request_clear(&q);
}

static void
googles_own_set_is_read(void **state _unused_)
{
	struct http_response re = answer(200, VEC_D1_BODY);
	struct certs c;

	assert_int_equal(certs_response(&re, &c, NULL), 0);
	assert_int_equal(c.len, 1);
	assert_string_equal(c.key[0].kid, VEC_GOOGLE_KEY_KID);
	assert_string_equal(c.key[0].n, VEC_GOOGLE_KEY_N);
	assert_string_equal(c.key[0].e, VEC_GOOGLE_KEY_E);
	certs_clear(&c);
	assert_int_equal(c.len, 0);
	certs_clear(&c);
}

static void
what_is_no_set_is_unavailable(void **state _unused_)
{
	fails(200, "");
	fails(200, "{");
	fails(200, "[]");
	fails(200, "{}");
	fails(200, "null");
	fails(200, "<html>");
	fails(200, "{\"keys\":{}}");
	fails(200, "{\"keys\":[]}");
	fails(200, "{\"keys\":[null,1,\"x\",[],{}]}");
	fails(404, VEC_D1_BODY);
	fails(503, "");
	fails(301, VEC_D1_BODY);
}

static void
only_keys_for_rs256_signatures_are_taken(void **state _unused_)
{
	assert_int_equal(taken(KEY("")), 1);
	assert_int_equal(taken(KEY(",\"alg\":\"RS256\",\"use\":\"sig\"")), 1);
	assert_int_equal(taken(KEY(",\"key_ops\":[\"sign\",\"verify\"]")), 1);
	assert_int_equal(taken(KEY(",\"x5c\":[1],\"other\":{}")), 1);

	assert_int_equal(taken(KEY(",\"alg\":\"RS512\"")), 0);
	assert_int_equal(taken(KEY(",\"alg\":\"none\"")), 0);
	assert_int_equal(taken(KEY(",\"alg\":1")), 0);
	assert_int_equal(taken(KEY(",\"use\":\"enc\"")), 0);
	assert_int_equal(taken(KEY(",\"key_ops\":[\"encrypt\"]")), 0);
	assert_int_equal(taken(KEY(",\"kty\":\"EC\"")), 0);
	assert_int_equal(taken("{\"kid\":\"k\",\"kty\":\"oct\",\"k\":\"abc\"}"), 0);
	assert_int_equal(taken("{\"kid\":\"k\",\"n\":\"abc\",\"e\":\"AQAB\"}"), 0);
	assert_int_equal(taken("{\"kty\":\"RSA\",\"n\":\"a\",\"e\":\"AQAB\"}"), 0);
	assert_int_equal(taken(KEY(",\"n\":\"\"")), 0);
	assert_int_equal(taken(KEY(",\"n\":\"a b\"")), 0);
	assert_int_equal(taken(KEY(",\"n\":\"a+b/\"")), 0);
	assert_int_equal(taken(KEY(",\"e\":\"AQABAQABAQABAQABAQAB\"")), 0);
	assert_int_equal(taken(KEY(",\"kid\":\"\"")), 0);
	assert_int_equal(taken(KEY(",\"kid\":\"a\\nb\"")), 0);
	assert_int_equal(taken(KEY(",\"kid\":\"a\\u0000\"")), 0);
	assert_int_equal(taken(KEY(",\"kid\":7")), 0);
}

static void
bad_keys_do_not_spoil_good_ones(void **state _unused_)
{
	assert_int_equal(taken("null," KEY(",\"kid\":\"1\"") ",{},"
			       KEY(",\"kid\":\"2\"") ","
			       KEY(",\"kid\":\"3\",\"alg\":\"ES256\"")), 2);
}

static void
the_first_of_a_name_counts(void **state _unused_)
{
	struct http_response re = answer(200, "{\"keys\":["
		KEY(",\"n\":\"first\"") "," KEY(",\"n\":\"second\"") "]}");
	struct certs c;

	assert_int_equal(certs_response(&re, &c, NULL), 0);
	assert_int_equal(c.len, 1);
	assert_string_equal(c.key[0].n, "first");
	certs_clear(&c);
}

static size_t
taken_of(size_t n_keys, size_t kid_len, size_t n_len)
{
	_cleanup_(buf_free) struct buf b = BUF_INIT(1024 * 1024);
	_cleanup_(freep) char *n = xcalloc(n_len + 1, 1);

	memset(n, 'A', n_len);
	for (size_t i = 0; i < n_keys; i++)
		buf_addf(&b, "%s{\"kty\":\"RSA\",\"kid\":\"%0*zu\",\"n\":\"%s\","
			 "\"e\":\"AQAB\"}", i ? "," : "", (int)kid_len, i, n);
	return taken(buf_str(&b));
}

static void
sets_and_keys_have_their_limits(void **state _unused_)
{
	assert_int_equal(taken_of(CERTS_KEYS_MAX, 8, 10), CERTS_KEYS_MAX);
	assert_int_equal(taken_of(CERTS_KEYS_MAX + 1, 8, 10), CERTS_KEYS_MAX);
	assert_int_equal(taken_of(1000, 8, 10), CERTS_KEYS_MAX);
	assert_int_equal(taken_of(1, CERTS_KID_MAX, 10), 1);
	assert_int_equal(taken_of(1, CERTS_KID_MAX + 1, 10), 0);
	assert_int_equal(taken_of(1, 8, 1366), 1);	/* RSA-8192 */
	assert_int_equal(taken_of(1, 8, 1401), 0);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_request_is_that_of_the_reference),
		cmocka_unit_test(googles_own_set_is_read),
		cmocka_unit_test(what_is_no_set_is_unavailable),
		cmocka_unit_test(only_keys_for_rs256_signatures_are_taken),
		cmocka_unit_test(bad_keys_do_not_spoil_good_ones),
		cmocka_unit_test(the_first_of_a_name_counts),
		cmocka_unit_test(sets_and_keys_have_their_limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
