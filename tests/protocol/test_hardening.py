# SPDX-License-Identifier: BSD-3-Clause
"""What a security review found: one hostile front end, and everybody else's devices."""
import contextlib
import ctypes
import os
import resource
import signal
import time

import pytest

import blk as b
import vhost_user as vu
from driver import INDIRECT, PAGE, RO, WO, WRITE, Memory
from hostile import ready, refused, serves_on
from images import Image
from vhost_user import Request as R, must

PTRACE_CONT, PTRACE_ATTACH = 7, 16
WALL = 0x40000000


# -- memory taken back --------------------------------------------------------------------------------

@pytest.mark.usefixtures("layout")
def test_many_scattered_pages_taken_back_leave_the_process_its_mappings(start, image, tmp):
    """1024 requests of 37 pages each, in memory that is gone: each page used to cost two mappings of 65530."""
    second = Image(os.path.join(tmp, "second.img"), seed=12)
    serve = start([image.path, second.path])
    size, per = 1024, 37
    with b.driving(serve.sockets[1], iommu=True) as other:
        other.still_works()
        memory = Memory(((0x1_0000_0000, 8 << 20, 0x7f40_0000_0000, 0),
                         (0x9_4000_0000, 2 * PAGE * (size * per + 8), 0x7f10_0020_0000, 0)), noise=False)
        blk = b.Blk(serve.sockets[0], size=size, memory=memory)
        blk.negotiate().accept().share_memory().set_up_ring()
        first, big, page = memory.alloc(1), memory.regions[1], 0
        memory.write(first, bytes([b.GET_ID]))
        for _ in range(size):
            chain = [(big.phys + 2 * PAGE * (page + i), 1, 0 if i < 16 else WRITE) for i in range(per)]
            page += per
            chain[0] = (first, 1, 0)
            table = blk.table_of(chain, memory.alloc(16 * per + 16))
            blk.ring.offer(blk.ring.add_chain([(table, 16 * per, INDIRECT)]), publish=False)
        os.ftruncate(big.fd, 0)
        blk.ring.publish(0)
        blk.kick()
        must(blk.front_end.main.closed_within(vu.PATIENCE), "the connection whose memory is gone stays open")
        serve.must_live()
        serve.expect_log("PLT-10")
        must(other.read(1, 512) == second.bytes[512:1024], "the other device is disturbed")
        blk.front_end.close()
        for fd in (blk.kick_fd, blk.call_fd, blk.err_fd):
            os.close(fd)
    serves_on(serve, image)


# -- descriptors that pass for eventfds ---------------------------------------------------------------

def strange(kind):
    libc = ctypes.CDLL(None, use_errno=True)
    if kind == "inotify":
        return libc.inotify_init1(0)
    if kind == "timerfd":
        return libc.timerfd_create(1, 0)
    if kind == "signalfd":
        return libc.signalfd(-1, ctypes.create_string_buffer(128), 0)
    return libc.epoll_create1(0)


@pytest.mark.parametrize("kind", ["inotify", "timerfd", "signalfd", "epoll"])
@pytest.mark.parametrize("request_id", [R.SET_VRING_KICK, R.SET_VRING_CALL, R.SET_VRING_ERR],
                         ids=lambda r: vu.REQUEST_NAMES[r])
def test_an_anonymous_descriptor_that_is_no_eventfd_is_refused(serve, image, request_id, kind):
    """Reading one of these can block the device's thread, whatever was asked of it before."""
    blk = ready(serve)
    fd = strange(kind)
    must(fd >= 0, f"no {kind}")
    refused(serve, blk, request_id, vu.u64(0), [fd], log="PLT-9")
    os.close(fd)
    blk.close()
    serves_on(serve, image)


# -- a device's thread that does not answer -----------------------------------------------------------

def device_thread(serve):
    """The thread of the second device: made last, if there are no workers. Threads of disks are not: they are made when needed."""
    return max(int(tid) for tid in os.listdir(f"/proc/{serve.pid}/task"))


def test_a_device_whose_thread_hangs_does_not_keep_the_program_from_ending(start, image, tmp):
    """The thread is stopped by ptrace; the other device still serves, and SIGTERM ends the program with 1."""
    second = Image(os.path.join(tmp, "second.img"), seed=12)
    serve = start([image.path, second.path], "--workers=1")
    serve.finished = True
    libc = ctypes.CDLL(None, use_errno=True)
    tid = device_thread(serve)
    if libc.ptrace(PTRACE_ATTACH, tid, None, None):
        serve.kill()
        pytest.skip(f"not run: ptrace: {os.strerror(ctypes.get_errno())}")
    try:
        os.waitpid(tid, WALL)
        with b.driving(serve.sockets[0]) as other:
            must(other.read(1, 512) == image.bytes[512:1024], "the other device does not serve")
        serve.process.send_signal(signal.SIGUSR1)
        serve.expect_log("blk1: .*does not answer", timeout=30 * vu.SCALE)    # it is given ten
        since = len(serve.log())
        serve.process.send_signal(signal.SIGTERM)
        end = time.monotonic() + 25 * vu.SCALE
        ended = 0
        while not ended and time.monotonic() < end:     # a traced thread's end has to be waited for first
            ended = os.waitpid(tid, WALL | os.WNOHANG)[0]
            time.sleep(0.02)
        must(ended, f"SIGTERM did not end the process: {serve.log()[-1500:]}")
        must(serve.process.wait(5) == 1, f"it ended with {serve.process.returncode}")
        must("blk1" in serve.log()[since:], "no line of the end names the device")
    finally:
        if serve.process.poll() is None:        # nor does a process end before its threads that are traced
            serve.process.kill()
            with contextlib.suppress(ChildProcessError):
                os.waitpid(tid, WALL)
        serve.kill()


# -- questions without a place ------------------------------------------------------------------------

@pytest.mark.usefixtures("layout")
def test_a_request_whose_questions_found_no_place_is_served_when_there_is_some(serve):
    """Two largest requests into memory that the platform refuses, and a good read behind them: no kick helps it."""
    with b.driving(serve.path, iommu=True, size=1024) as blk:
        blk.grant_ring()
        iommu = blk.domain

        def bad():
            request = blk.make(b.IN, 0, length=0)
            request.chain = [(iommu.map(request.header, 16, RO), 16, 0)]
            request.chain += [(iommu.reserve(65536), 65536, WRITE) for _ in range(126)]
            request.chain += [(iommu.map(request.status, 1, WO), 1, WRITE)]
            return request
        bads = [bad(), bad()]
        good = blk.map(blk.make(b.IN, 0, length=512))
        for request in bads:
            blk.offer(request, indirect=True, kick=False)
            iommu.grant(request.table, 16 * 128)
            for i in (0, -1):
                iommu.grant(request.chain[i][0], 1)
        blk.offer(good, kick=False)
        blk.kick()
        for request in bads:
            must(blk.wait(request, 30 * vu.SCALE) == b.IOERR, "a request without memory did not fail")
        must(blk.wait(good) == b.OK, "the good request failed")


# -- the log ------------------------------------------------------------------------------------------

IN_ONE = ["update", "get-config", "set-config", "rings"]     # connection
FIRST_WORDS = {"connections": b"", "refusals": vu.HEADER.pack(999, vu.VERSION, 0),
               "features": vu.HEADER.pack(R.SET_FEATURES, vu.VERSION, 8) + vu.u64(vu.F_VERSION_1)}


@pytest.mark.parametrize("what", [*IN_ONE, *FIRST_WORDS])
def test_a_front_end_cannot_flood_the_log(start, image, what):
    """A thousand times what is refused, or changes something, and leaves the connection as it is; or ends it."""
    serve = start(image)
    blk = ready(serve, ring=what == "rings", iommu=what == "update")
    bad = vu.HEADER.pack(R.IOTLB_MSG, vu.VERSION, 32) + vu.iotlb(vu.UPDATE, 0x1000, PAGE, 0xdead000, vu.RW)
    fe = blk.front_end
    if what == "update":
        for _ in range(4):
            fe.main.send_raw(bad * 256)
    elif what == "get-config":
        for _ in range(1000):
            fe.ask(R.GET_CONFIG, vu.config(250, 56))
    elif what == "set-config":
        config = vu.HEADER.pack(R.SET_CONFIG, vu.VERSION, len(vu.config(0, 8))) + vu.config(0, 8)
        for _ in range(4):
            fe.main.send_raw(config * 256)
    elif what in FIRST_WORDS:
        blk.close()
        for _ in range(1000):
            with b.connect(serve.path) as sock:
                sock.sendall(FIRST_WORDS[what])
    else:
        for _ in range(500):
            blk.stop_ring()
            blk.set_up_ring()
        fe.ask(R.GET_CONFIG, vu.config(250, 56))
        serve.expect_log("GET_CONFIG of")     # rings leave out nothing but rings
    if what in IN_ONE:
        must(fe.ask(R.GET_FEATURES).u64 == blk.offered, "the front end is not heard")
    else:
        time.sleep(1.1)     # of the next second something is said again
        blk = ready(serve)
    lines = serve.log().count("\n")
    must(lines < 500, f"{lines} lines of {serve.log()[-300:]}")
    blk.close()
    serve.expect_log(r"\d+ lines were left out")
    serves_on(serve, image)


# -- COPY memory --------------------------------------------------------------------------------------

@pytest.mark.usefixtures("layout")
def test_a_request_that_met_a_system_without_memory_is_tried_again(start, image):
    """Nothing is in flight, so nothing will be freed: only time brings memory back."""
    if vu.SANITIZED:
        pytest.skip("not run: a sanitizer ends the process when there is no memory")
    length = 3 << 20
    serve = start(image, "--copy", env={"MALLOC_ARENA_MAX": "1"})
    memory = Memory(((0x1_0000_0000, 16 << 20, 0x7f40_0000_0000, 0),), noise=False)
    with b.driving(serve.path, memory=memory) as blk:
        blk.still_works()
        length = min(length, len(image.bytes))
        with open(f"/proc/{serve.pid}/statm") as statm:
            used = int(statm.read().split()[0]) * PAGE
        limits = resource.prlimit(serve.pid, resource.RLIMIT_AS)
        resource.prlimit(serve.pid, resource.RLIMIT_AS, (used, limits[1]))
        request = blk.offer(blk.make(b.IN, 0, length=length))
        blk.front_end.stay(vu.QUIET)
        blk.collect()
        must(request.used is None, "not run: the limit did not take memory away")
        resource.prlimit(serve.pid, resource.RLIMIT_AS, limits)
        must(blk.wait(request) == b.OK, "the request failed")
        must(blk.data(request) == image.bytes[:length], "wrong bytes")
