#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The library's face: its symbols, what it drags in, and who can read its header.
# shellcheck disable=SC2086,SC2046,SC2013,SC2035 # lists of words are meant to split
set -u
srcdir=$(cd "${srcdir:-$(dirname "$0")/..}" && pwd)
# shellcheck source=tests/tap.sh
. "$srcdir/tests/tap.sh"
build=${abs_builddir:-$(pwd)}
readelf=${READELF:-readelf}
library=$build/.libs/libgce-oidc.so
program=$build/gce-oidc
header=$srcdir/lib/gce-oidc.h

promised() {
	sed -n 's/^[[:space:]]*\(gce_oidc[a-z0-9_]*\);.*/\1/p' "$srcdir/lib/gce-oidc.sym" |
		LC_ALL=C sort
}

exported() {
	"$readelf" --dyn-syms --wide "$library" |
		awk '$7 != "UND" && $5 ~ /GLOBAL|WEAK/ && $4 != "OBJECT" || $4 == "OBJECT" && $7 ~ /^[0-9]+$/ {
			sub(/@.*/, "", $8); print $8 }' | LC_ALL=C sort
}

declared() {
	sed 's,/\*.*\*/,,' "$header" |
		sed -n 's/^[a-z].*[ *]\(gce_oidc[a-z0-9_]*\)(.*/\1/p' | LC_ALL=C sort
}

# compare A B WORDS: names in A that are not in B.
only_in() {
	for name in $1; do
		printf '%s\n' "$2" | grep -qxF "$name" || echo "$name $3"
	done
}

# needed FILE: shared libraries beyond libc, and beyond sanitizers where asked for.
needed() {
	"$readelf" --dynamic "$1" | sed -n 's/.*(NEEDED).*\[\(.*\)\].*/\1/p' |
		grep -v -e '^libc\.so\.' -e '^ld-linux' | {
			if [ "${SANITIZERS:-no}" = no ]; then
				cat
			else
				grep -v -e '^lib[alu]*san\.so' -e '^libubsan' -e '^libgcc_s' \
					-e '^libm\.so' -e '^libdl' -e '^libpthread' \
					-e '^librt' -e '^libresolv'
			fi
		} | sed "s,^,${1##*/} needs ,"
}

if [ ! -e "$library" ]; then
	tap_skip "exported symbols are those of gce-oidc.sym" "no shared library was built"
	tap_skip "the library needs libc only" "no shared library was built"
else
	exports=$(exported | grep -vx 'GCE_OIDC_[0-9]*')
	tap "exported symbols are those of gce-oidc.sym" "$(
		only_in "$exports" "$(promised)" "is exported and not in gce-oidc.sym"
		only_in "$(promised)" "$exports" "is in gce-oidc.sym and not exported")"
	tap "the library needs libc only" "$(needed "$library")"
fi
tap "the header declares what the library exports" "$(
	only_in "$(promised)" "$(declared)" "is not declared"
	only_in "$(declared)" "$(promised)" "is declared and not exported")"
tap "the command needs libc only" "$(needed "$program")"

work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
printf '#include "gce-oidc.h"\nint main(void) { return 0; }\n' >"$work/client.c"
cp "$work/client.c" "$work/client.cc"
strict="-pedantic -Wall -Wextra -Werror -fsyntax-only -I$srcdir/lib"
{
	tap "the header is C89" "$(${CC:-cc} -std=c89 $strict "$work/client.c" 2>&1)"
	tap "the header is C23's subset, too" "$(${CC:-cc} -std=c2x $strict "$work/client.c" 2>&1)"
	if [ -n "${CXX-}" ]; then
		tap "the header is C++98" "$($CXX -std=c++98 $strict "$work/client.cc" 2>&1)"
	else
		tap_skip "the header is C++98" "no C++ compiler"
	fi
}
tap_done
