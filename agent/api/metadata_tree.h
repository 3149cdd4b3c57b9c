/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The part of the metadata server's tree that we have.  Pure: a path in, a place
   out. */

#include "api/values.h"
#include "base/base.h"
#include "http/parse.h"

#define METADATA_ROOT	"/computeMetadata/"

enum node {
	NODE_DIR,		/* a plain directory */
	NODE_VALUE,		/* a plain value */
	NODE_ACCOUNTS,		/* .../service-accounts/ */
	NODE_ACCOUNT,		/* .../service-accounts/A/ */
	NODE_EMAIL,
	NODE_SCOPES,
	NODE_ALIASES,
	NODE_IDENTITY,
	NODE_TOKEN,
};

struct place {
	enum node node;
	const char *listing;	/* NODE_DIR and NODE_ACCOUNT: one name a line */
	const char *dir;	/* NODE_DIR: its path, below the root */
	enum value value;	/* NODE_VALUE */
	char *account;		/* below NODE_ACCOUNTS: as asked for; owned */
};

static inline bool
node_is_dir(enum node node)
{
	return node == NODE_DIR || node == NODE_ACCOUNTS || node == NODE_ACCOUNT;
}

enum tree_found {
	TREE_NOTHING,
	TREE_PLACE,
	TREE_SLASHLESS	/* a directory, but for its last slash; *ret is not set */
};

/* raw as it stands in the request line.  Escapes are decoded once, doubled
   slashes count as one; a path that decodes to anything but printable ASCII is
   nothing. */
enum tree_found tree_find(struct http_span raw, struct place *ret);

/* Of a directory by its path: is this below it? */
bool tree_holds_value(const char *dir, enum value which);
bool tree_holds_accounts(const char *dir);
/* What is in it, one name a line, that of a directory with its slash; NULL: it is
   no plain directory. */
const char *tree_listing(const char *dir);
