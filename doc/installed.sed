# SPDX-License-Identifier: Apache-2.0
# README.md as it is installed: doc/ is where it lies itself, and what is not installed
# beside it is no link.
s,\[\([^]]*\)\](HACKING\.md),\1,g
s,\[\([^]]*\)\](doc/architecture\.md),\1,g
s,\[\([^]]*\)\](doc/[a-z.-]*\.[1-8]),\1,g
s,](doc/,](,g
