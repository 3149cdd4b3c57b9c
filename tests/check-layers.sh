#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The architecture, as a test: a folder may include itself and what is to its
# left.  See doc/architecture.md.
# shellcheck disable=SC2086,SC2046,SC2013,SC2035 # lists of words are meant to split
set -u
srcdir=$(cd "${srcdir:-$(dirname "$0")/..}" && pwd)
# shellcheck source=tests/tap.sh
. "$srcdir/tests/tap.sh"
layers="base http google token api"
cd "$srcdir/agent" || exit 1

# included FILE: what it includes of ours.
included() {
	sed -n 's,^[[:space:]]*#[[:space:]]*include[[:space:]]*"\([^"]*\)".*,\1,p' "$1"
}

complaints=$(
	seen=""
	for layer in $layers; do
		seen="$seen $layer"
		for file in "$layer"/*.[ch]; do
			for used in $(included "$file"); do
				case " $seen " in
				*" ${used%%/*} "*) ;;
				*) echo "agent/$file includes $used, which is above it" ;;
				esac
			done
		done
	done)
tap "a folder includes itself and what is to its left" "$complaints"

complaints=$(
	for folder in */; do
		case " $layers " in
		*" ${folder%/} "*) ;;
		*) [ -z "$(find "$folder" -name '*.[ch]')" ] ||
			echo "agent/$folder has no place among: $layers" ;;
		esac
	done)
tap "every folder has its place" "$complaints"

complaints=$(
	for file in ../lib/*.[ch]; do
		for used in $(included "$file"); do
			[ -e "../lib/$used" ] || echo "${file#../} includes $used"
		done
	done
	for file in *.c */*.[ch]; do
		for used in $(included "$file"); do
			[ -e "$used" ] || echo "agent/$file includes $used"
		done
	done)
tap "agent and library share no file" "$complaints"

complaints=$(grep -nE '#[[:space:]]*include[[:space:]]*<(curl|openssl|json-c|systemd|json)[./]' \
	../lib/*.[ch] | sed 's,^\.\./,,')
tap "the library needs nothing but libc" "$complaints"

complaints=$(
	while read -r header owners; do
		for file in $(grep -l "#[[:space:]]*include[[:space:]]*<$header" *.[ch] */*.[ch]); do
			case " $owners " in
			*" $file "*) ;;
			*) echo "agent/$file includes <$header...>, only agent/$owners may" ;;
			esac
		done
	done <<-END
	curl/ http/client.c http/transfer.c
	openssl/ token/rs256.c
	json-c/ base/json.c
	systemd/sd-daemon.h service.c
	END
)
tap "each library has one door" "$complaints"

# What does the deciding does not do the telling.
complaints=$(grep -n '#include "base/log.h"' google/*.[ch] token/jwt.[ch] \
	token/cache.[ch] token/rs256.[ch] api/policy.[ch] api/limit.[ch] \
	http/parse.[ch] http/message.[ch] http/retry.[ch] 2>/dev/null
	cd base && grep -n '#include "base/log.h"' [!l]*.[ch] l[!o]*.[ch] 2>/dev/null)
tap "pure modules do not log" "$complaints"

complaints=$(
	for file in *.h */*.h; do
		[ -e "$file" ] || continue
		printf '#include "%s"\n' "$file" |
			${CC:-cc} -std=gnu11 -I. ${TEST_CPPFLAGS-} -fsyntax-only \
				-x c - 2>&1 || echo "agent/$file does not compile alone"
	done)
tap "every header compiles alone" "$complaints"

tap_done
