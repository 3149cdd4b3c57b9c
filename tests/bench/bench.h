/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the two programs of the bench share.  An address is the path of a Unix
   socket, or an IPv4 address and a port: "127.0.0.1:8080".  Whatever fails ends
   the program with words. */

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

struct address {
	struct sockaddr_storage sa;
	socklen_t len;
};

_Noreturn __attribute__((format(printf, 1, 2))) void die(const char *fmt, ...);
unsigned long to_number(const char *text, unsigned long max);
struct address to_address(const char *text);
/* A connected socket, or a listening one. */
int address_open(const struct address *a, bool listening);
/* Newly allocated, never empty. */
char *file_read(const char *path, size_t *ret_len);
