# SPDX-License-Identifier: BSD-3-Clause
"""Every message of the protocol, spoilt in every way: the connection ends, the process and its devices go on."""
import os
import random
import socket
import struct
import time

import pytest

import blk as b
import vhost_user as vu
from hostile import (MESSAGE_IDS, NAMES, NOT_OFFERED, closed_with_message, messages, ready, refused, serves_on,
                     spare_fds)
from rules import forbidden
from vhost_user import NEED_REPLY, REPLY, VERSION, Request as R, must

each_message = pytest.mark.parametrize("request_id", MESSAGE_IDS, ids=lambda r: vu.REQUEST_NAMES[r])


@pytest.fixture
def serve(start, image):
    """One that offers all of them: two queues are what GET_QUEUE_NUM belongs to."""
    return start(image, "--num-queues=2")


@each_message
def test_a_message_of_the_wrong_size_ends_the_connection(serve, image, request_id):
    for change in ("empty", "one-less", "one-more", "eight-more", "huge"):
        blk = ready(serve, iommu=True)
        payload, count = messages(blk)[request_id]
        bad = {"empty": b"", "one-less": payload[:-1], "one-more": payload + b"\0",
               "eight-more": payload + bytes(8), "huge": payload + bytes(60000)}[change]
        if bad == payload or (change == "one-less" and not payload):
            blk.close()
            continue
        with spare_fds(count) as fds:
            refused(serve, blk, request_id, bad, fds, ack=None if change != "huge" else False)
        blk.close()
    serves_on(serve, image)


@each_message
def test_a_message_with_the_wrong_number_of_descriptors_ends_the_connection(serve, image, request_id):
    for wrong in (0, 1, 2, 8, 64):
        blk = ready(serve, iommu=True)
        payload, count = messages(blk)[request_id]
        may_carry_one = request_id == R.REM_MEM_REG     # the document lets a back end take one
        if wrong == count or (may_carry_one and wrong == 1):
            blk.close()
            continue
        with spare_fds(wrong) as fds:
            refused(serve, blk, request_id, payload, fds)
        blk.close()
    serves_on(serve, image)


@each_message
def test_a_request_with_the_reply_flag_or_another_version_ends_the_connection(serve, request_id):
    for flags in (VERSION | REPLY, VERSION | REPLY | NEED_REPLY, 0, 2, 3 | NEED_REPLY, VERSION | 0x10):
        blk = ready(serve, iommu=True)
        payload, count = messages(blk)[request_id]
        with spare_fds(count) as fds:
            refused(serve, blk, request_id, payload, fds, flags=flags, ack=False)
        blk.close()


SPOILT = {
    "size": lambda blk: (R.SET_VRING_NUM, vu.vring_state(0, 64) + bytes(8), 0, VERSION),
    "descriptors": lambda blk: (R.SET_VRING_BASE, vu.vring_state(0, 0), 1, VERSION),
    "flags": lambda blk: (R.SET_VRING_BASE, vu.vring_state(0, 0), 0, VERSION | REPLY),
    "order": lambda blk: (R.IOTLB_MSG, vu.iotlb(vu.INVALIDATE, 0, 4096), 0, VERSION),
    "ring-bits": lambda blk: (R.SET_VRING_CALL, vu.u64(1 << 9), 1, VERSION),
}


@forbidden("PLT-9", also=tuple(SPOILT))
def test_what_is_not_well_formed_is_refused(lab, how):
    serve = lab.serve()
    blk = ready(serve)
    request, payload, count, flags = SPOILT[how](blk)
    with spare_fds(count) as fds:
        refused(serve, blk, request, payload, fds, flags=flags)
    blk.close()


@forbidden("PLT-10")
def test_a_region_beyond_the_end_of_its_file_is_refused(lab):
    serve = lab.serve()
    blk = ready(serve, iommu=True)
    fd = os.memfd_create("too-short")
    os.ftruncate(fd, 1 << 20)
    refused(serve, blk, R.ADD_MEM_REG, vu.mem_region(0x30_0000_0000, 2 << 20, 0x7c00_0000_0000, 0), [fd], log="PLT-10")
    os.close(fd)
    blk.close()


def test_an_unknown_message_ends_the_connection_and_is_named_by_its_number(serve, image):
    for request_id in (0, 46, 100, 255, 256, 0x10001, 0x7fffffff, 0xffffffff):
        for payload in (b"", vu.u64(0)):
            since = len(serve.log())
            blk = ready(serve, iommu=True)
            refused(serve, blk, request_id, payload, log="PLT-9", named=False)
            serve.expect_log(f"{request_id}|{request_id:#x}", since=since)
            blk.close()
    serves_on(serve, image)


@pytest.mark.parametrize("request_id", NOT_OFFERED, ids=lambda r: vu.REQUEST_NAMES[r])
def test_a_message_of_a_protocol_feature_that_was_not_offered_ends_the_connection(serve, request_id):
    blk = ready(serve, iommu=True)
    with spare_fds(1 if request_id in (R.SET_LOG_FD, R.GPU_SET_SOCKET) else 0) as fds:
        size = {R.SET_LOG_FD: 0, R.GPU_SET_SOCKET: 0, R.POSTCOPY_ADVISE: 0, R.POSTCOPY_LISTEN: 0, R.POSTCOPY_END: 0}
        refused(serve, blk, request_id, bytes(size.get(request_id, 8)), fds, ack=False)
    blk.close()


@pytest.mark.parametrize("request_id, feature", [
    (R.SET_BACKEND_REQ_FD, vu.BACKEND_REQ), (R.GET_CONFIG, vu.CONFIG), (R.SET_CONFIG, vu.CONFIG),
    (R.GET_MAX_MEM_SLOTS, vu.MEM_SLOTS), (R.ADD_MEM_REG, vu.MEM_SLOTS), (R.REM_MEM_REG, vu.MEM_SLOTS),
    (R.GET_STATUS, vu.STATUS), (R.SET_STATUS, vu.STATUS)], ids=lambda v: vu.REQUEST_NAMES.get(v, ""))
def test_a_message_whose_protocol_feature_was_not_accepted_ends_the_connection(serve, request_id, feature):
    blk = ready(serve, iommu=True)
    payload, count = messages(blk)[request_id]
    blk.close()
    blk = b.Blk(serve.path)
    fe = blk.front_end
    fe.ask(R.GET_FEATURES)
    fe.protocol = fe.ask(R.GET_PROTOCOL_FEATURES).u64 & (vu.REPLY_ACK | vu.MQ)
    fe.tell(R.SET_PROTOCOL_FEATURES, vu.u64(fe.protocol))
    with spare_fds(count) as fds:
        refused(serve, blk, request_id, payload, fds)
    blk.close()


def test_protocol_features_that_were_not_offered_are_refused(serve, image):
    with b.driving(serve.path, start=False) as blk:
        blk.negotiate()
        refused(serve, blk, R.SET_PROTOCOL_FEATURES, vu.u64(blk.protocol_offered | 1 << 40))
    serves_on(serve, image)


@pytest.mark.parametrize("kind", [vu.UPDATE, vu.INVALIDATE])
def test_iotlb_messages_where_bit_33_is_clear_end_the_connection(serve, image, kind):
    with b.driving(serve.path) as blk:
        region = blk.memory.regions[0]
        refused(serve, blk, R.IOTLB_MSG, vu.iotlb(kind, 0xcd_0000_0000, b.PAGE, region.uaddr, vu.RW))
    serves_on(serve, image)


@pytest.mark.parametrize("kind", [0, vu.MISS, vu.ACCESS_FAIL, 5, 6, 77, 255])
def test_iotlb_types_a_front_end_may_not_send_end_the_connection(serve, image, kind):
    blk = ready(serve, ring=True, iommu=True)
    refused(serve, blk, R.IOTLB_MSG, vu.iotlb(kind, 0xcd_0000_0000, b.PAGE, blk.memory.regions[0].uaddr, vu.RW))
    blk.close()
    serves_on(serve, image)


def bad_updates(region):
    a = 0xcd_0000_0000
    return {
        "size-0": (a, 0, region.uaddr, vu.RW), "permission-0": (a, 4096, region.uaddr, 0),
        "permission-4": (a, 4096, region.uaddr, 4), "permission-255": (a, 4096, region.uaddr, 255),
        "wraps": (2**64 - 4096, 8192, region.uaddr, vu.RW), "size-huge": (a, 2**64 - 1, region.uaddr, vu.RW),
        "user-address-unknown": (a, 4096, 0x1000, vu.RW), "user-address-wraps": (a, 8192, 2**64 - 4096, vu.RW),
        "before-the-region": (a, 4096, region.uaddr - 1, vu.RW),
        "beyond-the-region": (a, 8192, region.uaddr + region.size - 4096, vu.RW),
        "larger-than-the-region": (a, region.size + 1, region.uaddr, vu.RW),
        "physical-for-user-address": (a, 4096, region.phys, vu.RW)}


@pytest.mark.parametrize("which", bad_updates(b.Memory(((0x1000_0000, 4096, 0x2000_0000, 0),)).regions[0]))
def test_a_grant_outside_the_address_space_or_the_memory_is_refused(serve, image, which):
    blk = ready(serve, ring=True, iommu=True)
    iova, size, uaddr, permission = bad_updates(blk.memory.regions[0])[which]
    refused(serve, blk, R.IOTLB_MSG, vu.iotlb(vu.UPDATE, iova, size, uaddr, permission), log="PLT-(9|10)",
            may_stay=True)
    blk.close()
    serves_on(serve, image)


@pytest.mark.parametrize("iova, size", [(2**64 - 4096, 8192), (0x1000, 0), (2, 2**64 - 1)])
def test_an_invalidation_that_wraps_or_is_empty_is_refused(serve, iova, size):
    blk = ready(serve, ring=True, iommu=True)
    refused(serve, blk, R.IOTLB_MSG, vu.iotlb(vu.INVALIDATE, iova, size), log="PLT-(9|10)")
    blk.close()


@pytest.mark.parametrize("request_id", [R.SET_VRING_NUM, R.SET_VRING_BASE, R.SET_VRING_ADDR, R.GET_VRING_BASE,
                                        R.SET_VRING_ENABLE, R.SET_VRING_KICK, R.SET_VRING_CALL, R.SET_VRING_ERR],
                         ids=lambda r: vu.REQUEST_NAMES.get(r))
def test_a_ring_index_out_of_range_ends_the_connection(serve, request_id):
    for bad in (2, 3, 255, 0x7fffffff, 0xffffffff):
        blk = ready(serve, iommu=True)
        if request_id in (R.SET_VRING_KICK, R.SET_VRING_CALL, R.SET_VRING_ERR):
            payload, count = vu.u64(bad & ~vu.NO_FD), 1
        else:
            payload, count = messages(blk)[request_id]
            payload = struct.pack("<I", bad) + payload[4:]
        with spare_fds(count) as fds:
            refused(serve, blk, request_id, payload, fds)
        blk.close()


def test_a_queue_size_that_is_no_power_of_two_in_range_is_refused(serve):
    for size in (0, 3, 65, 65535, 65536, 1 << 31, 0xffffffff):
        blk = ready(serve, iommu=True)
        refused(serve, blk, R.SET_VRING_NUM, vu.vring_state(0, size), log="DRV-17|PLT-9")
        blk.close()


@pytest.mark.parametrize("base", [65536, 0xffffffff])
def test_a_ring_base_beyond_16_bits_is_refused(serve, base):
    blk = ready(serve, iommu=True)
    refused(serve, blk, R.SET_VRING_BASE, vu.vring_state(0, base))
    blk.close()


@pytest.mark.parametrize("enable", [2, 0xffffffff])
def test_enabling_with_anything_but_0_and_1_is_refused(serve, enable):
    blk = ready(serve, iommu=True)
    refused(serve, blk, R.SET_VRING_ENABLE, vu.vring_state(0, enable))
    blk.close()


@pytest.mark.parametrize("request_id", [R.SET_VRING_KICK, R.SET_VRING_CALL, R.SET_VRING_ERR],
                         ids=lambda r: vu.REQUEST_NAMES[r])
def test_the_no_descriptor_flag_must_agree_with_the_descriptors(serve, request_id):
    blk = ready(serve, iommu=True)
    refused(serve, blk, request_id, vu.u64(0))
    blk.close()
    blk = ready(serve, iommu=True)
    with spare_fds(1) as fds:
        refused(serve, blk, request_id, vu.u64(vu.NO_FD), fds)
    blk.close()
    blk = ready(serve, iommu=True)
    with spare_fds(1) as fds:
        refused(serve, blk, request_id, vu.u64(1 << 9), fds)
    blk.close()


@pytest.mark.parametrize("request_id", [R.SET_VRING_NUM, R.SET_VRING_BASE, R.SET_VRING_ADDR, R.SET_FEATURES],
                         ids=lambda r: vu.REQUEST_NAMES[r])
def test_a_running_ring_is_not_reconfigured(serve, image, request_id):
    blk = ready(serve, ring=True, iommu=True)
    blk.still_works()
    payload, _ = messages(blk)[request_id]
    if request_id == R.SET_FEATURES:
        payload = vu.u64(blk.features & ~vu.F_ACCESS_PLATFORM)
    if request_id in (R.SET_VRING_NUM, R.SET_VRING_BASE):
        payload = vu.vring_state(0, 32)
    refused(serve, blk, request_id, payload)
    blk.close()
    serves_on(serve, image)


def test_kick_and_call_descriptors_may_be_replaced_while_the_ring_runs(serve, image):
    with b.driving(serve.path) as blk:
        for _ in range(20):
            blk.still_works()
            new = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            blk.front_end.tell(R.SET_VRING_CALL, vu.u64(0), [new])
            blk.front_end.events.pop(blk.call_fd)
            os.close(blk.call_fd)
            blk.call_fd = new
            blk.front_end.watch(new)
            blk.still_works()
            blk.front_end.wait_until(lambda: blk.front_end.events[blk.call_fd] > 0, "a call on the new descriptor")


@pytest.mark.parametrize("kind", ["file", "directory", "socket", "pipe", "memfd", "dev-null"])
@pytest.mark.parametrize("request_id", [R.SET_VRING_KICK, R.SET_VRING_CALL, R.SET_VRING_ERR, R.SET_BACKEND_REQ_FD,
                                        R.SET_MEM_TABLE], ids=lambda r: vu.REQUEST_NAMES[r])
def test_a_descriptor_of_a_strange_kind_harms_nobody(serve, image, tmp, request_id, kind):
    with b.driving(serve.path, start=False) as blk:
        blk.negotiate().accept()
        blk.make_ring()
        others = []
        if kind == "file":
            fd = os.open(image.path, os.O_RDONLY)
        elif kind == "directory":
            fd = os.open(tmp, os.O_RDONLY)
        elif kind == "socket":
            pair = socket.socketpair()
            fd, others = pair[0].detach(), [pair[1].detach()]
        elif kind == "pipe":
            fd, other = os.pipe()
            others = [other]
        elif kind == "memfd":
            fd = os.memfd_create("strange")
        else:
            fd = os.open("/dev/null", os.O_RDWR)
        try:
            if request_id != R.SET_MEM_TABLE:
                blk.share_memory()
            blk.set_up_ring()
            payload, _ = messages(blk)[request_id]
            blk.front_end.main.send(request_id, payload, [fd], VERSION | NEED_REPLY)
            blk.offer(blk.make(b.IN, 0, length=512))
            blk.kick()
            blk.front_end.main.closed_within(vu.QUIET / 2)
        except vu.Violation:
            pass                    # refusing it is fine, and so is using it
        finally:
            for each in [fd, *others]:
                os.close(each)
        serve.must_live()
    serves_on(serve, image)


def test_a_message_may_come_one_byte_at_a_time(serve, image):
    with b.driving(serve.path, start=False) as blk:
        blk.negotiate().accept()
        channel = blk.front_end.main
        regions = blk.memory.regions
        body = vu.mem_table([r.row for r in regions])
        data = vu.HEADER.pack(R.SET_MEM_TABLE, VERSION | NEED_REPLY, len(body)) + body
        channel.send_raw(data[:1], [r.fd for r in regions])
        for i in range(1, len(data)):
            channel.send_raw(data[i:i + 1])
            if i % 10 == 0:
                time.sleep(0.001)
        must(channel.recv().u64 == 0, "the memory table was refused")
        blk.set_up_ring()
        must(blk.read(1, 512) == image.bytes[512:1024], "wrong bytes")


def test_many_messages_may_come_in_one_write(serve):
    with b.driving(serve.path, start=False) as blk:
        channel = blk.front_end.main
        channel.send_raw(vu.HEADER.pack(R.GET_FEATURES, VERSION, 0) * 50 + vu.HEADER.pack(R.SET_OWNER, VERSION, 0)
                         + vu.HEADER.pack(R.GET_PROTOCOL_FEATURES, VERSION, 0) * 50)
        answers = [channel.recv().request for _ in range(100)]
        must(answers == [R.GET_FEATURES] * 50 + [R.GET_PROTOCOL_FEATURES] * 50, "answers are missing or out of order")


def test_a_connection_that_ends_within_a_message_leaves_nothing_behind(serve, image):
    whole = vu.HEADER.pack(R.SET_VRING_KICK, VERSION, 8) + vu.u64(0)
    for cut in range(len(whole)):
        blk = b.Blk(serve.path)
        with spare_fds(1) as fds:
            if cut:
                blk.front_end.main.send_raw(whole[:cut], fds)
        blk.close()
    serves_on(serve, image)


@pytest.mark.parametrize("size", [0x1001, 0x10000, 0x7fffffff, 0x80000000, 0xfffffff4, 0xffffffff])
def test_a_size_beyond_any_message_ends_the_connection_at_its_header(serve, image, size):
    """Without waiting for that many bytes, and without room for them."""
    blk = ready(serve, iommu=True)
    refused(serve, blk, R.SET_VRING_NUM, b"", size=size, ack=False)
    blk.close()
    serves_on(serve, image)


def test_descriptors_on_every_byte_are_closed(serve, image):
    blk = b.Blk(serve.path)
    data = vu.HEADER.pack(R.SET_VRING_KICK, VERSION, 8) + vu.u64(0)
    with spare_fds(8) as fds:
        try:
            for i in range(len(data)):
                blk.front_end.main.send_raw(data[i:i + 1], fds)
                time.sleep(0.002)
        except vu.PeerClosed:
            pass
    must(blk.front_end.main.closed_within(), "136 descriptors in one message did not end the connection")
    blk.close()
    serves_on(serve, image)


def test_253_descriptors_on_one_message_are_closed(serve, image):
    blk = b.Blk(serve.path)
    with spare_fds(1) as fds:
        refused(serve, blk, R.GET_FEATURES, b"", fds * 253, ack=False)
    blk.close()
    serves_on(serve, image)


def test_the_same_message_again_and_again_leaks_no_descriptor(serve, image):
    """Kick, call, err, channel and memory, each replaced 200 times on one connection."""
    with b.driving(serve.path, start=False) as blk:
        blk.negotiate().accept().share_memory().set_up_ring()
        count = len(serve.fd_links())
        for i in range(200):
            for request in (R.SET_VRING_CALL, R.SET_VRING_ERR):
                blk.front_end.tell(request, vu.u64(0), [blk.call_fd])
            blk.share_memory()
        must(len(serve.fd_links()) <= count + 4, f"{count} descriptors became {len(serve.fd_links())}")
        must(blk.read(0, 512) == image.bytes[:512], "wrong bytes")


@pytest.mark.parametrize("seed", range(12))
def test_garbage_ends_the_connection_and_nothing_else(serve, image, seed):
    generator = random.Random(seed)
    for _ in range(6):
        blk = b.Blk(serve.path)
        channel = blk.front_end.main
        with spare_fds(4) as fds:
            try:
                for _ in range(generator.randrange(1, 6)):
                    channel.send_raw(generator.randbytes(generator.randrange(1, 5000)),
                                     fds[:generator.randrange(5)])
            except vu.PeerClosed:
                pass
        channel.sock.shutdown(socket.SHUT_WR)
        must(channel.closed_within(), "garbage, then an end of file: the connection stays open")
        blk.close()
    serves_on(serve, image)


@pytest.mark.parametrize("seed", range(6))
def test_good_headers_with_random_payload_harm_nobody(serve, image, seed):
    generator = random.Random(100 + seed)
    for _ in range(25):
        blk = ready(serve, ring=generator.random() < 0.5, iommu=generator.random() < 0.5)
        table = messages(blk)
        try:
            for _ in range(6):
                request = generator.choice(list(table))
                payload, count = table[request]
                payload = bytearray(payload)
                for _ in range(generator.randrange(1, 4)):
                    if payload:
                        payload[generator.randrange(len(payload))] = generator.choice((0, 1, 2, 0x7f, 0x80, 0xff))
                with spare_fds(count) as fds:
                    blk.front_end.main.send(request, bytes(payload), fds, VERSION | NEED_REPLY)
            blk.kick()
        except vu.PeerClosed:
            pass
        blk.close()
        serve.must_live()
    serves_on(serve, image)


def test_a_flood_of_requests_whose_answers_nobody_reads_does_not_stop_others(start, image, tmp):
    serve = start([image.path, image.path], "--read-only")
    flooder = b.Blk(serve.sockets[0])
    sock = flooder.front_end.main.sock
    sock.setblocking(False)
    burst = vu.HEADER.pack(R.GET_FEATURES, VERSION, 0) * 1000
    sent = 0
    try:
        for _ in range(2000):
            sent += sock.send(burst)
    except (BlockingIOError, BrokenPipeError, ConnectionResetError):
        pass
    with b.driving(serve.sockets[1], iommu=True) as other:
        for n in range(5):
            must(other.read(n, 512) == image.bytes[n * 512:n * 512 + 512], "wrong bytes")
    with open(f"/proc/{serve.pid}/status") as status:
        resident = next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))
    must(resident < 300 << 10 or vu.SANITIZED, f"{resident} KiB resident after a flood of {sent} bytes")
    flooder.close()
    serves_on(serve, image)
