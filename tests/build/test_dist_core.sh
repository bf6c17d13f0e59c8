#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# The source drop stands alone: it builds by hand, with CMake and as a Zephyr module, links into a program, says what it
# holds, holds nothing of Linux, and the same tree gives the same bytes.
#
# How it works: Zephyr is not here; its three build functions are stood in for by a CMake list file of our own, which
# reads zephyr/module.yml for where to look, as Zephyr does.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
work=${BUILD:-$root/build}/dist-core
rm -rf "$work"
mkdir -p "$work"
tarball=$("$root/scripts/dist-core" "$work/one")
other=$("$root/scripts/dist-core" "$work/two")
cmp "$tarball" "$other"
tar -C "$work" -xzf "$tarball"
drop=$(find "$work" -maxdepth 1 -type d -name 'viodma-core-*')
cd "$drop"

# FILES is the truth.
find . -type f | sed 's,^\./,,' | LC_ALL=C sort | diff FILES -
for name in LICENSE README.md docs/porting.md spec/platform-dma.md CMakeLists.txt zephyr/module.yml zephyr/CMakeLists.txt zephyr/Kconfig; do
	grep -qx "$name" FILES || { echo "not in the drop: $name"; exit 1; }
done
(cd "$root" && find core -name '*.[ch]') | while read -r file; do
	grep -qx "$file" FILES || { echo "not in the drop: $file"; exit 1; }
done
if grep -rlE '#include <(stdio|stdlib|string|unistd|errno|sys/[a-z]*|linux/[a-z]*)\.h>' core include |
	grep -v include/viodma/port.h; then
	echo "includes of a C library in the drop"
	exit 1
fi

# By hand.
mkdir objects
(cd objects && gcc -std=c11 -ffreestanding -Wall -Wextra -Werror -I../include -c ../core/*/*.c)
rm -r objects

cat >"$work/use.c" <<'END'
#include <viodma/platform.h>
int main(void)
{
	struct viodma_platform platform;
	viodma_platform_init(&platform);
	return viodma_platform_check(&platform, 0) != VIODMA_OK;
}
END

# With CMake, as a user adds it.
mkdir "$work/user"
cp "$work/use.c" "$work/user"
cat >"$work/user/CMakeLists.txt" <<END
cmake_minimum_required(VERSION 3.13)
project(user LANGUAGES C)
add_subdirectory($drop core)
add_executable(use use.c)
target_link_libraries(use viodma::core)
END
cmake -S "$work/user" -B "$work/user/build" >"$work/cmake.log" 2>&1 || { cat "$work/cmake.log"; exit 1; }
cmake --build "$work/user/build" >"$work/cmake.log" 2>&1 || { cat "$work/cmake.log"; exit 1; }
"$work/user/build/use"

# As a Zephyr module.
module=$(sed -n 's/^  cmake: //p' zephyr/module.yml)
kconfig=$(sed -n 's/^  kconfig: //p' zephyr/module.yml)
grep -q '^config VIODMA$' "$kconfig"
mkdir "$work/zephyr"
cp "$work/use.c" "$work/zephyr"
cat >"$work/zephyr/CMakeLists.txt" <<END
cmake_minimum_required(VERSION 3.13)
project(app LANGUAGES C)
set(CONFIG_VIODMA \${WITH})
macro(zephyr_include_directories)
  include_directories(\${ARGN})
endmacro()
macro(zephyr_library_named name)
  set(ZEPHYR_CURRENT_LIBRARY \${name})
  add_library(\${name} STATIC)
endmacro()
macro(zephyr_library_sources)
  target_sources(\${ZEPHYR_CURRENT_LIBRARY} PRIVATE \${ARGN})
endmacro()
include($drop/$module/CMakeLists.txt)
add_executable(app use.c)
target_link_libraries(app viodma)
END
cmake -DWITH=y -S "$work/zephyr" -B "$work/zephyr/build" >"$work/cmake.log" 2>&1 || { cat "$work/cmake.log"; exit 1; }
cmake --build "$work/zephyr/build" >"$work/cmake.log" 2>&1 || { cat "$work/cmake.log"; exit 1; }
"$work/zephyr/build/app"
cmake -DWITH=n -S "$work/zephyr" -B "$work/zephyr/off" >"$work/cmake.log" 2>&1
if cmake --build "$work/zephyr/off" >"$work/cmake.log" 2>&1; then
	echo "CONFIG_VIODMA=n builds viodma"
	exit 1
fi
echo "source drop: $(grep -c . FILES) files, by hand, CMake, Zephyr"
