#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# Both halves of a ring in two threads that sleep whenever the ring lets them: every layout, with every feature, in sizes
# from 1 to 32768; as it ships, and under the thread sanitizer. Built without its full fences, the same program has to
# lose a notification: on a machine with two processors it shows within a moment.
#
# VIODMA_OPERATIONS=N: N operations of rings instead, shared among a few cases, without sanitizer (make ring-billion). With
# VIODMA_SLOW=1 (make check-all) they come at the end: 10^9.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
work=${BUILD:-$root/build}/ring-threads
mkdir -p "$work"
cd "$root"
flags="-std=gnu11 -g -D_GNU_SOURCE -Wall -Wextra -Iinclude -I."
program="core/*/*.c tests/threads/ring_threads.c -lpthread"

# shellcheck disable=SC2086
gcc $flags -O2 $program -o "$work/plain"
many() {
	"$work/plain" --operations $(($1 / 8)) split,event,size=256 packed,event,size=256 split,size=256 packed,size=256 \
		split,event,indirect,inorder,size=256 packed,event,inorder,size=32768 split,event,size=32768,eventfd \
		packed,event,indirect,size=100
}
if [ -n "${VIODMA_OPERATIONS:-}" ]; then
	many "$VIODMA_OPERATIONS"
	exit
fi
# gcc warns that the thread sanitizer does not see fences; the ring orders by acquire and release.
# shellcheck disable=SC2086
gcc $flags -O1 -fsanitize=thread -Wno-tsan $program -o "$work/thread"
# shellcheck disable=SC2086
gcc $flags -O2 -include tests/threads/no_fence.h $program -o "$work/no-fence"

"$work/plain" --milliseconds 100
TSAN_OPTIONS=halt_on_error=1 "$work/thread" --milliseconds 100
if [ "$(nproc)" -lt 2 ]; then
	echo "not run: the twin without fences (one processor)"
	exit 0
fi
for case in split,event,size=256 packed,event,size=256 packed,size=256; do
	if "$work/no-fence" --milliseconds 60000 --still 3 $case; then
		echo "$case: without its fences it loses nothing"
		exit 1
	fi
done
if [ -n "${VIODMA_SLOW:-}" ]; then
	many 1000000000
else
	echo "not run: 10^9 operations (make ring-billion, make check-all)"
fi
