# SPDX-License-Identifier: BSD-3-Clause
"""Where the programs are. Ours, if not built, skip by name, or fail where VIODMA_REQUIRED=1; a package that is missing fails."""
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
    pytest.skip(f"not run: {what} is not there")


def installed(program):
    path = shutil.which(program)
    if not path:
        pytest.fail(f"{program} is not installed: scripts/packages valgrind libxml2-utils")
    return pathlib.Path(path)


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
    return installed("valgrind")


@pytest.fixture(scope="session")
def xmllint():
    return installed("xmllint")
