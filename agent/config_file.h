/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Configuration files: which, whose, and their lines.  What sections and keys
   mean is config.c's business.

   Read in this order: vendor drop-ins, the one file, drop-ins in /etc; only *.conf,
   by name; a file in /etc masks the vendor file of the same name, a link to
   /dev/null is an empty file.  Files and the directories they are in belong to root
   and nobody else can write to them.

   The grammar is systemd's without continued lines: [section] or [section NAME],
   key = value, "#" comments on lines of their own; a value may be quoted as a
   whole.  UTF-8 without control characters, Unix line ends. */

#include "base/base.h"
#include "base/err.h"

#define CONFIG_LINE_MAX		4096
#define CONFIG_FILE_MAX		(256 * 1024)
#define CONFIG_FILES_MAX	256

/* Where files are looked for; the defaults are the installed places. */
struct config_paths {
	const char *single;	/* --config: this file alone; else NULL */
	const char *vendor_dir;	/* .../agent.conf.d below /usr/lib */
	const char *etc_file;
	const char *etc_dir;
	const char *root;	/* put in front of the three above; or NULL */
};
extern const struct config_paths config_paths_installed;

/* What a file holds, in its order.  A negative return ends the reading; e needs
   words only, "FILE:LINE: " is put in front of them. */
struct config_file_ops {
	/* name is NULL in [section]. */
	int (*section)(void *userdata, const char *file, unsigned line,
		       const char *section, const char *name, struct err *e);
	int (*setting)(void *userdata, const char *file, unsigned line,
		       const char *key, const char *value, struct err *e);
	/* A file is about to be read, or passed over because another one of its
	   name masks it.  May be NULL. */
	void (*file)(void *userdata, const char *file, bool masked);
};

/* One file's text.  Pure. */
int config_file_parse(const char *file, const char *text, size_t len,
		      const struct config_file_ops *ops, void *userdata,
		      struct err *e);

/* All files there are; *ret_n counts them, masked and masking ones included.
   by_hand: they may also belong to the user who runs this. */
int config_file_read_all(const struct config_paths *paths, bool by_hand,
			 const struct config_file_ops *ops, void *userdata,
			 size_t *ret_n, struct err *e);
