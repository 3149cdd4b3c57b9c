/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The few plain values of the metadata server that are passed on: fetched when
   first asked for, kept while the VM runs.  Everything else it holds stays where
   it is: attributes can hold secrets.

   Asynchronous contract: http/client.h. */

#include <systemd/sd-event.h>

#include "base/base.h"
#include "base/err.h"
#include "google/endpoints.h"
#include "http/client.h"

enum value {
	VALUE_PROJECT_ID,
	VALUE_NUMERIC_PROJECT_ID,
	VALUE_INSTANCE_ID,
	VALUE_INSTANCE_NAME,
	VALUE_INSTANCE_HOSTNAME,
	VALUE_INSTANCE_ZONE,
	VALUE_UNIVERSE_DOMAIN,
	VALUES
};

struct values;
struct value_wait;

struct values_options {
	uint64_t fetch_usec;	/* for one value, retries included */
	uint64_t retry_usec;	/* "no such value" is believed this long */
};

struct values *values_new(sd_event *event, struct http_client *http,
			  const struct endpoints *at,
			  const struct values_options *o);
/* All waits must be gone. */
struct values *values_free(struct values *v);
DEFINE_CLEANUP(struct values *, values_free)

/* "project/project-id" */
const char *value_path(enum value which);

/* It is this one, and nobody need ask for it. */
void values_know(struct values *v, enum value which, const char *text);

/* Exactly one of text and e; borrowed. */
typedef void value_done_fn(void *userdata, const char *text, const struct err *e);

/* 1: *ret_text is set, valid as long as v.  0: done will run, at the latest when
   the fetch ends.  Negative: it cannot be had, e says why.

   sparing: asked for somebody for whom nothing is to be done upstream.  A failure
   is remembered for such, and believed for retry_usec, so all of them together
   cause one fetch of a value in that time; once it is known, none. */
int values_get(struct values *v, enum value which, bool sparing,
	       value_done_fn *done, void *userdata, const char **ret_text,
	       struct value_wait **ret, struct err *e);
struct value_wait *value_wait_free(struct value_wait *w);
