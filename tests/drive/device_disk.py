# SPDX-License-Identifier: BSD-3-Clause
"""The disk behind the Python back end: requests, from the ring to the bytes and back.

How it works: serve() takes what a queue holds, carries out each request through
access (bus addresses, with permissions), writes its status byte, its used
element, and calls the driver. Every step is a method that a lie may replace.
BackEnd (back_end.py) has the messages, and everything that is used here.
"""
import os
import struct
import time

import vhost_user as vu
from device_memory import Refused
from device_ring import ByUser

IN, OUT, FLUSH, GET_ID = 0, 1, 4, 8
OK, IOERR, UNSUPP = 0, 1, 2
SECTOR = 512
DRIVER_OK = 4
SERIAL = b"a device in python"


class Stopped(Exception):
    """The ring was stopped, or the connection ended, while a request was served."""


class Disk:
    """One half of BackEnd."""

    def serve(self, queue):
        if queue.addresses is None or not queue.enabled or (queue.kick_fd is None and not self.inband):
            return
        if (self.protocol_accepted or 0) & vu.STATUS and not self.status & DRIVER_OK:
            return
        queue.access = self.access if self.access.translates else ByUser(self.areas)
        queue.bus = self.access
        queue.event_idx = bool(self.accepted & vu.F_EVENT_IDX)
        queue.indirect = bool(self.accepted & vu.F_INDIRECT)
        try:
            if not queue.started:
                queue.begin()
                queue.record = None
                if self.record:
                    queue.resume(self.record.of(queue.index))
            self.serve_all(queue)
        except Stopped:
            pass
        except Refused:
            self.broken = True      # the ring itself is out of reach: access.refused says so

    def serve_all(self, queue):
        epoch = self.epoch
        while chains := queue.resubmitted + list(queue.fetch()):
            queue.resubmitted = []
            if self.shuffle is not None:
                self.random.shuffle(chains)
            for chain in chains:
                if self.delay:
                    time.sleep(self.delay)
                self.requests += 1
                self.served.add(queue.index)
                status, written = self.carry_out(chain)
                if self.epoch != epoch:
                    raise Stopped
                self.finish(chain, status, written)
                self.complete(chain, written)
                if not self.shuffle:
                    self.call(queue)
            self.call(queue)
            self._take_messages()   # a stop must not wait for an endless stream of requests
            if self.epoch != epoch:
                return

    def carry_out(self, chain):
        """(status, bytes written after which the status byte comes)."""
        if chain.readable_bytes < 16 or not chain.writable:
            self.wrong(f"DRV-18: a request of {chain.readable_bytes} + {chain.writable_bytes} bytes")
            return IOERR, 0
        try:
            outgoing = b"".join(self.access.read(*part) for part in chain.readable)
            kind, _, sector = struct.unpack_from("<IIQ", outgoing)
            self.kinds[kind] = self.kinds.get(kind, 0) + 1
            room = chain.writable_bytes - 1
            if kind == IN:
                return self._into(chain, self.disk[sector * SECTOR:sector * SECTOR + room], room)
            if kind == OUT:
                if sector * SECTOR + len(outgoing) - 16 > len(self.disk):
                    self.wrong(f"a write beyond the end, at sector {sector}")
                    return IOERR, 0
                self.disk[sector * SECTOR:sector * SECTOR + len(outgoing) - 16] = outgoing[16:]
                return OK, 0
            if kind == FLUSH:
                return OK, 0
            if kind == GET_ID:
                return self._into(chain, SERIAL.ljust(20, b"\0")[:room], room)
            return UNSUPP, 0
        except Refused:
            return IOERR, 0

    def _into(self, chain, data, room):
        if len(data) != room:
            self.wrong(f"a read of {room} bytes where {len(data)} are")
            return IOERR, 0
        self.put(chain, data)
        return OK, len(data)

    def put(self, chain, data, skip=0):
        """Writes into the device-writable part of a chain, from byte `skip` of it on."""
        for bus, length in chain.writable:
            here = data[:max(0, length - skip)]
            if skip < length and here:
                self.access.write(bus + skip, here)
                data = data[len(here):]
            skip = max(0, skip - length)

    def finish(self, chain, status, written):
        """The status byte, the last of the device-writable part."""
        if status is None or not chain.writable:
            return
        bus, length = chain.writable[-1]
        try:
            self.access.write(bus + length - 1, bytes([status]))
        except Refused:
            pass

    def complete(self, chain, written):
        """The used element: how many bytes were written, the status byte included."""
        self.use(chain.queue, chain.head, written + 1)

    def use(self, queue, head, length):
        queue.out.discard(head)
        if queue.record:
            queue.record.returning(head)
        queue.put_used(head, length)
        queue.show_used()
        if queue.record:
            queue.record.returned(head, queue)

    def call(self, queue):
        if not queue.call_due():
            return
        if self.inband:
            self.tell_call(queue)
        elif queue.call_fd is not None:
            os.eventfd_write(queue.call_fd, 1)
