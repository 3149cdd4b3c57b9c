#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# gcc -fanalyzer over agent/ and lib/, file by file; prints TAP.  "make analyze".
#
# What it warns of wrongly is listed in tests/analyze-known, by file, function and
# kind of warning, with the reason; an entry that has become idle is a failure, too.
set -u
srcdir=$(cd "${srcdir:-$(dirname "$0")/..}" && pwd)
GCC=${ANALYZE_CC:-gcc}
known=$srcdir/tests/analyze-known

# --- called by ourselves, several at a time: FILE -> its warnings and nothing else
if [ "${1-}" = --file ]; then
	# shellcheck disable=SC2086 # a list of flags
	LC_ALL=C "$GCC" -std=gnu11 -O2 -fanalyzer -fdiagnostics-plain-output \
		-D_GNU_SOURCE -DPACKAGE_VERSION='"analyze"' \
		-DCONFIG_VENDOR_DIR='"/usr"' -DCONFIG_ETC='"/etc"' \
		-I"$srcdir/agent" -I"$srcdir/lib" $FLAGS \
		-c -o /dev/null "$srcdir/$2" 2>&1 | LC_ALL=C awk -v srcdir="$srcdir/" '
		# "FILE: In function NAME:" stands before the warnings of a function.
		match($0, /In function .[A-Za-z_0-9]+/) {
			function_name = substr($0, RSTART, RLENGTH)
			sub(/.*[^A-Za-z_0-9]/, "", function_name)
		}
		/ (warning|error): / {
			place = $1
			sub(srcdir, "", place)
			kind = match($0, /\[-W[a-z0-9=-]+\]$/) ? \
				substr($0, RSTART + 1, RLENGTH - 2) : "error"
			sub(/:.*/, "", place)
			print place " " function_name " " kind "\t" $0
		}'
	exit
fi

FLAGS=$(pkg-config --cflags libsystemd libcurl libcrypto json-c) || exit 1
export FLAGS
if ! echo 'int x;' | "$GCC" -fanalyzer -x c -c -o /dev/null - 2>/dev/null; then
	echo "1..0 # SKIP $GCC has no -fanalyzer: it is for gcc 10 and newer"
	exit 0
fi

cd "$srcdir" || exit 1
found=$(find agent lib -name '*.c' | sort | xargs -n 1 -P "$(nproc)" sh tests/analyze.sh --file | sort)
tab=$(printf '\t')
allowed=$(sed -n "s/^\([^#$tab][^$tab]*\)$tab.*/\1/p" "$known")

new=$(printf '%s\n' "$found" | while IFS=$tab read -r id text; do
	[ -z "$id" ] || printf '%s\n' "$allowed" | grep -qxF "$id" || printf '%s\n' "$text"
done)
idle=$(printf '%s\n' "$allowed" | while read -r id; do
	[ -z "$id" ] || printf '%s\n' "$found" | grep -qF "$id$tab" || printf '%s\n' "$id"
done)

# shellcheck source=tests/tap.sh
. "$srcdir/tests/tap.sh"
tap "gcc -fanalyzer finds nothing new" "$new"
name="tests/analyze-known lists what it still finds"
case $("$GCC" -dumpversion) in
12*)	tap "$name" "$idle" ;;
*)	tap_skip "$name" "it is made with gcc 12" ;;
esac
tap_done
