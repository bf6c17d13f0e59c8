# SPDX-License-Identifier: BSD-3-Clause
"""Sizes at their limits, and words that change while they are read."""
import os
import random
import signal
import time

import pytest

import blk as b
import vhost_user as vu
from driver import INDIRECT, PAGE, RO, WO, WRITE
from hostile import ready, serves_on
from test_misses import parked
from vhost_user import Request as R, must

pytestmark = pytest.mark.usefixtures("layout")
both = pytest.mark.parametrize("iommu", [False, True], ids=["bit33-clear", "bit33-set"])


# -- requests -------------------------------------------------------------------------------------------

@pytest.mark.parametrize("io", ["uring", "threads", "uring-copy"])
@both
def test_a_request_of_many_odd_pieces_is_served(start, image, io, iommu):
    """A header of single bytes; data of seg_max segments, none of them a sector."""
    io, _, copy = io.partition("-")
    serve = start(image, f"--io={io}", *(["--copy"] if copy else []))
    with b.driving(serve.path, iommu=iommu, size=1024) as blk:
        count = min(int.from_bytes(blk.config(12, 4), "little"), 500)
        lengths = [3] * (count - 1)
        lengths.append(-sum(lengths) % 512)
        place = blk.memory.alloc(4 * PAGE)
        parts = [(place + 5 * i, length) for i, length in enumerate(lengths)]
        request = blk.make(b.IN, 3, data_at=parts)
        address = {p: blk.domain.map(p, n, permission) for p, n, permission in
                   ((request.header, 16, RO), (place, 4 * PAGE, WO), (request.status, 1, WO))}
        request.chain = [(address[request.header] + i, 1, 0) for i in range(16)]
        request.chain += [(address[place] + phys - place, length, WRITE) for phys, length in parts]
        request.chain += [(address[request.status], 1, WRITE)]
        must(blk.run(request, indirect=True) == b.OK, "the read failed")
        must(blk.data(request) == image.bytes[1536:1536 + sum(lengths)], "wrong bytes")


@both
def test_a_request_of_more_segments_than_are_told_is_an_error_and_nothing_worse(serve, image, iommu):
    """No status byte of it is translated yet where bit 33 is set."""
    with b.driving(serve.path, iommu=iommu, size=1024) as blk:
        place = blk.memory.alloc(1024)
        request = blk.make(b.IN, 3, data_at=[(place + 2 * i, 1) for i in range(512)])
        data = blk.domain.map(place, 1024, WO)
        request.chain = [(blk.domain.map(request.header, 16, RO), 16, 0)]
        request.chain += [(data + 2 * i, 1, WRITE) for i in range(512)]
        request.chain += [(blk.domain.map(request.status, 1, WO), 1, WRITE)]
        status = blk.run(request, indirect=True)
        must(status in (b.OK, b.IOERR), f"status {status}")
        must(status == b.IOERR or blk.data(request) == image.bytes[1536:2048], "wrong bytes")
        blk.still_works()


@both
def test_a_request_of_as_many_segments_as_are_told_is_served(serve, image, iommu):
    memory = b.Memory(((0x1_0000_0000, 32 << 20, 0x7f40_0000_0000, 0),))
    with b.driving(serve.path, iommu=iommu, size=1024, memory=memory) as blk:
        seg_max = int.from_bytes(blk.config(12, 4), "little")
        must(seg_max >= 126, f"seg_max {seg_max}")
        count = min(seg_max, 1022)
        parts = [(memory.alloc(512, 7 * i % 3500), 512) for i in range(count)]
        for kind in (b.IN, b.OUT):
            request = blk.make(kind, 0, image.bytes[:512 * count] if kind == b.OUT else None, data_at=parts)
            must(blk.run(request, indirect=True) == b.OK, f"kind {kind} of {count} segments failed")
            must(blk.data(request) == image.bytes[:512 * count], "wrong bytes")
    image.must_be(image.bytes)
    memory.close()


@pytest.mark.parametrize("kind", [b.IN, b.OUT], ids=["in", "out"])
def test_a_buffer_of_4_gib_asks_for_no_million_pages(serve, image, kind):
    """One descriptor can name a million pages that are not mapped: what is asked is bounded, others go on."""
    with b.driving(serve.path, iommu=True) as blk:
        blk.still_works()
        request = blk.map(blk.make(kind, 0, length=512))
        hole = blk.domain.reserve(1 << 32)
        request.chain[1] = (hole, 0xfffff000, request.chain[1][2])
        before = len(blk.domain.misses)
        blk.offer(request)
        for n in range(3):
            blk.still_works(n)
        status = blk.wait(request, 10 * vu.SCALE)
        must(status == b.IOERR, f"status {status}")
        must(len(blk.domain.misses) - before <= 4096, f"{len(blk.domain.misses) - before} questions for one request")
        blk.still_works()
    image.must_be(image.bytes)


def test_a_buffer_far_larger_than_the_disk_is_an_error_where_it_is_mapped(serve, image):
    memory = b.Memory(((0x1_0000_0000, 64 << 20, 0x7f40_0000_0000, 0),), noise=False)
    with b.driving(serve.path, memory=memory) as blk:
        request = blk.make(b.IN, 0, data_at=[(memory.alloc(48 << 20), 48 << 20)])
        must(blk.run(request) == b.IOERR, "48 MiB were read from a disk of 4")
        request = blk.make(b.IN, 0, data_at=[(memory.alloc(4 << 20), 4 << 20)])
        must(blk.run(request) == b.OK and blk.data(request) == image.bytes, "the whole disk in one request")
    memory.close()


def test_a_full_ring_of_requests_is_served(serve, image):
    with b.driving(serve.path, iommu=True, size=256) as blk:
        requests = [blk.make(b.IN, n, length=512) for n in range(256)]
        for request in requests:
            blk.offer(request, indirect=True, kick=False)
        blk.kick()
        for request in requests:
            must(blk.wait(request) == b.OK, "a read failed")
            must(blk.data(request) == image.bytes[request.sector * 512:request.sector * 512 + 512], "wrong bytes")


# -- grants -----------------------------------------------------------------------------------------------

def test_unasked_grants_without_end_are_bounded_by_the_capacity(serve, image):
    """200,000 grants of single pages; then everything is revoked at once."""
    with b.driving(serve.path, iommu=True) as blk:
        blk.still_works()
        channel = blk.front_end.main
        region = blk.memory.regions[0]
        blk.front_end.wait_until(lambda: not blk.front_end.pending, "all acks")
        began = time.monotonic()
        for _ in range(200):
            burst = b"".join(vu.HEADER.pack(R.IOTLB_MSG, vu.VERSION, vu.IOTLB.size)
                             + vu.iotlb(vu.UPDATE, 0x1000_0000_0000 + 2 * PAGE * (_ * 1000 + i), PAGE,
                                        region.uaddr + i % 2000 * PAGE, vu.RW) for i in range(1000))
            channel.send_raw(burst)
        must(blk.front_end.ask(R.GET_FEATURES, timeout=30 * vu.SCALE).u64 == blk.offered, "no answer after them")
        must(time.monotonic() - began < 20 * vu.SCALE, "each grant takes longer and longer")
        iotlb = serve.device_stats()["iotlb"]
        must(iotlb["entries"] <= iotlb["capacity"] and iotlb["updates"] >= 200000, f"{iotlb}")
        blk.domain.invalidate(0, 0)
        must(serve.device_stats()["iotlb"]["entries"] == 0, "entries are left after everything was revoked")
        blk.still_works()


def test_invalidations_without_end_do_not_stop_requests(serve, image):
    with b.driving(serve.path, iommu=True) as blk:
        for n in range(300):
            request = blk.offer(blk.map(blk.make(b.IN, n, data_at=[(blk.memory.regions[0].phys + (1 << 20), 512)])))
            blk.domain.invalidate(*random.Random(n).choice(((0, 0), (blk.ring.desc_address & -PAGE, PAGE),
                                                            (blk.ring.used_address & -PAGE, PAGE),
                                                            (request.chain[1][0] & -PAGE, PAGE))))
            must(blk.wait(request) == b.OK and blk.data(request) == image.bytes[n * 512:n * 512 + 512], "a read failed")


def test_a_channel_replaced_while_questions_are_open_is_asked_again(serve, image):
    with b.driving(serve.path, iommu=True) as blk:
        request = parked(blk, blk.make(b.IN, 9, length=512))
        iommu, fe = blk.domain, blk.front_end
        old = fe.back
        for miss in iommu.misses:
            miss.answered = True
        iommu.unreplied.clear()
        iommu.policy = iommu.answer
        fe.make_backend_channel()
        must(blk.wait(request) == b.OK and blk.data(request) == image.bytes[9 * 512:10 * 512], "it was not asked again")
        old.close()


# -- notifications ------------------------------------------------------------------------------------------

def test_a_ring_without_kick_descriptor_is_polled(serve, image):
    """The document: the flag says that polling is to be used. A back end that does not poll refuses it by name."""
    with b.driving(serve.path, start=False) as blk:
        blk.negotiate().accept().share_memory()
        since = len(serve.log())
        blk.set_up_ring(enable=False)
        try:
            blk.front_end.tell(R.SET_VRING_KICK, vu.u64(vu.NO_FD))
        except vu.Violation:
            serve.expect_log("SET_VRING_KICK", since=since)
            return
        blk.front_end.tell(R.SET_VRING_ENABLE, vu.vring_state(0, 1))
        for n in range(3):
            request = blk.offer(blk.make(b.IN, n, length=512), kick=False)
            must(blk.wait(request) == b.OK, "a polled read failed")


def test_a_ring_without_call_descriptor_is_served_silently(serve, image):
    with b.driving(serve.path) as blk:
        blk.still_works()
        blk.front_end.tell(R.SET_VRING_CALL, vu.u64(vu.NO_FD))
        blk.front_end.stay(0.02)
        calls = blk.front_end.events[blk.call_fd]
        for n in range(3):
            blk.still_works(n)
        must(blk.front_end.events[blk.call_fd] == calls, "called on a descriptor that was taken back")


def test_get_vring_base_of_a_ring_that_never_ran_answers_what_was_set(serve, image):
    with b.driving(serve.path, start=False) as blk:
        blk.negotiate().accept().share_memory()
        blk.front_end.tell(R.SET_VRING_BASE, vu.vring_state(0, 77))
        must(blk.stop_ring() == 77, "another base")
        must(blk.stop_ring() == 77, "another base the second time")
        blk.ring = None
        blk.set_up_ring()
        must(blk.read(0, 512) == image.bytes[:512], "wrong bytes")


def test_reset_owner_is_harmless(serve, image):
    blk = ready(serve, ring=True)
    try:
        blk.front_end.tell(R.RESET_OWNER)
        blk.front_end.stay(0.02)
    except vu.Violation:
        pass
    blk.close()
    serves_on(serve, image)


@both
def test_taking_all_memory_from_a_running_ring_is_survived(serve, image, iommu):
    blk = ready(serve, ring=True, iommu=iommu)
    blk.still_works()
    try:
        blk.front_end.tell(R.SET_MEM_TABLE, vu.mem_table([]), [])
        blk.offer(blk.make(b.IN, 0, length=512))
        blk.front_end.stay(vu.QUIET / 2)
    except vu.Violation:
        pass
    serve.must_live()
    blk.close()
    serves_on(serve, image)


@pytest.mark.parametrize("layout, part", [("split", "desc"), ("split", "avail"), ("split", "used"), ("packed", "desc")],
                         indirect=["layout"])   # the other parts of a packed ring are aligned words
def test_a_ring_that_wraps_2_to_64_is_refused_where_bit_33_is_set(serve, image, part):
    blk = b.Blk(serve.path, iommu=True)
    blk.negotiate().accept().share_memory()
    blk.make_ring()
    setattr(blk.ring, part + "_address", 2**64 - 64)
    try:
        blk.set_up_ring()
        blk.kick()
        blk.front_end.stay(vu.QUIET)
    except vu.Violation:
        pass
    serve.expect_log("DRV-15|PLT-9|PLT-10")
    must(blk.ring.used_index() == 0, "such a ring was served")
    blk.close()


# -- words that change while they are read ---------------------------------------------------------------------

def flipping(memory, *changes):
    """A process of its own that writes, again and again, one of two values to each place; end it with kill()."""
    child = os.fork()
    if child:
        return child
    try:
        generator = random.Random(1)
        while os.getppid() != 1:
            for _ in range(1000):
                phys, values = changes[generator.randrange(len(changes))]
                memory.write(phys, values[generator.randrange(2)])
    finally:
        os._exit(0)


@pytest.mark.parametrize("indirect", [False, True], ids=["direct", "indirect"])
@both
def test_descriptors_that_change_while_they_are_read_reach_nothing_forbidden(serve, image, indirect, iommu):
    """Address, length and flags of the data flip between a good value and a forbidden one (DEV-11); but in a packed ring the
    flags, which say what is available. There each chain takes the whole ring, so that it comes to the same place."""
    packed = b.Blk.packed_by_default
    with b.driving(serve.path, iommu=iommu, size=3 if packed and not indirect else 64) as blk:
        blk.still_works()
        secret = blk.memory.alloc(PAGE)
        request = blk.map(blk.make(b.IN, 0, length=512))
        # With bit 33 clear all memory may be named: what is forbidden is what lies outside of it.
        bad_address = secret if iommu else 0x7777_0000_0000
        table = blk.table_of(request.chain)
        address = blk.domain.map(table, 48, RO)
        rows = [(address, 48, INDIRECT)] if indirect else request.chain
        head = blk.ring.add_chain(rows)
        place = table + 16 if indirect else blk.ring.desc + 16 * (1 if packed else blk.ring.owner[head][1])
        good, length = request.chain[1][0], 512
        flags = (place + 14, (b"\2\0", b"\0\0")) if packed else (place + 12, (b"\3\0", b"\1\0"))
        child = flipping(blk.memory, (place, (good.to_bytes(8, "little"), bad_address.to_bytes(8, "little"))),
                         (place + 8, (length.to_bytes(4, "little"), (1 << 31).to_bytes(4, "little"))),
                         (request.header, (b"\0\0\0\0", b"\1\0\0\0")), *([flags] if indirect or not packed else []))
        try:
            before = blk.memory.read(secret, PAGE)
            began, served = time.monotonic(), 0
            while blk.front_end.closed is None and (time.monotonic() < began + 0.6 * vu.SCALE or served < 4
                                                    and time.monotonic() < began + 4 * vu.PATIENCE):
                blk.ring.offer(head)
                blk.kick()
                try:
                    blk.front_end.wait_until(blk.ring.take_used, "an answer", 0.05)
                    served += 1
                except vu.Violation:            # broken, as it may be: set up anew
                    if blk.front_end.closed is not None:
                        break
                    blk.set_up_ring(blk.ring.begin_again(blk.stop_ring()))
                head = blk.ring.add_chain(rows)
            must(served > 3, f"{served} requests were answered: too few to tell")
            must(blk.memory.read(secret, PAGE) == before, "memory that was never granted was written")
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        serve.must_live()
    serves_on(serve, image)
