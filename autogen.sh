#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Makes ./configure.  With --install-deps, installs Debian's packages first:
# those that build and run the demo, or with --install-deps=all also those
# that the tests need.
# shellcheck disable=SC2046,SC2086 # lists of words are meant to split
set -eu
cd "$(dirname "$0")"

build="autoconf automake libtool make gcc libc6-dev pkg-config
	libcurl4-openssl-dev libssl-dev libjson-c-dev libsystemd-dev
	ca-certificates curl python3 python3-cryptography"
test="binutils clang coreutils debhelper dpkg-dev e2fsprogs faketime g++
	gcc-aarch64-linux-gnu iproute2 libclang-rt-dev libcmocka-dev lintian
	mandoc mmdebstrap nftables piuparts procps python3-pytest python3-venv
	qemu-system-x86 qemu-user rpm shellcheck strace systemd
	systemd-container util-linux valgrind xz-utils"

usage() {
	echo "usage: ./autogen.sh [--install-deps | --install-deps=all]"
}

# For tests that run clients of other languages, where the tools are not there
# from elsewhere already.
tools() {
	[ -x /usr/lib/go/bin/go ] || echo golang-go	# tried beside a newer one
	command -v npm >/dev/null || echo nodejs npm
	command -v javac >/dev/null || echo default-jdk-headless
	command -v mvn >/dev/null || echo maven
}

# One line, however the lists above are broken.
packages() {
	case ${1:-all} in
	all)	echo $build $test $(tools) ;;
	*)	echo $build ;;
	esac
}

installed() {
	for package in "$@"; do
		state=$(dpkg-query -W -f='${db:Status-Status}' "$package" \
			2>/dev/null) || return 1
		[ "$state" = installed ] || return 1
	done
}

# Without questions, and without eating the caller's input.
apt_get() {
	DEBIAN_FRONTEND=noninteractive apt-get -q -y "$@" </dev/null
}

install_deps() {
	names=$(packages "$1")
	if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null
	then
		echo "autogen.sh: not a Debian system; install what it calls" >&2
		echo "	$names" >&2
		echo "and run ./autogen.sh without options." >&2
		exit 1
	fi
	echo "apt-get update && apt-get install -y --no-install-recommends $names"
	if installed $names; then
		echo "(all installed)"
		return
	fi
	if [ "$(id -u)" != 0 ]; then
		echo "autogen.sh: only root can install packages: run the line above" \
			"as root, then ./autogen.sh" >&2
		exit 1
	fi
	apt_get update
	apt_get install --no-install-recommends $names
}

case ${1-} in
"")			;;
--install-deps)		install_deps build ;;
--install-deps=all)	install_deps all ;;
-h | --help)		usage; exit 0 ;;
*)			usage >&2; exit 2 ;;
esac

if ! command -v autoreconf >/dev/null || ! command -v libtoolize >/dev/null; then
	echo "autogen.sh: autoconf, automake and libtool are missing; on Debian:" >&2
	echo "	apt-get install -y --no-install-recommends $(packages build)" >&2
	exit 1
fi
exec autoreconf -fi
