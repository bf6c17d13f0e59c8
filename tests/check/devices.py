# SPDX-License-Identifier: BSD-3-Clause
"""Our own device, sound or with one rule broken, and what `viodma check device` makes of it."""
import contextlib
import json
import os
import pathlib
import subprocess
import tempfile
import time

SERVE = {"blk": ["--in-order", "--num-queues", "2"], "rng": []}
DISK_BYTES = 8 << 20


def cases(viodma):
    listed = subprocess.run([viodma, "check", "--list"], capture_output=True, text=True, check=True, timeout=30).stdout
    return [line.split()[0] for line in listed.splitlines() if line.strip()]


def disk(where):
    """No two sectors of it are alike, none is empty."""
    path = pathlib.Path(where) / "disk.img"
    path.write_bytes(b"".join(n.to_bytes(8, "little") * 64 for n in range(1, DISK_BYTES // 512 + 1)))
    return path


@contextlib.contextmanager
def served(program, kind="blk", options=None, mutant=None):
    """A device; its socket."""
    with tempfile.TemporaryDirectory(prefix="viodma-check-") as where:
        socket = pathlib.Path(where) / "s"
        backing = ["--blk-file", disk(where)] if kind == "blk" else []
        environment = {k: v for k, v in os.environ.items() if k != "VIODMA_MUTANT"}
        if mutant:
            environment["VIODMA_MUTANT"] = mutant
        with open(pathlib.Path(where) / "log", "wb") as log:
            server = subprocess.Popen([program, "serve", kind, "--socket-path", socket, *backing,
                                       *(SERVE[kind] if options is None else options)],
                                      env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            until = time.monotonic() + 20
            while not socket.exists() and server.poll() is None and time.monotonic() < until:
                time.sleep(0.005)
            yield socket
        finally:
            server.kill()  # a mutant need not end when it is asked to
            server.wait()


def check(viodma, socket, *options, kind="blk", timeout_s=280):
    """The outcomes, by case: {id: {ring: (verdict, why)}}; and the exit status."""
    with tempfile.TemporaryDirectory(prefix="viodma-check-") as where:
        report = pathlib.Path(where) / "report.json"
        status = subprocess.run([viodma, "check", "device", "--socket-path", socket, "--type", kind, "--json", report,
                                 *options], capture_output=True, timeout=timeout_s, check=False).returncode
        outcomes = {}
        for outcome in json.loads(report.read_text())["outcomes"] if report.exists() else []:
            outcomes.setdefault(outcome["case"], {})[outcome["ring"]] = (outcome["verdict"], outcome["why"])
    return outcomes, status
