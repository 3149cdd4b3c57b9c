/* SPDX-License-Identifier: Apache-2.0 */

#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

#include "api/peer_tcp.h"

#define ANSWER_MAX	4096	/* the kernel's is a few hundred bytes */
#define ANSWERS_MAX	8	/* looked at, for one that was never read */

/* States in which a process may have the socket open.  What a process has closed
   can be in the latter two as well, but has no inode then. */
#define STATES	((1u << TCP_ESTABLISHED) | (1u << TCP_FIN_WAIT1) | \
		 (1u << TCP_FIN_WAIT2))

/* The question, as it is asked each time: the other end's addresses and, once it is
   known, the cookie that no other socket ever has. */
struct peer_end {
	struct inet_diag_req_v2 ask;
};

int
peer_tcp_open(void)
{
	/* Connected, so that the kernel is all that can answer. */
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	_cleanup_(closep) int fd = -1;
	int r;

	fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
		    NETLINK_SOCK_DIAG);
	if (fd < 0 || connect(fd, (struct sockaddr *)&kernel, sizeof(kernel)) < 0)
		return -errno;
	r = fd;
	fd = -1;
	return r;
}

static bool
answer_read(const struct nlmsghdr *h, size_t len, struct inet_diag_msg *ret)
{
	/* That there is none is an error, of another type. */
	if (len < NLMSG_SPACE(sizeof(*ret)) ||
	    h->nlmsg_type != SOCK_DIAG_BY_FAMILY ||
	    h->nlmsg_len < NLMSG_LENGTH(sizeof(*ret)))
		return false;
	memcpy(ret, NLMSG_DATA(h), sizeof(*ret));
	return true;
}

/* The kernel has answered when send() returns. */
static bool
ask(int diag, const struct peer_end *end, struct inet_diag_msg *ret)
{
	static uint32_t seq;
	struct {
		struct nlmsghdr head;
		struct inet_diag_req_v2 ask;
	} m = {
		.head = {
			.nlmsg_len = sizeof(m),
			.nlmsg_type = SOCK_DIAG_BY_FAMILY,
			.nlmsg_flags = NLM_F_REQUEST,
			.nlmsg_seq = ++seq,
		},
		.ask = end->ask,
	};
	char answer[ANSWER_MAX] __attribute__((aligned(NLMSG_ALIGNTO)));
	const struct nlmsghdr *h = (const struct nlmsghdr *)answer;
	ssize_t n;

	if (send(diag, &m, sizeof(m), MSG_DONTWAIT) != sizeof(m))
		return false;
	for (int i = 0; i < ANSWERS_MAX; i++) {
		n = recv(diag, answer, sizeof(answer), MSG_DONTWAIT);
		if (n < (ssize_t)sizeof(*h))
			return false;
		if (h->nlmsg_seq == m.head.nlmsg_seq)
			return answer_read(h, (size_t)n, ret);
	}
	return false;
}

/* Does a process have the other end open just now? */
static bool
end_is_open(int diag, const struct peer_end *end, struct inet_diag_msg *ret)
{
	return diag >= 0 && ask(diag, end, ret) && ret->idiag_inode != 0 &&
		ret->idiag_state < 32 && (STATES & (1u << ret->idiag_state));
}

/* An address as the kernel wants it: its family, or AF_UNSPEC. */
static int
address_read(const struct sockaddr_storage *sa, __be32 ret[static 4],
	     __be16 *ret_port)
{
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)sa;
	const struct sockaddr_in *in = (const struct sockaddr_in *)sa;

	switch (sa->ss_family) {
	case AF_INET:
		memcpy(ret, &in->sin_addr, sizeof(in->sin_addr));
		*ret_port = in->sin_port;
		return AF_INET;
	case AF_INET6:
		memcpy(ret, &in6->sin6_addr, sizeof(in6->sin6_addr));
		*ret_port = in6->sin6_port;
		return AF_INET6;
	default:
		return AF_UNSPEC;
	}
}

/* The question about the other end of fd: its source is our destination. */
static bool
end_of(int fd, struct peer_end *ret)
{
	struct inet_diag_sockid *id = &ret->ask.id;
	struct sockaddr_storage theirs = { 0 }, ours = { 0 };
	socklen_t theirs_len = sizeof(theirs), ours_len = sizeof(ours);
	int family;

	if (getpeername(fd, (struct sockaddr *)&theirs, &theirs_len) < 0 ||
	    getsockname(fd, (struct sockaddr *)&ours, &ours_len) < 0)
		return false;
	family = address_read(&theirs, id->idiag_src, &id->idiag_sport);
	if (family == AF_UNSPEC ||
	    family != address_read(&ours, id->idiag_dst, &id->idiag_dport))
		return false;
	ret->ask.sdiag_family = (uint8_t)family;
	ret->ask.sdiag_protocol = IPPROTO_TCP;
	ret->ask.idiag_states = STATES;
	id->idiag_cookie[0] = id->idiag_cookie[1] = INET_DIAG_NOCOOKIE;
	return true;
}

void
peer_tcp_init(struct peer *p, int fd, int diag)
{
	struct peer_end end = { 0 };
	struct inet_diag_msg found;

	*p = (struct peer){ .fd = fd, .pidfd = -1, .pid = -1, .uid = (uid_t)-1,
			    .gid = (gid_t)-1, .host = TRI_UNKNOWN,
			    .host_by_cgroup = TRI_UNKNOWN };
	p->tcp = end_of(fd, &end);
	if (!p->tcp || !end_is_open(diag, &end, &found))
		return;
	memcpy(end.ask.id.idiag_cookie, found.id.idiag_cookie,
	       sizeof(end.ask.id.idiag_cookie));
	p->end = xmemdup(&end, sizeof(end));
	p->uid = found.idiag_uid;
	p->known = true;
}

void
peer_tcp_recheck(struct peer *p, int diag)
{
	struct inet_diag_msg found;

	if (!p->known || (p->end && end_is_open(diag, p->end, &found) &&
			  found.idiag_uid == p->uid))
		return;
	p->known = false;
	p->uid = (uid_t)-1;
}

uint16_t
peer_tcp_port(const struct peer *p)
{
	return p->tcp && p->end ? ntohs(p->end->ask.id.idiag_dport) : 0;
}
