# SPDX-License-Identifier: BSD-3-Clause
"""The page that `viodma check --html` writes: well-formed, whole, on its own, and with a picture of what failed."""
import os
import subprocess
import time
import xml.etree.ElementTree as ElementTree

import pytest

PROGRAM = os.environ.get("VIODMA", "build/viodma")
BROKEN = os.environ.get("VIODMA_TEST_PROGRAM", "build/viodma-test")
ONLY = "platform-offered,write-to-unmapped,physical-address,platform-not-offered"


def page(tmp, program, **env):
    """The page about a device that `program` serves; its outcomes as {id of the element: (verdict, element)}."""
    (tmp / "disk").write_bytes(bytes(1 << 20))
    log = open(tmp / "log", "w+b")
    serve = subprocess.Popen([program, "serve", "blk", "--socket-path", tmp / "s", "--blk-file", tmp / "disk"], stderr=log,
                             env={**os.environ, **env})
    try:
        end = time.monotonic() + 10
        while not (tmp / "s").exists() and time.monotonic() < end:
            time.sleep(0.01)
        done = subprocess.run([PROGRAM, "check", "device", "--socket-path", tmp / "s", "--type", "blk", "--only", ONLY,
                               "--html", tmp / "page.html"], capture_output=True, text=True, timeout=30)
    finally:
        serve.terminate()
        serve.wait(10)
        log.close()
    text = (tmp / "page.html").read_text()
    root = ElementTree.fromstring(text.replace("<!DOCTYPE html>\n", ""))
    found = {each.get("id"): each for each in root.iter("details") if each.get("id")}
    return done, text, root, found


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    return page(tmp_path_factory.mktemp("sound"), PROGRAM)


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    return page(tmp_path_factory.mktemp("broken"), BROKEN, VIODMA_MUTANT="DEV-10")


def words(element):
    return " ".join("".join(element.itertext()).split())


def test_each_case_over_each_ring_has_its_evidence(sound):
    done, _text, root, found = sound
    assert done.returncode == 0, done.stdout + done.stderr
    assert set(found) == {"platform-offered", "platform-not-offered", "write-to-unmapped-split", "write-to-unmapped-packed",
                          "physical-address-split", "physical-address-packed"}
    assert {a.get("href") for a in root.iter("a")} == {"#" + name for name in found}
    assert "bit 33 is offered" in words(found["platform-not-offered"])


def test_each_requirement_has_a_row_in_the_order_of_numbers(sound):
    assert [words(th) for th in sound[2].iter("th") if th.get("rowspan")] == ["DEV-1", "DEV-5", "DEV-10"]


def test_what_passed_has_no_picture_and_is_folded(sound):
    assert not list(sound[2].iter("svg"))
    assert not [each for each in sound[3].values() if each.get("open") is not None]


def test_what_failed_has_a_picture_and_is_open(broken):
    done, _text, _root, found = broken
    assert done.returncode == 1, done.stdout + done.stderr
    failed = found["physical-address-split"]
    picture = failed.find(".//svg")
    assert failed.get("open") is not None and picture is not None
    assert found["platform-offered"].find(".//svg") is None


def test_the_picture_has_both_sides_and_what_was_mapped(broken):
    picture = broken[3]["physical-address-split"].find(".//svg")
    classes = [each.get("class") for each in picture.iter()]
    assert {"us", "peer", "mapped", "failed"} <= set(classes)
    texts = [words(each) for each in picture.iter("text")]
    assert any(text.startswith("IOTLB UPDATE") for text in texts) and any(text.startswith("misses") for text in texts)


def test_all_of_the_picture_is_inside_it(broken):
    for picture in broken[2].iter("svg"):
        height, width = int(picture.get("height")), int(picture.get("width"))
        for each in picture.iter("rect"):
            assert int(each.get("y")) + int(each.get("height")) <= height
            assert int(each.get("x")) + int(each.get("width")) <= width


def test_it_needs_nothing_from_elsewhere(broken):
    assert not [word for word in ("<script", "http:", "https:", "src=", "@import", "url(") if word in broken[1]]
