/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* One connected client: who it is, its peer's share of connections and buffers,
   and the last verdict about it.

   A stranger is a peer whom no rule could admit to anything, as the policy and the
   facts were when it connected.  Strangers count for themselves: root of a
   container takes nothing from root.  What they cause upstream, where the policy is
   permissive, counts for all of them together: a user has thousands of further
   uids. */

#include "api/audit.h"
#include "api/peer.h"
#include "api/policy.h"
#include "base/base.h"
#include "base/err.h"
#include "base/text.h"

struct clients;		/* all of them: the tables of shares and of verdicts */
struct verdict;	/* an admission with its whole key; the same for many clients
		   of one peer */

/* One for each connection, of which there may be thousands: packed. */
struct client {
	struct peer peer;
	uint64_t owner;		/* whom connections, flights and cache entries
				   count for: the unit where a rule names it,
				   else the uid */
	/* To this the policy has said yes; any other question is judged anew. */
	struct verdict *admitted;
	uint64_t looked : 54;	/* CLOCK_BOOTTIME: last look at the process */
	uint64_t route : 8;	/* of its last request: a row of counters */
	uint64_t json : 1;	/* that one wants errors in JSON */
	uint64_t stranger : 1;
};

/* The owner of what strangers cause upstream: no uid's. */
#define CLIENT_STRANGERS	((UINT64_C(1) << 62) | UINT32_MAX)

struct clients_options {
	unsigned max_per_peer;	/* connections; and as many as its share is */
	unsigned share;
	size_t peer_buffers;	/* bytes of buffers that one peer may hold; all
				   strangers together are one */
	uint64_t recheck_usec;
};

struct clients *clients_new(const struct clients_options *o);
/* Other limits from now on: who holds more than they allow keeps it. */
void clients_configure(struct clients *all, const struct clients_options *o);
struct clients *clients_free(struct clients *all);
DEFINE_CLEANUP(struct clients *, clients_free)

/* A client for a connected socket.  ERR_BUSY where its peer holds its share of
   connections already; ERR_POLICY where it came over TCP and nobody has the other
   end; ERR_INTERNAL where the kernel will not say who it is. */
int client_new(struct clients *all, int fd, const struct policy *policy,
	       const struct peer_host *host, struct client **ret, struct err *e);
/* Its buffers must have been given back. */
void client_free(struct clients *all, struct client *c);
/* Connections refused for connections-per-peer so far. */
uint64_t clients_refused(const struct clients *all);

/* A buffer of new bytes in place of one of old bytes: false if its peer's are too
   many then, and nothing is counted. */
bool client_charge(struct clients *all, const struct client *c, size_t old,
		   size_t new);

/* Uid 0, and on the host?  Reads facts that no rule may have asked for. */
bool client_is_root(struct client *c, const struct peer_host *host);

/* The agent's own uid, over the Unix socket? */
bool client_is_agent(const struct client *c);

/* An owner that is connected, for words to people: "unit web.service". */
#define CLIENT_OWNER_SIZE	(TEXT_SHOW_SIZE + 8)
char *client_owner_show(const struct clients *all, uint64_t owner,
			char ret[static CLIENT_OWNER_SIZE]);

/* policy_check(), but that a question answered yes before is not judged again for
   a while.  After that while, and with cold set, it is first looked whether the
   process that connected still lives; over TCP, each time, whether the other end is
   still the same and open.  1, where it is said again, needs no e: see
   client_why(). */
int client_check(struct clients *all, struct client *c,
		 const struct policy *policy, const struct peer_host *host,
		 const struct policy_query *q, uint64_t now, bool cold,
		 struct err *e);

/* Whom flights, waiters, upstream requests and cache entries count for. */
uint64_t client_payer(const struct client *c);

/* Of the last client_check(), which said yes, good until the next one: by which
   rule; or by none, and why it would be denied; and where the audit leaves a note
   about what was asked.  Of these NULL is what does not hold. */
const char *client_rule(const struct client *c);
const char *client_why(const struct client *c);
struct audit_seen **client_note(struct client *c);
