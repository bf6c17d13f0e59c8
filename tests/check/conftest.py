# SPDX-License-Identifier: BSD-3-Clause
"""Where the programs are (skipped by name if not built, or failed where VIODMA_REQUIRED=1), and a device to check."""
import os
import pathlib

import pytest

import devices

TOP = pathlib.Path(__file__).resolve().parents[2]


def required(variable, name):
    path = pathlib.Path(os.environ.get(variable, TOP / "build" / name))
    if path.exists():
        return path
    if os.environ.get("VIODMA_REQUIRED") == "1":
        pytest.fail(f"{path} is not there")
    pytest.skip(f"not run: {path} is not there")


@pytest.fixture(scope="session")
def viodma():
    return required("VIODMA", "viodma")


@pytest.fixture(scope="session")
def viodma_test():
    return required("VIODMA_TEST_PROGRAM", "viodma-test")


@pytest.fixture(scope="session")
def cases(viodma):
    """Their ids, in order."""
    return devices.cases(viodma)


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: takes minutes; make check-all")
