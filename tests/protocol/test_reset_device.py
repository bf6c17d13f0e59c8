# SPDX-License-Identifier: BSD-3-Clause
"""RESET_DEVICE: every ring stops and is forgotten, nothing is touched afterwards, features stay, and it begins anew."""
import pytest

import blk as b
import vhost_user as vu
from hostile import refused
from rules import forbidden
from test_misses import parked
from vhost_user import Request as R, must

pytestmark = pytest.mark.usefixtures("layout")

both = pytest.mark.parametrize("iommu", [False, True], ids=["bit33-clear", "bit33-set"])


def reset(blk, **how):
    blk.front_end.tell(R.RESET_DEVICE, need_reply=True, **how)


def begin_anew(blk):
    for miss in blk.domain.misses if blk.domain.translates else ():
        miss.answered = True
    blk.ring = None
    blk.requests.clear()
    blk.set_up_ring()


@both
def test_a_device_that_was_reset_begins_anew(start, image, iommu):
    serve = start(image)
    with b.driving(serve.path, iommu=iommu, extra_protocol=vu.RESET_DEVICE) as blk:
        for turn in range(4):
            must(blk.read(turn, 512) == image.bytes[turn * 512:turn * 512 + 512], "wrong bytes")
            reset(blk)
            must(blk.front_end.ask(R.GET_STATUS).u64 == 0, "the status is not 0 after a reset")
            request = blk.offer(blk.make(b.IN, 9, length=512), kick=False)
            before = blk.memory.snapshot()
            blk.kick()
            blk.front_end.stay(vu.QUIET / 3)
            blk.memory.must_change_only(before, [])
            must(request.used is None, "a ring was served after the reset")
            begin_anew(blk)


@both
def test_rings_are_disabled_after_a_reset(start, image, iommu):
    serve = start(image)
    with b.driving(serve.path, iommu=iommu, extra_protocol=vu.RESET_DEVICE) as blk:
        blk.still_works()
        reset(blk)
        blk.ring = None
        blk.set_up_ring(enable=False)
        request = blk.offer(blk.make(b.IN, 0, length=512))
        blk.front_end.stay(vu.QUIET / 3)
        blk.collect()
        must(request.used is None, "a ring that was not enabled again was served")
        blk.front_end.tell(R.SET_VRING_ENABLE, vu.vring_state(0, 1))
        must(blk.wait(request) == b.OK, "it does not go on once it is enabled")


def test_every_queue_is_reset(start, image):
    serve = start(image, "--num-queues=3")
    with b.driving(serve.path, extra_protocol=vu.RESET_DEVICE) as blk:
        others = [blk.sibling(1), blk.sibling(2)]
        for queue in others:
            queue.set_up_ring()
            queue.still_works()
        reset(blk)
        before = blk.memory.snapshot()
        for queue in (blk, *others):
            queue.kick()
        blk.front_end.stay(vu.QUIET / 3)
        blk.memory.must_change_only(before, [])
        for queue in (blk, *others):
            begin_anew(queue)
            queue.still_works()


def test_what_was_parked_is_forgotten(start, image):
    serve = start(image)
    with b.driving(serve.path, iommu=True, extra_protocol=vu.RESET_DEVICE) as blk:
        request = parked(blk, blk.make(b.OUT, 20, b.pattern(512, seed=6)))
        reset(blk)
        must(request.used is None, "a request was used by the reset")
        blk.domain.policy = blk.domain.answer
        begin_anew(blk)
        blk.domain.kept.clear()
        blk.still_works()
        image.must_be(image.bytes)


@forbidden("DEV-14")
def test_a_reset_is_acknowledged_when_no_request_is_in_flight(lab):
    disk = lab.slow_disk()
    serve = lab.serve(images=disk.path)
    with lab.drive(serve, extra_protocol=vu.RESET_DEVICE) as blk:
        blk.still_works()
        disk.hold("read")
        request = blk.offer(blk.make(b.IN, 3, length=512))
        blk.front_end.wait_until(lambda: disk.held, "the read at the disk")
        pending = blk.front_end.start(R.RESET_DEVICE, need_reply=True)
        blk.front_end.stay(vu.QUIET, never=lambda: pending.done, what="acknowledged with a request in flight")
        disk.release()
        must(blk.front_end.wait(pending).u64 == 0, "the reset failed")
        before = blk.memory.snapshot()
        blk.front_end.stay(vu.QUIET / 3)
        blk.memory.must_change_only(before, [])
        blk.collect()
        must(request.used is not None, "the request was neither used nor forgotten in time")


def test_it_has_to_be_negotiated(start, image):
    serve = start(image)
    with b.driving(serve.path) as blk:
        refused(serve, blk, R.RESET_DEVICE)
