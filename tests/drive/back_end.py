# SPDX-License-Identifier: BSD-3-Clause
"""A vhost-user back end in Python: a virtio disk that keeps all rules, until it is told to lie.

How it works
  BackEnd   listens on a socket and serves one front end after the other from a
            thread of its own. The disk is a bytearray. With bit 33 accepted it
            asks for what it does not know (MISS) and takes in messages while it
            waits, as a device must. Everything the front end or the driver does
            wrong is a line in `violations`; an access that was refused is in
            access.refused.
  Lies      are subclasses (lies_*.py): every step that a lie may want to change
            is a method with one task: reply(), config(), status_read(),
            carry_out(), complete(), after_reset(), on_invalidate(), ...
  events    what happened, in order: ("message", name), ("driver_ok", areas),
            ("reset",), ("closed",).
"""
import os
import random
import select
import socket
import struct
import threading
import time
import traceback

import vhost_user as vu
from device_disk import SECTOR, Disk, Stopped
from device_memory import Access, Areas
from device_packed import PackedQueue
from device_record import Record
from device_ring import Queue
from vhost_user import HEADER, NEED_REPLY, REPLY, VERSION

ACKNOWLEDGE, DRIVER, DRIVER_OK, FEATURES_OK, NEEDS_RESET, FAILED = 1, 2, 4, 8, 64, 128
F_MQ = 1 << 12
F_IN_ORDER, F_RING_RESET = 1 << 35, 1 << 40
FEATURES = (vu.F_VERSION_1 | vu.F_ACCESS_PLATFORM | vu.F_PACKED | vu.F_INDIRECT | vu.F_EVENT_IDX | F_RING_RESET |
            vu.F_PROTOCOL |
            vu.F_BLK_SIZE_MAX | vu.F_BLK_SEG_MAX | vu.F_BLK_BLK_SIZE | vu.F_BLK_FLUSH)
PROTOCOL = vu.REPLY_ACK | vu.BACKEND_REQ | vu.CONFIG | vu.STATUS | vu.INFLIGHT | vu.INBAND | vu.RESET_DEVICE

CONFIG = struct.Struct("<QIIHBBIBBHIBBHIIIIIB3x")


NO_MORE = object()              # a handler's: the answer has been sent


class Closed(Exception):
    """The front end has hung up."""


class Exact(vu.Channel):
    """Reads each message by its own length, so that descriptors stay with the message they came with."""

    def take(self):
        while True:
            have = len(self.buffer)
            if have < HEADER.size:
                want = HEADER.size - have
            else:
                request, flags, size = HEADER.unpack_from(self.buffer)
                want = HEADER.size + size - have
                if not want:
                    payload, fds = self.buffer[HEADER.size:], self.fds
                    self.buffer, self.fds = b"", []
                    return vu.Message(request, flags, payload, fds)
            try:
                data, control, _, _ = self.sock.recvmsg(want, socket.CMSG_SPACE(4 * 64), socket.MSG_DONTWAIT)
            except BlockingIOError:
                return None
            except ConnectionResetError:
                raise Closed from None
            for level, kind, body in control:
                if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                    self.fds += struct.unpack(f"{len(body) // 4}i", body[:len(body) // 4 * 4])
            if not data:
                raise Closed
            self.buffer += data


class BackEnd(Disk):
    """One virtio disk. Its class attributes are its defaults; keyword arguments of that name replace them."""
    features = FEATURES
    protocol = PROTOCOL
    queues = 1
    queue_max = 128
    slots = 8                       # with MEM_SLOTS
    require = False                 # a driver that declines bit 33 is refused: the connection is closed
    seg_max, size_max, blk_size = 126, 65536, 512
    shuffle = None                  # a seed: what is available at once is completed in any order
    delay = 0.0                     # before each completion, seconds
    patience = vu.PATIENCE

    def __init__(self, path, disk, **how):
        for name, value in how.items():
            if not hasattr(type(self), name):
                raise TypeError(f"BackEnd knows no {name}")
            setattr(self, name, value)
        if self.queues > 1:
            self.features |= F_MQ
            self.protocol |= vu.MQ
        self.path, self.disk = path, disk
        self.random = random.Random(self.shuffle)
        self.violations, self.events, self.refused_misses = [], [], []
        self.crash = self.record = None
        self.connections = self.requests = self.misses = self.messages = self.resets = self.invalidations = 0
        self.kinds, self.served = {}, set()     # requests by kind; queues that were used
        self.areas = Areas()
        self.access = Access(self.areas, self._ask)
        self.before_end = []        # called once, in the thread, when the back end is stopped
        self._drop_connection_state()
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self.listener.bind(path)
        self.listener.listen(4)
        self.wake_in, self.wake_out = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.lock = threading.RLock()   # held while anything is done: whoever looks from outside takes it

    # -- life ------------------------------------------------------------------------
    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, kind, error, trace):
        os.write(self.wake_out, b"x")
        self.thread.join(self.patience)
        alive = self.thread.is_alive()
        if not alive:
            self.areas.close()
            self.listener.close()
            os.close(self.wake_in)
            os.close(self.wake_out)
        if error is None and (alive or self.crash):
            raise AssertionError(f"the Python back end hangs or crashed: {self.crash}")

    def _drop_connection_state(self):
        self.main = self.back = None
        self.owner = False
        self.protocol_accepted = self.accepted = None
        self.status = 0
        self.vqs = {}
        self.inband = False
        self._drop_record()
        self.epoch = 0
        self.waiting = []
        self.broken = False
        self.areas.clear()
        self.access.iotlb.invalidate(0, 1 << 64)
        self.access.translates = False

    def _drop_record(self):
        if self.record:
            self.record.close()
        self.record = None

    def wrong(self, text):
        self.violations.append(text)

    def _run(self):
        try:
            while self._wait_for_front_end():
                try:
                    while self._turn():
                        pass
                except Closed:
                    pass
                finally:
                    self.events.append(("closed",))
                    self.hang_up()
        except Exception:           # shown by __exit__
            self.crash = traceback.format_exc()
            self.hang_up()

    def _wait_for_front_end(self):
        ready, _, _ = select.select([self.listener, self.wake_in], [], [])
        if self.wake_in in ready:
            return False
        self._drop_connection_state()
        sock, _ = self.listener.accept()
        self.main = Exact(sock)
        self.connections += 1
        return True

    def hang_up(self):
        with self.lock:
            for queue in self.vqs.values():
                for fd in (queue.kick_fd, queue.call_fd, queue.err_fd):
                    if fd is not None:
                        os.close(fd)
            if self.main:
                self.main.close()
            if self.back:
                self.back.close()
            self._drop_connection_state()

    def _turn(self, timeout=None):
        """Waits for anything, and does it. False: the test is over."""
        kicks = {q.kick_fd: q for q in self.vqs.values() if q.kick_fd is not None and not self.broken}
        ready = self._poll([self.main.fileno(), self.wake_in, *kicks], timeout)
        if self.wake_in in ready:
            return False
        with self.lock:
            if self.main.fileno() in ready:
                self._take_messages()
            for fd in ready:
                queue = kicks.get(fd)
                if queue is None or queue.kick_fd != fd:
                    continue
                try:
                    os.eventfd_read(fd)
                except BlockingIOError:
                    pass
                self.waiting.append(queue)
            while self.waiting:
                self.serve(self.waiting.pop(0))
        return True

    @staticmethod
    def _poll(fds, timeout):
        poll = select.poll()
        for fd in fds:
            poll.register(fd, select.POLLIN)
        return [fd for fd, _ in poll.poll(None if timeout is None else timeout * 1000)]

    # -- messages ----------------------------------------------------------------------
    def _take_messages(self):
        while self.main and (message := self.main.take()) is not None:
            self.messages += 1
            self.events.append(("message", message.name))
            try:
                self.on_message(message)
            finally:
                message.close_fds()

    def on_message(self, message):
        if message.flags & ~(VERSION | NEED_REPLY) or not message.flags & VERSION:
            self.wrong(f"PLT-9: {message.name} with flags {message.flags:#x}")
        handler = getattr(self, "on_" + message.name.lower(), None)
        if handler is None:
            self.wrong(f"PLT-9: {message.name} was sent, which nothing offered allows")
            return self.acknowledge(message, 1)
        try:
            payload = handler(message)
        except (struct.error, IndexError):
            self.wrong(f"PLT-9: {message.name} with {len(message.payload)} bytes, {len(message.fds)} descriptors")
            return self.acknowledge(message, 1)
        if payload is NO_MORE:
            return None
        if payload is not None:
            return self.reply(message, payload)
        return self.acknowledge(message, 0)

    def acknowledge(self, message, value):
        if message.flags & NEED_REPLY and (self.protocol_accepted or 0) & vu.REPLY_ACK \
                and message.request not in vu.HAVE_REPLY and self.main:
            self.reply(message, vu.u64(value))

    def reply(self, message, payload, flags=VERSION | REPLY, fds=(), request=None, size=None):
        try:
            self.main.send(message.request if request is None else request, payload, fds, flags, size)
        except vu.Violation:
            raise Closed from None

    def on_get_features(self, message):
        return vu.u64(self.offer())

    def offer(self):
        return self.features

    def on_set_features(self, message):
        self.accepted, = struct.unpack("<Q", message.payload)
        if self.accepted & ~self.offer():
            self.wrong(f"DRV-5: accepted {self.accepted & ~self.offer():#x}, which was not offered")
        if self.accepted & vu.F_ACCESS_PLATFORM and not self.accepted & vu.F_VERSION_1:
            self.wrong("DRV-6: bit 33 without VERSION_1")
        if any(q.started for q in self.vqs.values()):
            self.wrong("features were set while a ring runs")
        self.access.translates = bool(self.accepted & vu.F_ACCESS_PLATFORM)
        self.after_features(message)

    def after_features(self, message):
        if self.require and not self.access.translates:
            raise Closed

    def on_set_owner(self, message):
        self.owner = True

    def on_get_protocol_features(self, message):
        return vu.u64(self.protocol)

    def on_set_protocol_features(self, message):
        self.protocol_accepted, = struct.unpack("<Q", message.payload)
        if self.protocol_accepted & ~self.protocol:
            self.wrong(f"PLT-9: protocol features {self.protocol_accepted & ~self.protocol:#x} were not offered")
        self.inband = bool(self.protocol_accepted & vu.INBAND)
        if self.inband and ~self.protocol_accepted & (vu.REPLY_ACK | vu.BACKEND_REQ):
            self.wrong("PLT-9: INBAND_NOTIFICATIONS without REPLY_ACK and BACKEND_REQ")

    # -- the record of what is in flight
    def on_get_inflight_fd(self, message):
        _, _, queues, size = vu.INFLIGHT_DESC.unpack(message.payload)
        if queues != self.queues or self.accepted is None:
            self.wrong(f"PLT-9: a record for {queues} queues of {self.queues}, or before features")
        record = Record.make(queues, size, bool(self.accepted & vu.F_PACKED))
        try:
            self.reply(message, vu.INFLIGHT_DESC.pack(record.total, 0, queues, size), fds=[record.fd])
        finally:
            record.close()
        return NO_MORE

    def on_set_inflight_fd(self, message):
        total, offset, queues, size = vu.INFLIGHT_DESC.unpack(message.payload)
        if len(message.fds) != 1 or any(q.started for q in self.vqs.values()):
            raise IndexError
        self._drop_record()
        self.record = Record(message.fds.pop(), total, offset, queues, size, bool(self.accepted & vu.F_PACKED))

    # -- notifications as messages
    def on_vring_kick(self, message):
        index, zero = vu.VRING_STATE.unpack(message.payload)
        if not self.inband or zero or not message.flags & NEED_REPLY:
            raise IndexError
        self.waiting.append(self.queue(index))

    def tell_call(self, queue):
        """And waits until the front end has heard it."""
        self._say(vu.BACKEND_VRING_CALL, vu.vring_state(queue.index, 0))

    def _say(self, request, payload):
        epoch = self.epoch
        try:
            self.back.send(request, payload, flags=VERSION | NEED_REPLY)
        except vu.Violation:
            raise Closed from None
        end = time.monotonic() + self.patience
        while (answer := self._answer(end)) is None:
            pass
        if answer:
            self.wrong(f"PLT-9: {request} on the back end's channel was refused")
        if self.epoch != epoch:
            raise Stopped

    def on_get_queue_num(self, message):
        return vu.u64(self.queues)

    def on_get_max_mem_slots(self, message):
        return vu.u64(self.slots)

    # -- memory
    def _add(self, row, fd):
        phys, size, uaddr, offset = row
        if self.areas.overlaps(phys, size):
            self.wrong(f"PLT-10: memory at {phys:#x} was handed over twice")
        self.areas.add(phys, size, uaddr, offset, os.dup(fd))

    def on_set_mem_table(self, message):
        count, = struct.unpack_from("<I", message.payload)
        if len(message.payload) != 8 + 32 * count or len(message.fds) != count or count > 8:
            raise IndexError
        self.areas.clear()
        for i in range(count):
            self._add(vu.REGION.unpack_from(message.payload, 8 + 32 * i), message.fds[i])

    def on_add_mem_reg(self, message):
        if len(message.fds) != 1:
            raise IndexError
        if len(self.areas.now) >= self.slots:
            self.wrong("PLT-9: more regions than slots")
        self._add(struct.unpack("<8xQQQQ", message.payload), message.fds[0])

    def on_rem_mem_reg(self, message):
        phys, size, uaddr, _ = struct.unpack("<8xQQQQ", message.payload)
        if not self.areas.remove((phys, size, uaddr)):
            self.wrong(f"PLT-10: no region at {phys:#x} to take back")

    # -- rings
    def queue(self, index):
        if index >= self.queues:
            self.wrong(f"PLT-9: queue {index} of {self.queues}")
            raise IndexError
        kind = PackedQueue if (self.accepted or 0) & vu.F_PACKED else Queue
        queue = self.vqs.get(index)
        if queue is None or (queue.packed != kind.packed and not queue.started):
            self.vqs[index] = kind(index, self.violations)
            if queue is not None:       # agreed on anew, on the same connection
                for name in ("kick_fd", "call_fd", "err_fd", "enabled"):
                    setattr(self.vqs[index], name, getattr(queue, name))
        return self.vqs[index]

    def _stopped_queue(self, index, what):
        queue = self.queue(index)
        if queue.started:
            self.wrong(f"PLT-9: {what} while queue {index} runs")
        return queue

    def on_set_vring_num(self, message):
        index, size = vu.VRING_STATE.unpack(message.payload)
        queue = self._stopped_queue(index, "SET_VRING_NUM")
        if not 1 <= size <= 32768 or size & (size - 1) and not queue.packed:
            self.wrong(f"DRV-17: queue {index} of {size} descriptors")
        queue.size = size

    def on_set_vring_base(self, message):
        index, base = vu.VRING_STATE.unpack(message.payload)
        self._stopped_queue(index, "SET_VRING_BASE").set_base(base)

    def on_set_vring_addr(self, message):
        index, _, desc, used, avail, _ = vu.VRING_ADDR.unpack(message.payload)
        queue = self._stopped_queue(index, "SET_VRING_ADDR")
        if desc % 16 or avail % (4 if queue.packed else 2) or used % 4:
            self.wrong(f"DRV-17: queue {index} at {desc:#x}, {avail:#x}, {used:#x}")
        queue.addresses = desc, used, avail

    def on_get_vring_base(self, message):
        index, _ = vu.VRING_STATE.unpack(message.payload)
        queue = self.queue(index)
        self.stop_queue(queue)
        if queue.kick_fd is not None:       # it starts again with a new one
            os.close(queue.kick_fd)
            queue.kick_fd = None
        return vu.vring_state(index, queue.get_base())

    def stop_queue(self, queue):
        queue.started = False
        self.waiting = [one for one in self.waiting if one is not queue]    # a kick from before starts nothing
        self.epoch += 1

    def _eventfd(self, message, name):
        value, = struct.unpack("<Q", message.payload)
        queue = self.queue(value & 0xff)
        old = getattr(queue, name)
        if old is not None:
            os.close(old)
        if bool(value & vu.NO_FD) == bool(message.fds) or len(message.fds) > 1:
            raise IndexError
        fd = message.fds.pop() if message.fds else None
        if fd is not None:
            os.set_blocking(fd, False)
        setattr(queue, name, fd)
        return queue

    def on_set_vring_kick(self, message):
        queue = self._eventfd(message, "kick_fd")
        if queue.addresses is None or not queue.size:
            self.wrong(f"PLT-9: queue {queue.index} is started before it was set up")

    def on_set_vring_call(self, message):
        self._eventfd(message, "call_fd")

    def on_set_vring_err(self, message):
        self._eventfd(message, "err_fd")

    def on_set_vring_enable(self, message):
        index, on = vu.VRING_STATE.unpack(message.payload)
        self.queue(index).enabled = bool(on)

    def on_set_backend_req_fd(self, message):
        if len(message.fds) != 1:
            raise IndexError
        if self.back:
            self.back.close()
        self.back = Exact(socket.socket(fileno=message.fds.pop()))

    # -- status and configuration
    def on_get_status(self, message):
        return vu.u64(self.status_read())

    def status_read(self):
        return self.status

    def on_set_status(self, message):
        new, = struct.unpack("<Q", message.payload)
        old, self.status = self.status, new & 0xff
        if not new:
            self.reset()
        elif old & ~new & 0xff:
            self.wrong(f"status {old:#x} became {new:#x} without a reset")
        if new & DRIVER_OK and not old & DRIVER_OK:
            if not new & FEATURES_OK or self.accepted is None:
                self.wrong("DRIVER_OK before FEATURES_OK")
            self.events.append(("driver_ok", [(a.phys, a.size) for a in self.areas.now]))
            self.waiting = list(self.vqs.values())      # a kick may have come before; served once this is answered
        if new & FAILED:
            self.events.append(("failed",))

    def on_reset_device(self, message):
        self.status = 0
        self.reset()

    def reset(self):
        self.resets += 1
        self.events.append(("reset",))
        for queue in self.vqs.values():
            self.stop_queue(queue)
        self.accepted = None
        self._drop_record()
        self.access.iotlb.invalidate(0, 1 << 64)
        self.after_reset()

    def after_reset(self):
        """A sound device does nothing."""

    def config(self):
        return CONFIG.pack(len(self.disk) // SECTOR, self.size_max, self.seg_max, 0, 0, 0, self.blk_size, 0, 0, 0, 0, 0,
                           0, self.queues, 0, 0, 0, 0, 0, 0)

    def on_get_config(self, message):
        offset, size, _ = vu.CONFIG_HEAD.unpack_from(message.payload)
        if len(message.payload) != 12 + size or offset + size > 256:
            raise IndexError
        whole = self.config() + bytes(256)
        return vu.config(offset, size, 0, whole[offset:offset + size])

    def on_set_config(self, message):
        vu.CONFIG_HEAD.unpack_from(message.payload)

    # -- the IOTLB
    def on_iotlb_msg(self, message):
        bus, size, uaddr, permission, kind = vu.IOTLB.unpack(message.payload)
        if kind == vu.UPDATE:
            area, offset = self.areas.at_user(uaddr)
            if area is None or offset + size > area.size or not size or bus + size > 1 << 64:
                self.wrong(f"PLT-10: a grant of {size:#x} bytes at user address {uaddr:#x}, which was not handed over")
                return
            self.access.iotlb.update(bus, size, uaddr, permission)
        elif kind == vu.INVALIDATE:
            self.access.iotlb.invalidate(bus, size)
            self.invalidations += 1
            self.on_invalidate(bus, size)
        else:
            self.wrong(f"PLT-9: IOTLB message of type {kind} from the front end")

    def on_invalidate(self, bus, size):
        """The mapping has ended; a sound device has nothing in flight there."""

    def _ask(self, bus, permission):
        """Asks the platform for one page; takes in messages until it has answered. Does the device get it?"""
        if self.back is None:
            return False
        self.misses += 1
        epoch = self.epoch
        try:
            self.back.send(vu.BACKEND_IOTLB_MSG, vu.iotlb(vu.MISS, bus, 0, 0, permission), flags=VERSION | NEED_REPLY)
        except vu.Violation:
            raise Closed from None
        end = time.monotonic() + self.patience
        while True:
            if (answer := self._answer(end)) is not None:
                break
            if self.epoch != epoch:
                while self._answer(end) is None:    # it is still owed to us
                    pass
                raise Stopped
        self._take_messages()       # a grant was sent before the answer
        if self.epoch != epoch:
            raise Stopped
        if answer:
            self.refused_misses.append((bus, permission))
        return not answer

    def _answer(self, end):
        """The reply to a miss, or None when something else has come."""
        if (message := self.back.take()) is not None:
            if len(message.payload) != 8 or not message.flags & REPLY:
                self.wrong("PLT-9: a malformed reply on the back end's channel")
            return message.u64
        ready = self._poll([self.main.fileno(), self.back.fileno(), self.wake_in], max(0.0, end - time.monotonic()))
        if self.wake_in in ready:
            raise Closed
        if not ready:
            self.wrong("PLT-11: a miss was never answered")
            return 1
        if self.main.fileno() in ready:
            self._take_messages()
        return None
