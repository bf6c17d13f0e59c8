#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# The invented platform of tests/foreign is small, includes nothing but public headers and the C library, is not known to
# core, and works with core as it is, built by either compiler with the sanitizers.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
work=${BUILD:-$root/build}/foreign
rm -rf "$work"
mkdir -p "$work"
cd "$root/tests/foreign"
lines=$(cat foreign_platform.h foreign_platform.c | wc -l)
[ "$lines" -lt 300 ] || { echo "the platform has $lines lines, expected fewer than 300"; exit 1; }
if grep -h '^#include' ./*.c ./*.h | grep -vE '<viodma/[a-z_/]+\.h>|"foreign_platform\.h"|<(stdio|stdlib|string|stddef|stdint|stdbool|unistd|sys/wait)\.h>'; then
	echo "includes something else than public headers and the C library"
	exit 1
fi
if grep -rnE 'foreign_' "$root/core" "$root/include"; then
	echo "core knows of the foreign platform"
	exit 1
fi
for compiler in gcc clang; do
	$compiler -std=c11 -g -O1 -Wall -Wextra -Werror -fsanitize=address,undefined -fno-sanitize-recover=undefined -I"$root/include" \
		./*.c "$root"/core/*/*.c -o "$work/foreign-$compiler"
	for seed in 1 2 3; do
		if ! timeout 120 "$work/foreign-$compiler" $seed >"$work/log" 2>&1; then
			grep -v '^ok' "$work/log" | tail -30
			exit 1
		fi
	done
done
echo "foreign platform: $lines lines, $(grep -c '^ok' "$work/log") behaviours"
