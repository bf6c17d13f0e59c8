# SPDX-License-Identifier: BSD-3-Clause
"""Back ends that are none, or not for long.

How it works: a thread for each connection; it reads messages, answers each as a back end without a device would, and at
the one it was told to misbehave at does that instead. No request is ever used.
"""
import array
import contextlib
import os
import socket
import struct
import threading
import time

GET_FEATURES, SET_FEATURES, SET_OWNER, GET_VRING_BASE = 1, 2, 3, 11
GET_PROTOCOL_FEATURES, SET_PROTOCOL_FEATURES, GET_QUEUE_NUM, SET_BACKEND_REQ_FD = 15, 16, 17, 21
VERSION, REPLY, NEED_REPLY = 1, 4, 8
OFFERED = 1 << 33 | 1 << 32 | 1 << 30
PROTOCOL = 1 << 0 | 1 << 3 | 1 << 5
GREETING = 5                    # messages of it: to GET_QUEUE_NUM
IOTLB_MISS = struct.pack("<QQQBB6x", 0xdead000, 0, 0, 3, 1)


class Ended(Exception):
    """The other side has gone, or we are to."""


class Connection:
    """One of them: messages in, answers out."""

    def __init__(self, sock, stop):
        self.sock, self.stop, self.read, self.channel = sock, stop, 0, None
        sock.settimeout(0.05)

    def take(self, count):
        data = b""
        while len(data) < count:
            try:
                got, control, _flags, _address = self.sock.recvmsg(count - len(data), 1024)
            except TimeoutError:
                if self.stop.is_set():
                    raise Ended from None
                continue
            if not got:
                raise Ended
            data += got
            for _level, _kind, fds in control:
                self.keep(array.array("i", fds[:len(fds) // 4 * 4]))
        return data

    def keep(self, fds):
        for fd in fds:
            if self.last_fd is not None:
                os.close(self.last_fd)
            self.last_fd = fd

    last_fd = None

    def message(self):
        """Its request, its flags, its payload."""
        request, flags, size = struct.unpack("<III", self.take(12))
        payload = self.take(size)
        if request == SET_BACKEND_REQ_FD and self.last_fd is not None:
            self.channel = socket.socket(fileno=self.last_fd)
            self.last_fd = None
        return request, flags, payload

    def answer(self, request, flags, payload):
        """What a back end answers to it, or None."""
        word = {GET_FEATURES: OFFERED, GET_PROTOCOL_FEATURES: PROTOCOL, GET_QUEUE_NUM: 1}.get(request)
        if word is None and request == GET_VRING_BASE:
            return struct.pack("<III", request, VERSION | REPLY, 8) + payload[:4] + bytes(4)
        if word is None:
            word = 0 if flags & NEED_REPLY else None
        return None if word is None else struct.pack("<IIIQ", request, VERSION | REPLY, 8, word)

    def wait_for_the_end(self):
        while True:
            self.take(1)

    def close(self):
        for each in (self.sock, self.channel):
            if each:
                each.close()
        if self.last_fd is not None:
            os.close(self.last_fd)


def serve(connection, misbehave, at):
    """misbehave(connection, answer) instead of the answer to the message at that place, and to all after it."""
    while True:
        reply = connection.answer(*connection.message())
        if connection.read >= at:
            misbehave(connection, reply)
        elif reply:
            connection.sock.sendall(reply)
        connection.read += 1


@contextlib.contextmanager
def listening(path, misbehave, at=0, connections=None):
    """A back end there, until the end; after so many connections nobody listens any more."""
    stop, listener = threading.Event(), socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen(1)
    listener.settimeout(0.05)
    threads = []

    def one(sock):
        connection = Connection(sock, stop)
        with contextlib.suppress(Ended, OSError):
            serve(connection, misbehave, at)
        connection.close()

    def accept():
        served = 0
        while not stop.is_set() and served != connections:
            with contextlib.suppress(TimeoutError):
                threads.append(threading.Thread(target=one, args=(listener.accept()[0],)))
                threads[-1].start()
                served += 1
        listener.close()

    accepting = threading.Thread(target=accept)
    accepting.start()
    try:
        yield path
    finally:
        stop.set()
        accepting.join()
        for each in threads:
            each.join()


# ---- how it misbehaves ----

def is_silent(connection, _answer):
    connection.wait_for_the_end()


def closes(_connection, _answer):
    raise Ended


def sends(data):
    def misbehave(connection, _answer):
        connection.sock.sendall(data)
        connection.wait_for_the_end()
    return misbehave


def sends_and_closes(data):
    def misbehave(connection, _answer):
        connection.sock.sendall(data)
        raise Ended
    return misbehave


def adds_descriptors(connection, answer):
    """As many as fit."""
    if answer:
        fds = array.array("i", [connection.sock.fileno()] * 253)
        connection.sock.sendmsg([answer], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])


def is_slow(connection, answer):
    """A byte in 40 ms."""
    for at in range(len(answer or b"")):
        time.sleep(0.04)
        connection.sock.sendall(answer[at:at + 1])


def floods(message):
    """On the channel, once there is one; answers go on."""
    def misbehave(connection, answer):
        if answer:
            connection.sock.sendall(answer)
        if connection.channel is None:
            return
        connection.channel.setblocking(False)
        connection.sock.settimeout(0)
        while not connection.stop.is_set():
            with contextlib.suppress(BlockingIOError):
                connection.channel.send(message * 64)
            try:
                request = connection.message()
            except BlockingIOError:
                continue
            answer = connection.answer(*request)
            if answer:
                connection.sock.sendall(answer)
    return misbehave


def miss(flags=0):
    return struct.pack("<III", 1, VERSION | flags, len(IOTLB_MISS)) + IOTLB_MISS
