/* SPDX-License-Identifier: Apache-2.0 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli_gcs.h"
#include "cli_sha256.h"

static void
hashes_are_those_of_the_standard(void **state)
{
	static const struct {
		const char *text, *hash;
	} rows[] = {
		{ "", "e3b0c44298fc1c149afbf4c8996fb924"
		      "27ae41e4649b934ca495991b7852b855" },
		{ "abc", "ba7816bf8f01cfea414140de5dae2223"
			 "b00361a396177a9cb410ff61f20015ad" },
		{ "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
		  "248d6a61d20638b8e5c026930c3e6039"
		  "a33ce45964ff2167f6ecedd419db06c1" },
		{ "abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmno"
		  "ijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu",
		  "cf5b16a778af8380036ce59e7b049237"
		  "0b249b11e8f07a51afac45037afee9d1" },
	};
	char hash[SHA256_HEX_SIZE], *million = malloc(1000000);

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		sha256_hex(rows[i].text, strlen(rows[i].text), hash);
		assert_string_equal(hash, rows[i].hash);
	}
	assert_non_null(million);
	memset(million, 'a', 1000000);
	sha256_hex(million, 1000000, hash);
	assert_string_equal(hash, "cdc76e5c9914fb9281a1c7e284d73e67"
				  "f1809a48a497200e046d39ccc7112cd0");
	free(million);
}

/* Around the place where the length finds no room in the last block. */
static void
any_length_is_padded_well(void **state)
{
	static const struct {
		size_t len;
		const char *hash;
	} rows[] = {
		{ 55, "9f4390f8d30c2dd92ec9f095b65e2b9a"
		    "e9b0a925a5258e241c9f1e910f734318" },
		{ 56, "b35439a4ac6f0948b6d6f9e3c6af0f5f"
		    "590ce20f1bde7090ef7970686ec6738a" },
		{ 63, "7d3e74a05d7db15bce4ad9ec0658ea98"
		    "e3f06eeecf16b4c6fff2da457ddc2f34" },
		{ 64, "ffe054fe7ae0cb6dc65c3af9b61d5209"
		    "f439851db43d0ba5997337df154668eb" },
		{ 65, "635361c48bb9eab14198e76ea8ab7f1a"
		    "41685d6ad62aa9146d301d4f17eb0ae0" },
		{ 128, "6836cf13bac400e9105071cd6af47084"
		     "dfacad4e5e302c94bfed24e013afb73e" },
	};
	char hash[SHA256_HEX_SIZE], text[200];

	(void)state;
	memset(text, 'a', sizeof(text));
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		sha256_hex(text, rows[i].len, hash);
		assert_string_equal(hash, rows[i].hash);
	}
}

static void
a_string_to_sign_is_that_of_version_4(void **state)
{
	const struct gcs_request q = {
		.object = "gs://bucket/a b/\xc3\xbc.txt", .method = "GET",
		.email = "app-sa@example-proj-123.iam.gserviceaccount.com",
		.universe = "googleapis.com", .now = 1767225600, .expires = 600,
	};
	char *text = gcs_string_to_sign(&q), *url = gcs_url(&q, "AP+/");

	(void)state;
	assert_non_null(text);
	assert_memory_equal(text, "GOOG4-RSA-SHA256\n20260101T000000Z\n"
			    "20260101/auto/storage/goog4_request\n", 70);
	assert_int_equal(strlen(text), 70 + 64);
	assert_string_equal(url, "https://storage.googleapis.com/bucket/a%20b/"
			    "%C3%BC.txt?X-Goog-Algorithm=GOOG4-RSA-SHA256&"
			    "X-Goog-Credential=app-sa%40example-proj-123.iam."
			    "gserviceaccount.com%2F20260101%2Fauto%2Fstorage%2F"
			    "goog4_request&X-Goog-Date=20260101T000000Z&"
			    "X-Goog-Expires=600&X-Goog-SignedHeaders=host&"
			    "X-Goog-Signature=00ffbf");
	free(text);
	free(url);
}

/* What is signed and where it leads are one host. */
static void
the_universe_is_the_hosts_domain(void **state)
{
	struct gcs_request q = {
		.object = "gs://bucket/x", .method = "GET", .email = "a@b",
		.universe = "googleapis.com", .now = 1767225600, .expires = 600,
	};
	char *at_home = gcs_string_to_sign(&q), *there, *url;

	(void)state;
	q.universe = "apis.example";
	there = gcs_string_to_sign(&q);
	url = gcs_url(&q, "AA==");
	assert_memory_equal(url, "https://storage.apis.example/bucket/x?", 38);
	assert_string_not_equal(there, at_home);
	free(at_home);
	free(there);
	free(url);
}

static void
base64_becomes_digits(void **state)
{
	static const char *const rows[][2] = {
		{ "", "" }, { "AA==", "00" }, { "/w==", "ff" }, { "AAE=", "0001" },
		{ "q83v", "abcdef" }, { "+/8A", "fbff00" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char *hex = gcs_hex(rows[i][0]);

		assert_string_equal(hex, rows[i][1]);
		free(hex);
	}
	assert_null(gcs_hex("-_8A"));
	assert_null(gcs_hex("A A="));
}

static void
objects_are_buckets_and_names(void **state)
{
	static const char *const good[] = { "gs://abc/x", "gs://a.b-c_d/x/y?z#", };
	static const char *const bad[] = {
		"", "gs://", "gs://abc", "gs://abc/", "gs:///x", "gs://ab/x",
		"gs://ABC/x", "gs://a@b/x", "https://abc/x", "gs://abc/x\ny",
		"gs://abc/..", "s3://abc/x",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		assert_null(gcs_check_object(good[i]));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_non_null(gcs_check_object(bad[i]));
	/* What is wrong is what is told. */
	assert_non_null(strstr(gcs_check_object("gs://abc"), "object's name"));
	assert_non_null(strstr(gcs_check_object("gs://ab"), "bucket's name"));
	assert_true(gcs_is_method("PUT"));
	assert_false(gcs_is_method("get"));
	assert_false(gcs_is_method("GET\n/x"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hashes_are_those_of_the_standard),
		cmocka_unit_test(any_length_is_padded_well),
		cmocka_unit_test(a_string_to_sign_is_that_of_version_4),
		cmocka_unit_test(the_universe_is_the_hosts_domain),
		cmocka_unit_test(base64_becomes_digits),
		cmocka_unit_test(objects_are_buckets_and_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
