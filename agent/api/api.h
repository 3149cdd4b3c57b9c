/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What clients may ask: routes, admission, error answers.

   One struct api answers all connections of one http_server.  Handlers live in
   api_metadata.c (the metadata server's own paths) and api_v1.c (what it lacks);
   requests.h is what they share. */

#include <systemd/sd-event.h>

#include "api/audit.h"
#include "api/limit.h"
#include "api/policy.h"
#include "api/values.h"
#include "base/base.h"
#include "base/err.h"
#include "http/client.h"
#include "http/server.h"
#include "token/accounts.h"
#include "token/broker.h"
#include "token/flows.h"
#include "token/keyring.h"

struct api;

struct api_options {
	unsigned connections_per_peer;
	unsigned connections_share; /* nor more than this */
	size_t peer_buffers;	/* bytes that one peer's connections may hold */
	uint64_t wait_usec;	/* how long a caller waits who does not say */
	uint64_t wait_max_usec;	/* and at the most */
	uint64_t change_max_usec; /* longest wait_for_change */
	uint64_t recheck_usec;	/* how long a verdict outlives a look at its peer */
	size_t max_audience;	/* bytes */
	struct limit_options limit;	/* flights that one peer may start */
	struct audit_options audit;
};

/* What the api works with; all of it outlives it. */
struct api_context {
	sd_event *event;
	const struct http_client *http;
	const struct keyring *keyring;
	struct accounts *accounts;
	struct broker *broker;
	struct values *values;
	struct clock *clock;
	const struct policy *policy;
	struct peer_host *host;
	/* For POST /v1/reload: 0, and in later a line for each setting that takes
	   a restart; or the new configuration is bad, and e says why. */
	int (*reload)(void *userdata, struct buf *later, struct err *e);
	void *userdata;
	/* Not NULL: there is nothing to serve with, nor accounts to broker above,
	   and all but reload is answered with this. */
	const struct err *broken;
};

struct api *api_new(const struct api_context *ctx, const struct api_options *o);
/* The server must be gone. */
struct api *api_free(struct api *a);
DEFINE_CLEANUP(struct api *, api_free)
/* Other options and another policy from now on, also for those who are connected or
   wait; the old policy may be freed.  What asks upstream stays the same, but that
   there may be one where there was api_context.broken. */
void api_configure(struct api *a, const struct api_context *ctx,
		   const struct api_options *o);
/* The agent stops: wait_for_change is answered at once, by those that wait as by
   those to come. */
void api_stop(struct api *a);

/* For http_server_new(), with the api as userdata. */
extern const struct http_server_ops api_server_ops;
/* For http_server_options.every_answer. */
extern const char api_every_answer[];

/* For broker_new(), with the limit's owner as userdata. */
int api_admit_flight(void *api, uint64_t owner, struct err *e);
