# SPDX-License-Identifier: BSD-3-Clause
"""The disk's image as the host sees it: made before a guest runs, checked after it ended.

How it works
    mkfs.ext4, e2fsck and debugfs work on image files without mounting, so no root is needed. 4096-byte file system
    blocks suit disks of 512- and of 4096-byte sectors alike. The checks return sentences about what is wrong; an empty
    list means the image is sound and holds exactly the bytes both sides agreed on.
"""
from __future__ import annotations

import collections.abc
import hashlib
import os
import pathlib
import subprocess

from .initramfs import GuestFile

_SBIN = {**os.environ, "PATH": os.environ.get("PATH", "") + ":/usr/sbin:/sbin", "DEBUGFS_PAGER": "__none__"}


def _run(*command: str, timeout: float = 120) -> subprocess.CompletedProcess[bytes]:
    """Run one of the ext4 tools."""
    return subprocess.run(command, env=_SBIN, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout, check=False)


def make(path: pathlib.Path, mib: int = 96) -> pathlib.Path:
    """A new, empty ext4 image; the file is sparse."""
    with open(path, "wb") as image:
        image.truncate(mib << 20)
    done = _run("mkfs.ext4", "-q", "-F", "-b", "4096", "-E", "lazy_itable_init=0", str(path))
    if done.returncode != 0:
        raise RuntimeError(f"mkfs.ext4 {path}: {done.stderr.decode().strip()}")
    return path


def read_file(image: pathlib.Path, name: str) -> bytes | None:
    """One file's bytes out of an image, or None if it is not there."""
    target = image.with_name(f"{image.name}.{name}.dump")
    target.unlink(missing_ok=True)
    try:
        _run("debugfs", "-R", f"dump /{name} {target}", str(image))
        return target.read_bytes() if target.exists() else None
    finally:
        target.unlink(missing_ok=True)


def check(image: pathlib.Path, files: collections.abc.Iterable[GuestFile]) -> list[str]:
    """e2fsck, then every file byte for byte against what its seed demands. Run it after the guest is gone."""
    failures = []
    done = _run("e2fsck", "-fn", str(image))
    if done.returncode != 0:
        lines = (done.stdout.decode(errors="replace").splitlines() or ["no output"])
        failures.append(f"e2fsck -fn exits {done.returncode}: {' / '.join(lines[:4])}")
    for file in files:
        data = read_file(image, file.name)
        if data is None:
            failures.append(f"{file.name} is not in the image")
        elif len(data) != file.size:
            failures.append(f"{file.name} has {len(data)} bytes in the image, not {file.size}")
        elif hashlib.sha256(data).hexdigest() != file.sha256():
            failures.append(f"{file.name} has other bytes in the image than the guest was told to write")
    return failures
