# SPDX-License-Identifier: BSD-3-Clause
"""Fixtures of the drive suite: `viodma drive` and `viodma demo` against devices of three makers.

How it works: the wire, the servers and the images are those of tests/protocol;
what is here is the other side. A test that needs a program is skipped by name,
never passed, when it is not built; VIODMA_REQUIRED=1 makes that a failure.
"""
import os
import shutil
import sys
import tempfile

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "protocol")]


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: takes long; not in make check")
    config.addinivalue_line("markers", "wide: a large matrix; under sanitizers only in make check-all")
    config.addinivalue_line("markers", "mutant: a twin that runs the test build with one rule removed, and must fail")


@pytest.fixture
def tmp():
    """A short path: a Unix socket's name has 107 bytes at most."""
    path = tempfile.mkdtemp(prefix="vio-")
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def lab(tmp):
    """Devices and drivers; those that are left are asked their last questions and ended."""
    from programs import Lab
    one = Lab(tmp)
    yield one
    one.end()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failing test shows what the devices logged."""
    outcome = yield
    report = outcome.get_result()
    if report.failed and "lab" in getattr(item, "funcargs", {}):
        for device in item.funcargs["lab"].devices:
            program = getattr(device, "program", None)
            if program is not None:
                report.sections.append((f"log of {' '.join(program.argv)}", program.log()[-4000:]))
