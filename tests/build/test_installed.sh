#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# The installed tree is enough to work with: the examples compile against it by pkg-config alone, with both compilers,
# shared and static, and do what they say. The shared library shows its public names and no others; man pages are there.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
build=${BUILD:-$root/build}
tree=$build/installed
rm -rf "$tree"
meson install -C "$build" --destdir "$tree" --quiet
pc=$(dirname "$(find "$tree" -name viodma.pc)")
libdir=$(dirname "$pc")
export PKG_CONFIG_SYSROOT_DIR="$tree" PKG_CONFIG_LIBDIR="$pc" LD_LIBRARY_PATH="$libdir"
examples=$(dirname "$(find "$tree" -name my-device.c)")
out=$build/installed-examples
rm -rf "$out"
mkdir -p "$out"
cp "$examples"/* "$out"
cd "$out"

expect() {
	if [ "$1" != "$2" ]; then
		printf 'wanted:\n%s\ngot:\n%s\n' "$1" "$2"
		exit 1
	fi
}

for compiler in gcc clang; do
	for kind in "" --static; do
		flags=$(pkg-config $kind --cflags --libs viodma-core)
		for example in my-device my-vmm my-map my-platform both-halves; do
			# shellcheck disable=SC2086
			$compiler -std=c11 -Wall -Wextra -Werror $example.c $flags -o $example
		done
		# shellcheck disable=SC2046
		$compiler -std=gnu11 -Wall -Wextra -Werror my-backend.c $(pkg-config --cflags --libs viodma) -o my-backend
		# shellcheck disable=SC2046
		$compiler -std=c11 -Wall -Wextra -Werror my-driver.c $(pkg-config --cflags --libs viodma) -o my-driver
		expect "HELLO FROM THE DRIVER" "$(./my-device)"
		expect 144 "$(./both-halves)"
		expect "served
refused: read of 21 bytes at bus address 0xfffe4000: DEV-9, the mapping does not permit this direction" "$(./my-vmm)"
		expect "kind=direct
physical 0x10064, bus 0x10064: the device reads \"from the driver\"
the driver reads \"from the device\"
the device reads \"again\"
kind=offset window=0x80000+32K@0xfe000000 restricted pool=0x80000+32K
physical 0x10064, bus 0xfe000064: the device reads \"from the driver\"
the driver reads \"from the device\"
the device reads \"again\"" "$(./my-map)"
		expect "  clean      16384 bytes at physical 0x2000000
a map, for the device to write:
  clean        100 bytes at physical 0x200000a
  clean       8192 bytes at physical 0x1000000
  descriptor: bus address 0x81000000, 4096 bytes
  descriptor: bus address 0x81002000, 4096 bytes
  descriptor: bus address 0x8200000a, 100 bytes
unmap, all of it written:
  invalidate   100 bytes at physical 0x200000a
  invalidate  8192 bytes at physical 0x1000000" "$(./my-platform)"
	done
done

# A sector, read by the example from the disk that the program serves; private memory stays private.
truncate -s 1M disk.img
printf 'the first sector' | dd of=disk.img conv=notrunc status=none
timeout 60 "$build/viodma" serve blk --socket-path "$out/disk.sock" --blk-file disk.img 2>serve.log &
serve=$!
i=0
while ! grep -q listening serve.log && [ $i -lt 100 ]; do
	sleep 0.1
	i=$((i + 1))
done
sector=$(timeout 20 ./my-driver "$out/disk.sock" | tr -d '\0') || sector="exit status $?"
kill $serve
wait $serve 2>/dev/null || true
expect "the first sector" "$sector"
# The program's own device, checked as in continuous integration; then one that is none.
check_device() {
	PATH=$tree/usr/local/bin:$PATH timeout 120 sh ./check-device.sh blk "$out/check.sock" "$1" >check.log 2>&1 || return $?
}
truncate -s 8M scratch.img
check_device "exec viodma serve blk --socket-path $out/check.sock --blk-file scratch.img" || { cat check.log; exit 1; }
xmllint --noout check.xml check.html
expect 0 "$(xmllint --xpath 'string(/testsuites/testsuite/@failures)' check.xml)"
status=0
check_device "exit 0" || status=$?
expect 2 "$status"

# shellcheck disable=SC2046
gcc -std=gnu11 my-backend.c $(pkg-config --cflags viodma) "$libdir/libviodma.a" -luring -lpthread -o my-backend-static

MY_BACKEND=$out/my-backend /usr/bin/python3 -m pytest -q -p no:cacheprovider "$root/tests/examples"
MY_BACKEND=$out/my-backend-static /usr/bin/python3 -m pytest -q -p no:cacheprovider "$root/tests/examples"

others=$(nm -D --defined-only "$libdir/libviodma.so" | awk '{ print $3 }' | grep -v -e '^viodma_' -e '^VIODMA_' || true)
expect "" "$others"
for name in $(cat "$tree"/usr/local/include/viodma/*.h | grep -o 'viodma_[a-z0-9_]*(' | tr -d '(' | sort -u); do
	# Inline functions, callbacks and macros have no symbol; what is declared at the start of a line has one.
	if grep -hE "^[a-zA-Z].*[ *]$name\(" "$tree"/usr/local/include/viodma/*.h | grep -qv inline; then
		nm -D --defined-only "$libdir/libviodma.so" | grep -q " $name\(@\|$\)" || { echo "not exported: $name"; exit 1; }
	fi
done
for page in viodma.1 viodma-demo.1 viodma-check.1 viodma-drive.1 viodma-serve.1 viodma-platform-dma.7; do
	[ -n "$(find "$tree" -name "$page*")" ] || { echo "not installed: $page"; exit 1; }
done
for document in README.md platform-dma.md platform-description.md cases.md design.md porting.md threat-model.md; do
	[ -e "$tree/usr/local/share/doc/viodma/$document" ] || { echo "not installed: $document"; exit 1; }
done
(cd "$tree/usr/local/share/doc/viodma" && grep -o '](\([^):]*\))' ./*.md | sed -e 's/.*](//' -e 's/[)#].*//' | sort -u) | while read -r link; do
	[ -z "$link" ] || [ -e "$tree/usr/local/share/doc/viodma/$link" ] || { echo "an installed document leads to $link"; exit 1; }
done
echo "installed tree: examples, symbols and man pages as they should be"
