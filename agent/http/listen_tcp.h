/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* TCP on loopback, bound by ourselves or by others: no other address is served, for
   nobody could say who asks there. */

#include "base/base.h"
#include "base/err.h"

/* A listening socket at "127.0.0.1:PORT" or "[::1]:PORT"; port 0: one that is free.
   ERR_REQUEST where the words are no such address, ERR_BUSY where somebody listens
   there. */
int http_listen_tcp(const char *at, int *ret_fd, struct err *e);

/* Is it a listening TCP socket, on such an address?  1 yes, 0 it is no TCP socket;
   -EADDRNOTAVAIL: on another one. */
int http_listen_is_loopback(int fd);

/* Where it listens: "127.0.0.1:254". */
#define HTTP_LISTEN_SHOW_SIZE	24
char *http_listen_show(int fd, char ret[static HTTP_LISTEN_SHOW_SIZE]);
