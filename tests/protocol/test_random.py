# SPDX-License-Identifier: BSD-3-Clause
"""Random sequences of legal and illegal messages and ring operations: the process survives and leaks nothing.

How it works
  hypothesis plays a front end by rules. As long as a connection was used
  legally (clean), a read must return the image's bytes. After anything
  illegal the connection may end at any moment, and nothing is asked of it;
  the process must live, and the next connection is clean again. One process
  serves all sequences; after each, its descriptors are counted.
  VIODMA_RANDOM=1 tries new sequences instead of the same ones.
"""
import os

import pytest
from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

import blk as b
import vhost_user as vu
from driver import INDIRECT, NEXT, PAGE, WRITE
from hostile import MESSAGE_IDS, NOT_OFFERED, messages, spare_fds
from vhost_user import NEED_REPLY, REPLY, VERSION, Request as R, must

PLACES = ((0x1_0000_0000, 2 << 20, 0x7f40_0000_0000, 0), (0x9_4000_0000, 1 << 20, 0x7f10_0020_0000, 3 * PAGE))
STEPS = ("negotiate", "accept", "share_memory", "set_up_ring")


class FrontEndMachine(RuleBasedStateMachine):
    serve = image = None            # set by the test

    def __init__(self):
        super().__init__()
        self.blk = None

    # -- connections ----------------------------------------------------------------------------
    @rule(iommu=st.booleans(), event_idx=st.booleans(), packed=st.booleans(), steps=st.integers(0, 4))
    def connect(self, iommu, event_idx, packed, steps):
        self.leave()
        self.blk = b.Blk(self.serve.path, iommu=iommu, event_idx=event_idx, size=16, packed=packed,
                         memory=b.Memory(PLACES, noise=False))
        self.clean, self.done = True, 0
        for _ in range(steps):
            self.next_step()

    def leave(self):
        if self.blk is not None:
            memory = self.blk.memory
            self.blk.close()
            memory.close()
            self.blk = None

    def teardown(self):
        self.leave()
        self.serve.must_live()
        self.serve.must_hold_no_more_fds()

    def attempt(self, action, *arguments, **how):
        """Runs a step; on a connection that was abused, its failing is no news."""
        if not self.clean:
            self.blk.front_end.patience = 0.03
        try:
            return action(*arguments, **how)
        except (vu.Violation, MemoryError) as error:
            if self.clean and not isinstance(error, MemoryError):
                raise
            self.leave()
            return None

    connected = precondition(lambda self: self.blk is not None)
    running = precondition(lambda self: self.blk is not None and self.done == 4)

    def next_step(self):
        if self.blk is not None and self.done < 4:
            self.attempt(getattr(self.blk, STEPS[self.done]))
            self.done += 1

    @connected
    @rule()
    def step(self):
        self.next_step()

    @connected
    @rule()
    def hang_up(self):
        self.leave()

    # -- legal ------------------------------------------------------------------------------------
    @running
    @rule(sector=st.integers(0, 8191), indirect=st.booleans())
    def read(self, sector, indirect):
        blk = self.blk
        if blk.iommu_wanted:
            blk.domain.policy = blk.domain.answer
        if not self.clean:
            self.attempt(lambda: blk.offer(blk.make(b.IN, sector, length=512), indirect=indirect))
            return
        found = self.attempt(lambda: self.one_read(sector, indirect))
        must(found is None or found == self.image.bytes[sector * 512:sector * 512 + 512], "a clean read returned other bytes")

    def one_read(self, sector, indirect):
        request = self.blk.offer(self.blk.make(b.IN, sector, length=512), indirect=indirect)
        must(self.blk.wait(request) == b.OK, "a clean read failed")
        return self.blk.data(request)

    @running
    @rule()
    def stop_and_start(self):
        def both():
            base = self.blk.stop_ring()
            self.blk.collect()
            self.blk.set_up_ring(base)
            self.blk.kick()
        self.attempt(both)

    @running
    @rule(everything=st.booleans())
    def invalidate(self, everything):
        blk = self.blk
        if blk.iommu_wanted:
            self.attempt(blk.domain.invalidate, *((0, 0) if everything else (blk.ring.desc_address & -PAGE, PAGE)))

    @running
    @rule()
    def share_memory_again(self):
        self.attempt(self.blk.share_memory)

    @running
    @rule(how=st.sampled_from(["keep", "refuse", "say_done", "answer"]))
    def offer_with_a_policy(self, how):
        """Requests whose questions are not, or wrongly, answered. Not clean: they are never looked at again."""
        blk = self.blk
        if blk.iommu_wanted:
            self.clean = False
            blk.domain.policy = getattr(blk.domain, how)
        self.attempt(lambda: (blk.offer(blk.make(b.IN, 1, length=512)), blk.front_end.stay(0.003)))

    # -- illegal ------------------------------------------------------------------------------------
    @connected
    @rule(request=st.sampled_from(MESSAGE_IDS + NOT_OFFERED + [0, 41, 46, 0xffffffff]), fds=st.integers(0, 3),
          flags=st.sampled_from([VERSION, VERSION | NEED_REPLY, VERSION | REPLY, 0, 2, VERSION | 0x10, 0xffffffff]),
          spoil=st.lists(st.tuples(st.integers(0, 80), st.integers(0, 255)), max_size=3),
          cut=st.integers(-4, 4), said=st.sampled_from([None, None, None, 0, 8, 0xffffffff]))
    def message(self, request, fds, flags, spoil, cut, said):
        blk = self.blk
        self.clean = False
        if blk.ring is not None and hasattr(blk, "features"):
            payload = bytearray(messages(blk).get(request, (b"\0" * 8, 0))[0])
        else:
            payload = bytearray(8)
        for at, value in spoil:
            if at < len(payload):
                payload[at] = value
        payload = bytes(payload) + bytes(cut) if cut >= 0 else bytes(payload[:cut])
        with spare_fds(fds) as descriptors:
            try:
                blk.front_end.main.send(request, payload, descriptors, flags, said)
            except vu.PeerClosed:
                pass
        # answers to this cannot be told from others: from here on the connection is only written to
        if blk.front_end.main.closed_within(0.002):
            self.leave()

    @connected
    @rule(data=st.binary(min_size=1, max_size=64))
    def garbage(self, data):
        self.clean = False
        try:
            self.blk.front_end.main.send_raw(data)
        except vu.PeerClosed:
            self.leave()

    @running
    @rule(rows=st.lists(st.tuples(st.sampled_from([0, 1, 0x1_0000_0000, 0x1_0000_1000, 0x9_4000_0000, 0xab_0000_0000,
                                                   2**64 - 8, 2**63]),
                                  st.sampled_from([0, 1, 16, 48, 512, 4096, 0xffffffff]),
                                  st.sampled_from([0, NEXT, WRITE, NEXT | WRITE, INDIRECT, INDIRECT | NEXT, 0xffff]),
                                  st.integers(0, 17)), min_size=1, max_size=6),
          head=st.integers(0, 17), times=st.integers(1, 3))
    def descriptors(self, rows, head, times):
        blk = self.blk
        self.clean = False
        for i, (address, length, flags, other) in enumerate(rows):
            if blk.packed:
                place, wrap = blk.ring.step(blk.ring.place, blk.ring.wrap, i)
                blk.ring.write_desc(place, address, length, other, flags & ~(blk.ring.AVAIL | blk.ring.USED)
                                    | blk.ring.available(wrap))
            else:
                blk.ring.write_desc(i, address, length, flags, other)
        for _ in range(0 if blk.packed else times):
            blk.ring.offer(head)
        blk.kick()
        self.attempt(blk.front_end.stay, 0.003)

    @running
    @rule(index=st.integers(0, 0xffff))
    def available_index(self, index):
        self.clean = False
        if self.blk.packed:
            self.blk.ring.write_flags(index % self.blk.ring.size, index)
        else:
            self.blk.ring.set_avail_index(index)
        self.blk.kick()

    @invariant()
    def lives(self):
        self.serve.must_live()


@pytest.mark.parametrize("examples", [30, pytest.param(600, marks=pytest.mark.slow)])
def test_whatever_a_front_end_does_the_process_lives_and_leaks_nothing(start, image, examples):
    serve = start(image, "--read-only")
    machine = type("Machine", (FrontEndMachine,), {"serve": serve, "image": image})
    run_state_machine_as_test(machine, settings=settings(
        max_examples=examples, stateful_step_count=30, deadline=None, database=None,
        derandomize=not os.environ.get("VIODMA_RANDOM"), suppress_health_check=list(HealthCheck)))
    image.must_be(image.bytes)
