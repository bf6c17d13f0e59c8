# SPDX-License-Identifier: BSD-3-Clause
"""A back end that goes, and a successor: nothing is lost, and nothing done again that had been given back.

How it works: the Python back end hangs up at a chosen moment and lets the
driver in once more, as its own successor that remembers nothing but what the
record says (device_record.py). `viodma drive blk load` compares everything it
reads with what it wrote. A successor that does not fit is named.
"""
import os
import time

import pytest

import vhost_user as vu
from back_end import FEATURES, NO_MORE, PROTOCOL, BackEnd, Closed
from blk import pattern
from device_ranges import Managed
from device_record import Record
from lies_rings import HangsUpAtMessage
from programs import DOMAINS, EXIT_DONE, EXIT_FAILED, EXIT_REFUSED
from vhost_user import must

RINGS = ["--split", "--packed"]
OPTIONS = ["--reconnect-ms=5000", "--requests=600", "--length=1M", "--request=16K"]
HALF = 512 << 10


class Goes(BackEnd):
    """At these requests, at that stage of each: taken, carried out, about to be shown, shown."""
    moments = ()
    stage = "taken"

    def leaves(self, stage):
        if stage == self.stage and self.requests in self.moments and self.requests not in self.gone:
            self.gone.add(self.requests)
            raise Closed

    def _run(self):
        self.gone = set()
        super()._run()

    def carry_out(self, chain):
        self.leaves("taken")
        answer = super().carry_out(chain)
        self.leaves("done")
        return answer

    def use(self, queue, head, length):
        queue.out.discard(head)
        if queue.record:
            queue.record.returning(head)
        queue.put_used(head, length)
        self.leaves("returning")
        queue.show_used()
        self.leaves("shown")
        if queue.record:
            queue.record.returned(head, queue)


def repeated_no_more_than_was_in_flight(device, drive, times, depth=32):
    made = drive.stats["requests"]["parts"]
    must(made <= device.back_end.requests <= made + times * (depth + 1),
         f"{device.back_end.requests} requests were carried out, {made} made, in {times} lives")


@pytest.mark.parametrize("stage", ["taken", "done", "returning", "shown"])
@pytest.mark.parametrize("ring", RINGS)
@pytest.mark.parametrize("domain", ["direct", "iommu", "restricted"])
def test_a_successor_goes_on(lab, domain, ring, stage):
    moments = (1, 2, 77, 200, 201, 399)
    device = lab.lying(Goes, moments=moments, stage=stage, shuffle=7)
    drive = lab.run(device, "load", domain=domain, options=[ring, *OPTIONS])
    must(drive.stats["reconnections"] == len(moments), f"{drive.stats['reconnections']} reconnections")
    must(drive.stats["maps"]["quarantined"] == 0, "memory could not be taken back")
    repeated_no_more_than_was_in_flight(device, drive, len(moments))


@pytest.mark.parametrize("ring", RINGS)
@pytest.mark.parametrize("more", [["--no-indirect"], ["--no-event-idx"], ["--inband"], ["--poll-us=200"], ["--depth=1"],
                                  ["--in-order"], ["--iommu-mode=deferred", "--domain=iommu"], ["--queues=3"]],
                         ids=lambda o: o[0][2:])
def test_with_options(lab, ring, more):
    how = {"queues": 3} if more == ["--queues=3"] else {}
    device = lab.lying(Goes, moments=(5, 150, 333), stage="done", **how)
    drive = lab.run(device, "load", options=[ring, *OPTIONS, *more])
    must(drive.stats["reconnections"] == 3, f"{drive.stats['reconnections']} reconnections")


@pytest.mark.parametrize("ring", RINGS)
@pytest.mark.parametrize("domain", DOMAINS)
def test_a_transfer_does_not_notice(lab, domain, ring):
    device = lab.lying(Goes, moments=(3, 40), stage="shown")
    lab.run(device, "copy", 0, HALF, domain=domain,
            options=[ring, "--reconnect-ms=5000", "--request=8K", f"--length={HALF}"])
    must(device.contents()[HALF:2 * HALF] == lab.image.bytes[:HALF], "the copy differs")


@pytest.mark.parametrize("domain, ring, more", [
    ("direct", "--split", []), ("iommu", "--packed", []), ("direct", "--packed", ["--inband"]),
    *(pytest.param(domain, ring, more, marks=pytest.mark.slow) for domain in DOMAINS for ring in RINGS
      for more in ([], ["--inband"]))])
def test_going_at_every_message(lab, domain, ring, more):
    """At message 1, 2, ...: as long as nothing is agreed on it is the end, by name; then nobody notices."""
    at = notices = 0
    while True:
        at += 1
        device = lab.lying(HangsUpAtMessage, at=at, name=f"h{at}")
        drive = lab.run(device, "copy", 0, HALF, domain=domain, status=(EXIT_DONE, EXIT_FAILED, EXIT_REFUSED),
                        options=[ring, "--reconnect-ms=5000", "--request=128K", f"--length={HALF}", *more])
        if drive.status:
            notices = at
            drive.must_say("VIODMA_PEER_GONE|VIODMA_PEER_MESSAGE|VIODMA_PEER_FEATURES")
        else:
            must(device.contents()[HALF:2 * HALF] == lab.image.bytes[:HALF], "exit status 0, and the data is not there")
        if not getattr(device.back_end, "hung_up", False):
            break
        device.back_end.violations.clear()      # of a connection that ended in the middle
    must(at > 20 and notices < 20, f"it was noticed until message {notices} of {at}")


def test_without_a_successor_it_is_the_end(lab):
    class Leaves(Goes):
        moments = (30,)

        def leaves(self, stage):
            if stage == self.stage and self.requests in self.moments:
                os.unlink(self.path)
            super().leaves(stage)

    device = lab.lying(Leaves)
    drive = lab.run(device, "load", options=[*OPTIONS, "--reconnect-ms=300"][1:], status=EXIT_FAILED)
    drive.must_say("VIODMA_PEER_GONE", "DEV-20")


def test_without_a_record_there_is_no_successor(lab):
    device = lab.lying(Goes, moments=(30,), protocol=PROTOCOL & ~vu.INFLIGHT)
    drive = lab.run(device, "load", options=OPTIONS, status=EXIT_FAILED)
    drive.must_say("no successor", "VIODMA_PEER_GONE")
    lab.end(sound=False)


def test_a_cache_mode_that_was_chosen_is_the_successors_too(lab):
    """A back end begins with a mode of its own; the driver relies on the one it chose."""
    class Switched(Managed):
        gone = False

        def on_get_config(self, message):
            if self.modes and not self.gone:
                self.gone, self.writeback = True, 1
                raise Closed
            return super().on_get_config(message)

    device = lab.lying(Switched)
    drive = lab.run(device, "cache", "writethrough", options=["--reconnect-ms=5000"])
    must(drive.stats["reconnections"] == 1, f"{drive.stats['reconnections']} reconnections")
    must(device.back_end.modes == [0, 0] and device.back_end.writeback == 0, f"it was told {device.back_end.modes}")


class HangsUpAtOnce(Goes):
    moments = (30,)

    def on_message(self, message):
        if 1 < self.connections < 300:
            raise Closed
        super().on_message(message)


@pytest.mark.parametrize("kind, how", [(HangsUpAtOnce, {}), (Goes, {"moments": range(1, 300), "stage": "shown"})],
                         ids=["at-once", "after-a-request"])
def test_successors_that_go_cannot_flood_the_log(lab, kind, how):
    drive = lab.run(lab.lying(kind, **how), "load", options=[*OPTIONS, "--reconnect-ms=20000"][1:])
    lines = drive.err.count("\n")
    must(lines < 150, f"{lines} lines: {drive.err[-300:]}")


# ---- successors that do not fit -------------------------------------------------------------------

class Changes(Goes):
    """Is another one from its second life on."""
    moments = (30,)

    def offer(self):
        return self.features if self.connections == 1 else self.features_then()

    def features_then(self):
        return self.features


class ForgetsBit33(Changes):
    def features_then(self):
        return FEATURES & ~vu.F_ACCESS_PLATFORM


class ForgetsPackedRings(Changes):
    def features_then(self):
        return FEATURES & ~vu.F_PACKED


class ForgetsTheRecord(Changes):
    def on_get_protocol_features(self, message):
        return vu.u64(PROTOCOL & ~vu.INFLIGHT if self.connections > 1 else PROTOCOL)


class ForgetsItsQueues(Changes):
    queues = 2

    def on_get_queue_num(self, message):
        return vu.u64(2 if self.connections == 1 else 1)


class ForgetsFeaturesOk(Changes):
    def status_read(self):
        return 0 if self.connections > 1 else self.status


@pytest.mark.parametrize("kind", [ForgetsBit33, ForgetsPackedRings, ForgetsTheRecord, ForgetsItsQueues,
                                  ForgetsFeaturesOk], ids=lambda kind: kind.__name__)
def test_a_successor_that_lacks_what_was_agreed_on(lab, kind):
    device = lab.lying(kind)
    drive = lab.run(device, "load", options=[*OPTIONS, "--packed"], status=EXIT_REFUSED)
    drive.must_say("successor", "VIODMA_PEER_FEATURES")
    lab.end(sound=False)


class RefusesTheRecord(Changes):
    def on_set_inflight_fd(self, message):
        if self.connections > 1:
            raise IndexError
        super().on_set_inflight_fd(message)


class GivesNoRecord(BackEnd):
    def on_get_inflight_fd(self, message):
        return message.payload      # no descriptor


class GivesARecordOfNothing(BackEnd):
    def reply(self, message, payload, **how):
        if message.request == vu.Request.GET_INFLIGHT_FD:
            payload = bytes(8) + payload[8:]
        super().reply(message, payload, **how)


class GivesARecordForOthers(BackEnd):
    def reply(self, message, payload, **how):
        if message.request == vu.Request.GET_INFLIGHT_FD:
            payload = payload[:16] + b"\7\0" + payload[18:]
        super().reply(message, payload, **how)


@pytest.mark.parametrize("kind, said", [(RefusesTheRecord, ["SET_INFLIGHT_FD", "refused"]), (GivesNoRecord, ["PLT-9"]),
                                        (GivesARecordOfNothing, ["PLT-9"]), (GivesARecordForOthers, ["PLT-9"])],
                         ids=lambda v: getattr(v, "__name__", None))
def test_a_record_that_is_none(lab, kind, said):
    device = lab.lying(kind)
    lab.run(device, "load", options=OPTIONS, status=EXIT_FAILED).must_say(*said)
    lab.end(sound=False)


class TruncatesItsRecord(Changes):
    """What it gave away it makes short, and goes: whoever looks into it would die of it."""

    def on_get_inflight_fd(self, message):
        self.kept = os.dup(Record.make(1, 1, False).fd)
        os.ftruncate(self.kept, 4096)
        numbers = vu.INFLIGHT_DESC.unpack(message.payload)[2:]
        self.reply(message, vu.INFLIGHT_DESC.pack(4096, 0, *numbers), fds=[self.kept])
        return NO_MORE

    def on_set_inflight_fd(self, message):
        os.ftruncate(self.kept, 0)
        if self.connections > 1:
            raise IndexError


def test_a_record_without_bytes_harms_nobody_but_the_back_end(lab):
    device = lab.lying(TruncatesItsRecord)
    lab.run(device, "load", options=OPTIONS, status=EXIT_FAILED).must_say("SET_INFLIGHT_FD")
    lab.end(sound=False)


@pytest.mark.parametrize("ring", RINGS)
def test_a_write_is_there_after_a_successor(lab, ring):
    device = lab.lying(Goes, moments=(2, 9), stage="returning")
    data = pattern(HALF, 4)
    lab.run(device, "write", lab.file(data), options=[ring, "--reconnect-ms=5000", "--request=16K"])
    must(device.contents()[:HALF] == data, "the disk differs")


# ---- viodma's own device, killed -------------------------------------------------------------------

@pytest.mark.parametrize("ring", RINGS)
@pytest.mark.parametrize("domain", ["direct", "iommu", "restricted"])
def test_our_device_is_killed_and_started_again(lab, domain, ring):
    """At any moment, also between the reset of a queue and its start."""
    device = lab.device("serve-offer", options=["--num-queues=2"])
    drive = lab.start(device, "load", domain=domain, options=[ring, "--reconnect-ms=20000", "--queues=2", "--seconds=3",
                                                             "--length=1M", "--request=16K"])
    for _ in range(6):
        time.sleep(0.25)
        device.kill()
        lab.devices.remove(device)
        device = lab.device("serve-offer", options=["--num-queues=2"])
    drive.wait().must_be(EXIT_DONE)
    must(drive.stats["reconnections"] >= 5, f"{drive.stats['reconnections']} reconnections")
    must(drive.stats["maps"]["quarantined"] == 0, "memory could not be taken back")
