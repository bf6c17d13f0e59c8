# SPDX-License-Identifier: BSD-3-Clause
"""The virtio-blk driver half, and the whole of a front end that drives one device.

How it works
  Blk joins a FrontEnd, a Memory, a domain (Direct or Iommu) and a Ring into
  one driver: connect → negotiate → share memory → start the ring → requests.
  Each step is a method of its own, so that a hostile test leaves one out,
  repeats it, or does it wrong. A request's header, data and status lie in
  buffers of their own, at odd offsets, with known noise around them.
"""
import copy
import os
import random
import socket
import struct
import time
from contextlib import contextmanager

import vhost_user as vu
from driver import INDIRECT, NEXT, PAGE, RO, WO, WRITE, DESC, Direct, Iommu, Memory, Ring
from packed_ring import PackedRing
from vhost_user import Request as R, must

IN, OUT, FLUSH, GET_ID, GET_LIFETIME, DISCARD, WRITE_ZEROES, SECURE_ERASE = 0, 1, 4, 8, 10, 11, 13, 14
BRINGS = (OUT, DISCARD, WRITE_ZEROES, SECURE_ERASE)     # their data is the driver's
F_DISCARD, F_WRITE_ZEROES, F_CONFIG_WCE = 1 << 13, 1 << 14, 1 << 11
UNMAP = 1                           # flag of a range to zero
RANGE = struct.Struct("<QII")
OK, IOERR, UNSUPP = 0, 1, 2
UNTOUCHED = 0xee                    # what a status byte holds before the device writes it
SECTOR = 512
HEADER = struct.Struct("<IIQ")


def connect(path):
    """Connects; where others wait in front of us, or a socket is bound but not listening yet, tries again for a while."""
    end = time.monotonic() + vu.PATIENCE
    while True:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            sock.connect(path)
            sock.setblocking(True)
            return sock
        except (BlockingIOError, ConnectionRefusedError):
            sock.close()
            must(time.monotonic() < end, "the back end does not accept connections")
            time.sleep(0.002)


class BlkRequest:
    def __init__(self, kind, sector, header, data, status, length):
        self.kind, self.sector, self.length = kind, sector, length
        self.header, self.data, self.status = header, data, status  # physical addresses; data is a list
        self.head = None
        self.used = None            # the used length, once used
        self.chain = []             # (bus address, length, flags)
        self.table = None

    @property
    def device_writes(self):
        """(physical, length) of what the device may write."""
        parts = [(self.status, 1)]
        if self.kind not in BRINGS:
            parts += [(phys, length) for phys, length in self.data]
        return parts


class Blk:
    """One driver on one connection."""
    packed_by_default = False   # see the fixture `layout`

    def __init__(self, path=None, iommu=False, size=64, event_idx=False, indirect=True, memory=None,
                 sock=None, extra_features=0, drop_features=0, patience=vu.PATIENCE, packed=None, extra_protocol=0):
        self.front_end = vu.FrontEnd(sock or connect(path))
        self.front_end.patience = patience
        self.iommu_wanted, self.size, self.event_idx, self.indirect = iommu, size, event_idx, indirect
        self.extra_features, self.drop_features = extra_features, drop_features
        self.packed = self.packed_by_default if packed is None else packed
        self.extra_protocol = extra_protocol
        self.index = 0
        self.own_memory = memory is None
        self.memory = memory or Memory()
        self.domain = None
        self.ring = None
        self.requests = {}          # head → request in flight
        self.kick_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self.call_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self.err_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self.front_end.watch(self.call_fd)
        self.front_end.watch(self.err_fd)
        self.kicks = 0
        self.siblings = []          # shared with them

    # -- the steps of a good front end ---------------------------------------------
    def negotiate(self):
        """Features of both kinds, owner, back-end channel."""
        fe = self.front_end
        self.offered = fe.ask(R.GET_FEATURES).u64
        must(self.offered & vu.F_PROTOCOL, "the back end offers no protocol features")
        self.protocol_offered = fe.ask(R.GET_PROTOCOL_FEATURES).u64
        wanted = self.extra_protocol | vu.MQ | vu.REPLY_ACK | vu.CONFIG | vu.MEM_SLOTS | vu.STATUS | vu.BACKEND_REQ
        self.protocol = self.protocol_offered & wanted
        fe.tell(R.SET_PROTOCOL_FEATURES, vu.u64(self.protocol), need_reply=False)
        fe.protocol = self.protocol
        fe.tell(R.SET_OWNER)
        if self.iommu_wanted:
            must(self.offered & vu.F_ACCESS_PLATFORM, "the back end does not offer bit 33")
            must(self.protocol & vu.BACKEND_REQ, "the back end offers bit 33 but no channel for its misses")
        if self.protocol & vu.BACKEND_REQ:
            fe.make_backend_channel()
        return self

    def accept(self, features=None):
        """Accepts features: by default what this driver was made for."""
        if features is None:
            features = vu.F_VERSION_1 | vu.F_PROTOCOL | vu.F_BLK_FLUSH | vu.F_BLK_RO | vu.F_BLK_BLK_SIZE | vu.F_BLK_SEG_MAX
            features |= vu.F_INDIRECT if self.indirect else 0
            features |= vu.F_EVENT_IDX if self.event_idx else 0
            features |= vu.F_PACKED if self.packed else 0
            features &= self.offered
            features |= vu.F_ACCESS_PLATFORM if self.iommu_wanted else 0
            features = (features | self.extra_features) & ~self.drop_features
        self.features = features
        self.front_end.tell(R.SET_FEATURES, vu.u64(features))
        self.domain = Iommu(self.memory, self.front_end) if self.iommu_wanted else Direct(self.memory)
        if self.protocol & vu.STATUS:
            self.front_end.tell(R.SET_STATUS, vu.u64(0x0b))     # acknowledged, driver, features ok
        return self

    def share_memory(self, regions=None):
        regions = self.memory.regions if regions is None else regions
        self.front_end.tell(R.SET_MEM_TABLE, vu.mem_table([r.row for r in regions]), [r.fd for r in regions])
        return self

    def make_ring(self, size=None, **how):
        kind = PackedRing if self.packed else Ring
        self.ring = kind(self.memory, self.domain, size or self.size, self.event_idx, **how)
        return self.ring

    @property
    def inband(self):
        return bool(self.protocol & vu.INBAND)

    def set_up_ring(self, base=None, enable=True):
        fe, at = self.front_end, self.index
        ring = self.ring or self.make_ring()
        base = ring.fresh_base if base is None else base
        fe.tell(R.SET_VRING_NUM, vu.vring_state(at, ring.size))
        fe.tell(R.SET_VRING_BASE, vu.vring_state(at, base))
        fe.tell(R.SET_VRING_ADDR, vu.vring_addr(at, ring.desc_address, ring.used_address, ring.avail_address))
        if not self.inband:
            fe.tell(R.SET_VRING_ERR, vu.u64(at), [self.err_fd])
            fe.tell(R.SET_VRING_CALL, vu.u64(at), [self.call_fd])
            fe.tell(R.SET_VRING_KICK, vu.u64(at), [self.kick_fd])
        if enable:
            fe.tell(R.SET_VRING_ENABLE, vu.vring_state(at, 1))
        if self.protocol & vu.STATUS:
            fe.tell(R.SET_STATUS, vu.u64(0x0f))                 # and driver ok
        return self

    def start(self, prefault_ring=False):
        self.negotiate().accept().share_memory().set_up_ring()
        if prefault_ring and self.iommu_wanted:
            self.grant_ring()
        return self

    def grant_ring(self):
        for address, length in self.ring.parts():
            self.domain.grant(address, length)

    def sibling(self, index):
        """Another queue of the same device, over the same connection and memory."""
        other = copy.copy(self)
        other.index, other.ring, other.requests, other.kicks, other.own_memory = index, None, {}, 0, False
        other.kick_fd, other.call_fd, other.err_fd = (os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK) for _ in range(3))
        self.front_end.watch(other.call_fd)
        self.front_end.watch(other.err_fd)
        self.siblings.append(other)
        return other

    def stop_ring(self, timeout=None):
        """GET_VRING_BASE; returns the base the back end gives back."""
        reply = self.front_end.ask(R.GET_VRING_BASE, vu.vring_state(self.index, 0), timeout=timeout)
        index, base = vu.VRING_STATE.unpack(reply.payload)
        must(index == self.index, f"GET_VRING_BASE answered for ring {index}")
        return base

    def config(self, offset=0, size=60):
        reply = self.front_end.ask(R.GET_CONFIG, vu.config(offset, size))
        must(len(reply.payload) == 12 + size, f"GET_CONFIG of {size} bytes was answered with {len(reply.payload) - 12}")
        return reply.payload[12:]

    @property
    def capacity(self):
        return struct.unpack_from("<Q", self.config(0, 8))[0]

    # -- requests --------------------------------------------------------------------
    def make(self, kind, sector=0, data=None, length=0, data_at=None, regions=(0,)):
        """Buffers of a request; data_at: (physical, length) parts, else one buffer of `length` bytes."""
        length = len(data) if data is not None else length
        header = self.memory.alloc(16, offset=0x125)
        status = self.memory.alloc(1, offset=0x3f3)
        if data_at is None:
            data_at = [(self.memory.alloc(length, offset=0x201, region=regions[0]), length)] if length else []
        self.memory.write(header, HEADER.pack(kind, 0, sector))
        self.memory.write(status, bytes([UNTOUCHED]))
        left = memoryview(data or b"")
        for phys, size in data_at:
            if left:
                self.memory.write(phys, left[:size])
                left = left[size:]
        return BlkRequest(kind, sector, header, data_at, status, length)

    def map(self, request, data_permission=None):
        """Maps its parts and lays out its chain."""
        brings = request.kind in BRINGS
        direction, flag = (RO, 0) if brings else (WO, WRITE)
        m = self.domain.map
        request.chain = [(m(request.header, 16, RO), 16, 0)]
        request.chain += [(m(phys, length, data_permission or direction), length, flag) for phys, length in request.data]
        request.chain += [(m(request.status, 1, WO), 1, WRITE)]
        return request

    def data_address(self, request, part=0):
        return request.chain[1 + part][0]

    def table_of(self, chain, place=None):
        """Writes an indirect table for it; returns its physical address."""
        table = place or self.memory.alloc(16 * len(chain), offset=0x240)
        for i, (address, length, flags) in enumerate(chain):
            last = i == len(chain) - 1
            self.memory.write(table + 16 * i, DESC.pack(address, length, 0, flags) if self.packed else
                              DESC.pack(address, length, flags | (0 if last else NEXT), 0 if last else i + 1))
        return table

    def offer(self, request, indirect=False, kick=True, publish=True):
        if not request.chain:
            self.map(request)
        if indirect:
            table = self.table_of(request.chain)
            request.table = self.domain.map(table, 16 * len(request.chain), RO)
            request.head = self.ring.add_chain([(request.table, 16 * len(request.chain), INDIRECT)])
        else:
            request.head = self.ring.add_chain(request.chain)
        self.requests[request.head] = request
        wanted = self.ring.offer(request.head, publish)
        if kick and publish and wanted:
            self.kick()
        return request

    def kick(self):
        self.kicks += 1
        if self.inband:
            self.front_end.tell(R.VRING_KICK, vu.vring_state(self.index, 0))
        else:
            os.eventfd_write(self.kick_fd, 1)

    def collect(self):
        """Takes what was used; returns those requests."""
        done = []
        for head, length in self.ring.take_used():
            request = self.requests.pop(head, None)
            if request:
                request.used = length
                done.append(request)
        return done

    def wait(self, request, timeout=None):
        patience = self.front_end.patience
        self.front_end.wait_until(lambda: self.collect() is None or request.used is not None,
                                  f"request {request.kind} at sector {request.sector} to be used",
                                  min(timeout or patience, patience))
        return self.status(request)

    def status(self, request):
        return self.memory.read(request.status, 1)[0]

    def data(self, request):
        return b"".join(self.memory.read(phys, length) for phys, length in request.data)

    def run(self, request, **how):
        """Offers, waits, and checks that nothing but the request's own memory changed."""
        self.offer(request, publish=False, **how)
        before = self.memory.snapshot()
        if self.ring.publish_last():
            self.kick()
        status = self.wait(request)
        self.memory.must_change_only(before, request.device_writes + [self.ring.device_writes] + self.ring.driver_writes)
        return status

    def read(self, sector, length, **how):
        request = self.make(IN, sector, length=length)
        status = self.run(request, **how)
        must(status == OK, f"reading {length} bytes at sector {sector}: status {status}")
        must(request.used == length + 1, f"used length {request.used} of a read of {length} bytes")
        return self.data(request)

    def write(self, sector, data, **how):
        request = self.make(OUT, sector, data)
        status = self.run(request, **how)
        must(status == OK, f"writing {len(data)} bytes at sector {sector}: status {status}")
        must(request.used == 1, f"used length {request.used} of a write: only the status byte is device-writable")
        return request

    def flush(self, **how):
        status = self.run(self.make(FLUSH), **how)
        must(status == OK, f"flush: status {status}")

    def make_ranges(self, kind, *ranges):
        """A request of (sector, sectors[, flags]) ranges."""
        return self.make(kind, data=b"".join(RANGE.pack(*r[:2], r[2] if len(r) > 2 else 0) for r in ranges))

    def ranges(self, kind, *ranges, **how):
        return self.run(self.make_ranges(kind, *ranges), **how)

    def set_writeback(self, on):
        self.front_end.tell(R.SET_CONFIG, vu.config(32, 1, payload=bytes([on])))

    def get_id(self, length=20):
        request = self.make(GET_ID, length=length)
        must(self.run(request) == OK, "get-id failed")
        return self.data(request)

    def still_works(self, sector=0):
        """Reads one sector: the queue lives."""
        request = self.offer(self.make(IN, sector, length=SECTOR))
        status = self.wait(request)
        must(status == OK, f"a plain read after the attack: status {status}")

    def close(self):
        self.front_end.close()
        for blk in (self, *self.siblings):
            for fd in (blk.kick_fd, blk.call_fd, blk.err_fd):
                os.close(fd)
        if self.own_memory:
            self.memory.close()


@contextmanager
def driving(*args, start=True, **kwargs):
    """A driver that is closed at the end, and whose IOMMU saw only legal requests."""
    blk = Blk(*args, **kwargs)
    try:
        if start:
            blk.start()
        yield blk
        if isinstance(blk.domain, Iommu):
            must(not blk.domain.malformed, f"malformed requests of the back end: {blk.domain.malformed}")
            must(not blk.domain.duplicates,
                 f"a second miss while one was outstanding for its page and permission: {blk.domain.duplicates}")
    finally:
        blk.close()


def pattern(length, seed=1):
    return random.Random(seed).randbytes(length)
