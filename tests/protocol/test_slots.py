# SPDX-License-Identifier: BSD-3-Clause
"""Memory slots (ADD_MEM_REG, REM_MEM_REG) while requests fly: what is gone is not touched, the rest does not notice."""
import random

import pytest

import blk as b
import vhost_user as vu
from driver import PAGE, Memory, Region
from test_life import add, remove
from vhost_user import Request as R, must

pytestmark = pytest.mark.usefixtures("layout")
both = pytest.mark.parametrize("iommu", [False, True], ids=["bit33-clear", "bit33-set"])
modes = pytest.mark.parametrize("mode", ["in-place", "copy"])


def served(start, image, mode, *options):
    return start(image, *options, *(["--copy"] if mode == "copy" else []))


@both
@modes
def test_slots_come_and_go_under_a_load(start, image, iommu, mode):
    """A region is taken away with requests into it in flight: they end well or fail, and nothing is written later."""
    serve = served(start, image, mode)
    memory = Memory(((0x1_0000_0000, 48 << 20, 0x7f40_0000_0000, 0),), noise=False)
    generator = random.Random(4)
    with b.driving(serve.path, iommu=iommu, memory=memory) as blk:
        for turn in range(12):
            extra = Region(0x20_0000_0000, 1 << 20, 0x7e00_0000_0000, noise=False)
            memory.regions.append(extra)
            add(blk, extra)
            flying = []
            for n in range(10):
                inside = n % 2
                at = generator.randrange(4000)
                parts = [(memory.alloc(1024, at % PAGE, region=inside), 1024)]
                flying.append((inside, blk.offer(blk.make(b.IN, at, data_at=parts))))
            pending = blk.front_end.start(R.REM_MEM_REG, vu.mem_region(*extra.row), need_reply=True)
            must(blk.front_end.wait(pending).u64 == 0, "the region cannot be removed")
            gone = bytes(extra.view)
            for inside, request in flying:
                status = blk.wait(request)
                must(status == b.OK or inside and status == b.IOERR, f"status {status}, {'in' if inside else 'out'}side")
                if status == b.OK:
                    at = request.sector * 512
                    must(blk.data(request) == image.bytes[at:at + 1024], "wrong bytes")
            must(bytes(extra.view) == gone, "memory was written after its region was removed")
            if iommu:
                for _, request in flying:
                    blk.domain.revoke(request.chain[1][0], 1024)
            memory.regions.pop().close()
            blk.still_works()
    memory.close()


@both
@modes
def test_a_ring_in_a_slot_that_is_removed_waits_for_it(start, image, iommu, mode):
    """Nothing is served, nothing is touched; with the slot back, and a kick, it goes on."""
    serve = served(start, image, mode)
    memory = Memory(((0x1_0000_0000, 8 << 20, 0x7f40_0000_0000, 0), (0x9_4000_0000, 1 << 20, 0x7f10_0020_0000, 0)))
    with b.driving(serve.path, iommu=iommu, memory=memory, start=False) as blk:
        blk.negotiate().accept().share_memory()
        blk.make_ring(region=1)
        blk.set_up_ring()
        blk.still_works()
        slot = memory.regions[1]
        for n in range(3):
            remove(blk, slot)
            request = blk.offer(blk.make(b.IN, n, length=512))
            blk.kick()
            before = memory.snapshot()
            blk.front_end.stay(vu.QUIET / 3)
            memory.must_change_only(before, [])
            must(blk.front_end.closed is None and request.used is None, "served from a slot that was removed")
            add(blk, slot)
            blk.kick()
            must(blk.wait(request) == b.OK, "the ring does not go on with its slot back")
            must(blk.data(request) == image.bytes[n * 512:n * 512 + 512], "wrong bytes")
    memory.close()


@modes
def test_a_slot_is_not_given_back_before_the_disk_is_done_with_it(start, slow_disk, mode):
    """In place the removal waits for the disk; with copies it need not, and the answer goes nowhere."""
    serve = served(start, slow_disk.path, mode)
    with b.driving(serve.path) as blk:
        blk.still_works()
        extra = Region(0x20_0000_0000, 1 << 20, 0x7e00_0000_0000)
        blk.memory.regions.append(extra)
        add(blk, extra)
        slow_disk.hold("read")
        request = blk.offer(blk.make(b.IN, 3, data_at=[(extra.phys, 512)]))
        slow_disk.wait_held()
        pending = blk.front_end.start(R.REM_MEM_REG, vu.mem_region(*extra.row), need_reply=True)
        if mode == "in-place":
            blk.front_end.stay(vu.QUIET, never=lambda: pending.done, what="given back while the disk uses it")
        else:
            blk.front_end.wait(pending)
        before = bytes(extra.view)
        slow_disk.release()
        must(blk.front_end.wait(pending).u64 == 0, "the removal failed")
        status = blk.wait(request)
        must(status == (b.OK if mode == "in-place" else b.IOERR), f"status {status}")
        must(mode == "in-place" or bytes(extra.view) == before, "written after it was given back")
        blk.memory.regions.pop().close()
