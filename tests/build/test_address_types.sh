#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# An address is not a pointer, nor another kind of address, nor a number: what mixes them does not compile, with either
# compiler; nor can memory the peer can change be dereferenced, or a result be ignored.
#
# How it works: each line below is a statement in a function that has one of everything. Those under `must not compile`
# must each fail; those under `must compile` must each pass, so that a failure for another reason does not count.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
work=${BUILD:-$root/build}/address-types
rm -rf "$work"
mkdir -p "$work"
failures=0

compiles() {
	{
		echo '#include <viodma/space.h>'
		echo 'void takes_phys(viodma_phys phys); void takes_bus(viodma_bus bus); void takes_uaddr(viodma_uaddr user);'
		echo 'void takes_le32(viodma_le32 number); void takes_u32(uint32_t number); void takes_pointer(const void *p);'
		echo 'void takes_byte(char byte);'
		echo 'enum viodma_result f(viodma_phys phys, viodma_bus bus, viodma_uaddr user, viodma_le32 le32,'
		echo '	viodma_le16 le16, uint64_t number, uint32_t u32, struct viodma_shared *shared, void *pointer,'
		echo '	struct viodma_space *space, struct viodma_region *region);'
		echo 'enum viodma_result f(viodma_phys phys, viodma_bus bus, viodma_uaddr user, viodma_le32 le32,'
		echo '	viodma_le16 le16, uint64_t number, uint32_t u32, struct viodma_shared *shared, void *pointer,'
		echo '	struct viodma_space *space, struct viodma_region *region)'
		echo '{'
		echo '	(void)phys; (void)bus; (void)user; (void)le32; (void)le16; (void)number; (void)u32; (void)shared;'
		echo '	(void)pointer; (void)space; (void)region;'
		printf '	%s\n	return VIODMA_OK;\n}\n' "$2"
	} >"$work/statement.c"
	"$1" -std=c11 -Wall -Wextra -Werror -I"$root/include" -c "$work/statement.c" -o "$work/statement.o" 2>"$work/messages"
}

try() {
	for compiler in gcc clang; do
		if compiles $compiler "$2"; then
			[ "$1" = pass ] || { echo "$compiler compiles: $2"; failures=$((failures + 1)); }
		else
			[ "$1" = fail ] || { echo "$compiler does not compile: $2"; cat "$work/messages"; failures=$((failures + 1)); }
		fi
	done
}

# must compile
while IFS= read -r line; do try pass "$line"; done <<'LINES'
takes_phys(phys);
takes_bus(bus);
takes_uaddr(user);
takes_bus((viodma_bus){phys.v});
takes_u32(viodma_le32_get(le32));
takes_le32(viodma_le32_of(u32));
takes_pointer(pointer);
shared = viodma_shared_at(shared, 1);
return viodma_space_add_region(space, region);
LINES

# must not compile
while IFS= read -r line; do try fail "$line"; done <<'LINES'
takes_bus(phys);
takes_phys(bus);
takes_phys(user);
takes_uaddr(phys);
takes_uaddr(bus);
takes_bus(user);
takes_bus(number);
takes_phys(number);
takes_bus(pointer);
takes_pointer(bus);
takes_pointer(user);
bus = phys;
user = bus;
number = bus;
bus = number;
pointer = user;
pointer = (void *)bus;
number = phys + 1;
if (bus == phys) return VIODMA_OK;
takes_u32(le32);
takes_le32(u32);
le32 = le16;
u32 = le32 + 1;
takes_byte(*shared);
takes_byte(shared[0]);
shared++;
viodma_space_add_region(space, region);
LINES
[ "$failures" -eq 0 ]
