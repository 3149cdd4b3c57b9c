/* SPDX-License-Identifier: Apache-2.0 */

/* Credential files (google/credfile.h): the input is a file.

   - What comes out has what its type needs, and nothing that could not stand in a
     request; an impersonated account's source is no such account itself.
   - Every failure is the file's, in words that show nothing like a token. */

#include "base/text.h"
#include "fuzz-words.h"
#include "google/credfile.h"
#include "google/endpoints.h"

static void
check_file(const struct credfile *c, bool inner)
{
	bool user = c->type == CREDFILE_AUTHORIZED_USER;
	bool key = c->type == CREDFILE_SERVICE_ACCOUNT;

	CHECK(!c->email == user && (user || endpoint_is_account(c->email)));
	CHECK(!c->private_key == !key && !c->key_id == !key);
	CHECK(!key || strncmp(c->private_key, "-----BEGIN ", 11) == 0);
	CHECK(!key || text_is_graph(c->key_id, 512));
	CHECK(!user == !c->client_id && !user == !c->client_secret &&
	      !user == !c->refresh_token);
	CHECK(!user || (text_is_graph(c->client_id, 512) &&
			text_is_graph(c->client_secret, 512) &&
			text_is_graph(c->refresh_token, 2048)));
	CHECK(!c->quota_project || text_is_graph(c->quota_project, 100));
	for (size_t i = 0; c->delegates[i]; i++)
		CHECK(!key && !user && endpoint_is_account(c->delegates[i]));
	CHECK(!c->source == (key || user));
	CHECK(!inner || !c->source);
	if (c->source)
		check_file(c->source, true);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(credfile_freep) struct credfile *c = NULL;
	char *copy = copy_exact((const char *)data, size);
	struct err e;
	int r = credfile_parse(copy, size, ENDPOINT_UNIVERSE, &c, &e);

	free(copy);
	if (r < 0) {
		CHECK(!c && e.kind == ERR_REQUEST);
		check_err(&e, r);
	} else {
		check_file(c, false);
	}
	return 0;
}
