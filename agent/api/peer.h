/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Who is at the other end of a connection: facts from the kernel, judged by
   policy.h and nobody else.

   Credentials are those of the moment of connect().  Everything else is read
   when a rule first asks for it (peer_need()), cheap facts first, and kept with
   the connection.  What cannot be read is unknown, never a guess. */

#include <sys/types.h>

#include "api/cgroup.h"
#include "api/tri.h"
#include "base/base.h"

/* What can be asked for beyond uid, gid and pid.  All but the groups are facts
   of the process that connected: they are unknown once it has exited. */
enum peer_fact {
	PEER_GROUPS	= 1 << 0,	/* supplementary groups */
	PEER_UNIT	= 1 << 1,	/* unit and slices */
	PEER_HOST	= 1 << 2,	/* host or container */
	PEER_PROCESS	= PEER_UNIT | PEER_HOST
};

#define PEER_GROUPS_MAX	65536		/* the kernel's NGROUPS_MAX */
#define PEER_GROUPS_KEPT 64		/* with a connection: peer_trim() */

/* One for each connection, of which there may be thousands: packed. */
struct peer {
	int fd;			/* the connection, borrowed; -1 in tests */
	int pidfd;		/* of the process that connected; -1 if none */
	union {
		uint64_t taken_usec;	/* CLOCK_BOOTTIME: pidfd was opened by
					   number then, and may be another
					   process's; 0: it was not */
		struct peer_end *end;	/* tcp: peer_tcp.c's */
	};
	gid_t *groups;		/* gid itself is not repeated */
	char *cgroup;		/* its path where units are kept; NULL: unknown */
	uid_t uid;
	gid_t gid;
	pid_t pid;		/* 0: not in our pid namespace; -1 over TCP */
	unsigned n_groups : 17;	/* up to PEER_GROUPS_MAX */
	unsigned loaded : 8;	/* enum peer_fact: asked for, known or not */
	bool known : 1;		/* uid is, and gid and pid but over TCP */
	bool tcp : 1;		/* came over TCP: uid is all there is to know */
	bool groups_known : 1;
	enum tri host : 2;
	enum tri host_by_cgroup : 2; /* host, as far as the cgroup tells */
};

/* The host that peers are on, as the agent finds it at start: its /proc, where
   units are kept, what the kernel can do, and the agent's own entries, which host
   or container is judged against. */
struct peer_host;
int peer_host_new(struct peer_host **ret);

/* The same with other parts. */
struct peer_host_options {
	const char *proc;		/* "/proc" */
	enum cgroup_hierarchy hierarchy;
	bool keeps_process;		/* SO_PEERPIDFD may be used */
};
int peer_host_new_at(const struct peer_host_options *o, struct peer_host **ret);
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

/* Does the kernel keep the process that connected (SO_PEERPIDFD, Linux 6.5)? */
bool peer_kernel_keeps_process(void);
bool peer_host_keeps_process(const struct peer_host *h);

/* Peers over TCP will come; until then nobody's uid is known there.  0, -errno. */
int peer_host_expect_tcp(struct peer_host *h);
int peer_host_diag(const struct peer_host *h);	/* for peer_tcp.h */

/* The directory of a process, open; -1 where there is none. */
int peer_host_open(const struct peer_host *h, pid_t pid);
/* The path of its cgroup, newly allocated, or NULL; and host by that alone. */
char *peer_host_look_cgroup(const struct peer_host *h, int proc_pid_fd,
			    enum tri *ret_host);
/* Host by the rest, too; no more is read than that takes. */
enum tri peer_host_look(const struct peer_host *h, int proc_pid_fd,
			enum tri by_cgroup);

/* A small file of /proc, whole; NULL where it cannot be read or is larger than
   max. */
char *peer_read_proc(int proc_pid_fd, const char *name, size_t max);

/* Fill in uid, gid and pid from a connected Unix socket.  pin: also take a pidfd
   now, because rules will need the process and this kernel does not keep it. */
void peer_init(struct peer *p, int fd, bool pin);
void peer_clear(struct peer *p);

/* Make sure that these facts have been looked for.  h NULL: those of the process
   stay unknown. */
void peer_need(struct peer *p, const struct peer_host *h, unsigned facts);

/* Groups beyond a few are given back, to be read again when they are asked for:
   they are those of connect() for good, and root of a container can have 256 KiB of
   them.  To be called when a peer has been judged. */
void peer_trim(struct peer *p);

/* Has the process that connected exited?  Then its facts are unknown from now on.
   Asked on each cold request. */
void peer_recheck(struct peer *p);

/* The name of its unit, as far as is known now. */
bool peer_unit(const struct peer *p, char ret[static CGROUP_NAME_SIZE]);

/* For words to people, with the facts looked for so far: "uid 1000 gid 1000 groups
   4 24 (pid 4242), in a container, unit web.service". */
#define PEER_SHOW_SIZE	320
char *peer_show(const struct peer *p, char ret[static PEER_SHOW_SIZE]);
