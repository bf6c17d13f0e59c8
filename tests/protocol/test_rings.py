# SPDX-License-Identifier: BSD-3-Clause
"""Rings and chains that break the rules of the ring: refused by name, nothing written, the device recovers.

How it works
  Each builder below writes one malformed thing into a ring that works. The
  check: the log names the requirement; no byte changed but the used ring and
  the status of the request; the process and, after the ring was stopped and
  set up anew, the device go on. DRV-10 to DRV-18 each have twins without the rule.
"""
import pytest

import blk as b
import vhost_user as vu
from driver import DESC, INDIRECT, NEXT, RO, WO, WRITE
from rules import Lab, forbidden
from vhost_user import must

SOON = 1.5 * vu.SCALE


def good(blk, kind=b.IN, length=512, sector=0):
    """A request with everything mapped and (bit 33 set) granted: no miss hides the ring's error."""
    request = blk.map(blk.make(kind, sector, bytes(length) if kind == b.OUT else None, length=length))
    grant(blk, request.chain)
    return request


def grant(blk, chain):
    if blk.domain.translates:
        for address, length, _ in chain:
            blk.domain.grant(address, length)


def place_table(blk, rows, slack=0):
    """An indirect table of raw descriptors, granted; returns its address."""
    phys = blk.memory.alloc(16 * len(rows) + slack, offset=0x240)
    for i, row in enumerate(rows):
        blk.memory.write(phys + 16 * i, DESC.pack(*row))
    address = blk.domain.map(phys, 16 * len(rows) + slack, RO)
    grant(blk, [(address, 16 * len(rows) + slack, 0)])
    return address


def linked(chain):
    return [(a, n, f | (0 if i == len(chain) - 1 else NEXT), 0 if i == len(chain) - 1 else i + 1)
            for i, (a, n, f) in enumerate(chain)]


def put(blk, rows, head=0):
    for i, row in enumerate(rows):
        blk.ring.write_desc(i, *row)
    blk.ring.owner[head] = []
    blk.ring.offer(head)


# -- builders: each leaves something malformed in the ring and returns what it may write ------------

def head_at_size(blk):
    blk.ring.owner[blk.ring.size] = []
    blk.ring.offer(blk.ring.size)


def head_far_beyond(blk):
    blk.ring.owner[0xffff] = []
    blk.ring.offer(0xffff)


def next_at_size(blk):
    request = good(blk)
    (a, n, f) = request.chain[0]
    put(blk, [(a, n, f | NEXT, blk.ring.size)])


def next_beyond_an_indirect_table(blk):
    rows = linked(good(blk).chain)
    rows[1] = (*rows[1][:2], rows[1][2], len(rows))
    put(blk, [(place_table(blk, rows), 16 * len(rows), INDIRECT, 0)])


def avail_index_jumps_by_size_and_one(blk):
    good(blk)
    blk.ring.set_avail_index(blk.ring.next_avail + blk.ring.size + 1)


def avail_index_jumps_by_half(blk):
    blk.ring.set_avail_index(blk.ring.next_avail + 32768)


def avail_index_goes_back(blk):
    blk.ring.set_avail_index(blk.ring.next_avail - 1)


def descriptor_points_to_itself(blk):
    (a, n, f) = good(blk).chain[0]
    put(blk, [(a, n, f | NEXT, 0)])


def two_descriptors_loop(blk):
    header, data, _ = good(blk).chain
    put(blk, [(*header[:2], NEXT, 1), (*data[:2], WRITE | NEXT, 1)])


def loop_of_readable_descriptors(blk):
    header = good(blk).chain[0]
    put(blk, [(*header[:2], NEXT, (i + 1) % 8) for i in range(8)])


def loop_inside_an_indirect_table(blk):
    rows = linked(good(blk).chain)
    rows[2] = (*rows[2][:2], rows[2][2] | NEXT, 1)
    put(blk, [(place_table(blk, rows), 16 * len(rows), INDIRECT, 0)])


def chain_and_table_together_exceed_the_queue(blk):
    """Two direct descriptors, then a table of as many as the queue has: one chain of size + 2."""
    request = good(blk)
    header, data, status = request.chain
    table = [(header[0] + 2, 14, NEXT, 1)] + [(data[0] + i, 1, WRITE | NEXT, i + 2)
                                              for i in range(blk.ring.size - 2)] + [(*status[:2], WRITE, 0)]
    put(blk, [(header[0], 1, NEXT, 1), (header[0] + 1, 1, NEXT, 2),
              (place_table(blk, table), 16 * len(table), INDIRECT, 0)])


def chain_exceeds_4_gib(blk):
    header, data, status = good(blk).chain
    put(blk, [(*header[:2], NEXT, 1), (data[0], 0xfffffff0, WRITE | NEXT, 2), (data[0], 0xfffffff0, WRITE | NEXT, 3),
              (*status[:2], WRITE, 0)])


def readable_after_writable(blk):
    header, data, status = good(blk).chain
    put(blk, [(*header[:2], NEXT, 1), (*status[:2], WRITE | NEXT, 2), (*data[:2], 0, 0)])


def readable_after_writable_in_a_table(blk):
    header, data, status = good(blk).chain
    rows = [(*header[:2], NEXT, 1), (*status[:2], WRITE | NEXT, 2), (*data[:2], 0, 0)]
    put(blk, [(place_table(blk, rows), 48, INDIRECT, 0)])


def header_after_status(blk):
    header, _, status = good(blk).chain
    put(blk, [(*status[:2], WRITE | NEXT, 1), (*header[:2], 0, 0)])


def table_of(length, slack=64):
    def table(blk):
        rows = linked(good(blk).chain)
        put(blk, [(place_table(blk, rows, slack), length, INDIRECT, 0)])
    table.__name__ = f"table_of_{length}_bytes"
    return table


def table_larger_than_the_queue(blk):
    rows = linked(good(blk).chain) + [(0, 0, 0, 0)] * (blk.ring.size - 2)
    put(blk, [(place_table(blk, rows), 16 * len(rows), INDIRECT, 0)])


def table_inside_a_table(blk):
    rows = linked(good(blk).chain)
    inner = place_table(blk, rows)
    put(blk, [(place_table(blk, [(inner, 48, INDIRECT, 0)]), 16, INDIRECT, 0)])


def table_with_next(blk):
    request = good(blk)
    status = request.chain[-1]
    table = place_table(blk, linked(request.chain[:-1]))
    put(blk, [(table, 32, INDIRECT | NEXT, 1), (*status[:2], WRITE, 0)])


def address_wraps(blk):
    header, _, status = good(blk).chain
    put(blk, [(*header[:2], NEXT, 1), (2**64 - 256, 512, WRITE | NEXT, 2), (*status[:2], WRITE, 0)])


def table_address_wraps(blk):
    put(blk, [(2**64 - 16, 48, INDIRECT, 0)])


def length_is_zero(blk):
    header, data, status = good(blk).chain
    put(blk, [(*header[:2], NEXT, 1), (data[0], 0, WRITE | NEXT, 2), (*status[:2], WRITE, 0)])


def no_header(blk):
    put(blk, [(*good(blk).chain[-1][:2], WRITE, 0)])


def short_header(blk):
    header, data, status = good(blk).chain
    put(blk, [(header[0], 15, NEXT, 1), (*data[:2], WRITE | NEXT, 2), (*status[:2], WRITE, 0)])


def no_status(blk):
    put(blk, [(*good(blk).chain[0][:2], 0, 0)])


def write_without_status(blk):
    header, data, _ = good(blk, b.OUT).chain
    put(blk, [(*header[:2], NEXT, 1), (*data[:2], 0, 0)])


# -- the check ----------------------------------------------------------------------------------------

def refuses(lab, build, requirement, iommu=True, **how):
    serve = lab.serve()
    with lab.drive(serve, iommu=iommu, **how) as blk:
        if iommu:
            blk.grant_ring()
        blk.still_works()
        since = len(serve.log())
        places = []
        make, blk.make = blk.make, lambda *a, **k: places.append(make(*a, **k)) or places[-1]
        build(blk)
        ring = blk.ring
        before = blk.memory.snapshot()
        blk.kick()
        serve.expect_log(requirement, SOON, since, blk.front_end)
        blk.front_end.stay(vu.QUIET / 3)
        serve.must_live()
        blk.memory.must_change_only(before, [ring.device_writes] + [(p.status, 1) for p in places])
        lines = [line for line in serve.log()[since:].splitlines() if requirement in line]
        must(len(lines) <= 4, f"{len(lines)} lines about one malformed chain")
        blk.make = make
        if blk.front_end.closed is None:
            blk.stop_ring()
            blk.ring = None
            blk.requests.clear()
            blk.set_up_ring()
            must(blk.read(1, 512) == lab.image.bytes[512:1024], "the ring set up anew reads wrong bytes")
    serve.must_live()
    with lab.drive(serve, iommu=iommu) as blk:
        must(blk.read(2, 512) == lab.image.bytes[1024:1536], "the next front end reads wrong bytes")
    lab.image.must_be(lab.image.bytes)


def family(requirement, *builders, twins=True):
    by_name = {f.__name__: f for f in builders}

    def check(lab, name):
        refuses(lab, by_name[name], requirement)
    check.__name__ = check.__qualname__ = "test_" + requirement.lower().replace("-", "_") + "_is_held_against"
    return forbidden(*([requirement] if twins else []), also=tuple(by_name))(check)


test_drv_10_is_held_against = family("DRV-10", avail_index_jumps_by_size_and_one, avail_index_jumps_by_half,
                                     avail_index_goes_back)
test_drv_11_is_held_against = family("DRV-11", head_at_size, head_far_beyond, next_at_size,
                                     next_beyond_an_indirect_table)
test_drv_12_is_held_against = family("DRV-12", descriptor_points_to_itself, two_descriptors_loop,
                                     loop_of_readable_descriptors, loop_inside_an_indirect_table,
                                     chain_and_table_together_exceed_the_queue, chain_exceeds_4_gib)
test_drv_13_is_held_against = family("DRV-13", readable_after_writable, readable_after_writable_in_a_table,
                                     header_after_status)
test_drv_14_is_held_against = family("DRV-14", table_of(1), table_of(15), table_of(17), table_of(40), table_of(49),
                                     table_larger_than_the_queue, table_inside_a_table, table_with_next)
test_drv_15_is_held_against = family("DRV-15", address_wraps, table_address_wraps, length_is_zero)
test_drv_18_is_held_against = family("DRV-18", no_header, short_header, no_status, write_without_status,
                                     twins=False)    # the parser behind the check says the same id


@pytest.mark.parametrize("build, requirement", [
    (head_at_size, "DRV-11"), (descriptor_points_to_itself, "DRV-12"), (readable_after_writable, "DRV-13"),
    (table_inside_a_table, "DRV-14"), (address_wraps, "DRV-15"), (avail_index_jumps_by_half, "DRV-10"),
    (no_status, "DRV-18"), (table_of(0), "DRV-1[45]")], ids=lambda v: getattr(v, "__name__", v))
def test_the_same_holds_where_bit_33_is_clear(start, tmp, image, build, requirement):
    refuses(Lab(start, tmp, image, None), build, requirement, iommu=False)


@forbidden("DRV-14")
def test_an_indirect_table_that_was_not_negotiated_is_refused(lab):
    def table(blk):
        rows = linked(good(blk).chain)
        put(blk, [(place_table(blk, rows), 48, INDIRECT, 0)])
    refuses(lab, table, "DRV-14", indirect=False)


def refuses_what_is_in_flight(lab, again):
    """The first is in flight for sure: its data waits for a translation that does not come."""
    serve = lab.serve()
    with lab.drive(serve, iommu=True) as blk:
        blk.grant_ring()
        request = blk.map(blk.make(b.IN, 0, length=512))
        blk.domain.policy = blk.domain.keep_range(blk.data_address(request), 512)
        blk.offer(request)
        blk.front_end.wait_until(lambda: blk.domain.kept, "the miss for the data")
        since = len(serve.log())
        again(blk, request.head)
        blk.kick()
        serve.expect_log("DRV-16", SOON, since, blk.front_end)
        serve.must_live()
    with lab.drive(serve, iommu=True) as blk:
        blk.still_works()


@forbidden("DRV-16")
def test_a_head_offered_again_while_it_is_in_flight_is_refused(lab):
    refuses_what_is_in_flight(lab, lambda blk, head: blk.ring.offer(head))


def test_a_head_may_come_again_as_soon_as_it_was_used(serve, image):
    with b.driving(serve.path, iommu=True, size=4) as blk:
        for n in range(50):
            must(blk.read(n, 512) == image.bytes[n * 512:n * 512 + 512], "wrong bytes")


def test_direct_descriptors_before_an_indirect_one_are_one_chain(serve, image):
    with b.driving(serve.path, iommu=True) as blk:
        request = blk.map(blk.make(b.IN, 3, length=512))
        rows = linked(request.chain[1:])
        table = place_table(blk, rows)
        head = blk.ring.add_chain([request.chain[0], (table, 32, INDIRECT)])
        request.head = head
        blk.requests[head] = request
        blk.ring.offer(head)
        blk.kick()
        must(blk.wait(request) == b.OK and blk.data(request) == image.bytes[1536:2048], "the read failed")


def test_the_write_flag_on_a_descriptor_that_names_a_table_is_ignored(serve, image):
    with b.driving(serve.path, iommu=True) as blk:
        request = blk.map(blk.make(b.IN, 3, length=512))
        table = place_table(blk, linked(request.chain))
        request.head = blk.ring.add_chain([(table, 48, INDIRECT | WRITE)])
        blk.requests[request.head] = request
        blk.ring.offer(request.head)
        blk.kick()
        must(blk.wait(request) == b.OK and blk.data(request) == image.bytes[1536:2048], "the read failed")


def test_a_chain_as_long_as_the_queue_is_legal(serve, image):
    with b.driving(serve.path, iommu=False, size=16) as blk:
        parts = [(blk.memory.alloc(512, i), 512) for i in range(14)]
        request = blk.make(b.IN, 0, data_at=parts)
        must(blk.run(request) == b.OK and blk.data(request) == image.bytes[:14 * 512], "the read failed")


def misaligned(serve, part, iommu):
    blk = b.Blk(serve.path, iommu=iommu, patience=serve.patience)
    blk.negotiate().accept().share_memory()
    blk.make_ring()
    by = {"desc": 8, "avail": 2 if blk.packed else 1, "used": 2}[part]
    setattr(blk.ring, part + "_address", getattr(blk.ring, part + "_address") + by)
    try:
        blk.set_up_ring()
        blk.kick()
        blk.front_end.stay(vu.QUIET)
    except vu.Violation:
        pass
    try:
        serve.expect_log("DRV-17")
        must(blk.ring.used_index() == 0, "a misaligned ring was served")
    finally:
        blk.close()


@pytest.mark.parametrize("part", ["desc", "avail", "used"])
def test_a_misaligned_ring_part_is_refused_where_bit_33_is_clear(serve, part):
    misaligned(serve, part, iommu=False)


@forbidden("DRV-17", also=("desc", "used"))
def test_a_misaligned_ring_part_is_refused(lab, part):
    misaligned(lab.serve(), part, iommu=True)


def test_a_misaligned_available_ring_is_refused(serve):
    """Without its own twin: the access to a 16-bit word refuses an odd address by the same id."""
    misaligned(serve, "avail", iommu=True)


@pytest.mark.parametrize("part", ["desc", "avail", "used"])
@pytest.mark.parametrize("where", ["nowhere", "zero", "end-of-memory", "end-of-addresses", "physical"])
def test_a_ring_outside_the_memory_is_refused_where_bit_33_is_clear(serve, image, part, where):
    blk = b.Blk(serve.path)
    blk.negotiate().accept().share_memory()
    blk.make_ring()
    region = blk.memory.regions[0]
    address = {"nowhere": 0x4444_0000, "zero": 0, "end-of-memory": region.uaddr + region.size - 16,
               "end-of-addresses": 2**64 - 16, "physical": region.phys}[where]
    setattr(blk.ring, part + "_address", address)
    try:
        blk.set_up_ring()
        blk.kick()
        blk.front_end.stay(vu.QUIET)
    except vu.Violation:
        pass
    serve.expect_log("PLT-10|DRV-15|DRV-17|DEV-10")
    must(blk.ring.used_index() == 0, "such a ring was served")
    serve.must_live()
    blk.close()


def test_kicks_without_requests_and_kick_storms_harm_nobody(serve, image):
    with b.driving(serve.path, iommu=True) as blk:
        for _ in range(2000):
            blk.kick()
        must(blk.read(0, 512) == image.bytes[:512], "wrong bytes")


def test_read_requests_without_data_write_nothing(serve, image):
    with b.driving(serve.path, iommu=True) as blk:
        request = blk.make(b.IN, 0)
        status = blk.run(request)
        must(status in (b.OK, b.IOERR), f"status {status}")
        blk.still_works()


def test_a_write_whose_data_is_device_writable_writes_nothing(serve, image):
    with b.driving(serve.path, iommu=True) as blk:
        request = blk.make(b.OUT, 0, length=512)
        request.chain = [(blk.domain.map(request.header, 16, RO), 16, 0),
                         (blk.domain.map(request.data[0][0], 512, WO), 512, WRITE),
                         (blk.domain.map(request.status, 1, WO), 1, WRITE)]
        blk.run(request)
        blk.still_works()
    image.must_be(image.bytes)
