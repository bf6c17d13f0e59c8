#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Each check of a requirement in core, removed one at a time, is missed by a unit test.

How it works: every place that says VIODMA_REQUIRE in a copy of core/ gets a number, and a switch that the environment
turns: VIODMA_REMOVED=N makes the check at place N true always, VIODMA_RECORD=FILE notes at which places a check has
failed. So the unit tests are built once. Each runs once with everything in its place, has to pass, and says which checks
it makes fail: no other test could notice that one of those is gone. Then each place is removed, and its tests run, the
quickest first, until one fails (or crashes, or hangs).

The twins inside the unit tests remove all checks of one requirement at once; here each place stands alone, so a second
line of defence behind it cannot hide that nobody tests the first. Usage: mutants.py BUILD_DIRECTORY.
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
FLAGS = ["-std=c11", "-O1", "-w", "-D_GNU_SOURCE", "-DVIODMA_TEST_BUILD", "-Iinclude", "-I."]
HOSTED = re.compile(r'#include ["<](hosted/|viodma/(loop|poller|vhost_user|vhost_user_front)\.h|tests/support/front_)')
SLOW = {"test_two_threads"}  # and says nothing about single checks
SECONDS = 60
SWITCH = r"""
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <fcntl.h>
#include <unistd.h>
bool viodma_place(int place)
{
	static bool noted[4096];
	const char *removed = getenv("VIODMA_REMOVED"), *record = getenv("VIODMA_RECORD");

	if (record && place < 4096 && !noted[place]) {
		char line[16];
		int file = open(record, O_WRONLY | O_APPEND | O_CREAT, 0600), bytes = snprintf(line, sizeof(line), "%d\n", place);

		noted[place] = file >= 0 && write(file, line, (size_t)bytes) == bytes;
		close(file);
	}
	return removed && atoi(removed) == place;
}
"""


class Tree:
    """A copy of core and its unit tests, built with a switch at every check."""

    def __init__(self, work):
        shutil.rmtree(work, ignore_errors=True)
        self.work, self.objects = work, work / "objects"
        self.objects.mkdir(parents=True)
        for name in ("core", "include", "tests"):
            shutil.copytree(ROOT / name, work / name, ignore=shutil.ignore_patterns("__pycache__", ".pytest_cache"))
        self.places = []
        for source in sorted(work.glob("core/*/*.c")):
            source.write_text(self.numbered(source))
        header = work / "core" / "base" / "require.h"
        header.write_text(header.read_text().replace("#endif\n\n#endif\n", "#endif\nbool viodma_place(int place);\n"
                          "#define VIODMA_REQUIRE_AT(place, id, condition) "
                          "((condition) || viodma_place(place) || viodma_mutant(#id))\n#endif\n"))
        (work / "switch.c").write_text(SWITCH)
        support = [s for s in sorted(work.glob("tests/support/*.c")) if not HOSTED.search(s.read_text())]
        shared = [self.compile(s, "core-") for s in sorted(work.glob("core/*/*.c"))]
        shared += [self.compile(s, "support-") for s in [*support, work / "switch.c"]]
        self.programs = {}
        for test in sorted(work.glob("tests/unit/test_*.c")):
            if test.stem in SLOW or HOSTED.search(test.read_text()):
                continue
            program = self.objects / test.stem
            subprocess.run(["gcc", self.compile(test, "unit-"), *shared, "-lcmocka", "-lpthread", "-o", str(program)],
                           check=True)
            self.programs[test.stem] = program

    def numbered(self, source):
        """The text of a file of core with a number at each check; `places` says where it is."""
        text = source.read_text()

        def number(match):
            line = text.count("\n", 0, match.start()) + 1
            self.places.append((f"{source.relative_to(self.work)}:{line}", match.group(1).replace("_", "-")))
            return f"VIODMA_REQUIRE_AT({len(self.places) - 1}, {match.group(1)}"

        return re.sub(r"\bVIODMA_REQUIRE\((\w+)", number, text)

    def compile(self, source, prefix):
        """Compile one file; its object."""
        target = self.objects / f"{prefix}{source.stem}.o"
        subprocess.run(["gcc", *FLAGS, "-c", str(source), "-o", str(target)], cwd=self.work, check=True)
        return str(target)

    def passes(self, test, **environment):
        """Run one test. Its twins do not count: they would find their requirement broken, too."""
        try:
            done = subprocess.run([str(self.programs[test])], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                  timeout=SECONDS, check=False,
                                  env={**os.environ, "CMOCKA_MESSAGE_OUTPUT": "TAP", **environment})
        except subprocess.TimeoutExpired:
            return False
        lines = done.stdout.decode(errors="replace").splitlines()
        return done.returncode >= 0 and not any(
            line.startswith("not ok") and "_and_not_without_the_check" not in line for line in lines)


def main():
    tree = Tree(pathlib.Path(sys.argv[1]).resolve() / "mutants")
    seconds, fails = {}, {}
    for test in tree.programs:
        record = tree.objects / f"{test}.places"
        began = time.monotonic()
        if not tree.passes(test, VIODMA_RECORD=str(record)):
            print(f"with nothing removed, {test} fails")
            return 1
        seconds[test] = time.monotonic() - began
        fails[test] = {int(line) for line in record.read_text().split()} if record.exists() else set()
    unnoticed = 0
    for place, (where, requirement) in enumerate(tree.places):
        tests = sorted((t for t in tree.programs if place in fails[t]), key=seconds.get)
        noticed = next((t for t in tests if not tree.passes(t, VIODMA_REMOVED=str(place))), None)
        print(f"{where}: {requirement}: {noticed or 'NOTICED BY NO TEST'}", flush=True)
        unnoticed += noticed is None
    print(f"{len(tree.places)} checks, {unnoticed} noticed by no test")
    return 1 if unnoticed or len(tree.places) < 20 else 0


if __name__ == "__main__":
    sys.exit(main())
