/* SPDX-License-Identifier: Apache-2.0 */

/* A rule as a whole: what is wrong with it, and what is probably not meant. */

#include <fnmatch.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "api/policy_rule.h"
#include "base/text.h"

/* Each of these is the whole account: no audience narrows it. */
#define KINDS_WHOLE \
	(RULE_KIND(POLICY_ACCESS) | RULE_KIND(POLICY_SIGN) | \
	 RULE_KIND(POLICY_SIGN_ANY))
#define KINDS_AUDIENCE	(RULE_KIND(POLICY_ID) | RULE_KIND(POLICY_JWT))

/* The first list that is given and holds nothing; NULL if there is none. */
static const char *
void_list(const struct policy_rule *r)
{
	if (r->user.given && r->user.n == 0)
		return "user";
	if (r->group.given && r->group.n == 0)
		return "group";
	if (r->unit.given && r->unit.n == 0)
		return "unit";
	if (r->slice.given && r->slice.n == 0)
		return "slice";
	if (r->kind_given && r->kinds == 0)
		return "kind";
	if (r->account.given && r->account.n == 0)
		return "account";
	if (r->audience.given && r->audience.n == 0)
		return "audience";
	if (r->scope.given && r->scope.n == 0)
		return "scope";
	return NULL;
}

bool
policy_rule_is_void(const struct policy_rule *r)
{
	return void_list(r);
}

static int
check_kinds(const struct policy_rule *r, struct err *e)
{
	unsigned whole = r->kinds & KINDS_WHOLE;
	const char *first = NULL;

	for (int i = POLICY_KINDS - 1; i >= 0; i--)
		if (whole & RULE_KIND(i))
			first = policy_kind_name((enum policy_kind)i);

	if (whole && r->audience.given)
		return err_set(e, ERR_REQUEST, "rule %s: audience beside kind %s, "
			       "which no audience narrows: make it a rule of its "
			       "own", r->name, first);
	if (whole && !r->account.given)
		return err_set(e, ERR_REQUEST, "rule %s: kind %s is worth the "
			       "whole account, so account must be written out",
			       r->name, first);
	if ((r->kinds & KINDS_AUDIENCE) && !r->audience.given)
		return err_set(e, ERR_REQUEST, "rule %s: kind %s needs an audience",
			       r->name,
			       r->kinds & RULE_KIND(POLICY_ID) ? "id" : "jwt");
	if (r->scope.given && r->kinds != RULE_KIND(POLICY_ACCESS))
		return err_set(e, ERR_REQUEST, "rule %s: scope is for kind access "
			       "only", r->name);
	return 0;
}

int
policy_rule_seal(struct policy_rule *r, struct err *e)
{
	const char *empty;
	int n;

	r->names = NULL;
	if (!r->kind_given)
		r->kinds = RULE_KIND(POLICY_ID);

	if (!r->user.given && !r->group.given && !r->unit.given &&
	    !r->slice.given && !r->anyone)
		return err_set(e, ERR_REQUEST, "rule %s names nobody: it needs "
			       "user, group, unit or slice, or peer = anyone",
			       r->name);
	n = check_kinds(r, e);
	if (n < 0)
		return n;

	empty = void_list(r);
	if (empty && r->deny)
		return err_set(e, ERR_REQUEST, "rule %s denies nobody: %s is empty",
			       r->name, empty);
	if (!r->account.given)
		return rule_patterns_set(&r->account, "default", PATTERN_NAME, e);
	return 0;
}

/* Where notes go, and about which rule. */
struct noter {
	const struct policy_rule *rule;
	policy_note_fn *note;
	void *userdata;
};

static void _printf_(2, 3)
say(const struct noter *n, const char *fmt, ...)
{
	char words[640];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(words, sizeof(words), fmt, ap);
	va_end(ap);
	n->note(n->userdata, n->rule->origin, n->rule->line, words);
}

static void
note_audience(const struct noter *n, const struct pattern *p)
{
	char show[TEXT_SHOW_SIZE];

	(void)text_show_str(show, pattern_text(p));
	if (!n->rule->deny && pattern_host_is_open(p))
		say(n, "rule %s: audience %s has a wildcard for its host: it "
		    "admits audiences of strangers' services", n->rule->name, show);
	else if (n->rule->deny && pattern_has_double(p) && !pattern_is_all(p))
		say(n, "rule %s denies audience %s: audiences are bytes, another "
		    "spelling of the same service gets past", n->rule->name,
		    show);
}

/* Only the widest are known to hold it. */
static void
note_denied_scope(const struct noter *n, const struct pattern *p)
{
	char show[TEXT_SHOW_SIZE];

	say(n, "rule %s denies scope %s: another one may allow the same, and gets "
	    "past; scope in an allow rule is a limit", n->rule->name,
	    text_show_str(show, pattern_text(p)));
}

/* A "*" at the end that is none to JWTs. */
static void
note_star(const struct noter *n, const struct pattern *p)
{
	const char *text = pattern_text(p);
	size_t len = strlen(text);
	char show[TEXT_SHOW_SIZE];

	if (n->rule->deny || !(n->rule->kinds & RULE_KIND(POLICY_JWT)) ||
	    pattern_plain(p) || text[len - 1] != '*')
		return;
	say(n, "rule %s: kind jwt: a * in a claim aud, such as Identity-Aware "
	    "Proxy's https://HOST/*, is matched by \\* and not by audience %s",
	    n->rule->name, text_show_str(show, text));
}

static void
note_account(const struct noter *n, const struct pattern *p,
	     const char *const *accounts)
{
	char show[TEXT_SHOW_SIZE];

	for (; *accounts; accounts++)
		if (pattern_match(p, *accounts, false))
			return;
	say(n, "rule %s: there is no account %s: rules name accounts as their "
	    "sections [account NAME] do, and not by email", n->rule->name,
	    text_show_str(show, pattern_text(p)));
}

/* Units that run what others tell them to: their name says nothing of who asks. */
#define JOBS		"everybody's jobs"
#define LOGINS		"whoever logs in"
#define CONTAINERS	"other people's containers"

static const struct {
	const char *glob, *one, *what;
} others[] = {
	{ "cron.service",	"cron.service",		JOBS },
	{ "crond.service",	"crond.service",	JOBS },
	{ "anacron.service",	"anacron.service",	JOBS },
	{ "atd.service",	"atd.service",		JOBS },
	{ "ssh.service",	"ssh.service",		LOGINS },
	{ "sshd.service",	"sshd.service",		LOGINS },
	{ "ssh@*.service",	"ssh@0.service",	LOGINS },
	{ "sshd@*.service",	"sshd@0.service",	LOGINS },
	{ "session-*.scope",	"session-1.scope",	LOGINS },
	{ "user@*.service",	"user@1000.service",	"all its user starts" },
	{ "docker.service",	"docker.service",	CONTAINERS },
	{ "containerd.service",	"containerd.service",	CONTAINERS },
	{ "podman.service",	"podman.service",	CONTAINERS },
	{ "crio.service",	"crio.service",		CONTAINERS },
	{ "kubelet.service",	"kubelet.service",	CONTAINERS },
};

/* One note a pattern: "*" is all of them. */
static void
note_others(const struct noter *n, const struct pattern *p)
{
	const char *plain = pattern_plain(p);
	char show[TEXT_SHOW_SIZE];

	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		if (plain ? fnmatch(others[i].glob, plain, 0) != 0
			  : !pattern_match(p, others[i].one, false))
			continue;
		say(n, "rule %s: unit %s runs %s: name the user, too",
		    n->rule->name, text_show_str(show, plain ?: others[i].one),
		    others[i].what);
		return;
	}
}

static void
note_unit(const struct noter *n, const struct pattern *p)
{
	const struct policy_rule *r = n->rule;
	const char *text = pattern_text(p), *x;
	char show[TEXT_SHOW_SIZE];

	if (!r->user.given && !r->deny)
		note_others(n, p);
	if (r->host == RULE_HOST_YES && cgroup_is_container(text, strlen(text)))
		say(n, "rule %s: unit %s is a container's, which host = yes leaves "
		    "out: say host = no", r->name, text_show_str(show, text));
	/* "\x2d" for "-" is systemd's own escape; here it means "x2d". */
	x = strstr(text, "\\x");
	if (x && (x == text || x[-1] != '\\'))
		say(n, "rule %s: \\ in a pattern takes the next character as it "
		    "is: a unit's own \\x is written \\\\x", r->name);
}

void
policy_rule_notes(const struct policy_rule *r, const struct rule_world *w,
		  policy_note_fn *note, void *userdata)
{
	bool uid_only = r->host == RULE_HOST_ANY && !r->group.given &&
		!r->unit.given && !r->slice.given;
	const struct noter n = { r, note, userdata };
	const char *empty = void_list(r);

	if (r->tcp && !r->deny && !uid_only)
		say(&n, "rule %s: tcp = yes is in vain: over TCP group, unit, "
		    "slice and host are unknown, so say host = any, and user or "
		    "peer", r->name);
	if (empty)
		say(&n, "rule %s admits nobody: %s is empty", r->name, empty);
	for (size_t i = 0; i < r->audience.n; i++) {
		note_audience(&n, r->audience.v[i]);
		note_star(&n, r->audience.v[i]);
	}
	for (size_t i = 0; w->accounts && i < r->account.n; i++)
		note_account(&n, r->account.v[i], w->accounts);
	for (size_t i = 0; r->deny && i < r->scope.n; i++)
		note_denied_scope(&n, r->scope.v[i]);
	for (size_t i = 0; i < r->unit.n; i++)
		note_unit(&n, r->unit.v[i]);
	if (r->unit.given && !r->user.given && !r->deny && !w->keeps_process)
		say(&n, "rule %s: unit without user, on a kernel before 6.5: a "
		    "process number that is used again may pass for the unit's: "
		    "name the user, too", r->name);
}
