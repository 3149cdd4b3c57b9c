/* SPDX-License-Identifier: Apache-2.0 */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "api/peer.h"
#include "base/text.h"

/* Linux 6.5; older headers lack it.  The number is everybody's but two's. */
#if !defined(SO_PEERPIDFD) && !defined(__hppa__) && !defined(__sparc__)
#define SO_PEERPIDFD	77
#endif

#define STAT_MAX	4096		/* bytes of /proc/PID/stat */
#define GROUPS_FIRST	32		/* room for most people's */

/* The process that connected, kept by the kernel since then. */
static int
socket_pidfd(int fd)
{
#ifdef SO_PEERPIDFD
	socklen_t len = sizeof(int);
	int pidfd = -1;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &len) < 0)
		return -errno;
	return pidfd;
#else
	(void)fd;
	return -ENOPROTOOPT;
#endif
}

bool
peer_kernel_keeps_process(void)
{
	int pair[2], pidfd;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return false;
	pidfd = socket_pidfd(pair[0]);
	if (pidfd >= 0)
		close(pidfd);
	close(pair[0]);
	close(pair[1]);
	return pidfd >= 0;
}

void
peer_init(struct peer *p, int fd, bool pin)
{
	socklen_t len = sizeof(struct ucred);
	struct ucred cred = { 0 };

	*p = (struct peer){ .fd = fd, .pidfd = -1, .host = TRI_UNKNOWN,
			    .host_by_cgroup = TRI_UNKNOWN };
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0 ||
	    len != sizeof(cred) || cred.uid == (uid_t)-1)
		return;

	p->known = true;
	p->uid = cred.uid;
	p->gid = cred.gid;
	p->pid = cred.pid;
	if (!pin || p->pid <= 0)
		return;

	p->taken_usec = now_usec(CLOCK_BOOTTIME);
	p->pidfd = (int)syscall(SYS_pidfd_open, p->pid, 0);
}

void
peer_clear(struct peer *p)
{
	if (p->pidfd >= 0)
		close(p->pidfd);
	if (p->tcp)
		free(p->end);
	free(p->groups);
	free(p->cgroup);
	*p = (struct peer){ .fd = -1, .pidfd = -1, .host = TRI_UNKNOWN,
			    .host_by_cgroup = TRI_UNKNOWN };
}

/* SO_PEERGROUPS says how much room it wants where there is too little. */
static void
need_groups(struct peer *p)
{
	socklen_t len = GROUPS_FIRST * sizeof(gid_t);
	gid_t *groups;
	unsigned n = 0;
	int r;

	groups = xcalloc(GROUPS_FIRST, sizeof(*groups));
	r = getsockopt(p->fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len);
	if (r < 0 && errno == ERANGE && len <= PEER_GROUPS_MAX * sizeof(gid_t)) {
		groups = xrealloc(groups, len / sizeof(gid_t), sizeof(*groups));
		r = getsockopt(p->fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len);
	}
	if (r < 0) {
		free(groups);
		return;
	}

	for (size_t i = 0; i < len / sizeof(gid_t); i++)
		if (groups[i] != p->gid)
			groups[n++] = groups[i];
	if (n > 0)
		p->groups = xrealloc(groups, n, sizeof(*groups));
	else
		free(groups);
	p->n_groups = n;
	p->groups_known = true;
}

/* A process that has exited is readable, a zombie too; where that cannot be asked
   it counts as gone. */
static bool
pidfd_is_alive(int pidfd)
{
	struct pollfd pfd = { .fd = pidfd, .events = POLLIN };

	return poll(&pfd, 1, 0) == 0;
}

/* Field 22 of /proc/PID/stat, start time in ticks since boot; behind a name that
   may hold anything. */
static bool
proc_start_usec(int dir, uint64_t *ret)
{
	_cleanup_(freep) char *stat = peer_read_proc(dir, "stat", STAT_MAX);
	long hz = sysconf(_SC_CLK_TCK);
	uint64_t ticks;
	char *s;

	s = stat ? strrchr(stat, ')') : NULL;
	for (int field = 2; s && field < 22; field++) {
		s = strchr(s, ' ');
		s = s ? s + 1 : NULL;
	}
	if (!s || hz <= 0 || !text_to_u64(s, strcspn(s, " \n"),
					  UINT64_MAX / USEC_PER_SEC, &ticks))
		return false;
	*ret = ticks * USEC_PER_SEC / (uint64_t)hz;
	return true;
}

/* The pinned process.  Where the kernel keeps it, it is asked for each time: a
   descriptor for each connection would halve their number. */
static int
peer_pidfd(const struct peer *p)
{
	if (p->taken_usec == 0)
		return socket_pidfd(p->fd);
	return p->pidfd < 0 ? -ESRCH : fcntl(p->pidfd, F_DUPFD_CLOEXEC, 3);
}

/* A pidfd got from a number: is it plausibly the process that connected? */
static bool
taken_is_plausible(const struct peer *p, int dir)
{
	struct stat st;
	uint64_t start;

	return fstat(dir, &st) == 0 && st.st_uid == p->uid && st.st_gid == p->gid &&
		proc_start_usec(dir, &start) && start <= p->taken_usec;
}

/* Whatever is known of the process that connected, for it is gone. */
static void
forget_process(struct peer *p)
{
	free(TAKE_PTR(p->cgroup));
	p->host_by_cgroup = TRI_UNKNOWN;
	p->host = TRI_UNKNOWN;
}

/* The cgroup is read for either fact and only once: it is the dearest file. */
static void
look_at_process(struct peer *p, const struct peer_host *h, bool again,
		bool want_host)
{
	_cleanup_(closep) int dir = -1, pidfd = -1;
	enum tri by_cgroup = TRI_UNKNOWN;

	if (!p->known || p->pid <= 0 ||
	    (p->taken_usec == 0 && !peer_host_keeps_process(h)))
		return;
	pidfd = peer_pidfd(p);
	if (pidfd < 0)
		return;
	dir = peer_host_open(h, p->pid);
	if (dir < 0 || (p->taken_usec > 0 && !taken_is_plausible(p, dir)))
		return;

	if (!again) {
		p->cgroup = peer_host_look_cgroup(h, dir, &by_cgroup);
		p->host_by_cgroup = by_cgroup;
	}
	if (want_host)
		p->host = peer_host_look(h, dir, p->host_by_cgroup);
	/* Whoever is alive after the reads was the owner of the number all the
	   while. */
	if (!pidfd_is_alive(pidfd))
		forget_process(p);
}

void
peer_need(struct peer *p, const struct peer_host *h, unsigned facts)
{
	bool again = p->loaded & PEER_PROCESS;

	/* The unit of whom host was asked is there. */
	if (again)
		p->loaded |= facts & PEER_UNIT;
	facts &= ~p->loaded;
	p->loaded |= facts & UINT8_MAX;
	if (p->fd < 0 || p->tcp)
		return;

	if (facts & PEER_GROUPS)
		need_groups(p);
	if (h && (facts & PEER_PROCESS))
		look_at_process(p, h, again, facts & PEER_HOST);
}

void
peer_trim(struct peer *p)
{
	if (p->n_groups <= PEER_GROUPS_KEPT || p->fd < 0)
		return;
	free(TAKE_PTR(p->groups));
	p->n_groups = 0;
	p->groups_known = false;
	p->loaded &= ~(unsigned)PEER_GROUPS;
}

void
peer_recheck(struct peer *p)
{
	_cleanup_(closep) int pidfd = -1;

	if ((p->host == TRI_UNKNOWN && !p->cgroup) || p->fd < 0 || p->tcp)
		return;
	pidfd = peer_pidfd(p);
	if (pidfd < 0 || !pidfd_is_alive(pidfd))
		forget_process(p);
}

bool
peer_unit(const struct peer *p, char ret[static CGROUP_NAME_SIZE])
{
	return p->cgroup && cgroup_unit(p->cgroup, ret);
}

static const char *
host_words(const struct peer *p)
{
	if (!(p->loaded & PEER_HOST))
		return "";
	if (p->host == TRI_UNKNOWN)
		return ", host or container unknown";
	return p->host == TRI_YES ? ", on the host" : ", in a container";
}

/* A unit that nobody asked for is told where it is known: it may be what a rule
   should name. */
static void
unit_words(const struct peer *p, char *ret, size_t size)
{
	char unit[CGROUP_NAME_SIZE], show[TEXT_SHOW_SIZE];

	if (peer_unit(p, unit)) {
		(void)text_show_str(show, unit);
		(void)snprintf(ret, size, ", unit %.96s%s", show,
			       strlen(show) > 96 ? "..." : "");
	} else {
		(void)snprintf(ret, size, "%s", p->loaded & PEER_UNIT
			       ? ", unit unknown" : "");
	}
}

static void
group_words(const struct peer *p, char *ret, size_t size)
{
	size_t len = 0;

	ret[0] = '\0';
	for (size_t i = 0; i < p->n_groups; i++) {
		if (len > size - 24) {
			(void)snprintf(ret + len, size - len, " ...");
			break;
		}
		len += (size_t)snprintf(ret + len, size - len, "%s%u",
					i == 0 ? " groups " : " ", p->groups[i]);
	}
	if (p->loaded & PEER_GROUPS && !p->groups_known)
		(void)snprintf(ret, size, " groups unknown");
}

char *
peer_show(const struct peer *p, char ret[static PEER_SHOW_SIZE])
{
	char gid[24] = "", groups[64], pid[24] = "", unit[128];

	if (!p->known || p->tcp) {
		(void)snprintf(ret, PEER_SHOW_SIZE, p->known ?
			       "uid %u over TCP, where group, unit and host are "
			       "unknown" : "a peer of unknown uid", p->uid);
		return ret;
	}

	group_words(p, groups, sizeof(groups));
	unit_words(p, unit, sizeof(unit));
	/* A peer that is only talked of may have neither. */
	if (p->gid != (gid_t)-1)
		(void)snprintf(gid, sizeof(gid), " gid %u", p->gid);
	if (p->pid >= 0)
		(void)snprintf(pid, sizeof(pid), " (pid %d)", (int)p->pid);
	(void)snprintf(ret, PEER_SHOW_SIZE, "uid %u%s%s%s%s%s", p->uid, gid, groups,
		       pid, host_words(p), unit);
	return ret;
}
