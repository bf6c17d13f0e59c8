# SPDX-License-Identifier: BSD-3-Clause
"""Fixtures of the protocol suite.

How it works
  image, serve   a disk image of known bytes, and the program serving it;
                 start() starts more of them. Each is asked the questions of
                 servers.Serve.finish() when its test is over.
  slow_disk      the same image on a disk whose answers the test holds back.
A test that needs the program is skipped by name, never passed, when the
program is not built; VIODMA_REQUIRED=1 makes that a failure (make check sets it).
"""
import os
import shutil
import sys
import tempfile

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import servers  # noqa: E402
from images import Image  # noqa: E402


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: takes long; not in make check")
    config.addinivalue_line("markers", "mutant: a twin that runs the test build with one rule removed, and must fail")


@pytest.fixture
def tmp():
    """A short path: a Unix socket's name has 107 bytes at most."""
    path = tempfile.mkdtemp(prefix="vio-")
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def image(tmp):
    return Image(os.path.join(tmp, "disk.img"))


@pytest.fixture
def start(tmp):
    """start(images, options, ...) → Serve; all are finished and checked after the test."""
    started = []

    def start_one(images, *options, **how):
        servers.needs(servers.VIODMA_TEST_BUILD if how.get("mutant") or how.get("test_build") else servers.VIODMA)
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


@pytest.fixture
def slow_disk(tmp, image):
    """A disk whose answers the test decides, holding what `image` holds."""
    import slow_disk as module
    reason = module.available(os.path.join(tmp, "probe"))
    if reason:
        pytest.skip(f"not run: no disk that can be held: {reason}")
    disk = module.SlowDisk(os.path.join(tmp, "slow"), image.bytes)
    yield disk
    disk.close()


def pytest_collection_modifyitems(config, items):
    """VIODMA_LAYOUTS=turns: of a test that is there for either layout only one, the next one's other: half of the time."""
    if os.environ.get("VIODMA_LAYOUTS") != "turns":
        return
    both = {}
    for item in items:
        call = getattr(item, "callspec", None)
        if call is None or "layout" not in call.params:
            continue
        others = tuple(sorted((name, str(value)) for name, value in call.params.items() if name != "layout"))
        both.setdefault((item.location[0], item.originalname, others), []).append(item)
    pairs = [pair for pair in both.values() if len(pair) == 2]
    left = [pair[n % 2] for n, pair in enumerate(pairs)]
    out = set(left)
    config.hook.pytest_deselected(items=left)
    items[:] = [item for item in items if item not in out]


@pytest.fixture(params=["split", "packed"])
def layout(request):
    """Drivers that do not say which have this kind of ring."""
    import blk
    blk.Blk.packed_by_default = request.param == "packed"
    yield request.param
    blk.Blk.packed_by_default = False
