/* SPDX-License-Identifier: Apache-2.0 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "api/metadata_tree.h"

#define ROOT	METADATA_ROOT
#define SA	ROOT "v1/instance/service-accounts/"
#define EMAIL	"app-sa@example-proj-123.iam.gserviceaccount.com"

static enum tree_found
find(const char *path, struct place *ret)
{
	/* Exactly so long, so that a byte too many is seen. */
	_cleanup_(freep) char *raw = xmemdup(path, strlen(path));

	*ret = (struct place){ .node = NODE_ALIASES };
	return tree_find((struct http_span){ raw, strlen(path) }, ret);
}

static void
finds(const char *path, enum node node, const char *account)
{
	struct place at;

	if (find(path, &at) != TREE_PLACE)
		fail_msg("%s: nothing there", path);
	if (at.node != node)
		fail_msg("%s: node %d, not %d", path, at.node, node);
	if (!account)
		assert_null(at.account);
	else
		assert_string_equal(at.account, account);
	free(at.account);
}

static void
is(const char *path, enum tree_found found)
{
	struct place at;
	enum tree_found is = find(path, &at);

	if (is == TREE_PLACE)
		free(at.account);
	else
		assert_int_equal(at.node, NODE_ALIASES);	/* untouched */
	if (is != found)
		fail_msg("%s: %d, not %d", path, is, found);
}

static void
directories_list_what_is_in_them(void **state _unused_)
{
	static const struct {
		const char *path, *listing;
	} table[] = {
		{ ROOT, "v1/\n" },
		{ ROOT "v1/", "instance/\nproject/\nuniverse/\n" },
		{ ROOT "v1/instance/",
		  "hostname\nid\nname\nservice-accounts/\nzone\n" },
		{ ROOT "v1/project/", "numeric-project-id\nproject-id\n" },
		{ ROOT "v1/universe/", "universe-domain\n" },
	};
	struct place at;

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		assert_int_equal(find(table[i].path, &at), TREE_PLACE);
		assert_int_equal(at.node, NODE_DIR);
		assert_string_equal(at.listing, table[i].listing);
		assert_null(at.account);
		assert_true(node_is_dir(at.node));
	}
	assert_int_equal(find(SA "default/", &at), TREE_PLACE);
	assert_string_equal(at.listing, "aliases\nemail\nidentity\nscopes\n"
			    "token\n");
	free(at.account);
}

static void
everything_a_listing_names_is_there(void **state _unused_)
{
	static const char *const dirs[] = {
		ROOT, ROOT "v1/", ROOT "v1/instance/", ROOT "v1/project/",
		ROOT "v1/universe/", SA "default/",
	};

	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++) {
		struct place at, sub;
		const char *line, *end;

		assert_int_equal(find(dirs[i], &at), TREE_PLACE);
		for (line = at.listing; *line; line = end + 1) {
			_cleanup_(freep) char *path = NULL;

			end = strchr(line, '\n');
			assert_non_null(end);
			path = xasprintf("%s%.*s", dirs[i], (int)(end - line),
					 line);
			assert_int_equal(find(path, &sub), TREE_PLACE);
			free(sub.account);
		}
		free(at.account);
	}
}

static void
values_are_found_by_their_paths(void **state _unused_)
{
	for (size_t i = 0; i < VALUES; i++) {
		_cleanup_(freep) char *path = NULL;
		struct place at;

		path = xasprintf(ROOT "v1/%s", value_path((enum value)i));
		assert_int_equal(find(path, &at), TREE_PLACE);
		assert_int_equal(at.node, NODE_VALUE);
		assert_int_equal(at.value, i);
		assert_false(node_is_dir(at.node));
	}
}

static void
accounts_are_found_under_any_name(void **state _unused_)
{
	finds(SA, NODE_ACCOUNTS, NULL);
	finds(SA "default/", NODE_ACCOUNT, "default");
	finds(SA "default/email", NODE_EMAIL, "default");
	finds(SA "default/scopes", NODE_SCOPES, "default");
	finds(SA "default/aliases", NODE_ALIASES, "default");
	finds(SA "default/identity", NODE_IDENTITY, "default");
	finds(SA EMAIL "/", NODE_ACCOUNT, EMAIL);
	finds(SA EMAIL "/identity", NODE_IDENTITY, EMAIL);
	finds(SA "nobody@else/email", NODE_EMAIL, "nobody@else");
	finds(SA "../email", NODE_EMAIL, "..");
}

static void
what_is_not_served_is_not_there(void **state _unused_)
{
	static const char *const paths[] = {
		ROOT "v", ROOT "v2/", ROOT "v1/i", ROOT "v1/attributes/",
		ROOT "v1/instance/attributes/",
		ROOT "v1/instance/attributes/ssh-keys",
		ROOT "v1/project/attributes/", ROOT "v1/instance/disks/",
		ROOT "v1/instance/i", ROOT "v1/instance/id/",
		ROOT "v1/instance/ID", ROOT "V1/instance/id",
		ROOT "v1/project/project-id/", ROOT "v1/project/project-id/x",
		ROOT "v1/instance/id.", ROOT "v1/instance/./id",
		ROOT "v1/project/../instance/id", ROOT "v1/instance/id;a=b",
		ROOT "v1beta1/instance/id", ROOT "project/project-id",
		SA "default/tokens", SA "default/emai", SA "default/emails",
		SA "default/email/", SA "default/identity/", SA "default/x/",
		SA "default/email/x", SA "a/b/email", SA "default/ identity",
	};

	for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
		is(paths[i], TREE_NOTHING);
}

static void
directories_without_their_slash_are_told_apart(void **state _unused_)
{
	static const char *const paths[] = {
		"/computeMetadata", ROOT "v1", ROOT "v1/instance",
		ROOT "v1/project", ROOT "v1/universe",
		ROOT "v1/instance/service-accounts", SA "default", SA EMAIL,
		SA "anything", ROOT "v1//instance", ROOT "v1%2Finstance",
		SA "email",
	};

	for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
		is(paths[i], TREE_SLASHLESS);
}

static void
escapes_are_decoded_once(void **state _unused_)
{
	finds(ROOT "%761/", NODE_DIR, NULL);
	finds(ROOT "v1/instance/i%64", NODE_VALUE, NULL);
	finds(ROOT "v1/instance/%69%64", NODE_VALUE, NULL);
	finds(SA "a%40b/email", NODE_EMAIL, "a@b");
	finds(SA "%64efault/%65mail", NODE_EMAIL, "default");
	finds(SA "a%2Bb/email", NODE_EMAIL, "a+b");
	finds(SA "a+b/email", NODE_EMAIL, "a+b");
	/* What comes out is no escape any more. */
	finds(SA "a%2540b/email", NODE_EMAIL, "a%40b");
	finds(SA "%2564efault/email", NODE_EMAIL, "%64efault");
	is(ROOT "v1/instance/i%2564", TREE_NOTHING);
}

static void
hex_digits_are_of_either_case(void **state _unused_)
{
	finds(SA "%6a%6B/email", NODE_EMAIL, "jk");
	finds(SA "%7e%7E/email", NODE_EMAIL, "~~");
}

static void
an_escaped_slash_is_a_slash(void **state _unused_)
{
	finds(ROOT "v1%2f", NODE_DIR, NULL);
	finds(ROOT "v1%2Finstance%2fid", NODE_VALUE, NULL);
	finds(SA "default%2femail", NODE_EMAIL, "default");
	finds(SA "default/%2femail", NODE_EMAIL, "default");
	finds(SA "default%2f", NODE_ACCOUNT, "default");
	is(SA "a%2fb/email", TREE_NOTHING);
	/* Only once. */
	is(ROOT "v1%252finstance", TREE_NOTHING);
	finds(SA "default%252femail/", NODE_ACCOUNT, "default%2femail");
}

static void
doubled_slashes_count_as_one(void **state _unused_)
{
	finds(ROOT "/", NODE_DIR, NULL);
	finds(ROOT "//v1///", NODE_DIR, NULL);
	finds(ROOT "v1//instance////id", NODE_VALUE, NULL);
	finds(SA "/", NODE_ACCOUNTS, NULL);
	finds(SA "//default//email", NODE_EMAIL, "default");
	finds(SA "default//", NODE_ACCOUNT, "default");
	finds(SA "default%2f/", NODE_ACCOUNT, "default");
	is(ROOT "v1/instance/id//", TREE_NOTHING);
}

static void
broken_escapes_are_nothing(void **state _unused_)
{
	static const char *const paths[] = {
		ROOT "v1/%", ROOT "v1/%2", ROOT "v1/%g0/", ROOT "v1/%0g/",
		ROOT "%", ROOT "%%", ROOT "v1/instance/i%6", ROOT "v1/%-1",
		ROOT "v1/% 1", ROOT "v1/%+1", ROOT "v1/%/1", ROOT "v1/%:0",
		ROOT "v1/%@0", ROOT "v1/%`0", SA "default/email%", SA "%4/email",
	};

	for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
		is(paths[i], TREE_NOTHING);
}

static void
nothing_but_printable_ascii_is_a_path(void **state _unused_)
{
	static const char *const paths[] = {
		SA "a%0d%0ab/email", SA "a%0D%0ASet-Cookie:x/email",
		SA "default/email%0d%0a", ROOT "v1/%0d%0a", ROOT "v1%0a",
		SA "a%00b/email", SA "default%00/email", ROOT "v1/%00",
		SA "a%20b/email", SA "a b/email", SA "a%7fb/email",
		SA "a%ffb/email",
		SA "a\tb/email", SA "a\r\nb/email", SA "a\377b/email",
		SA "caf\303\251/email", SA "caf%C3%A9/email", ROOT "v1/\177",
		/* No redirect to such a place, either. */
		SA "a%0d%0ab", SA "a%20b", SA "\303\251",
	};

	for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
		is(paths[i], TREE_NOTHING);
}

static void
a_nul_byte_is_nothing(void **state _unused_)
{
	static const char raw[] = SA "default/email\0x";
	struct place at = { 0 };

	assert_int_equal(tree_find((struct http_span){ raw, sizeof(raw) - 1 }, &at),
			 TREE_NOTHING);
}

static void
every_byte_of_a_name_is_judged(void **state _unused_)
{
	char path[] = SA "axb/email";
	const struct http_span raw = { path, sizeof(path) - 1 };
	char *x = strchr(path, 'x');

	for (int c = 0; c < 256; c++) {
		struct place at;
		enum tree_found found;
		bool good = c > ' ' && c < 127 && c != '%' && c != '/';

		*x = (char)c;
		found = tree_find(raw, &at);
		if ((found == TREE_PLACE) != good)
			fail_msg("byte %d", c);
		if (found == TREE_PLACE)
			free(at.account);
	}
}

static void
long_paths_end_in_nothing(void **state _unused_)
{
	for (size_t len = 900; len < 1200; len++) {
		_cleanup_(freep) char *name = xcalloc(len + 1, 1), *path = NULL;
		size_t rest = strlen(SA "/email") - strlen(ROOT) + len;

		memset(name, 'a', len);
		path = xasprintf(SA "%s/email", name);
		is(path, rest < 1024 ? TREE_PLACE : TREE_NOTHING);
	}
}

static void
a_slashless_directory_may_be_as_long_as_a_path(void **state _unused_)
{
	for (size_t len = 950; len < 1100; len++) {
		_cleanup_(freep) char *name = xcalloc(len + 1, 1), *path = NULL;
		size_t rest = strlen(SA) - strlen(ROOT) + len;

		memset(name, 'a', len);
		path = xasprintf(SA "%s", name);
		is(path, rest < 1024 ? TREE_SLASHLESS : TREE_NOTHING);
	}
}

static void
a_directory_holds_what_is_below_it(void **state _unused_)
{
	static const char *const dirs[] = { "", "v1/", "v1/instance/",
		"v1/project/", "v1/universe/" };
	static const unsigned holds[] = { 7, 7, 4, 2, 1 };

	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++) {
		unsigned n = 0;

		for (size_t v = 0; v < VALUES; v++)
			n += tree_holds_value(dirs[i], (enum value)v);
		assert_int_equal(n, holds[i]);
		assert_int_equal(tree_holds_accounts(dirs[i]), i < 3);
		assert_non_null(tree_listing(dirs[i]));
	}
	assert_null(tree_listing("v1/instance/service-accounts/"));
	assert_null(tree_listing("v1/instance"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(directories_list_what_is_in_them),
		cmocka_unit_test(everything_a_listing_names_is_there),
		cmocka_unit_test(a_directory_holds_what_is_below_it),
		cmocka_unit_test(values_are_found_by_their_paths),
		cmocka_unit_test(accounts_are_found_under_any_name),
		cmocka_unit_test(what_is_not_served_is_not_there),
		cmocka_unit_test(directories_without_their_slash_are_told_apart),
		cmocka_unit_test(escapes_are_decoded_once),
		cmocka_unit_test(hex_digits_are_of_either_case),
		cmocka_unit_test(an_escaped_slash_is_a_slash),
		cmocka_unit_test(doubled_slashes_count_as_one),
		cmocka_unit_test(broken_escapes_are_nothing),
		cmocka_unit_test(nothing_but_printable_ascii_is_a_path),
		cmocka_unit_test(a_nul_byte_is_nothing),
		cmocka_unit_test(every_byte_of_a_name_is_judged),
		cmocka_unit_test(long_paths_end_in_nothing),
		cmocka_unit_test(a_slashless_directory_may_be_as_long_as_a_path),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
