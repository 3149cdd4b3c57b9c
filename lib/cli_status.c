/* SPDX-License-Identifier: MIT */

#include <inttypes.h>
#include <string.h>

#include "cli.h"
#include "cli_json.h"

#define TIMEOUT_MS 5000

enum { OPT_JSON = CLI_OPT_OWN };

static const struct option options[] = {
	{ "json",	no_argument,		NULL, OPT_JSON },
	CLI_COMMON_OPTIONS
};

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

/* --- what only those are told who may monitor ------------------------------- */

static int64_t
number(const struct json *object, const char *name)
{
	struct json v;
	int64_t n;

	return json_member(object, name, &v) && json_integer(&v, &n) ? n : 0;
}

/* A member's text, fit for a terminal; "" where there is none. */
static const char *
text(const struct json *object, const char *name, char buf[static 900])
{
	struct json v;

	if (!json_member(object, name, &v) || !json_string(&v, buf, 900))
		buf[0] = '\0';
	for (char *p = buf; *p; p++)
		if ((unsigned char)*p < ' ' || (unsigned char)*p > '~')
			*p = '?';
	return buf;
}

static void
show_flow(const struct json *flow)
{
	char name[900], format[900], why[900], hint[900];

	printf("%-10s%s (%s): ", "flow", text(flow, "flow", name),
	       text(flow, "format", format));
	if (!*text(flow, "why", why)) {
		puts("not denied");
		return;
	}
	text(flow, "hint", hint);
	printf("denied: %s%s%s; tried again in %" PRId64 " s\n", why,
	       *hint ? "; " : "", hint, number(flow, "again_in"));
}

static void
show_upstream(const struct json *upstream)
{
	char name[900], state[900], why[900];

	printf("%-10s%s: %s", "upstream", text(upstream, "upstream", name),
	       text(upstream, "state", state));
	if (*text(upstream, "why", why))
		printf("; last failure %" PRId64 " s ago: %s",
		       number(upstream, "failed_ago"), why);
	putchar('\n');
}

static void
show_limit(const struct json *limit)
{
	int64_t refused = number(limit, "refused");
	char name[900];

	if (refused > 0)
		printf("%-10s%s: %" PRId64 " refused\n", "limit",
		       text(limit, "limit", name), refused);
}

static void
show_token(const struct json *token)
{
	char flow[900], account[900];
	struct json of;

	printf("%-10s%" PRId64 " s left, %s, ", "token",
	       number(token, "seconds_left"), text(token, "flow", flow));
	if (strcmp(text(token, "account", account), "default") != 0 && *account)
		printf("account %s, ", account);
	if (json_member(token, "audience", &of)) {
		json_print(stdout, &of, 0);
	} else if (json_member(token, "scopes", &of)) {
		fputs("access, scopes ", stdout);
		json_print(stdout, &of, 0);
	}
	putchar('\n');
}

static void
show_each(const struct json *object, const char *name,
	  void (*show_one)(const struct json *v))
{
	struct json list, item;

	if (!json_member(object, name, &list) || json_type(&list) != '[')
		return;
	for (list = json_begin(&list); json_next(&list, NULL, &item);)
		if (json_type(&item) == '{')
			show_one(&item);
}

static void
show_account(const struct json *account)
{
	char why[900], name[900], email[900];

	if (strcmp(text(account, "account", name), "default") != 0 && *name)
		printf("%-10s%s: %s\n", "account", name,
		       text(account, "email", email));
	if (*text(account, "why", why))
		printf("%-10slast looked for in vain: %s\n", "account", why);
	show_each(account, "flows", show_flow);
}

/* First, and in capitals: it is meant to pass. */
static void
show_policy(const struct json *status)
{
	struct json policy;
	char mode[900];

	if (json_member(status, "policy", &policy) &&
	    strcmp(text(&policy, "mode", mode), "permissive") == 0)
		printf("%-10sPERMISSIVE: ID tokens are served where no rule "
		       "admits\n", "policy");
}

/* Only where it is another one than nearly everybody's. */
static void
show_universe(const struct json *status)
{
	char universe[900];

	if (*text(status, "universe", universe) &&
	    strcmp(universe, "googleapis.com") != 0)
		printf("%-10s%s\n", "universe", universe);
}

static void
show_more(const struct json *status)
{
	int64_t left_out = number(status, "tokens_left_out");
	char version[900];
	struct json cache;

	show_policy(status);
	printf("%-10s%s, up for %" PRId64 " s\n", "version",
	       text(status, "version", version), number(status, "uptime"));
	show_universe(status);
	show_each(status, "accounts", show_account);
	show_each(status, "upstreams", show_upstream);
	show_each(status, "limits", show_limit);
	if (json_member(status, "cache", &cache))
		printf("%-10s%" PRId64 " tokens of at most %" PRId64 "\n", "cache",
		       number(&cache, "tokens"), number(&cache, "most"));
	show_each(status, "tokens", show_token);
	if (left_out > 0)
		printf("%-10sand %" PRId64 " more\n", "token", left_out);
}

/* Whoever may not monitor, or asks an agent that has no such thing, sees what he
   sees without it. */
static void
ask_more(const struct cli *cli)
{
	struct json status;
	struct conn c;
	int r;

	conn_init(&c);
	r = conn_start(&c, cli->socket, "/v1/status", "", TIMEOUT_MS);
	if (r == 0)
		r = conn_run(&c);
	if (r >= 0 && answer_verdict(&c.answer) == 0 &&
	    json_parse(c.answer.body, c.answer.body_len, &status) &&
	    json_type(&status) == '{')
		show_more(&status);
	conn_clear(&c);
}

static int
print_json(const struct cli *cli)
{
	struct json status;
	struct conn c;
	int code = cli_get(cli, &c, "/v1/status", TIMEOUT_MS);

	if (code == CLI_OK &&
	    !json_parse(c.answer.body, c.answer.body_len, &status))
		code = cli_fail(CLI_PROTOCOL, "the agent's answer is not JSON");
	if (code == CLI_OK) {
		fwrite(c.answer.body, 1, c.answer.body_len, stdout);
		code = cli_flush();
	}
	conn_clear(&c);
	return code;
}

static int
print_lines(const struct cli *cli)
{
	struct line account, health;
	int code;

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
	ask_more(cli);
	code = cli_flush();
	if (health.code != CLI_OK)
		return health.code;
	return account.code != CLI_OK ? account.code : code;
}

static int
status_run(struct cli *cli, int argc, char **argv)
{
	bool as_json = false;
	int opt;

	while ((opt = cli_option(cli, argc, argv, options)) != -1) {
		if (opt != OPT_JSON)
			return CLI_USAGE;
		as_json = true;
	}
	if (optind != argc)
		return cli_usage(cli, "status takes no arguments");
	return as_json ? print_json(cli) : print_lines(cli);
}

const struct cli_command cli_status = {
	.name = "status",
	.args = "[--json]",
	.what = "is the agent there, is it well, and which account is it",
	.help =
"  --json               /v1/status as it is (needs a rule of kind monitor)\n",
	.run = status_run,
};
