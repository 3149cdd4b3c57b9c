/* SPDX-License-Identifier: MIT */
#pragma once

/* Signed URLs of Cloud Storage, version 4: the string that is to be signed, and the
   URL with its signature.  Pure.

   https://cloud.google.com/storage/docs/authentication/canonical-requests */

#include <stdbool.h>
#include <time.h>

enum { GCS_EXPIRES_MAX = 12 * 3600 };	/* seconds: as long as a key is sure to be
					   published that signs remotely */

struct gcs_request {
	const char *object;	/* gs://BUCKET/OBJECT */
	const char *method;
	const char *email;	/* whose signature it will be */
	const char *universe;	/* the domain below which Cloud Storage is */
	time_t now;
	int expires;		/* seconds */
};

/* NULL, or what is wrong with gs://BUCKET/OBJECT. */
const char *gcs_check_object(const char *url);
bool gcs_is_method(const char *method);

/* What is to be signed; NULL: memory is gone. */
char *gcs_string_to_sign(const struct gcs_request *q);
/* signature: as it came, in base64.  NULL: memory is gone, or it is no base64. */
char *gcs_url(const struct gcs_request *q, const char *signature);

/* Base64 as hexadecimal digits; NULL as above. */
char *gcs_hex(const char *base64);
