# SPDX-License-Identifier: BSD-3-Clause
"""The wire of vhost-user, from the front end's side.

How it works
  Channel   one Unix stream socket: sends and receives one message with its
            descriptors, or any bytes at all (the raw mode hostile tests use).
  FrontEnd  the main channel plus the back end's request channel and the
            eventfds of the rings, pumped by ONE thread: nothing happens unless
            a test calls pump() or a wait. Replies are matched to requests in
            the order of sending, as the protocol has it, so a test may leave a
            request unanswered (an INVALIDATE, say), do other things, and look
            at its Pending later.
  Violation what every check raises when the program under test breaks a rule.
            It is kept apart from other errors so that a test of the mutants
            can tell "the rule was broken" from "the test did not run".
All numbers are little-endian here: the suite runs on little-endian machines.
"""
import array
import os
import select
import socket
import struct
import time
from collections import deque

SANITIZED = bool(os.environ.get("VIODMA_SANITIZED"))
SCALE = float(os.environ.get("VIODMA_TIME_SCALE") or (3 if SANITIZED else 1))
PATIENCE = 15.0 * SCALE         # how long something that must happen may take, seconds
IMPATIENCE = 0.6 * SCALE        # the same, of a mutant, which is expected to fail
QUIET = 0.15 * SCALE            # how long we look before saying that something does not happen

VERSION = 0x1
VERSION_MASK = 0x3
REPLY = 0x4
NEED_REPLY = 0x8
HEADER = struct.Struct("<III")
MAX_FDS = 8


class Request:
    GET_FEATURES = 1
    SET_FEATURES = 2
    SET_OWNER = 3
    RESET_OWNER = 4
    SET_MEM_TABLE = 5
    SET_LOG_BASE = 6
    SET_LOG_FD = 7
    SET_VRING_NUM = 8
    SET_VRING_ADDR = 9
    SET_VRING_BASE = 10
    GET_VRING_BASE = 11
    SET_VRING_KICK = 12
    SET_VRING_CALL = 13
    SET_VRING_ERR = 14
    GET_PROTOCOL_FEATURES = 15
    SET_PROTOCOL_FEATURES = 16
    GET_QUEUE_NUM = 17
    SET_VRING_ENABLE = 18
    SEND_RARP = 19
    NET_SET_MTU = 20
    SET_BACKEND_REQ_FD = 21
    IOTLB_MSG = 22
    SET_VRING_ENDIAN = 23
    GET_CONFIG = 24
    SET_CONFIG = 25
    CREATE_CRYPTO_SESSION = 26
    CLOSE_CRYPTO_SESSION = 27
    POSTCOPY_ADVISE = 28
    POSTCOPY_LISTEN = 29
    POSTCOPY_END = 30
    GET_INFLIGHT_FD = 31
    SET_INFLIGHT_FD = 32
    GPU_SET_SOCKET = 33
    RESET_DEVICE = 34
    VRING_KICK = 35
    GET_MAX_MEM_SLOTS = 36
    ADD_MEM_REG = 37
    REM_MEM_REG = 38
    SET_STATUS = 39
    GET_STATUS = 40


REQUEST_NAMES = {v: k for k, v in vars(Request).items() if isinstance(v, int)}
HAVE_REPLY = {Request.GET_FEATURES, Request.GET_PROTOCOL_FEATURES, Request.GET_VRING_BASE,
              Request.GET_QUEUE_NUM, Request.GET_CONFIG, Request.GET_MAX_MEM_SLOTS,
              Request.GET_STATUS, Request.GET_INFLIGHT_FD}

BACKEND_IOTLB_MSG, BACKEND_CONFIG_CHANGE, BACKEND_VRING_CALL, BACKEND_VRING_ERR = 1, 2, 4, 5
MISS, UPDATE, INVALIDATE, ACCESS_FAIL = 1, 2, 3, 4
RO, WO, RW = 1, 2, 3
NO_FD = 0x100                   # bit 8 of SET_VRING_KICK/CALL/ERR: no descriptor comes with it

# protocol features, as bits
MQ, REPLY_ACK, BACKEND_REQ, CONFIG = 1 << 0, 1 << 3, 1 << 5, 1 << 9
INFLIGHT, RESET_DEVICE, INBAND, MEM_SLOTS, STATUS = 1 << 12, 1 << 13, 1 << 14, 1 << 15, 1 << 16

# virtio features, as bits
F_BLK_SIZE_MAX, F_BLK_SEG_MAX, F_BLK_RO, F_BLK_BLK_SIZE, F_BLK_FLUSH = 1 << 1, 1 << 2, 1 << 5, 1 << 6, 1 << 9
F_LOG_ALL, F_INDIRECT, F_EVENT_IDX, F_PROTOCOL = 1 << 26, 1 << 28, 1 << 29, 1 << 30
F_VERSION_1, F_ACCESS_PLATFORM, F_PACKED = 1 << 32, 1 << 33, 1 << 34
F_EXCLUSIVE = 1 << 45           # any bit no block back end offers

VRING_STATE = struct.Struct("<II")
VRING_ADDR = struct.Struct("<IIQQQQ")
REGION = struct.Struct("<QQQQ")
IOTLB = struct.Struct("<QQQBB6x")
CONFIG_HEAD = struct.Struct("<III")
INFLIGHT_DESC = struct.Struct("<QQHH4x")


def u64(value):
    return struct.pack("<Q", value & (2**64 - 1))


def vring_state(index, num):
    return VRING_STATE.pack(index, num)


def vring_addr(index, desc, used, avail, flags=0, log=0):
    return VRING_ADDR.pack(index, flags, desc, used, avail, log)


def iotlb(kind, iova, size=0, uaddr=0, perm=0):
    return IOTLB.pack(iova & (2**64 - 1), size & (2**64 - 1), uaddr & (2**64 - 1), perm, kind)


def mem_table(regions):
    """regions: (physical, size, user address, offset in the descriptor) each."""
    return struct.pack("<II", len(regions), 0) + b"".join(REGION.pack(*r) for r in regions)


def mem_region(phys, size, uaddr, offset):
    return struct.pack("<Q", 0) + REGION.pack(phys, size, uaddr, offset)


def config(offset, size, flags=0, payload=None):
    return CONFIG_HEAD.pack(offset, size, flags) + (bytes(size) if payload is None else payload)


def inflight(size, offset, queues, queue_size):
    return INFLIGHT_DESC.pack(size, offset, queues, queue_size)


class Violation(AssertionError):
    """The program under test did what a rule forbids, or did not what it demands."""


class PeerClosed(Violation):
    """The back end closed the connection where it had no right to."""


class NoAnswer(Violation):
    """Something that must happen did not, in time."""


def must(condition, text):
    if not condition:
        raise Violation(text)


class Message:
    __slots__ = ("request", "flags", "payload", "fds")

    def __init__(self, request, flags, payload, fds):
        self.request, self.flags, self.payload, self.fds = request, flags, payload, fds

    @property
    def u64(self):
        must(len(self.payload) == 8, f"reply to {self.name} carries {len(self.payload)} bytes, not 8")
        return struct.unpack("<Q", self.payload)[0]

    @property
    def name(self):
        return REQUEST_NAMES.get(self.request, str(self.request))

    def close_fds(self):
        for fd in self.fds:
            os.close(fd)
        self.fds = []


class Channel:
    """One end of a Unix stream socket that carries vhost-user messages."""

    def __init__(self, sock):
        self.sock = sock
        self.buffer = b""
        self.fds = []

    def fileno(self):
        return self.sock.fileno()

    def close(self):
        for fd in self.fds:
            os.close(fd)
        self.fds = []
        self.sock.close()

    def send_raw(self, data, fds=(), patience=None):
        """Any bytes with any descriptors. A peer that has hung up is PeerClosed. What comes in while the socket is
        full is taken in meanwhile: the peer may be waiting for us to read."""
        control = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        end = time.monotonic() + (PATIENCE if patience is None else patience)
        view = memoryview(data)
        while True:
            try:
                view = view[self.sock.sendmsg([view], control, socket.MSG_NOSIGNAL | socket.MSG_DONTWAIT):]
                control = []
                if not view:
                    return
            except BlockingIOError:
                left = end - time.monotonic()
                if left <= 0:
                    raise NoAnswer("the back end does not read what is sent") from None
                if select.select([self.sock], [self.sock], [], left)[0]:
                    self._fill(wait=False)
            except (BrokenPipeError, ConnectionResetError) as error:
                raise PeerClosed(f"sending to the back end: {error}") from error

    def send(self, request, payload=b"", fds=(), flags=VERSION, size=None):
        self.send_raw(HEADER.pack(request, flags, len(payload) if size is None else size) + payload, fds)

    def _fill(self, wait):
        try:
            data, control, _, _ = self.sock.recvmsg(65536, socket.CMSG_SPACE(4 * 64),
                                                    0 if wait else socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except ConnectionResetError as error:
            raise PeerClosed(str(error)) from error
        for level, kind, body in control:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                self.fds += array.array("i", body[:len(body) // 4 * 4])
        if not data:
            raise PeerClosed("the back end closed the connection"
                             + (f" within a message ({len(self.buffer)} bytes of it came)" if self.buffer else ""))
        self.buffer += data
        return True

    def take(self):
        """One whole message that has already come, or None. Does not block."""
        while True:
            if len(self.buffer) >= HEADER.size:
                request, flags, size = HEADER.unpack_from(self.buffer)
                if len(self.buffer) >= HEADER.size + size:
                    payload = self.buffer[HEADER.size:HEADER.size + size]
                    self.buffer = self.buffer[HEADER.size + size:]
                    fds, self.fds = self.fds, []
                    return Message(request, flags, payload, fds)
            if not self._fill(wait=False):
                return None

    def recv(self, timeout=PATIENCE):
        end = time.monotonic() + timeout
        while True:
            message = self.take()
            if message:
                return message
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.sock], [], [], left)[0]:
                raise NoAnswer(f"no message within {timeout:.1f} s")

    def closed_within(self, timeout=PATIENCE):
        """True when the peer hangs up in time; what it still sends is kept in self.seen."""
        self.seen = []
        end = time.monotonic() + timeout
        while True:
            try:
                message = self.take()
            except PeerClosed:
                return True
            if message:
                self.seen.append(message)
                continue
            left = end - time.monotonic()
            if left <= 0:
                return False
            select.select([self.sock], [], [], left)


class Pending:
    """A request whose reply may come later."""

    def __init__(self, request, then=None):
        self.request, self.reply, self.then, self.when = request, None, then, None
        self.sent = time.monotonic()

    @property
    def done(self):
        return self.reply is not None


class FrontEnd:
    """The front end's two channels and its eventfds, pumped by the calling thread."""

    def __init__(self, sock):
        self.main = Channel(sock)
        self.back = None            # the channel of the back end's own requests
        self.pending = deque()
        self.on_backend_request = None
        self.back_out = b""         # replies the socket has not taken yet
        self.closed = None          # why the main channel ended, once it has
        self.events = {}            # eventfd → how often it was signalled
        self.protocol = 0           # protocol features in force
        self.unexpected = []
        self.said = []              # what the back end says beside its questions: (request, payload)
        self.answer_what_is_said = True
        self.reply_in_turn = self.reply_on_backend_channel
        self.patience = PATIENCE    # for every wait that names no time of its own

    # -- sending -------------------------------------------------------------
    def start(self, request, payload=b"", fds=(), need_reply=None, then=None):
        """Sends a request; returns its Pending, or None when no reply is due."""
        if need_reply is None:
            need_reply = bool(self.protocol & REPLY_ACK)
        flags = VERSION | (NEED_REPLY if need_reply else 0)
        expects = request in HAVE_REPLY or (need_reply and self.protocol & REPLY_ACK)
        pending = Pending(request, then) if expects else None
        if pending:
            self.pending.append(pending)
        self.main.send(request, payload, fds, flags)
        return pending

    def ask(self, request, payload=b"", fds=(), timeout=None):
        """Sends a request that has a reply body; returns the reply."""
        pending = self.start(request, payload, fds, need_reply=False)
        self.wait(pending, timeout)
        return pending.reply

    def tell(self, request, payload=b"", fds=(), need_reply=None, timeout=None):
        """Sends a request without reply body; its ack, where there is one, must be zero."""
        pending = self.start(request, payload, fds, need_reply)
        if pending:
            self.wait(pending, timeout)
            must(pending.reply.u64 == 0, f"{REQUEST_NAMES[request]} was refused (ack {pending.reply.u64})")

    # -- receiving -----------------------------------------------------------
    def watch(self, eventfd):
        self.events[eventfd] = 0

    def pump(self, timeout=0.0):
        """Waits up to timeout for anything at all, then handles all that has come."""
        poll = select.poll()
        if self.closed is None:
            poll.register(self.main.fileno(), select.POLLIN)
        if self.back is not None:
            poll.register(self.back.fileno(), select.POLLIN)
        for fd in self.events:
            poll.register(fd, select.POLLIN)
        if self.back_out:
            self._flush_back()
        buffered = self.main.buffer or self.back is not None and self.back.buffer
        ready = {fd for fd, _ in poll.poll(0 if buffered else max(0, timeout) * 1000)}
        for fd in ready & self.events.keys():
            self.events[fd] += struct.unpack("<Q", os.read(fd, 8))[0]
        if self.closed is None and (self.main.buffer or self.main.fileno() in ready):
            self._pump_main()
        if self.back is not None and (self.back.buffer or self.back.fileno() in ready):
            self._pump_back()

    def _pump_main(self):
        try:
            while (message := self.main.take()) is not None:
                must(message.flags & VERSION_MASK == VERSION, f"reply to {message.name}: wrong version")
                must(message.flags & REPLY, f"{message.name} came on the main channel without the reply flag")
                must(self.pending, f"{message.name} was answered though nothing was asked")
                pending = self.pending.popleft()
                must(pending.request == message.request,
                     f"reply to {message.name} where {REQUEST_NAMES.get(pending.request)} was due")
                pending.reply, pending.when = message, time.monotonic()
                if pending.then:
                    pending.then(pending)
        except PeerClosed as error:
            self.closed = str(error)

    def _pump_back(self):
        try:
            while self.back is not None and (message := self.back.take()) is not None:
                if message.request != BACKEND_IOTLB_MSG:
                    self.said.append(message)
                    if self.answer_what_is_said:
                        self.reply_in_turn(message, 0)
                elif self.on_backend_request:
                    self.on_backend_request(message)
                else:
                    self.unexpected.append(message)
        except PeerClosed:
            self.back.close()
            self.back = None

    def wait_until(self, condition, what, timeout=None, closing_is_fine=False):
        timeout = self.patience if timeout is None else timeout
        end = time.monotonic() + timeout
        while True:
            self.pump(0)
            if condition():
                return
            if self.closed is not None and not closing_is_fine:
                raise PeerClosed(f"waiting for {what}: {self.closed}")
            left = end - time.monotonic()
            if left <= 0:
                raise NoAnswer(f"{what}: not within {timeout:.1f} s")
            self.pump(min(left, 0.005))

    def wait(self, pending, timeout=None):
        self.wait_until(lambda: pending.done, f"the reply to {REQUEST_NAMES.get(pending.request)}", timeout)
        return pending.reply

    def stay(self, seconds=QUIET, never=None, what="something forbidden"):
        """Pumps for a while; `never` must not become true meanwhile."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.pump(min(left, 0.005))
            must(never is None or not never(), what)

    def wait_closed(self, timeout=None):
        self.wait_until(lambda: self.closed is not None, "the back end to close the connection",
                        timeout, closing_is_fine=True)

    def make_backend_channel(self):
        """Hands the back end its request channel (SET_BACKEND_REQ_FD)."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self.back, self.back_out = Channel(ours), b""
        self.tell(Request.SET_BACKEND_REQ_FD, b"", [theirs.fileno()])
        theirs.close()

    def reply_on_backend_channel(self, message, value):
        """Never blocks: what the socket does not take now goes out while pumping."""
        if self.back is not None and message.flags & NEED_REPLY:
            self.back_out += HEADER.pack(message.request, VERSION | REPLY, 8) + u64(value)
            self._flush_back()

    def _flush_back(self):
        try:
            while self.back_out and self.back is not None:
                sent = self.back.sock.send(self.back_out, socket.MSG_NOSIGNAL | socket.MSG_DONTWAIT)
                self.back_out = self.back_out[sent:]
        except BlockingIOError:
            pass
        except (BrokenPipeError, ConnectionResetError):
            self.back_out = b""

    def close(self):
        self.main.close()
        if self.back is not None:
            self.back.close()
            self.back = None
