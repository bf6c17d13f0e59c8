#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# Each public header compiles alone, twice in one file, as C11 and as C++17, with gcc and clang, without a warning; and
# as freestanding C11 unless it belongs to the Linux rooms.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
work=${BUILD:-$root/build}/headers
rm -rf "$work"
mkdir -p "$work"
failures=0

try() {
	if ! "$@" -Wall -Wextra -Wpedantic -Werror -I"$root/include" -c -o "$work/header.o"; then
		echo "failed: $*"
		failures=$((failures + 1))
	fi
}

count=0
for header in "$root"/include/viodma/*.h "$root"/include/viodma/wire/*.h; do
	name=${header#"$root"/include/}
	printf '#include <%s>\n#include <%s>\nint header_is_not_empty;\n' "$name" "$name" >"$work/header.c"
	cp "$work/header.c" "$work/header.cc"
	for compiler in gcc clang; do
		try $compiler -std=c11 "$work/header.c"
		case $name in
		viodma/loop.h | viodma/vhost_user.h | viodma/vhost_user_front.h) ;;
		*) try $compiler -std=c11 -ffreestanding "$work/header.c" ;;
		esac
	done
	for compiler in g++ clang++; do
		try $compiler -std=c++17 "$work/header.cc"
	done
	count=$((count + 1))
done
[ "$count" -ge 10 ] || { echo "only $count headers found"; exit 1; }

# A header that needs another one is noticed.
printf 'viodma_bus nothing_declares_this;\n' >"$work/header.c"
if gcc -std=c11 -c "$work/header.c" -o "$work/header.o" 2>/dev/null; then
	echo "a missing declaration is not noticed"
	exit 1
fi
[ "$failures" -eq 0 ]
