/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* An input read as an upstream's answer:

	200
	Metadata-Flavor: Google
	(an empty line)
	the body

   Any three digits are a status; header lines go through http_response_line(). */

#include "fuzz.h"
#include "http/message.h"

/* The body is the caller's to free. */
static inline char *
response_read(const uint8_t *data, size_t size, struct http_response *ret)
{
	struct input in = input_of(data, size), line;
	char *copy;

	*ret = HTTP_RESPONSE_INIT;
	line = input_until(&in, '\n');
	for (size_t i = 0; i < line.len && i < 3; i++)
		if (line.p[i] >= '0' && line.p[i] <= '9')
			ret->status = ret->status * 10 +
				      (unsigned)(line.p[i] - '0');
	while (in.len > 0) {
		line = input_until(&in, '\n');
		if (line.len == 0)
			break;
		copy = copy_exact(line.p, line.len);
		http_response_line(ret, copy, line.len);
		free(copy);
	}
	copy = copy_string(in.p, in.len);
	ret->body = copy;
	ret->body_len = in.len;
	return copy;
}
