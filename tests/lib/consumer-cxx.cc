/* SPDX-License-Identifier: Apache-2.0 */

/* A program of somebody else's, in C++: many requests at once in one thread.
   usage: consumer-cxx AUDIENCE COUNT; the socket is $GCE_OIDC_SOCKET.
   Prints how many got which result, and the first token. */

#include <cstdlib>
#include <iostream>
#include <map>
#include <string>
#include <vector>

#include <poll.h>

#include "gce-oidc.h"

int
main(int argc, char **argv)
{
	if (argc != 3)
		return 2;
	std::vector<gce_oidc *> asked(std::strtoul(argv[2], nullptr, 10));
	std::map<int, int> results;
	std::string first;

	for (auto &c : asked) {
		int r = gce_oidc_new(&c);

		gce_oidc_set_timeout(c, 20000);
		if (r == 0)
			r = gce_oidc_start(c, argv[1]);
		if (r < 0) {
			results[r]++;
			c = gce_oidc_free(c);
		}
	}
	for (bool any = true; any;) {
		std::vector<pollfd> waiting;
		int timeout = -1;

		any = false;
		for (auto &c : asked) {
			struct gce_oidc_token *t = nullptr;
			int r = c ? gce_oidc_step(c, &t) : 0;

			if (r != 0) {
				results[r]++;
				if (r > 0 && first.empty())
					first = gce_oidc_token_string(t);
				gce_oidc_token_free(t);
				c = gce_oidc_free(c);
			} else if (c) {
				int left = gce_oidc_timeout(c);

				if (timeout < 0 || (left >= 0 && left < timeout))
					timeout = left;
				waiting.push_back({});
				waiting.back().fd = gce_oidc_fd(c);
				waiting.back().events = short(gce_oidc_events(c));
				any = true;
			}
		}
		if (any && poll(waiting.data(), waiting.size(), timeout) < 0)
			return 1;
	}
	for (const auto &result : results)
		std::cout << result.first << " x " << result.second << "\n";
	std::cout << first << "\n";
	return 0;
}
