/* SPDX-License-Identifier: MIT */

#include <string.h>

#include "cli.h"
#include "cli_curl.h"

static const char login[] = "https://accounts.google.com/";

enum { OPT_CACERT = CLI_OPT_OWN, OPT_PROXY };

static const struct option options[] = {
	{ "cacert",	required_argument,	NULL, OPT_CACERT },
	{ "proxy",	required_argument,	NULL, OPT_PROXY },
	CLI_COMMON_OPTIONS
};

/* The value of client_id in a query that ends at end. */
static bool
find_client_id(const char *s, const char *end, const char **ret, size_t *ret_len)
{
	static const char name[] = "client_id=";
	size_t len;

	s = memchr(s, '?', (size_t)(end - s));
	while (s && (size_t)(++s, end - s) > sizeof(name) - 1) {
		if (memcmp(s, name, sizeof(name) - 1) == 0) {
			s += sizeof(name) - 1;
			len = strspn(s, "abcdefghijklmnopqrstuvwxyz"
				     "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_");
			*ret = s;
			*ret_len = len;
			return len > 0 && len <= 255 &&
			       (s + len == end || s[len] == '&' || s[len] == '#');
		}
		s = memchr(s, '&', (size_t)(end - s));
	}
	return false;
}

static int
print_audience(const char *url, const struct curl_answer *a)
{
	const char *location, *id;
	size_t len, id_len;

	if (a->status != 302 || !curl_field(a, "Location", &location, &len) ||
	    len < sizeof(login) - 1 ||
	    strncmp(location, login, sizeof(login) - 1) != 0)
		return cli_fail(CLI_BAD_RESPONSE, "%s answers %d and does not send"
				" to Google's login: no Identity-Aware Proxy there,"
				" or one that asks otherwise", url, a->status);
	if (!find_client_id(location, location + len, &id, &id_len))
		return cli_fail(CLI_BAD_RESPONSE, "%s sends to Google's login"
				" without a client id", url);
	printf("%.*s\n", (int)id_len, id);
	cli_fail(0, "this is what the server says of itself.  Compare it with the"
		 " application's OAuth client id before you use it: a token for"
		 " it is good wherever that id is accepted");
	return cli_flush();
}

static int
audience_run(struct cli *cli, int argc, char **argv)
{
	struct curl_job job = { .field = "Accept: text/html" };
	struct curl_answer a;
	const char *why;
	int opt, code;

	while ((opt = cli_option(cli, argc, argv, options)) != -1) {
		switch (opt) {
		case OPT_CACERT:
			job.cacert = optarg;
			break;
		case OPT_PROXY:
			job.proxy = optarg;
			break;
		default:
			return CLI_USAGE;
		}
	}
	if (argc - optind != 1)
		return cli_usage(cli, "one URL, please");
	job.url = argv[optind];
	why = curlopt_url(job.url);
	if (!why && job.proxy)
		why = curlopt_proxy(job.proxy);
	if (why)
		return cli_usage(cli, "%s", why);

	code = curl_run(&job, &a);
	if (code == CLI_OK)
		code = print_audience(job.url, &a);
	curl_clear(&a);
	return code;
}

const struct cli_command cli_audience = {
	.name = "audience",
	.args = "URL [--cacert=FILE] [--proxy=URL]",
	.what = "print the OAuth client id that an application's redirect names",
	.help =
"  --cacert=FILE        certificates to trust instead of the system's\n"
"  --proxy=URL          http(s)://HOST[:PORT]; none is taken from elsewhere\n",
	.run = audience_run,
};
