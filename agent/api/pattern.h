/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The patterns of a policy: "*" and "**" only, the whole string must match, "\"
   takes the next character as it is.

   In audiences "*" stops at / . : and @, and "**" does not; in names both cross
   everything.  At most 8 wildcards; matching costs O(n * m) at the worst, without
   recursion.  Pure. */

#include "base/base.h"
#include "base/err.h"

#define PATTERN_WILDCARDS_MAX	8

enum pattern_class { PATTERN_AUDIENCE, PATTERN_NAME };

struct pattern;

/* text is copied; it need not end in a NUL.  e has words that name it. */
int pattern_new(const char *text, size_t len, enum pattern_class class,
		struct pattern **ret, struct err *e);
struct pattern *pattern_free(struct pattern *p);
DEFINE_CLEANUP(struct pattern *, pattern_free)

/* stars_escaped: a "*" in s is matched by an escaped one only, by no wildcard
   (whoever reads s may take it for a wildcard himself). */
bool pattern_match(const struct pattern *p, const char *s, bool stars_escaped);

const char *pattern_text(const struct pattern *p);	/* as written */
/* The only string that it matches; NULL where it has wildcards. */
const char *pattern_plain(const struct pattern *p);
bool pattern_is_all(const struct pattern *p);		/* "**" and no more */
bool pattern_has_double(const struct pattern *p);	/* "**" somewhere */

/* A URL whose host begins with a wildcard, or with "**" anywhere in its host: it
   matches hosts of strangers. */
bool pattern_host_is_open(const struct pattern *p);
