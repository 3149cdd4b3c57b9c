/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* [account default] credentials: the file it names, and which flows go with it. */

#include "config.h"

/* Read what c->credentials names into c->credential, and set the flows that go
   with it where none were written.  by_hand: see credentials.h.  e says FILE:LINE
   as all of config.h's errors do. */
int config_credentials_check(struct config *c, bool by_hand, config_note_fn *note,
			     void *userdata, struct err *e);

/* Words for whoever should know, or NULL: a user's file makes every peer that is
   admitted that user. */
const char *config_credentials_note(const struct config *c);
