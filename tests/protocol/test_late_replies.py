# SPDX-License-Identifier: BSD-3-Clause
"""Replies that come after what they stood for has changed: a grant given, withdrawn, and asked for again.

How it works: a reply carries no id; it is about the oldest question. Lazy invalidation withdraws whole domains at any
moment, between an UPDATE and the reply to the MISS it answered as well. A device that still needs the page asks again,
and the old question's reply must not be taken for the new one's.
"""
import os
import signal

import blk as b
import pytest
from driver import PAGE, RO, RW, WO, WRITE
from hostile import serves_on
from vhost_user import UPDATE, Request, iotlb, must

pytestmark = pytest.mark.usefixtures("layout")


def test_a_grant_withdrawn_before_its_reply_is_asked_for_again(serve, image):
    with b.driving(serve.path, iommu=True) as blk:
        blk.grant_ring()
        place = [blk.memory.alloc(PAGE), blk.memory.alloc(PAGE)]
        first, second = (blk.domain.map(phys, PAGE, WO) for phys in place)
        request = blk.make(b.IN, 0, data_at=[(phys, PAGE) for phys in place])
        header, status = blk.domain.map(request.header, 16, RO), blk.domain.map(request.status, 1, WO)
        blk.domain.grant(header, 16)
        blk.domain.grant(status, 1)
        request.chain = [(header, 16, 0), (first, PAGE, WRITE), (second, PAGE, WRITE), (status, 1, WRITE)]
        blk.domain.policy = blk.domain.keep
        blk.offer(request)
        blk.front_end.wait_until(lambda: len(blk.domain.kept) == 2, "the misses for both pages")
        old = {miss.iova & -PAGE: miss for miss in blk.domain.kept}
        blk.domain.kept.clear()

        blk.domain.grant(first, PAGE, RW)              # answers the first question; its reply is not sent yet
        old[first].answered = True
        blk.domain.invalidate(first, PAGE)
        blk.domain.grant(second, PAGE, RW)             # whoever waits is tried again, and misses the first page
        old[second].answered = True
        blk.front_end.wait_until(lambda: blk.domain.kept, "the first page to be asked for again")
        must(blk.domain.kept[0].iova & -PAGE == first, f"asked for {blk.domain.kept}")
        for miss in (old[first], old[second]):
            blk.domain.reply(miss, 0)                  # the old replies, which say nothing about the new question
        blk.front_end.stay(0.1)
        must(request.used is None, "failed by a reply to an older question")
        blk.domain.policy = blk.domain.answer
        blk.domain.answer_kept()
        must(blk.wait(request) == b.OK and blk.data(request) == image.bytes[:2 * PAGE], "the read failed")
    serves_on(serve, image)


@pytest.mark.parametrize("updates", [127, 128, 129, 130])
def test_a_reply_counts_though_nothing_comes_after_it(serve, image, updates):
    """A reply counts once all before it on the main channel is dealt with: also if that is just as much as was read."""
    with b.driving(serve.path, iommu=True) as blk:
        blk.grant_ring()
        spare = blk.memory.alloc(PAGE)
        grant = iotlb(UPDATE, blk.domain.map(spare, PAGE, RW), PAGE, blk.memory.user(spare), RW)
        request = blk.make(b.IN, 8, length=512)
        blk.map(request)
        blk.domain.policy = blk.domain.keep_range(request.chain[1][0], 512)
        blk.offer(request)
        blk.front_end.wait_until(lambda: blk.domain.kept, "the miss")

        os.kill(serve.pid, signal.SIGSTOP)             # so that it finds both channels ready, the main one first
        for _ in range(updates):
            blk.front_end.start(Request.IOTLB_MSG, grant, need_reply=False)
        for miss in blk.domain.kept:
            blk.domain.refuse(miss)
        os.kill(serve.pid, signal.SIGCONT)
        must(blk.wait(request, timeout=5) == b.IOERR, "the request whose page was refused did not fail")
    serves_on(serve, image)
