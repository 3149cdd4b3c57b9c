/* SPDX-License-Identifier: Apache-2.0 */

/* Answers of IAM's methods (google/iam.h), each read as an answer to all of them;
   fuzz-response.h says how the input is read.

   - A signature that comes out is the one that came in, in the other alphabet.
   - A token that comes out is a string of the answer, printable, and has an end to
     come.
   - A denial for good comes from an answer of the 400s only: what is down or
     elsewhere is not denied. */

#include "base/b64.h"
#include "base/json.h"
#include "fuzz-response.h"
#include "fuzz-words.h"
#include "google/iam_generate.h"
#include "google/iam_sign.h"

#define NOW	INT64_C(1767225600)
#define EMAIL	"app-sa@example-proj-123.iam.gserviceaccount.com"

static void
check_signature(const struct http_response *re, const char *signature)
{
	_cleanup_(json_freep) struct json *j = NULL;
	const char *blob;
	void *a, *b;
	size_t a_len, b_len;

	j = json_parse(re->body, re->body_len, JSON_DEPTH);
	blob = json_get_string(j, "signedBlob");
	CHECK(blob && b64_decode(blob, strlen(blob), &a, &a_len) == 0);
	CHECK(b64url_decode(signature, strlen(signature), &b, &b_len) == 0);
	CHECK(a_len == b_len && a_len > 0 && memcmp(a, b, a_len) == 0);
	free(a);
	free(b);
}

static void
check_failure(const struct http_response *re, const struct err *e, int r)
{
	check_err(e, r);
	CHECK(e->kind == ERR_GOOGLE || e->kind == ERR_UNAVAILABLE);
	CHECK(e->kind != ERR_GOOGLE || (re->status >= 400 && re->status <= 499));
	CHECK(e->kind == ERR_GOOGLE || e->scope == ERR_SCOPE_REQUEST);
	CHECK(e->status == 0 || (e->status == 401 && re->status == 401));
}

static void
check_token(const struct http_response *re, const char *name, const char *token)
{
	_cleanup_(json_freep) struct json *j = NULL;

	CHECK(re->status == 200 && *token);
	j = json_parse(re->body, re->body_len, JSON_DEPTH);
	CHECK(strcmp(json_get_string(j, name), token) == 0);
	for (; *token; token++)
		CHECK(*token > ' ' && *token <= '~');
}

static void
generate(const struct http_response *re, const struct iam_subject *s)
{
	char *id = NULL, *access = NULL;
	struct err e;
	int64_t exp;
	int r;

	r = iam_generate_id_token_response(re, s, &id, &e);
	if (r < 0)
		check_failure(re, &e, r);
	else
		check_token(re, "token", id);
	CHECK(!id == (r < 0));
	r = iam_generate_access_token_response(re, s, NOW, &access, &exp, &e);
	if (r < 0)
		check_failure(re, &e, r);
	else
		check_token(re, "accessToken", access);
	CHECK(!access == (r < 0) && (r < 0 || exp > NOW));
	free(id);
	free(access);
}

/* A JWT that comes out has three parts of its alphabet: it goes into headers. */
static void
check_jwt(const struct http_response *re, const struct iam_subject *s)
{
	char *jwt = NULL, *key_id = NULL;
	struct err e;
	int r = iam_sign_jwt_response(re, s, &jwt, &key_id, &e);
	size_t dots = 0;

	if (r < 0) {
		CHECK(!jwt && !key_id);
		check_failure(re, &e, r);
		return;
	}
	CHECK(re->status == 200 && words_secret_len(key_id) == strlen(key_id));
	CHECK(words_secret_len(jwt) == strlen(jwt));
	for (const char *p = jwt; *p; p++)
		dots += *p == '.';
	CHECK(dots == 2);
	free(jwt);
	free(key_id);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char *const hops[] = { (char *)"h@p.iam.gserviceaccount.com", NULL };
	const struct iam_subject s = { .email = EMAIL };
	const struct iam_subject far = { .email = EMAIL, .delegates = hops,
					 .caller = "vm@p.iam.gserviceaccount.com" };
	struct http_response re;
	char *body = response_read(data, size, &re);
	char *signature = NULL, *key_id = NULL;
	struct err e;
	int r;

	generate(&re, &far);
	r = iam_sign_blob_response(&re, &s, &signature, &key_id, &e);
	if (r < 0) {
		CHECK(!signature && !key_id);
		check_failure(&re, &e, r);
	} else {
		CHECK(re.status == 200);
		check_signature(&re, signature);
		CHECK(*key_id && words_secret_len(key_id) == strlen(key_id));
	}
	check_jwt(&re, &s);
	free(signature);
	free(key_id);
	free(body);
	return 0;
}
