/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What is known of a fact: that is all that rules are made of. */

#include "base/base.h"

enum tri { TRI_NO, TRI_YES, TRI_UNKNOWN };

static inline enum tri
tri_of(bool known, bool yes)
{
	return !known ? TRI_UNKNOWN : yes ? TRI_YES : TRI_NO;
}

static inline enum tri
tri_not(enum tri a)
{
	return a == TRI_UNKNOWN ? a : a == TRI_YES ? TRI_NO : TRI_YES;
}

static inline enum tri
tri_and(enum tri a, enum tri b)
{
	if (a == TRI_NO || b == TRI_NO)
		return TRI_NO;
	return a == TRI_YES && b == TRI_YES ? TRI_YES : TRI_UNKNOWN;
}
