#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# Each file of the fuzz corpus once, with gcc and its sanitizers; and the corpus is what fuzz/make-corpus.py makes. That
# the walker's invariants notice something is tried with checks removed: the same corpus must fail then.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
work=${BUILD:-$root/build}/fuzz-corpus
rm -rf "$work"
mkdir -p "$work"
cd "$root"
export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
flags="-std=gnu11 -g -O1 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined
	-D_GNU_SOURCE -DVIODMA_TEST_BUILD -Wall -Wextra -I$root/include -I$root"
/usr/bin/python3 fuzz/make-corpus.py "$work/made"
# Inputs that once failed may stand beside the made ones, under names that begin with "found-".
diff -r -x 'found-*' "$work/made" fuzz/corpus

mkdir "$work/objects"
# shellcheck disable=SC2086
(cd "$work/objects" && gcc $flags -c "$root"/core/*/*.c "$root"/tests/support/blk_rig.c "$root"/tests/support/hooks.c \
	"$root"/tests/support/mutant.c "$root"/tests/support/test_driver.c \
	"$root"/tests/support/test_driver_packed.c)
failures=0
for target in walker blk messages driver inflight; do
	more=
	[ $target = messages ] && more="hosted/vhost_user/*.c hosted/loop/*.c hosted/base/*.c"
	[ $target = inflight ] && more="hosted/vhost_user/inflight_*.c"
	# shellcheck disable=SC2086
	gcc $flags fuzz/replay.c "fuzz/fuzz_$target.c" $more "$work/objects"/*.o -lpthread -o "$work/$target"
	if ! timeout 120 "$work/$target" fuzz/corpus/$target/* >"$work/$target.log" 2>&1; then
		echo "failed: $target"
		tail -40 "$work/$target.log"
		failures=$((failures + 1))
	fi
done
inputs() { # target, layout: those of one layout, which is enough to notice each of these
	find "fuzz/corpus/$1" -type f $([ "$2" = packed ] || echo '!') -name 'packed*'
}
for requirement in DEV-9 DEV-10 DEV-16; do
	for ring in split packed; do
		# shellcheck disable=SC2046
		if VIODMA_MUTANT=$requirement timeout 120 "$work/walker" $(inputs walker $ring) >"$work/walker-$requirement.log" 2>&1; then
			echo "the walker's invariants hold although the checks of $requirement are removed: $ring"
			failures=$((failures + 1))
		fi
	done
done
for requirement in DRV-21; do
	for ring in split packed; do
		# shellcheck disable=SC2046
		if VIODMA_MUTANT=$requirement timeout 120 "$work/driver" $(inputs driver $ring) >"$work/driver-$requirement.log" 2>&1; then
			echo "what must hold of the driver half does, although the checks of $requirement are removed: $ring"
			failures=$((failures + 1))
		fi
	done
done
for ring in split packed; do
	if VIODMA_MUTANT=PLT-12 timeout 120 "$work/inflight" fuzz/corpus/inflight/$ring* >"$work/inflight-PLT-12.log" 2>&1; then
		echo "records that contradict themselves list what can be, although the checks of PLT-12 are removed: $ring"
		failures=$((failures + 1))
	fi
done
[ "$failures" -eq 0 ]
