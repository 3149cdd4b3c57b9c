/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* --explain: what the policy would say to a peer that is described in words, from
   files alone.  For tests of configurations, on machines where neither the agent
   nor the peer runs. */

#include <stdio.h>

#include "base/err.h"
#include "config.h"

/* args: "user=NAME", "group=NAME" (may be repeated; the first is the primary one),
   "unit=NAME", "slice=NAME" (beside unit, the innermost one),
   "host=yes|no|unknown", "kind=", "account=", "audience=", "scope=".  What is not
   said of the peer is unknown, but that it is on the host, unless unit or slice are
   a container's.

   Prints the verdict.  0: allowed; 3: denied, as gce-oidc exits; negative: the
   question makes no sense, e says why. */
int explain(const struct config *c, char *const *args, size_t n, FILE *out,
	    struct err *e);
