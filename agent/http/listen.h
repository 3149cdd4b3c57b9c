/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A Unix socket at a path, bound by ourselves.

   The directory must belong to root or to us and be writable by nobody else.  A
   socket that nobody listens on any more is replaced atomically; a living one is
   left alone, and so is anything that is no socket. */

#include <sys/types.h>

#include "base/base.h"
#include "base/err.h"

struct http_listen {
	int fd;			/* listening, mode 0666: the policy decides */
	char *path;
	dev_t dev;		/* of the file we made */
	ino_t ino;
};

#define HTTP_LISTEN_INIT	((struct http_listen){ .fd = -1 })

/* make_dir: a missing directory is made (0755), but not its parents. */
int http_listen_unix(const char *path, bool make_dir, struct http_listen *ret,
		     struct err *e);

/* Close, where fd is still ours to close, and remove the file, if it is still the
   one we made. */
void http_listen_clear(struct http_listen *l);
