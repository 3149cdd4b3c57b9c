/* SPDX-License-Identifier: Apache-2.0 */

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "base/b64.h"
#include "base/buf.h"
#include "base/json.h"
#include "base/text.h"
#include "token/jwt.h"

/* Seconds later than this are no time, and sums with them might overflow. */
#define TIME_MAX	(INT64_C(1) << 53)

#define ASSERTION_MAX	(64 * 1024)	/* bytes; audiences are far smaller */

static const char *const google_issuers[] = {
	"https://accounts.google.com",
	"accounts.google.com",
};

/* --- in ------------------------------------------------------------------- */

/* One part of the text as a JSON object, or NULL. */
static struct json *
part_parse(const char *s, size_t len)
{
	struct json *j = NULL;
	size_t text_len;
	void *text;

	if (b64url_decode(s, len, &text, &text_len) < 0)
		return NULL;
	j = json_parse(text, text_len, JSON_DEPTH);
	free(text);
	return json_is_object(j) ? j : json_free(j);
}

/* A claim may be absent, but not of another type. */
static int
claim_string(const struct json *part, const char *name, char **ret,
	     struct err *e)
{
	const struct json *j = json_get(part, name);
	const char *s = json_string(j);

	if (j && !s)
		return err_set(e, ERR_UNAVAILABLE, "JWT: %s is not a string", name);
	*ret = s ? xstrdup(s) : NULL;
	return 0;
}

static int
claim_time(const struct json *part, const char *name, int64_t *ret,
	   struct err *e)
{
	const struct json *j = json_get(part, name);
	int64_t t = 0;

	if (j && (!json_int(j, &t) || t <= 0 || t > TIME_MAX))
		return err_set(e, ERR_UNAVAILABLE,
			       "JWT: %s is not a time in whole seconds", name);
	*ret = t;
	return 0;
}

static int
claim_bool(const struct json *part, const char *name, bool *ret, struct err *e)
{
	bool v = false;

	if (json_get(part, name) && !json_get_bool(part, name, &v))
		return err_set(e, ERR_UNAVAILABLE,
			       "JWT: %s is neither true nor false", name);
	*ret = v;
	return 0;
}

static int
header_parse(struct jwt *j, const char *s, size_t len, struct err *e)
{
	_cleanup_(json_freep) struct json *header = part_parse(s, len);
	int r;

	if (!header)
		return err_set(e, ERR_UNAVAILABLE,
			       "JWT: the header is no JSON object");
	/* RFC 7515: what is critical and not understood makes it invalid. */
	if (json_get(header, "crit"))
		return err_set(e, ERR_UNAVAILABLE, "JWT: the header has crit");

	r = claim_string(header, "alg", &j->alg, e);
	if (r < 0)
		return r;
	return claim_string(header, "kid", &j->kid, e);
}

static int
claims_parse(struct jwt *j, const char *s, size_t len, struct err *e)
{
	_cleanup_(json_freep) struct json *claims = part_parse(s, len);
	const struct {
		const char *name;
		char **ret;
	} strings[] = {
		{ "iss", &j->iss }, { "aud", &j->aud },
		{ "sub", &j->sub }, { "email", &j->email },
	};
	int r;

	if (!claims)
		return err_set(e, ERR_UNAVAILABLE,
			       "JWT: the claims are no JSON object");

	for (size_t i = 0; i < ARRAY_SIZE(strings); i++) {
		r = claim_string(claims, strings[i].name, strings[i].ret, e);
		if (r < 0)
			return r;
	}
	r = claim_time(claims, "iat", &j->iat, e);
	if (r < 0)
		return r;
	r = claim_time(claims, "exp", &j->exp, e);
	if (r < 0)
		return r;
	j->has_google = json_get(claims, "google");
	return claim_bool(claims, "email_verified", &j->email_verified, e);
}

static int
signature_parse(struct jwt *j, const char *s, size_t len, struct err *e)
{
	void *signature;

	if (len == 0 || b64url_decode(s, len, &signature, &j->signature_len) < 0)
		return err_set(e, ERR_UNAVAILABLE,
			       "JWT: the signature is no base64url");
	j->signature = signature;
	return 0;
}

int
jwt_parse(const char *text, size_t len, struct jwt **ret, struct err *e)
{
	_cleanup_(jwt_freep) struct jwt *j = NULL;
	const char *end = text + len, *claims, *signature = NULL;
	int r;

	if (len > JWT_MAX)
		return err_set(e, ERR_UNAVAILABLE, "JWT: longer than %d bytes",
			       JWT_MAX);

	/* Further dots are for the decoder: no base64 has any. */
	claims = memchr(text, '.', len);
	if (claims)
		signature = memchr(claims + 1, '.', (size_t)(end - claims - 1));
	if (!signature)
		return err_set(e, ERR_UNAVAILABLE, "JWT: not three parts");

	j = xcalloc(1, sizeof(*j));
	j->signed_len = (size_t)(signature - text);
	r = header_parse(j, text, (size_t)(claims - text), e);
	if (r < 0)
		return r;
	r = claims_parse(j, claims + 1, (size_t)(signature - claims - 1), e);
	if (r < 0)
		return r;
	r = signature_parse(j, signature + 1, (size_t)(end - signature - 1), e);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(j);
	return 0;
}

struct jwt *
jwt_free(struct jwt *j)
{
	if (!j)
		return NULL;

	free(j->alg);
	free(j->kid);
	free(j->iss);
	free(j->aud);
	free(j->sub);
	free(j->email);
	/* The one part that nobody could write anew. */
	if (j->signature)
		explicit_bzero(j->signature, j->signature_len);
	free(j->signature);
	free(j);
	return NULL;
}

/* --- is it the one? ------------------------------------------------------- */

static int
expect_string(const char *name, const char *is, const char *should,
	      struct err *e)
{
	char shown[TEXT_SHOW_SIZE], wanted[TEXT_SHOW_SIZE];

	if (is && strcmp(is, should) == 0)
		return 0;
	text_show_str(wanted, should);
	if (!is)
		return err_set(e, ERR_UNAVAILABLE, "ID token: no %s, expected %s",
			       name, wanted);
	return err_set(e, ERR_UNAVAILABLE, "ID token: %s is %s, expected %s", name,
		       text_show_str(shown, is), wanted);
}

static int
expect_google(const struct jwt *j, const char *universe, struct err *e)
{
	int r = expect_string("alg", j->alg, "RS256", e);

	if (r < 0)
		return r;
	if (!j->kid || !*j->kid)
		return err_set(e, ERR_UNAVAILABLE, "ID token: no kid");
	for (size_t i = 0; j->iss && i < ARRAY_SIZE(google_issuers); i++)
		if (strcmp(j->iss, google_issuers[i]) == 0)
			return 0;
	if (j->iss && universe && strcmp(j->iss, universe) == 0)
		return 0;
	return expect_string("iss", j->iss, google_issuers[0], e);
}

static int
expect_times(const struct jwt *j, const struct jwt_expectation *x, struct err *e)
{
	int64_t latest;

	if (j->iat == 0)
		return err_set(e, ERR_UNAVAILABLE, "ID token: no iat");
	if (j->exp == 0)
		return err_set(e, ERR_UNAVAILABLE, "ID token: no exp");
	if (j->exp <= j->iat)
		return err_set(e, ERR_UNAVAILABLE,
			       "ID token: exp %" PRId64 " is not after iat %"
			       PRId64, j->exp, j->iat);
	if (__builtin_add_overflow(x->now, x->iat_skew, &latest) || j->iat > latest)
		return err_set(e, ERR_UNAVAILABLE,
			       "ID token: iat %" PRId64 " lies ahead of now, %"
			       PRId64 ", by more than %" PRId64
			       " s: is the clock right?",
			       j->iat, x->now, x->iat_skew);
	if (j->exp <= x->now)
		return err_set(e, ERR_UNAVAILABLE,
			       "ID token: exp %" PRId64 " is past, now is %" PRId64
			       ": is the clock right?", j->exp, x->now);
	if (j->exp - latest > x->max_life)
		return err_set(e, ERR_UNAVAILABLE,
			       "ID token: exp %" PRId64 " lies ahead of now, %"
			       PRId64 ", by more than %" PRId64 " s", j->exp,
			       x->now, x->max_life + x->iat_skew);
	return 0;
}

int
jwt_expect(const struct jwt *j, const struct jwt_expectation *x, struct err *e)
{
	int r = expect_google(j, x->universe, e);

	if (r < 0)
		return r;
	r = expect_string("aud", j->aud, x->audience, e);
	if (r < 0)
		return r;
	if (x->email) {
		r = expect_string("email", j->email, x->email, e);
		if (r < 0)
			return r;
		if (!j->email_verified)
			return err_set(e, ERR_UNAVAILABLE,
				       "ID token: email_verified is not true");
	}
	return expect_times(j, x, e);
}

/* --- out ------------------------------------------------------------------ */

static void
write_member(struct buf *b, const char *before, const char *value)
{
	buf_adds(b, before);
	json_write_string(b, value);
}

char *
jwt_input(const char *kid, const char *claims)
{
	_cleanup_(buf_free) struct buf header = BUF_INIT(ASSERTION_MAX);
	_cleanup_(freep) char *first = NULL, *second = NULL;

	buf_adds(&header, "{\"alg\":\"RS256\"");
	if (kid)
		write_member(&header, ",\"kid\":", kid);
	buf_adds(&header, ",\"typ\":\"JWT\"}");
	assert(!header.overflow);
	first = b64url_encode(header.data, header.len);
	second = b64url_encode(claims, strlen(claims));
	return xasprintf("%s.%s", first, second);
}

char *
jwt_assertion_input(const struct jwt_assertion *a)
{
	_cleanup_(buf_free) struct buf claims = BUF_INIT(ASSERTION_MAX);

	assert(!a->target_audience != !a->scope);
	write_member(&claims, "{\"iss\":", a->iss);
	if (a->sub)
		write_member(&claims, ",\"sub\":", a->sub);
	if (a->aud)
		write_member(&claims, ",\"aud\":", a->aud);
	buf_addf(&claims, ",\"iat\":%" PRId64 ",\"exp\":%" PRId64, a->iat, a->exp);
	if (a->scope)
		write_member(&claims, ",\"scope\":", a->scope);
	else
		write_member(&claims, ",\"target_audience\":",
			     a->target_audience);
	buf_addc(&claims, '}');
	assert(!claims.overflow);
	return jwt_input(a->kid, buf_str(&claims));
}

char *
jwt_join(const char *input, const char *signature)
{
	return xasprintf("%s.%s", input, signature);
}
