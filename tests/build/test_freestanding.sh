#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# core/ is easy to carry away: `cc -std=c11 -ffreestanding -Iinclude -c core/*/*.c` is the whole build, with gcc and
# clang, for 64 and 32 bits. The objects need memcpy, memmove, memset, memcmp and each other, not even a compiler's
# helper for 64-bit division, and hold no data that can change.
#
# How it works: it is built in an empty directory from a copy of include/ and core/, so that nothing else of the tree
# can be picked up. nm lists undefined symbols and writable sections. The checks are tried on objects that must fail.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
work=${BUILD:-$root/build}/freestanding
rm -rf "$work"
mkdir -p "$work/source" "$work/objects"
cp -R "$root/include" "$root/core" "$work/source"
cd "$work/objects"
failures=0

# Symbols the objects want from outside, but for the four functions.
wanted() {
	nm "$@" | awk '
		NF == 2 && $1 == "U" { wanted[$2] = 1 }
		NF == 3 { defined[$3] = 1 }
		END { for (name in wanted) if (!(name in defined)) print name }' |
		grep -vxE 'memcpy|memmove|memset|memcmp|_GLOBAL_OFFSET_TABLE_' || true
}

# Objects with data that can be written: initialised, zero, or common; in any section that is not read-only.
writable() {
	nm "$@" | awk 'NF == 3 && $2 ~ /^[dDbBCsSgG]$/ { print $3 }'
}

check() {
	what=$1
	shift
	if [ -n "$(wanted "$@")" ]; then
		echo "$what: wants from outside: $(wanted "$@" | tr '\n' ' ')"
		return 1
	fi
	if [ -n "$(writable "$@")" ]; then
		echo "$what: has data that can change: $(writable "$@" | tr '\n' ' ')"
		return 1
	fi
}

for compiler in gcc clang; do
	for bits in -m64 -m32; do
		case $(uname -m) in
		x86_64) ;;
		*) [ $bits = -m32 ] && echo "not run: $compiler $bits on $(uname -m)" && continue; bits= ;;
		esac
		for level in -O0 -O2 -Os; do
			rm -f ./*.o
			if ! (cd "$work/source" && $compiler $bits $level -std=c11 -ffreestanding -Iinclude -Wall -Wextra \
				-Werror -c core/*/*.c && mv ./*.o "$work/objects"); then
				echo "$compiler $bits $level: does not build"
				failures=$((failures + 1))
				continue
			fi
			check "$compiler $bits $level" ./*.o || failures=$((failures + 1))
		done
	done
done

# The checks notice what they are for.
rm -f ./*.o
printf 'extern int printf(const char *, ...); int f(void) { return printf("x"); }\n' >wants.c
printf 'static int count; int g(void) { return ++count; }\n' >changes.c
printf 'unsigned long long h(unsigned long long a, unsigned long long b) { return a / b; }\n' >divides.c
gcc -std=c11 -ffreestanding -c wants.c changes.c
if check "a call of printf" wants.o >noticed || check "a counter" changes.o >>noticed; then
	echo "the checks notice nothing"
	failures=$((failures + 1))
fi
if [ "$(uname -m)" = x86_64 ]; then
	gcc -m32 -std=c11 -ffreestanding -c divides.c
	if check "a 64-bit division with -m32" divides.o >noticed; then
		echo "the check does not notice a 64-bit division"
		failures=$((failures + 1))
	fi
fi
[ "$failures" -eq 0 ]
