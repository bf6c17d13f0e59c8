# SPDX-License-Identifier: BSD-3-Clause
"""Where the programs are; what is not there skips by name, or fails where VIODMA_REQUIRED=1 says that it must be."""
import os
import pathlib
import shutil
import sys

import pytest

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "bench"))


def required(path, what):
    if path and pathlib.Path(path).exists():
        return pathlib.Path(path)
    if os.environ.get("VIODMA_REQUIRED") == "1":
        pytest.fail(f"{what} is not there")
    pytest.skip(f"{what} is not there")


@pytest.fixture(scope="session")
def viodma():
    return required(os.environ.get("VIODMA", TOP / "build" / "viodma"), "the program")


@pytest.fixture(scope="session")
def viodma_test():
    return required(os.environ.get("VIODMA_TEST_PROGRAM", TOP / "build" / "viodma-test"), "the test build of the program")


@pytest.fixture(scope="session")
def build(viodma):
    return viodma.parent if (viodma.parent / "bench").is_dir() else viodma.parent.parent


@pytest.fixture(scope="session")
def valgrind():
    return required(shutil.which("valgrind"), "valgrind")


@pytest.fixture(scope="session")
def xmllint():
    return required(shutil.which("xmllint"), "xmllint")
