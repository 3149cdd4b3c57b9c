/* SPDX-License-Identifier: Apache-2.0 */

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "api/policy_rule.h"
#include "base/text.h"

static const char *const kind_names[] = {
	[POLICY_ID]		= "id",
	[POLICY_JWT]		= "jwt",
	[POLICY_ACCESS]		= "access",
	[POLICY_SIGN]		= "sign",
	[POLICY_SIGN_ANY]	= "sign-any",
	[POLICY_MONITOR]	= "monitor",
	[POLICY_ADMIN]		= "admin",
};

const char *
policy_kind_name(enum policy_kind kind)
{
	assert(kind < POLICY_KINDS);
	return kind_names[kind];
}

int
policy_kind_from_name(const char *name, size_t len)
{
	for (int i = 0; i < POLICY_KINDS; i++)
		if (strlen(kind_names[i]) == len &&
		    memcmp(kind_names[i], name, len) == 0)
			return i;
	return -EINVAL;
}

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* The next value of a list; an escaped blank is part of it. */
static bool
next_word(const char **p, const char **ret, size_t *ret_len)
{
	const char *s = *p;

	while (is_blank(*s))
		s++;
	*ret = s;
	while (*s && !is_blank(*s))
		s += s[0] == '\\' && s[1] ? 2 : 1;
	*ret_len = (size_t)(s - *ret);
	*p = s;
	return *ret_len > 0;
}

static void
patterns_clear(struct rule_patterns *l)
{
	for (size_t i = 0; i < l->n; i++)
		pattern_free(l->v[i]);
	free(l->v);
	l->v = NULL;
	l->n = 0;
}

int
rule_patterns_set(struct rule_patterns *l, const char *value,
		  enum pattern_class class, struct err *e)
{
	const char *word;
	size_t len;

	l->given = true;
	if (!*value)
		patterns_clear(l);

	while (next_word(&value, &word, &len)) {
		struct pattern *p;
		int r = pattern_new(word, len, class, &p, e);

		if (r < 0)
			return r;
		l->v = xrealloc(l->v, l->n + 1, sizeof(*l->v));
		l->v[l->n++] = p;
	}
	return 0;
}

/* Ids that services get by chance, or that stand for "nobody in particular": a
   rule for one of them admits strangers. */
static bool
id_is_shared(uint64_t id)
{
	return (id >= 61184 && id <= 65519) || id == 65534 || id == 65535;
}

static int
ids_add(struct rule_ids *l, const char *key, const char *word, uint32_t id,
	struct err *e)
{
	char show[TEXT_SHOW_SIZE];

	if (id_is_shared(id))
		return err_set(e, ERR_REQUEST, "%s %s is id %u, which stands for "
			       "no one in particular: use unit", key,
			       text_show_str(show, word), id);

	l->v = xrealloc(l->v, l->n + 1, sizeof(*l->v));
	l->v[l->n++] = id;
	return 0;
}

/* One user or group: a number, a name, or a pattern of names. */
static int
ids_add_word(struct rule_ids *l, const char *key, const struct pattern *word,
	     const struct policy_name *names, size_t n_names, struct err *e)
{
	const char *plain = pattern_plain(word);
	char show[TEXT_SHOW_SIZE];
	uint64_t id;
	int r;

	if (plain && text_to_u64(plain, strlen(plain), UINT32_MAX - 1, &id))
		return ids_add(l, key, plain, (uint32_t)id, e);

	for (size_t i = 0; i < n_names; i++) {
		if (!pattern_match(word, names[i].name, false))
			continue;
		r = ids_add(l, key, names[i].name, names[i].id, e);
		if (r < 0 || plain)
			return r;
	}
	if (!plain)
		return 0;
	return err_set(e, ERR_REQUEST, "no %s %s in /etc/%s: those of other "
		       "name services are given as numbers", key,
		       text_show_str(show, plain),
		       strcmp(key, "user") == 0 ? "passwd" : "group");
}

static int
ids_set(struct rule_ids *l, const char *key, const char *value,
	const struct policy_name *names, size_t n_names, struct err *e)
{
	const char *text;
	size_t len;
	int r;

	l->given = true;
	if (!*value)
		l->n = 0;

	while (next_word(&value, &text, &len)) {
		_cleanup_(pattern_freep) struct pattern *word = NULL;

		r = pattern_new(text, len, PATTERN_NAME, &word, e);
		if (r < 0)
			return r;
		r = ids_add_word(l, key, word, names, n_names, e);
		if (r < 0)
			return r;
	}
	return 0;
}

static int
set_user(struct policy_rule *r, const char *value, struct err *e)
{
	return ids_set(&r->user, "user", value, r->names->users,
		       r->names->n_users, e);
}

static int
set_group(struct policy_rule *r, const char *value, struct err *e)
{
	return ids_set(&r->group, "group", value, r->names->groups,
		       r->names->n_groups, e);
}

static int
bad_value(const char *key, const char *value, const char *expected, struct err *e)
{
	char show[TEXT_SHOW_SIZE];

	return err_set(e, ERR_REQUEST, "%s = %s: expected %s", key,
		       text_show_str(show, value), expected);
}

static int
set_host(struct policy_rule *r, const char *value, struct err *e)
{
	static const char *const words[] = { "yes", "no", "any" };

	for (unsigned i = 0; i < ARRAY_SIZE(words); i++)
		if (strcmp(value, words[i]) == 0) {
			r->host = (enum rule_host)i;
			return 0;
		}
	return bad_value("host", value, "yes, no or any", e);
}

static int
set_peer(struct policy_rule *r, const char *value, struct err *e)
{
	if (strcmp(value, "anyone") != 0)
		return bad_value("peer", value, "anyone", e);
	r->anyone = true;
	return 0;
}

static int
set_action(struct policy_rule *r, const char *value, struct err *e)
{
	r->deny = strcmp(value, "deny") == 0;
	if (!r->deny && strcmp(value, "allow") != 0)
		return bad_value("action", value, "allow or deny", e);
	return 0;
}

static int
set_kind(struct policy_rule *r, const char *value, struct err *e)
{
	char show[TEXT_SHOW_SIZE];
	const char *word;
	size_t len;

	r->kind_given = true;
	if (!*value)
		r->kinds = 0;

	while (next_word(&value, &word, &len)) {
		int kind = policy_kind_from_name(word, len);

		if (kind < 0)
			return err_set(e, ERR_REQUEST, "unknown kind %s: there are "
				       "id jwt access sign sign-any monitor admin",
				       text_show(show, word, len));
		r->kinds |= RULE_KIND(kind);
	}
	return 0;
}

static int
set_account(struct policy_rule *r, const char *value, struct err *e)
{
	return rule_patterns_set(&r->account, value, PATTERN_NAME, e);
}

static int
set_audience(struct policy_rule *r, const char *value, struct err *e)
{
	return rule_patterns_set(&r->audience, value, PATTERN_AUDIENCE, e);
}

static int
set_scope(struct policy_rule *r, const char *value, struct err *e)
{
	int n = rule_patterns_set(&r->scope, value, PATTERN_AUDIENCE, e);

	for (size_t i = 0; n == 0 && i < r->scope.n; i++)
		if (!pattern_plain(r->scope.v[i]))
			n = bad_value("scope", pattern_text(r->scope.v[i]),
				      "scopes without wildcards", e);
	return n;
}

/* Does the text of a pattern end in one of these, or in a wildcard? */
static bool
pattern_ends_in(const struct pattern *p, const char *const ends[2])
{
	const char *text = pattern_text(p);
	size_t len = strlen(text);

	if (text[len - 1] == '*' && (len < 2 || text[len - 2] != '\\'))
		return true;
	for (size_t i = 0; i < 2; i++) {
		size_t n = strlen(ends[i]);

		if (len > n && strcmp(text + len - n, ends[i]) == 0)
			return true;
	}
	return false;
}

/* Names that no process can be in would make a rule that never matches. */
static int
set_names(struct rule_patterns *l, const char *key, const char *value,
	  const char *const ends[2], const char *expected, struct err *e)
{
	int r = rule_patterns_set(l, value, PATTERN_NAME, e);

	for (size_t i = 0; r == 0 && i < l->n; i++)
		if (!pattern_ends_in(l->v[i], ends))
			r = bad_value(key, pattern_text(l->v[i]), expected, e);
	return r;
}

static int
set_unit(struct policy_rule *r, const char *value, struct err *e)
{
	return set_names(&r->unit, "unit", value,
			 (const char *const[]){ ".service", ".scope" },
			 "services or scopes, such as web.service", e);
}

static int
set_slice(struct policy_rule *r, const char *value, struct err *e)
{
	return set_names(&r->slice, "slice", value,
			 (const char *const[]){ ".slice", ".slice" },
			 "slices, such as web.slice", e);
}

static int
set_tcp(struct policy_rule *r, const char *value, struct err *e)
{
	r->tcp = strcmp(value, "yes") == 0;
	if (!r->tcp && strcmp(value, "no") != 0)
		return bad_value("tcp", value, "yes or no", e);
	return 0;
}

static const struct {
	const char *key;
	int (*set)(struct policy_rule *r, const char *value, struct err *e);
	bool list;		/* values add up */
} keys[] = {
	{ "user",	set_user,	true },
	{ "group",	set_group,	true },
	{ "unit",	set_unit,	true },
	{ "slice",	set_slice,	true },
	{ "host",	set_host,	false },
	{ "peer",	set_peer,	false },
	{ "tcp",	set_tcp,	false },
	{ "kind",	set_kind,	true },
	{ "account",	set_account,	true },
	{ "audience",	set_audience,	true },
	{ "scope",	set_scope,	true },
	{ "action",	set_action,	false },
};

int
policy_rule_set(struct policy_rule *r, const char *key, const char *value,
		struct err *e)
{
	char show[TEXT_SHOW_SIZE];

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		if (strcmp(keys[i].key, key) == 0)
			return keys[i].set(r, value, e);
	return err_set(e, ERR_REQUEST, "unknown key %s in [rule %s]",
		       text_show_str(show, key), r->name);
}

bool
policy_key_is_list(const char *key)
{
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		if (strcmp(keys[i].key, key) == 0)
			return keys[i].list;
	return false;
}

struct policy_rule *
policy_rule_new(const struct policy_names *names, const char *name,
		const char *origin, unsigned line)
{
	struct policy_rule *r = xcalloc(1, sizeof(*r));

	r->names = names;
	r->name = xstrdup(name);
	r->origin = xstrdup(origin);
	r->line = line;
	return r;
}

struct policy_rule *
policy_rule_free(struct policy_rule *r)
{
	if (!r)
		return NULL;

	free(r->user.v);
	free(r->group.v);
	patterns_clear(&r->unit);
	patterns_clear(&r->slice);
	patterns_clear(&r->account);
	patterns_clear(&r->audience);
	patterns_clear(&r->scope);
	free(r->name);
	free(r->origin);
	free(r);
	return NULL;
}

int
policy_rule_check_name(const char *name, struct err *e)
{
	static const char good[] = "abcdefghijklmnopqrstuvwxyz"
		"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
	size_t len = strlen(name);
	char show[TEXT_SHOW_SIZE];

	if (len == 0)
		return err_set(e, ERR_REQUEST, "a rule needs a name: [rule NAME]");
	if (len > 64 || strspn(name, good) != len)
		return err_set(e, ERR_REQUEST, "rule name %s: expected at most 64 "
			       "letters, digits and - _ .",
			       text_show_str(show, name));
	return 0;
}
