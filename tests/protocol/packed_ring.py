# SPDX-License-Identifier: BSD-3-Clause
"""A packed ring, driver side, with the methods of driver.Ring: heads are buffer ids, and the parts are the descriptor
ring, driver event suppression (avail) and device event suppression (used).

How it works
  The device's part lies right behind the descriptors, so that what it may write is one range. offer() writes a chain
  but for the flags of its first descriptor; publish() writes those, the youngest chain first, so that everything becomes
  available at once when the oldest one does.
"""
from driver import DESC, NEXT, RO, RW, full_barrier
from vhost_user import must


class PackedRing:
    """A packed ring, driver side, at `size` descriptors."""
    packed = True
    fresh_base = 0x8000_8000
    AVAIL, USED = 1 << 7, 1 << 15
    ENABLE, DISABLE, AT = 0, 1, 2

    def __init__(self, memory, domain, size=64, event_idx=False, region=0):
        self.memory, self.domain, self.size, self.event_idx = memory, domain, size, event_idx
        self.desc = memory.alloc(16 * size + 4, region=region)
        self.used = self.desc + 16 * size       # device event suppression, behind the descriptors
        self.avail = memory.alloc(4, offset=4 * 31, region=region)  # driver event suppression
        memory.write(self.desc, bytes(16 * size + 4))
        memory.write(self.avail, bytes(4))
        self.desc_address = domain.ring_address(self.desc, 16 * size + 4, RW)
        self.used_address = self.desc_address + 16 * size
        self.avail_address = domain.ring_address(self.avail, 4, RO)
        self.place, self.wrap = 0, 1            # of the next available descriptor
        self.used_place, self.used_wrap = 0, 1
        self.free = list(range(size - 1, -1, -1))   # buffer ids
        self.room = size                        # descriptors
        self.owner = {}                         # id → number of descriptors
        self.chains = {}                        # id → elements, not yet in the ring
        self.offered = []                       # (place, flags) to be published
        self.published = {}                     # id → (place, wrap) of its first descriptor
        self.used_count = 0
        self.wants_calls = True

    # -- words -------------------------------------------------------------------
    def write_desc(self, place, address, length, ident=0, flags=0):
        """A raw descriptor, AVAIL and USED included."""
        self.memory.write(self.desc + 16 * place, DESC.pack(address & (2**64 - 1), length, ident, flags))

    def read_desc(self, place):
        return DESC.unpack(self.memory.read(self.desc + 16 * place, 16))

    def write_flags(self, place, flags):
        self.memory.write16(self.desc + 16 * place + 14, flags)

    def available(self, wrap=None):
        """The two flags of a descriptor that is made available now."""
        return self.AVAIL if (self.wrap if wrap is None else wrap) else self.USED

    def is_used(self, place, wrap):
        flags = self.memory.read16(self.desc + 16 * place + 14)
        return bool(flags & self.AVAIL) == bool(flags & self.USED) == bool(wrap)

    def step(self, place, wrap, count):
        place += count
        return (place - self.size, wrap ^ 1) if place >= self.size else (place, wrap)

    def used_index(self):
        """How many elements were used in all."""
        return self.used_count + len(self._used()[0])

    def set_avail_flags(self, value):
        """1: no calls are wanted."""
        self.memory.write16(self.avail + 2, self.DISABLE if value else self.ENABLE)

    def call_after(self, elements):
        """Calls are wanted again when the element behind so many more is used; chains of three descriptors."""
        place, wrap = self.step(self.used_place, self.used_wrap, 3 * elements % self.size)
        self.memory.write16(self.avail, place | wrap << 15)
        self.memory.write16(self.avail + 2, self.AT)

    def break_it(self):
        """Something no ring may say. Answers what the log has to call it."""
        self.write_desc(self.place, 2**64 - 16, 4096, 0, self.available())
        return "DRV-15"

    def begin_again(self, _):
        """After a stop: a ring anew, whatever was in flight. Answers the base to start at."""
        self.memory.write(self.desc, bytes(16 * self.size))
        self.place, self.wrap, self.used_place, self.used_wrap = 0, 1, 0, 1
        self.free = list(range(self.size - 1, -1, -1))
        self.room = self.size
        for known in (self.owner, self.chains, self.published):
            known.clear()
        return self.fresh_base

    def begin_late(self):
        """Before it is set up: the last position, a wrap of the counters ahead. Answers its base."""
        self.place = self.used_place = self.size - 1
        for place in range(self.size - 1):
            self.write_flags(place, self.AVAIL | self.USED)
        return self.base

    @property
    def base(self):
        _, used_place, used_wrap = self._used()
        return self.place | self.wrap << 15 | used_place << 16 | used_wrap << 31

    def base_before(self, *heads):
        place, wrap = self.published[heads[0]]
        _, used_place, used_wrap = self._used()
        return place | wrap << 15 | used_place << 16 | used_wrap << 31

    def given_back(self, base):
        at = (base & 0x7fff, base >> 15 & 1)
        if at == (self.place, self.wrap):
            return 0
        return len(self.published) - list(self.published.values()).index(at)

    def parts(self):
        return [(self.desc_address, 16 * self.size + 4), (self.avail_address, 4)]

    @property
    def driver_words(self):
        return [(self.avail, 4)]

    @property
    def device_writes(self):
        return self.desc, 16 * self.size + 4

    @property
    def driver_writes(self):
        return [(self.avail, 4), (self.desc, 16 * self.size)]

    # -- what a driver does ------------------------------------------------------
    def add_chain(self, elements):
        """elements: (address, length, extra flags). Returns the buffer id, not yet offered."""
        if len(elements) > self.room or not self.free:
            raise MemoryError("the ring is full: the test offers too much at once")
        ident = self.free.pop()
        self.room -= len(elements)
        self.owner[ident] = len(elements)
        self.chains[ident] = elements
        return ident

    def offer(self, ident, publish=True):
        """Puts a chain into the ring, its first descriptor last; returns whether the device wants a kick."""
        elements = self.chains.pop(ident)
        first = None
        self.published[ident] = (self.place, self.wrap)
        for i, (address, length, flags) in enumerate(elements):
            flags |= self.available() | (NEXT if i < len(elements) - 1 else 0)
            if first is None:
                first = (self.place, flags)
                self.write_desc(self.place, address, length, ident,
                                self.memory.read16(self.desc + 16 * self.place + 14))
            else:
                self.write_desc(self.place, address, length, ident, flags)
            self.place, self.wrap = self.step(self.place, self.wrap, 1)
        self.offered.append(first)
        if not publish:
            return True
        return self.publish(None)

    def publish_last(self):
        return self.publish(None)

    def publish(self, _):
        """What was offered becomes available, the oldest last."""
        first = self.offered[0][0]
        for place, flags in reversed(self.offered):
            self.write_flags(place, flags)
        count = (self.place - first) % self.size or self.size
        self.offered = []
        full_barrier()
        off_wrap, flags = self.memory.read16(self.used), self.memory.read16(self.used + 2) & 3
        if flags != self.AT or not self.event_idx:
            return flags != self.DISABLE
        at = off_wrap & 0x7fff
        if off_wrap >> 15 != self.wrap:
            at -= self.size
        return (self.place - at - 1) & 0xffff < count

    def _used(self):
        """What was used and not yet taken: (id, length) each; and where that ends."""
        found, place, wrap = [], self.used_place, self.used_wrap
        while len(found) <= self.size and self.is_used(place, wrap):
            _, length, ident, _ = self.read_desc(place)
            found.append((ident, length))
            must(ident in self.owner, f"the device used buffer {ident}, which was not in flight")
            place, wrap = self.step(place, wrap, self.owner[ident])
        return found, place, wrap

    def take_used(self):
        """(id, length) of every element used since the last call, in order."""
        found, self.used_place, self.used_wrap = self._used()
        must(len({ident for ident, _ in found}) == len(found), "the device used a buffer twice")
        self.used_count += len(found)
        if self.event_idx and self.wants_calls and found:
            self.memory.write16(self.avail, self.used_place | self.used_wrap << 15)
            self.memory.write16(self.avail + 2, self.AT)
            full_barrier()
        for ident, _ in found:
            self.room += self.owner.pop(ident)
            self.published.pop(ident, None)
            self.free.append(ident)
        return found
