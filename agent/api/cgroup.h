/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the path of a cgroup says: a unit and its slices, or a container.  Pure,
   but for cgroup_hierarchy(). */

#include "api/tri.h"
#include "base/base.h"

/* In which of a process's cgroups the service manager keeps its units. */
enum cgroup_hierarchy {
	CGROUP_NONE,		/* in none that we know: all units are unknown */
	CGROUP_V2,		/* of version 2, alone or beside others (hybrid) */
	CGROUP_V1		/* of version 1, name=systemd */
};

/* Asked once at start, of what is mounted there ("/sys/fs/cgroup"): which lines
   /proc/PID/cgroup has is no evidence. */
enum cgroup_hierarchy cgroup_hierarchy(const char *root);

/* The path in that hierarchy out of the text of /proc/PID/cgroup, newly
   allocated; NULL where there is none. */
char *cgroup_path(enum cgroup_hierarchy hierarchy, const char *text);

#define CGROUP_NAME_SIZE	256	/* a unit's name and its NUL */

/* The system unit that a path belongs to: below slices alone the first component
   that is a service or a scope, systemd's escape undone.  False where it is
   unknown: anything else on the way, the root, a cgroup that is deleted.  What is
   below the unit is named by the unit's own people and says nothing. */
bool cgroup_unit(const char *path, char ret[static CGROUP_NAME_SIZE]);

/* The slices above that unit, outermost first, one a call: *path moves on.  Only
   for a path that has a unit. */
bool cgroup_slice(const char **path, char ret[static CGROUP_NAME_SIZE]);

/* A name that container managers give. */
bool cgroup_is_container(const char *name, size_t len);

/* Whole texts of /proc/PID/cgroup.  No where the peer is in a container that the
   agent is not in, too; else unknown where a line could not be understood. */
enum tri cgroup_judge_host(const char *agent, const char *peer);
