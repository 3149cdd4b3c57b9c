/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The names of users and groups that rules may use: those of two files, read
   whole.  Never getpwnam() and friends: they may ask name services, which block,
   and OS Login's asks the metadata server. */

#include "api/policy.h"
#include "base/base.h"

struct config_names {
	struct policy_name *users, *groups;
	size_t n_users, n_groups;
};

/* What cannot be read has no names but root. */
void config_names_read(const char *passwd, const char *group,
		       struct config_names *ret);
void config_names_clear(struct config_names *n);
