/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A server on loopback that answers what the test says, byte for byte: the
   metadata server or any other upstream.  It lives in the test's own event loop,
   so that nothing happens but while the test runs the loop.

   A request for which nothing has been said is held until something is; but one for
   the universe is answered as in the usual one, and not counted. */

#include <systemd/sd-event.h>

#include "base/base.h"
#include "http/client.h"
#include "token/clock.h"

/* Run the loop until the condition holds; the test fails where it takes 20 s. */
#define RUN_UNTIL(event, condition) \
	do { \
		uint64_t end_ = fake_now() + 60 * USEC_PER_SEC; \
		while (!(condition)) { \
			if (fake_now() > end_) \
				fail_msg("in vain: %s", #condition); \
			assert_true(sd_event_run(event, 50 * USEC_PER_MSEC) >= 0); \
		} \
	} while (0)

uint64_t fake_now(void);	/* CLOCK_BOOTTIME */
/* Run the loop until this moment. */
void fake_run_to(sd_event *event, uint64_t usec);

struct fake;

struct fake *fake_new(sd_event *event);
struct fake *fake_free(struct fake *f);
const char *fake_url(const struct fake *f);	/* "http://127.0.0.1:PORT" */

/* What to answer to requests that hold "path" in their first line: the next one
   only, or, where nothing is said for the next one, all.  Bytes as they are: ""
   closes the connection, NULL (always) says nothing any more. */
void fake_once(struct fake *f, const char *path, const char *bytes);
void fake_always(struct fake *f, const char *path, const char *bytes);
/* The same with a status and a body of JSON, as the metadata server has them. */
void fake_say_once(struct fake *f, const char *path, unsigned status,
		   const char *body);
void fake_say(struct fake *f, const char *path, unsigned status, const char *body);

struct fake_request {
	char *text;		/* head and body, as they came */
	const char *body;
	uint64_t came;		/* CLOCK_BOOTTIME */
};

/* Those that came whole; all, or with "path" in their first line. */
size_t fake_count(const struct fake *f);
size_t fake_count_of(const struct fake *f, const char *path);
const struct fake_request *fake_request(const struct fake *f, size_t i);
const struct fake_request *fake_last(const struct fake *f);

/* A client that tries once and speaks plain HTTP. */
struct http_client *fake_client_new(sd_event *event);

/* A clock with the usual options; source may be NULL. */
struct clock *fake_clock_new(sd_event *event, clock_read_fn *source,
			     void *userdata);
