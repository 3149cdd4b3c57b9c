/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What a request's head must hold and must not, whatever it asks for.  Pure.  All
   of these say ERR_REQUEST and the status. */

#include "base/base.h"
#include "base/err.h"
#include "http/parse.h"

/* Is this Host one of the names by which we are asked on loopback, with this port
   or without any? */
bool headers_host_is_ours(struct http_span host, uint16_t port);

/* Over TCP, of every request: no browser sent it, no proxy passed it on, and
   whoever did send it meant us. */
int headers_check_tcp(const struct http_head *h, uint16_t port, struct err *e);
/* Of every request to what is not open to all. */
int headers_check(const struct http_head *h, struct err *e);
/* Of a POST. */
int headers_check_post(const struct http_head *h, struct err *e);
