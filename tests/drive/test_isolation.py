# SPDX-License-Identifier: BSD-3-Clause
"""What the device process can reach: with `restricted` and `bounce+iommu` the pool, and nothing of private memory.

How it works: the test build's --canary fills private memory, wherever no data
lies, with a pattern that stands nowhere else. It is looked for in all that the
Python back end was ever handed, at random requests, whole files at a time; and
from outside in all memory of the device process (viodma serve, QEMU's storage
daemon), whatever it is. That the search can see is shown where private memory
IS handed over (direct, offset, bounce, iommu): there it must find the pattern.
"""
import os
import random
import signal
import time

import pytest

from back_end import BackEnd
from blk import pattern
from processes import find, memfds, shared_files
from programs import CONFINED, DISK_BYTES, DOMAINS, PATIENCE
from vhost_user import must

CANARY = b"viodma-canary-in-private-memory!"
POOL = 1 << 20
HALF = DISK_BYTES // 2
LOOKS = 6
OPEN = tuple(domain for domain in DOMAINS if domain not in CONFINED)
COMMANDS = ("write", "read", "copy", "verify")
OPTIONS = ["--canary", f"--pool={POOL}", f"--length={HALF}"]


class Scanning(BackEnd):
    """Looks through everything it was ever handed, at random requests and at the end."""
    found = 0
    scans = 0

    def complete(self, chain, written):
        if self.random.random() < 0.1:
            self.scan()
        super().complete(chain, written)

    def scan(self):
        self.scans += 1
        self.found += bool(self.areas.scan(CANARY))

    def after_reset(self):
        if self.requests:           # before the first, no memory is marked
            self.scan()


def command_line(lab, command):
    if command == "copy":
        return ["copy", 0, HALF]
    if command == "read":
        return ["read", os.path.join(lab.tmp, "back")]
    return [command, lab.file(pattern(HALF, 6) if command == "write" else lab.image.bytes[:HALF])]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("domain", DOMAINS)
def test_what_a_device_was_ever_handed(lab, domain, command):
    device = lab.lying(Scanning)
    lab.run(device, *command_line(lab, command), domain=domain, options=[*OPTIONS, "--request=8K"], test_build=True)
    back_end = device.back_end
    assert back_end.scans > 3
    if domain in CONFINED:
        must(not back_end.found, f"{domain}: private memory lies in what the device was handed")
        handed = [os.fstat(fd).st_size for fd, _ in back_end.areas.ever]
        must(handed == [POOL], f"{domain}: it was handed files of {handed} bytes, the pool has {POOL}")
    else:
        must(back_end.found == back_end.scans, f"{domain}: the scan does not see what it must ({back_end.found} times)")


def looks(lab, device, domain, command, options=()):
    """Stops it at random moments and looks at the device process: where the canary stood, what memfds it had."""
    drive = lab.start(device, *command_line(lab, command), domain=domain, test_build=True,
                      options=[*OPTIONS, "--request=512", "--depth=2", *options])
    found, held, count = [], set(), 0
    chance = random.Random(domain + command)
    while drive.process.poll() is None and count < LOOKS:
        time.sleep(chance.random() * 0.02)
        drive.interrupt(signal.SIGSTOP)
        if now := shared_files(device.pid):
            held |= set(now)
            count += 1
            if place := find(device.pid, CANARY):
                found.append(place)
        drive.interrupt(signal.SIGCONT)
    drive.wait(PATIENCE).must_be(0)
    must(count >= 3, f"it ended before anybody could look ({count} times)")
    return found, held


@pytest.mark.wide               # a sanitizer's memory is large
@pytest.mark.parametrize("domain", CONFINED)
@pytest.mark.parametrize("command", COMMANDS)
def test_the_process_of_viodma_serve_from_outside(lab, domain, command):
    device = lab.device("serve-offer")
    found, held = looks(lab, device, domain, command)
    must(not found, f"{domain}: private memory lies in the device process: {found[:3]}")
    must(len({inode for inode, _ in held}) == 1 and max(size for _, size in held) == POOL,
         f"{domain}: the device process had mapped {held}")
    must(not memfds(device.pid) - {inode for inode, _ in held}, "it holds descriptors of other memory")


@pytest.mark.wide
@pytest.mark.parametrize("domain", OPEN)
def test_the_look_from_outside_can_see(lab, domain):
    found, _ = looks(lab, lab.device("serve-offer"), domain, "copy")
    must(found, f"{domain}: private memory was handed over, and the search did not see it")


def test_a_third_partys_process_from_outside(lab):
    device = lab.device("qemu")
    found, held = looks(lab, device, "restricted", "copy", options=["--pool-at-physical"])
    must(not found, f"private memory lies in the device process: {found[:3]}")
    must(len({inode for inode, _ in held}) == 1 and max(size for _, size in held) == POOL,
         f"the device process had mapped {held}")


def test_the_look_at_a_third_partys_process_can_see(lab):
    found, _ = looks(lab, lab.device("qemu"), "direct", "copy")
    must(found, "private memory was handed over, and the search did not see it")
