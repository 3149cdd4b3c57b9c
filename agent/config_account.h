/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Sections [account NAME]: accounts by impersonation.  [account default] stands in
   the table of options. */

#include "base/base.h"
#include "base/err.h"
#include "token/flows.h"

#define CONFIG_ACCOUNTS_MAX	64
#define CONFIG_DELEGATES_MAX	8

struct config_account {
	char *name, *origin;
	unsigned line;
	char *email;
	char **delegates;		/* in order; NULL: none; NULL ends */
	bool flows_given;
	const struct flow_ops *flows[FLOWS_MAX + 1];
};

struct config_accounts {
	struct config_account **v;
	size_t n;
};

void config_accounts_clear(struct config_accounts *all);

/* Open a section, perhaps once more. */
int config_account_open(struct config_accounts *all, const char *name,
			const char *origin, unsigned line,
			struct config_account **ret, struct err *e);
/* One "key = value"; an empty value clears. */
int config_account_set(struct config_account *a, const char *key,
		       const char *value, struct err *e);
bool config_account_key_is_list(const char *key);

/* All is read: fill in defaults, judge the whole.  e begins with file and line of
   the account that is wrong. */
int config_accounts_check(const struct config_accounts *all,
			  const struct endpoints *at, struct err *e);
/* In a universe without a token endpoint generate takes the place of the flows that
   need one: behind those that were given, so that it is said why they are of no
   use; instead of those that were not. */
void config_flows_generate(const struct flow_ops *flows[static FLOWS_MAX + 1],
			   bool given);

/* "default" and the others' names, borrowed, NULL at the end: for free(). */
const char **config_account_names(const struct config_accounts *all);

bool config_account_same(const struct config_account *a,
			 const struct config_account *b);
const struct config_account *config_account_find(const struct config_accounts *all,
						 const char *name);

/* Names of flows onto the end of a list; an empty value clears it. */
int config_flows_add(const struct flow_ops *flows[static FLOWS_MAX + 1],
		     const char *value, struct err *e);
