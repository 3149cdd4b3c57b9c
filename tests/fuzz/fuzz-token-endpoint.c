/* SPDX-License-Identifier: Apache-2.0 */

/* Answers of the token endpoint (google/token_endpoint.h); fuzz-response.h says
   how the input is read.

   - A token that comes out needs no encoding anywhere.
   - A denial for good comes from an answer of the 400s only, and says what it is
     about; a failure always has a verdict. */

#include "fuzz-response.h"
#include "fuzz-words.h"
#include "google/token_endpoint.h"

#define EMAIL		"app-sa@example-proj-123.iam.gserviceaccount.com"
#define AUDIENCE	"https://app.example.com/\xc3\xa9?a=b"
#define NOW		INT64_C(1767225600)

static void
check_failure(const struct http_response *re, const struct err *e, int r,
	      enum token_endpoint_verdict verdict)
{
	check_err(e, r);
	CHECK(e->kind == ERR_GOOGLE || e->kind == ERR_UNAVAILABLE);
	CHECK(e->kind != ERR_GOOGLE || (re->status >= 400 && re->status <= 499));
	CHECK(e->kind == ERR_GOOGLE || e->scope == ERR_SCOPE_REQUEST);
	CHECK(verdict <= TOKEN_ENDPOINT_ACCOUNT);
	CHECK((verdict == TOKEN_ENDPOINT_ACCOUNT) ==
	      (e->scope == ERR_SCOPE_ACCOUNT));
	if (re->status == 429 || re->status == 408 || re->status >= 500)
		CHECK(verdict == TOKEN_ENDPOINT_OTHER);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum token_endpoint_verdict verdict = (enum token_endpoint_verdict)99;
	struct http_response re;
	char *body = response_read(data, size, &re), *token = NULL;
	struct err e;
	int r;

	r = token_endpoint_id_token_response(&re, EMAIL, AUDIENCE, NOW, &token,
					     &verdict, &e);
	if (r < 0) {
		CHECK(!token);
		check_failure(&re, &e, r, verdict);
	} else {
		CHECK(re.status == 200 && *token);
		CHECK(strlen(token) <= 64 * 1024);
		CHECK(token[strspn(token, "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				   "abcdefghijklmnopqrstuvwxyz"
				   "0123456789-._~")] == '\0');
	}
	secret_free(token);
	free(body);
	return 0;
}
