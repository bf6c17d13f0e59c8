# SPDX-License-Identifier: BSD-3-Clause
"""A back end killed at any instruction, and started again: nothing is lost, and nothing done twice that was given back.

How it works
  Two ways to die. By the clock: SIGKILL from outside, whenever. By the count: the test build kills itself before or after
  the Nth store to the in-flight region, which is where it matters, N at random. The disk is the test's own, and counts.
  Each back end of a life is another: io_uring or threads, in place or over copies.
"""
import os

import pytest

import slow_disk
import servers
from blk import pattern
from survivor import SLOT_BYTES, SLOTS, Survivor

KILLS, MANY = 8, 63         # in each of eight lives


class CountingDisk(slow_disk.SlowDisk):
    """How often each range was read or written."""

    def __init__(self, *arguments):
        self.times = {}
        super().__init__(*arguments)

    def _io(self, kind, unique, offset, size, do):
        self.times[kind, offset, size] = self.times.get((kind, offset, size), 0) + 1
        self.seen.clear()
        super()._io(kind, unique, offset, size, do)


@pytest.fixture
def disk(tmp):
    servers.needs(servers.VIODMA)
    servers.needs(servers.VIODMA_TEST_BUILD)
    reason = slow_disk.available(os.path.join(tmp, "probe"))
    if reason:
        pytest.skip(f"not run: no disk that counts: {reason}")
    counting = CountingDisk(os.path.join(tmp, "disk"), pattern(2 * SLOTS * SLOT_BYTES, 5))
    yield counting
    counting.close()


def options(generator):
    return [f"--io={generator.choice(('uring', 'threads'))}"] + generator.choice(([], ["--copy"]))


def live(tmp, disk, kills, how, seed=1, queues=1, more=(), **rings):
    survivor = Survivor(tmp, disk, seed=seed, queues=queues, **rings)
    chance = survivor.random
    try:
        for _ in range(kills):
            if how == "clock":
                survivor.live_through(chance.uniform(0.005, 0.15), *options(chance), *more)
            else:
                survivor.live_through(1.5, *options(chance), *more, kill_at=int(2 ** chance.uniform(0, 12.5)))
        survivor.finish(*options(chance), *more)
        assert survivor.kills == kills and survivor.done > kills
    finally:
        survivor.close()


ways = pytest.mark.parametrize("how", ["clock", "store"])
layouts = pytest.mark.parametrize("packed", [False, True], ids=["split", "packed"])
addresses = pytest.mark.parametrize("iommu", [False, True], ids=["bit33-clear", "bit33-set"])


@ways
@layouts
@addresses
def test_nothing_is_lost_when_the_back_end_is_killed(tmp, disk, how, packed, iommu):
    live(tmp, disk, KILLS, how, packed=packed, iommu=iommu, event_idx=iommu)


@pytest.mark.slow
@ways
@layouts
@addresses
def test_nothing_is_lost_however_often_it_is_killed(tmp, disk, how, packed, iommu):
    live(tmp, disk, MANY, how, seed=2, packed=packed, iommu=iommu, event_idx=not iommu)


@pytest.mark.parametrize("workers", [1, 2])
@layouts
def test_nothing_is_lost_of_two_queues(tmp, disk, packed, workers):
    """Of which each has a thread of its own, or both have one."""
    live(tmp, disk, 2, "store", seed=3, queues=2, more=[f"--workers={workers}"], packed=packed, iommu=True, event_idx=True)


@pytest.mark.slow
@ways
@layouts
def test_nothing_is_lost_of_two_queues_that_two_threads_serve(tmp, disk, how, packed):
    live(tmp, disk, MANY, how, seed=4, queues=2, more=["--workers=2"], packed=packed, iommu=True, event_idx=True)
