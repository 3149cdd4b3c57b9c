/* SPDX-License-Identifier: Apache-2.0 */

/* Answers of the token endpoint (google/token_endpoint.h); fuzz-response.h says
   how the input is read.

   - An ID token that comes out needs no encoding anywhere, an access token has no
     spaces and lives for a while.
   - A denial for good comes from an answer of the 400s only, and says what it is
     about; a failure always has a verdict. */

#include "base/text.h"
#include "fuzz-response.h"
#include "fuzz-words.h"
#include "google/token_endpoint.h"

#define EMAIL		"app-sa@example-proj-123.iam.gserviceaccount.com"
#define AUDIENCE	"https://app.example.com/\xc3\xa9?a=b"
#define NOW		INT64_C(1767225600)

static void
check_failure(const struct http_response *re, const struct token_endpoint_ask *ask,
	      const struct err *e, int r, enum token_endpoint_verdict verdict)
{
	check_err(e, r);
	CHECK(e->kind == ERR_GOOGLE || e->kind == ERR_UNAVAILABLE);
	CHECK(e->kind != ERR_GOOGLE || (re->status >= 400 && re->status <= 499));
	CHECK(e->kind == ERR_GOOGLE || e->scope == ERR_SCOPE_REQUEST);
	CHECK(verdict <= TOKEN_ENDPOINT_ACCOUNT);
	if (ask->email)
		CHECK((verdict == TOKEN_ENDPOINT_ACCOUNT) ==
		      (e->scope == ERR_SCOPE_ACCOUNT));
	else
		CHECK(verdict == TOKEN_ENDPOINT_OTHER);
	if (re->status == 429 || re->status == 408 || re->status >= 500)
		CHECK(verdict == TOKEN_ENDPOINT_OTHER);
}

static void
check_id_token(const struct http_response *re, const struct token_endpoint_ask *ask)
{
	enum token_endpoint_verdict verdict = (enum token_endpoint_verdict)99;
	char *token = NULL;
	struct err e;
	int r = token_endpoint_id_token_response(re, ask, &token, &verdict, &e);

	if (r < 0) {
		CHECK(!token);
		check_failure(re, ask, &e, r, verdict);
	} else {
		CHECK(re->status == 200 && *token);
		CHECK(strlen(token) <= 64 * 1024);
		CHECK(token[strspn(token, "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				   "abcdefghijklmnopqrstuvwxyz"
				   "0123456789-._~")] == '\0');
	}
	secret_free(token);
}

static void
check_access_token(const struct http_response *re,
		   const struct token_endpoint_ask *ask)
{
	enum token_endpoint_verdict verdict = (enum token_endpoint_verdict)99;
	char *token = NULL;
	uint64_t life = 0;
	struct err e;
	int r = token_endpoint_access_token_response(re, ask, &token, &life,
						     &verdict, &e);

	if (r < 0) {
		CHECK(!token && life == 0);
		check_failure(re, ask, &e, r, verdict);
	} else {
		CHECK(re->status == 200 && life > 0);
		CHECK(text_is_graph(token, 16 * 1024));
	}
	secret_free(token);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct token_endpoint_ask ask = { .now = NOW };
	struct http_response re;
	char *body = response_read(data, size, &re);

	for (int i = 0; i < 4; i++) {
		ask.email = i & 1 ? EMAIL : NULL;
		ask.audience = i & 2 ? AUDIENCE : NULL;
		if (ask.audience)
			check_id_token(&re, &ask);
		else
			check_access_token(&re, &ask);
	}
	free(body);
	return 0;
}
