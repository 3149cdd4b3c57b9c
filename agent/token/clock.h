/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What time it is, by several clocks.

   CLOCK_BOOTTIME is set by nobody and goes on while the machine sleeps.  The wall
   clock may be wrong, and may be set.  Google's is what the expiry of a token is
   meant by: its answers over TLS carry it (Date, whole seconds, late by the time
   that the answer took).  One answer alone never counts: two in a row have to
   agree.  It is kept as a distance to CLOCK_BOOTTIME, so setting the wall clock
   mends or spoils the comparison at once, and costs no knowledge.

   Where Google's clock and this machine's are too far apart nobody can say which
   is wrong: then Google's is not believed, and there are no new tokens. */

#include <systemd/sd-event.h>

#include "base/base.h"
#include "base/err.h"
#include "http/message.h"
#include "token/token.h"

struct clock_options {
	uint64_t agree_usec;	/* two dates no further apart are the same */
	uint64_t correct_usec;	/* further off than this, assertions are dated by
				   Google's clock */
	uint64_t limit_usec;	/* and further off than this, nothing is */
};

/* What Google's answers have said so far.  Pure; all zero at the beginning.
   Distances are Google's time less CLOCK_BOOTTIME. */
struct clock_learned {
	bool heard, known;
	int64_t last;		/* by the last answer, if one was heard */
	int64_t google;		/* by the last two that agreed, if known */
};

/* An answer that came at "boot" has this date (Unix seconds). */
void clock_learn_date(struct clock_learned *l, const struct clock_options *o,
		      int64_t date, uint64_t boot);

struct clock_status {
	bool known;		/* else the rest says nothing */
	bool bad;		/* further off than the limit */
	int64_t ahead_usec;	/* Google's clock less this machine's, and less the
				   up to a second that its dates cut off */
};

/* wall: microseconds since 1970. */
void clock_judge(const struct clock_learned *l, const struct clock_options *o,
		 uint64_t boot, int64_t wall, struct clock_status *ret);

struct clock;

/* Where the time comes from: CLOCK_BOOTTIME, and CLOCK_REALTIME since 1970, in
   microseconds.  For tests; NULL is the event loop's time of this turn. */
typedef void clock_read_fn(void *userdata, uint64_t *ret_boot, int64_t *ret_wall);

int clock_new(sd_event *event, const struct clock_options *o, clock_read_fn *source,
	      void *userdata, struct clock **ret, struct err *e);
struct clock *clock_free(struct clock *c);
DEFINE_CLEANUP(struct clock *, clock_free)

/* This turn of the event loop. */
struct token_now clock_machine_now(sd_event *event);	/* Google has no say */
struct token_now clock_now(struct clock *c);
/* The same where it is known what the machine's clocks say: CLOCK_BOOTTIME,
   CLOCK_REALTIME. */
struct token_now clock_now_at(struct clock *c, uint64_t boot, int64_t wall);
/* The date of an assertion: Unix seconds.  And would it be another one now, so that
   one that was refused is worth making again?  Not while clock_check() fails. */
int64_t clock_date(const struct clock *c);
bool clock_differs(const struct clock *c, int64_t date);

/* An answer of Google's has come.  What did not come over TLS, has no date or comes
   out of somebody's cache teaches nothing.  Never give it the metadata server's. */
void clock_learn(struct clock *c, const struct http_response *re);

void clock_status(const struct clock *c, struct clock_status *ret);
/* 0, or ERR_UNAVAILABLE where the clocks are too far apart. */
int clock_check(const struct clock *c, struct err *e);

/* Told, from the event loop, when the wall clock was set, the machine has slept,
   or the clocks have come to be too far apart or no longer are.  There is one
   listener; NULL for none. */
typedef void clock_changed_fn(void *userdata, const struct clock_status *s);
void clock_on_change(struct clock *c, clock_changed_fn *changed, void *userdata);

/* The wall clock was set, or the machine has slept.  The kernel says so by itself;
   tests, which cannot make it, say it here. */
void clock_stepped(struct clock *c);
