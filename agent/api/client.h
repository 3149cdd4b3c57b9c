/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* One connected client: who it is, its share of the connections, and the last
   verdict about it. */

#include "api/peer.h"
#include "api/policy.h"
#include "base/base.h"
#include "base/err.h"

struct clients;		/* all of them: the tables of shares and of questions */
struct question;	/* a verdict's whole key; the same for many clients */

/* One for each connection, of which there may be thousands: packed. */
struct client {
	struct peer peer;
	uint64_t owner;		/* whom flights and cache entries count for */
	/* To this the policy has said yes; any other question is judged anew. */
	struct question *admitted;
	uint64_t looked : 63;	/* CLOCK_BOOTTIME: last look at the process */
	uint64_t json : 1;	/* its last request wants errors in JSON */
};

struct clients *clients_new(unsigned max_per_peer, uint64_t recheck_usec);
struct clients *clients_free(struct clients *all);
DEFINE_CLEANUP(struct clients *, clients_free)

/* A client for a connected socket.  ERR_BUSY where its peer holds its share of
   connections already; ERR_INTERNAL where the kernel will not say who it is. */
int client_new(struct clients *all, int fd, bool pin, struct client **ret,
	       struct err *e);
void client_free(struct clients *all, struct client *c);

/* policy_check(), but that a question answered yes before is not judged again for
   a while.  After that while, and with cold set, it is first looked whether the
   process that connected still lives. */
int client_check(struct clients *all, struct client *c,
		 const struct policy *policy, const struct peer_host *host,
		 const struct policy_query *q, uint64_t now, bool cold,
		 struct err *e);
