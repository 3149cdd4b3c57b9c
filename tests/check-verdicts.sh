#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What the harness makes of a unit test's verdicts.
set -u
srcdir=$(cd "${srcdir:-$(dirname "$0")/..}" && pwd)
# shellcheck source=tests/tap.sh
. "$srcdir/tests/tap.sh"
build=${abs_builddir:-$(pwd)}
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT

# counted WORDS...: what automake's harness counts of tests/unit/verdicts.
counted() {
	CMOCKA_MESSAGE_OUTPUT=TAP sh "$srcdir/build-aux/tap-driver.sh" --test-name verdicts \
		--log-file "$work/log" --trs-file "$work/trs" -- \
		sh "$srcdir/tests/run-unit" "$build/tests/unit/verdicts" "$@" 2>&1
}

# says EXPECTED: complains where standard input is not that.
says() {
	printf '%s\n' "$1" | diff - "$work/said"
}

counted >"$work/said"
tap "a skip is a skip, and a failure fails" "$(says \
'PASS: verdicts 1 - it_passes
SKIP: verdicts 2 - it_is_skipped # SKIP
FAIL: verdicts 3 - it_fails
ERROR: verdicts - exited with status 1')"
counted well >"$work/said"
tap "a program whose tests pass or are skipped has passed" "$(says \
'PASS: verdicts 1 - it_passes
SKIP: verdicts 2 - it_is_skipped # SKIP'
	grep -Fx ':global-test-result: PASS' "$work/trs" >/dev/null || cat "$work/trs")"

tap_done
