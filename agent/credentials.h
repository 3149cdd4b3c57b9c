/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Credential files on disk: which, and whether anybody else could have read or
   written them. */

#include "base/base.h"
#include "base/err.h"
#include "token/credential.h"

/* The file at an absolute path, or "adc": the one that Google's libraries would
   find for whoever starts us by hand; started as a service only one below /etc that
   GOOGLE_APPLICATION_CREDENTIALS names.  *ret is NULL where adc finds none: the
   metadata server is what is left then.  They have to be of the universe.  e says
   FILE: WORDS. */
int credentials_load(const char *setting, bool by_hand, const char *universe,
		     struct credential **ret, struct err *e);
