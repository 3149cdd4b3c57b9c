/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Whose try may leave now: what stands between http/call.c and the wire.

   The budget counts requests, and one payer has a share of the connections to one
   host, too.  Who may not go stands in one line; when the next one's turn may have
   come, call.c asks for all of them in order (turns_come()). */

#include "http/transfer.h"

/* A call's; payer, host and deadline as long as the call lives. */
struct turn {
	TAILQ_ENTRY(turn) entry;
	enum { TURN_REST, TURN_WAITS, TURN_TRIES } state;
	int lacks;			/* while it waits: turn_take()'s */
	uint64_t payer;
	const char *host;		/* of one spelling */
	const uint64_t *deadline;
};

/* 0: it may go, and has been counted.  -EDQUOT: the payer's share of the budget is
   spent; -EAGAIN: all of it is, or others come first; in *ret_wait the time until
   that may change.  -EBUSY: the payer's connections to the host are in use, until
   a try ends (UINT64_MAX). */
int turn_take(struct http_client *c, const struct turn *t, uint64_t now,
	      uint64_t *ret_wait);
/* The same in words. */
int turn_error(int lacks, uint64_t payer, uint64_t wait, struct err *e);

/* From one state to another. */
void turn_set(struct http_client *c, struct turn *t, int state);
/* Look at the line no later than this. */
int turn_arm(struct http_client *c, uint64_t when);

/* call.c: ask for all who wait. */
void turns_come(struct http_client *c, uint64_t now);
