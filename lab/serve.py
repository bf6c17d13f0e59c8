# SPDX-License-Identifier: BSD-3-Clause
"""Run `viodma serve blk` for one disk: start, statistics, test requests, stop.

How it works
    The program logs to serve.log; it is ready when it says "listening on". Statistics are asked for with SIGUSR1 and
    read when the file has been replaced (it is replaced as a whole, so a new inode or time is enough). The test build's
    socket takes "stray-read ADDR LEN" and answers one line. All paths a Unix socket needs live in a short temporary
    directory, since such a path may have 107 bytes at most.
"""
from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import typing

from .vm import LabError, die_with_parent

Json = dict[str, typing.Any]


@dataclasses.dataclass(frozen=True)
class Stray:
    """The answer to a test request of the device half's own: "read", "written" or "refused"."""

    outcome: str
    data: bytes = b""
    requirement: str = ""
    address: int = 0
    length: int = 0
    reason: str = ""

    @property
    def refused(self) -> bool:
        """Whether the access was turned down with a requirement id."""
        return self.outcome == "refused"

    def __str__(self) -> str:
        if self.refused:
            return f"refused {self.requirement} at {self.address:#x}"
        return self.outcome

    @staticmethod
    def parse(line: str, address: int, length: int) -> "Stray":
        """Take one answer apart."""
        words = line.split(None, 3)
        if len(words) >= 2 and words[0] == "read":
            return Stray("read", data=bytes.fromhex(words[1]), address=address, length=length)
        if words and words[0] == "written":
            return Stray("written", address=address, length=length)
        if len(words) >= 2 and words[0] == "refused":
            try:
                named = int(words[2], 0)
            except (IndexError, ValueError):
                named = address
            return Stray("refused", requirement=words[1], address=named, length=length,
                         reason=words[3] if len(words) > 3 else "")
        return Stray("error", address=address, length=length, reason=line)


class Serve:
    """One `viodma serve blk` process; use it as a context manager."""

    def __init__(self, program: pathlib.Path, image: pathlib.Path, directory: pathlib.Path, *, blk_size: int = 512,
                 policy: str = "offer", queues: int = 1, mutant: str = "", trace: bool = False, test_socket: bool = True) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.sockets = pathlib.Path(tempfile.mkdtemp(prefix="viodma-lab-"))
        self.socket = self.sockets / "disk"
        self.test_path = self.sockets / "test"
        self.stats_path = directory / "stats.json"
        self.trace_path = directory / "trace.json"
        self.log = directory / "serve.log"
        self.command = [str(program), "serve", "blk", "--socket-path", str(self.socket), "--blk-file", str(image),
                        "--blk-size", str(blk_size), "--num-queues", str(queues), f"--platform-dma={policy}", "--serial", "viodma-lab",
                        "--stats-json", str(self.stats_path)]
        if test_socket:
            self.command += ["--test-socket", str(self.test_path)]
        if trace:
            self.command += ["--trace-json", str(self.trace_path)]
        self.environment = {**os.environ, **({"VIODMA_MUTANT": mutant} if mutant else {})}
        if not mutant:
            self.environment.pop("VIODMA_MUTANT", None)
        self.child: subprocess.Popen[bytes] | None = None
        self.exit_status: int | None = None
        (directory / "serve.command").write_text((f"VIODMA_MUTANT={mutant} " if mutant else "") +
                                                 shlex.join(self.command) + "\n")

    def __enter__(self) -> "Serve":
        self.stats_path.unlink(missing_ok=True)
        with open(self.log, "wb") as log:
            self.child = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                          env=self.environment, preexec_fn=die_with_parent)
        deadline = time.monotonic() + 15
        while "listening on" not in self.log_text():
            if self.child.poll() is not None or time.monotonic() > deadline:
                text = self.log_text().strip()
                self.stop()
                raise LabError(f"viodma serve did not get ready: {text[-400:]} (see {self.log})")
            time.sleep(0.02)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def log_text(self) -> str:
        """What the program logged so far."""
        try:
            return self.log.read_text(errors="replace")
        except OSError:
            return ""

    def running(self) -> bool:
        """Whether the process is still there."""
        return self.child is not None and self.child.poll() is None

    def stop(self) -> int | None:
        """SIGTERM, then SIGKILL after ten seconds; returns the exit status."""
        if self.child is not None and self.exit_status is None:
            if self.child.poll() is None:
                self.child.terminate()
            try:
                self.exit_status = self.child.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()
                self.exit_status = -signal.SIGKILL
        shutil.rmtree(self.sockets, ignore_errors=True)
        return self.exit_status

    def _stamp(self) -> tuple[int, int] | None:
        """What changes when the statistics file is replaced."""
        try:
            status = self.stats_path.stat()
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns

    def device(self, refresh: bool = True) -> Json:
        """The statistics of the one device served; refresh=False reads what was written at exit."""
        if refresh and self.running():
            assert self.child is not None
            before = self._stamp()
            self.child.send_signal(signal.SIGUSR1)
            deadline = time.monotonic() + 10
            while self._stamp() in (before, None):
                if time.monotonic() > deadline or not self.running():
                    raise LabError(f"no statistics after SIGUSR1 (see {self.log})")
                time.sleep(0.01)
        try:
            return typing.cast(Json, json.loads(self.stats_path.read_text())["devices"][0])
        except (OSError, ValueError, LookupError) as error:
            raise LabError(f"{self.stats_path}: {error}") from error

    def stray(self, address: int, length: int, verb: str = "stray-read", timeout: float = 10) -> Stray:
        """Have the device half attempt an access of its own at a bus address, through core/space."""
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(timeout)
                connection.connect(str(self.test_path))
                connection.sendall(f"{verb} {address:#x} {length}\n".encode())
                with connection.makefile("rb") as stream:
                    return Stray.parse(stream.readline().decode(errors="replace").strip(), address, length)
        except OSError as error:
            return Stray("error", address=address, length=length, reason=f"test socket: {error}")


def sessions(device: Json) -> list[Json]:
    """The device's sessions: each driver's use of the queue, firmware and kernels alike, oldest first."""
    return list(device.get("sessions", []))


def trace_events(path: pathlib.Path) -> list[Json]:
    """The lines of --trace-json that are whole (the last may have been cut off by a kill)."""
    events = []
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            for line in stream:
                try:
                    events.append(json.loads(line))
                except ValueError:
                    continue
    except OSError:
        pass
    return events
