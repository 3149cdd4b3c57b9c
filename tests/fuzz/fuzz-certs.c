/* SPDX-License-Identifier: Apache-2.0 */

/* Google's public keys (google/certs.h); fuzz-response.h says how the input is
   read.

   - Every key has an id of its own and both numbers, in base64url.
   - A failure leaves the result alone, and is never for good. */

#include "fuzz-response.h"
#include "fuzz-words.h"
#include "google/certs.h"

static void
check_key(const struct certs *c, size_t i)
{
	const struct certs_key *k = &c->key[i];

	CHECK(k->kid && *k->kid && strlen(k->kid) <= CERTS_KID_MAX);
	for (const char *s = k->kid; *s; s++)
		CHECK(*s > ' ' && *s <= '~');
	CHECK(*k->n && !strchr(k->n, '.') &&
	      words_secret_len(k->n) == strlen(k->n));
	CHECK(*k->e && !strchr(k->e, '.') &&
	      words_secret_len(k->e) == strlen(k->e));
	for (size_t j = 0; j < i; j++)
		CHECK(strcmp(c->key[j].kid, k->kid) != 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct certs c = { .len = 99 };
	struct http_response re;
	char *body = response_read(data, size, &re);
	struct err e;
	int r = certs_response(&re, &c, &e);

	if (r < 0) {
		CHECK(c.len == 99 && e.kind == ERR_UNAVAILABLE);
		check_err(&e, r);
	} else {
		CHECK(re.status == 200 && c.len > 0 && c.len <= CERTS_KEYS_MAX);
		for (size_t i = 0; i < c.len; i++)
			check_key(&c, i);
		certs_clear(&c);
		CHECK(c.len == 0);
	}
	free(body);
	return 0;
}
