# SPDX-License-Identifier: BSD-3-Clause
"""The vhost-user example as users build it, driven by the front end of the protocol tests.

How it works: MY_BACKEND names the program compiled against the installed tree. An entropy request is one writable
buffer; the device must fill it, through the IOMMU role where bit 33 is accepted, and only there.
"""
import os
import subprocess
import sys
import time

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "protocol"))

import vhost_user as vu  # noqa: E402
from blk import Blk  # noqa: E402
from driver import WO, WRITE  # noqa: E402

LENGTH = 200


class Rng(Blk):
    """The same steps as a disk's driver; requests of one writable buffer."""

    def ask(self):
        """Make a request; returns its physical and its bus address."""
        phys = self.memory.alloc(LENGTH, offset=24)
        self.memory.write(phys, bytes(LENGTH))
        bus = self.domain.map(phys, LENGTH, WO)
        self.ring.offer(self.ring.add_chain([(bus, LENGTH, WRITE)]))
        self.kick()
        return phys, bus


@pytest.fixture
def backend(tmp_path):
    socket = f"/tmp/viodma-example-{os.getpid()}.sock"
    process = subprocess.Popen([os.environ["MY_BACKEND"], socket], stderr=subprocess.DEVNULL)
    end = time.monotonic() + 10
    while not os.path.exists(socket) and time.monotonic() < end:
        time.sleep(0.01)
    yield socket
    process.terminate()
    process.wait(10)
    if os.path.exists(socket):
        os.unlink(socket)


@pytest.mark.parametrize("iommu", [False, True])
def test_the_example_fills_the_buffer_and_nothing_else(backend, iommu):
    rng = Rng(backend, iommu=iommu)
    rng.negotiate()
    rng.accept(rng.offered & (vu.F_VERSION_1 | vu.F_PROTOCOL | (vu.F_ACCESS_PLATFORM if iommu else 0)))
    rng.share_memory().set_up_ring()
    before = rng.memory.snapshot()
    phys, bus = rng.ask()
    if iommu:
        assert bus != phys
    used = []
    rng.front_end.wait_until(lambda: used.extend(rng.ring.take_used() or []) or used, "the request to be used")
    assert rng.memory.read(phys, LENGTH).count(0) < 20
    ring = [rng.ring.device_writes, (rng.ring.desc, 16), (rng.ring.avail, 16)]
    rng.memory.must_change_only(before, [(phys, LENGTH), *ring])
    if iommu:
        assert {miss.permission for miss in rng.domain.misses_at(bus)} == {WO}
    rng.front_end.close()
