/* SPDX-License-Identifier: Apache-2.0 */

#include <assert.h>
#include <string.h>

#include "base/text.h"
#include "config_account.h"
#include "config_value.h"
#include "google/endpoints.h"

#define NAME_MAX_LEN	64

/* Where none are given. */
static const char default_flows[] = "generate signblob";

/* --- values ------------------------------------------------------------------- */

static int
flow_add(const struct flow_ops **flows, const char *name, struct err *e)
{
	const struct flow_ops *flow = flow_find(name);
	char show[TEXT_SHOW_SIZE];
	size_t n = 0;

	if (!flow)
		return err_set(e, ERR_REQUEST, "unknown flow %s: there is %s",
			       text_show_str(show, name), flow_names());
	for (; flows[n]; n++)
		if (flows[n] == flow)
			return err_set(e, ERR_REQUEST, "flow %s is named twice",
				       name);
	assert(n < FLOWS_MAX);
	flows[n] = flow;
	return 0;
}

int
config_flows_add(const struct flow_ops *flows[static FLOWS_MAX + 1],
		 const char *value, struct err *e)
{
	_cleanup_(freep) char *copy = xstrdup(value);
	char *rest = copy, *name;

	if (!*value)
		memset(flows, 0, (FLOWS_MAX + 1) * sizeof(*flows));
	while ((name = strsep(&rest, " "))) {
		int r = *name ? flow_add(flows, name, e) : 0;

		if (r < 0)
			return r;
	}
	return 0;
}

void
config_flows_generate(const struct flow_ops *flows[static FLOWS_MAX + 1],
		      bool given)
{
	const struct flow_ops *old[FLOWS_MAX + 1];
	bool there = false;
	size_t n = 0;

	memcpy(old, flows, sizeof(old));
	memset(flows, 0, sizeof(old));
	for (size_t i = 0; old[i]; i++)
		there = there || old[i] == &flow_generate;
	for (size_t i = 0; old[i]; i++) {
		if (!old[i]->exchanges || given)
			flows[n++] = old[i];
		if (old[i]->exchanges && !there) {
			flows[n++] = &flow_generate;
			there = true;
		}
		assert(n <= FLOWS_MAX);
	}
}

static int
check_email(const char *email, struct err *e)
{
	char show[TEXT_SHOW_SIZE];

	if (endpoint_is_account(email))
		return 0;
	return err_set(e, ERR_REQUEST, "%s is not a service account's address "
		       "(NAME@PROJECT.iam.gserviceaccount.com)",
		       text_show_str(show, email));
}

static int
set_email(struct config_account *a, const char *value, struct err *e)
{
	int r = *value ? check_email(value, e)
		       : err_set(e, ERR_REQUEST, "a value is missing");

	if (r < 0)
		return r;
	free(a->email);
	a->email = xstrdup(value);
	return 0;
}

static void
delegates_clear(struct config_account *a)
{
	for (size_t i = 0; a->delegates && a->delegates[i]; i++)
		free(a->delegates[i]);
	free(a->delegates);
	a->delegates = NULL;
}

static int
delegate_add(struct config_account *a, const char *email, struct err *e)
{
	size_t n = 0;
	int r = check_email(email, e);

	for (; r >= 0 && a->delegates && a->delegates[n]; n++)
		if (strcmp(a->delegates[n], email) == 0)
			r = err_set(e, ERR_REQUEST, "%s is named twice", email);
	if (r >= 0 && n == CONFIG_DELEGATES_MAX)
		r = err_set(e, ERR_REQUEST, "more than %d delegates",
			    CONFIG_DELEGATES_MAX);
	if (r < 0)
		return r;
	a->delegates = xrealloc(a->delegates, n + 2, sizeof(*a->delegates));
	a->delegates[n] = xstrdup(email);
	a->delegates[n + 1] = NULL;
	return 0;
}

static int
set_delegates(struct config_account *a, const char *value, struct err *e)
{
	int r = 0;

	if (!*value)
		delegates_clear(a);
	while (r >= 0) {
		_cleanup_(freep) char *word = config_value_word(&value);

		if (!word)
			break;
		r = delegate_add(a, word, e);
	}
	return r;
}

static int
set_flows(struct config_account *a, const char *value, struct err *e)
{
	a->flows_given = true;
	return config_flows_add(a->flows, value, e);
}

static const struct {
	const char *key;
	int (*set)(struct config_account *a, const char *value, struct err *e);
	bool list;		/* values add up */
} keys[] = {
	{ "email",	set_email,	false },
	{ "delegates",	set_delegates,	true },
	{ "flows",	set_flows,	true },
};

int
config_account_set(struct config_account *a, const char *key, const char *value,
		   struct err *e)
{
	char show[TEXT_SHOW_SIZE];
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		if (strcmp(keys[i].key, key) != 0)
			continue;
		r = keys[i].set(a, value, e);
		return r < 0 ? err_prefix(e, r, "%s", key) : 0;
	}
	return err_set(e, ERR_REQUEST, "unknown key %s in [account %s]",
		       text_show_str(show, key), a->name);
}

bool
config_account_key_is_list(const char *key)
{
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		if (strcmp(keys[i].key, key) == 0)
			return keys[i].list;
	return false;
}

/* --- sections ----------------------------------------------------------------- */

/* A name is a segment of a path, and never an email. */
static int
check_name(const char *name, struct err *e)
{
	static const char good[] = "abcdefghijklmnopqrstuvwxyz"
		"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
	size_t len = strlen(name);
	char show[TEXT_SHOW_SIZE];

	if (len > 0 && len <= NAME_MAX_LEN && strspn(name, good) == len &&
	    name[0] != '.')
		return 0;
	return err_set(e, ERR_REQUEST, "account name %s: expected at most %d "
		       "letters, digits and - _ ., not beginning with a dot",
		       text_show_str(show, name), NAME_MAX_LEN);
}

const struct config_account *
config_account_find(const struct config_accounts *all, const char *name)
{
	for (size_t i = 0; i < all->n; i++)
		if (strcmp(all->v[i]->name, name) == 0)
			return all->v[i];
	return NULL;
}

int
config_account_open(struct config_accounts *all, const char *name,
		    const char *origin, unsigned line,
		    struct config_account **ret, struct err *e)
{
	struct config_account *a =
		(struct config_account *)config_account_find(all, name);
	int r = check_name(name, e);

	if (r >= 0 && !a && all->n == CONFIG_ACCOUNTS_MAX)
		r = err_set(e, ERR_REQUEST, "more than %d accounts",
			    CONFIG_ACCOUNTS_MAX);
	if (r < 0)
		return r;
	if (!a) {
		a = xcalloc(1, sizeof(*a));
		a->name = xstrdup(name);
		a->origin = xstrdup(origin);
		a->line = line;
		all->v = xrealloc(all->v, all->n + 1,
				  sizeof(struct config_account *));
		all->v[all->n++] = a;
	}
	*ret = a;
	return 0;
}

static int
check_flows(struct config_account *a, const struct endpoints *at, struct err *e)
{
	int r = 0;

	if (!a->flows_given)
		r = config_flows_add(a->flows, default_flows, e);
	if (r >= 0 && !endpoints_are_default(at))
		config_flows_generate(a->flows, a->flows_given);
	if (!a->flows_given)
		return r;
	if (!a->flows[0])
		return err_set(e, ERR_REQUEST, "account %s: flows: none left",
			       a->name);
	for (size_t i = 0; a->flows[i]; i++)
		if (!a->flows[i]->for_others)
			return err_set(e, ERR_REQUEST, "account %s: flow %s is for "
				       "account default only", a->name,
				       a->flows[i]->name);
	return 0;
}

static int
check_account(const struct config_accounts *all, struct config_account *a,
	      const struct endpoints *at, struct err *e)
{
	if (!a->email)
		return err_set(e, ERR_REQUEST, "account %s needs an email",
			       a->name);
	for (size_t i = 0; all->v[i] != a; i++)
		if (strcmp(all->v[i]->email, a->email) == 0)
			return err_set(e, ERR_REQUEST, "account %s has the email "
				       "of account %s", a->name, all->v[i]->name);
	return check_flows(a, at, e);
}

int
config_accounts_check(const struct config_accounts *all, const struct endpoints *at,
		      struct err *e)
{
	int r = 0;

	for (size_t i = 0; r >= 0 && i < all->n; i++) {
		r = check_account(all, all->v[i], at, e);
		if (r < 0)
			(void)err_prefix(e, r, "%s:%u", all->v[i]->origin,
					 all->v[i]->line);
	}
	return r;
}

const char **
config_account_names(const struct config_accounts *all)
{
	const char **names = xcalloc(all->n + 2, sizeof(*names));

	names[0] = "default";
	for (size_t i = 0; i < all->n; i++)
		names[i + 1] = all->v[i]->name;
	return names;
}

static bool
same_delegates(char *const *a, char *const *b)
{
	size_t i = 0;

	while (a && b && a[i] && b[i] && strcmp(a[i], b[i]) == 0)
		i++;
	return !(a && a[i]) && !(b && b[i]);
}

bool
config_account_same(const struct config_account *a, const struct config_account *b)
{
	return strcmp(a->email, b->email) == 0 &&
		same_delegates(a->delegates, b->delegates) &&
		memcmp(a->flows, b->flows, sizeof(a->flows)) == 0;
}

void
config_accounts_clear(struct config_accounts *all)
{
	for (size_t i = 0; i < all->n; i++) {
		struct config_account *a = all->v[i];

		delegates_clear(a);
		free(a->email);
		free(a->name);
		free(a->origin);
		free(a);
	}
	free(all->v);
	*all = (struct config_accounts){ 0 };
}
