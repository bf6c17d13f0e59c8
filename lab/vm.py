# SPDX-License-Identifier: BSD-3-Clause
"""Run one guest: start QEMU, follow the serial console, answer the guest's waits, and never leave a process behind.

How it works
    Guest.run() starts QEMU with the console on its standard input and output and reads "LAB:" lines until the guest
    powers off, panics, QEMU ends, or the hard time-out is over. Where the guest waits ("LAB: at POINT"), the function
    given for that point is called and what it returns is sent as one line. QMP, on a Unix socket, counts resets and
    shutdowns and saves pieces of physical memory. Serial output is kept in serial.log, QEMU's messages in qemu.log.

    A child gets a parent-death signal, and close() kills it in every case: an exception in a test cannot orphan it.

    find_secret() looks for a planted page in the guest's physical memory, private memory included, since it asks
    QEMU itself (pmemsave) and not the shared file. A hit counts only at the start of a page.
"""
from __future__ import annotations

import collections.abc
import contextlib
import ctypes
import dataclasses
import json
import os
import pathlib
import select
import shlex
import signal
import socket
import subprocess
import time
import typing

from . import assets, initramfs, machine as machine_module
from .machine import MIB, Disk, Machine

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)


def die_with_parent() -> None:
    """For preexec_fn: the child is killed when the process that started it ends."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class LabError(RuntimeError):
    """The lab itself did not work (as opposed to what is under test); the message names the log to read."""


class Qmp:
    """QEMU's machine protocol, synchronous; events are kept as they pass."""

    def __init__(self, path: pathlib.Path, deadline: float) -> None:
        self.events: list[str] = []
        self.buffer = b""
        while True:
            self.socket = socket.socket(socket.AF_UNIX)
            try:
                self.socket.connect(str(path))
                break
            except OSError as error:
                self.socket.close()
                if time.monotonic() > deadline:
                    raise LabError(f"QEMU did not open {path}: {error}") from error
                time.sleep(0.05)
        self._message(10)
        self.command("qmp_capabilities")

    def _message(self, timeout: float) -> dict[str, typing.Any] | None:
        """The next message, or None at the end of the connection."""
        self.socket.settimeout(timeout)
        while b"\n" not in self.buffer:
            data = self.socket.recv(65536)
            if not data:
                return None
            self.buffer += data
        line, self.buffer = self.buffer.split(b"\n", 1)
        message = typing.cast(dict[str, typing.Any], json.loads(line))
        if "event" in message:
            self.events.append(message["event"])
        return message

    def command(self, name: str, timeout: float = 60, **arguments: typing.Any) -> typing.Any:
        """Carry out one command and return its result."""
        self.socket.settimeout(timeout)
        self.socket.sendall(json.dumps({"execute": name, "arguments": arguments}).encode() + b"\n")
        while True:
            message = self._message(timeout)
            if message is None:
                raise LabError(f"QEMU closed its QMP connection during {name}")
            if "error" in message:
                raise LabError(f"QMP {name}: {message['error'].get('desc')}")
            if "return" in message:
                return message["return"]

    def poll(self) -> None:
        """Take in events that have arrived; never waits."""
        try:
            while True:
                if self._message(0.0) is None:
                    return
        except (BlockingIOError, TimeoutError, OSError):
            return

    def close(self) -> None:
        """Give the connection up."""
        self.socket.close()


@dataclasses.dataclass
class GuestResult:
    """What one guest said and how it ended."""

    ended: str = "not run"  # "off", "failed", "panic", "timeout", "qemu"
    values: dict[str, str] = dataclasses.field(default_factory=dict)
    lists: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    points: list[str] = dataclasses.field(default_factory=list)
    seconds: float = 0.0
    resets: int = 0
    pauses: int = 0
    log: pathlib.Path = pathlib.Path()

    def bit(self, number: int) -> bool:
        """Whether the guest's driver accepted a feature bit."""
        features = self.values.get("features", "")
        return len(features) > number and features[number] == "1"


class Guest:
    """One QEMU process and its guest; use it as a context manager."""

    def __init__(self, machine: Machine, scenario: initramfs.Scenario, disk: Disk, directory: pathlib.Path) -> None:
        self.machine = machine
        self.directory = directory
        self.result = GuestResult(log=directory / "serial.log")
        directory.mkdir(parents=True, exist_ok=True)
        material = assets.get(machine.arch)
        image = initramfs.build(material, scenario, directory / "initramfs.cpio")
        # A Unix socket's path may have 107 bytes at most; the run directory can be anywhere.
        self.qmp_path = pathlib.Path(f"/tmp/viodma-lab-{os.getpid()}-{id(self):x}.qmp")
        self.command = machine_module.command(machine, material, image, disk, self.qmp_path)
        (directory / "command").write_text(shlex.join(self.command) + "\n")
        self.child: subprocess.Popen[bytes] | None = None
        self.qmp: Qmp | None = None
        self.observer: collections.abc.Callable[[str, str], None] | None = None  # sees each key and value as it comes
        self.pause_every = 0.0  # seconds; 0: the machine is never paused
        self._paused_at = time.monotonic()
        self.hopeless: collections.abc.Callable[[], bool] | None = None  # true when waiting for the guest is no use

    def __enter__(self) -> "Guest":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Kill QEMU if it still runs, and take its sockets away."""
        if self.qmp is not None:
            self.qmp.close()
            self.qmp = None
        if self.child is not None:
            if self.child.poll() is None:
                self.child.kill()
            self.child.wait()
            for pipe in (self.child.stdin, self.child.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()
        self.qmp_path.unlink(missing_ok=True)

    def run(self, timeout: float,
            at: collections.abc.Mapping[str, collections.abc.Callable[["Guest"], str]] | None = None) -> GuestResult:
        """Start the guest and follow it to its end; the result says which end that was."""
        started = time.monotonic()
        deadline = started + timeout
        with open(self.directory / "qemu.log", "wb") as messages, open(self.result.log, "wb", buffering=0) as serial:
            self.child = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=messages,
                                          preexec_fn=die_with_parent)
            self.qmp = connect_qmp(self.qmp_path, self.child)
            self._follow(deadline, serial, at or {})
        if self.qmp is not None:
            self.qmp.poll()
            self.result.resets = self.qmp.events.count("RESET")  # the one at power-on and SLOF's own included
        self.result.seconds = time.monotonic() - started
        self.close()
        return self.result

    def _follow(self, deadline: float, serial: typing.BinaryIO,
                at: collections.abc.Mapping[str, collections.abc.Callable[["Guest"], str]]) -> None:
        """Read the console until something ends it."""
        assert self.child is not None and self.child.stdout is not None
        output = self.child.stdout.fileno()
        pending = b""
        failed_until = 0.0
        while True:
            # A guest that said why it failed, or whose disk is broken for good, may not even be able to power off.
            if "failed" in self.result.values or (self.hopeless is not None and self.hopeless()):
                deadline = min(deadline, failed_until := failed_until or time.monotonic() + 5)
            left = deadline - time.monotonic()
            if left <= 0:
                self.result.ended = "failed" if "failed" in self.result.values else "timeout"
                return
            ready, _, _ = select.select([output], [], [], min(left, 0.05 if self.pause_every else 0.5))
            if self.qmp is not None:
                self.qmp.poll()
            self._pause()
            if not ready:
                continue
            data = os.read(output, 65536)
            if not data:
                self.child.wait()
                self.result.ended = "off" if self.child.returncode == 0 and "end" in self.result.values else "qemu"
                return
            serial.write(data)
            pending += data
            *lines, pending = pending.split(b"\n")
            for line in lines:
                text = line.decode("utf-8", "replace").strip("\r\0 ")
                if "Kernel panic - not syncing" in text:
                    self.result.ended = "panic"
                    return
                self._line(text, at)

    def _pause(self) -> None:
        """Stop the machine for a moment, and its devices with it, if it is time to."""
        running = "init" in self.result.values and "end" not in self.result.values
        if not self.pause_every or self.qmp is None or not running:
            return
        if time.monotonic() - self._paused_at > self.pause_every:
            self.qmp.command("stop")
            time.sleep(0.02)
            self.qmp.command("cont")
            self.result.pauses += 1
            self._paused_at = time.monotonic()

    def _line(self, text: str, at: collections.abc.Mapping[str, collections.abc.Callable[["Guest"], str]]) -> None:
        """Take in one line of the console."""
        _, found, rest = text.partition("LAB: ")
        if not found:
            return
        if rest.startswith("at "):
            point = rest[3:]
            self.result.points.append(point)
            answer = at[point](self) if point in at else "go"
            self.send(answer)
            return
        key, found, value = rest.partition("=")
        if found:
            self.result.values[key] = value
            self.result.lists.setdefault(key, []).append(value)
            if self.observer is not None:
                self.observer(key, value)

    def send(self, line: str) -> None:
        """Send one line to the guest's console, slowly enough for the smallest serial port."""
        assert self.child is not None and self.child.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.child.stdin.write(line.encode() + b"\n")
            self.child.stdin.flush()

    def find_secret(self, page: bytes) -> int:
        """The physical address of the page that begins with these bytes; exactly one must be there."""
        assert self.qmp is not None
        step = 64 * MIB
        hits: list[int] = []
        scratch = self.directory / "memory.part"
        try:
            for base in range(self.machine.ram_base, self.machine.ram_base + self.machine.ram_bytes, step):
                length = min(step, self.machine.ram_base + self.machine.ram_bytes - base)
                self.qmp.command("pmemsave", val=base, size=length, filename=str(scratch))
                data = scratch.read_bytes()
                at = data.find(page)
                while at >= 0:
                    if (base + at) % 4096 == 0:
                        hits.append(base + at)
                    at = data.find(page, at + 1)
        finally:
            scratch.unlink(missing_ok=True)
        if len(hits) != 1:
            raise LabError(f"the planted page was found {len(hits)} times in the guest's memory, not once")
        return hits[0]


def connect_qmp(path: pathlib.Path, child: subprocess.Popen[bytes]) -> Qmp | None:
    """A QMP connection, or None if QEMU ended before it opened one (its log says why)."""
    deadline = time.monotonic() + 15
    while not path.exists():
        if child.poll() is not None or time.monotonic() > deadline:
            return None
        time.sleep(0.02)
    try:
        return Qmp(path, deadline)
    except (LabError, OSError):
        return None
