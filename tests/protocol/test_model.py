# SPDX-License-Identifier: BSD-3-Clause
"""A legal driver that does everything at once, at random, compared with a model: nothing is lost, repeated or misplaced.

How it works
  Up to a dozen reads and writes are in flight on distinct sectors, over a disk
  that answers when the generator says so. Between them, at random: mappings
  are revoked and granted anew, misses are answered late, the ring stops and
  goes on, memory is added and removed, all mappings are invalidated, flushes
  wait. Each request must be used exactly once. Each read returns the model's
  bytes, each write reaches the disk, and memory that was revoked is not
  written afterwards.
"""
import random
import time

import pytest

import blk as b
import vhost_user as vu
from driver import PAGE
from vhost_user import must

pytestmark = pytest.mark.usefixtures("layout")

SECTORS_EACH = 8                # a request's place on the disk: one of these slots, one request a slot


class Model:
    def __init__(self, blk, disk, seed):
        self.blk, self.disk = blk, disk
        self.random = random.Random(seed)
        self.model = bytearray(disk.data)
        self.flying = {}            # slot on the disk → (request, data to be written)
        self.places = [blk.memory.alloc(SECTORS_EACH * 512, offset=self.random.randrange(3000)) for _ in range(40)]
        self.quarantine = []        # (place, bytes it must go on to hold)
        self.done = self.failed = self.restarts = 0

    # -- moves ------------------------------------------------------------------------------------
    def offer(self):
        if len(self.flying) >= 12 or not self.places:
            return
        slot = self.random.choice([s for s in range(200) if s not in self.flying])
        place = self.places.pop(self.random.randrange(len(self.places)))
        length = 512 * self.random.randrange(1, SECTORS_EACH + 1)
        data = self.random.randbytes(length) if self.random.random() < 0.5 else None
        cut = self.random.randrange(1, length)
        parts = [(place, cut), (place + cut, length - cut)] if self.random.random() < 0.5 else [(place, length)]
        request = self.blk.make(b.OUT if data else b.IN, slot * SECTORS_EACH, data, data_at=parts)
        self.blk.offer(request, indirect=self.random.random() < 0.4)
        self.flying[slot] = (request, data)

    def release(self):
        if self.disk.held:
            self.disk.release(self.random.randrange(1, len(self.disk.held) + 1))

    def answer_misses(self):
        self.blk.domain.answer_kept()

    def revoke_everything(self):
        """Legal at any time for the platform: what is still needed is asked for again."""
        pending = self.blk.domain.invalidate(0, 0, wait=False)
        self.settle(lambda: pending.done)
        must(pending.reply.u64 == 0, "an invalidation of everything was refused")

    def revoke_used(self):
        """A buffer whose request is done: unmapped, filled anew, watched."""
        if self.quarantine and self.random.random() < 0.5:
            place, content = self.quarantine.pop(0)
            must(self.blk.memory.read(place, len(content)) == content, "memory was written after its revocation")
            self.places.append(place)

    def stop_and_go_on(self):
        self.restarts += 1
        pending = self.blk.front_end.start(vu.Request.GET_VRING_BASE, vu.vring_state(0, 0), need_reply=False,
                                           then=self.questions_end)
        self.settle(lambda: pending.done)
        base = vu.VRING_STATE.unpack(pending.reply.payload)[1]
        self.collect()
        must(self.blk.ring.given_back(base) <= len(self.flying), "more was given back than is in flight")
        self.blk.set_up_ring(base)
        self.blk.kick()

    def exchange_memory(self):
        regions = self.blk.memory.regions
        pending = self.blk.front_end.start(vu.Request.SET_MEM_TABLE, vu.mem_table([r.row for r in regions]),
                                           [r.fd for r in regions], need_reply=True, then=self.questions_end)
        self.settle(lambda: pending.done)
        must(pending.reply.u64 == 0, "the same memory table again was refused")

    def questions_end(self, _):
        """A stopped ring and an exchanged table end what was asked before; it may be asked again."""
        for miss in self.blk.domain.misses:
            miss.answered = True

    # -- consequences -------------------------------------------------------------------------------
    def settle(self, condition):
        """Lets the disk answer until it has come true: what the device waits for may be an I/O."""
        end = time.monotonic() + vu.PATIENCE
        while not condition():
            must(time.monotonic() < end, "a revocation does not end although the disk answers")
            must(self.blk.front_end.closed is None, f"closed: {self.blk.front_end.closed}")
            self.disk.release(len(self.disk.held))
            self.blk.front_end.pump(0.002)
            self.collect()

    def collect(self):
        self.blk.front_end.pump(0)
        for request in self.blk.collect():
            slot, (_, data) = next((s, f) for s, f in self.flying.items() if f[0] is request)
            del self.flying[slot]
            at = request.sector * 512
            length = sum(n for _, n in request.data)
            status = self.blk.status(request)
            place = request.data[0][0]
            if status == b.IOERR and self.restarts:
                self.failed += 1        # failed at a stop: not done at all
            else:
                must(status == b.OK, f"status {status}")
                self.done += 1
                if data:
                    self.model[at:at + length] = data
                else:
                    must(self.blk.data(request) == self.model[at:at + length], "a read returned other bytes")
            must(bytes(self.disk.data[at:at + length]) == self.model[at:at + length], "the disk holds other bytes")
            for address, size, _ in request.chain:
                self.blk.domain.unmap(address, size)
            address = request.chain[1][0] & -PAGE
            self.blk.domain.invalidate(address, 2 * PAGE, wait=False)
            content = self.random.randbytes(length)
            # The invalidation is on its way: only its acknowledgement makes the memory ours.
            pending = self.blk.front_end.pending[-1]
            pending.then = lambda p, place=place, content=content: self.reuse(place, content)

    def reuse(self, place, content):
        self.blk.memory.write(place, content)
        self.quarantine.append((place, content))

    def play(self, moves):
        for _ in range(moves):
            move = self.random.choices(
                [self.offer, self.release, self.answer_misses, self.revoke_used, self.revoke_everything,
                 self.stop_and_go_on, self.exchange_memory], [30, 14, 15, 10, 2, 1, 1])[0]
            move()
            self.blk.front_end.pump(0.0005)
            self.collect()
        self.blk.domain.policy = self.blk.domain.answer
        self.answer_misses()
        end = time.monotonic() + vu.PATIENCE
        while self.flying:
            must(time.monotonic() < end, f"{len(self.flying)} requests were lost: {[s for s in self.flying]}")
            self.disk.release(len(self.disk.held))
            self.blk.front_end.pump(0.002)
            self.collect()
        self.blk.front_end.wait_until(lambda: not self.blk.front_end.pending, "the last acks")
        for place, content in self.quarantine:
            must(self.blk.memory.read(place, len(content)) == content, "memory was written after its revocation")
        must(bytes(self.disk.data) == self.model, "the disk differs from the model")


@pytest.mark.parametrize("how", ["uring", "threads", "uring-copy"])
@pytest.mark.parametrize("seed", [1, 2, *(pytest.param(n, marks=pytest.mark.slow) for n in range(3, 30))])
def test_a_legal_driver_that_does_everything_at_once_sees_what_the_model_says(start, slow_disk, how, seed):
    io, _, copy = how.partition("-")
    serve = start(slow_disk.path, f"--io={io}", *(["--copy"] if copy else []))
    memory = b.Memory(((0x1_0000_0000, 64 << 20, 0x7f40_0000_0000, 0), (0x9_4000_0000, 4 << 20, 0x7f10_0020_0000, 3 * PAGE)),
                      noise=False)
    with b.driving(serve.path, iommu=True, memory=memory, size=64) as blk:
        blk.still_works()
        model = Model(blk, slow_disk, seed)
        slow_disk.hold("read", "write")
        iommu = blk.domain
        iommu.policy = lambda miss: iommu.keep(miss) if model.random.random() < 0.3 else iommu.answer(miss)
        model.play(1000)
        # A question sent just before a stop or an exchange is read after it here: it cannot be told from a second one.
        iommu.duplicates.clear()
        must(model.done > 50 and model.restarts > 0, f"{model.done} done, {model.restarts} restarts: too little to tell")
    memory.close()
