# SPDX-License-Identifier: BSD-3-Clause
"""pytest set-up of the guest matrix: the program under test, one directory per cell, the table at the end.

How it works
    Cells carry the mark `all`; those that `make check` runs carry `check` as well: a pairwise part of the matrix and one
    twin per kind of platform. Choose with -m check or -m all. Every cell that was collected appears in the table that
    ends the run; what was deselected, skipped or stopped by an earlier error says "not run".

    Environment: VIODMA_TEST_PROGRAM (default build/viodma-test); VIODMA_REQUIRED=1 makes a missing program or emulator a
    failure instead of "not run"; VIODMA_LAB_CACHE; VIODMA_LAB_ACCEL (tcg or kvm).
"""
from __future__ import annotations

import dataclasses
import os
import pathlib
import re
import shutil
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from lab import cells, machine  # noqa: E402  (the path above makes it importable)


@dataclasses.dataclass
class Row:
    """One line of the table."""

    outcome: str = "not run"
    why: str = ""
    seen: cells.Observation | None = None


ROWS: dict[str, Row] = {}


def pytest_configure(config: pytest.Config) -> None:
    """Name the marks."""
    config.addinivalue_line("markers", "check: part of `make check`")
    config.addinivalue_line("markers", "all: the full matrix")


def _name(nodeid: str) -> str:
    """What the table calls a test: the cell where there is one, else what the test says."""
    function, _, parameters = nodeid.split("::")[-1].removeprefix("test_").partition("[")
    said = function.replace("_", " ")
    if not parameters:
        return said
    named = parameters.rstrip("]").replace("_", " ").replace("-", ", ").replace("DEV, ", "DEV-")
    return f"must fail: {named}" if function.startswith("without") else named


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every cell is part of `all`, and every cell gets a row, run or not."""
    for item in items:
        if ROOT / "tests" / "guest" in pathlib.Path(item.fspath).parents:
            item.add_marker(pytest.mark.all)
            if "runner" in getattr(item, "fixturenames", ()):
                ROWS[item.nodeid] = Row(why="deselected")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    """Note each cell's outcome."""
    outcome = yield
    report = outcome.get_result()
    row = ROWS.get(item.nodeid)
    if row is None:
        return
    if report.skipped:
        row.outcome, row.why = "not run", str(call.excinfo.value if call.excinfo else "skipped")
    elif report.when == "call" or report.failed:
        row.outcome, row.why = ("held" if report.passed else "FAILED"), ""


def _word(value: object, true: str, false: str, known: bool) -> str:
    """A table's word for something that may never have been learnt."""
    return (true if value else false) if known else "?"


def pytest_terminal_summary(terminalreporter) -> None:
    """The table of all cells."""
    if not ROWS or terminalreporter.config.option.collectonly:
        return
    write = terminalreporter.write_line
    terminalreporter.section("guest matrix")
    head = ("cell", "outcome", "s", "bit 33", "iotlb", "requests", "misses", "inval.", "reach KiB", "stray read")
    form = "{:<64} {:<8} {:>5} {:>6} {:>6} {:>8} {:>7} {:>7} {:>9}  {}"
    write(form.format(*head))
    for nodeid, row in ROWS.items():
        name = _name(nodeid)
        if row.seen is None:
            write(form.format(name[:64], row.outcome, "", "", "", "", "", "", "", row.why))
            continue
        seen, session = row.seen, row.seen.session
        iotlb = seen.final.get("iotlb", {})
        write(form.format(
            name[:64], row.outcome, f"{seen.seconds:.0f}", _word(seen.guest.bit(33), "yes", "no", "features" in seen.guest.values),
            _word(session.get("iotlb_active"), "active", "off", bool(session)), seen.final.get("requests", {}).get("total", 0),
            iotlb.get("misses", 0), iotlb.get("invalidations", 0), session.get("reachable_bytes_peak", 0) // 1024,
            seen.on_secret or "none"))


@pytest.fixture(scope="session")
def program() -> pathlib.Path:
    """The test build of viodma."""
    path = pathlib.Path(os.environ.get("VIODMA_TEST_PROGRAM") or ROOT / "build" / "viodma-test").resolve()
    if not os.access(path, os.X_OK):
        say = pytest.fail if os.environ.get("VIODMA_REQUIRED") == "1" else pytest.skip
        say(f"{path} is not there; build it first (make), or name another in VIODMA_TEST_PROGRAM")
    return path


class Runner:
    """Runs a cell, at most once per name, and shows it in the table."""

    def __init__(self, item: pytest.Item, program: pathlib.Path, directory: pathlib.Path) -> None:
        self.item, self.program, self.directory = item, program, directory

    def __call__(self, cell: cells.Cell) -> cells.Observation:
        emulator = machine.EMULATOR[cell.machine.arch]
        if shutil.which(emulator) is None:
            pytest.fail(f"{emulator} is not installed: scripts/packages qemu-system-x86 qemu-system-ppc qemu-system-arm")
        seen = cells.run_cell(cell, self.program, self.directory)
        row = ROWS.get(self.item.nodeid)
        if row is not None:
            row.seen = seen
        return seen


@pytest.fixture
def runner(request: pytest.FixtureRequest, program: pathlib.Path) -> Runner:
    """Run cells; logs stay in build/lab/cells/NAME."""
    from lab import assets
    safe = re.sub(r"[^A-Za-z0-9]+", "-", request.node.name).strip("-")
    return Runner(request.node, program, assets.cache_directory() / "cells" / safe)
