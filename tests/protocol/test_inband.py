# SPDX-License-Identifier: BSD-3-Clause
"""INBAND_NOTIFICATIONS: kicks, calls and errors as messages."""
import os

import pytest

import blk as b
import vhost_user as vu
from hostile import refused
from rules import forbidden
from vhost_user import Request as R, must

pytestmark = pytest.mark.usefixtures("layout")

both = pytest.mark.parametrize("iommu", [False, True], ids=["bit33-clear", "bit33-set"])


def said(blk, request, ring=0):
    return [m for m in blk.front_end.said if m.request == request and m.payload == vu.vring_state(ring, 0)]


def calls(blk, ring=0):
    return len(said(blk, vu.BACKEND_VRING_CALL, ring))


@both
def test_a_ring_works_without_any_descriptor(start, image, iommu):
    serve = start(image)
    with b.driving(serve.path, iommu=iommu, extra_protocol=vu.INBAND) as blk:
        for n in range(8):
            before = calls(blk)
            must(blk.read(n, 512) == image.bytes[n * 512:n * 512 + 512], "wrong bytes")
            blk.front_end.wait_until(lambda: calls(blk) > before, "the call, a message")
        must(all(m.flags == vu.VERSION | vu.NEED_REPLY for m in blk.front_end.said), "a call that asks for no reply")
        must(not blk.front_end.events[blk.call_fd], "a descriptor it was not given was signalled")


def test_a_ring_starts_with_its_first_kick(start, image):
    serve = start(image)
    with b.driving(serve.path, extra_protocol=vu.INBAND) as blk:
        blk.front_end.stay(vu.QUIET / 3)
        must("ring 0 started" not in serve.log(), "a ring without kick descriptor started before its first kick")
        blk.still_works()
        must("ring 0 started" in serve.log(), "it did not start")
        base = blk.stop_ring()
        request = blk.offer(blk.make(b.IN, 2, length=512), kick=False)
        blk.front_end.stay(vu.QUIET / 3)
        must(request.used is None, "a stopped ring was served")
        blk.set_up_ring(base)
        blk.kick()
        must(blk.wait(request) == b.OK, "it does not start again with a kick")


def test_calls_nobody_answers_are_few(start, image):
    serve = start(image)
    with b.driving(serve.path, extra_protocol=vu.INBAND) as blk:
        blk.front_end.answer_what_is_said = False
        for n in range(20):
            blk.still_works(n)
        blk.front_end.stay(vu.QUIET / 3)
        must(calls(blk) == 1, f"{calls(blk)} calls although the first was not answered")
        blk.front_end.answer_what_is_said = True
        blk.front_end.reply_in_turn(blk.front_end.said[0], 0)
        blk.front_end.wait_until(lambda: calls(blk) == 2, "the call for what was used meanwhile")
        blk.front_end.stay(vu.QUIET / 3)
        must(calls(blk) == 2, "more than one call for what was used meanwhile")


def test_a_descriptor_is_preferred_and_a_ring_that_is_polled_is_not_called(start, image):
    serve = start(image)
    with b.driving(serve.path, extra_protocol=vu.INBAND) as blk:
        blk.front_end.tell(R.SET_VRING_CALL, vu.u64(0), [blk.call_fd])
        blk.still_works()
        blk.front_end.wait_until(lambda: blk.front_end.events[blk.call_fd], "the call on its descriptor")
        must(not calls(blk), "called twice")
        blk.front_end.tell(R.SET_VRING_CALL, vu.u64(vu.NO_FD))
        blk.still_works()
        blk.front_end.stay(vu.QUIET / 3)
        must(not calls(blk), "a driver that polls was called")
        blk.front_end.tell(R.SET_VRING_KICK, vu.u64(0), [blk.kick_fd])
        request = blk.offer(blk.make(b.IN, 0, length=512), kick=False)
        os.eventfd_write(blk.kick_fd, 1)
        must(blk.wait(request) == b.OK, "a kick on a descriptor is not heard")


@forbidden("DRV-15")
def test_an_error_is_a_message(lab):
    serve = lab.serve()
    with lab.drive(serve, extra_protocol=vu.INBAND) as blk:
        request = blk.map(blk.make(b.IN, 0, length=512))
        request.chain[1] = (2**64 - 256, 512, b.WRITE)
        blk.offer(request)
        blk.front_end.wait_until(lambda: said(blk, vu.BACKEND_VRING_ERR), "the error, a message")


def test_each_queue_is_called_by_its_number(start, image):
    serve = start(image, "--num-queues=3")
    with b.driving(serve.path, extra_protocol=vu.INBAND) as blk:
        last = blk.sibling(2)
        last.set_up_ring()
        last.still_works()
        blk.front_end.wait_until(lambda: calls(blk, 2), "the call of queue 2")
        must(not calls(blk, 0) and not calls(blk, 1), "a call of another queue")


@pytest.mark.parametrize("missing", [vu.REPLY_ACK, vu.BACKEND_REQ, vu.REPLY_ACK | vu.BACKEND_REQ])
def test_it_needs_a_channel_and_acknowledgements(start, image, missing):
    serve = start(image)
    with b.driving(serve.path, start=False) as blk:
        blk.front_end.ask(R.GET_FEATURES)
        wanted = (vu.INBAND | vu.REPLY_ACK | vu.BACKEND_REQ) & ~missing
        refused(serve, blk, R.SET_PROTOCOL_FEATURES, vu.u64(wanted), ack=False)


@pytest.mark.parametrize("payload", [vu.vring_state(0, 1), vu.vring_state(7, 0), vu.vring_state(0, 2**32 - 1)],
                         ids=["reserved-1", "no-such-ring", "reserved-all"])
def test_a_kick_that_is_malformed_is_refused(start, image, payload):
    serve = start(image)
    with b.driving(serve.path, extra_protocol=vu.INBAND) as blk:
        blk.still_works()
        refused(serve, blk, R.VRING_KICK, payload)


def test_kicks_as_messages_have_to_be_negotiated(start, image):
    serve = start(image)
    with b.driving(serve.path) as blk:
        refused(serve, blk, R.VRING_KICK, vu.vring_state(0, 0))


def test_a_reply_to_what_was_not_asked_ends_the_connection(start, image):
    serve = start(image)
    with b.driving(serve.path, extra_protocol=vu.INBAND) as blk:
        blk.front_end.answer_what_is_said = False
        blk.still_works()
        blk.front_end.wait_until(lambda: calls(blk), "a call")
        wrong = vu.Message(vu.BACKEND_VRING_ERR, vu.VERSION | vu.NEED_REPLY, b"", [])
        since = len(serve.log())
        blk.front_end.reply_on_backend_channel(wrong, 0)
        serve.expect_log("PLT-9", since=since)
        blk.front_end.wait_closed()
