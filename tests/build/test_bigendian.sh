#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# The unit tests of core on a big-endian machine: s390x, under qemu-user.
#
# How it works: Debian's cross compiler makes the programs. The test framework for that architecture is fetched by apt
# with a state of its own (nothing is added to this machine's list of architectures) and unpacked under the build
# directory, once. That the machine is big-endian is tried first.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
work=${BUILD:-$root/build}/bigendian
mkdir -p "$work"
cd "$root"
scripts/packages gcc-s390x-linux-gnu libc6-dev-s390x-cross qemu-user-static
sysroot=$work/cmocka

fetch_cmocka() {
	state=$work/apt
	mkdir -p "$state/state/lists/partial" "$state/cache/archives/partial"
	: >"$state/state/status"
	set -- -q -o APT::Architecture=s390x -o APT::Architectures=s390x -o "Dir::State=$state/state" \
		-o "Dir::State::status=$state/state/status" -o "Dir::Cache=$state/cache" -o Acquire::Languages=none \
		-o Debug::NoLocking=1
	[ "$(id -u)" -eq 0 ] && set -- "$@" -o APT::Sandbox::User=root
	# A suite that cannot be had does not matter as long as another names the package.
	apt-get "$@" update || echo "apt-get update reported an error; going on with the lists there are"
	(cd "$state" && rm -f ./*.deb && apt-get "$@" download libcmocka0 libcmocka-dev)
	rm -rf "$sysroot.new"
	mkdir "$sysroot.new"
	for deb in "$state"/*.deb; do
		dpkg-deb -x "$deb" "$sysroot.new"
	done
	mv "$sysroot.new" "$sysroot"
	rm -rf "$state"
}

[ -d "$sysroot" ] || fetch_cmocka >"$work/fetch.log" 2>&1 || { cat "$work/fetch.log"; exit 1; }

library=$(dirname "$(find "$sysroot" -name 'libcmocka.so.0' | head -n 1)")
run="qemu-s390x-static -L /usr/s390x-linux-gnu -E LD_LIBRARY_PATH=$library"
compile="s390x-linux-gnu-gcc -std=c11 -O1 -g -D_GNU_SOURCE -DVIODMA_TEST_BUILD -Wall -Wextra -Werror -Iinclude -I."

printf 'int main(void) { int one = 1; return *(char *)&one; }\n' >"$work/order.c"
s390x-linux-gnu-gcc "$work/order.c" -o "$work/order"
$run "$work/order" || { echo "this is not a big-endian machine"; exit 1; }

rm -rf "$work/objects"
mkdir "$work/objects"
(cd "$work/objects" && ${compile% -Iinclude -I.} -I"$root/include" -I"$root" -I"$sysroot/usr/include" \
	-c "$root"/core/*/*.c "$root"/tests/support/*.c)
failures=0
for source in $(grep -LE 'hosted/|support/front|viodma/(loop|poller|vhost_user)' tests/unit/test_*.c); do
	name=$(basename "$source" .c)
	case $name in
	# Minutes each here, and what they say has little to do with the order of bytes.
	test_dma_fault_loop | test_domain_iommu_random | test_domain_random | test_driver_blk_faults | test_driver_blk_faults_packed)
		[ -n "${VIODMA_SLOW:-}" ] || continue
		;;
	esac
	$compile -I"$sysroot/usr/include" "$source" "$work/objects"/*.o -L"$library" -l:libcmocka.so.0 -lpthread -o "$work/$name"
	if ! CMOCKA_MESSAGE_OUTPUT=TAP timeout 300 $run "$work/$name" >"$work/$name.log" 2>&1; then
		echo "failed on s390x: $name"
		grep -vE '^ok' "$work/$name.log" | tail -20
		failures=$((failures + 1))
	fi
done
[ "$failures" -eq 0 ]
