# SPDX-License-Identifier: BSD-3-Clause
"""Corners: mappings that are cut, requests held over a stop, memory that moves, room that runs out."""
import socket

import pytest

import blk as b
import vhost_user as vu
from driver import PAGE, RO, WO, WRITE
from hostile import serves_on
from test_misses import parked
from test_translation import least_iotlb
from vhost_user import Request as R, must

pytestmark = pytest.mark.usefixtures("layout")


# -- mappings that are cut ----------------------------------------------------------------------------

@pytest.mark.parametrize("gone", [(0,), (4,), (2,), (0, 1), (3, 4), (0, 2, 4), (1, 3), (0, 1, 2, 3, 4)],
                         ids=lambda g: "-".join(map(str, g)))
@pytest.mark.parametrize("how", ["invalidate", "update"])
def test_a_mapping_is_cut_exactly_where_the_platform_says(serve, image, gone, how):
    """One grant of five pages; some are revoked, or granted anew elsewhere; the others stay as they were."""
    with b.driving(serve.path, iommu=True) as blk:
        iommu = blk.domain
        pages = [blk.memory.alloc(PAGE) for _ in range(5)]
        other = [blk.memory.alloc(PAGE, region=1) for _ in range(5)]
        bus = iommu.map_pages(pages, WO)
        blk.front_end.wait(iommu.update(bus, 5 * PAGE, iommu.memory.user(pages[0]), WO))
        for page in gone:
            at = bus + page * PAGE
            iommu.set_page(at, other[page], WO)
            if how == "invalidate":
                iommu.invalidate(at, PAGE)
            else:
                blk.front_end.wait(iommu.update(at, PAGE, iommu.memory.user(other[page]), WO))
        now = [other[i] if i in gone else pages[i] for i in range(5)]
        request = blk.make(b.IN, 0, data_at=[(p, PAGE) for p in now])
        request.chain = [(iommu.map(request.header, 16, RO), 16, 0), (bus, 5 * PAGE, WRITE),
                         (iommu.map(request.status, 1, WO), 1, WRITE)]
        must(blk.run(request) == b.OK and blk.data(request) == image.bytes[:5 * PAGE], "wrong bytes")
        asked = sorted({(m.iova - bus) // PAGE for m in iommu.misses_at(bus, 5 * PAGE)})
        must(asked == (list(gone) if how == "invalidate" else []), f"pages {asked} were asked for")


def test_bytes_of_a_page_may_be_granted_and_revoked_one_by_one(serve, image):
    """Grants need not be pages: 512 single-byte grants, onto bytes in reverse order."""
    with b.driving(serve.path, iommu=True) as blk:
        iommu = blk.domain
        place = blk.memory.alloc(PAGE)
        bus = iommu.map(place, PAGE, WO)
        for i in range(512):
            ack = iommu.update(bus + i, 1, iommu.memory.user(place + 511 - i), WO)
        blk.front_end.wait(ack)
        request = blk.make(b.IN, 5, data_at=[(place, 512)])
        request.chain = [(iommu.map(request.header, 16, RO), 16, 0), (bus, 512, WRITE),
                         (iommu.map(request.status, 1, WO), 1, WRITE)]
        must(blk.run(request) == b.OK, "the read failed")
        must(blk.data(request)[::-1] == image.bytes[5 * 512:6 * 512], "wrong bytes")


# -- stops -----------------------------------------------------------------------------------------------

def unfailable(blk):
    """A request parked before completed ones, whose status byte is not reachable either: it cannot be failed."""
    blk.still_works()
    request = blk.map(blk.make(b.IN, 9, length=512))
    hidden = {blk.data_address(request) & -PAGE, request.chain[-1][0] & -PAGE}
    blk.domain.policy = lambda m: blk.domain.keep(m) if m.iova & -PAGE in hidden else blk.domain.answer(m)
    blk.offer(request)
    blk.front_end.wait_until(lambda: len(blk.domain.kept) >= 2, "two questions")
    for n in range(3):
        blk.still_works(n)
    return request


def test_a_request_that_cannot_even_be_failed_is_held_over_the_stop(serve, image):
    with b.driving(serve.path, iommu=True) as blk:
        request = unfailable(blk)
        base = blk.stop_ring()
        must(base == blk.ring.base, f"base {base} would repeat requests that were done")
        blk.collect()
        must(request.used is None, "used, though its status could not be written")
        for miss in blk.domain.misses:
            miss.answered = True
        blk.domain.policy = blk.domain.answer
        blk.set_up_ring(base)
        blk.kick()
        blk.domain.answer_kept()
        must(blk.wait(request) in (b.OK, b.IOERR), "never answered after the restart")
        blk.still_works()


def test_a_ring_set_up_otherwise_drops_what_was_held_and_says_so(serve, image):
    with b.driving(serve.path, iommu=True) as blk:
        unfailable(blk)
        blk.stop_ring()
        for miss in blk.domain.misses:
            miss.answered = True
        blk.domain.policy = blk.domain.answer
        since = len(serve.log())
        blk.ring = None
        blk.requests.clear()
        blk.set_up_ring()
        must(blk.read(3, 512) == image.bytes[1536:2048], "the new ring reads wrong bytes")
        serve.expect_log("dropped", since=since, pump=blk.front_end)


def test_a_front_end_that_leaves_while_memory_is_being_exchanged_leaves_nothing_behind(start, slow_disk, image):
    serve = start(slow_disk.path)
    blk = b.Blk(serve.path).start()
    slow_disk.hold("read")
    blk.offer(blk.make(b.IN, 0, length=512))
    slow_disk.wait_held()
    blk.front_end.start(R.SET_MEM_TABLE, vu.mem_table([r.row for r in blk.memory.regions]),
                        [r.fd for r in blk.memory.regions], need_reply=True)
    blk.front_end.stay(0.05)
    blk.close()
    slow_disk.release()
    serve.must_map_no_memory()
    serves_on(serve, image)


def test_a_broken_ring_shows_in_the_device_status(serve, image):
    with b.driving(serve.path, iommu=True) as blk:
        must(blk.protocol & vu.STATUS, "STATUS is not offered")
        must(not blk.front_end.ask(R.GET_STATUS).u64 & 64, "needs a reset from the start")
        said = blk.ring.break_it()
        blk.kick()
        serve.expect_log(said, pump=blk.front_end)
        must(blk.front_end.ask(R.GET_STATUS).u64 & 64, "DEVICE_NEEDS_RESET is not set")


# -- memory and notifications ------------------------------------------------------------------------------

def test_physical_addresses_may_move_under_a_running_ring_where_bit_33_is_clear(serve, image):
    """The same user addresses, other physical ones: the ring goes on, buffers are looked up anew."""
    with b.driving(serve.path) as blk:
        must(blk.read(1, 512) == image.bytes[512:1024], "wrong bytes")
        old = blk.memory.regions[0].phys
        for region in blk.memory.regions:
            region.phys += 0x50_0000_0000
        for part in ("desc", "avail", "used"):
            setattr(blk.ring, part, getattr(blk.ring, part) + 0x50_0000_0000)
        blk.share_memory()
        must(blk.read(2, 512) == image.bytes[1024:1536], "wrong bytes after the move")
        request = blk.make(b.IN, 0, length=512)
        request.chain = [(request.header, 16, 0), (old + (1 << 20), 512, WRITE), (request.status, 1, WRITE)]
        must(blk.run(request) == b.IOERR, "the old physical address is still served")


def test_calls_missed_while_there_was_no_descriptor_are_made_up_for(serve, image):
    with b.driving(serve.path) as blk:
        blk.still_works()
        blk.front_end.tell(R.SET_VRING_CALL, vu.u64(vu.NO_FD))
        blk.front_end.stay(0.02)
        calls = blk.front_end.events[blk.call_fd]
        blk.still_works(1)
        blk.front_end.tell(R.SET_VRING_CALL, vu.u64(0), [blk.call_fd])
        blk.front_end.wait_until(lambda: blk.front_end.events[blk.call_fd] > calls, "the call that was owed")


def test_a_full_back_end_channel_is_written_on_when_it_is_read(serve, image):
    """The channel takes a few questions only; the rest waits, and nothing is lost."""
    with b.driving(serve.path, iommu=True, size=256) as blk:
        fe, iommu = blk.front_end, blk.domain
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4608)
        fe.back.close()
        fe.back, fe.back_out = vu.Channel(ours), b""
        iommu.unreplied.clear()
        for miss in iommu.misses:
            miss.answered = True
        fe.tell(R.SET_BACKEND_REQ_FD, b"", [theirs.fileno()])
        theirs.close()
        back, fe.back = fe.back, None               # not read for now
        requests = [blk.offer(blk.make(b.IN, n, length=512), indirect=True) for n in range(200)]
        fe.stay(vu.QUIET)
        must(fe.ask(R.GET_FEATURES).u64 == blk.offered, "the main channel is stuck")
        fe.back = back
        for request in requests:
            must(blk.wait(request) == b.OK, "a request was lost")
            must(blk.data(request) == image.bytes[request.sector * 512:request.sector * 512 + 512], "wrong bytes")
        iommu.duplicates.clear()    # asked on the old channel, and again on the new one


def test_a_reply_with_a_descriptor_on_the_back_end_channel_leaks_nothing(serve, image):
    with b.driving(serve.path, iommu=True) as blk:
        request = parked(blk, blk.make(b.IN, 0, length=512))
        data = vu.HEADER.pack(1, vu.VERSION | vu.REPLY, 8) + vu.u64(0)
        try:
            blk.front_end.back.send_raw(data, [blk.call_fd, blk.err_fd])
            blk.front_end.stay(vu.QUIET / 2)
        except vu.Violation:
            pass
        del request
    serves_on(serve, image)


# -- room ---------------------------------------------------------------------------------------------------

def test_more_waiting_requests_than_the_smallest_iotlb_holds_are_all_served(start, tmp, image):
    """60 requests of 64 scattered pages wait at once; none starves another for ever."""
    least = least_iotlb(tmp, image)
    serve = start(image, f"--iotlb-entries={least}")
    memory = b.Memory(((0x1_0000_0000, 256 << 20, 0x7f40_0000_0000, 0),), noise=False)
    with b.driving(serve.path, iommu=True, memory=memory, size=64) as blk:
        iommu = blk.domain
        each = max(64, least // 40)
        requests = []
        for n in range(60):
            pages = [memory.alloc(PAGE) for _ in range(each)][::-1]
            request = blk.make(b.IN, n % 50, data_at=[(p, PAGE) for p in pages])
            request.chain = [(iommu.map(request.header, 16, RO), 16, 0), (iommu.map_pages(pages, WO), each * PAGE, WRITE),
                             (iommu.map(request.status, 1, WO), 1, WRITE)]
            requests.append(blk.offer(request, indirect=True, kick=False))
        blk.kick()
        for request in requests:
            must(blk.wait(request, 20 * vu.SCALE) == b.OK, "a read failed")
        at = requests[-1].sector * 512
        must(blk.data(requests[-1]) == image.bytes[at:at + each * PAGE], "wrong bytes")
    memory.close()


@pytest.mark.parametrize("kind", [b.IN, b.OUT], ids=["in", "out"])
def test_in_copy_mode_more_data_than_there_is_room_for_waits_and_is_served(start, slow_disk, kind):
    """60 requests of 4 MiB at once, on a disk that is slow: memory is bounded, nothing is lost."""
    serve = start(slow_disk.path, "--copy")
    memory = b.Memory(((0x1_0000_0000, 64 << 20, 0x7f40_0000_0000, 0),), noise=False)
    with b.driving(serve.path, memory=memory, size=256) as blk:
        place = memory.alloc(4 << 20)
        if kind == b.OUT:
            memory.write(place, bytes(slow_disk.data))
        slow_disk.hold("read", "write")
        requests = []
        for _ in range(60):
            request = blk.make(kind, 0, data_at=[(place, 4 << 20)])
            requests.append(blk.offer(request))
        blk.front_end.wait_until(lambda: slow_disk.held, "the first request to reach the disk")
        blk.front_end.stay(vu.QUIET)
        with open(f"/proc/{serve.pid}/status") as status:
            resident = next(int(line.split()[1]) for line in status if line.startswith("RssAnon"))
        must(resident < 200 << 10 or vu.SANITIZED, f"{resident} KiB of private memory for 240 MiB in flight")
        slow_disk.release()
        for request in requests:
            must(blk.wait(request, 20 * vu.SCALE) == b.OK, "a request failed")
    memory.close()


def test_in_copy_mode_a_request_whose_status_is_gone_too_breaks_the_ring_and_writes_nothing(start, slow_disk):
    serve = start(slow_disk.path, "--copy")
    with b.driving(serve.path, iommu=True) as blk:
        blk.still_works()
        slow_disk.hold("read")
        request = blk.offer(blk.make(b.IN, 8, length=PAGE))
        blk.front_end.wait_until(lambda: slow_disk.held, "the request to reach the disk")
        blk.domain.revoke(blk.data_address(request), PAGE)
        blk.domain.revoke(request.chain[-1][0], 1)
        before = blk.memory.snapshot()
        slow_disk.release()
        serve.expect_log("DRV-8|DEV-10|DRV-18", pump=blk.front_end)
        blk.front_end.stay(vu.QUIET / 2)
        blk.memory.must_change_only(before, [blk.ring.device_writes])


@pytest.mark.parametrize("kind", [b.IN, b.OUT], ids=["in", "out"])
@pytest.mark.parametrize("sector", [0, 8192, 8193, 2**64 - 1])
def test_requests_of_no_sectors_do_nothing(serve, image, kind, sector):
    with b.driving(serve.path, iommu=True) as blk:
        status = blk.run(blk.make(kind, sector))
        must(status in (b.OK, b.IOERR) and (status == b.IOERR or sector <= 8192), f"status {status}")
        blk.still_works()
    image.must_be(image.bytes)
