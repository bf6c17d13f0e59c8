#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# Does a vhost-user device keep the rules of platform DMA? For continuous integration: whatever runs a shell and reads
# JUnit's XML.
#
#     check-device.sh TYPE SOCKET COMMAND
#
# COMMAND serves a scratch device at SOCKET; it is run before each connection, and ended after it. check.xml and
# check.html are left here, to be kept with the job. Exit status 0: no rule was seen broken; 1: one was; 2: it could not
# be checked.
set -eu
exec viodma check device --type "$1" --socket-path "$2" --command "$3" --junit check.xml --html check.html
