/* SPDX-License-Identifier: Apache-2.0 */

#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "base/log.h"
#include "lockdown.h"
#include "service.h"

#define UNIT		"gce-oidc-agent-lockdown.service"
#define MARK_PARENT	"/run"
#define MARK_NAME	"gce-oidc-agent-lockdown"

bool
lockdown_in_force(void)
{
	return access(MARK_PARENT "/" MARK_NAME, F_OK) == 0;
}

static void
say(void)
{
	if (lockdown_in_force()) {
		service_remark("");
		log_info(LOG_NO_FIELDS, "policy is enforced: " UNIT " keeps "
			 "processes from the metadata server");
		return;
	}
	service_remark("; policy is advisory (" UNIT " is not in force)");
	log_notice(LOG_FIELDS(log_field("MESSAGE_ID",
					"eb6f9db080444ea4ad2dbec202192868")),
		   "policy is advisory: the metadata server (169.254.169.254, "
		   "fd20:ce::254) is open to every process, which can have the "
		   "machine's identity there; to close it: "
		   "systemctl enable --now " UNIT);
}

static int
on_run(_unused_ sd_event_source *s, const struct inotify_event *i,
       _unused_ void *userdata)
{
	/* Without a name: some events were lost. */
	if (i->len == 0 || strcmp(i->name, MARK_NAME) == 0)
		say();
	return 0;
}

void
lockdown_watch(sd_event *event, sd_event_source **ret)
{
	int r;

	r = sd_event_add_inotify(event, ret, MARK_PARENT,
				 IN_CREATE | IN_DELETE | IN_MOVE | IN_ONLYDIR,
				 on_run, NULL);
	if (r < 0)
		log_notice(LOG_NO_FIELDS, "cannot watch " MARK_PARENT " (%s): "
			   "whether " UNIT " is in force is looked at once",
			   strerror(-r));
	say();
}
