/* SPDX-License-Identifier: Apache-2.0 */

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>

#include <cmocka.h>

#include "config.h"
#include "config_names.h"
#include "config_table.h"
#include "config_value.h"

#define VENDOR	"/vendor"
#define ETC	"/etc"

static char root[] = "/tmp/test-config-XXXXXX";

static const struct config_paths paths = {
	.vendor_dir = VENDOR,
	.etc_file = ETC "/agent.conf",
	.etc_dir = ETC "/agent.conf.d",
	.root = root,
};

static char *
path_of(const char *name)
{
	return xasprintf("%s%s", root, name);
}

static void
put(const char *name, const void *text, size_t len)
{
	_cleanup_(freep) char *path = path_of(name);
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, len, f), len);
	assert_int_equal(fclose(f), 0);
}

static void
put_text(const char *name, const char *text)
{
	put(name, text, strlen(text));
}

static void
make_dir(const char *name)
{
	_cleanup_(freep) char *path = path_of(name);

	assert_return_code(mkdir(path, 0755), errno);
}

static int
remove_one(const char *path, const struct stat *st _unused_, int type _unused_,
	   struct FTW *ftw)
{
	return ftw->level == 0 ? 0 : remove(path);
}

/* Each test begins with the three directories, empty. */
static int
setup(void **state _unused_)
{
	(void)umask(022);
	unsetenv("GCE_METADATA_HOST");
	if (nftw(root, remove_one, 8, FTW_DEPTH | FTW_PHYS) < 0)
		return -1;
	make_dir(VENDOR);
	make_dir(ETC);
	make_dir(ETC "/agent.conf.d");
	return 0;
}

static struct config *
load(const struct config_paths *from)
{
	struct config *c = NULL;
	struct err e;

	if (config_load(from, true, NULL, NULL, &c, &e) < 0)
		fail_msg("%s", e.msg);
	return c;
}

/* It fails, with exactly these words, "@" in front standing for the root. */
static void
load_fails(const struct config_paths *from, bool by_hand, const char *words)
{
	bool below = *words == '@';
	_cleanup_(freep) char *expected = xasprintf("%s%s", below ? root : "",
						    words + below);
	struct config *c = NULL;
	struct err e;

	assert_true(config_load(from, by_hand, NULL, NULL, &c, &e) < 0);
	assert_null(c);
	assert_string_equal(e.msg, expected);
}

static struct config *
load_text(const char *text)
{
	put_text(ETC "/agent.conf", text);
	return load(&paths);
}

static bool
admits(const struct config *c, uid_t uid, const char *audience)
{
	struct peer p = { .fd = -1, .pidfd = -1, .known = true, .uid = uid,
		.gid = 4711, .pid = 1, .loaded = PEER_GROUPS | PEER_HOST,
		.groups_known = true, .host = TRI_YES };

	return policy_check(c->policy, &p, NULL, &(struct policy_query){
		POLICY_ID, "default", audience, NULL }, NULL, NULL) == 0;
}

/* --- what holds by default -------------------------------------------------- */

static void
without_files_root_is_served_and_nobody_else(void **state _unused_)
{
	struct config *c = load(&paths);

	assert_int_equal(policy_len(c->policy), 1);
	assert_true(admits(c, 0, "https://any.thing/at:all@x"));
	assert_false(admits(c, 1000, "https://any.thing"));
	config_free(c);

	/* No directories either. */
	assert_int_equal(nftw(root, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
	c = load(&paths);
	assert_int_equal(policy_len(c->policy), 1);
	config_free(config_free(c));
}

static void
any_file_ends_the_built_in_default(void **state _unused_)
{
	struct config *c = load_text("");

	assert_int_equal(policy_len(c->policy), 0);
	assert_false(admits(c, 0, "https://x"));
	config_free(c);
}

/* A file of the source tree. */
static void
read_source(const char *name, char *text, size_t size)
{
	const char *srcdir = getenv("srcdir");
	_cleanup_(freep) char *path = xasprintf("%s/%s", srcdir ? srcdir : ".",
						name);
	FILE *f = fopen(path, "r");
	size_t n;

	assert_non_null(f);
	n = fread(text, 1, size - 1, f);
	text[n] = '\0';
	assert_int_equal(fclose(f), 0);
}

static void
the_vendor_file_is_the_built_in_text(void **state _unused_)
{
	char text[4096];

	read_source("units/50-default.conf", text, sizeof(text));
	assert_string_equal(text, config_default_text);
}

static void
the_example_goes_with_the_vendor_file(void **state _unused_)
{
	char text[8192];
	struct config *c;

	put_text(VENDOR "/50-default.conf", config_default_text);
	read_source("doc/agent.conf.example", text, sizeof(text));
	put_text(ETC "/agent.conf", text);
	c = load(&paths);
	assert_true(admits(c, 0, "https://x"));
	config_free(c);
}

static void
the_defaults(void **state _unused_)
{
	struct config *c = load(&paths);
	const struct http_lane_options *local = &c->client.lane[HTTP_LANE_LOCAL];
	const struct http_lane_options *google = &c->client.lane[HTTP_LANE_GOOGLE];

	assert_int_equal(c->log_level, LOG_INFO);
	assert_string_equal(c->at.metadata, "http://169.254.169.254");
	assert_string_equal(c->at.iam, "https://iamcredentials.googleapis.com");
	assert_string_equal(c->at.token, "https://oauth2.googleapis.com/token");
	assert_false(c->at.test || c->metadata_configured || c->client.plain_http);
	assert_null(c->client.ca_file);
	assert_null(c->client.proxy);
	assert_false(c->client.proxy_environment);
	assert_int_equal(c->client.host_connections, 4);
	assert_int_equal(c->broker.cache.entries, 4096);
	assert_int_equal(c->broker.cache.per_owner, 256);
	assert_int_equal(c->server.max_connections, 8192);
	assert_int_equal(c->api.connections_per_peer, 512);
	assert_int_equal(c->api.connections_share, 2048);
	assert_int_equal(c->api.peer_buffers, 1024 * 1024);
	assert_int_equal(c->server.max_buffers, 16 * 1024 * 1024);
	assert_int_equal(c->server.max_strangers, 256);
	assert_int_equal(c->server.stranger_body, 4096);
	assert_int_equal(c->broker.max_flights, 16);
	assert_int_equal(c->broker.max_waiters, 4096);
	assert_int_equal(c->broker.peer_share, 25);
	assert_int_equal(c->client.budget.share, 25);
	assert_int_equal(c->client.budget.per_minute, 300);
	assert_true(c->api.limit.per_second > 1.99);
	assert_true(c->api.limit.per_second < 2.01);
	assert_int_equal(c->api.limit.burst, 64);
	assert_int_equal(c->api.max_audience, 2048);
	assert_int_equal(local->connect_usec, USEC_PER_SEC);
	assert_int_equal(local->try_usec, 5 * USEC_PER_SEC);
	assert_int_equal(local->retry.tries, 5);
	assert_int_equal(local->retry.first_usec, 100 * USEC_PER_MSEC);
	assert_int_equal(local->retry.max_usec, 5 * USEC_PER_SEC);
	assert_int_equal(local->retry.retry_after_max_usec, USEC_PER_MIN);
	assert_int_equal(google->connect_usec, 5 * USEC_PER_SEC);
	assert_int_equal(google->try_usec, 15 * USEC_PER_SEC);
	assert_int_equal(google->retry.tries, 4);
	assert_int_equal(google->retry.first_usec, USEC_PER_SEC);
	assert_int_equal(google->retry.max_usec, 20 * USEC_PER_SEC);
	assert_int_equal(google->retry.retry_after_max_usec, USEC_PER_MIN);
	assert_int_equal(c->flow.token_life_max_usec, 24 * 60 * USEC_PER_MIN);
	assert_int_equal(c->account.access_margin_usec, 225 * USEC_PER_SEC);
	assert_int_equal(c->server.write_usec, 10 * USEC_PER_SEC);
	assert_int_equal(c->server.lifetime_usec, 15 * USEC_PER_MIN);
	assert_ptr_equal(c->flows[0], flow_find("signblob"));
	assert_ptr_equal(c->flows[1], flow_find("metadata"));
	assert_null(c->flows[2]);
	assert_int_equal(c->flow.verify, FLOW_VERIFY_AUTO);
	assert_int_equal(c->flows_opt.doubt_usec, 5 * USEC_PER_SEC);
	assert_int_equal(c->flows_opt.again_usec, USEC_PER_MIN);
	assert_int_equal(c->flows_opt.again_max_usec, 60 * USEC_PER_MIN);
	assert_int_equal(c->keyring.min_usec, USEC_PER_MIN);
	assert_int_equal(c->keyring.max_usec, 24 * 60 * USEC_PER_MIN);
	assert_int_equal(c->keyring.refetch_usec, USEC_PER_MIN);
	config_free(c);
}

/* Each row by itself: its default lies in its range, its member is its own. */
static void
every_option_has_a_place_of_its_own(void **state _unused_)
{
	for (size_t i = 0; i < config_options_len; i++) {
		const struct config_option *o = &config_options[i];

		assert_ptr_equal(o, &config_options[config_option_find(o->section,
								       o->key)]);
		assert_true(o->offset < sizeof(struct config));
		for (size_t k = 0; k < i; k++)
			assert_true(config_options[k].offset != o->offset);
	}
	for (size_t i = 0; i < config_pairs_len; i++) {
		size_t first = config_option_find("timing", config_pairs[i].first);
		size_t max = config_option_find("timing", config_pairs[i].max);

		assert_true(first < config_options_len && max < config_options_len);
		assert_true(config_options[first].max <= config_options[max].max);
		assert_true(config_options[first].min <= config_options[max].min ||
			    config_options[max].min == 0);
	}
}

/* --- what files say --------------------------------------------------------- */

static void
all_of_the_grammar(void **state _unused_)
{
	struct config *c = load_text(
		"# a comment\n"
		"   \t# another\n"
		"\n"
		"[ agent ]\n"
		"\tlog-level\t=  debug  \n"
		"[timing]\n"
		"detect=50ms\n"
		"drain = \"2 min\"\n"
		"idle='90'\n"
		"[cache]\n"
		"entries = 2K\n"
		"entries = 1K\n"
		"[upstream]\n"
		"proxy =\n"
		"[rule a]\n"
		"user = 7\n"
		"audience = https://a\thttps://b\\ c\n"
		"[limits]\n"
		"requests-per-second = 0.25\n"
		"peer-share = 100%\n"
		"connections = 100\n"
		"[rule a]\n"
		"user = 8\n"
		"audience = \"d # e\"");

	assert_int_equal(c->log_level, LOG_DEBUG);
	assert_int_equal(c->detect_usec, 50 * USEC_PER_MSEC);
	assert_int_equal(c->drain_usec, 2 * USEC_PER_MIN);
	assert_int_equal(c->server.idle_usec, 90 * USEC_PER_SEC);
	assert_int_equal(c->broker.cache.entries, 1024);
	assert_true(c->api.limit.per_second > 0.249 &&
		    c->api.limit.per_second < 0.251);
	assert_int_equal(c->broker.peer_share, 100);
	assert_int_equal(c->client.budget.share, 100);
	assert_int_equal(c->api.connections_share, 100);
	assert_int_equal(c->server.max_strangers, 100);
	assert_int_equal(policy_len(c->policy), 1);
	assert_true(admits(c, 8, "https://a"));
	assert_true(admits(c, 7, "https://b c"));
	assert_true(admits(c, 7, "#"));
	assert_false(admits(c, 7, "https://c"));
	config_free(c);
}

static void
upstream_can_be_moved_for_tests(void **state _unused_)
{
	_cleanup_(freep) char *ca = path_of("/ca.pem");
	_cleanup_(freep) char *text = xasprintf(
		"[upstream]\nmetadata = http://127.0.0.1:8001\n"
		"iam = https://127.0.0.1:8002\n"
		"token-endpoint = http://localhost:8003/token\n"
		"test-endpoints = yes\nca-file = %s\n"
		"proxy = http://user:secret@proxy.example.com:3128\n", ca);
	struct config *c;

	put_text("/ca.pem", "");
	c = load_text(text);
	assert_string_equal(c->at.metadata, "http://127.0.0.1:8001");
	assert_string_equal(c->at.iam, "https://127.0.0.1:8002");
	assert_string_equal(c->at.token, "http://localhost:8003/token");
	assert_true(c->at.test && c->client.plain_http && c->metadata_configured);
	assert_string_equal(c->client.ca_file, ca);
	assert_string_equal(c->client.proxy,
			    "http://user:secret@proxy.example.com:3128");
	config_free(c);

	c = load_text("[upstream]\nproxy = environment\n");
	assert_true(c->client.proxy_environment);
	assert_null(c->client.proxy);
	config_free(c);
}

/* What the flows of these are called. */
static void
flows_are(const struct flow_ops *const *flows, const char *expected)
{
	struct buf b = BUF_INIT(1024);

	for (; *flows; flows++)
		buf_addf(&b, "%s%s", b.len ? " " : "", (*flows)->name);
	assert_string_equal(buf_str(&b), expected);
	buf_free(&b);
}

static void
a_universe_moves_all_that_is_not_written(void **state _unused_)
{
	struct config *c = load_text("[upstream]\nuniverse = apis.example\n");

	assert_string_equal(c->at.universe, "apis.example");
	assert_string_equal(c->at.iam, "https://iamcredentials.apis.example");
	assert_string_equal(c->at.certs,
			    "https://www.apis.example/oauth2/v3/certs");
	assert_string_equal(c->at.metadata, "http://169.254.169.254");
	flows_are(c->flows, "generate metadata");
	config_free(c);

	c = load_text("[upstream]\niam = https://iam.corp.example\n"
		      "universe = apis.example\n");
	assert_string_equal(c->at.iam, "https://iam.corp.example");
	config_free(c);

	c = load_text("");
	assert_string_equal(c->at.universe, "googleapis.com");
	assert_string_equal(c->at.token, "https://oauth2.googleapis.com/token");
	flows_are(c->flows, "signblob metadata");
	config_free(c);
}

static void
in_another_universe_generate_takes_signblobs_place(void **state _unused_)
{
	static const struct {
		const char *written, *are;
	} rows[] = {
		{ "signblob", "signblob generate" },
		{ "signblob metadata", "signblob generate metadata" },
		{ "metadata signblob", "metadata signblob generate" },
		{ "generate signblob", "generate signblob" },
		{ "signblob metadata generate", "signblob metadata generate" },
		{ "metadata", "metadata" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_(freep) char *text = xasprintf(
			"[upstream]\nuniverse = apis.example\n"
			"[account default]\nflows = %s\n", rows[i].written);
		struct config *c = load_text(text);

		flows_are(c->flows, rows[i].are);
		config_free(c);
	}
}

static void
another_account_has_the_flows_of_its_universe(void **state _unused_)
{
	static const char text[] = "[upstream]\nuniverse = apis.example\n"
		"[account a]\nemail = a@p.iam.gserviceaccount.com\n"
		"[account b]\nemail = b@p.iam.gserviceaccount.com\n"
		"flows = signblob\n";
	struct config *c = load_text(text);

	flows_are(config_account_find(&c->accounts, "a")->flows, "generate");
	flows_are(config_account_find(&c->accounts, "b")->flows,
		  "signblob generate");
	config_free(c);
	c = load_text("[account a]\nemail = a@p.iam.gserviceaccount.com\n");
	flows_are(config_account_find(&c->accounts, "a")->flows,
		  "generate signblob");
	config_free(c);
}

static void
another_universe_is_another_identity(void **state _unused_)
{
	struct config *a = load_text(""), *b, *same;

	b = load_text("[upstream]\nuniverse = apis.example\n");
	same = load_text("[upstream]\nuniverse = googleapis.com\n");
	assert_int_equal(config_compare(a, b), CONFIG_OTHER_IDENTITY);
	assert_int_equal(config_compare(b, a), CONFIG_OTHER_IDENTITY);
	assert_int_equal(config_compare(a, same), CONFIG_SAME_UPSTREAM);
	config_free(a);
	config_free(b);
	config_free(same);
}

static void
the_metadata_host_of_the_environment(void **state _unused_)
{
	struct config *c;

	setenv("GCE_METADATA_HOST", "127.0.0.1:99", 1);
	c = load(&paths);
	assert_string_equal(c->at.metadata, "http://127.0.0.1:99");
	assert_true(c->metadata_configured);
	config_free(c);

	/* Files win. */
	c = load_text("[upstream]\nmetadata = http://127.0.0.2\n");
	assert_string_equal(c->at.metadata, "http://127.0.0.2");
	config_free(c);

	put_text(ETC "/agent.conf", "");
	setenv("GCE_METADATA_HOST", "", 1);
	c = load(&paths);
	assert_false(c->metadata_configured);
	config_free(c);

	setenv("GCE_METADATA_HOST", "md.example.com", 1);
	load_fails(&paths, true, "GCE_METADATA_HOST: http://md.example.com: the "
		   "metadata server is asked by address, never by name");
}

static void
a_default_gives_way_to_its_bound(void **state _unused_)
{
	struct config *c = load_text("[timing]\nwait-max = 2s\ndiscover = 3s\n");

	assert_int_equal(c->api.wait_usec, 2 * USEC_PER_SEC);
	assert_int_equal(c->account.discover_max_usec, 3 * USEC_PER_SEC);
	config_free(c);
}

static void
lists_add_up_over_files_and_single_values_change(void **state _unused_)
{
	struct config *c;

	put_text(VENDOR "/10.conf",
		 "[timing]\ndetect = 1s\ndrain = 1s\nidle = 1s\n");
	put_text(ETC "/agent.conf", "[timing]\ndrain = 2s\nidle = 2s\n");
	put_text(ETC "/agent.conf.d/90.conf", "[timing]\nidle = 9s\n");
	put_text(ETC "/agent.conf.d/20.conf", "[timing]\nidle = 3s\n");
	put_text(ETC "/agent.conf.d/.hidden.conf", "nonsense\n");
	put_text(ETC "/agent.conf.d/95.conf.bak", "nonsense\n");
	put_text(ETC "/agent.conf.d/.conf", "nonsense\n");
	c = load(&paths);
	assert_int_equal(c->detect_usec, USEC_PER_SEC);
	assert_int_equal(c->drain_usec, 2 * USEC_PER_SEC);
	assert_int_equal(c->server.idle_usec, 9 * USEC_PER_SEC);
	config_free(c);
}

static void
etc_masks_the_vendor(void **state _unused_)
{
	_cleanup_(freep) char *link = path_of(ETC "/agent.conf.d/50-default.conf");
	struct config *c;

	put_text(VENDOR "/50-default.conf", config_default_text);
	c = load(&paths);
	assert_true(admits(c, 0, "a"));
	config_free(c);

	/* Even a broken one is not read then. */
	put_text(VENDOR "/60.conf", "nonsense\n");
	put_text(ETC "/agent.conf.d/60.conf", "");
	put_text(ETC "/agent.conf.d/50-default.conf",
		 "[rule host-root]\nuser = 7\naudience = b\n");
	c = load(&paths);
	assert_int_equal(policy_len(c->policy), 1);
	assert_false(admits(c, 0, "a"));
	assert_true(admits(c, 7, "b"));
	assert_int_equal(c->record.n_files, 4);
	assert_non_null(strstr(c->record.files[0], "/50-default.conf (not read"));
	assert_non_null(strstr(c->record.files[1], "/60.conf (not read"));
	assert_null(strstr(c->record.files[2], "(not read"));
	config_free(c);

	/* The link removes it, and the built-in text does not come back. */
	assert_return_code(unlink(link), errno);
	assert_return_code(symlink("/dev/null", link), errno);
	c = load(&paths);
	assert_int_equal(policy_len(c->policy), 0);
	config_free(c);
}

static void
one_file_replaces_all(void **state _unused_)
{
	_cleanup_(freep) char *file = path_of("/mine");
	struct config_paths single = paths;
	struct config *c;

	put_text(VENDOR "/10.conf", "nonsense\n");
	put_text(ETC "/agent.conf", "nonsense\n");
	put_text("/mine", "[timing]\ndetect = 1s\n");
	single.single = file;
	c = load(&single);
	assert_int_equal(c->detect_usec, USEC_PER_SEC);
	assert_int_equal(policy_len(c->policy), 0);
	config_free(c);

	assert_return_code(unlink(file), errno);
	load_fails(&single, true, "@/mine: No such file or directory");
	single.single = "/nowhere/at/all";
	load_fails(&single, true, "/nowhere/at/all: No such file or directory");
}

static void
a_rule_belongs_to_one_file(void **state _unused_)
{
	_cleanup_(freep) char *words = NULL;

	put_text(ETC "/agent.conf", "\n[rule a]\nuser = 7\naudience = x\n");
	put_text(ETC "/agent.conf.d/a.conf", "[rule a]\nuser = 8\naudience = y\n");
	words = xasprintf("@" ETC "/agent.conf.d/a.conf:1: rule a is in %s" ETC
			  "/agent.conf:2 already", root);
	load_fails(&paths, true, words);
}

static char noted[600];

static void
on_note(void *userdata _unused_, const char *line)
{
	(void)snprintf(noted, sizeof(noted), "%s", line);
}

static void
notes_name_file_and_line(void **state _unused_)
{
	_cleanup_(freep) char *expected = NULL;
	struct config *c = NULL;

	put_text(ETC "/agent.conf",
		 "\n[rule a]\nuser=7\naudience=https://**.run.app\n");
	assert_int_equal(config_load(&paths, true, on_note, NULL, &c, NULL), 0);
	config_free(c);
	expected = xasprintf("%s" ETC "/agent.conf:2: rule a: audience "
			     "https://**.run.app has a wildcard for its host: it "
			     "admits audiences of strangers' services", root);
	assert_string_equal(noted, expected);
}

/* --- one test per mistake --------------------------------------------------- */

#define LEN(s)	s, sizeof(s) - 1

static const struct {
	const char *text;
	size_t len;
	const char *words;	/* behind the file's name */
} mistakes[] = {
	/* lines */
	{ LEN("detect = 1s\n"), ":1: detect stands before any [section]" },
	{ LEN("[agent]\nloglevel\n"),
	  ":2: loglevel: expected [section] or key = value" },
	{ LEN("[agent\n"), ":1: a section without its ]" },
	{ LEN("[agent] # x\n"), ":1: a section without its ]" },
	{ LEN("[agent]\nLog-Level = info\n"), ":2: bad key \"Log-Level\"" },
	{ LEN("[agent]\n= info\n"), ":2: bad key \"\"" },
	{ LEN("[agent]\n; comment\n"),
	  ":2: ; comment: expected [section] or key = value" },
	{ LEN("[agent]\nlog-level = info # why\n"),
	  ":2: comments stand on lines of their own (or quote a value that "
	  "has a #)" },
	{ LEN("[agent]\r\nlog-level = info\r\n"),
	  ":1: Windows line ends (CR LF): save the file with Unix ones" },
	{ LEN("[agent]\nlog-\0level = info\n"), ":2: a NUL byte" },
	{ LEN("[agent]\nlog-level = in\x1b" "fo\n"),
	  ":2: a control or invisible character" },
	{ LEN("[agent]\nlog-level = \rinfo\n"),
	  ":2: a control or invisible character" },
	{ LEN("\xef\xbb\xbf[agent]\n"),
	  ":1: a control or invisible character" },
	{ LEN("[rule a]\naudience = https://\xe2\x80\xae" "a\n"),
	  ":2: a control or invisible character" },
	{ LEN("[agent]\nlog-level = \xff\n"), ":2: not UTF-8" },
	{ LEN("[agent]\nlog-level = \"info\n"),
	  ":2: bad quotes: one pair around the whole value, or none" },
	{ LEN("[agent]\nlog-level = \"\n"),
	  ":2: bad quotes: one pair around the whole value, or none" },
	{ LEN("[rule a]\naudience = \"a\" \"b\"\n"),
	  ":2: bad quotes: one pair around the whole value, or none" },
	/* sections and keys */
	{ LEN("[]\n"), ":1: unknown section []" },
	{ LEN("[Agent]\n"), ":1: unknown section [Agent]" },
	{ LEN("[metrics]\nport = 1\n"), ":1: unknown section [metrics]" },
	{ LEN("[agent x]\n"), ":1: [agent] takes no name" },
	{ LEN("[account]\n"),
	  ":1: an account needs a name: [account default]" },
	{ LEN("[account prod]\nemail = x\n"),
	  ":2: email: x is not a service account's address "
	  "(NAME@PROJECT.iam.gserviceaccount.com)" },
	{ LEN("[rule]\nuser = 1\n"), ":1: a rule needs a name: [rule NAME]" },
	{ LEN("[rule a b]\n"),
	  ":1: rule name a b: expected at most 64 letters, digits and - _ ." },
	{ LEN("[agent]\npolicy = lax\n"),
	  ":2: policy: bad value \"lax\": expected enforce or permissive" },
	{ LEN("[agent]\naudit = some\n"), ":2: audit: bad value \"some\": "
	  "expected none, denied, new or all" },
	{ LEN("[upstream]\nmultiverse = x.example\n"),
	  ":2: unknown key multiverse in [upstream]" },
	{ LEN("[cache]\nlukewarm = x\n"),
	  ":2: unknown key lukewarm in [cache]" },
	{ LEN("[cache]\nwarm = a b\nwarm = a\n"), ":3: warm: a is named twice" },
	{ LEN("[cache]\nper-peer = 2\nwarm = a b\nwarm = c\n"),
	  ":4: warm: 3 audiences are more than entries or per-peer allow (2)" },
	{ LEN("[timing]\nentries = 1\n"),
	  ":2: unknown key entries in [timing]" },
	{ LEN("[account default]\nemail = x\n"),
	  ":2: unknown key email in [account default]" },
	{ LEN("[account default]\ncredentials = key.json\n"),
	  ":2: credentials: neither an absolute path nor adc" },
	{ LEN("[account default]\ncredentials = /nowhere/key.json\n"),
	  ":2: credentials: /nowhere/key.json: cannot be opened: No such file or "
	  "directory" },
	{ LEN("[account default]\nflows = keyfile\n"),
	  ":2: flows: flow keyfile needs credentials, and there are none" },
	/* values */
	{ LEN("[agent]\nlog-level = loud\n"),
	  ":2: log-level: bad value \"loud\": expected debug, info, notice, "
	  "warning or err" },
	{ LEN("[agent]\nlog-level =\n"), ":2: log-level: a value is missing" },
	{ LEN("[timing]\ndetect = 3 weeks\n"),
	  ":2: detect: bad value \"3 weeks\": expected a time such as 500ms, "
	  "5s, 10min or 1h" },
	{ LEN("[timing]\ndetect = -1s\n"),
	  ":2: detect: bad value \"-1s\": expected a time such as 500ms, 5s, "
	  "10min or 1h" },
	{ LEN("[timing]\ndetect = s\n"),
	  ":2: detect: bad value \"s\": expected a time such as 500ms, 5s, "
	  "10min or 1h" },
	{ LEN("[timing]\ndetect = 99999999999999999999s\n"),
	  ":2: detect: bad value \"99999999999999999999s\": expected a time "
	  "such as 500ms, 5s, 10min or 1h" },
	{ LEN("[timing]\ndetect = 0\n"),
	  ":2: detect: 0 is out of range: 1ms to 10min" },
	{ LEN("[timing]\ndetect = 2h\n"),
	  ":2: detect: 2h is out of range: 1ms to 10min" },
	{ LEN("[timing]\nassertion-life = 2h\n"),
	  ":2: assertion-life: 2h is out of range: 1s to 1h" },
	{ LEN("[timing]\nwait = 30s\n\nwait-max = 20s\n"),
	  ":2: wait: longer than wait-max" },
	{ LEN("[cache]\nentries = many\n"),
	  ":2: entries: bad value \"many\": expected a number such as 512 or "
	  "4K" },
	{ LEN("[cache]\nentries = 2M\n"),
	  ":2: entries: 2M is out of range: 1 to 1048576" },
	{ LEN("[limits]\nflights = 0\n"),
	  ":2: flights: 0 is out of range: 1 to 1024" },
	{ LEN("[limits]\npeer-share = 0%\n"),
	  ":2: peer-share: 0% is out of range: 1% to 100%" },
	{ LEN("[limits]\npeer-share = 101%\n"),
	  ":2: peer-share: 101% is out of range: 1% to 100%" },
	{ LEN("[limits]\npeer-share = 99999999999999999999%\n"),
	  ":2: peer-share: bad value \"99999999999999999999%\": expected a part "
	  "such as 25%" },
	{ LEN("[limits]\npeer-share = 25\n"),
	  ":2: peer-share: bad value \"25\": expected a part such as 25%" },
	{ LEN("[limits]\npeer-share = %\n"),
	  ":2: peer-share: bad value \"%\": expected a part such as 25%" },
	{ LEN("[limits]\npeer-share = 2.5%\n"),
	  ":2: peer-share: bad value \"2.5%\": expected a part such as 25%" },
	{ LEN("[upstream]\nrequests-per-minute = 9\n"),
	  ":2: requests-per-minute: 9 is out of range: 10 to 1000000" },
	{ LEN("[limits]\nrequests-per-second = 1.2345\n"),
	  ":2: requests-per-second: bad value \"1.2345\": expected a number "
	  "such as 2 or 0.5" },
	{ LEN("[limits]\nrequests-per-second = 0\n"),
	  ":2: requests-per-second: 0 is out of range: 0.001 to 100000" },
	{ LEN("[account default]\nflows = signblob other\n"),
	  ":2: flows: unknown flow other: there is signblob, generate, "
	  "metadata, keyfile, user" },
	{ LEN("[account default]\nflows = signblob\nflows = signblob\n"),
	  ":3: flows: flow signblob is named twice" },
	{ LEN("[account default]\nflows =\n"),
	  ":2: flows: none left: there is signblob, generate, metadata, "
	  "keyfile, user" },
	{ LEN("[cache]\nverify = maybe\n"),
	  ":2: verify: bad value \"maybe\": expected auto, claims or required" },
	{ LEN("[upstream]\nuniverse = Apis.example\n"),
	  ":2: universe: bad value \"Apis.example\": expected a domain in small "
	  "letters, such as googleapis.com" },
	{ LEN("[upstream]\nuniverse = 10.0.0.1\n"),
	  ":2: universe: bad value \"10.0.0.1\": expected a domain in small "
	  "letters, such as googleapis.com" },
	{ LEN("[upstream]\nuniverse =\n"),
	  ":2: universe: a value is missing" },
	{ LEN("[upstream]\nuniverse = apis.example\n"
	      "iam = https://iamcredentials.googleapis.com\n"),
	  ":3: iam: https://iamcredentials.googleapis.com is of universe "
	  "googleapis.com, and universe is apis.example: it would be sent that "
	  "one's access tokens" },
	{ LEN("[upstream]\ncerts = http://127.0.0.1/certs\n"),
	  ":2: certs: http://127.0.0.1/certs: https only" },
	/* upstream */
	{ LEN("[upstream]\ntest-endpoints = maybe\n"),
	  ":2: test-endpoints: bad value \"maybe\": expected yes or no" },
	{ LEN("[upstream]\nmetadata = http://metadata.google.internal\n"),
	  ":2: metadata: http://metadata.google.internal: the metadata "
	  "server is asked by address, never by name" },
	{ LEN("[upstream]\niam = http://127.0.0.1:1\n"),
	  ":2: iam: http://127.0.0.1:1: https only" },
	{ LEN("[upstream]\ntest-endpoints = yes\n"
	      "token-endpoint = http://10.0.0.1/token\n"),
	  ":3: token-endpoint: http://10.0.0.1/token: http only to a "
	  "loopback address" },
	{ LEN("[upstream]\nca-file = ca.pem\n"),
	  ":2: ca-file: not an absolute path" },
	{ LEN("[upstream]\nca-file = /nowhere.pem\n"),
	  ":2: ca-file: /nowhere.pem: No such file or directory" },
	{ LEN("[upstream]\nproxy = proxy:3128\n"),
	  ":2: proxy: bad value: expected environment, or a URL such as "
	  "http://proxy.example.com:3128" },
	/* rules: policy.c's words; a whole rule is judged at its section's line */
	{ LEN("\n[rule a]\nuser = 1\n"),
	  ":2: rule a: kind id needs an audience" },
	{ LEN("[rule a]\naudience = x\n"),
	  ":1: rule a names nobody: it needs user, group, unit or "
	  "slice, or peer = anyone" },
	{ LEN("[rule a]\n"),
	  ":1: rule a names nobody: it needs user, group, unit or "
	  "slice, or peer = anyone" },
	{ LEN("[rule a]\nunit = x\n"),
	  ":2: unit = x: expected services or scopes, such as web.service" },
	{ LEN("[rule a]\nslice = x.service\n"),
	  ":2: slice = x.service: expected slices, such as web.slice" },
	{ LEN("[rule a]\ntcp = y\n"), ":2: tcp = y: expected yes or no" },
	{ LEN("[rule a]\nusr = root\n"), ":2: unknown key usr in [rule a]" },
	{ LEN("[rule a]\nuser = no-such-user-here\n"),
	  ":2: no user no-such-user-here in /etc/passwd: those of other name "
	  "services are given as numbers" },
	{ LEN("[rule a]\nuser = 65534\n"),
	  ":2: user 65534 is id 65534, which stands for no one in "
	  "particular: use unit" },
};

static void
every_mistake_has_its_line_and_words(void **state _unused_)
{
	for (size_t i = 0; i < ARRAY_SIZE(mistakes); i++) {
		_cleanup_(freep) char *words = xasprintf("@" ETC "/agent.conf%s",
							 mistakes[i].words);

		put(ETC "/agent.conf", mistakes[i].text, mistakes[i].len);
		load_fails(&paths, true, words);
	}
}

static void
warm_audiences(void **state _unused_)
{
	_cleanup_(buf_free) struct buf text = BUF_INIT(64 * 1024);
	struct config *c;

	put_text(ETC "/agent.conf", "[cache]\nwarm = a\nwarm =\n"
		 "warm = https://x  two\\ words\\\\\nwarm = \"y #1\"\n");
	c = load(&paths);
	assert_string_equal(c->warm[0], "https://x");
	assert_string_equal(c->warm[1], "two words\\");
	assert_string_equal(c->warm[2], "y");
	assert_string_equal(c->warm[3], "#1");
	assert_null(c->warm[4]);
	config_free(c);

	buf_adds(&text, "[cache]\n");
	for (int i = 0; i < BROKER_WARM_MAX; i++)
		buf_addf(&text, "warm = a%d\n", i);
	put_text(ETC "/agent.conf", buf_str(&text));
	config_free(load(&paths));
	buf_adds(&text, "warm = z\n");
	put_text(ETC "/agent.conf", buf_str(&text));
	load_fails(&paths, true, "@" ETC "/agent.conf:66: warm: more than 64 "
		   "audiences");

	buf_reset(&text);
	buf_adds(&text, "[cache]\nwarm = ");
	for (int i = 0; i < CONFIG_MAX_AUDIENCE; i++)
		buf_addc(&text, 'x');
	put_text(ETC "/agent.conf", buf_str(&text));
	config_free(load(&paths));
	buf_addc(&text, 'x');
	put_text(ETC "/agent.conf", buf_str(&text));
	load_fails(&paths, true, "@" ETC "/agent.conf:2: warm: an audience has 1 "
		   "to 2048 bytes of UTF-8 without control characters");
}

static void
what_is_too_large(void **state _unused_)
{
	size_t len = CONFIG_FILE_MAX + 1;
	char *text = xcalloc(1, len + 1);

	memset(text, '#', CONFIG_LINE_MAX);
	put_text(ETC "/agent.conf", text);
	config_free(load(&paths));
	memset(text, '#', CONFIG_LINE_MAX + 1);
	put_text(ETC "/agent.conf", text);
	load_fails(&paths, true, "@" ETC "/agent.conf:1: a line of more than 4096 "
		   "bytes");

	memset(text, '\n', len);
	put_text(ETC "/agent.conf", text + 1);
	config_free(load(&paths));
	put_text(ETC "/agent.conf", text);
	load_fails(&paths, true, "@" ETC "/agent.conf: larger than 256 KiB");
	free(text);
}

static void
too_many_files(void **state _unused_)
{
	char name[64];

	for (int i = 0; i <= CONFIG_FILES_MAX; i++) {
		(void)snprintf(name, sizeof(name), ETC "/agent.conf.d/%03d.conf",
			       i);
		put_text(name, "");
		if (i == CONFIG_FILES_MAX - 1)
			config_free(load(&paths));
	}
	load_fails(&paths, true, "@" ETC "/agent.conf.d: more than 256 files");
}

static void
what_is_no_file(void **state _unused_)
{
	_cleanup_(freep) char *link = path_of(ETC "/agent.conf.d/a.conf");

	make_dir(ETC "/agent.conf.d/z.conf");
	load_fails(&paths, true, "@" ETC "/agent.conf.d/z.conf: not a "
		   "regular file");

	assert_return_code(symlink("/nowhere", link), errno);
	load_fails(&paths, true, "@" ETC "/agent.conf.d/a.conf: No such file or "
		   "directory");
	assert_return_code(unlink(link), errno);
	assert_return_code(symlink("/dev/zero", link), errno);
	load_fails(&paths, true, "@" ETC "/agent.conf.d/a.conf: not a "
		   "regular file");
}

/* Rules were meant to be there: to go on without them could admit somebody whom
   one of them denies. */
static void
a_link_to_nothing_is_not_nothing(void **state _unused_)
{
	_cleanup_(freep) char *file = path_of(ETC "/agent.conf");
	_cleanup_(freep) char *dir = path_of(ETC "/agent.conf.d");

	assert_return_code(symlink("/nowhere", file), errno);
	load_fails(&paths, true, "@" ETC "/agent.conf: No such file or directory");
	assert_return_code(unlink(file), errno);

	assert_return_code(rmdir(dir), errno);
	assert_return_code(symlink("/nowhere", dir), errno);
	load_fails(&paths, true, "@" ETC "/agent.conf.d: No such file or "
		   "directory");
}

/* --- whose files ------------------------------------------------------------ */

static void
set_mode(const char *name, mode_t mode)
{
	_cleanup_(freep) char *path = path_of(name);

	assert_return_code(chmod(path, mode), errno);
}

static void
set_owner(const char *name, uid_t uid)
{
	_cleanup_(freep) char *path = path_of(name);

	assert_return_code(chown(path, uid, (gid_t)-1), errno);
}

static void
files_that_others_can_write(void **state _unused_)
{
	put_text(ETC "/agent.conf", "");
	set_mode(ETC "/agent.conf", 0664);
	load_fails(&paths, true, "@" ETC "/agent.conf: others than its owner can "
		   "write to it (mode 0664): chmod go-w it");
	set_mode(ETC "/agent.conf", 0602);
	load_fails(&paths, true, "@" ETC "/agent.conf: others than its owner can "
		   "write to it (mode 0602): chmod go-w it");
	set_mode(ETC "/agent.conf", 0444);
	config_free(load(&paths));

	set_mode(ETC, 0777);
	load_fails(&paths, true, "@" ETC ": others than its owner can write to it "
		   "(mode 0777): chmod go-w it");
	set_mode(ETC, 0755);
	set_mode(ETC "/agent.conf.d", 01777);
	load_fails(&paths, true, "@" ETC "/agent.conf.d: others than its owner can "
		   "write to it (mode 1777): chmod go-w it");
	set_mode(ETC "/agent.conf.d", 0755);
	set_mode(VENDOR, 0775);
	load_fails(&paths, true, "@" VENDOR ": others than its owner can write "
		   "to it "
		   "(mode 0775): chmod go-w it");
}

static void
a_link_is_judged_by_what_it_leads_to(void **state _unused_)
{
	_cleanup_(freep) char *link = path_of(ETC "/agent.conf");
	_cleanup_(freep) char *target = path_of("/target");

	put_text("/target", "[timing]\ndetect = 1s\n");
	assert_return_code(symlink(target, link), errno);
	config_free(load(&paths));
	set_mode("/target", 0622);
	load_fails(&paths, true, "@" ETC "/agent.conf: others than its owner can "
		   "write to it (mode 0622): chmod go-w it");
}

static void
files_that_belong_to_others(void **state _unused_)
{
	struct config *c = NULL;

	if (geteuid() != 0) {
		print_message("# chown() needs root\n");
		skip();
	}
	put_text(ETC "/agent.conf", "");
	set_owner(ETC "/agent.conf", 1234);
	load_fails(&paths, true, "@" ETC "/agent.conf: belongs to uid 1234: chown "
		   "root it");
	set_owner(ETC "/agent.conf", 0);
	set_owner(ETC, 1234);
	load_fails(&paths, false, "@" ETC ": belongs to uid 1234: chown root it");
	set_owner(ETC, 0);

	/* Who runs it by hand may own them; as a service only root. */
	set_owner("", 1234);
	set_owner(ETC, 1234);
	set_owner(ETC "/agent.conf", 1234);
	assert_return_code(seteuid(1234), errno);
	assert_int_equal(config_load(&paths, true, NULL, NULL, &c, NULL), 0);
	config_free(c);
	load_fails(&paths, false, "@" ETC ": belongs to uid 1234: chown root it");
	assert_return_code(seteuid(0), errno);
	set_owner("", 0);
}

static void
files_that_cannot_be_read(void **state _unused_)
{
	if (geteuid() != 0) {
		print_message("# another uid needs root\n");
		skip();
	}
	set_mode("", 0755);
	put_text(ETC "/agent.conf", "");
	set_mode(ETC "/agent.conf", 0600);
	assert_return_code(seteuid(1234), errno);
	load_fails(&paths, true, "@" ETC "/agent.conf: Permission denied");
	assert_return_code(seteuid(0), errno);
}

/* --- names and values ------------------------------------------------------- */

static void
names_come_from_the_two_files(void **state _unused_)
{
	_cleanup_(freep) char *passwd = path_of("/passwd");
	_cleanup_(freep) char *group = path_of("/group");
	struct config_names n;

	put_text("/passwd", "root:x:0:0:root:/root:/bin/sh\n"
		 "alice:x:1000:1000::/:/bin/sh\n"
		 "# bob:x:1:1::/:\n+nis::7:7:::\n-x:x:8:8:::\nbroken\nbad:x:-1:0\n"
		 "huge:x:4294967295:0\n:x:3:3\nlast:x:9");
	put_text("/group", "sre:x:500:alice,bob\n");
	config_names_read(passwd, group, &n);
	assert_int_equal(n.n_users, 3);
	assert_string_equal(n.users[1].name, "alice");
	assert_int_equal(n.users[1].id, 1000);
	assert_string_equal(n.users[2].name, "last");
	assert_int_equal(n.users[2].id, 9);
	assert_int_equal(n.n_groups, 2);
	assert_string_equal(n.groups[0].name, "sre");
	assert_string_equal(n.groups[1].name, "root");
	assert_int_equal(n.groups[1].id, 0);
	config_names_clear(&n);

	config_names_read("/nowhere", root, &n);
	assert_int_equal(n.n_users, 1);
	assert_string_equal(n.users[0].name, "root");
	assert_int_equal(n.n_groups, 1);
	config_names_clear(&n);
}

static void
values_as_people_write_them(void **state _unused_)
{
	static const struct {
		const char *s;
		uint64_t usec;
	} times[] = {
		{ "1us", 1 }, { "20ms", 20000 }, { "5", 5000000 },
		{ "5s", 5000000 }, { "5 s", 5000000 }, { "2min", 120000000 },
		{ "1h", UINT64_C(3600000000) },
	};
	static const char *const bad[] = { "", " ", "1.5s", "0x1", "+1",
		"1 m", "1d", "s1", "1s1s", "18446744073709551616us",
		"5124095577h" };
	static const char *const yes[] = { "yes", "true", "on", "1" };
	static const char *const no[] = { "no", "false", "off", "0" };
	static const char *const proxies[] = { "http://h", "https://h:1",
		"socks5h://u:p@[::1]:1080", "http://a@b@h:1" };
	static const char *const no_proxies[] = { "h", "ftp://h", "http://",
		"http://:1", "http://h/", "http://h:99999", "http://h:",
		"http://[::1", "http://h x" };
	uint64_t v = 7;
	bool b;

	for (size_t i = 0; i < ARRAY_SIZE(times); i++) {
		assert_int_equal(config_value_duration(times[i].s, 0, UINT64_MAX,
						       &v, NULL), 0);
		assert_int_equal(v, times[i].usec);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (config_value_duration(bad[i], 0, UINT64_MAX, &v, NULL) == 0)
			fail_msg("\"%s\"", bad[i]);
	assert_int_equal(config_value_number("64K", 0, UINT64_MAX, &v, NULL), 0);
	assert_int_equal(v, 65536);
	assert_int_equal(config_value_number("1M", 0, UINT64_MAX, &v, NULL), 0);
	assert_int_equal(v, 1048576);
	for (int i = 0; i < 4; i++) {
		assert_int_equal(config_value_bool(yes[i], &b, NULL), 0);
		assert_true(b);
		assert_int_equal(config_value_bool(no[i], &b, NULL), 0);
		assert_false(b);
	}
	for (size_t i = 0; i < ARRAY_SIZE(proxies); i++)
		assert_int_equal(config_value_proxy(proxies[i], NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(no_proxies); i++)
		if (config_value_proxy(no_proxies[i], NULL) == 0)
			fail_msg("%s", no_proxies[i]);
}

static int
group_setup(void **state _unused_)
{
	return mkdtemp(root) ? 0 : -1;
}

static int
group_teardown(void **state _unused_)
{
	if (nftw(root, remove_one, 8, FTW_DEPTH | FTW_PHYS) < 0)
		return -1;
	return rmdir(root);
}

#define T(test)	cmocka_unit_test_setup(test, setup)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(without_files_root_is_served_and_nobody_else),
		T(any_file_ends_the_built_in_default),
		T(the_vendor_file_is_the_built_in_text),
		T(the_example_goes_with_the_vendor_file),
		T(the_defaults),
		T(every_option_has_a_place_of_its_own),
		T(all_of_the_grammar),
		T(upstream_can_be_moved_for_tests),
		T(a_universe_moves_all_that_is_not_written),
		T(in_another_universe_generate_takes_signblobs_place),
		T(another_account_has_the_flows_of_its_universe),
		T(another_universe_is_another_identity),
		T(the_metadata_host_of_the_environment),
		T(a_default_gives_way_to_its_bound),
		T(lists_add_up_over_files_and_single_values_change),
		T(etc_masks_the_vendor),
		T(one_file_replaces_all),
		T(a_rule_belongs_to_one_file),
		T(notes_name_file_and_line),
		T(every_mistake_has_its_line_and_words),
		T(warm_audiences),
		T(what_is_too_large),
		T(too_many_files),
		T(what_is_no_file),
		T(a_link_to_nothing_is_not_nothing),
		T(files_that_others_can_write),
		T(a_link_is_judged_by_what_it_leads_to),
		T(files_that_belong_to_others),
		T(files_that_cannot_be_read),
		T(names_come_from_the_two_files),
		T(values_as_people_write_them),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
