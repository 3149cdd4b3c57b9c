/* SPDX-License-Identifier: Apache-2.0 */

#include <string.h>

#include "base/b64.h"
#include "base/json.h"
#include "google/iam_sign.h"

#define KEY_ID_MAX	128		/* bytes; 40 today */
#define SIGNATURE_MAX	1024		/* bytes; RSA-8192 */

void
iam_sign_blob_request(const char *base_url, const struct iam_subject *s,
		      const char *access_token,
		      const void *input, size_t input_len,
		      struct http_request *ret)
{
	_cleanup_(secret_freep) char *payload = b64_encode(input, input_len);
	_cleanup_(secret_freep) char *members =
		xasprintf("\"payload\":\"%s\"", payload);

	iam_request(IAM_SIGN_BLOB, base_url, s, access_token, members, ret);
}

static int
nonsense(const struct http_response *re, const char *words, struct err *e)
{
	return iam_nonsense(IAM_SIGN_BLOB, re, words, e);
}

static bool
is_key_id(const char *s)
{
	size_t len = strlen(s);

	return len > 0 && len <= KEY_ID_MAX &&
	       strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
		      "0123456789-_") == len;
}

int
iam_sign_blob_response(const struct http_response *re,
		       const struct iam_subject *s,
		       char **ret_signature, char **ret_key_id,
		       struct err *e)
{
	_cleanup_(json_freep) struct json *j = NULL;
	_cleanup_(freep) char *signature = NULL;
	const char *blob, *key_id;
	void *bytes = NULL;
	size_t len;

	if (re->status != 200)
		return iam_failure(IAM_SIGN_BLOB, re, s, e);

	j = json_parse(re->body, re->body_len, JSON_DEPTH);
	blob = json_get_string(j, "signedBlob");
	key_id = json_get_string(j, "keyId");
	if (!blob || !key_id || !is_key_id(key_id))
		return nonsense(re, "the answer lacks signature or key id", e);
	if (b64_decode(blob, strlen(blob), &bytes, &len) < 0)
		return nonsense(re, "the signature is not base64", e);
	if (len > 0 && len <= SIGNATURE_MAX)
		signature = b64url_encode(bytes, len);
	free(bytes);
	if (!signature)
		return nonsense(re, "the signature has an impossible length", e);

	*ret_signature = TAKE_PTR(signature);
	*ret_key_id = xstrdup(key_id);
	return 0;
}
