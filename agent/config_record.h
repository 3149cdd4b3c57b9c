/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What is in force and where it was written: every setting with its file and line,
   those that later ones replaced or cleared left out.  For words about what is
   wrong, and for --dump-config. */

#include <stdio.h>

#include "base/base.h"

struct config_setting {
	char *section, *name;	/* name is NULL in [section] */
	char *key, *value;
	char *origin;		/* "FILE", or words where line is 0 */
	unsigned line;
};

struct config_record {
	struct config_setting *v;
	size_t n;
	char **files;		/* in the order of reading, with words for those
				   that were passed over */
	size_t n_files;
};

void config_record_clear(struct config_record *r);

/* list: values add up until an empty one, which stays, as the mark that the list
   was given.  Else this one replaces what was set before. */
void config_record_set(struct config_record *r, const struct config_setting *s,
		       bool list);

void config_record_file(struct config_record *r, const char *words);

/* The last one of this key, borrowed until the next set; or NULL. */
const struct config_setting *
config_record_find(const struct config_record *r, const char *section,
		   const char *name, const char *key);

/* As a file that says the same, each line under a comment with its origin.
   Passwords are left out. */
void config_record_print(const struct config_record *r, FILE *out);
