# SPDX-License-Identifier: BSD-3-Clause
"""The manual pages are sound, and say what the program does.

How it works: pages are rendered by mandoc as plain text. Options are compared
with what the program prints for --help, both ways; statistics and texts of
results with what it writes and what its header holds. The program is
build/viodma, or $VIODMA; without it these tests fail.
"""
import json
import os
import pathlib
import re
import signal
import subprocess
import time

import pytest

TOP = pathlib.Path(__file__).resolve().parents[2]
MAN = TOP / "man"
PAGES = sorted(p.name for p in MAN.glob("*.[1-9]"))
COMMANDS = {                    # a page, and the commands it describes
    "viodma.1": [()],
    "viodma-serve.1": [("serve", "blk"), ("serve", "rng")],
    "viodma-drive.1": [("drive", "blk")],
    "viodma-demo.1": [("demo",)],
    "viodma-bench.1": [("bench",)],
    "viodma-check.1": [("check",)],
}
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*")


def render(page):
    done = subprocess.run(["mandoc", "-T", "utf8", str(MAN / page)], capture_output=True, check=True, timeout=20)
    return re.sub(r".\x08", "", done.stdout.decode())


def flat(page):
    """The page's words with single spaces; a word that was broken at a hyphen is joined again."""
    return " ".join(re.sub(r"-\n\s+", "-", render(page)).split())


def described_options(page):
    """The options that a page has an entry for (.It Fl), not merely mentions."""
    return {"-" + o for line in (MAN / page).read_text().splitlines() if line.startswith(".It Fl ")
            for o in re.findall(r"Fl (-[a-z0-9-]+)", line)}


def program():
    path = pathlib.Path(os.environ.get("VIODMA", TOP / "build" / "viodma"))
    assert path.exists(), f"{path} is not built: run make first"
    return str(path)


def help_options(*words):
    done = subprocess.run([program(), *words, "--help"], capture_output=True, text=True, timeout=20)
    assert done.returncode == 0, done.stderr
    return set(OPTION.findall(done.stdout))


def keys_of(value):
    if isinstance(value, dict):
        return set(value).union(*map(keys_of, value.values()))
    return set().union(*map(keys_of, value)) if isinstance(value, list) else set()


@pytest.fixture(scope="module")
def statistics(tmp_path_factory):
    """What the program wrote at SIGUSR1, and again at its end; its log; its socket; what `drive` wrote."""
    tmp = tmp_path_factory.mktemp("man")
    image, out, socket = tmp / "disk", tmp / "stats.json", tmp / "s"
    image.write_bytes(bytes(1 << 20))
    with open(tmp / "log", "wb") as log:
        process = subprocess.Popen([program(), "serve", "blk", "--socket-path", str(socket), "--blk-file", str(image),
                                    "--stats-json", str(out)], stderr=log)
    try:
        def wait_for(path):
            end = time.monotonic() + 10
            while not path.exists():
                assert process.poll() is None and time.monotonic() < end, (tmp / "log").read_text()
                time.sleep(0.01)
        wait_for(socket)
        process.send_signal(signal.SIGUSR1)
        wait_for(out)
        first = json.loads(out.read_text())
        driven = tmp / "drive.json"
        subprocess.run([program(), "drive", "blk", "--socket-path", str(socket), "--stats-json", str(driven), "--debug-dma",
                        "--restrict-after=2", "--request=4096", "--quiet", "verify", str(image)], check=True, timeout=60,
                       capture_output=True)
        process.terminate()
        assert process.wait(10) == 0
        return ([first, json.loads(out.read_text())], (tmp / "log").read_text(), str(socket),
                json.loads(driven.read_text()))
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


@pytest.mark.parametrize("page", PAGES)
def test_mandoc_has_no_complaint(page):
    done = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", str(MAN / page)], capture_output=True, text=True,
                          timeout=20)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("page", PAGES)
def test_pages_refer_to_pages_that_exist(page):
    ours = re.findall(r"^\.Xr (viodma\S*) (\d)", (MAN / page).read_text(), re.M)
    assert [f"{name}.{section}" for name, section in ours if f"{name}.{section}" not in PAGES] == []


def test_every_page_about_a_command_is_known_here():
    assert sorted(COMMANDS) == [page for page in PAGES if page.endswith(".1")]


@pytest.mark.parametrize("page", COMMANDS)
def test_every_option_is_described_and_no_other(page):
    known = set().union(*(help_options(*words) for words in COMMANDS[page]))
    assert described_options(page) - {"--help"} == known - {"--help"}


def test_pages_mention_no_option_that_does_not_exist():
    known = set().union({"--help"}, *(help_options(*words) for page in COMMANDS.values() for words in page))
    unknown = {page: set(OPTION.findall(render(page))) - known for page in PAGES}
    assert {page: options for page, options in unknown.items() if options} == {}


def test_every_statistic_is_described(statistics):
    text = flat("viodma-serve.1")
    named = set(re.findall(r"[a-z0-9_]+", text))
    for written in statistics[0]:
        assert keys_of(written) - named == set()


def test_every_statistic_of_drive_is_described(statistics):
    written = statistics[3]
    assert "before_restriction" in written and written["debug"]["reports"] == 0
    named = set(re.findall(r"[a-z0-9_]+", flat("viodma-drive.1")))
    assert keys_of(written) - named == set()


def test_every_fact_of_the_demonstration_is_described(tmp_path):
    written = tmp_path / "demo.json"
    subprocess.run([program(), "demo", "--json", str(written)], check=True, timeout=60, capture_output=True)
    named = set(re.findall(r"[a-z0-9_]+", flat("viodma-demo.1")))
    assert keys_of(json.loads(written.read_text())) - named == set()


def test_the_ready_line_is_as_described(statistics):
    _, log, socket, _ = statistics
    assert f"viodma: blk0: listening on {socket}" in log.splitlines()


def test_every_text_of_a_result_with_a_requirement_is_described():
    header = (TOP / "include" / "viodma" / "result.h").read_text()
    rows = re.findall(r'X\(VIODMA_\w+, -?\d+, "([A-Z]{3}-\d+)", "([^"]*)"\)', header)
    assert len(rows) > 10
    text = flat("viodma-serve.1") + flat("viodma-drive.1")
    assert [(i, t) for i, t in rows if f'"{t}"' not in text or not re.search(rf"\b{i}\b", text)] == []


def test_options_are_found_in_text():
    assert OPTION.findall("a --blk-file FILE, [--io=auto] x--no ---no") == ["--blk-file", "--io"]


def test_keys_are_found_at_every_depth():
    assert keys_of({"a": [{"b": 1}, {"c": {"d": 2}}]}) == {"a", "b", "c", "d"}
