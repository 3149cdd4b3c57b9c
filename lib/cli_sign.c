/* SPDX-License-Identifier: MIT */

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli.h"
#include "cli_gcs.h"
#include "cli_signed.h"

enum { OPT_URL = CLI_OPT_OWN, OPT_EXPIRES, OPT_METHOD, OPT_HEX, OPT_ACCOUNT,
       OPT_TIMEOUT };

static const struct option options[] = {
	{ "url",	required_argument,	NULL, OPT_URL },
	{ "expires",	required_argument,	NULL, OPT_EXPIRES },
	{ "method",	required_argument,	NULL, OPT_METHOD },
	{ "hex",	no_argument,		NULL, OPT_HEX },
	{ "account",	required_argument,	NULL, OPT_ACCOUNT },
	{ "timeout",	required_argument,	NULL, OPT_TIMEOUT },
	CLI_COMMON_OPTIONS
};

struct sign {
	struct cli_token_options o;
	const char *file;
	struct gcs_request url;		/* .object is NULL where a file is signed */
	bool hex;
};

/* secret is taken over; NULL: there was no making it. */
static int
print(char *secret)
{
	if (!secret)
		return cli_fail(CLI_INTERNAL, "memory is gone");
	printf("%s\n", secret);
	cli_secret_free(secret);
	return cli_flush();
}

static int
sign_file(const struct cli *cli, const struct sign *s)
{
	char *bytes = NULL, *signature = NULL;
	size_t len;
	int code;

	code = signed_read(s->file, &bytes, &len);
	if (code == CLI_OK)
		code = signed_blob(cli, &s->o, bytes, len, &signature);
	free(bytes);
	if (code == CLI_OK && s->hex)
		code = print(gcs_hex(signature));
	else if (code == CLI_OK)
		code = print(strdup(signature));
	cli_secret_free(signature);
	return code;
}

static int
sign_url(const struct cli *cli, struct sign *s)
{
	char *text, *signature = NULL, email[256], universe[256];
	int code;

	code = signed_email(cli, &s->o, email, sizeof(email));
	if (code == CLI_OK)
		code = signed_universe(cli, &s->o, universe, sizeof(universe));
	if (code != CLI_OK)
		return code;
	s->url.email = email;
	s->url.universe = universe;
	s->url.now = time(NULL);
	text = gcs_string_to_sign(&s->url);
	if (!text)
		return cli_fail(CLI_INTERNAL, "memory is gone");
	code = signed_blob(cli, &s->o, text, strlen(text), &signature);
	free(text);
	if (code == CLI_OK)
		code = print(gcs_url(&s->url, signature));
	cli_secret_free(signature);
	return code;
}

static int
read_options(struct cli *cli, struct sign *s, int argc, char **argv)
{
	bool for_url = false;
	int opt;

	while ((opt = cli_option(cli, argc, argv, options)) != -1) {
		for_url = for_url || opt == OPT_EXPIRES || opt == OPT_METHOD;
		switch (opt) {
		case OPT_URL:
			s->url.object = optarg;
			break;
		case OPT_EXPIRES:
			if (!cli_number(optarg, GCS_EXPIRES_MAX, &s->url.expires) ||
			    s->url.expires == 0)
				return cli_usage(cli, "--expires: 1 to %d seconds,"
						 " not '%s'", GCS_EXPIRES_MAX,
						 optarg);
			break;
		case OPT_METHOD:
			s->url.method = optarg;
			break;
		case OPT_HEX:
			s->hex = true;
			break;
		case OPT_ACCOUNT:
			s->o.account = optarg;
			break;
		case OPT_TIMEOUT:
			if (!cli_timeout(cli, optarg, &s->o.timeout_ms))
				return CLI_USAGE;
			break;
		default:
			return CLI_USAGE;
		}
	}
	if (s->url.object ? s->hex : for_url)
		return cli_usage(cli, "--expires and --method go with --url, --hex"
				 " with a file");
	return CLI_OK;
}

static int
sign_run(struct cli *cli, int argc, char **argv)
{
	struct sign s = { .url = { .method = "GET", .expires = 900 } };
	const char *why;
	int code;

	code = read_options(cli, &s, argc, argv);
	if (code != CLI_OK)
		return code;
	if (argc - optind != (s.url.object ? 0 : 1))
		return cli_usage(cli, "one FILE (- is standard input), or"
				 " --url=gs://BUCKET/OBJECT");
	if (!s.url.object) {
		s.file = argv[optind];
		return sign_file(cli, &s);
	}
	why = gcs_check_object(s.url.object);
	if (why)
		return cli_usage(cli, "--url: %s", why);
	if (!gcs_is_method(s.url.method))
		return cli_usage(cli, "--method: GET, HEAD, PUT or DELETE");
	return sign_url(cli, &s);
}

const struct cli_command cli_sign = {
	.name = "sign",
	.args = "FILE [--hex] | --url=gs://BUCKET/OBJECT [OPTIONS]",
	.what = "have bytes, or a URL of Cloud Storage, signed by the account",
	.help =
"  FILE                 bytes to sign (- is standard input); prints base64\n"
"  --hex                prints hexadecimal digits\n"
"  --url=gs://BUCKET/OBJECT\n"
"                       prints a URL by which anybody may use the object\n"
"  --expires=SECONDS    until then (900; at most 43200)\n"
"  --method=METHOD      GET, HEAD, PUT or DELETE (GET)\n"
"  --account=A          another of the agent's accounts, by name or email\n"
"  --timeout=SECONDS    how long to wait for it (30)\n",
	.run = sign_run,
};
