/* SPDX-License-Identifier: Apache-2.0 */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"

static void
every_kind_has_its_name_errno_status_and_code(void **state _unused_)
{
	static const struct {
		enum err_kind kind;
		const char *name;
		int errnum;
		unsigned status;
		int exit_code;
	} table[] = {
		{ ERR_INTERNAL, "internal", EIO, 500, 1 },
		{ ERR_REQUEST, "bad-request", EINVAL, 400, 2 },
		{ ERR_POLICY, "denied-by-policy", EACCES, 403, 3 },
		{ ERR_NOT_FOUND, "not-found", ENOENT, 404, 4 },
		{ ERR_BUSY, "busy", EAGAIN, 429, 5 },
		{ ERR_GOOGLE, "denied-by-google", EREMOTEIO, 403, 6 },
		{ ERR_UNAVAILABLE, "unavailable", EHOSTUNREACH, 503, 7 },
		{ ERR_TIMEOUT, "timeout", ETIMEDOUT, 504, 8 },
	};

	assert_int_equal(ARRAY_SIZE(table), ERR_KINDS);
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		enum err_kind kind = table[i].kind;

		assert_string_equal(err_kind_name(kind), table[i].name);
		assert_int_equal(err_kind_errno(kind), -table[i].errnum);
		assert_int_equal(err_kind_http_status(kind), table[i].status);
		assert_int_equal(err_kind_exit_code(kind), table[i].exit_code);
	}
}

static void
recording_returns_the_errno_and_resets_all_else(void **state _unused_)
{
	struct err e = {
		.scope = ERR_SCOPE_ACCOUNT, .status = 418, .retry_usec = 7,
	};

	err_hint(&e, "old");
	assert_int_equal(err_set(&e, ERR_BUSY, "%d of %d", 3, 3), -EAGAIN);
	assert_int_equal(e.kind, ERR_BUSY);
	assert_int_equal(e.scope, ERR_SCOPE_REQUEST);
	assert_int_equal(e.status, 0);
	assert_int_equal(e.retry_usec, 0);
	assert_string_equal(e.msg, "3 of 3");
	assert_string_equal(e.hint, "");
}

static void
a_status_of_its_own_beats_that_of_the_kind(void **state _unused_)
{
	struct err e;

	assert_int_equal(err_set_status(&e, ERR_REQUEST, 414, "too long"), -EINVAL);
	assert_int_equal(err_http_status(&e), 414);
	err_set(&e, ERR_REQUEST, "nonsense");
	assert_int_equal(err_http_status(&e), 400);
}

static void
a_system_call_says_what_the_kernel_said(void **state _unused_)
{
	struct err e;

	assert_int_equal(err_sys(&e, ENOENT, "open %s", "/x"), -ENOENT);
	assert_int_equal(e.kind, ERR_INTERNAL);
	assert_string_equal(e.msg, "open /x: No such file or directory");
}

static void
a_prefix_goes_in_front_and_keeps_the_rest(void **state _unused_)
{
	struct err e;

	err_set(&e, ERR_GOOGLE, "no role");
	err_hint(&e, "grant %s", "it");
	e.scope = ERR_SCOPE_ACCOUNT;
	assert_int_equal(err_prefix(&e, -EREMOTEIO, "step %d", 2), -EREMOTEIO);
	assert_string_equal(e.msg, "step 2: no role");
	assert_string_equal(e.hint, "grant it");
	assert_int_equal(e.kind, ERR_GOOGLE);
	assert_int_equal(e.scope, ERR_SCOPE_ACCOUNT);
}

static void
an_error_may_be_told_in_terms_of_itself(void **state _unused_)
{
	struct err e;

	err_set(&e, ERR_TIMEOUT, "late");
	err_set(&e, ERR_UNAVAILABLE, "because: %s", e.msg);
	assert_string_equal(e.msg, "because: late");
	err_hint(&e, "see %s", e.msg);
	err_hint(&e, "%s!", e.hint);
	assert_string_equal(e.hint, "see because: late!");
}

static void
words_that_do_not_fit_end_in_dots(void **state _unused_)
{
	char longer[2000];
	struct err e;

	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	err_set(&e, ERR_INTERNAL, "%s", longer);
	assert_int_equal(strlen(e.msg), sizeof(e.msg) - 1);
	assert_string_equal(e.msg + sizeof(e.msg) - 5, "x...");
	err_prefix(&e, 0, "front");
	assert_memory_equal(e.msg, "front: xxx", 10);
	assert_int_equal(strlen(e.msg), sizeof(e.msg) - 1);
	err_hint(&e, "%s", longer);
	assert_int_equal(strlen(e.hint), sizeof(e.hint) - 1);
}

static void
nobody_has_to_listen(void **state _unused_)
{
	assert_int_equal(err_set(NULL, ERR_POLICY, "x"), -EACCES);
	assert_int_equal(err_set_status(NULL, ERR_REQUEST, 414, "x"), -EINVAL);
	assert_int_equal(err_sys(NULL, EPERM, "x"), -EPERM);
	assert_int_equal(err_prefix(NULL, -7, "x"), -7);
	err_hint(NULL, "x");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_kind_has_its_name_errno_status_and_code),
		cmocka_unit_test(recording_returns_the_errno_and_resets_all_else),
		cmocka_unit_test(a_status_of_its_own_beats_that_of_the_kind),
		cmocka_unit_test(a_system_call_says_what_the_kernel_said),
		cmocka_unit_test(a_prefix_goes_in_front_and_keeps_the_rest),
		cmocka_unit_test(an_error_may_be_told_in_terms_of_itself),
		cmocka_unit_test(words_that_do_not_fit_end_in_dots),
		cmocka_unit_test(nobody_has_to_listen),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
