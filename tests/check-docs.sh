#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What exists is documented, and nothing is documented that does not exist.
set -u
srcdir=$(cd "${srcdir:-$(dirname "$0")/..}" && pwd)
# shellcheck source=tests/tap.sh
. "$srcdir/tests/tap.sh"
build=${abs_builddir:-$(pwd)}
doc=$srcdir/doc
agent8=$doc/gce-oidc-agent.8
gce_oidc1=$doc/gce-oidc.1
lib3=$doc/libgce-oidc.3
conf5=$doc/gce-oidc-agent.conf.5
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
umask 022

# only_in A B WORDS: lines of A that are not lines of B.
only_in() {
	printf '%s\n' "$1" | while read -r name; do
		[ -z "$name" ] || printf '%s\n' "$2" | grep -qxF -e "$name" ||
			echo "$name $3"
	done
}

# same NAME EXISTING DOCUMENTED
same() {
	tap "$1" "$(
		[ -n "$2" ] || echo "nothing was found in the sources"
		only_in "$2" "$3" "is not documented"
		only_in "$3" "$2" "is documented and does not exist")"
}

# Long options in a text, one a line.
options_in() {
	grep -o -e '--[a-z][a-z-]*' | grep -v -e '-$' | LC_ALL=C sort -u
}

# Long options of a manual page: "Fl -check-config" is --check-config.
options_of_page() {
	grep -E '^\.(Op |It )?Fl ' "$1" | grep -o -e ' -[a-z][a-z-]*' | sed 's/^ -/--/' |
		LC_ALL=C sort -u
}

# Those of one command's part of gce-oidc(1).
page_part() {
	awk -v name="$1" '/^\.S[sh] / { on = $2 == name } on' "$gce_oidc1"
}

commands() {
	"$build/gce-oidc" --help | sed -n 's/^  \([a-z]*\)  .*/\1/p'
}

documented_commands() {
	sed -n 's/^\.Ss \([a-z]*\)$/\1/p' "$gce_oidc1"
}

command_options() {
	for command in $(commands); do
		"$build/gce-oidc" "$command" --help | grep -e '^  -' -e '^usage' |
			options_in | grep -v -x -e --socket -e --help -e --version |
			grep -v -e '^--connect-timeout$' -e '^--compressed$' -e '^--data' |
			sed "s/^/$command /"
	done | LC_ALL=C sort -u
}

documented_command_options() {
	for command in $(documented_commands); do
		page_part "$command" | grep '^\.It Fl -[a-z]' | grep -v '^\.It Fl -data' |
			grep -o -e 'Fl -[a-z-]*' | sed "s/^Fl -/$command --/"
	done | LC_ALL=C sort -u
}

routes() {
	sed -n '/^} routes\[\] = {/,/^};/s/^\t{ "\([^"]*\)",.*/\1/p' "$srcdir/agent/api/api.c" |
		sed 's,^\(/computeMetadata\)$,\1/,' | LC_ALL=C sort
}

documented_routes() {
	sed -n '/^\.Ss Protocol/,/^\.Sh/s/^\.It Pa \(.*\)/\1/p' "$agent8" | LC_ALL=C sort
}

# SECTION KEY = DEFAULT, of all sections but the rules'.
settings() {
	printf '[rule x]\nuser = root\naudience = x\n' >"$work/agent.conf"
	env -u GCE_METADATA_HOST \
		"$build/gce-oidc-agent" --config="$work/agent.conf" --dump-config |
		awk '/^\[/ { section = substr($1, 2); sub(/\]$/, "", section) }
			/^[a-z]/ && section != "rule" { sub(/ *$/, ""); print section, $0 }' |
		LC_ALL=C sort
}

rule_keys() {
	sed -n '/^} keys\[\] = {/,/^};/s/^\t{ "\([a-z]*\)",.*/\1/p' \
		"$srcdir/agent/api/policy_rule.c" | LC_ALL=C sort
}

account_keys() {
	sed -n '/^} keys\[\] = {/,/^};/s/^\t{ "\([a-z]*\)",.*/\1/p' \
		"$srcdir/agent/config_account.c" | LC_ALL=C sort
}

documented_account_keys() {
	sed -n '/^\.Ss \[account NAME\]/,/^\.Ss \[rule/s/^\.It Ic \([a-z]*\) =.*/\1/p' "$conf5" |
		LC_ALL=C sort
}

# The same, as the page says: ".Ss [SECTION]", then ".It Ic KEY = DEFAULT".
documented_settings() {
	awk '/^\.S[sh] / { section = $2; if (!gsub(/[][]|\\&/, "", section) || $3 ~ /NAME/ && section == "account") section = "" }
		/^\.It Ic / && section != "" { sub(/^\.It Ic /, ""); print section, $0 }' \
		"$conf5" | LC_ALL=C sort
}

# Displays of the page: all before, or all behind, "Sh EXAMPLES".
displays() {
	awk -v examples="$1" '/^\.Sh / { part = ($2 == "EXAMPLES") }
		/^\.Bd/ { on = part == examples; next } /^\.Ed/ { on = 0 } on' "$conf5"
}

# What the agent finds wrong or odd in the examples, whose names no machine has.
judged_examples() {
	displays 1 | sed -E 's/^((user|group) *=).*/\1 root/' >"$work/examples.conf"
	grep -q '^\[rule ' "$work/examples.conf" || echo "there are none"
	"$build/gce-oidc-agent" --config="$work/examples.conf" --check-config 2>&1 |
		grep -v -x -e "read $work/examples.conf" -e 'configuration: good'
}

# FOLDER/NAME of all C sources, without .c and .h.
sources() {
	(cd "$srcdir" && find agent lib -name '*.[ch]') | sed 's/\.[ch]$//' | LC_ALL=C sort -u
}

# Those of doc/architecture.md's tables, each once.
listed_sources() {
	tr '\140' '"' <"$doc/architecture.md" |
		awk -F'|' '!/^\|/ { head = 1; folder = ""; next }
			head { split($2, q, "\""); folder = q[2]; head = 0; next }
			folder !~ /^(agent|lib)\// { next }
			folder != "" { n = split($2, q, "\""); for (i = 2; i <= n; i += 2) {
				sub(/\.[ch]$/, "", q[i]); print folder q[i] } }' |
		LC_ALL=C sort
}

symbols() {
	sed -n 's/^[[:space:]]*\(gce_oidc[a-z0-9_]*\);.*/\1/p' "$srcdir/lib/gce-oidc.sym" |
		LC_ALL=C sort
}

documented_symbols() {
	sed -n 's/^\.Fn \(gce_oidc[a-z0-9_]*\) .*/\1/p' "$lib3" | LC_ALL=C sort -u
}

named_symbols() {
	sed -n 's/^\.Nm \(gce_oidc[a-z0-9_]*\).*/\1/p' "$lib3" | LC_ALL=C sort -u
}

# Tests that SECURITY.md names, as `FILE::NAME` below tests/, and that are not there.
missing_tests() {
	word='[a-z0-9/_.-]*::[a-z0-9_]*'
	# without backquotes, and without an address that looks like one
	tr -d '\140' <"$srcdir/SECURITY.md" | sed 's/fd20:ce::254//g' >"$work/security"
	grep -x " *$word" "$work/security" | tr -d ' ' >"$work/named" || echo "none is named"
	while IFS= read -r test; do
		file=$srcdir/tests/${test%%::*} name=${test#*::}
		case $file in
		*.py) grep -q "^def $name(" "$file" ;;
		*.c) grep -q "^$name(void" "$file" &&
			grep -qE "(\(|^[[:space:]]+)${name}[,)]" "$file" ;;
		*) false ;;
		esac 2>/dev/null || echo "there is no test $test"
	done <"$work/named"
	grep -F '::' "$work/security" | grep -v -x -e " *$word" -e '.*FILE::NAME.*' |
		sed 's/^/not understood: /'
}

# Numbers of SECURITY.md's promises: 1, 2, 3 ...
misnumbered_promises() {
	sed -n 's/^\([0-9][0-9]*\)\. .*/\1/p' "$srcdir/SECURITY.md" |
		awk '$1 != NR { print "where " NR " should stand is " $1; exit }'
}

# Flows, as the agent names them where it does not know one; and those that the
# protocol's page says an answer may name.
flows() {
	printf '[account default]\nflows = x\n' >"$work/flows.conf"
	"$build/gce-oidc-agent" --config="$work/flows.conf" --check-config 2>&1 |
		sed -n 's/.*there is \(.*\)/\1/p' | tr -d ' ' | tr ',' '\n' | LC_ALL=C sort
}

documented_flows() {
	tr '\140' '"' <"$doc/protocol.md" | grep '^| "Gce-Oidc-Flow"' |
		sed 's/^[^|]*|[^|]*|//' | grep -o '"[a-z]*"' | tr -d '"' | LC_ALL=C sort
}

# What "make install" puts beside README.md.
beside_readme() {
	echo examples
	sed -n '/^dist_doc_DATA/,/[^\]$/p; /^dist_examples_DATA/,/[^\]$/p' "$srcdir/Makefile.am" |
		grep -oE '[A-Za-z/.-]+\.(md|svg|example|conf)' | sed 's,^doc/,,'
}

# Links of that README.md to anything else.
lost_links() {
	beside_readme >"$work/beside"
	sed -f "$doc/installed.sed" "$srcdir/README.md" | grep -oE '\]\([^)#]*' |
		cut -c3- >"$work/links"
	[ -s "$work/links" ] || echo "no link was found"
	grep -vxF -f "$work/beside" "$work/links" | grep -v -e '^$' -e '^https://'
}

# mandoc knows other pages only where they are installed.
lint() {
	for page in "$doc"/*.[1-8]; do
		mandoc -Tlint -Wstyle "$page" 2>&1 |
			grep -v -e 'referenced manual not found' -e 'outdated mandoc.db'
	done
}

if command -v mandoc >/dev/null; then
	tap "mandoc finds nothing" "$(lint)"
else
	tap_skip "mandoc finds nothing" "mandoc is not installed"
fi
same "options of gce-oidc-agent are those of its page" \
	"$("$build/gce-oidc-agent" --help | options_in)" "$(options_of_page "$agent8")"
same "commands of gce-oidc are those of its page" "$(commands)" "$(documented_commands)"
same "options of each command are those of its page" \
	"$(command_options)" "$(documented_command_options)"
same "routes are those of the agent's page" "$(routes)" "$(documented_routes)"
same "configuration keys are those of their page, defaults too" \
	"$(settings)" "$(documented_settings | grep -v '^rule ')"
same "keys of rules are those of the page" \
	"$(rule_keys)" "$(documented_settings | sed -n 's/^rule \([a-z]*\) =.*/\1/p')"
same "keys of other accounts are those of the page" \
	"$(account_keys)" "$(documented_account_keys)"
same "the built-in rule is what the page says" \
	"$(sed '/^#/d; /^$/d' "$srcdir/units/50-default.conf")" "$(displays 0)"
tap "examples of the page are good configuration" "$(judged_examples)"
same "functions of the library are those of its page" "$(symbols)" "$(documented_symbols)"
same "the library's page can be found by each function" "$(symbols)" "$(named_symbols)"
same "sources are those that doc/architecture.md lists" "$(sources)" "$(listed_sources)"
tap "none of them is listed twice" "$(listed_sources | uniq -d)"
tap "tests that SECURITY.md names are there" "$(missing_tests)"
tap "its promises are numbered in a row" "$(misnumbered_promises)"
tap "links of the installed README lead to what is installed" "$(lost_links)"
same "flows are those that the protocol's page names" "$(flows)" "$(documented_flows)"
tap_done
