# SPDX-License-Identifier: BSD-3-Clause
"""--poll-us: a ring that had work is looked at for a while without kicks; then the driver is asked for them again."""
import time

import pytest

import blk as b
import vhost_user as vu
from vhost_user import must

pytestmark = pytest.mark.usefixtures("layout")
both = pytest.mark.parametrize("event_idx", [False, True], ids=["flags", "event-index"])
LONG = "--poll-us=1000000"


@both
def test_a_ring_that_had_work_needs_no_kicks(start, image, event_idx):
    serve = start(image, LONG)
    with b.driving(serve.path, event_idx=event_idx) as blk:
        blk.still_works()
        kicks = blk.kicks
        for n in range(20):
            must(blk.read(n, 512) == image.bytes[n * 512:n * 512 + 512], "wrong bytes")
        # a machine that is busy may keep one of the two from its processor for longer than that
        must(blk.kicks - kicks <= 3, f"{blk.kicks - kicks} kicks for 20 requests to a ring that is polled")


@both
def test_a_ring_without_work_asks_for_the_next_kick(start, image, event_idx):
    serve = start(image, "--poll-us=2000")
    with b.driving(serve.path, event_idx=event_idx) as blk:
        for n in range(5):
            blk.still_works()
            blk.front_end.stay(vu.QUIET / 4)
            kicks = blk.kicks
            must(blk.read(n, 512) == image.bytes[n * 512:n * 512 + 512], "wrong bytes")
            must(blk.kicks == kicks + 1, f"{blk.kicks - kicks} kicks for a request to a ring that sleeps")


def cpu(pid):
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


def test_a_process_whose_rings_have_no_work_sleeps(start, image):
    serve = start(image, "--poll-us=1000")
    with b.driving(serve.path) as blk:
        blk.still_works()
        blk.front_end.stay(0.05)
        before = cpu(serve.pid)
        blk.front_end.stay(0.5)
        must(cpu(serve.pid) - before <= 2, "it is busy although there is nothing to do")


def test_polling_starves_neither_messages_nor_other_queues_nor_the_disk(start, image):
    serve = start(image, LONG, "--num-queues=3")
    with b.driving(serve.path) as blk:
        others = [blk.sibling(1), blk.sibling(2)]
        for queue in others:
            queue.set_up_ring()
        for n in range(6):
            blk.still_works(n)
            for queue in others:
                queue.still_works(n)
            began = time.monotonic()
            blk.config()
            must(time.monotonic() - began < 0.2 * vu.SCALE, "a message waits while rings are polled")
        must(blk.stop_ring() == blk.ring.base, "a ring that is polled stops elsewhere")
        before = blk.memory.snapshot()
        blk.offer(blk.make(b.IN, 0, length=512), publish=False)
        before = blk.memory.snapshot()
        blk.front_end.stay(vu.QUIET / 4)
        blk.memory.must_change_only(before, [])
