/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Who is at the other end of a connection: facts from the kernel, judged by
   policy.h and nobody else.

   Credentials are those of the moment of connect().  Everything else is read
   when a rule first asks for it (peer_need()), cheap facts first, and kept with
   the connection.  What cannot be read is unknown, never a guess. */

#include <sys/types.h>

#include "base/base.h"

enum tri { TRI_NO, TRI_YES, TRI_UNKNOWN };

/* What can be asked for beyond uid, gid and pid. */
enum peer_fact {
	PEER_GROUPS	= 1 << 0,	/* supplementary groups */
	PEER_HOST	= 1 << 1	/* host or container */
};

#define PEER_GROUPS_MAX	65536		/* the kernel's NGROUPS_MAX */

/* One for each connection, of which there may be thousands: packed. */
struct peer {
	int fd;			/* the connection, borrowed; -1 in tests */
	int pidfd;		/* of the process that connected; -1 if none */
	uint64_t taken_usec;	/* CLOCK_BOOTTIME: pidfd was opened by number then,
				   and may be another process's; 0: it was not */
	gid_t *groups;		/* gid itself is not repeated */
	unsigned n_groups;
	uid_t uid;
	gid_t gid;
	pid_t pid;		/* 0: not in our pid namespace */
	uint8_t loaded;		/* enum peer_fact: asked for, known or not */
	bool known;		/* uid, gid and pid are */
	bool groups_known;
	enum tri host : 8;
};

/* What host or container is judged against: the agent itself.  Read once. */
struct peer_host;
int peer_host_new(struct peer_host **ret);
struct peer_host *peer_host_free(struct peer_host *h);
DEFINE_CLEANUP(struct peer_host *, peer_host_free)

/* The pure part of it: texts of /proc/PID/status, uid_map and cgroup of the peer
   and of the agent.  No where anything tells them apart, else unknown where
   anything could not be read. */
struct peer_proc {
	const char *status, *uid_map, *cgroup;	/* NULL: could not be read */
};
enum tri peer_host_judge(const struct peer_proc *agent,
			 const struct peer_proc *peer);
/* Whoever the open directory /proc/PID belongs to. */
enum tri peer_host_judge_dir(const struct peer_host *h, int proc_pid_fd);

/* A small file of /proc, whole; NULL where it cannot be read or is larger than
   max. */
char *peer_read_proc(int proc_pid_fd, const char *name, size_t max);

/* Fill in uid, gid and pid from a connected Unix socket.  pin: also take a pidfd
   now, because rules will need the process and this kernel has no
   SO_PEERPIDFD. */
void peer_init(struct peer *p, int fd, bool pin);
void peer_clear(struct peer *p);

/* Make sure that these facts have been looked for.  h NULL: host stays unknown. */
void peer_need(struct peer *p, const struct peer_host *h, unsigned facts);

/* Has the process that connected exited?  Then host is unknown from now on, and
   is set so.  Asked on each cold request. */
void peer_recheck(struct peer *p);

/* For words to people, with the facts looked for so far: "uid 1000 gid 1000 groups
   4 24 (pid 4242), in a container". */
#define PEER_SHOW_SIZE	160
char *peer_show(const struct peer *p, char ret[static PEER_SHOW_SIZE]);
