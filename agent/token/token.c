/* SPDX-License-Identifier: Apache-2.0 */

#include <assert.h>
#include <endian.h>
#include <string.h>

#include "token/token.h"

struct token {
	unsigned refs;
	enum token_kind kind;
	bool full;
	bool lasting;		/* exp is by this machine's clock, not Google's */
	int64_t iat, exp;
	uint64_t born, dies;	/* the same on CLOCK_BOOTTIME */
	char *email, *flow;
	size_t len;
	char text[];
};

void *
token_key_bytes(const struct token_key *key, size_t *ret_len)
{
	const char *const members[] = { key->account, key->variant, key->audience };
	size_t len[ARRAY_SIZE(members)], total = 1;
	unsigned char *ret, *out;
	uint64_t le;

	for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
		len[i] = strlen(members[i]);
		total += sizeof(le) + len[i];
	}

	ret = out = xcalloc(total, 1);
	*out++ = (unsigned char)key->kind;
	for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
		le = htole64(len[i]);
		memcpy(out, &le, sizeof(le));
		out += sizeof(le);
		memcpy(out, members[i], len[i]);
		out += len[i];
	}
	*ret_len = total;
	return ret;
}

struct token_key *
token_key_read(const void *bytes)
{
	const unsigned char *in = bytes;
	const char *members[3];
	size_t len[3], total = 0;
	struct token_key *ret;
	uint64_t le;
	char *out;

	in++;
	for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
		memcpy(&le, in, sizeof(le));
		len[i] = le64toh(le);
		members[i] = (const char *)in + sizeof(le);
		in += sizeof(le) + len[i];
		total += len[i] + 1;
	}

	ret = xcalloc(1, sizeof(*ret) + total);
	out = (char *)(ret + 1);
	for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
		memcpy(out, members[i], len[i]);
		members[i] = out;
		out += len[i] + 1;
	}
	ret->kind = (enum token_kind)*(const unsigned char *)bytes;
	ret->account = members[0];
	ret->variant = members[1];
	ret->audience = members[2];
	return ret;
}

/* The audience stands last, behind its length. */
bool
token_key_is_for(const void *bytes, size_t len, const char *audience)
{
	size_t n = strlen(audience);
	uint64_t le = htole64(n);
	const char *end = (const char *)bytes + len;

	return len > n + sizeof(le) && memcmp(end - n, audience, n) == 0 &&
	       memcmp(end - n - sizeof(le), &le, sizeof(le)) == 0;
}

/* Time from one moment to a later one, or 0. */
static uint64_t
until(int64_t usec, int64_t from)
{
	return usec > from ? (uint64_t)usec - (uint64_t)from : 0;
}

static int64_t
usec_of(int64_t seconds)
{
	int64_t usec;

	if (__builtin_mul_overflow(seconds, (int64_t)USEC_PER_SEC, &usec))
		return seconds < 0 ? INT64_MIN : INT64_MAX;
	return usec;
}

struct token *
token_new(enum token_kind kind, const char *text, int64_t iat, int64_t exp,
	  const struct token_now *now, const char *email, const char *flow)
{
	/* No more than its whole life, however far back the clocks are. */
	uint64_t left = MIN(until(usec_of(exp), now->google),
			    until(usec_of(exp), usec_of(iat)));
	size_t len = strlen(text);
	struct token *t = xcalloc(1, sizeof(*t) + len + 1);

	t->refs = 1;
	t->kind = kind;
	t->iat = iat;
	t->exp = exp;
	t->born = now->boot - until(now->google, usec_of(iat));
	t->dies = left < UINT64_MAX - now->boot ? now->boot + left : UINT64_MAX;
	t->email = xstrdup(email ? email : "");
	t->flow = xstrdup(flow ? flow : "");
	t->len = len;
	memcpy(t->text, text, len);
	return t;
}

struct token *
token_new_lasting(enum token_kind kind, const char *text, uint64_t life,
		  const struct token_now *now, const char *email, const char *flow)
{
	struct token_now machine = { now->boot, now->wall, now->wall };
	int64_t iat = now->wall / (int64_t)USEC_PER_SEC;
	struct token *t = token_new(kind, text, iat, iat + (int64_t)life, &machine,
				    email, flow);

	t->lasting = true;
	return t;
}

struct token *
token_ref(struct token *t)
{
	assert(t->refs > 0);
	t->refs++;
	return t;
}

struct token *
token_unref(struct token *t)
{
	if (!t)
		return NULL;
	assert(t->refs > 0);
	if (--t->refs > 0)
		return NULL;

	explicit_bzero(t->text, t->len);
	free(t->email);
	free(t->flow);
	free(t);
	return NULL;
}

void
token_mark_full(struct token *t)
{
	assert(t->refs == 1);
	t->full = true;
}

bool
token_is_full(const struct token *t)
{
	return t->full;
}

enum token_kind
token_kind(const struct token *t)
{
	return t->kind;
}

int64_t
token_exp(const struct token *t)
{
	return t->exp;
}

int64_t
token_iat(const struct token *t)
{
	return t->iat;
}

const char *
token_flow(const struct token *t)
{
	return t->flow;
}

const char *
token_email(const struct token *t)
{
	return t->email;
}

uint64_t
token_left(const struct token *t, const struct token_now *now)
{
	int64_t date = t->lasting ? now->wall : MAX(now->wall, now->google);
	uint64_t left = until(usec_of(t->exp), date);

	return MIN(left, t->dies > now->boot ? t->dies - now->boot : 0);
}

uint64_t
token_age(const struct token *t, const struct token_now *now)
{
	return now->boot - t->born;	/* both may be less than 0 */
}

const char *
token_reveal(const struct token *t, size_t *ret_len)
{
	if (ret_len)
		*ret_len = t->len;
	return t->text;
}
