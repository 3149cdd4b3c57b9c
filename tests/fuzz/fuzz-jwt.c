/* SPDX-License-Identifier: Apache-2.0 */

/* JSON Web Tokens (token/jwt.h).  The input is a token as it stands; and, for
   mutations to reach what is inside, also header, claims and signature on a line
   each, of which a token is made.

   - What is parsed has three parts, and times and signature as promised.
   - What is taken for the token that was asked for is that one: every condition
     is looked at once more.
   - An assertion says what it was told to say. */

#include "base/b64.h"
#include "base/json.h"
#include "base/text.h"
#include "fuzz-words.h"
#include "token/jwt.h"

#define NOW	INT64_C(1767225600)
#define SKEW	300
#define LIFE	(24 * 3600)
#define TIME_MAX	(INT64_C(1) << 53)

static bool
same(const char *a, const char *b)
{
	return a && b && strcmp(a, b) == 0;
}

static void
check_expected(const struct jwt *j, const struct jwt_expectation *x)
{
	struct err e;
	int r = jwt_expect(j, x, &e);

	if (r < 0) {
		CHECK(e.kind == ERR_UNAVAILABLE);
		check_err(&e, r);
		return;
	}
	CHECK(r == 0);
	CHECK(same(j->alg, "RS256") && j->kid && *j->kid);
	CHECK(same(j->iss, "https://accounts.google.com") ||
	      same(j->iss, "accounts.google.com"));
	CHECK(same(j->aud, x->audience));
	CHECK(!x->email || (same(j->email, x->email) && j->email_verified));
	CHECK(j->iat > 0 && j->iat < j->exp);
	CHECK(j->iat <= x->now + x->iat_skew);
	CHECK(j->exp > x->now);
	CHECK(j->exp <= x->now + x->iat_skew + x->max_life);
}

static void
check_parsed(const struct jwt *j, const char *text, size_t len)
{
	struct jwt_expectation x = {
		.audience = "https://app.example.com",
		.now = NOW, .iat_skew = SKEW, .max_life = LIFE,
	};
	size_t dots = 0;

	for (size_t i = 0; i < len; i++)
		dots += text[i] == '.';
	CHECK(dots == 2 && len <= JWT_MAX);
	CHECK(j->signed_len < len && text[j->signed_len] == '.');
	CHECK(!memchr(text + j->signed_len + 1, '.', len - j->signed_len - 1));
	CHECK(j->signature && j->signature_len > 0);
	CHECK(j->iat >= 0 && j->iat <= TIME_MAX);
	CHECK(j->exp >= 0 && j->exp <= TIME_MAX);

	check_expected(j, &x);
	/* As near to being the one as can be. */
	x.audience = j->aud ? j->aud : "";
	x.email = j->email;
	check_expected(j, &x);
	x.now = j->iat > 0 ? j->iat : INT64_MAX;
	check_expected(j, &x);
	x.now = j->exp;
	check_expected(j, &x);
}

static void
check_text(const char *text, size_t len)
{
	struct jwt *j = (struct jwt *)&j;
	struct err e;
	int r = jwt_parse(text, len, &j, &e);

	if (r < 0) {
		CHECK(j == (struct jwt *)&j && e.kind == ERR_UNAVAILABLE);
		check_err(&e, r);
		return;
	}
	check_parsed(j, text, len);
	jwt_free(j);
}

static void
check_made(const char *header, size_t header_len, const char *claims,
	   size_t claims_len, const char *signature, size_t signature_len)
{
	_cleanup_(freep) char *a = b64url_encode(header, header_len);
	_cleanup_(freep) char *b = b64url_encode(claims, claims_len);
	_cleanup_(freep) char *c = b64url_encode(signature, signature_len);
	_cleanup_(freep) char *input = xasprintf("%s.%s", a, b);
	_cleanup_(secret_freep) char *text = jwt_join(input, c);
	char *exact = copy_exact(text, strlen(text));

	check_text(exact, strlen(text));
	free(exact);
}

static void
check_assertion(const char *iss, const char *aud, const char *target)
{
	_cleanup_(secret_freep) char *input = NULL;
	_cleanup_(json_freep) struct json *j = NULL;
	const char *dot;
	void *claims;
	int64_t v;
	size_t len;

	input = jwt_assertion_input(&(struct jwt_assertion){ .iss = iss, .aud = aud,
		.iat = NOW, .exp = NOW + 3600, .target_audience = target });
	dot = strchr(input, '.');
	CHECK(dot && !strchr(dot + 1, '.'));
	CHECK(b64url_decode(dot + 1, strlen(dot + 1), &claims, &len) == 0);
	j = json_parse(claims, len, 1);
	free(claims);
	CHECK(j && json_get_int(j, "iat", &v) && v == NOW);
	CHECK(json_get_int(j, "exp", &v) && v == NOW + 3600);
	if (text_is_utf8(iss, strlen(iss)))
		CHECK(same(json_get_string(j, "iss"), iss));
	if (text_is_utf8(aud, strlen(aud)))
		CHECK(same(json_get_string(j, "aud"), aud));
	if (text_is_utf8(target, strlen(target)))
		CHECK(same(json_get_string(j, "target_audience"), target));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = input_of(data, size), header, claims;
	char *iss, *aud, *target;

	check_text((const char *)data, size);

	header = input_until(&in, '\n');
	claims = input_until(&in, '\n');
	check_made(header.p, header.len, claims.p, claims.len, in.p, in.len);

	iss = copy_string(header.p, header.len);
	aud = copy_string(claims.p, claims.len);
	target = copy_string(in.p, in.len);
	check_assertion(iss, aud, target);
	free(iss);
	free(aud);
	free(target);
	return 0;
}
