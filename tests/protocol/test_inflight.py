# SPDX-License-Identifier: BSD-3-Clause
"""The in-flight region: made, handed over, kept over stops; and what is wrong with it is refused by name.

Kills are tests/kill's; here a back end lives, and the region may say anything.
"""
import fcntl
import mmap
import os
import random
import struct

import pytest

import blk as b
import vhost_user as vu
from hostile import refused, serves_on
from rules import forbidden
from test_misses import parked
from vhost_user import Request as R, must

pytestmark = pytest.mark.usefixtures("layout")
SIZE = 64
F_GET_SEALS, F_SEAL_SEAL, F_SEAL_SHRINK, F_SEAL_GROW = 1034, 1, 2, 4


class Region:
    """The region a back end made, mapped."""

    def __init__(self, blk, queues=1, size=SIZE):
        reply = blk.front_end.ask(R.GET_INFLIGHT_FD, vu.inflight(0, 0, queues, size))
        self.bytes, self.offset, self.queues, self.size = vu.INFLIGHT_DESC.unpack(reply.payload)
        must(len(reply.fds) == 1, f"{len(reply.fds)} descriptors with GET_INFLIGHT_FD")
        self.fd = reply.fds[0]
        self.map = mmap.mmap(self.fd, self.bytes)
        self.packed = blk.packed

    def hand_over(self, blk):
        blk.front_end.tell(R.SET_INFLIGHT_FD, vu.inflight(self.bytes, self.offset, self.queues, self.size), [self.fd])

    def in_flight(self):
        """How many entries are marked."""
        head, each = (32, 32) if self.packed else (16, 16)
        return sum(self.map[head + each * i] for i in range(self.size))

    def put(self, at, form, *values):
        struct.pack_into(form, self.map, at, *values)

    def close(self):
        self.map.close()
        os.close(self.fd)


def negotiated(path, **how):
    blk = b.Blk(path, extra_protocol=vu.INFLIGHT, **how)
    return blk.negotiate().accept().share_memory()


def begin(blk):
    """With a region, and its ring started."""
    region = Region(blk)
    region.hand_over(blk)
    blk.set_up_ring()
    return region


def test_the_region_is_of_the_right_size_sealed_and_empty(serve, layout):
    blk = negotiated(serve.path)
    region = Region(blk)
    each = 32 + 32 * SIZE if layout == "packed" else 16 + 16 * SIZE
    must(region.bytes == (each + 63) // 64 * 64 and region.offset == 0, f"{region.bytes} bytes at {region.offset}")
    must((region.queues, region.size) == (1, SIZE), "another number of queues, or size, than was asked for")
    must(not any(region.map[:]), "it is not zero")
    seals = fcntl.fcntl(region.fd, F_GET_SEALS)
    must(seals & (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL, "not sealed")
    region.close()
    blk.close()


def test_what_is_with_the_device_stands_in_the_region(serve):
    blk = negotiated(serve.path, iommu=True)
    region = begin(blk)
    blk.still_works()
    must(region.in_flight() == 0, "something is in flight after all was used")
    request = parked(blk, blk.make(b.IN, 3, length=512))
    blk.front_end.wait_until(lambda: region.in_flight() == 1, "the request to stand in the region")
    blk.domain.answer_kept()
    must(blk.wait(request) == b.OK, "it failed")
    blk.front_end.wait_until(lambda: region.in_flight() == 0, "the request to leave the region")
    region.close()
    blk.close()


def test_a_request_parked_before_completed_ones_is_kept_over_a_stop(serve, image):
    """Without a record it is failed at the stop; with one it goes on at the next start."""
    blk = negotiated(serve.path, iommu=True)
    region = begin(blk)
    request = parked(blk, blk.make(b.IN, 9, length=512))
    for n in range(3):
        blk.still_works(n)
    base = blk.stop_ring()
    blk.collect()
    must(request.used is None, "it was failed at the stop, although there is a record")
    must(base == blk.ring.base and region.in_flight() == 1, f"base {base}, {region.in_flight()} in flight")
    for miss in blk.domain.misses:
        miss.answered = True
    blk.domain.policy = blk.domain.answer
    blk.domain.answer_kept()
    region.hand_over(blk)
    blk.set_up_ring(base)
    must(blk.wait(request) == b.OK and blk.data(request) == image.bytes[9 * 512:10 * 512], "it does not go on")
    blk.still_works()
    region.close()
    blk.close()


@pytest.mark.parametrize("how", ["status", "reset-device", "new-connection"])
def test_a_ring_that_begins_anew_has_nothing_in_flight(serve, image, how):
    extra = vu.INFLIGHT | vu.RESET_DEVICE
    blk = b.Blk(serve.path, extra_protocol=extra, iommu=True)
    blk.negotiate().accept().share_memory()
    region = begin(blk)
    blk.still_works()
    parked(blk, blk.make(b.IN, 9, length=512))
    blk.still_works()
    if how == "status":
        blk.front_end.tell(R.SET_STATUS, vu.u64(0))
    elif how == "reset-device":
        blk.front_end.tell(R.RESET_DEVICE)
    else:
        blk.close()
        blk = negotiated(serve.path, iommu=True)
        region = Region(blk)
        region.hand_over(blk)
    for miss in blk.domain.misses:
        miss.answered = True
    blk.domain.policy = blk.domain.answer
    blk.domain.kept.clear()
    blk.ring = None
    blk.requests.clear()
    blk.set_up_ring()
    for n in range(4):
        must(blk.read(n, 512) == image.bytes[n * 512:n * 512 + 512], "wrong bytes")
    must("PLT-12" not in serve.log(), "what was in flight before is held against the new ring")
    blk.close()


def bad_sizes():
    return {"no-queues": (4096, 0, 0, SIZE), "no-size": (4096, 0, 1, 0), "too-many-queues": (1 << 20, 0, 9, SIZE),
            "too-large-queues": (1 << 20, 0, 1, 32768), "too-small": (64, 0, 1, SIZE), "empty": (0, 0, 1, SIZE),
            "beyond-the-file": (1 << 20, 0, 1, SIZE), "offset-beyond-the-file": (4096, 1 << 40, 1, SIZE),
            "offset-wraps": (4096, 2**64 - 4096, 1, SIZE), "size-wraps": (2**64 - 1, 8, 1, SIZE), "odd-offset": (4096, 4, 1, SIZE)}


@pytest.mark.parametrize("which", bad_sizes())
def test_a_region_that_cannot_be_is_refused(serve, image, which):
    blk = negotiated(serve.path)
    fd = os.memfd_create("region")
    os.ftruncate(fd, 8192)
    refused(serve, blk, R.SET_INFLIGHT_FD, vu.inflight(*bad_sizes()[which]), [fd], log="PLT-(9|10)")
    os.close(fd)
    blk.close()
    serves_on(serve, image)


@pytest.mark.parametrize("queues, size", [(0, 64), (1, 0), (9, 64), (1, 32768), (65535, 65535)])
def test_a_region_that_nobody_needs_is_not_made(serve, image, queues, size):
    blk = negotiated(serve.path)
    refused(serve, blk, R.GET_INFLIGHT_FD, vu.inflight(0, 0, queues, size), log="PLT-9")
    blk.close()
    serves_on(serve, image)


@forbidden("PLT-9")
def test_a_region_is_not_exchanged_while_a_ring_runs(lab):
    serve = lab.serve()
    blk = negotiated(serve.path, patience=serve.patience)
    region = begin(blk)
    blk.still_works()
    refused(serve, blk, R.SET_INFLIGHT_FD, vu.inflight(region.bytes, 0, 1, SIZE), [region.fd])
    region.close()
    blk.close()


def test_it_has_to_be_negotiated(serve):
    for request, fds in ((R.GET_INFLIGHT_FD, []), (R.SET_INFLIGHT_FD, [0])):
        with b.driving(serve.path) as blk:
            fd = [os.memfd_create("region")] if fds else []
            refused(serve, blk, request, vu.inflight(4096, 0, 1, SIZE), fd)
            for one in fd:
                os.close(one)


def spoilt(packed):
    """name → (offset, format, value) of one word that contradicts the others."""
    head = {"version": (8, "<H", 2), "features": (0, "<Q", 1), "number": (10, "<H", SIZE - 1)}
    if packed:
        return {**head, "free-list": (12, "<I", (SIZE + 1) * 0x10001), "position": (16, "<I", SIZE * 0x10001),
                "wrap": (20, "<H", 0x0202), "loop": (32 + 2, "<H", 0), "mark": (12, "<I", 5 * 0x10001)}     # entries that are nobody's
    return {**head, "list": (12, "<I", 0xffff0000 | SIZE), "used-index": (14, "<H", 30000), "mark": (16 + 16 * 63, "<B", 7),
            "counter": (16, "<B7xQ", 1, 2**64 - 1)}


SPOILT = [(layout, which) for layout in ("split", "packed") for which in spoilt(layout == "packed")]


@forbidden("PLT-12", also=("version", "features", "number", "mark"))
def test_a_record_that_contradicts_itself_stops_its_ring(lab, which):
    contradicts(lab.serve(), lab.image, which)


@pytest.mark.parametrize("layout, which", SPOILT, indirect=["layout"])
def test_every_contradiction_is_refused(serve, image, which):
    contradicts(serve, image, which)


def contradicts(serve, image, which):
    blk = negotiated(serve.path, patience=serve.patience)
    region = begin(blk)
    blk.still_works()
    base = blk.stop_ring()
    region.put(*spoilt(blk.packed)[which])
    region.hand_over(blk)
    since = len(serve.log())
    before = blk.memory.snapshot()
    blk.set_up_ring(base)
    serve.expect_log("ring 0 broken: PLT-12", since=since, pump=blk.front_end)
    blk.memory.must_change_only(before, [blk.ring.device_writes])
    must(blk.front_end.ask(R.GET_STATUS).u64 & 0x40, "the status does not say that it needs a reset")
    region.close()
    fresh = Region(blk)
    blk.stop_ring()
    fresh.hand_over(blk)
    blk.ring = None
    blk.requests.clear()
    blk.set_up_ring()
    blk.still_works()
    fresh.close()
    blk.close()
    serves_on(serve, image)


@pytest.mark.parametrize("seed", range(4))
def test_whatever_a_region_says_nothing_but_its_own_ring_suffers(serve, image, seed):
    """Random bytes at random places, before a start and while the ring runs."""
    generator = random.Random(seed)
    for _ in range(6):
        blk = negotiated(serve.path, iommu=bool(seed % 2))
        region = begin(blk)
        try:
            for n in range(3):
                blk.still_works(n)
            base = blk.stop_ring()
            for _ in range(generator.randrange(1, 6)):
                at = generator.choice((generator.randrange(32), generator.randrange(region.bytes)))
                region.map[at] = generator.choice((0, 1, 2, 63, 64, 255, generator.randrange(256)))
            region.hand_over(blk)
            blk.set_up_ring(base)
            blk.kick()
            region.map[generator.randrange(region.bytes)] ^= 0xff
            blk.front_end.stay(0.02)
            blk.offer(blk.make(b.IN, 1, length=512))
            blk.front_end.stay(0.02)
        except vu.Violation:
            pass            # such a ring may use anything, or nothing
        serve.must_live()
        region.close()
        blk.close()
    image.must_be(image.bytes)
    serves_on(serve, image)


def test_a_region_that_is_truncated_ends_its_connection_and_no_other(serve, image):
    blk = negotiated(serve.path)
    fd = os.memfd_create("region")
    os.ftruncate(fd, 8192)
    blk.front_end.tell(R.SET_INFLIGHT_FD, vu.inflight(8192, 0, 1, SIZE), [fd])
    os.ftruncate(fd, 0)
    try:
        blk.set_up_ring()
        blk.kick()
    except vu.Violation:
        pass
    blk.front_end.wait_closed()
    serve.expect_log("PLT-10")
    os.close(fd)
    blk.close()
    serves_on(serve, image)
