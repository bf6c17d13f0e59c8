# SPDX-License-Identifier: BSD-3-Clause
"""The image behind the device: missing, unreadable, of odd size, shrinking, full. A clear error, and the rest goes on."""
import ctypes
import os
import random
import resource
import shutil
import subprocess

import pytest

import blk as b
import servers
import vhost_user as vu
from hostile import serves_on
from vhost_user import must

ways = pytest.mark.parametrize("how", ["uring", "threads", "uring-copy", "threads-copy"])


def options(how):
    io, _, copy = how.partition("-")
    return [f"--io={io}", *(["--copy"] if copy else [])]


def run_until_it_refuses(tmp, image, *more, program=servers.VIODMA, user=None):
    servers.needs(servers.VIODMA)
    try:
        ended = subprocess.run([program, "serve", "blk", f"--socket-path={tmp}/refused.sock",
                                f"--blk-file={image}", *more], capture_output=True, text=True,
                               stdin=subprocess.DEVNULL, timeout=vu.PATIENCE, user=user)
    except subprocess.TimeoutExpired:
        raise vu.Violation(f"it serves {image} although it cannot") from None
    must(ended.returncode > 0, f"exit {ended.returncode}: {ended.stderr}")
    return ended.stderr


@pytest.mark.parametrize("kind", ["missing", "not-a-directory", "directory", "fifo", "character-device", "loop-of-links"])
def test_an_image_that_cannot_be_one_is_named_and_the_program_does_not_start(tmp, image, kind):
    path = os.path.join(tmp, kind)
    if kind == "not-a-directory":
        path = os.path.join(image.path, "x")
    elif kind == "directory":
        os.mkdir(path)
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "character-device":
        path = "/dev/zero"
    elif kind == "loop-of-links":
        os.symlink(path, path)
    said = run_until_it_refuses(tmp, path)
    must(path in said, f"the message does not name {path}: {said}")
    must(not os.path.exists(f"{tmp}/refused.sock"), "a socket was left behind")


def test_an_unreadable_image_is_named(tmp, image):
    os.chmod(image.path, 0)
    os.chmod(tmp, 0o777)
    program = shutil.copy(servers.VIODMA, tmp)      # where another user can reach it
    said = run_until_it_refuses(tmp, image.path, program=program, user=None if os.getuid() else 65534)
    must(image.path in said, "the message does not name the image")


@pytest.mark.parametrize("size", [0, 511])
def test_an_image_without_a_whole_sector_is_refused_or_has_none(start, tmp, size):
    path = os.path.join(tmp, "small.img")
    with open(path, "wb") as file:
        file.write(bytes(size))
    try:
        serve = start(path)
    except servers.NotStarted as error:
        must(path in str(error), f"the message does not name the image: {error}")
        return
    with b.driving(serve.path) as blk:
        must(blk.capacity == 0, f"capacity {blk.capacity}")
        must(blk.run(blk.make(b.IN, 0, length=512)) == b.IOERR, "a sector that is not there was read")


def test_the_odd_end_of_an_image_is_out_of_reach(start, tmp):
    path = os.path.join(tmp, "odd.img")
    with open(path, "wb") as file:
        file.write(b.pattern(10 * 512 + 100))
    serve = start(path)
    with b.driving(serve.path, iommu=True) as blk:
        must(blk.capacity in (10, 11), f"capacity {blk.capacity}")
        must(blk.read(9, 512) == b.pattern(10 * 512 + 100)[9 * 512:10 * 512], "wrong bytes")
        if blk.capacity == 10:
            must(blk.run(blk.make(b.IN, 10, length=512)) == b.IOERR, "half a sector was read")


@ways
def test_an_image_that_shrinks_fails_the_requests_beyond_its_end_only(start, image, how):
    serve = start(image, *options(how))
    with b.driving(serve.path, iommu=True) as blk:
        blk.still_works()
        os.truncate(image.path, 1 << 20)
        must(blk.read(100, 4096) == image.bytes[51200:51200 + 4096], "wrong bytes before the new end")
        for sector, length in ((4096, 4096), (2047, 1024), (8191, 512)):
            must(blk.run(blk.make(b.IN, sector, length=length)) == b.IOERR,
                 f"{length} bytes at sector {sector}, partly beyond the end, were read without error")
        must(blk.read(0, 512) == image.bytes[:512], "wrong bytes")
        os.truncate(image.path, 0)
        must(blk.run(blk.make(b.IN, 0, length=512)) == b.IOERR, "an empty image was read")
    serve.must_live()


@ways
def test_a_file_size_limit_fails_the_write_and_does_not_kill_the_process(start, tmp, how):
    """RLIMIT_FSIZE: EFBIG, and SIGXFSZ, which ends a process that does not ignore it."""
    path = os.path.join(tmp, "limited.img")
    with open(path, "wb") as file:
        file.truncate(4 << 20)

    def limits():
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
    serve = start(path, *options(how), limits=limits)
    with b.driving(serve.path, iommu=True) as blk:
        blk.write(0, b.pattern(4096))
        must(blk.run(blk.make(b.OUT, 4096, bytes(4096))) == b.IOERR, "a write beyond the limit was not an error")
        must(blk.run(blk.make(b.OUT, 2047, bytes(1024))) == b.IOERR, "a write over the limit was not an error")
        serve.must_live()
        must(blk.read(0, 4096) == b.pattern(4096), "wrong bytes")


@pytest.fixture
def small_tmpfs(tmp):
    place = os.path.join(tmp, "tmpfs")
    os.mkdir(place)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"none", place.encode(), b"tmpfs", 0, b"size=1m"):
        pytest.skip(f"not run: no tmpfs can be mounted: {os.strerror(ctypes.get_errno())}")
    yield place
    libc.umount2(place.encode(), 2)


@ways
def test_a_full_file_system_fails_writes_and_nothing_else(start, small_tmpfs, how):
    path = os.path.join(small_tmpfs, "disk.img")
    with open(path, "wb") as file:
        file.truncate(4 << 20)
    serve = start(path, *options(how))
    with b.driving(serve.path, iommu=True) as blk:
        answers = [blk.run(blk.make(b.OUT, n * 256, b.pattern(128 << 10, seed=n))) for n in range(12)]
        must(b.OK in answers and answers[-1] == b.IOERR and set(answers) == {b.OK, b.IOERR}, f"answers {answers}")
        must(blk.read(0, 128 << 10) == b.pattern(128 << 10, seed=0), "what was written before does not come back")
        must(serve.device_stats()["requests"]["failed"] >= 1, "the failed writes are not counted")


def test_a_file_that_cannot_be_written_is_served_read_only_or_not_at_all(start, tmp, small_tmpfs):
    path = os.path.join(small_tmpfs, "disk.img")
    with open(path, "wb") as file:
        file.write(b.pattern(64 << 10))
    os.chmod(path, 0o444)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"none", small_tmpfs.encode(), None, 0x20 | 1, None):
        pytest.skip("not run: the file system cannot be made read-only")
    said = run_until_it_refuses(tmp, path)
    must(path in said, f"the message does not name the image: {said}")
    serve = start(path, "--read-only")
    with b.driving(serve.path, iommu=True) as blk:
        must(blk.read(0, 4096) == b.pattern(64 << 10)[:4096], "wrong bytes")
        must(blk.run(blk.make(b.OUT, 0, bytes(512))) == b.IOERR, "written")


def test_a_removed_image_is_served_on(start, image):
    serve = start(image)
    with b.driving(serve.path, iommu=True) as blk:
        os.unlink(image.path)
        must(blk.read(5, 512) == image.bytes[2560:3072], "wrong bytes")
        blk.write(5, b.pattern(512))
        must(blk.read(5, 512) == b.pattern(512), "wrong bytes")


def test_one_devices_bad_image_stops_the_start_of_all(tmp, image):
    """At the start, an operator's mistake is said at once, not found later."""
    servers.needs(servers.VIODMA)
    ended = subprocess.run([servers.VIODMA, "serve", "blk", "--device", f"blk,path={tmp}/a,file={image}",
                            "--device", f"blk,path={tmp}/b,file={tmp}/none"], capture_output=True, text=True,
                           stdin=subprocess.DEVNULL, timeout=vu.PATIENCE)
    must(ended.returncode > 0 and f"{tmp}/none" in ended.stderr, f"exit {ended.returncode}: {ended.stderr}")


@pytest.mark.slow
def test_random_reads_and_writes_match_a_model(start, image):
    generator = random.Random(77)
    model = bytearray(image.bytes)
    serve = start(image)
    with b.driving(serve.path, iommu=True, event_idx=True, memory=b.Memory(((1 << 32, 256 << 20, 0x7f40_0000_0000, 0),),
                                                                           noise=False)) as blk:
        for n in range(2000):
            sector = generator.randrange(8192 - 64)
            length = 512 * generator.randrange(1, 64)
            if generator.random() < 0.5:
                data = generator.randbytes(length)
                request = blk.offer(blk.make(b.OUT, sector, data), indirect=generator.random() < 0.5)
                must(blk.wait(request) == b.OK, "a write failed")
                model[sector * 512:sector * 512 + length] = data
            else:
                request = blk.offer(blk.make(b.IN, sector, length=length), indirect=generator.random() < 0.5)
                must(blk.wait(request) == b.OK, "a read failed")
                must(blk.data(request) == model[sector * 512:sector * 512 + length], "wrong bytes")
    image.must_be(model)
    serves_on(serve, type("Image", (), {"bytes": bytes(model)}))
