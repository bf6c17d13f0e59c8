#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Each check of a requirement in core, removed one at a time, is missed by a unit test.

How it works: every place that says VIODMA_REQUIRE in core/ is compiled once with that one check always true; the unit
tests of core then run until one fails (or crashes, or hangs). The twins inside the unit tests remove all checks of one
requirement at once; here each place stands alone, so a second line of defence behind it cannot hide that nobody tests
the first. With nothing removed all tests must pass. Usage: mutants.py BUILD_DIRECTORY.
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
SUPPORT = ("blk_rig", "check", "dma_rig", "hooks", "iommu_model", "mutant", "test_device", "test_device_opposite", "test_driver")
FLAGS = ["-std=c11", "-O1", "-w", "-D_GNU_SOURCE", "-DVIODMA_TEST_BUILD", "-DVIODMA_REMOVED(id, condition)=((condition) || 1)",
         "-Iinclude", "-I."]
SLOW = {"test_two_threads"}  # and says nothing about single checks
SECONDS = 30


class Tree:
    """A copy of core and its tests, with objects."""

    def __init__(self, work):
        shutil.rmtree(work, ignore_errors=True)
        self.work, self.objects = work, work / "objects"
        self.objects.mkdir(parents=True)
        for name in ("core", "include", "tests"):
            shutil.copytree(ROOT / name, work / name, ignore=shutil.ignore_patterns("__pycache__", ".pytest_cache"))
        self.core = sorted(work.glob("core/*/*.c"))
        tests = [t for t in sorted(work.glob("tests/unit/test_*.c")) if t.stem not in SLOW
                 and not re.search(r"hosted/|viodma/(loop|vhost_user)\.h", t.read_text())]
        self.shared = {s.stem: self.compile(s) for s in self.core}
        self.shared.update({s: self.compile(work / "tests" / "support" / f"{s}.c", "support-") for s in SUPPORT})
        self.programs = {t.stem: self.compile(t, "unit-") for t in tests}
        self.tests = list(self.programs)

    def compile(self, source, prefix=""):
        """Compile one file; its object, which has its name."""
        target = self.objects / f"{prefix}{source.stem}.o"
        subprocess.run(["gcc", *FLAGS, "-c", str(source), "-o", str(target)], cwd=self.work, check=True)
        return str(target)

    def first_failing_test(self, replaced=None):
        """Run the tests, with `removed.o` instead of one object. The name of the first that fails, or None."""
        objects = [o for name, o in self.shared.items() if name != replaced]
        objects += [str(self.objects / "removed.o")] if replaced else []
        for test in sorted(self.tests, key=lambda t: (replaced or "") not in t):
            program = self.objects / "program"
            subprocess.run(["gcc", self.programs[test], *objects, "-lcmocka", "-lpthread", "-o", str(program)], check=True)
            try:
                # Twins would find their requirement broken, too; what counts is the behaviour itself.
                done = subprocess.run([str(program)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=SECONDS,
                                      check=False, env={**os.environ, "CMOCKA_MESSAGE_OUTPUT": "TAP"})
            except subprocess.TimeoutExpired:
                return test
            lines = done.stdout.decode(errors="replace").splitlines()
            if done.returncode < 0 or any(l.startswith("not ok") and "_and_not_without_the_check" not in l for l in lines):
                return test
        return None


def main():
    tree = Tree(pathlib.Path(sys.argv[1]).resolve() / "mutants")
    failing = tree.first_failing_test()
    if failing:
        print(f"with nothing removed, {failing} fails")
        return 1
    checks, unnoticed = 0, 0
    for source in tree.core:
        text = source.read_text()
        for match in re.finditer(r"\bVIODMA_REQUIRE\((\w+)", text):
            mutant = source.parent / "removed.c"
            mutant.write_text(text[:match.start()] + "VIODMA_REMOVED" + text[match.start() + len("VIODMA_REQUIRE"):])
            tree.compile(mutant)
            mutant.unlink()
            noticed = tree.first_failing_test(source.stem)
            where = f"{source.relative_to(tree.work)}:{text.count(chr(10), 0, match.start()) + 1}"
            print(f"{where}: {match.group(1).replace('_', '-')}: {noticed or 'NOTICED BY NO TEST'}", flush=True)
            checks += 1
            unnoticed += noticed is None
    print(f"{checks} checks, {unnoticed} noticed by no test")
    return 1 if unnoticed or checks < 20 else 0


if __name__ == "__main__":
    sys.exit(main())
