/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Base64, both alphabets (RFC 4648).  Strict on the way in: no space, no
   foreign character, correct padding (standard) or none (url), and unused bits
   zero, so that one value has one spelling.  Pure. */

#include "base/base.h"

/* Newly allocated, NUL-terminated. */
char *b64_encode(const void *p, size_t len);		/* standard, padded */
char *b64url_encode(const void *p, size_t len);		/* url-safe, unpadded */

/* 0, or -EBADMSG.  *ret is newly allocated, with a NUL behind its *ret_len
   bytes. */
int b64_decode(const char *s, size_t len, void **ret, size_t *ret_len);
int b64url_decode(const char *s, size_t len, void **ret, size_t *ret_len);
