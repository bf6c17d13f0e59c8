# SPDX-License-Identifier: BSD-3-Clause
"""The program under test, `viodma drive blk`, and the devices it is driven against.

How it works
  Drive      runs one command to its end, or is a process to be disturbed. How
             it ended is asked of every run: in time, by itself, with no
             sanitizer's word; its messages begin with the program's name.
  Serving    `viodma serve blk` | qemu-storage-daemon | the Python back end, each
             over the same bytes, asked the same questions: does it offer bit
             33, what does the disk hold now, what did it refuse, how many bus
             addresses equalled physical ones, what memory does it hold.
"""
import json
import os
import re
import select
import signal
import subprocess
import time

import pytest

import servers
import vhost_user as vu
from back_end import FEATURES, BackEnd
from images import Image
from servers import SANITIZER, VIODMA, VIODMA_TEST_BUILD
from vhost_user import Violation, must

PATIENCE = 60 * vu.SCALE        # for a whole run of the program
DOMAINS = ("direct", "offset", "bounce", "iommu", "bounce+iommu", "restricted")
TRANSLATED = DOMAINS[1:]        # where no bus address may equal its physical one
CONFINED = ("bounce+iommu", "restricted")   # where only the pool is handed over
DISK_BYTES = 2 << 20
EXIT_DONE, EXIT_FAILED, EXIT_USAGE, EXIT_REFUSED = 0, 1, 2, 3


class Drive:
    """One run of `viodma drive blk`."""

    def __init__(self, tmp, path, *command, domain=None, options=(), mutant=None, test_build=False, stdin=None,
                 env=None, stats=True, name="drive"):
        self.binary = VIODMA_TEST_BUILD if mutant or test_build else VIODMA
        servers.needs(self.binary)
        self.stats_path = os.path.join(tmp, f"{name}.json")
        if stats and os.path.exists(self.stats_path):
            os.unlink(self.stats_path)
        self.argv = [self.binary, "drive", "blk", f"--socket-path={path}", "--quiet"]
        self.argv += [f"--domain={domain}"] if domain else []
        self.argv += [f"--stats-json={self.stats_path}"] if stats else []
        self.argv += [*map(str, options), *map(str, command)]
        env = {**os.environ, **(env or {})}
        env.pop("VIODMA_MUTANT", None)
        if mutant:
            env["VIODMA_MUTANT"] = mutant
        self.mutant = mutant
        self.out_path, self.err_path = os.path.join(tmp, f"{name}.out"), os.path.join(tmp, f"{name}.err")
        with open(self.out_path, "wb") as out, open(self.err_path, "wb") as err:
            self.process = subprocess.Popen(self.argv, stdin=stdin or subprocess.DEVNULL, stdout=out, stderr=err,
                                            env=env)
        self.status = None

    @property
    def pid(self):
        return self.process.pid

    @property
    def out(self):
        with open(self.out_path, "rb") as file:
            return file.read()

    @property
    def err(self):
        with open(self.err_path, errors="replace") as file:
            return file.read()

    def wait(self, timeout=PATIENCE):
        in_time = self.process.poll() is not None
        if not in_time:
            ended = os.pidfd_open(self.pid)     # Popen.wait looks twenty times a second
            in_time = select.select([ended], [], [], timeout)[0]
            os.close(ended)
        if not in_time:
            self.process.kill()
        self.status = self.process.wait()
        must(in_time, f"it hangs (not ended within {timeout:.0f} s): {self}")
        said = SANITIZER.search(self.err)
        must(not said, f"a sanitizer reported: {self.err[said.start():][:3000] if said else ''}")
        if self.mutant is None:
            must(self.status >= 0, f"it died of signal {-self.status}: {self}")
        return self

    def must_be(self, status):
        wanted = status if isinstance(status, tuple) else (status,)
        must(self.status in wanted, f"exit status {self.status}, not {' or '.join(map(str, wanted))}: {self}")
        return self

    def must_say(self, *patterns):
        for pattern in patterns:
            must(re.search(pattern, self.err), f"no /{pattern}/ on standard error: {self}")
        return self

    @property
    def stats(self):
        with open(self.stats_path) as file:
            try:
                return json.load(file)
            except ValueError as error:
                raise Violation(f"the statistics are not JSON: {error}") from error

    def interrupt(self, number=signal.SIGINT):
        self.process.send_signal(number)

    def __str__(self):
        return f"{' '.join(self.argv)}\nexit status {self.status}, standard error:\n{self.err[-3000:]}"


class Serving:
    """What every device of the matrix answers."""
    offers = True                   # bit 33
    ids = True                      # it names requirements in what it refuses

    def finish(self):
        """The last questions; ends it."""


class ServeDevice(Serving):
    """`viodma serve blk`."""

    def __init__(self, tmp, image, policy="offer", options=(), **how):
        servers.needs(VIODMA_TEST_BUILD if how.get("mutant") or how.get("test_build") else VIODMA)
        self.offers, self.image = policy != "off", image
        self.program = servers.Serve(tmp, [image.path], [f"--platform-dma={policy}", *options], **how)
        self.path, self.mutant = self.program.path, how.get("mutant")
        self.told = 0

    @property
    def pid(self):
        return self.program.pid

    def contents(self):
        return self.image.read()

    def identical(self):
        """(accesses, those of them where bus and physical address were the same)"""
        stats = self.program.device_stats()
        return stats["translations"], stats["identity_translations"]

    def refusals(self):
        """Requirement ids in what it logged since this was asked last."""
        log = self.program.log()
        since, self.told = self.told, len(log)
        return set(re.findall(r"\b(?:DEV|PLT|DRV)-\d+", log[since:]))

    def expect_refusal(self, rule):
        end = time.monotonic() + self.program.patience
        found = set()
        while rule not in (found := found | self.refusals()):
            must(time.monotonic() < end, f"the device did not name {rule}; its log ends: {self.program.log()[-1500:]}")
            time.sleep(0.01)

    def kill(self):
        self.program.process.kill()
        self.program.process.wait()

    def finish(self):
        if self.mutant:
            self.program.kill()
        else:
            self.program.finish()


def listens(path):
    """A socket's file is there before it listens."""
    with open("/proc/net/unix") as file:
        return any(line.split()[3] == "00010000" for line in file if line.rstrip("\n").endswith(" " + path))


class StorageDaemon(Serving):
    """QEMU's: nobody of us wrote it; no bit 33."""
    offers, ids = False, False

    def __init__(self, tmp, image, queues=1, **how):
        self.image = image
        self.program = servers.StorageDaemon(tmp, image.path, queues=queues)
        self.path = self.program.path
        self.program.wait_for(lambda: listens(self.path), "its listening", servers.START_PATIENCE)

    @property
    def pid(self):
        return self.program.pid

    def contents(self):
        return self.image.read()

    def identical(self):
        return None

    def refusals(self):
        return set()

    def kill(self):
        self.program.process.kill()
        self.program.process.wait()

    def finish(self):
        self.program.finish()


class PythonDevice(Serving):
    """The back end of this suite, which checks its driver while it serves it."""

    def __init__(self, tmp, image, kind=BackEnd, policy="offer", name="python", **how):
        if policy == "off":
            how["features"] = how.get("features", FEATURES) & ~vu.F_ACCESS_PLATFORM
        elif policy == "require":
            how["require"] = True
        self.offers = policy != "off"
        self.disk = bytearray(image.bytes)
        self.back_end = kind(os.path.join(tmp, f"{name}.sock"), self.disk, **how)
        self.path, self.told = self.back_end.path, 0
        self.back_end.__enter__()

    def contents(self):
        return bytes(self.disk)

    def identical(self):
        return self.back_end.access.pieces, self.back_end.access.identical

    def refusals(self):
        found = self.back_end.access.refused[self.told:]
        self.told += len(found)
        return {refused.rule for refused in found}

    def expect_refusal(self, rule):
        must(rule in self.refusals(), f"the device did not refuse anything by {rule}")

    def finish(self, sound=True):
        self.back_end.__exit__(None, None, None)
        must(not (sound and self.back_end.violations), f"the driver broke rules: {self.back_end.violations[:5]}")


DEVICES = {
    "serve-offer": lambda tmp, image, **how: ServeDevice(tmp, image, "offer", **how),
    "serve-require": lambda tmp, image, **how: ServeDevice(tmp, image, "require", **how),
    "serve-off": lambda tmp, image, **how: ServeDevice(tmp, image, "off", **how),
    "qemu": StorageDaemon,
    "python-offer": lambda tmp, image, **how: PythonDevice(tmp, image, policy="offer", **how),
    "python-off": lambda tmp, image, **how: PythonDevice(tmp, image, policy="off", **how),
}


class Lab:
    """A disk of known bytes, a device over it, and drivers of it; all ended at the end."""

    def __init__(self, tmp):
        self.tmp, self.devices, self.drives = tmp, [], []
        self.image = Image(os.path.join(tmp, "disk.img"), DISK_BYTES)

    def grow_image(self, size):
        """Before any device is there."""
        with open(self.image.path, "r+b") as file:
            file.truncate(size)
        self.image.size = size

    def device(self, name, **how):
        device = DEVICES[name](self.tmp, self.image, **how)
        self.devices.append(device)
        return device

    def lying(self, kind, **how):
        device = PythonDevice(self.tmp, self.image, kind, **how)
        self.devices.append(device)
        return device

    def start(self, device, *command, **how):
        self.drives.append(Drive(self.tmp, device.path, *command, name=f"drive{len(self.drives)}", **how))
        return self.drives[-1]

    def run(self, device, *command, status=EXIT_DONE, timeout=PATIENCE, **how):
        return self.start(device, *command, **how).wait(timeout).must_be(status)

    def file(self, data, name="data"):
        path = os.path.join(self.tmp, f"{name}{len(self.drives)}")
        with open(path, "wb") as file:
            file.write(data)
        return path

    def end(self, sound=True):
        """Every device's last questions; the first answer that is wrong is raised."""
        problems = []
        for drive in self.drives:
            if drive.process.poll() is None:
                drive.process.kill()
                drive.process.wait()
        for device in self.devices:
            try:
                if isinstance(device, PythonDevice):
                    device.finish(sound)
                else:
                    device.finish()
            except (Exception, pytest.fail.Exception) as error:     # the others must still be ended
                problems.append(error)
        self.devices = []
        if problems:
            raise problems[0]
