# SPDX-License-Identifier: BSD-3-Clause
"""A packed ring, device side: what device_ring.Queue is for a split one, and used in the same way.

How it works
  Positions count on without end; where they are in the ring, and the wrap
  counter, follows from the size. A chain is known by its buffer id, which
  stands in its last descriptor; how many descriptors it took is remembered
  here, for that is how far its used descriptor moves the ring on.
  put_used() writes a used descriptor but for its flags; show_used() writes
  those, the first one last, so that the driver sees all of them or none.
"""
import struct

from device_ring import Chain, Queue
from driver import INDIRECT, NEXT, WRITE, full_barrier

PACKED = struct.Struct("<QIHH")     # address, length, id, flags
AVAIL, USED = 1 << 7, 1 << 15
ENABLE, DISABLE, DESC_EVENT = 0, 1, 2
FRESH = 0x8000_8000


class PackedQueue(Queue):
    packed = True

    def __init__(self, index, violations):
        super().__init__(index, violations)
        self.set_base(FRESH)
        self.counts = {}            # descriptors by id, of what was taken last under it
        self.pending = []           # (position, flags), written and not shown

    # -- where it is -----------------------------------------------------------------
    def set_base(self, base):
        self.start_base = base
        self.base = self.used_at = 0

    def get_base(self):
        if not self.size:
            return self.start_base
        return self._place(self.base) | self._place(self.used_at) << 16

    def _place(self, at):
        return at % self.size | self._wrap(at) << 15

    def _wrap(self, at):
        return 1 - at // self.size % 2

    def begin(self):
        """Positions begin in the lap that their wrap counter says; the used one is never ahead."""
        self.started = True
        avail, used = self.start_base & 0xffff, self.start_base >> 16
        self.base, self.used_at = ((half & 0x7fff) + (0 if half & 0x8000 else self.size) for half in (avail, used))
        if self.used_at > self.base:
            self.base += 2 * self.size
        self.signalled = self.used_at
        self.out, self.counts, self.pending = set(), {}, []

    def at(self, position):
        return self.addresses[0] + 16 * (position % self.size)

    def is_available(self, position):
        flags, wrap = self.access.read16(self.at(position) + 14), self._wrap(position)
        return bool(flags & AVAIL) == bool(wrap) and bool(flags & USED) != bool(wrap)

    # -- reading what the driver wrote -------------------------------------------------
    def _entry(self, chain, address, length, flags):
        if not length or address + length > 1 << 64:
            self.wrong(f"DRV-15: a descriptor of {length} bytes at {address:#x}")
        if flags & WRITE:
            chain.writable.append((address, length))
        else:
            if chain.writable:
                self.wrong("DRV-13: readable after writable")
            chain.readable.append((address, length))

    def _raw_chain(self):
        """The descriptors at the next position. They follow one another, and all of them are available."""
        raw = []
        while True:
            if raw and not self.is_available(self.base + len(raw)):
                self.wrong(f"DRV-24: descriptor {len(raw)} of a chain is not available")
                break
            raw.append(PACKED.unpack(self.access.read(self.at(self.base + len(raw)), 16)))
            if not raw[-1][3] & NEXT:
                break
            if len(raw) == self.size:
                self.wrong("DRV-24: a chain of more descriptors than the ring has")
                break
        return raw

    def _walk(self, raw):
        chain = Chain(self, raw[-1][2])
        chain.raw = raw
        for address, length, _, flags in raw:
            if flags & INDIRECT:
                if len(raw) > 1:
                    self.wrong("DRV-14: an indirect descriptor in a chain")
                chain.indirect = True
                for entry in self._table(address, length):
                    if entry[3] & ~WRITE:
                        self.wrong(f"DRV-14: flags {entry[3]:#x} in an indirect table")
                    self._entry(chain, entry[0], entry[1], entry[3])
            else:
                self._entry(chain, address, length, flags)
        if chain.head >= self.size:
            self.wrong(f"DRV-24: id {chain.head} of {self.size}")
        if chain.head in self.out:
            self.wrong(f"DRV-16: id {chain.head} is in use")
        if chain.readable_bytes + chain.writable_bytes > 1 << 32:
            self.wrong(f"DRV-12: {chain.readable_bytes + chain.writable_bytes} bytes in a chain")
        if sum(self.counts[i] for i in self.out) + len(raw) > self.size:
            self.wrong("DRV-10: more descriptors are with the device than the ring has")
        self.counts[chain.head] = len(raw)
        return chain

    def resume(self, record):
        record.ring = self.size
        base, raws = record.resume(self)
        self.set_base(base)
        self.begin()
        self.resubmitted = []
        for raw in raws:
            self.resubmitted.append(self._walk(raw))
            self.out.add(self.resubmitted[-1].head)
        self.record = record

    def fetch(self):
        while True:
            if not self.is_available(self.base):
                if not self.event_idx:
                    self.access.write16(self.addresses[1] + 2, ENABLE)
                else:
                    self.access.write16(self.addresses[1], self._place(self.base))
                    self.access.write16(self.addresses[1] + 2, DESC_EVENT)
                full_barrier()
                if not self.is_available(self.base):
                    return
            chain = self._walk(self._raw_chain())
            self.base += len(chain.raw)
            self.out.add(chain.head)
            if self.record:
                self.record.taken(chain)
            yield chain

    # -- writing what the driver reads ---------------------------------------------------
    def put_used(self, head, written):
        self.put_used_at(self.used_at, head, written)
        self.used_at += self.counts.get(head, 1)

    def put_used_at(self, position, head, written, flags=None):
        self.access.write(self.at(position) + 8, struct.pack("<IH", written & 0xffffffff, head & 0xffff))
        if flags is None:
            flags = (AVAIL | USED if self._wrap(position) else 0) | (WRITE if written else 0)
        self.pending.append((position, flags))

    def show_used(self):
        full_barrier()
        for position, flags in reversed(self.pending):
            self.access.write16(self.at(position) + 14, flags)
        self.pending = []
        full_barrier()

    def call_due(self):
        old, self.signalled = self.signalled, self.used_at
        if old == self.used_at:
            return False
        full_barrier()
        flags = self.access.read16(self.addresses[2] + 2) & 3
        due = flags == ENABLE
        if flags == DESC_EVENT:
            if not self.event_idx:
                self.wrong("an event descriptor that was not negotiated")
            place = self.access.read16(self.addresses[2])
            lap = self.used_at // self.size * self.size
            event = lap + (place & 0x7fff) - (0 if place >> 15 == self._wrap(self.used_at) else self.size)
            due = old <= event < self.used_at
        self.calls += due
        self.calls_spared += not due
        return due
