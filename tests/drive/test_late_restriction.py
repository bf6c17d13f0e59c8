# SPDX-License-Identifier: BSD-3-Clause
"""The platform becomes restricted in the middle of a transfer: reset, negotiate again, resume; the data is right.

How it works: --restrict-after N for N = 1, 2, ... in each command, from each
kind. The Python back end says what it was handed when DRIVER_OK came the second
time; of `viodma serve` it is read from /proc. A device without bit 33 cannot go
on: it is refused by name, and each of the disk's sectors is old or new.
"""
import itertools
import os

import pytest

from blk import pattern
from processes import shared_files
from programs import CONFINED, DOMAINS, EXIT_REFUSED
from vhost_user import must

LENGTH = 256 << 10
REQUEST = 16 << 10
REQUESTS = LENGTH // REQUEST
POOL = 1 << 20
DEPTH = 4
COMMANDS = ("write", "read", "copy", "verify")
SHORT = (1, 2, REQUESTS // 2, REQUESTS)


def arguments(lab, command):
    if command == "copy":
        return ["copy", 0, LENGTH]
    if command == "read":
        return ["read", os.path.join(lab.tmp, "back")]
    return [command, lab.file(pattern(LENGTH, 4) if command == "write" else lab.image.bytes[:LENGTH])]


def expected(lab, command):
    disk = bytearray(lab.image.bytes)
    if command == "copy":
        disk[LENGTH:2 * LENGTH] = disk[:LENGTH]
    elif command == "write":
        disk[:LENGTH] = pattern(LENGTH, 4)
    return disk


def options(after, depth=DEPTH):
    return [f"--restrict-after={after}", f"--length={LENGTH}", f"--request={REQUEST}", f"--pool={POOL}",
            f"--depth={depth}"]


def resumes(lab, device, command, domain, after, **how):
    drive = lab.run(device, *arguments(lab, command), domain=domain, options=options(after, **how))
    must(device.contents() == expected(lab, command), f"{command}: the disk is not as it must be")
    if command == "read":
        with open(os.path.join(lab.tmp, "back"), "rb") as file:
            must(file.read() == lab.image.bytes[:LENGTH], "the read brought other bytes")
    return drive


def cases():
    for domain, command, after in itertools.product(DOMAINS, COMMANDS, range(1, REQUESTS + 2)):
        quick = after in SHORT and (DOMAINS.index(domain) + COMMANDS.index(command) + SHORT.index(after)) % 3 == 0
        yield pytest.param(domain, command, after, marks=[] if quick else [pytest.mark.slow])


@pytest.mark.parametrize("domain, command, after", cases())
def test_the_transfer_resumes_over_the_pool(lab, domain, command, after):
    device = lab.device("python-offer")
    drive = resumes(lab, device, command, domain, after)
    back_end = device.back_end
    starts = [areas for name, *rest in back_end.events if name == "driver_ok" for areas in rest]
    total = 2 * REQUESTS if command == "copy" else REQUESTS
    if after >= total:
        drive.must_say("never restricted")
        must(len(starts) == 1, f"DRIVER_OK {len(starts)} times: {drive}")
        return
    must(len(starts) == 2, f"DRIVER_OK {len(starts)} times: {drive}")
    must(sum(size for _, size in starts[1]) == POOL, f"after the restriction it was handed {starts[1]}")
    if domain not in CONFINED:
        must(sum(size for _, size in starts[0]) > POOL, "it was restricted from the start")
    must(("reset",) in back_end.events, "the device was not reset")
    must(not back_end.access.refused, f"{back_end.access.refused}")


@pytest.mark.parametrize("domain", DOMAINS)
@pytest.mark.parametrize("command", COMMANDS)
def test_with_viodmas_own_device(lab, domain, command):
    device = lab.device("serve-offer")
    for after in (1, 5):
        device.image.write_again()
        resumes(lab, device, command, domain, after)


@pytest.mark.parametrize("after", [1, REQUESTS - 1, REQUESTS])
def test_it_happens_although_everything_could_be_in_flight_at_once(lab, after):
    drive = resumes(lab, lab.device("serve-offer"), "write", "iommu", after, depth=2 * REQUESTS)
    drive.must_say("from now on" if after < REQUESTS else "never restricted")


@pytest.mark.parametrize("device", ["qemu", "serve-off", "python-off"])
@pytest.mark.parametrize("command", COMMANDS)
def test_a_device_without_bit_33_is_refused_by_name(lab, command, device):
    one = lab.device(device)
    drive = lab.run(one, *arguments(lab, command), domain="direct", options=options(REQUESTS // 2),
                    status=EXIT_REFUSED)
    drive.must_say("DRV-4", "refused")
    old, new, now = lab.image.bytes, expected(lab, command), one.contents()
    for at in range(0, len(now), 512):
        must(now[at:at + 512] in (old[at:at + 512], new[at:at + 512]), f"sector {at // 512} is neither old nor new")


def test_what_is_handed_over_after_it_is_the_pool_alone(lab):
    """Seen from outside: the device process's own memory map, while the rest of a slow transfer runs."""
    lab.grow_image(32 << 20)
    device = lab.device("serve-offer")
    drive = lab.start(device, "copy", 0, 16 << 20, domain="direct",
                      options=["--restrict-after=64", f"--pool={POOL}", "--request=4K", "--depth=1",
                               f"--length={16 << 20}"])
    seen = []
    while drive.process.poll() is None:
        sizes = sorted(size for _, size in shared_files(device.pid))
        if sizes and (not seen or seen[-1] != sizes):
            seen.append(sizes)
    drive.wait().must_be(0)
    must(seen and seen[-1] == [POOL], f"what the device process had mapped, one after the other: {seen}")
