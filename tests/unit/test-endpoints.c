/* SPDX-License-Identifier: Apache-2.0 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "google/endpoints.h"

static bool
is_metadata(const char *url)
{
	return endpoint_check(url, ENDPOINT_KIND_METADATA, false, NULL) == 0;
}

static bool
is_google(const char *url, bool test)
{
	return endpoint_check(url, ENDPOINT_KIND_GOOGLE, test, NULL) == 0;
}

static void
googles_own_endpoints_pass_their_own_check(void **state _unused_)
{
	struct endpoints at;

	endpoints_init(&at);
	assert_string_equal(at.metadata, "http://169.254.169.254");
	assert_string_equal(at.iam, "https://iamcredentials.googleapis.com");
	assert_string_equal(at.token, "https://oauth2.googleapis.com/token");
	assert_string_equal(at.certs, "https://www.googleapis.com/oauth2/v3/certs");
	assert_false(at.test);
	assert_true(is_metadata(at.metadata));
	assert_true(is_google(at.iam, false));
	assert_true(is_google(at.token, false));
	assert_true(is_google(at.certs, false));
	endpoints_clear(&at);
	assert_null(at.token);
	endpoints_clear(&at);
}

static void
the_metadata_server_is_an_address_and_plain_http(void **state _unused_)
{
	static const char *const good[] = {
		"http://169.254.169.254", "http://169.254.169.254:80",
		"http://127.0.0.1:8080",  "http://[fd20:ce::254]",
		"http://[::1]:65535",
	};
	static const char *const bad[] = {
		"", "http://", "169.254.169.254", "https://169.254.169.254",
		"http://metadata.google.internal", "http://metadata",
		"http://localhost", "http://169.254.169.254/",
		"http://169.254.169.254/x", "http://169.254.169.254?x",
		"http://169.254.169.254#x", "http://user@169.254.169.254",
		"http://169.254.169.254:", "http://169.254.169.254:0",
		"http://169.254.169.254:65536", "http://169.254.169.254:8o",
		"http://169.254.169.254:+80", "http://2852039166", "http://127.1",
		"http://fd20:ce::254", "http://[fd20:ce::254", "http://[127.0.0.1]",
		"http://[]", "HTTP://169.254.169.254", " http://169.254.169.254",
		"http://169.254.169.254 ", "ftp://169.254.169.254",
	};

	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		if (!is_metadata(good[i]))
			fail_msg("refused: %s", good[i]);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (is_metadata(bad[i]))
			fail_msg("taken: %s", bad[i]);
}

static void
google_is_asked_by_https_only(void **state _unused_)
{
	static const char *const good[] = {
		"https://iamcredentials.googleapis.com", "https://h.example:8443",
		"https://h.example/oauth2/v4/token", "https://127.0.0.1:1/token",
	};
	static const char *const bad[] = {
		"http://iamcredentials.googleapis.com",
		"http://127.0.0.1:8080",
		"https://u:p@h.example",
		"https://h.example/",
		"https://h.example//x",
		"https://h.example/a/../b",
		"https://h.example/a?b",
		"https://h/%2e",
		"https://h.example/a#b",
		"https://h\\.example",
		"https://h.example/a b",
		"https://h_x.example",
		"https://",
		"https:///token",
		"h.example",
	};

	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		if (!is_google(good[i], false))
			fail_msg("refused: %s", good[i]);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (is_google(bad[i], false))
			fail_msg("taken: %s", bad[i]);
}

static void
test_endpoints_may_be_plain_http_on_loopback_only(void **state _unused_)
{
	static const char *const good[] = {
		"http://127.0.0.1:8080",
		"http://127.9.9.9",
		"http://localhost:1/token",
		"http://[::1]:9",
		"https://oauth2.googleapis.com/token",
	};
	static const char *const bad[] = {
		"http://128.0.0.1", "http://10.0.0.1", "http://[::2]",
		"http://localhost.evil.com", "http://127.0.0.1.evil.com",
		"http://127.1", "http://0.0.0.0", "http://127.0.0.1@evil",
		"http://oauth2.googleapis.com/token",
	};

	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		if (!is_google(good[i], true))
			fail_msg("refused: %s", good[i]);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (is_google(bad[i], true))
			fail_msg("taken: %s", bad[i]);
}

static void
what_is_refused_is_named(void **state _unused_)
{
	struct err e;

	endpoint_check("http://metadata", ENDPOINT_KIND_METADATA, false, &e);
	assert_int_equal(e.kind, ERR_REQUEST);
	assert_string_equal(e.msg,
			    "http://metadata: the metadata server is asked by "
			    "address, never by name");
	endpoint_check("http://h.example", ENDPOINT_KIND_GOOGLE, false, &e);
	assert_string_equal(e.msg, "http://h.example: https only");
}

static void
gce_metadata_host_becomes_a_base_url(void **state _unused_)
{
	static const char *const hosts[][2] = {
		{ "169.254.169.254", "http://169.254.169.254" },
		{ "127.0.0.1:8080", "http://127.0.0.1:8080" },
		{ "http://127.0.0.1:8080", "http://127.0.0.1:8080" },
		{ "[fd20:ce::254]:80", "http://[fd20:ce::254]:80" },
		{ "fd20:ce::254", "http://[fd20:ce::254]" },
		{ "metadata.google.internal", "http://169.254.169.254" },
		{ "Metadata.Google.Internal.:80", "http://169.254.169.254:80" },
		{ "localhost:8080", "http://127.0.0.1:8080" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(hosts); i++) {
		_cleanup_(freep) char *url = NULL;

		assert_int_equal(
			endpoint_metadata_from_host(hosts[i][0], &url, NULL),
			0);
		assert_string_equal(url, hosts[i][1]);
	}
}

static void
gce_metadata_host_names_nothing_that_needs_dns(void **state _unused_)
{
	static const char *const hosts[] = {
		"", "metadata", "metadata.google.internal.evil.com",
		"xmetadata.google.internal", "metadata.google.internal..",
		"localhost.evil.com", "https://169.254.169.254", "host:80",
		"169.254.169.254/", "a@169.254.169.254", "169.254.169.254:x",
		"metadata.google.internal:80@evil", "localhost:80/x",
	};
	char *url = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(hosts); i++) {
		if (endpoint_metadata_from_host(hosts[i], &url, NULL) >= 0)
			fail_msg("taken: %s", hosts[i]);
		assert_null(url);
	}
}

static void
google_is_found_in_any_spelling(void **state _unused_)
{
	static const char *const rows[] = {
		"https://oauth2.googleapis.com/token",
		"https://www.googleapis.com/oauth2/v4/token",
		"https://www.googleapis.com/oauth2/v3/token",
		"https://accounts.google.com/o/oauth2/token",
		"https://oauth2.mtls.googleapis.com/token",
		"https://sts.googleapis.com/v1/token",
		"//iam.googleapis.com/projects/1/locations/global",
		"googleapis.com", "HTTPS://OAUTH2.GoogleAPIs.COM/token",
		"https://oauth2.googleapis.com",
		"https://oauth2.googleapis.com./token",
		"https://oauth2.googleapis.com../token",
		"https://oauth2.googleapis.com:443/token",
		"https://oauth2.googleapis.com:/token",
		"https://oauth2.googleapis.com:00443/token",
		"https://user@oauth2.googleapis.com/token",
		"https://oauth2.googleapis.com@evil.example/token",
		"https://oauth2.googleapis.com\\@evil.example/",
		"http://oauth2.googleapis.com/token",
		"https:oauth2.googleapis.com/token",
		"https:/oauth2.googleapis.com/token",
		"https:///oauth2.googleapis.com",
		"oauth2.googleapis.com/token", "oauth2.googleapis.com:443/token",
		"//oauth2.googleapis.com/token",
		"https://https://oauth2.googleapis.com",
		"https://%6fauth2.googleapis.com/token",
		"https://oauth2%2Egoogleapis%2ecom/token",
		"https://oauth2%252Egoogleapis%25252ecom/token",
		"https://oauth2.googleapi%2573.com/token",
		"https:%2F%2Foauth2.googleapis.com%2Ftoken",
		"https://oauth2.googleapis.com%00.example.com/token",
		"https://oauth2.googleapis%EF%BC%8Ecom/token",
		"https://%EF%BD%87oogleapis.com/token",
		"https://oauth2.googleapis%e3%80%82com/token",
		"https://oauth2.googleapis%25e3%80%82com/token",
		"https://*.googleapis.com/*", "https://*googleapis.com/",
		"https://x.example/;https://oauth2.googleapis.com/token",
		"https://x.example/ https://oauth2.googleapis.com/token",
		"urn:oauth2.googleapis.com", "mailto:a@google.com",
		"https://[oauth2.googleapis.com]/token",
	};
	struct endpoints at;

	endpoints_init(&at);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (!endpoint_is_googles(&at, rows[i]))
			fail_msg("not found: %s", rows[i]);
	endpoints_clear(&at);
}

static void
what_is_not_googles_is_not_found(void **state _unused_)
{
	static const char *const rows[] = {
		"", "https://app.example.com", "https://app.example.com/*",
		"1234-abc.apps.googleusercontent.com", "https://x-abc-ew.a.run.app",
		"https://googleapis.com.example.com/", "https://xgoogleapis.com/",
		"https://my-googleapis.com", "https://google.com-apps.example",
		"https://example.com/token",
		"https://app.example.com:8443/a%20b?c=d%26e",
		"https://localhost:8443/*", "%", "%2", "%zz", "...", "a%",
		"/projects/123/global/backendServices/456",
	};
	struct endpoints at;

	endpoints_init(&at);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (endpoint_is_googles(&at, rows[i]))
			fail_msg("found: %s", rows[i]);
	endpoints_clear(&at);
}

static void
the_token_endpoint_in_use_is_one_of_googles(void **state _unused_)
{
	struct endpoints at;

	endpoints_init(&at);
	free(at.token);
	at.token = xstrdup("https://Login.corp.example:8443/token");
	assert_true(endpoint_is_googles(&at, "https://login.corp.example/token"));
	assert_true(endpoint_is_googles(&at, "https://LOGIN.corp.example.:1/x"));
	assert_false(endpoint_is_googles(&at, "https://app.corp.example/token"));
	/* On loopback others listen, too. */
	at.test = true;
	free(at.token);
	at.token = xstrdup("http://127.0.0.1:8443/token");
	assert_true(endpoint_is_googles(&at, "https://127.0.0.1:8443/*"));
	assert_false(endpoint_is_googles(&at, "https://127.0.0.1:8444/*"));
	endpoints_clear(&at);
}

static void
another_universe_has_its_own_endpoints_and_no_googleapis_com(void **state _unused_)
{
	struct endpoints at = { .universe = xstrdup("apis.example") };

	endpoints_complete(&at);
	assert_string_equal(at.iam, "https://iamcredentials.apis.example");
	assert_string_equal(at.token, "https://oauth2.apis.example/token");
	assert_string_equal(at.certs, "https://www.apis.example/oauth2/v3/certs");
	assert_null(at.metadata);
	assert_false(endpoints_are_default(&at));
	assert_true(is_google(at.iam, false));
	assert_true(is_google(at.certs, false));

	/* Those that are there stay. */
	free(at.iam);
	at.iam = xstrdup("https://iam.corp.example");
	endpoints_complete(&at);
	assert_string_equal(at.iam, "https://iam.corp.example");
	endpoints_clear(&at);
	assert_null(at.universe);
}

static void
a_universe_is_a_domain_in_small_letters(void **state _unused_)
{
	static const char label[] =
		"a23456789012345678901234567890123456789012345678901234567890123";
	_cleanup_(freep) char *longest =
		xasprintf("%s.%s.%s.a2345678901234567890123456789012345678", label,
			  label, label);
	_cleanup_(freep) char *too_long = xasprintf("%sx", longest);
	_cleanup_(freep) char *label_too_long = xasprintf("%sx.example", label);
	const char *const good[] = {
		"googleapis.com", "apis-s3ns.fr", "a.b", "1.2x", "a.b.c.d",
		"xn--a.de", longest,
	};
	const char *const bad[] = {
		"", ".", "com", "a.", ".a.b", "a..b", "a.b.", "A.b", "a.B", "a_b.c",
		"-a.b", "a-.b", "a.-b", "a.b-", "a b.c", "a.b/c", "a.b:443",
		"a@b.c",
		"https://a.b", "10.0.0.1", "a.1", "[::1]", "\xc3\xa4.de", "a.b\n",
		"a.b%2ec", "*.a.b", too_long, label_too_long,
	};

	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		if (!endpoint_is_universe(good[i]))
			fail_msg("refused: %s", good[i]);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (endpoint_is_universe(bad[i]))
			fail_msg("accepted: %s", bad[i]);
}

static void
a_host_is_in_a_domain_or_below_it(void **state _unused_)
{
	static const struct {
		const char *url;
		bool in;
	} rows[] = {
		{ "https://googleapis.com", true },
		{ "https://iamcredentials.googleapis.com", true },
		{ "https://IAM.GoogleAPIs.com.:443/x", true },
		{ "https://x.p.googleapis.com/y", true },
		{ "https://xgoogleapis.com", false },
		{ "https://googleapis.com.example.org", false },
		{ "https://example.org/googleapis.com", false },
		{ "https://com", false },
		{ "https://[::1]", false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (endpoint_is_in(rows[i].url, "googleapis.com") != rows[i].in)
			fail_msg("%s", rows[i].url);
}

static void
the_universes_hosts_are_googles_and_no_others(void **state _unused_)
{
	static const char *const found[] = {
		"https://apis.example", "https://iamcredentials.apis.example/x",
		"https://IAM.Apis.EXAMPLE.:443/", "https://x/?to=a.apis.example",
		"https://oauth2.%61pis.example/token",
		/* Nothing of googleapis.com's is signed for there either. */
		"https://oauth2.googleapis.com/token",
		"https://accounts.google.com/",
	};
	static const char *const others[] = {
		"https://app.example", "https://xapis.example/", "https://example/",
		"https://apis.example.com/", "https://apis-example/",
	};
	struct endpoints at = { .universe = xstrdup("apis.example") };
	struct endpoints home;

	endpoints_init(&home);
	endpoints_complete(&at);
	for (size_t i = 0; i < ARRAY_SIZE(found); i++)
		if (!endpoint_is_googles(&at, found[i]))
			fail_msg("not found: %s", found[i]);
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		if (endpoint_is_googles(&at, others[i]))
			fail_msg("found: %s", others[i]);
	assert_false(endpoint_is_googles(&home, "https://iam.apis.example/"));
	endpoints_clear(&at);
	endpoints_clear(&home);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(googles_own_endpoints_pass_their_own_check),
		cmocka_unit_test(the_metadata_server_is_an_address_and_plain_http),
		cmocka_unit_test(google_is_asked_by_https_only),
		cmocka_unit_test(test_endpoints_may_be_plain_http_on_loopback_only),
		cmocka_unit_test(what_is_refused_is_named),
		cmocka_unit_test(gce_metadata_host_becomes_a_base_url),
		cmocka_unit_test(gce_metadata_host_names_nothing_that_needs_dns),
		cmocka_unit_test(google_is_found_in_any_spelling),
		cmocka_unit_test(what_is_not_googles_is_not_found),
		cmocka_unit_test(the_token_endpoint_in_use_is_one_of_googles),
		cmocka_unit_test(
		    another_universe_has_its_own_endpoints_and_no_googleapis_com),
		cmocka_unit_test(a_universe_is_a_domain_in_small_letters),
		cmocka_unit_test(a_host_is_in_a_domain_or_below_it),
		cmocka_unit_test(the_universes_hosts_are_googles_and_no_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
