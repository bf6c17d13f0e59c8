# SPDX-License-Identifier: BSD-3-Clause
"""Fixtures of the protocol suite.

How it works
  image, serve, drive   a disk image of known bytes, a started program (checked
                        to its end after the test), a driver on it.
  without_rule          helper for mutant twins: see mutants().
A test that needs the program is skipped by name, never passed, when the
program is not built; VIODMA_REQUIRED=1 makes that a failure (make check sets it).
"""
import os
import shutil
import sys
import tempfile

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import blk as blk_module  # noqa: E402
import servers  # noqa: E402

IMAGE_SIZE = 4 << 20


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: takes long; not in make check")


@pytest.fixture
def tmp():
    """A short path: a Unix socket's name has 107 bytes at most."""
    path = tempfile.mkdtemp(prefix="vio-")
    yield path
    shutil.rmtree(path, ignore_errors=True)


class Image:
    """A disk image whose every sector is different."""

    def __init__(self, path, size=IMAGE_SIZE, seed=7):
        self.path, self.size = path, size
        self.bytes = blk_module.pattern(size, seed)
        with open(path, "wb") as file:
            file.write(self.bytes)

    def __str__(self):
        return self.path

    def read(self, at=0, length=None):
        with open(self.path, "rb") as file:
            file.seek(at)
            return file.read(self.size - at if length is None else length)

    def must_be(self, expected, what="the image"):
        found = self.read()
        if found != bytes(expected):
            at = next(i for i, (a, b) in enumerate(zip(found, expected)) if a != b)
            raise servers.Violation(f"{what} differs from what was written, first at byte {at}")


@pytest.fixture
def image(tmp):
    return Image(os.path.join(tmp, "disk.img"))


def built(path):
    if not os.access(path, os.X_OK):
        if os.environ.get("VIODMA_REQUIRED"):
            pytest.fail(f"{path} is not built")
        pytest.skip(f"not run: {path} is not built")


@pytest.fixture
def start(tmp):
    """start(images, options, ...) → Serve; all are finished and checked after the test."""
    started = []

    def start_one(images, *options, **how):
        built(servers.VIODMA_TEST_BUILD if how.get("mutant") or how.get("test_build") else servers.VIODMA)
        images = [str(i) for i in (images if isinstance(images, (list, tuple)) else [images])]
        program = servers.Serve(tmp, images, options, name=f"serve{len(started)}-", **how)
        started.append(program)
        return program

    start_one.all = started
    yield start_one
    problems = []
    for program in started:
        try:
            if not getattr(program, "finished", False):
                program.finish()
        except Exception as error:      # the others must still be ended
            problems.append(error)
    if problems:
        raise problems[0]


@pytest.fixture
def serve(start, image):
    """One plain device over `image`."""
    return start(image)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failing test shows what the programs under test logged."""
    outcome = yield
    report = outcome.get_result()
    if report.failed and "start" in getattr(item, "funcargs", {}):
        for program in getattr(item.funcargs["start"], "all", []):
            report.sections.append((f"log of {' '.join(program.argv)}", program.log()[-4000:]))
