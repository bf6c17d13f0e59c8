# SPDX-License-Identifier: BSD-3-Clause
"""The front end of this suite, proved right against a back end nobody here wrote.

How it works: QEMU's storage daemon serves the image; the journeys that need no
IOTLB must pass on it. Then the checker's own checks are shown to fail.
"""
import os
import subprocess
import sys

import pytest

import blk as b
import journeys
import servers
import slow_disk
import vhost_user as vu
from driver import PAGE, Iommu, Memory, page_of

@pytest.fixture
def foreign(tmp, image):
    program = servers.StorageDaemon(tmp, image.path)
    yield program
    program.finish()


@pytest.mark.parametrize("journey", [
    journeys.reads_what_the_image_holds, journeys.writes_reach_the_image, journeys.many_in_flight,
    journeys.header_split_over_descriptors, journeys.header_and_data_share_a_descriptor,
    journeys.data_over_both_regions, journeys.indirect_requests, journeys.unknown_type_is_unsupported], ids=lambda f: f.__name__)
def test_a_third_partys_back_end_understands_this_front_end(foreign, image, journey):
    with b.driving(foreign.path) as blk:
        journey(blk, image)


def test_a_third_partys_back_end_agrees_on_event_index(foreign, image):
    with b.driving(foreign.path, event_idx=True) as blk:
        journeys.event_index_saves_kicks_and_calls(blk, image)


def test_the_ring_stops_and_starts_again_at_the_base_it_gave_back(foreign, image):
    with b.driving(foreign.path) as blk:
        blk.read(3, 512)
        base = blk.stop_ring()
        assert base == blk.ring.base
        blk.set_up_ring(base)
        assert blk.read(4, 512) == image.bytes[4 * 512:5 * 512]


def test_one_changed_byte_anywhere_is_noticed():
    memory = Memory()
    before = memory.snapshot()
    allowed = memory.alloc(512, 100)
    memory.write(allowed, bytes(512))
    memory.must_change_only(before, [(allowed, 512)])
    with pytest.raises(vu.Violation, match="was changed"):
        memory.must_change_only(before, [(allowed, 511)])
    with pytest.raises(vu.Violation, match="was changed"):
        memory.must_change_only(before, [(allowed + 1, 511)])
    memory.close()


def test_a_mere_read_of_a_punched_page_is_noticed():
    memory = Memory()
    page = memory.alloc(3 * PAGE)
    memory.punch(page, 3 * PAGE)
    assert not memory.touched(page, 3 * PAGE)
    memory.read(page + PAGE, 1)
    assert memory.touched(page, 3 * PAGE) and not memory.touched(page, PAGE)
    memory.close()


def test_no_bus_address_equals_its_physical_one():
    memory = Memory()
    iommu = Iommu(memory, type("FrontEnd", (), {})())
    phys = memory.alloc(5 * PAGE, 7)
    bus = iommu.map(phys, 5 * PAGE, vu.RO)
    assert all(bus + i != phys + i and iommu.phys(bus + i) == phys + i for i in range(0, 5 * PAGE, 511))
    with pytest.raises(AssertionError):
        iommu.set_page(page_of(phys), page_of(phys), vu.RO)
    memory.close()



def test_the_slow_disk_holds_an_io_until_it_is_released(tmp):
    reason = slow_disk.available(os.path.join(tmp, "probe"))
    if reason:
        pytest.skip(f"not run: {reason}")
    disk = slow_disk.SlowDisk(os.path.join(tmp, "mount"), b"x" * 8192)
    disk.hold("read")
    reader = subprocess.Popen([sys.executable, "-c", "import os, sys\nfd = os.open(sys.argv[1], os.O_RDONLY)\n"
                               "print(os.pread(fd, 4, 4096))", disk.path], stdout=subprocess.PIPE)
    try:
        disk.wait_held()
        assert reader.poll() is None
        disk.release()
        assert reader.communicate(timeout=vu.PATIENCE)[0] == b"b'xxxx'\n"
    finally:
        reader.kill()
        disk.close()
