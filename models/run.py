#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Check the models of the rings, and that each of their twins with a bug in it fails: what `make models` calls.

How it works: a case is a model, its numbers, and what Spin has to find: nothing, an assertion, an invalid end state (both
sides asleep), or a cycle without progress. Spin makes a program of it, gcc compiles that, and it visits every state. A
twin that finds something else than it should, or nothing, is a failure; so is a search that was not complete, except of
the largest: those go on for MINUTES at most, remember states by three bits each, and say that they saw a part. That the
models speak of the code as it is: each function they name must be in core/ring. One line each, the sum last.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
RING = HERE.parent / "core" / "ring"
MINUTES = 2
SLEEPS, ASSERTS, STALLS = "invalid end state", "assertion violated", "non-progress cycle"


@dataclass(frozen=True)
class Case:
    """finds: None, or what the search must end with. slow: not in `make check`. part: too large for all of it."""

    model: str
    defines: tuple[str, ...]
    finds: str | None = None
    slow: bool = False
    part: bool = False
    live: bool = False

    @property
    def name(self) -> str:
        plain = {"EVENT_IDX=0": "flags", "EVENT_IDX=1": "event index"}
        words = []
        for define in self.defines:
            word = plain.get(define, define.removesuffix("=1") if not define.startswith("N=") else define)
            word = re.sub(r"^N=", "size ", word).replace("BUG_", "TWIN: ").replace("M=", "indexes up to ").replace("_", " ")
            words.append(word if word.startswith("TWIN") else word.lower())
        return f"{self.model}, {', '.join(words)}{', progress' if self.live else ''}"


SLEEPING = ("NO_FENCE_BEFORE_KICK", "NO_FENCE_BEFORE_SLEEP", "NO_FENCE_AFTER_WISH", "NO_FENCE_BEFORE_CALL",
            "NO_LAST_LOOK", "WISH_BEHIND_THE_LOOK")
# Chains of two descriptors, indirect tables, requests in order: what their twins find in a split ring, and in a packed one.
KINDS = {
    "CHAINS": {"WRITTEN_LATE": (ASSERTS,), "SECOND_STAYS_FREE": (ASSERTS,)},
    "TABLES": {"WRITTEN_LATE": (ASSERTS, ASSERTS), "TABLE_FREED_EARLY": (ASSERTS, ASSERTS)},
    "IN_ORDER": {"AS_THEY_END": (ASSERTS, ASSERTS), "ONE_ELEMENT_IS_ONE": (ASSERTS, SLEEPS),
                 "BATCH_MOVES_BY_ONE": (ASSERTS, SLEEPS)},
}
PACKED_KINDS = ("TABLES", "IN_ORDER")  # chains of two are always there
RESET = {"RESET_LEAVES_USED": ASSERTS, "RESET_KEEPS_POSITION": SLEEPS, "LATE_WRITE": ASSERTS}


def split_cases() -> list[Case]:
    """The split ring: sizes 1, 2 and 4; up to 4 it has no other."""
    cases = []
    for event in ("EVENT_IDX=0", "EVENT_IDX=1"):
        cases += [
            Case("split", ("N=1", event)),
            Case("split", ("N=1", "M=4", event), slow=True),
            Case("split", ("N=1", event, "RESETS=1")),
            Case("split", ("N=1", event, "RESUMES=1")),
            Case("split", ("N=1", event, "ORDERLY=1"), live=True),
            Case("split", ("N=2", event, "ORDERLY=1")),
            Case("split", ("N=2", event, "ORDERLY=1", "EAGER=1", "RESETS=1")),
            Case("split", ("N=2", event, "ORDERLY=1", "EAGER=1"), live=True, slow=True),
            Case("split", ("N=2", event, "EAGER=1"), slow=True),
            Case("split", ("N=2", event, "ORDERLY=1", "RESUMES=1"), slow=True),
            Case("split", ("N=4", event, "ORDERLY=1", "EAGER=1"), slow=True, part=True),
            *(Case("split", ("N=2", event, "ORDERLY=1", "EAGER=1", f"{kind}=1"), slow=event == "EVENT_IDX=0")
              for kind in KINDS),
            *(Case("split", ("N=2", event, "ORDERLY=1", f"{kind}=1"), slow=True) for kind in KINDS),
            *(Case("split", ("N=2", event, "ORDERLY=1", "EAGER=1", f"{kind}=1", "RESETS=1"), slow=True) for kind in KINDS),
            *(Case("split", ("N=4", event, "ORDERLY=1", "EAGER=1", f"{kind}=1"), slow=True, part=True) for kind in KINDS),
        ]
        cases += [Case("split", ("N=1", event, f"BUG_{bug}"), SLEEPS) for bug in (*SLEEPING, "COUNT_WRAPS")]
        cases += [Case("split", ("N=1", event, f"BUG_{bug}"), ASSERTS) for bug in
                  ("NO_RELEASE", "LOADS_EARLY", "INDEX_BEFORE_ELEMENT")]
    return cases + [
        Case("split", ("N=1", "EVENT_IDX=1", "BUG_EVENT_COMPARED"), SLEEPS),
        *(Case("split", ("N=2", "ORDERLY=1", f"{kind}=1", f"BUG_{bug}"), finds[0])
          for kind, bugs in KINDS.items() for bug, finds in bugs.items()),
        *(Case("split", ("N=1", "RESETS=1", f"BUG_{bug}"), finds) for bug, finds in RESET.items()),
        Case("split", ("N=1", "ORDERLY=1", "BUG_NO_FENCE_BEFORE_KICK"), STALLS, live=True),
    ]


def packed_cases() -> list[Case]:
    """The packed ring: sizes 1, 2, 3 and 4."""
    cases = []
    for event in ("EVENT_IDX=0", "EVENT_IDX=1"):
        cases += [
            Case("packed", ("N=1", event)),
            Case("packed", ("N=1", event, "RESETS=1")),
            Case("packed", ("N=1", event, "RESUMES=1")),
            Case("packed", ("N=1", event, "ORDERLY=1"), live=True),
            Case("packed", ("N=2", event, "ORDERLY=1", "EAGER=1")),
            Case("packed", ("N=2", event, "ORDERLY=1"), slow=True),
            Case("packed", ("N=2", event, "ORDERLY=1", "EAGER=1"), live=True, slow=True),
            Case("packed", ("N=2", event, "ORDERLY=1", "EAGER=1", "RESETS=1"), slow=True),
            Case("packed", ("N=2", event, "ORDERLY=1", "EAGER=1", "RESUMES=1"), slow=True),
            Case("packed", ("N=2", event, "EAGER=1"), slow=True),
            Case("packed", ("N=3", event, "ORDERLY=1", "EAGER=1"), slow=True, part=True),
            Case("packed", ("N=4", event, "ORDERLY=1", "EAGER=1"), slow=True, part=True),
            *(Case("packed", (f"N={n}", event, "ORDERLY=1", "EAGER=1", f"{kind}=1"), slow=True, part=n > 2)
              for n in (2, 4) for kind in PACKED_KINDS),
            *(Case("packed", ("N=1", event, f"{kind}=1"), slow=event == "EVENT_IDX=0") for kind in PACKED_KINDS),
        ]
        cases += [Case("packed", ("N=1", event, f"BUG_{bug}"), SLEEPS) for bug in SLEEPING]
        cases += [Case("packed", ("N=1", event, f"BUG_{bug}"), ASSERTS) for bug in
                  ("NO_RELEASE", "LOADS_EARLY", "FLAGS_BEFORE_USED")]
        cases.append(Case("packed", ("N=2", event, "ORDERLY=1", "BUG_FLAGS_BEFORE_THE_REST"), ASSERTS))
    return cases + [
        Case("packed", ("N=3", "EVENT_IDX=0", "ORDERLY=1", "EAGER=1", "FILLS=1"), slow=True),
        *(Case("packed", ("N=2", "ORDERLY=1", f"{kind}=1", *(["EAGER=1"] if bug != "WRITTEN_LATE" else []), f"BUG_{bug}"),
               KINDS[kind][bug][1]) for kind in PACKED_KINDS for bug in KINDS[kind]),
        *(Case("packed", ("N=1", "EVENT_IDX=1", f"BUG_{bug}"), SLEEPS) for bug in
          ("EVENT_COMPARED", "EVENT_WITHOUT_LAP", "LAP_NOT_FLIPPED")),
        Case("packed", ("N=2", "ORDERLY=1", "EAGER=1", "BUG_GOES_ON_BY_ONE"), SLEEPS),
        *(Case("packed", ("N=1", "RESETS=1", f"BUG_{bug}"), finds) for bug, finds in RESET.items()),
    ]


def run(case: Case) -> tuple[str | None, str]:
    """Why it failed, or None; and what was seen."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="viodma-model-") as work:
        for command in (["spin", *(f"-D{define}" for define in case.defines), "-a", str(HERE / f"{case.model}.pml")],
                        ["gcc", "-w", "-O2" if case.finds is None else "-O0", "-DBITSTATE" if case.part else "-DCOLLAPSE", "-DMEMLIM=6000",
                         *(["-DNP", "-DNFAIR=4"] if case.live else ["-DSAFETY"]), "-o", "pan", "pan.c"]):
            made = subprocess.run(command, cwd=work, capture_output=True, text=True, check=False)
            if made.returncode:
                return f"{command[0]}: {(made.stdout + made.stderr).strip()[-600:]}", ""
        pan = subprocess.run(["./pan", "-n", f"-m{30_000_000 if case.slow else 1_000_000}", *(["-l", "-f"] if case.live else []),
                              *(["-w32", "-k3", f"-Q{MINUTES}"] if case.part else [])],
                             cwd=work, capture_output=True, text=True, check=False).stdout
    errors = re.search(r"errors: (\d+)", pan)
    states = re.search(r"([\d.e+]+) states, stored", pan)
    seen = f"{float(states[1]) if states else 0:.0f} states, {time.monotonic() - began:.1f} s"
    complete = errors and not re.search(r"max search depth too small|out of memory|Search not completed", pan)
    found = next((line for line in pan.splitlines() if line.startswith("pan:1: ")), "").removeprefix("pan:1: ")
    if case.finds:
        return (None if case.finds in found else f"it has to find: {case.finds}; found: {found or 'nothing'}"), seen
    if case.part and errors and not int(errors[1]) and not found:
        return None, f"a part of the states: {seen}"
    if not complete or int(errors[1]):
        return found or f"the search was not complete: {pan.strip()[-600:]}", seen
    return None, f"all of {seen}"


def strangers(text: str, code: str) -> list[str]:
    """Functions that a model names as the driver's or the device's half, and that the code does not define."""
    named: list[str] = []
    for comment in re.findall(r"(?:driver|device) half: ([^*]*(?:\*(?!/)[^*]*)*)", text):
        named += re.findall(r"\b[a-z]\w*_\w+\b", comment.split(". ")[0].split(": ")[0])
    return sorted({name for name in named if not re.search(rf"\b{name}\(", code)})


def main() -> int:
    """Run the cases, two at a time."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="leave out what takes long")
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--junit", type=Path, help="a report for scripts/check")
    options = parser.parse_args()
    cases = [case for case in split_cases() + packed_cases() if options.only in case.name]
    cases.sort(key=lambda case: case.slow)
    failures: dict[str, str] = {}
    suite = ElementTree.Element("testsuite", name="models")

    def note(name: str, why: str | None, seen: str, skipped: bool = False) -> None:
        element = ElementTree.SubElement(suite, "testcase", classname="models", name=name)
        if skipped:
            ElementTree.SubElement(element, "skipped")
            return
        print(f"{'FAIL' if why else 'ok':4} {name}{f' ({seen})' if seen else ''}{f': {why}' if why else ''}", flush=True)
        if why:
            failures[name] = why
            ElementTree.SubElement(element, "failure", message=why)

    code = "".join(path.read_text() for path in sorted(RING.glob("*.[ch]")))
    for path in sorted(HERE.glob("*.pml")):
        unknown = strangers(path.read_text(), code)
        note(f"{path.name} speaks of functions that are there", ", ".join(unknown) or None, "")
    unknown = strangers("/* driver half: viodma_driver_queue_add_nothing */", code)
    note("a function that is not there is noticed", None if unknown else "it was not", "")
    todo = [case for case in cases if not (options.quick and case.slow)]
    with ThreadPoolExecutor(2) as pool:
        for case, (why, seen) in zip(todo, pool.map(run, todo)):
            if case.finds and not why:
                seen = f"{case.finds}, as it must; {seen}"
            note(case.name, why, seen)
    for case in cases:
        if case not in todo:
            note(case.name, None, "", skipped=True)
    if options.junit:
        ElementTree.ElementTree(suite).write(options.junit)
    sound = [case for case in todo if not case.finds]
    print(f"{sum(not case.part for case in sound)} searches of all states, {sum(case.part for case in sound)} of a part, "
          f"{len(todo) - len(sound)} twins")
    if len(todo) < len(cases):
        print(f"not run: {len(cases) - len(todo)} searches of the larger sizes (make models)")
    print(f"{len(list(suite)) - (len(cases) - len(todo)) - len(failures)} passed, {len(failures)} failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
