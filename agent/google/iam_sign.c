/* SPDX-License-Identifier: Apache-2.0 */

#include <string.h>

#include "base/b64.h"
#include "base/buf.h"
#include "base/json.h"
#include "google/iam_sign.h"

#define KEY_ID_MAX	128		/* bytes; 40 today */
#define SIGNATURE_MAX	1024		/* bytes; RSA-8192 */
#define MEMBERS_MAX	(256 * 1024)	/* bytes; a caller's claims have 64 Ki */
#define JWT_CHARS	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz" \
			"0123456789-_"

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

	return len > 0 && len <= KEY_ID_MAX && strspn(s, JWT_CHARS) == len;
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

void
iam_sign_jwt_request(const char *base_url, const struct iam_subject *s,
		     const char *access_token, const char *claims,
		     struct http_request *ret)
{
	struct buf members = BUF_INIT(MEMBERS_MAX);

	buf_adds(&members, "\"payload\":");
	json_write_string(&members, claims);
	iam_request(IAM_SIGN_JWT, base_url, s, access_token, buf_str(&members),
		    ret);
	buf_free(&members);
}

/* Three parts; what they say is for whoever verifies it. */
static bool
is_jwt(const char *s)
{
	for (int i = 0; i < 3; i++) {
		size_t len = strspn(s, JWT_CHARS);

		if (len == 0 || s[len] != (i < 2 ? '.' : '\0'))
			return false;
		s += len + 1;
	}
	return true;
}

int
iam_sign_jwt_response(const struct http_response *re, const struct iam_subject *s,
		      char **ret_jwt, char **ret_key_id, struct err *e)
{
	_cleanup_(json_freep) struct json *j = NULL;
	const char *jwt, *key_id;

	if (re->status != 200)
		return iam_failure(IAM_SIGN_JWT, re, s, e);

	j = json_parse(re->body, re->body_len, JSON_DEPTH);
	jwt = json_get_string(j, "signedJwt");
	key_id = json_get_string(j, "keyId");
	if (!jwt || !key_id || !is_key_id(key_id) || !is_jwt(jwt))
		return iam_nonsense(IAM_SIGN_JWT, re,
				    "the answer lacks JWT or key id", e);
	*ret_jwt = xstrdup(jwt);
	*ret_key_id = xstrdup(key_id);
	return 0;
}
