# SPDX-License-Identifier: BSD-3-Clause
"""The entropy device: `viodma serve rng`.

How it works: the driver of blk.py connects, negotiates and starts the ring; a request here is nothing but room for the
device to write. A source of known bytes shows that each byte is handed out once, in order, and lands nowhere else.
"""
import json
import os
import time

import pytest

import blk as b
import vhost_user as vu
from driver import INDIRECT, PAGE, RO, WO, WRITE, Iommu, page_of
from images import Image
from rules import forbidden
from test_program import run
from vhost_user import must

pytestmark = pytest.mark.usefixtures("layout")

AHEAD = 16384       # what one request gets at most


class Room:
    """A request: where the device may write."""

    def __init__(self, blk, lengths, offset=0x201, readable=0):
        self.blk, self.used, self.head = blk, None, None
        self.readable = [(blk.memory.alloc(readable, offset=0x125), readable)] if readable else []
        self.parts = [(blk.memory.alloc(length, offset=offset), length) for length in lengths]

    def chain(self):
        m = self.blk.domain.map
        return ([(m(phys, length, RO), length, 0) for phys, length in self.readable] +
                [(m(phys, length, WO), length, WRITE) for phys, length in self.parts])

    def offer(self, indirect=False, chain=None):
        blk, chain = self.blk, chain or self.chain()
        if indirect:
            table = blk.table_of(chain)
            chain = [(blk.domain.map(table, 16 * len(chain), RO), 16 * len(chain), INDIRECT)]
        self.head = blk.ring.add_chain(chain)
        blk.requests[self.head] = self
        self.before = blk.memory.snapshot()
        if blk.ring.offer(self.head):
            blk.kick()
        return self

    def bytes(self):
        return b"".join(self.blk.memory.read(phys, length) for phys, length in self.parts)[:self.used]


def answered(room):
    """Waits for it; what it got. Nothing beyond the used length was written."""
    blk = room.blk
    blk.front_end.wait_until(lambda: blk.collect() is None or room.used is not None, "random bytes", blk.front_end.patience)
    allowed, left = [blk.ring.device_writes, *blk.ring.driver_writes, (blk.ring.avail, 6 + 2 * blk.ring.size)], room.used
    for phys, length in room.parts:
        allowed.append((phys, min(length, left)))
        left -= min(length, left)
    blk.memory.must_change_only(room.before, allowed)
    return room.bytes()


def ask(blk, *lengths, **how):
    return answered(Room(blk, lengths).offer(**how))


@pytest.fixture
def source(tmp):
    return Image(os.path.join(tmp, "source"), size=1 << 20, seed=33)


@pytest.mark.parametrize("options", [[], ["--copy"]], ids=["pin", "copy"])
@pytest.mark.parametrize("iommu", [False, True], ids=["bit33-clear", "bit33-set"])
def test_every_byte_of_the_source_is_handed_out_once_and_in_order(start, source, iommu, options):
    serve = start(source.path, *options, kind="rng")
    at = 0
    with b.driving(serve.path, iommu=iommu) as blk:
        for lengths, indirect in (((1,), False), ((64,), False), ((4096,), True), ((3, 5000, 17), False), ((7, 9), True)):
            got = ask(blk, *lengths, indirect=indirect)
            must(0 < len(got) <= sum(lengths), f"{len(got)} bytes for a request of {lengths}")
            must(got == source.bytes[at:at + len(got)], f"bytes {at}.. of the source are not what came")
            at += len(got)
    counted = serve.device_stats()
    must(counted["type"] == "rng" and counted["source"] == source.path, f"{counted}")
    must(counted["requests"] == {"random": 5, "failed": 0, "total": 5} and counted["bytes"] == {"random": at}, f"{counted}")


def test_a_large_request_gets_what_there_is(start):
    serve = start("/dev/urandom", kind="rng")
    with b.driving(serve.path, iommu=True) as blk:
        got = ask(blk, 100000)
        must(0 < len(got) <= AHEAD, f"{len(got)} bytes")
        must(len(set(got[:4096])) > 100 or len(got) < 4096, "that is not random")
        must(ask(blk, 64) != got[:64], "the same bytes twice")


def test_many_requests_at_once_share_the_source(start, source):
    serve = start(source.path, kind="rng")
    with b.driving(serve.path, iommu=True) as blk:
        rooms = [Room(blk, [100]).offer() for _ in range(60)]
        got = []
        for room in rooms:
            blk.front_end.wait_until(lambda: blk.collect() is None or room.used is not None, "random bytes")
            must(room.used == 100, f"{room.used} bytes of 100")
            got.append(room.bytes())
        whole = source.bytes[:6000]
        must(sorted(got) == sorted(whole[i:i + 100] for i in range(0, 6000, 100)), "a byte came twice, or never")


# -- what a driver may not do ---------------------------------------------------------

@forbidden("DRV-18", also=("readable", "nothing-writable"))
def test_a_request_that_is_not_room_to_write_gets_nothing(lab, what):
    serve = lab.serve("--platform-dma=offer", images=lab.image, kind="rng")
    with lab.drive(serve, iommu=True) as blk:
        room = Room(blk, [64] if what == "readable" else [], readable=16).offer()
        got = answered(room)
        must(not got, f"{len(got)} bytes for a request with a device-readable part")
        serve.expect_log("request .* refused: DRV-18")
        must(serve.device_stats()["requests"]["failed"] == 1, "the refusal is not counted")
        must(len(ask(blk, 32)) == 32, "the queue does not live")


@forbidden("DEV-10")
def test_memory_that_is_not_mapped_is_not_written(lab):
    serve = lab.serve("--platform-dma=offer", kind="rng")
    with lab.drive(serve, iommu=True) as blk:
        room = Room(blk, [64])
        bus = room.parts[0][0]      # the physical address: a device that takes it for a bus address writes there
        room.offer(chain=[(bus, 64, WRITE)])
        must(not answered(room), "bytes for memory nobody granted")
        fault = serve.device_stats()["faults"]["recent"][-1]
        must(fault["requirement"] in ("DEV-10", "PLT-11") and fault["address"] == hex(bus), f"{fault}")
        must(len(ask(blk, 32)) == 32, "the queue does not live")


@forbidden("DEV-9")
def test_memory_mapped_for_reading_is_not_written(lab):
    serve = lab.serve("--platform-dma=offer", kind="rng")
    with lab.drive(serve, iommu=True) as blk:
        room = Room(blk, [64])
        phys, length = room.parts[0]
        bus = blk.domain.map(phys, length, RO)
        blk.domain.grant(bus, length)
        room.offer(chain=[(bus, length, WRITE)])
        must(not answered(room), "bytes in memory the device may only read")


@pytest.mark.parametrize("why", ["long chain", "too much"])
def test_a_request_beyond_the_device_s_limits_is_given_back_empty(start, source, why):
    serve = start(source.path, kind="rng")
    with b.driving(serve.path, iommu=True, size=128) as blk:
        if why == "long chain":
            place = blk.domain.map(blk.memory.alloc(100), 100, WO)
            room = Room(blk, []).offer(chain=[(place + i, 1, WRITE) for i in range(100)])
        else:
            place = blk.memory.alloc(PAGE)
            bus = blk.domain.map_pages([place] * 1500, WO)
            room = Room(blk, []).offer(chain=[(bus, 1500 * PAGE, WRITE)])
        must(not answered(room), "it was answered")
        must(len(ask(blk, 32)) == 32, "the queue does not live")


# -- sources --------------------------------------------------------------------------

def stop_at_once(blk, room):
    """The ring stops, and memory is taken back, although a request waits for bytes; it is not lost."""
    if isinstance(blk.domain, Iommu):
        began = time.monotonic()
        blk.domain.invalidate(room_bus(room), PAGE)
        must(time.monotonic() - began < vu.PATIENCE / 2, "an invalidation waits for entropy")
    began = time.monotonic()
    base = blk.stop_ring()
    must(time.monotonic() - began < vu.PATIENCE / 2, "stopping waits for entropy")
    must(base == blk.ring.base_before(room.head), f"base {base}, though one request was not answered")


def room_bus(room):
    return next(bus for bus, (phys, _) in room.blk.domain.page.items() if phys == page_of(room.parts[0][0]))


@pytest.mark.parametrize("iommu", [False, True], ids=["bit33-clear", "bit33-set"])
def test_a_file_that_has_ended_answers_no_more_and_holds_up_nothing(start, tmp, iommu):
    path = os.path.join(tmp, "short")
    with open(path, "wb") as file:
        file.write(bytes(range(100)))
    serve = start(path, kind="rng")
    with b.driving(serve.path, iommu=iommu) as blk:
        must(ask(blk, 64) == bytes(range(64)), "the first bytes")
        must(ask(blk, 64) == bytes(range(64, 100)), "the last bytes")
        serve.expect_log("the source has ended: requests wait from now on")
        room = Room(blk, [64]).offer()
        blk.front_end.stay(0.1, never=lambda: blk.collect() is None and room.used is not None, what="an answer")
        stop_at_once(blk, room)


def test_a_fifo_s_bytes_come_when_somebody_writes_them(start, tmp):
    path = os.path.join(tmp, "fifo")
    os.mkfifo(path)
    serve = start(path, kind="rng")
    with b.driving(serve.path, iommu=True) as blk:
        room = Room(blk, [64]).offer()
        for text in (b"first", b"second"):
            blk.front_end.stay(0.05, never=lambda: blk.collect() is None and room.used is not None, what="an answer")
            with open(path, "wb") as writer:
                writer.write(text)
                writer.flush()
                must(answered(room) == text, f"{room.bytes()} came, not {text}")
            room = Room(blk, [64]).offer()
        stop_at_once(blk, room)


def test_a_source_that_does_not_answer_holds_up_nothing(start, slow_disk):
    slow_disk.hold("read")
    serve = start(slow_disk.path, kind="rng")
    with b.driving(serve.path, iommu=True) as blk:
        slow_disk.wait_held()
        room = Room(blk, [64]).offer()
        blk.front_end.stay(0.05, never=lambda: blk.collect() is None and room.used is not None, what="an answer")
        serve.device_stats()
        slow_disk.release()
        must(len(answered(room)) == 64, "the bytes that came at last")


def test_a_source_that_never_answers_does_not_keep_the_program_from_ending(start, slow_disk):
    slow_disk.hold("read")
    serve = start(slow_disk.path, kind="rng")
    slow_disk.wait_held()
    serve.finished = True
    serve.process.terminate()
    serve.expect_log("what is behind it does not end")
    slow_disk.release()     # the kernel itself waits for this
    must(serve.process.wait(vu.PATIENCE) == 1, f"exit {serve.process.returncode}")


def test_a_period_has_its_bytes_and_no_more(start):
    serve = start("/dev/urandom", "--max-bytes=100", "--period=400", kind="rng")
    with b.driving(serve.path, iommu=True) as blk:
        began = time.monotonic()
        must(len(ask(blk, 64)) == 64, "the first request")
        must(len(ask(blk, 64)) == 36, "what is left of the period")
        room = Room(blk, [200]).offer()
        must(len(answered(room)) == 100, "a whole period's bytes")
        must(time.monotonic() - began >= 0.39, f"the next period came after {time.monotonic() - began:.3f} s")


# -- the program ----------------------------------------------------------------------

def test_print_capabilities():
    ended = run("serve", "rng", "--print-capabilities", "--nonsense")
    said = json.loads(ended.stdout)
    must(ended.returncode == 0 and said["type"] == "rng" and "rng-source" in said["features"], f"{said}")


@pytest.mark.parametrize("arguments, said", [
    (["--socket-path=x", "--blk-file=y"], "--blk-file"),
    (["--rng-source=x"], "expected one of --socket-path PATH, --fd N, and --device rng"),
    (["--socket-path=x", "--rng-source="], "--rng-source: empty"),
    (["--socket-path=x", "--max-bytes=0"], "--max-bytes: '0'"),
    (["--socket-path=x", "--period=5"], "--period: without --max-bytes"),
    (["--socket-path=x", "--period=soon", "--max-bytes=1"], "--period: 'soon'"),
    (["--device", "rng,path=x,period=1"], "period= without max-bytes="),
    (["--device", "rng,path=x,source=y,source=z"], "source= is there twice"),
    (["--device", "rng,path=x,file=y"], "unknown part 'file', expected path=, source="),
    (["--device", "blk,path=x,file=y"], "expected 'rng,'"),
    (["--device", "rng,path=x", "--rng-source=y"], "--rng-source"),
    (["--socket-path=x", "--platform-dma=off", "--platform-dma-bit=50"], "--platform-dma-bit"),
    (["--socket-path=x", "--platform-dma-bit=33"], "--platform-dma-bit: '33'"),
])
def test_a_command_line_that_is_wrong_is_named(arguments, said):
    ended = run("serve", "rng", *arguments)
    must(ended.returncode == 2 and said in ended.stderr, f"exit {ended.returncode}: {ended.stderr}")


@pytest.mark.parametrize("what", ["missing", "directory"])
def test_a_source_that_cannot_be_opened_is_named_and_nothing_is_served(tmp, what):
    path = os.path.join(tmp, what)
    if what == "directory":
        os.mkdir(path)
    ended = run("serve", "rng", f"--socket-path={tmp}/s", f"--rng-source={path}")
    must(ended.returncode == 1 and path in ended.stderr, f"exit {ended.returncode}: {ended.stderr}")
    must(not os.path.exists(f"{tmp}/s"), "it has listened")


def test_several_devices_have_sources_of_their_own(start, source, tmp):
    other = Image(os.path.join(tmp, "other"), seed=4)
    serve = start([source.path, other.path], per_device=["", ",max-bytes=10,period=60000"], kind="rng")
    with b.driving(serve.sockets[0], iommu=True) as first, b.driving(serve.sockets[1], iommu=True) as second:
        must(ask(first, 64) == source.bytes[:64], "the first source")
        must(ask(second, 64) == other.bytes[:10], "the second source")
    must([d["name"] for d in serve.stats()["devices"]] == ["rng0", "rng1"], "names")


def test_a_distinct_bit_in_place_of_bit_33_is_offered(start, image):
    serve = start(image, "--platform-dma-bit=50")
    with b.driving(serve.path, start=False) as blk:
        blk.negotiate()
        must(blk.offered >> 50 & 1 and not blk.offered >> 33 & 1, f"offered {blk.offered:#x}")
