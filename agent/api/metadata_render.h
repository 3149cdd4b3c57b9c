/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Answers on the metadata server's paths, byte for byte as that server writes them.
   Pure. */

#include "api/metadata_tree.h"
#include "base/buf.h"
#include "token/account.h"

enum metadata_alt { METADATA_ALT_NONE, METADATA_ALT_TEXT, METADATA_ALT_JSON };

struct metadata_named {
	const char *name;		/* NULL ends a list of these */
	const struct account *account;
};

struct metadata_form {
	const struct place *at;
	bool recursive;
	enum metadata_alt alt;
	const struct account *account;	/* whose place it is, or below it */
	const struct metadata_named *listed;	/* of NODE_ACCOUNTS, and of what
						   has it below */
	const char *const *values;	/* VALUES of them, known as far as the place
					   needs them; NULL: there is none */
};

/* Adds to b; is it JSON? */
bool metadata_render(const struct metadata_form *f, struct buf *b);
