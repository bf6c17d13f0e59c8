# SPDX-License-Identifier: BSD-3-Clause
"""A good driver and a good front end get what the standard promises, with bit 33 set and clear."""
import os
import struct

import pytest

import blk as b
import journeys
import vhost_user as vu
from driver import PAGE, RO, RW, WO, WRITE
from vhost_user import Request as R, must

pytestmark = pytest.mark.usefixtures("layout")

both = pytest.mark.parametrize("iommu", [False, True], ids=["bit33-clear", "bit33-set"])


@both
@pytest.mark.parametrize("journey", [
    journeys.reads_what_the_image_holds, journeys.writes_reach_the_image, journeys.many_in_flight,
    journeys.header_split_over_descriptors, journeys.header_and_data_share_a_descriptor,
    journeys.data_over_both_regions, journeys.indirect_requests, journeys.unknown_type_is_unsupported,
    journeys.get_id_is_padded_with_nul], ids=lambda f: f.__name__)
def test_a_good_driver_is_served(serve, image, iommu, journey):
    with b.driving(serve.path, iommu=iommu) as blk:
        journey(blk, image)


@pytest.mark.parametrize("io", ["uring", "threads"])
@pytest.mark.parametrize("copy", [False, True], ids=["in-place", "copy"])
@both
def test_every_way_of_io_does_all_of_it(start, image, io, copy, iommu):
    serve = start(image, f"--io={io}", *(["--copy"] if copy else []))
    with b.driving(serve.path, iommu=iommu, event_idx=True) as blk:
        for journey in (journeys.reads_what_the_image_holds, journeys.many_in_flight,
                        journeys.header_split_over_descriptors, journeys.data_over_both_regions,
                        journeys.indirect_requests, journeys.event_index_saves_kicks_and_calls):
            journey(blk, image)
    with b.driving(serve.path, iommu=iommu) as blk:
        blk.write(10, b.pattern(3 * 512))
        blk.flush()
        must(image.read(5120, 1536) == b.pattern(3 * 512), "a flushed write is not in the image")


@both
def test_event_index_saves_kicks_and_calls(serve, image, iommu):
    with b.driving(serve.path, iommu=iommu, event_idx=True) as blk:
        journeys.event_index_saves_kicks_and_calls(blk, image)


@both
def test_with_event_index_a_driver_that_kicks_only_when_asked_never_hangs(serve, image, iommu):
    with b.driving(serve.path, iommu=iommu, event_idx=True) as blk:
        data = [(blk.memory.alloc(512), 512)]
        request = blk.map(blk.make(b.IN, 1, data_at=data))
        for _ in range(1000):
            request.used = None
            blk.offer(request)
            must(blk.wait(request) == b.OK, "a read failed")
        must(blk.kicks <= 1000, "more kicks than requests")


def test_without_event_index_no_interrupt_means_no_call(serve, image):
    with b.driving(serve.path) as blk:
        blk.ring.set_avail_flags(1)
        for n in range(5):
            blk.still_works(n)
        blk.front_end.stay(vu.QUIET / 2)
        must(blk.front_end.events[blk.call_fd] == 0, "called though the driver said not to")
        blk.ring.set_avail_flags(0)
        blk.still_works()
        blk.front_end.wait_until(lambda: blk.front_end.events[blk.call_fd] > 0, "a call")


def test_the_indexes_wrap(serve, image):
    with b.driving(serve.path, start=False, size=16) as blk:
        blk.negotiate().accept().share_memory()
        blk.set_up_ring(base=blk.make_ring(16).begin_late())
        for n in range(20):
            must(blk.read(n, 512) == image.bytes[n * 512:n * 512 + 512], "wrong bytes around the wrap")


@pytest.mark.parametrize("size", [2, 4, 256, 1024])
def test_a_ring_may_have_any_power_of_two_entries(serve, image, size):
    with b.driving(serve.path, size=size) as blk:
        for n in range(5):
            must(blk.read(n, 512, indirect=True) == image.bytes[n * 512:n * 512 + 512]
                 if size >= 4 else blk_small(blk, n, image), "wrong bytes")


def blk_small(blk, n, image):
    """On a ring of 2 entries a request fits where its parts share descriptors."""
    memory = blk.memory
    place = memory.alloc(513)
    request = blk.make(b.IN, n, data_at=[(place, 512)])
    request.status = place + 512
    request.chain = [(request.header, 16, 0), (place, 513, WRITE)]
    must(blk.run(request) == b.OK, "a request of two descriptors failed on a ring of two")
    return blk.data(request) == image.bytes[n * 512:n * 512 + 512]


def test_configuration_space_holds_capacity_block_size_and_limits(start, image):
    serve = start(image, "--blk-size=4096")
    with b.driving(serve.path) as blk:
        space = blk.config(0, 60)
        capacity, size_max, seg_max = struct.unpack_from("<QII", space)
        blk_size, = struct.unpack_from("<I", space, 20)
        must(capacity == image.size // 512, f"capacity {capacity}")
        must(blk.offered & vu.F_BLK_BLK_SIZE and blk_size == 4096, f"blk_size {blk_size}")
        must(blk.offered & vu.F_BLK_SEG_MAX and seg_max >= 1, f"seg_max {seg_max}")
        must(not blk.offered & vu.F_BLK_SIZE_MAX or size_max >= 4096, f"size_max {size_max}")
        must(blk.config(8, 4) == space[8:12] and blk.config(3, 1) == space[3:4], "parts differ from the whole")
        must(blk.offered & vu.F_BLK_FLUSH, "flush is not offered")


@both
def test_a_read_only_disk_reads_and_refuses_to_be_written(start, image, iommu):
    serve = start(image, "--read-only")
    with b.driving(serve.path, iommu=iommu) as blk:
        must(blk.offered & vu.F_BLK_RO, "VIRTIO_BLK_F_RO is not offered")
        journeys.reads_what_the_image_holds(blk, image)
        must(blk.run(blk.make(b.OUT, 0, bytes(512))) == b.IOERR, "a write to a read-only disk was not refused")
    image.must_be(image.bytes)


def test_a_read_only_disk_refuses_writes_of_a_driver_that_did_not_accept_the_bit(start, image):
    serve = start(image, "--read-only")
    with b.driving(serve.path, drop_features=vu.F_BLK_RO) as blk:
        must(blk.run(blk.make(b.OUT, 0, bytes(512))) == b.IOERR, "a write to a read-only disk was not refused")
    image.must_be(image.bytes)


def test_get_id_says_the_serial_padded_with_nul(start, image):
    serve = start(image, "--serial=disk-of-the-tests")
    with b.driving(serve.path, iommu=True) as blk:
        must(blk.get_id(20) == b"disk-of-the-tests".ljust(20, b"\0"), "another id")


def test_get_id_writes_no_more_than_twenty_bytes_into_a_longer_buffer(serve, image):
    with b.driving(serve.path) as blk:
        request = blk.make(b.GET_ID, length=100)
        before = blk.data(request)
        must(blk.run(request) == b.OK, "get-id failed")
        must(request.used is not None and request.used <= 101, f"used length {request.used}")
        after = blk.data(request)
        must(after[20:] in (before[20:], bytes(80)), "more than an id was written")


@pytest.mark.parametrize("kind", [2, 3, 10, b.DISCARD, 13, 14, 0x80000000, 0xffffffff])
def test_a_request_type_that_was_not_offered_is_unsupported(serve, image, kind):
    with b.driving(serve.path, iommu=True) as blk:
        must(blk.run(blk.make(kind, 0, length=512)) == b.UNSUPP, "not UNSUPP")
        blk.still_works()
    image.must_be(image.bytes)


@pytest.mark.parametrize("kind", [b.IN, b.OUT], ids=["in", "out"])
@pytest.mark.parametrize("sector, length", [
    (8192, 512), (8191, 1024), (2**55, 512), (2**64 - 1, 512), (2**55 - 1, 512), (2**63 // 512, 512)],
    ids=lambda v: f"{v:#x}")
def test_sectors_beyond_the_capacity_are_an_error(serve, image, kind, sector, length):
    with b.driving(serve.path, iommu=True) as blk:
        assert image.size == 8192 * 512
        request = blk.make(kind, sector, bytes(length) if kind == b.OUT else None, length=length)
        before = blk.data(request)
        must(blk.run(request) == b.IOERR, "not IOERR")
        must(blk.data(request) == before, "data of a refused request was changed")
        blk.still_works()
    image.must_be(image.bytes)


@pytest.mark.parametrize("kind", [b.IN, b.OUT], ids=["in", "out"])
@pytest.mark.parametrize("length", [1, 511, 513, 1000])
def test_lengths_that_are_no_multiple_of_512_are_an_error(serve, image, kind, length):
    with b.driving(serve.path, iommu=True) as blk:
        request = blk.make(kind, 0, bytes(length) if kind == b.OUT else None, length=length)
        must(blk.run(request) == b.IOERR, "not IOERR")
        blk.still_works()
    image.must_be(image.bytes)


def test_one_buffer_may_span_many_mappings_and_regions(serve, image):
    """16 pages, bus-contiguous, physically backwards and alternating between regions; granted page by page."""
    with b.driving(serve.path, iommu=True) as blk:
        memory, iommu = blk.memory, blk.domain
        pages = [memory.alloc(PAGE, region=i % 2) for i in range(16)][::-1]
        bus = iommu.map_pages(pages, WO)
        request = blk.make(b.IN, 8, data_at=[(phys, PAGE) for phys in pages])
        skip, length = 512, 15 * PAGE       # begins and ends inside a page
        request.chain = [(iommu.map(request.header, 16, RO), 16, 0), (bus + skip, length, WRITE),
                         (iommu.map(request.status, 1, WO), 1, WRITE)]
        must(blk.run(request) == b.OK, "the read failed")
        must(blk.data(request)[skip:skip + length] == image.bytes[8 * 512:8 * 512 + length], "wrong bytes")
        must(len(iommu.misses_at(bus, 16 * PAGE)) == 16, "not one miss per page")


def test_a_grant_may_span_regions_that_adjoin_in_user_addresses(start, image):
    serve = start(image)
    places = ((0x1_0000_0000, 4 << 20, 0x7f00_0000_0000, 0), (0x9_0000_0000, 4 << 20, 0x7f00_0040_0000, 0))
    memory = b.Memory(places)
    with b.driving(serve.path, iommu=True, memory=memory) as blk:
        first, second = memory.regions
        last = first.phys + first.size - 2 * PAGE
        bus = blk.domain.map_pages([last, last + PAGE, second.phys, second.phys + PAGE], WO)
        ack = blk.domain.update(bus, 4 * PAGE, memory.user(last), WO)
        must(blk.front_end.wait(ack).u64 == 0, "an UPDATE that spans two adjoining regions was refused")
        memory.regions[1].next = 2 * PAGE
        request = blk.make(b.IN, 0, data_at=[(last, 2 * PAGE), (second.phys, 2 * PAGE)])
        request.chain = [(blk.domain.map(request.header, 16, RO), 16, 0), (bus, 4 * PAGE, WRITE),
                         (blk.domain.map(request.status, 1, WO), 1, WRITE)]
        must(blk.run(request) == b.OK and blk.data(request) == image.bytes[:4 * PAGE], "the read failed")
    memory.close()


def test_requests_complete_in_any_mix_of_kinds(serve, image):
    expected = bytearray(image.bytes)
    with b.driving(serve.path, iommu=True, size=256) as blk:
        for turn in range(6):
            batch = []
            for i in range(8):
                data = b.pattern(1024, seed=turn * 8 + i)
                at = (turn * 16 + i * 2) * 512
                batch += [blk.make(b.OUT, at // 512, data), blk.make(b.IN, 4000 + i, length=512), blk.make(b.FLUSH),
                          blk.make(b.GET_ID, length=20)]
                expected[at:at + 1024] = data
            for request in batch:
                blk.offer(request, kick=False)
            blk.kick()
            for request in batch:
                must(blk.wait(request) == b.OK, f"request {request.kind} failed")
        blk.flush()
    image.must_be(expected)


def test_the_statistics_count_what_was_done(serve, image):
    with b.driving(serve.path, iommu=True) as blk:
        blk.read(0, 1024)
        blk.read(1, 512)
        blk.write(2, bytes(2048))
        blk.flush()
        blk.get_id()
        blk.run(blk.make(99))
        blk.run(blk.make(b.IN, 1 << 40, length=512))
        now = serve.device_stats()
        requests = now["requests"]
        must((requests["in"], requests["out"], requests["flush"], requests["get_id"], requests["unsupported"])
             in ((2, 1, 1, 1, 1), (3, 1, 1, 1, 1)), f"requests {requests}")
        must(requests["failed"] >= 1 and requests["total"] == 7, f"requests {requests}")
        must(now["bytes"] == {"in": 1536, "out": 2048}, f"bytes {now['bytes']}")
        must(now["connected"] is True, "not connected")
        must("VIRTIO_F_ACCESS_PLATFORM" in now["features_accepted"]["names"]
             and int(now["features_accepted"]["bits"], 16) == blk.features, f"{now['features_accepted']}")
        must(now["platform_dma"] == {"policy": "offer", "accepted": True, "iotlb_active": True}, f"{now['platform_dma']}")
        iotlb = now["iotlb"]
        must(iotlb["misses"] == len(blk.domain.misses), f"{len(blk.domain.misses)} misses came, {iotlb}")
        must(iotlb["answered"] + iotlb["failed"] == iotlb["misses"] and iotlb["outstanding"] == 0, f"{iotlb}")
        must(iotlb["updates"] >= iotlb["answered"] and iotlb["entries"] > 0, f"{iotlb}")
        must(now["identity_translations"] == 0 and now["translations"] > 0, "a bus address equalled the physical one")
        must(0 < now["reachable_bytes"] <= now["region_bytes"] == 12 << 20, f"{now['reachable_bytes']} reachable")
        session = now["sessions"][-1]
        must(session["bit33"] and session["iotlb_active"] and session["queue_size"] == 64, f"session {session}")
        must((int(session["desc"], 16), int(session["avail"], 16), int(session["used"], 16)) ==
             (blk.ring.desc_address, blk.ring.avail_address, blk.ring.used_address), f"session {session}")
    must(serve.device_stats()["connected"] is False, "still connected")


def test_no_memory_but_the_requests_own_is_read(serve, image):
    """Pages beside the buffers are punched out first; a read of one would bring it back."""
    memory = b.Memory(noise=False)
    with b.driving(serve.path, iommu=True, memory=memory) as blk:
        guard = memory.alloc(2 * PAGE)
        request = blk.make(b.OUT, 0, b.pattern(PAGE))
        beyond = memory.alloc(2 * PAGE)
        memory.punch(guard, 2 * PAGE)
        memory.punch(beyond, 2 * PAGE)
        blk.offer(request)
        must(blk.wait(request) == b.OK, "the write failed")
        must(not memory.touched(guard, 2 * PAGE) and not memory.touched(beyond, 2 * PAGE), "a neighbour was read")
    memory.close()
