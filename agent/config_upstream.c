/* SPDX-License-Identifier: Apache-2.0 */

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/text.h"
#include "config_table.h"
#include "config_upstream.h"
#include "config_value.h"

static int
check_metadata(struct config *c, struct err *e)
{
	const char *host = secure_getenv("GCE_METADATA_HOST");
	int r;

	if (c->at.metadata) {
		c->metadata_configured = true;
		r = endpoint_check(c->at.metadata, ENDPOINT_KIND_METADATA,
				   c->at.test, e);
		return r < 0 ? config_option_error(c, "upstream", "metadata", r, e)
			     : 0;
	}
	if (!host || !*host) {
		c->at.metadata = xstrdup(ENDPOINT_METADATA);
		c->client.first = ENDPOINT_METADATA;
		c->client.second = ENDPOINT_METADATA6;
		return 0;
	}
	c->metadata_configured = true;
	r = endpoint_metadata_from_host(host, &c->at.metadata, e);
	return r < 0 ? err_prefix(e, r, "GCE_METADATA_HOST") : 0;
}

static int
check_google(struct config *c, const char *key, const char *url, struct err *e)
{
	int r = endpoint_check(url, ENDPOINT_KIND_GOOGLE, c->at.test, e);

	return r < 0 ? config_option_error(c, "upstream", key, r, e) : 0;
}

/* One universe's access tokens are not for another's services. */
static int
check_iam(struct config *c, struct err *e)
{
	char shown[TEXT_SHOW_SIZE];
	int r = check_google(c, "iam", c->at.iam, e);

	if (r < 0 || endpoints_are_default(&c->at) ||
	    !endpoint_is_in(c->at.iam, ENDPOINT_UNIVERSE))
		return r;
	r = err_set(e, ERR_REQUEST, "%s is of universe " ENDPOINT_UNIVERSE
		    ", and universe is %s: it would be sent that one's access "
		    "tokens", text_show_str(shown, c->at.iam), c->at.universe);
	return config_option_error(c, "upstream", "iam", r, e);
}

static int
check_ca_file(struct config *c, struct err *e)
{
	const char *path = c->ca_file;
	char show[TEXT_SHOW_SIZE];
	int fd, r = 0;

	if (!path)
		return 0;
	if (*path != '/')
		return config_option_error(c, "upstream", "ca-file",
					   err_set(e, ERR_REQUEST,
						   "not an absolute path"), e);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		r = config_option_error(c, "upstream", "ca-file",
					err_sys(e, errno, "%s",
						text_show_str(show, path)), e);
	else
		close(fd);
	return r;
}

int
config_upstream_check(struct config *c, struct err *e)
{
	int r;

	endpoints_complete(&c->at);
	r = check_metadata(c, e);
	if (r >= 0)
		r = check_iam(c, e);
	if (r >= 0)
		r = check_google(c, "token-endpoint", c->at.token, e);
	if (r >= 0)
		r = check_google(c, "certs", c->at.certs, e);
	if (r >= 0)
		r = check_ca_file(c, e);
	if (r < 0 || !c->proxy)
		return r;

	if (strcmp(c->proxy, "environment") == 0) {
		c->client.proxy_environment = true;
		free(TAKE_PTR(c->proxy));
		return 0;
	}
	r = config_value_proxy(c->proxy, e);
	return r < 0 ? config_option_error(c, "upstream", "proxy", r, e) : 0;
}
