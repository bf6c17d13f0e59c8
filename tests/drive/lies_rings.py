# SPDX-License-Identifier: BSD-3-Clause
"""Devices that lie in their rings, in status bytes, by silence, about resets, and with memory."""
import struct

from back_end import NEEDS_RESET, BackEnd, Closed
from device_memory import PAGE, Refused
from driver import NOISE
from lie import AtRequest, lie
from vhost_user import Request as R

# ---- the used ring: DEV-19 -----------------------------------------------------------

@lie("VIODMA_PEER_USED_ID", "DEV-19")
class UsedIdBeyondTheQueue(AtRequest):
    def use(self, queue, head, length):
        super().use(queue, queue.size if self.now() else head, length)


@lie("VIODMA_PEER_USED_ID", "DEV-19")
class UsedIdHuge(AtRequest):
    def use(self, queue, head, length):
        super().use(queue, head | 0xffff0000 if self.now() else head, length)


@lie(("VIODMA_PEER_USED_TWICE", "VIODMA_PEER_USED_ID"), "DEV-19")
class UsedIdNotWithTheDevice(AtRequest):
    """One that is in range, and is nowhere in the chains that are out."""

    def use(self, queue, head, length):
        if self.now():
            head = next(i for i in range(queue.size - 1, -1, -1) if i not in queue.out and i != head)
        super().use(queue, head, length)


@lie("VIODMA_PEER_USED_TWICE", "DEV-19", options=["--no-indirect"])
class UsedIdInsideAChain(AtRequest):
    """The second descriptor of a chain that is out."""

    def use(self, queue, head, length):
        if self.now():
            _, _, flags, following = struct.unpack("<QIHH", queue.access.read(queue.addresses[0] + 16 * head, 16))
            head = following if flags & 1 else (head + 1) % queue.size
        super().use(queue, head, length)


@lie("VIODMA_PEER_USED_TWICE", "DEV-19")
class UsedTwice(BackEnd):
    """Keeps the first two and completes one of them twice; the index is in order."""
    held = ()

    def finish(self, chain, status, written):
        super().finish(chain, status, written)
        chain.written = written

    def complete(self, chain, written):
        if self.held is None:
            return super().complete(chain, written)
        self.held = (*self.held, chain)
        if len(self.held) == 2:
            first, self.held = self.held[0], None
            chain.queue.out.discard(first.head)
            for _ in range(2):
                chain.queue.put_used(first.head, first.written + 1)
            chain.queue.show_used()


@lie("VIODMA_PEER_USED_INDEX", "DEV-19")
class UsedIndexJumps(AtRequest):
    def use(self, queue, head, length):
        super().use(queue, head, length)
        if self.now():
            queue.used_idx = (queue.used_idx + 1000) & 0xffff
            queue.show_used()


@lie("VIODMA_PEER_USED_INDEX", "DEV-19")
class UsedIndexGoesBack(AtRequest):
    def use(self, queue, head, length):
        if self.now():
            queue.used_idx = (queue.used_idx - 40) & 0xffff
        super().use(queue, head, length)


@lie(("VIODMA_PEER_USED_INDEX", "VIODMA_PEER_USED_TWICE", "VIODMA_PEER_USED_ID"), "DEV-19")
class UsedIndexOneTooFar(AtRequest):
    def use(self, queue, head, length):
        if self.now():
            queue.put_used(head, length)
        super().use(queue, head, length)


# ---- the used length: DEV-16 -----------------------------------------------------------

@lie("VIODMA_PEER_USED_LENGTH", "DEV-16", options=["--strict"])
class UsedLengthTooLongStrict(AtRequest):
    def complete(self, chain, written):
        self.use(chain.queue, chain.head, chain.writable_bytes + 1 if self.now() else written + 1)


@lie("VIODMA_PEER_USED_LENGTH", "DEV-16", options=["--strict"])
class UsedLengthHugeStrict(AtRequest):
    def complete(self, chain, written):
        self.use(chain.queue, chain.head, 0xffffffff if self.now() else written + 1)


@lie((), "DEV-16", status=0)
class UsedLengthAlwaysTooLong(BackEnd):
    """As many devices do: clamped, counted, and the data is right."""

    def complete(self, chain, written):
        self.use(chain.queue, chain.head, chain.writable_bytes + 100)


@lie((), "", status=0)
class UsedLengthZeroForWrites(BackEnd):
    """As many devices do: the status byte counts, not the length."""

    def complete(self, chain, written):
        self.use(chain.queue, chain.head, written + 1 if written else 0)


@lie("VIODMA_PEER_ANSWER", "DEV-22", command="read")
class UsedLengthTooShort(AtRequest):
    """Half a read, and a status that says all is well."""

    def complete(self, chain, written):
        self.use(chain.queue, chain.head, written // 2 if self.now() else written + 1)


# ---- status bytes: DEV-22 ---------------------------------------------------------------

@lie("VIODMA_PEER_ANSWER", "DEV-22")
class StatusNeverWritten(AtRequest):
    def finish(self, chain, status, written):
        super().finish(chain, None if self.now() else status, written)


@lie("VIODMA_PEER_ANSWER", "DEV-22")
class StatusThree(AtRequest):
    def finish(self, chain, status, written):
        super().finish(chain, 3 if self.now() else status, written)


@lie("VIODMA_PEER_ANSWER", "DEV-22")
class Status255(AtRequest):
    def finish(self, chain, status, written):
        super().finish(chain, 255 if self.now() else status, written)


@lie("VIODMA_E_IO", "")
class SaysIoError(AtRequest):
    """No lie, but a failure: named, and no rule with it."""

    def finish(self, chain, status, written):
        super().finish(chain, 1 if self.now() else status, written)


# ---- silence: DEV-20 ----------------------------------------------------------------------

@lie("VIODMA_PEER_SILENT", "DEV-20", options=["--timeout-ms=700"])
class SilentAboutOne(AtRequest):
    def complete(self, chain, written):
        if not self.now():
            super().complete(chain, written)


@lie("VIODMA_PEER_SILENT", "DEV-20", options=["--timeout-ms=700"])
class SilentFromThereOn(AtRequest):
    def serve_all(self, queue):
        if self.requests < self.at:
            super().serve_all(queue)

    def complete(self, chain, written):
        if self.requests < self.at:
            super().complete(chain, written)


@lie(("VIODMA_PEER_NEEDS_RESET", "VIODMA_PEER_SILENT"), "DEV-20", options=["--timeout-ms=700"])
class NeedsReset(AtRequest):
    def complete(self, chain, written):
        if self.requests < self.at:
            return super().complete(chain, written)
        self.status |= NEEDS_RESET


# ---- reset: DEV-14, DEV-21 ------------------------------------------------------------------

@lie("VIODMA_PEER_RESET", "DEV-21", options=["--timeout-ms=700"])
class NeverComesOutOfReset(BackEnd):
    def status_read(self):
        return self.status or 0x10


@lie("VIODMA_PEER_RESET", "DEV-21", options=["--timeout-ms=700"])
class ResetsOnlyOnce(BackEnd):
    def status_read(self):
        return self.status if self.resets < 2 else self.status or 0x0f


class WritesLate(BackEnd):
    """Remembers where things lay, and writes there when its status has read 0 and it is spoken to the next time."""
    places = ()
    answered = False

    def remember(self, queue, chain):
        """What to write to later: (area, offset, length)."""
        return ()

    def carry_out(self, chain):
        try:
            self.places, self.answered = tuple(self.remember(chain.queue, chain)), False
        except Refused:
            pass
        return super().carry_out(chain)

    def on_message(self, message):
        if self.answered:
            for area, offset, length in self.places:
                area.view[offset:offset + length] = NOISE[:length]
        super().on_message(message)
        self.answered = self.answered or message.request == R.GET_STATUS and not self.status


@lie("VIODMA_PEER_LATE_WRITE", "DEV-14", seen=False)
class WritesUsedRingLate(WritesLate):
    def remember(self, queue, chain):
        area, offset, _ = queue.access.locate(queue.addresses[1], 2)
        return [(area, offset + 8, 64)]


@lie("VIODMA_PEER_LATE_WRITE", "DEV-14", seen=False)
class WritesStatusLate(WritesLate):
    def remember(self, queue, chain):
        bus, length = chain.writable[-1]
        area, offset, _ = self.access.locate(bus + length - 1, 2)
        return [(area, offset, 1)]


@lie((), "", status=0, domains=("bounce+iommu", "restricted"), command="read", seen=False)
class WritesBuffersLate(WritesLate):
    """Through the pool, it hits what was a buffer once; the driver has its own copy."""

    def remember(self, queue, chain):
        area, offset, left = self.access.locate(chain.writable[0][0], 2)
        return [(area, offset, min(left, chain.writable[0][1], PAGE))]


# ---- memory that is not the device's to write: the driver has its own copy (DRV-21) -----------------------

@lie((), "", status=0, seen=False)
class ScribblesOverDescriptors(BackEnd):
    """Descriptors, and the tables they lead to, of what it has completed; it ignores permissions."""

    def complete(self, chain, written):
        queue = chain.queue
        at = chain.head
        area, offset, _ = queue.access.locate(queue.addresses[0] + 16 * at, 1)
        address, length, flags, _ = struct.unpack("<QIHH", bytes(area.view[offset:offset + 16]))
        if flags & 4:
            table, there, left = self.access.locate(address, 1)
            table.view[there:there + min(left, length)] = b"\xa5" * min(left, length)
        area.view[offset:offset + 16] = b"\xff" * 16
        super().complete(chain, written)


@lie((), "", status=0, seen=False)
class ScribblesOverTheRest(BackEnd):
    """The half of the available ring that it read last: the driver, ahead by less than the other half, comes there later."""

    def serve_all(self, queue):
        super().serve_all(queue)
        area, offset, _ = queue.access.locate(queue.addresses[2] + 4, 1)
        for back in range(1, queue.size // 2 + 1):
            area.words[(offset + 2 * ((queue.base - back) % queue.size)) // 2] = 0xdead


# ---- the end, at any moment ---------------------------------------------------------------------------------

class HangsUpAtMessage(BackEnd):
    """A case for each number: made by the test."""
    at = 1

    def on_message(self, message):
        if self.messages == self.at:
            self.hung_up = True
            raise Closed
        super().on_message(message)


class HangsUpAtRequest(AtRequest):
    def carry_out(self, chain):
        if self.now():
            raise Closed
        return super().carry_out(chain)


@lie(("VIODMA_PEER_GONE",), "DEV-20")
class HangsUp(HangsUpAtRequest):
    pass
