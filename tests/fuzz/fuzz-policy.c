/* SPDX-License-Identifier: Apache-2.0 */

/* The policy (api/policy.h): any rules, any peers, any questions.  The input has
   the grammar of the configuration file:

	[rule NAME]	with its keys
	[peer]		uid, gid, groups, cgroup (a path), tcp (yes), host (yes, no,
			unknown)
	[ask]		kind, account, audience, scope

   For each peer and question (security.md 1):

   - The order of the rules changes nothing.
   - A fact that becomes unknown never turns a no into a yes, nor does a question
     that leaves something open.
   - Whoever is admitted to anything is known; facts that no rule asks for change
     nothing; a denial is told in words fit to be shown and pasted. */

#include <errno.h>

#include "api/policy.h"
#include "base/text.h"
#include "config_file.h"
#include "fuzz-words.h"

#define LINES_MAX	64	/* of all rules */
#define PEERS_MAX	4
#define ASKS_MAX	6
#define WORDS_MAX	8

static const struct policy_name users[] = {
	{ (char *)"root", 0 }, { (char *)"alice", 1000 }, { (char *)"bob", 1001 },
	{ (char *)"svc-a", 990 }, { (char *)"svc-b", 991 },
	{ (char *)"nobody", 65534 },
};

static const struct policy_name groups[] = {
	{ (char *)"root", 0 }, { (char *)"sre", 500 }, { (char *)"ops", 501 },
	{ (char *)"ops-eu", 502 }, { (char *)"nogroup", 65534 },
};

static const struct policy_names all_names = {
	users, groups, ARRAY_SIZE(users), ARRAY_SIZE(groups),
};

struct line {
	char *rule, *key, *value;	/* key NULL: opens the rule */
};

struct asked {
	struct policy_query q;
	char *text;			/* of the scopes */
	const char *scopes[WORDS_MAX + 1];
};

struct world {
	struct line lines[LINES_MAX];
	struct peer peers[PEERS_MAX];
	struct asked asks[ASKS_MAX];
	size_t n_lines, n_peers, n_asks;
	enum { NOWHERE, IN_RULE, IN_PEER, IN_ASK } where;
};

/* --- reading -------------------------------------------------------------- */

static int
add_line(struct world *w, const char *rule, const char *key, const char *value)
{
	if (w->n_lines == LINES_MAX)
		return -E2BIG;
	w->lines[w->n_lines++] = (struct line){
		xstrdup(rule), key ? xstrdup(key) : NULL, xstrdup(value),
	};
	return 0;
}

static int
on_section(void *userdata, const char *file, unsigned line, const char *section,
	   const char *name, struct err *e)
{
	struct world *w = userdata;

	(void)file;
	(void)line;
	(void)e;
	w->where = NOWHERE;
	if (strcmp(section, "rule") == 0) {
		w->where = IN_RULE;
		if (name && words_look_secret(name))
			return -EINVAL;
		return add_line(w, name ? name : "", NULL, "");
	}
	if (strcmp(section, "peer") == 0 && w->n_peers < PEERS_MAX) {
		w->peers[w->n_peers++] = (struct peer){
			.fd = -1, .pidfd = -1, .host = TRI_UNKNOWN,
		};
		w->where = IN_PEER;
	} else if (strcmp(section, "ask") == 0 && w->n_asks < ASKS_MAX) {
		w->n_asks++;
		w->where = IN_ASK;
	}
	return 0;
}

static void
set_groups(struct peer *p, const char *value)
{
	p->groups_known = true;
	while (*value && p->n_groups < WORDS_MAX) {
		p->groups = xrealloc(p->groups, p->n_groups + 1,
				     sizeof(*p->groups));
		p->groups[p->n_groups++] = (gid_t)strtoul(value, NULL, 10);
		value += strcspn(value, " ");
		value += strspn(value, " ");
	}
}

static void
set_peer(struct peer *p, const char *key, const char *value)
{
	if (strcmp(key, "uid") == 0) {
		p->known = true;
		p->uid = (uid_t)strtoul(value, NULL, 10);
	} else if (strcmp(key, "gid") == 0) {
		p->gid = (gid_t)strtoul(value, NULL, 10);
	} else if (strcmp(key, "groups") == 0) {
		set_groups(p, value);
	} else if (strcmp(key, "cgroup") == 0) {
		free(p->cgroup);
		p->cgroup = xstrdup(value);
	} else if (strcmp(key, "tcp") == 0) {
		p->tcp = *value == 'y';
	} else if (strcmp(key, "host") == 0) {
		p->host = *value == 'y' ? TRI_YES : *value == 'n' ? TRI_NO
								  : TRI_UNKNOWN;
	}
}

static void
set_text(const char **slot, const char *value)
{
	free((char *)(uintptr_t)*slot);
	*slot = xstrdup(value);
}

static void
set_ask(struct asked *a, const char *key, const char *value)
{
	size_t n = 0;
	char *rest, *word;
	int kind;

	if (strcmp(key, "kind") == 0) {
		kind = policy_kind_from_name(value, strlen(value));
		a->q.kind = kind < 0 ? POLICY_ID : (enum policy_kind)kind;
	} else if (strcmp(key, "account") == 0) {
		set_text(&a->q.account, value);
	} else if (strcmp(key, "audience") == 0) {
		set_text(&a->q.audience, value);
	} else if (strcmp(key, "scope") == 0) {
		free(a->text);
		rest = a->text = xstrdup(value);
		while (n < WORDS_MAX && (word = strsep(&rest, " ")))
			a->scopes[n++] = word;
		a->scopes[n] = NULL;
		a->q.scopes = a->scopes;
	}
}

static int
on_setting(void *userdata, const char *file, unsigned line, const char *key,
	   const char *value, struct err *e)
{
	struct world *w = userdata;

	(void)file;
	(void)line;
	(void)e;
	if (w->where == IN_RULE)
		return add_line(w, w->lines[w->n_lines - 1].rule, key, value);
	if (w->where == IN_PEER)
		set_peer(&w->peers[w->n_peers - 1], key, value);
	else if (w->where == IN_ASK)
		set_ask(&w->asks[w->n_asks - 1], key, value);
	return 0;
}

static void
world_clear(struct world *w)
{
	for (size_t i = 0; i < w->n_lines; i++) {
		free(w->lines[i].rule);
		free(w->lines[i].key);
		free(w->lines[i].value);
	}
	for (size_t i = 0; i < w->n_peers; i++) {
		free(w->peers[i].groups);
		free(w->peers[i].cgroup);
	}
	for (size_t i = 0; i < w->n_asks; i++) {
		set_text(&w->asks[i].q.account, "");
		set_text(&w->asks[i].q.audience, "");
		free((char *)(uintptr_t)w->asks[i].q.account);
		free((char *)(uintptr_t)w->asks[i].q.audience);
		free(w->asks[i].text);
	}
}

/* --- rules, in two orders ------------------------------------------------- */

static bool
is_first_of_rule(const struct world *w, size_t i)
{
	for (size_t j = 0; j < i; j++)
		if (strcmp(w->lines[j].rule, w->lines[i].rule) == 0)
			return false;
	return true;
}

/* All lines of the rule that line i belongs to; false where one is wrong. */
static bool
put_rule(struct policy *p, const struct world *w, size_t i)
{
	struct policy_rule *rule;
	struct err e;
	int r;

	r = policy_rule(p, w->lines[i].rule, "fuzz", (unsigned)i + 1, &rule, &e);
	if (r < 0)
		check_err(&e, r);
	for (size_t j = i; r >= 0 && j < w->n_lines; j++) {
		if (strcmp(w->lines[j].rule, w->lines[i].rule) != 0 ||
		    !w->lines[j].key)
			continue;
		r = policy_rule_set(rule, w->lines[j].key, w->lines[j].value, &e);
		if (r < 0)
			check_err(&e, r);
	}
	return r >= 0;
}

static void
on_note(void *userdata, const char *origin, unsigned line, const char *words)
{
	(void)userdata;
	CHECK(strcmp(origin, "fuzz") == 0 && line > 0);
	check_words(words);
}

/* NULL where a rule is wrong. */
static struct policy *
policy_of(const struct world *w, bool backwards)
{
	struct policy *p = policy_new(&all_names);
	const char *origin;
	unsigned line;
	bool ok = true;
	struct err e;

	for (size_t k = 0; ok && k < w->n_lines; k++) {
		size_t i = backwards ? w->n_lines - 1 - k : k;

		if (is_first_of_rule(w, i))
			ok = put_rule(p, w, i);
	}
	if (ok && policy_seal(p, on_note, NULL, &origin, &line, &e) < 0) {
		CHECK(strcmp(origin, "fuzz") == 0 && line > 0);
		check_words(e.msg);
		ok = false;
	}
	return ok ? p : policy_free(p);
}

/* --- questions ------------------------------------------------------------ */

/* A command that names audience and account has six at most, one more of a TCP
   peer; others would be those of whoever chose the names. */
static unsigned
words_of(const char *command)
{
	unsigned n = 1;

	while ((command = strchr(command, ' '))) {
		command++;
		n++;
	}
	return n;
}

static bool
admits(const struct policy *p, const struct peer *peer,
       const struct policy_query *q)
{
	struct peer copy = *peer;	/* which facts were asked for */
	const char *rule = NULL;
	struct err e;
	int r = policy_check(p, &copy, NULL, q, &rule, &e);

	CHECK(r == 0 || r == -EACCES);
	CHECK((r == 0) == (rule != NULL));
	if (r < 0) {
		CHECK(e.kind == ERR_POLICY);
		check_err(&e, r);
		CHECK(strncmp(e.hint, "gce-oidc whoami ", 16) == 0);
		CHECK(!strpbrk(e.hint, ";'()*?!#~\t\n"));
		CHECK(words_of(e.hint) <= 6U + peer->tcp);
	}
	return r == 0;
}

/* Some facts lost, and some that no rule asks for changed. */
static void
check_facts(const struct policy *p, const struct peer *peer,
	    const struct policy_query *q, bool yes)
{
	unsigned facts = policy_facts(p);

	for (unsigned lost = 1; lost < 16; lost++) {
		struct peer less = *peer;

		if (lost & 1)
			less.known = false;
		if (lost & 2)
			less.groups_known = false;
		if (lost & 4)
			less.host = TRI_UNKNOWN;
		if (lost & 8)
			less.cgroup = NULL;
		CHECK(yes || !admits(p, &less, q));
		if (lost == 8 && !(facts & PEER_UNIT))
			CHECK(admits(p, &less, q) == yes);
		if (lost == 2 && !(facts & PEER_GROUPS))
			CHECK(admits(p, &less, q) == yes);
		if (lost == 4 && !(facts & PEER_HOST))
			CHECK(admits(p, &less, q) == yes);
	}
}

/* Whom it counts for is a name that is fit for anything. */
static void
check_unit(const struct policy *p, const struct peer *peer)
{
	char unit[CGROUP_NAME_SIZE];
	struct peer copy = *peer;

	if (!policy_names_unit(p, &copy, NULL, unit))
		return;
	CHECK(peer->cgroup && policy_facts(p) & PEER_UNIT);
	CHECK(strlen(unit) > strlen(".scope") && !strpbrk(unit, "/ \n\t;'"));
}

static void
check_question(const struct policy *p, const struct policy *backwards,
	       const struct peer *peer, const struct policy_query *q)
{
	bool yes = admits(p, peer, q);
	struct peer copy = *peer;
	struct policy_query open;

	CHECK(admits(backwards, peer, q) == yes);
	CHECK(!yes || policy_knows(p, &copy, NULL));
	check_unit(p, peer);
	check_facts(p, peer, q, yes);

	open = *q;
	open.audience = NULL;
	CHECK(yes || !admits(p, peer, &open));
	open = *q;
	open.account = NULL;
	CHECK(yes || !admits(p, peer, &open));
	open = *q;
	open.scopes = NULL;
	CHECK(yes || !admits(p, peer, &open));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct config_file_ops ops = { on_section, on_setting, NULL };
	struct policy *p = NULL, *backwards = NULL;
	struct world w = { .where = NOWHERE };

	if (config_file_parse("fuzz", (const char *)data, size, &ops, &w,
			      NULL) >= 0) {
		p = policy_of(&w, false);
		backwards = policy_of(&w, true);
		CHECK(!p == !backwards);
	}
	for (size_t i = 0; p && i < w.n_peers; i++)
		for (size_t j = 0; j < w.n_asks; j++)
			check_question(p, backwards, &w.peers[i], &w.asks[j].q);
	policy_free(p);
	policy_free(backwards);
	world_clear(&w);
	return 0;
}
