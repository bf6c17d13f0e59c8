#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# fuzz/run.sh [SECONDS [TARGET...]] : each target for so many seconds (default 60) under clang's address and undefined
# behaviour sanitizers. What is found grows in build/fuzz/corpus; an input that fails is left in build/fuzz/artifacts, and
# the exit status is 1. To see one again: build/fuzz/build/fuzz/fuzz_TARGET FILE.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
seconds=${1:-60}
[ $# -gt 0 ] && shift
[ $# -gt 0 ] || set -- walker blk messages driver inflight
work=${BUILD:-$root/build}/fuzz
mkdir -p "$work/artifacts"
if [ ! -e "$work/build/build.ninja" ]; then
	CC=clang meson setup "$work/build" "$root" -Dfuzz=true -Dtests=true -Db_sanitize=address,undefined -Db_lundef=false \
		-Dc_args='-fsanitize=fuzzer-no-link -fno-sanitize-recover=undefined -fno-omit-frame-pointer' \
		>"$work/setup.log" 2>&1 || { cat "$work/setup.log"; exit 1; }
fi
ninja -C "$work/build" --quiet fuzz/fuzz_walker fuzz/fuzz_blk fuzz/fuzz_messages fuzz/fuzz_driver fuzz/fuzz_inflight
failed=0
for target in "$@"; do
	mkdir -p "$work/corpus/$target"
	if timeout $((seconds + 120)) "$work/build/fuzz/fuzz_$target" -max_total_time="$seconds" -max_len=1024 -timeout=20 \
		-print_final_stats=1 -artifact_prefix="$work/artifacts/$target-" "$work/corpus/$target" \
		"$root/fuzz/corpus/$target" >"$work/$target.log" 2>&1; then
		echo "$target: $(awk '/number_of_executed_units/ { print $2 }' "$work/$target.log") inputs in $seconds s, no failure"
	else
		echo "$target: FAILED; the input is in $work/artifacts"
		grep -vE '	(NEW|REDUCE|pulse) ' "$work/$target.log" | tail -60
		failed=1
	fi
done
exit $failed
