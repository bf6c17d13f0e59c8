# SPDX-License-Identifier: BSD-3-Clause
"""`viodma demo`: every cell of its table is what it must be, and a device that breaks the rule is named.

How it works: one run with --json is asked by most tests. Some are made to fail:
the rule removed from the device (test build), no place for a disk, no file for
the report. What a run leaves behind is looked for in a directory of its own.
"""
import json
import os
import signal
import subprocess
import time

import pytest

import servers
import vhost_user as vu
from programs import CONFINED, DOMAINS, PATIENCE, TRANSLATED
from servers import SANITIZER, VIODMA, VIODMA_TEST_BUILD

MIB = 1 << 20
RINGS = ("split", "packed")
KINDS = [("direct", False), *((domain, True) for domain in DOMAINS)]
ROWS = [(domain, ring, bit) for domain, bit in KINDS for ring in RINGS]
CODE = ("bounce", "iommu")      # where the device's own code keeps it from what it was handed


class Run:
    def __init__(self, tmp, *options, binary=VIODMA, mutant=None, **env):
        servers.needs(binary)
        self.json = os.path.join(tmp, "demo.json")
        env = {**os.environ, "TMPDIR": tmp, **env}
        env.pop("VIODMA_MUTANT", None)
        if mutant:
            env["VIODMA_MUTANT"] = mutant
        done = subprocess.run([binary, "demo", *options], capture_output=True, text=True, timeout=2 * PATIENCE, env=env,
                              stdin=subprocess.DEVNULL)
        self.status, self.out, self.err = done.returncode, done.stdout, done.stderr
        assert not SANITIZER.search(self.err), self.err

    @property
    def rows(self):
        with open(self.json) as file:
            return json.load(file)["rows"]

    def both(self, domain):
        """Its rows with bit 33 set, of both layouts."""
        return [row for row in self.rows if row["domain"] == domain and row["bit_33"]]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    tmp = str(tmp_path_factory.mktemp("demo"))
    return Run(tmp, "--json", os.path.join(tmp, "demo.json"))


def test_every_cell_is_right_and_the_status_says_so(run):
    assert (run.status, run.err) == (0, "")
    assert [(row["domain"], row["ring"], row["bit_33"]) for row in run.rows] == ROWS
    assert all(row["ran"] and row["wrong"] == [] for row in run.rows)


def test_the_table_has_a_line_for_each_row_and_fits_a_terminal(run):
    lines = run.out.splitlines()
    assert [line.split()[:3] for line in lines[2:16]] == [[d, ring, "set" if bit else "clear"] for d, ring, bit in ROWS]
    assert max(map(len, lines)) <= 100 and len(lines) == 19
    assert all(line == line.rstrip() for line in lines)


def test_data_went_to_the_disk_and_came_back(run):
    assert all(row["data_right"] and row["moved_bytes"] == 8 * MIB for row in run.rows)


def test_bus_addresses_are_physical_only_where_the_rule_has_it_so(run):
    for row in run.rows:
        assert row["translations"] > 100
        wanted = 0 if row["domain"] in TRANSLATED else row["translations"]
        assert row["identity_translations"] == wanted, row["domain"]


def test_private_memory_is_handed_over_or_it_is_not(run):
    for row in run.rows:
        private = 0 if row["domain"] in CONFINED else row["private_bytes"]
        assert row["private_bytes_in_device"] == private, row["domain"]
        assert row["handed_over_bytes"] == private + row["pool_bytes"], row["domain"]


def test_what_is_reachable_is_what_the_platform_grants(run):
    for row in run.rows:
        everything, peak = row["private_bytes"] + row["pool_bytes"], row["reachable_bytes_peak"]
        if row["domain"] in ("direct", "offset"):
            assert peak == everything
        elif row["domain"] in ("bounce", "restricted"):
            assert peak == row["pool_bytes"]
        else:
            assert 0 < peak <= row["granted_bytes_peak"] <= row["pool_bytes"]


def test_the_stray_access_arrives_only_where_all_is_granted(run):
    for row in run.rows:
        said = (row["stray"]["reached"], row["stray"]["bytes"], row["stray"]["requirement"], row["enforced_by"])
        if row["domain"] in ("direct", "offset"):
            assert said == (True, 512, None, "nobody"), row["domain"]
        else:
            by = "the device's own code" if row["domain"] in CODE else "never handed over"
            assert said == (False, 0, "DEV-10", by), row["domain"]


def test_it_takes_seconds(run):
    with open(run.json) as file:
        assert json.load(file)["elapsed_ns"] < 5e9 * vu.SCALE


def test_no_file_is_left(tmp):
    assert Run(tmp).status == 0
    assert os.listdir(tmp) == []


def test_a_device_that_falls_back_to_physical_addresses_is_found_out(tmp):
    run = Run(tmp, "--json", os.path.join(tmp, "demo.json"), binary=VIODMA_TEST_BUILD, mutant="DEV-10")
    assert run.status == 1
    for domain in CODE:
        for row in run.both(domain):
            assert (f"viodma: demo: {domain}, {row['ring']} ring, bit 33 set: stray access: reached, expected refused "
                    "DEV-10") in run.err
            assert {"stray_access", "enforced_by", "bus_is_physical"} <= set(row["wrong"])
    assert "whatever the device does" not in run.out     # nothing is concluded from it


def test_what_was_never_handed_over_needs_no_rule_of_the_device(tmp):
    run = Run(tmp, "--json", os.path.join(tmp, "demo.json"), binary=VIODMA_TEST_BUILD, mutant="DEV-10")
    for domain in CONFINED:
        assert all(row["wrong"] == [] and not row["stray"]["reached"] for row in run.both(domain))


def test_a_row_that_cannot_be_run_says_so(tmp):
    run = Run(tmp, TMPDIR=os.path.join(tmp, "missing"))
    assert run.status == 1 and "making a disk" in run.err
    assert run.out.count("not run") >= len(ROWS)
    assert run.err.count("not run") == len(ROWS)


def test_the_device_ends_with_the_demonstration(tmp):
    """Killed at any moment, the driver half takes the device half with it."""
    servers.needs(VIODMA)
    for delay in (0.005, 0.02, 0.05):
        read, write = os.pipe()
        process = subprocess.Popen([VIODMA, "demo"], stdout=write, stderr=write, stdin=subprocess.DEVNULL,
                                   env={**os.environ, "TMPDIR": tmp})
        os.close(write)
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.wait(PATIENCE)
        end = time.monotonic() + PATIENCE
        with os.fdopen(read, "rb", buffering=0) as said:
            os.set_blocking(read, False)
            while said.read(65536) != b"":      # both ends of the pipe are the demonstration's: end of file is its end
                assert time.monotonic() < end, "the device half is still there"
                time.sleep(0.01)
        assert os.listdir(tmp) == []


@pytest.mark.parametrize("words, status, said", [
    (("--help",), 0, ""),
    (("--jso", "x"), 2, "options are not abbreviated"),
    (("--json",), 2, "expected a value"),
    (("--json", ""), 2, "expected a path"),
    (("now",), 2, "expected options only"),
    (("--json", "/no/such/directory/file"), 1, "cannot be written"),
])
def test_its_command_line(tmp, words, status, said):
    run = Run(tmp, *words)
    assert run.status == status and said in run.err
    assert bool(run.err) == (status != 0)


def test_output_that_cannot_be_written_is_a_failure():
    servers.needs(VIODMA)
    with open("/dev/full", "wb") as full:
        done = subprocess.run([VIODMA, "demo"], stdout=full, stderr=subprocess.PIPE, timeout=2 * PATIENCE)
    assert done.returncode == 1
