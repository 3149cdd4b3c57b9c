/* SPDX-License-Identifier: MIT */
#pragma once

/* SHA-256 (FIPS 180-4), for what a signed URL names its request by.  No secret
   goes through here.  Pure. */

#include <stddef.h>

enum { SHA256_HEX_SIZE = 65 };

/* In small hexadecimal digits, NUL-terminated. */
void sha256_hex(const void *data, size_t len, char ret[SHA256_HEX_SIZE]);
