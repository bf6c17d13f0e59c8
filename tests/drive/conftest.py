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
    config.addinivalue_line("markers", "mutant: a twin that runs the test build with one rule removed, and must fail")


@pytest.fixture
def tmp():
    """A short path: a Unix socket's name has 107 bytes at most."""
    path = tempfile.mkdtemp(prefix="vio-")
    yield path
    shutil.rmtree(path, ignore_errors=True)
