# SPDX-License-Identifier: BSD-3-Clause
"""REPLY_ACK: every message that asks gets exactly one truthful answer, in order."""
import pytest

import blk as b
import vhost_user as vu
from hostile import MESSAGE_IDS, messages, ready, refused, spare_fds
from vhost_user import NEED_REPLY, REPLY, VERSION, Request as R, must

pytestmark = pytest.mark.usefixtures("layout")


@pytest.fixture
def serve(start, image):
    """One with all that messages are about: two queues are what GET_QUEUE_NUM belongs to."""
    return start(image, "--num-queues=2")

QUIET_MESSAGES = [m for m in MESSAGE_IDS if m not in vu.HAVE_REPLY and m != R.SET_CONFIG]


def usable(blk, request):
    """Good messages in a good place: what a driver in that state may send."""
    payload, count = messages(blk)[request]
    fds = {R.SET_MEM_TABLE: [blk.memory.regions[0].fd], R.ADD_MEM_REG: [blk.memory.regions[1].fd],
           R.SET_VRING_KICK: [blk.kick_fd], R.SET_VRING_CALL: [blk.call_fd], R.SET_VRING_ERR: [blk.err_fd]}
    if request == R.ADD_MEM_REG:
        payload = vu.mem_region(*blk.memory.regions[1].row)
    return payload, fds.get(request, [])


def in_place(serve, request):
    """A driver for which `request` is legal now."""
    blk = b.Blk(serve.path, iommu=True)
    blk.negotiate().accept()
    if request in (R.ADD_MEM_REG, R.REM_MEM_REG, R.IOTLB_MSG):
        blk.share_memory(blk.memory.regions[:1])
    elif request != R.SET_MEM_TABLE:
        blk.share_memory()
    blk.make_ring()
    return blk


@pytest.mark.parametrize("request_id", QUIET_MESSAGES, ids=lambda r: vu.REQUEST_NAMES[r])
def test_a_message_that_asks_for_a_reply_gets_one_zero(serve, request_id):
    blk = in_place(serve, request_id)
    try:
        payload, fds = usable(blk, request_id)
        channel = blk.front_end.main
        if request_id == R.SET_BACKEND_REQ_FD:
            with spare_fds(0):
                import socket
                pair = socket.socketpair()
                channel.send(request_id, b"", [pair[1].fileno()], VERSION | NEED_REPLY)
                pair[1].close()
        else:
            channel.send(request_id, payload, fds, VERSION | NEED_REPLY)
        reply = channel.recv()
        must(reply.request == request_id and reply.flags == VERSION | REPLY, f"{reply.name}, flags {reply.flags:#x}")
        must(reply.u64 == 0, f"acknowledged with {reply.u64}")
        channel.send(R.GET_FEATURES, flags=VERSION)
        must(channel.recv().request == R.GET_FEATURES, "more than one reply")
    finally:
        blk.close()


@pytest.mark.parametrize("request_id", [m for m in QUIET_MESSAGES if m not in (R.IOTLB_MSG, R.SET_BACKEND_REQ_FD)],
                         ids=lambda r: vu.REQUEST_NAMES[r])
def test_a_message_that_does_not_ask_gets_none(serve, request_id):
    """IOTLB_MSG is left out: the document can be read either way."""
    blk = in_place(serve, request_id)
    try:
        payload, fds = usable(blk, request_id)
        channel = blk.front_end.main
        channel.send(request_id, payload, fds, VERSION)
        channel.send(R.GET_FEATURES, flags=VERSION)
        must(channel.recv().request == R.GET_FEATURES, "a reply nobody asked for")
    finally:
        blk.close()


@pytest.mark.parametrize("request_id", sorted(vu.HAVE_REPLY - {R.GET_INFLIGHT_FD}), ids=lambda r: vu.REQUEST_NAMES[r])
def test_a_message_with_a_reply_body_gets_that_and_no_ack(serve, request_id):
    blk = ready(serve, iommu=True)
    try:
        payload, _ = messages(blk)[request_id]
        channel = blk.front_end.main
        channel.send(request_id, payload, flags=VERSION | NEED_REPLY)
        reply = channel.recv()
        must(reply.request == request_id and reply.flags == VERSION | REPLY, f"{reply.name}, flags {reply.flags:#x}")
        sizes = {R.GET_VRING_BASE: 8, R.GET_CONFIG: 12 + 8}
        must(len(reply.payload) == sizes.get(request_id, 8), f"a reply of {len(reply.payload)} bytes")
        channel.send(R.GET_FEATURES, flags=VERSION)
        must(channel.recv().request == R.GET_FEATURES, "an ack besides the reply body")
    finally:
        blk.close()


def test_one_queue_and_at_least_509_memory_slots(serve):
    blk = ready(serve)
    must(not blk.protocol & vu.MQ or blk.front_end.ask(R.GET_QUEUE_NUM).u64 >= 1, "no queue")
    must(blk.protocol & vu.MEM_SLOTS, "CONFIGURE_MEM_SLOTS is not offered")
    must(blk.front_end.ask(R.GET_MAX_MEM_SLOTS).u64 >= 509, "fewer than 509 memory slots")
    blk.close()


@pytest.mark.parametrize("offset, size", [(0, 0), (0, 257), (250, 10), (256, 1), (4096, 4), (0xffffffff, 1),
                                          (0xfffffff0, 0x20), (8, 0xffffffff)])
def test_configuration_beyond_the_space_is_not_answered_with_data(serve, image, offset, size):
    """The document: an empty payload says error. Ending the connection with a message is as good."""
    blk = ready(serve)
    channel = blk.front_end.main
    payload = vu.config(offset, size, payload=bytes(min(size, 300)))
    try:
        channel.send(R.GET_CONFIG, payload, flags=VERSION)
        if not channel.closed_within(vu.QUIET):
            must(len(channel.seen) == 1 and (len(channel.seen[0].payload) in (0, 12)
                                             or not any(channel.seen[0].payload[12:])),
                 f"answered with {[m.payload for m in channel.seen]}")
        else:
            serve.expect_log("GET_CONFIG")
    finally:
        blk.close()
    serve.must_live()


def test_a_configuration_request_whose_sizes_disagree_ends_the_connection(serve):
    for payload in (vu.config(0, 8, payload=bytes(4)), vu.config(0, 8, payload=bytes(12)), vu.config(0, 8, payload=b"")):
        blk = ready(serve)
        refused(serve, blk, R.GET_CONFIG, payload)
        blk.close()


@pytest.mark.parametrize("flags", [0, 1, 2])
def test_the_configuration_of_this_device_cannot_be_written(serve, flags):
    """Every field is read-only; the ack must not say otherwise."""
    blk = ready(serve)
    channel = blk.front_end.main
    before = blk.config(0, 8)
    channel.send(R.SET_CONFIG, vu.config(0, 8, flags, b"\xff" * 8), flags=VERSION | NEED_REPLY)
    closed = channel.closed_within(vu.QUIET)
    must(channel.seen and channel.seen[0].u64 != 0, "a write to the capacity was acknowledged with 0")
    blk.close()
    serve.expect_log("SET_CONFIG")
    blk = ready(serve)
    must(blk.config(0, 8) == before, "the capacity was changed")
    blk.close()
    del closed
