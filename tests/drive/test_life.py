# SPDX-License-Identifier: BSD-3-Clause
"""Death and interruption in the middle of a transfer: named, in time, and clean."""
import signal
import time

import pytest

from back_end import DRIVER_OK, BackEnd
from programs import DOMAINS, EXIT_FAILED
from vhost_user import must

LONG = 32 << 20
OPTIONS = ["--request=512", "--depth=1", f"--length={LONG}"]


class Slow(BackEnd):
    delay = 0.01


@pytest.mark.parametrize("command", ["read", "copy"])
@pytest.mark.parametrize("device, domain", [("serve-offer", "restricted"), ("serve-offer", "iommu"), ("qemu", "direct"),
                                            ("serve-off", "offset"), ("serve-offer", "bounce+iommu")])
def test_a_device_that_is_killed(lab, device, domain, command):
    lab.grow_image(2 * LONG)
    one = lab.device(device)
    drive = lab.start(one, *(["read", f"{lab.tmp}/back"] if command == "read" else ["copy", 0, LONG]), domain=domain,
                      options=OPTIONS)
    time.sleep(0.15)
    must(drive.process.poll() is None, f"it ended too early: {drive}")
    one.kill()
    drive.wait().must_be(EXIT_FAILED).must_say("VIODMA_PEER_GONE", "DEV-20")
    lab.devices.remove(one)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda n: n.name)
@pytest.mark.parametrize("domain", DOMAINS)
def test_an_interruption_resets_the_device(lab, domain, number):
    device = lab.lying(Slow)
    drive = lab.start(device, "copy", 0, 1 << 20, domain=domain, options=["--request=4K", "--length=1M"])
    end = time.monotonic() + 10
    while device.back_end.requests < 3 and time.monotonic() < end:
        time.sleep(0.005)
    drive.interrupt(number)
    drive.wait()
    must(drive.status not in (0, 2, 3), f"exit status {drive.status}: {drive}")
    events = device.back_end.events
    end = time.monotonic() + 5
    while events[-1] != ("closed",) and time.monotonic() < end:
        time.sleep(0.005)
    must(("reset",) in events and events[-1] == ("closed",), f"no reset before the end: {events[-6:]}")
    last_start = max(i for i, event in enumerate(events) if event[0] == "driver_ok")
    must(("reset",) in events[last_start:], "the reset came before the device was started")
    must(DRIVER_OK == 4, "")
