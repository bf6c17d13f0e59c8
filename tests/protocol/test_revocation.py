# SPDX-License-Identifier: BSD-3-Clause
"""A revocation is complete before it is acknowledged: invalidations, removed memory, stopped rings, with I/O in flight.

How it works: the image lies on a disk whose answers the test holds back
(slow_disk), so a request IS in flight for as long as the test wants, with
io_uring and with threads. After the acknowledgement the memory is filled anew;
one byte of it changed later is a violation.
"""
import errno
import random
import time

import pytest

import blk as b
import vhost_user as vu
from driver import PAGE
from hostile import serves_on
from rules import forbidden
from vhost_user import Request as R, must

pytestmark = pytest.mark.usefixtures("layout")

each_io = pytest.mark.parametrize("io", ["uring", "threads"])
SOON = 6 * vu.SCALE


def held_read(blk, disk, sector=0, length=PAGE):
    """A read that has reached the disk and stays there."""
    disk.hold("read")
    before = len(disk.held)
    request = blk.offer(blk.make(b.IN, sector, length=length))
    blk.front_end.wait_until(lambda: len(disk.held) > before, "the read to reach the disk")
    return request


def untouched_after(blk, place, length, act):
    """Fills the memory anew, lets the disk answer, and looks whether any byte changed."""
    new = b.pattern(length, seed=4321)
    blk.memory.write(place, new)
    act()
    blk.front_end.stay(vu.QUIET)
    must(blk.memory.read(place, length) == new, "memory was written after its revocation was acknowledged")


@forbidden("DEV-13", also=("uring", "threads"))
def test_an_invalidation_is_not_answered_before_the_io_under_it_has_ended(lab, io):
    disk = lab.slow_disk()
    serve = lab.serve(f"--io={io}", images=disk.path)
    with lab.drive(serve, iommu=True) as blk:
        blk.still_works()
        request = held_read(blk, disk)
        iommu = blk.domain
        bus, place = blk.data_address(request), request.data[0][0]
        pending = iommu.invalidate(bus & -PAGE, 2 * PAGE, wait=False)
        iommu.unmap(bus, PAGE)
        blk.front_end.stay(never=lambda: pending.done,
                           what="the invalidation was acknowledged while its I/O was in flight")
        must(request.used is None, "the request was used though the disk has not answered")
        disk.release()
        must(blk.front_end.wait(pending).u64 == 0, "the invalidation was acknowledged with an error")
        untouched_after(blk, place, PAGE, lambda: None)
        must(blk.wait(request) == b.OK, "the request that was in flight failed")
        blk.still_works()


@each_io
def test_an_invalidation_of_other_memory_is_answered_at_once(start, slow_disk, io):
    serve = start(slow_disk.path, f"--io={io}")
    with b.driving(serve.path, iommu=True) as blk:
        other = blk.map(blk.make(b.IN, 100, length=512))
        blk.run(other)
        request = held_read(blk, slow_disk)
        began = time.monotonic()
        blk.domain.revoke(blk.data_address(other), 512)
        must(time.monotonic() - began < SOON, "it waited for an unrelated request")
        must(request.used is None, "the held request was used")
        slow_disk.release()
        must(blk.wait(request) == b.OK, "the held request failed")


def test_an_invalidation_waits_for_each_of_several_requests(start, slow_disk):
    serve = start(slow_disk.path)
    with b.driving(serve.path, iommu=True) as blk:
        requests = [held_read(blk, slow_disk, sector=8 * n) for n in range(4)]
        pending = blk.domain.invalidate(0, 0, wait=False)           # everything
        for _ in range(3):
            blk.front_end.stay(vu.QUIET / 3, never=lambda: pending.done, what="acknowledged with I/O in flight")
            slow_disk.release(1)
        blk.front_end.stay(vu.QUIET / 3, never=lambda: pending.done, what="acknowledged with I/O in flight")
        slow_disk.release()
        must(blk.front_end.wait(pending).u64 == 0, "acknowledged with an error")
        for request in requests:
            must(blk.wait(request) == b.OK, "a request failed")


def test_the_status_and_used_ring_are_asked_for_again_after_they_were_invalidated(start, slow_disk, image):
    serve = start(slow_disk.path)
    with b.driving(serve.path, iommu=True) as blk:
        request = held_read(blk, slow_disk, sector=3)
        iommu = blk.domain
        count = len(iommu.misses_at(blk.ring.used_address))
        iommu.invalidate(blk.ring.used_address & -PAGE, PAGE)
        slow_disk.release()
        must(blk.wait(request) == b.OK and blk.data(request) == image.bytes[3 * 512:3 * 512 + PAGE], "the read failed")
        must(len(iommu.misses_at(blk.ring.used_address)) > count, "the used ring was written through a dead mapping")


def test_a_write_in_flight_is_not_given_other_bytes_after_the_acknowledgement(start, slow_disk, image):
    serve = start(slow_disk.path)
    with b.driving(serve.path, iommu=True) as blk:
        slow_disk.hold("write")
        data = b.pattern(PAGE, seed=8)
        request = blk.offer(blk.make(b.OUT, 16, data))
        blk.front_end.wait_until(lambda: slow_disk.held, "the write to reach the disk")
        pending = blk.domain.invalidate(blk.data_address(request) & -PAGE, 2 * PAGE, wait=False)
        blk.front_end.stay(never=lambda: pending.done, what="acknowledged with a write in flight")
        slow_disk.release()
        must(blk.front_end.wait(pending).u64 == 0, "acknowledged with an error")
        blk.memory.write(request.data[0][0], bytes(PAGE))
        must(blk.wait(request) == b.OK, "the write failed")
        must(bytes(slow_disk.data[16 * 512:16 * 512 + PAGE]) == data, "other bytes reached the disk")


@each_io
@pytest.mark.parametrize("kind", [b.IN, b.OUT], ids=["in", "out"])
def test_in_copy_mode_an_invalidation_never_waits_for_the_disk(start, slow_disk, io, kind):
    serve = start(slow_disk.path, f"--io={io}", "--copy")
    with b.driving(serve.path, iommu=True) as blk:
        blk.still_works()
        slow_disk.hold("read", "write")
        request = blk.offer(blk.make(kind, 8, b.pattern(PAGE) if kind == b.OUT else None, length=PAGE))
        blk.front_end.wait_until(lambda: slow_disk.held, "the request to reach the disk")
        place = request.data[0][0]
        began = time.monotonic()
        blk.domain.revoke(blk.data_address(request), PAGE)
        must(time.monotonic() - began < SOON, "the invalidation waited for the disk")
        if kind == b.IN:
            untouched_after(blk, place, PAGE, slow_disk.release)
            must(blk.wait(request) == b.IOERR, "a read whose buffer is gone was not an error")
        else:
            slow_disk.release()
            must(blk.wait(request) == b.OK, "a write that was copied before failed")
        blk.still_works()


@each_io
def test_after_the_revocation_timeout_the_answer_is_an_error_and_the_device_stops(start, slow_disk, io):
    serve = start(slow_disk.path, f"--io={io}", "--revoke-timeout-ms=200")
    with b.driving(serve.path, iommu=True) as blk:
        request = held_read(blk, slow_disk)
        pending = blk.domain.invalidate(blk.data_address(request) & -PAGE, 2 * PAGE, wait=False)
        fe = blk.front_end
        fe.wait_until(lambda: pending.done or fe.closed, "an answer after the time-out", closing_is_fine=True)
        must(pending.done and pending.reply.u64 != 0, "the revocation that could not be done was not said to have failed")
        must(pending.when - pending.sent > 0.15, "answered before the time-out")
        serve.expect_log("DEV-13|revo")
        used = blk.ring.used_index()
        blk.offer(blk.make(b.IN, 1, length=512))
        blk.kick()
        fe.stay(vu.QUIET)
        must(blk.ring.used_index() == used, "the device goes on after a failed revocation")
        slow_disk.release()
        fe.stay(vu.QUIET)
        serve.must_live()
    serves_on(serve, image_of(slow_disk))


class image_of:
    """Enough of an image for serves_on."""

    def __init__(self, disk):
        self.bytes = bytes(disk.data)


@each_io
@pytest.mark.parametrize("copy", [False, True], ids=["in-place", "copy"])
def test_under_load_no_byte_is_written_after_its_revocation_was_acknowledged(start, image, io, copy):
    """Eight reads in flight at all times; mappings are revoked at any moment, and their memory is looked at later."""
    serve = start(image, f"--io={io}", *(["--copy"] if copy else []))
    generator = random.Random(3)
    with b.driving(serve.path, iommu=True, memory=b.Memory(((1 << 32, 64 << 20, 0x7f40_0000_0000, 0),), noise=False)) as blk:
        free = [blk.memory.alloc(4 * PAGE) for _ in range(40)]
        header = [blk.memory.alloc(16) for _ in range(8)]
        status = [blk.memory.alloc(1) for _ in range(8)]
        slots, dead, revoked = {}, [], 0
        for turn in range(400):
            for slot in range(8):
                if slot not in slots:
                    place = free.pop(0)
                    blk.memory.write(header[slot], b.HEADER.pack(b.IN, 0, turn))
                    request = b.BlkRequest(b.IN, turn, header[slot], [(place, 4 * PAGE)], status[slot], 4 * PAGE)
                    slots[slot] = blk.offer(blk.map(request))
            victim = generator.choice(list(slots))
            request = slots[victim]
            if generator.random() < 0.5:        # before it has completed, perhaps
                blk.domain.revoke(blk.data_address(request), 4 * PAGE)
                place = request.data[0][0]
                blk.memory.write(place, b"revoked!" * (PAGE // 2))
                dead.append(place)
                revoked += 1
                blk.wait(request)
            else:
                must(blk.wait(request) == b.OK, "a read whose mapping lives failed")
                must(blk.data(request) == image.bytes[request.sector * 512:request.sector * 512 + 4 * PAGE], "wrong bytes")
                free.append(request.data[0][0])
            del slots[victim]
            if len(dead) > 12:
                place = dead.pop(0)
                must(blk.memory.read(place, 4 * PAGE) == b"revoked!" * (PAGE // 2), "memory was written after its revocation")
                free.append(place)
        must(revoked > 100, "too few revocations to tell")
        for place in dead:
            must(blk.memory.read(place, 4 * PAGE) == b"revoked!" * (PAGE // 2), "memory was written after its revocation")


# -- regions ------------------------------------------------------------------------------------------

@forbidden("DEV-13", also=("rem-mem-reg", "set-mem-table"))
def test_memory_is_not_taken_away_before_the_io_into_it_has_ended(lab, how):
    disk = lab.slow_disk()
    serve = lab.serve(images=disk.path)
    with lab.drive(serve, iommu=False) as blk:
        disk.hold("read")
        request = blk.make(b.IN, 0, length=PAGE, regions=(1,))
        blk.offer(request)
        blk.front_end.wait_until(lambda: disk.held, "the read to reach the disk")
        first, second = blk.memory.regions
        if how == "rem-mem-reg":
            pending = blk.front_end.start(R.REM_MEM_REG, vu.mem_region(*second.row), need_reply=True)
        else:
            pending = blk.front_end.start(R.SET_MEM_TABLE, vu.mem_table([first.row]), [first.fd], need_reply=True)
        blk.front_end.stay(never=lambda: pending.done, what="memory was said to be gone while a read into it was in flight")
        disk.release()
        must(blk.front_end.wait(pending).u64 == 0, "the removal was refused")
        untouched_after(blk, request.data[0][0], PAGE, lambda: None)
        must(blk.wait(request) == b.OK, "the request in flight failed")
        gone = blk.make(b.IN, 0, length=512, regions=(1,))
        before = blk.data(gone)
        blk.offer(gone)
        must(blk.wait(gone) == b.IOERR and blk.data(gone) == before, "removed memory was still written")
        blk.still_works()


# -- stopping a ring ------------------------------------------------------------------------------------

@forbidden("DEV-14", also=("uring", "threads"))
def test_a_ring_is_not_said_to_be_stopped_before_its_io_has_ended(lab, io):
    disk = lab.slow_disk()
    serve = lab.serve(f"--io={io}", images=disk.path)
    with lab.drive(serve, iommu=True) as blk:
        request = held_read(blk, disk)
        fe = blk.front_end
        pending = fe.start(R.GET_VRING_BASE, vu.vring_state(0, 0), need_reply=False)
        fe.stay(never=lambda: pending.done, what="GET_VRING_BASE was answered with I/O in flight")
        disk.release()
        fe.wait(pending)
        blk.collect()
        must(request.used is not None and blk.status(request) == b.OK, "the request in flight was lost")
        must(vu.VRING_STATE.unpack(pending.reply.payload) == (0, blk.ring.base), "a wrong base")
        blk.offer(blk.make(b.IN, 1, length=512), kick=False)
        before = blk.memory.snapshot()
        blk.kick()
        fe.stay(vu.QUIET)
        blk.memory.must_change_only(before, [])


@each_io
def test_a_front_end_that_goes_away_with_io_in_flight_leaves_nothing_behind(start, slow_disk, image, io):
    serve = start(slow_disk.path, f"--io={io}")
    blk = b.Blk(serve.path, iommu=True)
    blk.start()
    requests = [held_read(blk, slow_disk, 8 * n) for n in range(3)]
    blk.close()
    time.sleep(vu.QUIET)
    serve.must_live()
    slow_disk.release()
    del requests
    serves_on(serve, image)


def test_sigterm_with_io_in_flight_ends_the_process(start, slow_disk):
    serve = start(slow_disk.path)
    with b.driving(serve.path) as blk:
        held_read(blk, slow_disk)
        serve.process.terminate()
        time.sleep(vu.QUIET)
        slow_disk.release()
        must(serve.process.wait(vu.PATIENCE) == 0, f"exit {serve.process.returncode}")
    serve.finished = True


# -- the disk fails -------------------------------------------------------------------------------------

@each_io
def test_an_error_of_the_disk_fails_the_request_and_only_that(start, slow_disk, image, io):
    serve = start(slow_disk.path, f"--io={io}")
    with b.driving(serve.path, iommu=True) as blk:
        for kind, what in ((b.IN, "read"), (b.OUT, "write"), (b.FLUSH, "fsync")):
            slow_disk.fail = {what: errno.EIO}
            request = blk.make(kind, 0, bytes(512) if kind == b.OUT else None, length=0 if kind == b.FLUSH else 512)
            must(blk.run(request) == b.IOERR, f"a failed {what} was not an error to the driver")
            slow_disk.fail = {}
            blk.still_works()
        blk.flush()


@each_io
def test_a_flush_is_answered_when_the_disk_says_so(start, slow_disk, io):
    serve = start(slow_disk.path, f"--io={io}")
    with b.driving(serve.path, iommu=True) as blk:
        blk.write(0, b.pattern(512))
        slow_disk.hold("fsync")
        request = blk.offer(blk.make(b.FLUSH))
        blk.front_end.wait_until(lambda: slow_disk.held, "the flush to reach the disk")
        blk.front_end.stay(never=lambda: blk.collect() is None or request.used is not None,
                           what="a flush was answered before it was durable")
        slow_disk.release()
        must(blk.wait(request) == b.OK, "the flush failed")


def test_a_write_of_a_driver_without_flush_is_answered_when_it_is_durable(start, slow_disk):
    """Write-through, because such a driver has no way to ask."""
    serve = start(slow_disk.path)
    with b.driving(serve.path, drop_features=vu.F_BLK_FLUSH) as blk:
        slow_disk.seen.clear()
        blk.write(0, b.pattern(512))
        kinds = [kind for kind, _, _ in slow_disk.seen]
        must(kinds.count("write") == 1, f"the disk saw {kinds}")


def test_many_requests_are_in_flight_at_once(start, slow_disk, image):
    serve = start(slow_disk.path)
    with b.driving(serve.path, iommu=True) as blk:
        slow_disk.hold("read")
        requests = [blk.offer(blk.make(b.IN, 8 * n, length=512)) for n in range(12)]
        blk.front_end.wait_until(lambda: len(slow_disk.held) >= 4, "at least four reads at the disk at once")
        slow_disk.release()
        for n, request in enumerate(requests):
            must(blk.wait(request) == b.OK and blk.data(request) == image.bytes[8 * n * 512:8 * n * 512 + 512],
                 "a read failed")
