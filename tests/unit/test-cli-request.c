/* SPDX-License-Identifier: Apache-2.0 */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "cli_curlopt.h"

#define WORDS_MAX 8

static void
urls_that_may_have_a_token(void **state)
{
	static const struct {
		const char *url, *origin;
	} table[] = {
		{ "https://app.example.com", "https://app.example.com" },
		{ "https://app.example.com/", "https://app.example.com" },
		{ "https://APP.example.com:8443/a?b=c@d#e",
		  "https://APP.example.com:8443" },
		{ "https://[2001:db8::1]:443/x", "https://[2001:db8::1]:443" },
		{ "https://app/a@b:c//d", "https://app" },
		{ "https://app/{a,b}[1-3]", "https://app" },
		{ "http://127.0.0.1:80/", "http://127.0.0.1:80" },
		{ "http://127.255.0.9/", "http://127.255.0.9" },
		{ "http://localhost", "http://localhost" },
		{ "http://[::1]:8080/", "http://[::1]:8080" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		const char *why = curlopt_url(table[i].url);

		if (why)
			fail_msg("%s: %s", table[i].url, why);
		assert_int_equal(curlopt_origin(table[i].url),
				 strlen(table[i].origin));
		assert_memory_equal(table[i].url, table[i].origin,
				    strlen(table[i].origin));
	}
}

static void
urls_that_may_not(void **state)
{
	static const char *const table[] = {
		"", "app.example.com", "//app", "https:/app", "https://",
		"https:///",
		"HTTPS://app/", "ftp://app/", "file:///etc/passwd",
		"https://good@evil/", "https://good:pw@evil/", "https://@evil/",
		"https://good\\@evil/", "https://good\\.evil/", "https://a b/",
		"https://app/a b", "https://app/\n", "https://app/\tx",
		"https://app/\177", "https://\303\251/", "https://app/\303\251",
		"https://{a,b}/", "https://[1-2].app/", "https://app?x",
		"https://app#x",
		"https://app:/", "https://app:0/", "https://app:65536/",
		"https://app:123456/", "https://app:x/", "https://app:80:80/",
		"https://a_b/", "https://a%2eb/", "https://[::1", "https://[]/",
		"https://[::1]x/", "https://[::1%25lo]/", "https://[dead]/",
		"https://!$&/", " https://app/", "-https://app/",
		"http://app.example.com/", "http://127.1/",
		"http://127.0.0.1.evil/",
		"http://127.0.0.256/", "http://127.0.0.01/", "http://127.0.0.1.1/",
		"http://127.0.0./", "http://2130706433/", "http://0.0.0.0/",
		"http://localhost.evil/", "http://localhost./", "http://[::2]/",
		"http://169.254.169.254/", "http://0x7f.0.0.1/",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		if (!curlopt_url(table[i]))
			fail_msg("%s", table[i]);
}

static void
a_proxy_is_a_host_and_a_port(void **state)
{
	(void)state;
	assert_null(curlopt_proxy("http://proxy.example.com:3128"));
	assert_null(curlopt_proxy("https://proxy/"));
	assert_non_null(curlopt_proxy("proxy:3128"));
	assert_non_null(curlopt_proxy("socks5://proxy"));
	assert_non_null(curlopt_proxy("http://u:p@proxy"));
	assert_non_null(curlopt_proxy("http://proxy/x"));
	assert_non_null(curlopt_proxy("http://"));
}

/* Words up to the first NULL. */
static int
parse(struct curlopt *o, const char *const *words)
{
	char copy[WORDS_MAX][300], *argv[WORDS_MAX], why[256] = "";
	size_t n = 0;
	int r;

	for (; n < WORDS_MAX && words[n]; n++) {
		snprintf(copy[n], sizeof(copy[n]), "%s", words[n]);
		argv[n] = copy[n];
	}
	r = curlopt_parse(o, n, argv, why, sizeof(why));
	assert_int_equal(r == 0, why[0] == '\0');
	/* The words are gone when this returns: compare with the text below. */
	for (size_t i = 0; r == 0 && i < o->n; i++)
		for (size_t w = 0; w < n; w++)
			if (o->args[i] >= copy[w] && o->args[i] < copy[w] + 300)
				o->args[i] = words[w] + (o->args[i] - copy[w]);
	return r;
}

static void
allowed_options_are_written_anew(void **state)
{
	static const struct {
		const char *words[WORDS_MAX], *args[WORDS_MAX];
	} table[] = {
		{ { NULL }, { NULL } },
		{ { "-X", "POST" }, { "--request", "POST" } },
		{ { "-XPOST" }, { "--request", "POST" } },
		{ { "-sXPOST" }, { "--request", "POST" } },
		{ { "--request", "PUT" }, { "--request", "PUT" } },
		{ { "--request=PUT" }, { "--request", "PUT" } },
		{ { "-sSf" }, { NULL } },
		{ { "-da=b" }, { "--data", "a=b" } },
		{ { "-d", "@-" }, { "--data", "@-" } },
		{ { "-d", "" }, { "--data", "" } },
		{ { "-d", "-K" }, { "--data", "-K" } },
		{ { "-d", "--url" }, { "--data", "--url" } },
		{ { "--data=--next" }, { "--data", "--next" } },
		{ { "--data-urlencode", "a=b&c" },
		  { "--data-urlencode", "a=b&c" } },
		{ { "--data-raw=@x", "--data-binary", "@y" },
		  { "--data-raw", "@x", "--data-binary", "@y" } },
		{ { "-F", "a=@b" }, { "--form", "a=@b" } },
		{ { "-Tfile" }, { "--upload-file", "file" } },
		{ { "-H", "Accept: text/plain" },
		  { "--header", "Accept: text/plain" } },
		{ { "-HX-Empty;" }, { "--header", "X-Empty;" } },
		{ { "-H", "Accept:" }, { "--header", "Accept:" } },
		{ { "-H", "Hostess: x" }, { "--header", "Hostess: x" } },
		{ { "-m", "2.5" }, { "--max-time", "2.5" } },
		{ { "-m5", "--connect-timeout=3" },
		  { "--max-time", "5", "--connect-timeout", "3" } },
		{ { "--compressed", "-I" }, { "--compressed", "--head" } },
		{ { "--cacert", "/x" }, { "--cacert", "/x" } },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct curlopt o;
		size_t n = 0;

		assert_int_equal(parse(&o, table[i].words), 0);
		for (; n < WORDS_MAX && table[i].args[n]; n++) {
			assert_true(n < o.n);
			assert_string_equal(o.args[n], table[i].args[n]);
		}
		assert_int_equal(o.n, n);
	}
}

static void
what_is_done_here_is_not_passed_on(void **state)
{
	static const char *const words[] = { "-iofile", "--fail", NULL };
	struct curlopt o;

	(void)state;
	assert_int_equal(parse(&o, words), 0);
	assert_int_equal(o.n, 0);
	assert_true(o.include);
	assert_true(o.fail);
	assert_false(o.head);
	assert_non_null(o.output);
}

static void
everything_else_is_refused(void **state)
{
	static const char *const table[][WORDS_MAX] = {
		{ "https://evil/" }, { "" }, { "-" }, { "--" }, { "-s-" },
		{ "--url", "https://evil/" }, { "--url=https://evil/" },
		{ "-K", "x" }, { "-Kx" }, { "--config", "x" }, { "-sK", "x" },
		{ "-:" }, { "--next" }, { "-L" }, { "--location" },
		{ "--location-trusted" }, { "-x", "evil:1" },
		{ "--proxy", "evil:1" },
		{ "--preproxy", "evil" }, { "--socks5", "evil" }, { "-U", "x" },
		{ "--connect-to", "::evil:1" }, { "--resolve", "*:443:127.0.0.1" },
		{ "--unix-socket", "x" }, { "--abstract-unix-socket", "x" },
		{ "--doh-url", "x" }, { "--dns-servers", "x" },
		{ "--interface", "x" },
		{ "-k" }, { "--insecure" }, { "-v" }, { "--trace", "-" },
		{ "--trace-ascii", "-" }, { "-D", "-" }, { "-w", "x" },
		{ "-c", "x" },
		{ "-b", "x" }, { "-u", "a:b" }, { "-n" },
		{ "--oauth2-bearer", "x" },
		{ "-A", "x" }, { "-e", "x" }, { "-G" }, { "--get" }, { "-O" },
		{ "-J" },
		{ "-Z" }, { "--proto", "all" }, { "--haproxy-protocol" },
		{ "--alt-svc", "x" }, { "--hsts", "x" }, { "--stderr", "x" },
		{ "--libcurl", "x" }, { "--no-silent" }, { "--data-" },
		{ "--dat", "x" },
		{ "--compressed=x" }, { "--head=1" }, { "-E", "x" },
		{ "--capath", "x" },
		{ "-g" }, { "-N" }, { "-q" }, { "-0" }, { "-i", "x" },
		{ "-sx", "y" },
		{ "-X" }, { "-sX" }, { "--data" }, { "-H" }, { "-o", "" },
		{ "-T", "" },
		{ "-X", "" }, { "-X", "GET /x HTTP/1.1\r\nHost: evil" },
		{ "-X", "A B" }, { "-X", "CONNECT" }, { "-X", "trace" },
		{ "-H", "@file" }, { "-H@-" }, { "--header=@x" }, { "-H", "" },
		{ "-H", "Authorization: x" }, { "-H", "authorization:" },
		{ "-H", "AUTHORIZATION;" }, { "-H", "Proxy-Authorization: x" },
		{ "-H", "Host: evil" }, { "-HhOST:" }, { "-H", "Host : evil" },
		{ "-H", " Host: evil" }, { "-H", ": x" }, { "-H", "no colon" },
		{ "-H", "A: b\r\nHost: evil" }, { "-H", "A: b\nHost: evil" },
		{ "-m", "x" }, { "-m", "" }, { "-m", "-1" }, { "-m", "1e9" },
		{ "-m", "1.5x" }, { "--connect-timeout", "1 2" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct curlopt o;

		if (parse(&o, table[i]) != -EINVAL)
			fail_msg("%s %s", table[i][0],
				 table[i][1] ? table[i][1] : "");
	}
}

static void
options_have_a_limit(void **state)
{
	char word[] = "--compressed", *words[CURLOPT_ARGS_MAX + 1], why[256];
	struct curlopt o;

	(void)state;
	for (size_t i = 0; i <= CURLOPT_ARGS_MAX; i++)
		words[i] = word;
	assert_int_equal(curlopt_parse(&o, CURLOPT_ARGS_MAX + 1, words, why,
				       sizeof(why)), -EINVAL);
	assert_true(o.n <= CURLOPT_ARGS_MAX);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(urls_that_may_have_a_token),
		cmocka_unit_test(urls_that_may_not),
		cmocka_unit_test(a_proxy_is_a_host_and_a_port),
		cmocka_unit_test(allowed_options_are_written_anew),
		cmocka_unit_test(what_is_done_here_is_not_passed_on),
		cmocka_unit_test(everything_else_is_refused),
		cmocka_unit_test(options_have_a_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
