/* SPDX-License-Identifier: MIT */

#include <ctype.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "cli_json.h"

#define TIMEOUT_MS 5000
#define RULE_NAME_MAX 64	/* bytes, the agent's limit */
#define USER_PART_MAX 20	/* of them; the rest tells the rules apart */

enum { OPT_RULE = CLI_OPT_OWN, OPT_KIND, OPT_ACCOUNT, OPT_TCP };

/* What a stanza is asked for. */
struct rule {
	const char *audience;		/* NULL: the kind has none */
	const char *kind;		/* NULL: id */
	const char *account;		/* NULL: default */
	bool tcp;			/* of the caller's programs there */
};

static const struct option options[] = {
	{ "rule",	required_argument,	NULL, OPT_RULE },
	{ "kind",	required_argument,	NULL, OPT_KIND },
	{ "account",	required_argument,	NULL, OPT_ACCOUNT },
	{ "tcp",	no_argument,		NULL, OPT_TCP },
	CLI_COMMON_OPTIONS
};

/* The name the agent will know: of /etc/passwd, not of name services. */
static bool
user_name(int64_t uid, char *buf, size_t size)
{
	FILE *f = fopen("/etc/passwd", "re");
	const struct passwd *pw;
	bool found = false;

	if (!f)
		return false;
	while (!found && (pw = fgetpwent(f))) {
		found = (int64_t)pw->pw_uid == uid && strlen(pw->pw_name) < size;
		if (found)
			snprintf(buf, size, "%s", pw->pw_name);
	}
	fclose(f);
	return found;
}

/* Uids that stand for different people at different times, or for nobody: the
   agent refuses them in rules. */
static bool
is_shared_uid(int64_t uid)
{
	return (uid >= 61184 && uid <= 65519) || uid == 65534 || uid == 65535;
}

static bool
member_string(const struct json *o, const char *name, char *buf, size_t size)
{
	struct json v;

	return json_member(o, name, &v) && json_string(&v, buf, size) && *buf;
}

/* Facts have three values, which may be told as true, "yes" and null. */
static bool
member_is(const struct json *o, const char *name, char letter, const char *word)
{
	char text[16];
	struct json v;

	if (!json_member(o, name, &v))
		return false;
	return json_type(&v) == letter ||
	       (json_string(&v, text, sizeof(text)) && strcmp(text, word) == 0);
}

static void
print_members(const struct json *o)
{
	struct json iter = json_begin(o), name, value, item, in;
	char text[2048];

	while (json_next(&iter, &name, &value)) {
		if (!json_string(&name, text, sizeof(text)))
			continue;
		printf("%-10s", text);
		if (json_type(&value) == '[') {
			in = json_begin(&value);
			for (bool any = false; json_next(&in, NULL, &item);
			     any = true) {
				if (any)
					putchar(' ');
				json_print(stdout, &item, 10);
			}
		} else {
			json_print(stdout, &value, 10);
		}
		putchar('\n');
	}
}

/* A stanza's value: escaped are wildcards, and what would cut it in the file's
   grammar: blanks, quotes and comments. */
static void
print_pattern(const char *s)
{
	for (; *s; s++) {
		if (strchr("*\\ \"'#", *s))
			putchar('\\');
		putchar(*s);
	}
}

/* alice-calls-billing-example-com, or alice-sign: for people, and unlike the other
   rules.  The agent takes names of at most 64 bytes. */
static void
print_rule_name(const char *user, const struct rule *rule)
{
	char calls[32] = "-calls-";
	const char *s = rule->audience ? strstr(rule->audience, "://") : NULL;
	size_t left;

	if (rule->kind)
		snprintf(calls, sizeof(calls), "-%s%s", rule->kind,
			 rule->audience ? "-" : "");
	left = RULE_NAME_MAX - strlen(calls);
	for (size_t n = 0; user[n] && n < USER_PART_MAX; n++, left--)
		putchar(isalnum((unsigned char)user[n]) ? user[n] : '-');
	printf("%s", calls);
	if (!rule->audience)
		return;
	for (s = s ? s + 3 : rule->audience; *s && !strchr("/?#", *s) && left > 0;
	     s++, left--)
		putchar(isalnum((unsigned char)*s) ? *s : '-');
}

/* The verdict is of who asks by the Unix socket. */
static void
print_comments(const struct json *me, int64_t uid, bool named, bool tcp)
{
	char text[300];

	if (!tcp && (member_is(me, "allowed", 't', "yes") ||
		     member_is(me, "verdict", 't', "allow") ||
		     member_is(me, "verdict", 't', "yes")))
		printf("# Not needed: %s%s admits you already.\n",
		       member_string(me, "rule", text, sizeof(text)) ? "rule " : "",
		       member_string(me, "rule", text, sizeof(text)) ? text
			: "a rule");
	printf("# For /etc/gce-oidc-agent/agent.conf.d/; then:"
	       " systemctl reload gce-oidc-agent\n");
	if (!named)
		printf("# user (%" PRId64 ") has no name in /etc/passwd\n", uid);
	if (!tcp && member_is(me, "host", 'f', "no") &&
	    !member_string(me, "unit", text, sizeof(text)))
		printf("# of every container, as this one's unit is unknown\n");
}

static bool
has_ends(const char *s, const char *begin, const char *end)
{
	size_t len = strlen(s), n = strlen(end);

	return len >= strlen(begin) + n && strncmp(s, begin, strlen(begin)) == 0 &&
	       strcmp(s + len - n, end) == 0;
}

/* Somebody's login or all of his own services: another one next time, or more
   than who is asking. */
static bool
is_login(const char *unit)
{
	return has_ends(unit, "session-", ".scope") ||
	       has_ends(unit, "user@", ".service") ||
	       strcmp(unit, "init.scope") == 0;
}

static void
print_key(const char *key, const char *value)
{
	printf("%-8s = ", key);
	print_pattern(value);
	putchar('\n');
}

/* As narrow as the facts allow. */
static void
print_who(const struct json *me, const char *user, bool shared, bool tcp)
{
	char unit[256];

	if (!shared)
		print_key("user", user);
	if (tcp)
		return print_key("host", "any");
	if (member_string(me, "unit", unit, sizeof(unit)) &&
	    (shared || !is_login(unit)))
		print_key("unit", unit);
	if (member_is(me, "host", 'f', "no"))
		print_key("host", "no");
	else if (!member_is(me, "host", 't', "yes"))
		print_key("host", "any");
}

/* Kinds that no audience narrows want the account written out. */
static void
print_what(const struct rule *rule)
{
	const char *account = rule->account;

	if (!account && rule->kind && !rule->audience)
		account = "default";
	if (rule->tcp && rule->kind && strcmp(rule->kind, "id") != 0)
		print_key("tcp", "yes");
	if (rule->kind)
		print_key("kind", rule->kind);
	if (account)
		print_key("account", account);
	if (rule->audience)
		print_key("audience", rule->audience);
}

static int
print_rule(const struct json *me, const struct rule *rule)
{
	char user[256], unit[256] = "";
	struct json v;
	bool named;
	int64_t uid;

	if (!json_member(me, "uid", &v) || !json_integer(&v, &uid))
		return cli_fail(CLI_NOT_FOUND, "the agent cannot tell who is"
				" asking, so no rule could admit it");
	named = user_name(uid, user, sizeof(user));
	if (!named)
		snprintf(user, sizeof(user), "%" PRId64, uid);
	if (!rule->tcp)
		member_string(me, "unit", unit, sizeof(unit));
	if (is_shared_uid(uid) && !*unit)
		return cli_fail(CLI_NOT_FOUND, "uid %" PRId64 " stands for"
				" different people at different times and cannot be"
				" in a rule: run this as %sa user of its own", uid,
				rule->tcp ? "" : "a systemd unit, or as ");

	print_comments(me, uid, named, rule->tcp);
	printf("[rule ");
	print_rule_name(user, rule);
	printf("]\n");
	print_who(me, user, is_shared_uid(uid), rule->tcp);
	print_what(rule);
	return cli_flush();
}

static int
show(const struct conn *c, const struct rule *rule)
{
	struct json me;

	if (!json_parse(c->answer.body, c->answer.body_len, &me) ||
	    json_type(&me) != '{')
		return cli_fail(CLI_PROTOCOL, "the agent's answer is not JSON");
	if (rule->audience || rule->kind)
		return print_rule(&me, rule);
	print_members(&me);
	return cli_flush();
}

static char *
format_target(const struct rule *rule)
{
	char *aud = conn_encode(rule->audience ? rule->audience : "");
	char *acc = conn_encode(rule->account ? rule->account : "");
	char *target = NULL;
	int r = -1;

	if (aud && acc)
		r = asprintf(&target, "/v1/whoami%s%s%s%s%s%s%s",
			     rule->audience ? "?audience=" : "", aud,
			     !rule->kind ? "" : rule->audience ? "&" : "?",
			     rule->kind ? "kind=" : "",
			     rule->kind ? rule->kind : "",
			     rule->account ? "&account=" : "", acc);
	free(aud);
	free(acc);
	return r < 0 ? NULL : target;
}

/* It goes into a file that people paste: one line, of printable characters. */
static bool
is_plain(const char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s < ' ' || *s == 127)
			return false;
	return true;
}

/* NULL, or what is wrong with it. */
static const char *
check_rule(const struct rule *rule)
{
	static const char *const without[] = { "access", "sign", "sign-any",
					       "monitor", "admin" };
	bool narrowed = !rule->kind || strcmp(rule->kind, "id") == 0 ||
			strcmp(rule->kind, "jwt") == 0;
	bool known = narrowed;

	for (size_t i = 0; i < sizeof(without) / sizeof(without[0]); i++)
		known = known || strcmp(rule->kind, without[i]) == 0;
	if (!known)
		return "--kind: id, jwt, access, sign, sign-any, monitor or admin";
	if (!rule->audience && !rule->kind && (rule->account || rule->tcp))
		return "--account and --tcp need --rule or --kind";
	if (rule->kind && narrowed != (rule->audience != NULL))
		return "kinds id and jwt go with --rule AUDIENCE, and no other";
	if (rule->audience && (!*rule->audience || strlen(rule->audience) > 2048 ||
			       !is_plain(rule->audience)))
		return "not an audience";
	if (rule->account && (!*rule->account || strlen(rule->account) > 512 ||
			      !is_plain(rule->account)))
		return "not an account";
	return NULL;
}

static int
whoami_run(struct cli *cli, int argc, char **argv)
{
	struct rule rule = { NULL, NULL, NULL, false };
	const char *why;
	struct conn c;
	char *target;
	int opt, code;

	while ((opt = cli_option(cli, argc, argv, options)) != -1) {
		switch (opt) {
		case OPT_RULE:
			rule.audience = optarg;
			break;
		case OPT_KIND:
			rule.kind = optarg;
			break;
		case OPT_ACCOUNT:
			rule.account = optarg;
			break;
		case OPT_TCP:
			rule.tcp = true;
			break;
		default:
			return CLI_USAGE;
		}
	}
	if (optind != argc)
		return cli_usage(cli, "whoami takes no arguments");
	why = check_rule(&rule);
	if (why)
		return cli_usage(cli, "%s", why);

	target = format_target(&rule);
	if (!target)
		return cli_fail(CLI_INTERNAL, "memory is gone");
	code = cli_get(cli, &c, target, TIMEOUT_MS);
	if (code == CLI_OK)
		code = show(&c, &rule);
	conn_clear(&c);
	free(target);
	return code;
}

const struct cli_command cli_whoami = {
	.name = "whoami",
	.args = "[--rule AUDIENCE | --kind=KIND] [--account=A] [--tcp]",
	.what = "what the agent sees of who is asking",
	.help =
"  --rule AUDIENCE      the stanza that would admit me to it\n"
"  --kind=KIND          of this kind; id and jwt go with an audience\n"
"  --account=A          for another of the agent's accounts\n"
"  --tcp                for my programs that ask over loopback TCP\n",
	.run = whoami_run,
};
