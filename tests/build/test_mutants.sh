#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# Each check of a requirement in core, removed one at a time, is missed by a unit test: see mutants.py.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
exec /usr/bin/python3 "$root/tests/build/mutants.py" "${BUILD:-$root/build}"
