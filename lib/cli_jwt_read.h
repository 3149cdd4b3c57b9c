/* SPDX-License-Identifier: MIT */
#pragma once

/* What is written in a JWT.  Nothing is verified here: whoever shows it must
   say so, and nobody may decide by it. */

#include <stdbool.h>
#include <stddef.h>

#include "cli_json.h"

enum { JWT_MAX = 64 * 1024 };	/* bytes */

struct jwt_text {
	struct json header, claims;
	char *buf;	/* owns the text of both */
};

/* NULL, or what is wrong with it.  ret is written on success only. */
const char *jwt_read(const char *token, size_t len, struct jwt_text *ret);
void jwt_clear(struct jwt_text *t);
