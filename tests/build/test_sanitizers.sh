#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# The unit tests of core under gcc's sanitizers: address and undefined together, then thread, which is where the ring
# between two threads proves its memory order. (scripts/sanitized-build does it with clang, the Linux rooms included.)
#
# How it works: one compiler call for each program, without the build system; programs are named by their source. That
# the sanitizers are there and speak up is tried on a program that must fail.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
work=${BUILD:-$root/build}/sanitizers
rm -rf "$work"
mkdir -p "$work"
cd "$root"
failures=0
export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 ASAN_OPTIONS=detect_leaks=1 TSAN_OPTIONS=halt_on_error=1
flags="-std=c11 -g -O1 -fno-omit-frame-pointer -D_GNU_SOURCE -DVIODMA_TEST_BUILD -Iinclude -I."

unit_tests() { # of core: those that include nothing of the Linux rooms
	grep -LE 'hosted/|support/front|viodma/(loop|poller|vhost_user)' tests/unit/test_*.c
}

for sanitizer in address,undefined thread; do
	more="-fsanitize=$sanitizer -fno-sanitize-recover=undefined"
	# gcc warns that the thread sanitizer does not see fences; the ring orders by acquire and release.
	[ $sanitizer = thread ] && more="$more -Wno-tsan"
	mkdir -p "$work/$sanitizer"
	# shellcheck disable=SC2086
	(cd "$work/$sanitizer" && gcc -I"$root/include" -I"$root" $flags $more -c "$root"/core/*/*.c "$root"/tests/support/*.c)
	for source in $(unit_tests); do
		name=$(basename "$source" .c)
		# Threads are the matter of one test; the others would only be slow.
		[ $sanitizer = thread ] && [ "$name" != test_two_threads ] && [ "$name" != test_queue_stop ] && continue
		# shellcheck disable=SC2086
		gcc $flags $more "$source" "$work/$sanitizer"/*.o -lcmocka -lpthread -o "$work/$sanitizer/$name"
		if ! CMOCKA_MESSAGE_OUTPUT=TAP timeout 300 "$work/$sanitizer/$name" >"$work/$sanitizer/$name.log" 2>&1; then
			echo "failed under $sanitizer: $name"
			grep -vE '^ok' "$work/$sanitizer/$name.log" | tail -40
			failures=$((failures + 1))
		fi
	done
done

printf 'int main(int n, char **v) { int a[4] = {0}; (void)v; return a[n + 3]; }\n' >"$work/beyond.c"
gcc -g -fsanitize=address,undefined -fno-sanitize-recover=undefined "$work/beyond.c" -o "$work/beyond"
if "$work/beyond" 2>/dev/null; then
	echo "the sanitizers notice nothing"
	exit 1
fi
[ "$failures" -eq 0 ]
