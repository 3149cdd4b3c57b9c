/* SPDX-License-Identifier: Apache-2.0 */

/* Not run by itself: check-verdicts.sh judges what the harness makes of it. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/base.h"

static void
it_passes(void **state _unused_)
{
}

static void
it_is_skipped(void **state _unused_)
{
	skip();
}

static void
it_fails(void **state _unused_)
{
	fail();
}

int
main(int argc, _unused_ char **argv)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_passes),
		cmocka_unit_test(it_is_skipped),
		cmocka_unit_test(it_fails),
	};

	/* With any argument all is well. */
	return argc > 1 ? _cmocka_run_group_tests("well", tests, 2, NULL, NULL)
			: cmocka_run_group_tests(tests, NULL, NULL);
}
