dnl SPDX-License-Identifier: Apache-2.0

dnl AGENT_CHECK_CFLAGS(VARIABLE, FLAGS): append those that the compiler takes
dnl without a murmur.  -Werror, because clang only warns of unknown ones.
AC_DEFUN([AGENT_CHECK_CFLAGS], [
	for agent_flag in $2; do
		AS_VAR_PUSHDEF([agent_cv], [agent_cv_cflag_$agent_flag])
		AC_CACHE_CHECK([whether $CC takes $agent_flag], [agent_cv], [
			agent_saved_CFLAGS=$CFLAGS
			CFLAGS="$CFLAGS $agent_flag -Werror"
			AC_COMPILE_IFELSE([AC_LANG_PROGRAM],
				[AS_VAR_SET([agent_cv], [yes])],
				[AS_VAR_SET([agent_cv], [no])])
			CFLAGS=$agent_saved_CFLAGS])
		AS_VAR_IF([agent_cv], [yes], [AS_VAR_APPEND([$1], [" $agent_flag"])])
		AS_VAR_POPDEF([agent_cv])
	done])

dnl AGENT_CHECK_LDFLAGS(VARIABLE, FLAGS): the same for the linker.
AC_DEFUN([AGENT_CHECK_LDFLAGS], [
	for agent_flag in $2; do
		AS_VAR_PUSHDEF([agent_cv], [agent_cv_ldflag_$agent_flag])
		AC_CACHE_CHECK([whether the linker takes $agent_flag], [agent_cv], [
			agent_saved_LDFLAGS=$LDFLAGS
			LDFLAGS="$LDFLAGS $agent_flag -Wl,--fatal-warnings"
			AC_LINK_IFELSE([AC_LANG_PROGRAM],
				[AS_VAR_SET([agent_cv], [yes])],
				[AS_VAR_SET([agent_cv], [no])])
			LDFLAGS=$agent_saved_LDFLAGS])
		AS_VAR_IF([agent_cv], [yes], [AS_VAR_APPEND([$1], [" $agent_flag"])])
		AS_VAR_POPDEF([agent_cv])
	done])

dnl AGENT_LIBRARY(VARIABLE, MODULE, VERSION, DEBIAN-PACKAGE): or an error that
dnl says what to install.
AC_DEFUN([AGENT_LIBRARY], [
	PKG_CHECK_MODULES([$1], [$2 >= $3], [], [
		AC_MSG_ERROR([$2 $3 or newer is needed to build; on Debian: apt-get install $4
($$1_PKG_ERRORS)])])])

dnl AGENT_PYTHON(VARIABLE, MODULES): the first of $PYTHON, python3 and
dnl /usr/bin/python3 that can import them all, else nothing.  The first python3
dnl on PATH may be one that distribution packages do not reach.
AC_DEFUN([AGENT_PYTHON], [
	AC_MSG_CHECKING([for a python3 with $2])
	$1=
	for agent_python in "$PYTHON" python3 /usr/bin/python3; do
		test -n "$agent_python" || continue
		AS_IF(["$agent_python" -c 'import sys, $2; sys.exit(sys.version_info < (3, 9))' \
				>&AS_MESSAGE_LOG_FD 2>&1 </dev/null],
			[$1=$agent_python; break])
	done
	AC_MSG_RESULT([${$1:-none}])
	AC_SUBST([$1])])

dnl AGENT_UNIT_DIR(VARIABLE, WHAT, FALLBACK): --with-VARIABLE=DIR, else, where
dnl the prefix is systemd's own, what systemd.pc says, else FALLBACK: nothing is
dnl installed outside the prefix, and systemd reads /usr/local/lib, too.
AC_DEFUN([AGENT_UNIT_DIR], [
	AC_ARG_WITH([$1], [AS_HELP_STRING([--with-$1=DIR], [where $2 go])],
		[$1=$withval],
		[$1='$3'
		AS_IF([test "x$prefix" = x/usr],
			[PKG_CHECK_VAR([agent_$1], [systemd], [$1], [$1=$agent_$1])])])
	AC_SUBST([$1])])
