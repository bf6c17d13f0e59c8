# SPDX-License-Identifier: BSD-3-Clause
"""Discard, write-zeroes and the cache mode, as a driver sees them and as the file does.

How it works: the image is compared whole, holes are seen by its blocks, and what reaches the file system is seen by a
disk of the test's own (slow_disk), which can also hold it, fail it, or have no holes at all.
"""
import errno
import os
import signal
import subprocess

import pytest

import blk as b
import servers
import vhost_user as vu
from rules import forbidden
from vhost_user import must

pytestmark = pytest.mark.usefixtures("layout")

BOTH = b.F_DISCARD | b.F_WRITE_ZEROES
ALL = BOTH | b.F_CONFIG_WCE
MIB = 1 << 20


def zeroed(image, *ranges):
    expected = bytearray(image.bytes)
    for sector, sectors in ranges:
        expected[sector * 512:(sector + sectors) * 512] = bytes(sectors * 512)
    return expected


@pytest.mark.parametrize("io", ["uring", "threads"])
@pytest.mark.parametrize("options", [(), ("--direct",), ("--copy",)], ids=["plain", "direct", "copy"])
@pytest.mark.parametrize("iommu", [False, True], ids=["bit33-clear", "bit33-set"])
def test_what_is_zeroed_is_zeroes_on_disk_and_nothing_else_is(start, image, io, options, iommu):
    serve = start(image, f"--io={io}", *options)
    with b.driving(serve.path, iommu=iommu, extra_features=BOTH) as blk:
        assert blk.ranges(b.WRITE_ZEROES, (1, 1), (64, 100), (8191, 1, b.UNMAP)) == b.OK
        assert blk.ranges(b.WRITE_ZEROES, (2048, 2048, b.UNMAP)) == b.OK
        assert blk.read(0, 4096) == image.bytes[:512] + bytes(512) + image.bytes[1024:4096]
        image.must_be(zeroed(image, (1, 1), (64, 100), (8191, 1), (2048, 2048)))
        assert os.stat(image.path).st_blocks <= 8192 - 2048 + 64
        requests = serve.device_stats()["requests"]
        assert (requests["write_zeroes"], requests["discard"], requests["failed"]) == (2, 0, 0)


@pytest.mark.parametrize("iommu", [False, True], ids=["bit33-clear", "bit33-set"])
def test_what_is_discarded_gives_its_room_back(start, image, iommu):
    serve = start(image)
    with b.driving(serve.path, iommu=iommu, extra_features=BOTH) as blk:
        before = os.stat(image.path).st_blocks
        assert blk.ranges(b.DISCARD, (1024, 2048), (4096, 2048)) == b.OK
        assert os.stat(image.path).st_blocks <= before - 4096 + 64
        image.must_be(zeroed(image, (1024, 2048), (4096, 2048)))
        assert serve.device_stats()["requests"]["discard"] == 1


def test_room_is_kept_where_it_is_not_offered_to_be_given_back(start, image):
    serve = start(image, "--discard=off")
    with b.driving(serve.path, extra_features=b.F_WRITE_ZEROES) as blk:
        assert not blk.offered & b.F_DISCARD
        assert blk.config(56, 1) == b"\0"
        before = os.stat(image.path).st_blocks
        assert blk.ranges(b.WRITE_ZEROES, (1024, 2048, b.UNMAP)) == b.OK
        assert os.stat(image.path).st_blocks >= before - 64
        assert blk.ranges(b.DISCARD, (0, 1)) == b.UNSUPP
        image.must_be(zeroed(image, (1024, 2048)))


def test_a_disk_says_what_it_can_and_one_that_is_read_only_cannot(start, image):
    serve = start([image, image.path, image.path], "--read-only")
    with b.driving(serve.path) as blk:
        assert not blk.offered & BOTH
        assert blk.config(36, 24) == bytes(24)
        assert blk.ranges(b.WRITE_ZEROES, (0, 1)) == b.UNSUPP
        assert blk.ranges(b.DISCARD, (0, 1)) == b.UNSUPP
    image.must_be(image.bytes)


def test_without_the_feature_accepted_there_is_no_such_request(start, image):
    with b.driving(start(image).path) as blk:
        assert blk.ranges(b.WRITE_ZEROES, (0, 1)) == b.UNSUPP
        assert blk.ranges(b.DISCARD, (0, 1)) == b.UNSUPP
        assert blk.ranges(b.SECURE_ERASE, (0, 1)) == b.UNSUPP
        blk.still_works()
    image.must_be(image.bytes)


REFUSED = {
    "beyond the end": ([(0, 1), (8192, 1)], b.IOERR),
    "across the end": ([(8191, 2)], b.IOERR),
    "a sector that wraps": ([(0, 1), ((1 << 64) - 1, 2)], b.IOERR),
    "a sector whose bytes wrap": ([(1 << 55, 1)], b.IOERR),
    "longer than stated": ([(0, (1 << 22) + 1)], b.IOERR),
    "an unknown flag": ([(0, 1), (1, 1, 2)], b.UNSUPP),
    "an unknown flag, and beyond the end": ([(8192, 1, 1 << 31)], b.UNSUPP),
}


@forbidden("DRV-18", also=tuple(REFUSED))
def test_a_list_with_one_wrong_range_does_nothing(lab, what):
    ranges, status = REFUSED[what]
    with lab.drive(iommu=True, extra_features=BOTH) as blk:
        for kind in (b.WRITE_ZEROES, b.DISCARD):
            must(blk.ranges(kind, *ranges) == status, what)
        blk.still_works()
    lab.image.must_be(lab.image.bytes)


def test_more_ranges_than_stated_do_nothing(start, image):
    with b.driving(start(image).path, extra_features=BOTH) as blk:
        assert blk.config(40, 4) == blk.config(52, 4) == b"\x10\0\0\0"
        assert blk.ranges(b.WRITE_ZEROES, *[(i, 1) for i in range(17)]) == b.IOERR
        image.must_be(image.bytes)
        assert blk.ranges(b.WRITE_ZEROES, *[(i, 1) for i in range(16)]) == b.OK
    image.must_be(zeroed(image, (0, 16)))


@forbidden("DRV-18", also=(8, 15, 17, 24, 40))
def test_a_list_that_is_no_list_does_nothing(lab, length):
    with lab.drive(iommu=True, extra_features=BOTH) as blk:
        data = (b.RANGE.pack(0, 1, 0) * 3)[:length]
        must(blk.run(blk.make(b.WRITE_ZEROES, data=data)) == b.IOERR, f"{length} bytes")
    lab.image.must_be(lab.image.bytes)


@forbidden("DRV-18")
def test_unmap_is_not_for_discard(lab):
    with lab.drive(extra_features=BOTH) as blk:
        must(blk.ranges(b.DISCARD, (0, 8, b.UNMAP)) == b.UNSUPP, "discard with unmap")
    lab.image.must_be(lab.image.bytes)


# -- on a disk that is held, fails, or cannot ------------------------------------------------

@pytest.mark.parametrize("io", ["uring", "threads"])
def test_all_ranges_are_in_flight_at_once_and_have_one_answer(start, slow_disk, io):
    slow_disk.fallocates = True
    serve = start(slow_disk.path, f"--io={io}")
    with b.driving(serve.path, iommu=True, extra_features=BOTH) as blk:
        slow_disk.hold("fallocate")
        request = blk.offer(blk.make_ranges(b.WRITE_ZEROES, (0, 8), (16, 8), (32, 8)))
        blk.front_end.wait_until(lambda: len(slow_disk.held) == 1, "a range to reach the disk")
        blk.still_works(100)
        assert request.used is None
        slow_disk.release()
        assert blk.wait(request) == b.OK
        assert sorted(s[1] for s in slow_disk.seen if s[0] == "fallocate") == [0, 8192, 16384]


def test_an_error_of_the_disk_is_the_requests(start, slow_disk):
    slow_disk.fallocates = True
    slow_disk.fail["fallocate"] = errno.EIO
    serve = start(slow_disk.path)
    with b.driving(serve.path, iommu=True, extra_features=BOTH) as blk:
        assert blk.ranges(b.WRITE_ZEROES, (0, 8), (16, 8)) == b.IOERR
        assert blk.ranges(b.DISCARD, (0, 8)) == b.IOERR
        slow_disk.fail.clear()
        assert blk.ranges(b.WRITE_ZEROES, (0, 8), (16, 8)) == b.OK
    serve.expect_log("zeroing of 4096 bytes at .* failed")


def test_where_there_are_no_holes_zeroes_are_written_and_a_discard_does_nothing(start, slow_disk):
    before = bytes(slow_disk.data)
    serve = start(slow_disk.path)
    with b.driving(serve.path, iommu=True, extra_features=BOTH) as blk:
        assert blk.ranges(b.WRITE_ZEROES, (8, 4000, b.UNMAP)) == b.OK
        assert slow_disk.data == before[:4096] + bytes(4000 * 512) + before[4008 * 512:]
        assert blk.ranges(b.DISCARD, (5000, 1000)) == b.OK
        assert slow_disk.data[4008 * 512:] == before[4008 * 512:]
        slow_disk.fail["write"] = errno.ENOSPC
        assert blk.ranges(b.WRITE_ZEROES, (0, 8)) == b.IOERR
        slow_disk.fail.clear()
    serve.expect_log("nothing can be discarded here")


@pytest.mark.parametrize("io", ["uring", "threads"])
def test_what_is_zeroed_is_durable_in_the_mode_that_says_so(start, slow_disk, io):
    """Zeroes end with an fsync of their own; a durable write is one system call, which this file system sees as any."""
    slow_disk.fallocates = True
    serve = start(slow_disk.path, f"--io={io}")

    def syncs(blk):
        slow_disk.seen.clear()
        must(blk.ranges(b.WRITE_ZEROES, (0, 8)) == b.OK, "zeroing failed")
        return sum(kind == "fsync" for kind, _, _ in slow_disk.seen)

    with b.driving(serve.path, extra_features=ALL) as blk:
        assert blk.config(32, 1) == b"\1"
        assert syncs(blk) == 0
        blk.set_writeback(False)
        assert blk.config(32, 1) == b"\0"
        assert syncs(blk) == 1
        blk.set_writeback(True)
        assert syncs(blk) == 0
    with b.driving(serve.path, extra_features=BOTH, drop_features=vu.F_BLK_FLUSH) as blk:    # nothing else would do
        assert syncs(blk) == 1


def test_a_disk_may_begin_with_write_through(start, slow_disk):
    slow_disk.fallocates = True
    serve = start(slow_disk.path, "--write-through")
    with b.driving(serve.path, extra_features=ALL) as blk:
        assert blk.config(32, 1) == b"\0"
        assert blk.ranges(b.WRITE_ZEROES, (0, 8)) == b.OK
        assert ("fsync", 0, 0) in slow_disk.seen
        blk.set_writeback(True)
        slow_disk.seen.clear()
        assert blk.ranges(b.WRITE_ZEROES, (0, 8)) == b.OK
        assert ("fsync", 0, 0) not in slow_disk.seen


# -- a disk of another size, and none ----------------------------------------------------------

def test_a_disk_that_has_grown_is_seen_at_a_signal(start, image):
    serve = start(image)
    with b.driving(serve.path) as blk:
        assert blk.capacity == 8192
        os.truncate(image.path, 8 * MIB)
        assert blk.run(blk.make(b.IN, 8192, length=512)) == b.IOERR
        serve.process.send_signal(signal.SIGHUP)
        serve.expect_log("has 8388608 bytes now", pump=blk.front_end)
        assert blk.capacity == 16384
        assert blk.read(16383, 512) == bytes(512)
        serve.process.send_signal(signal.SIGHUP)
        serve.expect_log("has the size it had", pump=blk.front_end)


@pytest.mark.parametrize("options", [(), ("--copy",)], ids=["pin", "copy"])
def test_a_disk_without_a_file_reads_as_zeroes_and_forgets(tmp, options):
    servers.needs(servers.VIODMA)
    program = servers.Program([servers.VIODMA, "serve", "blk", f"--socket-path={tmp}/null", "--null=1T", *options], tmp, "null")
    try:
        program.expect_log("listening on")
        with b.driving(f"{tmp}/null", iommu=True, extra_features=BOTH) as blk:
            assert blk.capacity == 1 << 31
            blk.write(5, b.pattern(8192))
            assert blk.read((1 << 31) - 16, 8192) == bytes(8192)
            assert blk.read(5, 8192) == bytes(8192)
            blk.flush()
            assert blk.ranges(b.WRITE_ZEROES, (0, 1 << 22), (1 << 22, 1 << 22)) == b.OK
            assert blk.ranges(b.DISCARD, (1 << 30, 8)) == b.OK
            assert blk.run(blk.make(b.IN, 1 << 31, length=512)) == b.IOERR
    finally:
        code = program.terminate()
        program.kill()
    assert code == 0


# -- a block device -----------------------------------------------------------------------------

@pytest.fixture
def block_device(image):
    found = subprocess.run(["losetup", "--find", "--show", image.path], capture_output=True, text=True, check=False)
    if found.returncode:
        pytest.skip(f"not run: no loop device: {found.stderr.strip()}")
    yield found.stdout.strip()
    subprocess.run(["losetup", "--detach", found.stdout.strip()], check=True)


@pytest.mark.parametrize("options", [("--io=uring",), ("--io=threads",), ("--direct",)], ids=["uring", "threads", "direct"])
def test_a_block_device_is_discarded_and_zeroed(start, image, block_device, options):
    serve = start(block_device, *options)
    with b.driving(serve.path, iommu=True, extra_features=BOTH) as blk:
        assert blk.ranges(b.WRITE_ZEROES, (3, 50), (100, 1, b.UNMAP)) == b.OK
        assert blk.read(0, 8192) == bytes(zeroed(image, (3, 50))[:8192])
        assert blk.ranges(b.DISCARD, (2048, 1024)) == b.OK
        assert blk.ranges(b.SECURE_ERASE, (0, 8)) == b.UNSUPP
        assert blk.read(2048, 4096) == bytes(4096)      # a loop device's discard is a hole
        blk.flush()
    image.must_be(zeroed(image, (3, 50), (100, 1), (2048, 1024)))


def test_a_device_that_cannot_erase_securely_says_so(start, image, block_device):
    serve = start(block_device, "--secure-erase=on")
    with b.driving(serve.path, extra_features=1 << 16) as blk:
        assert blk.offered & 1 << 16
        assert blk.ranges(b.SECURE_ERASE, (0, 8)) == b.IOERR
    image.must_be(image.bytes)
