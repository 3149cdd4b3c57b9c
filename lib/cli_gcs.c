/* SPDX-License-Identifier: MIT */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "cli_gcs.h"
#include "cli_sha256.h"
#include "conn.h"

#define SCHEME		"gs://"
#define ALGORITHM	"GOOG4-RSA-SHA256"
#define HOST		"storage."	/* and the universe's domain */
#define OBJECT_MAX	1024	/* bytes */

const char *
gcs_check_object(const char *url)
{
	const char *bucket, *object;
	size_t len;

	if (strncmp(url, SCHEME, strlen(SCHEME)) != 0)
		return "not of the form gs://BUCKET/OBJECT";
	bucket = url + strlen(SCHEME);
	len = strspn(bucket, "abcdefghijklmnopqrstuvwxyz0123456789-_.");
	if (len < 3 || len > 222 || (bucket[len] && bucket[len] != '/'))
		return "a bucket's name has 3 to 222 of a-z, 0-9, -, _ and .";
	object = bucket + len + (bucket[len] == '/');
	if (!*object || strlen(object) > OBJECT_MAX)
		return "an object's name has 1 to 1024 bytes";
	if (strcmp(object, ".") == 0 || strcmp(object, "..") == 0 ||
	    strpbrk(object, "\r\n"))
		return "no object has such a name";
	return NULL;
}

bool
gcs_is_method(const char *method)
{
	static const char *const methods[] = { "GET", "HEAD", "PUT", "DELETE" };

	for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++)
		if (strcmp(method, methods[i]) == 0)
			return true;
	return false;
}

/* The parts that stand in several places. */
struct parts {
	char date[9], stamp[17];	/* 20260101, 20260101T000000Z */
	char *path, *query;
};

static void
parts_free(struct parts *p)
{
	free(p->path);
	free(p->query);
}

/* Slashes stay in paths. */
static char *
encode_path(const char *s)
{
	char *text = conn_encode(s), *p = text;

	while (p && (p = strstr(p, "%2F"))) {
		*p++ = '/';
		memmove(p, p + 2, strlen(p + 2) + 1);
	}
	return text;
}

static bool
parts_make(const struct gcs_request *q, struct parts *ret)
{
	char *email = conn_encode(q->email);
	struct tm tm;
	bool ok = false;

	*ret = (struct parts){ .path = encode_path(q->object + strlen(SCHEME)) };
	if (email && ret->path && gmtime_r(&q->now, &tm) &&
	    strftime(ret->date, sizeof(ret->date), "%Y%m%d", &tm) > 0 &&
	    strftime(ret->stamp, sizeof(ret->stamp), "%Y%m%dT%H%M%SZ", &tm) > 0)
		ok = asprintf(&ret->query, "X-Goog-Algorithm=" ALGORITHM
			      "&X-Goog-Credential=%s%%2F%s%%2Fauto%%2Fstorage"
			      "%%2Fgoog4_request&X-Goog-Date=%s&X-Goog-Expires=%d"
			      "&X-Goog-SignedHeaders=host", email, ret->date,
			      ret->stamp, q->expires) >= 0;
	free(email);
	if (!ok) {
		ret->query = NULL;
		parts_free(ret);
	}
	return ok;
}

char *
gcs_string_to_sign(const struct gcs_request *q)
{
	char *canonical = NULL, *text = NULL, hash[SHA256_HEX_SIZE];
	struct parts p;
	int n;

	if (!parts_make(q, &p))
		return NULL;
	n = asprintf(&canonical, "%s\n/%s\n%s\nhost:" HOST "%s\n\nhost\n"
		     "UNSIGNED-PAYLOAD", q->method, p.path, p.query, q->universe);
	if (n >= 0) {
		sha256_hex(canonical, (size_t)n, hash);
		if (asprintf(&text, ALGORITHM "\n%s\n%s/auto/storage/goog4_request"
			     "\n%s", p.stamp, p.date, hash) < 0)
			text = NULL;
		free(canonical);
	}
	parts_free(&p);
	return text;
}

static int
digit(char c)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				     "abcdefghijklmnopqrstuvwxyz0123456789+/";
	const char *at = c ? strchr(digits, c) : NULL;

	return at ? (int)(at - digits) : -1;
}

char *
gcs_hex(const char *base64)
{
	static const char digits[] = "0123456789abcdef";
	size_t len = strlen(base64);
	char *out, *p;
	uint32_t bits = 0;
	int have = 0;

	while (len > 0 && base64[len - 1] == '=')
		len--;
	out = p = malloc(len * 2 + 1);
	if (!out)
		return NULL;
	for (size_t i = 0; i < len; i++) {
		int v = digit(base64[i]);

		if (v < 0) {
			explicit_bzero(out, (size_t)(p - out));
			free(out);
			return NULL;
		}
		bits = bits << 6 | (uint32_t)v;
		have += 6;
		if (have >= 8) {
			have -= 8;
			*p++ = digits[bits >> (have + 4) & 15];
			*p++ = digits[bits >> have & 15];
		}
	}
	*p = '\0';
	return out;
}

char *
gcs_url(const struct gcs_request *q, const char *signature)
{
	char *hex = gcs_hex(signature), *url = NULL;
	struct parts p;

	if (hex && parts_make(q, &p)) {
		if (asprintf(&url, "https://" HOST "%s/%s?%s&X-Goog-Signature=%s",
			     q->universe, p.path, p.query, hex) < 0)
			url = NULL;
		parts_free(&p);
	}
	cli_secret_free(hex);
	return url;
}
