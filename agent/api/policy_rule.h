/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* One rule: its keys as they are written, and what is wrong with them.  Only
   policy.c includes this. */

#include "api/pattern.h"
#include "api/policy.h"

/* A list that was given and is empty (cleared, or a pattern of names that nobody
   has) matches nobody; one that was not given does not ask. */
struct rule_ids {
	bool given;
	uint32_t *v;
	size_t n;
};

struct rule_patterns {
	bool given;
	struct pattern **v;
	size_t n;
};

enum rule_host { RULE_HOST_YES, RULE_HOST_NO, RULE_HOST_ANY };

struct policy_rule {
	const struct policy_names *names;	/* NULL once sealed */
	char *name, *origin;
	unsigned line;

	bool deny;
	bool anyone;
	enum rule_host host;
	struct rule_ids user, group;

	bool kind_given;
	unsigned kinds;				/* 1 << enum policy_kind */
	struct rule_patterns account, audience, scope;
};

struct policy_rule *policy_rule_new(const struct policy_names *names,
				    const char *name, const char *origin,
				    unsigned line);
struct policy_rule *policy_rule_free(struct policy_rule *r);
DEFINE_CLEANUP(struct policy_rule *, policy_rule_free)

/* Letters, digits and - _ . only: names go into messages and logs. */
int policy_rule_check_name(const char *name, struct err *e);

/* All keys are there: fill in defaults, judge the whole. */
int policy_rule_seal(struct policy_rule *r, struct err *e);
void policy_rule_notes(const struct policy_rule *r, policy_note_fn *note,
		       void *userdata);

/* Some list is given and empty: it matches nobody, whatever the facts. */
bool policy_rule_is_void(const struct policy_rule *r);
