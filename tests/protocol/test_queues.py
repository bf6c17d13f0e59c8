# SPDX-License-Identifier: BSD-3-Clause
"""Several queues of one device: each starts, stops, breaks and goes on alone."""
import pytest

import blk as b
import vhost_user as vu
from hostile import refused
from rules import forbidden
from vhost_user import Request as R, must

pytestmark = pytest.mark.usefixtures("layout")

both = pytest.mark.parametrize("iommu", [False, True], ids=["bit33-clear", "bit33-set"])


def queues(blk, count):
    """The driver's queues 0 to count - 1, started."""
    made = [blk] + [blk.sibling(i) for i in range(1, count)]
    for queue in made[1:]:
        queue.set_up_ring()
    return made


def test_the_number_of_queues_is_told_where_there_are_several(start, image):
    one = start(image, "--workers=1", "--num-queues=1", "--read-only")
    four = start(image, "--num-queues=4", "--read-only")
    with b.driving(one.path) as blk:
        must(not blk.protocol_offered & vu.MQ, "MQ is offered with one queue")
    with b.driving(four.path) as blk:
        must(blk.protocol_offered & vu.MQ, "MQ is not offered with four queues")
        must(blk.front_end.ask(R.GET_QUEUE_NUM).u64 == 4, "GET_QUEUE_NUM does not answer 4")


@both
def test_every_queue_reads_and_writes_at_the_same_time(start, image, iommu):
    serve = start(image, "--num-queues=4")
    expected = bytearray(image.bytes)
    with b.driving(serve.path, iommu=iommu) as blk:
        made = queues(blk, 4)
        for turn in range(4):
            flying = []
            for n, queue in enumerate(made):
                data = b.pattern(1024, seed=turn * 10 + n)
                at = (turn * 4 + n) * 2
                expected[at * 512:at * 512 + 1024] = data
                flying.append((queue, queue.offer(queue.make(b.OUT, at, data))))
                flying.append((queue, queue.offer(queue.make(b.IN, 200 + n, length=512))))
            for queue, request in flying:
                must(queue.wait(request) == b.OK, "a request failed")
                if request.kind == b.IN:
                    at = request.sector * 512
                    must(queue.data(request) == image.bytes[at:at + 512], "wrong bytes")
        blk.flush()
    image.must_be(expected)


@both
def test_queues_start_and_stop_singly(start, image, iommu):
    serve = start(image, "--num-queues=3")
    with b.driving(serve.path, iommu=iommu) as blk:
        made = queues(blk, 3)
        for stopped in made:
            for queue in made:
                must(queue.read(3, 512) == image.bytes[1536:2048], "wrong bytes")
            base = stopped.stop_ring()
            must(base == stopped.ring.base, f"queue {stopped.index} stopped at {base:#x}")
            request = stopped.offer(stopped.make(b.IN, 9, length=512))
            for queue in made:
                if queue is not stopped:
                    must(queue.read(4, 512) == image.bytes[2048:2560], "a queue stopped with its neighbour")
            blk.front_end.stay(vu.QUIET / 3)
            stopped.collect()
            must(request.used is None, "a stopped queue was served")
            stopped.set_up_ring(base)
            stopped.kick()
            must(stopped.wait(request) == b.OK, "a queue does not go on where it stopped")


def test_a_queue_that_is_disabled_waits_and_the_others_do_not(start, image):
    serve = start(image, "--num-queues=2")
    with b.driving(serve.path) as blk:
        first, second = queues(blk, 2)
        blk.front_end.tell(R.SET_VRING_ENABLE, vu.vring_state(1, 0))
        request = second.offer(second.make(b.IN, 5, length=512))
        first.still_works()
        blk.front_end.stay(vu.QUIET / 3)
        second.collect()
        must(request.used is None, "a disabled queue was served")
        blk.front_end.tell(R.SET_VRING_ENABLE, vu.vring_state(1, 1))
        must(second.wait(request) == b.OK, "an enabled queue does not go on")


@forbidden("DRV-15")
def test_a_queue_that_breaks_leaves_the_others_alone(lab):
    serve = lab.serve("--num-queues=2")
    with lab.drive(serve) as blk:
        first, second = queues(blk, 2)
        request = second.map(second.make(b.IN, 0, length=512))
        request.chain[1] = (2**64 - 256, 512, b.WRITE)
        since = len(serve.log())
        second.offer(request)
        serve.expect_log("ring 1 broken: DRV-15", since=since, pump=blk.front_end)
        blk.front_end.wait_until(lambda: blk.front_end.events[second.err_fd], "the error descriptor of queue 1")
        must(not blk.front_end.events[first.err_fd], "queue 0 was told of an error, too")
        must(blk.front_end.ask(R.GET_STATUS).u64 & 0x40, "the status does not say that it needs a reset")
        for _ in range(3):
            first.still_works()
        second.stop_ring()
        second.ring = None
        second.requests.clear()
        second.set_up_ring()
        second.still_works()


def test_a_queue_that_does_not_exist_is_refused(start, image):
    serve = start(image, "--num-queues=2")
    for index in (2, 3, 255):
        with b.driving(serve.path) as blk:
            refused(serve, blk, R.SET_VRING_NUM, vu.vring_state(index, 64))


@pytest.mark.parametrize("iommu", [True], ids=["bit33-set"])
def test_one_queue_waits_for_a_translation_and_the_other_does_not(start, image, iommu):
    serve = start(image, "--num-queues=2")
    with b.driving(serve.path, iommu=iommu) as blk:
        first, second = queues(blk, 2)
        first.still_works()
        second.still_works()
        request = second.map(second.make(b.IN, 7, length=512))
        blk.domain.policy = blk.domain.keep_range(second.data_address(request), 512)
        second.offer(request)
        blk.front_end.wait_until(lambda: blk.domain.kept, "the miss for the data")
        for n in range(5):
            first.still_works(n)
        must(request.used is None, "used without its translation")
        blk.domain.answer_kept()
        must(second.wait(request) == b.OK, "the request that waited failed")
