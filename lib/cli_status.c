/* SPDX-License-Identifier: MIT */

#include "cli.h"

#define TIMEOUT_MS 5000

static const struct option options[] = { CLI_COMMON_OPTIONS };

static int
show(const struct cli *cli, const char *name, const char *target)
{
	char text[640];
	struct conn c;
	int code = cli_get(cli, &c, target, TIMEOUT_MS);

	if (code == CLI_OK) {
		answer_text(&c.answer, text, sizeof(text));
		printf("%-10s%s\n", name, text);
	}
	conn_clear(&c);
	return code;
}

static int
status_run(struct cli *cli, int argc, char **argv)
{
	int code, code2;

	if (cli_option(cli, argc, argv, options) != -1)
		return CLI_USAGE;
	if (optind != argc)
		return cli_usage(cli, "status takes no arguments");

	/* Whatever it answers, it is there; and an agent that is not well may
	   know its account all the same. */
	code = show(cli, "health", "/healthz");
	if (code == CLI_NO_AGENT || code == CLI_PROTOCOL || code == CLI_TIMEOUT)
		return code;
	printf("%-10s%s\n", "socket", cli->socket);
	code2 = show(cli, "account",
		     "/computeMetadata/v1/instance/service-accounts/default/email");
	if (code == CLI_OK)
		code = code2;
	code2 = cli_flush();
	return code == CLI_OK ? code2 : code;
}

const struct cli_command cli_status = {
	.name = "status",
	.args = "",
	.what = "is the agent there, is it well, and which account is it",
	.run = status_run,
};
