/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Which grants and denials are worth a line.  Pure: events in, lines out.

   Each peer has a bucket of lines, so that nobody floods the log nor takes another
   peer's lines.  All strangers together are one peer, of whose bucket no uid has
   more than an eighth, and those for whom the table has no room are one.  What gets
   no line is counted, and the peer's next line says how much that was.  Grants of
   jwt, access, sign, sign-any and admin always get a line of their own, whatever
   else is full.

   Kinds id and monitor, mode new: a grant gets a line when its peer gets this
   account, kind and audience for the first time, then at most one in repeat_usec,
   with the number of grants since.  No timer runs for that: the line is written
   with the next such grant, or when the audit forgets it, or ends. */

#include <sys/types.h>

#include "api/policy.h"
#include "base/base.h"

enum audit_mode { AUDIT_NONE, AUDIT_DENIED, AUDIT_NEW, AUDIT_ALL };

struct audit_options {
	enum audit_mode mode;
	uint64_t repeat_usec;
	size_t entries;		/* questions kept, of all peers */
	size_t per_peer;	/* and of one */
	size_t peers;		/* that have a bucket of their own */
	uint64_t each_usec;	/* a line drips into a bucket that often */
	unsigned burst;		/* a bucket's size */
};

/* A peer, as far as is known; unit NULL: not known. */
struct audit_who {
	uid_t uid;	/* -1: not known */
	gid_t gid;	/* likewise */
	pid_t pid;	/* 0: not in our pid namespace; -1: it came over TCP */
	const char *unit;
};

struct audit_event {
	enum policy_kind kind;
	const char *account;
	const char *audience;	/* NULL: this kind has none */
	const char *rule;	/* NULL: none */
	uint64_t owner;		/* whom it counts for, or AUDIT_STRANGERS */
	struct audit_who who;
};
#define AUDIT_STRANGERS	UINT64_MAX

enum audit_what {
	AUDIT_GRANT,
	AUDIT_DENY,
	AUDIT_WOULD_DENY,	/* served, because the policy is permissive */
	AUDIT_SUM,		/* nothing but what was left out */
};

/* What got no line. */
struct audit_left {
	uint64_t grants, denials, would_be;
};
uint64_t audit_left_sum(const struct audit_left *l);

/* One line to write; good during the call only.  The audience has been through
   text_show() and cut; unit and rule have not. */
struct audit_line {
	enum audit_what what;
	struct audit_event event;
	const char *words;	/* why it is denied, or would be */
	uint64_t count;		/* grants that it stands for */
	struct audit_left left;	/* of this peer, not written before */
};
typedef void audit_write_fn(void *userdata, const struct audit_line *l);

struct audit;
struct audit *audit_new(const struct audit_options *o, audit_write_fn *write,
			void *userdata);
/* Another mode and pace from now on; its sizes stay. */
void audit_configure(struct audit *a, const struct audit_options *o);
/* Writes what is not written yet. */
struct audit *audit_free(struct audit *a, uint64_t now);

/* A question that was granted before.  Whoever keeps one holds a reference. */
struct audit_seen;
struct audit_seen *audit_seen_unref(struct audit_seen *s);

/* The same question granted once more.  False: audit_granted() has to be told.
   Cheap, for it is asked with every token. */
bool audit_again(struct audit_seen *s, uint64_t now);

/* now: microseconds of a monotonic clock.  *note is what this call left there for
   the same question before, or NULL; what is left there now may be NULL, too. */
void audit_granted(struct audit *a, const struct audit_event *event, uint64_t now,
		   struct audit_seen **note);
/* served: it is a denial in words only (AUDIT_WOULD_DENY), but the same as one
   otherwise. */
void audit_denied(struct audit *a, const struct audit_event *event, bool served,
		  const char *words, uint64_t now);
