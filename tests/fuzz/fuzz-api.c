/* SPDX-License-Identifier: Apache-2.0 */

/* All that a client can ask (api/), over the real server, policy and broker.  The
   input is what one client sends, in pieces that depend on it.

   The service account and the plain values come from a server of our own on
   loopback, once, before the first input.  A flow made for this gives tokens
   that name their audience, and fails for audiences that say so.

   - No token leaves for an audience that the policy does not admit, nor on a
     connection that has not sent the flavor.
   - Each answer has the length announced and the lines that all have; a failure
     has its code; nothing of a request makes lines in an answer.
   - Nothing stays behind: no connection, no descriptor, nobody who waits. */

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <syslog.h>
#include <time.h>

#include "api/api.h"
#include "base/log.h"
#include "config.h"
#include "fuzz-words.h"
#include "http/server.h"

#define ADMITTED	"https://a.example/"	/* and what begins with it */
#define EMAIL		"sa@p.iam.gserviceaccount.com"
#define TOKEN_MARK	"to.ken."
#define TURNS_MAX	2000
#define ANSWERS_MAX	64
/* Longer than any campaign: nothing of the fixture ends within. */
#define LONG_USEC	(24 * 3600 * USEC_PER_SEC)

/* --- a flow that ends when it is told to ---------------------------------- */

struct flight {
	struct fetch base;
	TAILQ_ENTRY(flight) entry;
	bool listed;
};

static TAILQ_HEAD(, flight) flying = TAILQ_HEAD_INITIALIZER(flying);

static int
flight_begin(struct fetch *f, struct err *e)
{
	struct flight *y = container_of(f, struct flight, base);

	if (strstr(f->audience, "nostart"))
		return err_set(e, ERR_UNAVAILABLE, "it does not begin");
	TAILQ_INSERT_TAIL(&flying, y, entry);
	y->listed = true;
	return 0;
}

static void
flight_clear(struct fetch *f)
{
	struct flight *y = container_of(f, struct flight, base);

	if (y->listed)
		TAILQ_REMOVE(&flying, y, entry);
}

static const struct flow_ops flow = {
	.name = "fuzz", .fetch_size = sizeof(struct flight),
	.begin = flight_begin, .clear = flight_clear,
};

static void
flight_end(struct fetch *f)
{
	_cleanup_(freep) char *text = xasprintf(TOKEN_MARK "%s", f->audience);
	int64_t now = (int64_t)time(NULL), life = 3600;
	struct token_now when;
	struct token *t;
	struct err e;

	if (strstr(f->audience, "denied") || strstr(f->audience, "down")) {
		err_set(&e, strstr(f->audience, "down") ? ERR_UNAVAILABLE
							: ERR_GOOGLE, "no");
		fetch_fail(f, &e);
		return;
	}
	if (strstr(f->audience, "short"))
		life = 5;
	when = clock_now(f->ctx->clock);
	t = token_new(TOKEN_ID, text, now, now + life, &when, EMAIL, "fuzz");
	fetch_succeed(f, t);
	token_unref(t);
}

/* --- what lives as long as the program ------------------------------------ */

static struct fixture {
	sd_event *event;
	struct http_server *upstream;
	struct config *config;
	struct http_client *http;
	struct account *account;
	struct values *values;
	struct clock *clock;
	struct broker *broker;
	struct accounts *accounts;
	struct keyring *keyring;
} fix;

static void
upstream_request(void *userdata, struct http_exchange *x)
{
	static const char account[] =
		"{\"aliases\":[\"default\"],"
		"\"email\":\"" EMAIL "\",\"scopes\":"
		"[\"https://www.googleapis.com/auth/cloud-platform\"]}";
	struct http_span path = http_exchange_head(x)->path;
	const char *body = memmem(path.p, path.len, "/default", 8) ? account
		: memmem(path.p, path.len, "/universe/", 10) ? "googleapis.com"
		: "12345";

	(void)userdata;
	http_exchange_reply(x, &(struct http_reply){
		.status = 200, .body = body, .body_len = strlen(body),
		.fields = "Metadata-Flavor: Google\r\n",
	});
}

static int
upstream_admit(void *userdata, int fd, int tag, void **ret_ctx, struct err *e)
{
	(void)userdata;
	(void)fd;
	(void)tag;
	(void)e;
	*ret_ctx = NULL;
	return 0;
}

static void
upstream_refuse(void *userdata, struct http_exchange *x, const struct err *e)
{
	(void)userdata;
	(void)x;
	fprintf(stderr, "upstream: %s\n", e->msg);
	abort();
}

/* Returns its port. */
static unsigned
upstream_start(void)
{
	static const struct http_server_ops ops = {
		.admit = upstream_admit, .request = upstream_request,
		.refuse = upstream_refuse,
	};
	const struct http_server_options o = {
		.max_connections = 10, .head_usec = LONG_USEC,
		.body_usec = LONG_USEC, .idle_usec = LONG_USEC,
		.write_usec = LONG_USEC, .lifetime_usec = LONG_USEC,
		.max_buffers = 1024 * 1024,
	};
	struct sockaddr_in at = {
		.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	socklen_t len = sizeof(at);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&at, len) == 0);
	CHECK(listen(fd, 4) == 0);
	CHECK(getsockname(fd, (struct sockaddr *)&at, &len) == 0);
	CHECK(http_server_new(fix.event, &o, &ops, NULL, &fix.upstream, NULL) == 0);
	CHECK(http_server_listen(fix.upstream, fd, 0, NULL) == 0);
	return ntohs(at.sin_port);
}

/* All options from a file, as the agent has them. */
static void
config_start(unsigned port)
{
	_cleanup_(freep) char *text = xasprintf(
		"[upstream]\nmetadata=http://127.0.0.1:%u\n"
		"requests-per-minute=1000000\n"
		"[cache]\nentries=8\nper-peer=4\n"
		"[limits]\nflights=3\nwaiters=8\npeer-share=100%%\n"
		"requests-per-second=100000\n"
		"[rule a]\nuser=%u\nhost=any\nkind=id monitor admin\n"
		"audience=" ADMITTED "**\n"
		"[rule b]\npeer=anyone\nhost=any\naction=deny\n"
		"audience=" ADMITTED "secret**\n", port, (unsigned)geteuid());
	struct config_paths paths = { .single = NULL };
	int fd = memfd_create("fuzz", 0);
	char name[64];
	struct err e;

	CHECK(fd >= 0 && fchmod(fd, 0600) == 0);
	CHECK(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	(void)snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
	paths.single = name;
	if (config_load(&paths, true, NULL, NULL, &fix.config, &e) < 0) {
		fprintf(stderr, "%s\n", e.msg);
		abort();
	}
	close(fd);
}

static int
admit_flight(void *userdata, uint64_t owner, struct err *e)
{
	(void)userdata;
	(void)owner;
	(void)e;
	return 0;
}

static void
on_value(void *userdata, const char *text, const struct err *e)
{
	(void)userdata;
	(void)e;
	CHECK(text);
}

static void
modules_start(void)
{
	static const struct account_ops ops = { .changed = NULL };
	struct config *c = fix.config;
	struct flow_context *ctx;

	CHECK(http_client_new(fix.event, &c->client, &fix.http, NULL) >= 0);
	CHECK(account_metadata_new(&(struct account_setup){
		.event = fix.event, .http = fix.http, .at = &c->at,
		.opt = &c->account, .ops = &ops }, &fix.account, NULL) == 0);
	fix.values = values_new(fix.event, fix.http, &c->at, &c->values);
	CHECK(clock_new(fix.event, &c->clock, NULL, NULL, &fix.clock, NULL) == 0);
	fix.accounts = accounts_new();
	ctx = accounts_add(fix.accounts, &(struct flow_context){
		.event = fix.event, .http = fix.http, .at = &c->at,
		.account = fix.account, .clock = fix.clock, .opt = c->flow,
	});
	fix.keyring = keyring_new(fix.event, fix.http, &c->at, &c->keyring);
	CHECK(flows_new(ctx, c->flows, &c->flows_opt, NULL, NULL, &ctx->flows,
			NULL) >= 0);
	fix.broker = broker_new(fix.event, fix.accounts, &flow, &c->broker,
				admit_flight, NULL);
}

/* Leaves nothing to ask upstream. */
static void
fix_start(void)
{
	static struct value_wait *wait;
	const char *text;
	int r;

	log_set_level(LOG_EMERG);
	CHECK(sd_event_new(&fix.event) >= 0);
	config_start(upstream_start());
	modules_start();
	while (account_state(fix.account) != ACCOUNT_FOUND)
		CHECK(http_server_run(fix.upstream, UINT64_MAX) >= 0);
	for (int i = 0; i < VALUES; i++) {
		r = values_get(fix.values, (enum value)i, false, on_value, NULL,
			       &text, &wait, NULL);
		CHECK(r >= 0);
		while (r == 0 && wait)
			CHECK(http_server_run(fix.upstream, UINT64_MAX) >= 0);
	}
}

/* --- one input ------------------------------------------------------------ */

struct world {
	struct api *api;
	struct http_server *server;
	struct sockaddr_un at;
	socklen_t at_len;
	int fd;
	unsigned n;			/* exchanges so far */
	bool head_only[ANSWERS_MAX];
	char *heard;
	size_t len;
};

static struct world *world;

static void
request(void *api, struct http_exchange *x)
{
	if (world->n < ANSWERS_MAX)
		world->head_only[world->n] =
			http_exchange_head(x)->method == HTTP_HEAD;
	world->n++;
	api_server_ops.request(api, x);
}

static void
refuse(void *api, struct http_exchange *x, const struct err *e)
{
	world->n++;
	api_server_ops.refuse(api, x, e);
}

static void
world_begin(struct world *w)
{
	struct http_server_ops ops = api_server_ops;
	const struct api_context ctx = {
		.event = fix.event, .accounts = fix.accounts,
		.broker = fix.broker, .values = fix.values,
		.clock = fix.clock, .http = fix.http, .keyring = fix.keyring,
		.policy = fix.config->policy,
	};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	*w = (struct world){ .at = { .sun_family = AF_UNIX } };
	world = w;
	w->at_len = sizeof(w->at);
	w->api = api_new(&ctx, &fix.config->api);
	ops.request = request;
	ops.refuse = refuse;
	CHECK(bind(fd, (struct sockaddr *)&w->at, sizeof(sa_family_t)) == 0);
	CHECK(listen(fd, 4) == 0);
	CHECK(getsockname(fd, (struct sockaddr *)&w->at, &w->at_len) == 0);
	CHECK(http_server_new(fix.event, &fix.config->server, &ops, w->api,
			      &w->server, NULL) == 0);
	CHECK(http_server_listen(w->server, fd, 0, NULL) == 0);
	w->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	CHECK(connect(w->fd, (struct sockaddr *)&w->at, w->at_len) == 0);
}

static void
hear(struct world *w)
{
	char part[64 * 1024];
	ssize_t n;

	while ((n = recv(w->fd, part, sizeof(part), 0)) > 0) {
		w->heard = xrealloc(w->heard, w->len + (size_t)n, 1);
		memcpy(w->heard + w->len, part, (size_t)n);
		w->len += (size_t)n;
	}
}

/* land: those who fly do so. */
static void
settle(struct world *w, bool land)
{
	struct flight *f;
	int turns = 0, r;

	do {
		while ((r = http_server_run(w->server, 0)) > 0)
			CHECK(++turns < TURNS_MAX);
		CHECK(r == 0);
		f = land ? TAILQ_FIRST(&flying) : NULL;
		if (f)
			flight_end(&f->base);
	} while (f);
	hear(w);
}

static void
world_end(struct world *w, bool leave)
{
	struct broker_counts n;

	settle(w, !leave);
	close(w->fd);
	settle(w, true);
	broker_count(fix.broker, &n);
	CHECK(http_server_connections(w->server) == 0);
	CHECK(n.flights == 0 && n.queued == 0 && n.waiters == 0);
	CHECK(TAILQ_EMPTY(&flying));
	w->server = http_server_free(w->server);
	w->api = api_free(w->api);
	broker_flush(fix.broker);
}

/* --- what was heard ------------------------------------------------------- */

static bool
has_line(const char *head, size_t len, const char *line)
{
	return memmem(head, len, line, strlen(line));
}

/* Lines of an answer, behind its first: a name, a colon, and no controls. */
static void
check_lines(const char *head, size_t len)
{
	static const char *const names[] = {
		"Date", "Content-Length", "Content-Type", "Metadata-Flavor",
		"Connection", "Cache-Control", "Gce-Oidc-Error", "Gce-Oidc-Cache",
		"Gce-Oidc-Flow", "Gce-Oidc-Format", "Retry-After", "Allow", "ETag",
		"Location",
	};
	struct input rest = { head, len }, line;
	bool known;

	(void)input_until(&rest, '\n');
	while (rest.len > 0) {
		line = input_until(&rest, '\n');
		CHECK(line.len > 0 && line.p[line.len - 1] == '\r');
		if (line.len == 1)
			continue;
		CHECK(!memchr(line.p, '\r', line.len - 1));
		CHECK(!memchr(line.p, '\0', line.len));
		known = false;
		for (size_t i = 0; i < ARRAY_SIZE(names); i++)
			known = known || (line.len > strlen(names[i]) + 1 &&
				strncmp(line.p, names[i], strlen(names[i])) == 0 &&
				line.p[strlen(names[i])] == ':');
		CHECK(known);
	}
}

static bool
is_token(const char *body, size_t len)
{
	return len >= strlen(TOKEN_MARK) &&
	       memcmp(body, TOKEN_MARK, strlen(TOKEN_MARK)) == 0;
}

static void
check_token(const char *body, size_t len, const struct input *sent)
{
	const char *audience = body + strlen(TOKEN_MARK);

	if (!is_token(body, len))
		return;
	len -= strlen(TOKEN_MARK);
	CHECK(len >= strlen(ADMITTED) && len <= 2048);
	CHECK(memcmp(audience, ADMITTED, strlen(ADMITTED)) == 0);
	len -= strlen(ADMITTED);
	CHECK(len < 6 || memcmp(audience + strlen(ADMITTED), "secret", 6) != 0);
	for (size_t i = 0; i + 15 <= sent->len; i++)
		if (strncasecmp(sent->p + i, "metadata-flavor", 15) == 0)
			return;
	CHECK(false);
}

static void
check_heard(const struct world *w, const struct input *sent)
{
	const char *p = w->heard, *end, *field;
	size_t left = w->len, head, body;
	unsigned status, i;

	for (i = 0; left > 0 && i < ANSWERS_MAX; i++) {
		end = memmem(p, left, "\r\n\r\n", 4);
		CHECK(end && i < w->n);
		head = (size_t)(end - p) + 4;
		CHECK(memcmp(p, "HTTP/1.", 7) == 0 && isdigit(p[9]));
		status = (unsigned)strtoul(p + 9, NULL, 10);
		check_lines(p, head);
		CHECK(has_line(p, head, "\r\nMetadata-Flavor: Google\r\n"));
		CHECK(status < 400 || has_line(p, head, "\r\nGce-Oidc-Error: "));
		field = memmem(p, head, "\r\nContent-Length: ", 18);
		CHECK(!field == (status == 204));
		body = w->head_only[i] || !field ? 0
			: strtoul(field + 18, NULL, 10);
		CHECK(head + body <= left);
		if (status == 200)
			check_token(p + head, body, sent);
		else
			CHECK(!is_token(p + head, body));
		p += head + body;
		left -= head + body;
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input sent = input_of(data, size);
	uint64_t seed = seed_of(data, size), fds;
	bool leave = seed_below(&seed, 4) == 0;
	struct world w;

	if (!fix.event)
		fix_start();
	fds = fds_open();
	world_begin(&w);
	for (size_t at = 0, n; at < size; at += n) {
		n = 1 + seed_below(&seed, seed_below(&seed, 3) ? size : 64);
		n = MIN(n, size - at);
		if (send(w.fd, data + at, n, MSG_NOSIGNAL) < 0)
			break;
		settle(&w, seed_below(&seed, 2));
	}
	world_end(&w, leave);
	check_heard(&w, &sent);
	free(w.heard);
	CHECK(fds_open() == fds);
	return 0;
}
