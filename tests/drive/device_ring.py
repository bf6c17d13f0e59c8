# SPDX-License-Identifier: BSD-3-Clause
"""A split ring, device side. (A packed one: device_packed.py.)

How it works
  Queue   one virtqueue as the front end set it up. fetch() takes what is
          available, walks each chain and checks the driver while it does so:
          whatever the driver half does wrong becomes a line in `violations`,
          because a device that is driven by the program under test is its
          checker too. use() puts an element into the used ring; publish()
          shows it and says whether a call is due.
  Ring memory is reached through `access`: bus addresses where bit 33 is in
  force, user addresses where it is not.
"""
import struct

from device_memory import Access
from driver import DESC, INDIRECT, NEXT, WRITE, full_barrier


class ByUser(Access):
    """Ring addresses with bit 33 clear: user addresses, untranslated."""

    def __init__(self, areas):
        super().__init__(areas, None)

    def locate(self, bus, permission):
        area, offset = self.areas.at_user(bus)
        if area is None:
            self._refuse("PLT-10", bus, permission)
        self.pieces += 1
        return area, offset, area.size - offset


class Chain:
    """One request as it lies in the ring."""

    def __init__(self, queue, head):
        self.queue, self.head = queue, head
        self.readable, self.writable = [], []      # (bus address, length)
        self.indirect = False

    @property
    def readable_bytes(self):
        return sum(length for _, length in self.readable)

    @property
    def writable_bytes(self):
        return sum(length for _, length in self.writable)


class Queue:
    packed = False

    def __init__(self, index, violations):
        self.index, self.violations = index, violations
        self.kick_fd = self.call_fd = self.err_fd = None
        self.size = self.base = 0
        self.used_idx = 0
        self.addresses = None       # (desc, used, avail)
        self.enabled = self.started = False
        self.access = None
        self.event_idx = self.indirect = False
        self.out = set()            # heads that were taken and not used
        self.record = None          # of what is in flight (device_record.py)
        self.resubmitted = []       # what a predecessor had taken and not used
        self.signalled = 0          # used index at the last call
        self.calls = self.calls_spared = 0

    def wrong(self, text):
        self.violations.append(f"queue {self.index}: {text}")

    def set_base(self, base):
        self.base = base & 0xffff

    def get_base(self):
        return self.base

    # -- reading what the driver wrote ---------------------------------------------
    def avail_index(self):
        return self.access.read16(self.addresses[2] + 2)

    def begin(self):
        """The first look at the ring after it was set up."""
        self.started = True
        self.used_idx = self.base   # what was taken was used, and nobody has to let us read what we write
        self.signalled = self.used_idx
        self.out = set()

    def resume(self, record):
        """Goes on where a predecessor ended, as its record has it."""
        self.used_idx, heads = record.resume(self)
        self.signalled = self.used_idx
        self.base = (self.used_idx + len(heads)) & 0xffff
        self.resubmitted = [self.walk(head) for head in heads]
        self.out = set(heads)
        self.record = record

    def _table(self, address, length):
        if not self.indirect:
            self.wrong("DRV-14: an indirect descriptor that was not negotiated")
        if length % 16 or not 16 <= length <= 16 * self.size:
            self.wrong(f"DRV-14: an indirect table of {length} bytes")
        return [DESC.unpack_from(raw) for raw in [self.bus.read(address, length)] for raw in
                [raw[i:i + 16] for i in range(0, len(raw) // 16 * 16, 16)]]

    def walk(self, head):
        chain = Chain(self, head)
        if head >= self.size:
            self.wrong(f"DRV-11: head {head} of {self.size}")
            return chain
        if head in self.out:
            self.wrong(f"DRV-16: head {head} is in use")
        at, table, seen = head, None, 0
        while True:
            seen += 1
            if seen > self.size:
                self.wrong(f"DRV-12: the chain at {head} loops")
                break
            if table is None:
                address, length, flags, following = DESC.unpack(self.access.read(self.addresses[0] + 16 * at, 16))
            else:
                address, length, flags, following = table[at]
            if flags & INDIRECT:
                if table is not None or flags & NEXT:
                    self.wrong(f"DRV-14: a nested or chained indirect descriptor at {head}")
                    break
                table, at, seen, chain.indirect = self._table(address, length), 0, 0, True
                continue
            if not length or address + length > 1 << 64:
                self.wrong(f"DRV-15: a descriptor of {length} bytes at {address:#x}")
            if flags & WRITE:
                chain.writable.append((address, length))
            else:
                if chain.writable:
                    self.wrong(f"DRV-13: readable after writable at {head}")
                chain.readable.append((address, length))
            if not flags & NEXT:
                break
            at = following
            if at >= (self.size if table is None else len(table)):
                self.wrong(f"DRV-11: next {at}")
                break
        if chain.readable_bytes + chain.writable_bytes > 1 << 32:
            self.wrong(f"DRV-12: {chain.readable_bytes + chain.writable_bytes} bytes in a chain")
        return chain

    def fetch(self):
        """The chains that became available since; and asks for a kick at the next one."""
        while True:
            now = self.avail_index()
            if (now - self.base) & 0xffff > self.size:
                self.wrong(f"DRV-10: available index {now}, {self.base} seen last, {self.size} descriptors")
                return
            if now == self.base:
                if not self.event_idx:
                    return
                self.access.write16(self.addresses[1] + 4 + 8 * self.size, self.base)
                full_barrier()
                if self.avail_index() == self.base:
                    return
                continue
            head = self.access.read16(self.addresses[2] + 4 + 2 * (self.base % self.size))
            self.base = (self.base + 1) & 0xffff
            chain = self.walk(head)
            self.out.add(head)
            if self.record:
                self.record.taken(chain)
            yield chain

    # -- writing what the driver reads ---------------------------------------------
    def put_used(self, head, written):
        """An element, not shown yet."""
        at = self.addresses[1] + 4 + 8 * (self.used_idx % self.size)
        self.access.write(at, struct.pack("<II", head & 0xffffffff, written & 0xffffffff))
        self.used_idx = (self.used_idx + 1) & 0xffff

    def show_used(self):
        self.access.write16(self.addresses[1] + 2, self.used_idx)
        full_barrier()

    def call_due(self):
        """Whether the driver wants to hear of what was used since it was asked last."""
        old, self.signalled = self.signalled, self.used_idx
        if old == self.used_idx:
            return False
        if self.event_idx:
            event = self.access.read16(self.addresses[2] + 4 + 2 * self.size)
            due = (self.used_idx - event - 1) & 0xffff < (self.used_idx - old) & 0xffff
        else:
            due = not self.access.read16(self.addresses[2]) & 1
        self.calls += due
        self.calls_spared += not due
        return due
