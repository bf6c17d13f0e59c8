# SPDX-License-Identifier: BSD-3-Clause
"""Misses: what the device asks, when, how often; and what it does with every kind of answer."""
import random
from contextlib import suppress

import pytest

import blk as b
import vhost_user as vu
from driver import INDIRECT, PAGE, RO, RW, WO, WRITE
from hostile import serves_on
from rules import forbidden, split_only
from test_translation import fault_of
from vhost_user import Request as R, must

pytestmark = pytest.mark.usefixtures("layout")

SOON = 6 * vu.SCALE


def parked(blk, request, **offer):
    """Offers a request whose data will not be translated; returns once the question is there."""
    if not request.chain:
        blk.map(request)
    blk.domain.policy = blk.domain.keep_range(blk.data_address(request), max(request.length, 1))
    blk.offer(request, **offer)
    blk.front_end.wait_until(lambda: blk.domain.kept, "the miss for the data")
    return request


@split_only
def test_every_miss_is_well_formed_asks_for_a_reply_and_for_the_permission_needed(serve, image):
    with b.driving(serve.path, iommu=True) as blk:
        read = blk.make(b.IN, 0, length=512)
        write = blk.make(b.OUT, 0, image.bytes[:512])
        for request in (read, write):
            blk.offer(request)
            must(blk.wait(request) == b.OK, "a request failed")
        for request, data in ((read, WO), (write, RO)):
            header, body, status = (blk.domain.misses_at(a, n) for a, n, _ in request.chain)
            must([m.permission for m in header] == [RO], f"header: {header}")
            must([m.permission for m in body] == [data], f"data: {body}")
            must([m.permission for m in status] == [WO], f"status: {status}")
        for part in (blk.ring.desc_address, blk.ring.avail_address):
            must(all(m.permission == RO for m in blk.domain.misses_at(part)), "a ring part was asked for writing")
        used = blk.domain.misses_at(blk.ring.used_address)
        must(all(m.permission & WO for m in used), f"used ring: {used}")
    must(not blk.domain.malformed, f"malformed: {blk.domain.malformed}")


def test_what_was_granted_once_is_not_asked_for_again(serve, image):
    with b.driving(serve.path, iommu=True) as blk:
        request = blk.map(blk.make(b.IN, 0, length=512))
        for _ in range(2):  # with the second one comes what the device did behind the first, such as asking for kicks
            request.used = None
            blk.offer(request)
            must(blk.wait(request) == b.OK, "a request failed")
        count = len(blk.domain.misses)
        for _ in range(50):
            request.used = None
            blk.offer(request)
            must(blk.wait(request) == b.OK, "a request failed")
        must(len(blk.domain.misses) == count, f"{len(blk.domain.misses) - count} more misses")


def test_all_misses_of_one_chain_are_sent_together(serve, image):
    """Nothing is answered, yet every page of every part has been asked for."""
    with b.driving(serve.path, iommu=True) as blk:
        blk.grant_ring()
        pages = [blk.memory.alloc(PAGE, region=i % 2) for i in range(6)]
        first = blk.domain.map_pages(pages[:3], WO)
        rest = [blk.domain.map(p, PAGE, WO) for p in pages[3:]]
        request = blk.make(b.IN, 0, data_at=[(p, PAGE) for p in pages])
        request.chain = [(blk.domain.map(request.header, 16, RO), 16, 0), (first, 3 * PAGE, WRITE)]
        request.chain += [(r, PAGE, WRITE) for r in rest] + [(blk.domain.map(request.status, 1, WO), 1, WRITE)]
        blk.domain.policy = blk.domain.keep
        blk.domain.misses.clear()
        blk.offer(request)
        wanted = {a & -PAGE for a, _, _ in request.chain} | {first + PAGE, first + 2 * PAGE}
        blk.front_end.wait_until(lambda: {m.iova & -PAGE for m in blk.domain.misses} >= wanted,
                                 f"misses for all {len(wanted)} pages of the chain", SOON)
        blk.front_end.stay(vu.QUIET / 2)
        must(len(blk.domain.misses) == len(wanted), f"{len(blk.domain.misses)} misses for {len(wanted)} pages")
        blk.domain.policy = blk.domain.answer
        blk.domain.answer_kept()
        must(blk.wait(request) == b.OK and blk.data(request) == image.bytes[:6 * PAGE], "the read failed")


def test_one_page_and_permission_is_asked_for_once_however_many_wait(serve, image):
    with b.driving(serve.path, iommu=True) as blk:
        place = blk.memory.alloc(PAGE)
        bus = blk.domain.map(place, PAGE, WO)
        blk.domain.policy = blk.domain.keep_range(bus, PAGE)
        waiting = []
        for i in range(7):
            request = blk.make(b.IN, i, data_at=[(place + i * 512, 512)])
            request.chain = [(blk.domain.map(request.header, 16, RO), 16, 0), (bus + i * 512, 512, WRITE),
                             (blk.domain.map(request.status, 1, WO), 1, WRITE)]
            waiting.append(blk.offer(request))
        for _ in range(5):
            blk.kick()
            blk.front_end.stay(vu.QUIET / 3)
        must(len(blk.domain.misses_at(bus, PAGE)) == 1, f"{len(blk.domain.misses_at(bus, PAGE))} misses for one page")
        blk.domain.answer_kept()
        for request in waiting:
            must(blk.wait(request) == b.OK, "a request that waited failed")
        must(blk.memory.read(place, 7 * 512) == image.bytes[:7 * 512], "wrong bytes")


@pytest.mark.parametrize("indirect", [False, True], ids=["direct", "indirect"])
def test_a_parked_request_does_not_stop_others(serve, image, indirect):
    with b.driving(serve.path, iommu=True) as blk:
        slow = parked(blk, blk.make(b.IN, 9, length=PAGE), indirect=indirect)
        for n in range(30):
            must(blk.read(n, 512, indirect=indirect) == image.bytes[n * 512:n * 512 + 512], "wrong bytes")
        blk.flush()
        must(slow.used is None, "the parked request was used")
        must(serve.device_stats()["iotlb"]["outstanding"] == len(blk.domain.kept), "outstanding misses are miscounted")
        blk.domain.answer_kept()
        must(blk.wait(slow) == b.OK and blk.data(slow) == image.bytes[9 * 512:9 * 512 + PAGE], "it fails at last")


def test_a_parked_indirect_table_does_not_stop_others(serve, image):
    with b.driving(serve.path, iommu=True) as blk:
        request = blk.map(blk.make(b.IN, 1, length=512))
        table = blk.domain.map(blk.table_of(request.chain), 48, RO)
        blk.domain.policy = blk.domain.keep_range(table, 48)
        request.head = blk.ring.add_chain([(table, 48, INDIRECT)])
        blk.requests[request.head] = request
        blk.ring.offer(request.head)
        blk.kick()
        blk.front_end.wait_until(lambda: blk.domain.kept, "the miss for the table")
        for n in range(5):
            blk.still_works(n)
        blk.domain.answer_kept()
        must(blk.wait(request) == b.OK and blk.data(request) == image.bytes[512:1024], "it fails at last")


def test_grants_may_come_in_any_order_and_long_before_the_replies(serve, image):
    """Updates out of order; the replies, which carry no id, in order after them."""
    with b.driving(serve.path, iommu=True) as blk:
        iommu = blk.domain
        iommu.policy = iommu.keep
        requests = [blk.offer(blk.make(b.IN, n, length=2 * PAGE)) for n in range(4)]
        order = random.Random(5)

        def answer_some():
            order.shuffle(iommu.kept)
            iommu.answer_kept()
            return all(r.used is not None for r in requests)
        blk.front_end.wait_until(lambda: blk.collect() is None or answer_some(), "all requests")
        for n, request in enumerate(requests):
            must(blk.status(request) == b.OK and blk.data(request) == image.bytes[n * 512:n * 512 + 2 * PAGE],
                 "a request failed")


# -- answers of the wrong kind --------------------------------------------------------------------------

def test_a_miss_answered_with_an_error_fails_its_request_alone(serve, image):
    with b.driving(serve.path, iommu=True) as blk:
        slow = parked(blk, blk.make(b.IN, 9, length=PAGE))
        must(blk.run(blk.make(b.IN, 1, length=512)) == b.OK, "another request failed")
        before = blk.data(slow)
        while blk.domain.kept:
            blk.domain.refuse(blk.domain.kept.pop())
        must(blk.wait(slow, SOON) == b.IOERR, "not IOERR")
        must(blk.data(slow) == before, "its data was changed")
        fault_of(serve, "DEV-9|DEV-10|PLT-11", blk.data_address(slow) & -PAGE, 2 * PAGE)
        must(serve.device_stats()["iotlb"]["failed"] >= 1, "the failed miss is not counted")
        blk.still_works()


def test_the_first_refusal_fails_a_request_and_no_page_is_asked_for_twice(serve, image):
    """Four pages are asked for together, all refused, one by one: one fault, at the first refused byte, no repetition."""
    with b.driving(serve.path, iommu=True) as blk:
        pages = [blk.memory.alloc(PAGE) for _ in range(4)]
        bus = blk.domain.map_pages(pages, WO)
        blk.domain.unmap(bus, 4 * PAGE)
        request = blk.make(b.IN, 0, data_at=[(p, PAGE) for p in pages])
        request.chain = [(blk.domain.map(request.header, 16, RO), 16, 0), (bus, 4 * PAGE, WRITE),
                         (blk.domain.map(request.status, 1, WO), 1, WRITE)]
        blk.offer(request)
        must(blk.wait(request) == b.IOERR, "not IOERR")
        blk.front_end.stay(vu.QUIET / 2)
        asked = blk.domain.misses_at(bus, 4 * PAGE)
        must(len(asked) == 4, f"{len(asked)} questions about 4 pages that were refused: {asked}")
        fault_of(serve, "DEV-9|DEV-10", bus)


def test_a_refusal_fails_a_request_though_its_other_pages_are_never_answered(serve, image):
    with b.driving(serve.path, iommu=True) as blk:
        pages = [blk.memory.alloc(PAGE) for _ in range(2)]
        bus = blk.domain.map_pages(pages, WO)
        blk.domain.policy = lambda m: (blk.domain.refuse(m) if m.iova & -PAGE == bus else
                                       blk.domain.keep(m) if m.iova & -PAGE == bus + PAGE else blk.domain.answer(m))
        request = blk.make(b.IN, 0, data_at=[(p, PAGE) for p in pages])
        request.chain = [(blk.domain.map(request.header, 16, RO), 16, 0), (bus, 2 * PAGE, WRITE),
                         (blk.domain.map(request.status, 1, WO), 1, WRITE)]
        blk.offer(request)
        must(blk.wait(request, SOON) == b.IOERR, "not IOERR")
        must(len(blk.domain.misses_at(bus)) == 1, "asked again about what was refused")


def test_a_refused_address_is_asked_for_again_by_the_next_request(serve, image):
    """A refusal is an answer to one question, not a ban."""
    with b.driving(serve.path, iommu=True) as blk:
        request = parked(blk, blk.make(b.IN, 9, length=512))
        while blk.domain.kept:
            blk.domain.refuse(blk.domain.kept.pop())
        must(blk.wait(request, SOON) == b.IOERR, "not IOERR")
        blk.domain.policy = blk.domain.answer
        request.used = None
        must(blk.run(request) == b.OK and blk.data(request) == image.bytes[9 * 512:10 * 512], "refused for ever")


@forbidden("PLT-11")
def test_a_miss_answered_done_without_a_grant_fails_its_request(lab):
    serve = lab.serve()
    with lab.drive(serve, iommu=True) as blk:
        request = parked(blk, blk.make(b.IN, 9, length=512))
        while blk.domain.kept:
            blk.domain.say_done(blk.domain.kept.pop())
        must(blk.wait(request, SOON) == b.IOERR, "not IOERR")
        fault_of(serve, "PLT-11|DEV-10", blk.data_address(request) & -PAGE)
        blk.domain.policy = blk.domain.answer
        blk.still_works()


def test_a_grant_of_too_little_is_asked_about_at_most_a_few_times_and_then_a_fault(serve, image):
    """The front end grants the same first 512 bytes of the page again and again."""
    with b.driving(serve.path, iommu=True) as blk:
        iommu = blk.domain
        place = blk.memory.alloc(PAGE)
        bus = iommu.map(place, PAGE, WO)
        request = blk.make(b.IN, 0, data_at=[(place, PAGE)])
        request.chain = [(iommu.map(request.header, 16, RO), 16, 0), (bus, PAGE, WRITE),
                         (iommu.map(request.status, 1, WO), 1, WRITE)]
        before = blk.data(request)

        def little(miss):
            if bus <= miss.iova < bus + PAGE:
                iommu.answer_with(miss, bus, 512, iommu.memory.user(place), WO)
            else:
                iommu.answer(miss)
        iommu.policy = little
        blk.offer(request)
        must(blk.wait(request) == b.IOERR, "not IOERR")
        must(blk.data(request) == before, "part of the data was written")
        must(len(iommu.misses_at(bus, PAGE)) <= 16, f"{len(iommu.misses_at(bus, PAGE))} questions about one page")
        fault_of(serve, "PLT-11|DEV-10", bus)
        iommu.policy = iommu.answer
        blk.still_works()


def test_a_grant_of_another_page_than_was_asked_for_does_not_count(serve, image):
    with b.driving(serve.path, iommu=True) as blk:
        request = parked(blk, blk.make(b.IN, 9, length=512))
        iommu = blk.domain
        miss = iommu.kept.pop()
        elsewhere = iommu.reserve(PAGE)
        iommu.answer_with(miss, elsewhere, PAGE, iommu.memory.user(request.data[0][0] & -PAGE), WO)
        must(blk.wait(request, SOON) == b.IOERR, "not IOERR")
        iommu.policy = iommu.answer
        blk.still_works()


def test_a_grant_smaller_than_a_page_is_enough_where_it_covers_the_buffer(serve, image):
    """Byte-exact grants: any address, any size."""
    with b.driving(serve.path, iommu=True) as blk:
        iommu = blk.domain
        request = blk.map(blk.make(b.IN, 4, length=512))
        exact = {a: (phys, n) for (a, n, _), phys in zip(request.chain, (request.header, request.data[0][0], request.status))}

        def answer(miss):
            for address, (phys, length) in exact.items():
                if address <= miss.iova < address + length or miss.iova == address & -PAGE:
                    return iommu.answer_with(miss, address, length, iommu.memory.user(phys), miss.permission)
            return iommu.answer(miss)
        iommu.policy = answer
        blk.offer(request)
        must(blk.wait(request) == b.OK and blk.data(request) == image.bytes[2048:2560], "the read failed")


def test_one_grant_may_answer_many_pages(serve, image):
    """The IOMMU answers with one large mapping; no second question about any part of it."""
    with b.driving(serve.path, iommu=True) as blk:
        iommu = blk.domain
        place = blk.memory.alloc(32 * PAGE)
        bus = iommu.map(place, 32 * PAGE, WO)
        iommu.policy = lambda miss: (iommu.answer_with(miss, bus, 32 * PAGE, iommu.memory.user(place), WO)
                                     if bus <= miss.iova < bus + 32 * PAGE else iommu.answer(miss))
        small = blk.make(b.IN, 0, data_at=[(place, 512)])
        small.chain = [(iommu.map(small.header, 16, RO), 16, 0), (bus, 512, WRITE),
                       (iommu.map(small.status, 1, WO), 1, WRITE)]
        must(blk.run(small) == b.OK, "the first read failed")
        count = len(iommu.misses_at(bus, 32 * PAGE))
        large = blk.make(b.IN, 0, data_at=[(place, 32 * PAGE)])
        large.chain = [(iommu.map(large.header, 16, RO), 16, 0), (bus, 32 * PAGE, WRITE),
                       (iommu.map(large.status, 1, WO), 1, WRITE)]
        must(blk.run(large) == b.OK and blk.data(large) == image.bytes[:32 * PAGE], "the large read failed")
        must(count == 1 and len(iommu.misses_at(bus, 32 * PAGE)) == 1, "asked again about what was granted")


@forbidden("DEV-9")
def test_a_grant_that_answers_a_miss_grants_at_most_what_was_asked(lab):
    """QEMU answers read-write always: the opposite access must still ask, and can be refused."""
    serve = lab.serve()
    with lab.drive(serve, iommu=True) as blk:
        iommu = blk.domain
        iommu.grant_permission = RW
        write = blk.map(blk.make(b.OUT, 0, lab.image.bytes[:512]))      # asks for reading; gets both
        must(blk.run(write) == b.OK, "the write failed")
        bus, place = blk.data_address(write), write.data[0][0]
        must([m.permission for m in iommu.misses_at(bus)] == [RO], f"misses {iommu.misses_at(bus)}")
        read = blk.make(b.IN, 7, data_at=[(place, 512)])
        read.chain = [(iommu.map(read.header, 16, RO), 16, 0), (bus, 512, WRITE), (iommu.map(read.status, 1, WO), 1, WRITE)]
        before = blk.data(read)
        blk.offer(read)
        must(blk.wait(read, SOON) == b.IOERR, "a buffer mapped for reading was written, for the grant said both")
        must([m.permission for m in iommu.misses_at(bus)] == [RO, WO], "the opposite access did not ask")
        must(blk.data(read) == before, "its bytes were changed")


def test_an_unasked_grant_gives_what_it_says(serve, image):
    with b.driving(serve.path, iommu=True) as blk:
        request = blk.map(blk.make(b.IN, 0, length=512), data_permission=RW)
        blk.domain.grant(blk.data_address(request), 512, RW)
        must(blk.run(request) == b.OK, "the read failed")
        must(not blk.domain.misses_at(blk.data_address(request)), "asked although it was granted")


def test_a_grant_replaces_what_it_overlaps(serve, image):
    """The middle page of three moves to other memory; the outer two stay."""
    with b.driving(serve.path, iommu=True) as blk:
        iommu = blk.domain
        pages = [blk.memory.alloc(PAGE) for _ in range(4)]
        bus = iommu.map_pages(pages[:3], WO)
        ack = [iommu.update(bus, 3 * PAGE, iommu.memory.user(pages[0]), WO)]    # three adjoining pages, one grant
        ack += [iommu.update(bus + PAGE, PAGE, iommu.memory.user(pages[3]), WO)]
        for each in ack:
            must(blk.front_end.wait(each).u64 == 0, "a grant was refused")
        iommu.set_page(bus + PAGE, pages[3], WO)
        request = blk.make(b.IN, 0, data_at=[(pages[0], PAGE), (pages[3], PAGE), (pages[2], PAGE)])
        request.chain = [(iommu.map(request.header, 16, RO), 16, 0), (bus, 3 * PAGE, WRITE),
                         (iommu.map(request.status, 1, WO), 1, WRITE)]
        must(blk.run(request) == b.OK and blk.data(request) == image.bytes[:3 * PAGE], "the read failed")


def test_replies_nobody_waits_for_and_garbage_on_the_back_end_channel_harm_nobody(serve, image):
    for attack in ("reply", "request", "garbage", "close"):
        with b.driving(serve.path, iommu=True) as blk:
            blk.still_works()
            back = blk.front_end.back
            if attack == "reply":
                with suppress(vu.PeerClosed):     # the first of them is enough to be hung up on
                    for _ in range(5):
                        back.send(1, vu.u64(0), flags=vu.VERSION | vu.REPLY)
            elif attack == "request":
                back.send(1, vu.iotlb(vu.MISS, 0, 0, 0, RO))
            elif attack == "garbage":
                with suppress(vu.PeerClosed):     # it may be hung up on before it is all out
                    back.send_raw(bytes(range(256)) * 20)
            else:
                blk.front_end.back.close()
                blk.front_end.back = None
            blk.front_end.stay(vu.QUIET / 2)
            request = blk.make(b.IN, 0, length=512)
            try:
                blk.offer(request)
                blk.front_end.stay(vu.QUIET / 2)
            except vu.Violation:
                pass
            serve.must_live()
        serves_on(serve, image)


@split_only
def test_a_back_end_channel_that_is_never_read_does_not_stop_the_main_one(serve, image):
    """4000 questions nobody reads, and the device still answers its front end."""
    memory = b.Memory(((0x1_0000_0000, 32 << 20, 0x7f40_0000_0000, 0),))
    with b.driving(serve.path, iommu=True, size=1024, memory=memory) as blk:
        blk.grant_ring()
        back, blk.front_end.back = blk.front_end.back, None     # not pumped any more
        header = memory.alloc(16)
        memory.write(header, b.HEADER.pack(b.IN, 0, 0))
        for n in range(1000):
            bus = [blk.domain.reserve(PAGE) for _ in range(4)]
            table = blk.table_of([(bus[0], 16, 0), (bus[1], 512, WRITE), (bus[2], 512, WRITE), (bus[3], 1, WRITE)])
            address = blk.domain.map(table, 64, RO)
            blk.domain.grant(address, 64)
            blk.ring.offer(blk.ring.add_chain([(address, 64, INDIRECT)]), publish=n % 10 == 9)
            if n % 10 == 9:
                blk.ring.set_avail_index(blk.ring.next_avail)
                blk.kick()
        blk.front_end.stay(vu.QUIET)
        must(blk.front_end.ask(R.GET_FEATURES).u64 == blk.offered, "the main channel is stuck")
        blk.front_end.back = back
        blk.front_end.wait_until(lambda: len(blk.domain.misses) >= 200, "the questions, once they are read")
    memory.close()
    serves_on(serve, image)
