# SPDX-License-Identifier: BSD-3-Clause
"""The program `viodma drive blk` itself: its command line, files, sockets, what it prints, its exit status."""
import json
import os
import re
import socket
import subprocess

import pytest

import servers
import vhost_user as vu
from back_end import BackEnd, Closed
from blk import pattern
from programs import DISK_BYTES, EXIT_DONE, EXIT_FAILED, EXIT_USAGE, PATIENCE
from vhost_user import must

HERE = ["--socket-path=/nowhere/at/all"]


def run(*arguments, **how):
    servers.needs(servers.VIODMA)
    return subprocess.run([servers.VIODMA, "drive", *arguments], capture_output=True, text=True, timeout=PATIENCE,
                          stdin=subprocess.DEVNULL, check=False, **how)


@pytest.mark.parametrize("arguments, named", [
    ([], "blk"), (["net"], "net"), (["blk"], "command|socket-path"), (["blk", "info"], "socket-path"),
    (["blk", *HERE], "command"), (["blk", *HERE, "erase"], "erase"), (["blk", *HERE, "read"], "FILE"),
    (["blk", *HERE, "read", "a", "b"], "FILE"), (["blk", *HERE, "info", "x"], "nothing"),
    (["blk", *HERE, "--fd=3", "info"], "fd"), (["blk", *HERE, "--no-such-option", "info"], "no-such-option"),
    (["blk", *HERE, "--domain=elsewhere", "info"], "elsewhere"),
    (["blk", *HERE, "--domain=direct", "--platform=kind=direct", "info"], "platform"),
    (["blk", *HERE, "--pool=1000", "info"], "pool"),
    (["blk", *HERE, "--pool=1M", "--pool-max=512K", "info"], "pool-max"),
    (["blk", *HERE, "--request=100", "info"], "request"), (["blk", *HERE, "--depth=0", "info"], "depth"),
    (["blk", *HERE, "--queues=99", "info"], "queues"), (["blk", *HERE, "--iommu-mode=lazy", "info"], "lazy"),
    (["blk", *HERE, "--offset=100", "read", "x"], "offset"), (["blk", *HERE, "--length=0", "read", "x"], "length"),
    (["blk", *HERE, "copy", "0", "512"], "length"), (["blk", *HERE, "--length=1024", "copy", "0", "512"], "overlap"),
    (["blk", *HERE, "--length=512", "copy", "0", "100"], "512"),
    (["blk", *HERE, "--platform-dma-bit=33", "info"], "platform-dma-bit"),
    (["blk", *HERE, "--require-platform-dma", "--decline-platform-dma", "info"], "require-platform-dma"),
    (["blk", *HERE, "--depth=1024", "--request=64M", "info"], "--request and --depth"),
    (["blk", *HERE, "--platform=kind=iommu granule=512", "info"], "--platform: .*4096"),
    (["blk", *HERE, "--platform=kind=direct width=20", "info"], "--platform: .*width"),
    (["blk", *HERE, "--platform=kind=offset window=0x0+64K@0x100000", "info"], "--platform: .*no window"),
    (["blk", *HERE, "--platform=restricted pool=0x40000000+2M", "--pool=4M", "info"], "--platform: .*pool"),
    (["blk", *HERE, "--platform=kind=elsewhere", "info"], "--platform: at 'kind=elsewhere'"),
    (["blk", *HERE, "--canary", "info"], "canary"), (["blk", *HERE, "stray", "everywhere"], "everywhere")])
def test_a_command_line_that_is_wrong_is_named(arguments, named):
    ended = run(*arguments)
    must(ended.returncode == EXIT_USAGE, f"exit status {ended.returncode}: {ended.stderr}")
    must(re.search(named, ended.stderr), f"no /{named}/ in {ended.stderr}")
    must(not ended.stdout, f"standard output: {ended.stdout}")


@pytest.mark.parametrize("arguments", [["--help"], ["blk", "--help"]])
def test_help(arguments):
    ended = run(*arguments)
    must(ended.returncode == EXIT_DONE and "usage:" in ended.stdout and not ended.stderr, f"{ended}")


def test_a_device_that_is_not_there(tmp):
    ended = run("blk", f"--socket-path={tmp}/none", "info")
    must(ended.returncode == EXIT_FAILED and f"{tmp}/none: No such file" in ended.stderr, f"{ended}")
    ended = run("blk", f"--socket-path={tmp}/none", "--quiet", "info")
    must(ended.returncode == EXIT_FAILED and f"{tmp}/none: No such file" in ended.stderr, f"quiet: {ended}")


def test_info_says_what_was_agreed_on(lab):
    device = lab.device("serve-offer", options=["--serial=twelve-bytes"])
    for domain, kind in (("direct", "direct"), ("restricted", "bounce"), ("bounce+iommu", "bounce+iommu")):
        out = lab.run(device, "info", domain=domain).out.decode()
        for word in (str(DISK_BYTES), "twelve-bytes", "VIRTIO_F_ACCESS_PLATFORM", "bus", "DRV-2", kind):
            must(word in out, f"no '{word}' in {out}")


def test_read_to_standard_output(lab):
    drive = lab.run(lab.device("serve-offer"), "read", "-", domain="iommu", options=["--offset=512", "--length=128K"])
    must(drive.out == lab.image.bytes[512:512 + (128 << 10)], "standard output holds other bytes")


def test_the_whole_disk_is_read_without_a_length(lab):
    back = os.path.join(lab.tmp, "back")
    lab.run(lab.device("serve-offer"), "read", back, domain="offset")
    with open(back, "rb") as file:
        must(file.read() == lab.image.bytes, "the file differs from the disk")


@pytest.mark.parametrize("command, size", [("write", 1000), ("write", DISK_BYTES + 512), ("verify", 511),
                                           ("verify", DISK_BYTES + 512)])
def test_a_file_that_does_not_fit_is_named(lab, command, size):
    device = lab.device("serve-offer")
    path = lab.file(pattern(size, 3))
    lab.run(device, command, path, status=EXIT_FAILED).must_say("512|disk has")
    must(device.contents() == lab.image.bytes, "and yet the disk changed")


def test_files_that_cannot_be_opened_are_named(lab):
    device = lab.device("serve-offer")
    lab.run(device, "write", f"{lab.tmp}/none", status=EXIT_FAILED).must_say(f"{lab.tmp}/none")
    lab.run(device, "verify", lab.tmp, status=EXIT_FAILED).must_say(f"{lab.tmp}: Is a directory")
    lab.run(device, "read", f"{lab.tmp}/no/file", status=EXIT_FAILED).must_say(f"{lab.tmp}/no/file")
    drive = lab.run(device, "info", options=[f"--stats-json={lab.tmp}/no/file"], stats=False, status=EXIT_FAILED)
    drive.must_say(f"{lab.tmp}/no/file")


def test_a_read_beyond_the_disk_leaves_the_file_alone(lab):
    device = lab.device("serve-offer")
    path = lab.file(b"what was there")
    lab.run(device, "read", path, options=["--offset=1T"], status=EXIT_FAILED).must_say("the disk has")
    with open(path, "rb") as file:
        must(file.read() == b"what was there", "the file is not what it was")


def test_a_directory_is_no_file(lab):
    device = lab.device("serve-offer")
    for command in ("read", "write", "verify"):
        lab.run(device, command, lab.tmp, status=EXIT_FAILED).must_say(f"{lab.tmp}: Is a directory")


def test_why_a_connection_fails_is_said_once_even_when_quiet(lab):
    place = os.path.join(lab.tmp, "nobody")
    for options in ([], ["--quiet"]):
        done = subprocess.run([servers.VIODMA, "drive", "blk", f"--socket-path={place}", *options, "info"],
                              capture_output=True, text=True, timeout=PATIENCE)
        must((done.returncode, done.stderr) ==
             (EXIT_FAILED, f"viodma: blk0: cannot connect to {place}: No such file or directory\n"), done.stderr)


class SaysThatItChanged(BackEnd):
    """With each request."""

    def carry_out(self, chain):
        self.back.send(vu.BACKEND_CONFIG_CHANGE, b"", [], vu.VERSION)
        return super().carry_out(chain)


def test_a_device_that_changes_all_the_time_cannot_flood_the_log(lab):
    device = lab.lying(SaysThatItChanged)
    done = run("blk", f"--socket-path={device.path}", "--depth=1", "--length=1M", "--requests=2000", "load")
    must(done.returncode == EXIT_DONE, done.stderr[-1000:])
    said = done.stderr.count("configuration has changed")
    must(1 <= said < 100, f"it is said {said} times: {done.stderr[-300:]}")


def test_a_full_file_is_named(lab):
    lab.run(lab.device("serve-offer"), "read", "/dev/full", status=EXIT_FAILED).must_say("/dev/full")


def test_a_read_only_disk_is_not_written(lab):
    device = lab.device("serve-offer", options=["--read-only"])
    lab.run(device, "write", lab.file(bytes(4096)), status=EXIT_FAILED).must_say("VIODMA_E_UNSUPPORTED")
    lab.run(device, "verify", lab.file(lab.image.bytes))


def test_a_difference_is_named_with_its_place(lab):
    data = bytearray(lab.image.bytes)
    data[70000] ^= 1
    drive = lab.run(lab.device("serve-offer"), "verify", lab.file(data), domain="restricted", status=EXIT_FAILED)
    drive.must_say("differ.*70000")


def test_a_device_on_an_inherited_descriptor(lab):
    device = lab.device("serve-offer")
    with socket.socket(socket.AF_UNIX) as connected:
        connected.connect(device.path)
        ended = run("blk", f"--fd={connected.fileno()}", "--domain=iommu", "info", pass_fds=(connected.fileno(),))
    must(ended.returncode == EXIT_DONE and str(DISK_BYTES) in ended.stdout, f"{ended}")


def test_statistics_tell_what_happened(lab):
    device = lab.device("python-offer")
    stats = lab.run(device, "copy", 0, 1 << 20, domain="restricted",
                    options=["--length=256K", "--request=16K", "--debug-dma"]).stats
    must(stats["exit_status"] == 0 and stats["command"] == "copy", f"{stats}")
    must(stats["transfer"]["bytes"] == 256 << 10 and stats["transfer"]["requests"] == 32, f"{stats['transfer']}")
    must(stats["bytes"] == {"read": 256 << 10, "written": 256 << 10}, f"{stats['bytes']}")
    must(stats["pool"]["copied_in_bytes"] == stats["pool"]["copied_out_bytes"] == 256 << 10, f"{stats['pool']}")
    must(stats["addressing"] == "bus" and stats["rule"] == "DRV-2" and stats["debug"]["reports"] == 0, f"{stats}")
    must(stats["shared_bytes"] == device.back_end.areas.bytes_now() or not device.back_end.areas.now, f"{stats}")
    must(stats["misses"]["asked"] == device.back_end.misses, f"{stats['misses']}, {device.back_end.misses} were asked")


def test_statistics_tell_both_sides_of_a_restriction(lab):
    stats = lab.run(lab.device("python-offer"), "copy", 0, 1 << 20, domain="direct",
                    options=["--length=256K", "--request=16K", "--restrict-after=5"]).stats
    before = stats["before_restriction"]
    must(before["domain"] == "direct" and stats["domain"] == "restricted", f"{before['domain']}, {stats['domain']}")
    must(stats["shared_bytes"] < before["shared_bytes"] and stats["shared_bytes"] == stats["pool"]["bytes"], f"{stats}")


def test_it_says_nothing_where_it_is_told_to(lab):
    drive = lab.run(lab.device("serve-offer"), "verify", lab.file(lab.image.bytes), domain="restricted")
    must(not drive.err and not drive.out, f"it said {drive.err}{drive.out}")


def test_statistics_are_whole_after_a_failure(lab):
    class Dies(BackEnd):
        def carry_out(self, chain):
            raise Closed
    drive = lab.run(lab.lying(Dies), "read", "/dev/null", status=EXIT_FAILED)
    must(drive.stats["exit_status"] == EXIT_FAILED, json.dumps(drive.stats)[:300])
