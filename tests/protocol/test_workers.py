# SPDX-License-Identifier: BSD-3-Clause
"""Several workers: threads that share one device's queues and its one connection. Queue i is worker i % N's.

How it works: two queues with a worker each, over one connection; what one has in flight, misses or loses is looked at
from the other. The rest of this suite runs over several workers, too, where VIODMA_WORKERS says so.
"""
import os
import random
import signal
import time

import pytest

import blk as b
import vhost_user as vu
from driver import PAGE, RO, RW, WO, WRITE, Memory, Region
from hostile import refused
from rules import split_only
from test_life import add
from test_queues import queues
from test_translation import least_iotlb
from vhost_user import Request as R, must

pytestmark = pytest.mark.usefixtures("layout")
both = pytest.mark.parametrize("iommu", [False, True], ids=["bit33-clear", "bit33-set"])
each_io = pytest.mark.parametrize("io", ["uring", "threads"])
first = pytest.mark.parametrize("first", [0, 1])

# Its neighbour may be at work on its ring: what changes in memory is not the queue's own doing.
def write(queue, sector, data):
    must(queue.wait(queue.offer(queue.make(b.OUT, sector, data))) == b.OK, "a write failed")


def flush(queue):
    must(queue.wait(queue.offer(queue.make(b.FLUSH))) == b.OK, "a flush failed")


def reads(queue, image, sector=5):
    request = queue.offer(queue.make(b.IN, sector, length=512))
    must(queue.wait(request) == b.OK, "a read failed")
    must(queue.data(request) == image.bytes[sector * 512:sector * 512 + 512], "wrong bytes")


TWO = "--num-queues=2", "--workers=2"


def threads(serve):
    """The kernel's own for io_uring come and go."""
    names = []
    for tid in os.listdir(f"/proc/{serve.pid}/task"):
        with open(f"/proc/{serve.pid}/task/{tid}/comm") as comm:
            names.append(comm.read())
    return sum(not name.startswith("iou-") for name in names)


def held_reads(blk, made, disk, data_at=None):
    """One read of each queue that has reached the disk and stays there."""
    disk.hold("read")
    requests = []
    for n, queue in enumerate(made):
        request = queue.make(b.IN, 8 * n, length=PAGE, data_at=data_at and [data_at[n]])
        requests.append(queue.offer(request))
        blk.front_end.wait_until(lambda: len(disk.held) == n + 1, "the read to reach the disk")
    return requests


def release(disk, n):
    """The n-th of those that are held."""
    with disk.lock:
        disk.held.insert(0, disk.held.pop(n))
    disk.release(1)


def waits_for_both(blk, made, requests, disk, pending, last):
    """What is pending is answered when the second has ended, and not before."""
    blk.front_end.stay(vu.QUIET / 2, never=lambda: pending.done, what="answered while both queues had I/O in flight")
    release(disk, last)
    blk.front_end.stay(vu.QUIET / 2, never=lambda: pending.done, what="answered while a queue had I/O in flight")
    disk.release()
    must(blk.front_end.wait(pending, timeout=vu.PATIENCE) is not None, "never answered")


@pytest.mark.parametrize("n, workers, more", [(1, 1, 0), (2, 1, 0), (2, 2, 3), (4, 3, 5), (2, 64, 3), (1, 8, 0)])
def test_there_is_a_thread_for_each_worker_but_no_more_than_queues(start, image, n, workers, more):
    """Each of several beside the device's own, and each disk engine but the first, has a thread more."""
    one = start(image, "--read-only", "--workers=1", "--io=uring")
    several = start(image, "--read-only", f"--num-queues={n}", f"--workers={workers}", "--io=uring")
    for serve in one, several:
        with b.driving(serve.path) as blk:
            blk.still_works()
    must(threads(several) == threads(one) + more, f"{threads(several)} threads, with one worker {threads(one)}")


@both
@each_io
def test_a_queue_goes_on_while_another_waits_for_the_disk(start, slow_disk, io, iommu):
    serve = start(slow_disk.path, f"--io={io}", *TWO)
    with b.driving(serve.path, iommu=iommu) as blk:
        made = queues(blk, 2)
        for stuck, free in (made, reversed(made)):
            slow_disk.hold("read")
            request = stuck.offer(stuck.make(b.IN, 0, length=512))
            blk.front_end.wait_until(lambda: slow_disk.held, "the read to reach the disk")
            for n in range(5):
                write(free, 8 + n, b.pattern(512, seed=n))
                flush(free)
            must(request.used is None, "the held read was used")
            slow_disk.release()
            must(stuck.wait(request) == b.OK, "the held read failed")


@pytest.mark.parametrize("workers", [2, 3])
@pytest.mark.parametrize("more", [(), ("--poll-us=20000",), ("--copy",), ("--in-order",)], ids=lambda more: "".join(more))
@both
def test_all_queues_work_at_once(start, image, workers, more, iommu):
    serve = start(image, "--num-queues=4", f"--workers={workers}", *more)
    generator = random.Random(workers)
    expected = bytearray(image.bytes)
    with b.driving(serve.path, iommu=iommu, memory=None) as blk:
        made = queues(blk, 4)
        for turn in range(6):
            flying = []
            for n, queue in enumerate(made):
                for _ in range(3):
                    at = 1000 * n + generator.randrange(900)
                    data = b.pattern(512, seed=at + turn)
                    if any(r.sector == at and q is queue for q, r in flying):
                        continue
                    expected[at * 512:at * 512 + 512] = data
                    flying.append((queue, queue.offer(queue.make(b.OUT, at, data), kick=False)))
            for queue in made:
                queue.kick()
            for queue, request in flying:
                must(queue.wait(request) == b.OK, "a write failed")
            for queue, request in flying:       # what one wrote, another reads
                other = made[(queue.index + 1) % 4]
                at = request.sector * 512
                got = other.offer(other.make(b.IN, request.sector, length=512))
                must(other.wait(got) == b.OK and other.data(got) == expected[at:at + 512], "wrong bytes")
        flush(blk)
    image.must_be(expected)
    counted = serve.device_stats()["requests"]
    must(counted["out"] == counted["in"] >= 24, f"counters of several workers: {counted}")


def test_a_page_that_two_queues_miss_is_asked_for_once(start, image):
    serve = start(image, *TWO)
    with b.driving(serve.path, iommu=True) as blk:
        made = queues(blk, 2)
        for queue in made:
            queue.still_works()
        iommu = blk.domain
        place = blk.memory.alloc(PAGE)
        blk.memory.write(place, b.pattern(PAGE))
        bus = iommu.map(place, PAGE, RO)
        iommu.policy = iommu.keep
        flying = []
        for queue in made:
            request = queue.make(b.OUT, 100 + 8 * queue.index, length=PAGE, data_at=[(place, PAGE)])
            queue.map(request)
            request.chain[1] = (bus, PAGE, 0)
            for address, length, flags in (request.chain[0], request.chain[2]):
                iommu.grant(address, length)
            flying.append((queue, queue.offer(request)))
        blk.front_end.wait_until(lambda: iommu.misses_at(bus), "the question")
        blk.front_end.stay(vu.QUIET)
        must(len(iommu.misses_at(bus)) == 1, f"{len(iommu.misses_at(bus))} questions for one page")
        iommu.policy = iommu.answer
        iommu.answer_kept()
        for queue, request in flying:
            must(queue.wait(request) == b.OK, "a request failed")
        must(len(iommu.misses_at(bus)) == 1, "asked again although it was answered")


def test_a_page_that_is_refused_fails_both_and_is_asked_for_again_later(start, image):
    serve = start(image, *TWO)
    with b.driving(serve.path, iommu=True) as blk:
        made = queues(blk, 2)
        iommu = blk.domain
        bus = iommu.reserve(PAGE)
        for turn in range(3):
            iommu.policy = iommu.keep_range(bus, PAGE)
            flying = []
            for queue in made:
                request = queue.map(queue.make(b.OUT, 100, length=PAGE))
                request.chain[1] = (bus, PAGE, 0)
                flying.append((queue, queue.offer(request)))
            blk.front_end.wait_until(lambda: iommu.kept, "the question")
            blk.front_end.stay(vu.QUIET / 3)
            must(len(iommu.kept) == 1, "asked twice")
            must(len(iommu.misses_at(bus)) == turn + 1, "asked in vain, or not asked again")
            iommu.answer_kept()
            for queue, request in flying:
                must(queue.wait(request) == b.IOERR, "a request without memory did not fail")
                queue.still_works()


def test_a_mapping_gives_each_queue_what_was_asked_for_and_no_more(start, image):
    """The front end answers read-write, always; a write of one queue is not covered by what another one read."""
    serve = start(image, *TWO)
    with b.driving(serve.path, iommu=True) as blk:
        made = queues(blk, 2)
        iommu = blk.domain
        place = blk.memory.alloc(PAGE)
        bus = iommu.map(place, PAGE, RW)
        for n, (queue, kind, flags) in enumerate([(made[0], b.OUT, 0), (made[1], b.IN, 2), (made[0], b.IN, 2),
                                                  (made[1], b.OUT, 0)]):
            request = queue.map(queue.make(kind, 8 * n, length=PAGE, data_at=[(place, PAGE)]))
            request.chain[1] = (bus, PAGE, flags)
            queue.offer(request)
            must(queue.wait(request) == b.OK, "a request failed")
            asked = [m.permission for m in iommu.misses_at(bus)]
            must(asked == [RO, WO][:min(n + 1, 2)], f"asked for {asked} after {n + 1} requests")


def test_pages_that_one_update_answers_together_are_granted_as_they_were_asked_for(start, image):
    serve = start(image, *TWO)
    with b.driving(serve.path, iommu=True) as blk:
        made = queues(blk, 2)
        iommu = blk.domain
        place = blk.memory.alloc(3 * PAGE)
        bus = iommu.map(place, 3 * PAGE, RW)

        def together(miss):
            if miss.permission != RO or miss not in iommu.misses_at(bus, 3 * PAGE):
                iommu.answer(miss)
            elif any(m.answered for m in iommu.misses_at(bus, 3 * PAGE)):
                iommu.say_done(miss)        # the first one's update was theirs, too
            else:
                iommu.answer_with(miss, bus, 3 * PAGE, blk.memory.user(place), RW)

        iommu.policy = together
        for queue in made:
            request = queue.map(queue.make(b.OUT, 8, length=3 * PAGE, data_at=[(place, 3 * PAGE)]))
            request.chain[1] = (bus, 3 * PAGE, 0)
            queue.offer(request)
            must(queue.wait(request) == b.OK, "a write failed")
        must(not [m for m in iommu.misses_at(bus, 3 * PAGE) if m.permission != RO], "asked to write what is read")
        for n, queue in enumerate(made):
            request = queue.map(queue.make(b.IN, 8, length=PAGE, data_at=[(place + n * PAGE, PAGE)]))
            request.chain[1] = (bus + n * PAGE, PAGE, 2)
            queue.offer(request)
            must(queue.wait(request) == b.OK, "a read failed")
            must([m for m in iommu.misses_at(bus + n * PAGE) if m.permission == WO], "written though only asked to read")


def test_a_page_that_means_other_memory_now_means_it_to_both(start, image):
    serve = start(image, *TWO)
    with b.driving(serve.path, iommu=True) as blk:
        made = queues(blk, 2)
        iommu = blk.domain
        old, new = blk.memory.alloc(PAGE), blk.memory.alloc(PAGE)
        bus = iommu.map(old, PAGE, RW)
        for place in old, new, old:
            iommu.set_page(bus, place, RW)
            iommu.grant(bus, PAGE)
            for queue in made:
                request = queue.map(queue.make(b.IN, 16 * queue.index, length=PAGE, data_at=[(place, PAGE)]))
                request.chain[1] = (bus, PAGE, 2)
                blk.memory.write(place, bytes(PAGE))
                queue.offer(request)
                must(queue.wait(request) == b.OK, "a read failed")
                at = 16 * queue.index * 512
                must(blk.memory.read(place, PAGE) == image.bytes[at:at + PAGE], "it went to the old page")


@first
@each_io
def test_an_invalidation_is_answered_when_both_queues_have_drained(start, slow_disk, io, first):
    serve = start(slow_disk.path, f"--io={io}", *TWO)
    with b.driving(serve.path, iommu=True) as blk:
        made = queues(blk, 2)
        iommu = blk.domain
        place = blk.memory.alloc(PAGE)
        bus = iommu.map(place, PAGE, RW)
        slow_disk.hold("read")
        flying = []
        for n, queue in enumerate(made):
            request = queue.map(queue.make(b.IN, 8 * n, data_at=[(place + 2048 * n, 2048)], length=2048))
            request.chain[1] = (bus + 2048 * n, 2048, 2)
            flying.append(queue.offer(request))
            blk.front_end.wait_until(lambda: len(slow_disk.held) == n + 1, "the read to reach the disk")
        pending = iommu.invalidate(bus, PAGE, wait=False)
        iommu.unmap(bus, PAGE)
        waits_for_both(blk, made, flying, slow_disk, pending, first)
        must(pending.reply.u64 == 0, "an error")
        blk.memory.write(place, b.pattern(PAGE))
        for queue, request in zip(made, flying):
            must(queue.wait(request) == b.OK, "a request failed")
        must(blk.memory.read(place, PAGE) == b.pattern(PAGE), "memory was written after the acknowledgement")
        for queue in made:      # and nobody remembers the mapping
            request = queue.map(queue.make(b.IN, 0, length=PAGE))
            request.chain[1] = (bus, PAGE, 2)
            queue.offer(request)
            must(queue.wait(request) == b.IOERR, "a mapping that was withdrawn is used")


@first
@both
def test_a_region_is_gone_when_both_queues_have_drained(start, slow_disk, iommu, first):
    serve = start(slow_disk.path, *TWO)
    memory = Memory()
    with b.driving(serve.path, iommu=iommu, memory=memory) as blk:
        made = queues(blk, 2)
        extra = Region(0x20_0000_0000, 1 << 20, 0x7e00_0000_0000)
        memory.regions.append(extra)
        add(blk, extra)
        flying = held_reads(blk, made, slow_disk, [(memory.alloc(PAGE, region=2), PAGE) for _ in made])
        pending = blk.front_end.start(R.REM_MEM_REG, vu.mem_region(*extra.row), need_reply=True)
        waits_for_both(blk, made, flying, slow_disk, pending, first)
        must(pending.reply.u64 == 0, "the region cannot be removed")
        gone = bytes(extra.view)
        for queue, request in zip(made, flying):
            must(queue.wait(request) == b.OK, "a request failed")
            queue.still_works()
        must(bytes(extra.view) == gone, "memory was written after its region was removed")
        memory.regions.pop().close()
    memory.close()


@first
@both
def test_a_memory_table_is_exchanged_when_both_queues_have_drained(start, slow_disk, image, iommu, first):
    serve = start(slow_disk.path, *TWO)
    with b.driving(serve.path, iommu=iommu) as blk:
        made = queues(blk, 2)
        flying = held_reads(blk, made, slow_disk)
        rows = blk.memory.regions
        pending = blk.front_end.start(R.SET_MEM_TABLE, vu.mem_table([r.row for r in rows]), [r.fd for r in rows],
                                      need_reply=True)
        blk.front_end.stay(vu.QUIET / 5)
        later = [queue.offer(queue.make(b.IN, 40, length=512)) for queue in made]  # its kick comes meanwhile
        waits_for_both(blk, made, flying, slow_disk, pending, first)
        must(pending.reply.u64 == 0, "an error")
        for queue, request, another in zip(made, flying, later):
            must(queue.wait(request) == b.OK and queue.wait(another) == b.OK, "a request failed")
            reads(queue, image)


def test_nothing_is_asked_while_a_revocation_waits_for_the_other_queue(start, slow_disk):
    """The front end may serve nobody before it has its answer."""
    serve = start(slow_disk.path, *TWO)
    with b.driving(serve.path, iommu=True) as blk:
        made = queues(blk, 2)
        for queue in made:
            queue.still_works()
        slow_disk.hold("read")
        flying = made[0].offer(made[0].make(b.IN, 0, length=PAGE))
        blk.front_end.wait_until(lambda: slow_disk.held, "the read to reach the disk")
        pending = blk.domain.invalidate(made[0].data_address(flying) & -PAGE, 2 * PAGE, wait=False)
        blk.front_end.stay(vu.QUIET / 5)
        asked = len(blk.domain.misses)
        other = made[1].offer(made[1].make(b.OUT, 16, length=PAGE))
        blk.front_end.stay(vu.QUIET, never=lambda: pending.done, what="answered with I/O in flight")
        must(len(blk.domain.misses) == asked, "asked while the front end waits for an answer")
        slow_disk.release()
        must(blk.front_end.wait(pending).u64 == 0, "an error")
        must(made[1].wait(other) == b.OK and made[0].wait(flying) == b.OK, "a request failed")


@first
def test_a_ring_stops_when_its_own_requests_have_ended(start, slow_disk, first):
    serve = start(slow_disk.path, *TWO)
    with b.driving(serve.path, iommu=True) as blk:
        made = queues(blk, 2)
        flying = held_reads(blk, made, slow_disk)
        stopped, other = made[first], made[1 - first]
        pending = blk.front_end.start(R.GET_VRING_BASE, vu.vring_state(stopped.index, 0))
        blk.front_end.stay(vu.QUIET / 2, never=lambda: pending.done, what="answered with I/O in flight")
        release(slow_disk, first)
        blk.front_end.wait(pending)
        must(len(slow_disk.held) == 1, "it waited for the other queue")
        slow_disk.release()
        must(other.wait(flying[1 - first]) == b.OK, "a request of the other queue failed")
        other.still_works()
        stopped.collect()
        must(flying[first].used is not None, "a request was lost")


@first
@pytest.mark.parametrize("message", [R.SET_STATUS, R.RESET_DEVICE], ids=lambda r: vu.REQUEST_NAMES[r])
def test_a_reset_is_answered_when_both_queues_have_drained(start, slow_disk, image, message, first):
    serve = start(slow_disk.path, *TWO)
    with b.driving(serve.path, iommu=True, extra_protocol=vu.RESET_DEVICE) as blk:
        made = queues(blk, 2)
        flying = held_reads(blk, made, slow_disk)
        payload = vu.u64(0) if message == R.SET_STATUS else b""
        pending = blk.front_end.start(message, payload, need_reply=True)
        waits_for_both(blk, made, flying, slow_disk, pending, first)
        must(pending.reply.u64 == 0, "an error")
        for queue in made:
            queue.ring, queue.requests = None, {}
            queue.set_up_ring()
            reads(queue, image)


def test_a_successor_is_let_in_when_both_queues_have_drained(start, slow_disk, image):
    serve = start(slow_disk.path, *TWO)
    for turn in range(4):
        blk = b.Blk(serve.path, iommu=True).start()
        made = queues(blk, 2)
        held_reads(blk, made, slow_disk)
        blk.close()
        slow_disk.release(1)
        time.sleep(vu.QUIET / 5)
        slow_disk.release()
    with b.driving(serve.path, iommu=True) as blk:
        for queue in queues(blk, 2):
            reads(queue, image)


def test_what_is_revoked_too_late_ends_the_connection(start, slow_disk, image):
    serve = start(slow_disk.path, "--revoke-timeout-ms=300", *TWO)
    blk = b.Blk(serve.path, iommu=True).start()
    made = queues(blk, 2)
    held_reads(blk, made, slow_disk)
    slow_disk.release(1)
    pending = blk.domain.invalidate(0, 0, wait=False)
    must(blk.front_end.wait(pending).u64 != 0, "acknowledged with I/O in flight")
    serve.expect_log("DEV-13")
    blk.close()
    slow_disk.release()
    with b.driving(serve.path, iommu=True) as blk:
        reads(blk, image)


@split_only
@first
def test_a_ring_that_breaks_its_rules_stops_alone(start, image, first):
    serve = start(image, *TWO)
    with b.driving(serve.path) as blk:
        made = queues(blk, 2)
        bad, good = made[first], made[1 - first]
        bad.ring.offer(bad.ring.size + 7)
        bad.kick()
        serve.expect_log(f"ring {first} broken", pump=blk.front_end)
        for _ in range(5):
            good.still_works()
        must(blk.front_end.ask(R.GET_STATUS).u64 & 0x40, "the status does not say that it needs a reset")


def test_messages_are_dealt_with_while_all_workers_poll(start, image):
    """They are at it all the time; whoever deals with messages has its turn all the same."""
    serve = start(image, "--poll-us=1000000", *TWO)
    with b.driving(serve.path) as blk:
        made = queues(blk, 2)
        began = time.monotonic()
        for n in range(40):
            for queue in made:
                queue.still_works()
            for _ in range(10):
                blk.front_end.ask(R.GET_STATUS)
        took = time.monotonic() - began
        must(took < 8 * vu.SCALE, f"{took:.1f} s for 400 messages and 80 requests")


def test_queues_are_served_while_messages_come_without_end(start, image):
    serve = start(image, *TWO)
    with b.driving(serve.path) as blk:
        made = queues(blk, 2)
        for _ in range(20):
            for _ in range(50):
                blk.front_end.start(R.SET_VRING_ENABLE, vu.vring_state(0, 1))
            for queue in made:
                queue.still_works()


def test_a_flush_of_one_queue_covers_the_writes_of_the_other(start, slow_disk):
    serve = start(slow_disk.path, *TWO)
    with b.driving(serve.path) as blk:
        made = queues(blk, 2)
        for writer, other in (made, reversed(made)):
            write(writer, 8, b.pattern(512))
            before = len(slow_disk.seen)
            flush(other)
            must([kind for kind, *_ in slow_disk.seen[before:]] == ["fsync"], "the flush did not reach the file")


def test_the_cache_mode_is_one_for_all_queues(start, slow_disk):
    """Zeroes are seen to be made durable; a durable write is one system call, which this file system sees as any."""
    serve = start(slow_disk.path, *TWO)
    with b.driving(serve.path, extra_features=b.F_CONFIG_WCE | b.F_WRITE_ZEROES) as blk:
        made = queues(blk, 2)
        for on in False, True, False:
            blk.set_writeback(on)
            for queue in made:
                before = len(slow_disk.seen)
                zero = queue.offer(queue.make_ranges(b.WRITE_ZEROES, (8, 8)))
                must(queue.wait(zero) == b.OK, "zeroing failed")
                durable = "fsync" in [kind for kind, *_ in slow_disk.seen[before:]]
                must(durable != on, f"queue {queue.index}, writeback {on}: {slow_disk.seen[before:]}")


def test_a_new_size_reaches_all_queues(start, image):
    serve = start(image, *TWO)
    with b.driving(serve.path) as blk:
        made = queues(blk, 2)
        end = blk.capacity
        for queue in made:
            must(queue.wait(queue.offer(queue.make(b.IN, end, length=512))) == b.IOERR, "beyond its end")
        os.truncate(image.path, (end + 8) * 512)
        serve.process.send_signal(signal.SIGHUP)
        serve.expect_log("bytes now", pump=blk.front_end)
        for queue in made:
            must(queue.wait(queue.offer(queue.make(b.IN, end + 7, length=512))) == b.OK, "what is new is out of reach")


@both
def test_memory_that_is_taken_back_ends_the_connection_and_not_the_process(start, image, iommu):
    """SIGBUS in a worker's thread."""
    serve = start(image, "--copy", *TWO)
    for index in 0, 1:
        blk = b.Blk(serve.path, iommu=iommu).start()
        made = queues(blk, 2)
        request = made[index].make(b.IN, 0, length=PAGE, regions=(1,))
        region = blk.memory.regions[1]
        os.ftruncate(region.fd, region.offset)
        made[index].offer(request)
        serve.expect_log("PLT-10", pump=blk.front_end)
        serve.must_live()
        blk.close()
    with b.driving(serve.path, iommu=iommu) as blk:
        for queue in queues(blk, 2):
            queue.still_works()


def test_a_message_that_is_refused_ends_the_connection_under_load(start, image):
    serve = start(image, *TWO)
    for n in range(6):
        blk = b.Blk(serve.path, iommu=True).start()
        made = queues(blk, 2)
        for queue in made:
            for _ in range(8):
                queue.offer(queue.make(b.IN, 0, length=PAGE))
        refused(serve, blk, R.SET_VRING_NUM, vu.vring_state(n % 2, 8), log="PLT-9")
        blk.close()


def test_it_ends_with_requests_of_all_queues_in_flight(start, slow_disk):
    serve = start(slow_disk.path, *TWO)
    blk = b.Blk(serve.path, iommu=True).start()
    held_reads(blk, queues(blk, 2), slow_disk)
    serve.process.send_signal(signal.SIGTERM)
    time.sleep(vu.QUIET)
    serve.must_live()
    slow_disk.release()
    must(serve.process.wait(vu.PATIENCE) == 0, f"it ended with {serve.process.returncode}")
    serve.finished = True
    blk.close()


def test_an_update_replaces_what_only_a_worker_remembers(start, tmp, image):
    """The back end's own IOTLB has evicted it; the worker that used it has not."""
    least = least_iotlb(tmp, image)
    serve = start(image, f"--iotlb-entries={least}", *TWO)
    memory = b.Memory(((0x1_0000_0000, 256 << 20, 0x7f40_0000_0000, 0),), noise=False)
    each = 64
    with b.driving(serve.path, iommu=True, memory=memory) as blk:
        one, other = queues(blk, 2)
        pages = [memory.alloc(PAGE) for _ in range(2)]
        request = blk.map(one.make(b.IN, data_at=[(pages[0], PAGE)]))
        bus = request.chain[1][0]
        must(one.wait(one.offer(request)) == b.OK, "a read failed")
        for n in range(3 * least // each):         # all of it, wherever it stands
            far = [memory.alloc(PAGE) for _ in range(each)][::-1]
            filler = other.make(b.IN, n % 100, data_at=[(p, PAGE) for p in far])
            filler.chain = [(blk.domain.map(filler.header, 16, RO), 16, 0),
                            (blk.domain.map_pages(far, WO), each * PAGE, WRITE),
                            (blk.domain.map(filler.status, 1, WO), 1, WRITE)]
            must(other.wait(other.offer(filler)) == b.OK, "a read failed")
        must(serve.device_stats()["iotlb"]["evictions"] > 0, "nothing was evicted")
        blk.domain.set_page(bus, pages[1], WO)
        blk.domain.grant(bus, PAGE)
        memory.write(pages[0], b"\x5a" * PAGE)
        again = blk.map(one.make(b.IN, data_at=[(pages[1], PAGE)]))
        again.chain[1] = (bus, PAGE, WRITE)
        must(one.wait(one.offer(again)) == b.OK, "a read failed")
        must(memory.read(pages[0], PAGE) == b"\x5a" * PAGE, "a worker wrote where a mapping led before it was replaced")
        must(memory.read(pages[1], PAGE) == image.bytes[:PAGE], "the read did not go where the new mapping leads")
    memory.close()
