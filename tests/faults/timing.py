# SPDX-License-Identifier: Apache-2.0
"""Every wait of the agent at about 1:100, so that a case takes a second at most.

Lives of tokens are whole seconds and cannot be scaled so: the wish is longer than
here is written elsewhere, and the emulator's tokens near their end have 12 s.
The tries of one request to the metadata server are over before a caller's wait is,
as by default; those to Google are not."""

WAIT = 1.2              # of a caller who does not say
WAIT_MAX = 10           # of one who does
DENIED = 0.6            # a denial is remembered
UNAVAILABLE = 0.01      # and trouble, doubling while it lasts
UNAVAILABLE_MAX = 0.3
METADATA_TRIES = 3
TRY = 0.3               # the shortest try there is
GOOGLE_TRIES = 4
NEAR_LIFE = 12          # seconds; of tokens that are near their end from the start
FRESH = 20              # a demand that such a token does not meet
FULL_LIFE = 3600
REFRESH_PAUSE = 0.5     # after a refresh that has failed

TIMING = f"""
[upstream]
requests-per-minute = 1000000
[limits]
peer-share = 100%
requests-per-second = 10000
# Four flights that never end, and nobody is served any more.
flights = 4
[cache]
refresh-ahead = 6s
[timing]
refresh-jitter = 3s
metadata-connect = 200ms
metadata-try = {int(TRY * 1000)}ms
metadata-backoff = 1ms
metadata-backoff-max = 50ms
metadata-tries = {METADATA_TRIES}
google-connect = 400ms
google-try = 600ms
google-backoff = 10ms
google-backoff-max = 200ms
google-tries = {GOOGLE_TRIES}
retry-after-max = 600ms
discover = 5ms
discover-max = 100ms
boot-grace = 0
no-account = 600ms
access-token-fetch = 5s
assertion-life = 36s
assertion-backdate = 1s
iat-skew = 3s
certs-life-min = 0
certs-refetch = 1ms
certs-retry = 1ms
certs-fetch = 5s
denial-doubt = 50ms
denied-flow = {int(DENIED * 1000)}ms
denied-flow-max = {int(DENIED * 1000)}ms
denied = {int(DENIED * 1000)}ms
unavailable = {int(UNAVAILABLE * 1000)}ms
unavailable-max = {int(UNAVAILABLE_MAX * 1000)}ms
linger = 1800ms
certs-early = 0
refresh-pause = {int(REFRESH_PAUSE * 1000)}ms
wish = {NEAR_LIFE + 3}s
brand-new = 0
wait = {int(WAIT * 1000)}ms
wait-max = {WAIT_MAX}s
drain = 5s
"""
