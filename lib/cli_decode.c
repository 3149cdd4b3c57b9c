/* SPDX-License-Identifier: MIT */

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#include "cli.h"
#include "cli_jwt_read.h"

enum { OPT_AUDIENCE = CLI_OPT_OWN, OPT_ACCOUNT };

static const struct option options[] = {
	{ "audience",	required_argument,	NULL, OPT_AUDIENCE },
	{ "account",	required_argument,	NULL, OPT_ACCOUNT },
	CLI_COMMON_OPTIONS
};

static void
print_duration(int64_t seconds)
{
	int64_t s = seconds < 0 ? -seconds : seconds;

	printf(seconds < 0 ? " (" : " (in ");
	if (s >= 86400)
		printf("%" PRId64 " d ", s / 86400);
	if (s >= 3600)
		printf("%" PRId64 " h ", s / 3600 % 24);
	if (s >= 60)
		printf("%" PRId64 " min ", s / 60 % 60);
	printf("%" PRId64 " s%s)", s % 60, seconds < 0 ? " ago" : "");
}

static void
print_time(const struct json *claims, const char *name, const char *what)
{
	struct json v;
	struct tm tm;
	char text[64];
	int64_t n;
	time_t t;

	if (!json_member(claims, name, &v))
		return;
	printf("%-10s", what);
	if (!json_integer(&v, &n)) {
		printf("not a whole number\n");
		return;
	}
	t = (time_t)n;
	if (n < 0 || n > INT64_C(253402300799) || !gmtime_r(&t, &tm) ||
	    strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S UTC", &tm) == 0) {
		printf("not a time of this era\n");
		return;
	}
	fputs(text, stdout);
	print_duration(n - (int64_t)time(NULL));
	putchar('\n');
}

static int
decode(const char *token, size_t len)
{
	struct jwt_text t;
	const char *why = jwt_read(token, len, &t);

	if (why)
		return cli_fail(CLI_USAGE, "not a JWT: %s", why);
	printf("signature not verified\nheader    ");
	json_print(stdout, &t.header, 0);
	printf("\nclaims    ");
	json_print(stdout, &t.claims, 0);
	putchar('\n');
	print_time(&t.claims, "iat", "issued");
	print_time(&t.claims, "nbf", "valid");
	print_time(&t.claims, "exp", "expires");
	jwt_clear(&t);
	return cli_flush();
}

/* People paste whole header lines. */
static size_t
skip_prefix(const char *s)
{
	static const char *const prefixes[] = { "Proxy-", "Authorization:",
						"Bearer" };
	size_t n = strspn(s, " \t\r\n");

	for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
		size_t len = strlen(prefixes[i]);

		if (strncasecmp(s + n, prefixes[i], len) == 0)
			n += len;
		n += strspn(s + n, " \t");
	}
	return n;
}

/* read(), not stdio: its buffers are never wiped. */
static int
decode_stdin(void)
{
	size_t size = JWT_MAX + 512, len = 0, skip;
	char *buf = malloc(size);
	ssize_t n = 1;
	int code;

	if (!buf)
		return cli_fail(CLI_INTERNAL, "memory is gone");
	while (n != 0 && len + 1 < size) {
		n = read(STDIN_FILENO, buf + len, size - 1 - len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			break;
		len += (size_t)n;
	}
	if (n < 0) {
		code = cli_fail(CLI_INTERNAL, "cannot read: %s", strerror(errno));
	} else {
		buf[len] = '\0';
		skip = skip_prefix(buf);
		while (len > skip && strchr(" \t\r\n", buf[len - 1]))
			len--;
		code = decode(buf + skip, len - skip);
	}
	explicit_bzero(buf, size);
	free(buf);
	return code;
}

static int
decode_run(struct cli *cli, int argc, char **argv)
{
	struct cli_token_options o = { 0 };
	struct gce_oidc_token *t = NULL;
	const char *audience = NULL;
	int opt, code;

	while ((opt = cli_option(cli, argc, argv, options)) != -1) {
		switch (opt) {
		case OPT_AUDIENCE:
			audience = optarg;
			break;
		case OPT_ACCOUNT:
			o.account = optarg;
			break;
		default:
			return CLI_USAGE;
		}
	}
	if (optind != argc)
		return cli_usage(cli, "a token in the arguments can be read by"
				 " everybody: pass it on standard input");
	if (!audience)
		return o.account ? cli_usage(cli, "--account needs --audience")
				 : decode_stdin();
	code = cli_get_token(cli, audience, &o, &t);
	if (code != CLI_OK)
		return code;
	code = decode(gce_oidc_token_string(t), strlen(gce_oidc_token_string(t)));
	gce_oidc_token_free(t);
	return code;
}

const struct cli_command cli_decode = {
	.name = "decode",
	.args = "[--audience=AUDIENCE [--account=A]] [<TOKEN]",
	.what = "show what a token says, without verifying it",
	.help =
"  --audience=AUDIENCE  a token of the agent's instead of standard input's\n"
"  --account=A          of another of its accounts\n",
	.run = decode_run,
};
