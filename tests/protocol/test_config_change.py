# SPDX-License-Identifier: BSD-3-Clause
"""BACKEND_CONFIG_CHANGE_MSG: a front end that can be told learns that the configuration space has changed."""
import os
import signal

import pytest

import blk as b
import vhost_user as vu
from vhost_user import Request as R, must


def grow(serve, image, by):
    os.truncate(image.path, os.stat(image.path).st_size + by)
    serve.process.send_signal(signal.SIGHUP)


def told(blk):
    return [m for m in blk.front_end.said if m.request == vu.BACKEND_CONFIG_CHANGE]


@pytest.mark.parametrize("iommu", [False, True], ids=["bit33-clear", "bit33-set"])
def test_the_front_end_is_told_of_a_new_capacity(serve, image, iommu):
    with b.driving(serve.path, iommu=iommu) as blk:
        before = blk.capacity
        for n in range(1, 4):
            blk.still_works()
            grow(serve, image, 1 << 20)
            blk.front_end.wait_until(lambda: len(told(blk)) == n, "the message")
            must(blk.capacity == before + n * 2048, "the capacity is not the file's")
        must(all(m.payload == b"" and m.flags == vu.VERSION | vu.NEED_REPLY for m in told(blk)), "malformed")
        must(blk.read(before + 2048, 512) == bytes(512), "what is new does not read as zeroes")


def test_changes_nobody_acknowledged_are_told_once(serve, image):
    with b.driving(serve.path) as blk:
        blk.front_end.answer_what_is_said = False
        before = blk.capacity
        for n in range(1, 6):
            grow(serve, image, 4096)
            blk.front_end.wait_until(lambda: blk.capacity == before + n * 8, "the new capacity")   # noqa: B023
        blk.front_end.wait_until(lambda: told(blk), "the message")
        must(len(told(blk)) == 1, f"{len(told(blk))} messages although the first was not answered")
        blk.front_end.answer_what_is_said = True
        blk.front_end.reply_in_turn(told(blk)[0], 0)
        blk.front_end.wait_until(lambda: len(told(blk)) == 2, "the message about what changed meanwhile")
        blk.front_end.stay(vu.QUIET / 5)
        must(len(told(blk)) == 2, "told more than once")


@pytest.mark.parametrize("without", [vu.CONFIG, vu.BACKEND_REQ], ids=["no-config", "no-channel"])
def test_a_front_end_that_cannot_be_told_is_not(serve, image, without):
    blk = b.Blk(serve.path)
    fe = blk.front_end
    fe.ask(R.GET_FEATURES)
    fe.protocol = (vu.REPLY_ACK | vu.CONFIG | vu.BACKEND_REQ | vu.STATUS) & ~without
    fe.tell(R.SET_PROTOCOL_FEATURES, vu.u64(fe.protocol), need_reply=False)
    if not without & vu.BACKEND_REQ:
        fe.make_backend_channel()
    fe.tell(R.SET_FEATURES, vu.u64(vu.F_VERSION_1 | vu.F_PROTOCOL))
    grow(serve, image, 4096)
    fe.stay(vu.QUIET / 3)
    must(not fe.said and fe.closed is None, "it was told, or hung up on")
    blk.close()
