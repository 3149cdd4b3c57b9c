/* SPDX-License-Identifier: Apache-2.0 */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "api/peer.h"
#include "api/peer_tcp.h"
#include "base/buf.h"

/* /proc/PID/status lists up to 65536 groups in front of what we look for. */
#define STATUS_MAX	(1024 * 1024)
#define UID_MAP_MAX	(16 * 1024)	/* 340 lines at the most */
#define CGROUP_MAX	(256 * 1024)	/* a dozen hierarchies */

struct peer_host {
	int proc;				/* /proc, open */
	int diag;				/* peer_tcp.h's; -1: none */
	bool keeps_process;
	enum cgroup_hierarchy hierarchy;
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
peer_host_new_at(const struct peer_host_options *o, struct peer_host **ret)
{
	_cleanup_(peer_host_freep) struct peer_host *h = xcalloc(1, sizeof(*h));
	_cleanup_(closep) int dir = -1;

	h->hierarchy = o->hierarchy;
	h->keeps_process = o->keeps_process;
	h->diag = -1;
	h->proc = open(o->proc, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (h->proc < 0)
		return -errno;
	dir = openat(h->proc, "self", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return -errno;

	h->status = peer_read_proc(dir, "status", STATUS_MAX);
	h->uid_map = peer_read_proc(dir, "uid_map", UID_MAP_MAX);
	h->cgroup = peer_read_proc(dir, "cgroup", CGROUP_MAX);
	if (!h->status || !h->uid_map || !h->cgroup)
		return -EIO;

	*ret = TAKE_PTR(h);
	return 0;
}

int
peer_host_new(struct peer_host **ret)
{
	return peer_host_new_at(&(struct peer_host_options){
		.proc = "/proc",
		.hierarchy = cgroup_hierarchy("/sys/fs/cgroup"),
		.keeps_process = peer_kernel_keeps_process(),
	}, ret);
}

struct peer_host *
peer_host_free(struct peer_host *h)
{
	if (!h)
		return NULL;

	closep(&h->proc);
	closep(&h->diag);
	free(h->status);
	free(h->uid_map);
	free(h->cgroup);
	free(h);
	return NULL;
}

bool
peer_host_keeps_process(const struct peer_host *h)
{
	return h->keeps_process;
}

int
peer_host_expect_tcp(struct peer_host *h)
{
	if (h->diag < 0)
		h->diag = peer_tcp_open();
	return h->diag < 0 ? h->diag : 0;
}

int
peer_host_diag(const struct peer_host *h)
{
	return h ? h->diag : -1;
}

int
peer_host_open(const struct peer_host *h, pid_t pid)
{
	char name[16];

	(void)snprintf(name, sizeof(name), "%d", (int)pid);
	return openat(h->proc, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
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

static enum tri
judge_uid_map(const char *ours, const char *theirs)
{
	return tri_of(ours && *ours && theirs && *theirs,
		      ours && theirs && strcmp(ours, theirs) == 0);
}

static enum tri
judge_status(const char *ours, const char *theirs)
{
	unsigned our = ours ? pid_depth(ours) : 0;
	unsigned their = theirs ? pid_depth(theirs) : 0;

	return tri_of(our > 0 && their > 0, our == their);
}

enum tri
peer_host_judge(const struct peer_proc *agent, const struct peer_proc *peer)
{
	enum tri cgroup = TRI_UNKNOWN;

	if (agent->cgroup && peer->cgroup)
		cgroup = cgroup_judge_host(agent->cgroup, peer->cgroup);
	return tri_and(cgroup, tri_and(
		judge_uid_map(agent->uid_map, peer->uid_map),
		judge_status(agent->status, peer->status)));
}

char *
peer_host_look_cgroup(const struct peer_host *h, int proc_pid_fd,
		      enum tri *ret_host)
{
	_cleanup_(freep) char *text = NULL;

	text = peer_read_proc(proc_pid_fd, "cgroup", CGROUP_MAX);
	*ret_host = text ? cgroup_judge_host(h->cgroup, text) : TRI_UNKNOWN;
	return text ? cgroup_path(h->hierarchy, text) : NULL;
}

enum tri
peer_host_look(const struct peer_host *h, int proc_pid_fd, enum tri by_cgroup)
{
	_cleanup_(freep) char *status = NULL, *uid_map = NULL;
	enum tri v = by_cgroup;

	if (v == TRI_NO)
		return v;
	uid_map = peer_read_proc(proc_pid_fd, "uid_map", UID_MAP_MAX);
	v = tri_and(v, judge_uid_map(h->uid_map, uid_map));
	if (v == TRI_NO)
		return v;
	status = peer_read_proc(proc_pid_fd, "status", STATUS_MAX);
	return tri_and(v, judge_status(h->status, status));
}
