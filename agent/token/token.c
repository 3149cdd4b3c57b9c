/* SPDX-License-Identifier: Apache-2.0 */

#include <assert.h>
#include <endian.h>
#include <string.h>

#include "token/token.h"

struct token {
	unsigned refs;
	enum token_kind kind;
	bool full;
	int64_t iat, exp;
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

struct token *
token_new(enum token_kind kind, const char *text, int64_t iat, int64_t exp,
	  const char *email, const char *flow)
{
	size_t len = strlen(text);
	struct token *t = xcalloc(1, sizeof(*t) + len + 1);

	t->refs = 1;
	t->kind = kind;
	t->iat = iat;
	t->exp = exp;
	t->email = xstrdup(email ? email : "");
	t->flow = xstrdup(flow ? flow : "");
	t->len = len;
	memcpy(t->text, text, len);
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
token_left(const struct token *t, int64_t now)
{
	if (t->exp <= now)
		return 0;
	return (uint64_t)t->exp - (uint64_t)now;
}

uint64_t
token_left_surely(const struct token *t, int64_t now)
{
	uint64_t left = token_left(t, now);

	return left > 0 ? left - 1 : 0;
}

const char *
token_reveal(const struct token *t, size_t *ret_len)
{
	if (ret_len)
		*ret_len = t->len;
	return t->text;
}
