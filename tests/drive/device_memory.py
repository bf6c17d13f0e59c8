# SPDX-License-Identifier: BSD-3-Clause
"""The device's view of memory, in Python: what it was handed, and the way from a bus address to bytes.

How it works
  Area    one range of the driver's memory that came with a descriptor. Words
          of 16 bits are read and written at once, as rings need it.
  Areas   all of them; find by physical or by user address. `ever` keeps every
          descriptor that was ever handed over, so that scan() can look through
          all the process at the other end has given away: whole files, not
          only the ranges that were named.
  Iotlb   entries as UPDATE brings them and INVALIDATE takes them.
  Access  reads and writes bus addresses: through the IOTLB where bit 33 is in
          force (each piece is copied as soon as it is translated; a miss is
          asked, and answered or refused), else physical ones. Counts pieces
          whose bus address equals the physical one.
"""
import mmap
import os

from vhost_user import RO, WO

PAGE = 4096


class Refused(Exception):
    """An access nobody granted: with the requirement's id."""

    def __init__(self, rule, bus, permission):
        super().__init__(f"{rule}: {'-rwb'[permission]} at {bus:#x}")
        self.rule, self.bus, self.permission = rule, bus, permission


class Area:
    def __init__(self, phys, size, uaddr, offset, fd):
        self.phys, self.size, self.uaddr, self.offset, self.fd = phys, size, uaddr, offset, fd
        start = offset & ~(mmap.ALLOCATIONGRANULARITY - 1)
        self.map = mmap.mmap(fd, offset + size - start, offset=start)
        self.view = memoryview(self.map)[offset - start:]
        self.words = self.view.cast("H")

    @property
    def key(self):
        return self.phys, self.size, self.uaddr

    def close(self):
        self.words.release()
        self.view.release()
        self.map.close()
        os.close(self.fd)


class Areas:
    def __init__(self):
        self.now = []
        self.ever = []              # (descriptor, file's inode), our own duplicates

    def add(self, phys, size, uaddr, offset, fd):
        """Takes the descriptor over."""
        inode = os.fstat(fd).st_ino
        if all(known != inode for _, known in self.ever):
            self.ever.append((os.dup(fd), inode))
        self.now.append(Area(phys, size, uaddr, offset, fd))
        return self.now[-1]

    def overlaps(self, phys, size):
        return any(phys < a.phys + a.size and a.phys < phys + size for a in self.now)

    def remove(self, key):
        found = [a for a in self.now if a.key == key]
        for area in found:
            self.now.remove(area)
            area.close()
        return bool(found)

    def clear(self):
        for area in self.now:
            area.close()
        self.now = []

    def at_phys(self, phys):
        """(area, offset) of a physical address, or (None, 0)."""
        for area in self.now:
            if area.phys <= phys < area.phys + area.size:
                return area, phys - area.phys
        return None, 0

    def at_user(self, uaddr):
        for area in self.now:
            if area.uaddr <= uaddr < area.uaddr + area.size:
                return area, uaddr - area.uaddr
        return None, 0

    def bytes_now(self):
        return sum(area.size for area in self.now)

    def files(self):
        """Every file ever handed over, as bytes of now."""
        for fd, inode in self.ever:
            size = os.fstat(fd).st_size
            if size:
                with mmap.mmap(fd, size, prot=mmap.PROT_READ) as whole:
                    yield inode, whole

    def scan(self, needle):
        """Where `needle` stands in anything ever handed over: (inode, offset), the first of each file."""
        return [(inode, at) for inode, whole in self.files() if (at := whole.find(needle)) >= 0]

    def close(self):
        self.clear()
        for fd, _ in self.ever:
            os.close(fd)
        self.ever = []


class Iotlb:
    def __init__(self):
        self.entries = []           # (bus, size, uaddr, permission)
        self.most = 0               # bytes held at once, at most

    def update(self, bus, size, uaddr, permission):
        self.invalidate(bus, size)
        self.entries.append((bus, size, uaddr, permission))
        self.most = max(self.most, sum(e[1] for e in self.entries))

    def invalidate(self, bus, size):
        """Takes out what overlaps; answers whether anything did. An entry is taken out whole."""
        before = len(self.entries)
        self.entries = [e for e in self.entries if not (bus < e[0] + e[1] and e[0] < bus + size)]
        return len(self.entries) != before

    def find(self, bus):
        for entry in self.entries:
            if entry[0] <= bus < entry[0] + entry[1]:
                return entry
        return None


class Access:
    """ask(bus, permission): asks the platform, and answers whether it granted something."""

    def __init__(self, areas, ask):
        self.areas, self.iotlb, self.ask = areas, Iotlb(), ask
        self.translates = False
        self.pieces = self.identical = 0
        self.refused = []           # Refused, in order

    def _refuse(self, rule, bus, permission):
        error = Refused(rule, bus, permission)
        self.refused.append(error)
        raise error

    def locate(self, bus, permission):
        """(area, offset, bytes that follow): the way to one byte."""
        if not self.translates:
            area, offset = self.areas.at_phys(bus)
            if area is None:
                self._refuse("DEV-10", bus, permission)
            left = area.size - offset
        else:
            entry = self.iotlb.find(bus)
            if entry is None or permission & ~entry[3]:
                if self.ask(bus, permission):
                    entry = self.iotlb.find(bus)
                    if entry is None:
                        self._refuse("PLT-11", bus, permission)
                if entry is None:
                    self._refuse("DEV-10", bus, permission)
                if permission & ~entry[3]:
                    self._refuse("DEV-9", bus, permission)
            start, size, uaddr, _ = entry
            area, offset = self.areas.at_user(uaddr + bus - start)
            if area is None:
                self._refuse("PLT-10", bus, permission)
            left = min(start + size - bus, area.size - offset)
        self.pieces += 1
        self.identical += area.phys + offset == bus
        return area, offset, left

    def read(self, bus, length):
        parts = []
        while length:
            area, offset, left = self.locate(bus, RO)
            left = min(left, length)
            parts.append(bytes(area.view[offset:offset + left]))
            bus, length = bus + left, length - left
        return b"".join(parts)

    def write(self, bus, data):
        data = memoryview(data)
        while data:
            area, offset, left = self.locate(bus, WO)
            left = min(left, len(data))
            area.view[offset:offset + left] = data[:left]
            bus, data = bus + left, data[left:]

    def read16(self, bus):
        area, offset, _ = self.locate(bus, RO)
        return area.words[offset // 2]

    def write16(self, bus, value):
        area, offset, _ = self.locate(bus, WO)
        area.words[offset // 2] = value & 0xffff
