/* SPDX-License-Identifier: MIT */

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "cli_curl.h"
#include "cli_jwt_read.h"
#include "cli_signed.h"

enum { OPT_AUDIENCE = CLI_OPT_OWN, OPT_SELF_SIGNED, OPT_ACCOUNT,
       OPT_PROXY_AUTHORIZATION, OPT_CACERT, OPT_PROXY, OPT_TIMEOUT };

static const struct option options[] = {
	{ "audience",	required_argument,	NULL, OPT_AUDIENCE },
	{ "self-signed", no_argument,		NULL, OPT_SELF_SIGNED },
	{ "account",	required_argument,	NULL, OPT_ACCOUNT },
	{ "proxy-authorization", no_argument,	NULL, OPT_PROXY_AUTHORIZATION },
	{ "cacert",	required_argument,	NULL, OPT_CACERT },
	{ "proxy",	required_argument,	NULL, OPT_PROXY },
	{ "timeout",	required_argument,	NULL, OPT_TIMEOUT },
	CLI_COMMON_OPTIONS
};

struct request {
	const char *url;
	const char *audience;		/* NULL: the URL's origin */
	bool self_signed;		/* no ID token, but a JWT for the origin */
	struct cli_token_options token;
	bool proxy_authorization;
	struct curlopt user;
	struct curl_job job;
	char email[256];		/* the token's */
	int out;			/* where a good body goes */
};

/* What the application says goes to a terminal or a log: printable, and nothing
   in it that looks like a token. */
static void
print_outside(const char *s, size_t len, const char *newline)
{
	static const char b64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuv"
				  "wxyz0123456789-_.";

	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)s[i];
		size_t n = c == 'e' && len - i > 3 && memcmp(s + i, "eyJ", 3) == 0
			? strspn(s + i, b64) : 0;

		if (n >= 16) {
			fputs("[token]", stderr);
			i += n - 1;
		} else if (c == '\n') {
			if (i + 1 < len)
				fputs(newline, stderr);
		} else if (c != '\r') {
			fputc((c >= ' ' && c < 127) || c == '\t' ? c : '?', stderr);
		}
	}
}

static void
print_bad_response(const struct request *q, const struct curl_answer *a)
{
	const char *fields = strstr(a->head, "\r\n");

	fflush(stdout);
	fprintf(stderr, "gce-oidc: Bad response from application: %d", a->status);
	if (!q->user.fail && fields) {
		fields += 2;
		fputs(" / ", stderr);
		/* without the empty line at the end */
		print_outside(fields, (size_t)(a->head + a->head_len - 2 - fields),
			      ", ");
		fputs(" / ", stderr);
		if (!q->user.head)
			print_outside(a->body, a->body_len, "\n");
		if (a->cut)
			fputs(" ... (cut)", stderr);
	}
	fputc('\n', stderr);
}

static int
explain_401(const struct request *q, const struct curl_answer *a)
{
	const char *value, *url = q->url;
	size_t len;

	/* Somebody will paste it into a shell. */
	if (strspn(url, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
		   "0123456789:/._+,@%-") != strlen(url))
		url = "URL";
	print_bad_response(q, a);
	if (!curl_field(a, "X-Goog-IAP-Generated-Response", &value, &len))
		return cli_fail(CLI_REFUSED, "the application does not take a token"
				" for audience %s", q->audience);
	cli_fail(0, "Identity-Aware Proxy does not take this %s.  %s wants its"
		 " OAuth client id as the audience.\nWhich one, its redirect to the"
		 " login names:\n\tgce-oidc audience %s\nIf that is the"
		 " application you mean:\n\tgce-oidc request %s"
		 " --audience=CLIENT_ID", q->self_signed ? "JWT" : "token",
		 q->self_signed ? "For ID tokens it" : "Today it", url, url);
	if (!q->self_signed)
		fprintf(stderr, "Where the client is managed by Google no ID token"
			" is taken; then by a JWT that\nthe account signs itself"
			" (kind jwt of the agent's policy):\n\tgce-oidc request %s"
			" --self-signed\n", url);
	return CLI_REFUSED;
}

/* Not "EMAIL", which stands for one that could not be read. */
static bool
is_person(const char *email)
{
	static const char end[] = ".gserviceaccount.com";
	size_t len = strlen(email), n = sizeof(end) - 1;

	return strchr(email, '@') && (len < n || strcmp(email + len - n, end) != 0);
}

static int
explain_403(const struct request *q, const struct curl_answer *a)
{
	bool person = is_person(q->email);
	const char *value;
	size_t len;

	cli_fail(0, "%s %s does not have permission to access the"
		 " IAP-protected application.\n\tgcloud iap web"
		 " add-iam-policy-binding --member=%s:%s"
		 " --role=roles/iap.httpsResourceAccessor",
		 person ? "User" : "Service account", q->email,
		 person ? "user" : "serviceAccount", q->email);
	if (!curl_field(a, "X-Goog-IAP-Generated-Response", &value, &len))
		cli_fail(0, "(the answer does not say that it comes from"
			 " Identity-Aware Proxy: it may be the application's own)");
	return CLI_REFUSED;
}

static int
write_failed(void)
{
	return cli_fail(CLI_INTERNAL, "cannot write the output: %s",
			strerror(errno));
}

/* A file of -o is only touched once there is something good for it. */
static int
on_body(void *userdata, const struct curl_answer *a, const char *data, size_t len)
{
	struct request *q = userdata;
	const char *name = q->user.output;
	bool file = name && strcmp(name, "-") != 0;

	if (q->out < 0) {
		q->out = file ? open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC,
				     0666) : STDOUT_FILENO;
		if (q->out < 0)
			return cli_fail(CLI_INTERNAL, "cannot open %s: %s", name,
					strerror(errno));
		if (q->user.include && !q->user.head &&
		    !cli_write(q->out, a->head, a->head_len))
			return write_failed();
	}
	return cli_write(q->out, data, len) ? CLI_OK : write_failed();
}

/* Whose token it is, for words to people only. */
static void
read_email(struct request *q, const char *token)
{
	struct jwt_text t;
	struct json v;

	if (!jwt_read(token, strlen(token), &t)) {
		if (!json_member(&t.claims, q->self_signed ? "iss" : "email", &v) ||
		    !json_string(&v, q->email, sizeof(q->email)))
			q->email[0] = '\0';
		jwt_clear(&t);
	}
	for (const char *s = q->email; *s; s++)
		if (!isalnum((unsigned char)*s) && !strchr("@.-_+", *s))
			q->email[0] = '\0';
	if (!q->email[0])
		snprintf(q->email, sizeof(q->email), "EMAIL");
}

static int
make_header(struct request *q, const char *token, char **ret)
{
	read_email(q, token);
	if (asprintf(ret, "%sAuthorization: Bearer %s",
		     q->proxy_authorization ? "Proxy-" : "", token) < 0)
		return cli_fail(CLI_INTERNAL, "memory is gone");
	return CLI_OK;
}

static int
make_self_signed(const struct cli *cli, struct request *q, char **ret)
{
	char *claims = signed_iap_claims(q->url), *jwt = NULL;
	int code;

	if (!claims)
		return cli_fail(CLI_INTERNAL, "memory is gone");
	code = signed_jwt(cli, &q->token, claims, strlen(claims), &jwt);
	free(claims);
	if (code != CLI_OK)
		return code;
	code = make_header(q, jwt, ret);
	cli_secret_free(jwt);
	return code;
}

/* The token's header line; wiped and freed by the caller. */
static int
make_secret(const struct cli *cli, struct request *q, char **ret)
{
	struct gce_oidc_token *t = NULL;
	int code;

	if (q->self_signed)
		return make_self_signed(cli, q, ret);
	code = cli_get_token(cli, q->audience, &q->token, &t);
	if (code != CLI_OK)
		return code;
	code = make_header(q, gce_oidc_token_string(t), ret);
	gce_oidc_token_free(t);
	return code;
}

static int
request(const struct cli *cli, struct request *q)
{
	struct curl_answer a;
	char *secret = NULL;
	int code;

	code = make_secret(cli, q, &secret);
	if (code != CLI_OK)
		return code;
	q->job.url = q->url;
	q->job.secret = secret;
	q->job.user = &q->user;
	q->job.sink = on_body;
	q->job.userdata = q;
	code = curl_run(&q->job, &a);
	cli_secret_free(secret);

	if (code == CLI_OK && (a.status < 200 || a.status > 299)) {
		if (a.status == 401) {
			code = explain_401(q, &a);
		} else if (a.status == 403) {
			code = explain_403(q, &a);
		} else {
			print_bad_response(q, &a);
			code = CLI_BAD_RESPONSE;
		}
	}
	curl_clear(&a);
	if (q->out > STDERR_FILENO && close(q->out) < 0 && code == CLI_OK)
		code = write_failed();
	return code;
}

static int
read_options(struct cli *cli, struct request *q, int argc, char **argv)
{
	int opt;

	while ((opt = cli_option(cli, argc, argv, options)) != -1) {
		switch (opt) {
		case OPT_AUDIENCE:
			q->audience = optarg;
			break;
		case OPT_SELF_SIGNED:
			q->self_signed = true;
			break;
		case OPT_ACCOUNT:
			q->token.account = optarg;
			break;
		case OPT_PROXY_AUTHORIZATION:
			q->proxy_authorization = true;
			break;
		case OPT_CACERT:
			q->job.cacert = optarg;
			break;
		case OPT_PROXY:
			q->job.proxy = optarg;
			break;
		case OPT_TIMEOUT:
			if (!cli_timeout(cli, optarg, &q->token.timeout_ms))
				return CLI_USAGE;
			break;
		default:
			return CLI_USAGE;
		}
	}
	return CLI_OK;
}

static int
check_urls(struct cli *cli, const struct request *q)
{
	const char *why = curlopt_url(q->url);

	if (why)
		return cli_usage(cli, "%s", why);
	why = q->job.proxy ? curlopt_proxy(q->job.proxy) : NULL;
	if (why)
		return cli_usage(cli, "--proxy: %s", why);
	if (q->self_signed && q->audience)
		return cli_usage(cli, "--self-signed is for all paths of the host:"
				 " it takes no --audience");
	if (q->self_signed && strncmp(q->url, "https:", 6) != 0)
		return cli_usage(cli, "--self-signed: Identity-Aware Proxy speaks"
				 " https");
	if (q->job.proxy && strncmp(q->url, "https:", 6) != 0)
		return cli_usage(cli, "--proxy: it could read the token on its way"
				 " to an http:// URL");
	return CLI_OK;
}

static int
request_run(struct cli *cli, int argc, char **argv)
{
	struct request q = { .out = -1 };
	int code, own = 1;
	char why[256], *origin;

	/* Behind "--" everything is curl's. */
	while (own < argc && strcmp(argv[own], "--") != 0)
		own++;
	code = read_options(cli, &q, own, argv);
	if (code != CLI_OK)
		return code;
	if (own - optind != 1)
		return cli_usage(cli, "one URL, please");
	q.url = argv[optind];
	code = check_urls(cli, &q);
	if (code != CLI_OK)
		return code;
	if (own < argc && curlopt_parse(&q.user, (size_t)(argc - own - 1),
					argv + own + 1, why, sizeof(why)) < 0)
		return cli_usage(cli, "%s", why);

	origin = strndup(q.url, curlopt_origin(q.url));
	if (!origin)
		return cli_fail(CLI_INTERNAL, "memory is gone");
	if (!q.audience)
		q.audience = origin;
	code = request(cli, &q);
	free(origin);
	return code;
}

const struct cli_command cli_request = {
	.name = "request",
	.args = "URL [OPTIONS] [-- CURL OPTIONS]",
	.what = "fetch a page behind Identity-Aware Proxy, by curl",
	.help =
"Prints the body of a 2xx answer; any other is an error.\n\n"
"  --audience=AUDIENCE  of the token; else the URL's scheme://host[:port]\n"
"  --self-signed        no ID token, but a JWT that the account signs itself:\n"
"                       where Identity-Aware Proxy takes no ID token\n"
"  --account=A          another of the agent's accounts, by name or email\n"
"  --proxy-authorization\n"
"                       the token in Proxy-Authorization: for applications that\n"
"                       use Authorization themselves\n"
"  --cacert=FILE        certificates to trust instead of the system's\n"
"  --proxy=URL          http(s)://HOST[:PORT]; none is taken from elsewhere\n"
"  --timeout=SECONDS    how long to wait for the token (30)\n"
"  -- CURL OPTIONS      of these: -X -d --data-* -F -T -o -i -I -s -S -f -m\n"
"                       --connect-timeout --compressed --cacert -H\n",
	.run = request_run,
};
