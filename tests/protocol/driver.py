# SPDX-License-Identifier: BSD-3-Clause
"""The driver half, in Python: memory, an IOMMU's role, and a split ring.

How it works
  Memory    the driver's memory: memfd regions at chosen physical and user
            addresses. Everything that is not a buffer holds known random bytes,
            so that one stray byte anywhere shows (snapshot, must_change_only);
            a punched page shows even a stray READ, because reading a hole in
            shared memory allocates it (punch, touched).
  Direct    bit 33 clear: descriptors carry physical addresses, ring set-up
            carries user addresses.
  Iommu     bit 33 set: one bus address space, page by page, in which no bus
            address equals the physical address of its byte. It answers the
            back end's misses the way its `policy` says: answer, keep, refuse, or
            a function of the test's own. It records every miss, and notes when
            two are outstanding for one page and permission.
  Ring      a split ring, driver side. offer() does what a good driver does;
            the desc/avail words are open to tests that want to do it badly.
            A packed one with the same methods: packed_ring.py.
"""
import mmap
import os
import random
import struct
import threading
import time
from collections import deque

from vhost_user import (BACKEND_IOTLB_MSG, INVALIDATE, IOTLB, MISS, NEED_REPLY, RO, RW, UPDATE, VERSION,
                        VERSION_MASK, WO, REPLY, Request, Violation, iotlb, must)

PAGE = 4096
NEXT, WRITE, INDIRECT = 1, 2, 4
DESC = struct.Struct("<QIHH")
NOISE = random.Random(33).randbytes(1 << 20)
_fence = threading.Lock()


def full_barrier():
    """A store before it is visible before a load after it (a locked instruction)."""
    with _fence:
        pass


def page_of(address):
    return address & ~(PAGE - 1)


def pages(address, length):
    """The first addresses of the pages that hold any of these bytes."""
    return range(page_of(address), address + length, PAGE)


class Region:
    """One memfd, or a part of one: `size` bytes at `offset` of the descriptor."""

    def __init__(self, phys, size, uaddr, offset=0, noise=True):
        self.phys, self.size, self.uaddr, self.offset = phys, size, uaddr, offset
        self.fd = os.memfd_create("driver-memory", os.MFD_CLOEXEC)
        os.ftruncate(self.fd, offset + size)
        self.map = mmap.mmap(self.fd, offset + size)
        self.view = memoryview(self.map)[offset:offset + size]
        self.words = self.view.cast("H")
        if noise:
            for at in range(0, size, len(NOISE)):
                self.view[at:at + len(NOISE)] = NOISE[:min(len(NOISE), size - at)]
        self.next = 0

    def holds(self, phys, length=1):
        return self.phys <= phys and phys + length <= self.phys + self.size

    @property
    def row(self):
        return self.phys, self.size, self.uaddr, self.offset

    def close(self):
        self.words.release()
        self.view.release()
        self.map.close()
        os.close(self.fd)


class Memory:
    """All of the driver's memory, by physical address."""
    PLACES = ((0x1_0000_0000, 8 << 20, 0x7f40_0000_0000, 0),
              (0x9_4000_0000, 4 << 20, 0x7f10_0020_0000, 3 * PAGE))

    def __init__(self, places=None, noise=True):
        self.regions = [Region(*place, noise=noise) for place in places or self.PLACES]

    def close(self):
        for region in self.regions:
            region.close()

    def region(self, phys, length=1):
        for region in self.regions:
            if region.holds(phys, length):
                return region
        raise IndexError(f"no memory at {phys:#x}")

    def read(self, phys, length):
        region = self.region(phys, length)
        return bytes(region.view[phys - region.phys:phys - region.phys + length])

    def write(self, phys, data):
        region = self.region(phys, len(data))
        region.view[phys - region.phys:phys - region.phys + len(data)] = data

    def read16(self, phys):
        region = self.region(phys, 2)
        return region.words[(phys - region.phys) // 2]

    def write16(self, phys, value):
        region = self.region(phys, 2)
        region.words[(phys - region.phys) // 2] = value & 0xffff

    def user(self, phys):
        region = self.region(phys)
        return region.uaddr + phys - region.phys

    def alloc(self, length, offset=0, region=0):
        """Fresh pages of their own; the buffer begins `offset` bytes into the first."""
        place = self.regions[region]
        need = (offset + length + PAGE - 1) // PAGE * PAGE
        if place.next + need > place.size:
            raise MemoryError("the test's memory is used up: make its regions larger")
        phys = place.phys + place.next + offset
        place.next += need
        return phys

    def snapshot(self):
        return [bytes(region.view) for region in self.regions]

    def must_change_only(self, before, allowed):
        """Compares all memory byte by byte; `allowed` are (physical address, length)."""
        for region, old in zip(self.regions, before):
            new = bytearray(region.view)
            if new == old:
                continue
            for phys, length in allowed:
                begin = max(phys, region.phys) - region.phys
                end = min(phys + length, region.phys + region.size) - region.phys
                if begin < end:
                    new[begin:end] = old[begin:end]
            if new != old:
                at = next(i for i, (a, b) in enumerate(zip(old, new)) if a != b)
                raise Violation(f"memory at physical {region.phys + at:#x} was changed though nothing allows it: "
                                f"{old[at:at + 8].hex()} became {bytes(new[at:at + 8]).hex()}")

    def punch(self, phys, length):
        """Gives whole pages back to the system: they read as zero, and reading allocates them."""
        libc_fallocate(self.region(phys, length), phys, length)

    def touched(self, phys, length):
        """Whether any page of a punched range was read or written since."""
        region = self.region(phys, length)
        at = region.offset + phys - region.phys
        try:
            return os.lseek(region.fd, at, os.SEEK_DATA) < at + length
        except OSError:
            return False


def libc_fallocate(region, phys, length):
    import ctypes
    libc = ctypes.CDLL(None, use_errno=True)
    libc.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    keep_size_punch_hole = 0x01 | 0x02
    if libc.fallocate(region.fd, keep_size_punch_hole, region.offset + phys - region.phys, length):
        raise OSError(ctypes.get_errno(), "fallocate")


class Direct:
    """Bit 33 clear: a bus address IS the physical one."""
    translates = False

    def __init__(self, memory):
        self.memory = memory

    def map(self, phys, length, permission):
        return phys

    def ring_address(self, phys, length, permission):
        return self.memory.user(phys)


class Miss:
    def __init__(self, message, iova, permission):
        self.message, self.iova, self.permission = message, iova, permission
        self.answered = False
        self.reply = None           # what the reply will say, once it is known
        self.time = time.monotonic()

    def __repr__(self):
        return f"miss({self.iova:#x}, {'-rw!'[self.permission] if self.permission < 3 else 'rw'})"


class Iommu:
    """Bit 33 set: the platform of the device, played by the front end."""
    translates = True

    def __init__(self, memory, front_end, base=0xab_0000_0000):
        self.memory, self.front_end = memory, front_end
        self.next = base
        self.page = {}              # bus page → (physical page, permission)
        self.misses = []
        self.unreplied = deque()    # replies carry no id: they go out in the order of the questions
        self.kept = []
        self.duplicates = []
        self.malformed = []
        self.failures_reported = []
        self.policy = self.answer
        self.grant_permission = None    # a permission that overrides the mapping's, in answers
        front_end.on_backend_request = self._request
        front_end.reply_in_turn = self._reply_in_turn

    # -- the driver's side of it -----------------------------------------------
    def reserve(self, length):
        """A bus range nobody else has, with an unmapped page behind it."""
        bus = self.next
        self.next += (length + PAGE - 1) // PAGE * PAGE + PAGE
        return bus

    def map(self, phys, length, permission):
        start = page_of(phys)
        bus = self.reserve(phys + length - start)
        for i, page in enumerate(pages(phys, length)):
            self.set_page(bus + i * PAGE, page, permission)
        return bus + phys - start

    def map_pages(self, physical_pages, permission):
        """One bus range over pages that may lie anywhere, in any order."""
        bus = self.reserve(len(physical_pages) * PAGE)
        for i, page in enumerate(physical_pages):
            self.set_page(bus + i * PAGE, page, permission)
        return bus

    def set_page(self, bus, phys, permission):
        assert bus != phys and bus % PAGE == 0 and phys % PAGE == 0
        self.page[bus] = (phys, permission)

    def unmap(self, bus, length):
        for page in pages(bus, length):
            self.page.pop(page, None)

    ring_address = map

    def phys(self, bus):
        return self.page[page_of(bus)][0] + bus % PAGE

    # -- messages to the back end ------------------------------------------------
    def update(self, iova, size, uaddr, permission, then=None):
        return self.front_end.start(Request.IOTLB_MSG, iotlb(UPDATE, iova, size, uaddr, permission),
                                    need_reply=True, then=then)

    def grant(self, bus, length, permission=None):
        """Sends what is mapped there without being asked; waits for every ack."""
        for page in pages(bus, length):
            phys, mapped = self.page[page]
            ack = self.update(page, PAGE, self.memory.user(phys), permission or mapped)
            must(self.front_end.wait(ack).u64 == 0, "a well formed UPDATE was refused")

    def invalidate(self, bus, length, wait=True):
        pending = self.front_end.start(Request.IOTLB_MSG, iotlb(INVALIDATE, bus, length), need_reply=True)
        if wait:
            must(self.front_end.wait(pending).u64 == 0, "a well formed INVALIDATE was refused")
        return pending

    def revoke(self, bus, length):
        self.unmap(bus, length)
        self.invalidate(page_of(bus), pages(bus, length)[-1] + PAGE - page_of(bus))

    # -- the back end's requests ---------------------------------------------------
    def _request(self, message):
        if (message.request != BACKEND_IOTLB_MSG or len(message.payload) != IOTLB.size or message.fds
                or message.flags & VERSION_MASK != VERSION or message.flags & REPLY):
            self.malformed.append((message.request, message.flags, message.payload))
            message.close_fds()
            return
        iova, _, _, permission, kind = IOTLB.unpack(message.payload)
        if kind != MISS:
            self.failures_reported.append((kind, iova, permission))
            self.unreplied.append(Miss(message, iova, permission))
            self.reply(self.unreplied[-1], 0)
            return
        if permission not in (RO, WO, RW) or not message.flags & NEED_REPLY:
            self.malformed.append((message.request, message.flags, message.payload))
        miss = Miss(message, iova, permission)
        if any(not m.answered and page_of(m.iova) == page_of(iova) and m.permission == permission
               for m in self.misses):
            self.duplicates.append(miss)
        self.misses.append(miss)
        self.unreplied.append(miss)
        self.policy(miss)

    def _reply_in_turn(self, message, value):
        """To what the back end said beside its questions: behind the replies to those that came before."""
        self.unreplied.append(Miss(message, 0, 0))
        self.reply(self.unreplied[-1], value)

    def answer(self, miss):
        """Grants the page, with the mapping's permission, or says there is none."""
        phys, permission = self.page.get(page_of(miss.iova), (None, 0))
        if phys is None or miss.permission & ~permission:
            return self.refuse(miss)
        return self.answer_with(miss, page_of(miss.iova), PAGE, self.memory.user(phys),
                                self.grant_permission or permission)

    def answer_with(self, miss, iova, size, uaddr, permission):
        """Sends this very UPDATE, and says done once it was acknowledged."""
        miss.answered = True
        self.update(iova, size, uaddr, permission, then=lambda pending: self.reply(miss, 0))

    def reply(self, miss, value):
        miss.reply = value
        while self.unreplied and self.unreplied[0].reply is not None:
            first = self.unreplied.popleft()
            self.front_end.reply_on_backend_channel(first.message, first.reply)

    def refuse(self, miss):
        miss.answered = True
        self.reply(miss, 1)

    def say_done(self, miss):
        """Replies success without having granted anything."""
        miss.answered = True
        self.reply(miss, 0)

    def keep(self, miss):
        self.kept.append(miss)

    def keep_range(self, bus, length):
        """A policy: misses in that range are kept, all others answered."""
        first, last = page_of(bus), bus + length
        return lambda miss: self.keep(miss) if first <= miss.iova < last else self.answer(miss)

    def answer_kept(self):
        kept, self.kept = self.kept, []
        for miss in kept:
            self.answer(miss)

    def misses_at(self, bus, length=1):
        """Questions about any page of that range."""
        return [m for m in self.misses if page_of(m.iova) in pages(bus, length)]


class Ring:
    """A split ring, driver side, at `size` entries."""
    packed = False
    fresh_base = 0

    def __init__(self, memory, domain, size=64, event_idx=False, region=0):
        self.memory, self.domain, self.size, self.event_idx = memory, domain, size, event_idx
        self.desc = memory.alloc(16 * size, region=region)
        self.avail = memory.alloc(6 + 2 * size, offset=2 * 31, region=region)
        self.used = memory.alloc(6 + 8 * size, offset=4 * 37, region=region)
        memory.write(self.desc, bytes(16 * size))
        memory.write(self.avail, bytes(6 + 2 * size))
        memory.write(self.used, bytes(6 + 8 * size))
        self.desc_address = domain.ring_address(self.desc, 16 * size, RO)
        self.avail_address = domain.ring_address(self.avail, 6 + 2 * size, RO)
        # event index: the device only writes this part
        self.used_address = domain.ring_address(self.used, 6 + 8 * size, RW)
        self.next_avail = 0
        self.next_used = 0
        self.free = list(range(size - 1, -1, -1))
        self.owner = {}             # head → descriptors of its chain
        self.wants_calls = True     # event index: keep asking for a call at the next used element

    # -- words -------------------------------------------------------------------
    def write_desc(self, index, address, length, flags=0, following=0):
        self.memory.write(self.desc + 16 * index, DESC.pack(address & (2**64 - 1), length, flags, following))

    def set_avail_index(self, value):
        self.memory.write16(self.avail + 2, value)

    def avail_index(self):
        return self.memory.read16(self.avail + 2)

    def used_index(self):
        return self.memory.read16(self.used + 2)

    def set_avail_flags(self, value):
        self.memory.write16(self.avail, value)

    def set_used_event(self, value):
        self.memory.write16(self.avail + 4 + 2 * self.size, value)

    def call_after(self, elements):
        """Calls are wanted again when the element behind so many more is used."""
        self.set_used_event((self.next_used + elements) & 0xffff)

    def break_it(self):
        """Something no ring may say. Answers what the log has to call it."""
        self.set_avail_index(self.next_avail + 1000)
        return "DRV-10"

    def begin_again(self, base):
        """After a stop at this base: whatever was in flight is forgotten. Answers the base to start at."""
        for chain in self.owner.values():
            self.free += chain
        self.owner.clear()
        self.next_avail = self.next_used = base
        self.set_avail_index(base)
        self.memory.write16(self.used + 2, base)
        return base

    def begin_late(self):
        """Before it is set up: six before the indexes wrap. Answers its base."""
        self.next_avail = self.next_used = 65530
        self.set_avail_index(65530)
        self.memory.write16(self.used + 2, 65530)
        return self.base

    def avail_event(self):
        return self.memory.read16(self.used + 4 + 8 * self.size)

    @property
    def base(self):
        """What a stop has to answer when everything offered was used."""
        return self.next_avail

    def base_before(self, *heads):
        """The same when the youngest ones, these, are given back."""
        return (self.next_avail - len(heads)) & 0xffff

    def given_back(self, base):
        """How many of the youngest a stop at this base gives back."""
        return (self.next_avail - base) & 0xffff

    def parts(self):
        """(bus address, length) of each part."""
        return [(self.desc_address, 16 * self.size), (self.avail_address, 6 + 2 * self.size),
                (self.used_address, 6 + 8 * self.size)]

    @property
    def driver_words(self):
        """All of the ring that the driver alone writes: (physical address, length)."""
        return [(self.avail, 6 + 2 * self.size), (self.desc, 16 * self.size)]

    @property
    def device_writes(self):
        """What of the ring the device may write: (physical address, length)."""
        return self.used, 6 + 8 * self.size

    @property
    def driver_writes(self):
        """What of the ring take_used() and publish() of this class write: flags, index, used_event."""
        return [(self.avail, 4), (self.avail + 4 + 2 * self.size, 2)]

    # -- what a driver does ------------------------------------------------------
    def add_chain(self, elements):
        """elements: (address, length, extra flags). Returns the head, not yet offered."""
        if len(elements) > len(self.free):
            raise MemoryError("the ring is full: the test offers too much at once")
        chain = [self.free.pop() for _ in elements]
        for i, (address, length, flags) in enumerate(elements):
            last = i == len(elements) - 1
            self.write_desc(chain[i], address, length, flags | (0 if last else NEXT), 0 if last else chain[i + 1])
        self.owner[chain[0]] = chain
        return chain[0]

    def offer(self, head, publish=True):
        """Puts a head into the available ring; returns whether the device wants a kick."""
        old = self.next_avail
        self.memory.write16(self.avail + 4 + 2 * (old % self.size), head)
        self.next_avail = (old + 1) & 0xffff
        if not publish:
            return True
        return self.publish(old)

    def publish_last(self):
        return self.publish((self.next_avail - 1) & 0xffff)

    def publish(self, old):
        self.set_avail_index(self.next_avail)
        full_barrier()
        if self.event_idx:
            return (self.next_avail - self.avail_event() - 1) & 0xffff < (self.next_avail - old) & 0xffff
        return not self.memory.read16(self.used) & 1

    def take_used(self):
        """(head, length) of every element used since the last call, in order."""
        found = []
        now = self.used_index()
        must((now - self.next_used) & 0xffff <= self.size, "the used index ran ahead by more than the queue's size")
        while self.next_used != now:
            at = self.used + 4 + 8 * (self.next_used % self.size)
            found.append(struct.unpack("<II", self.memory.read(at, 8)))
            self.next_used = (self.next_used + 1) & 0xffff
        if self.event_idx and self.wants_calls and found:
            self.set_used_event(self.next_used)
            full_barrier()
        for head, _ in found:
            must(head in self.owner, f"the device used head {head}, which was not in flight")
            self.free += self.owner.pop(head)
        return found
