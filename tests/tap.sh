# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# Test Anything Protocol, for the check scripts that source this.

tap_count=0
tap_failed=0

# tap SENTENCE COMPLAINTS: the sentence holds where there is nothing to complain.
tap() {
	tap_count=$((tap_count + 1))
	if [ -z "$2" ]; then
		printf 'ok %d - %s\n' "$tap_count" "$1"
	else
		tap_failed=1
		printf 'not ok %d - %s\n' "$tap_count" "$1"
		printf '%s\n' "$2" | sed 's/^/# /'
	fi
}

tap_skip() {
	tap_count=$((tap_count + 1))
	printf 'ok %d - %s # SKIP %s\n' "$tap_count" "$1" "$2"
}

tap_done() {
	printf '1..%d\n' "$tap_count"
	exit "$tap_failed"
}
