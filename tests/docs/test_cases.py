# SPDX-License-Identifier: BSD-3-Clause
"""docs/cases.md is what the program has; --list is readable."""
import os
import pathlib
import re
import subprocess

TOP = pathlib.Path(__file__).resolve().parents[2]


def listed(*words):
    program = os.environ.get("VIODMA", TOP / "build" / "viodma")
    return subprocess.run([program, "check", "--list", *words], capture_output=True, text=True, check=True, timeout=20).stdout


def test_the_page_is_current():
    assert (TOP / "docs" / "cases.md").read_text() == listed("--markdown"), "run make cases"


def test_the_list_has_columns_and_each_case_once():
    lines = listed().splitlines()
    starts = {re.match(r"[a-z0-9-]+ +[A-Z]+-\d+ +", line).end() for line in lines}
    assert len(starts) == 1
    ids = [line.split()[0] for line in lines]
    assert len(ids) == len(set(ids)) >= 80


def test_every_case_is_about_a_requirement_of_the_specification():
    spec = (TOP / "spec" / "platform-dma.md").read_text()
    assert {line.split()[1] for line in listed().splitlines() if f"{line.split()[1]}" not in re.findall(r"[A-Z]+-\d+", spec)} == set()


def test_the_page_has_every_case():
    page = (TOP / "docs" / "cases.md").read_text()
    assert [each for each in (line.split()[0] for line in listed().splitlines()) if page.count(f"| `{each}` |") != 1] == []
