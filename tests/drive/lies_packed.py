# SPDX-License-Identifier: BSD-3-Clause
"""Devices that lie in packed rings, and about the order of completions."""
import struct
import time

from back_end import F_IN_ORDER, FEATURES, BackEnd
from device_packed import AVAIL, USED
from driver import WRITE, full_barrier
from lie import AtRequest, lie
from lies_rings import UsedIdBeyondTheQueue, UsedIdNotWithTheDevice, UsedTwice, WritesLate

PACKED = ["--packed"]
TWICE_OR_ID = ("VIODMA_PEER_USED_TWICE", "VIODMA_PEER_USED_ID")
SILENT = ["--packed", "--timeout-ms=700"]


# ---- ids: DEV-19 -----------------------------------------------------------------------

@lie("VIODMA_PEER_USED_ID", "DEV-19", options=PACKED, seen=False)
class PackedIdBeyondTheQueue(UsedIdBeyondTheQueue):
    pass


@lie("VIODMA_PEER_USED_ID", "DEV-19", options=PACKED, seen=False)
class PackedIdOfAllOnes(AtRequest):
    def use(self, queue, head, length):
        super().use(queue, 0xffff if self.now() else head, length)


@lie(TWICE_OR_ID, "DEV-19", options=PACKED, seen=False)
class PackedIdNotWithTheDevice(UsedIdNotWithTheDevice):
    pass


@lie(TWICE_OR_ID, "DEV-19", options=PACKED, seen=False)
class PackedUsedTwice(UsedTwice):
    """At the places of both."""


# ---- lengths: DEV-16 ---------------------------------------------------------------------

@lie("VIODMA_PEER_USED_LENGTH", "DEV-16", options=[*PACKED, "--strict"], seen=False)
class PackedLengthTooLongStrict(AtRequest):
    def complete(self, chain, written):
        self.use(chain.queue, chain.head, chain.writable_bytes + 1 if self.now() else written + 1)


@lie((), "DEV-16", options=PACKED, status=0, seen=False)
class PackedLengthAlwaysTooLong(BackEnd):
    def complete(self, chain, written):
        self.use(chain.queue, chain.head, 0xffffffff)


# ---- flags -----------------------------------------------------------------------------------

@lie((), "", options=PACKED, status=0, seen=False)
class PackedFlagsComeAndGo(BackEnd):
    """Shows it, takes it back, and shows it again: whoever has seen it need not look again."""

    def use(self, queue, head, length):
        position = queue.used_at
        super().use(queue, head, length)
        flags = queue.access.read16(queue.at(position) + 14)
        for shown in (flags & ~USED if flags & AVAIL else flags | USED, flags):
            # the driver may have put something new there by now, which is its own
            if queue.access.read16(queue.at(position) + 14) in (flags, shown):
                queue.access.write16(queue.at(position) + 14, flags)
                full_barrier()


@lie((), "", options=PACKED, status=0, seen=False)
class PackedFlagsBeforeTheRest(BackEnd):
    """Odd bits in the flags, which nobody has asked for."""

    def use(self, queue, head, length):
        queue.out.discard(head)
        position = queue.used_at
        wrap = AVAIL | USED if queue._wrap(position) else 0
        queue.put_used_at(position, head, length, wrap | 0x7e58 | WRITE)
        queue.used_at += queue.counts[head]
        queue.show_used()


@lie("VIODMA_PEER_SILENT", "DEV-20", options=SILENT, seen=False)
class PackedFlagsOfTheOtherLap(AtRequest):
    """What looks as if it were not used yet."""

    def use(self, queue, head, length):
        if self.requests < self.at:
            return super().use(queue, head, length)
        queue.put_used_at(queue.used_at, head, length, 0 if queue._wrap(queue.used_at) else AVAIL | USED)
        queue.show_used()


@lie(("VIODMA_PEER_SILENT", *TWICE_OR_ID), "", options=SILENT, seen=False)
class PackedUsedOnePlaceTooFar(AtRequest):
    """A place is left out; the driver waits there."""

    def use(self, queue, head, length):
        queue.used_at += self.now()
        super().use(queue, head, length)


@lie((*TWICE_OR_ID, "VIODMA_PEER_ANSWER", "VIODMA_PEER_SILENT"), "", options=SILENT, seen=False)
class PackedWholeRingUsed(AtRequest):
    """Says of every place that it is used, with whatever stands there as its id; and goes on one place behind."""

    def use(self, queue, head, length):
        if not self.now():
            return super().use(queue, head, length)
        for position in range(queue.used_at, queue.used_at + queue.size):
            queue.access.write16(queue.at(position) + 14, AVAIL | USED if queue._wrap(position) else 0)


# ---- event suppression, which is a hint -----------------------------------------------------------

@lie((), "", options=[*PACKED, "--depth=1"], status=0, seen=False)
class PackedEventsOfNoKind(BackEnd):
    """Values nobody defined where the driver looks whether to kick; a device that does so has to look by itself."""

    def serve_all(self, queue):
        super().serve_all(queue)
        queue.access.write16(queue.addresses[1], 0xffff)
        queue.access.write16(queue.addresses[1] + 2, 0xfff3)
        self.looks = True

    def _turn(self, timeout=None):
        super_turn = super()._turn(0.01 if getattr(self, "looks", False) else timeout)
        with self.lock:
            for queue in list(self.vqs.values()):
                if queue.started and getattr(self, "looks", False):
                    self.serve(queue)
        return super_turn


# ---- late writes: DEV-14 -----------------------------------------------------------------------------

@lie("VIODMA_PEER_LATE_WRITE", "DEV-14", options=PACKED, seen=False)
class PackedWritesRingLate(WritesLate):
    def remember(self, queue, chain):
        area, offset, _ = queue.access.locate(queue.addresses[0], 2)
        return [(area, offset, 64)]


@lie("VIODMA_PEER_LATE_WRITE", "DEV-14", options=PACKED, seen=False)
class PackedWritesEventsLate(WritesLate):
    def remember(self, queue, chain):
        area, offset, _ = queue.access.locate(queue.addresses[1], 2)
        return [(area, offset, 4)]


@lie((), "", options=PACKED, status=0, seen=False)
class PackedScribblesOverDescriptors(BackEnd):
    """Addresses, lengths and ids of what it has taken, before it says that it is used; it ignores permissions."""

    def complete(self, chain, written):
        queue = chain.queue
        for position in range(queue.used_at, queue.used_at + queue.counts[chain.head]):
            area, offset, _ = queue.access.locate(queue.at(position), 1)
            area.view[offset:offset + 14] = b"\xa5" * 14
        super().complete(chain, written)


# ---- IN_ORDER: DEV-23 -----------------------------------------------------------------------------------

class OutOfOrder(BackEnd):
    """The second one first; then the first."""
    features = FEATURES | F_IN_ORDER
    held = None
    done = False

    def finish(self, chain, status, written):
        if self.done or self.held is not None:
            super().finish(chain, status, written)

    def complete(self, chain, written):
        if self.done:
            return super().complete(chain, written)
        if self.held is None:
            self.held = chain, written
            return None
        self.done = True
        super().complete(chain, written)
        self.call(chain.queue)
        time.sleep(0.1)             # it has been seen by then
        first, written = self.held
        super().finish(first, 0, written)
        return super().complete(first, written)


@lie(("VIODMA_PEER_USED_ORDER", "VIODMA_PEER_ANSWER"), "DEV-2[23]", options=["--split", "--in-order"], seen=False)
class SplitOutOfOrder(OutOfOrder):
    pass


@lie(("VIODMA_PEER_ANSWER", *TWICE_OR_ID), "DEV-(22|19)", options=["--packed", "--in-order"], seen=False)
class PackedOutOfOrder(OutOfOrder):
    pass


class OneForAll(BackEnd):
    """No lie: one element for all that was available at once."""
    features = FEATURES | F_IN_ORDER
    waiting_ones = ()

    def complete(self, chain, written):
        self.waiting_ones = (*self.waiting_ones, (chain, written))

    def call(self, queue):
        if not self.waiting_ones:
            return super().call(queue)
        for chain, _ in self.waiting_ones:
            queue.out.discard(chain.head)
        last, written = self.waiting_ones[-1]
        if queue.packed:
            queue.put_used_at(queue.used_at, last.head, written + 1)
            queue.used_at += sum(queue.counts[chain.head] for chain, _ in self.waiting_ones)
        else:
            at = queue.addresses[1] + 4 + 8 * ((queue.used_idx + len(self.waiting_ones) - 1) % queue.size)
            queue.access.write(at, struct.pack("<II", last.head, written + 1))
            queue.used_idx = (queue.used_idx + len(self.waiting_ones)) & 0xffff
        self.waiting_ones = ()
        queue.show_used()
        return super().call(queue)
