# SPDX-License-Identifier: BSD-3-Clause
"""What the hostile tests share: a table of good messages to spoil, and how a refusal has to look.

How it works
  MESSAGES holds, for every message a block back end may be sent, a good
  payload and its number of descriptors. A refusal is: a non-zero ack where one
  was asked for and the message has no reply body of its own; then the end of
  the connection; and a log line that names the requirement and the message.
"""
import os
import re
from contextlib import contextmanager

import blk as b
import vhost_user as vu
from vhost_user import NEED_REPLY, REPLY, VERSION, Request as R, must

NAMES = dict(vu.REQUEST_NAMES)
NAMES[R.SET_BACKEND_REQ_FD] = "SET_(BACKEND|SLAVE)_REQ_FD"


def messages(blk):
    """request → (good payload, descriptors) for a driver that is negotiated and has a ring."""
    ring, region = blk.ring, blk.memory.regions[0]
    return {
        R.GET_FEATURES: (b"", 0), R.SET_FEATURES: (vu.u64(blk.features), 0), R.SET_OWNER: (b"", 0),
        R.GET_PROTOCOL_FEATURES: (b"", 0), R.SET_PROTOCOL_FEATURES: (vu.u64(blk.protocol), 0),
        R.SET_MEM_TABLE: (vu.mem_table([region.row]), 1),
        R.SET_VRING_NUM: (vu.vring_state(0, ring.size), 0), R.SET_VRING_BASE: (vu.vring_state(0, 0), 0),
        R.SET_VRING_ADDR: (vu.vring_addr(0, ring.desc_address, ring.used_address, ring.avail_address), 0),
        R.GET_VRING_BASE: (vu.vring_state(0, 0), 0),
        R.SET_VRING_KICK: (vu.u64(0), 1), R.SET_VRING_CALL: (vu.u64(0), 1), R.SET_VRING_ERR: (vu.u64(0), 1),
        R.SET_VRING_ENABLE: (vu.vring_state(0, 1), 0), R.GET_QUEUE_NUM: (b"", 0),
        R.SET_BACKEND_REQ_FD: (b"", 1),
        R.IOTLB_MSG: (vu.iotlb(vu.UPDATE, 0xcd_0000_0000, b.PAGE, region.uaddr, vu.RO), 0),
        R.GET_CONFIG: (vu.config(0, 8), 0), R.SET_CONFIG: (vu.config(0, 8), 0),
        R.GET_MAX_MEM_SLOTS: (b"", 0),
        R.ADD_MEM_REG: (vu.mem_region(*region.row), 1), R.REM_MEM_REG: (vu.mem_region(*region.row), 0),
        R.GET_STATUS: (b"", 0), R.SET_STATUS: (vu.u64(0x0f), 0),
    }


MESSAGE_IDS = [R.GET_FEATURES, R.SET_FEATURES, R.SET_OWNER, R.GET_PROTOCOL_FEATURES, R.SET_PROTOCOL_FEATURES,
               R.SET_MEM_TABLE, R.SET_VRING_NUM, R.SET_VRING_BASE, R.SET_VRING_ADDR, R.GET_VRING_BASE,
               R.SET_VRING_KICK, R.SET_VRING_CALL, R.SET_VRING_ERR, R.SET_VRING_ENABLE, R.GET_QUEUE_NUM,
               R.SET_BACKEND_REQ_FD, R.IOTLB_MSG, R.GET_CONFIG, R.SET_CONFIG, R.GET_MAX_MEM_SLOTS,
               R.ADD_MEM_REG, R.REM_MEM_REG, R.GET_STATUS, R.SET_STATUS]
NOT_OFFERED = [R.SET_LOG_BASE, R.SET_LOG_FD, R.SEND_RARP, R.NET_SET_MTU, R.SET_VRING_ENDIAN, R.CREATE_CRYPTO_SESSION,
               R.CLOSE_CRYPTO_SESSION, R.POSTCOPY_ADVISE, R.POSTCOPY_LISTEN, R.POSTCOPY_END, R.GPU_SET_SOCKET,
               R.VRING_KICK]


@contextmanager
def spare_fds(count):
    fds = [os.eventfd(0, os.EFD_CLOEXEC) for _ in range(count)]
    try:
        yield fds
    finally:
        for fd in fds:
            os.close(fd)


def ready(serve, ring=False, **how):
    """A driver that is negotiated, has shared its memory, and (ring) has set up and started its ring."""
    blk = b.Blk(serve.path, **how)
    blk.negotiate().accept().share_memory()
    if ring:
        blk.set_up_ring()
    else:
        blk.ring = b.Ring(blk.memory, blk.domain, blk.size)
    return blk


def refused(serve, blk, request, payload=b"", fds=(), flags=VERSION | NEED_REPLY, size=None, log="PLT-9", ack=None,
            named=True, may_stay=False):
    """Sends it and demands a refusal. ack: whether one is due (default: asked for, and no reply body).
    may_stay: a refused grant may leave the connection as it is, because its ack said so."""
    channel = blk.front_end.main
    blk.front_end.wait_until(lambda: not blk.front_end.pending, "the answers to what was sent before")
    since = len(serve.log())
    if ack is None:
        ack = bool(flags & NEED_REPLY) and request not in vu.HAVE_REPLY
    try:
        channel.send(request, payload, fds, flags, size)
    except vu.PeerClosed:
        pass
    closed_with_message(serve, channel, request, log, since, ack, named, may_stay)
    serve.must_live()


def closed_with_message(serve, channel, request, log, since, ack=False, named=True, may_stay=False):
    name = NAMES.get(request, str(request))
    must(channel.closed_within(vu.QUIET if may_stay else serve.patience) or may_stay,
         f"{name} that breaks {log} did not end the connection")
    acks = [m for m in channel.seen if m.request == request]
    if ack:
        must(acks, f"{name} asked for a reply and got none before the end")
    for message in acks:
        must(message.flags == VERSION | REPLY, f"the reply's flags are {message.flags:#x}")
        must(request in vu.HAVE_REPLY or message.u64 != 0, f"{name} was refused, yet acknowledged with 0")
    serve.expect_log(log, since=since)
    if named:
        lines = [line for line in serve.log()[since:].splitlines() if re.search(log, line)]
        must(any(re.search(name, line) for line in lines),
             f"no line with {log} names {name}: {lines}")


def serves_on(serve, image, device=0):
    """A new front end is served as if nothing had happened."""
    with b.driving(serve.sockets[device], iommu=True) as blk:
        must(blk.read(1, 512) == image.bytes[512:1024], "wrong bytes after an attack")
