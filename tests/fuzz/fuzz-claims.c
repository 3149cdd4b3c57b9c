/* SPDX-License-Identifier: Apache-2.0 */

/* Claims that a caller wants signed (token/claims.h).  The input is a body.

   - What is refused is a request that makes no sense, in words fit to show.
   - What is written is the account's, for the aud that the policy was asked about;
     it asks for no other token, has its times in bounds, and names no host of
     Google's to whoever folds case and cuts at a NUL.
   - What is written is read again, with the same meaning.
   - A corpus file that is named a forgery is refused by tests/e2e/test_jwt.py, too,
     or harmless where it is taken. */

#include <strings.h>

#include "base/json.h"
#include "base/text.h"
#include "fuzz-words.h"
#include "token/claims.h"

#define EMAIL	"app-sa@example-proj-123.iam.gserviceaccount.com"
#define NOW	INT64_C(1767225600)

static const struct claims_times times = {
	.now = NOW, .backdate = 10, .life = 3600,
};
static struct endpoints at;

/* The host of a URL as plain readers find it, and whether it is one of Google's. */
static bool
is_plainly_googles(const char *aud)
{
	const char *host = strstr(aud, "://"), *end;
	size_t len;

	host = host ? host + 3 : aud;
	end = host + strcspn(host, "/?#:");
	while (end > host && end[-1] == '.')
		end--;
	len = (size_t)(end - host);
	return (len >= 14 && strncasecmp(end - 14, "googleapis.com", 14) == 0 &&
		(len == 14 || end[-15] == '.')) ||
	       (len == 19 && strncasecmp(host, "accounts.google.com", 19) == 0);
}

static int
check_name(void *userdata, const char *name, _unused_ const struct json *value)
{
	unsigned *seen = userdata;

	CHECK(strcasecmp(name, "scope") != 0);
	CHECK(strcasecmp(name, "target_audience") != 0);
	*seen += strcasecmp(name, "aud") == 0;
	return 0;
}

static void
check_written(const char *text, const char *aud)
{
	_cleanup_(json_freep) struct json *j = NULL;
	int64_t iat = 0, exp = 0;
	const char *why;
	unsigned seen = 0;

	j = json_parse_strict(text, strlen(text), CLAIMS_DEPTH, &why);
	CHECK(json_is_object(j));
	(void)json_each(j, check_name, &seen);
	CHECK(seen == 1 && strcmp(json_get_string(j, "aud"), aud) == 0);
	CHECK(strcmp(json_get_string(j, "iss"), EMAIL) == 0);
	CHECK(strcmp(json_get_string(j, "sub"), EMAIL) == 0);
	CHECK(json_get_int(j, "iat", &iat) && json_get_int(j, "exp", &exp));
	CHECK(iat < exp && exp > NOW && exp <= NOW + CLAIMS_LIFE_MAX);
	CHECK(text_is_utf8(text, strlen(text)));
	CHECK(!is_plainly_googles(aud));
}

static void
check_claims(const char *text, size_t len)
{
	_cleanup_(claims_freep) struct claims *c = NULL;
	_cleanup_(freep) char *written = NULL, *twice = NULL;
	_cleanup_(claims_freep) struct claims *reread = NULL;
	struct err e;
	int r;

	r = claims_read(text, len, &at, 2048, &c, &e);
	if (r >= 0)
		r = claims_write(c, EMAIL, &times, &written, &e);
	if (r < 0) {
		CHECK(!written && e.kind == ERR_REQUEST);
		check_err(&e, r);
		return;
	}
	check_written(written, claims_audience(c));
	CHECK(claims_read(written, strlen(written), &at, 2048, &reread, &e) == 0);
	CHECK(claims_write(reread, EMAIL, &times, &twice, &e) == 0);
	CHECK(strcmp(written, twice) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!at.token)
		endpoints_init(&at);
	check_claims((const char *)data, size);
	return 0;
}
