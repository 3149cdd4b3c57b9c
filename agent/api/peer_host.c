/* SPDX-License-Identifier: Apache-2.0 */

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "api/peer.h"
#include "base/buf.h"

/* /proc/PID/status lists up to 65536 groups in front of what we look for. */
#define STATUS_MAX	(1024 * 1024)
#define UID_MAP_MAX	(16 * 1024)	/* 340 lines at the most */
#define CGROUP_MAX	(256 * 1024)	/* a dozen hierarchies */

struct peer_host {
	char *status, *uid_map, *cgroup;	/* the agent's own */
};

char *
peer_read_proc(int proc_pid_fd, const char *name, size_t max)
{
	_cleanup_(closep) int fd = -1;
	struct buf b = BUF_INIT(max);
	ssize_t n;

	fd = openat(proc_pid_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return NULL;

	for (;;) {
		char part[4096];

		n = read(fd, part, sizeof(part));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0 || buf_add(&b, part, (size_t)n) < 0)
			break;
	}
	if (n != 0) {
		buf_free(&b);
		return NULL;
	}
	return buf_steal(&b);
}

int
peer_host_new(struct peer_host **ret)
{
	_cleanup_(peer_host_freep) struct peer_host *h = NULL;
	_cleanup_(closep) int dir = -1;

	dir = open("/proc/self", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return -errno;

	h = xcalloc(1, sizeof(*h));
	h->status = peer_read_proc(dir, "status", STATUS_MAX);
	h->uid_map = peer_read_proc(dir, "uid_map", UID_MAP_MAX);
	h->cgroup = peer_read_proc(dir, "cgroup", CGROUP_MAX);
	if (!h->status || !h->uid_map || !h->cgroup)
		return -EIO;

	*ret = TAKE_PTR(h);
	return 0;
}

struct peer_host *
peer_host_free(struct peer_host *h)
{
	if (!h)
		return NULL;

	free(h->status);
	free(h->uid_map);
	free(h->cgroup);
	free(h);
	return NULL;
}

/* How many pid namespaces deep; 0 where the text does not say. */
static unsigned
pid_depth(const char *status)
{
	const char *s = strstr(status, "\nNSpid:");
	unsigned n = 0;

	if (!s)
		return 0;
	s += strlen("\nNSpid:");
	for (s += strspn(s, "\t "); *s && *s != '\n'; n++) {
		s += strcspn(s, "\t \n");
		s += strspn(s, "\t ");
	}
	return n;
}

/* Names that container managers give to cgroups.  What ends in .service was
   started by the host's own service manager: docker-prune.service. */
static bool
is_container_scope(const char *name, size_t len)
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

	/* systemd's escape for names that the kernel could take for its own. */
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

/* Is there a container scope in path beyond what it shares with ours? */
static bool
path_in_container(const char *path, const char *ours)
{
	const char *name, *our;
	size_t len, our_len;
	bool shared = true;

	while (next_component(&path, &name, &len)) {
		shared = shared && next_component(&ours, &our, &our_len) &&
			len == our_len && memcmp(name, our, len) == 0;
		if (!shared && is_container_scope(name, len))
			return true;
	}
	return false;
}

/* A line "ID:CONTROLLERS:/path": the controllers with both their colons (they
   name the hierarchy, and are empty for v2), and the path behind them. */
static bool
cgroup_line(const char *line, const char **ret_key, size_t *ret_len,
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

/* Our path in the same hierarchy; "" if we are not in it. */
static const char *
cgroup_path(const char *text, const char *key, size_t key_len)
{
	const char *k, *path;
	size_t len;

	for (; *text; text = next_line(text))
		if (cgroup_line(text, &k, &len, &path) && len == key_len &&
		    memcmp(k, key, len) == 0)
			return path;
	return "";
}

static enum tri
judge_cgroup(const char *agent, const char *peer)
{
	enum tri v = *peer ? TRI_YES : TRI_UNKNOWN;
	const char *key, *path;
	size_t len;

	for (; *peer; peer = next_line(peer)) {
		if (!cgroup_line(peer, &key, &len, &path))
			v = TRI_UNKNOWN;
		else if (path_in_container(path, cgroup_path(agent, key, len)))
			return TRI_NO;
	}
	return v;
}

enum tri
peer_host_judge(const struct peer_proc *agent, const struct peer_proc *peer)
{
	unsigned ours = agent->status ? pid_depth(agent->status) : 0;
	unsigned theirs = peer->status ? pid_depth(peer->status) : 0;
	enum tri cgroup = TRI_UNKNOWN;
	bool maps = agent->uid_map && *agent->uid_map &&
		peer->uid_map && *peer->uid_map;

	if (ours > 0 && theirs > 0 && ours != theirs)
		return TRI_NO;
	if (maps && strcmp(agent->uid_map, peer->uid_map) != 0)
		return TRI_NO;
	if (agent->cgroup && peer->cgroup)
		cgroup = judge_cgroup(agent->cgroup, peer->cgroup);
	if (cgroup != TRI_YES)
		return cgroup;
	return ours > 0 && theirs > 0 && maps ? TRI_YES : TRI_UNKNOWN;
}

enum tri
peer_host_judge_dir(const struct peer_host *h, int proc_pid_fd)
{
	_cleanup_(freep) char *status = NULL, *uid_map = NULL, *cgroup = NULL;

	status = peer_read_proc(proc_pid_fd, "status", STATUS_MAX);
	uid_map = peer_read_proc(proc_pid_fd, "uid_map", UID_MAP_MAX);
	cgroup = peer_read_proc(proc_pid_fd, "cgroup", CGROUP_MAX);
	return peer_host_judge(
		&(struct peer_proc){ h->status, h->uid_map, h->cgroup },
		&(struct peer_proc){ status, uid_map, cgroup });
}
