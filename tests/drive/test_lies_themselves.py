# SPDX-License-Identifier: BSD-3-Clause
"""Each lie is a lie: the front end of the protocol suite stumbles over it, too."""
import os

import pytest

import blk as b
import journeys
import lies_messages  # noqa: F401  they register
import lies_rings  # noqa: F401
import vhost_user as vu
from lie import LIES
from test_back_end_itself import Disk


def reads_that_check(blk, disk):
    for first in (0, 12):
        batch = [blk.offer(blk.make(b.IN, first + i, length=1024)) for i in range(12)]
        for request in batch:
            vu.must(blk.wait(request) == b.OK, "a read failed")
            vu.must(request.used == 1025, f"used length {request.used}")
            vu.must(blk.data(request) == disk.bytes[request.sector * 512:request.sector * 512 + 1024], "other bytes")
    vu.must(not set(blk.ring.owner), "some requests never came back")


@pytest.mark.parametrize("one", [lie for lie in LIES if lie.seen and lie.status != 0], ids=repr)
def test_a_driver_that_checks_sees_it(tmp, one, monkeypatch):
    monkeypatch.setattr(vu, "PATIENCE", 0.5)
    disk = Disk()
    with one.device(os.path.join(tmp, "s"), disk.now) as device:
        with pytest.raises(vu.Violation):
            with b.driving(device.path, patience=0.5, indirect="--no-indirect" not in one.options) as blk:
                reads_that_check(blk, disk)
                status = blk.front_end.ask(vu.Request.GET_STATUS).u64
                vu.must(status == 0x0f, f"status {status:#x}")
                for _ in range(2):
                    blk.front_end.tell(vu.Request.SET_STATUS, vu.u64(0))
                    vu.must(blk.front_end.ask(vu.Request.GET_STATUS).u64 == 0, "not out of reset")


@pytest.mark.parametrize("one", [lie for lie in LIES if lie.seen and lie.status == 0], ids=repr)
def test_a_driver_gets_by(tmp, one):
    disk = Disk()
    with one.device(os.path.join(tmp, "s"), disk.now) as device:
        with b.driving(device.path) as blk:
            journeys.many_in_flight(blk, disk)
