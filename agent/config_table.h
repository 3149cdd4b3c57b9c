/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The one table of options: every key but the rules', what it may hold, its
   default, and the member of struct config that it becomes.

   To add an option: a row in config_table.c. */

#include "base/base.h"
#include "base/err.h"
#include "config.h"

struct config_option {
	const char *section, *key;
	int (*parse)(const struct config_option *o, const char *value, void *ret,
		     struct err *e);
	size_t offset;		/* in struct config */
	const char *value;	/* default; NULL: none */
	uint64_t min, max;
};

extern const struct config_option config_options[];
extern const size_t config_options_len;

/* Index of an option, of the first one in its section where key is NULL;
   config_options_len if there is none. */
size_t config_option_find(const char *section, const char *key);

/* Of sections there is one each, and [account default] the only one with a name:
   NULL for the others. */
const char *config_section_name(const char *section);

/* Do its values add up? */
bool config_option_is_list(const struct config_option *o);

/* Is its value the same in both? */
bool config_option_same(const struct config_option *o, const struct config *a,
			const struct config *b);

/* Put a value where it belongs; e has words that begin with the key. */
int config_option_set(struct config *c, const struct config_option *o,
		      const char *value, struct err *e);

/* Where an option was written; NULL: nowhere. */
const struct config_setting *
config_option_written(const struct config *c, const char *section, const char *key);

/* Put the place where an option was set in front of what is wrong with it. */
int config_option_error(const struct config *c, const char *section,
			const char *key, int r, struct err *e);

/* Keys of [timing] of which the second is the first's upper bound. */
struct config_pair {
	const char *first, *max;
};
extern const struct config_pair config_pairs[];
extern const size_t config_pairs_len;
