# SPDX-License-Identifier: BSD-3-Clause
"""Rings stop and start, front ends come and go, memory comes, goes and shrinks: nothing is lost, repeated or leaked."""
import fcntl
import os
import random
import resource
import socket
import struct
import threading

import pytest

import blk as b
import vhost_user as vu
from images import Image
from driver import PAGE, RO, WO, WRITE, Region
from hostile import ready, refused, serves_on, spare_fds
from test_misses import parked
from vhost_user import Request as R, must

pytestmark = pytest.mark.usefixtures("layout")

both = pytest.mark.parametrize("iommu", [False, True], ids=["bit33-clear", "bit33-set"])


@both
def test_a_stopped_ring_is_not_touched_and_goes_on_where_it_stopped(serve, image, iommu):
    with b.driving(serve.path, iommu=iommu) as blk:
        for turn in range(5):
            must(blk.read(turn, 512) == image.bytes[turn * 512:turn * 512 + 512], "wrong bytes")
            base = blk.stop_ring()
            must(base == blk.ring.base, f"base {base}, though {blk.ring.base} was due")
            request = blk.offer(blk.make(b.IN, 9, length=512), kick=False)
            before = blk.memory.snapshot()
            blk.kick()
            blk.front_end.stay(vu.QUIET / 2)
            blk.memory.must_change_only(before, [])
            blk.set_up_ring(base)
            blk.kick()
            must(blk.wait(request) == b.OK, "the request offered to the stopped ring failed after its start")


@both
def test_a_status_of_0_before_the_ring_is_asked_does_not_forget_how_far_it_got(serve, image, iommu):
    """QEMU pauses a VM that way."""
    with b.driving(serve.path, iommu=iommu) as blk:
        for turn in range(5):
            must(blk.read(turn, 512) == image.bytes[turn * 512:turn * 512 + 512], "wrong bytes")
            blk.front_end.tell(R.SET_STATUS, vu.u64(0))
            base = blk.stop_ring()
            must(base == blk.ring.base, f"base {base}, though {blk.ring.base} was due")
            blk.set_up_ring(base)


def test_a_request_parked_last_is_given_back_and_done_once_after_the_restart(serve, image):
    with b.driving(serve.path, iommu=True) as blk:
        blk.still_works()
        request = parked(blk, blk.make(b.OUT, 20, b.pattern(512, seed=6)))
        given_back, offered = blk.ring.base_before(request.head), blk.ring.base
        base = blk.stop_ring()
        blk.collect()
        if request.used is not None:
            must(blk.status(request) == b.IOERR and base == offered, f"failed at the stop, but base {base}")
            return
        must(base == given_back, f"not failed, and base {base} of {offered}: the request is lost")
        image.must_be(image.bytes)
        before = blk.memory.snapshot()
        blk.domain.policy = blk.domain.answer
        blk.domain.answer_kept()
        blk.front_end.stay(vu.QUIET)
        blk.memory.must_change_only(before, [])
        image.must_be(image.bytes)
        blk.set_up_ring(base)
        blk.kick()
        must(blk.wait(request) == b.OK, "the request given back fails after the restart")
        must(image.read(20 * 512, 512) == b.pattern(512, seed=6), "the write did not happen")
        must(serve.device_stats()["requests"]["out"] == 1, "the write was done more than once")


def test_a_request_parked_before_completed_ones_is_failed_or_resumed_never_lost(serve, image):
    """The base cannot say "all but this one", so it is failed to the driver at the stop, or goes on after the start."""
    with b.driving(serve.path, iommu=True) as blk:
        request = parked(blk, blk.make(b.IN, 9, length=512))
        for n in range(3):
            blk.still_works(n)
        base = blk.stop_ring()
        must(base == blk.ring.base, f"base {base} would repeat requests that were done")
        blk.collect()
        if request.used is not None:
            must(blk.status(request) == b.IOERR, "used at the stop, but not as failed")
        blk.domain.policy = blk.domain.answer
        blk.domain.answer_kept()
        blk.set_up_ring(base)
        blk.kick()
        if request.used is None:
            must(blk.wait(request) == b.OK, "held over the stop, then failed")
            must(blk.data(request) == image.bytes[9 * 512:10 * 512], "wrong bytes")
        must(not blk.requests, "a request was lost")
        blk.still_works()


def test_several_parked_requests_survive_many_stops(serve, image):
    with b.driving(serve.path, iommu=True) as blk:
        iommu = blk.domain
        requests = [blk.map(blk.make(b.IN, n, length=512)) for n in range(6)]
        pages = {blk.data_address(r) & -PAGE for r in requests}
        iommu.policy = lambda m: iommu.keep(m) if m.iova & -PAGE in pages else iommu.answer(m)
        for request in requests:
            blk.offer(request)
        for _ in range(5):
            blk.front_end.stay(vu.QUIET / 3)
            base = blk.stop_ring()
            blk.collect()
            must(blk.ring.given_back(base) == len(blk.requests), "base and unanswered requests disagree")
            for miss in iommu.misses:
                miss.answered = True        # a stop ends the questions, too
            blk.set_up_ring(base)
            blk.kick()
        iommu.policy = iommu.answer
        iommu.answer_kept()
        for page in pages:
            if page in iommu.page:
                iommu.grant(page, 1)
        for request in requests:
            must(request.used is not None or blk.wait(request) == b.OK, "a request failed")


def test_a_front_end_that_never_answers_can_still_stop_reset_and_leave(serve, image):
    with b.driving(serve.path, iommu=True) as blk:
        blk.domain.policy = blk.domain.keep
        for n in range(4):
            blk.offer(blk.make(b.IN, n, length=512))
        blk.kick()
        blk.front_end.stay(vu.QUIET / 2)
        blk.stop_ring()
        if blk.protocol & vu.STATUS:
            blk.front_end.tell(R.SET_STATUS, vu.u64(0))
    serves_on(serve, image)


@both
def test_front_ends_may_come_and_go(serve, image, iommu):
    for n in range(15):
        with b.driving(serve.path, iommu=iommu) as blk:
            must(blk.read(n, 512) == image.bytes[n * 512:n * 512 + 512], "wrong bytes")


def test_a_front_end_may_leave_after_any_step(serve, image):
    steps = ["negotiate", "accept", "share_memory", "set_up_ring"]
    for leave_after in range(len(steps) + 1):
        blk = b.Blk(serve.path, iommu=True)
        for step in steps[:leave_after]:
            getattr(blk, step)()
        if leave_after == len(steps):
            blk.domain.policy = blk.domain.keep
            blk.offer(blk.make(b.IN, 0, length=512))
            blk.front_end.stay(0.02)
        blk.close()
    serves_on(serve, image)


def test_a_second_front_end_on_the_same_device_waits_or_is_turned_away(serve, image):
    with b.driving(serve.path, iommu=True) as blk:
        second = b.connect(serve.path)
        for n in range(3):
            must(blk.read(n, 512) == image.bytes[n * 512:n * 512 + 512], "the first front end is disturbed")
        second.close()
    serves_on(serve, image)


def test_one_device_works_while_another_is_attacked(start, image, tmp):
    """All the while a hostile front end bangs on device 0, device 1 reads and writes."""
    second = Image(os.path.join(tmp, "second.img"), seed=11)
    serve = start([image.path, second.path])
    stop = threading.Event()
    attacks = [0]

    def attack():
        generator = random.Random(1)
        while not stop.is_set():
            attacks[0] += 1
            try:
                sock = b.connect(serve.sockets[0])
                channel = vu.Channel(sock)
                if attacks[0] % 2:
                    channel.send_raw(generator.randbytes(200))
                else:
                    channel.send(R.SET_VRING_ADDR, generator.randbytes(40))
                    channel.send(R.SET_FEATURES, vu.u64(2**64 - 1))
                channel.closed_within(0.2)
                channel.close()
            except (OSError, vu.Violation):
                pass
    attacker = threading.Thread(target=attack)
    attacker.start()
    try:
        expected = bytearray(second.bytes)
        with b.driving(serve.sockets[1], iommu=True) as blk:
            for n in range(40):
                data = b.pattern(512, seed=n)
                blk.write(n, data)
                expected[n * 512:n * 512 + 512] = data
                must(blk.read(n, 512) == data, "wrong bytes")
            blk.flush()
    finally:
        stop.set()
        attacker.join()
    must(attacks[0] > 5, f"only {attacks[0]} attacks")
    second.must_be(expected)
    image.must_be(image.bytes)
    stats = serve.stats()["devices"]
    must(len(stats) == 2 and [d["name"] for d in stats] == ["blk0", "blk1"], f"{[d['name'] for d in stats]}")
    must(stats[1]["faults"]["total"] == 0 and stats[1]["requests"]["out"] == 40, f"the other device counts {stats[1]}")


# -- memory -----------------------------------------------------------------------------------------------

def add(blk, region):
    blk.front_end.tell(R.ADD_MEM_REG, vu.mem_region(*region.row), [region.fd])


def remove(blk, region):
    blk.front_end.tell(R.REM_MEM_REG, vu.mem_region(*region.row))


@both
def test_memory_is_added_and_removed_while_the_ring_runs(serve, image, iommu):
    with b.driving(serve.path, iommu=iommu) as blk:
        extra = Region(0x20_0000_0000, 1 << 20, 0x7e00_0000_0000)
        blk.memory.regions.append(extra)
        for n in range(4):
            add(blk, extra)
            place = extra.phys + n * 8 * PAGE
            request = blk.make(b.IN, n, data_at=[(place, 2 * PAGE)])
            must(blk.run(request) == b.OK and blk.data(request) == image.bytes[n * 512:n * 512 + 2 * PAGE],
                 "a buffer in new memory failed")
            remove(blk, extra)
            blk.memory.write(place, bytes(2 * PAGE))
            again = blk.make(b.IN, n, data_at=[(place, 2 * PAGE)])
            again.chain = [(blk.domain.map(again.header, 16, RO), 16, 0), (request.chain[1][0], 2 * PAGE, WRITE),
                           (blk.domain.map(again.status, 1, WO), 1, WRITE)]
            if iommu:
                blk.domain.unmap(request.chain[1][0] & -PAGE, 3 * PAGE)
            must(blk.run(again) == b.IOERR, "a buffer in removed memory is not an error")
            must(not any(blk.data(again)), "removed memory was written")
            blk.still_works()
        blk.memory.regions.pop().close()


def test_509_regions_can_be_shared(serve, image):
    with b.driving(serve.path, start=False) as blk:
        blk.negotiate().accept()
        regions = [Region(0x100_0000_0000 + n * (1 << 20), 2 * PAGE, 0x7d00_0000_0000 + n * (1 << 20), noise=False)
                   for n in range(509 - len(blk.memory.regions))]
        for region in blk.memory.regions + regions:
            add(blk, region)
        blk.set_up_ring()
        for region in (regions[0], regions[250], regions[-1]):
            blk.memory.regions.append(region)
            request = blk.make(b.IN, 3, data_at=[(region.phys, 512)])
            must(blk.run(request) == b.OK and blk.data(request) == image.bytes[1536:2048], "a read failed")
            blk.memory.regions.pop()
        for region in regions[:100]:
            remove(blk, region)
        must(serve.device_stats()["region_bytes"] == (12 << 20) + (len(regions) - 100) * 2 * PAGE, "region_bytes")
        must(len(serve.fd_links()) < 200, f"{len(serve.fd_links())} descriptors: each region keeps one open")
        for region in regions:
            region.close()


@both
def test_the_memory_table_is_replaced_while_the_ring_runs(serve, image, iommu):
    with b.driving(serve.path, iommu=iommu) as blk:
        for n in range(8):
            must(blk.read(n, 512) == image.bytes[n * 512:n * 512 + 512], "wrong bytes")
            blk.share_memory()
            blk.share_memory(blk.memory.regions[::-1])


def test_a_region_may_not_be_removed_twice_nor_one_that_was_never_added(serve, image):
    for row in ((0x77_0000_0000, 4096, 0x77_1000_0000, 0),):
        blk = ready(serve)
        refused(serve, blk, R.REM_MEM_REG, vu.mem_region(*row), log="PLT-(9|10)")
        blk.close()
    blk = ready(serve)
    region = blk.memory.regions[1]
    remove(blk, region)
    refused(serve, blk, R.REM_MEM_REG, vu.mem_region(*region.row), log="PLT-(9|10)")
    blk.close()
    serves_on(serve, image)


def bad_regions():
    good = (0x30_0000_0000, 1 << 20, 0x7c00_0000_0000, 0)
    p, s, u, o = good
    return {"empty": (p, 0, u, o), "physical-wraps": (2**64 - 4096, 8192, u, o), "user-wraps": (p, 8192, 2**64 - 4096, o),
            "size-huge": (p, 2**63, u, o), "offset-huge": (p, s, u, 2**63), "offset+size-wraps": (p, s, u, 2**64 - 4096),
            "beyond-the-file": (p, 2 << 20, u, o), "offset-beyond-the-file": (p, s, u, 1 << 20),
            "overlaps-physical": (0x1_0000_1000, 4096, u, o), "overlaps-user": (p, 4096, 0x7f40_0000_1000, o),
            "same-again": (0x1_0000_0000, 8 << 20, 0x7f40_0000_0000, 0)}


@pytest.mark.parametrize("how", ["add-mem-reg", "set-mem-table"])
@pytest.mark.parametrize("which", bad_regions())
def test_a_region_that_cannot_be_is_refused(serve, image, which, how):
    blk = ready(serve)
    fd = os.memfd_create("bad-region")
    os.ftruncate(fd, 8 << 20 if which == "same-again" else 1 << 20)
    row = bad_regions()[which]
    if how == "add-mem-reg":
        refused(serve, blk, R.ADD_MEM_REG, vu.mem_region(*row), [fd], log="PLT-(9|10)")
    else:
        first = blk.memory.regions[0]
        refused(serve, blk, R.SET_MEM_TABLE, vu.mem_table([first.row, row]), [first.fd, fd], log="PLT-(9|10)")
    os.close(fd)
    blk.close()
    serves_on(serve, image)


@pytest.mark.parametrize("count, fds", [(2, 1), (1, 2), (9, 8), (8, 0), (0xffffffff, 8), (0x10000001, 1)])
def test_a_memory_table_whose_count_its_size_and_its_descriptors_disagree_is_refused(serve, image, count, fds):
    blk = ready(serve)
    region = blk.memory.regions[0]
    body = struct.pack("<II", count, 0) + vu.REGION.pack(*region.row) * min(count, 9)
    refused(serve, blk, R.SET_MEM_TABLE, body, [region.fd] * fds, log="PLT-(9|10)")
    blk.close()
    serves_on(serve, image)


@pytest.mark.parametrize("what", ["ring", "buffer"])
@pytest.mark.parametrize("how", ["uring", "threads", "uring-copy"])
@both
def test_memory_shrunk_under_the_device_ends_its_connection_and_no_other(start, image, tmp, what, how, iommu):
    """After the truncation this process must not touch that memory itself."""
    second = Image(os.path.join(tmp, "second.img"), seed=12)
    io, _, copy = how.partition("-")
    serve = start([image.path, second.path], f"--io={io}", *(["--copy"] if copy else []))
    with b.driving(serve.sockets[1], iommu=True) as other:
        other.still_works()
        blk = b.Blk(serve.sockets[0], iommu=iommu)
        blk.start()
        blk.still_works()
        gone = blk.memory.regions[0 if what == "ring" else 1]
        request = blk.map(blk.make(b.OUT, 1, bytes(512), regions=(0 if what == "ring" else 1,)))
        if iommu:
            blk.grant_ring()
            for address, length, _ in request.chain:
                blk.domain.grant(address, length)
        blk.offer(request, kick=False)
        os.ftruncate(gone.fd, 0)
        blk.kick()
        closed = blk.front_end.main.closed_within(vu.PATIENCE if what == "ring" else 2 * vu.QUIET)
        serve.must_live()
        if what == "ring":
            must(closed, "the connection whose ring is gone stays open")
            serve.expect_log("PLT-10")
        for n in range(3):
            must(other.read(n, 512) == second.bytes[n * 512:n * 512 + 512], "the other device is disturbed")
        blk.front_end.close()       # its memory is not unmapped by reading or writing it
        for fd in (blk.kick_fd, blk.call_fd, blk.err_fd):
            os.close(fd)
    serve.must_live()
    with b.driving(serve.sockets[0], iommu=True) as blk:
        must(blk.read(2, 512) == image.bytes[1024:1536], "the next front end reads wrong bytes")


@pytest.mark.parametrize("which", ["call", "err"])
def test_a_full_event_counter_made_blocking_does_not_hang_the_process(start, image, which):
    """The file is shared: its other holder can clear O_NONBLOCK and fill the counter at any time."""
    serve = start(image)
    with b.driving(serve.path) as blk:
        blk.still_works()
        fd = blk.call_fd if which == "call" else blk.err_fd
        del blk.front_end.events[fd]
        try:
            os.eventfd_read(fd)
        except BlockingIOError:
            pass
        os.eventfd_write(fd, 2**64 - 2)
        os.set_blocking(fd, True)
        for _ in range(3):
            blk.offer(blk.make(b.IN, 0, length=512))
            blk.front_end.stay(0.02)
        blk.ring.break_it()
        blk.kick()
        blk.front_end.stay(vu.QUIET)
        must(serve.terminate() == 0, "SIGTERM does not end it")
        serve.finished = True


def test_a_broken_ring_says_so_on_its_error_descriptor(serve, image):
    with b.driving(serve.path, iommu=True) as blk:
        blk.still_works()
        must(blk.front_end.events[blk.err_fd] == 0, "an error before any error")
        blk.ring.break_it()
        blk.kick()
        blk.front_end.wait_until(lambda: blk.front_end.events[blk.err_fd] > 0, "the error descriptor")


@pytest.mark.parametrize("kind", ["read-only", "sealed", "truncated-to-nothing", "proc-mem"])
def test_memory_that_cannot_be_mapped_is_refused(serve, image, tmp, kind):
    blk = ready(serve)
    if kind == "read-only":
        path = os.path.join(tmp, "memory")
        with open(path, "wb") as file:
            file.truncate(1 << 20)
        fd = os.open(path, os.O_RDONLY)
    elif kind == "proc-mem":
        fd = os.open("/proc/self/mem", os.O_RDWR)
    else:
        fd = os.memfd_create("odd", os.MFD_ALLOW_SEALING)
        if kind == "sealed":
            os.ftruncate(fd, 1 << 20)
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)
    refused(serve, blk, R.ADD_MEM_REG, vu.mem_region(0x30_0000_0000, 1 << 20, 0x7c00_0000_0000, 0), [fd], log="PLT-(9|10)")
    os.close(fd)
    blk.close()
    serves_on(serve, image)


def test_a_kick_counter_without_end_leaves_the_device_responsive(serve, image):
    """A semaphore eventfd with 2^63 kicks in it is readable for ever."""
    with b.driving(serve.path, iommu=True) as blk:
        endless = os.eventfd(1, os.EFD_CLOEXEC | os.EFD_NONBLOCK | os.EFD_SEMAPHORE)
        os.eventfd_write(endless, 2**63)
        blk.front_end.tell(R.SET_VRING_KICK, vu.u64(0), [endless])
        for n in range(5):
            must(blk.read(n, 512) == image.bytes[n * 512:n * 512 + 512], "wrong bytes")
        must(blk.front_end.ask(R.GET_FEATURES).u64 == blk.offered, "the front end is not heard")
        os.close(endless)


def test_a_process_at_its_descriptor_limit_goes_on(start, image):
    """Descriptors that find no room are refused with their message; the next front end is served."""
    def limits():
        resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
    serve = start(image, limits=limits)
    for _ in range(5):
        blk = b.Blk(serve.path)
        try:
            with spare_fds(1) as fds:
                blk.front_end.main.send(R.SET_MEM_TABLE, vu.mem_table([blk.memory.regions[0].row]), fds * 253)
            must(blk.front_end.main.closed_within(), "253 descriptors did not end the connection")
        except vu.PeerClosed:
            pass
        blk.close()
        crowd = []
        for _ in range(20):
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            try:
                sock.connect(serve.path)
            except BlockingIOError:
                pass
            crowd.append(sock)
        for sock in crowd:
            sock.close()
    serves_on(serve, image)
