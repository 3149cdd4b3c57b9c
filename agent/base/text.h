/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Text from outside: checking it, and making it fit for a log or a terminal.
   Pure. */

#include <string.h>

#include "base/base.h"

#define TEXT_SHOW_MAX	200		/* bytes shown of anything foreign */
#define TEXT_SHOW_SIZE	(TEXT_SHOW_MAX + 4)	/* and "..." and the NUL */

/* Printable ASCII stays, everything else (and the backslash) becomes \xNN; cut
   at TEXT_SHOW_MAX bytes with "..." behind.  Anything that looks like a JWT
   ("eyJ" and 16 or more of the base64url alphabet and dots) or an OAuth access
   token ("ya29.") is masked; so is what may be a piece of one or its encoding: 16
   or more of base64 in which letters and digits mix as by chance, 16 ASCII
   characters in percent form, 32 hexadecimal digits but not 40, which are a key's
   name.  ret is NUL-terminated always; returns ret. */
char *text_show(char ret[static TEXT_SHOW_SIZE], const void *s, size_t len);
char *text_show_str(char ret[static TEXT_SHOW_SIZE], const char *s);

/* Well-formed UTF-8: shortest forms, no surrogates, at most U+10FFFF. */
bool text_is_utf8(const void *s, size_t len);

/* Holds nothing that a log, terminal or header could take for more than text:
   no C0 (NUL included), DEL, C1, U+2028/9, bidi controls (U+061C, U+200E/F,
   U+202A..E, U+2066..9) or U+FEFF.  s must be UTF-8. */
bool text_is_plain(const void *s, size_t len);

/* Printable ASCII without a space, 1 to max bytes. */
bool text_is_graph(const char *s, size_t max);

/* Are they the same string, or both NULL? */
static inline bool
text_same(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

/* Unsigned decimal without sign, space or leading "+"; false on overflow past
   max, on an empty string and on anything else than digits. */
bool text_to_u64(const char *s, size_t len, uint64_t max, uint64_t *ret);

/* Its value; -1: none. */
int text_hex_digit(char c);

/* The same backwards; returns the length.  ret is NUL-terminated. */
#define TEXT_U64_SIZE	21
size_t text_from_u64(char ret[static TEXT_U64_SIZE], uint64_t v);

/* Append s percent-encoded (all but A-Z a-z 0-9 - . _ ~) to a NUL-terminated
   newly allocated string. */
char *text_percent_encode(const char *s);
