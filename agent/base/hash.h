/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* SipHash-1-3: the hash of every table whose keys a peer may choose. */

#include "base/base.h"

struct hash_key {
	uint64_t k0, k1;
};

/* A fresh random key; the kernel's generator cannot fail after boot, and before
   that we wait for it. */
struct hash_key hash_key_random(void);

uint64_t hash_bytes(const struct hash_key *k, const void *p, size_t len);
