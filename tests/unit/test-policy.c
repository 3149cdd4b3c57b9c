/* SPDX-License-Identifier: Apache-2.0 */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "api/policy.h"

#define A	"https://app.example.com"

static char n_root[] = "root", n_alice[] = "alice", n_app1[] = "app-one",
	n_app2[] = "app-two", n_nobody[] = "nobody", n_sre[] = "sre";

static const struct policy_name users[] = {
	{ n_root, 0 }, { n_alice, 1000 }, { n_app1, 901 }, { n_app2, 902 },
	{ n_nobody, 65534 },
};
static const struct policy_name groups[] = { { n_root, 0 }, { n_sre, 500 } };

static const struct policy_names names = {
	.users = users, .n_users = ARRAY_SIZE(users),
	.groups = groups, .n_groups = ARRAY_SIZE(groups),
};

static unsigned n_notes;
static bool reuses_pids, permissive;
static char last_note[600];

static void
on_note(void *userdata _unused_, const char *origin, unsigned line,
	const char *words)
{
	n_notes++;
	(void)snprintf(last_note, sizeof(last_note), "%s:%u: "
	"%s", origin, line, words);
}

/* Rules as "[NAME]" and "key=value" lines. */
static const char *const accounts[] = { "default", "prod", NULL };

static int
policy_read(const char *text, struct policy **ret, struct err *e)
{
	_cleanup_(policy_freep) struct policy *p = policy_new(&names);
	_cleanup_(freep) char *copy = xstrdup(text);
	char *rest = copy, *line, *value;
	struct policy_rule *rule = NULL;
	const char *origin;
	unsigned n = 0;
	int r = 0;

	while (r == 0 && (line = strsep(&rest, "\n"))) {
		n++;
		if (*line == '[') {
			line[strlen(line) - 1] = '\0';
			r = policy_rule(p, line + 1, "f", n, &rule, e);
		} else if (*line) {
			value = strchr(line, '=');
			*value = '\0';
			r = policy_rule_set(rule, line, value + 1, e);
		}
	}
	n_notes = 0;
	if (reuses_pids)
		policy_kernel_reuses_pids(p);
	if (permissive)
		policy_permit(p);
	policy_accounts(p, accounts);
	if (r == 0)
		r = policy_seal(p, on_note, NULL, &origin, &n, e);
	if (r == 0)
		*ret = TAKE_PTR(p);
	return r;
}

static struct policy *
policy_of(const char *text)
{
	struct policy *p = NULL;
	struct err e;

	if (policy_read(text, &p, &e) < 0)
		fail_msg("%s", e.msg);
	return p;
}

static struct peer
peer_of(uid_t uid, gid_t gid, enum tri host)
{
	return (struct peer){ .fd = -1, .pidfd = -1, .known = true, .uid = uid,
		.gid = gid, .pid = 42, .loaded = PEER_GROUPS | PEER_HOST,
		.groups_known = true, .host = host };
}

/* In this cgroup, too; NULL: unknown. */
static struct peer
peer_in(uid_t uid, char *cgroup)
{
	struct peer p = peer_of(uid, 1, TRI_YES);

	p.loaded |= PEER_UNIT;
	p.cgroup = cgroup;
	return p;
}

static bool
allows(const struct policy *p, struct peer *peer, const struct policy_query *q)
{
	const char *rule = NULL;
	struct err e;
	int r = policy_check(p, peer, NULL, q, &rule, &e);

	if (r == 0)
		assert_non_null(rule);
	else
		assert_int_equal(r, -EACCES);
	return r == 0;
}

#define ID(aud)		(&(struct policy_query){ POLICY_ID, "default", aud, NULL })
#define KIND(k, acc)	(&(struct policy_query){ k, acc, NULL, NULL })

static const struct {
	const char *rules;
	uid_t uid;
	gid_t gid;
	enum tri host;
	struct policy_query q;
	bool yes;
} table[] = {
	/* nothing is allowed by default */
	{ "", 0, 0, TRI_YES, { POLICY_ID, "default", A, NULL }, false },
	{ "[x]\nuser=alice\naudience=" A, 1000, 1, TRI_YES,
	  { POLICY_ID, "default", A, NULL }, true },
	{ "[x]\nuser=alice\naudience=" A, 1001, 1, TRI_YES,
	  { POLICY_ID, "default", A, NULL }, false },
	{ "[x]\nuser=alice\naudience=" A, 1000, 1, TRI_YES,
	  { POLICY_ID, "default", A "/", NULL }, false },
	/* numbers, several values, lists that add up, cleared lists */
	{ "[x]\nuser=7 alice\naudience=**", 7, 1, TRI_YES,
	  { POLICY_ID, "default", A, NULL }, true },
	{ "[x]\nuser=7\nuser=alice\naudience=**", 1000, 1, TRI_YES,
	  { POLICY_ID, "default", A, NULL }, true },
	{ "[x]\nuser=7\nuser=\nuser=alice\naudience=**", 7, 1, TRI_YES,
	  { POLICY_ID, "default", A, NULL }, false },
	{ "[x]\nuser=alice\nuser=\naudience=**", 1000, 1, TRI_YES,
	  { POLICY_ID, "default", A, NULL }, false },
	/* patterns of names */
	{ "[x]\nuser=app-*\naudience=**", 902, 1, TRI_YES,
	  { POLICY_ID, "default", A, NULL }, true },
	{ "[x]\nuser=app-*\naudience=**", 1000, 1, TRI_YES,
	  { POLICY_ID, "default", A, NULL }, false },
	{ "[x]\nuser=zzz*\naudience=**", 0, 0, TRI_YES,
	  { POLICY_ID, "default", A, NULL }, false },
	/* all keys must match */
	{ "[x]\nuser=alice\ngroup=sre\naudience=**", 1000, 500, TRI_YES,
	  { POLICY_ID, "default", A, NULL }, true },
	{ "[x]\nuser=alice\ngroup=sre\naudience=**", 1000, 501, TRI_YES,
	  { POLICY_ID, "default", A, NULL }, false },
	{ "[x]\nuser=alice\ngroup=sre\naudience=**", 1001, 500, TRI_YES,
	  { POLICY_ID, "default", A, NULL }, false },
	/* host or container */
	{ "[x]\nuser=root\naudience=**", 0, 0, TRI_NO,
	  { POLICY_ID, "default", A, NULL }, false },
	{ "[x]\nuser=root\naudience=**", 0, 0, TRI_UNKNOWN,
	  { POLICY_ID, "default", A, NULL }, false },
	{ "[x]\nuser=root\nhost=any\naudience=**", 0, 0, TRI_UNKNOWN,
	  { POLICY_ID, "default", A, NULL }, true },
	{ "[x]\nuser=root\nhost=no\naudience=**", 0, 0, TRI_NO,
	  { POLICY_ID, "default", A, NULL }, true },
	{ "[x]\nuser=root\nhost=no\naudience=**", 0, 0, TRI_YES,
	  { POLICY_ID, "default", A, NULL }, false },
	{ "[x]\nuser=root\nhost=no\naudience=**", 0, 0, TRI_UNKNOWN,
	  { POLICY_ID, "default", A, NULL }, false },
	{ "[x]\npeer=anyone\naudience=**", 4711, 1, TRI_YES,
	  { POLICY_ID, "default", A, NULL }, true },
	{ "[x]\npeer=anyone\naudience=**", 4711, 1, TRI_NO,
	  { POLICY_ID, "default", A, NULL }, false },
	/* deny beats allow, wherever it stands; unknown matches there */
	{ "[n]\naction=deny\nuser=alice\naudience=**\n"
	  "[x]\npeer=anyone\naudience=**",
	  1000, 1, TRI_YES, { POLICY_ID, "default", A, NULL }, false },
	{ "[x]\npeer=anyone\naudience=**\n"
	  "[n]\naction=deny\nuser=alice\naudience=**",
	  1000, 1, TRI_YES, { POLICY_ID, "default", A, NULL }, false },
	{ "[x]\npeer=anyone\naudience=**\n"
	  "[n]\naction=deny\nuser=alice\naudience=**",
	  1001, 1, TRI_YES, { POLICY_ID, "default", A, NULL }, true },
	{ "[x]\nuser=root\nhost=any\naudience=**\n"
	  "[n]\naction=deny\npeer=anyone\nhost=no\naudience=**",
	  0, 1, TRI_UNKNOWN, { POLICY_ID, "default", A, NULL }, false },
	{ "[x]\nuser=root\nhost=any\naudience=**\n"
	  "[n]\naction=deny\npeer=anyone\nhost=no\naudience=**",
	  0, 1, TRI_YES, { POLICY_ID, "default", A, NULL }, true },
	/* kinds are apart; account is "default" unless written */
	{ "[x]\nuser=root\naudience=**", 0, 0, TRI_YES,
	  { POLICY_JWT, "default", A, NULL }, false },
	{ "[x]\nuser=root\naudience=**", 0, 0, TRI_YES,
	  { POLICY_MONITOR, "default", NULL, NULL }, false },
	{ "[x]\nuser=root\nkind=monitor admin", 0, 0, TRI_YES,
	  { POLICY_ADMIN, NULL, NULL, NULL }, true },
	{ "[x]\nuser=root\naudience=**", 0, 0, TRI_YES,
	  { POLICY_ID, "other", A, NULL }, false },
	{ "[x]\nuser=root\naccount=o*\naudience=**", 0, 0, TRI_YES,
	  { POLICY_ID, "other", A, NULL }, true },
	{ "[x]\nuser=root\naccount=o*\naudience=**", 0, 0, TRI_YES,
	  { POLICY_ID, "default", A, NULL }, false },
	{ "[x]\nuser=root\nkind=sign\naccount=default", 0, 0, TRI_YES,
	  { POLICY_SIGN, "default", NULL, NULL }, true },
	{ "[x]\nuser=root\nkind=sign\naccount=default", 0, 0, TRI_YES,
	  { POLICY_SIGN_ANY, "default", NULL, NULL }, false },
	/* a question without an audience is one that no allow rule answers */
	{ "[x]\nuser=root\naudience=**", 0, 0, TRI_YES,
	  { POLICY_ID, "default", NULL, NULL }, false },
	/* a "*" in aud needs an escaped one in the pattern, for jwt */
	{ "[x]\nuser=root\nkind=id jwt\naudience=https://a/**", 0, 0, TRI_YES,
	  { POLICY_ID, "default", "https://a/*", NULL }, true },
	{ "[x]\nuser=root\nkind=id jwt\naudience=https://a/**", 0, 0, TRI_YES,
	  { POLICY_JWT, "default", "https://a/*", NULL }, false },
	{ "[x]\nuser=root\nkind=jwt\naudience=https://a/\\*", 0, 0, TRI_YES,
	  { POLICY_JWT, "default", "https://a/*", NULL }, true },
	/* an empty list matches nobody, whatever it is about */
	{ "[x]\nuser=root\nkind=monitor\naccount=", 0, 0, TRI_YES,
	  { POLICY_MONITOR, NULL, NULL, NULL }, false },
	{ "[x]\nuser=root\nkind=id monitor\naudience=", 0, 0, TRI_YES,
	  { POLICY_MONITOR, NULL, NULL, NULL }, false },
	/* the last of single values wins */
	{ "[x]\nuser=root\nhost=no\nhost=yes\naction=deny\naction=allow\n"
	  "audience=**",
	  0, 0, TRI_YES, { POLICY_ID, "default", A, NULL }, true },
};

static void
the_table_of_verdicts(void **state _unused_)
{
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		struct policy *p = policy_of(table[i].rules);
		struct peer peer = peer_of(table[i].uid, table[i].gid,
					   table[i].host);

		if (allows(p, &peer, &table[i].q) != table[i].yes)
			fail_msg("verdict %zu: %s", i, table[i].rules);
		policy_free(p);
	}
}

static void
supplementary_groups_count_where_they_are_known(void **state _unused_)
{
	struct policy *p = policy_of("[x]\ngroup=sre\naudience=**");
	struct policy *n = policy_of("[x]\npeer=anyone\naudience=**\n"
				     "[n]\naction=deny\ngroup=sre\naudience=**");
	struct peer peer = peer_of(1000, 1000, TRI_YES);
	gid_t list[] = { 4, 500 };

	assert_false(allows(p, &peer, ID(A)));
	assert_true(allows(n, &peer, ID(A)));
	peer.groups = list;
	peer.n_groups = 2;
	assert_true(allows(p, &peer, ID(A)));
	assert_false(allows(n, &peer, ID(A)));
	peer.n_groups = 0;
	peer.groups_known = false;
	assert_false(allows(p, &peer, ID(A)));
	assert_false(allows(n, &peer, ID(A)));
	policy_free(n);

	/* An unknown fact does not hide a plain no behind it. */
	n = policy_of("[x]\npeer=anyone\naudience=**\n"
		      "[n]\naction=deny\ngroup=sre\nhost=no\naudience=**");
	assert_true(allows(n, &peer, ID(A)));
	policy_free(p);
	policy_free(n);
}

static const struct {
	const char *rules, *cgroup;
	bool yes;
} units[] = {
	{ "unit=web.service", "/system.slice/web.service", true },
	{ "unit=web.service", "/system.slice/web.service/worker", true },
	{ "unit=web.service", "/system.slice/webx.service", false },
	{ "unit=web.service", "/system.slice/x/web.service", false },
	{ "unit=web.service", NULL, false },
	{ "unit=a.service web.service", "/system.slice/web.service", true },
	{ "unit=web@*.service", "/a.slice/web@10.0.0.1.service", true },
	{ "unit=web@*.service", "/a.slice/web@.service", true },
	{ "unit=web@*.service", "/a.slice/web.service", false },
	{ "unit=*", "/a.slice/web.service", true },
	{ "unit=*", "/a.slice", false },
	{ "unit=a\\\\x2db.service", "/a.slice/a\\x2db.service", true },
	{ "unit=payroll.service",
	  "/user.slice/user-1000.slice/user@1000.service/app.slice/payroll.service",
	  false },
	{ "slice=a.slice", "/a.slice/web.service", true },
	{ "slice=a.slice", "/a.slice/a-b.slice/web.service", true },
	{ "slice=a-b.slice", "/a.slice/a-b.slice/web.service", true },
	{ "slice=a-c.slice", "/a.slice/a-b.slice/web.service", false },
	{ "slice=a*", "/a.slice/web.service", true },
	{ "slice=b.slice", "/a.slice/web.service/b.slice/x.service", false },
	{ "slice=a.slice", "/init.scope", false },
	{ "slice=a.slice", "/a.slice", false },
	{ "slice=a.slice", NULL, false },
	{ "slice=a.slice\nunit=web.service", "/a.slice/web.service", true },
	{ "slice=b.slice\nunit=web.service", "/a.slice/web.service", false },
	{ "user=alice\nunit=web.service", "/a.slice/web.service", true },
	{ "user=root\nunit=web.service", "/a.slice/web.service", false },
	{ "unit=web.service\nunit=", "/a.slice/web.service", false },
	{ "unit=web.service\nslice=", "/a.slice/web.service", false },
	/* deny: an unknown unit is the one denied */
	{ "peer=anyone\naudience=**\n[n]\naction=deny\nunit=web.service",
	  "/a.slice/web.service", false },
	{ "peer=anyone\naudience=**\n[n]\naction=deny\nunit=web.service",
	  "/a.slice/x.service", true },
	{ "peer=anyone\naudience=**\n[n]\naction=deny\nunit=web.service", NULL,
	  false },
	{ "peer=anyone\naudience=**\n[n]\naction=deny\nunit=web.service",
	  "/docker/1", false },
	{ "peer=anyone\naudience=**\n[n]\naction=deny\nslice=a.slice",
	  "/b.slice/x.service", true },
	{ "peer=anyone\naudience=**\n[n]\naction=deny\nslice=a.slice", "/a.slice",
	  false },
	{ "peer=anyone\naudience=**\n[n]\naction=deny\nuser=root\nunit=web.service",
	  NULL, true },
};

static void
the_table_of_units_and_slices(void **state _unused_)
{
	for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
		_cleanup_(freep) char *cgroup = NULL, *text = NULL;
		struct policy *p;
		struct peer peer;

		text = xasprintf("[x]\n%s\naudience=**", units[i].rules);
		p = policy_of(text);
		cgroup = units[i].cgroup ? xstrdup(units[i].cgroup) : NULL;
		peer = peer_in(1000, cgroup);
		if (allows(p, &peer, ID(A)) != units[i].yes)
			fail_msg("%s: %s", text, cgroup ? cgroup : "unknown");
		policy_free(p);
	}
}

static void
over_tcp_only_id_tokens_unless_a_rule_says_so(void **state _unused_)
{
	struct policy *p = policy_of("[x]\nuser=root\nhost=any\nkind=id jwt\n"
				     "audience=**");
	struct policy *tcp = policy_of("[x]\nuser=root\nhost=any\nkind=id jwt\n"
				       "audience=**\ntcp=yes");
	struct policy *n = policy_of("[x]\nuser=root\nhost=any\nkind=id jwt\n"
				     "audience=**\ntcp=yes\n[n]\naction=deny\n"
				     "user=root\nkind=jwt\naudience=**");
	const struct policy_query jwt = { POLICY_JWT, "default", A, NULL };
	struct peer root = peer_of(0, 0, TRI_UNKNOWN);

	assert_true(allows(p, &root, &jwt));
	root.tcp = true;
	assert_true(allows(p, &root, ID(A)));
	assert_false(allows(p, &root, &jwt));
	assert_true(allows(tcp, &root, &jwt));
	assert_true(allows(n, &root, ID(A)));
	assert_false(allows(n, &root, &jwt));
	policy_free(p);
	policy_free(tcp);
	policy_free(n);
}

static void
who_counts_by_unit_is_whom_a_rule_names_by_it(void **state _unused_)
{
	struct policy *p = policy_of("[x]\nuser=alice\nunit=web*.service\n"
				     "audience=" A "\n"
				     "[y]\nuser=root\naudience=**\n"
				     "[n]\naction=deny\nunit=db.service\n"
				     "audience=**\n"
				     "[v]\nunit=old.service\nunit=\naudience=**");
	char web[] = "/a.slice/web@1.service", db[] = "/a.slice/db.service";
	char old[] = "/a.slice/old.service", unit[CGROUP_NAME_SIZE];
	const struct {
		uid_t uid;
		char *cgroup;
		const char *unit;
	} cases[] = {
		{ 1000, web, "web@1.service" }, { 0, web, NULL },
		{ 1000, db, NULL }, { 1000, old, NULL }, { 1000, NULL, NULL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct peer peer = peer_in(cases[i].uid, cases[i].cgroup);
		bool named = policy_names_unit(p, &peer, NULL, unit);

		if (named != !!cases[i].unit)
			fail_msg("case %zu", i);
		if (named)
			assert_string_equal(unit, cases[i].unit);
	}
	policy_free(p);
}

static void
what_is_nearly_matched_is_told_by_rule_and_key(void **state _unused_)
{
	static const struct {
		const char *rule;
		uid_t uid;
		enum tri host;
		const char *key;	/* NULL: not by one */
	} cases[] = {
		{ "user=alice\naudience=" A, 1000, TRI_YES, NULL },
		{ "user=alice\naudience=" A, 1001, TRI_YES, "user" },
		{ "user=alice\naudience=b", 1000, TRI_YES, "audience" },
		{ "user=alice\naudience=b", 1001, TRI_YES, NULL },
		{ "user=alice\naudience=" A, 1000, TRI_NO, "host" },
		{ "user=alice\naudience=" A, 1000, TRI_UNKNOWN, "host" },
		{ "user=alice\naudience=" A, 1001, TRI_NO, NULL },
		{ "group=sre\naudience=" A, 1000, TRI_YES, "group" },
		{ "unit=db.service\naudience=" A, 1000, TRI_YES, "unit" },
		{ "unit=web.service\nslice=b.slice\naudience=" A, 1000, TRI_YES,
		  "slice" },
		{ "user=alice\naccount=other\naudience=" A, 1000, TRI_YES,
		  "account" },
		{ "user=alice\nkind=jwt\naudience=" A, 1000, TRI_YES, NULL },
		{ "user=\naudience=" A, 1000, TRI_YES, NULL },
	};
	char web[] = "/a.slice/web.service";

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_(freep) char *text = NULL;
		struct peer peer = peer_in(cases[i].uid, web);
		struct policy_near near[2];
		struct policy *p;
		size_t n;

		text = xasprintf("[n]\naction=deny\nuser=1001\naudience=c\n"
				 "[x]\n%s", cases[i].rule);
		p = policy_of(text);
		peer.host = cases[i].host;
		n = policy_near(p, &peer, ID(A), near, ARRAY_SIZE(near));
		if (n != (cases[i].key ? 1 : 0) ||
		    (n && (strcmp(near[0].key, cases[i].key) != 0 ||
			   strcmp(near[0].rule, "x") != 0)))
			fail_msg("%s: %s", text, n ? near[0].key : "none");
		policy_free(p);
	}
}

static void
scopes_are_never_widened(void **state _unused_)
{
	struct policy *p = policy_of("[x]\nuser=root\nkind=access\n"
				     "account=default\nscope=s1 s2");
	struct policy *n = policy_of("[x]\nuser=root\nkind=access\n"
				     "account=default\n"
				     "[n]\nuser=root\nkind=access\n"
				     "account=default\nscope=s3\naction=deny");
	struct peer root = peer_of(0, 0, TRI_YES);
	const char *s1[] = { "s1", NULL }, *s12[] = { "s2", "s1", NULL };
	const char *s13[] = { "s1", "s3", NULL }, *none[] = { NULL };
	const struct {
		const char *const *scopes;
		bool p, n;
	} ask[] = {
		{ s1, true, true }, { s12, true, true }, { s13, false, false },
		{ NULL, false, false }, { none, false, false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(ask); i++) {
		struct policy_query q = { POLICY_ACCESS, "default", NULL,
			ask[i].scopes };

		assert_int_equal(allows(p, &root, &q), ask[i].p);
		assert_int_equal(allows(n, &root, &q), ask[i].n);
	}
	policy_free(p);
	policy_free(n);
}

/* A token with one of these can do what any other scope allows, or make itself one
   that can. */
static void
a_scope_that_is_denied_is_in_those_that_hold_all(void **state _unused_)
{
#define AUTH "https://www.googleapis.com/auth/"
	struct policy *p = policy_of(
		"[x]\nuser=root\nkind=access\naccount=default\n"
		"[n]\nuser=root\nkind=access\naccount=default\naction=deny\n"
		"scope=" AUTH "devstorage.read_write");
	struct policy *only = policy_of(
		"[x]\nuser=root\nkind=access\naccount=default\n"
		"scope=" AUTH "devstorage.read_write");
	struct peer root = peer_of(0, 0, TRI_YES);
	static const struct {
		const char *scope;
		bool allowed;
	} ask[] = {
		{ AUTH "devstorage.read_only", true },
		{ AUTH "devstorage.read_write", false },
		{ AUTH "cloud-platform", false },
		{ AUTH "Cloud-Platform", false },
		{ AUTH "cloud-platform.read-only", false },
		{ AUTH "iam", false },
		{ AUTH "iam.test", true },
		{ AUTH "cloud-platforms", true },
	};

	for (size_t i = 0; i < ARRAY_SIZE(ask); i++) {
		const char *alone[] = { ask[i].scope, NULL };
		const char *beside[] = { AUTH "devstorage.read_only", ask[i].scope,
					 NULL };
		struct policy_query q = { POLICY_ACCESS, "default", NULL, alone };

		assert_int_equal(allows(p, &root, &q), ask[i].allowed);
		/* And they are in no other one. */
		assert_int_equal(allows(only, &root, &q), i == 1);
		q.scopes = beside;
		assert_int_equal(allows(p, &root, &q), ask[i].allowed);
	}
	policy_free(p);
	policy_free(only);
#undef AUTH
}

static const struct {
	const char *rules, *words;
} mistakes[] = {
	{ "[x]\naudience=" A,
	  "rule x names nobody: it needs user, group, unit or slice, "
	  "or peer = anyone" },
	{ "[x]\nuser=root", "rule x: kind id needs an audience" },
	{ "[x]\nuser=root\nkind=jwt", "rule x: kind jwt needs an audience" },
	{ "[x]\nuser=root\nkind=access\naccount=default\naudience=**",
	  "rule x: audience beside kind access, which no audience narrows: "
	  "make it a "
	  "rule of its own" },
	{ "[x]\nuser=root\nkind=id sign\naccount=default\naudience=**",
	  "rule x: audience beside kind sign, which no audience narrows: make it a "
	  "rule of its own" },
	{ "[x]\nuser=root\nkind=sign-any",
	  "rule x: kind sign-any is worth the whole account, so account must be "
	  "written out" },
	{ "[x]\nuser=root\naudience=**\nscope=a",
	  "rule x: scope is for kind access only" },
	{ "[x]\nuser=root\nkind=access\naccount=default\nscope=a*",
	  "scope = a*: expected scopes without wildcards" },
	{ "[x]\nuser=carol\naudience=**", "no user carol in /etc/passwd: those of "
	  "other name services are given as numbers" },
	{ "[x]\ngroup=alice\naudience=**", "no group alice in /etc/group: those of "
	  "other name services are given as numbers" },
	{ "[x]\nuser=4294967295\naudience=**", "no user 4294967295 in /etc/passwd: "
	  "those of other name services are given as numbers" },
	{ "[x]\nuser=nobody\naudience=**", "user nobody is id 65534, which "
	"stands for "
	  "no one in particular: use unit" },
	{ "[x]\nuser=n*\naudience=**", "user nobody is id 65534, which stands for "
	  "no one in particular: use unit" },
	{ "[x]\nuser=61184\naudience=**", "user 61184 is id 61184, which "
	"stands for "
	  "no one in particular: use unit" },
	{ "[x]\ngroup=65519\naudience=**", "group 65519 is id 65519, which "
	"stands for "
	  "no one in particular: use unit" },
	{ "[x]\ngroup=65535\naudience=**", "group 65535 is id 65535, which "
	"stands for "
	  "no one in particular: use unit" },
	{ "[x]\nunit=web", "unit = web: expected services or scopes, such as "
	  "web.service" },
	{ "[x]\nunit=web.service .service", "unit = .service: expected services or "
	  "scopes, such as web.service" },
	{ "[x]\nunit=web.socket", "unit = web.socket: expected services or scopes, "
	  "such as web.service" },
	{ "[x]\nunit=web\\*", "unit = web\\x5c*: expected services or scopes, such "
	  "as web.service" },
	{ "[x]\nslice=web.service", "slice = web.service: expected slices, such as "
	  "web.slice" },
	{ "[x]\nunit=***", "pattern ***: more than two * in a row" },
	{ "[x]\ntcp=maybe", "tcp = maybe: expected yes or no" },
	{ "[x]\nunit=web.service\nunit=\naction=deny\naudience=**",
	  "rule x denies nobody: unit is empty" },
	{ "[x]\nslice=a.slice\nslice=\naction=deny\naudience=**",
	  "rule x denies nobody: slice is empty" },
	{ "[x]\nusers=root", "unknown key users in [rule x]" },
	{ "[x]\nkind=token", "unknown kind token: there are id jwt access sign "
	  "sign-any monitor admin" },
	{ "[x]\nhost=maybe", "host = maybe: expected yes, no or any" },
	{ "[x]\nhost=", "host = : expected yes, no or any" },
	{ "[x]\npeer=everyone", "peer = everyone: expected anyone" },
	{ "[x]\naction=permit", "action = permit: expected allow or deny" },
	{ "[x]\naudience=a***", "pattern a***: more than two * in a row" },
	{ "[x]\nuser=\naudience=**\naction=deny",
	  "rule x denies nobody: user is empty" },
	{ "[x]\nuser=root\ngroup=z*\naudience=**\naction=deny",
	  "rule x denies nobody: group is empty" },
	{ "[x]\nuser=root\naudience=**\naudience=\naction=deny",
	  "rule x denies nobody: audience is empty" },
	{ "[]", "a rule needs a name: [rule NAME]" },
	{ "[a b]", "rule name a b: expected at most 64 letters, digits and - _ ." },
};

static void
every_mistake_has_its_words(void **state _unused_)
{
	for (size_t i = 0; i < ARRAY_SIZE(mistakes); i++) {
		struct policy *p = NULL;
		struct err e = { .msg = "no error" };

		if (policy_read(mistakes[i].rules, &p, &e) == 0 ||
		    strcmp(e.msg, mistakes[i].words) != 0)
			fail_msg("%s\n%s", mistakes[i].rules, e.msg);
		assert_int_equal(e.kind, ERR_REQUEST);
	}
}

static void
the_ids_beside_the_refused_ones_are_taken(void **state _unused_)
{
	policy_free(policy_of("[x]\nuser=61183 65520 65533 65536\naudience=**"));
}

static void
a_name_belongs_to_one_file(void **state _unused_)
{
	struct policy *p = policy_new(&names);
	struct policy_rule *a, *b;
	struct err e;

	assert_int_equal(policy_rule(p, "x", "one.conf", 3, &a, &e), 0);
	assert_int_equal(policy_rule(p, "x", "one.conf", 9, &b, &e), 0);
	assert_ptr_equal(a, b);
	assert_int_equal(policy_rule(p, "x", "two.conf", 1, &b, &e), -EINVAL);
	assert_string_equal(e.msg, "rule x is in one.conf:3 already");
	assert_int_equal(policy_len(p), 1);
	policy_free(p);
}

static const struct {
	const char *rules, *note;	/* NULL: none */
} notes[] = {
	{ "[x]\nuser=root\naudience=**", NULL },
	{ "[x]\nuser=root\naudience=https://a/**", NULL },
	{ "[x]\nuser=root\naudience=https://**.run.app", "f:1: rule x: audience "
	  "https://**.run.app has a wildcard for its host: it admits audiences of "
	  "strangers' services" },
	{ "[n]\naction=deny\nuser=root\naudience=**", NULL },
	{ "[n]\naction=deny\nuser=root\naudience=https://a/**", "f:1: rule n "
	"denies "
	  "audience https://a/**: audiences are bytes, another spelling of the "
	  "same "
	  "service gets past" },
	{ "[n]\naction=deny\nuser=root\nkind=access\naccount=default", NULL },
	{ "[n]\naction=deny\nuser=root\nkind=access\naccount=default\nscope=a",
	  "f:1: rule n denies scope a: another one may allow the same, and gets "
	  "past; scope in an allow rule is a limit" },
	{ "[x]\nuser=root\nkind=access\naccount=default\nscope=a", NULL },
	{ "[x]\nuser=\naudience=a", "f:1: rule x admits nobody: user is empty" },
	{ "[x]\nunit=web.service\naudience=a", NULL },
	{ "[x]\nunit=cron.service\naudience=a", "f:1: rule x: unit cron.service "
	  "runs everybody's jobs: name the user, too" },
	{ "[x]\nunit=cron.service\nuser=root\naudience=a", NULL },
	{ "[x]\nunit=cron.service\naction=deny\naudience=a", NULL },
	{ "[x]\nunit=*\naudience=a", "f:1: rule x: unit cron.service runs "
	  "everybody's jobs: name the user, too" },
	{ "[x]\nunit=*.scope\naudience=a", "f:1: rule x: unit session-1.scope runs "
	  "whoever logs in: name the user, too" },
	{ "[x]\nunit=user@4711.service\naudience=a", "f:1: rule x: unit "
	  "user@4711.service runs all its user starts: name the user, too" },
	{ "[x]\nunit=ssh@7-1.service\naudience=a", "f:1: rule x: unit "
	  "ssh@7-1.service runs whoever logs in: name the user, too" },
	{ "[x]\nunit=docker.service\naudience=a", "f:1: rule x: unit "
	  "docker.service runs other people's containers: name the user, too" },
	{ "[x]\nunit=docker-*.scope\naudience=a", "f:1: rule x: unit "
	  "docker-*.scope is a container's, which host = yes leaves out: say "
	  "host = no" },
	{ "[x]\nunit=docker-*.scope\nhost=no\naudience=a", NULL },
	{ "[x]\nunit=docker-*.scope\nhost=any\naudience=a", NULL },
	{ "[x]\nunit=a\\x2db.service\naudience=a", "f:1: rule x: \\ in a pattern "
	  "takes the next character as it is: a unit's own \\x is written \\\\x" },
	{ "[x]\nunit=a\\\\x2db.service\naudience=a", NULL },
	{ "[x]\nuser=root\naccount=default prod\naudience=a", NULL },
	{ "[x]\nuser=root\naccount=p*\naudience=a", NULL },
	{ "[x]\nuser=root\naccount=default prd\naudience=a", "f:1: rule x: there "
	  "is no account prd: rules name accounts as their sections "
	  "[account NAME] do, and not by email" },
	{ "[x]\nuser=root\nkind=jwt\naudience=https://h/*", "f:1: rule x: kind "
	  "jwt: a * in a claim aud, such as Identity-Aware Proxy's "
	  "https://HOST/*, is matched by \\* and not by audience https://h/*" },
	{ "[x]\nuser=root\nkind=jwt\naudience=https://h/\\*", NULL },
	{ "[x]\nuser=root\nkind=jwt\naudience=https://h/*/x", NULL },
};

/* The same where the kernel may give a peer's number to somebody else. */
static const struct {
	const char *rules;
	bool noted;
} unpinned[] = {
	{ "[x]\nunit=web.service\naudience=a", true },
	{ "[x]\nunit=web.service\nuser=root\naudience=a", false },
	{ "[x]\nunit=web.service\naction=deny\naudience=a", false },
	{ "[x]\nslice=web.slice\nuser=root\naudience=a", false },
	{ "[x]\nuser=root\naudience=a", false },
};

static void
on_old_kernels_a_unit_without_a_user_is_noted(void **state _unused_)
{
	reuses_pids = true;
	for (size_t i = 0; i < ARRAY_SIZE(unpinned); i++) {
		policy_free(policy_of(unpinned[i].rules));
		assert_int_equal(n_notes, unpinned[i].noted ? 1 : 0);
		if (unpinned[i].noted)
			assert_string_equal(last_note, "f:1: rule x: unit without "
				"user, on a kernel before 6.5: a process number "
				"that is used again may pass for the unit's: name "
				"the user, too");
	}
	reuses_pids = false;
}

static void
what_is_probably_not_meant_is_noted(void **state _unused_)
{
	for (size_t i = 0; i < ARRAY_SIZE(notes); i++) {
		policy_free(policy_of(notes[i].rules));
		assert_int_equal(n_notes, notes[i].note ? 1 : 0);
		if (notes[i].note)
			assert_string_equal(last_note, notes[i].note);
	}
}

static void
a_denial_says_who_why_and_what_next(void **state _unused_)
{
	struct policy *p = policy_of("[x]\nuser=root\naudience=" A "\n"
				     "[no-alice]\naction=deny\nuser=alice\n"
				     "audience=**");
	struct peer peer = peer_of(1001, 1001, TRI_YES);
	struct err e;

	assert_int_equal(policy_check(p, &peer, NULL, ID(A), NULL, &e), -EACCES);
	assert_int_equal(e.kind, ERR_POLICY);
	assert_string_equal(e.msg, "no rule admits kind id to uid 1001 gid 1001 "
			    "(pid 42), on the host (nearly: x but for user)");
	assert_string_equal(e.hint, "gce-oidc whoami --rule " A);

	peer.uid = 1000;
	peer.host = TRI_NO;
	assert_int_equal(policy_check(p, &peer, NULL, ID("a;b"), NULL, &e),
			 -EACCES);
	assert_string_equal(e.msg, "no rule admits kind id to uid 1000 gid 1001 "
			    "(pid 42), in a container");
	assert_string_equal(e.hint, "gce-oidc whoami --rule AUDIENCE");

	peer.host = TRI_UNKNOWN;
	assert_int_equal(policy_check(p, &peer, NULL, ID("eyJhbGciOiJSUzI1NiIsIn"),
				      NULL, &e), -EACCES);
	assert_string_equal(e.msg, "rule no-alice denies kind id to uid 1000 "
	"gid 1001 "
			    "(pid 42), host or container unknown");
	assert_string_equal(e.hint, "gce-oidc whoami --rule AUDIENCE");

	assert_int_equal(policy_check(p, &peer, NULL, KIND(POLICY_SIGN, "prod"),
				      NULL, &e), -EACCES);
	assert_non_null(strstr(e.msg, "kind sign of account prod to"));
	assert_string_equal(e.hint, "gce-oidc whoami --kind=sign --account=prod");
	assert_int_equal(policy_check(p, &peer, NULL, &(struct policy_query){
					      POLICY_JWT, "default", A, NULL },
				      NULL, &e), -EACCES);
	assert_string_equal(e.hint, "gce-oidc whoami --rule " A " --kind=jwt");

	/* The command asks by the Unix socket, where more is known. */
	peer.tcp = true;
	assert_int_equal(policy_check(p, &peer, NULL, ID(A), NULL, &e), -EACCES);
	assert_string_equal(e.hint, "gce-oidc whoami --rule " A " --tcp");
	policy_free(p);
}

/* With fd -1 nothing can be read; what was asked for shows in loaded. */
static void
dear_facts_are_not_asked_for_in_vain(void **state _unused_)
{
	struct policy *p = policy_of("[x]\nuser=alice\ngroup=sre\naudience=" A);
	char web[] = "/a.slice/web.service";
	struct peer peer;

	assert_int_equal(policy_facts(p), PEER_GROUPS | PEER_HOST);

	peer = peer_of(1001, 500, TRI_UNKNOWN);		/* user says no */
	peer.loaded = 0;
	assert_false(allows(p, &peer, ID(A)));
	assert_int_equal(peer.loaded, 0);
	assert_false(policy_knows(p, &peer, NULL));
	assert_int_equal(peer.loaded, 0);

	peer = peer_of(1000, 500, TRI_UNKNOWN);		/* the gid will do */
	peer.loaded = 0;
	assert_false(allows(p, &peer, ID("other")));
	assert_int_equal(peer.loaded, 0);
	assert_false(allows(p, &peer, ID(A)));
	assert_int_equal(peer.loaded, PEER_HOST);

	peer = peer_of(1000, 1, TRI_UNKNOWN);		/* groups do not say yes */
	peer.loaded = 0;
	peer.groups_known = false;
	assert_false(allows(p, &peer, ID(A)));
	assert_int_equal(peer.loaded, PEER_GROUPS);
	policy_free(p);

	p = policy_of("[x]\nuser=alice\ngroup=sre\nunit=web.service\n"
		      "slice=a.slice\naudience=" A);
	assert_int_equal(policy_facts(p), PEER_GROUPS | PEER_PROCESS);
	peer = peer_of(1001, 500, TRI_UNKNOWN);
	peer.loaded = 0;
	assert_false(allows(p, &peer, ID(A)));
	assert_int_equal(peer.loaded, 0);
	peer = peer_of(1000, 1, TRI_UNKNOWN);		/* groups do not say yes */
	peer.loaded = 0;
	peer.groups_known = false;
	assert_false(allows(p, &peer, ID(A)));
	assert_int_equal(peer.loaded, PEER_GROUPS);
	peer = peer_of(1000, 500, TRI_UNKNOWN);		/* the unit is unknown */
	peer.loaded = 0;
	assert_false(allows(p, &peer, ID(A)));
	assert_int_equal(peer.loaded, PEER_UNIT);
	peer = peer_of(1000, 500, TRI_UNKNOWN);		/* and known */
	peer.cgroup = web;
	peer.loaded = 0;
	assert_false(allows(p, &peer, ID(A)));
	assert_int_equal(peer.loaded, PEER_HOST);
	policy_free(p);

	p = policy_of("[x]\nuser=alice\nhost=any\naudience=" A);
	assert_int_equal(policy_facts(p), 0);
	peer = peer_of(1000, 1, TRI_UNKNOWN);
	peer.loaded = 0;
	assert_true(allows(p, &peer, ID(A)));
	assert_int_equal(peer.loaded, 0);
	policy_free(p);
}

static void
strangers_are_those_whom_no_rule_could_admit(void **state _unused_)
{
	struct policy *p = policy_of("[a]\nuser=alice\naudience=" A "\n"
				     "[b]\ngroup=sre\nkind=monitor\n"
				     "[c]\nuser=\nuser=\naudience=**\n"
				     "[d]\naction=deny\npeer=anyone\naudience=x");
	struct peer alice = peer_of(1000, 1, TRI_YES);
	struct peer sre = peer_of(7, 500, TRI_YES);
	struct peer other = peer_of(7, 7, TRI_YES);
	struct peer jail = peer_of(1000, 1, TRI_NO);

	assert_true(policy_knows(p, &alice, NULL));
	assert_true(policy_knows(p, &sre, NULL));
	assert_false(policy_knows(p, &other, NULL));
	assert_false(policy_knows(p, &jail, NULL));
	policy_free(p);
}

static void
generations_differ(void **state _unused_)
{
	struct policy *a = policy_of(""), *b = policy_of("");

	assert_true(policy_generation(a) != 0);
	assert_true(policy_generation(a) != policy_generation(b));
	policy_free(a);
	policy_free(b);
}

static uint32_t
random_below(uint64_t *seed, uint32_t n)
{
	*seed = *seed * UINT64_C(6364136223846793005) + 1442695040888963407;
	return (uint32_t)(*seed >> 33) % n;
}

#define RULES	6

/* One rule of few values, so that rules meet each other often. */
static void
random_rule(uint64_t *seed, unsigned n, char *ret, size_t size)
{
	static const char *const who[] = { "user=0", "user=0 1", "user=1\ngroup=0",
		"group=1", "peer=anyone", "group=0 1\nuser=0", "user=",
		"unit=a.service", "unit=*.service\nuser=0 1", "slice=s.slice",
		"unit=b.service\nslice=s.slice", "group=0\nunit=a* b.service" };
	static const char *const host[] = { "yes", "no", "any" };
	static const char *const what[] = { "audience=a", "audience=**",
		"audience=*\nkind=id jwt", "kind=monitor", "kind=jwt\naudience=b",
		"kind=access\naccount=default", "audience=a b\naccount=*" };
	const char *w = who[random_below(seed, ARRAY_SIZE(who))];
	bool deny = random_below(seed, 4) == 0 && strcmp(w, "user=") != 0;

	(void)snprintf(ret, size, "[r%u]\n%s\nhost=%s\n%s\naction=%s\ntcp=%s\n", n,
		       w, host[random_below(seed, 3)],
		       what[random_below(seed, ARRAY_SIZE(what))],
		       deny ? "deny" : "allow",
		       random_below(seed, 2) ? "yes" : "no");
}

static struct policy *
policy_in_order(char rules[RULES][160], const unsigned order[RULES])
{
	char text[RULES * 160] = "";
	size_t len = 0;

	for (unsigned i = 0; i < RULES; i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%s",
					rules[order[i]]);
	return policy_of(text);
}

static char *const cgroups[] = {
	(char[]){ "/s.slice/a.service" }, (char[]){ "/s.slice/t.slice/b.service" },
	(char[]){ "/t.slice/a.service" },
	(char[]){ "/t.slice/b.service/a.service" }, (char[]){ "/s.slice" },
	(char[]){ "/docker/1" }, NULL,
};

static void
random_question(uint64_t *seed, struct policy_query *q, struct peer *peer,
		gid_t group[1])
{
	static const enum policy_kind kinds[] = { POLICY_ID, POLICY_ID, POLICY_JWT,
		POLICY_MONITOR, POLICY_ACCESS };
	static const char *const audiences[] = { "a", "b", "a.b" };

	*q = (struct policy_query){ kinds[random_below(seed, ARRAY_SIZE(kinds))],
		random_below(seed, 4) ? "default" : "other",
		audiences[random_below(seed, 3)], NULL };
	*peer = peer_of(random_below(seed, 3), random_below(seed, 3),
			(enum tri)random_below(seed, 3));
	peer->loaded |= PEER_UNIT;
	peer->tcp = random_below(seed, 8) == 0;
	peer->cgroup = cgroups[random_below(seed, ARRAY_SIZE(cgroups))];
	group[0] = random_below(seed, 3);
	peer->groups = group;
	peer->n_groups = random_below(seed, 2);
}

/* The peer with each combination of its facts lost. */
static void
lose_facts(struct peer *peer, unsigned which)
{
	if (which & 1)
		peer->host = TRI_UNKNOWN;
	if (which & 2) {
		peer->groups_known = false;
		peer->n_groups = 0;
	}
	if (which & 4) {
		peer->known = false;
		peer->uid = 0;
		peer->gid = 1;
	}
	if (which & 8)
		peer->cgroup = NULL;
}

static void
losing_facts_never_admits_and_order_never_matters(void **state _unused_)
{
	uint64_t seed = 20240607;
	unsigned yes = 0, no = 0;

	for (int round = 0; round < 2000; round++) {
		unsigned order[RULES] = { 0, 1, 2, 3, 4, 5 };
		char rules[RULES][160];
		struct policy *p, *shuffled;

		for (unsigned i = 0; i < RULES; i++)
			random_rule(&seed, i, rules[i], sizeof(rules[i]));
		p = policy_in_order(rules, order);
		for (unsigned i = RULES - 1; i > 0; i--) {
			unsigned k = random_below(&seed, i + 1), t = order[i];

			order[i] = order[k];
			order[k] = t;
		}
		shuffled = policy_in_order(rules, order);

		for (int i = 0; i < 16; i++) {
			struct policy_query q;
			struct peer peer, lost;
			gid_t group[1];
			bool verdict;

			random_question(&seed, &q, &peer, group);
			verdict = allows(p, &peer, &q);
			*(verdict ? &yes : &no) += 1;
			assert_int_equal(allows(shuffled, &peer, &q), verdict);
			for (unsigned which = 1; which < 16; which++) {
				lost = peer;
				lose_facts(&lost, which);
				if (!verdict)
					assert_false(allows(p, &lost, &q));
				/* Who is not on this machine may be anyone. */
				if (lost.tcp && !lost.known)
					assert_false(allows(p, &lost, &q));
				assert_int_equal(allows(p, &lost, &q),
						 allows(shuffled, &lost, &q));
			}
		}
		policy_free(p);
		policy_free(shuffled);
	}
	/* The sets were worth asking. */
	assert_true(yes > 2000 && no > 2000);
}

static struct policy *
permissive_in_order(char rules[RULES][160], const unsigned order[RULES])
{
	struct policy *p;

	permissive = true;
	p = policy_in_order(rules, order);
	permissive = false;
	return p;
}

/* Beside the same rules enforced. */
static void
permissive_serves_id_where_nothing_denies(void **state _unused_)
{
	const unsigned order[RULES] = { 0, 1, 2, 3, 4, 5 };
	unsigned served = 0, denied = 0, refused = 0;
	uint64_t seed = 20261128;

	for (int round = 0; round < 500; round++) {
		char rules[RULES][160];
		struct policy *strict, *p;

		for (unsigned i = 0; i < RULES; i++)
			random_rule(&seed, i, rules[i], sizeof(rules[i]));
		strict = policy_in_order(rules, order);
		p = permissive_in_order(rules, order);
		for (unsigned i = 0; i < 256; i++) {
			struct policy_query q;
			const char *rule = "";
			struct peer peer;
			gid_t group[1];
			struct err e;
			int r;

			random_question(&seed, &q, &peer, group);
			lose_facts(&peer, i % 16);
			r = policy_check(p, &peer, NULL, &q, &rule, &e);
			if (allows(strict, &peer, &q)) {
				assert_int_equal(r, 0);
				assert_non_null(rule);
			} else if (strncmp(e.msg, "rule ", 5) == 0) {
				assert_int_equal(r, -EACCES);
				denied++;
			} else if (q.kind != POLICY_ID || !peer.known) {
				assert_int_equal(r, -EACCES);
				refused++;
			} else {
				assert_int_equal(r, 1);
				assert_null(rule);
				assert_ptr_equal(strstr(e.msg, "no rule"), e.msg);
				served++;
			}
		}
		policy_free(strict);
		policy_free(p);
	}
	assert_true(served > 1000 && denied > 1000 && refused > 1000);
}

static void
permissive_knows_no_stranger(void **state _unused_)
{
	struct peer other = peer_of(7, 7, TRI_YES);
	struct policy *p;

	permissive = true;
	p = policy_of("[a]\nuser=alice\naudience=" A);
	permissive = false;
	assert_true(policy_is_permissive(p));
	assert_false(policy_knows(p, &other, NULL));
	assert_int_equal(policy_check(p, &other, NULL, ID(A), NULL, NULL), 1);
	policy_free(p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_table_of_verdicts),
		cmocka_unit_test(supplementary_groups_count_where_they_are_known),
		cmocka_unit_test(the_table_of_units_and_slices),
		cmocka_unit_test(over_tcp_only_id_tokens_unless_a_rule_says_so),
		cmocka_unit_test(who_counts_by_unit_is_whom_a_rule_names_by_it),
		cmocka_unit_test(what_is_nearly_matched_is_told_by_rule_and_key),
		cmocka_unit_test(scopes_are_never_widened),
		cmocka_unit_test(a_scope_that_is_denied_is_in_those_that_hold_all),
		cmocka_unit_test(every_mistake_has_its_words),
		cmocka_unit_test(the_ids_beside_the_refused_ones_are_taken),
		cmocka_unit_test(a_name_belongs_to_one_file),
		cmocka_unit_test(what_is_probably_not_meant_is_noted),
		cmocka_unit_test(on_old_kernels_a_unit_without_a_user_is_noted),
		cmocka_unit_test(a_denial_says_who_why_and_what_next),
		cmocka_unit_test(dear_facts_are_not_asked_for_in_vain),
		cmocka_unit_test(strangers_are_those_whom_no_rule_could_admit),
		cmocka_unit_test(generations_differ),
		cmocka_unit_test(losing_facts_never_admits_and_order_never_matters),
		cmocka_unit_test(permissive_serves_id_where_nothing_denies),
		cmocka_unit_test(permissive_knows_no_stranger),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
