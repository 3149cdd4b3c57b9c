/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* One server with two addresses (first and second of struct http_client_options):
   the second is asked where there is no way to the first, and only then.  The one
   that has answered is asked first from there on. */

#include "http/transfer.h"

/* The URL by which this one is asked now, newly allocated; NULL: as it stands. */
char *detour_url(const struct http_client *c, const char *url);
/* The same by the server's other address; NULL: it has none. */
char *detour_other(const struct http_client *c, const char *url);
/* The server itself has answered there. */
void detour_answered(struct http_client *c, const char *url);
