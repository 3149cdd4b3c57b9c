/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Is it JSON?  What json.c asks before json-c is asked.  Pure. */

#include "base/base.h"

struct json_scan {
	size_t names;		/* of members, in all objects */
	size_t values;		/* of all kinds, at all depths */
	bool nul;		/* a string holds U+0000 */
};

/* One complete value of RFC 8259 and valid UTF-8, nothing around it but white
   space; arrays and objects at most depth deep in each other; no name holds a
   NUL. */
bool json_scan(const char *text, size_t len, int depth, struct json_scan *ret);
