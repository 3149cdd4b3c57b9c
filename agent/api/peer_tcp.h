/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The peers of TCP connections on loopback: whose socket is at the other end, by
   what the kernel says of it now (sock_diag).

   A uid is all there is to know.  It is that of who made the socket, and known as
   long as a process has that socket open: after that the same addresses may be
   somebody else's.  So it is asked for when the connection comes, and again before
   anything is given.

   One question is two system calls, which do not wait for anybody. */

#include "api/peer.h"

/* A socket for such questions; or -errno. */
int peer_tcp_open(void);

/* Fill in the peer of a connected socket; where that is no TCP socket, p->tcp is
   not set.  diag: from peer_tcp_open(); negative: nobody's uid is known. */
void peer_tcp_init(struct peer *p, int fd, int diag);
/* Is it still the same socket, and open?  Where not, the peer is unknown from now
   on, for good. */
void peer_tcp_recheck(struct peer *p, int diag);

/* The port that it connected to; 0: not known. */
uint16_t peer_tcp_port(const struct peer *p);
