# SPDX-License-Identifier: BSD-3-Clause
"""Bit 33, offered, accepted and declined: the truth table, as vhost-user can say it."""
import pytest

import blk as b
import vhost_user as vu
from hostile import closed_with_message, serves_on
from rules import forbidden
from vhost_user import Request as R, must


@pytest.mark.parametrize("policy, offered", [("require", True), ("offer", True), ("off", False), (None, True)])
def test_the_policy_decides_whether_bit_33_is_offered(start, image, policy, offered):
    serve = start(image, *([f"--platform-dma={policy}"] if policy else []))
    with b.driving(serve.path, start=False) as blk:
        blk.negotiate()
        must(bool(blk.offered & vu.F_ACCESS_PLATFORM) == offered, f"offered features {blk.offered:#x}")
        must(blk.offered & vu.F_VERSION_1, "VERSION_1 is not offered")
        must(blk.protocol_offered & vu.REPLY_ACK, "REPLY_ACK is not offered")
        must(not offered or blk.protocol_offered & vu.BACKEND_REQ, "bit 33 is offered without BACKEND_REQ")


@pytest.mark.parametrize("policy", ["require", "offer"])
def test_bit_33_accepted_runs_and_every_address_is_translated(start, image, policy):
    serve = start(image, f"--platform-dma={policy}")
    with b.driving(serve.path, iommu=True) as blk:
        must(blk.read(3, 512) == image.bytes[1536:2048], "wrong bytes")
        for part in (blk.ring.desc_address, blk.ring.avail_address, blk.ring.used_address):
            must(blk.domain.misses_at(part), "a ring part was used without asking for its translation")
        now = serve.device_stats()
        must(now["platform_dma"] == {"policy": policy, "accepted": True, "iotlb_active": True}, f"{now['platform_dma']}")
        must(now["identity_translations"] == 0, "identity translations")


@pytest.mark.parametrize("policy", ["offer", "off"])
def test_bit_33_declined_or_not_offered_runs_with_physical_addresses(start, image, policy):
    serve = start(image, f"--platform-dma={policy}")
    with b.driving(serve.path) as blk:
        must(blk.read(3, 512) == image.bytes[1536:2048], "wrong bytes")
        now = serve.device_stats()
        must(now["platform_dma"] == {"policy": policy, "accepted": False, "iotlb_active": False},
             f"{now['platform_dma']}")
        must(not blk.front_end.unexpected and now["iotlb"]["misses"] == 0, "misses although bit 33 is clear")


@forbidden("DEV-4")
def test_with_bit_33_clear_addresses_are_physical_and_need_no_platform(lab):
    serve = lab.serve()
    with lab.drive(serve) as blk:
        must(blk.read(3, 512) == lab.image.bytes[1536:2048], "wrong bytes")
        must(not blk.front_end.unexpected, "a translation was asked for")


def accept_and_go_on(serve, features, log):
    """Accepts, then does everything a front end does; no byte of the ring may be touched."""
    memory = b.Memory(noise=False)
    blk = b.Blk(serve.path, memory=memory)
    try:
        blk.negotiate()
        place = memory.regions[0].phys
        memory.punch(place, memory.regions[0].size)
        since = len(serve.log())
        channel = blk.front_end.main
        steps = [(R.SET_FEATURES, vu.u64(features), []),
                 (R.SET_MEM_TABLE, vu.mem_table([r.row for r in memory.regions]), [r.fd for r in memory.regions]),
                 (R.SET_VRING_NUM, vu.vring_state(0, 64), []),
                 (R.SET_VRING_BASE, vu.vring_state(0, 0), []),
                 (R.SET_VRING_ADDR, vu.vring_addr(0, memory.user(place), memory.user(place + 8192),
                                                  memory.user(place + 4096)), []),
                 (R.SET_VRING_KICK, vu.u64(0), [blk.kick_fd]), (R.SET_VRING_CALL, vu.u64(0), [blk.call_fd]),
                 (R.SET_VRING_ENABLE, vu.vring_state(0, 1), [])]
        blk.kick()
        for i, (request, payload, fds) in enumerate(steps):
            try:
                channel.send(request, payload, fds, vu.VERSION | (vu.NEED_REPLY if i == 0 else 0))
            except vu.PeerClosed:
                break
        closed_with_message(serve, channel, R.SET_FEATURES, log, since, ack=True)
        must(not memory.touched(place, memory.regions[0].size), "the ring was touched before the refusal")
    finally:
        blk.close()
        memory.close()


PLAIN = vu.F_VERSION_1 | vu.F_PROTOCOL


@forbidden("DEV-5")
def test_bit_33_accepted_but_not_offered_is_refused(lab):
    serve = lab.serve("--platform-dma=off")
    accept_and_go_on(serve, PLAIN | vu.F_ACCESS_PLATFORM, "DEV-5")


@forbidden("DEV-5", also=("in-order", "log-all", "bit-45", "bit-63"))
def test_any_other_bit_that_was_not_offered_is_refused(lab, which):
    bit = {"in-order": 1 << 35, "log-all": vu.F_LOG_ALL, "bit-45": vu.F_EXCLUSIVE, "bit-63": 1 << 63}[which]
    accept_and_go_on(lab.serve(), PLAIN | bit, "DEV-5")


@forbidden("DEV-6", also=("offer", "require"))
def test_bit_33_without_version_1_is_refused(lab, policy):
    accept_and_go_on(lab.serve(f"--platform-dma={policy}"), vu.F_PROTOCOL | vu.F_ACCESS_PLATFORM, "DEV-6")


@forbidden("DEV-8")
def test_bit_33_declined_where_it_is_required_is_refused(lab):
    accept_and_go_on(lab.serve("--platform-dma=require"), PLAIN, "DEV-8")


@pytest.mark.parametrize("features, policy", [
    (PLAIN | vu.F_ACCESS_PLATFORM, "off"), (vu.F_PROTOCOL | vu.F_ACCESS_PLATFORM, "offer"), (PLAIN, "require")])
def test_after_a_refused_negotiation_the_next_front_end_is_served(start, image, features, policy):
    serve = start(image, f"--platform-dma={policy}")
    accept_and_go_on(serve, features, "DEV-[568]")
    with b.driving(serve.path, iommu=policy != "off") as blk:
        must(blk.read(0, 512) == image.bytes[:512], "wrong bytes")


def test_features_may_be_negotiated_again_by_the_next_driver_of_the_same_connection(serve, image):
    """Firmware first, bit 33 clear; then a kernel, bit 33 set: one front end, two sessions."""
    with b.driving(serve.path) as blk:
        must(blk.read(0, 512) == image.bytes[:512], "the first driver reads wrong bytes")
        blk.stop_ring()
        if blk.protocol & vu.STATUS:
            blk.front_end.tell(R.SET_STATUS, vu.u64(0))
        blk.ring, blk.iommu_wanted = None, True
        blk.accept().share_memory().set_up_ring()
        must(blk.read(1, 512) == image.bytes[512:1024], "the second driver reads wrong bytes")
        sessions = serve.device_stats()["sessions"]
        must([s["bit33"] for s in sessions] == [False, True], f"sessions {sessions}")
        must(all(s["requests"] == 1 for s in sessions), f"sessions {sessions}")


def test_without_protocol_features_the_ring_starts_enabled(serve, image):
    """A front end that knows no protocol features: no acks, no enable message."""
    blk = b.Blk(serve.path)
    try:
        fe = blk.front_end
        blk.offered = fe.ask(R.GET_FEATURES).u64
        blk.protocol = 0
        fe.tell(R.SET_OWNER)
        blk.accept(vu.F_VERSION_1 | vu.F_INDIRECT).share_memory().set_up_ring(enable=False)
        must(blk.read(2, 512) == image.bytes[1024:1536], "wrong bytes")
    finally:
        blk.close()


def test_a_ring_that_is_not_enabled_does_nothing(serve, image):
    with b.driving(serve.path, start=False) as blk:
        blk.negotiate().accept().share_memory().set_up_ring(enable=False)
        request = blk.offer(blk.make(b.IN, 0, length=512))
        blk.front_end.stay(never=lambda: blk.ring.used_index() != 0, what="a disabled ring was served")
        blk.front_end.tell(R.SET_VRING_ENABLE, vu.vring_state(0, 1))
        must(blk.wait(request) == b.OK, "after enabling, the request waiting in the ring fails")
        blk.front_end.tell(R.SET_VRING_ENABLE, vu.vring_state(0, 0))
        request = blk.offer(blk.make(b.IN, 0, length=512))
        used = blk.ring.used_index()
        blk.front_end.stay(never=lambda: blk.ring.used_index() != used, what="a disabled ring was served")


def test_status_reads_back_and_zero_resets(serve, image):
    with b.driving(serve.path) as blk:
        must(blk.protocol & vu.STATUS, "STATUS is not offered")
        fe = blk.front_end
        must(fe.ask(R.GET_STATUS).u64 & 0x0f == 0x0f, "status does not read back")
        blk.still_works()
        blk.stop_ring()
        fe.tell(R.SET_STATUS, vu.u64(0))
        must(fe.ask(R.GET_STATUS).u64 == 0, "status is not 0 after a reset")


def test_after_a_reset_through_status_no_ring_is_touched(serve, image):
    with b.driving(serve.path) as blk:
        must(blk.protocol & vu.STATUS, "STATUS is not offered")
        blk.still_works()
        blk.front_end.tell(R.SET_STATUS, vu.u64(0))
        request = blk.make(b.IN, 0, length=512)
        before = blk.memory.snapshot()
        blk.offer(request)
        blk.kick()
        blk.front_end.stay()
        blk.memory.must_change_only(before, [*blk.ring.driver_words])


def test_accepted_bit_33_without_a_back_end_channel_never_touches_memory(serve, image):
    """Without the channel no miss can be asked for: the device must not find another way."""
    memory = b.Memory(noise=False)
    blk = b.Blk(serve.path, memory=memory, iommu=True)
    try:
        fe = blk.front_end
        blk.offered = fe.ask(R.GET_FEATURES).u64
        blk.protocol = fe.ask(R.GET_PROTOCOL_FEATURES).u64 & (vu.REPLY_ACK | vu.BACKEND_REQ)
        fe.tell(R.SET_PROTOCOL_FEATURES, vu.u64(blk.protocol))
        fe.protocol = blk.protocol
        try:
            blk.accept().share_memory().set_up_ring()
            memory.punch(blk.ring.desc, 3 * b.PAGE)
            blk.kick()
            fe.stay()
        except vu.Violation:
            pass                # it may refuse: then it must say so
        else:
            must(not memory.touched(blk.ring.desc, 3 * b.PAGE), "the ring was read untranslated")
        serve.must_live()
    finally:
        blk.close()
        memory.close()
    serves_on(serve, image)
