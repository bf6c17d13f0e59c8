# SPDX-License-Identifier: BSD-3-Clause
"""The record of what is in flight, as vhost-user's document lays it out and keeps it, for a back end in Python.

How it works
  Record        one file, a part of it for each queue; make() for a new one,
                Record(fd, ...) for one that a front end gave back.
  SplitRecord,  of one queue: taken() when a chain was fetched; returning()
  PackedRecord  and returned() around its used element; resume() at the start:
                settles what was under way when the last back end ended, and
                answers (where the ring goes on, what is in flight, in order).
"""
import mmap
import os
import struct

ALIGN = 64
SPLIT_HEAD, SPLIT_STATE = struct.Struct("<QHHHH"), struct.Struct("<B5xHQ")
PACKED_HEAD = struct.Struct("<QHHHHHHBB7x")
PACKED_STATE = struct.Struct("<BxHHHQHHIQ")
# The document's structures, as a compiler lays them out.
PACKED_HEAD_BYTES, SPLIT_HEAD_BYTES = 32, 16
VERSION = 1


def part_bytes(size, packed):
    bytes_ = PACKED_HEAD_BYTES + PACKED_STATE.size * size if packed else SPLIT_HEAD_BYTES + SPLIT_STATE.size * size
    return -(-bytes_ // ALIGN) * ALIGN


class Record:
    def __init__(self, fd, total, offset, queues, size, packed):
        self.fd, self.total, self.queues, self.size, self.packed = fd, total, queues, size, packed
        if total < queues * part_bytes(size, packed):
            raise IndexError
        self.map = mmap.mmap(fd, total, offset=offset)

    @classmethod
    def make(cls, queues, size, packed):
        fd = os.memfd_create("inflight", os.MFD_CLOEXEC)
        total = queues * part_bytes(size, packed)
        os.ftruncate(fd, total)
        return cls(fd, total, 0, queues, size, packed)

    def of(self, index):
        if index >= self.queues:
            raise IndexError
        return (PackedRecord if self.packed else SplitRecord)(self.map, index * part_bytes(self.size, self.packed),
                                                             self.size)

    def close(self):
        self.map.close()
        os.close(self.fd)


class _Part:
    def __init__(self, view, at, size):
        self.view, self.at, self.size = view, at, size
        self.counter = 0

    def get(self, form, at):
        return list(form.unpack_from(self.view, self.at + at))

    def put(self, form, at, values):
        form.pack_into(self.view, self.at + at, *values)


class SplitRecord(_Part):
    def head(self):
        return self.get(SPLIT_HEAD, 0)

    def state(self, i, values=None):
        at = SPLIT_HEAD_BYTES + SPLIT_STATE.size * i
        if values is None:
            return self.get(SPLIT_STATE, at)
        return self.put(SPLIT_STATE, at, values)

    def resume(self, queue):
        used = queue.access.read16(queue.addresses[1] + 2)
        _, version, count, last, recorded = self.head()
        if version == 0:
            self.put(SPLIT_HEAD, 0, (0, VERSION, self.size, 0, used))
            return used, []
        if version != VERSION or count != self.size:
            raise IndexError
        for _ in range((used - recorded) & 0xffff):
            state = self.state(last)
            self.state(last, (0, *state[1:]))
            last = state[1]
        self.put(SPLIT_HEAD, 0, (0, VERSION, count, self.head()[3], used))
        flying = sorted((state[2], i) for i in range(self.size) if (state := self.state(i))[0])
        self.counter = flying[-1][0] + 1 if flying else 0
        return used, [head for _, head in flying]

    def taken(self, chain):
        self.state(chain.head, (0, self.state(chain.head)[1], self.counter))
        self.state(chain.head, (1, self.state(chain.head)[1], self.counter))
        self.counter += 1

    def returning(self, head):
        features, version, count, last, used = self.head()
        state = self.state(head)
        self.state(head, (state[0], last, state[2]))
        self.put(SPLIT_HEAD, 0, (features, version, count, head, used))

    def returned(self, head, queue):
        state = self.state(head)
        self.state(head, (0, *state[1:]))
        self.put(SPLIT_HEAD, 0, (*self.head()[:4], queue.used_idx))


class PackedRecord(_Part):
    def __init__(self, view, at, size):
        super().__init__(view, at, size)
        self.entries = {}           # first entry by id, of what is in flight

    def head(self, **changes):
        names = ("features", "version", "count", "free", "old_free", "used", "old_used", "wrap", "old_wrap")
        values = dict(zip(names, self.get(PACKED_HEAD, 0)))
        if changes:
            values.update(changes)
            self.put(PACKED_HEAD, 0, tuple(values.values()))
        return values

    def state(self, i, **changes):
        names = ("inflight", "next", "last", "num", "counter", "id", "flags", "len", "addr")
        at = PACKED_HEAD_BYTES + PACKED_STATE.size * i
        values = dict(zip(names, self.get(PACKED_STATE, at)))
        if changes:
            values.update(changes)
            self.put(PACKED_STATE, at, tuple(values.values()))
        return values

    def resume(self, queue):
        head = self.head()
        if head["version"] == 0:
            used = queue.start_base >> 16
            self.head(version=VERSION, count=self.size, free=0, old_free=0, used=used & 0x7fff, old_used=used & 0x7fff,
                      wrap=used >> 15, old_wrap=used >> 15)
            for i in range(self.size):
                self.state(i, next=i + 1 & 0xffff)
            return queue.start_base, []
        if head["version"] != VERSION or head["count"] != self.size:
            raise IndexError
        if head["used"] != head["old_used"] or head["wrap"] != head["old_wrap"]:
            flags = queue.access.read16(queue.addresses[0] + 16 * head["old_used"] + 14)
            shown = bool(flags & 1 << 7) == bool(flags & 1 << 15) == bool(head["old_wrap"])
            if shown:
                self.head(old_free=head["free"], old_used=head["used"], old_wrap=head["wrap"])
        head = self.head()
        self.head(free=head["old_free"], used=head["old_used"], wrap=head["old_wrap"])
        at, seen = head["old_free"], 0
        while at < self.size and seen < self.size:
            self.state(at, inflight=0)
            at, seen = self.state(at)["next"], seen + 1
        flying = sorted((state["counter"], i) for i in range(self.size) if (state := self.state(i))["inflight"])
        self.counter = flying[-1][0] + 1 if flying else 0
        used = head["old_used"] | head["old_wrap"] << 15
        taken = head["old_used"] + sum(self.state(i)["num"] for _, i in flying)
        wrap = head["old_wrap"] ^ (taken >= queue.size)
        return taken % queue.size | wrap << 15 | used << 16, [self._chain(i) for _, i in flying]

    def _chain(self, first):
        """(id, [(address, length, id, flags), ...])"""
        entries, at = [], first
        for _ in range(self.state(first)["num"]):
            state = self.state(at)
            entries.append((state["addr"], state["len"], state["id"], state["flags"]))
            at = state["next"]
        self.entries[entries[-1][2]] = first
        return entries

    def taken(self, chain):
        first = self.head()["old_free"]
        at = first
        self.state(first, num=0, counter=self.counter, inflight=1)
        self.counter += 1
        for n, (address, length, ident, flags) in enumerate(chain.raw):
            if n == len(chain.raw) - 1:
                self.state(first, last=at)
            self.state(first, num=n + 1)
            self.state(at, addr=address, len=length, flags=flags, id=ident)
            at = self.state(at)["next"]
            self.head(free=at)
        self.head(old_free=at)
        self.entries[chain.head] = first

    def returning(self, ident):
        """Before its used descriptor is shown."""
        first = self.entries[ident]
        head, state = self.head(), self.state(first)
        self.state(state["last"], next=head["free"])
        used = head["used"] + state["num"]
        self.head(free=first, used=used % self.ring, wrap=head["wrap"] ^ (used >= self.ring))

    def returned(self, ident, queue):
        self.state(self.entries.pop(ident), inflight=0)
        head = self.head()
        self.head(old_free=head["free"], old_used=head["used"], old_wrap=head["wrap"])
