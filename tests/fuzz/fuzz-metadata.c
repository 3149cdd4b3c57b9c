/* SPDX-License-Identifier: Apache-2.0 */

/* Answers of the metadata server (google/metadata.h); fuzz-response.h says how
   the input is read.  Each is read as each of the four.

   - Success needs status 200 and the server's own flavor, and what comes out is
     fit for paths, headers and commands.
   - A failure leaves the results alone; what is down is not denied for good. */

#include "base/text.h"
#include "fuzz-response.h"
#include "fuzz-words.h"
#include "google/metadata.h"

#define NAME	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz" \
		"0123456789@.-_+"

static void
check_failure(const struct http_response *re, const struct err *e, int r)
{
	check_err(e, r);
	CHECK(e->kind == ERR_NOT_FOUND || e->kind == ERR_UNAVAILABLE ||
	      e->kind == ERR_GOOGLE);
	if (e->kind == ERR_NOT_FOUND)
		CHECK(re->status == 404 && re->flavor_google);
	if (e->kind == ERR_GOOGLE)	/* 404: in the words of GKE's */
		CHECK((re->status == 403 || re->status == 404) &&
		      re->flavor_google);
}

static void
check_success(const struct http_response *re)
{
	CHECK(re->status == 200 && re->flavor_google);
}

static void
check_graph(const char *s, size_t max)
{
	CHECK(*s && strlen(s) <= max);
	for (; *s; s++)
		CHECK(*s > ' ' && *s <= '~');
}

static void
check_account(const struct http_response *re)
{
	struct metadata_account a = { .email = (char *)"" };
	struct err e;
	int r = metadata_account_response(re, &a, &e);
	const char *at;

	if (r < 0) {
		CHECK(a.email && !*a.email && !a.scopes);
		check_failure(re, &e, r);
		return;
	}
	check_success(re);
	at = strchr(a.email, '@');
	CHECK(strlen(a.email) <= 254 && strspn(a.email, NAME) == strlen(a.email));
	CHECK(at && at > a.email && !strchr(at + 1, '@'));
	CHECK(strlen(at + 1) > strlen(".gserviceaccount.com"));
	CHECK(strcmp(a.email + strlen(a.email) - strlen(".gserviceaccount.com"),
		     ".gserviceaccount.com") == 0);
	for (size_t i = 0; a.scopes[i]; i++) {
		CHECK(i < METADATA_SCOPES_MAX);
		check_graph(a.scopes[i], 1024);
	}
	for (size_t i = 0; a.aliases[i]; i++)
		check_graph(a.aliases[i], 1024);
	metadata_account_clear(&a);
}

static void
check_token(const struct http_response *re)
{
	char *token = NULL;
	uint64_t life = 0;
	struct err e;
	int r = metadata_token_response(re, &token, &life, &e);

	if (r < 0) {
		CHECK(!token && life == 0);
		check_failure(re, &e, r);
		return;
	}
	check_success(re);
	check_graph(token, 16 * 1024);
	CHECK(life > 0 && life <= INT64_MAX);
	secret_free(token);
}

static void
check_value(const struct http_response *re)
{
	char *value = NULL;
	struct err e;
	int r = metadata_value_response(re, "instance/zone", &value, &e);

	if (r < 0) {
		CHECK(!value);
		check_failure(re, &e, r);
		return;
	}
	check_success(re);
	CHECK(strlen(value) == re->body_len && re->body_len <= 1024);
	CHECK(text_is_plain(value, strlen(value)));
	free(value);
}

/* An audience that is not accepted is status 400, and no fault of the account. */
static void
check_identity(const struct http_response *re)
{
	char *token = NULL;
	struct err e;
	int r = metadata_identity_response(re, "https://a.example/\xc3\xa9", &token,
					   &e);

	if (r < 0 && re->status == 400 && re->flavor_google) {
		check_err(&e, r);
		CHECK(e.kind == ERR_GOOGLE && e.scope == ERR_SCOPE_REQUEST);
	} else if (r < 0) {
		check_failure(re, &e, r);
	} else {
		check_success(re);
		CHECK(strlen(token) == re->body_len && re->body_len <= 64 * 1024);
		check_graph(token, re->body_len);
	}
	CHECK(!token == (r < 0));
	secret_free(token);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct http_response re;
	char *body = response_read(data, size, &re);

	check_account(&re);
	check_token(&re);
	check_value(&re);
	check_identity(&re);
	free(body);
	return 0;
}
