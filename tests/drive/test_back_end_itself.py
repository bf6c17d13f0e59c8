# SPDX-License-Identifier: BSD-3-Clause
"""The Python back end, proved sound with the front end of the protocol suite before the program meets it.

How it works: the journeys that viodma's device and a third party's pass must
pass here as well, with bit 33 and without; then its own checks are shown to see
what they are for.
"""
import os
import re

import pytest

import blk as b
import journeys
import vhost_user as vu
from back_end import BackEnd
from driver import PAGE

JOURNEYS = [journeys.reads_what_the_image_holds, journeys.many_in_flight, journeys.header_split_over_descriptors,
            journeys.header_and_data_share_a_descriptor, journeys.data_over_both_regions, journeys.indirect_requests,
            journeys.unknown_type_is_unsupported, journeys.get_id_is_padded_with_nul]


class Disk:
    """What the journeys ask of an image."""

    def __init__(self, size=4 << 20):
        self.bytes = b.pattern(size, 7)
        self.size = size
        self.now = bytearray(self.bytes)

    def must_be(self, expected):
        vu.must(self.now == expected, "the disk differs from what was written")


@pytest.fixture
def disk():
    return Disk()


@pytest.fixture
def back_end(tmp, disk):
    with BackEnd(os.path.join(tmp, "s"), disk.now) as device:
        yield device
        assert not device.violations


@pytest.mark.parametrize("iommu", [False, True], ids=["physical", "iotlb"])
@pytest.mark.parametrize("journey", [*JOURNEYS, journeys.writes_reach_the_image], ids=lambda f: f.__name__)
def test_it_is_a_good_disk(back_end, disk, journey, iommu):
    with b.driving(back_end.path, iommu=iommu) as blk:
        journey(blk, disk)
    assert (back_end.misses > 0) == iommu
    if iommu:
        assert back_end.access.pieces and not back_end.access.identical
    assert not back_end.access.refused


@pytest.mark.parametrize("iommu", [False, True], ids=["physical", "iotlb"])
def test_it_completes_in_any_order(tmp, disk, iommu):
    with BackEnd(os.path.join(tmp, "s"), disk.now, shuffle=3) as device:
        with b.driving(device.path, iommu=iommu) as blk:
            journeys.many_in_flight(blk, disk)
        assert not device.violations


@pytest.mark.parametrize("iommu", [False, True], ids=["physical", "iotlb"])
def test_event_index(back_end, disk, iommu):
    with b.driving(back_end.path, iommu=iommu, event_idx=True) as blk:
        journeys.event_index_saves_kicks_and_calls(blk, disk)


@pytest.mark.parametrize("protocol", [0, vu.REPLY_ACK, vu.STATUS, vu.REPLY_ACK | vu.STATUS | vu.MEM_SLOTS | vu.CONFIG],
                         ids=lambda bits: f"{bits:#x}")
def test_it_works_with_any_protocol_features(tmp, disk, protocol):
    with BackEnd(os.path.join(tmp, "s"), disk.now, protocol=protocol) as device:
        with b.driving(device.path) as blk:
            journeys.reads_what_the_image_holds(blk, disk)
        assert not device.violations


def test_it_says_what_it_is(back_end, disk):
    with b.driving(back_end.path) as blk:
        assert blk.capacity == disk.size // 512
        assert int.from_bytes(blk.config(12, 4), "little") == 126 and int.from_bytes(blk.config(20, 4), "little") == 512


@pytest.mark.parametrize("iommu", [False, True], ids=["physical", "iotlb"])
def test_a_ring_stops_and_goes_on_at_its_base(back_end, disk, iommu):
    with b.driving(back_end.path, iommu=iommu) as blk:
        blk.read(3, 512)
        base = blk.stop_ring()
        assert base == blk.ring.next_avail
        blk.set_up_ring(base)
        assert blk.read(4, 512) == disk.bytes[4 * 512:5 * 512]


def test_it_touches_nothing_after_a_reset(back_end, disk):
    with b.driving(back_end.path, iommu=True) as blk:
        blk.read(3, 512)
        blk.front_end.tell(vu.Request.SET_STATUS, vu.u64(0))
        assert blk.front_end.ask(vu.Request.GET_STATUS).u64 == 0
        blk.offer(blk.make(b.IN, 1, length=512), publish=False)
        before = blk.memory.snapshot()
        blk.kick()
        blk.front_end.stay(vu.QUIET)
        blk.memory.must_change_only(before, [])
    assert back_end.resets == 1 and ("reset",) in back_end.events


def test_it_asks_again_after_an_invalidation_and_honours_permissions(back_end, disk):
    with b.driving(back_end.path, iommu=True) as blk:
        request = blk.map(blk.make(b.IN, 1, length=512))
        address = blk.data_address(request)
        assert blk.run(request) == b.OK
        count = len(blk.domain.misses_at(address))
        blk.domain.invalidate(address & ~(PAGE - 1), PAGE)
        again = blk.make(b.IN, 1, data_at=request.data)
        again.chain = blk.map(blk.make(b.IN, 1, data_at=request.data)).chain
        again.chain[1] = request.chain[1]
        again.status = request.status
        again.chain[2] = request.chain[2]
        assert blk.run(again) == b.OK
        assert len(blk.domain.misses_at(address)) == count + 1
        spoilt = blk.map(blk.make(b.IN, 1, length=512), data_permission=vu.RO)
        assert blk.run(spoilt) == b.IOERR
    assert [r.rule for r in back_end.access.refused] == ["DEV-10"] and back_end.refused_misses


def test_an_access_to_nothing_is_refused(back_end, disk):
    with b.driving(back_end.path) as blk:
        request = blk.map(blk.make(b.OUT, 1, bytes(512)))
        request.chain[1] = (0xdead_0000_0000, 512, 0)
        assert blk.run(request) == b.IOERR
    assert [r.rule for r in back_end.access.refused] == ["DEV-10"]


def test_it_closes_where_bit_33_is_required_and_declined(tmp, disk):
    with BackEnd(os.path.join(tmp, "s"), disk.now, require=True) as device:
        with pytest.raises(vu.Violation):
            with b.driving(device.path):
                pass
        with b.driving(device.path, iommu=True) as blk:
            journeys.reads_what_the_image_holds(blk, disk)


def test_its_scan_finds_what_was_handed_over(back_end, disk):
    with b.driving(back_end.path) as blk:
        needle = b"something that lies nowhere else"
        assert not back_end.areas.scan(needle)
        blk.memory.write(blk.memory.alloc(100, 77), needle)
        with back_end.lock:
            assert back_end.areas.scan(needle)
            assert len(back_end.areas.ever) == len(blk.memory.regions)


@pytest.mark.parametrize("wrong, said", [
    (lambda blk: blk.front_end.main.send(vu.Request.SET_VRING_NUM, b"x"), "PLT-9"),
    (lambda blk: blk.front_end.main.send(vu.Request.SET_VRING_NUM, vu.vring_state(0, 63)), "DRV-17|while"),
    (lambda blk: blk.front_end.main.send(vu.Request.SET_FEATURES, vu.u64(1 << 63)), "DRV-5"),
    (lambda blk: blk.front_end.main.send(99, b""), "PLT-9"),
    (lambda blk: (blk.ring.set_avail_index(1000), blk.kick()), "DRV-10"),
    (lambda blk: blk.offer(tiny(blk)), "DRV-18"),
    (lambda blk: blk.offer(backwards(blk)), "DRV-13"),
    (lambda blk: blk.front_end.main.send(vu.Request.IOTLB_MSG, vu.iotlb(vu.UPDATE, 0, 4096, 0x123, 3)), "PLT-10"),
    (lambda blk: blk.front_end.main.send(vu.Request.SET_STATUS, vu.u64(3)), "without a reset")])
def test_it_notices_what_a_driver_does_wrong(tmp, disk, wrong, said):
    with BackEnd(os.path.join(tmp, "s"), disk.now) as device:
        with b.driving(device.path) as blk:
            wrong(blk)
            blk.front_end.wait_until(lambda: device.violations, "the back end to notice")
        assert re.search(said, device.violations[0])


def tiny(blk):
    request = blk.map(blk.make(b.FLUSH))
    request.chain[0] = request.chain[0][0], 8, 0
    return request


def backwards(blk):
    request = blk.map(blk.make(b.FLUSH))
    request.chain.reverse()
    return request


def test_a_second_front_end_is_served(back_end, disk):
    for _ in range(3):
        with b.driving(back_end.path, iommu=True) as blk:
            journeys.reads_what_the_image_holds(blk, disk)
    assert back_end.connections == 3
