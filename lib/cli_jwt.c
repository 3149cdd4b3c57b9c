/* SPDX-License-Identifier: MIT */

#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "cli_curlopt.h"
#include "cli_signed.h"

enum { OPT_IAP = CLI_OPT_OWN, OPT_CLAIMS, OPT_HEADER, OPT_ACCOUNT, OPT_TIMEOUT };

static const struct option options[] = {
	{ "iap",	required_argument,	NULL, OPT_IAP },
	{ "claims",	required_argument,	NULL, OPT_CLAIMS },
	{ "header",	no_argument,		NULL, OPT_HEADER },
	{ "account",	required_argument,	NULL, OPT_ACCOUNT },
	{ "timeout",	required_argument,	NULL, OPT_TIMEOUT },
	CLI_COMMON_OPTIONS
};

static int
read_claims(const char *iap, const char *file, char **ret, size_t *ret_len)
{
	if (file)
		return signed_read(file, ret, ret_len);
	*ret = signed_iap_claims(iap);
	if (!*ret)
		return cli_fail(CLI_INTERNAL, "memory is gone");
	*ret_len = strlen(*ret);
	return CLI_OK;
}

static int
print_jwt(const struct cli *cli, const struct cli_token_options *o,
	  const char *claims, size_t len, bool header)
{
	char *jwt = NULL;
	int code = signed_jwt(cli, o, claims, len, &jwt);

	if (code != CLI_OK)
		return code;
	printf("%s%s\n", header ? "Authorization: Bearer " : "", jwt);
	code = cli_flush();
	cli_secret_free(jwt);
	return code;
}

static int
jwt_run(struct cli *cli, int argc, char **argv)
{
	const char *iap = NULL, *file = NULL, *why;
	struct cli_token_options o = { 0 };
	bool header = false;
	char *claims = NULL;
	int opt, code;
	size_t len;

	while ((opt = cli_option(cli, argc, argv, options)) != -1) {
		switch (opt) {
		case OPT_IAP:
			iap = optarg;
			break;
		case OPT_CLAIMS:
			file = optarg;
			break;
		case OPT_HEADER:
			header = true;
			break;
		case OPT_ACCOUNT:
			o.account = optarg;
			break;
		case OPT_TIMEOUT:
			if (!cli_timeout(cli, optarg, &o.timeout_ms))
				return CLI_USAGE;
			break;
		default:
			return CLI_USAGE;
		}
	}
	if (optind != argc || !iap == !file)
		return cli_usage(cli, "--iap=URL or --claims=FILE, and nothing"
				 " else");
	why = iap ? curlopt_url(iap) : NULL;
	if (!why && iap && strncmp(iap, "https://", 8) != 0)
		why = "Identity-Aware Proxy speaks https";
	if (why)
		return cli_usage(cli, "--iap: %s", why);

	code = read_claims(iap, file, &claims, &len);
	if (code == CLI_OK)
		code = print_jwt(cli, &o, claims, len, header);
	free(claims);
	return code;
}

const struct cli_command cli_jwt = {
	.name = "jwt",
	.args = "--iap=URL | --claims=FILE [OPTIONS]",
	.what = "print a JWT that the account has signed itself",
	.help =
"  --iap=URL            for Identity-Aware Proxy: good for all paths of the host\n"
"  --claims=FILE        with these claims (JSON; - is standard input); iss, sub,\n"
"                       iat and exp are set where they are absent\n"
"  --header             the whole header line, for curl -H @-\n"
"  --account=A          another of the agent's accounts, by name or email\n"
"  --timeout=SECONDS    how long to wait for it (30)\n",
	.run = jwt_run,
};
