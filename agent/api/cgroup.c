/* SPDX-License-Identifier: Apache-2.0 */

#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/vfs.h>

#include "api/cgroup.h"

static const char deleted[] = " (deleted)";

static bool
is_mounted(const char *root, const char *name, long magic)
{
	char path[PATH_MAX];
	struct statfs fs;
	int n = snprintf(path, sizeof(path), "%s/%s", root, name);

	return n > 0 && (size_t)n < sizeof(path) && statfs(path, &fs) == 0 &&
		(long)fs.f_type == magic;
}

/* As systemd's own cg_unified() has it. */
enum cgroup_hierarchy
cgroup_hierarchy(const char *root)
{
	if (is_mounted(root, "", CGROUP2_SUPER_MAGIC))
		return CGROUP_V2;
	if (!is_mounted(root, "", TMPFS_MAGIC))
		return CGROUP_NONE;
	if (is_mounted(root, "unified", CGROUP2_SUPER_MAGIC) ||
	    is_mounted(root, "systemd", CGROUP2_SUPER_MAGIC))
		return CGROUP_V2;
	return is_mounted(root, "systemd", CGROUP_SUPER_MAGIC) ? CGROUP_V1
							       : CGROUP_NONE;
}

/* A line "ID:CONTROLLERS:/path": the controllers with both their colons (they
   name the hierarchy, and are empty for v2), and the path behind them. */
static bool
read_line(const char *line, const char **ret_key, size_t *ret_len,
	  const char **ret_path)
{
	size_t id = strcspn(line, ":\n"), n;

	if (line[id] != ':')
		return false;
	n = 1 + strcspn(line + id + 1, ":\n");
	if (line[id + n] != ':' || line[id + n + 1] != '/')
		return false;

	*ret_key = line + id;
	*ret_len = n + 1;
	*ret_path = line + id + n + 1;
	return true;
}

static const char *
next_line(const char *line)
{
	line += strcspn(line, "\n");
	return *line ? line + 1 : line;
}

/* The path in that hierarchy, up to the line's end; NULL if there is none. */
static const char *
find_path(const char *text, const char *key, size_t key_len)
{
	const char *k, *path;
	size_t len;

	for (; *text; text = next_line(text))
		if (read_line(text, &k, &len, &path) && len == key_len &&
		    memcmp(k, key, len) == 0)
			return path;
	return NULL;
}

char *
cgroup_path(enum cgroup_hierarchy hierarchy, const char *text)
{
	static const char *const keys[] = {
		[CGROUP_V2] = "::", [CGROUP_V1] = ":name=systemd:",
	};
	const char *path;

	if (hierarchy == CGROUP_NONE)
		return NULL;
	path = find_path(text, keys[hierarchy], strlen(keys[hierarchy]));
	return path ? xstrndup(path, strcspn(path, "\n")) : NULL;
}

static bool
ends_in(const char *s, const char *end)
{
	size_t len = strlen(s), n = strlen(end);

	return len > n && strcmp(s + len - n, end) == 0;
}

enum part { PART_END, PART_SLICE, PART_UNIT, PART_OTHER };

/* The next component, in ret if it may be a unit's name. */
static enum part
next_part(const char **path, char ret[static CGROUP_NAME_SIZE])
{
	static const char good[] = "abcdefghijklmnopqrstuvwxyz"
		"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:-_.\\@";
	const char *name = *path;
	size_t len;

	if (*name != '/')
		return *name ? PART_OTHER : PART_END;
	name++;
	len = strcspn(name, "/");
	*path = name + len;
	/* systemd's escape for names that the kernel could take for its own. */
	if (*name == '_') {
		name++;
		len--;
	}
	if (len >= CGROUP_NAME_SIZE || strspn(name, good) < len)
		return PART_OTHER;

	memcpy(ret, name, len);
	ret[len] = '\0';
	if (ends_in(ret, ".slice"))
		return PART_SLICE;
	return ends_in(ret, ".service") || ends_in(ret, ".scope") ? PART_UNIT
								  : PART_OTHER;
}

bool
cgroup_unit(const char *path, char ret[static CGROUP_NAME_SIZE])
{
	enum part part;

	if (ends_in(path, deleted))
		return false;
	do
		part = next_part(&path, ret);
	while (part == PART_SLICE);
	return part == PART_UNIT;
}

bool
cgroup_slice(const char **path, char ret[static CGROUP_NAME_SIZE])
{
	return next_part(path, ret) == PART_SLICE;
}

/* What ends in .service was started by the host's own service manager:
   docker-prune.service. */
bool
cgroup_is_container(const char *name, size_t len)
{
	static const struct {
		const char *name;
		bool prefix;
	} table[] = {
		{ "docker-", true },	{ "docker", false },
		{ "libpod-", true },	{ "libpod_parent", false },
		{ "cri-", true },	{ "crio-", true },
		{ "kubepods", true },	{ "machine.slice", false },
		{ "lxc.payload", true }, { "lxc", false },
	};
	static const char service[] = ".service";

	if (len > 0 && *name == '_') {
		name++;
		len--;
	}
	if (len >= strlen(service) &&
	    memcmp(name + len - strlen(service), service, strlen(service)) == 0)
		return false;

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		size_t n = strlen(table[i].name);

		if ((table[i].prefix ? len >= n : len == n) &&
		    memcmp(name, table[i].name, n) == 0)
			return true;
	}
	return false;
}

/* The next component of a path that ends at a newline or NUL; false at its end. */
static bool
next_component(const char **p, const char **ret, size_t *ret_len)
{
	*ret = *p + strspn(*p, "/");
	*ret_len = strcspn(*ret, "/\n");
	*p = *ret + *ret_len;
	return *ret_len > 0;
}

/* Is there a container in path beyond what it shares with ours? */
static bool
path_in_container(const char *path, const char *ours)
{
	const char *name, *our;
	size_t len, our_len;
	bool shared = true;

	while (next_component(&path, &name, &len)) {
		shared = shared && next_component(&ours, &our, &our_len) &&
			len == our_len && memcmp(name, our, len) == 0;
		if (!shared && cgroup_is_container(name, len))
			return true;
	}
	return false;
}

enum tri
cgroup_judge_host(const char *agent, const char *peer)
{
	enum tri v = *peer ? TRI_YES : TRI_UNKNOWN;
	const char *beside = agent, *ours, *key, *path;
	size_t len, head;

	/* The kernel lists the same hierarchies in the same order for both: most
	   often they are next to each other. */
	for (; *peer; peer = next_line(peer), beside = next_line(beside)) {
		if (!read_line(peer, &key, &len, &path)) {
			v = TRI_UNKNOWN;
			continue;
		}
		head = (size_t)(path - peer);
		ours = strncmp(beside, peer, head + 1) == 0
			? beside + head : find_path(agent, key, len);
		if (path_in_container(path, ours ?: ""))
			return TRI_NO;
	}
	return v;
}
