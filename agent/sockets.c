/* SPDX-License-Identifier: Apache-2.0 */

/* Where the agent is asked: sockets passed in, and those it binds itself. */

#include <string.h>

#include "agent_parts.h"
#include "base/log.h"
#include "http/listen_tcp.h"
#include "service.h"

/* One socket more, which is the server's from here on. */
static int
listen_at(struct agent *agent, int fd, struct err *e)
{
	char at[HTTP_LISTEN_SHOW_SIZE];
	int r;

	if (http_listen_is_loopback(fd) > 0) {
		r = peer_host_expect_tcp(agent->host);
		if (r < 0) {
			close(fd);
			return err_sys(e, -r, "the kernel cannot be asked who is "
				       "at the other end of TCP connections "
				       "(sock_diag)");
		}
		log_info(LOG_NO_FIELDS, "listening on %s",
			 http_listen_show(fd, at));
		agent->tcp = xrealloc(agent->tcp, agent->n_tcp + 1,
				      sizeof(*agent->tcp));
		agent->tcp[agent->n_tcp++] = xstrdup(at);
	}
	return http_server_listen(agent->server, fd, 0, e);
}

/* A port is free for anybody else while we are not there, which a service manager
   can help. */
static int
listen_tcp(struct agent *agent, const char *const tcp[], struct err *e)
{
	int fd, r = 0;

	if (tcp[0] && !agent->from.by_hand)
		return err_set(e, ERR_REQUEST, "--listen is for agents that are "
			       "started by hand: systemctl enable "
			       "gce-oidc-agent-loopback.socket");
	for (size_t i = 0; r >= 0 && i < AGENT_LISTEN_MAX && tcp[i]; i++) {
		r = http_listen_tcp(tcp[i], &fd, e);
		if (r >= 0)
			r = listen_at(agent, fd, e);
	}
	return r;
}

/* Sockets passed in; else the path named; else the default one. */
int
agent_listen(struct agent *agent, const struct agent_listen *at, struct err *e)
{
	const char *path = at->path;
	int *fds = NULL, n, r = 0;

	n = service_sockets(&fds, e);
	if (n < 0)
		return n;
	for (int i = 0; r >= 0 && i < n; i++)
		r = listen_at(agent, fds[i], e);
	free(fds);
	if (r >= 0)
		r = listen_tcp(agent, at->tcp, e);
	if (r < 0 || (n > 0 && !path))
		return r;

	r = http_listen_unix(path ?: AGENT_SOCKET_DEFAULT, !path, &agent->own, e);
	if (r < 0)
		return r;
	/* The server owns the descriptor from here on, we the name. */
	r = http_server_listen(agent->server, agent->own.fd, 0, e);
	agent->own.fd = -1;
	return r;
}

int
agent_check_metadata(const struct agent *agent, const struct config *c,
		     struct err *e)
{
	const char *url = c->at.metadata, *host = url + strlen("http://");
	const char *end = strrchr(host, ']');
	bool has_port = strchr(end ? end : host, ':');
	_cleanup_(freep) char *at = xasprintf("%s%s", host, has_port ? "" : ":80");
	const struct config_setting *written;
	int r = 0;

	for (size_t i = 0; i < agent->n_tcp; i++)
		if (strcmp(agent->tcp[i], at) == 0)
			r = err_set(e, ERR_REQUEST, "metadata: %s is where this "
				    "agent listens: it would ask itself", url);
	if (r >= 0)
		return 0;
	written = config_record_find(&c->record, "upstream", NULL, "metadata");
	if (written)
		return err_prefix(e, r, "%s:%u", written->origin, written->line);
	err_hint(e, "GCE_METADATA_HOST is for those who ask the agent: unset it in "
		 "the agent's own environment");
	return r;
}
