# SPDX-License-Identifier: BSD-3-Clause
"""With bit 33 set, memory is reached through live mappings only, with the permission for the direction, or not at all.

How it works: the front end plays the IOMMU (driver.Iommu). Every bus address
differs from the physical address of its byte. What must not be written is
compared byte by byte; what must not be read is punched out beforehand.
"""
import re
import subprocess

import pytest

import blk as b
import servers
import vhost_user as vu
from driver import INDIRECT, PAGE, RO, RW, WO, WRITE
from hostile import serves_on
from rules import Lab, forbidden, split_only
from vhost_user import must

pytestmark = pytest.mark.usefixtures("layout")

SOON = 2 * vu.SCALE


def fault_of(serve, requirement, address=None, length=PAGE, device=0):
    """The newest fault in the statistics; it must carry one of the ids and lie in that range."""
    faults = serve.device_stats(device)["faults"]
    must(faults["total"] >= 1 and faults["recent"], "no fault was counted")
    fitting = [f for f in faults["recent"] if f["requirement"] in requirement.split("|")
               and (address is None or address <= int(f["address"], 16) < address + length)]
    must(fitting, f"no fault with {requirement}" + (f" at {address:#x}" if address else "") + f" among {faults['recent']}")
    return fitting[-1]


def fails(lab, serve, blk, request, requirement, address, direction=None, length=PAGE, **offer):
    """The request is answered with IOERR, changes nothing, and leaves a fault with its address."""
    before = blk.memory.snapshot()
    since = len(serve.log())
    blk.offer(request, **offer)
    status = blk.wait(request, SOON)
    must(status == b.IOERR, f"status {status}, not IOERR")
    blk.memory.must_change_only(before, [(request.status, 1), blk.ring.device_writes, *blk.ring.driver_words])
    serve.expect_log(requirement, since=since)
    fault = fault_of(serve, requirement, address, length)
    must(direction is None or fault["direction"] == direction, f"fault {fault}")
    lab.image.must_be(lab.image.bytes)
    blk.still_works()


# -- permission ---------------------------------------------------------------------------------------

@forbidden("DEV-9")
def test_a_buffer_granted_for_reading_is_not_written(lab):
    serve = lab.serve()
    with lab.drive(serve, iommu=True) as blk:
        request = blk.map(blk.make(b.IN, 0, length=512), data_permission=RO)
        blk.domain.grant(blk.data_address(request), 512, RO)
        fails(lab, serve, blk, request, "DEV-9|DEV-10", blk.data_address(request) & -PAGE, "write")


@forbidden("DEV-9")
def test_a_buffer_granted_for_writing_is_not_read(lab):
    serve = lab.serve()
    with lab.drive(serve, iommu=True) as blk:
        request = blk.map(blk.make(b.OUT, 0, b.pattern(512)), data_permission=WO)
        blk.domain.grant(blk.data_address(request), 512, WO)
        fails(lab, serve, blk, request, "DEV-9|DEV-10", blk.data_address(request) & -PAGE, "read")


@forbidden("DEV-9")
def test_a_buffer_half_of_which_is_granted_for_reading_only_is_not_written_at_all(lab):
    serve = lab.serve()
    with lab.drive(serve, iommu=True) as blk:
        pages = [blk.memory.alloc(PAGE) for _ in range(2)]
        bus = blk.domain.map_pages(pages, RW)
        blk.domain.set_page(bus + PAGE, pages[1], RO)
        blk.domain.grant(bus, 2 * PAGE)
        request = blk.make(b.IN, 0, data_at=[(p, PAGE) for p in pages])
        request.chain = [(blk.domain.map(request.header, 16, RO), 16, 0), (bus, 2 * PAGE, WRITE),
                         (blk.domain.map(request.status, 1, WO), 1, WRITE)]
        fails(lab, serve, blk, request, "DEV-9|DEV-10", bus + PAGE, "write")


@split_only
@forbidden("DEV-9")
def test_a_used_ring_granted_for_reading_is_not_written(lab):
    serve = lab.serve()
    with lab.drive(serve, iommu=True, start=False) as blk:
        blk.negotiate().accept().share_memory()
        iommu = blk.domain
        ring = blk.make_ring()
        for page in [p for p in iommu.page if iommu.page[p][0] == ring.used & -PAGE]:
            iommu.set_page(page, ring.used & -PAGE, RO)
        iommu.grant(ring.used_address, 1)
        blk.set_up_ring()
        before = blk.memory.read(*ring.device_writes)
        blk.offer(blk.make(b.IN, 0, length=512))
        blk.kick()
        serve.expect_log("DEV-9|DEV-10", SOON, pump=blk.front_end)
        blk.front_end.stay(vu.QUIET)
        must(blk.memory.read(*ring.device_writes) == before, "a used ring mapped for reading was written")


@forbidden("DEV-9")
def test_an_indirect_table_granted_for_writing_is_not_read(lab):
    serve = lab.serve()
    with lab.drive(serve, iommu=True) as blk:
        request = blk.map(blk.make(b.IN, 0, length=512))
        table = blk.table_of(request.chain)
        address = blk.domain.map(table, 48, WO)
        blk.domain.grant(address, 48, WO)
        since = len(serve.log())
        before = blk.memory.read(request.data[0][0], 512)
        head = blk.ring.add_chain([(address, 48, INDIRECT)])
        blk.ring.offer(head)
        blk.kick()
        serve.expect_log("DEV-9|DEV-10", SOON, since, blk.front_end)
        must(blk.memory.read(request.data[0][0], 512) == before, "the data was written")


# -- mapping --------------------------------------------------------------------------------------------

def unmapped_at_a_physical_address(blk):
    """Not mapped, and the number is the physical address of memory the device was given."""
    return blk.memory.alloc(PAGE)


def unmapped_anywhere(blk):
    return blk.domain.reserve(PAGE)


@forbidden("DEV-10", "DEV-3")
def test_an_unmapped_buffer_is_not_written_even_where_its_number_is_a_physical_address(lab):
    serve = lab.serve()
    with lab.drive(serve, iommu=True) as blk:
        blk.still_works()
        request = blk.map(blk.make(b.IN, 0, length=512))
        address = unmapped_at_a_physical_address(blk)
        request.chain[1] = (address, 512, WRITE)
        request.data = [(address, 512)]
        fails(lab, serve, blk, request, "DEV-10", address, "write")


@forbidden("DEV-10", "DEV-3")
def test_an_unmapped_buffer_is_not_read_even_where_its_number_is_a_physical_address(lab):
    serve = lab.serve()
    memory = b.Memory(noise=False)
    with lab.drive(serve, iommu=True, memory=memory) as blk:
        blk.still_works()
        request = blk.map(blk.make(b.OUT, 0, b.pattern(512)))
        address = unmapped_at_a_physical_address(blk)
        memory.punch(address, PAGE)
        request.chain[1] = (address, 512, 0)
        blk.offer(request)
        status = blk.wait(request, SOON)
        must(status == b.IOERR, f"status {status}")
        must(not memory.touched(address, PAGE), "the unmapped page was read")
        lab.image.must_be(lab.image.bytes)
    memory.close()


@pytest.mark.parametrize("kind", [b.IN, b.OUT], ids=["in", "out"])
@pytest.mark.parametrize("shape", ["whole", "first-half", "second-half", "middle"])
def test_a_buffer_with_an_unmapped_part_is_not_touched_at_all(start, tmp, image, kind, shape):
    lab = Lab(start, tmp, image, None)
    serve = lab.serve()
    with lab.drive(serve, iommu=True) as blk:
        pages = [blk.memory.alloc(PAGE) for _ in range(4)]
        bus = blk.domain.map_pages(pages, RO if kind == b.OUT else WO)
        gone = {"whole": [0, 1, 2, 3], "first-half": [0, 1], "second-half": [2, 3], "middle": [1]}[shape]
        for page in gone:
            blk.domain.unmap(bus + page * PAGE, PAGE)
        request = blk.make(kind, 0, data_at=[(p, PAGE) for p in pages])
        request.chain = [(blk.domain.map(request.header, 16, RO), 16, 0),
                         (bus, 4 * PAGE, WRITE if kind == b.IN else 0), (blk.domain.map(request.status, 1, WO), 1, WRITE)]
        fails(lab, serve, blk, request, "DEV-9|DEV-10", bus, length=4 * PAGE)


@pytest.mark.parametrize("part", ["header", "status", "table"])
def test_a_request_whose_own_parts_are_unmapped_writes_nothing_else(serve, image, part):
    with b.driving(serve.path, iommu=True) as blk:
        blk.still_works()
        request = blk.map(blk.make(b.IN, 0, length=512))
        hole = blk.domain.reserve(PAGE)
        if part == "header":
            request.chain[0] = (hole, 16, 0)
        elif part == "status":
            request.chain[-1] = (hole, 1, WRITE)
        chain = [(hole, 48, INDIRECT)] if part == "table" else request.chain
        head = blk.ring.add_chain(chain)
        before = blk.memory.snapshot()
        since = len(serve.log())
        blk.ring.offer(head)
        blk.kick()
        serve.expect_log("DEV-9|DEV-10", since=since, pump=blk.front_end)
        blk.front_end.stay(vu.QUIET)
        may = [blk.ring.device_writes, *blk.ring.driver_words]
        blk.memory.must_change_only(before, may + ([(request.status, 1)] if part == "header" else []))
        fault_of(serve, "DEV-9|DEV-10", hole)
    serves_on(serve, image)


@split_only
@pytest.mark.parametrize("part", ["desc", "avail", "used"])
def test_a_ring_part_that_is_not_mapped_is_not_touched_and_is_tried_again_at_the_next_kick(serve, image, part):
    with b.driving(serve.path, iommu=True, start=False) as blk:
        blk.negotiate().accept().share_memory()
        ring = blk.make_ring()
        address = getattr(ring, part + "_address")
        page = address & -PAGE
        mapping = blk.domain.page.pop(page)
        blk.set_up_ring()
        before = blk.memory.snapshot()
        request = blk.make(b.IN, 3, length=512)
        blk.offer(request)
        if part != "used":
            before = blk.memory.snapshot()
        blk.kick()
        serve.expect_log("DEV-9|DEV-10", pump=blk.front_end)
        fault_of(serve, "DEV-9|DEV-10", page)
        if part != "used":
            blk.memory.must_change_only(before, [ring.device_writes])
        must(request.used is None and ring.used_index() == 0, "a ring without mapping was served")
        blk.domain.page[page] = mapping
        blk.domain.invalidate(page, PAGE)
        blk.kick()
        must(blk.wait(request) == b.OK and blk.data(request) == image.bytes[1536:2048],
             "mapped at last, the ring is not served")


@split_only
def test_a_ring_half_of_which_is_mapped_serves_only_that_half(serve, image):
    """512 descriptors on two pages, of which the second is not mapped: heads there fault."""
    with b.driving(serve.path, iommu=True, size=512) as blk:
        page = (blk.ring.desc_address & -PAGE) + PAGE
        blk.domain.unmap(page, PAGE)
        must(blk.read(1, 512) == image.bytes[512:1024], "wrong bytes")
        request = blk.map(blk.make(b.IN, 2, length=512))
        blk.ring.free.sort()            # the list is taken from its end: descriptors of the second page
        blk.offer(request)
        serve.expect_log("DEV-9|DEV-10", pump=blk.front_end)
        must(request.used is None, "a chain was read from an unmapped part of the ring")
        fault_of(serve, "DEV-9|DEV-10", blk.ring.desc_address & -PAGE, 8 * PAGE)


@pytest.mark.parametrize("iommu", [False, True], ids=["bit33-clear", "bit33-set"])
@pytest.mark.parametrize("where", ["zero", "nowhere", "beyond-the-end", "over-the-end", "end-of-addresses"])
def test_a_buffer_outside_all_memory_is_an_error(start, tmp, image, where, iommu):
    lab = Lab(start, tmp, image, None)
    serve = lab.serve()
    with lab.drive(serve, iommu=iommu) as blk:
        region = blk.memory.regions[1]
        end = region.phys + region.size
        address = {"zero": 0, "nowhere": 0x5555_0000_0000, "beyond-the-end": end, "over-the-end": end - 256,
                   "end-of-addresses": 2**64 - 512}[where]
        for kind in (b.IN, b.OUT):
            request = blk.map(blk.make(kind, 0, bytes(512) if kind == b.OUT else None, length=512))
            request.chain[1] = (address, 512, request.chain[1][2])
            fails(lab, serve, blk, request, "DEV-10", address & -PAGE, length=2 * PAGE)


def test_a_buffer_that_leaves_its_region_is_an_error_where_bit_33_is_clear(start, tmp, image):
    lab = Lab(start, tmp, image, None)
    serve = lab.serve()
    with lab.drive(serve) as blk:
        region = blk.memory.regions[0]
        request = blk.map(blk.make(b.IN, 0, length=1024))
        request.chain[1] = (region.phys + region.size - 512, 1024, WRITE)
        fails(lab, serve, blk, request, "DEV-10", region.phys + region.size, "write")


def test_two_regions_apart_in_physical_addresses_are_not_one_buffer(start, tmp, image):
    """Adjoining user addresses, a hole between physical ones: bit 33 clear must use the physical view."""
    lab = Lab(start, tmp, image, None)
    serve = lab.serve()
    memory = b.Memory(((0x1_0000_0000, 4 << 20, 0x7f00_0000_0000, 0), (0x9_0000_0000, 4 << 20, 0x7f00_0040_0000, 0)))
    with lab.drive(serve, memory=memory) as blk:
        request = blk.map(blk.make(b.IN, 0, length=1024))
        request.chain[1] = (0x1_0000_0000 + (4 << 20) - 512, 1024, WRITE)
        fails(lab, serve, blk, request, "DEV-10", 0x1_0000_0000 + (4 << 20))
    memory.close()


@forbidden("DEV-3")
def test_every_address_is_translated_rings_and_tables_included(lab):
    serve = lab.serve()
    with lab.drive(serve, iommu=True) as blk:
        request = blk.map(blk.make(b.IN, 5, length=512))
        blk.offer(request, indirect=True)
        must(blk.wait(request, SOON) == b.OK and blk.data(request) == lab.image.bytes[2560:3072], "the read failed")
        for what, address in (("descriptor table", blk.ring.desc_address), ("available ring", blk.ring.avail_address),
                              ("used ring", blk.ring.used_address), ("indirect table", request.table),
                              ("header", request.chain[0][0]), ("data", request.chain[1][0]),
                              ("status", request.chain[2][0])):
            must(blk.domain.misses_at(address), f"the {what} was used without asking for its translation")


def least_iotlb(tmp, image):
    """What the program says it needs at least."""
    servers.needs(servers.VIODMA)
    ended = subprocess.run([servers.VIODMA, "serve", "blk", f"--socket-path={tmp}/s", f"--blk-file={image}",
                            "--iotlb-entries=1"], capture_output=True, timeout=10, text=True)
    found = re.search(r"from (\d+)|at least (\d+)", ended.stderr)
    must(found, f"the least number of IOTLB entries is not said: {ended.stderr}")
    return int(found[1] or found[2])


@pytest.mark.parametrize("copy", [False, True], ids=["in-place", "copy"])
def test_the_smallest_iotlb_evicts_and_loses_nothing(start, tmp, image, copy):
    """More pages than it holds, several requests at once: what was evicted is asked for again."""
    least = least_iotlb(tmp, image)
    serve = start(image, f"--iotlb-entries={least}", *(["--copy"] if copy else []))
    memory = b.Memory(((0x1_0000_0000, 128 << 20, 0x7f40_0000_0000, 0),), noise=False)
    each, count = 64, least // 64 + 16
    with b.driving(serve.path, iommu=True, memory=memory) as blk:
        requests = []
        for n in range(count):
            pages = [memory.alloc(PAGE) for _ in range(each)][::-1]
            request = blk.make(b.IN, n % 100, data_at=[(p, PAGE) for p in pages])
            request.chain = [(blk.domain.map(request.header, 16, RO), 16, 0),
                             (blk.domain.map_pages(pages, WO), each * PAGE, WRITE),
                             (blk.domain.map(request.status, 1, WO), 1, WRITE)]
            requests.append(blk.offer(request))
            if n % 8 == 7:
                for waiting in requests:
                    must(blk.wait(waiting) == b.OK, "a read failed")
                requests.clear()
            if n % 8 == 7:
                must(blk.data(waiting) == image.bytes[waiting.sector * 512:waiting.sector * 512 + each * PAGE], "wrong bytes")
        now = serve.device_stats()["iotlb"]
        must(now["capacity"] == least and now["entries"] <= least and now["evictions"] > 0, f"{now}")
    memory.close()


def test_too_few_iotlb_entries_are_refused_at_the_start(tmp, image):
    servers.needs(servers.VIODMA)
    ended = subprocess.run([servers.VIODMA, "serve", "blk", f"--socket-path={tmp}/s", f"--blk-file={image}",
                            "--iotlb-entries=4"], capture_output=True, timeout=10, text=True)
    must(ended.returncode not in (0, -6, -11), f"exit {ended.returncode}")
    must("iotlb" in ended.stderr.lower(), f"the message names no IOTLB: {ended.stderr}")
