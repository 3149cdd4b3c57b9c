/* SPDX-License-Identifier: Apache-2.0 */

/* Answers of IAM signBlob (google/iam.h); fuzz-response.h says how the input is
   read.

   - A signature that comes out is the one that came in, in the other alphabet.
   - A denial for good comes from an answer of the 400s only: what is down or
     elsewhere is not denied. */

#include "base/b64.h"
#include "base/json.h"
#include "fuzz-response.h"
#include "fuzz-words.h"
#include "google/iam_sign.h"

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

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct http_response re;
	char *body = response_read(data, size, &re);
	char *signature = NULL, *key_id = NULL;
	const struct iam_subject s = { .email = EMAIL };
	struct err e;
	int r;

	r = iam_sign_blob_response(&re, &s, &signature, &key_id, &e);
	if (r < 0) {
		CHECK(!signature && !key_id);
		check_err(&e, r);
		CHECK(e.kind == ERR_GOOGLE || e.kind == ERR_UNAVAILABLE);
		CHECK(e.kind != ERR_GOOGLE ||
		      (re.status >= 400 && re.status <= 499));
		CHECK(e.kind == ERR_GOOGLE || e.scope == ERR_SCOPE_REQUEST);
		CHECK(e.status == 0 || (e.status == 401 && re.status == 401));
	} else {
		CHECK(re.status == 200);
		check_signature(&re, signature);
		CHECK(*key_id && words_secret_len(key_id) == strlen(key_id));
	}
	free(signature);
	free(key_id);
	free(body);
	return 0;
}
