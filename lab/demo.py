#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""`make demo`: a real guest, three times, and the contrast between the runs.

How it works
    Fetches Debian's kernel and busybox (once), then runs the same guest against `viodma serve blk`: (a) bit 33 clear,
    behind an IOMMU nevertheless; (b) bit 33 set, behind the same IOMMU; (c) a secure VM, most of whose memory is never
    handed over. Each is a cell of lab/cells.py, judged as in the guest matrix. Prints the contrast table and writes
    report.json, report.html and report.svg (the picture alone) to build/demo/.

    --platform papr runs column (b) on pseries with a ppc64le guest; the other columns then say "not run". --packed runs
    them over packed rings, with two queues and two processors (make demo PACKED=1).

Exit status: 0 every run holds, 1 a run does not, 2 something needed is missing.
"""
from __future__ import annotations

import argparse
import dataclasses
import os
import pathlib
import platform
import shutil
import subprocess
import sys
import time

from . import assets, cells, machine, report
from .cells import Cell
from .machine import Machine

RUNS = {
    "vtd": {
        "clear": Cell("behind VT-d, which means nothing", Machine("vtd", bit33=False), speed_mib=16),
        "set": Cell("behind VT-d", Machine("vtd"), speed_mib=16),
        "secure": Cell("most memory private", Machine("secure"), speed_mib=16),
    },
    "papr": {"set": Cell("pseries with TCE", Machine("papr"), speed_mib=16)},
}
"""Per PLATFORM, the runs and their columns."""


def facts(program: pathlib.Path, runs: dict[str, Cell]) -> dict[str, str]:
    """What the numbers were measured on."""
    found = {"machine": f"{platform.machine()}, {os.cpu_count()} processors, Linux {platform.release()}"}
    for arch in sorted({cell.machine.arch for cell in runs.values()}):
        emulator = machine.EMULATOR[arch]
        version = subprocess.run([emulator, "--version"], capture_output=True, text=True, check=False).stdout
        found[emulator] = f"{version.splitlines()[0] if version else 'unknown'}, accelerator {machine.accelerator(arch)}"
        found[f"guest kernel, {arch}"] = assets.get(arch).version
    found["program"] = program.name
    return found


def main() -> int:
    """Run the demo."""
    parser = argparse.ArgumentParser(prog="python3 -m lab.demo", description="Run a real guest and show what bit 33 changes.")
    parser.add_argument("--viodma", type=pathlib.Path, default=assets.ROOT / "build" / "viodma-test",
                        help="the test build of viodma (default: build/viodma-test)")
    parser.add_argument("--platform", choices=sorted(RUNS), default="vtd")
    parser.add_argument("--output", type=pathlib.Path, default=assets.ROOT / "build" / "demo")
    parser.add_argument("--packed", action="store_true", help="packed rings, and two queues")
    parser.add_argument("--only", choices=("clear", "set", "secure"), action="append", help="run only these columns")
    options = parser.parse_args()
    runs = {name: cell for name, cell in RUNS[options.platform].items() if not options.only or name in options.only}
    if options.packed:
        runs = {name: dataclasses.replace(cell, machine=dataclasses.replace(cell.machine, packed=True, queues=2))
                for name, cell in runs.items()}
    program = options.viodma.resolve()
    if not os.access(program, os.X_OK):
        print(f"demo: {program} is not there; build it first (make)", file=sys.stderr)
        return 2
    for cell in runs.values():
        emulator = machine.EMULATOR[cell.machine.arch]
        if shutil.which(emulator) is None:
            print(f"demo: {emulator} is missing: scripts/packages {assets.QEMU_PACKAGE[cell.machine.arch]}", file=sys.stderr)
            return 2
        try:
            assets.get(cell.machine.arch)
        except assets.AssetError as error:
            print(f"demo: {error}", file=sys.stderr)
            return 2

    outcomes: dict[str, report.Outcome] = {}
    for number, (name, cell) in enumerate(runs.items(), 1):
        print(f"[{number}/{len(runs)}] {report.TITLES[name]}: {cell.name}", flush=True)
        started = time.monotonic()

        def tell(words: str, since: float = started) -> None:
            print(f"      {time.monotonic() - since:5.1f} s  {words}", flush=True)

        tell(f"booting Linux {assets.get(cell.machine.arch).version} ({machine.accelerator(cell.machine.arch)})")
        seen = cells.run_cell(cell, program, options.output / "runs" / name, trace=True, tell=tell)
        outcomes[name] = report.judge(cell, seen)
        tell("image checked on the host: " + ("holds" if not outcomes[name].wrong else "DOES NOT HOLD"))
    report.write(outcomes, options.output, facts(program, runs))
    print("\n" + report.table(outcomes) + "\n")
    for name, outcome in outcomes.items():
        for text in outcome.wrong:
            print(f"{report.TITLES[name]}: {text}")
    for name in ("report.html", "report.json"):
        path = options.output / name
        print(os.path.relpath(path) if path.is_relative_to(pathlib.Path.cwd()) else path)
    return 1 if any(outcome.wrong for outcome in outcomes.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
