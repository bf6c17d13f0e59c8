# SPDX-License-Identifier: BSD-3-Clause
"""Disk images of known bytes, compared whole."""
import os

from blk import pattern
from vhost_user import Violation

IMAGE_SIZE = 4 << 20


class Image:
    """A disk image whose every sector is different."""

    def __init__(self, path, size=IMAGE_SIZE, seed=7):
        self.path, self.size = path, size
        self.bytes = pattern(size, seed)
        self.write_again()

    def write_again(self):
        """Puts the known bytes back, in place."""
        with open(self.path, "r+b" if os.path.exists(self.path) else "wb") as file:
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
            raise Violation(f"{what} differs from what was written, first at byte {at}")
