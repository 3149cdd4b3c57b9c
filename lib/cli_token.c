/* SPDX-License-Identifier: MIT */

#include <string.h>
#include <time.h>

#include "cli.h"

enum { OPT_HEADER = CLI_OPT_OWN, OPT_JSON, OPT_ACCOUNT, OPT_MIN_FRESH, OPT_FRESH,
       OPT_TIMEOUT };

static const struct option options[] = {
	{ "header",	no_argument,		NULL, OPT_HEADER },
	{ "json",	no_argument,		NULL, OPT_JSON },
	{ "account",	required_argument,	NULL, OPT_ACCOUNT },
	{ "min-fresh",	required_argument,	NULL, OPT_MIN_FRESH },
	{ "fresh",	no_argument,		NULL, OPT_FRESH },
	{ "timeout",	required_argument,	NULL, OPT_TIMEOUT },
	CLI_COMMON_OPTIONS
};

/* The token's alphabet needs no escaping: the library has looked. */
static void
print_token(const struct gce_oidc_token *t, int form)
{
	const char *text = gce_oidc_token_string(t);
	long long expires = (long long)gce_oidc_token_expires(t);

	switch (form) {
	case OPT_HEADER:
		printf("Authorization: Bearer %s\n", text);
		break;
	case OPT_JSON:
		printf("{\"token\":\"%s\",\"expires\":%lld,\"expires_in\":%lld}\n",
		       text, expires, expires - (long long)time(NULL));
		break;
	default:
		printf("%s\n", text);
	}
}

static int
token_run(struct cli *cli, int argc, char **argv)
{
	struct cli_token_options o = { 0 };
	struct gce_oidc_token *t = NULL;
	int opt, form = 0, code;

	while ((opt = cli_option(cli, argc, argv, options)) != -1) {
		switch (opt) {
		case OPT_HEADER:
		case OPT_JSON:
			if (form && form != opt)
				return cli_usage(cli, "--header or --json?");
			form = opt;
			break;
		case OPT_ACCOUNT:
			o.account = optarg;
			break;
		case OPT_MIN_FRESH:
			if (!cli_number(optarg, 3000, &o.min_fresh))
				return cli_usage(cli, "--min-fresh: 0 to 3000"
						 " seconds, not '%s'", optarg);
			break;
		case OPT_FRESH:
			o.fresh = true;
			break;
		case OPT_TIMEOUT:
			if (!cli_timeout(cli, optarg, &o.timeout_ms))
				return CLI_USAGE;
			break;
		default:
			return CLI_USAGE;
		}
	}
	if (argc - optind != 1)
		return cli_usage(cli, "one audience, please");

	code = cli_get_token(cli, argv[optind], &o, &t);
	if (code != CLI_OK)
		return code;
	print_token(t, form);
	code = cli_flush();
	gce_oidc_token_free(t);
	return code;
}

const struct cli_command cli_token = {
	.name = "token",
	.args = "AUDIENCE [--header | --json] [OPTIONS]",
	.what = "print an ID token for an audience",
	.help =
"  --header             the whole header line, for curl -H @-\n"
"  --json               token, expires (Unix time), expires_in (seconds)\n"
"  --account=A          another of the agent's accounts, by name or email\n"
"  --min-fresh=SECONDS  good for so long, or an error\n"
"  --fresh              a new one, not one from the agent's cache\n"
"  --timeout=SECONDS    how long to wait for it (30)\n",
	.run = token_run,
};
