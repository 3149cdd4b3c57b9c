#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What a reviewer should not have to say.  Rules: HACKING.md.
# shellcheck disable=SC2086,SC2046,SC2013,SC2035 # lists of words are meant to split
set -u
srcdir=$(cd "${srcdir:-$(dirname "$0")/..}" && pwd)
# shellcheck source=tests/tap.sh
. "$srcdir/tests/tap.sh"
cd "$srcdir" || exit 1

max_file=500		# lines of a .c file in agent/ and lib/
max_function=60		# lines between its braces, both counted
max_width=84		# columns, tabs being 8

product=$(find agent lib -name '*.[ch]' | sort)
tests_c=$(find tests -name '*.c' -o -name '*.h' -o -name '*.cc' | sort)
scripts="autogen.sh $(find .ci tests/fuzz -name run 2>/dev/null)
	$(find tests -name 'run-*' -o -path 'tests/system/base' -o -path 'tests/system/kernel' \
		-o -path 'tests/system/guest/early' -o -path 'tests/system/guest/shell' \
		-o -path 'tests/sdk/fetch')
	$(find tests -name '*.sh' | sort)"
sources="$product $tests_c $scripts configure.ac Makefile.am
	.editorconfig .clang-format tests/skips $(find tests -name demo)
	$(find m4 -name 'agent-*.m4')
	$(find . -path ./build-aux -prune -o \( -name '*.md' -o -name '*.py' \
		-o -path './lib/*.sym' -o -path './lib/*.in' -o -path './units/*.in' \
		-o -path './doc/*.[1-8]' \) -print | grep -v '^\./\(build\|gce-oidc-agent-\)' | sort)"

# code FILE: its code with numbers of lines, without comments and strings.
code() {
	awk '{
		line = $0
		gsub(/\\["\\]/, "", line)
		gsub(/'\''"'\''/, "", line)
		gsub(/"[^"]*"/, "\"\"", line)
		while (1) {
			if (inside) {
				if (!(end = index(line, "*/"))) { line = ""; break }
				line = substr(line, end + 2)
				inside = 0
			}
			if (!(start = index(line, "/*")))
				break
			rest = substr(line, start + 2)
			if (end = index(rest, "*/")) {
				line = substr(line, 1, start - 1) " " substr(rest, end + 2)
			} else {
				line = substr(line, 1, start - 1)
				print FILENAME ":" FNR ": " line
				inside = 1
				next
			}
		}
		print FILENAME ":" FNR ": " line
	}' "$1"
}

all_code=$(for file in $product $tests_c; do code "$file"; done)

# lines_with REGEX
lines_with() {
	printf '%s\n' "$all_code" | grep -E "^[^:]*:[0-9]+: $1"
}

tap "no banned calls" "$(
	lines_with '(.*[^A-Za-z0-9_>.])?(strcpy|strcat|strncpy|strncat|sprintf|vsprintf|atoi|atol|atoll|strtok|alloca|system|gets|popen|mktemp|tmpnam) ?\('
	# a result that nobody looks at
	printf '%s\n' "$all_code" | awk '
		/: [ \t]*v?asprintf ?\(/ && last ~ /[;{})][ \t]*$/
		!/: [ \t]*$/ { last = $0 }')"
tap "comments are /* */" "$(lines_with '.*//')"
tap "no link tricks for tests" "$(
	grep -nE '#[[:space:]]*include[[:space:]]*"[^"]*\.c"|#[[:space:]]*if(def)?[[:space:]].*UNIT_?TEST' $product $tests_c)"

tap "an SPDX line in every source" "$(
	for file in $sources; do
		head -n 5 "$file" | grep -q 'SPDX-License-Identifier: ' || echo "$file"
	done)"
tap "lib/ is MIT, all else Apache-2.0" "$(
	for file in $sources; do
		case ${file#./} in
		lib/*)	licence=MIT ;;
		*)	licence=Apache-2.0 ;;
		esac
		found=$(head -n 5 "$file" | sed -n 's/.*SPDX-License-Identifier: *\([A-Za-z0-9.-]*\).*/\1/p')
		[ -z "$found" ] || [ "$found" = "$licence" ] || echo "$file: $found"
	done)"

tap "no space at the end of a line" "$(grep -nE '[[:space:]]+$' $sources)"
tap "C is indented with tabs" "$(
	grep -nE '^(        |	*    +	| +	)' $product $tests_c)"
tap "no line over $max_width columns" "$(
	for file in $product $tests_c; do
		expand "$file" | LC_ALL=C.UTF-8 awk -v file="$file" -v max="$max_width" '
			# bytes that continue a character are not columns
			{ line = $0; gsub(/[\200-\277]/, "", line) }
			length(line) > max { print file ":" NR ": " length(line) " columns" }'
	done)"

tap "no file over $max_file lines" "$(
	for file in $product; do
		lines=$(wc -l <"$file")
		[ "$lines" -le "$max_file" ] || echo "$file: $lines lines"
	done)"
tap "no function over $max_function lines" "$(
	awk -v max="$max_function" '
		/^[a-z_A-Z].*\(/ { name = $0; sub(/\(.*/, "", name); sub(/.*[ *]/, "", name) }
		/^\{/ { start = FNR }
		/^\}/ {
			if (start && FNR - start + 1 > max)
				print FILENAME ":" start ": " name "() has " FNR - start + 1 " lines"
			start = 0
		}' $product)"

tap "Makefile.am names every source" "$(
	for file in $product $tests_c $(find tests -name '*.py') ./*.md \
			$(find doc units -type f 2>/dev/null); do
		file=${file#./}
		[ ! -e "$file.in" ] || continue		# made by configure
		case $file in
		tests/unit/test-*.c) listed=${file%.c} ;;
		*) listed=$file ;;
		esac
		grep -qE "(^|[[:space:]])$listed( |\$)" Makefile.am || echo "$file"
	done)"

tap "what the command holds of a secret is wiped when it is freed" "$(
	grep -nE '\<free\((jwt|secret|signature|hex)\)' lib/cli*.c)"

if command -v shellcheck >/dev/null; then
	tap "shellcheck finds nothing" "$(shellcheck -x -P "$srcdir" $scripts 2>&1)"
else
	tap_skip "shellcheck finds nothing" "no shellcheck"
fi

tap_done
