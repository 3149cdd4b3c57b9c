/* SPDX-License-Identifier: Apache-2.0 */

#include <string.h>

#include "base/buf.h"
#include "base/text.h"
#include "config_names.h"
#include "explain.h"

#define ID_MAX		UINT64_C(4294967294)	/* (uid_t)-1 means none */
#define SCOPES_MAX	32
#define PATH_MOST	4096		/* bytes of a cgroup's path */

enum key {
	KEY_USER,
	KEY_GROUP,
	KEY_UNIT,
	KEY_SLICE,
	KEY_HOST,
	KEY_KIND,
	KEY_ACCOUNT,
	KEY_AUDIENCE,
	KEY_SCOPE
};

struct question {
	const struct config_names *names;
	struct peer peer;
	unsigned given;			/* bits by enum key */
	const char *unit, *slice;
	struct policy_query query;
	const char *scopes[SCOPES_MAX + 1];
	size_t n_scopes;
};

static bool
is_given(const struct question *q, enum key key)
{
	return q->given & 1U << key;
}

static int
find_id(const struct policy_name *names, size_t n, const char *what,
	const char *value, uint32_t *ret, struct err *e)
{
	char show[TEXT_SHOW_SIZE];
	uint64_t id;

	for (size_t i = 0; i < n; i++) {
		if (strcmp(names[i].name, value) == 0) {
			*ret = names[i].id;
			return 0;
		}
	}
	if (!text_to_u64(value, strlen(value), ID_MAX, &id))
		return err_set(e, ERR_REQUEST, "no %s %s here: give its number",
			       what, text_show_str(show, value));
	*ret = (uint32_t)id;
	return 0;
}

static int
set_user(struct question *q, const char *value, struct err *e)
{
	return find_id(q->names->users, q->names->n_users, "user", value,
		       &q->peer.uid, e);
}

static int
set_group(struct question *q, const char *value, struct err *e)
{
	struct peer *p = &q->peer;
	uint32_t gid;
	int r = find_id(q->names->groups, q->names->n_groups, "group", value, &gid,
			e);

	if (r < 0)
		return r;
	if (!p->groups_known) {
		p->gid = gid;
		p->groups_known = true;
		return 0;
	}
	p->groups = xrealloc(p->groups, p->n_groups + 1, sizeof(*p->groups));
	p->groups[p->n_groups++] = gid;
	return 0;
}

static int
set_unit(struct question *q, const char *value, _unused_ struct err *e)
{
	q->unit = value;
	return 0;
}

static int
set_slice(struct question *q, const char *value, _unused_ struct err *e)
{
	q->slice = value;
	return 0;
}

static int
set_host(struct question *q, const char *value, struct err *e)
{
	static const char *const words[] = {
		[TRI_NO] = "no", [TRI_YES] = "yes", [TRI_UNKNOWN] = "unknown",
	};

	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		if (strcmp(words[i], value) == 0) {
			q->peer.host = (enum tri)i;
			return 0;
		}
	}
	return err_set(e, ERR_REQUEST, "host is yes, no or unknown");
}

static int
set_kind(struct question *q, const char *value, struct err *e)
{
	int kind = policy_kind_from_name(value, strlen(value));

	if (kind < 0)
		return err_set(e, ERR_REQUEST, "no such kind; there are id, jwt, "
			       "access, sign, sign-any, monitor, admin");
	q->query.kind = (enum policy_kind)kind;
	return 0;
}

static int
set_account(struct question *q, const char *value, _unused_ struct err *e)
{
	q->query.account = value;
	return 0;
}

static int
set_audience(struct question *q, const char *value, _unused_ struct err *e)
{
	q->query.audience = value;
	return 0;
}

static int
set_scope(struct question *q, const char *value, struct err *e)
{
	if (q->n_scopes == SCOPES_MAX)
		return err_set(e, ERR_REQUEST, "more than %d scopes", SCOPES_MAX);
	q->scopes[q->n_scopes++] = value;
	q->query.scopes = q->scopes;
	return 0;
}

static const struct {
	const char *key;
	int (*set)(struct question *q, const char *value, struct err *e);
	bool many;
} keys[] = {
	[KEY_USER] = { "user", set_user, false },
	[KEY_GROUP] = { "group", set_group, true },
	[KEY_UNIT] = { "unit", set_unit, false },
	[KEY_SLICE] = { "slice", set_slice, false },
	[KEY_HOST] = { "host", set_host, false },
	[KEY_KIND] = { "kind", set_kind, false },
	[KEY_ACCOUNT] = { "account", set_account, false },
	[KEY_AUDIENCE] = { "audience", set_audience, false },
	[KEY_SCOPE] = { "scope", set_scope, true },
};

static int
set_key(struct question *q, size_t i, const char *value, struct err *e)
{
	if (is_given(q, (enum key)i) && !keys[i].many)
		return err_set(e, ERR_REQUEST, "--explain takes one %s=: ask about "
			       "one after the other", keys[i].key);
	q->given |= 1U << i;
	return keys[i].set(q, value, e);
}

static int
read_word(struct question *q, const char *word, struct err *e)
{
	const char *eq = strchr(word, '=');
	char show[TEXT_SHOW_SIZE];

	for (size_t i = 0; eq && i < ARRAY_SIZE(keys); i++)
		if (strlen(keys[i].key) == (size_t)(eq - word) &&
		    strncmp(word, keys[i].key, (size_t)(eq - word)) == 0)
			return set_key(q, i, eq + 1, e);
	return err_set(e, ERR_REQUEST, "--explain takes user=, group=, unit=, "
		       "slice=, host=, kind=, account=, audience= and scope=, "
		       "not %s",
		       text_show_str(show, word));
}

static int
judge_question(const struct question *q, struct err *e)
{
	bool needs = q->query.kind == POLICY_ID || q->query.kind == POLICY_JWT;

	if (!is_given(q, KEY_USER))
		return err_set(e, ERR_REQUEST, "--explain needs user=NAME: the "
			       "kernel always knows it");
	if (needs && !q->query.audience)
		return err_set(e, ERR_REQUEST, "kind %s needs audience=",
			       policy_kind_name(q->query.kind));
	return 0;
}

/* a-b.slice lies in a.slice, as the service manager has it; each name behind the
   "_" that it may have in a path.  False where it is no slice's. */
static bool
add_slices(struct buf *b, const char *slice)
{
	static const char end[] = ".slice";
	size_t len = strlen(slice), n = strlen(end);

	if (strcmp(slice, "-.slice") == 0)
		return true;
	if (len <= n || strcmp(slice + len - n, end) != 0 || strchr(slice, '/'))
		return false;
	len -= n;
	for (size_t i = 0; i <= len; i++) {
		if (i < len && slice[i] != '-')
			continue;
		if (i == 0 || slice[i - 1] == '-')
			return false;
		buf_addf(b, "/_%.*s%s", (int)i, slice, end);
	}
	return true;
}

static bool
asks_slice(const struct config *c)
{
	for (size_t i = 0; i < c->record.n; i++) {
		const struct config_setting *s = &c->record.v[i];

		if (strcmp(s->section, "rule") == 0 &&
		    strcmp(s->key, "slice") == 0 && *s->value)
			return true;
	}
	return false;
}

/* The cgroup that the peer would be in.  Without a unit it is unknown. */
static int
place_peer(struct question *q, const struct config *c, struct err *e)
{
	_cleanup_(buf_free) struct buf b = BUF_INIT(PATH_MOST);
	char name[CGROUP_NAME_SIZE];
	char unit[TEXT_SHOW_SIZE], slice[TEXT_SHOW_SIZE];
	bool good;

	if (!q->unit && !q->slice)
		return 0;
	if (!q->unit)
		return err_set(e, ERR_REQUEST, "--explain needs unit= beside "
			       "slice=: no slice is known without");
	if (!q->slice && asks_slice(c))
		return err_set(e, ERR_REQUEST, "--explain needs slice= beside "
			       "unit=: there are rules that ask for it");

	buf_adds(&b, "0::");
	good = add_slices(&b, q->slice ?: "-.slice");
	buf_addf(&b, "/_%s", q->unit);
	q->peer.cgroup = good && !b.overflow ? xstrdup(buf_str(&b) + 3) : NULL;
	if (!peer_unit(&q->peer, name) || strcmp(name, q->unit) != 0)
		return err_set(e, ERR_REQUEST, "unit %s%s%s: expected names such "
			       "as web.service and system.slice",
			       text_show_str(unit, q->unit),
			       q->slice ? " in slice " : "",
			       text_show_str(slice, q->slice ?: ""));
	/* A container's, whatever else it is. */
	if (!is_given(q, KEY_HOST) && cgroup_judge_host("", buf_str(&b)) == TRI_NO)
		q->peer.host = TRI_NO;
	return 0;
}

/* Where the rule begins to say something. */
static void
print_rule(const struct config *c, const char *rule, FILE *out)
{
	for (size_t i = 0; i < c->record.n; i++) {
		const struct config_setting *s = &c->record.v[i];

		if (strcmp(s->section, "rule") == 0 && strcmp(s->name, rule) == 0) {
			fprintf(out, "allowed by rule %s (%s:%u)\n", rule,
				s->origin, s->line);
			return;
		}
	}
}

/* Would be denied: the exit code of denied, for it is the rules that are asked. */
static int
print_verdict(const struct config *c, struct question *q, FILE *out)
{
	const char *rule = NULL;
	struct err no;
	int r = policy_check(c->policy, &q->peer, NULL, &q->query, &rule, &no);

	if (r == 0) {
		print_rule(c, rule, out);
		return 0;
	}
	fprintf(out, "%s: %s\n", r < 0 ? "denied" :
		"would be denied, but is served (policy = permissive)", no.msg);
	return err_kind_exit_code(no.kind);
}

int
explain(const struct config *c, char *const *args, size_t n, FILE *out,
	struct err *e)
{
	struct config_names names;
	struct question q = {
		.names = &names,
		.peer = { .fd = -1, .pidfd = -1, .known = true,
			  .loaded = PEER_GROUPS | PEER_PROCESS,
			  .gid = (gid_t)-1, .pid = -1, .host = TRI_YES },
		.query = { .kind = POLICY_ID, .account = "default" },
	};
	int r = 0;

	config_names_read("/etc/passwd", "/etc/group", &names);
	for (size_t i = 0; r >= 0 && i < n; i++)
		r = read_word(&q, args[i], e);
	if (r >= 0)
		r = judge_question(&q, e);
	if (r >= 0)
		r = place_peer(&q, c, e);
	if (r >= 0)
		r = print_verdict(c, &q, out);
	free(q.peer.groups);
	free(q.peer.cgroup);
	config_names_clear(&names);
	return r;
}
