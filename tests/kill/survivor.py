# SPDX-License-Identifier: BSD-3-Clause
"""A driver whose back end is killed and started again in the middle of its work, and who checks that nothing shows.

How it works
  Memory, rings, mappings and the in-flight region outlive the connection; everything else is made anew for the next
  back end, which is told of a ring's used position, as front ends in use tell it, and finds the rest in the region.
  Each request owns its places in memory and on the disk while it flies. When it is used: its status is OK, what was
  read is what the model says; the disk has seen it at least once, and at most once more than it was killed while it
  flew. A request that is used twice, or was never offered, the rings themselves find out.
"""
import random
import time

import blk as b
import vhost_user as vu
from driver import PAGE, RO, RW, WO, WRITE, Memory
from servers import Serve
from vhost_user import PeerClosed, Request as R, must

SLOTS, SLOT_BYTES = 64, 8192        # on the disk, for each queue
FLYING = 12
F_IN_ORDER = 1 << 35
STEPPING_PATIENCE = 60


class InTurn(list):
    """Free descriptors, or ids, of a ring whose requests come back in order: each has its turn."""

    def pop(self, index=0):
        return super().pop(index)


class Place:
    """Memory of one request, mapped for good."""

    def __init__(self, blk):
        memory = blk.memory
        self.header = memory.alloc(16, offset=0x125)
        self.status = memory.alloc(1, offset=0x3f3)
        self.data = memory.alloc(SLOT_BYTES, offset=0x201)
        m = blk.domain.map
        self.header_at, self.status_at, self.data_at = m(self.header, 16, RO), m(self.status, 1, WO), m(self.data, SLOT_BYTES, RW)

    def request(self, blk, kind, sector, length, data, cut):
        blk.memory.write(self.header, b.HEADER.pack(kind, 0, sector))
        blk.memory.write(self.status, bytes([b.UNTOUCHED]))
        if data:
            blk.memory.write(self.data, data)
        request = b.BlkRequest(kind, sector, self.header, [(self.data, length)], self.status, length)
        flag = WRITE if kind == b.IN else 0
        parts = [(self.data_at, cut, flag), (self.data_at + cut, length - cut, flag)] if cut else [(self.data_at, length, flag)]
        request.chain = [(self.header_at, 16, 0), *parts, (self.status_at, 1, WRITE)]
        return request


class Flight:
    """What is known of a request that was offered."""

    def __init__(self, request, place, slot, data, seen):
        self.request, self.place, self.slot, self.data, self.seen, self.kills = request, place, slot, data, seen, 0


class Survivor:
    def __init__(self, tmp, disk, packed, iommu, event_idx, seed, queues=1, in_order=False,
                 program=None, env=None):
        self.program, self.env = program, env or {}
        self.tmp, self.disk, self.queue_count, self.in_order = tmp, disk, queues, in_order
        self.how = {"packed": packed, "iommu": iommu, "event_idx": event_idx, "size": 64, "extra_protocol": vu.INFLIGHT,
                    "extra_features": F_IN_ORDER if in_order else 0}
        self.random = random.Random(seed)
        self.memory = Memory(((0x1_0000_0000, 16 << 20, 0x7f40_0000_0000, 0),), noise=False)
        self.model = bytearray(disk.data)
        self.blk = None
        self.queues, self.places, self.flights = [], [], [[] for _ in range(queues)]
        self.region = None          # the descriptor of the in-flight region, and its size
        self.serve = None
        self.done = self.kills = self.starts = 0

    # -- back ends come and go ----------------------------------------------------------------------
    def start(self, *options, kill_at=None):
        self.starts += 1
        images = [self.disk.path]
        env = {**self.env, **({"VIODMA_KILL_AT": str(kill_at)} if kill_at else {})}
        order = ["--in-order"] if self.in_order else []
        self.serve = Serve(self.tmp, images, (f"--num-queues={self.queue_count}", *order, *options),
                           test_build=bool(kill_at), name=f"serve{self.starts}-", env=env, program=self.program)

    def connect(self):
        """A front end for the new back end, over the rings and the memory there are."""
        old = self.queues
        blk = b.Blk(self.serve.path, memory=self.memory, **self.how)
        self.blk, self.queues = blk, [blk]
        blk.negotiate().accept()
        must(blk.protocol & vu.INFLIGHT, "INFLIGHT_SHMFD is not offered")
        if old:
            self.take_over(old[0].domain)
        self.queues += [blk.sibling(i) for i in range(1, self.queue_count)]
        blk.share_memory()
        if not self.region:
            self.get_region()
        fd, size = self.region
        blk.front_end.tell(R.SET_INFLIGHT_FD, vu.inflight(size, 0, self.queue_count, 64), [fd])
        if not self.places:
            self.places = [[Place(queue) for _ in range(FLYING)] for queue in self.queues]
        for queue, before in zip(self.queues, old):
            queue.ring, queue.requests = before.ring, before.requests
        for queue in self.queues:
            if self.in_order and not queue.ring:
                queue.make_ring().free = InTurn(range(64))
            queue.set_up_ring(used_base(queue.ring) if queue.ring else None)

    def take_over(self, domain):
        blk = self.blk
        if domain.translates:
            domain.front_end = blk.front_end
            blk.front_end.on_backend_request = domain._request
            blk.front_end.reply_in_turn = domain._reply_in_turn
            domain.unreplied.clear()
            for miss in domain.misses:
                miss.answered = True
        blk.domain = domain

    def get_region(self):
        reply = self.blk.front_end.ask(R.GET_INFLIGHT_FD, vu.inflight(0, 0, self.queue_count, 64))
        size, offset, queues, queue_size = vu.INFLIGHT_DESC.unpack(reply.payload)
        must(size and not offset and (queues, queue_size) == (self.queue_count, 64) and len(reply.fds) == 1,
             f"GET_INFLIGHT_FD: {size} bytes at {offset}, {queues} queues of {queue_size}, {len(reply.fds)} descriptors")
        self.region = reply.fds[0], size

    def buried(self):
        """The back end is dead, of a kill and of nothing else."""
        code = self.serve.process.wait(vu.PATIENCE)
        must(code == -9, f"the back end ended with {code}, unasked; its log ends:\n{self.serve.log()[-2000:]}")
        self.blk.close()
        self.kills += 1
        for flights in self.flights:
            for flight in flights:
                flight.kills += 1

    # -- work ----------------------------------------------------------------------------------------
    def offer(self, n):
        queue, flights = self.queues[n], self.flights[n]
        used = {flight.slot for flight in flights}
        kicks = False
        for _ in range(self.random.randrange(1, 6)):
            if not self.places[n]:
                break
            slot = self.random.choice([s for s in range(SLOTS) if s not in used])
            used.add(slot)
            at = (n * SLOTS + slot) * SLOT_BYTES
            length = 512 * self.random.randrange(1, SLOT_BYTES // 512 + 1)
            data = self.random.randbytes(length) if self.random.random() < 0.6 else None
            cut = self.random.choice((0, 0, 512)) if length > 512 else 0
            place = self.places[n].pop()
            request = place.request(queue, b.OUT if data else b.IN, at // 512, length, data, cut)
            flights.append(Flight(request, place, slot, data, self.times_seen(request)))
            queue.offer(request, kick=False)
            kicks = True
        if kicks:
            queue.kick()

    def times_seen(self, request):
        kind = "write" if request.kind == b.OUT else "read"
        return self.disk.times.get((kind, request.sector * 512, request.length), 0)

    def collect(self):
        for n, queue in enumerate(self.queues):
            for request in queue.collect():
                flight = next(f for f in self.flights[n] if f.request is request)
                must(not self.in_order or flight is self.flights[n][0], "a request came back before one that is older")
                self.flights[n].remove(flight)
                self.places[n].append(flight.place)
                self.check(queue, flight)

    def check(self, queue, flight):
        request, at = flight.request, flight.request.sector * 512
        status = queue.status(request)
        must(status == b.OK, f"status {status}")
        times = self.times_seen(request) - flight.seen
        must(1 <= times <= 1 + flight.kills,
             f"the disk saw a request {times} times, which flew through {flight.kills} kills")
        if flight.data:
            self.model[at:at + request.length] = flight.data
        else:
            must(queue.data(request) == self.model[at:at + request.length], "a read returned other bytes")
        must(bytes(self.disk.data[at:at + request.length]) == self.model[at:at + request.length],
             "the disk holds other bytes than were written")
        self.done += 1

    def work(self, until):
        """Until that time, or the end of the connection."""
        while time.monotonic() < until and self.blk.front_end.closed is None:
            for n in range(self.queue_count):
                self.offer(n)
            self.blk.front_end.pump(0.001)
            self.collect()

    def live_through(self, seconds, *options, kill_at=None):
        """One back end's life, up to its kill: after so many seconds, or at that store (or then, if it never comes)."""
        self.start(*options, kill_at=kill_at)
        try:
            self.connect()
            self.work(time.monotonic() + seconds)
        except PeerClosed:
            pass
        self.serve.process.kill()
        self.buried()

    def live_until(self, hold, seconds, early, *options):
        """
        One back end's life, up to the instruction at which a stepper kills it: hold(pid) makes that, after so many
        seconds of work, or early: before there is a connection. Answers where it fell.
        """
        self.start(*options)
        stepper = None
        try:
            stepper = hold(self.serve.pid) if early else None
            self.connect()
            if not early:
                self.work(time.monotonic() + seconds)
                stepper = hold(self.serve.pid)
            self.work(time.monotonic() + STEPPING_PATIENCE)
            must(self.blk.front_end.closed is not None,
                 f"the stepper does not come to an end; {[len(flights) for flights in self.flights]} requests fly, "
                 f"{self.done} are done; the log ends:\n{self.serve.log()[-1500:]}")
        except PeerClosed:
            pass
        except BaseException:
            if stepper:
                stepper.end()
            raise
        self.buried()
        return stepper.fell()

    def finish(self, *options):
        """The last back end is not killed: everything is done, and nothing is left in flight."""
        self.start(*options)
        try:
            self.connect()
            self.work(time.monotonic() + 0.1)
            end = time.monotonic() + vu.PATIENCE
            while any(self.flights):
                must(time.monotonic() < end, f"{sum(map(len, self.flights))} requests were lost")
                must(self.blk.front_end.closed is None, f"closed: {self.blk.front_end.closed}: {self.serve.log()[-1500:]}")
                self.blk.front_end.pump(0.002)
                self.collect()
            for queue in self.queues:
                base = queue.stop_ring()
                must(base == queue.ring.base, f"stopped at {base:#x}, though all is done up to {queue.ring.base:#x}")
            must(bytes(self.disk.data) == self.model, "the disk differs from the model")
            self.blk.close()
            self.serve.finish()
        finally:
            self.serve.kill()

    def close(self):
        if self.serve:
            self.serve.kill()
        self.memory.close()


def used_base(ring):
    """What a front end knows of a ring whose back end is gone: how far it was used."""
    if not ring.packed:
        return ring.used_index()
    _, place, wrap = ring._used()
    return (place | wrap << 15) * 0x10001
