/* SPDX-License-Identifier: Apache-2.0 */

#include <endian.h>
#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "base/hash.h"

struct sip {
	uint64_t v0, v1, v2, v3;
};

static uint64_t
rotl(uint64_t x, unsigned n)
{
	return x << n | x >> (64 - n);
}

static void
sip_round(struct sip *s)
{
	s->v0 += s->v1;
	s->v1 = rotl(s->v1, 13) ^ s->v0;
	s->v0 = rotl(s->v0, 32);
	s->v2 += s->v3;
	s->v3 = rotl(s->v3, 16) ^ s->v2;
	s->v0 += s->v3;
	s->v3 = rotl(s->v3, 21) ^ s->v0;
	s->v2 += s->v1;
	s->v1 = rotl(s->v1, 17) ^ s->v2;
	s->v2 = rotl(s->v2, 32);
}

static void
sip_word(struct sip *s, uint64_t word)
{
	s->v3 ^= word;
	sip_round(s);
	s->v0 ^= word;
}

uint64_t
hash_bytes(const struct hash_key *k, const void *p, size_t len)
{
	struct sip s = {
		.v0 = k->k0 ^ UINT64_C(0x736f6d6570736575),
		.v1 = k->k1 ^ UINT64_C(0x646f72616e646f6d),
		.v2 = k->k0 ^ UINT64_C(0x6c7967656e657261),
		.v3 = k->k1 ^ UINT64_C(0x7465646279746573),
	};
	const unsigned char *in = p;
	uint64_t word, last = (uint64_t)len << 56;

	for (; len >= 8; in += 8, len -= 8) {
		memcpy(&word, in, 8);
		sip_word(&s, le64toh(word));
	}
	for (size_t i = 0; i < len; i++)
		last |= (uint64_t)in[i] << (8 * i);
	sip_word(&s, last);

	s.v2 ^= 0xff;
	for (int i = 0; i < 3; i++)
		sip_round(&s);
	return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}

struct hash_key
hash_key_random(void)
{
	struct hash_key k;
	ssize_t n;

	/* So few bytes come whole or not at all. */
	do
		n = getrandom(&k, sizeof(k), 0);
	while (n < 0 && errno == EINTR);
	if (n != (ssize_t)sizeof(k))
		abort();
	return k;
}
