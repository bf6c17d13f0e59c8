# SPDX-License-Identifier: BSD-3-Clause
"""A block device is served as a file is.

How it works: a loop device over the image of known bytes. Where the kernel grants none the test is not run, and says so.
"""
import os
import subprocess

import pytest

import journeys
from blk import driving


@pytest.fixture
def block_device(image):
    found = subprocess.run(["losetup", "--find", "--show", image.path], capture_output=True, text=True, check=False)
    if found.returncode:
        pytest.skip(f"not run: no loop device: {found.stderr.strip()}")
    yield found.stdout.strip()
    subprocess.run(["losetup", "--detach", found.stdout.strip()], check=True)


@pytest.mark.parametrize("io", ["uring", "threads"])
@pytest.mark.parametrize("iommu", [False, True], ids=["bit33-clear", "bit33-set"])
def test_a_block_device_is_read_and_written(start, image, block_device, iommu, io):
    serve = start(block_device, f"--io={io}")
    with driving(serve.path, iommu=iommu) as blk:
        assert blk.capacity == os.path.getsize(image.path) // 512
        journeys.reads_what_the_image_holds(blk, image)
        blk.write(8, b"\x5a" * 4096)
        assert blk.read(8, 4096) == b"\x5a" * 4096
