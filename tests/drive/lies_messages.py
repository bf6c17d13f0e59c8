# SPDX-License-Identifier: BSD-3-Clause
"""Devices that lie in messages: configuration, features, replies, misses, invalidations."""
import os
import socket
import struct
import time

import vhost_user as vu
from back_end import F_MQ, FEATURES, FEATURES_OK, PROTOCOL, BackEnd, Closed
from lie import BUS, IOMMU, lie
from vhost_user import HEADER, NEED_REPLY, REPLY, VERSION, Request as R

# ---- configuration: DEV-22 ------------------------------------------------------------------

def configured(name, result="VIODMA_PEER_ANSWER", rule="DEV-22", status=1, more=(), **fields):
    places = {"capacity": ("<Q", 0), "size_max": ("<I", 8), "seg_max": ("<I", 12), "blk_size": ("<I", 20),
              "num_queues": ("<H", 34)}

    def config(self):
        raw = bytearray(BackEnd.config(self))
        for field, value in fields.items():
            form, at = places[field]
            struct.pack_into(form, raw, at, value)
        return bytes(raw)
    lie(result, rule, status, seen=False)(type(name, (BackEnd,), {"config": config, **dict(more)}))


configured("SegMaxZero", seg_max=0)
configured("SizeMaxZero", result=(), rule="", status=0, size_max=0)     # no limit: QEMU's storage daemon says so
configured("BlkSizeThree", blk_size=3)
configured("BlkSizeZero", blk_size=0)
configured("BlkSize256", blk_size=256)
configured("NumQueuesZero", num_queues=0, more={"features": FEATURES | F_MQ, "protocol": PROTOCOL | vu.MQ})
configured("CapacityHuge", capacity=2**64 - 1)
# a disk of nothing is a disk; that it does not hold what is asked for is said
configured("CapacityZero", result=(), rule="", capacity=0)


# ---- negotiation ------------------------------------------------------------------------------

@lie(("VIODMA_PEER_FEATURES",), "DEV-8", status=3, seen=False)
class NeverKeepsFeaturesOk(BackEnd):
    def status_read(self):
        return self.status & ~FEATURES_OK


@lie(("VIODMA_PEER_FEATURES", "VIODMA_PEER_GONE"), "", status=(1, 3))
class ClosesAfterFeatures(BackEnd):
    def after_features(self, message):
        raise Closed


@lie("VIODMA_PEER_LEGACY", "DRV-6", status=3, seen=False)
class OffersBit33WithoutVersion1(BackEnd):
    features = FEATURES & ~vu.F_VERSION_1


@lie("VIODMA_PEER_BOTH_OFFERED", "DRV-7", status=3, options=["--platform-dma-bit=45"], seen=False)
class OffersBothBits(BackEnd):
    features = FEATURES | 1 << 45


@lie("VIODMA_PEER_LEGACY", "DRV-6", status=3, domains=("direct",), seen=False)
class OffersNoVersion1(BackEnd):
    features = FEATURES & ~(vu.F_VERSION_1 | vu.F_ACCESS_PLATFORM)


@lie((), "", status=(1, 3))
class OffersNoProtocol(BackEnd):
    """Without CONFIG a front end cannot know the size of the disk."""
    features = FEATURES & ~vu.F_PROTOCOL


@lie((), "", status=(1, 3), seen=False)
class OffersNoConfig(BackEnd):
    protocol = PROTOCOL & ~vu.CONFIG

    def on_get_config(self, message):
        raise Closed


# ---- replies: PLT-9 ------------------------------------------------------------------------------

GETS = {"GET_FEATURES": R.GET_FEATURES, "GET_PROTOCOL_FEATURES": R.GET_PROTOCOL_FEATURES, "GET_CONFIG": R.GET_CONFIG,
        "GET_STATUS": R.GET_STATUS}


def replied(name, changed, requests=tuple(GETS), result="VIODMA_PEER_MESSAGE", rule="PLT-9", **more):
    """changed(payload) → what reply() gets: payload, and flags, request, size, fds."""
    for which in requests:
        def reply(self, message, payload, _wanted=getattr(R, which), **how):
            if message.request == _wanted:
                payload, extra = changed(payload)
                how.update(extra)
            BackEnd.reply(self, message, payload, **how)
        lie(result, rule, seen=False)(type(f"{name}_{which}", (BackEnd,), {"reply": reply, **more}))


class Handed:
    """A descriptor to attach where none belongs."""
    fds = ()

    @classmethod
    def one(cls):
        if not cls.fds:
            cls.fds = (os.eventfd(0, os.EFD_CLOEXEC),)
        return cls.fds


ACKED = ("SET_FEATURES", "SET_VRING_ADDR", "SET_STATUS")
replied("ReplyTooShort", lambda payload: (payload[:-1], {}))
replied("ReplyEmpty", lambda payload: (b"", {}), ("GET_FEATURES",))
replied("ReplyEmpty", lambda payload: (b"", {}), ("GET_CONFIG",), result="VIODMA_E_UNSUPPORTED", rule="")  # no lie
replied("ReplyTooLong", lambda payload: (payload + b"\0" * 8, {}))
replied("ReplyOfFourGigabytes", lambda payload: (payload, {"size": 0xffffffff}), ("GET_FEATURES", "GET_CONFIG"))
replied("ReplyToSomethingElse", lambda payload: (payload, {"request": 77}))
replied("ReplyWithoutTheFlag", lambda payload: (payload, {"flags": VERSION}))
replied("ReplyOfAnotherVersion", lambda payload: (payload, {"flags": 2 | REPLY}))
replied("ReplyWithDescriptors", lambda payload: (payload, {"fds": Handed.one()}), ("GET_FEATURES", "GET_STATUS"))
replied("AckTooShort", lambda payload: (payload[:4], {}), ACKED)
replied("AckOfSomethingElse", lambda payload: (payload, {"request": R.SET_OWNER}), ACKED)
replied("ConfigOfAnotherPlace", lambda payload: (b"\1" + payload[1:], {}), ("GET_CONFIG",))


replied("BaseOfAnotherRing", lambda payload: (b"\1" + payload[1:], {}), ("GET_VRING_BASE",))
replied("StatusOf64Bits", lambda payload: (payload[:4] + b"\1" * 4, {}), ("GET_STATUS",), result="VIODMA_PEER_ANSWER",
        rule="DEV-22")


@lie((), "", seen=False)
class HasNoMemorySlots(BackEnd):
    protocol = PROTOCOL | vu.MEM_SLOTS
    slots = 0


@lie(("VIODMA_PEER_GONE", "VIODMA_PEER_MESSAGE"), "")
class ReplyBrokenOff(BackEnd):
    """Half a message, then the end."""

    def reply(self, message, payload, **how):
        if message.request == R.GET_FEATURES:
            self.main.send_raw(HEADER.pack(message.request, VERSION | REPLY, 8) + payload[:3])
            raise Closed
        super().reply(message, payload, **how)


@lie(("VIODMA_PEER_MESSAGE",), "PLT-9", seen=False)
class SaysWhatNobodyAsked(BackEnd):
    """A second answer."""

    def reply(self, message, payload, **how):
        super().reply(message, payload, **how)
        if message.request == R.GET_FEATURES:
            super().reply(message, payload, **how)


@lie((), "", status=0, seen=False)
class RepliesInPieces(BackEnd):
    """Byte by byte: slow, and legal."""

    def reply(self, message, payload, flags=VERSION | REPLY, fds=(), request=None, size=None):
        for byte in HEADER.pack(message.request, flags, len(payload)) + payload:
            self.main.send_raw(bytes([byte]))


@lie("VIODMA_E_TIMEOUT", "", options=["--timeout-ms=700"], seen=False)
class NeverReplies(BackEnd):
    def reply(self, message, payload, **how):
        if message.request != R.GET_STATUS:
            super().reply(message, payload, **how)


# ---- the channel of misses -------------------------------------------------------------------------

class AsksMore(BackEnd):
    """Says something of its own on the back end's channel at each request."""

    def carry_out(self, chain):
        if self.back is not None and self.requests in (2, 3):
            self.say()
        return super().carry_out(chain)

    def send(self, payload, request=vu.BACKEND_IOTLB_MSG, flags=VERSION, fds=(), size=None):
        try:
            self.back.send(request, payload, fds, flags, size)
        except vu.Violation:
            raise Closed from None


@lie((), "", status=0, domains=BUS, seen=False)
class AsksForWhatIsNotGranted(AsksMore):
    def say(self):
        for bus in (0, 0x1000, 0x5a5a_0000_0000, 2**64 - 4096, 2**63):
            if self._ask(bus, 3):
                self.wrong(f"a miss at {bus:#x}, where nothing is mapped, was granted")


@lie((), "", status=0, domains=IOMMU, options=["--depth=1"], seen=False)
class AsksAfterInvalidation(BackEnd):
    """Every address that was taken back is asked for once more, at the next request, and is nobody's or this one's."""
    gone = ()

    def on_invalidate(self, bus, size):
        if size < 1 << 32:
            self.gone = (*self.gone, bus)

    def carry_out(self, chain):
        gone, self.gone = self.gone, ()
        mine = [(bus & -4096, bus + size) for bus, size in chain.readable + chain.writable]
        for bus in gone:
            if self._ask(bus, 1) and not any(first <= bus < end for first, end in mine):
                self.wrong(f"PLT-5: {bus:#x} was granted again after its invalidation, though no request names it")
        return super().carry_out(chain)


@lie((), "", status=0, domains=IOMMU, seen=False)
class AsksTwice(AsksMore):
    """Two misses for one page, and an answer each."""

    def say(self):
        for _ in range(2):
            self._ask(0x7777_0000_0000, 1)


@lie(("VIODMA_PEER_MESSAGE", "VIODMA_E_TIMEOUT", "VIODMA_PEER_SILENT", "VIODMA_PEER_GONE"), "", domains=BUS, seen=False,
     options=["--timeout-ms=2000"])
class FloodsWithMisses(AsksMore):
    """More questions than anyone reads answers to."""

    def say(self):
        self.back.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 16)
        end = time.monotonic() + 5
        message = HEADER.pack(vu.BACKEND_IOTLB_MSG, VERSION | NEED_REPLY, vu.IOTLB.size)
        message += vu.iotlb(vu.MISS, 4096, 0, 0, 1)
        while time.monotonic() < end:
            try:
                self.back.sock.send(message * 100, socket.MSG_NOSIGNAL | socket.MSG_DONTWAIT)
            except BlockingIOError:
                time.sleep(0.01)
            except OSError:
                raise Closed from None


def said(name, result="VIODMA_PEER_MESSAGE", rule="PLT-9", **how):
    def say(self):
        self.send(**how)
        time.sleep(0.05)
    lie(result, rule, domains=BUS, seen=False)(type(name, (AsksMore,), {"say": say}))


MISS = vu.iotlb(vu.MISS, 0x1234_5000, 0, 0, 1)
said("MissTooShort", payload=MISS[:-1])
said("MissTooLong", payload=MISS + b"\0")
said("MissOfFourGigabytes", payload=MISS, size=0xfffffff0)
said("MissOfAnotherVersion", payload=MISS, flags=2)
said("MissWithReplyFlag", payload=MISS, flags=VERSION | REPLY)
said("MissWithoutPermission", payload=vu.iotlb(vu.MISS, 0x1000, 0, 0, 0))
said("UpdateFromTheDevice", payload=vu.iotlb(vu.UPDATE, 0x1000, 0x1000, 0x1000, 3))
said("InvalidateFromTheDevice", payload=vu.iotlb(vu.INVALIDATE, 0x1000, 0x1000))
said("MissWithDescriptors", payload=MISS, fds=Handed.one())
said("RequestNobodyKnows", payload=b"", request=99)


@lie(("VIODMA_PEER_GONE", "VIODMA_PEER_MESSAGE"), "", domains=BUS, seen=False)
class ClosesTheChannelOfMisses(AsksMore):
    def say(self):
        self.back.close()
        self.back = None
        raise Closed


@lie(("VIODMA_E_TIMEOUT", "VIODMA_E_QUARANTINED"), "", domains=IOMMU, options=["--timeout-ms=700"], seen=False)
class NeverAcknowledgesInvalidation(BackEnd):
    def reply(self, message, payload, **how):
        if message.request != R.IOTLB_MSG or vu.IOTLB.unpack(message.payload)[4] != vu.INVALIDATE:
            super().reply(message, payload, **how)


@lie(("VIODMA_E_TIMEOUT", "VIODMA_E_QUARANTINED", "VIODMA_E_IO"), "", domains=IOMMU, seen=False)
class RefusesInvalidation(BackEnd):
    def acknowledge(self, message, value):
        if message.request == R.IOTLB_MSG and vu.IOTLB.unpack(message.payload)[4] == vu.INVALIDATE:
            value = 1
        super().acknowledge(message, value)


# ---- notifications as messages, and news ------------------------------------------------------------------

def called(name, payload, options=("--inband",), result="VIODMA_PEER_MESSAGE", rule="PLT-9",
           request=vu.BACKEND_VRING_CALL):
    def say(self):
        self.send(payload, request=request)
        time.sleep(0.05)
    lie(result, rule, status=0 if not result else 1, seen=False, options=options)(type(name, (AsksMore,), {"say": say}))


called("CallOfNoQueue", vu.vring_state(1, 0))
called("CallOfQueueFourBillion", vu.vring_state(0xffffffff, 0))
called("CallWithANumber", vu.vring_state(0, 7))
called("CallTooShort", vu.vring_state(0, 0)[:4])
called("CallTooLong", vu.vring_state(0, 0) + b"\0" * 4)
called("ErrorOfNoQueue", vu.vring_state(9, 0), request=vu.BACKEND_VRING_ERR)
called("CallNobodyAgreedOn", vu.vring_state(0, 0), options=())
called("CallForNothing", vu.vring_state(0, 0), result=(), rule="")
called("ErrorForNothing", vu.vring_state(0, 0), result=(), rule="", request=vu.BACKEND_VRING_ERR)
called("ConfigurationChanged", b"", options=(), result=(), rule="", request=vu.BACKEND_CONFIG_CHANGE)
called("ConfigurationChangedWithMore", b"\0" * 8, options=(), request=vu.BACKEND_CONFIG_CHANGE)


@lie(("VIODMA_E_TIMEOUT", "VIODMA_PEER_GONE"), "", options=["--inband", "--timeout-ms=700"], seen=False)
class NeverAcknowledgesAKick(BackEnd):
    def acknowledge(self, message, value):
        if message.request != R.VRING_KICK:
            super().acknowledge(message, value)


@lie(("VIODMA_PEER_SILENT", "VIODMA_E_IO"), "", options=["--inband", "--timeout-ms=700"], seen=False)
class RefusesKicks(BackEnd):
    """And serves nothing that it was not kicked for: it looks at the rings at other times, too."""
    def on_vring_kick(self, message):
        raise IndexError

    def serve_all(self, queue):
        pass
