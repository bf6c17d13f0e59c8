# SPDX-License-Identifier: BSD-3-Clause
"""A disk image whose answers the test decides: held, failed, or full.

How it works
  A file system of one file, "disk", spoken over /dev/fuse by a thread of the
  test process (no library, no helper program; needs root and /dev/fuse). Reads,
  writes and fsyncs of the file go to that thread, which may keep them: that is
  how an I/O is IN FLIGHT for as long as a test wants, the same for io_uring and
  for threads. Only the program under test may touch the mount: the test
  process itself would wait for itself.
"""
import ctypes
import errno
import os
import select
import struct
import threading
import time

from vhost_user import PATIENCE, NoAnswer

LOOKUP, GETATTR, SETATTR, OPEN, READ, WRITE, STATFS, RELEASE, FSYNC = 1, 3, 4, 14, 15, 16, 17, 18, 20
FLUSH, INIT, ACCESS, FALLOCATE, FORGET, INTERRUPT, BATCH_FORGET, IOCTL = 25, 26, 34, 43, 2, 36, 42, 39
IN_HEADER = struct.Struct("<IIQQIIII")
DIRECT_IO = 1
_libc = ctypes.CDLL(None, use_errno=True)


class SlowDisk:
    """`data` is the image; hold(kind) keeps every later request of that kind until release()."""

    def __init__(self, directory, data):
        self.directory, self.data = directory, bytearray(data)
        self.path = os.path.join(directory, "disk")
        os.makedirs(directory, exist_ok=True)
        self.fuse = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        options = f"fd={self.fuse},rootmode=40000,user_id={os.getuid()},group_id={os.getgid()},allow_other"
        if _libc.mount(b"viodma-test", directory.encode(), b"fuse.viodma-test", 0, options.encode()):
            os.close(self.fuse)
            raise OSError(ctypes.get_errno(), "mounting the test's file system")
        self.lock = threading.Condition()
        self.held_kinds = set()
        self.held = []              # (kind, unique, finish)
        self.fail = {}              # kind → errno
        self.fallocates = False     # no holes, no zero ranges
        self.seen = []              # (kind, offset, length) of every read, write, fsync, fallocate
        self.stop = os.eventfd(0, os.EFD_CLOEXEC)
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    # -- what a test says -----------------------------------------------------------
    def hold(self, *kinds):
        """Kinds: "read", "write", "fsync", "fallocate"."""
        with self.lock:
            self.held_kinds |= set(kinds)

    def release(self, count=None):
        """Finishes held requests, oldest first; without a count all, and holds no more."""
        with self.lock:
            if count is None:
                self.held_kinds.clear()
            now, self.held = (self.held, []) if count is None else (self.held[:count], self.held[count:])
        for _, unique, finish in now:
            self._answer(unique, *finish())

    def wait_held(self, count=1, timeout=PATIENCE):
        end = time.monotonic() + timeout
        while len(self.held) < count:
            if time.monotonic() > end:
                raise NoAnswer(f"the back end brought {len(self.held)} I/O requests to the disk, not {count}")
            time.sleep(0.002)

    def close(self):
        self.release()
        _libc.umount2(self.directory.encode(), 2)       # detach
        os.eventfd_write(self.stop, 1)
        self.thread.join(PATIENCE)
        os.close(self.fuse)
        os.close(self.stop)

    # -- the file system --------------------------------------------------------------
    def _answer(self, unique, error=0, payload=b""):
        try:
            os.write(self.fuse, struct.pack("<IiQ", 16 + len(payload), -error, unique) + payload)
        except OSError:
            pass                    # its process is gone, or the mount is

    def _serve(self):
        poll = select.poll()
        poll.register(self.fuse, select.POLLIN)
        poll.register(self.stop, select.POLLIN)
        while True:
            ready = dict(poll.poll())
            if self.stop in ready:
                return
            try:
                message = os.read(self.fuse, (1 << 20) + 8192)
            except OSError as error:
                if error.errno in (errno.EINTR, errno.ENOENT, errno.EAGAIN):
                    continue
                return
            self._handle(message)

    def _attributes(self, node):
        root = node == 1
        size = 0 if root else len(self.data)
        mode = 0o040755 if root else 0o100666
        return struct.pack("<QQQQQQIIIIIIIIII", node, size, (size + 511) // 512, 0, 0, 0, 0, 0, 0,
                           mode, 1, os.getuid(), os.getgid(), 0, 4096, 0)

    def _handle(self, message):
        _, opcode, unique, node, _, _, _, _ = IN_HEADER.unpack_from(message)
        body = message[IN_HEADER.size:]
        if opcode == INIT:
            _, minor, readahead, flags = struct.unpack_from("<IIII", body)
            wanted = flags & (1 << 0 | 1 << 5 | 1 << 15)    # async reads, big writes, async direct I/O
            self._answer(unique, 0, struct.pack("<IIIIHHIIHHIII", 7, min(minor, 31), readahead, wanted, 16, 12,
                                                1 << 20, 1, 256, 0, 0, 0, 0) + bytes(20))
        elif opcode == LOOKUP:
            if body.rstrip(b"\0") == b"disk":
                self._answer(unique, 0, struct.pack("<QQQQII", 2, 0, 0, 0, 0, 0) + self._attributes(2))
            else:
                self._answer(unique, errno.ENOENT)
        elif opcode in (GETATTR, SETATTR):
            self._answer(unique, 0, struct.pack("<QII", 0, 0, 0) + self._attributes(node))
        elif opcode == OPEN:
            self._answer(unique, 0, struct.pack("<QII", 1, DIRECT_IO, 0))
        elif opcode == READ:
            _, offset, size = struct.unpack_from("<QQI", body)
            self._io("read", unique, offset, size, lambda: (0, bytes(self.data[offset:offset + size])))
        elif opcode == WRITE:
            _, offset, size = struct.unpack_from("<QQI", body)
            payload = body[40:40 + size]

            def write():
                self.data[offset:offset + size] = payload
                return 0, struct.pack("<II", size, 0)
            self._io("write", unique, offset, size, write)
        elif opcode == FALLOCATE and self.fallocates:
            _, offset, size = struct.unpack_from("<QQQ", body)

            def zero():
                self.data[offset:offset + size] = bytes(size)
                return 0, b""
            self._io("fallocate", unique, offset, size, zero)
        elif opcode == FSYNC:
            self._io("fsync", unique, 0, 0, lambda: (0, b""))
        elif opcode == STATFS:
            self._answer(unique, 0, struct.pack("<QQQQQIIII", 1 << 20, 1 << 20, 1 << 20, 10, 10, 4096, 255, 4096, 0) + bytes(24))
        elif opcode in (RELEASE, FLUSH, ACCESS):
            self._answer(unique)
        elif opcode not in (FORGET, BATCH_FORGET, INTERRUPT):
            self._answer(unique, errno.ENOSYS)

    def _io(self, kind, unique, offset, size, do):
        def finish():
            return (self.fail[kind],) if kind in self.fail else do()
        with self.lock:
            self.seen.append((kind, offset, size))
            if kind in self.held_kinds:
                self.held.append((kind, unique, finish))
                return
        self._answer(unique, *finish())


def available(directory):
    """Why this machine has no slow disk, or None."""
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        return "/dev/fuse is not accessible"
    try:
        SlowDisk(directory, bytes(4096)).close()
    except OSError as error:
        return str(error)
    return None
