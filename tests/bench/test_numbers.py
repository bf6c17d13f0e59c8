# SPDX-License-Identifier: BSD-3-Clause
"""docs/numbers.md has every goal, and is made even where nothing could be measured.

How it works: the page is made of files; here they are made up. Exact instruction
counts are the one thing that is compared with a number.
"""
import json
import pathlib
import subprocess
import sys

import pytest
from goals import GOALS, Files
import publish

TOP = pathlib.Path(__file__).resolve().parents[2]
ROWS = [row for goal in GOALS for row in goal.rows]


def goal_lines(text):
    return {line.split("|")[1].strip(): line for line in text.splitlines() if line.startswith("| ")}


def test_the_published_page_has_a_row_for_every_goal():
    lines = goal_lines((TOP / "docs" / "numbers.md").read_text())
    assert [name for name, *_ in ROWS if name not in lines] == []


def test_no_goal_is_there_twice():
    assert len({name for name, *_ in ROWS}) == len(ROWS)


def test_without_any_file_every_goal_says_why(tmp_path):
    text = publish.page(Files(tmp_path))
    lines = goal_lines(text)
    assert all("not run: no such file" in lines[name] for name, *_ in ROWS)


def test_a_reason_reaches_the_page(tmp_path):
    (tmp_path / "peers.json").write_text(json.dumps({"disk": {"not_run": "a back end did not start"}}))
    (tmp_path / "iotlb.json").write_text(json.dumps({"not_run": "took more than 1 s"}))
    text = publish.page(Files(tmp_path))
    assert "not run: a back end did not start" in text and "not run: took more than 1 s" in text


def iotlb_file(directory, ratio):
    row = {"what": "requests", "pattern": "one", "mappings": 1, "bytes": 64, "ratio": ratio, "ratio_low": ratio,
           "ratio_high": ratio}
    (directory / "iotlb.json").write_text(json.dumps({"bytes_per_entry": 64, "rows": [row]}))


@pytest.mark.parametrize("ratio, verdict", [(1.0, "met"), (1.05, "met"), (1.06, "missed")])
def test_a_goal_is_met_or_missed(tmp_path, ratio, verdict):
    iotlb_file(tmp_path, ratio)
    text = publish.page(Files(tmp_path))
    line = goal_lines(text)["IOTLB / regions only, device half, 64 B: 1 mapping"]
    assert line.rstrip(" |").endswith(verdict)
    assert ("**IOTLB / regions only, device half, 64 B: 1 mapping**" in text) == (verdict == "missed")


def test_a_part_that_fails_leaves_its_reason(tmp_path):
    (tmp_path / "bench").mkdir()
    publish.measure(tmp_path, tmp_path / "numbers", True, ["bench", "iotlb"])
    for name in ("bench", "iotlb"):
        assert json.loads((tmp_path / "numbers" / f"{name}.json").read_text())["not_run"]


def test_direct_costs_no_instructions_in_the_driver_half(viodma, valgrind, tmp_path):
    out = tmp_path / "i.json"
    done = subprocess.run([sys.executable, str(TOP / "bench" / "instructions"), "--viodma", str(viodma), "--domain", "raw",
                           "--domain", "direct", "--domain", "direct-clear", "--json", str(out)], capture_output=True,
                          text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    rows = json.loads(out.read_text())["rows"]
    assert len(rows) == 12
    for row in rows:
        assert row["driver_extra_per_segment"] <= 6, row
        assert row["both"] >= row["driver"] + row["device"] > 0


def test_of_several_processes_the_median_one_is_told(tmp_path):
    program = tmp_path / "program"
    program.write_text(
        "#!/bin/sh\nn=$(cat '%s' 2>/dev/null || echo 0); echo $((n + 1)) >'%s'\n"
        "set -- 1.5 1.0 1.2 9.0 1.1\nshift $n\n"
        "echo '{\"bytes_per_entry\": 64, \"rows\": [{\"what\": \"requests\", \"ns\": '$1', \"ratio\": '$1'}]}'\n"
        % ((tmp_path / "count",) * 2))
    program.chmod(0o755)
    done = subprocess.run([sys.executable, str(TOP / "bench" / "iotlb_runs"), "--program", str(program), "--processes", "5"],
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    row = {"what": "requests", "ns": 1.2, "ratio": 1.2, "ratio_low": 1.1, "ratio_high": 1.5}
    assert found == {"bytes_per_entry": 64, "rows": [row], "processes": 5}
