/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* One rule: its keys as they are written, what is wrong with them, and whom and
   what they match.  Only policy*.c include this. */

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

#define RULE_KIND(kind)	(1u << (kind))

enum rule_host { RULE_HOST_YES, RULE_HOST_NO, RULE_HOST_ANY };

struct policy_rule {
	const struct policy_names *names;	/* NULL once sealed */
	char *name, *origin;
	unsigned line;

	bool deny;
	bool anyone;
	bool tcp;				/* over TCP more than id */
	enum rule_host host;
	struct rule_ids user, group;
	struct rule_patterns unit, slice;

	bool kind_given;
	unsigned kinds;				/* of RULE_KIND() */
	struct rule_patterns account, audience, scope;
};

struct policy_rule *policy_rule_new(const struct policy_names *names,
				    const char *name, const char *origin,
				    unsigned line);
struct policy_rule *policy_rule_free(struct policy_rule *r);
DEFINE_CLEANUP(struct policy_rule *, policy_rule_free)

/* Add a value's patterns to a list; an empty one clears it. */
int rule_patterns_set(struct rule_patterns *l, const char *value,
		      enum pattern_class class, struct err *e);

/* Letters, digits and - _ . only: names go into messages and logs. */
int policy_rule_check_name(const char *name, struct err *e);

/* All keys are there: fill in defaults, judge the whole. */
int policy_rule_seal(struct policy_rule *r, struct err *e);
/* What notes depend on besides. */
struct rule_world {
	bool keeps_process;		/* the kernel, of who connected */
	const char *const *accounts;	/* names, NULL ends; NULL: who knows */
};
void policy_rule_notes(const struct policy_rule *r, const struct rule_world *w,
		       policy_note_fn *note, void *userdata);

/* Some list is given and empty: it matches nobody, whatever the facts. */
bool policy_rule_is_void(const struct policy_rule *r);

/* policy_match.c */

/* Whom the rule names: user, group, unit, slice.  Facts are read as they are
   needed, the cheap ones first. */
enum tri policy_rule_names(const struct policy_rule *r, struct peer *peer,
			   const struct peer_host *host);
/* All of who: these, and host. */
enum tri policy_rule_who(const struct policy_rule *r, struct peer *peer,
			 const struct peer_host *host);
/* Could it admit to anything, over the way by which this peer came? */
bool policy_rule_could(const struct policy_rule *r, const struct peer *peer);
/* Does it match peer and question, an unknown fact being what the stricter answer
   takes it for? */
bool policy_rule_matches(const struct policy_rule *r, struct peer *peer,
			 const struct peer_host *host,
			 const struct policy_query *q);
/* Does it, as an allow rule, match some question of this kind and account, or as a
   deny rule all of them? */
bool policy_rule_gives(const struct policy_rule *r, struct peer *peer,
		       const struct peer_host *host, const struct policy_query *q);
/* The only key by which an allow rule of the question's kind misses it, as far as
   facts have been read; NULL if it is not by one. */
const char *policy_rule_missing_key(const struct policy_rule *r,
				    const struct peer *peer,
				    const struct policy_query *q);
