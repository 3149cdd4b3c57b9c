/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The agent's only way out: requests to upstream servers, on the event loop.

   One http_client is one libcurl multi handle; one http_call is one request,
   with its retries.  The contract every asynchronous operation in this code
   base keeps:

   - the callback runs exactly once, and never before the start function has
     returned;
   - freeing the call cancels it, and then the callback never runs;
   - when the callback runs the call is already gone, so the callback may free
     whatever it likes, including the object it was called for.

   Every try counts for the budget (http/budget.h), whoever caused it.  Where the
   budget is spent a call waits for its turn, as in the pause before a retry: those
   of one payer in order, no payer behind another one's share.  The same holds for
   connections: a host that hangs takes a payer's share of them there, and no other
   one's.

   Certificates and host names are verified, redirects never followed, the
   environment never consulted, sizes bounded as the bytes come in. */

#include <systemd/sd-event.h>

#include "base/base.h"
#include "base/err.h"
#include "http/budget.h"
#include "http/message.h"
#include "http/retry.h"

struct http_client;
struct http_call;

/* What all peers need together has a share as each of them has; what the agent
   needs to live has none.  A peer's number counts from HTTP_PAYER_PEERS. */
enum http_payer {
	HTTP_PAYER_NOBODY,	/* discovery, keys, refreshing */
	HTTP_PAYER_ACCESS,	/* access tokens */
	HTTP_PAYER_VALUES,	/* plain values of the metadata server */
	HTTP_PAYER_PEERS
};

struct http_lane_options {
	uint64_t connect_usec;		/* per try */
	uint64_t try_usec;		/* per try, connect included */
	struct retry_options retry;
};

struct http_client_options {
	const char *user_agent;
	const char *first, *second;	/* base URLs of one server: where there is
					   no way to the first, the second is asked;
					   NULL: none */
	const char *ca_file;		/* NULL: the system's */
	const char *proxy;		/* for HTTP_LANE_GOOGLE only; NULL: none */
	bool proxy_environment;		/* take proxy from https_proxy & co. */
	size_t max_body;		/* larger answers are an error */
	unsigned host_connections;	/* to one host; one payer has its share of
					   them, the last is nobody's */
	bool plain_http;		/* test endpoints: http in all lanes */
	struct budget_options budget;
	struct http_lane_options lane[HTTP_LANES];
};

/* Exactly one of re and e is set.  Any HTTP status is an answer; e means that
   after all tries there was none (ERR_UNAVAILABLE, or ERR_TIMEOUT where the
   deadline came first), or that the budget allowed of none (ERR_BUSY where that is
   the payer's own doing, else ERR_UNAVAILABLE).  Both are borrowed for the call. */
typedef void http_done_fn(void *userdata, const struct http_response *re,
			  const struct err *e);

/* libcurl itself is initialised by the first call, not here.  o's strings are
   copied.  The program must ignore SIGPIPE: TLS writes would raise it. */
int http_client_new(sd_event *event, const struct http_client_options *o,
		    struct http_client **ret, struct err *e);
/* All calls must be gone. */
struct http_client *http_client_free(struct http_client *c);
DEFINE_CLEANUP(struct http_client *, http_client_free)

/* Takes over the contents of q, also on failure.  *deadline is CLOCK_BOOTTIME in
   microseconds; it is read anew at every decision, so it may move while the call
   lasts and must live as long as the call.  *ret is the caller's to free; the
   pointer itself must stay where it is as long as the call: it is set to NULL
   when the call ends.  A deadline that has passed is refused (ERR_TIMEOUT), and so
   is a call whose turn would come after it (as above). */
int http_client_start(struct http_client *c, struct http_request *q,
		      const uint64_t *deadline,
		      http_done_fn *done, void *userdata,
		      struct http_call **ret, struct err *e);
struct http_call *http_call_free(struct http_call *call);

/* Would the budget let a request of this payer out before the deadline?  0, or the
   failure that the request would end with. */
int http_client_may(const struct http_client *c, uint64_t payer,
		    uint64_t deadline, struct err *e);

/* Requests sent so far, tries included. */
uint64_t http_client_sent(const struct http_client *c);

struct http_client_counts {
	uint64_t delayed;	/* tries that had to wait for their turn, so far */
	uint64_t refused;	/* tries that were not made: it came too late */
	unsigned waiting;	/* calls that wait for their turn now */
	unsigned per_minute;	/* the budget; 0: no limit */
	unsigned left;		/* what is left of it now */
};
void http_client_count(const struct http_client *c, struct http_client_counts *ret);

/* What has become of the requests to one upstream (http_request.upstream). */
struct http_upstream {
	uint64_t requests;	/* started */
	uint64_t tries;		/* sent for them */
	uint64_t answers[6];	/* tries by the first digit of their status;
				   [0]: there was no answer */
	uint64_t gave_up;	/* requests without any answer in the end */
	uint64_t ended;		/* CLOCK_BOOTTIME of the last try's end; 0: none */
	/* A try fails without an answer, and by a status that may pass. */
	bool failing;		/* the last one did */
	uint64_t failed;	/* the last one that did ended then; 0: none did */
	char why[200];		/* of that one */
};
/* Borrowed; changes as tries end. */
const struct http_upstream *http_client_upstream(const struct http_client *c,
						 unsigned upstream);
