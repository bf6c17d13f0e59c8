# SPDX-License-Identifier: BSD-3-Clause
"""discard, write-zeroes, secure-erase, lifetime and cache of `viodma drive blk`, against devices of three makers."""
import os

import pytest

from device_disk import IOERR, UNSUPP
from device_ranges import (DISCARD, DISCARDED, ERASED, F_CONFIG_WCE, SECURE_ERASE, WRITE_ZEROES, Managed)
from programs import DOMAINS, EXIT_FAILED, EXIT_USAGE
from test_drive_program import HERE, run
from vhost_user import must

SECTORS = 1001          # of no limit a multiple
PLACE = 77
AREA = [f"--offset={PLACE * 512}", f"--length={SECTORS * 512}"]
COMMANDS = {"discard": (DISCARD, DISCARDED), "write-zeroes": (WRITE_ZEROES, b"\0"), "secure-erase": (SECURE_ERASE, ERASED)}


def must_print(drive, *texts):
    for text in texts:
        must(text in drive.out.decode(), f"no '{text}' in {drive.out}")


def filled(lab, byte):
    expected = bytearray(lab.image.bytes)
    expected[PLACE * 512:(PLACE + SECTORS) * 512] = byte * (SECTORS * 512)
    return expected


@pytest.mark.parametrize("layout", ["--packed", "--split"])
@pytest.mark.parametrize("domain", DOMAINS)
@pytest.mark.parametrize("command", COMMANDS)
def test_the_ranges_are_those_asked_for_and_as_the_device_takes_them(lab, command, domain, layout):
    kind, byte = COMMANDS[command]
    device = lab.lying(Managed)
    lab.run(device, command, domain=domain, options=[*AREA, layout, "--debug-dma", "--strict"])
    must(device.contents() == filled(lab, byte), "the disk holds something else")
    ranges = sorted((sector, sectors) for what, sector, sectors, _ in device.back_end.ranges if what == kind)
    at = PLACE
    for sector, sectors in ranges:      # without gaps, and nothing twice
        must(sector == at, f"a range at {sector}, not {at}: {ranges}")
        at += sectors
    must(at == PLACE + SECTORS, f"{ranges}")
    must(not any(flags for *_, flags in device.back_end.ranges), "unmap that nobody asked for")
    if kind == DISCARD:
        must(all((sector + sectors) % 8 == 0 for sector, sectors in ranges[:-1]), f"cut anywhere: {ranges}")


def test_unmap_is_said_where_it_was_asked_for(lab):
    device = lab.lying(Managed)
    lab.run(device, "write-zeroes", options=[*AREA, "--unmap"])
    must(all(flags == 1 for *_, flags in device.back_end.ranges) and device.back_end.ranges, f"{device.back_end.ranges}")


@pytest.mark.parametrize("status, named", [(IOERR, "VIODMA_E_IO|I/O|error"), (UNSUPP, "nsupported")])
@pytest.mark.parametrize("command", COMMANDS)
def test_an_error_is_said(lab, command, status, named):
    class Failing(Managed):
        ranges_status = status
    lab.run(lab.lying(Failing), command, options=AREA, status=EXIT_FAILED).must_say(command)


@pytest.mark.parametrize("command", COMMANDS)
def test_what_lies_beyond_the_disk_is_not_asked_for(lab, command):
    device = lab.lying(Managed)
    lab.run(device, command, options=["--offset=1G", "--length=1M"], status=EXIT_FAILED).must_say("the disk has")
    must(not device.back_end.ranges, f"{device.back_end.ranges}")


@pytest.mark.parametrize("arguments, named", [
    (["discard"], "length"), (["write-zeroes"], "length"), (["secure-erase"], "length"), (["cache"], "writeback"),
    (["cache", "writearound"], "writearound"), (["--unmap", "info"], "unmap"), (["lifetime", "x"], "nothing"),
    (["--length=100", "discard"], "512")])
def test_a_command_line_that_is_wrong_is_named(arguments, named):
    ended = run("blk", *HERE, *arguments)
    must(ended.returncode == EXIT_USAGE and named in ended.stderr, f"{ended}")


# -- lifetime, and the cache mode -----------------------------------------------------------------

@pytest.mark.parametrize("domain", DOMAINS)
def test_the_lifetime_is_said(lab, domain):
    must_print(lab.run(lab.lying(Managed), "lifetime", domain=domain), "normal", "up to 30 %", "exceeded")


class Reserved(Managed):
    lifetime = (4, 12, 0)


def test_a_lifetime_that_the_standard_reserves_is_named(lab):
    lab.run(lab.lying(Reserved), "lifetime", status=EXIT_FAILED).must_say("DEV-22", "reserves")


def test_the_cache_mode_is_switched(lab):
    device = lab.lying(Managed)
    lab.run(device, "cache", "writethrough")
    must_print(lab.run(device, "info"), "writethrough")
    lab.run(device, "cache", "writeback")
    must(device.back_end.modes == [0, 1], f"{device.back_end.modes}")


class Stuck(Managed):
    def switch(self, mode):
        """Says that it was told, and does nothing."""


def test_a_cache_mode_that_does_not_change_is_named(lab):
    lab.run(lab.lying(Stuck), "cache", "writethrough", status=EXIT_FAILED).must_say("DEV-22")


class Fixed(Managed):
    features = Managed.features & ~F_CONFIG_WCE


@pytest.mark.parametrize("command", [["cache", "writeback"], ["lifetime"], ["secure-erase", "--length=512"]])
def test_what_is_not_offered_is_said(lab, command):
    device = lab.lying(Fixed) if command[0] == "cache" else lab.device("serve-offer")
    lab.run(device, *command, status=EXIT_FAILED).must_say("does not offer")


class Nothing(Managed):
    limits = {**Managed.limits, DISCARD: (0, 3, 8)}


class NoList(Managed):
    limits = {**Managed.limits, SECURE_ERASE: (33, 0, 0)}


class NoMode(Managed):
    writeback = 7


@pytest.mark.parametrize("kind", [Nothing, NoList, NoMode], ids=lambda kind: kind.__name__)
def test_limits_that_cannot_be_are_refused(lab, kind):
    lab.run(lab.lying(kind), "info", status=EXIT_FAILED).must_say("DEV-22")


# -- other makers' ----------------------------------------------------------------------------------

@pytest.mark.parametrize("domain", DOMAINS)
def test_serve_zeroes_and_discards(lab, domain):
    device = lab.device("serve-offer")
    lab.run(device, "write-zeroes", domain=domain, options=AREA)
    must(device.contents() == filled(lab, b"\0"), "the disk holds something else")
    before = os.stat(lab.image.path).st_blocks
    lab.run(device, "discard", domain=domain, options=["--offset=0", "--length=256K"])
    must(os.stat(lab.image.path).st_blocks <= before - 512 + 64, "no hole")
    must(not any(device.contents()[:256 << 10]), "a hole of a file that is not zeroes")
    must_print(lab.run(device, "info", domain=domain), "write-zeroes", "16 ranges", "may unmap")


def test_qemu_s_storage_daemon_zeroes_and_discards(lab):
    device = lab.device("qemu")
    lab.run(device, "write-zeroes", options=AREA)
    must(device.contents() == filled(lab, b"\0"), "the disk holds something else")
    lab.run(device, "write-zeroes", options=[*AREA, "--unmap"])
    must(device.contents() == filled(lab, b"\0"), "the disk holds something else")
    lab.run(device, "discard", options=["--offset=0", "--length=256K"])
    lab.run(device, "cache", "writethrough")
    lab.run(device, "cache", "writeback")
