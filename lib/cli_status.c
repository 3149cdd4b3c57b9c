/* SPDX-License-Identifier: MIT */

#include "cli.h"

#define TIMEOUT_MS 5000

static const struct option options[] = { CLI_COMMON_OPTIONS };

struct line {
	char text[640];
	int code;
};

static void
ask(const struct cli *cli, const char *target, struct line *ret)
{
	struct conn c;

	ret->code = cli_get(cli, &c, target, TIMEOUT_MS);
	if (ret->code == CLI_OK)
		answer_text(&c.answer, ret->text, sizeof(ret->text));
	conn_clear(&c);
}

static void
show(const char *name, const struct line *l)
{
	if (l->code == CLI_OK)
		printf("%-10s%s\n", name, l->text);
}

static int
status_run(struct cli *cli, int argc, char **argv)
{
	struct line account, health;
	int code;

	if (cli_option(cli, argc, argv, options) != -1)
		return CLI_USAGE;
	if (optind != argc)
		return cli_usage(cli, "status takes no arguments");

	/* The account first: an agent that has just started answers that once it
	   knows, and is well then. */
	ask(cli, "/computeMetadata/v1/instance/service-accounts/default/email",
	    &account);
	if (account.code == CLI_NO_AGENT || account.code == CLI_PROTOCOL)
		return account.code;
	ask(cli, "/healthz", &health);

	show("health", &health);
	printf("%-10s%s\n", "socket", cli->socket);
	show("account", &account);
	code = cli_flush();
	if (health.code != CLI_OK)
		return health.code;
	return account.code != CLI_OK ? account.code : code;
}

const struct cli_command cli_status = {
	.name = "status",
	.args = "",
	.what = "is the agent there, is it well, and which account is it",
	.run = status_run,
};
