# SPDX-License-Identifier: BSD-3-Clause
"""A device that lies ends the transfer in its VIODMA_PEER_* result, with the requirement's id: no crash, no hang.

How it works: each lie (lies_*.py) is told on one platform kind in the normal
run, the kinds taking turns, and on every kind in the slow one; lies about one
request also about the very first. A lie that a driver has to get by with must
leave the data right.
"""
import re

import pytest

import lies_messages  # noqa: F401  they register
import lies_packed
import lies_rings  # noqa: F401
from back_end import BackEnd
from blk import pattern
from lie import ALL, LIES, AtRequest
from lies_rings import HangsUpAtMessage, HangsUpAtRequest
from programs import EXIT_FAILED, PATIENCE
from vhost_user import must

HALF = 512 << 10
OPTIONS = ["--request=16K"]


def cases():
    for n, lie in enumerate(LIES):
        once = lie.domains[n % len(lie.domains)]
        for domain in lie.domains:
            for at in (3, 1) if issubclass(lie.device, AtRequest) else (None,):
                slow = domain != once or at == 1
                yield pytest.param(lie, domain, at, id=f"{lie}-{domain}" + (f"-at-{at}" if at == 1 else ""),
                                   marks=[pytest.mark.slow] if slow else [])


def transfer(lab, device, lie, domain):
    command = ["copy", 0, HALF] if lie.command == "copy" else ["read", f"{lab.tmp}/back"]
    return lab.start(device, *command, domain=domain, options=[*OPTIONS, f"--length={HALF}", *lie.options])


def data_is_right(lab, device, lie):
    expected = bytearray(lab.image.bytes)
    if lie.command == "copy":
        expected[HALF:2 * HALF] = expected[:HALF]
    else:
        with open(f"{lab.tmp}/back", "rb") as file:
            must(file.read() == expected[:HALF], "the read brought other bytes")
    must(device.contents() == expected, "the disk is not as it must be")


@pytest.mark.parametrize("lie, domain, at", cases())
def test_a_lie(lab, lie, domain, at):
    device = lab.lying(lie.device, **({"at": at} if at else {}))
    drive = transfer(lab, device, lie, domain).wait().must_be(lie.status)
    if lie.status == 0:
        data_is_right(lab, device, lie)
    else:
        if lie.results:
            drive.must_say("|".join(lie.results))
        if lie.rule:
            drive.must_say(rf"\b{lie.rule}\b")
    lab.end(sound=lie.status == 0)


@pytest.mark.parametrize("more", [[], ["--inband", "--packed"]], ids=["eventfds", "inband"])
@pytest.mark.parametrize("domain", ["direct", pytest.param("offset", marks=pytest.mark.slow), "iommu",
                                    pytest.param("bounce+iommu", marks=pytest.mark.slow), "restricted"])
def test_hanging_up_at_every_message(lab, domain, more):
    """At message 1, 2, ... until one that never comes: each ends the run, by name."""
    at = 0
    while True:
        at += 1
        device = lab.lying(HangsUpAtMessage, at=at, name=f"h{at}")
        drive = lab.run(device, "copy", 0, HALF, domain=domain, options=["--request=128K", f"--length={HALF}", *more],
                        status=(0, 1, 3))
        if not getattr(device.back_end, "hung_up", False):
            drive.must_be(0)
            break
        # what follows the last reset no longer concerns the data: there, it may be done already
        if drive.status:
            drive.must_say("VIODMA_PEER_GONE|VIODMA_PEER_MESSAGE|VIODMA_PEER_FEATURES")
        else:
            must(device.contents()[HALF:2 * HALF] == lab.image.bytes[:HALF], "exit status 0, and the data is not there")
    assert at > 15
    lab.end(sound=False)


@pytest.mark.parametrize("at", [1, 2, 17, 32, pytest.param(31, marks=pytest.mark.slow)])
@pytest.mark.parametrize("domain", ["direct", "iommu", "restricted"])
def test_hanging_up_in_the_middle_of_data(lab, domain, at):
    device = lab.lying(HangsUpAtRequest, at=at)
    lab.run(device, "copy", 0, HALF, domain=domain, options=[*OPTIONS, f"--length={HALF}"],
            status=EXIT_FAILED).must_say("VIODMA_PEER_GONE", "DEV-20")
    lab.end(sound=False)


def test_a_used_length_that_is_too_long_is_counted(lab):
    lie = next(lie for lie in LIES if lie.name == "UsedLengthAlwaysTooLong")
    device = lab.lying(lie.device)
    drive = transfer(lab, device, lie, "restricted").wait().must_be(0)
    counted = re.search(r'"clamped": *(\d+)', open(drive.stats_path).read())
    assert counted and int(counted[1]) > 0


@pytest.mark.parametrize("ring", ["--split", "--packed"])
@pytest.mark.parametrize("domain", ["direct", "iommu", "restricted"])
def test_one_element_for_all_where_requests_are_in_order(lab, domain, ring):
    device = lab.lying(lies_packed.OneForAll)
    drive = lab.run(device, "load", domain=domain, options=["--in-order", ring, "--requests=500"])
    must(int(drive.stats["features_accepted"]["bits"], 16) >> 35 & 1, "IN_ORDER was not accepted")


@pytest.mark.parametrize("ring", ["--split", "--packed"])
@pytest.mark.parametrize("domain", ALL)
@pytest.mark.parametrize("command", ["read", "verify", "write", "copy"])
def test_completion_in_any_order(lab, domain, command, ring):
    """No lie at all: a device may complete as it likes."""
    device = lab.lying(BackEnd, shuffle=len(domain))
    data = bytes(lab.image.bytes[:HALF])
    path = lab.file(pattern(HALF, 3) if command == "write" else data)
    arguments = {"copy": [0, HALF], "read": [f"{lab.tmp}/back"]}.get(command, [path])
    lab.run(device, command, *arguments, domain=domain, timeout=PATIENCE,
            options=["--request=4K", f"--length={HALF}", "--depth=64", ring])
    expected = bytearray(lab.image.bytes)
    if command == "write":
        expected[:HALF] = pattern(HALF, 3)
    elif command == "copy":
        expected[HALF:2 * HALF] = data
    elif command == "read":
        with open(f"{lab.tmp}/back", "rb") as file:
            must(file.read() == data, "a read brought other bytes")
    must(device.contents() == expected, "the disk is not as it must be")
