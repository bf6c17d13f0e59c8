# SPDX-License-Identifier: BSD-3-Clause
"""The kill tests use the driver half and the programs of the protocol suite."""
import os
import shutil
import sys
import tempfile

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "protocol"))


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: takes long; not in make check")


@pytest.fixture
def tmp():
    path = tempfile.mkdtemp(prefix="vio-")
    yield path
    shutil.rmtree(path, ignore_errors=True)
