# SPDX-License-Identifier: BSD-3-Clause
"""`viodma bench` measures what it says: never how fast, which is not a test's to judge.

How it works: one quick run is looked at from all sides; cells are made to fail by
removing a rule from the test build, since a check that cannot fail checks nothing.
"""
import json
import os
import subprocess

import pytest

ONE_CELL = "one-thread,split,one,64,to-device,x1,plain"
SPREADS = ("ns", "to_raw", "to_direct", "to_memcpy", "added_to_memcpy")
COUNTS = ("requests", "requests_per_second", "memcpy_ns", "ping_pong_ns", "copied_bytes", "maps", "segments", "kicks",
          "calls")
WHICH = ("mode", "ring", "descriptors", "bytes", "direction", "batch", "domain", "build")
DOMAINS = {"raw", "direct-clear", "direct", "offset", "bounce", "restricted", "iommu-strict", "iommu-deferred",
           "iommu-premapped", "bounce+iommu"}
COLD = {"viodma_domain_alloc", "viodma_domain_limits", "viodma_domain_release", "viodma_iotlb_least_capacity",
        "viodma_result_name", "viodma_driver_ready", "viodma_front_wait",
        "viodma_domain_sync_general", "viodma_mapping_segments",  # cells with buffers that stay mapped
        "viodma_space_segments_overlap", "viodma_space_pieces_overlap",  # when something is revoked, which is never
        "viodma_space_part_look"}                                 # when a part of a ring is not known, likewise


def bench(program, *words, timeout=120, **env):
    return subprocess.run([str(program), "bench", *map(str, words)], capture_output=True, text=True, timeout=timeout,
                          env={**os.environ, **env})


@pytest.fixture(scope="module")
def quick(viodma, tmp_path_factory):
    tmp = tmp_path_factory.mktemp("bench")
    done = bench(viodma, "--quick", "--rounds=1", "--round-us=100", "--json", tmp / "j", "--html", tmp / "h")
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads((tmp / "j").read_text()), tmp / "h", done.stdout


def test_every_cell_counts(quick):
    assert [row for row in quick[0]["rows"] if row["fault"]] == [] and quick[0]["faults"] == 0


def test_every_row_is_complete(quick):
    for row in quick[0]["rows"]:
        assert set(row) == {"fault", *WHICH, *SPREADS, *COUNTS}
        assert row["ns"]["low"] <= row["ns"]["median"] <= row["ns"]["high"] and row["requests"] > 0


def test_no_cell_is_there_twice(quick):
    cells = [tuple(row[key] for key in WHICH) for row in quick[0]["rows"]]
    assert len(cells) == len(set(cells))


def test_every_domain_is_there_over_both_rings(quick):
    for ring in ("split", "packed"):
        assert {r["domain"] for r in quick[0]["rows"] if r["ring"] == ring and r["mode"] == "one-thread"} == DOMAINS


def test_where_there_are_two_processors_all_modes_are_there(quick):
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("not run: there is one processor")
    assert {r["mode"] for r in quick[0]["rows"]} == {"one-thread", "two-threads", "two-processes"}


def test_what_bounces_is_copied_once_and_what_does_not_is_not(quick):
    for row in quick[0]["rows"]:
        if row["domain"] in ("bounce", "restricted", "bounce+iommu"):
            assert row["copied_bytes"] == row["bytes"]
        elif not row["domain"].startswith("iommu-"):
            assert row["copied_bytes"] == 0


def test_one_kick_and_one_call_for_a_batch_in_one_thread(quick):
    for row in quick[0]["rows"]:
        if row["mode"] == "one-thread":
            assert row["kicks"] == pytest.approx(1 / row["batch"], rel=0.01)
            assert row["calls"] == pytest.approx(1 / row["batch"], rel=0.01)


def test_the_page_is_well_formed_and_has_plots(quick, xmllint):
    done = subprocess.run([str(xmllint), "--noout", str(quick[1])], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    text = quick[1].read_text()
    assert text.count("<svg") > 10 and "<script" not in text and "http" not in text


def test_the_table_has_a_line_for_each_cell(quick):
    lines = [line for line in quick[2].splitlines() if line.split()[1:2] and line.split()[1] in ("plain", "retpoline")]
    assert len(lines) == len(quick[0]["rows"])


@pytest.mark.parametrize("words", ["two-threads,chain,1500", "two-threads,one,64,retpoline", "two-threads,indirect,4096",
                                   "two-threads,indirect,262145,from-device,retpoline", "two-processes,one,64,from-device",
                                   "two-processes,one,65536,from-device", "two-processes,chain,1500",
                                   "two-processes,indirect,262145"])
def test_cells_that_a_quick_run_leaves_out_count_when_they_are_named(viodma, tmp_path, words):
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("there is one processor")
    done = bench(viodma, "--only", words + ",x32,direct,bounce,iommu-deferred", "--rounds=1", "--round-us=10", "--json",
                 tmp_path / "j")
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads((tmp_path / "j").read_text())["rows"]
    named = set(words.split(","))
    for row in rows:
        assert row["mode"] in named and row["descriptors"] in named and str(row["bytes"]) in named
    builds = {"retpoline"} if "retpoline" in named else {"plain", "retpoline"}
    if "two-processes" in named:
        builds = {"plain"}
    assert {row["build"] for row in rows} == builds
    assert {row["ring"] for row in rows} == {"split", "packed"}
    assert {row["domain"] for row in rows} - {"raw"} == {"direct", "bounce", "iommu-deferred"}


# --- what makes a cell not count ---------------------------------------------

@pytest.mark.parametrize("rule, domain, fault", [("DEV-10", "offset", "an access that nobody granted was not refused"),
                                                 ("DEV-3", "bounce", "")])
def test_a_cell_does_not_count_once_a_rule_is_removed(viodma_test, rule, domain, fault):
    words = ["--quick", "--only", f"{ONE_CELL},{domain}", "--rounds=1", "--round-us=10"]
    assert bench(viodma_test, *words).returncode == 0
    done = bench(viodma_test, *words, VIODMA_MUTANT=rule)
    assert done.returncode == 1 and "does not count: " + fault in done.stdout and "failed their checks" in done.stderr


def test_what_was_never_handed_over_is_out_of_reach_without_any_rule(viodma_test):
    words = ["--quick", "--only", f"{ONE_CELL},restricted", "--rounds=1", "--round-us=10"]
    assert bench(viodma_test, *words, VIODMA_MUTANT="DEV-10").returncode == 0


def test_raw_has_no_dma_layer(build):
    """What the raw object takes from elsewhere is called before and after requests, not for them."""
    done = subprocess.run(["nm", "-u", str(build / "bench" / "bench_raw.o")], capture_output=True, text=True, check=True)
    assert {s for s in done.stdout.split() if s.startswith("viodma_")} - COLD == set()


def test_the_builds_in_one_program_do_not_see_each_other(build):
    for name in ("raw", "retpoline", "raw_retpoline"):
        path = build / "bench" / f"bench_{name}.o"
        if not path.exists():
            continue                   # a compiler without retpolines
        done = subprocess.run(["nm", "-g", "--defined-only", str(path)], capture_output=True, text=True, check=True)
        assert [line.split()[-1] for line in done.stdout.splitlines()] == [f"bench_engine_{name}"]


# --- the command line --------------------------------------------------------

@pytest.mark.parametrize("words", [["--only", "nonsense"], ["--only=64,nonsense"], ["--rounds", "0"], ["--rounds=102"],
                                   ["--round-us", "x"], ["more"], ["--jso", "x"]])
def test_what_is_not_understood_is_said(viodma, words):
    done = bench(viodma, *words)
    assert done.returncode == 2 and done.stderr.startswith("viodma bench: ") and done.stdout == ""


def test_only_takes_what_is_named_and_its_yardstick(viodma, tmp_path):
    out = tmp_path / "j"
    assert bench(viodma, "--only", f"{ONE_CELL},bounce", "--rounds=1", "--round-us=10", "--json", out).returncode == 0
    assert [row["domain"] for row in json.loads(out.read_text())["rows"]] == ["raw", "bounce"]


def test_a_file_that_cannot_be_written_is_said(viodma):
    done = bench(viodma, "--only", f"{ONE_CELL},raw", "--rounds=1", "--round-us=10", "--json", "/nonexistent/x")
    assert done.returncode == 1 and "/nonexistent/x cannot be written" in done.stderr


def test_count_runs_and_prints_nothing(viodma):
    done = bench(viodma, "--only", f"{ONE_CELL},direct", "--count", "100")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
