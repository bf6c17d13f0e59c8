# SPDX-License-Identifier: BSD-3-Clause
"""The programs under test: viodma (VIODMA, VIODMA_TEST_BUILD) and QEMU's storage daemon.

How it works
  Serve starts `viodma serve blk`, keeps its standard error in a file, and
  knows how to ask for statistics and to count descriptors. finish() is where
  every test's last questions are put: is the process alive, did its descriptor
  count go back to what it was, is the statistics file whole JSON, does SIGTERM
  end it with 0, did a sanitizer say anything.
"""
import json
import os
import re
import shutil
import signal
import subprocess
import time

import pytest

import vhost_user as vu
from vhost_user import Violation, must

HERE = os.path.dirname(os.path.abspath(__file__))
BUILD = os.path.join(os.path.dirname(os.path.dirname(HERE)), "build")
VIODMA = os.environ.get("VIODMA", os.path.join(BUILD, "viodma"))
VIODMA_TEST_BUILD = os.environ.get("VIODMA_TEST_BUILD", os.path.join(BUILD, "viodma-test"))
WORKERS = os.environ.get("VIODMA_WORKERS")  # every disk that does not say how many is served by so many threads
START_PATIENCE = 10 * vu.SCALE
SANITIZER = re.compile(r"AddressSanitizer|LeakSanitizer|ThreadSanitizer|runtime error:|UndefinedBehaviorSanitizer")


class NotStarted(Exception):
    """The program did not come up: the test could not run, which is not a Violation."""


def needs(binary):
    """Skips a test whose program is not built; fails it where VIODMA_REQUIRED is set."""
    if not os.access(binary, os.X_OK):
        if os.environ.get("VIODMA_REQUIRED"):
            pytest.fail(f"{binary} is not built")
        pytest.skip(f"not run: {binary} is not built")


class Program:
    """A back-end process: its log, its descriptors, its end."""

    def __init__(self, argv, tmp, name, pass_fds=(), env=None, limits=None):
        self.argv, self.log_path = argv, os.path.join(tmp, f"{name}.log")
        self.tmp = tmp
        with open(self.log_path, "wb") as log:
            try:
                self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log,
                                                pass_fds=pass_fds, env={**os.environ, **(env or {})},
                                                preexec_fn=limits)
            except OSError as error:
                raise NotStarted(f"{argv[0]}: {error}") from error
        self.baseline = None
        self.last_log = ""
        self.patience = vu.PATIENCE

    @property
    def pid(self):
        return self.process.pid

    def log(self):
        """Its standard error so far; what it was, once the test's directory is gone."""
        try:
            with open(self.log_path, errors="replace") as log:
                self.last_log = log.read()
        except FileNotFoundError:
            pass
        return self.last_log

    def alive(self):
        return self.process.poll() is None

    def must_live(self):
        must(self.alive(), f"the process ended with {self.process.returncode}; its log ends: {self.log()[-2000:]}")

    def wait_for(self, condition, what, timeout):
        end = time.monotonic() + timeout
        while not condition():
            if not self.alive():
                raise NotStarted(f"{what}: the process ended with {self.process.returncode}: {self.log()[-2000:]}")
            if time.monotonic() > end:
                raise NotStarted(f"{what}: not within {timeout:.0f} s: {self.log()[-2000:]}")
            time.sleep(0.005)

    def fd_links(self):
        links = []
        for fd in os.listdir(f"/proc/{self.pid}/fd"):
            try:
                links.append((int(fd), os.readlink(f"/proc/{self.pid}/fd/{fd}")))
            except OSError:
                pass
        return sorted(links)

    def settle(self):
        """Remembers the descriptors a process with no connection holds."""
        self.baseline = self.fd_links()

    def must_hold_no_more_fds(self, timeout=vu.PATIENCE):
        end = time.monotonic() + timeout
        while True:
            self.must_live()
            now = self.fd_links()
            if len(now) <= len(self.baseline):
                return
            if time.monotonic() > end:
                old = [link for _, link in self.baseline]
                more = [link for _, link in now if not (link in old and old.remove(link) is None)]
                raise Violation(f"{len(self.baseline)} descriptors before any connection, {len(now)} after the last: "
                                f"too many are {more[:10]}")
            time.sleep(0.01)

    def must_map_no_memory(self, timeout=vu.PATIENCE):
        """The driver's memory is unmapped once its connection has ended, and the I/O into it."""
        end = time.monotonic() + timeout
        while True:
            with open(f"/proc/{self.pid}/maps") as maps:
                mapped = sum("memfd:driver-memory" in line for line in maps)
            if not mapped:
                return
            must(time.monotonic() < end, f"{mapped} mappings of a closed connection's memory are left")
            time.sleep(0.01)

    def expect_log(self, pattern, timeout=None, since=0, pump=None):
        """The log must hold a line that matches (case aside). pump: a front end that goes on answering meanwhile."""
        end = time.monotonic() + min(timeout or self.patience, self.patience)
        while not re.search(pattern, self.log()[since:], re.I):
            if time.monotonic() > end or not self.alive():
                raise Violation(f"no log line matches /{pattern}/; the log ends:\n{self.log()[since:][-1500:]}")
            if pump is None:
                time.sleep(0.005)
            else:
                pump.pump(0.005)

    def kill(self):
        if self.alive():
            self.process.kill()
        self.process.wait()
        self.log()

    def terminate(self, timeout=vu.PATIENCE):
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise Violation(f"SIGTERM did not end the process within {timeout:.1f} s; its log ends:\n"
                            f"{self.log()[-1500:]}") from None


class Serve(Program):
    """`viodma serve blk` over one or several images; `serve rng` over one or several sources."""
    FILE = {"blk": ("--blk-file", "file"), "rng": ("--rng-source", "source")}

    def __init__(self, tmp, images, options=(), mutant=None, test_build=False, name="serve", fd=None,
                 device_options="", env=None, limits=None, per_device=None, kind="blk", program=None):
        binary = program or (VIODMA_TEST_BUILD if mutant or test_build else VIODMA)
        self.images = images
        self.sockets = [os.path.join(tmp, f"{name}{i}.sock") for i in range(len(images))]
        self.stats_path = os.path.join(tmp, f"{name}.stats.json")
        argv = [binary, "serve", kind, f"--stats-json={self.stats_path}"]
        option, part = self.FILE[kind]
        if fd is not None:
            argv += [f"--fd={fd}", f"{option}={images[0]}"]
        elif len(images) == 1 and per_device is None:
            argv += [f"--socket-path={self.sockets[0]}", f"{option}={images[0]}"]
        else:
            for i, (path, image) in enumerate(zip(self.sockets, images)):
                extra = (per_device or [""] * len(images))[i]
                argv += ["--device", f"{kind},path={path},{part}={image}{extra}"]
        argv += list(options)
        if WORKERS and kind == "blk" and not any("workers" in word for word in argv):
            argv.append(f"--workers={WORKERS}")
            if not any("num-queues" in word for word in argv):
                argv.append(f"--num-queues={WORKERS}")      # there are no more workers than queues
        env = dict(env or {})
        if mutant:
            env["VIODMA_MUTANT"] = mutant
        super().__init__(argv, tmp, name, pass_fds=() if fd is None else (fd,), env=env, limits=limits)
        if mutant:
            self.patience = vu.IMPATIENCE       # what a mutant leaves out is not waited for as long
        if fd is None:
            for path in self.sockets:
                self.wait_for(lambda: f"listening on {path}" in self.log(), "the line 'listening on'", START_PATIENCE)
            for option in options:
                if option.startswith("--test-socket="):
                    self.wait_for(lambda: os.path.exists(option.partition("=")[2]), "its test socket", START_PATIENCE)
            self.settle()

    @property
    def path(self):
        return self.sockets[0]

    def stats(self, timeout=vu.PATIENCE):
        """Sends SIGUSR1 and reads the file that replaces the old one."""
        def stamp():
            try:
                found = os.stat(self.stats_path)
                return found.st_ino, found.st_mtime_ns
            except FileNotFoundError:
                return None
        before = stamp()
        self.process.send_signal(signal.SIGUSR1)
        end = time.monotonic() + timeout
        while stamp() == before:
            self.must_live()
            must(time.monotonic() < end, "SIGUSR1 wrote no statistics")
            time.sleep(0.005)
        return self.read_stats()

    def read_stats(self):
        with open(self.stats_path) as file:
            try:
                return json.load(file)
            except ValueError as error:
                raise Violation(f"the statistics are not JSON: {error}") from error

    def device_stats(self, index=0):
        return self.stats()["devices"][index]

    def finish(self):
        """The questions every test ends with."""
        try:
            self.must_live()
            if self.baseline is not None:
                self.must_hold_no_more_fds()
                self.must_map_no_memory()
                self.stats()
            code = self.terminate()
            must(code == 0, f"SIGTERM ended the process with {code}; its log ends:\n{self.log()[-1500:]}")
            self.read_stats()
        finally:
            self.kill()
            said = SANITIZER.search(self.log())
        must(not said, f"a sanitizer reported: {self.log()[said.start():][:3000] if said else ''}")


class StorageDaemon(Program):
    """QEMU's storage daemon with a vhost-user-blk export: a third party's back end without IOTLB."""

    def __init__(self, tmp, image, writable=True, name="qsd", queues=1):
        self.path = os.path.join(tmp, f"{name}.sock")
        if not shutil.which("qemu-storage-daemon"):
            pytest.fail("qemu-storage-daemon is not installed: scripts/packages qemu-system-common")
        super().__init__(["qemu-storage-daemon",
                          "--blockdev", f"driver=file,node-name=file0,filename={image},cache.direct=off",
                          "--blockdev", "driver=raw,node-name=disk0,file=file0",
                          "--export", "type=vhost-user-blk,id=e0,node-name=disk0,"
                          f"addr.type=unix,addr.path={self.path},writable={'on' if writable else 'off'},"
                          f"num-queues={queues}"],
                         tmp, name)
        self.wait_for(lambda: os.path.exists(self.path), "its socket", START_PATIENCE)

    def finish(self):
        try:
            self.must_live()
        finally:
            self.kill()
