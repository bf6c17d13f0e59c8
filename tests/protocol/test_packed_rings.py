# SPDX-License-Identifier: BSD-3-Clause
"""Packed rings that break the rules: refused by name, nothing written, the device recovers. The check is test_rings'."""
import pytest

import blk as b
import vhost_user as vu
from driver import DESC, INDIRECT, NEXT, RO, WRITE
from rules import Lab, forbidden
from test_rings import good, grant, misaligned, refuses, refuses_what_is_in_flight
from vhost_user import must

pytestmark = pytest.mark.parametrize("layout", ["packed"], indirect=True)


@pytest.fixture(autouse=True)
def every_driver_is_packed(layout):
    return layout


def put(blk, rows, ident=0, unavailable=(), ids=None):
    """Raw descriptors from the next place on, the first one's flags last. rows: (address, length, flags) each."""
    ring = blk.ring
    place, wrap, first = ring.place, ring.wrap, None
    for i, (address, length, flags) in enumerate(rows):
        flags |= ring.available(wrap) if i not in unavailable else ring.available(wrap ^ 1)
        ring.write_desc(place, address, length, ids[i] if ids else ident, 0 if first is None else flags)
        first = first or (place, flags)
        place, wrap = ring.step(place, wrap, 1)
    ring.write_flags(*first)


def linked(chain):
    return [(a, n, f | (NEXT if i < len(chain) - 1 else 0)) for i, (a, n, f) in enumerate(chain)]


def place_table(blk, rows, slack=0):
    phys = blk.memory.alloc(16 * len(rows) + slack, offset=0x240)
    for i, (address, length, flags) in enumerate(rows):
        blk.memory.write(phys + 16 * i, DESC.pack(address & (2**64 - 1), length, 0, flags))
    address = blk.domain.map(phys, 16 * len(rows) + slack, RO)
    grant(blk, [(address, 16 * len(rows) + slack, 0)])
    return address


# -- builders ------------------------------------------------------------------------------------------

def id_at_size(blk):
    put(blk, linked(good(blk).chain), ident=blk.ring.size)


def id_far_beyond(blk):
    put(blk, linked(good(blk).chain), ident=0xffff)


def last_id_beyond(blk):
    put(blk, linked(good(blk).chain), ids=[0, 0, blk.ring.size])


def second_is_not_available(blk):
    put(blk, linked(good(blk).chain), unavailable=(1,))


def last_is_not_available(blk):
    put(blk, linked(good(blk).chain), unavailable=(2,))


def chain_of_the_whole_ring_and_more(blk):
    header = good(blk).chain[0]
    for place in range(blk.ring.size):
        wrap = blk.ring.wrap if place >= blk.ring.place else blk.ring.wrap ^ 1
        blk.ring.write_desc(place, *header[:2], 0, NEXT | blk.ring.available(wrap))


def readable_after_writable(blk):
    header, data, status = good(blk).chain
    put(blk, linked([header, status, (*data[:2], 0)]))


def readable_after_writable_in_a_table(blk):
    header, data, status = good(blk).chain
    put(blk, [(place_table(blk, [header, status, (*data[:2], 0)]), 48, INDIRECT)])


def table_of(length, slack=64):
    def table(blk):
        put(blk, [(place_table(blk, good(blk).chain, slack), length, INDIRECT)])
    table.__name__ = f"table_of_{length}_bytes"
    return table


def table_larger_than_the_queue(blk):
    rows = good(blk).chain + [(0, 0, 0)] * (blk.ring.size - 2)
    put(blk, [(place_table(blk, rows), 16 * len(rows), INDIRECT)])


def table_in_a_list(blk):
    header, data, status = good(blk).chain
    put(blk, linked([header, (place_table(blk, [data, status]), 32, INDIRECT)]))


def table_with_next(blk):
    header, data, status = good(blk).chain
    put(blk, linked([(place_table(blk, [header, data]), 32, INDIRECT), status]))


def address_wraps(blk):
    header, _, status = good(blk).chain
    put(blk, linked([header, (2**64 - 256, 512, WRITE), status]))


def table_address_wraps(blk):
    put(blk, [(2**64 - 16, 48, INDIRECT)])


def length_is_zero(blk):
    header, data, status = good(blk).chain
    put(blk, linked([header, (data[0], 0, WRITE), status]))


def chain_exceeds_4_gib(blk):
    header, data, status = good(blk).chain
    put(blk, linked([header, (data[0], 0xfffffff0, WRITE), (data[0], 0xfffffff0, WRITE), status]))


def no_header(blk):
    put(blk, [good(blk).chain[-1]])


def no_status(blk):
    put(blk, [good(blk).chain[0]])


def family(requirement, *builders, twins=True):
    by_name = {f.__name__: f for f in builders}

    def check(lab, name):
        refuses(lab, by_name[name], requirement)
    check.__name__ = check.__qualname__ = "test_" + requirement.lower().replace("-", "_") + "_is_held_against"
    return forbidden(*([requirement] if twins else []), also=tuple(by_name))(check)


test_drv_12_is_held_against = family("DRV-12", chain_exceeds_4_gib, chain_of_the_whole_ring_and_more)
test_drv_13_is_held_against = family("DRV-13", readable_after_writable, readable_after_writable_in_a_table)
test_drv_14_is_held_against = family("DRV-14", table_of(15), table_of(49), table_larger_than_the_queue, table_with_next)
test_drv_15_is_held_against = family("DRV-15", address_wraps, table_address_wraps, length_is_zero)
test_drv_24_is_held_against = family("DRV-24", id_at_size, id_far_beyond, last_id_beyond, second_is_not_available,
                                     last_is_not_available, twins=False)


@forbidden("DRV-24", also=("id_at_size", "last_is_not_available"))
def test_drv_24_is_what_holds(lab, name):
    refuses(lab, {"id_at_size": id_at_size, "last_is_not_available": last_is_not_available}[name], "DRV-24")


@pytest.mark.parametrize("build, requirement", [
    (id_at_size, "DRV-24"), (second_is_not_available, "DRV-24"), (readable_after_writable, "DRV-13"),
    (table_in_a_list, "DRV-14"), (address_wraps, "DRV-15"), (no_status, "DRV-18"), (no_header, "DRV-18"),
    (table_of(0), "DRV-1[45]"), (chain_of_the_whole_ring_and_more, "DRV-12")], ids=lambda v: getattr(v, "__name__", v))
def test_the_same_holds_where_bit_33_is_clear(start, tmp, image, build, requirement):
    refuses(Lab(start, tmp, image, None), build, requirement, iommu=False)


@forbidden("DRV-16")
def test_a_buffer_id_used_again_while_it_is_in_flight_is_refused(lab):
    refuses_what_is_in_flight(lab, lambda blk, head: put(blk, linked(good(blk).chain), ident=head))


@pytest.mark.parametrize("size", [3, 5, 48, 63, 1000, 1024])
def test_a_ring_need_not_be_a_power_of_two(serve, image, size):
    with b.driving(serve.path, size=size) as blk:
        for n in range(3 * min(size, 40)):
            at = n % 100
            must(blk.read(at, 512, indirect=True) == image.bytes[at * 512:at * 512 + 512], "wrong bytes")


@pytest.mark.parametrize("part", ["desc", "avail"])
def test_a_misaligned_ring_part_is_refused(serve, part):
    misaligned(serve, part, iommu=True)


@pytest.mark.parametrize("base", [64, 0x8040, 64 << 16, 0x7fff7fff])
def test_a_base_beyond_the_ring_is_refused(serve, image, base):
    blk = b.Blk(serve.path)
    blk.negotiate().accept().share_memory()
    since = len(serve.log())
    try:
        blk.set_up_ring(base)
        blk.front_end.stay(vu.QUIET / 3)
    except vu.Violation:
        pass
    serve.expect_log("DRV-17", since=since)
    must(blk.ring.used_index() == 0, "such a ring was served")
    blk.close()
    serve.must_live()
