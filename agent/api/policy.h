/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Which peer may have what.  Pure: rules and facts in, a verdict out.

   Order does not matter: a matching deny refuses, else any matching allow
   admits, else the answer is no.  Every key of a rule answers yes, no or
   unknown; an unknown fact matches in a deny rule and in no allow rule, so that
   losing a fact never turns a no into a yes.

   Rules are built key by key, which is how the configuration file has them; a
   policy is complete and immutable after policy_seal(). */

#include "api/peer.h"
#include "base/base.h"
#include "base/err.h"

enum policy_kind {
	POLICY_ID,
	POLICY_JWT,
	POLICY_ACCESS,
	POLICY_SIGN,
	POLICY_SIGN_ANY,
	POLICY_MONITOR,
	POLICY_ADMIN,
	POLICY_KINDS
};

const char *policy_kind_name(enum policy_kind kind);
int policy_kind_from_name(const char *name, size_t len);	/* or -EINVAL */

struct policy;
struct policy_rule;

/* Names to numbers, once, when rules are read: those of /etc/passwd and
   /etc/group, never of a name service.  Borrowed until policy_seal(). */
struct policy_name {
	char *name;
	uint32_t id;
};

struct policy_names {
	const struct policy_name *users, *groups;
	size_t n_users, n_groups;
};

struct policy *policy_new(const struct policy_names *names);
struct policy *policy_free(struct policy *p);
DEFINE_CLEANUP(struct policy *, policy_free)

/* Open a rule, or find the one that this origin (file name) opened before.  The
   same name from another origin is an error. */
int policy_rule(struct policy *p, const char *name, const char *origin,
		unsigned line, struct policy_rule **ret, struct err *e);

/* One "key = value" of a rule; an empty value clears a list.  Quotes around the
   value are gone already; the values of a list are separated by blanks, "\ " is
   one inside a value.  e has words fit to stand behind "FILE:LINE: ". */
int policy_rule_set(struct policy_rule *r, const char *key, const char *value,
		    struct err *e);

/* Do the values of this key of a rule add up? */
bool policy_key_is_list(const char *key);

/* Say so where the kernel does not keep the process that connected: some rules are
   then worth a note. */
void policy_kernel_reuses_pids(struct policy *p);
/* The accounts that there are (ends in NULL; borrowed until policy_seal()): a rule
   for another one is worth a note. */
void policy_accounts(struct policy *p, const char *const *names);
/* For rolling rules out: kind id is served where no rule admits, too. */
void policy_permit(struct policy *p);

/* Notes that --check-config prints: what is allowed and probably not meant. */
typedef void policy_note_fn(void *userdata, const char *origin, unsigned line,
			    const char *words);

/* Judge the rules as a whole.  On failure *ret_origin and *ret_line name the
   rule that is wrong (borrowed from p). */
int policy_seal(struct policy *p, policy_note_fn *note, void *userdata,
		const char **ret_origin, unsigned *ret_line, struct err *e);

/* A question. */
struct policy_query {
	enum policy_kind kind;
	const char *account;	/* resolved: "default" or a configured name */
	const char *audience;	/* exact bytes; NULL for kinds without */
	const char *const *scopes; /* kind access: what is asked for, ends in NULL;
				      NULL: all that the account has */
};

/* 0: yes, and *ret_rule (may be NULL) names the rule, borrowed from p.  -EACCES:
   no; e->msg says which rule denies, or that none admits, what the peer looked
   like and which rules it missed by one key, e->hint is the command that prints a
   stanza.  1: yes, because of policy_permit() alone; *ret_rule is NULL, and e as
   for no.  Facts are read from the kernel as the rules ask for them. */
int policy_check(const struct policy *p, struct peer *peer,
		 const struct peer_host *host, const struct policy_query *q,
		 const char **ret_rule, struct err *e);

/* Allow rules that miss peer and question by one key, as far as facts have been
   read; at most max, their number is returned.  Names and keys only: what the
   values are is the administrator's affair.  Borrowed from p. */
struct policy_near {
	const char *rule, *key;
};
size_t policy_near(const struct policy *p, const struct peer *peer,
		   const struct policy_query *q, struct policy_near *ret,
		   size_t max);

/* Is there anything that this peer may have of the account? */
bool policy_gives(const struct policy *p, struct peer *peer,
		  const struct peer_host *host, const char *account);

/* The same of one kind: may it have some audience, or scopes? */
bool policy_gives_kind(const struct policy *p, struct peer *peer,
		       const struct peer_host *host, enum policy_kind kind,
		       const char *account);

/* Does an allow rule name this peer by its unit?  Then the peer counts for that,
   else for its uid.  Reads facts as such rules ask for them. */
bool policy_names_unit(const struct policy *p, struct peer *peer,
		       const struct peer_host *host,
		       char ret[static CGROUP_NAME_SIZE]);

/* Could any rule admit this peer to anything?  If not, it is a stranger. */
bool policy_knows(const struct policy *p, struct peer *peer,
		  const struct peer_host *host);

/* Facts that some rule may ask for (enum peer_fact). */
unsigned policy_facts(const struct policy *p);

/* Distinguishes this policy from every other one made by this process. */
uint64_t policy_generation(const struct policy *p);

size_t policy_len(const struct policy *p);	/* rules */
bool policy_is_permissive(const struct policy *p);
